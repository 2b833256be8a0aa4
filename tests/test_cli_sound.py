"""The command turns a sound file into a SIREN, and that into a sound file again."""

import json
import os

import numpy as np
import pytest
import scipy.io.wavfile

from siren_jax import load, load_sound
from siren_jax.cli import main
from siren_jax.metrics import snr
from siren_jax.signals import Sound, resample

pytestmark = pytest.mark.slow

RATE = 8000
DRAWN = ["--width", "16", "--depth", "1", "--steps", "12"]
TINY = [*DRAWN, "--no-figures"]


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A quarter of a second of a chord in stereo, at half of full scale."""
    path = tmp_path_factory.mktemp("sound") / "my chord.wav"
    time = np.arange(RATE // 4) / RATE
    left, right = np.sin(2 * np.pi * 200 * time), np.sin(2 * np.pi * 300 * time)
    scipy.io.wavfile.write(path, RATE, (np.stack([left, right], axis=1) * 2**14).astype(np.int16))
    return path


@pytest.fixture(scope="module")
def fitted(recording, tmp_path_factory):
    """A good fit's `.siren` file; not to be changed."""
    out = tmp_path_factory.mktemp("fitted")
    arguments = ["--width", "64", "--depth", "1", "--steps", "400", "--batch-size", "full", "--learning-rate", "2e-3"]
    assert main(["fit", str(recording), *arguments, "--out", str(out)]) == 0
    return out / "my chord.siren"


