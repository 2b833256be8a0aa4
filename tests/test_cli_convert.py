"""`siren-jax convert` keeps the signal, sample by sample, and says what a precision costs."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file

from siren_jax import SIREN, Frame, NeuralField, ReLUMLP, load, metrics
from siren_jax.cli import main
from siren_jax.fields import Grid
from siren_jax.files import pytorch
from siren_jax.shapes import Placement


def state(d: int, c: int) -> dict[str, np.ndarray]:
    """Of a SIREN as it begins, in the layout of the paper's code."""
    random, hidden = np.random.default_rng(0), (6 / 16) ** 0.5 / 30
    shapes, bounds = [(16, d), (16, 16), (c, 16)], [1 / d, hidden, hidden]
    weights = {
        f"net.net.{i}.0.weight": random.uniform(-bound, bound, shape)
        for i, (shape, bound) in enumerate(zip(shapes, bounds, strict=True))
    }
    return {**weights, **{f"net.net.{i}.0.bias": random.uniform(-0.2, 0.2, shape[0]) for i, shape in enumerate(shapes)}}


def written(path: Path, d: int, c: int) -> Path:
    save_file(state(d, c), path)
    return path


def convert(*arguments: object) -> int:
    return main(["convert", *map(str, arguments)])


def values(path: Path, *axes: np.ndarray) -> np.ndarray:
    """Of the function in a state dict, on the grid of these coordinates."""
    points = np.stack(np.meshgrid(*axes, indexing="ij"), -1).astype(np.float32)
    return np.asarray(pytorch.load(path)(jnp.asarray(points)))


@pytest.mark.parametrize(
    ("options", "of_axis"),
    [
        ([], lambda n: np.linspace(-1, 1, n)),
        (["--grid", "edges"], lambda n: 2 * np.arange(n) / n - 1),
        (["--grid", "centres"], lambda n: (2 * np.arange(n) + 1 - n) / 9),
    ],
)
def test_the_samples_of_a_picture_are_those_of_the_code_it_comes_from(options, of_axis, tmp_path):
    source = written(tmp_path / "a.safetensors", 2, 3)
    assert convert(source, tmp_path / "a.siren", "--shape", 6, 9, *options) == 0
    expected = (values(source, of_axis(6), of_axis(9)) + 1) / 2
    # float32 at phases up to 30.
    np.testing.assert_allclose(load(tmp_path / "a.siren").render(), expected, atol=2e-5)


def test_a_sound_of_the_paper_s_code_reaches_from_minus_to_plus_a_hundred(tmp_path):
    source = written(tmp_path / "a.safetensors", 1, 1)
    options = ["--shape", 50, "--rate", 8000, "--extent", 100]
    assert convert(source, tmp_path / "a.siren", *options) == 0
    sound = load(tmp_path / "a.siren")
    assert (sound.kind, sound.rate, sound.value_range) == ("sound", 8000.0, (-1.0, 1.0))
    # float32 at phases up to 3,000: 2e-4 each.
    np.testing.assert_allclose(sound.render(), values(source, np.linspace(-100, 100, 50)), atol=2e-3)


def test_a_shape_keeps_its_coordinates(tmp_path):
    source = written(tmp_path / "a.safetensors", 3, 1)
    assert convert(source, tmp_path / "a.siren", "--kind", "shape") == 0
    shape, points = load(tmp_path / "a.siren"), np.random.default_rng(0).uniform(-1, 1, (20, 3)).astype(np.float32)
    assert shape.placement == Placement((0.0, 0.0, 0.0), 1.0)
    expected = pytorch.load(source)(jnp.asarray(points))
    np.testing.assert_allclose(shape(points), expected, atol=1e-6)  # the range's scale and shift, in float32


def test_a_video_has_frames_rows_and_columns(tmp_path):
    source = written(tmp_path / "a.safetensors", 3, 3)
    assert convert(source, tmp_path / "a.siren", "--kind", "video", "--shape", 4, 5, 6, "--rate", 25) == 0
    video = load(tmp_path / "a.siren")
    expected = (values(source, *(np.linspace(-1, 1, n) for n in (4, 5, 6))) + 1) / 2
    np.testing.assert_allclose(video.render(), expected, atol=2e-5)


@pytest.mark.parametrize(
    ("options", "black", "white"), [([], -1, 1), (["--values", 0, 2], 0, 2), (["--outermost", "sigmoid"], 0, 1)]
)
def test_the_values_of_black_and_white_become_zero_and_one(options, black, white, tmp_path):
    source = written(tmp_path / "a.safetensors", 2, 1)
    assert convert(source, tmp_path / "a.siren", "--shape", 6, 9, *options) == 0
    given = values(source, np.linspace(-1, 1, 6), np.linspace(-1, 1, 9))
    given = 1 / (1 + np.exp(-given)) if "sigmoid" in options else given
    np.testing.assert_allclose(load(tmp_path / "a.siren").render(), (given - black) / (white - black), atol=2e-5)


