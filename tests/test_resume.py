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
from siren_jax.shapes import encode_mesh
from siren_jax.shapes.level_set import extract
from siren_jax.signals import encode_video

DRAWN = ["--width", "16", "--depth", "1", "--steps", "60"]
TINY = [*DRAWN, "--no-figures"]
STEPS = 600
FEW = ["--width", "32", "--steps", str(STEPS), "--checkpoint-every", "0.1", "--no-figures"]
MANY = 40000
LONG = ["--width", "32", "--steps", str(MANY), "--checkpoint-every", "0.1"]
# The command, which waits for a signal as soon as it has a checkpoint: no race with the clock.
WAITING = """
import signal, time
from siren_jax.cli import run
from siren_jax.cli.session import Session

watch = Session.watch

def wait(self, progress):
    watch(self, progress)
    while self.checkpoints.steps() and callable(signal.getsignal(signal.SIGTERM)):  # until a signal has come
        time.sleep(0.01)

Session.watch = wait
run()
"""
NOTHING_YET = "there is no fit to resume"


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "gradient.png"
    Image.radial_gradient("L").resize((24, 16)).save(path)
    return path


def start(*arguments: object, code: str = "from siren_jax.cli import run; run()") -> subprocess.Popen[str]:
    """The command as a process of its own."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def results(directory: Path) -> dict[str, bytes]:
    """The files that the steps decide of those that are written: the network, and what is made with it."""
    timed = ("curve.png", "metrics.json")
    found = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file() and path.name not in timed}
    assert len(found) > 1
    return found


def steps_kept(directory: Path) -> set[int]:
    return {int(path.stem) for path in (directory / "checkpoints").glob("*.safetensors")}


def survive(words: list[object], directory: Path, seed: int, kills: int) -> list[int]:
    """Runs a command to its end, killing its process so many times; the steps at which it went on.

    The first kill and every second one after it come up to half a second after a new checkpoint, the others anywhere
    within eight seconds: while modules are imported, steps taken, files written.
    """
    moments, begins = random.Random(seed), []
    for number in range(kills):
        process = start(*words, *where(directory))
        if number % 2 == 0:
            wait_for_checkpoint(process, directory, max(steps_kept(directory), default=0) + 100)
        try:
            _, errors = process.communicate(timeout=(0.5 if number % 2 == 0 else 8) * moments.random())
            raise AssertionError(f"it ended before it was killed: {errors}")
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            begins += told(process.communicate()[1])
    process = start(*words, *where(directory))
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return begins + told(errors)


def where(directory: Path) -> list[object]:
    return ["--resume" if (directory / "checkpoints").exists() else "--out", directory]


def wait_for_checkpoint(process: subprocess.Popen[str], directory: Path, least: int = 0) -> None:
    """Until there is one of that step or a later one."""
    for _ in range(10000):
        if max(steps_kept(directory), default=-1) >= least:
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    raise AssertionError("no checkpoint came")


def told(errors: str) -> list[int]:
    """The step at which a process said that it went on."""
    return [int(step.replace(",", "")) for step in re.findall(r"continuing at step ([\d,]+)", errors)]


def undisturbed(words: list[object], directory: Path) -> dict[str, bytes]:
    """What a command writes that nobody kills."""
    process = start(*words, "--out", directory / "undisturbed")
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    return results(directory / "undisturbed")


def command_for(kind: str, photo: Path, folder: Path) -> tuple[list[object], int]:
    """A command that fits a signal of a kind, which is made in a folder, and the number of its steps."""
    picture = np.asarray(Image.open(photo))
    Image.fromarray(np.uint8(255) * (picture > 100)).save(folder / "mask.png")
    if kind == "sound":
        samples = 2**14 * np.sin(2 * np.pi * 200 * np.arange(2000) / 8000)
        scipy.io.wavfile.write(folder / "chord.wav", 8000, samples.astype(np.int16))
        words, steps = ["fit", folder / "chord.wav"], 25000
    elif kind == "video":
        pytest.importorskip("av", reason="MP4 needs the extra `video`")
        frames = (np.roll(picture, 2 * n, axis=1)[..., None].repeat(3, -1) for n in range(8))
        with open(folder / "clip.mp4", "wb") as file:
            encode_video(file, frames, 4.0, ".mp4")
        words, steps = ["fit", folder / "clip.mp4"], 20000
    elif kind == "shape":
        with open(folder / "ball.ply", "wb") as file:
            encode_mesh(file, extract(SOLIDS["sphere"].distance, resolution=24), ".ply")
        words, steps = ["fit", folder / "ball.ply", "--batch-size", "256"], 50000
    elif kind == "blend":
        words, steps = ["blend", photo, photo, "--mask", folder / "mask.png"], 3000
    else:
        words, steps = ["inpaint", photo, "--mask", folder / "mask.png", "--batch-size", "128"], 60000
    return [*words, "--width", "32", "--depth", "1", "--steps", steps, "--checkpoint-every", "0.1"], steps


@pytest.fixture(scope="module")
def uninterrupted(photo, tmp_path_factory) -> dict[str, bytes]:
    return undisturbed(["fit", photo, *FEW], tmp_path_factory.mktemp("uninterrupted"))


@pytest.mark.slow
def test_a_fit_that_is_killed_and_resumed_writes_the_same_bytes(photo, uninterrupted, tmp_path):
    run = tmp_path / "run"
    process = start("fit", photo, *FEW, "--out", run, code=WAITING)
    wait_for_checkpoint(process, run)
    process.kill()
    assert process.communicate()[1]
    process = start("fit", photo, *FEW, "--resume", run)
    (begin,) = told(process.communicate()[1])
    assert 0 < begin < STEPS
    assert results(run) == uninterrupted


@pytest.fixture(scope="module")
def uninterrupted_long(photo, tmp_path_factory) -> dict[str, bytes]:
    return undisturbed(["fit", photo, *LONG], tmp_path_factory.mktemp("uninterrupted"))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 14))
def test_fits_that_are_killed_four_times_each_write_the_same_bytes(seed, photo, uninterrupted_long, tmp_path):
    begins = survive(["fit", photo, *LONG], tmp_path / "run", seed, kills=4)
    print(begins)
    assert 100 < begins[0] < MANY
    assert results(tmp_path / "run") == uninterrupted_long


@pytest.mark.long
@pytest.mark.parametrize("kind", ["sound", "video", "shape", "blend", "inpaint"])
def test_signals_of_every_kind_survive(kind, photo, tmp_path):
    """Their samples are made anew, bit by bit as before: otherwise resuming would be refused."""
    words, steps = command_for(kind, photo, tmp_path)
    begins = survive(words, tmp_path / "run", seed=1, kills=2)
    print(kind, begins)
    assert begins[0] > 100
    assert begins[-1] < steps
    assert results(tmp_path / "run") == undisturbed(words, tmp_path)


@pytest.mark.slow
def test_sigterm_keeps_what_was_learned(photo, uninterrupted, tmp_path):
    process = start("fit", photo, *FEW, "--out", tmp_path / "run", code=WAITING)
    wait_for_checkpoint(process, tmp_path / "run")
    process.terminate()
    assert "--resume continues" in process.communicate()[1]
    assert process.returncode == 143
    assert set(results(tmp_path / "run")) == set(uninterrupted)
    assert main(["fit", str(photo), *FEW, "--resume", str(tmp_path / "run")]) == 0
    assert results(tmp_path / "run") == uninterrupted


@pytest.mark.slow
def test_steps_can_be_raised_and_all_else_stays(photo, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["fit", str(photo), *TINY, "--out", run]) == 0
    assert main(["fit", str(photo), *TINY, "--steps", "70", "--resume", run, "--json"]) == 0
    captured = capsys.readouterr()
    assert "continuing at step 60" in captured.err
    assert '"steps": 70' in captured.out
    before = results(tmp_path / "run")
    for options, message in [
        (["--seed", "1"], "--seed was 0 and is now 1"),
        (["--width", "17"], "--width was 16 and is now 17"),
        (["--target", "gradient"], "--target was 'values' and is now 'gradient'"),
        (["--steps", "50"], "70 steps are already done, but the budget is 50"),
        (["--overwrite"], "leave out --out and --overwrite"),
    ]:
        assert main(["fit", str(photo), *TINY, *options, "--resume", run]) == 2
        assert message in capsys.readouterr().err
    assert results(tmp_path / "run") == before


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_fit_that_has_not_ended_is_not_lost_by_another(photo, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["fit", str(photo), *TINY, "--out", str(run)]) == 0
    for path in run.iterdir():
        if path.name != "checkpoints":
            path.unlink()
    assert main(["fit", str(photo), *TINY, "--out", str(run)]) == 2
    assert "continue it with --resume" in capsys.readouterr().err
    assert main(["fit", str(photo), *TINY, "--out", str(run), "--overwrite"]) == 0


@pytest.mark.slow
@pytest.mark.usefixtures("heeded_signals")
def test_a_hangup_of_the_terminal_keeps_what_was_learned(photo, uninterrupted, tmp_path):
    ours, theirs = os.openpty()
    claim = "import os, fcntl, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    command = [sys.executable, "-c", f"{claim}\n{WAITING}"]
    words = ["fit", str(photo), *FEW, "--out", str(tmp_path / "run")]
    process = subprocess.Popen([*command, *words], stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    wait_for_checkpoint(process, tmp_path / "run")
    os.close(ours)  # as when a connection is cut: SIGHUP, and every write to the terminal is an error
    assert process.wait() == 129
    assert len(results(tmp_path / "run")) == 2
    assert main(["fit", str(photo), *FEW, "--resume", str(tmp_path / "run")]) == 0
    assert results(tmp_path / "run") == uninterrupted


@pytest.mark.slow
def test_a_pipe_that_closes_ends_no_fit(photo, tmp_path):
    process = start("fit", photo, *TINY, "--out", tmp_path / "run")
    process.stderr.close()
    assert process.wait() == 0
    assert len(results(tmp_path / "run")) == 2


@pytest.mark.slow
def test_results_outlive_their_directory(photo, tmp_path, monkeypatch, capsys):
    watch = Session.watch

    def gone(self, progress):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        return watch(self, progress)

    monkeypatch.setattr(Session, "watch", gone)
    assert main(["fit", str(photo), *DRAWN, "--preview-every", "1", "--out", str(tmp_path / "run")]) == 0
    assert len(results(tmp_path / "run")) == 3
    assert "a preview could not be written" in capsys.readouterr().err


@pytest.mark.slow
def test_a_second_fit_in_the_same_directory_is_refused_and_disturbs_nothing(photo, tmp_path, monkeypatch, capsys):
    arguments = ["fit", str(photo), *DRAWN, "--preview-every", "1"]
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


@pytest.mark.slow
@pytest.mark.parametrize("name", ["-dash.png", "two words, 日本 ω\n[x]*$_{y}.png"])
def test_names_of_every_kind_are_fitted_and_resumed(name, photo, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(photo, tmp_path / name)
    for where in ("--out=", "--resume="):
        out = where + os.path.splitext(name)[0]
        assert main(["fit", *DRAWN, "--preview-every", "30", out, "--", name]) == 0
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
    assert main(["fit", str(photo), *DRAWN, *arguments]) == 2
    assert "is a link, which is not followed" in capsys.readouterr().err
    assert os.listdir(tmp_path / "elsewhere") == ["precious"]


@pytest.mark.slow
def test_a_fit_without_figures_leaves_none_of_an_earlier_one(photo, tmp_path):
    run = tmp_path / "run"
    assert main(["fit", str(photo), *DRAWN, "--out", str(run)]) == 0
    assert main(["fit", str(photo), *TINY, "--out", str(run), "--overwrite"]) == 0
    assert not {"comparison.png", "curve.png"} & set(os.listdir(run))


@pytest.mark.slow
def test_results_that_are_links_are_replaced_and_not_followed(photo, tmp_path):
    run, precious = tmp_path / "run", tmp_path / "precious"
    precious.write_text("kept")
    run.mkdir()
    names = ["gradient.siren", "reconstruction.png", "comparison.png", "curve.png", "metrics.json"]
    for name in names:
        (run / name).symlink_to(precious)
    assert main(["fit", str(photo), *DRAWN, "--out", str(run), "--overwrite"]) == 0
    assert precious.read_text() == "kept"
    assert not any((run / name).is_symlink() for name in names)
