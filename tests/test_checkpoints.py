"""A fit that is interrupted and continued is the fit that was not, to the last bit; whatever else is refused."""

import itertools
import json
import math
import resource
import shutil
import signal
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from by_hand import Number
from flax import nnx
from jax.tree_util import Partial

from siren_jax import SIREN, Checkpoints, InputError, fit
from siren_jax.fitting import checkpoints as store
from siren_jax.fitting.recipes import constant

KEY = jax.random.key(0)


def network(width: int = 8) -> SIREN:
    return SIREN(1, 1, width=width, depth=1, rngs=nnx.Rngs(0))


def sample(key, step):
    return {"x": jax.random.uniform(key, (32, 1), minval=-1.0, maxval=1.0)}


def parabola(field, batch):
    return {"value": jnp.sum((field(batch["x"]) - batch["x"] ** 2) ** 2, axis=1)}


def bits(fitted) -> list[bytes]:
    """All that the steps decide of a fit."""
    history = [column for name, column in fitted.history.items() if name != "seconds"]
    leaves = jax.tree.leaves([nnx.state(fitted.network), nnx.state(fitted.best)])
    return [np.asarray(leaf).tobytes() for leaf in (*leaves, *history, np.array(fitted.best_step))]


def kept(directory: Path) -> list[int]:
    return sorted(int(path.stem) for path in directory.glob("*.safetensors"))


def no_rows(since: int) -> np.ndarray:
    return np.empty((0, 1))


@pytest.fixture(autouse=True)
def time_for_checkpoints(monkeypatch):
    """However long a small fit is held up for one."""
    monkeypatch.setattr(store, "SHARE", math.inf)


def fitted_until(step: int | None, directory: Path, **settings):
    """A fit of 12 steps that is kept after every chunk; `watch` ends it at a step, as an interruption would."""
    watch = None if step is None else lambda progress: progress.step >= step
    settings = {"steps": 12, "watch": watch, "key": KEY, "objective": parabola, "network": network(), **settings}
    with Checkpoints(directory, every=0.0) as checkpoints:
        return fit(settings.pop("network"), settings.pop("objective"), sample, checkpoints=checkpoints, **settings)


@pytest.mark.slow
@pytest.mark.usefixtures("two_step_chunks")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"balance_every": 2},
        {"optimizer": optax.sgd(1e-2, momentum=0.9)},
        {"optimizer": optax.chain(optax.add_noise(0.1, 0.5, key=jax.random.key(3)), optax.sgd(1e-2))},
    ],
    ids=["default", "balanced", "sgd", "noise"],  # the last has a key among its arrays
)
def test_a_fit_that_is_continued_is_the_one_that_was_not_interrupted(settings, tmp_path):
    whole = fit(network(), parabola, sample, key=KEY, steps=12, **settings)
    parts = [fitted_until(step, tmp_path / "run", **settings) for step in (3, 7, None)]
    assert [part.steps for part in parts] == [3, 8, 12]
    assert bits(parts[-1]) == bits(whole)
    assert bits(fitted_until(None, tmp_path / "run", **settings)) == bits(whole)  # nothing was left to do


@pytest.mark.usefixtures("two_step_chunks")
def test_the_newest_checkpoint_that_can_be_read_is_continued(tmp_path):
    whole = fit(network(), parabola, sample, key=KEY, steps=12)
    fitted_until(7, tmp_path)
    earlier, newest = kept(tmp_path)
    (tmp_path / f"{newest}.safetensors").write_bytes(b"")
    with pytest.warns(UserWarning, match=f"of step {newest} cannot be read, and the fit continues from step {earlier}"):
        fitted_until(newest - 1, tmp_path)
    assert kept(tmp_path)[-1] < newest  # the damaged one is no bar to earlier ones
    assert bits(fitted_until(None, tmp_path)) == bits(whole)


