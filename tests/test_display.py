"""A neural field shows itself: three lines that are true, and a small picture of what it is."""

import base64
import dataclasses
import html
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from siren_jax import SIREN, Frame, NeuralField, ReLUMLP, display
from siren_jax.fields import Grid
from siren_jax.files.header import names
from siren_jax.networks.layers import count_parameters
from siren_jax.shapes import Placement
from siren_jax.subjects.solution import Solution
from siren_jax.subjects.subject import CHAMFER, PSNR, SNR

KINDS = {
    "picture": ((2, 3), {"frame": Frame((60, 100)), "value_range": (0.0, 255.0)}),
    "sound": ((1, 2), {"frame": Frame((4000,)), "kind": "sound", "rate": 8000}),
    "video": ((3, 1), {"frame": Frame((5, 30, 40)), "kind": "video", "rate": 25.0}),
    "shape": (
        (3, 1),
        {"frame": Frame((64,) * 3), "value_range": (-4.0, 4.0), "placement": Placement((0.0, 1.0, 2.0), 4.0)},
    ),
    "solution": (
        (2, 2),
        {"frame": Grid((4, 8), (0.0, -3.0), (1.0, 5.0)), "record": {"axes": ["t", "x"], "channels": ["v", "p"]}},
    ),
    "heights": ((2, 1), {"frame": Frame((6, 10)), "kind": "heights"}),
}


def make(name, network=SIREN, **change):
    (d, c), options = KINDS[name]
    kind = {"kind": "image" if name == "picture" else name}
    return NeuralField(network(d, c, width=8, depth=1, rngs=nnx.Rngs(0)), **{**kind, **options, **change})


def picture(field) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(field._repr_mimebundle_()["image/png"])))


def ball(radius=0.5):
    """A network whose zero level is nearly a sphere: Σ 1 - cos(x_i) = 1 - cos(radius) in three units."""
    network = SIREN(3, 1, width=3, depth=0, first_omega=1.0, rngs=nnx.Rngs(0))
    network.layers[0].linear.kernel[...] = jnp.eye(3)
    network.layers[0].linear.bias[...] = jnp.full(3, jnp.pi / 2)  # sin(x + π/2) = cos(x)
    network.output.kernel[...] = -jnp.ones((3, 1))
    network.output.bias[...] = jnp.full(1, 2 + np.cos(radius))
    return network


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("picture", "picture of 60 × 100 pixels, 3 channels, values 0 to 255"),
        ("sound", "sound of 0.5 s, 8,000 samples a second, 2 channels, values -1 to 1"),
        ("video", "video of 5 frames at 25 a second, 30 × 40 pixels, 1 channel, values -1 to 1"),
        ("shape", "shape, a signed distance in the cube -4 to 4 × -3 to 5 × -2 to 6"),
        ("solution", "solution v, p for t from 0 to 1, x from -3 to 5"),
        ("heights", "heights of 6 × 10 samples, 1 channel, values -1 to 1"),
    ],
)
def test_the_first_line_is_the_signal_and_the_second_its_network(name, first):
    field = make(name)
    lines = repr(field).splitlines()
    assert lines[0] == f"NeuralField: {first}"
    (d, c), _ = KINDS[name]
    count = f"{count_parameters(field.network):,}"
    assert lines[1] == f"SIREN {d} → {c}, 2 layers of 8 units, omega 30, then 30, {count} parameters"
    assert lines[2:] == ["no record of how it was made"]


def test_other_networks_are_named():
    line = repr(make("picture", ReLUMLP)).splitlines()[1]
    assert line == "ReLUMLP 2 → 3, 2 layers of 8 units, 123 parameters"  # 3·8 + 9·8 + 9·3
    network = SIREN(2, 3, width=8, depth=1, outermost="sigmoid", rngs=nnx.Rngs(0))
    assert "sigmoid at the end" in repr(make("picture", network=lambda *_, **__: network))


def test_the_third_line_is_the_record():
    record = {"target": "gradient", "recipe": "tuned", "omega_from": "a reason " * 9, "steps": 1600, "psnr": 43.2109}
    line = repr(make("picture", record=record)).splitlines()[2]
    assert line == "PSNR 43.21 dB, 1,600 steps, target gradient, recipe tuned"
    unknown = {"psnr": None, "steps": "many", "deep": {"a": 1}, "seed": 3, "learning_rate": 1 / 3}
    assert repr(make("picture", record=unknown)).splitlines()[2] == "seed 3, learning_rate 0.3333"


def test_qualities_are_named_as_by_the_command():
    for measure in (PSNR, SNR, CHAMFER, Solution.measure):
        assert display.QUALITIES[measure.name].format(12.3456789) == measure.tell(12.3456789, further=1)


@pytest.mark.parametrize("word", ["\x1b[31mred", "two\nlines", "x" * 5000, "\u2028"])
def test_text_of_a_file_makes_neither_lines_nor_escapes(word):
    field = make("solution", record={"axes": [word, "x"], word[:20]: word[:20], "psnr": 1.0})
    lines = repr(field).split("\n")
    assert len(lines) == 3
    assert all(line.isprintable() and len(line) <= 110 for line in lines)
    assert len(repr(dataclasses.replace(make("heights"), kind=word)).splitlines()) == 3