@pytest.mark.parametrize(
    ("layout", "grid", "of_axis"),
    [
        ("paper", "ends", lambda n: np.linspace(-1, 1, n)),
        ("pip", "ends", lambda n: np.linspace(-1, 1, n)),
        ("tutorial", "edges", lambda n: 2 * np.arange(n) / n - 1),
    ],
)
def test_there_and_back_the_signal_is_the_same(layout, grid, of_axis, tmp_path):
    network = SIREN(2, 3, width=16, depth=1, first_omega=43.0, omega=12.0, rngs=nnx.Rngs(0))
    NeuralField(network, Frame((6, 9)), (0.0, 1.0)).save(tmp_path / "a.siren")
    assert convert(tmp_path / "a.siren", tmp_path / "b.safetensors", "--layout", layout, "--grid", grid) == 0
    assert convert(tmp_path / "b.safetensors", tmp_path / "c.siren", "--shape", 6, 9, "--grid", grid) == 0
    original = load(tmp_path / "a.siren").render()
    np.testing.assert_allclose(load(tmp_path / "c.siren").render(), original, atol=2e-5)  # float32 at phases of 43
    there = (values(tmp_path / "b.safetensors", of_axis(6), of_axis(9)) + 1) / 2
    np.testing.assert_allclose(there, original, atol=2e-5)


def test_the_coordinates_of_a_solution_are_those_of_its_equation(tmp_path):
    network = SIREN(2, 1, width=16, depth=1, rngs=nnx.Rngs(0))
    NeuralField(network, Grid((4, 8), (0.0, -3.0), (1.0, 5.0)), kind="solution").save(tmp_path / "a.siren")
    assert convert(tmp_path / "a.siren", tmp_path / "b.safetensors") == 0
    again, x = pytorch.load(tmp_path / "b.safetensors"), jnp.array([[0.3, 4.0]])
    np.testing.assert_array_equal(again(x), network(x))


@pytest.mark.parametrize("shape", [(20, 30), (300, 400)])
def test_a_lower_precision_says_what_it_costs(shape, tmp_path, capsys):
    network = SIREN(2, 3, width=16, depth=1, rngs=nnx.Rngs(0))
    NeuralField(network, Frame(shape), (0.0, 1.0)).save(tmp_path / "a.siren")
    assert convert(tmp_path / "a.siren", tmp_path / "b.siren", "--precision", "int8") == 0
    told = capsys.readouterr().out
    one, other = (load(tmp_path / name).render() for name in ("a.siren", "b.siren"))
    cost = metrics.psnr(other, one, data_range=1.0)
    # Of at most 65,536 points: the mean of so many squares is known to a few percent, 0.1 dB.
    assert float(re.search(r"PSNR ([\d.]+) dB", told)[1]) == pytest.approx(cost, abs=0.1)
    before, after = ((tmp_path / name).stat().st_size for name in ("a.siren", "b.siren"))
    assert f"{after:,} bytes, of {before:,}" in told
    assert convert(tmp_path / "b.siren", tmp_path / "c.siren") == 0
    assert "no difference" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("d", "c", "arguments", "message"),
    [
        (2, 1, ["a.safetensors", "b.pth"], "one of SOURCE and TARGET must be a .siren file"),
        (2, 1, ["a.txt", "b.siren"], "ends in one of .pth, .pt, .safetensors"),
        (2, 1, ["none.safetensors", "b.siren"], "there is no file"),
        (2, 1, ["a.safetensors", "kept.siren"], "exists"),
        (2, 1, ["a.safetensors", "b.siren", "--layout", "pip"], "--layout does not apply"),
        (2, 1, ["kept.siren", "b.siren", "--first-omega", "3"], "--first-omega does not apply"),
        (2, 1, ["kept.siren", "b.safetensors", "--precision", "int8"], "--precision does not apply"),
        (2, 1, ["kept.siren", "b.safetensors", "--shape", "3", "3"], "--shape does not apply"),
        (2, 1, ["relu.siren", "b.safetensors"], "contains a ReLUMLP; only a SIREN can be converted"),
        (2, 1, ["a.safetensors", "b.siren", "--kind", "sound"], "has 2 coordinates and 1 channels; give its kind"),
        (3, 1, ["a.safetensors", "b.siren"], "give its kind with --kind"),
        (3, 3, ["a.safetensors", "b.siren", "--kind", "shape"], "give its kind with --kind"),
        (3, 1, ["a.safetensors", "b.siren", "--kind", "shape", "--grid", "ends"], "leave out --grid and --extent"),
        (3, 1, ["a.safetensors", "b.siren", "--kind", "shape", "--values", "0", "1"], "leave out --values"),
        (3, 1, ["a.safetensors", "b.siren", "--kind", "video"], "along each of 3 axes, but none was given"),
        (2, 1, ["a.safetensors", "b.siren", "--shape", "3"], "along each of 2 axes, but it is 3"),
        (2, 1, ["a.safetensors", "b.siren", "--shape", "1", "3"], "two samples along each axis"),
        (2, 1, ["a.safetensors", "b.siren", "--rate", "3"], "--rate is required for a sound"),
        (1, 1, ["a.safetensors", "b.siren", "--shape", "9"], "--rate is required for a sound"),
        (1, 1, ["a.safetensors", "b.siren", "--shape", "9", "--rate", "2.5"], "--rate is required for a sound"),
    ],
)
def test_what_cannot_be_converted_is_refused_in_one_line(d, c, arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "a.safetensors", d, c)
    for name, network in {"kept": SIREN, "relu": ReLUMLP}.items():
        NeuralField(network(2, 1, width=4, depth=0, rngs=nnx.Rngs(0)), Frame((6, 9))).save(f"{name}.siren")
    assert convert(*arguments) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "kept.siren", "relu.siren"]