def test_checkpoints_come_as_often_as_they_are_asked_for(tmp_path, monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with Checkpoints(tmp_path, every=10.0, keep=9) as checkpoints:
        for step in range(100):
            now = float(step)
            checkpoints.offer(step, lambda: {"x": np.zeros(3)}, no_rows)
    assert kept(tmp_path) == list(range(10, 100, 10))


def test_a_checkpoint_writes_the_rows_since_the_one_before(tmp_path):
    rows, asked = np.arange(24.0, dtype=np.float32).reshape(12, 2), []

    def since(start):
        asked.append(start)
        return rows[start:end]

    with Checkpoints(tmp_path) as checkpoints:
        for end in (3, 3, 7):
            checkpoints.save(end, {"x": np.zeros(0)}, since)
    with Checkpoints(tmp_path) as again:
        found = again.latest()
        assert np.array_equal(found.rows, rows[:7])
        end = 12
        again.save(12, {"x": np.zeros(0)}, since)
        assert np.array_equal(again.latest().rows, rows)
    assert asked == [0, 3, 7]
    assert (tmp_path / "log").stat().st_size == rows.nbytes


@pytest.mark.usefixtures("two_step_chunks")
def test_rows_that_no_checkpoint_speaks_of_are_forgotten(tmp_path):
    whole = fit(network(), parabola, sample, key=KEY, steps=12)
    fitted_until(7, tmp_path)
    with open(tmp_path / "log", "ab") as file:
        file.write(bytes(100))  # of a process that was killed between its rows and its checkpoint
    assert bits(fitted_until(None, tmp_path)) == bits(whole)


@pytest.mark.usefixtures("two_step_chunks")
def test_a_log_that_is_cut_is_no_log(tmp_path):
    fitted_until(7, tmp_path)
    (tmp_path / "log").write_bytes(b"")
    with pytest.warns(UserWarning, match="cannot be read") as told:
        fitted_until(3, tmp_path)
    assert len(told) == 2  # of either checkpoint


def test_files_of_others_are_left_alone(tmp_path):
    (tmp_path / "2021.safetensors").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"contains 2021\.safetensors, but no fit\.json"):
            Checkpoints(tmp_path, overwrite=overwrite)
    assert (tmp_path / "2021.safetensors").read_text() == "mine"


def test_what_killed_processes_have_left_is_removed(tmp_path):
    fitted_until(3, tmp_path)
    (tmp_path / ".7.safetensors.01234567.partial").write_text("")
    before = {path.name for path in tmp_path.iterdir()}
    Checkpoints(tmp_path).close()
    assert before - {path.name for path in tmp_path.iterdir()} == {".7.safetensors.01234567.partial"}


@pytest.mark.usefixtures("two_step_chunks")
def test_the_last_checkpoints_are_kept(tmp_path):
    fitted_until(None, tmp_path)
    assert len(kept(tmp_path)) == 2
    assert kept(tmp_path)[-1] == 12


@pytest.mark.usefixtures("two_step_chunks")
def test_steps_can_be_raised_and_not_taken_back(tmp_path):
    fitted_until(None, tmp_path)
    longer = fitted_until(None, tmp_path, steps=20)
    assert longer.steps == 20
    assert longer.history["loss"].shape == (20,)
    with pytest.raises(InputError, match="20 steps are already done, but the budget is 19"):
        fitted_until(None, tmp_path, steps=19)


def two_terms(field, batch):
    return parabola(field, batch) | {"size": jnp.sum(field(batch["x"]) ** 2, axis=1)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": network(9)}, r"is float32\(8,\), not float32\(9,\)"),
        ({"network": SIREN(1, 1, width=8, depth=2, rngs=nnx.Rngs(0))}, "it has .* arrays, not"),
        ({"optimizer": optax.sgd(1e-2)}, "it has .* arrays, not"),
        ({"key": jax.random.key(1)}, "the key or the data have changed"),
        (
            {"objective": Partial(lambda a, field, batch: parabola(field, batch), jnp.ones(3))},
            "or the data have changed",
        ),
        ({"objective": two_terms}, r"is float32\(1,\), not float32\(2,\)"),  # of the balance
    ],
    ids=["width", "depth", "optimizer", "key", "data", "objective"],
)
def test_a_checkpoint_of_another_fit_is_refused(change, message, tmp_path):
    fitted_until(3, tmp_path)
    with pytest.raises(InputError, match=message):
        fitted_until(None, tmp_path, **change)


