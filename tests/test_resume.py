"""A fit that is killed at any moment and resumed writes the files that an uninterrupted one writes, byte for byte."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.io.wavfile
from PIL import Image

from experiments.solids import SOLIDS
from siren_jax.cli import main
from siren_jax.cli.session import Session
from siren_jax.level_set import extract
from siren_jax.signals import encode_mesh, encode_video

TINY = ["--width", "16", "--depth", "1", "--steps", "60"]
LONG = ["--width", "32", "--steps", "15000", "--checkpoint-every", "0.1"]
NOTHING_YET = "there is no fit to resume"


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "gradient.png"
    Image.radial_gradient("L").resize((24, 16)).save(path)
    return path


def start(*arguments: object) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    command = [sys.executable, "-c", "from siren_jax.cli import run; run()", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def results(directory: Path) -> dict[str, bytes]:
    """The files that the steps decide of those that are written: the network, and what is made with it."""
    timed = ("curve.png", "metrics.json")
    found = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file() and path.name not in timed}
    assert len(found) > 2
    return found


def steps_kept(directory: Path) -> set[int]:
    return {int(path.name) for path in (directory / "checkpoints").glob("*") if path.name.isdecimal()}


def survive(words: list[object], directory: Path, seed: int, kills: int) -> list[int]:
    """Runs a command to its end, killing its process so many times; the steps at which it went on.

    The first kill and every second one after it come up to half a second after a new checkpoint, the others anywhere
    within eight seconds: while modules are imported, steps taken, files written.
    """
    moments, begins = random.Random(seed), []
    for number in range(kills + 1):
        begun = (directory / "checkpoints").exists()
        before = max(steps_kept(directory), default=0)
        process = start(*words, *(("--resume", directory) if begun else ("--out", directory)))
        while number < kills and number % 2 == 0 and process.poll() is None:
            if max(steps_kept(directory), default=0) > before + 100:  # the first one comes after a single step
                break
            time.sleep(0.01)
        life = 600 if number == kills else (0.5 if number % 2 == 0 else 8) * moments.random()
        try:
            errors = process.communicate(timeout=life)[1]
            assert process.returncode == 0, errors
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            errors = process.communicate()[1]
        begins += [int(step.replace(",", "")) for step in re.findall(r"continuing at step ([\d,]+)", errors)]
    return begins


@pytest.fixture(scope="module")
def uninterrupted(photo, tmp_path_factory) -> dict[str, bytes]:
    return whole(["fit", photo, *LONG], tmp_path_factory.mktemp("whole"))


def whole(words: list[object], directory: Path) -> dict[str, bytes]:
    """What a command writes that is not disturbed."""
    errors = (process := start(*words, "--out", directory / "whole")).communicate()[1]
    assert process.returncode == 0, errors
    return results(directory / "whole")


def test_a_fit_that_is_killed_and_resumed_writes_the_same_bytes(photo, uninterrupted, tmp_path):
    begins = survive(["fit", photo, *LONG], tmp_path / "run", seed=0, kills=1)
    assert 100 < begins[0] < 15000
    assert results(tmp_path / "run") == uninterrupted


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 14))
def test_fits_that_are_killed_four_times_each_write_the_same_bytes(seed, photo, tmp_path):
    words = ["fit", photo, "--width", "32", "--steps", "40000", "--checkpoint-every", "0.1"]
    begins = survive(words, tmp_path / "run", seed, kills=4)
    print(begins)
    assert 100 < begins[0] < 40000
    assert results(tmp_path / "run") == whole(words, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sound", "video", "shape", "blend", "inpaint"])
def test_signals_of_every_kind_survive(kind, photo, tmp_path):
    """Their samples are made anew, bit by bit as before: otherwise resuming would be refused."""
    pytest.importorskip("av", reason="MP4 needs the extra `video`")
    pytest.importorskip("trimesh", reason="PLY needs the extra `shape`")
    words = [*of_kind(kind, photo, tmp_path), "--width", "32", "--depth", "1", "--checkpoint-every", "0.1"]
    begins = survive(words, tmp_path / "run", seed=1, kills=3)
    print(kind, begins)
    assert begins[0] > 100
    assert results(tmp_path / "run") == whole(words, tmp_path)


def of_kind(kind: str, photo: Path, folder: Path) -> list[object]:
    """The words of a command that fits a signal of a kind, and that signal in a folder."""
    picture = np.asarray(Image.open(photo))
    if kind == "sound":
        samples = 2**14 * np.sin(2 * np.pi * 200 * np.arange(2000) / 8000)
        scipy.io.wavfile.write(folder / "chord.wav", 8000, samples.astype(np.int16))
        return ["fit", folder / "chord.wav", "--steps", "8000"]
    if kind == "video":
        with open(folder / "clip.mp4", "wb") as file:
            encode_video(
                file, iter([np.roll(picture, 2 * n, axis=1)[..., None].repeat(3, -1) for n in range(8)]), 4.0, ".mp4"
            )
        return ["fit", folder / "clip.mp4", "--steps", "8000"]
    if kind == "shape":
        with open(folder / "ball.ply", "wb") as file:
            encode_mesh(file, extract(SOLIDS["sphere"].distance, resolution=24), ".ply")
        return ["fit", folder / "ball.ply", "--steps", "1000", "--batch-size", "256"]
    Image.fromarray(np.uint8(255) * (picture > 100)).save(folder / "mask.png")
    if kind == "blend":
        return ["blend", photo, photo, "--mask", folder / "mask.png", "--steps", "4000"]
    return ["inpaint", photo, "--mask", folder / "mask.png", "--steps", "1000", "--batch-size", "128"]


def test_sigterm_keeps_what_was_learned(photo, uninterrupted, tmp_path):
    process = start("fit", photo, *LONG, "--out", tmp_path / "run")
    while not any(path.name.isdecimal() for path in (tmp_path / "run").glob("checkpoints/*")):
        assert process.poll() is None
        time.sleep(0.01)
    process.terminate()
    assert "--resume continues" in process.communicate()[1]
    assert process.returncode == 143
    assert set(results(tmp_path / "run")) == set(uninterrupted)
    assert main(["fit", str(photo), *LONG, "--resume", str(tmp_path / "run")]) == 0
    assert results(tmp_path / "run") == uninterrupted


def test_steps_can_be_raised_and_all_else_stays(photo, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["fit", str(photo), *TINY, "--out", run]) == 0
    assert main(["fit", str(photo), *TINY[:-1], "70", "--resume", run, "--json"]) == 0
    captured = capsys.readouterr()
    assert "continuing at step 60" in captured.err
    assert '"steps": 70' in captured.out
    before = results(tmp_path / "run")
    for options, message in [
        (["--seed", "1"], "--seed was 0 and is now 1"),
        (["--width", "17"], "--width was 16 and is now 17"),
        (["--target", "gradient"], "--target was 'values' and is now 'gradient'"),
        (["--steps", "50"], "70 steps are taken already, but the budget is 50"),
        (["--overwrite"], "leave out --out and --overwrite"),
    ]:
        assert main(["fit", str(photo), *TINY, *options, "--resume", run]) == 2
        assert message in capsys.readouterr().err
    assert results(tmp_path / "run") == before


def test_another_picture_is_not_taken_for_the_one_that_was_begun(photo, tmp_path, capsys):
    run, other = str(tmp_path / "run"), tmp_path / "gradient.png"
    assert main(["fit", str(photo), *TINY, "--out", run]) == 0
    Image.linear_gradient("L").resize((24, 16)).save(other)
    assert main(["fit", str(other), *TINY, "--resume", run]) == 2
    assert "the contents of FILE was" in capsys.readouterr().err


def test_what_was_not_begun_is_not_resumed(photo, tmp_path, capsys):
    assert main(["fit", str(photo), *TINY, "--resume", str(tmp_path / "typo")]) == 2
    assert NOTHING_YET in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()


def test_a_fit_that_has_not_ended_is_not_lost_by_another(photo, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["fit", str(photo), *TINY, "--out", str(run)]) == 0
    for path in run.iterdir():
        if path.name != "checkpoints":
            path.unlink()
    assert main(["fit", str(photo), *TINY, "--out", str(run)]) == 2
    assert "continue it with --resume" in capsys.readouterr().err
    assert main(["fit", str(photo), *TINY, "--out", str(run), "--overwrite"]) == 0


def test_a_hangup_of_the_terminal_keeps_what_was_learned(photo, uninterrupted, tmp_path):
    ours, theirs = os.openpty()
    claim = "import os, fcntl, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    command = [sys.executable, "-c", f"{claim} from siren_jax.cli import run; run()"]
    words = ["fit", str(photo), *LONG, "--out", str(tmp_path / "run")]
    process = subprocess.Popen([*command, *words], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    while not steps_kept(tmp_path / "run"):
        assert process.poll() is None
        time.sleep(0.01)
    os.close(ours)  # as when a connection is cut: SIGHUP, and every write to the terminal is an error
    assert process.wait() == 129
    assert len(results(tmp_path / "run")) == 3
    assert main(["fit", str(photo), *LONG, "--resume", str(tmp_path / "run")]) == 0
    assert results(tmp_path / "run") == uninterrupted


def test_a_pipe_that_closes_ends_no_fit(photo, tmp_path):
    process = start("fit", photo, *TINY, "--out", tmp_path / "run")
    process.stderr.close()
    assert process.wait() == 0
    assert len(results(tmp_path / "run")) == 3


def test_results_outlive_their_directory(photo, tmp_path, monkeypatch, capsys):
    watch = Session.watch

    def gone(self, progress):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        return watch(self, progress)

    monkeypatch.setattr(Session, "watch", gone)
    assert main(["fit", str(photo), *TINY, "--preview-every", "1", "--out", str(tmp_path / "run")]) == 0
    assert len(results(tmp_path / "run")) == 3
    assert "a preview could not be written" in capsys.readouterr().err


def test_a_second_fit_in_the_same_directory_is_refused_and_disturbs_nothing(photo, tmp_path, monkeypatch, capsys):
    arguments = ["fit", str(photo), *TINY, "--preview-every", "1"]
    watch, codes = Session.watch, []

    def meanwhile(self, progress):
        answer = watch(self, progress)
        if not codes:
            before = sorted((tmp_path / "run").rglob("*"))
            others = (["--out", str(tmp_path / "run")], ["--out", str(tmp_path / "run"), "--overwrite"])
            for where in (*others, ["--resume", str(tmp_path / "run")]):
                codes.append(main([*arguments, *where]))
            assert sorted((tmp_path / "run").rglob("*")) == before
        return answer

    monkeypatch.setattr(Session, "watch", meanwhile)
    assert main([*arguments, "--out", str(tmp_path / "run")]) == 0
    assert codes == [2, 2, 2]
    assert capsys.readouterr().err.count("another fit writes to") == 2
    assert len(list((tmp_path / "run" / "preview").iterdir())) > 1


@pytest.mark.parametrize("name", ["-dash.png", "two words, 日本 ω.png", "a\nb [x]*$_{y}.png"])
def test_names_of_every_kind_are_fitted_and_resumed(name, photo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(photo, tmp_path / name)
    for where in ("--out=", "--resume="):
        out = where + os.path.splitext(name)[0]
        assert main(["fit", *TINY, "--preview-every", "30", out, "--", name]) == 0
    assert sorted(os.listdir(tmp_path)) == sorted([name, name[:-4]])
    assert f"{name[:-4]}.siren" in os.listdir(tmp_path / name[:-4])
    assert "continuing at step 60" in capsys.readouterr().err


def test_what_a_killed_process_left_half_written_is_removed(photo, tmp_path):
    run = tmp_path / "run"
    assert main(["fit", str(photo), *TINY, "--out", str(run)]) == 0
    before = sorted(os.listdir(run))
    (run / ".gradient.siren.0123abcd.partial").write_bytes(b"half")
    assert main(["fit", str(photo), *TINY, "--resume", str(run)]) == 0
    assert sorted(os.listdir(run)) == before


@pytest.mark.parametrize("folder", ["preview", "checkpoints", "checkpoints/second"])
def test_nothing_is_written_through_a_link(folder, photo, tmp_path, capsys):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("kept")
    (tmp_path / "run" / folder).parent.mkdir(parents=True)
    (tmp_path / "run" / folder).symlink_to(tmp_path / "elsewhere")
    arguments = ["--preview-every", "10", "--out", str(tmp_path / "run"), "--overwrite"]
    assert main(["fit", str(photo), *TINY, *arguments]) == 2
    assert "is a link, which is not followed" in capsys.readouterr().err
    assert os.listdir(tmp_path / "elsewhere") == ["precious"]


def test_results_that_are_links_are_replaced_and_not_followed(photo, tmp_path):
    run, precious = tmp_path / "run", tmp_path / "precious"
    precious.write_text("kept")
    run.mkdir()
    names = ["gradient.siren", "reconstruction.png", "comparison.png", "curve.png", "metrics.json"]
    for name in names:
        (run / name).symlink_to(precious)
    assert main(["fit", str(photo), *TINY, "--out", str(run), "--overwrite"]) == 0
    assert precious.read_text() == "kept"
    assert not any((run / name).is_symlink() for name in names)
