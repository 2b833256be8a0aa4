"""`fit` is gradient descent on the mean of the objective: exactly repeatable, whatever its chunks and tiles."""

import itertools
import math
import signal
import threading
import tracemalloc
import weakref
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from by_hand import Number, level
from flax import nnx
from jax.tree_util import Partial

from siren_jax import SIREN, InputError, PixelDataset, fit, supervise
from siren_jax.fitting import host_loop, progress
from siren_jax.fitting.recipes import TUNED, constant, cosine_decay
from siren_jax.fitting.step import Steps

KEY = jax.random.key(0)
SGD = optax.sgd(0.1)
VALUE = supervise("value")


def siren():
    return SIREN(1, 1, width=16, depth=1, first_omega=5.0, omega=5.0, rngs=nnx.Rngs(0))


def line():
    return nnx.Linear(1, 1, rngs=nnx.Rngs(0))


def sample(key, step):
    points = jax.random.uniform(key, (32, 1), minval=-1)
    return {"coordinates": points, "value": jnp.sin(3 * points)}


def fixed(key, step):
    """The same 32 points in every step: their means are exact where all values are equal."""
    points = jnp.linspace(-1, 1, 32)[:, None]
    return {"coordinates": points, "value": jnp.sin(3 * points)}


def parameters(network):
    return jax.tree.leaves(nnx.state(network, nnx.Param))


def identical(one, other):
    """Whether two fits are equal bit for bit: parameters, loss and terms."""
    names = set(one.history) - {"seconds"}
    return (
        names == set(other.history) - {"seconds"}
        and all(np.array_equal(one.history[name], other.history[name]) for name in names)
        and all(np.array_equal(a, b) for a, b in zip(parameters(one.network), parameters(other.network), strict=True))
    )


@dataclass
class Unhashable:
    def __call__(self, share):
        return share


class Clock:
    """A clock that stands at 0, 1, 2, … seconds each time it is read: every chunk takes one second."""

    def __init__(self):
        self.reading = -1

    def perf_counter(self):
        self.reading += 1
        return float(self.reading)


@pytest.fixture
def one_second_chunks(monkeypatch):
    monkeypatch.setattr(host_loop, "time", Clock())


# What is computed


def test_the_same_key_gives_the_same_bits_and_another_key_others():
    first, again, other = (fit(line(), VALUE, sample, key=jax.random.key(seed), steps=5) for seed in (0, 0, 1))
    assert identical(first, again)
    assert not identical(first, other)


def test_a_log_that_is_restored_is_as_far_as_it_was():
    log, again = progress.Log(("loss",)), progress.Log(("loss",))
    log.add(np.zeros((1, 1)), 0.5)
    log.add(np.zeros((4, 1)), 1.0)
    again.restore(log.rows(), log.clock())
    for seconds in (1.6, 1.7):  # the next quarter of a second would end past the first, and before the second
        budget = progress.Budget(None, seconds)
        assert budget.reached(again) == budget.reached(log)
        assert budget.clock(again) == budget.clock(log)
    assert [progress.Budget(None, s).reached(log) for s in (1.6, 1.7)] == ["seconds", None]


def test_chunk_boundaries_change_no_bit(monkeypatch):
    monkeypatch.setattr(progress, "CHUNK_SECONDS", 1e6)
    whole = fit(line(), VALUE, sample, key=KEY, steps=8)  # chunks of one and of seven steps
    for most in (1, 3):
        monkeypatch.setattr(progress.Budget, "longest", most)
        assert identical(fit(line(), VALUE, sample, key=KEY, steps=8), whole)


def gradient_in_float64(network, objective, batch):
    """The gradient of the mean of all terms, by one plain `jax.grad`."""
    with jax.enable_x64(True):
        cast = partial(jax.tree.map, lambda leaf: jnp.asarray(leaf, jnp.float64))
        graphdef, params = nnx.split(cast(network))
        loss = lambda params: sum(jnp.mean(t) for t in objective(nnx.merge(graphdef, params), cast(batch)).values())
        value, gradient = jax.jit(jax.value_and_grad(loss))(params)
        return float(value), [np.asarray(leaf) for leaf in jax.tree.leaves(gradient)]


