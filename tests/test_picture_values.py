"""What the numbers of a picture mean: black and white, no value, and how much of the range is in use."""

import json
import re

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from siren_jax import SIREN, Frame, InputError, NeuralField, PixelDataset, load, load_image, metrics
from siren_jax.cli import main
from siren_jax.formats.pictures import Decoded
from siren_jax.signals import IncompletePicture, load_mask, read_image, shrink, used_range, value_range_of
from siren_jax.signals.image import interpret
from siren_jax.signals.ranges import lone_ends
from siren_jax.subjects.cells import render_cells
from siren_jax.subjects.picture import Picture, warn_of_nothing

TINY = ["--width", "8", "--depth", "1", "--steps", "5", "--first-omega", "5", "--no-figures"]
PHOTO = np.random.default_rng(0).uniform(0.02, 0.9, (20, 30))
ROWS, COLUMNS = np.mgrid[:20, :30]
METRES = (1200 + 300 * np.sin(ROWS / 5) + 200 * np.cos(COLUMNS / 4)).astype(np.float32)
HOLE = (abs(ROWS - 8) < 4) & (abs(COLUMNS - 14) < 5)


def with_pixel(image, value):
    image = image.copy()
    image[3, 4] = value
    return image


def measured(values, **about) -> Decoded:
    """A file that says nothing of black and white."""
    return Decoded(np.asarray(values)[..., None] if np.ndim(values) == 2 else np.asarray(values), None, **about)


def network(**about) -> SIREN:
    return SIREN(2, 1, **{"width": 8, "depth": 1, "first_omega": 9.0, "rngs": nnx.Rngs(0), **about})


# The interval that stands for black to white


@pytest.mark.parametrize("value", [-0.01, 1.8, -9999.0, 3e4])
def test_a_pixel_that_overshoots_leaves_a_photograph_its_black_and_white(value):
    assert value_range_of(with_pixel(PHOTO, value)) == (0.0, 1.0)
    dataset = PixelDataset(with_pixel(PHOTO, value))
    assert dataset.value.reshape(20, 30)[3, 4] == pytest.approx(2 * value - 1, rel=1e-6)  # beyond [-1, 1], not clipped


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (METRES, (float(METRES.min()), float(METRES.max()))),
        (-METRES, (-float(METRES.max()), -float(METRES.min()))),
        (2 * PHOTO - 1, (-1.0, 1.0)),
        (0.3 * np.sin(ROWS), (-1.0, 1.0)),
        (np.where(HOLE, 1.02, np.where(COLUMNS == 3, -0.01, PHOTO)), (0.0, 1.0)),  # a sharpened photograph
        (np.zeros((4, 5)), (0.0, 1.0)),
        (np.full((4, 5), 0.7), (0.0, 1.0)),
        (np.where(HOLE, np.nan, METRES), (float(METRES[~HOLE].min()), float(METRES[~HOLE].max()))),
        ((255 * PHOTO).astype(int), (0.0, 255.0)),
        (with_pixel((255 * PHOTO).astype(int), 256), (0.0, 255.0)),
        (METRES.astype(int), (float(METRES.astype(int).min()), float(METRES.astype(int).max()))),
    ],
)
def test_the_bulk_of_the_values_decides_which_interval_is_taken(values, expected):
    assert value_range_of(values) == expected


PATHS = {
    "exposure": lambda t: 3 * t * PHOTO,
    "from a photograph to a signed field": lambda t: PHOTO - t,
    "from ripples to a field without a sign": lambda t: np.where(COLUMNS < 15, -t, PHOTO),
    "from one number": lambda t: 5 + t * (PHOTO - 0.5),
    "brightness": lambda t: PHOTO + 2 * t,
    "a few bright values": lambda t: np.where(6 + 60 * t > ROWS * 30 + COLUMNS, 3 + t, PHOTO)[:, ::-1],
}


