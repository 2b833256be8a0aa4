"""A file or an array becomes a fitted signal in one call, to the same bits as by the command."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io.wavfile
from flax import nnx
from PIL import Image

import siren_jax
from siren_jax import InputError, load
from siren_jax.cli import main
from siren_jax.fitting import recipes
from siren_jax.subjects.kinds import KINDS, SIGNALS, kind_of_source
from siren_jax.subjects.one_call import Options

NOISE = np.random.default_rng(0).integers(0, 256, (14, 11), np.uint8)
TINY = {"steps": 12, "width": 8, "depth": 1}


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "noise.png"
    Image.fromarray(NOISE).save(path)
    return path


def weights(field):
    return jax.tree.leaves(nnx.state(field.network))


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))


@pytest.mark.filterwarnings("ignore:the network has learned next to nothing")
@pytest.mark.parametrize("target", ["values", pytest.param("gradient", marks=pytest.mark.slow)])
def test_a_call_gives_the_bits_of_the_command(target, photo, tmp_path):
    arguments = ["--steps", "12", "--width", "8", "--depth", "1", "--target", target, "--seed", "3"]
    assert main(["fit", str(photo), *arguments, "--out", str(tmp_path / "a")]) == 0
    fitted = siren_jax.open(photo, target=target).fit(key=jax.random.key(3), **TINY)
    kept = load(tmp_path / "a" / "noise.siren")
    assert same(fitted.field, kept)
    assert fitted.quality() == pytest.approx(kept.record["psnr"], abs=1e-9)
    metrics = fitted.write(tmp_path / "b")
    assert same(load(tmp_path / "b" / "noise.siren"), kept)
    of_command, of_call = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in "ab")
    timed = {"seconds", "compile_seconds", "seconds_per_step", "peak_rss_mb", "files", "record"}
    assert {name: of_call[name] for name in of_command if name not in timed} == {
        name: value for name, value in of_command.items() if name not in timed
    }
    assert metrics["psnr"] == of_call["psnr"] == kept.record["psnr"]
    assert (tmp_path / "b" / "reconstruction.png").read_bytes() == (tmp_path / "a" / "reconstruction.png").read_bytes()
    assert {path.name for path in (tmp_path / "a").iterdir()} - {"checkpoints"} == {
        path.name for path in (tmp_path / "b").iterdir()
    }
    with pytest.raises(InputError, match="exists; choose another directory, or allow overwrite"):
        fitted.write(tmp_path / "b")


def test_a_signal_says_what_it_is_and_how_it_was_read():
    heights = siren_jax.open(NOISE + 300.0, name="heights")
    low, high = 300 + int(NOISE.min()), 300 + int(NOISE.max())
    assert heights.notes == (
        f"values from {low} to {high} are taken as black to white; values=(low, high) takes others.",
    )
    assert repr(heights).splitlines() == ["Signal('heights', a picture, 154 points)", *heights.notes]
    assert repr(heights.fit(**TINY)) == "FittedSignal('heights', a picture, 12 steps)"


def test_an_array_is_what_a_file_of_it_is(photo):
    from_file, from_array = siren_jax.open(photo), siren_jax.open(NOISE, name="noise")
    assert np.array_equal(from_file.subject.dataset.signal, from_array.subject.dataset.signal)
    assert same(from_file.fit(**TINY).field, from_array.fit(**TINY).field)


@pytest.mark.slow
def test_a_fit_ends_at_a_quality():
    smooth = np.hypot(*np.mgrid[-1:1:12j, -1:1:16j])
    fitted = siren_jax.open(smooth).fit(quality=25.0, width=32, depth=1)
    assert fitted.fit.stopped_by == "watch"
    assert fitted.quality() >= 25
    assert fitted.fit.steps < recipes.TUNED["values"].steps


@pytest.mark.slow
def test_a_sound_of_an_array_keeps_its_rate(tmp_path):
    samples = 0.5 * np.sin(2 * np.pi * 40 * np.arange(400) / 800)
    fitted = siren_jax.open(samples, rate=800).fit(**TINY)
    assert (fitted.field.kind, fitted.field.rate) == ("sound", 800)
    assert fitted.signal.subject.measure.name == "snr"
    fitted.write(tmp_path)
    rate, written = scipy.io.wavfile.read(tmp_path / "reconstruction.wav")
    assert (rate, written.shape) == (800, (400,))


def test_a_video_of_an_array_keeps_its_rate():
    frames = np.stack([np.roll(NOISE, n, axis=1) for n in range(3)])
    field = siren_jax.open(frames, rate=10).fit(**TINY).field
    assert (field.kind, field.rate, field.frame.shape) == ("video", 10, (3, 14, 11))


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (NOISE, {"between": (0, 1)}, "between does not apply to a picture; it has downsample, integral_weight"),
        (NOISE, {"target": "curl"}, "target is one of values, gradient, laplacian, mixed, but is 'curl'"),
        (NOISE, {"recipe": "best"}, "a recipe is 'tuned' or 'paper'"),
        (NOISE, {"kind": "volume"}, r"an array of the shape \(14, 11\) is none of image, sound, video, shape"),
        (np.zeros(9), {}, "An array of a sound or a video needs its rate"),
        (np.ones(9), {"rate": 8.5}, "a whole number of samples a second, but has 8.5"),
        (np.ones(9), {"rate": float("nan")}, "but has nan"),
        (np.zeros((2, 3, 4, 2), np.uint8), {"rate": 8}, r"\(t, h, w, 3\) of bytes with at least 2 frames"),
        (np.zeros((2, 3, 4), np.uint8), {"rate": float("inf")}, "frames a second, but has inf"),
        (NOISE, {"kind": "shape"}, "a shape is opened from a file"),
        (NOISE, {"weights": (1.0, 0.0, 0.0)}, 'weights= applies to target="mixed" only'),
        (NOISE, {"target": "mixed", "weights": (-1.0, 1.0, 0.0)}, "weights are three numbers, finite, not negative"),
        (NOISE, {"target": "gradient", "integral_weight": -1.0}, "not negative"),
        (NOISE, {"target": ["values"]}, "target is one of"),
        (np.zeros(9), {"rate": 8}, "the sound is silent"),
        (np.ones(9, int), {"rate": 8}, "of floats, but this one has the shape"),
        (np.ones(9), {"rate": 8, "between": (0, 1)}, "cut and resample an array beforehand"),
        (np.zeros((2, 3, 4)), {"rate": 8}, "of bytes with at least 2 frames"),
        (np.zeros((2, 3, 4), np.uint8), {"rate": 8, "size": 2}, "cut and resize an array beforehand"),
        (np.zeros((3, 4), complex), {}, "this is values of the type complex128; real numbers are needed"),
        ("nowhere.png", {}, "there is no file 'nowhere.png'"),
    ],
)
def test_what_cannot_be_meant_is_refused(source, options, message):
    with pytest.raises(InputError, match=message):
        siren_jax.open(source, **options)


def test_options_are_those_of_all_kinds():
    own = {"recipe"}  # an argument of `open`
    assert set(Options.__annotations__) == set.union(*(kind.open_options for kind in SIGNALS.values())) - own


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"first_omega": 0}, "first_omega is a positive number below 1e"),
        ({"omega": -3.0}, "omega is a positive number"),
        ({"width": 0}, "width= takes a whole number from 1"),
        ({"depth": 257}, "depth= takes a whole number from 0 to 256, but is 257"),
        ({"width": 65536}, "width=65536 and depth=1 make over 268,435,456 weights; make one smaller"),
        ({"batch_size": 0}, "batch_size is a number of points, at least 1"),
    ],
)
def test_a_network_that_no_file_can_hold_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        siren_jax.open(NOISE).fit(**TINY | settings)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the network has learned next to nothing")
def test_names_and_choices_are_kept(tmp_path):
    fitted = siren_jax.open(jnp.asarray(NOISE), name=r"cost $\foo$").fit(**TINY, first_omega=17.0)
    fitted.write(tmp_path)
    field = load(tmp_path / r"cost $\foo$.siren")
    assert (field.network.first_omega, field.record["omega_from"]) == (17.0, "option")


def test_every_kind_is_one_row():
    from siren_jax.files.header import AXES

    assert set(SIGNALS) == set(AXES)
    for name, kind in KINDS.items():
        assert kind.name == name
        assert ".npy" in kind.formats
    assert kind_of_source(NOISE).open_options >= {"target", "size", "no_data"}


def test_rooms_are_reached_from_the_package_and_its_names_are_those_it_lists():
    for name in ("equations", "plot", "references", "open", "refine", *siren_jax.__all__):
        assert getattr(siren_jax, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        siren_jax.nothing  # noqa: B018
