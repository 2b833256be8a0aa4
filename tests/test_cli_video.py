"""The command turns a video file into a SIREN, and that into a video file, or a frame, again."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from siren_jax import load, load_video
from siren_jax.cli import main
from siren_jax.metrics import psnr
from siren_jax.signals import encode_video

pytestmark = pytest.mark.slow

pytest.importorskip("av", reason="MP4 needs the extra `video`")
SHAPE = (8, 12, 20, 3)


@pytest.fixture(scope="module")
def truth():
    t, h, w, c = np.indices(SHAPE) / np.array([8, 12, 20, 3])[:, None, None, None, None]
    return np.round(127.5 + 100 * np.sin(2 * t + 3 * h + 4 * w + 2 * c)).astype(np.uint8)


@pytest.fixture(scope="module")
def clip(truth, tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "my clip.mp4"
    with open(path, "wb") as file:
        encode_video(file, iter(truth), 4.0, ".mp4")
    return path


@pytest.fixture(scope="module")
def fitted(clip, tmp_path_factory):
    """A good fit's `.siren` file; not to be changed."""
    out = tmp_path_factory.mktemp("fitted")
    arguments = ["--width", "64", "--depth", "1", "--steps", "300", "--batch-size", "full", "--learning-rate", "1e-3"]
    assert main(["fit", str(clip), *arguments, "--first-omega", "20", "--out", str(out)]) == 0  # smooth, as the clip is
    return out / "my clip.siren"


def rendered(fitted, path, *arguments):
    assert main(["render", str(fitted), "--out", str(path), *arguments]) == 0
    if path.suffix == ".npy":
        return np.load(path)
    return np.asarray(Image.open(path)) if path.suffix == ".png" else load_video(path)