def test_another_configuration_is_refused_and_the_difference_named(tmp_path):
    Checkpoints(tmp_path, config={"width": 8, "picture": "a"}).close()
    Checkpoints(tmp_path, config={"picture": "a", "width": 8}).close()
    with pytest.raises(InputError, match="width was 8 and is now 9"):
        Checkpoints(tmp_path, config={"width": 9, "picture": "a"})
    with pytest.raises(InputError, match="width was 8 and is now not given"):
        Checkpoints(tmp_path, config={"picture": "a"})
    Checkpoints(tmp_path, config={"width": 9}, overwrite=True).close()
    assert json.loads((tmp_path / "fit.json").read_text())["fit"] == {"width": 9}


def test_a_fit_that_goes_on_with_another_version_says_so(tmp_path):
    Checkpoints(tmp_path).close()
    content = json.loads((tmp_path / "fit.json").read_text())
    content["versions"]["jax"] = "0.7.0"
    (tmp_path / "fit.json").write_text(json.dumps(content))
    with pytest.warns(UserWarning, match=r"the last bits may differ .*: the fit was started with jax 0\.7\.0"):
        Checkpoints(tmp_path).close()


@pytest.mark.parametrize("text", ["{", "[]", '{"fit": {}}', '{"fit": 1, "versions": {}}'])
def test_a_damaged_configuration_is_told(text, tmp_path):
    (tmp_path / "fit.json").write_text(text)
    with pytest.raises(InputError, match=r"fit\.json' is damaged"):
        Checkpoints(tmp_path)


def test_a_directory_belongs_to_one_fit_at_a_time(tmp_path):
    with Checkpoints(tmp_path), pytest.raises(InputError, match="another fit writes to"):
        Checkpoints(tmp_path, overwrite=True)
    Checkpoints(tmp_path).close()


def test_a_directory_is_left_to_others_from_any_thread(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    thread = threading.Thread(target=checkpoints.close)
    thread.start()
    thread.join()
    Checkpoints(tmp_path).close()


def test_a_directory_that_has_become_another_fits_is_left_alone(tmp_path):
    run = tmp_path / "run"
    with Checkpoints(run, config={"width": 8}) as mine:
        shutil.rmtree(run)
        with Checkpoints(run, config={"width": 9}) as other:
            with pytest.warns(UserWarning, match="another fit writes to"):
                mine.save(7, {"x": np.zeros(3)}, no_rows)
            assert other.steps() == []


def test_what_is_no_fit_is_not_continued_as_one(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(7, {"x": np.zeros(0)}, no_rows)
    with pytest.raises(InputError, match="does not contain a fit"):
        fitted_until(None, tmp_path)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        Checkpoints(tmp_path / "file" / "run")


@pytest.mark.usefixtures("two_step_chunks")
def test_a_fit_outlives_its_directory(tmp_path):
    whole = fit(network(), parabola, sample, key=KEY, steps=12)

    def gone(progress):
        if (tmp_path / "run").is_dir():
            shutil.rmtree(tmp_path / "run")
        (tmp_path / "run").write_text("")  # nor can it be made again

    with pytest.warns(UserWarning, match="checkpoint could not be written") as told:
        assert bits(fitted_until(None, tmp_path / "run", watch=gone)) == bits(whole)
    assert len(told) == 1


@pytest.mark.usefixtures("two_step_chunks")
def test_a_checkpoint_that_finds_no_room_is_told_once(tmp_path):
    whole = fit(network(), parabola, sample, key=KEY, steps=12)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def full(progress):  # once all is compiled, for which a GPU's compiler writes files
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))  # a write past it fails, as on a full disk

    try:
        with pytest.warns(UserWarning, match="a checkpoint could not be written, and the fit continues") as told:
            assert bits(fitted_until(None, tmp_path, watch=full)) == bits(whole)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert len(told) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "fit.json", "log"]
    assert (tmp_path / "log").stat().st_size == 0


@pytest.mark.parametrize(("value", "why"), [(np.float32(1), "float32"), (math.nan, "nan"), ({1}, r"\{1\}")])
def test_a_config_that_json_cannot_hold_is_refused_before_anything_is_made(value, why, tmp_path):
    with pytest.raises(InputError, match=f"config needs JSON values, but rate is .*{why}"):
        Checkpoints(tmp_path / "run", config={"rate": value})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", [".lock", "log"])
