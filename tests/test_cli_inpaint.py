"""The command fills in pictures."""

import json
import os

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from siren_jax import SIREN, load
from siren_jax.cli import main
from siren_jax.cli.inpaint import Gaps
from siren_jax.signals import IncompletePicture

H, W = 24, 32
QUICK = ["--width", "16", "--depth", "1", "--steps", "12", "--no-figures"]


@pytest.fixture
def wave(tmp_path, monkeypatch):
    """A smooth picture, and a mask with a white square, in the working directory."""
    monkeypatch.chdir(tmp_path)
    row, column = np.indices((H, W))
    values = 127 + 60 * np.sin(row / 5) + 50 * np.cos(column / 7)
    save("wave.png", values)
    save("hole.png", 255 * ((abs(row - 10) < 4) & (abs(column - 15) < 4)))
    return values


def save(name: str, values) -> None:
    Image.fromarray(np.round(np.clip(values, 0, 255)).astype(np.uint8)).save(name)


def refused(arguments, capsys) -> str:
    assert main(["inpaint", *arguments]) == 2
    return capsys.readouterr().err


@pytest.mark.slow
def test_a_smooth_picture_is_found_from_a_fifth_of_its_pixels(wave, capsys):
    arguments = ["--prior", "hessian", "--width", "32", "--depth", "1", "--steps", "250", "--learning-rate", "2e-3"]
    assert (
        main(
            ["inpaint", "wave.png", "--keep", "20%", *arguments, "--first-omega", "6", "--batch-size", "128", "--json"]
        )
        == 0
    )
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["psnr_missing"] > 30  # the picture's own spread is 13 dB below its range
    files = ["comparison.png", "curve.png", "metrics.json", "reconstruction.png", "wave.siren"]
    assert sorted(os.listdir("out/wave")) == ["checkpoints", *files]
    record = load("out/wave/wave.siren").record
    assert record["known"] == pytest.approx(0.2, abs=0.5 / (H * W))
    assert record["prior"] == "hessian"


@pytest.mark.slow
def test_with_a_mask_only_known_pixels_are_judged(wave, capsys):
    assert main(["inpaint", "wave.png", "--mask", "hole.png", *QUICK, "--prior", "none", "--json"]) == 0
    captured = capsys.readouterr()
    summary = json.loads(captured.out.splitlines()[-1])
    assert "known pixels" in captured.out
    assert summary["psnr"] == summary["psnr_known"]
    assert "psnr_missing" not in summary


def test_masks_that_do_not_fit_are_refused(wave, capsys):
    save("small.png", np.zeros((3, 4)))
    save("black.png", np.zeros((H, W)))
    save("white.png", np.full((H, W), 255))
    assert "3 x 4" in refused(["wave.png", "--mask", "small.png"], capsys)
    assert "no white pixel" in refused(["wave.png", "--mask", "black.png"], capsys)
    assert "no pixel is known" in refused(["wave.png", "--mask", "white.png"], capsys)
    assert not os.path.exists("out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--mask or --keep"),
        (["--mask", "hole.png", "--keep", "5"], "--mask and --keep exclude each other"),
        (["--keep", "0"], "percentage"),
        (["--keep", "100%"], "percentage"),
        (["--keep", "some"], "percentage"),
        (["--keep", "10", "--prior-weight", "-1"], "--prior-weight"),
        (["--keep", "10", "--size", "0"], "--size"),
        (["--keep", "10", "--steps", "0"], "--steps"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wave, capsys, arguments, message):
    assert message in refused(["wave.png", *arguments], capsys)


@pytest.mark.parametrize("everywhere", [True, False])
def test_what_is_shown_during_a_fit_is_of_the_pixels_that_it_is_judged_by(everywhere):
    image, known = np.random.default_rng(0).uniform(size=(12, 16, 1)), np.indices((12, 16))[1] < 8
    image[~known] *= 0.1  # figures of known and of all pixels differ
    gaps = Gaps(IncompletePicture(image, known, value_range=(0.0, 1.0)), "none", 0.0, judged_everywhere=everywhere)
    network = SIREN(2, 1, width=8, depth=1, rngs=nnx.Rngs(0))
    assert np.isclose(gaps.estimate(network), gaps.quality(network), rtol=1e-4)  # so small a picture is taken whole
