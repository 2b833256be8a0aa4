"""The commands `learn`, `encode` and `complete`, and what `render` and `info` do with a base."""

import csv
import dataclasses
import errno
import json
import os
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from siren_jax import SIREN, Base, Frame, LatentSIREN, NeuralField, Signals, learn, load, load_base, load_set, metrics
from siren_jax.cli import main
from siren_jax.cli.encode import EncodeReporter
from siren_jax.fields.coordinates import generate_coordinates

SMALL = ["--width", "32", "--depth", "1", "--latent", "4", "--first-omega", "5", "--steps", "100"]
RESULTS = ["comparison.png", "completion.png", "deviation.png", "most_likely.png", "most_likely.siren"]


def write_bumps(folder: Path, count: int, seed: int = 0, side: int = 16) -> Path:
    """Pictures of a bump whose place is anywhere."""
    folder.mkdir(parents=True)
    y, x = np.moveaxis(generate_coordinates((side, side)).reshape(side, side, 2), -1, 0)
    for i, (a, b) in enumerate(np.random.default_rng(seed).uniform(-0.5, 0.5, (count, 2))):
        write(folder / f"{i:03}.png", 255 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 0.1))
    return folder


def write(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(np.rint(values).astype(np.uint8)).save(path)
    return path


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)) / 255


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    return write_bumps(tmp_path_factory.mktemp("spaces") / "bumps", 60)


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> Path:
    return write_bumps(tmp_path_factory.mktemp("spaces") / "others", 6, seed=5)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """The file of a base whose codes matter, without any training; not to be changed."""
    path = tmp_path_factory.mktemp("base") / "space.siren"
    sizes = {"latent": 4, "width": 32, "depth": 1, "first_omega": 3.0, "omega": 3.0}
    network = LatentSIREN(2, 1, **sizes, rngs=nnx.Rngs(1))
    for i, shift in enumerate(network.shifts):
        shift[...] = 0.1 * jax.random.normal(jax.random.key(i), shift.shape)
    figures = {"signals": 1800, "held_out": 200, "psnr": 25.0, "psnr_of_mean": 24.0}
    Base(network, (16, 16), (0.0, 1.0), "image", None, 1e-3, figures).save(path)
    return path


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> Path:
    """A signal that is no base."""
    path = tmp_path_factory.mktemp("fitted") / "signal.siren"
    NeuralField(SIREN(2, 1, width=4, depth=0, rngs=nnx.Rngs(0)), Frame((4, 4))).save(path)
    return path


def refused(capsys, *arguments: object) -> str:
    """What the command tells when it refuses its input."""
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    return told


@pytest.mark.slow
def test_a_folder_becomes_the_base_that_the_library_learns(pictures, tmp_path, capsys):
    path = tmp_path / "bumps.siren"
    assert main(["learn", str(pictures), "--out", str(path), *SMALL, "--json"]) == 0
    told = capsys.readouterr()
    found = load_base(path)
    settings = {"latent": 4, "width": 32, "depth": 1, "first_omega": 5.0, "steps": 100}
    expected = learn(Signals(str(pictures)), key=jax.random.key(0), **settings)
    assert found.fingerprint == expected.fingerprint
    summary = json.loads(told.out.splitlines()[-1])
    assert summary["psnr"] == found.figures["psnr"] == expected.figures["psnr"]
    assert (summary["held_out"], summary["signals"], summary["steps"]) == (6, 54, 100)
    assert summary["bytes"] == path.stat().st_size
    rows = [line.split() for line in told.out.splitlines()]
    assert rows[1] == ["base", f"{found.figures['psnr']:.2f}", f"{found.figures['psnr_of_mean']:.2f}"]
    assert rows[2][-2:] == [f"{found.figures['pca_psnr']:.2f}", f"{found.figures['pca_psnr_of_mean']:.2f}"]
    assert "step 50  PSNR " in told.err