def refused(arguments, capsys) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_a_video_is_fitted_and_everything_is_written(clip, tmp_path, capsys):
    out = tmp_path / "a"
    arguments = ["--width", "16", "--depth", "1", "--steps", "12", "--out", str(out), "--json"]
    assert main(["fit", str(clip), *arguments]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    files = ["comparison.png", "curve.png", "metrics.json", "my clip.siren", "reconstruction.mp4"]
    assert sorted(os.listdir(out)) == ["checkpoints", *files]
    assert sorted(summary["files"]) == sorted(str(out / name) for name in files)
    field = load(out / "my clip.siren")
    assert (field.kind, field.rate, field.frame.shape) == ("video", 4.0, SHAPE[:3])
    assert field.network.in_features == 3


def test_a_gif_is_a_video_and_needs_no_extra(tmp_path, monkeypatch):
    monkeypatch.setattr("siren_jax.subjects.video.writes_mp4", lambda: False)
    frames = [Image.new("L", (8, 6), grey) for grey in (0, 128, 255)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=200)
    arguments = [
        "--width",
        "16",
        "--depth",
        "1",
        "--steps",
        "2",
        "--batch-size",
        "full",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(["fit", str(tmp_path / "a.gif"), *arguments]) == 0
    field = load(tmp_path / "out" / "a.siren")
    assert (field.kind, field.rate, field.frame.shape) == ("video", 5, (3, 6, 8))
    assert field.network.out_features == 1
    assert (tmp_path / "out" / "reconstruction.gif").exists()


def test_the_psnr_that_is_printed_is_that_of_all_pixels(clip, fitted, tmp_path):
    printed = json.loads((fitted.parent / "metrics.json").read_text())
    frames, truth = rendered(fitted, tmp_path / "a.npy"), load_video(clip).frames
    each = [psnr(frame, true, data_range=255.0) for frame, true in zip(frames, truth, strict=True)]
    # float32 renders, squared and averaged: far below a thousandth of a decibel
    assert printed["psnr"] == pytest.approx(psnr(frames, truth, data_range=255.0), abs=1e-3)
    assert printed["mean_psnr_of_frames"] == pytest.approx(np.mean(each), abs=1e-3)
    assert printed["least_psnr_of_frames"] == pytest.approx(min(each), abs=1e-3)
    assert printed["psnr"] > 30  # enough that a shifted or mirrored frame would show below


def test_it_is_rendered_at_its_own_size_and_rate(fitted, truth, tmp_path):
    video = rendered(fitted, tmp_path / "a.mp4")
    assert video.rate == 4
    assert psnr(video.frames, truth, data_range=255.0) > 28  # that of the fit, and x264's


def test_it_is_rendered_at_any_size_and_rate(fitted, tmp_path):
    video = rendered(fitted, tmp_path / "a.mp4", "--scale", "2", "--rate", "12", "--between", "0.5", "1.5")
    assert (video.frames.shape, video.rate) == ((12, 24, 40, 3), 12)
    frames = rendered(fitted, tmp_path / "a.npy", "--scale", "2", "--rate", "12", "--between", "0.5", "1.5")
    whole = rendered(fitted, tmp_path / "b.npy", "--scale", "2", "--rate", "12")
    assert np.allclose(frames, whole[6:18], atol=0.02)  # of 255, where the rounding of times differs
    assert psnr(video.frames, frames, data_range=255.0) > 35  # x264 on 12 frames of a smooth pattern


def test_a_moment_is_the_function_at_its_time(fitted, tmp_path):
    field = load(fitted)
    frames = rendered(fitted, tmp_path / "a.npy", "--rate", "7", "--between", "0.5", "1.5")
    assert len(frames) == 7
    for number, frame in enumerate(frames):  # moment k lies at the time k/rate
        index = np.stack(np.meshgrid(4 * (0.5 + number / 7), np.arange(12), np.arange(20), indexing="ij"), axis=-1)
        assert np.allclose(frame, field(field.frame.coordinates(index[0])), atol=0.02)


def test_a_gif_is_written_without_being_read_first(fitted, tmp_path):
    assert rendered(fitted, tmp_path / "a.gif").frames.shape == SHAPE


@pytest.mark.parametrize("number", [0, 3, 7])
def test_a_frame_at_its_time_is_that_frame(number, fitted, tmp_path):
    whole, frame = rendered(fitted, tmp_path / "a.npy"), rendered(fitted, tmp_path / "b.png", "--at", f"{number / 4}")
    assert np.allclose(frame, np.clip(whole[number], 0, 255), atol=0.5 + 1e-3)


def test_a_region_is_that_part_of_every_frame(fitted, tmp_path):
    whole = rendered(fitted, tmp_path / "a.npy")
    part = rendered(fitted, tmp_path / "b.npy", "--region", "2", "3", "10", "13")
    assert np.allclose(part, whole[:, 2:10, 3:13], atol=1e-3)


def test_a_target_psnr_ends_the_fit(clip, tmp_path, capsys):
    arguments = ["--width", "64", "--depth", "1", "--steps", "4000", "--learning-rate", "1e-3", "--target-psnr", "25"]
    assert main(["fit", str(clip), *arguments, "--out", str(tmp_path / "a"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["stopped_by"] == "watch"
    assert summary["psnr"] >= 25


def test_a_network_for_a_video_has_the_papers_width(clip, tmp_path):
    arguments = ["--steps", "1", "--no-figures", "--batch-size", "2", "--out", str(tmp_path / "a")]
    assert main(["fit", str(clip), *arguments]) == 0
    network = load(tmp_path / "a" / "my clip.siren").network
    assert (network.width, network.first_omega) == (1024, 60)


def test_a_clip_of_uneven_frames_is_fitted_at_their_times(tmp_path, capsys):
    """At 1.0 s the clip shows the frame that came at 0.3 s, not the eleventh frame."""
    frames = [Image.new("L", (8, 6), grey) for grey in (0, 80, 160, 255, 40, 120)]
    durations = [100, 100, 100, 1000, 100, 100]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=durations)
    arguments = ["--width", "8", "--depth", "1", "--steps", "2", "--no-figures", "--out", str(tmp_path / "out")]
    assert main(["fit", str(tmp_path / "a.gif"), *arguments]) == 0
    assert "uneven duration, 100 to 1,000 ms" in capsys.readouterr().err
    field = load(tmp_path / "out" / "a.siren")
    assert (field.rate, field.frame.shape[0]) == (10, 15)


@pytest.mark.parametrize(("option", "value"), [("--target", "gradient"), ("--target-snr", "30")])
def test_options_of_other_kinds_are_refused_for_a_video(option, value, clip, tmp_path, capsys):
    message = refused(["fit", str(clip), option, value, "--out", str(tmp_path / "a")], capsys)
    assert f"{option} does not apply to a video" in message
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "a.wav"], "written as .mp4, .gif, .png, .npy"),
        (["--out", "a.png"], "give its time with --at"),
        (["--out", "a.mp4", "--at", "1"], "--at takes one frame"),
        (["--out", "a.png", "--at", "3"], "a time from 0 to 1.75 s, that of the last frame"),
        (["--out", "a.png", "--at", "1", "--rate", "3"], "leave out --between and --rate"),
        (["--out", "a.mp4", "--of", "gradient"], "--of does not apply to the kind"),
        (["--out", "a.mp4", "--between", "1", "3"], "a start before a stop within 0 to 2 s"),
        (["--out", "a.mp4", "--rate", "0"], "--rate takes a positive number"),
        (["--out", "a.mp4", "--rate", "nan"], "--rate takes a positive number"),
        (["--out", "a.mp4", "--rate", "1e308"], "--rate takes a positive number"),
        (["--out", "a.gif", "--rate", "60"], ".gif has 0.01 to 50 frames a second"),
        (["--out", "a.gif", "--shape", "9999", "9999", "--rate", "50"], "too large for a GIF"),
        (["--out", "a.mp4", "--shape", "99999", "99999"], "too many to render in memory"),
    ],
)
def test_what_cannot_be_rendered_is_refused(arguments, message, fitted, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert message in refused(["render", str(fitted), *arguments], capsys)
    assert not os.listdir(tmp_path)
