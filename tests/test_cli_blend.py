"""The command blends two picture files."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from siren_jax import load
from siren_jax.cli import main

H, W = 20, 28
QUICK = ["--width", "16", "--depth", "1", "--steps", "12", "--no-figures"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Names of a front, a back and a mask with a disk of white."""
    monkeypatch.chdir(tmp_path)
    row, column = np.indices((H, W))
    disk = np.hypot(row - 10, column - 14) < 7
    back = 120 + 60 * np.sin(row / 4 + column / 6)[..., None] * [1, -0.5, 0.2]
    save("back.png", back)
    save("front.png", back + 40)
    save("mask.png", 255.0 * disk)
    return tmp_path


def save(name: str, values) -> None:
    Image.fromarray(np.round(np.clip(values, 0, 255)).astype(np.uint8)).save(name)


def refused(arguments, capsys) -> str:
    assert main(["blend", *arguments]) == 2
    return capsys.readouterr().err


@pytest.mark.slow
def test_a_brighter_copy_that_is_pasted_vanishes(files, capsys):
    arguments = [
        "--mask",
        "mask.png",
        "--width",
        "48",
        "--depth",
        "1",
        "--first-omega",
        "15",
        "--steps",
        "300",
        "--batch-size",
        "256",
        "--learning-rate",
        "1e-3",
        "--json",
    ]
    assert main(["blend", "front.png", "back.png", *arguments]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    out = files / "out" / "front-back"
    assert sorted(os.listdir(out)) == [
        "checkpoints",
        "comparison.png",
        "composite.png",
        "curve.png",
        "front-back.siren",
        "metrics.json",
    ]
    composite, back = (np.asarray(Image.open(p), float) for p in (out / "composite.png", "back.png"))
    assert np.abs(composite - back).mean() < 255 * 10 ** (-30 / 20)  # of 30 dB; the copy is 40 brighter
    assert min(summary["psnr_changed"], summary["psnr_kept"]) > 30
    field = load(out / "front-back.siren")
    assert field.frame.shape == (H, W)
    assert field.record["mode"] == "paste"


@pytest.mark.slow
def test_transparency_is_the_mask_where_none_is_given(files, capsys):
    front = np.dstack([np.asarray(Image.open("front.png")), np.asarray(Image.open("mask.png"))])
    save("cut.png", front)
    assert main(["blend", "cut.png", "back.png", *QUICK, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"psnr_changed", "psnr_kept"} <= set(summary)


@pytest.mark.slow
def test_without_a_mask_all_is_mixed_and_grey_goes_with_colour(files, capsys):
    save("grey.png", np.asarray(Image.open("front.png"))[..., 0])
    assert main(["blend", "grey.png", "back.png", *QUICK, "--size", "14", "--out", "mixed"]) == 0
    assert load("mixed/grey-back.siren").frame.shape == (10, 14)
    assert load("mixed/grey-back.siren").network.out_features == 3
    assert load("mixed/grey-back.siren").record["mode"] == "max"


def test_pictures_and_masks_that_do_not_fit_are_refused(files, capsys):
    save("small.png", np.zeros((5, 6)))
    save("black.png", np.zeros((H, W)))
    assert "5 x 6" in refused(["small.png", "back.png"], capsys)
    assert "5 x 6" in refused(["front.png", "back.png", "--mask", "small.png"], capsys)
    assert "wrong way round" in refused(["front.png", "back.png", "--mask", "black.png"], capsys)
    assert "nothing of it is left" in refused(["front.png", "back.png", "--mode", "paste"], capsys)
    assert "no file 'nowhere.png'" in refused(["front.png", "nowhere.png"], capsys)
    assert not os.path.exists("out")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "0"], "--steps"),
        (["--seconds", "-1"], "--seconds"),
        (["--first-omega", "much"], "'auto'"),
        (["--width", "0"], "--width"),
        (["--batch-size", "3"], "at least 4"),
        (["--learning-rate", "nan"], "--learning-rate"),
        (["--seed", "-1"], "--seed"),
        (["--size", "0"], "--size"),
        (["--width", "60000", "--depth", "4"], "--width"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(files, capsys, arguments, message):
    assert message in refused(["front.png", "back.png", *arguments], capsys)
