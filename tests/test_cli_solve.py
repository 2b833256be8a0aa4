"""The command solves equations with a name, and renders what it found."""

import json
import os
import re
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from siren_jax import SIREN, load
from siren_jax.cli import main
from siren_jax.cli.session import Session
from siren_jax.equations import Interval, distil, load_slabs, solution
from siren_jax.fitting import last_layer, progress, refinement
from siren_jax.references import lotka_volterra

pytestmark = pytest.mark.slow

SOLVED = ["--width", "24", "--depth", "1", "--steps", "60", "--refine", "60"]
QUICK = ["--width", "8", "--depth", "0", "--steps", "5", "--no-figures"]


@pytest.fixture(scope="module")
def poisson(tmp_path_factory):
    """A folder with a solved equation."""
    folder = tmp_path_factory.mktemp("solved")
    assert main(["solve", "poisson", *SOLVED, "--out", str(folder / "out")]) == 0
    return folder


@pytest.fixture(scope="module")
def wave(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wave")
    assert main(["solve", "wave", *QUICK, "--refine", "0", "--out", str(folder / "out")]) == 0
    return folder


def test_a_solution_is_near_the_reference_and_everything_is_written(poisson):
    out = poisson / "out"
    files = ["comparison.png", "curve.png", "metrics.json", "poisson.siren", "solution.npy"]
    assert sorted(os.listdir(out)) == ["checkpoints", *files]
    summary = json.loads((out / "metrics.json").read_text())
    assert summary["steps"] == 120  # of both phases
    assert summary["error"] < 5  # percent; a field of zeros has 100
    found = np.load(out / "solution.npy")
    cell = (2 * np.arange(200) + 1) / 200 - 1
    y, x = np.meshgrid(cell, cell, indexing="ij")
    exact = np.sin(np.pi * y) * np.sin(2 * np.pi * x) + y * x
    assert 100 * np.linalg.norm(found[..., 0] - exact) / np.linalg.norm(exact) == pytest.approx(
        summary["error"], rel=1e-3
    )


@pytest.mark.usefixtures("heeded_signals")
def test_both_phases_are_continued_where_they_were_interrupted(poisson, tmp_path, monkeypatch, capsys):
    watch, out = Session.watch, str(tmp_path / "out")
    arguments = ["solve", "poisson", *SOLVED, "--no-figures"]

    def interrupted_at(last, session, progress):
        watch(session, progress)
        if progress.step >= last:
            signal.raise_signal(signal.SIGINT)

    for where, last in (("--out", 30), ("--resume", 90)):  # of Adam's 60 steps, of L-BFGS's 60 after them
        monkeypatch.setattr(Session, "watch", lambda self, p, last=last: interrupted_at(last, self, p))
        monkeypatch.setattr(progress.Budget, "longest", 20)
        assert main([*arguments, where, out]) == 130
    monkeypatch.setattr(Session, "watch", watch)
    assert main([*arguments, "--resume", out]) == 0
    found = [int(step) for step in re.findall(r"continuing at step (\d+)", capsys.readouterr().err)]
    assert 30 <= found[0] < 60 == found[1]
    assert 90 <= found[2] < 120
    for name in ("poisson.siren", "solution.npy"):
        assert (tmp_path / "out" / name).read_bytes() == (poisson / "out" / name).read_bytes()


def test_a_second_phase_that_cannot_be_kept_is_taken_all_the_same(poisson, tmp_path, monkeypatch, capsys):
    # What is in the way is a link, which is not followed; a full disk does the same.
    out, make = tmp_path / "out", Session._make

    def linked(self, folders, resume):
        make(self, folders, resume)
        (out / "checkpoints" / "second").mkdir()
        (out / "checkpoints" / "second" / "60").symlink_to(tmp_path / "elsewhere")

    monkeypatch.setattr(Session, "_make", linked)
    assert main(["solve", "poisson", *SOLVED, "--no-figures", "--out", str(out)]) == 0
    assert "the second phase is fitted without checkpoints: " in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()
    assert (out / "poisson.siren").read_bytes() == (poisson / "out" / "poisson.siren").read_bytes()


@pytest.mark.usefixtures("drawn_figures")
def test_a_solution_is_rendered_as_an_array_and_as_a_figure(poisson, monkeypatch, capsys):
    monkeypatch.chdir(poisson)
    assert main(["render", "out/poisson.siren", "--shape", "6", "9", "--out", "u.npy"]) == 0
    field = load("out/poisson.siren")
    assert np.array_equal(np.load("u.npy"), field.render((6, 9)))
    assert main(["render", "out/poisson.siren", "--out", "u.png"]) == 0
    with Image.open("u.png") as picture:
        assert min(picture.size) > 300
    assert main(["render", "out/poisson.siren", "--out", "v.png", "--at", "0"]) == 2
    assert "applies to a solution in time" in capsys.readouterr().err


def test_info_tells_the_domain(poisson, capsys):
    assert main(["info", str(poisson / "out" / "poisson.siren")]) == 0
    assert re.search(r"^domain +-1 to 1 x -1 to 1$", capsys.readouterr().out, re.MULTILINE)


def test_a_moment_of_a_solution_in_time_is_rendered(wave, monkeypatch, capsys):
    monkeypatch.chdir(wave)
    assert main(["render", "out/wave.siren", "--at", "0.1", "--shape", "4", "6", "--out", "u.npy"]) == 0
    cells = [(2 * np.arange(n) + 1) / n - 1 for n in (4, 6)]
    points = np.stack(np.meshgrid(0.1, *cells, indexing="ij"), axis=-1)
    found = np.load("u.npy")
    assert found.shape == (1, 4, 6, 1)
    assert np.allclose(found, load("out/wave.siren")(points.astype(np.float32)), atol=1e-5)  # float32
    assert main(["render", "out/wave.siren", "--at", "0.1", "--out", "whole.npy"]) == 0
    assert np.load("whole.npy").shape == (1, 200, 200, 1)  # as fine as a solution in the plane
    assert main(["render", "out/wave.siren", "--out", "u.png"]) == 2
    assert "give the time with --at" in capsys.readouterr().err
    assert main(["render", "out/wave.siren", "--at", "0.5", "--out", "u.png"]) == 2
    assert "a time from 0 to 0.4, but is 0.5" in capsys.readouterr().err


@pytest.mark.usefixtures("drawn_figures")
def test_a_solution_on_an_interval_is_rendered_as_a_curve(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = solution(SIREN(1, 2, width=4, depth=0, rngs=nnx.Rngs(0)), Interval(0, 1))
    line.save("u.siren")
    assert main(["render", "u.siren", "--scale", "0.5", "--out", "u.npy"]) == 0
    assert np.array_equal(np.load("u.npy"), line.render((512,)))
    assert main(["render", "u.siren", "--out", "u.png"]) == 0
    with Image.open("u.png") as picture:
        assert min(picture.size) > 300
    assert main(["render", "u.siren", "--shape", "4", "4", "--out", "v.png"]) == 2
    assert "has one coordinate; give --scale" in capsys.readouterr().err


def test_a_condition_by_construction_leaves_a_plain_network(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("siren_jax.cli.solve.distil", partial(distil, steps=200, refined=20))  # which suffices for this
    arguments = ["--width", "16", "--depth", "1", "--steps", "150", "--refine", "0", "--no-figures"]
    assert main(["solve", "allen-cahn", *arguments]) == 0
    field = load("out/allen-cahn/allen-cahn.siren")
    x = np.linspace(0, 1, 21, dtype=np.float32)
    start = field(np.stack([0 * x, x], axis=-1))[:, 0]
    # Of the network's values as they were fitted, after so few steps; a network that has seen none is 0.5 off.
    assert np.sqrt(np.mean((start - x**2 * np.cos(np.pi * x)) ** 2)) < 0.05


def test_a_target_ends_the_fit(tmp_path):
    assert main(["solve", "poisson", *QUICK, "--target-error", "1000", "--out", str(tmp_path / "out")]) == 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["stopped_by"] == "watch"


@pytest.mark.parametrize("method", ["broyden", "gauss-newton"])
def test_a_method_for_small_networks_solves_with_one_and_writes_float64(method, tmp_path):
    out, size = tmp_path / "out", ["--width", "12", "--depth", "1", "--first-omega", "3", "--omega", "1"]
    steps = ["--steps", "5", "--refine", "100", "--refine-with", method, "--no-figures"]
    assert main(["solve", "poisson", *size, *steps, "--out", str(out)]) == 0
    summary = json.loads((out / "metrics.json").read_text())
    assert summary["error"] < 20  # percent; a field of zeros has 100, and so has the network after the steps of Adam
    assert (
        load(out / "poisson.siren").network.output.bias[...].dtype == np.load(out / "solution.npy").dtype == np.float64
    )


def test_the_matrices_of_a_method_count_as_memory(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("siren_jax.cli.memory.memory_of_machine", lambda: 2**31)
    arguments = ["--width", "60", "--refine-with", "broyden", "--out", str(tmp_path / "out")]
    assert main(["solve", "poisson", *arguments]) == 2
    # Two matrices of 7,561 parameters, 1 GiB for the reference and 600 MiB for programs.
    assert "would take about 2.44 GiB of memory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["poisson", "--refine-with", "broyden"], "Broyden's method stores matrices of all pairs of parameters"),
        (
            ["wave", "--refine-with", "gauss-newton"],
            "this network has 19,105 parameters, and there are 8,704 residuals",
        ),
        (["laplace"], "'laplace' is not an equation of the catalogue; choose one of poisson, "),
        (["poisson", "--batch-size", "64"], "--batch-size does not apply to an equation"),
        (["poisson", "--target-psnr", "40"], "--target-psnr does not apply to an equation"),
        (["poisson", "--first-omega", "auto"], "for an equation give --first-omega as a number"),
        (["poisson", "--refine", "-1"], "--refine takes a number of steps, 0 for none"),
        (["poisson", "--target-error", "-1"], "--target-error takes a positive number"),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["solve", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not os.path.exists("out/poisson/poisson.siren")


def test_poissons_equation_is_solved_by_random_sines_without_training(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["solve", "poisson", "--no-figures", "--json", "--out", str(out)]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["error"] < 1e-9  # percent
    assert summary["steps"] < 6
    field = load(str(out / "poisson.siren"))
    assert (field.network.width, field.network.depth, field.dtype) == (400, 0, np.float64)
    cell = (2 * np.arange(200) + 1) / 200 - 1
    y, x = np.meshgrid(cell, cell, indexing="ij")
    exact = np.sin(np.pi * y) * np.sin(2 * np.pi * x) + y * x
    assert np.abs(np.load(out / "solution.npy")[..., 0] - exact).max() < 1e-11


def test_the_wave_equation_is_solved_by_plane_waves(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(refinement, "MOST", 1000)  # by conjugate gradients
    out, width, variance = tmp_path / "out", 2000, 5e-4
    assert main(["solve", "wave", "--width", str(width), "--no-figures", "--json", "--out", str(out)]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["steps"] <= 4
    # The waves have k² < πn/2 for n sines, and the pulse has the spectrum exp(-variance·k²/2), whose rest is the error.
    assert summary["error"] == pytest.approx(100 * np.exp(-variance * np.pi * width / 4), rel=0.2)
    field = load(str(out / "wave.siren"))
    assert (field.network.width, field.network.depth, field.dtype) == (width, 0, np.float64)


def test_an_evolution_is_solved_in_slabs_of_time_and_opened_again(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["solve", "predator-prey", "--no-figures", "--json", "--out", str(out)]) == 0
    told = capsys.readouterr()
    summary = json.loads(told.out.splitlines()[-1])
    assert summary["error"] < 1e-7  # percent
    assert "slab 1 of 20" in told.err
    found = load_slabs(out / "predator-prey.slabs.zip")
    assert (len(found.fields), found.edges[-1], found.record["channels"]) == (20, 10.0, ["prey", "predators"])
    assert found.record["error"] == summary["error"]
    assert summary["parameters"] == 2 * 40 + 20 * 2 * (40 + 1)  # of the sines, and of a last layer for each slab
    t = np.linspace(0, 10, 57)[:, None]
    np.testing.assert_allclose(found(t), lotka_volterra(t), atol=1e-8)
    np.testing.assert_allclose(found.render(), np.load(out / "solution.npy"), atol=1e-12)


@pytest.mark.usefixtures("heeded_signals", "drawn_figures")
def test_ctrl_c_keeps_the_slabs_that_are_solved(tmp_path, monkeypatch, capsys):
    show, out = Session.show, tmp_path / "out"

    def interrupted(session, progress, place):
        show(session, progress, place)
        if place.startswith("slab 3 "):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Session, "show", interrupted)
    assert main(["solve", "predator-prey", "--out", str(out)]) == 130
    told = capsys.readouterr()
    assert "interrupted; the results so far were written, --resume continues.\n" in told.err
    assert "(until t = 1.5)" in told.out
    summary = json.loads((out / "metrics.json").read_text())
    assert (summary["stopped_by"], summary["error"] < 1e-7) == ("interrupt", True)
    assert load_slabs(out / "predator-prey.slabs.zip").edges == (0.0, 0.5, 1.0, 1.5)
    assert (out / "comparison.png").exists()
    monkeypatch.setattr(Session, "show", show)
    assert main(["solve", "predator-prey", "--resume", str(out)]) == 0
    assert "continuing at step " in capsys.readouterr().err
    assert main(["solve", "predator-prey", "--no-figures", "--out", str(tmp_path / "whole")]) == 0
    for name in ("predator-prey.slabs.zip", "solution.npy"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


# The command, which kills its process in the given slab.
KILLED = """
import os, signal, sys
from siren_jax.cli import run
from siren_jax.cli.session import Session

def show(self, progress, place):
    if place.startswith("slab 7 "):
        os.kill(os.getpid(), signal.SIGKILL)

Session.show = show
run()
"""


def test_a_march_that_is_killed_is_continued_to_the_same_bytes(tmp_path, capsys):
    arguments = ["solve", "predator-prey", "--refine", "1", "--no-figures", "--checkpoint-every", "1e-9"]
    halved = "slab 2 of 20 halved: not converged at step 1, with a loss of "
    assert main([*arguments, "--out", str(tmp_path / "whole")]) == 0
    assert halved in capsys.readouterr().err
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments, "--out", str(tmp_path / "out")], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path / "out") == ["checkpoints"]
    assert main(["solve", "predator-prey", "--out", str(tmp_path / "out")]) == 2
    assert "continue it with --resume, choose another --out" in capsys.readouterr().err
    assert main([*arguments, "--resume", str(tmp_path / "out")]) == 0
    assert int(re.findall(r"continuing at step (\d+)", capsys.readouterr().err)[-1]) > 0
    for name in ("predator-prey.slabs.zip", "solution.npy"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    steps, wholes = (json.loads((tmp_path / name / "metrics.json").read_text())["steps"] for name in ("out", "whole"))
    assert steps == wholes


def test_a_slab_that_is_not_solved_ends_the_command_with_an_error(tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["solve", "predator-prey", "--refine", "1", "--width", "3", "--no-figures", "--out", str(out)]) == 1
    assert "1/64 of slab 1 of 20 is not solved: not converged at step 1" in capsys.readouterr().err
    assert json.loads((out / "metrics.json").read_text())["stopped_by"] == "unsolved"


def test_the_seconds_of_a_march_end_it_after_a_slab(tmp_path):
    assert main(["solve", "predator-prey", "--no-figures", "--seconds", "1e-6", "--out", str(tmp_path / "out")]) == 0
    assert load_slabs(tmp_path / "out" / "predator-prey.slabs.zip").edges == (0.0, 0.5)


@pytest.mark.parametrize("option", [["--live"], ["--preview-every", "5"], ["--tensorboard"], ["--devices", "1"]])
def test_slabs_of_time_refuse_options_of_a_training(option, tmp_path, capsys):
    assert main(["solve", "predator-prey", *option, "--out", str(tmp_path / "out")]) == 2
    assert f"{option[0]} does not apply to a solution in slabs of time" in capsys.readouterr().err


def test_an_option_of_the_training_trains_one_network_instead_of_slabs(tmp_path):
    options = ["--width", "8", "--steps", "5", "--refine", "0", "--no-figures"]
    assert main(["solve", "predator-prey", *options, "--out", str(tmp_path / "out")]) == 0
    assert load(str(tmp_path / "out/predator-prey.siren")).network.width == 8


def test_without_a_step_of_least_squares_a_network_is_trained(tmp_path):
    options = ["--width", "8", "--refine", "0", "--seconds", "0.5", "--no-figures"]
    assert main(["solve", "poisson", *options, "--out", str(tmp_path / "out")]) == 0
    assert load(str(tmp_path / "out/poisson.siren")).network.depth > 0


@pytest.mark.filterwarnings("ignore:the residuals do not determine")
def test_a_solution_that_is_not_determined_is_not_said_to_be_stopped(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(last_layer, "LOOSE", -1.0)
    assert main(["solve", "poisson", "--width", "40", "--no-figures", "--out", str(tmp_path / "out")]) == 0
    assert "last good network" not in capsys.readouterr().err


@pytest.mark.usefixtures("heeded_signals")
def test_newtons_steps_of_the_last_layer_are_continued_where_they_were_interrupted(tmp_path, monkeypatch, capsys):
    watch, arguments = Session.watch, ["solve", "kovasznay", "--width", "60", "--refine", "6", "--no-figures"]
    assert main([*arguments, "--out", str(tmp_path / "whole")]) == 0

    def interrupted(session, progress):
        watch(session, progress)
        if progress.step >= 2:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Session, "watch", interrupted)
    monkeypatch.setattr(progress.Budget, "longest", 1)
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 130
    monkeypatch.setattr(Session, "watch", watch)
    assert main([*arguments, "--resume", str(tmp_path / "out")]) == 0
    assert "continuing at step 2" in capsys.readouterr().err
    files = [tmp_path / folder / "kovasznay.siren" for folder in ("whole", "out")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_an_option_of_the_training_trains_a_network_also_before_the_last_layer_is_solved(tmp_path):
    for options, depth, method in (
        (["--steps", "3", "--refine", "0"], 2, "float32"),
        (["--steps", "3", "--refine", "2", "--refine-with", "last-layer"], 2, "float64"),
        (["--refine", "2", "--refine-with", "lbfgs", "--steps", "1"], 2, "float32"),
    ):
        out = str(tmp_path / "-".join(options).replace("-", ""))
        assert main(["solve", "poisson", "--width", "8", *options, "--no-figures", "--out", out]) == 0
        field = load(f"{out}/poisson.siren")
        assert (field.network.width, field.network.depth, str(field.dtype)) == (8, depth, method)


def test_what_to_give_after_random_sines_miss_a_target_does_not_lead_to_training(tmp_path, capsys):
    target = ["--target-error", "1e-30", "--width", "30"]
    assert main(["solve", "poisson", *target, "--no-figures", "--out", str(tmp_path / "out")]) == 0
    assert re.search(r"not reached after \d steps; give more --refine, or a larger --width", capsys.readouterr().err)


def test_more_sines_than_residuals_are_refused(tmp_path, capsys):
    assert main(["solve", "poisson", "--width", "3000", "--out", str(tmp_path / "out")]) == 2
    assert "2,560 residuals for the 3,001 parameters" in capsys.readouterr().err