def refused(arguments, capsys) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_a_sound_is_fitted_and_everything_is_written(recording, tmp_path, capsys):
    out = tmp_path / "a"
    assert main(["fit", str(recording), *DRAWN, "--out", str(out), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    files = ["comparison.png", "curve.png", "metrics.json", "my chord.siren", "reconstruction.wav"]
    assert sorted(os.listdir(out)) == ["checkpoints", *files]
    assert sorted(summary["files"]) == sorted(str(out / name) for name in files)
    assert {"snr", "mse"} < set(summary)
    field = load(out / "my chord.siren")
    assert (field.kind, field.rate, field.frame.shape) == ("sound", RATE, (RATE // 4,))


def test_the_snr_that_is_printed_is_that_of_the_sound_that_is_written(recording, fitted):
    printed = json.loads((fitted.parent / "metrics.json").read_text())
    truth, made = load_sound(recording), load_sound(fitted.parent / "reconstruction.wav")
    assert made.rate == RATE
    assert printed["snr"] > 20
    assert printed["snr"] == pytest.approx(
        snr(made.samples, truth.samples), abs=0.01
    )  # 16 bits: 1e-9 of the power, -90 dB
    peak = np.abs(truth.samples).max()
    assert printed["mse"] == pytest.approx(np.mean((made.samples - truth.samples) ** 2) / peak**2, rel=0.01)


# The same moment as a coordinate is rounded to 6e-8 in either way, which a network of this omega turns into up to 1e-4.
ROUNDING = 2e-4


@pytest.mark.parametrize("rate", [16000, 44100, 8001])
def test_at_a_higher_rate_it_is_the_function_at_those_times(rate, fitted, tmp_path):
    field = load(fitted)
    out = tmp_path / "a.npy"
    assert main(["render", str(fitted), "--out", str(out), "--rate", str(rate), "--between", "0.05", "0.2"]) == 0
    made = np.load(out)
    assert made.shape == (round(0.15 * rate), 2)
    index = RATE * (0.05 + np.arange(len(made)) / rate)  # sample k lies at the time k/rate
    assert np.allclose(made, field(field.frame.coordinates(index[:, None])), atol=ROUNDING)


@pytest.mark.parametrize("rate", [4000, 2000, 1600])
def test_at_a_lower_rate_it_is_filtered_as_the_whole_would_be(rate, fitted, tmp_path):
    """A part as that part of the whole: its cut ends do not fade, for the filter sees the sound beyond them."""
    whole = resample(Sound(load(fitted).render(), RATE), rate).samples
    for name, start, stop in (("part", 0.05, 0.15), ("end", 0.15, 0.25), ("all", 0.0, 0.25)):
        out = tmp_path / f"{name}.npy"
        between = ["--between", str(start), str(stop)]
        assert main(["render", str(fitted), "--out", str(out), "--rate", str(rate), *between]) == 0
        assert np.allclose(np.load(out), whole[round(start * rate) : round(stop * rate)], atol=ROUNDING)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_it_is_written_in_every_format(suffix, fitted, tmp_path):
    pytest.importorskip("soundfile")
    out = tmp_path / f"a{suffix}"
    assert main(["render", str(fitted), "--out", str(out)]) == 0
    made, truth = load_sound(out), load(fitted).render()
    assert made.rate == RATE
    assert snr(made.samples[: len(truth)], truth) > 15  # Vorbis loses what is not heard


def test_an_excerpt_is_that_part_of_the_whole(fitted, tmp_path):
    assert main(["render", str(fitted), "--out", str(tmp_path / "whole.npy")]) == 0
    assert main(["render", str(fitted), "--out", str(tmp_path / "part.npy"), "--between", "0.05", "0.15"]) == 0
    whole, part = np.load(tmp_path / "whole.npy"), np.load(tmp_path / "part.npy")
    assert np.allclose(part, whole[int(0.05 * RATE) : int(0.15 * RATE)], atol=ROUNDING)


def test_more_samples_than_can_be_held_are_refused(fitted, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("siren_jax.subjects.sound.MAX_SAMPLES", 7999)
    message = refused(["render", str(fitted), "--out", str(tmp_path / "a.wav"), "--rate", "16000"], capsys)
    assert "4,000 samples of each channel are 8,000; up to 7,999" in message


def test_a_part_of_a_file_is_fitted(recording, tmp_path):
    arguments = [*TINY, "--between", "0.05", "0.15", "--out", str(tmp_path / "a")]
    assert main(["fit", str(recording), *arguments]) == 0
    assert load(tmp_path / "a" / "my chord.siren").frame.shape == (RATE // 10,)


def test_the_sound_of_an_mp4_is_fitted(tmp_path):
    av = pytest.importorskip("av", reason="MP4 needs the extra `video`")
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=RATE, layout="mono")
        samples = 0.5 * np.sin(np.arange(4 * 1024) / 5).astype(np.float32)
        for number, part in enumerate(np.split(samples, 4)):
            frame = av.AudioFrame.from_ndarray(part[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, 1024 * number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert main(["fit", str(tmp_path / "a.mp4"), *TINY, "--downsample", "2", "--out", str(tmp_path / "out")]) == 0
    field = load(tmp_path / "out" / "a.siren")
    assert (field.kind, field.rate, field.frame.shape) == ("sound", RATE // 2, (2 * 1024,))


def test_a_target_snr_ends_the_fit(recording, tmp_path, capsys):
    arguments = ["--width", "64", "--depth", "1", "--steps", "4000", "--learning-rate", "2e-3", "--target-snr", "10"]
    assert main(["fit", str(recording), *arguments, "--out", str(tmp_path / "a"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["stopped_by"] == "watch"
    assert summary["snr"] >= 10


@pytest.mark.parametrize(
    ("option", "value"),
    [("--target", "gradient"), ("--size", "100"), ("--target-psnr", "30")],
)
def test_options_of_pictures_are_refused_for_a_sound(option, value, recording, tmp_path, capsys):
    message = refused(["fit", str(recording), option, value, "--out", str(tmp_path / "a")], capsys)
    assert f"{option} does not apply to a sound" in message
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "a.png"], "written as .wav, .flac, .ogg, .npy"),
        (["--out", "a.mp3"], "--out ends in one of"),
        (["--out", "a.wav", "--scale", "2"], "--scale does not apply to the kind 'sound'"),
        (["--out", "a.wav", "--of", "gradient"], "--of does not apply to the kind"),
        (["--out", "a.wav", "--between", "0.1", "0.1"], "a start before a stop within 0 to 0.25 s"),
        (["--out", "a.wav", "--between", "0.1", "3"], "a start before a stop within 0 to 0.25 s"),
        (["--out", "a.wav", "--rate", "0"], "a positive number up to 1,000,000, but is 0"),
        (["--out", "a.wav", "--rate", "44100.5"], "takes a whole number, but is 44100"),
        (["--out", "a.wav", "--rate", "inf"], "takes a whole number, but is inf"),
        (["--out", "a.wav", "--rate", "2000000000"], "a positive number up to 1,000,000, but is 2e+09"),
        (["--out", "a.wav", "--at", "0.1"], "--at does not apply to the kind 'sound'"),
    ],
)
def test_what_cannot_be_rendered_is_refused(arguments, message, fitted, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert message in refused(["render", str(fitted), *arguments], capsys)
    assert not os.listdir(tmp_path)


def test_the_recipe_of_the_paper_begins_with_its_omega_for_sounds(recording, tmp_path):
    arguments = [*TINY, "--recipe", "paper", "--out", str(tmp_path / "a")]
    assert main(["fit", str(recording), *arguments]) == 0
    assert load(tmp_path / "a" / "my chord.siren").network.first_omega == 3000
