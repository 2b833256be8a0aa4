"""Figures of elongated pictures can be read, and cost no more than what is on the screen."""

import itertools

import numpy as np
import pytest
from flax import nnx

from siren_jax import SIREN, NeuralField, PixelDataset, plot
from siren_jax.subjects.picture import Picture


def fields(h, w):
    value = np.linspace(0, 1, h * w, dtype=np.float32).reshape(h, w, 1)
    return {"value": value, "gradient": np.stack([value, value], -1), "laplacian": value}


def comparison(h, w):
    return plot.comparison(fields(h, w), fields(h, w), title="a name")


def inpainting(h, w):
    picture = fields(h, w)["value"]
    return plot.inpainting(picture, picture[..., 0] > 0.3, picture, picture, title="a name")


def composition(h, w):
    picture = fields(h, w)["value"]
    return plot.composition(picture, picture, picture[..., 0] > 0.3, picture, picture, title="a name")


def completion(h, w):
    picture = fields(h, w)["value"]
    known, pictures = picture[..., 0] > 0.3, {"mean": picture, "most likely": picture}
    return plot.completion(picture, known, pictures, picture[..., 0], picture, title="a name")


@pytest.mark.parametrize("shape", [(26, 512), (512, 26), (50, 2000), (64, 1), (100, 30)])
@pytest.mark.parametrize("figure_of", [comparison, inpainting, composition, completion])
def test_panels_are_neither_thin_nor_over_each_other(figure_of, shape):
    figure = figure_of(*shape)
    figure.canvas.draw()
    inches = [axis.get_window_extent().transformed(figure.dpi_scale_trans.inverted()) for axis in figure.axes]
    panels = [box for axis, box in zip(figure.axes, inches, strict=True) if axis.images]
    assert len(panels) in (4, 5, 6)
    assert min(min(box.width, box.height) for box in panels) > 0.4
    assert min(max(box.width, box.height) for box in panels) > 3.5
    assert max(figure.get_size_inches()) < 17.5  # a screen at 100 dots an inch, or two
    # In pixels; the box of a line of text has a few more than its letters.
    drawn = [*figure.axes, *(axis.title for axis in figure.axes if axis.images)]
    for one, other in itertools.combinations([artist.get_window_extent() for artist in drawn], 2):
        assert min(one.x1, other.x1) - max(one.x0, other.x0) < 6 or min(one.y1, other.y1) - max(one.y0, other.y0) < 6
    whole = [axis.get_tightbbox() for axis in figure.axes]
    assert all(box.x0 > -1 and box.y0 > -1 and box.x1 < figure.bbox.x1 + 1 for box in whole)


def test_the_title_of_a_figure_is_apart_from_those_of_its_panels():
    figure = completion(28, 28)
    figure.draw_without_rendering()
    below = max(axis.title.get_window_extent().y1 for axis in figure.axes if axis.images)
    assert figure.get_suptitle() == "a name"
    assert figure._suptitle.get_window_extent().y0 - below > 0.15 * figure.dpi  # it is 0.2 inches


def test_entries_of_a_histogram_are_counted_in_whole_numbers():
    figure = plot.qualities(np.arange(10.0), label="PSNR (dB)")
    figure.draw_without_rendering()
    ticks = figure.axes[0].get_yticks()
    np.testing.assert_array_equal(ticks, np.rint(ticks))


@pytest.mark.parametrize("values", [np.array([]), np.array([3.0]), np.array([1.0, 2.0, np.nan, np.inf])])
@pytest.mark.parametrize("target", [None, 40.0])
def test_a_histogram_has_every_finite_entry_and_the_target(values, target):
    axis = plot.qualities(values, label="PSNR (dB)", target=target).axes[0]
    assert sum(bar.get_height() for bar in axis.patches) == np.isfinite(values).sum()
    low, high = axis.get_xlim()
    assert target is None or low < target < high


def test_results_evaluate_every_pixel_once_and_the_figure_those_of_the_screen(tmp_path, monkeypatch):
    monkeypatch.setattr("siren_jax.subjects.picture.SHOWN", 8)
    points = []

    def render(self, shape=None, **options):
        points.append(int(np.prod(shape or self.frame.shape)))
        return rendered(self, shape, **options)

    rendered = NeuralField.render
    monkeypatch.setattr(NeuralField, "render", render)
    dataset = PixelDataset(fields(20, 320)["value"])
    subject, network = Picture(dataset, "values", {}, 0.0), SIREN(2, 1, width=4, depth=0, rngs=nnx.Rngs(0))
    with pytest.warns(UserWarning, match="learned next to nothing"):  # as it begins
        subject.write(network, lambda name: str(tmp_path / name), overwrite=False)
    assert points == [6400]
    subject.figure(network, "")
    assert points[1:] == [16] * 3  # every 20th pixel: value, gradient and Laplacian