def test_a_file_that_is_a_link_is_refused(name, tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="is a link, which is not followed"):
        Checkpoints(tmp_path / "run")
    assert (tmp_path / "precious").read_text() == "kept"


@pytest.mark.usefixtures("two_step_chunks")
def test_a_clock_that_goes_backwards_changes_nothing(tmp_path, monkeypatch):
    whole = fit(network(), parabola, sample, key=KEY, steps=12)
    clock = itertools.count(time.time(), -3600)
    monkeypatch.setattr(time, "time", lambda: next(clock))
    for step in (5, None):
        fitted = fitted_until(step, tmp_path)
    assert bits(fitted) == bits(whole)


@pytest.mark.usefixtures("two_step_chunks")
def test_notes_are_kept_with_the_checkpoints(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.notes["curve"] = [[1, math.nan], [2, 30.5]]
        fit(network(), parabola, sample, key=KEY, steps=3, checkpoints=checkpoints)
    with Checkpoints(tmp_path) as again:
        assert again.latest().step == 3
        assert again.notes["curve"][1] == [2, 30.5]


@pytest.mark.usefixtures("two_step_chunks", "heeded_signals")
@pytest.mark.parametrize(
    ("number", "word"),
    [(signal.SIGINT, "interrupt"), (signal.SIGTERM, "terminate"), (signal.SIGHUP, "hangup")],
)
def test_a_signal_ends_the_fit_with_a_checkpoint(number, word, tmp_path):
    before = signal.getsignal(number)

    def watch(progress):
        if progress.step == 3:
            signal.raise_signal(number)

    assert fitted_until(None, tmp_path, watch=watch).stopped_by == word
    assert kept(tmp_path)[-1] == 3
    assert signal.getsignal(number) is before


@pytest.mark.usefixtures("two_step_chunks", "heeded_signals")
def test_a_signal_that_is_ignored_stays_so(tmp_path):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    fitted = fitted_until(None, tmp_path, watch=lambda progress: signal.raise_signal(signal.SIGHUP))
    assert (fitted.stopped_by, fitted.steps) == ("steps", 12)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


# Losses that jump, and losses that are no numbers


DOWN = {"optimizer": optax.sgd(1.0), "schedule": constant, "key": KEY}  # each step lowers the number by one


def fall(penalty):
    """The number itself as the loss, and what `penalty` adds at a step."""

    def drawn(key, step):
        return {"x": jnp.zeros((4, 1)), "extra": jnp.broadcast_to(jnp.asarray(penalty(step), jnp.float32), (4,))}

    return lambda field, batch: {"level": jax.vmap(field)(batch["x"])[:, 0] + batch["extra"]}, drawn


def test_the_best_network_is_that_of_the_lowest_running_loss():
    # Losses 0, -1, …, -9, and from step 7 on 100 more: the running loss is lowest at step 6.
    fitted = fit(Number(), *fall(lambda step: 100.0 * (step >= 7)), steps=10, **DOWN)
    assert (fitted.best_step, float(fitted.best.a[...]), float(fitted.network.a[...])) == (6, -6, -10)
    running = list(itertools.accumulate(fitted.history["loss"], lambda old, new: 0.9 * old + 0.1 * new))
    assert fitted.final_over_best == pytest.approx(running[-1] / min(running), rel=1e-5)


def test_steps_that_are_not_finite_are_skipped_and_counted():
    poison = lambda step: jnp.where((step == 2) | (step == 3) | (step == 6), jnp.nan, 0.0)
    fitted = fit(Number(), *fall(poison), steps=10, skip=2, **DOWN)
    assert (fitted.stopped_by, fitted.steps, fitted.skipped) == ("steps", 10, 3)
    assert fitted.network.a[...] == -7
    assert np.flatnonzero(np.isnan(fitted.history["loss"])).tolist() == [2, 3, 6]


def test_one_more_than_may_be_skipped_ends_the_fit():
    poison = lambda step: jnp.where(step >= 4, jnp.inf, 0.0)
    fitted = fit(Number(), *fall(poison), steps=10, skip=2, **DOWN)
    assert (fitted.stopped_by, fitted.steps, fitted.skipped) == ("non-finite", 6, 2)
    assert fitted.network.a[...] == -3  # the last whose loss is known to be finite