@pytest.mark.parametrize("tile", [1, 5, 31, 32, None])
def test_a_tile_size_changes_only_the_rounding(tile):
    batch = fixed(KEY, 0)
    loss, gradient = gradient_in_float64(siren(), VALUE, batch)
    # A rate of 1e4 makes the weights before the step negligible, so that those after it show the gradient.
    fitted = fit(siren(), VALUE, fixed, key=KEY, steps=1, optimizer=optax.sgd(1e4), tile=tile)
    assert np.isclose(fitted.history["loss"][0], loss, rtol=1e-5)  # a sum of 32 in float32
    for after, before, g in zip(parameters(fitted.network), parameters(siren()), gradient, strict=True):
        assert np.allclose((before - after) / 1e4, g, rtol=1e-4, atol=1e-5 * np.abs(g).max())  # float32, omega 5


def test_tiles_of_a_mixed_objective_have_its_gradient():
    objective = supervise("value", "gradient", "laplacian")
    batch = fixed(KEY, 0) | {"gradient": jnp.ones((32, 1, 1)), "laplacian": jnp.ones((32, 1))}
    _, gradient = gradient_in_float64(siren(), objective, batch)
    fitted = fit(siren(), objective, lambda key, step: batch, key=KEY, steps=1, optimizer=optax.sgd(1e4), tile=5)
    for after, before, g in zip(parameters(fitted.network), parameters(siren()), gradient, strict=True):
        assert np.allclose((before - after) / 1e4, g, rtol=1e-4, atol=1e-5 * np.abs(g).max())


def test_ragged_tiles_count_no_point_twice():
    # The loss is the mean of the coordinates, 3; a last tile padded with copies of 10 would raise it.
    batch = {"coordinates": jnp.array([[0.0], [1.0], [2.0], [2.0], [10.0]])}
    objective = lambda field, batch: {"level": batch["coordinates"][:, 0] + jax.vmap(field)(batch["coordinates"])[:, 0]}
    for tile in (2, 3):
        fitted = fit(Number(), objective, lambda key, step: batch, key=KEY, steps=1, tile=tile)
        assert np.isclose(fitted.history["loss"][0], 3, rtol=1e-6)  # float32


@pytest.mark.parametrize("optimizer", [None, optax.sgd(1e-2, momentum=0.9)], ids=["default", "sgd"])
def test_a_fit_is_the_plain_optax_loop(optimizer):
    steps, reference = 10, optimizer or optax.adam(2.5e-4, b2=0.99)
    graphdef, params = nnx.split(siren())

    @jax.jit
    def step(params, state, k):
        batch = sample(jax.random.fold_in(KEY, k), k)
        loss = lambda params: jnp.mean(VALUE(nnx.merge(graphdef, params), batch)["value"])
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = reference.update(gradient, state, params)
        factor = 0.5 * (1 + jnp.cos(jnp.pi * k / steps))
        return optax.apply_updates(params, jax.tree.map(lambda u: factor * u, updates)), state, value

    state, losses = reference.init(params), []
    for k in range(steps):
        params, state, value = step(params, state, k)
        losses.append(value)

    fitted = fit(siren(), VALUE, sample, key=KEY, steps=steps, optimizer=optimizer)
    assert np.allclose(fitted.history["loss"], losses, rtol=1e-4)  # float32; Adam divides by small second moments
    for ours, theirs in zip(parameters(fitted.network), jax.tree.leaves(params), strict=True):
        assert np.allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("tile", [1, 5, 31, 32])
def test_in_float64_a_fit_is_the_plain_optax_loop_to_rounding(tile, float64):
    network, reference = float64(siren()), optax.adam(1e-3)
    graphdef, params = nnx.split(network)
    state = reference.init(params)

    @jax.jit
    def step(params, state, k):
        batch = sample(jax.random.fold_in(KEY, k), k)
        loss = lambda params: jnp.mean(VALUE(nnx.merge(graphdef, params), batch)["value"])
        updates, state = reference.update(jax.grad(loss)(params), state, params)
        return optax.apply_updates(params, updates), state

    for k in range(20):
        params, state = step(params, state, k)
    settings = {"steps": 20, "optimizer": reference, "schedule": constant}  # the usual one is in float32
    fitted = fit(network, VALUE, sample, key=KEY, tile=tile, **settings)
    for ours, theirs in zip(parameters(fitted.network), jax.tree.leaves(params), strict=True):
        assert ours.dtype == np.float64
        assert np.allclose(ours, theirs, rtol=1e-11, atol=1e-11)  # Adam divides the rounding by small gradients


