"""A fit with a target looks at it by the step and not by the clock, averages its weights, and is soon there."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from by_hand import Number, level
from flax import nnx
from PIL import Image

from siren_jax import fit, supervise
from siren_jax.cli import main
from siren_jax.fitting import progress
from siren_jax.fitting.checkpoints import Checkpoints
from siren_jax.fitting.progress import next_look
from siren_jax.fitting.recipes import PAPER, TUNED, constant, cosine_decay, inverse_root, until_a_target
from siren_jax.fitting.step import averaged
from siren_jax.subjects import procedure

KEY = jax.random.key(0)
WIDTH = 64
TRUTH = jnp.linspace(-1, 1, WIDTH)[:, None]
NEVER = lambda progress: False


def still(key, step):
    del key, step
    return {"coordinates": jnp.zeros((4, 1))}


def noisy(key, step):
    """A linear field of 64 coordinates, with noise on its values."""
    del step
    points = jax.random.normal(key, (64, WIDTH))
    return {"coordinates": points, "value": points @ TRUTH + jax.random.normal(jax.random.fold_in(key, 1), (64, 1))}


def error(network):
    return float(jnp.linalg.norm(network.kernel[...] - TRUTH) / jnp.linalg.norm(TRUTH))


def regression(**options):
    network = nnx.Linear(WIDTH, 1, rngs=nnx.Rngs(0))
    return fit(network, supervise("value"), noisy, key=KEY, optimizer=optax.sgd(0.1), **options)


def weights(fitted):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(fitted.network, nnx.Param))]


def test_the_average_of_a_constant_is_that_constant():
    same = {"a": jax.random.normal(KEY, (50,)), "b": jnp.float32(0.1)}
    average = same
    for index in range(50):
        average = averaged(average, same, jnp.int32(index))
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, average, same)))


def test_the_average_of_what_grows_evenly_lags_by_a_tenth():
    options = {"key": KEY, "steps": 40, "optimizer": optax.sgd(0.1), "schedule": constant}
    last = fit(Number(), level, still, **options).network
    average = fit(Number(), level, still, average=True, **options).network
    assert last.a[...] == pytest.approx(-4.0, rel=1e-5)
    # The recurrence ā_n = ā_{n-1} + (p + 1)/(n + p)·(n - ā_{n-1}) has the solution ((p + 1)·n + 1)/(p + 2), here p = 8.
    assert average.a[...] == pytest.approx(-0.1 * (9 * 40 + 1) / 10, rel=1e-5)


def test_the_rate_falls_with_the_steps_and_whatever_the_budget():
    ends = [
        fit(Number(), level, still, key=KEY, steps=60, optimizer=optax.sgd(0.1), schedule=inverse_root),
        fit(Number(), level, still, key=KEY, steps=200, optimizer=optax.sgd(0.1), schedule=inverse_root),
    ]
    expected = -0.1 * sum(min(1.0, (25 / k) ** 0.5) for k in range(1, 61))
    assert ends[0].network.a[...] == pytest.approx(expected, rel=1e-5)
    assert np.array_equal(ends[0].history["loss"], ends[1].history["loss"][:60])


@pytest.mark.parametrize("seconds", [1e-9, 10.0], ids=["one step a chunk", "long chunks"])
def test_a_target_is_looked_at_by_the_step_and_not_by_the_clock(seconds, monkeypatch):
    monkeypatch.setattr(progress, "CHUNK_SECONDS", seconds)
    looks = []
    regression(steps=100, until=lambda progress: looks.append(progress.step))
    assert looks == [8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 100]  # and at the end


def test_looks_keep_their_distance():
    steps = [next_look(0, 1 / 8)]
    while steps[-1] < 20_000:
        steps.append(next_look(steps[-1], 1 / 8))
    gaps = np.diff(steps)
    assert gaps.min() == 8
    assert (gaps <= np.maximum(8, np.array(steps[:-1]) / 8)).all()
    assert all(next_look(step - 1, 1 / 8) == step for step in steps)


def test_looking_changes_nothing_else():
    one, other = regression(steps=60), regression(steps=60, until=NEVER)
    assert all(map(np.array_equal, weights(one), weights(other)))
    assert np.array_equal(one.history["loss"], other.history["loss"])


@pytest.mark.slow
def test_a_resumed_fit_ends_at_the_same_step_with_the_same_bits(tmp_path):
    options = {"average": True, "schedule": inverse_root, "steps": 2000}
    options["until"] = lambda progress: error(progress.network()) < 0.03
    whole = regression(**options)
    with Checkpoints(tmp_path) as checkpoints:
        part = regression(**{**options, "until": NEVER, "steps": 37}, checkpoints=checkpoints)
        resumed = regression(**options, checkpoints=checkpoints)
    assert part.steps == 37 < resumed.steps == whole.steps < 2000
    assert whole.stopped_by == resumed.stopped_by == "watch"
    assert error(whole.network) < 0.03
    assert all(map(np.array_equal, weights(whole), weights(resumed)))


def test_a_noisy_quadratic_is_there_as_soon_as_with_the_best_budget():
    target = 0.1
    reached = lambda progress: error(progress.network()) < target
    found = regression(steps=4000, average=True, schedule=inverse_root, until=reached)
    assert found.stopped_by == "watch"
    shorter = int(found.steps / 1.3)
    assert error(regression(steps=shorter, schedule=cosine_decay).network) > target


def test_what_is_not_finite_leaves_the_average_of_what_was():
    def breaks(field, batch):
        return {"level": jax.vmap(field)(batch["coordinates"])[:, 0] + batch["broken"]}

    def at_ten(key, step):
        return {**still(key, step), "broken": jnp.where(step == 10, jnp.nan, jnp.zeros(4))}

    sgd = optax.sgd(0.1)
    broken = fit(Number(), breaks, at_ten, key=KEY, steps=20, optimizer=sgd, schedule=constant, average=True)
    assert broken.stopped_by == "non-finite"
    # Of the steps whose loss is known to be finite: the tenth left parameters whose loss is not known.
    assert broken.network.a[...] == pytest.approx(-0.1 * (9 * 9 + 1) / 10, rel=1e-5)
    skipped = fit(Number(), breaks, at_ten, key=KEY, steps=20, optimizer=sgd, schedule=constant, average=True, skip=1)
    assert skipped.stopped_by == "steps"
    assert np.isfinite(skipped.network.a[...])


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "a.png"
    rows, columns = np.mgrid[:24, :24]
    Image.fromarray((127 + 100 * np.sin(rows / 3) * np.cos(columns / 4)).astype(np.uint8)).save(path)
    return path


SMALL = ["--width", "32", "--depth", "1", "--first-omega", "8", "--learning-rate", "2e-3"]


@pytest.mark.slow
def test_a_target_ends_the_fit_with_the_same_bytes_whatever_the_clock(photo, tmp_path, monkeypatch):
    files = []
    for name, seconds in (("a", 0.5), ("b", 1e-9)):
        monkeypatch.setattr(progress, "CHUNK_SECONDS", seconds)
        options = ["--target-psnr", "22", "--steps", "300", "--no-figures", "--out", str(tmp_path / name)]
        assert main(["fit", str(photo), *SMALL, *options]) == 0
        files.append((tmp_path / name / "a.siren").read_bytes())
        metrics = json.loads((tmp_path / name / "metrics.json").read_text())
        assert metrics["stopped_by"] == "watch"
        assert metrics["psnr"] >= 22
        assert metrics["steps"] < 300
    assert files[0] == files[1]


@pytest.mark.slow
def test_a_target_out_of_reach_is_given_up_in_a_sentence(photo, tmp_path, capsys):
    options = ["--steps", "40", "--target-psnr", "90", "--no-figures", "--out", str(tmp_path / "a")]
    assert main(["fit", str(photo), *SMALL, *options]) == 0
    errors = capsys.readouterr().err
    assert "the target, PSNR 90.0 dB, is not reached after 40 steps; give more --steps, or a larger --width" in errors
    assert json.loads((tmp_path / "a" / "metrics.json").read_text())["stopped_by"] == "steps"


@pytest.mark.slow
def test_a_target_chooses_schedule_and_limit_unless_the_user_does(photo, tmp_path, monkeypatch):
    taken = []
    names = ("steps", "schedule", "average")
    short = lambda *args, **options: (
        taken.append([options[name] for name in names]) or fit(*args, **options | {"steps": 2})
    )
    monkeypatch.setattr(procedure, "fit", short)
    target = ["--target-psnr", "90"]
    for arguments in ([], target, [*target, "--schedule", "cosine", "--steps", "7"]):
        assert main(["fit", str(photo), *SMALL, *arguments, "--out", str(tmp_path / str(len(taken)))]) == 0
    usual = TUNED["values"].steps
    wanted = [[usual, cosine_decay, False], [10 * usual, inverse_root, True], [7, cosine_decay, False]]
    assert taken == wanted


def test_recipes_say_whether_they_average():
    assert until_a_target(TUNED["values"]).average
    assert not TUNED["values"].average
    assert not PAPER.average
