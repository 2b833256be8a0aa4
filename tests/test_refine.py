"""`refine` minimises: quadratics exactly, by gradients over tiles, in either precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from siren_jax import SIREN, Checkpoints, InputError, supervise
from siren_jax.fields.tiles import evaluate
from siren_jax.fitting import progress
from siren_jax.fitting.refinement import refine

VALUE = supervise("value")
POINTS = jnp.linspace(-1, 1, 40)[:, None]
LINE = {"coordinates": POINTS, "value": 3 * POINTS - 2}


class Line(nnx.Module):
    """ax + b, from a = b = 0."""

    def __init__(self):
        self.a, self.b = nnx.Param(jnp.zeros(1)), nnx.Param(jnp.zeros(1))

    def __call__(self, x):
        return self.a[...] * x + self.b[...]


@pytest.mark.parametrize("tile", [7, 1000])
@pytest.mark.parametrize("double", [False, True])
def test_a_line_through_points_is_found_to_rounding(double, tile):
    refined = refine(Line(), VALUE, LINE, steps=50, double=double, tile=tile)
    a, b = refined.network.a[...], refined.network.b[...]
    assert a.dtype == b.dtype == (jnp.float64 if double else jnp.float32)
    assert a.item() == pytest.approx(3, abs=1e-5)  # a loss of float32 knows a to the root of its rounding
    assert b.item() == pytest.approx(-2, abs=1e-5)
    assert refined.history["loss"][0] == pytest.approx(float(jnp.mean(LINE["value"] ** 2)), rel=1e-6)
    assert refined.stopped_by == "converged"
    assert refined.history["loss"][-1] < (1e-14 if double else 1e-11)  # the values have the rounding of float32


@pytest.mark.slow
@pytest.mark.usefixtures("two_step_chunks")
@pytest.mark.parametrize("double", [False, True])
def test_a_refinement_that_is_continued_is_the_one_that_was_not_interrupted(double, tmp_path):
    batch = {"coordinates": POINTS, "value": jnp.sin(5 * POINTS)}
    network = nnx.Sequential(nnx.Linear(1, 8, rngs=nnx.Rngs(0)), jnp.tanh, nnx.Linear(8, 1, rngs=nnx.Rngs(1)))

    def refined(until: int | None = None, **changes):
        settings = {"network": network, "batch": batch, "steps": 40, **changes}
        stop = None if until is None else lambda progress: progress.step >= until
        with Checkpoints(tmp_path) as checkpoints:
            return refine(objective=VALUE, double=double, memory=5, watch=stop, checkpoints=checkpoints, **settings)

    bits = lambda fit: [np.asarray(x).tobytes() for x in jax.tree.leaves((nnx.state(fit.network), fit.history["loss"]))]
    whole = refine(network, VALUE, batch, steps=40, double=double, memory=5)
    assert [refined(until=step).steps for step in (1, 20)] == [1, 20]
    assert bits(refined()) == bits(whole)
    assert bits(refined()) == bits(whole)  # nothing was left to do
    other = nnx.Sequential(nnx.Linear(1, 8, rngs=nnx.Rngs(2)), jnp.tanh, nnx.Linear(8, 1, rngs=nnx.Rngs(1)))
    for changes in ({"network": other}, {"batch": LINE}, {"weights": {"value": 2.0}}):
        with pytest.raises(InputError, match="initial network, batch or weights have changed"):
            refined(**changes)
    with pytest.raises(InputError, match="40 steps are already done, but the budget is 39"):
        refined(steps=39)


def test_a_refinement_that_has_converged_is_at_its_end(tmp_path):
    for _ in range(2):
        with Checkpoints(tmp_path) as checkpoints:
            refined = refine(Line(), VALUE, LINE, steps=50, checkpoints=checkpoints)
        assert refined.stopped_by == "converged"
    assert len(checkpoints.steps()) == 1


def test_the_loss_never_rises():
    batch = {"coordinates": POINTS, "value": jnp.sin(5 * POINTS)}
    network = nnx.Sequential(nnx.Linear(1, 8, rngs=nnx.Rngs(0)), jnp.tanh, nnx.Linear(8, 1, rngs=nnx.Rngs(1)))
    loss = refine(network, VALUE, batch, steps=40).history["loss"]
    assert np.all(np.diff(loss) <= 0)
    assert loss[-1] < 0.5 * loss[0]


def test_weights_decide_between_terms():
    # The least of w·a² + (a - 1)² is at 1 / (1 + w).
    def objective(field, batch):
        a = jax.vmap(field)(batch["x"])[:, 0]
        return {"small": a**2, "one": (a - 1) ** 2}

    refined = refine(Line(), objective, {"x": jnp.ones((3, 1))}, steps=20, weights={"small": lambda share: 3 * share})
    assert refined.weights == {"small": 3.0, "one": 1.0}
    assert float(refined.network(jnp.ones(1))[0]) == pytest.approx(1 / 4, abs=1e-5)


def test_the_network_that_was_given_is_unchanged():
    line = Line()
    refine(line, VALUE, LINE, steps=3)
    assert line.a[...] == line.b[...] == 0


def test_a_true_answer_of_watch_ends_it():
    assert refine(Line(), VALUE, LINE, steps=50, watch=lambda progress: True).stopped_by == "watch"


def test_what_watch_was_told_of_a_network_stays_what_it_was(monkeypatch):
    monkeypatch.setattr(progress.Budget, "longest", 1)
    told, seen = [], []

    def watch(progress):
        told.append(progress.network)
        seen.append(progress.network()(jnp.ones(1)))

    refine(Line(), VALUE, LINE, steps=3, watch=watch)
    assert len(told) == 3
    assert [network()(jnp.ones(1)).tolist() for network in told] == [value.tolist() for value in seen]
    assert len({value.item() for value in seen}) > 1


def test_the_first_state_is_let_go():
    # Of a network that is large beside all else: parameters, two arrays a remembered step, and some more of L-BFGS.
    network, memory, held = SIREN(1, 1, width=64, depth=1, rngs=nnx.Rngs(0)), 20, []
    size = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network)))
    before = sum(array.size for array in jax.live_arrays())
    watch = lambda progress: held.append((sum(array.size for array in jax.live_arrays()) - before) / size)
    refine(network, VALUE, LINE, steps=2, memory=memory, watch=watch)
    assert max(held) < 2 * memory + 12


def test_watch_sees_the_float64_network_in_the_usual_mode():
    seen = []

    def watch(progress):
        network = progress.network()
        seen.append(((jnp.ones(1) / 3).dtype, network.a[...].dtype, evaluate(network, POINTS).dtype))

    refine(Line(), VALUE, LINE, steps=1, double=True, watch=watch)
    assert set(seen) == {tuple(map(np.dtype, ("float32", "float64", "float64")))}


def test_a_weight_for_no_term_is_refused():
    with pytest.raises(ValueError, match=r"weights for \['velue'\]"):
        refine(Line(), VALUE, LINE, steps=1, weights={"velue": 2.0})


def test_what_is_not_finite_is_named_and_the_network_stays():
    # √|a| at a = 0: a finite loss with an infinite slope.
    def objective(field, batch):
        a = jax.vmap(field)(batch["x"])[:, 0]
        return {"root": jnp.sqrt(jnp.abs(a)), "one": (a - 1) ** 2}

    refined = refine(Line(), objective, {"x": jnp.ones((3, 1))}, steps=20)
    assert (refined.stopped_by, refined.steps) == ("non-finite", 0)
    assert refined.message == "at step 0 the gradient of term 'root' is not finite"
    assert refined.network.a[...] == refined.network.b[...] == 0


def test_a_term_that_is_not_finite_is_named():
    batch = {"coordinates": POINTS, "value": jnp.full((40, 1), jnp.nan)}
    refined = refine(Line(), VALUE, batch, steps=20)
    assert (refined.stopped_by, refined.message) == ("non-finite", "at step 0 term 'value' is nan")


def test_whole_numbers_of_a_batch_stay_whole():
    place = {"index": jnp.arange(40), "x": POINTS}
    objective = lambda field, batch: {"error": (jax.vmap(field)(batch["x"]) - POINTS[batch["index"]])[:, 0] ** 2}
    assert refine(Line(), objective, place, steps=20).history["loss"][-1] < 1e-10