def test_a_linear_fit_reaches_the_least_squares_solution():
    points = jnp.linspace(-1, 1, 50)[:, None]
    batch = {"coordinates": points, "value": jnp.exp(points)}
    # The loss has the curvatures 2 and 2·mean x² = 0.69: a rate of 1/2 shrinks the error to 0.65 of it in each step.
    settings = dict(optimizer=optax.sgd(0.5), schedule=constant, steps=50, key=KEY)
    fitted = fit(line(), VALUE, lambda key, step: batch, **settings).network
    slope, offset = np.polyfit(np.asarray(points[:, 0], np.float64), np.exp(np.asarray(points[:, 0], np.float64)), 1)
    assert np.allclose([fitted.kernel[0, 0], fitted.bias[0]], [slope, offset], rtol=1e-5)  # float32


def test_the_schedule_sees_the_share_of_the_steps():
    fitted = fit(Number(), level, fixed, key=KEY, steps=8, optimizer=optax.sgd(1.0), schedule=lambda share: share)
    assert np.isclose(-fitted.network.a[...], sum(k / 8 for k in range(8)))


@pytest.mark.usefixtures("one_second_chunks")
def test_the_schedule_sees_the_share_of_the_seconds():
    # Chunks of a second hold one step; the share at the k-th of five is k/5.
    fitted = fit(Number(), level, fixed, key=KEY, seconds=5.0, optimizer=optax.sgd(1.0), schedule=lambda share: share)
    assert np.isclose(-fitted.network.a[...], sum(k / 5 for k in range(5)))


def test_cosine_decay_falls_from_one_to_zero():
    assert np.allclose(cosine_decay(jnp.array([0, 1 / 3, 1 / 2, 1])), [1, 0.75, 0.5, 0], atol=1e-7)  # float32


def test_weights_multiply_terms_in_the_loss_and_not_in_the_history():
    def objective(field, batch):
        return VALUE(field, batch) | level(field, batch)

    def weighted(field, batch):
        terms = objective(field, batch)
        return {"both": 3 * terms["value"] - 0.5 * terms["level"]}

    settings = {"key": KEY, "steps": 1, "optimizer": SGD}
    fitted = fit(line(), objective, fixed, weights={"value": 3.0, "level": -0.5}, **settings)
    expected = fit(line(), weighted, fixed, **settings)
    loss, value, level_ = (fitted.history[name] for name in ("loss", "value", "level"))
    assert np.isclose(loss, 3 * value - 0.5 * level_, rtol=1e-5)  # float32
    assert np.isclose(loss, expected.history["loss"], rtol=1e-5)
    for a, b in zip(parameters(fitted.network), parameters(expected.network), strict=True):
        assert np.allclose(a, b, rtol=1e-5, atol=1e-6)


# How often it is compiled