def test_names_are_those_of_the_record_if_they_name_all():
    assert names(["a", "b"], ["x0", "x1"]) == ["a", "b"]
    for given in (None, ["a"], ["a", "a"], "ab", {"a": 1, "b": 2}):
        assert names(given, ["x0", "x1"]) == ["x0", "x1"]


@pytest.mark.parametrize("name", sorted(set(KINDS) - {"shape"}))
def test_a_notebook_shows_a_small_picture_and_the_text(name, drawn_figures):
    field = make(name)
    bundle = field._repr_mimebundle_(include=None, exclude=None)
    assert set(bundle) == {"text/plain", "image/png", "text/html"}
    assert bundle["text/plain"] == repr(field)
    assert html.escape(repr(field)) in bundle["text/html"]
    assert bundle["image/png"] in bundle["text/html"]
    assert len(base64.b64decode(bundle["image/png"])) <= display.LARGEST
    assert 200 < max(picture(field).size) <= 300


def test_the_picture_of_a_picture_is_the_picture():
    field = make("picture", frame=Frame((256, 128)))
    expected = np.clip(field.render(), 0, 255)
    assert np.allclose(np.asarray(picture(field)), expected, atol=0.51)  # rounded to bytes


def test_noise_in_colour_is_still_small():
    network = SIREN(2, 3, width=32, depth=1, first_omega=2000.0, rngs=nnx.Rngs(0))
    network.output.kernel[...] *= 30.0
    field = NeuralField(network, Frame((256, 256)))
    assert len(base64.b64decode(field._repr_mimebundle_()["image/png"])) <= display.LARGEST


def test_the_picture_of_a_video_is_its_middle_frame():
    field = make("video", frame=Frame((5, 128, 256)))
    frame = np.clip(field.render((1, 128, 256), region=((2.0, 3.0), (0.0, 128.0), (0.0, 256.0)))[0, ..., 0], -1, 1)
    assert np.allclose(np.asarray(picture(field)), (frame + 1) * 127.5, atol=0.51)


def test_the_picture_of_a_shape_is_what_covers_its_disk():
    field = make("shape", lambda *_, **__: ball())
    shown = np.asarray(picture(field).convert("L"))
    filled = np.mean(shown < 250)
    # The picture reaches 1.03·√3 of the radius from its middle, because it is the box that is centred in it.
    assert filled == pytest.approx(np.pi / 4 / (1.03**2), rel=0.1)


def test_a_shape_without_a_surface_has_no_picture():
    assert set(make("shape", lambda *_, **__: ball(radius=-4.0))._repr_mimebundle_()) == {"text/plain"}


@pytest.mark.parametrize("name", ["picture", "solution", "sound", "shape"])
def test_few_points_are_evaluated(name, monkeypatch):
    points, rendered = [], NeuralField.render

    def render(self, shape=None, **options):
        points.append(int(np.prod(shape)))
        return rendered(self, shape, **options)

    monkeypatch.setattr(NeuralField, "render", render)
    make(
        name, frame=dataclasses.replace(make(name).frame, shape=(10**6,) * len(make(name).frame.shape))
    )._repr_mimebundle_()
    assert sum(points) <= display.POINTS
    monkeypatch.setattr(display, "WORK", 1000 * count_parameters(make(name).network))
    points.clear()
    assert "image/png" in make(name)._repr_mimebundle_() or name == "shape"
    assert sum(points) <= 1000


@pytest.mark.parametrize("shape", [(1, 900), (900, 1), (2, 2)])
def test_pictures_of_every_proportion_can_be_seen(shape):
    sides = picture(make("picture", frame=Frame(shape))).size
    assert max(sides) == display.SIDE
    assert min(sides) >= display.THINNEST


def test_a_solution_of_three_coordinates_is_shown_at_the_middle_of_the_first():
    network = SIREN(3, 1, width=8, depth=0, rngs=nnx.Rngs(0))
    field = NeuralField(network, Grid((4, 8, 8), (0.0, 0.0, 0.0), (1.0, 2.0, 2.0)), kind="solution")
    seen = []
    render = lambda shape, region: seen.append((shape, region)) or field.render(shape, region=region)
    assert display.still(network, field.description(), {}, render) is not None
    assert seen == [((1, 256, 256), ((1.5, 2.5), (0.0, 8.0), (0.0, 8.0)))]
    four = NeuralField(
        SIREN(4, 1, width=8, depth=0, rngs=nnx.Rngs(0)), Grid((4,) * 4, (0.0,) * 4, (1.0,) * 4), kind="solution"
    )
    assert set(four._repr_mimebundle_()) == {"text/plain"}


def test_without_parameters_that_can_be_evaluated_there_is_text_alone():
    field, seen = make("picture"), []
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), field)
    damaged = jax.tree.map(lambda leaf: leaf[..., :1], field)
    missing = jax.tree.map(lambda leaf: None, field)
    jax.jit(lambda f: seen.append(f._repr_mimebundle_()) or f(jnp.zeros(2)))(field)
    for bundle in (*seen, *(f._repr_mimebundle_() for f in (stacked, damaged, missing))):
        assert set(bundle) == {"text/plain"}
        assert len(bundle["text/plain"].splitlines()) == 3