@pytest.mark.parametrize("path", [p for p in PATHS if p != "a few bright values"])
def test_the_interval_moves_gradually(path):
    steps = np.linspace(0, 1, 2001)
    ends = np.array([value_range_of(PATHS[path](t)) for t in steps])
    # Slopes of the rule: 1/0.15 times what separates two cases, about 1, and some 5 for the sign; the values move by at
    # most 3 a unit of t. A rule that switches jumps by a tenth and more.
    assert np.abs(np.diff(ends, axis=0)).max() < 40 * (steps[1] - steps[0])
    assert np.all(ends[:, 0] < ends[:, 1])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("t", [0.0, 0.1, 0.38, 0.42, 0.7, 1.0])
def test_a_pixel_that_changes_a_little_changes_the_interval_a_little(t, seed):
    random = np.random.default_rng(seed)
    for path in PATHS.values():
        image = np.array(path(t))
        before = np.array(value_range_of(image))
        image[random.integers(20), random.integers(30)] += 1e-6
        assert np.abs(value_range_of(image) - before).max() < 1e-3  # slopes up to 500, of the sign of a dark field


@pytest.mark.parametrize("value", [3.0, -1500.0, 1e17, -2.5e-3])
def test_a_constant_has_an_interval_around_it(value):
    low, high = value_range_of(np.full((3, 4), value))
    assert low <= value <= high or (low, high) == (0.0, 1.0)
    dataset = PixelDataset(np.full((3, 4), value))
    assert np.isfinite(dataset.value).all()
    assert NeuralField(network(), dataset.frame, dataset.value_range).render().shape == (3, 4, 1)


def test_numbers_far_from_all_others_are_found_and_others_are_not():
    field = np.where(HOLE, 0, METRES)
    (lone,) = lone_ends(field)
    assert (lone.value, lone.times) == (0, HOLE.sum())
    assert lone.others == (METRES[~HOLE].min(), METRES[~HOLE].max())
    for unsuspicious in (PHOTO, METRES, np.where(HOLE, 0.0, 1.0), np.zeros((3, 3)), np.full((2, 2), np.nan)[:0]):
        assert not unsuspicious.size or lone_ends(unsuspicious) == []


def test_the_range_in_use_leaves_out_stuck_pixels():
    values = np.arange(10_000.0)[:, None]
    values[:3], values[-4:] = -1e6, 1e6
    assert used_range(values) == (9.0, 9990.0)  # all but 0.1 %, ten values, at either end
    assert used_range(np.array([[2.0], [2.0]])) == (2.0, 2.0)