def test_the_objective_is_traced_and_compiled_equally_often_for_any_number_of_steps(monkeypatch):
    monkeypatch.setattr(progress.Budget, "longest", 4)
    traces, compilations = [], []

    def objective(field, batch):
        traces.append(1)
        return VALUE(field, batch)

    def listen(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compilations.append(1)

    def counts(steps):
        traces.clear(), compilations.clear()
        fit(line(), objective, fixed, key=KEY, steps=steps, optimizer=SGD)
        return len(traces), len(compilations)

    jax.monitoring.register_event_duration_secs_listener(listen)  # stays: JAX 0.8 cannot take back a single one
    counts(1)  # the small programs around the step are compiled in the first fit of a process
    few, many = counts(1), counts(50)
    assert few == many
    assert few[1] == 1


def test_a_fit_that_reuses_a_step_traces_none_and_has_the_bits_of_one_that_does_not(monkeypatch):
    traces, step = [], Steps.__call__
    monkeypatch.setattr(Steps, "__call__", lambda *arguments: traces.append(1) or step(*arguments))
    pictures = np.random.default_rng(0).random((2, 8, 8, 1))

    def fits(**settings):
        for picture in pictures:
            network = SIREN(2, 1, width=16, depth=1, rngs=nnx.Rngs(0))
            optimizer = TUNED["values"].optimizer(network)
            sampler = PixelDataset(picture).sampler(16)
            yield fit(network, supervise("value"), sampler, key=KEY, steps=3, optimizer=optimizer, **settings)

    kept = list(fits(reuse=True))
    assert len(traces) == 1
    new = list(fits())
    assert len(traces) == 3
    assert all(map(identical, kept, new))
    pictures = pictures[:, :7]
    assert all(map(identical, fits(reuse=True), fits()))
    assert len(traces) == 6


def test_a_fit_sees_what_has_changed_for_its_functions():
    factor = 1.0
    objective = Partial(lambda field, batch: {"value": factor * VALUE(field, batch)["value"]})
    first = fit(line(), objective, fixed, key=KEY, steps=1, optimizer=SGD).history["loss"]
    factor = 100.0
    second = fit(line(), objective, fixed, key=KEY, steps=1, optimizer=SGD).history["loss"]
    assert np.allclose(second, 100 * first, rtol=1e-6)


def test_functions_without_a_hash_are_used_and_not_reused():
    plain = fit(line(), VALUE, fixed, key=KEY, steps=2, optimizer=SGD, schedule=lambda share: share)
    assert identical(fit(line(), VALUE, fixed, key=KEY, steps=2, optimizer=SGD, schedule=Unhashable()), plain)
    with pytest.raises(InputError, match=r"reuse=True recognises functions .* but one has none: .*Unhashable"):
        fit(line(), VALUE, fixed, key=KEY, steps=2, optimizer=SGD, schedule=Unhashable(), reuse=True)


# When it stops


def test_steps_bound_a_fit():
    fitted = fit(Number(), level, fixed, key=KEY, steps=7)
    assert (fitted.stopped_by, fitted.steps) == ("steps", 7)


@pytest.mark.usefixtures("one_second_chunks")
@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({"seconds": 5.0}, ("seconds", 5)),
        ({"seconds": 5.0, "steps": 3}, ("steps", 3)),
        ({"seconds": 2.0, "steps": 3}, ("seconds", 2)),
    ],
    ids=str,
)
def test_the_budget_that_is_spent_first_ends_the_fit(budget, expected):
    fitted = fit(Number(), level, fixed, key=KEY, **budget)
    assert (fitted.stopped_by, fitted.steps) == expected
    assert fitted.seconds == expected[1]
    assert fitted.seconds_per_step == 1
    assert fitted.history["seconds"].tolist() == list(range(1, expected[1] + 1))


@pytest.mark.usefixtures("two_step_chunks")
def test_watch_ends_a_fit_and_is_told_what_happened():
    seen = []

    def watch(progress):
        seen.append(progress)
        return progress.step >= 5

    fitted = fit(line(), VALUE, fixed, key=KEY, steps=100, optimizer=SGD, watch=watch)
    assert (fitted.stopped_by, fitted.steps) == ("watch", 5)
    for start, told in zip([0, 1, 3], seen, strict=True):
        assert told.share == told.step / 100
        for name in ("loss", "value"):
            assert np.isclose(told.terms[name], fitted.history[name][start : told.step].mean())  # float32


@pytest.mark.usefixtures("two_step_chunks")
def test_networks_given_to_watch_are_copies_of_their_moment():
    taken = []
    settings = {"optimizer": optax.sgd(1.0), "schedule": constant}  # each step lowers the number by one
    fitted = fit(
        Number(), level, fixed, key=KEY, steps=4, watch=lambda p: taken.append((p.step, p.network())), **settings
    )
    assert [(step, network.a[...].item()) for step, network in taken] == [(1, -1), (3, -3), (4, -4)]
    assert fitted.network.a[...] == -4


def test_the_network_that_was_given_is_unchanged():
    network = line()
    before = [np.array(leaf) for leaf in parameters(network)]
    fitted = fit(network, VALUE, fixed, key=KEY, steps=2, optimizer=SGD)
    assert all(map(np.array_equal, parameters(network), before))
    assert not any(map(np.array_equal, parameters(fitted.network), before))


