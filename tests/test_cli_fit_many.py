"""The command `siren-jax fit-many`, from a folder to a set."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import zoom

from siren_jax import fit_many, load_set, metrics
from siren_jax.cli import main

RNG = np.random.default_rng(1)
SMALL = ["--width", "8", "--depth", "1", "--first-omega", "5", "--devices", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures")
    for i in range(6):
        (path / str(i % 2)).mkdir(exist_ok=True)
        coarse = zoom(RNG.uniform(0, 255, (3, 3)), 8 / 3, order=1)
        Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8)).save(path / str(i % 2) / f"{i}.png")
    return path


def test_a_folder_becomes_a_set_with_its_table_and_its_pictures(folder, tmp_path, capsys):
    out = tmp_path / "set"
    arguments = ["fit-many", str(folder), "--out", str(out), "--psnr", "28", "--labels", "folder", *SMALL]
    assert main(arguments) == 0
    told = capsys.readouterr()
    fields = load_set(out)
    assert fields.labels == [name[0] for name in fields.names]
    for name, field, quality in zip(fields.names, fields, fields.quality, strict=True):
        truth = np.asarray(Image.open(folder / name)) / 255
        assert metrics.psnr(field.render()[..., 0], truth, data_range=1.0) == pytest.approx(quality, abs=1e-3)
    with open(out / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == fields.names
    assert [float(row["psnr"]) for row in rows] == pytest.approx(fields.quality.tolist(), rel=1e-5)
    worst = fields.names[int(np.argmin(fields.quality))]
    assert told.out.splitlines()[1].startswith(worst)
    assert f"{fields.status.count('reached')} of 6 reach PSNR 28.0 dB" in told.out
    assert "6 pictures of 8 x 8 samples, 2 labels" in told.err
    assert "8 x 1 units, 105 parameters each, until PSNR 28.0 dB; 1 device\n" in told.err
    for name in ("quality.png", "contact_sheet.png"):
        assert np.asarray(Image.open(out / name)).std() > 10


def test_new_files_are_added_on_request_alone(folder, tmp_path, capsys):
    out, more = tmp_path / "set", tmp_path / "more"
    more.mkdir()
    arguments = ["fit-many", str(more), "--out", str(out), "--steps", "2", "--no-figures", *SMALL]
    os.link(folder / "0" / "0.png", more / "b.png")
    assert main(arguments) == 0
    before = load_set(out)["b.png"].render()
    os.link(folder / "1" / "1.png", more / "a.png")
    assert main(arguments) == 2
    assert "contains a set; continue it or add to it with --resume" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    fields = load_set(out)
    assert fields.names == ["b.png", "a.png"]
    np.testing.assert_array_equal(fields["b.png"].render(), before)
    assert not (out / "quality.png").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--snr", "30"], "--snr does not apply to a picture"),
        (["--psnr", "0"], "--psnr takes a positive number"),
        (["--first-omega", "much"], "--first-omega takes a positive number"),
        (["--model", "relu", "--first-omega", "3"], "--first-omega applies to sine networks only"),
        (["--resume"], "no set to resume"),
        (["--labels", "nowhere.csv"], "the labels in 'nowhere.csv' cannot be read"),
        (["--part", "2", "2"], "a part is"),
        (["--flip-normals"], "flip-normals does not apply to a picture"),
        (["--devices", "99999"], "--devices is 99999, but the number of devices here is"),
    ],
)
def test_bad_settings_are_told_in_a_sentence(folder, tmp_path, capsys, options, words):
    assert main(["fit-many", str(folder), "--out", str(tmp_path / "set"), *options]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert "Traceback" not in told


def test_folders_without_signals_of_one_kind_are_refused(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["fit-many", str(tmp_path / "empty"), "--out", str(tmp_path / "set")]) == 2
    assert "there are no signals" in capsys.readouterr().err
    (tmp_path / "mixed").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "mixed" / "a.png")
    np.savetxt(tmp_path / "mixed" / "b.xyz", RNG.normal(size=(20, 6)))
    assert main(["fit-many", str(tmp_path / "mixed"), "--out", str(tmp_path / "set")]) == 2
    assert "'a.png' is a picture, 'b.xyz' is a shape" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


def test_a_fit_that_fails_before_its_first_result_leaves_no_set(folder, tmp_path, capsys):
    pictures = tmp_path / "pictures"
    shutil.copytree(folder, pictures)
    (pictures / "bad.png").write_bytes(b"")
    arguments = ["fit-many", str(pictures), "--out", str(tmp_path / "set"), "--steps", "1", "--no-figures", *SMALL]
    assert main([*arguments, "--strict"]) == 2
    assert "'bad.png': " in capsys.readouterr().err
    assert main(arguments) == 0
    assert "bad.png" not in load_set(tmp_path / "set").names


@pytest.mark.slow
def test_two_kills_and_other_devices_change_no_byte(tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(700):
        coarse = zoom(RNG.uniform(0, 255, (2, 2)), 3, order=1)
        Image.fromarray(np.clip(coarse, 0, 255).astype(np.uint8)).save(pictures / f"{i:03}.png")
    small = ["--psnr", "25", "--steps", "100", "--width", "8", "--depth", "1", "--first-omega", "5", "--no-figures"]

    def command(out, devices, *options):
        words = [str(pictures), "--out", str(tmp_path / out), *small, "--devices", str(devices), *options]
        return [sys.executable, "-c", "from siren_jax.cli import run; run()", "fit-many", *words]

    subprocess.run(command("whole", 2), check=True)
    cut = tmp_path / "cut"
    for kept in (1, 2):
        process = subprocess.Popen(command("cut", 1, *["--resume"] * (kept > 1)))
        written = lambda: len([*cut.glob("*.shard"), *cut.glob("*.part")]) if cut.is_dir() else 0
        while written() < kept and process.poll() is None:
            time.sleep(0.05)
        process.kill()
        assert process.wait() != 0
    subprocess.run(command("cut", 1, "--resume"), check=True)
    shards = sorted(path.name for path in (tmp_path / "whole").glob("*.shard"))
    assert len(shards) == 3
    for name in (*shards, "names.json", "metrics.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (cut / name).read_bytes()
    assert not list(cut.glob("*.part"))


def test_an_interrupted_fit_says_how_to_go_on(folder, tmp_path, capsys, monkeypatch, heeded_signals):
    def stopped(*args, watch, **settings):
        raise_at = iter([True])

        def watched(progress):
            if next(raise_at, False):
                signal.raise_signal(signal.SIGINT)
            return watch(progress)

        return fit_many(*args, watch=watched, **settings)

    monkeypatch.setattr("siren_jax.cli.fit_many.fit_many", stopped)
    out = tmp_path / "set"
    arguments = ["fit-many", str(folder), "--out", str(out), "--steps", "50", "--no-figures", *SMALL]
    assert main(arguments) == 130
    assert "results so far are kept in" in capsys.readouterr().err
    monkeypatch.undo()
    if any(name.endswith(".part") for name in os.listdir(out)):
        arguments.append("--resume")
    assert main(arguments) == 0
    assert load_set(out).steps.tolist() == [50] * 6