# From a file's numbers to values


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.uint32, np.float32, np.float64])
def test_a_measurement_keeps_the_numbers_of_its_file(dtype):
    numbers = METRES.astype(dtype)
    image = interpret(measured(numbers))
    assert image.values.dtype == (np.float32 if dtype in (np.int16, np.float32) else np.float64)
    np.testing.assert_array_equal(image.values[..., 0], numbers)
    assert image.value_range == (numbers.min(), numbers.max())
    assert value_range_of(image.values) == image.value_range  # what PixelDataset finds by itself


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535), (np.uint16, 4095)])
def test_types_and_headers_that_say_what_white_is_give_zero_to_one(dtype, white):
    numbers = np.array([[[0], [white // 3], [white]]], dtype)
    image = interpret(Decoded(numbers, (0.0, float(white))))
    assert image.value_range == (0.0, 1.0)
    np.testing.assert_allclose(image.values.ravel(), [0, 1 / 3, 1], rtol=1e-6)
    assert image.notes == ()


def test_given_values_are_black_and_white_in_the_files_own_numbers():
    numbers = np.arange(1024, dtype=np.uint16).reshape(32, 32, 1)
    image = interpret(Decoded(numbers, (0.0, 65535.0)), value_range=(64.0, 1023.0))
    assert image.value_range == (64.0, 1023.0)
    np.testing.assert_array_equal(image.values, numbers)
    assert image.notes == ()
    assert image.brightness[2, 0] == 0  # the number 64


def test_transparency_is_laid_over_the_white_that_is_given():
    pixels = np.array([[[100, 0], [100, 255], [60, 51]]], np.uint8)
    decoded = Decoded(pixels, (0.0, 255.0), has_alpha=True)
    assert interpret(decoded, value_range=(50.0, 200.0)).values.ravel().tolist() == [200, 100, 172]
    kept = interpret(decoded, value_range=(50.0, 200.0), keep_alpha=True)
    assert kept.values[0, :, 1].tolist() == [50, 200, 80]
    np.testing.assert_allclose(kept.brightness[0, :, 1], pixels[0, :, 1] / 255, atol=1e-7)


@pytest.mark.parametrize(
    ("stands_for", "dtype", "tag"),
    [
        (-9999, np.float32, -9999.0),
        (-3.4028234663852886e38, np.float32, -3.40282e38),  # a header of six digits
        (-1.7976931348623157e308, np.float64, -1.7976931348623157e308),
        (-32768, np.int16, -32768.0),
        (0, np.int32, 0.0),
        (np.nan, np.float32, None),
        (np.nan, np.float32, np.nan),
        (np.inf, np.float32, None),
        (-np.inf, np.float64, None),
    ],
)
@pytest.mark.parametrize("by_option", [False, True])
def test_pixels_without_a_value_are_left_out_and_counted(stands_for, dtype, tag, by_option):
    numbers = METRES.astype(dtype)
    numbers[HOLE] = stands_for
    named = () if tag is None else (tag,)
    image = interpret(measured(numbers, no_data=() if by_option else named), no_data=named if by_option else ())
    np.testing.assert_array_equal(image.known, ~HOLE)
    np.testing.assert_array_equal(image.values[~HOLE, 0], numbers[~HOLE])
    assert image.value_range == (numbers[~HOLE].min(), numbers[~HOLE].max())
    assert f"{HOLE.sum()} of 600 pixels have no value" in image.notes[0]


def test_a_pixel_of_several_channels_lacks_a_value_by_what_the_file_is():
    pixels = np.array([[[7, 0, 0], [0, 0, 0], [1, 2, 3]]])
    known = lambda levels: interpret(Decoded(pixels.astype(np.float32), levels, no_data=(0.0,))).known.tolist()
    assert known(None) == [[False, False, True]]  # bands of a measurement
    assert known((0.0, 255.0)) == [[True, False, True]]  # a pure red is a colour


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: interpret(measured(np.full((3, 4), np.nan))), "no pixel of the picture has a value"),
        (lambda: interpret(measured(np.full((3, 4), 7.0)), no_data=(7.0,)), "no pixel of the picture has a value"),
        (lambda: interpret(measured(with_pixel(METRES, -3.4028235e38))), "beyond 1e.18.*no_data=-3.402823e.38"),
        (lambda: interpret(measured(METRES), value_range=(2.0, 2.0)), "low < high"),
        (lambda: PixelDataset(with_pixel(METRES, np.nan)), "1 of the 600 values are NaN.*IncompletePicture"),
        (lambda: IncompletePicture(np.full((3, 4), np.nan)), "no pixel is known"),
    ],
)
def test_what_has_no_meaning_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize(
    ("decoded", "said"),
    [
        (measured(METRES), "are taken as black to white; values=.low, high. takes others"),
        (measured(with_pixel(PHOTO, 1.8)), r"from 0 to 1 are taken as .* \(they reach from .* to 1.8\)"),
        (measured(np.where(HOLE, -9999, METRES)), r"number -9999 \(63 of 600 values\) is far .*no_data=-9999\."),
        (measured(np.where(HOLE, 0, METRES)), r"number 0 \(63 of 600 values\) is far from all others"),
        (measured(with_pixel(PHOTO, -9999)), "no_data=-9999"),
        (measured(1e-3 * PHOTO), "of the range from 0 to 1; values="),
        (
            Decoded(np.arange(1024, dtype=np.uint16)[None, :, None], (0.0, 65535.0)),
            r"1 to 1022, 1.6 % of .*values=.1, 1022.",
        ),
    ],
)
def test_the_command_says_which_interval_it_takes_and_what_is_suspicious(decoded, said):
    assert re.search(said, "\n".join(interpret(decoded).notes))


def test_a_file_is_read_in_its_own_numbers(tmp_path):
    Image.fromarray(np.where(HOLE, np.float32(np.nan), METRES)).save(tmp_path / "a.tiff")
    np.testing.assert_array_equal(load_image(tmp_path / "a.tiff")[..., 0], np.where(HOLE, np.nan, METRES))
    image = read_image(tmp_path / "a.tiff", no_data=(float(METRES[0, 0]),))
    np.testing.assert_array_equal(image.known, ~HOLE & (METRES[0, 0] != METRES))
    with pytest.raises(InputError, match=r"mask .* has pixels without a value"):
        load_mask(tmp_path / "a.tiff")
    Image.fromarray(np.where(HOLE, np.float32(255), np.float32(0))).save(tmp_path / "mask.tiff")
    np.testing.assert_array_equal(load_mask(tmp_path / "mask.tiff"), HOLE)


# Resizing


@pytest.mark.parametrize("options", [{"downsample": 2}, {"size": 11}, {"size": 47}])
def test_resizing_blends_nothing_into_pixels_beside_a_hole(options):
    plane = np.where(HOLE, np.nan, 1234.5)[..., None]
    small = shrink(plane, **options)
    np.testing.assert_allclose(small[np.isfinite(small)], 1234.5, rtol=1e-12)
    share = 1 - np.isfinite(small).mean()
    assert share == pytest.approx(HOLE.mean(), rel=0.35)  # the hole keeps its size, to a pixel at its border
    # Whatever the hole held, the means beside it are those of the known pixels: linear in them.
    double = shrink(np.where(HOLE[..., None], np.inf, 2 * METRES[..., None]), **options)
    np.testing.assert_allclose(double, 2 * shrink(np.where(HOLE, np.nan, METRES)[..., None], **options), rtol=1e-6)


# Incomplete pictures


def test_pixels_without_a_value_are_never_drawn(key):
    picture = IncompletePicture(np.where(HOLE, np.nan, METRES))
    np.testing.assert_array_equal(picture.known, ~HOLE)
    assert picture.value_range == (METRES[~HOLE].min(), METRES[~HOLE].max())
    batch = picture.sampler(500)(key, 0)
    assert np.isfinite(batch["value"]).all()
    assert np.isfinite(picture.filled()).all()


# Fits


def dark() -> Picture:
    return Picture(PixelDataset(PHOTO * 0.0156, value_range=(0.0, 1.0)), "values", {}, 0.0)


def test_the_psnr_over_the_range_in_use_stands_beside_that_over_the_whole(tmp_path):
    subject, net = dark(), network()
    assert subject.note == f"{100 * 0.0156 * np.ptp(PHOTO):.2g} % of the range is in use"
    with pytest.warns(UserWarning, match="learned next to nothing"):
        quality = subject.write(net, lambda name: str(tmp_path / name), overwrite=True)
    values = NeuralField(net, Frame((20, 30)), (0.0, 1.0)).render()[..., 0]
    # Of 600 values 0.1 % is none: the range in use is that from the least to the greatest.
    expected = metrics.psnr(values, PHOTO * 0.0156, data_range=0.0156 * np.ptp(PHOTO))
    assert quality["psnr_used"] == pytest.approx(expected, abs=1e-3)
    assert f"{quality['psnr_used']:.2f} dB over the 1.4 % of the range in use" in subject.note


def test_a_picture_that_uses_its_range_needs_no_note():
    assert Picture(PixelDataset(PHOTO), "values", {}, 0.0).note == ""
    constant = Picture(PixelDataset(np.full((4, 5), 0.5)), "values", {}, 0.0)
    assert constant.note == ""


def test_a_network_that_learned_nothing_is_called_so_and_one_of_low_contrast_is_not():
    truth = PHOTO.reshape(-1, 1)
    with pytest.warns(UserWarning, match="error is 1 times that of one even tone"):
        warn_of_nothing(np.full_like(truth, truth.mean()), truth)
    warn_of_nothing(0.3 * (truth - truth.mean()) + truth.mean(), truth)  # error 0.49 of the variance
    warn_of_nothing(np.ones((5, 1)), np.zeros((5, 1)))  # an even picture has nothing that could be learned


def test_unknown_pixels_count_for_nothing_in_what_is_measured_and_shown(tmp_path):
    net, picture = network(), IncompletePicture(np.where(HOLE, np.nan, METRES))
    subject = Picture(picture, "values", {}, 0.0)
    assert subject.points == (~HOLE).sum()
    field = subject.field(net, {})
    low, high = field.value_range
    expected = metrics.psnr(field.render()[..., 0][~HOLE], METRES[~HOLE], data_range=high - low)
    assert subject.quality(net) == pytest.approx(expected, abs=1e-3)
    assert subject.estimate(net) == pytest.approx(expected, abs=0.5)  # 600 draws of 537 pixels
    axes = subject.figure(net, "").axes[:6]
    assert [axis.get_xlabel() for axis in axes] == ["green: no value"] * 6
    shown = [np.ma.getmaskarray(np.ma.asarray(axis.images[0].get_array())) for axis in axes]
    np.testing.assert_array_equal(shown[0], HOLE)
    np.testing.assert_array_equal(shown[1], HOLE)
    assert all((mask[HOLE]).all() for mask in shown)
    assert axes[0].images[0].get_clim() == (low, high)  # the colour bar is in metres


def test_a_field_in_metres_with_a_hole_is_fitted_rendered_and_described_in_metres(tmp_path, capsys):
    path, out = tmp_path / "dem.tiff", tmp_path / "out"
    Image.fromarray(np.where(HOLE, np.float32(-9999), METRES)).save(path)
    assert main(["fit", str(path), "--no-data", "-9999", *TINY, "--out", str(out), "--json"]) == 0
    captured = capsys.readouterr()
    assert "63 of 600 pixels have no value (NaN or infinite, -9999)" in captured.err
    summary = json.loads(captured.out.splitlines()[-1])
    assert summary["unknown_pixels"] == 63
    assert main(["render", str(out / "dem.siren"), "--out", str(tmp_path / "a.npy")]) == 0
    metres = np.load(tmp_path / "a.npy")[..., 0]
    low, high = load(out / "dem.siren").value_range
    assert (low, high) == (METRES[~HOLE].min(), METRES[~HOLE].max())
    psnr = metrics.psnr(metres[~HOLE], METRES[~HOLE], data_range=high - low)
    assert summary["psnr"] == pytest.approx(psnr, abs=1e-3)
    assert main(["info", str(out / "dem.siren")]) == 0
    assert f"{low:.7g} to {high:.7g}" in capsys.readouterr().out
    assert main(["fit", str(path), "--no-data", "-9999", "--target", "laplacian", "--out", str(tmp_path / "b")]) == 2
    assert "next to which its derivatives are unknown" in capsys.readouterr().err


@pytest.mark.slow
def test_inpainting_fills_what_a_file_lacks_without_a_mask(tmp_path, capsys):
    path = tmp_path / "dem.tiff"
    Image.fromarray(np.where(HOLE, np.float32(np.nan), METRES)).save(path)
    assert main(["inpaint", str(path), *TINY, "--out", str(tmp_path / "out"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["psnr"] == summary["psnr_known"]
    field = load(tmp_path / "out" / "dem.siren")
    low, high = field.value_range
    psnr = metrics.psnr(field.render()[..., 0][~HOLE], METRES[~HOLE], data_range=high - low)
    assert summary["psnr"] == pytest.approx(psnr, abs=1e-3)


@pytest.mark.parametrize("command", [["fit"], ["inpaint", "--keep", "10"]])
@pytest.mark.parametrize(
    ("options", "message"),
    [(["--values", "5", "1"], "--values takes two numbers, the lower one first"), (["--no-data", "nan"], "--no-data")],
)
def test_values_that_cannot_be_meant_are_refused(command, options, message, tmp_path, capsys):
    Image.fromarray(METRES).save(tmp_path / "a.tiff")
    assert main([command[0], str(tmp_path / "a.tiff"), *command[1:], *options]) == 2
    assert message in capsys.readouterr().err


# Rendering


@pytest.mark.parametrize("of", ["value", "gradient", "laplacian"])
@pytest.mark.parametrize("at_once", [7, 2**20])
def test_pixels_of_a_coarse_grid_are_means_over_their_cells(of, at_once, monkeypatch):
    monkeypatch.setattr("siren_jax.subjects.cells.AT_ONCE", at_once)
    field, region = NeuralField(network(), Frame((20, 30)), (450.0, 1850.0)), ((2.0, 18.0), (1.0, 30.0))
    coarse = render_cells(field, (4, 13), of=of, region=region)  # cells of 4 x 2.2 pixels: 4 x 3 points
    fine = field.render((16, 39), of=of, region=region)
    means = fine.reshape(4, 4, 13, 3, *fine.shape[2:]).astype(np.float64).mean(axis=(1, 3))
    np.testing.assert_allclose(coarse, means, rtol=1e-4, atol=1e-4 * np.abs(means).max())  # float32 of the points
    out = np.full(coarse.shape, 7, np.float32)
    render_cells(field, (4, 13), of=of, region=region, out=out)
    np.testing.assert_array_equal(out, coarse)


def test_frames_of_a_coarse_video_are_averaged_each_by_itself():
    net = SIREN(3, 2, width=8, depth=1, first_omega=9.0, rngs=nnx.Rngs(0))
    field, region = (
        NeuralField(net, Frame((5, 8, 6)), (0.0, 255.0), "video", rate=10.0),
        ((0.0, 5.0), (0.0, 8.0), (0.0, 6.0)),
    )
    coarse, fine = render_cells(field, (3, 4, 3), region=region), field.render((3, 8, 6))
    means = fine.reshape(3, 4, 2, 3, 2, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(coarse, means, rtol=1e-4, atol=0.01)  # float32 of the points


def test_a_grid_as_fine_as_the_original_is_sampled_at_the_centres_of_its_pixels():
    field, region = NeuralField(network(), Frame((20, 30))), ((0.0, 20.0), (0.0, 30.0))
    np.testing.assert_array_equal(render_cells(field, (20, 30), region=region), field.render())
    np.testing.assert_array_equal(render_cells(field, (33, 47), region=region), field.render((33, 47)))


@pytest.mark.parametrize(
    ("record", "open_"),
    [
        ({"target": "gradient", "alignment": "mean"}, "its mean:"),
        ({"target": "laplacian", "alignment": "mean and plane"}, "its mean and a slope:"),
    ],
)
def test_rendering_a_fit_of_derivatives_says_what_they_leave_open(record, open_, tmp_path, capsys):
    NeuralField(network(), Frame((4, 5)), record=record).save(tmp_path / "a.siren")
    render = ["render", str(tmp_path / "a.siren"), "--overwrite", "--out", str(tmp_path / "a.npy")]
    assert main(render) == 0
    assert f"fitted to a {record['target']}, which does not determine {open_}" in capsys.readouterr().err
    assert main([*render, "--of", "gradient"]) == 0
    assert capsys.readouterr().err == ""