def test_the_history_has_a_value_of_every_term_for_every_step():
    fitted = fit(line(), lambda f, batch: VALUE(f, batch) | level(f, batch), fixed, key=KEY, steps=6, optimizer=SGD)
    assert set(fitted.history) == {"loss", "value", "level", "seconds"}
    assert {len(column) for column in fitted.history.values()} == {6}
    assert np.allclose(fitted.history["loss"], fitted.history["value"] + fitted.history["level"], atol=1e-6)  # float32
    assert np.all(np.diff(fitted.history["seconds"]) > 0)
    assert fitted.history["seconds"][-1] == fitted.seconds


@pytest.mark.parametrize("tile", [1, 7, 20, 1000])
def test_terms_over_arrays_of_different_lengths_are_each_a_mean_over_its_own(tile):
    inner, rim = jnp.linspace(-1, 1, 32)[:, None], jnp.linspace(2, 3, 5)[:, None]

    def objective(field, batch):
        return {name: jnp.sum(jax.vmap(field)(points) ** 2, axis=1) for name, points in batch.items()}

    network = line()
    graphdef, params = nnx.split(network)

    def loss(params):
        terms = objective(nnx.merge(graphdef, params), {"inner": inner, "rim": rim})
        return jnp.mean(terms["inner"]) + 3 * jnp.mean(terms["rim"])

    fitted = fit(
        network,
        objective,
        lambda key, step: {"inner": inner, "rim": rim},
        key=KEY,
        steps=1,
        tile=tile,
        optimizer=optax.sgd(0.01),
        schedule=constant,
        weights={"rim": 3.0},
    )
    assert fitted.history["loss"][0] == pytest.approx(float(loss(params)), rel=1e-6)  # float32, another order of sums
    wanted = jax.tree.map(lambda p, g: p - 0.01 * g, params, jax.grad(loss)(params))
    pairs = zip(parameters(fitted.network), jax.tree.leaves(wanted), strict=True)
    assert all(np.allclose(a, b, rtol=1e-6, atol=1e-6) for a, b in pairs)


def test_weights_follow_their_schedules_over_the_budget():
    fitted = fit(line(), VALUE, fixed, key=KEY, steps=5, optimizer=optax.sgd(0.0), weights={"value": lambda p: 1 + p})
    assert np.allclose(fitted.history["loss"] / fitted.history["value"], 1 + np.arange(5) / 5, rtol=1e-6)


def test_balanced_terms_have_gradients_of_one_length():
    # Gradients of length 1 and 10 get the factors 11/1 and 11/10; at a = 0 the loss is 11·1 + 1.1·10.
    def objective(field, batch):
        a = level(field, batch)["level"]
        return {"one": a + 1, "ten": 10 * (a + 1)}

    settings = {"optimizer": optax.sgd(0.0), "balance_every": 2}
    fitted = fit(Number(), objective, fixed, key=KEY, steps=4, tile=7, **settings)
    assert np.allclose(fitted.history["loss"], 22, rtol=1e-6)
    assert fitted.weights == {"one": pytest.approx(11), "ten": pytest.approx(1.1)}


def test_balanced_gradients_are_as_long_as_the_weights_say():
    def objective(field, batch):
        a = level(field, batch)["level"]
        return {"one": a + 1, "ten": 10 * (a + 1), "hundred": 100 * (a + 1)}

    weights = {"one": lambda share: 3 - share, "ten": 0.0}
    fitted = fit(
        Number(), objective, fixed, key=KEY, steps=2, weights=weights, optimizer=optax.sgd(0.0), balance_every=1
    )
    weighed = {name: fitted.weights[name] * fitted.history[name][-1] for name in ("one", "ten", "hundred")}
    assert weighed == {"one": pytest.approx(2 * 111), "ten": 0, "hundred": pytest.approx(111)}


def test_a_sampler_that_asks_is_told_the_share_that_is_spent():
    told = lambda key, step, share: {"spent": jnp.full(4, share)}
    objective = lambda field, batch: {"spent": batch["spent"] + 0 * field(jnp.zeros(1))}
    fitted = fit(line(), objective, told, key=KEY, steps=4)
    assert fitted.history["spent"].tolist() == [0, 0.25, 0.5, 0.75]