@pytest.mark.slow
def test_an_interrupted_training_writes_what_it_has_learned(pictures, tmp_path, capsys, monkeypatch, heeded_signals):
    def interrupted(*args, watch, **settings):
        def watched(progress):
            if progress.step == 50:
                signal.raise_signal(signal.SIGINT)
            return watch(progress)

        return learn(*args, watch=watched, **settings)

    monkeypatch.setattr("siren_jax.cli.learn.learn", interrupted)
    path = tmp_path / "bumps.siren"
    assert main(["learn", str(pictures), "--out", str(path), *SMALL, "--steps", "200"]) == 130
    assert "in 100 of 200 steps" in capsys.readouterr().out
    assert load_base(path).latent == 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--latent", "54"], "codes of 54 numbers need more than 54 signals to learn from"),
        (["--latent", "0"], "--latent takes a positive number"),
        (["--held-out", "1"], "--held-out takes a share between 0 and 1"),
        (["--first-omega", "nan"], "--first-omega takes a positive number"),
        (["--width", "0"], "--width takes a positive number"),
        (["--depth", "-1"], "--depth takes a whole number from 0"),
        (["--seed", "-1"], "--seed takes a whole number"),
        (["--downsample", "0"], "--downsample takes a positive number"),
        (["--between", "0", "1"], "--between does not apply to a picture"),
        (["--out", "nowhere/bumps.siren"], "there is no folder 'nowhere'"),
        (["--out", "."], "'.' is a folder, where a file is to be written"),
        (["--out", ""], "--out takes the name of a file"),
    ],
)
def test_what_cannot_be_learned_is_told_in_a_sentence(pictures, tmp_path, capsys, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    assert words in refused(capsys, "learn", pictures, "--out", "bumps.siren", *options)
    assert os.listdir() == []


def test_an_existing_file_is_refused_before_any_work(pictures, tmp_path, capsys, monkeypatch):
    path = tmp_path / "bumps.siren"
    path.write_text("kept")
    monkeypatch.setattr("siren_jax.cli.learn.learn", None)
    assert "exists; choose another --out" in refused(capsys, "learn", pictures, "--out", path, *SMALL)
    assert path.read_text() == "kept"


def test_a_base_is_not_learned_where_it_does_not_fit(pictures, tmp_path, capsys, monkeypatch):
    disk = SimpleNamespace(total=2**30, free=10_000)
    monkeypatch.setattr("siren_jax.files.atomic.shutil.disk_usage", lambda _: disk)
    monkeypatch.setattr("siren_jax.cli.learn.learn", None)
    assert "but 10,000 are free; make room" in refused(capsys, "learn", pictures, "--out", tmp_path / "a.siren", *SMALL)
    assert os.listdir(tmp_path) == []


def test_a_base_that_cannot_be_written_is_told_to_be_lost(base, pictures, tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    found = load_base(base)
    monkeypatch.setattr("siren_jax.cli.learn.learn", lambda *_, **__: found)
    monkeypatch.setattr("siren_jax.files.atomic._sync", full)
    told = refused(capsys, "learn", pictures, "--out", tmp_path / "a.siren", *SMALL)
    assert f"a.siren' cannot be written: {os.strerror(errno.ENOSPC)}. What was learned is lost; run the" in told
    assert os.listdir(tmp_path) == []


def test_a_base_that_is_no_better_than_components_is_told(base, pictures, tmp_path, capsys, monkeypatch):
    figures = {"signals": 54, "held_out": 6, "psnr_of_mean": 19.0, "seconds": 1.0, "pca_psnr_of_mean": 19.0}
    for psnr, told in ((19.9, True), (20.1, False)):
        found = dataclasses.replace(load_base(base), figures={**figures, "psnr": psnr, "pca_psnr": 20.0})
        monkeypatch.setattr("siren_jax.cli.learn.learn", lambda *_, found=found, **__: found)
        assert main(["learn", str(pictures), "--out", str(tmp_path / f"{psnr}.siren"), *SMALL]) == 0
        assert ("is not better than PCA" in capsys.readouterr().err) == told


def test_shapes_are_refused(tmp_path, capsys):
    (tmp_path / "shapes").mkdir()
    np.savetxt(tmp_path / "shapes" / "a.xyz", np.random.default_rng(0).normal(size=(50, 6)))
    told = refused(capsys, "learn", tmp_path / "shapes", "--out", tmp_path / "a.siren")
    assert "learned from pictures, sounds or videos, but these are shapes" in told


def test_signals_become_codes_with_their_table(base, others, tmp_path, capsys):
    out = tmp_path / "set"
    folder = tmp_path / "folder"
    for i, name in enumerate(sorted(os.listdir(others))):
        (folder / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        shutil.copy(others / name, folder / "ab"[i % 2] / name)
    assert main(["encode", str(base), str(folder), "--out", str(out), "--labels", "folder", "--json"]) == 0
    told = capsys.readouterr().out
    fields, space = load_set(out), load_base(base)
    codes = space.codes(fields)
    assert fields.labels == [name[0] for name in fields.names]
    with open(out / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == fields.names
    assert [row["label"] for row in rows] == fields.labels
    for row, field, distance in zip(rows, fields, space.distances(codes), strict=True):
        psnr = metrics.psnr(field.render()[..., 0], pixels(folder / row["name"]), data_range=1.0)
        assert float(row["psnr"]) == pytest.approx(psnr, abs=1e-2)
        assert float(row["distance"]) == pytest.approx(distance, rel=1e-5)
    lines = told.splitlines()
    assert lines[1].split()[0] == fields.names[int(np.argmin(fields.quality))]
    assert (
        lines[lines.index(next(line for line in lines if "the farthest" in line)) + 1].split()[0]
        == (fields.names[int(np.argmax(space.distances(codes)))])
    )
    assert f"6 pictures: mean PSNR {fields.quality.mean():.2f} dB" in told
    summary = json.loads(lines[-1])
    assert (summary["entries"], summary["left"]) == (6, 0)
    assert summary["psnr"]["worst"] == pytest.approx(fields.quality.min())


@pytest.mark.slow
def test_files_are_added_on_request_alone(base, others, tmp_path, capsys):
    files = sorted(map(str, others.iterdir()))
    arguments = ["encode", str(base), *files[:2], "--out", str(tmp_path / "set")]
    assert main(arguments) == 0
    before = load_set(tmp_path / "set").arrays()[0]
    assert "contains a set; continue it or add to it with --resume" in refused(capsys, *arguments)
    assert main(["encode", str(base), *files, "--out", str(tmp_path / "set"), "--resume"]) == 0
    fields = load_set(tmp_path / "set")
    assert fields.names == [os.path.basename(file) for file in files]
    np.testing.assert_array_equal(fields.arrays()[0][:2], before)
    told = refused(capsys, "encode", base, *files, "--out", tmp_path / "set", "--resume", "--steps", "4")
    assert "made in another way: steps is 5 there, but 4 now" in told


def test_an_interrupted_encoding_is_continued(base, others, tmp_path, capsys, monkeypatch, heeded_signals):
    class Interrupting(EncodeReporter):
        def update(self, progress):
            if progress.done == 2:
                signal.raise_signal(signal.SIGTERM)
            super().update(progress)

    monkeypatch.setattr("siren_jax.sets.base.ENTRIES", 2)
    monkeypatch.setattr("siren_jax.sets.writer.ENTRIES", 2)
    monkeypatch.setattr("siren_jax.cli.encode.EncodeReporter", Interrupting)
    arguments = ["encode", str(base), str(others), "--out", str(tmp_path / "set")]
    assert main(arguments) == 143
    assert len(load_set(tmp_path / "set")) == 4
    assert "2 signals are left; --resume continues" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 0
    assert len(load_set(tmp_path / "set")) == 6


def test_an_encoding_that_fails_before_its_first_result_leaves_no_set(base, others, tmp_path, capsys):
    folder = tmp_path / "pictures"
    shutil.copytree(others, folder)
    (folder / "000.png").write_bytes((others / "000.png").read_bytes()[:40])
    arguments = ["encode", base, folder, "--out", tmp_path / "set"]
    assert "'000.png': " in refused(capsys, *arguments, "--strict")
    assert main([*map(str, arguments)]) == 0
    assert len(load_set(tmp_path / "set")) == 5


def test_what_cannot_be_encoded_is_told_in_a_sentence(base, fitted, others, tmp_path, capsys):
    out = ["--out", tmp_path / "set"]
    one = others / "000.png"
    colour = write(tmp_path / "colour.png", np.arange(192).reshape(8, 8, 3))
    (tmp_path / "sounds").mkdir()
    sound = tmp_path / "sounds" / "a.wav"
    NeuralField(SIREN(1, 1, width=8, depth=0, rngs=nnx.Rngs(0)), Frame((80,)), kind="sound", rate=80.0).save(
        tmp_path / "sound.siren"
    )
    assert main(["render", str(tmp_path / "sound.siren"), "--out", str(sound)]) == 0
    for arguments, words in (
        ([base, colour], "this base has 1 channel, but the signals have 3; convert to 1"),
        ([base, sound], "this base has pictures, but these are sounds"),
        ([base, tmp_path / "sounds"], "this base has pictures, but these are sounds"),
        ([fitted, one], "is a fitted signal; a base is made by siren-jax learn"),
        ([tmp_path / "none.siren", one], "there is no file"),
        ([others, one], "is a folder, such as that of a set; a .siren file is needed"),
        ([base, others, "--labels", tmp_path / "none.csv"], "none.csv' cannot be read: No such file or directory."),
        ([base], "there are no signals to encode"),
        ([base, others, one], "is a folder among several"),
        ([base, one, one], "2 of the files have the name '000.png'"),
        ([base, tmp_path / "none.png"], "there is no file or folder"),
        ([base, one, "--labels", "folder"], "--labels applies to a folder only"),
        ([base, one, "--steps", "0"], "--steps takes a positive number"),
        ([base, one, "--resume"], "there is no set to resume"),
    ):
        assert words in refused(capsys, "encode", *arguments, *out)
    assert not (tmp_path / "set").exists()


@pytest.fixture(scope="module")
def completed(base, others, tmp_path_factory) -> tuple[Path, dict]:
    """The results of a completion from 40 pixels, and what the command prints as JSON; not to be changed."""
    out = tmp_path_factory.mktemp("completed") / "out"
    return out, _completed(base, others / "003.png", out, "--pixels", "40", "--seed", "2")


def _completed(base: Path, picture: Path, out: Path, *options: str) -> dict:
    with pytest.MonkeyPatch.context() as patch:
        told: list[str] = []
        patch.setattr("builtins.print", lambda *texts, **_: told.extend(map(str, texts)))
        assert main(["complete", str(base), str(picture), "--out", str(out), "--json", *options]) == 0
    return json.loads(told[-1])


def test_a_picture_is_completed_from_some_pixels(completed, base, others):
    out, summary = completed
    assert sorted(os.listdir(out)) == RESULTS
    truth = pixels(others / "003.png")
    known = np.zeros((16, 16), bool)
    known.flat[np.random.default_rng(2).choice(256, 40, replace=False)] = True
    assert (summary["known"], summary["pixels"]) == (40, 256)
    found = load_base(base).complete(truth, known, key=jax.random.key(2))
    for name, values in (("mean", found.mean), ("most_likely", load(out / "most_likely.siren").render())):
        psnr = metrics.psnr(values[..., 0][~known], truth[~known], data_range=1.0)
        assert summary["psnr"][name] == pytest.approx(psnr, abs=1e-3)
    half = 0.5 / 255 + 1e-6  # of a step of 8 bits
    np.testing.assert_allclose(pixels(out / "completion.png"), np.clip(found.mean[..., 0], 0, 1), atol=half)
    likely = np.clip(found.field.render()[..., 0], 0, 1)
    np.testing.assert_allclose(pixels(out / "most_likely.png"), likely, atol=half)
    assert load(out / "most_likely.siren").record["known"] == 40 / 256


def test_the_comparison_with_other_methods_is_that_of_their_pictures(completed, others):
    from scipy.interpolate import griddata
    from skimage.restoration import inpaint_biharmonic

    truth = pixels(others / "003.png")
    known = np.zeros((16, 16), bool)
    known.flat[np.random.default_rng(2).choice(256, 40, replace=False)] = True
    psnr = completed[1]["psnr"]
    biharmonic = inpaint_biharmonic(np.where(known, truth, 0), ~known)
    expected = metrics.psnr(biharmonic[~known], truth[~known], data_range=1.0)
    assert psnr["biharmonic"] == pytest.approx(expected, abs=1e-2)
    nearest = griddata(np.argwhere(known), truth[known], np.argwhere(~known), method="nearest")
    expected = metrics.psnr(nearest, truth[~known], data_range=1.0)
    assert psnr["nearest_neighbour"] == pytest.approx(expected, abs=1.5)  # ties are broken in another way


def test_figures_of_a_completion_are_drawn(base, others, tmp_path, drawn_figures):
    _completed(base, others / "001.png", tmp_path / "out", "--pixels", "40", "--samples", "2")
    for name, panels in (("comparison.png", 5), ("deviation.png", 1)):
        shown = pixels(tmp_path / "out" / name)[..., :3]
        assert shown.std() > 0.1
        assert shown.shape[1] > 300 * panels


def test_pixels_where_the_mask_is_white_do_not_matter(base, others, tmp_path):
    truth = np.rint(255 * pixels(others / "002.png"))
    missing = np.indices((16, 16))[1] > 9
    mask = write(tmp_path / "mask.png", 255 * missing)
    for name, values in (("as is", truth), ("damaged", np.where(missing, 255, truth))):
        picture = write(tmp_path / f"{name}.png", values)
        summary = _completed(base, picture, tmp_path / name, "--mask", str(mask))
        assert summary["psnr"] == {}
        assert summary["known"] == 160
    same = [pixels(tmp_path / name / "completion.png") for name in ("as is", "damaged")]
    np.testing.assert_array_equal(*same)


def test_a_picture_is_not_completed_where_the_results_do_not_fit(base, others, tmp_path, capsys, monkeypatch):
    disk = SimpleNamespace(total=2**30, free=10_000)
    monkeypatch.setattr("siren_jax.files.atomic.shutil.disk_usage", lambda _: disk)
    arguments = ["complete", base, others / "000.png", "--pixels", "20", "--out", tmp_path / "out"]
    assert "but 10,000 are free; make room" in refused(capsys, *arguments)
    assert os.listdir(tmp_path / "out") == []


def test_what_cannot_be_completed_is_told_in_a_sentence(base, fitted, others, tmp_path, capsys):
    picture, some = others / "000.png", ["--pixels", "20"]
    masks = {
        name: write(tmp_path / f"{name}.png", values)
        for name, values in (
            ("small", np.zeros((4, 4))),
            ("black", np.zeros((16, 16))),
            ("white", np.full((16, 16), 255)),
        )
    }
    colour = write(tmp_path / "colour.png", np.arange(192).reshape(8, 8, 3))
    np.save(tmp_path / "many.npy", np.random.default_rng(0).uniform(size=(8, 8, 5)).astype(np.float32))
    for arguments, words in (
        ([base, picture], "give the known pixels by one of --pixels and --mask"),
        ([base, picture, *some, "--mask", masks["black"]], "give the known pixels by one of --pixels and --mask"),
        ([base, picture, "--pixels", "0"], "--pixels takes a positive number"),
        ([base, picture, "--pixels", "256"], "--pixels takes a number below that of the picture's pixels, 256"),
        ([base, picture, *some, "--samples", "1"], "--samples takes a whole number from 2 on"),
        ([base, picture, *some, "--size", "0"], "--size takes a positive number"),
        ([base, picture, *some, "--seed", "-1"], "--seed takes a whole number"),
        ([base, picture, "--mask", masks["small"]], "has 4 x 4 pixels, but the picture has 16 x 16"),
        ([base, picture, "--mask", masks["black"]], "has no white pixel, so nothing is missing"),
        ([base, picture, "--mask", masks["white"]], "no pixel is known"),
        ([base, colour, *some], "colour.png' has 3; convert to 1, or learn a base from signals of 3."),
        ([base, tmp_path / "many.npy", *some], "this base has 1 channel, but "),
        ([fitted, picture, *some], "is a fitted signal; a base is made by siren-jax learn"),
        ([base, tmp_path / "none.png", *some], "none.png"),
    ):
        assert words in refused(capsys, "complete", *arguments, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_results_of_an_earlier_completion_are_refused_or_replaced(completed, base, others, tmp_path, capsys):
    shutil.copytree(completed[0], tmp_path / "out")
    arguments = ["complete", base, others / "001.png", "--pixels", "40", "--samples", "2", "--out", tmp_path / "out"]
    assert "exists; choose another --out" in refused(capsys, *arguments)
    assert main([*map(str, arguments), "--overwrite"]) == 0
    assert (tmp_path / "out" / "completion.png").read_bytes() != (completed[0] / "completion.png").read_bytes()


def test_a_base_of_sounds_completes_no_picture(others, tmp_path, capsys):
    times = np.arange(100) / 100
    sounds = np.sin(2 * np.pi * np.random.default_rng(0).uniform(1, 3, (12, 1)) * times).astype(np.float32)
    path = tmp_path / "sounds.siren"
    settings = {"latent": 2, "width": 8, "depth": 0, "steps": 1}
    learn(Signals(sounds, rate=100), key=jax.random.key(0), **settings).save(path)
    told = refused(capsys, "complete", path, others / "000.png", "--pixels", "9", "--out", tmp_path / "out")
    assert "is a base of sounds, but siren-jax complete takes pictures; in Python, load_base(...).complete" in told
    assert "this base has sounds, but these are pictures" in refused(
        capsys, "encode", path, others, "--out", tmp_path / "set"
    )


def test_a_code_of_a_base_is_rendered(base, tmp_path, capsys):
    space, code = load_base(base), np.array([0.5, -1, 0, 2])
    np.save(tmp_path / "code.npy", code)
    rendered = lambda *options: (
        main(["render", str(base), "--out", str(tmp_path / "a.npy"), "--overwrite", *options]),
        np.load(tmp_path / "a.npy"),
    )[1]
    np.testing.assert_allclose(rendered("--code", str(tmp_path / "code.npy")), space.field(code).render(), atol=1e-6)
    np.testing.assert_allclose(rendered("--code=0.5,-1,0,2"), space.field(code).render(), atol=1e-6)
    np.save(tmp_path / "whole.npy", np.array([-1, 0, 2, 0]))
    of_whole = rendered("--code", str(tmp_path / "whole.npy"))
    np.testing.assert_allclose(of_whole, space.field(np.array([-1.0, 0, 2, 0])).render(), atol=1e-6)
    np.testing.assert_allclose(of_whole, rendered("--code=-1,0,2,0"), atol=1e-6)
    np.testing.assert_allclose(rendered(), space.field(np.zeros(4)).render(), atol=1e-6)
    first, second, again = (rendered("--code", "random", "--seed", seed) for seed in "010")
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - second).max() > 0.01


def test_codes_that_a_base_does_not_have_are_refused(base, fitted, others, tmp_path, capsys):
    np.save(tmp_path / "long.npy", np.zeros(5))
    np.save(tmp_path / "words.npy", np.array(["a"] * 4))
    (tmp_path / "damaged.npy").write_bytes(b"\x93NUMPY")
    assert main(["encode", str(base), str(others / "000.png"), "--out", str(tmp_path / "set")]) == 0
    for file, code, words in (
        (base, "long.npy", "a code of this base has 4 finite numbers, but got an array of the shape (5,)"),
        (base, "words.npy", "contains no array of real numbers"),
        (base, "damaged.npy", "cannot be read"),
        (base, "none.npy", "cannot be read"),
        (base, "1,2", "a code of this base has 4 finite numbers"),
        (base, "1,2,3,inf", "a code of this base has 4 finite numbers"),
        (base, "much", "--code takes an .npy file, random or numbers"),
        (fitted, "random", "is a fitted signal; a base is made by siren-jax learn"),
        (f"{tmp_path / 'set'}::000.png", "random", "--code applies to a base from siren-jax learn"),
    ):
        code = tmp_path / code if code.endswith(".npy") else code
        assert words in refused(capsys, "render", file, "--code", code, "--out", tmp_path / "a.npy")
    seeded = refused(capsys, "render", base, "--seed", "1", "--out", tmp_path / "a.npy")
    assert "--seed applies to --code random only" in seeded


def test_of_a_base_the_signal_of_the_code_0_is_converted_and_told(base, fitted, tmp_path, capsys):
    assert main(["convert", str(base), str(tmp_path / "a.siren")]) == 0
    told = capsys.readouterr().err
    assert "is a base" in told
    assert "only the signal of its code 0; for that of another code, convert SET::NAME" in told
    space = load_base(base)
    found = load(tmp_path / "a.siren").render()
    np.testing.assert_array_equal(found, space.field(np.zeros(space.latent)).render())
    assert main(["info", str(tmp_path / "a.siren")]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["base"] == "noise 0.001, signals 1800, held_out 200, psnr 25, psnr_of_mean 24"
    assert main(["convert", str(fitted), str(tmp_path / "b.siren")]) == 0
    assert capsys.readouterr().err == ""


def test_the_time_of_a_signal_is_told_in_plain_digits():
    for seconds, told in ((0.0042, "4.2 ms"), (0.025, "25 ms"), (4.5231, "4,523 ms")):
        reporter = EncodeReporter()
        reporter._looks = [(1, 0.0), (2, seconds)]
        assert reporter.speed() == f"; {told} each"


def test_info_tells_a_base_and_a_set_of_its_codes(base, others, tmp_path, capsys):
    capsys.readouterr()
    assert main(["info", str(base)]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["base"] == "codes of 4 numbers, learned from 1,800 signals"
    assert rows["held_out"] == "200 signals: mean PSNR 25.00 dB, 24.00 dB for their mean squared error"
    assert rows["pca"].startswith("mean PSNR unknown")
    assert rows["noise"].startswith("0.001,")
    assert rows["network"] == "LatentSIREN, 2 -> 1"
    assert main(["encode", str(base), str(others / "000.png"), "--out", str(tmp_path / "set")]) == 0
    capsys.readouterr()
    assert main(["info", str(tmp_path / "set")]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert rows["parameters"].endswith("with 4 numbers of each one's code")
    assert rows["record.base"] == load_base(base).fingerprint


def test_info_does_not_trust_the_record_of_a_base(base, tmp_path, capsys):
    data = base.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    described = json.loads(header["__metadata__"]["siren"])
    described["record"] = {"base": {"signals": "many", "psnr": [], "noise": "none", "odd": {"x": 1}}}
    header["__metadata__"]["siren"] = json.dumps(described)
    text = json.dumps(header).encode()
    (tmp_path / "odd.siren").write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    assert main(["info", str(tmp_path / "odd.siren")]) == 0
    assert "learned from an unknown number of signals" in capsys.readouterr().out
    assert "is not a base" in refused(capsys, "render", tmp_path / "odd.siren", "--code", "random", "--out", "a.png")