def test_a_term_without_a_gradient_leaves_the_balance_alone():
    objective = lambda field, batch: level(field, batch) | {"constant": jnp.ones(32)}
    fitted = fit(Number(), objective, fixed, key=KEY, steps=3, optimizer=optax.sgd(0.0), balance_every=1)
    assert fitted.history["loss"].tolist() == [1, 1, 1]


# When it goes wrong


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("most", [1, 1024])
def test_a_loss_that_is_not_finite_stops_the_fit_and_keeps_the_last_good_network(bad, most, monkeypatch):
    monkeypatch.setattr(progress.Budget, "longest", most)

    def objective(field, batch):
        return level(field, batch) | {"poison": batch["poison"]}

    def poisoned(key, step):
        return fixed(key, step) | {"poison": jnp.full(32, jnp.where(step >= 5, bad, 0.0))}

    settings = {"optimizer": optax.sgd(1.0), "schedule": constant}  # each step lowers the number by one
    fitted = fit(Number(), objective, poisoned, key=KEY, steps=20, **settings)
    assert (fitted.stopped_by, fitted.steps) == ("non-finite", 5)
    assert fitted.message == f"at step 5 term 'poison' is {bad}"
    assert fitted.history["level"].tolist() == [0, -1, -2, -3, -4]
    assert fitted.network.a[...] == -4  # the last whose loss is known to be finite


def test_a_fit_whose_first_loss_is_not_finite_returns_the_network_it_was_given():
    fitted = fit(line(), lambda f, batch: {"bad": VALUE(f, batch)["value"] * jnp.nan}, fixed, key=KEY, steps=3)
    assert (fitted.stopped_by, fitted.steps, fitted.seconds) == ("non-finite", 0, 0.0)
    assert all(map(np.array_equal, parameters(fitted.network), parameters(line())))


def test_a_gradient_that_is_not_finite_stops_the_fit():
    # √|a| at a = 0: a finite loss with an infinite slope.
    objective = lambda field, batch: level(field, batch) | {"root": jnp.sqrt(jnp.abs(level(field, batch)["level"]))}
    fitted = fit(Number(), objective, sample, key=KEY, steps=3)
    assert (fitted.stopped_by, fitted.message) == ("non-finite", "at step 0 the gradient of term 'root' is not finite")
    assert fitted.network.a[...] == 0


def test_the_names_that_the_history_has_already_are_refused():
    with pytest.raises(ValueError, match="cannot have the name 'seconds'"):
        fit(Number(), lambda field, batch: {"seconds": level(field, batch)["level"]}, fixed, key=KEY, steps=1)


def test_double_precision_elsewhere_does_not_hinder_a_fit():
    problem = {"balance_every": 1, "weights": {"value": lambda share: 1 + share}, "steps": 3}
    with jax.enable_x64(True):
        doubled = lambda key, step: {"x": jax.random.uniform(key, (8, 1), jnp.float64)}
        objective = lambda field, batch: {"value": jnp.sum(jax.vmap(field)(batch["x"]) ** 2, axis=1)}
        assert fit(line(), objective, doubled, key=KEY, **problem).stopped_by == "steps"


@pytest.mark.usefixtures("two_step_chunks", "heeded_signals")
def test_an_interrupt_ends_the_fit_with_its_chunk_and_keeps_what_was_learned():
    before = signal.getsignal(signal.SIGINT)

    def watch(progress):
        if progress.step == 3:
            signal.raise_signal(signal.SIGINT)

    settings = {"optimizer": optax.sgd(1.0), "schedule": constant}  # each step lowers the number by one
    fitted = fit(Number(), level, fixed, key=KEY, steps=100, watch=watch, **settings)
    assert (fitted.stopped_by, fitted.steps) == ("interrupt", 3)
    assert fitted.network.a[...] == -3
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.usefixtures("heeded_signals")
def test_a_second_interrupt_raises_and_the_handler_is_restored():
    before = signal.getsignal(signal.SIGINT)

    def twice(progress):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(Number(), level, fixed, key=KEY, steps=100, watch=twice)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_fit_runs_outside_the_main_thread():
    fits = []
    thread = threading.Thread(target=lambda: fits.append(fit(Number(), level, fixed, key=KEY, steps=2)))
    thread.start()
    thread.join()
    assert fits[0].stopped_by == "steps"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "needs a budget: steps, seconds or both"),
        ({"steps": 0}, "must be positive, but got steps=0"),
        ({"seconds": 0.0}, "must be positive"),
        ({"steps": 1, "seconds": -1.0}, "must be positive"),
        ({"seconds": math.nan}, "must be positive"),
        ({"steps": 1, "tile": 0}, "at least one point, but got tile=0"),
        ({"steps": 1, "balance_every": 0}, "at least one step, but got balance_every=0"),
        (
            {"steps": 1, "weights": {"velue": 1.0}},
            r"weights for \['velue'\], but the objective has the terms \['value'\]",
        ),
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        fit(line(), VALUE, fixed, key=KEY, **settings)


def test_terms_without_a_value_at_every_point_are_refused():
    with pytest.raises(ValueError, match=r"'value' needs one value for each of the 32 points, but has the shape \(\)"):
        fit(line(), lambda f, batch: {"value": VALUE(f, batch)["value"].mean()}, fixed, key=KEY, steps=1)


@pytest.mark.parametrize("extra", [jnp.zeros(()), jnp.zeros((0, 2))], ids=["scalar", "empty"])
def test_arrays_without_points_are_refused(extra):
    with pytest.raises(ValueError, match="every array of a batch needs a leading axis of points"):
        fit(line(), VALUE, lambda key, step: fixed(key, step) | {"extra": extra}, key=KEY, steps=1)


def test_a_term_must_have_the_length_of_an_array_of_its_batch():
    with pytest.raises(ValueError, match="each of the 3 or 32 points"):
        fit(
            line(),
            lambda f, batch: {"value": VALUE(f, batch)["value"][:7]},
            lambda key, step: fixed(key, step) | {"extra": jnp.zeros(3)},
            key=KEY,
            steps=1,
        )


def test_a_log_has_the_rows_of_its_steps_and_holds_no_table_that_they_came_in():
    log, rows, tables = progress.Log(("loss", "value")), np.arange(60.0, dtype=np.float32).reshape(30, 2), []
    seconds = lambda: log.history()["seconds"]
    parts = [(log.rows(), seconds())]
    for begin, end in itertools.pairwise([0, 1, 1, 4, 17, 30]):
        table = np.full((64, 2), np.nan, np.float32)  # of which a chunk is the beginning
        table[: end - begin] = rows[begin:end]
        tables.append(weakref.ref(table))
        log.add(table[: end - begin], elapsed=float(end - begin))
        parts.append((log.rows(), seconds()))
    del table
    for seen, ends in parts:  # what follows changes nothing of what was seen before
        assert np.array_equal(seen, rows[: len(seen)])
        assert np.array_equal(ends, np.arange(1.0, len(seen) + 1))
    assert [len(seen) for seen, _ in parts] == [0, 1, 1, 4, 17, 30]
    assert not any(table() is not None for table in tables)


def test_a_long_log_is_few_arrays():
    log = progress.Log(("loss",))
    tracemalloc.start()
    for _ in range(2000):
        log.add(np.zeros((10, 1), np.float32), 0.5)
    blocks = [trace for trace in tracemalloc.take_snapshot().traces if trace.size > 64]
    tracemalloc.stop()
    assert len(blocks) < 20


def test_a_log_of_many_chunks_has_few_times_and_forgets_no_step(monkeypatch):
    monkeypatch.setattr(progress, "KNOTS", 8)
    log = progress.Log(("loss",))
    for n in range(1, 101):  # two steps a chunk, a second each: what is left between two times is on their line
        log.add(np.full((2, 1), n, np.float32), 2.0)
        assert len(log.clock()) <= 8
        assert log.clock()[-1].tolist() == [2 * n, 2 * n]
    assert np.array_equal(log.history()["seconds"], np.arange(1.0, 201.0))
    assert np.array_equal(log.history()["loss"], np.repeat(np.arange(1.0, 101.0), 2))
    assert log.seconds_per_step() == 1
