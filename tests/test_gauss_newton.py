"""Gauss-Newton solves linear least squares in one step and equations to many digits; no step raises the loss."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from siren_jax import SIREN, Checkpoints, InputError, SumOfSquares, laplacian, refine, supervise
from siren_jax.equations import Interval, Problem, WithCoefficients, dirichlet, equation
from siren_jax.fitting import gauss_newton, refinement


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


class Cosines(nnx.Module):
    """Σ_i a_i cos(i·x), linear in its parameters."""

    def __init__(self, a):
        self.a = nnx.Param(jnp.asarray(a, jnp.float64))

    def __call__(self, x):
        return jnp.cos(x * jnp.arange(len(self.a[...]))) @ self.a[...][:, None]


def to_the_values(field, batch):
    return {name: jax.vmap(field)(x) - y for name, (x, y) in batch.items()}


VALUES = SumOfSquares(to_the_values)
X = jnp.linspace(-1, 1, 40, dtype=jnp.float32)[:, None]
CURVE = {"curve": (X, jnp.exp(X))}


def small_network(seed=0):
    return nnx.Sequential(nnx.Linear(1, 6, rngs=nnx.Rngs(seed)), jnp.sin, nnx.Linear(6, 1, rngs=nnx.Rngs(seed + 1)))


def bits(fit):
    return [np.asarray(x).tobytes() for x in jax.tree.leaves((nnx.state(fit.network), fit.history["loss"]))]


@pytest.mark.parametrize("tile", [7, 1000])
def test_one_step_without_damping_solves_linear_least_squares(tile, monkeypatch):
    monkeypatch.setattr(gauss_newton, "START", 1e-15)
    y = jnp.linspace(-2, 1, 11, dtype=jnp.float32)[:, None]
    batch, weights = {**CURVE, "other": (y, 1 - y)}, {"curve": 1.0, "other": 3.0}
    found = refine(Cosines(jnp.ones(4)), VALUES, batch, steps=1, weights=weights, method="gauss-newton", tile=tile)
    rows, right = [], []
    for name, (x, value) in batch.items():
        root = math.sqrt(weights[name] / len(x))
        rows.append(root * np.cos(np.asarray(x, np.float64) * np.arange(4)))
        right.append(root * np.asarray(value, np.float64)[:, 0])
    exact = np.linalg.lstsq(np.concatenate(rows), np.concatenate(right))[0]
    assert np.allclose(found.network.a[...], exact, rtol=1e-9)  # JᵀJ has a condition below 1e5


def test_the_curvature_of_a_residual_is_followed_to_second_order(monkeypatch):
    # r = a + a²/10 - b at a = 0: v = b, and the second-order part -b²/10 of the solution of r = 0.
    monkeypatch.setattr(gauss_newton, "START", 1e-15)
    b = 0.01
    bent = SumOfSquares(
        lambda field, batch: {"one": jax.vmap(field)(batch["x"]) + jax.vmap(field)(batch["x"]) ** 2 / 10 - b}
    )
    found = refine(Cosines(jnp.zeros(1)), bent, {"x": X}, steps=1, method="gauss-newton").network
    assert found.a[...].item() == pytest.approx(b - b**2 / 10, abs=1e-12 + 3 * b**3 / 100)


def test_poissons_equation_is_solved_to_eight_digits():
    line = Interval(0, 1)
    exact = lambda x: jnp.sin(math.pi * x)
    residual = lambda u, x: laplacian(u)(x) + math.pi**2 * exact(x)
    problem = Problem(
        [equation(residual, line, points=64, sampler="sobol"), dirichlet(0.0, line, points=8, weight=1000.0)]
    )
    network = SIREN(1, 1, width=12, depth=1, first_omega=3.0, omega=1.0, rngs=nnx.Rngs(0))
    graph, state = nnx.split(network)
    network = nnx.merge(graph, jax.tree.map(lambda leaf: leaf.astype(jnp.float64), state))
    found = problem.refine(network, key=jax.random.key(0), batches=1, steps=150, method="gauss-newton").network
    x = jnp.linspace(0, 1, 101)[:, None]
    assert jnp.abs(found(x) - exact(x)).max() < 1e-8


def test_damping_grows_after_a_rejected_step_and_the_loss_never_rises():
    history = refine(small_network(), VALUES, CURVE, steps=60, method="gauss-newton").history
    change, growth = np.diff(history["loss"]), history["damping"][1:] / history["damping"][:-1]
    assert np.all(change <= 0)
    rejected = change == 0
    assert rejected.any()
    assert np.all(growth[rejected] >= 2)
    assert np.all(growth[~rejected] <= 2)
    assert growth[~rejected].min() == pytest.approx(1 / 3)
    assert history["loss"][-1] < 1e-6 * history["loss"][0]


def test_both_forms_of_a_step_agree(monkeypatch):
    # With fewer residuals than parameters, and two residuals at a point of one term.
    both = SumOfSquares(
        lambda field, batch: {
            "curve": jax.vmap(lambda x: jnp.concatenate([laplacian(field)(x), field(x) ** 2]))(batch["x"]) - 1,
            "ends": jax.vmap(field)(batch["ends"]),
        }
    )
    batch = {"x": X[::3], "ends": jnp.array([[-1.0], [1.0]])}
    network = SIREN(1, 1, width=20, depth=2, first_omega=3.0, omega=1.0, rngs=nnx.Rngs(0))
    refined = lambda: refine(network, both, batch, steps=6, weights={"ends": 10.0}, method="gauss-newton", tile=7)
    primal = refined()
    monkeypatch.setattr(refinement, "MOST", 100)
    dual = refined()
    # Their steps differ by rounding times the condition of the damped equation, up to 1e6.
    assert np.allclose(primal.history["damping"], dual.history["damping"], rtol=1e-9)
    assert np.allclose(primal.history["loss"], dual.history["loss"], rtol=1e-9)
    assert jnp.allclose(primal.network(X), dual.network(X), rtol=1e-9, atol=1e-9)
    assert dual.history["loss"][-1] < 1e-2 * dual.history["loss"][0]


@pytest.mark.slow
def test_both_forms_agree_with_coefficients_as_unknowns(monkeypatch):
    line = Interval(0, 1)
    residual = lambda u, x: laplacian(u)(x) + u["k"] * u(x)
    problem = Problem([equation(residual, line, points=30), dirichlet(1.0, line, points=8)])
    network = WithCoefficients(SIREN(1, 1, width=20, depth=1, omega=1.0, first_omega=3.0, rngs=nnx.Rngs(0)), k=2.0)
    refined = lambda: problem.refine(network, key=jax.random.key(0), batches=1, steps=3, method="gauss-newton").network
    primal = refined()["k"]
    monkeypatch.setattr(refinement, "MOST", 100)
    assert abs(float(primal) - 2) > 1e-3
    assert float(refined()["k"]) == pytest.approx(float(primal), rel=1e-9)


def test_a_step_on_new_points_is_that_of_a_fit_on_those_points():
    y = jnp.exp(X)
    draw = lambda step: {"curve": (X + step / 128, y)}
    fresh = refine(small_network(), VALUES, draw(0), steps=1, method="gauss-newton", draw=draw)
    fixed = refine(small_network(), VALUES, draw(0), steps=1, method="gauss-newton")
    assert bits(fresh) == bits(fixed)
    two = refine(small_network(), VALUES, draw(0), steps=2, method="gauss-newton", draw=draw)
    other = refine(fixed.network, VALUES, draw(1), steps=1, method="gauss-newton")
    assert two.history["loss"][1] == pytest.approx(other.history["loss"][0], rel=1e-12)


@pytest.mark.usefixtures("two_step_chunks")
def test_a_fit_on_new_points_that_is_continued_is_the_one_that_was_not_interrupted(tmp_path):
    line = Interval(0, 1)
    problem = Problem([equation(lambda u, x: laplacian(u)(x) + 1, line, points=16), dirichlet(0.0, line, points=4)])

    def refined(steps, **more):
        settings = {"key": jax.random.key(3), "batches": 2, "method": "gauss-newton", "fresh": True, **more}
        return problem.refine(small_network(), steps=steps, **settings)

    whole = refined(9)
    with Checkpoints(tmp_path) as checkpoints:
        assert refined(9, watch=lambda progress: progress.step >= 4, checkpoints=checkpoints).stopped_by == "watch"
        assert bits(refined(9, checkpoints=checkpoints)) == bits(whole)
        with pytest.raises(InputError, match="initial network, batch or weights have changed"):
            refined(9, checkpoints=checkpoints, fresh=False)
    assert np.any(np.diff(whole.history["loss"]) > 0)  # points differ


def test_a_complex_residual_counts_as_its_real_and_imaginary_parts():
    one = SumOfSquares(lambda field, batch: {"both": jnp.exp(1j * jax.vmap(field)(batch["x"])) - batch["x"]})
    parts = lambda z: jnp.stack([z.real, z.imag], axis=-1)
    two = SumOfSquares(lambda field, batch: {"both": parts(one.residuals(field, batch)["both"])})
    histories = [refine(small_network(), way, {"x": X}, steps=5, method="gauss-newton").history for way in (one, two)]
    assert np.allclose(*(history["loss"] for history in histories), rtol=1e-9)


def test_gauss_newton_and_lbfgs_agree_on_the_loss():
    losses = [
        refine(small_network(), VALUES, CURVE, steps=1, method=way).history["loss"][0]
        for way in ("lbfgs", "gauss-newton")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)  # L-BFGS computes in float32


@pytest.mark.usefixtures("two_step_chunks")
def test_a_fit_that_is_continued_is_the_one_that_was_not_interrupted(tmp_path):
    def refined(until: int | None = None, **changes):
        settings = {"network": small_network(), "batch": CURVE, "steps": 12, **changes}
        stop = None if until is None else lambda progress: progress.step >= until
        with Checkpoints(tmp_path) as checkpoints:
            return refine(objective=VALUES, method="gauss-newton", watch=stop, checkpoints=checkpoints, **settings)

    whole = refine(small_network(), VALUES, CURVE, steps=12, method="gauss-newton")
    assert [refined(until=step).steps for step in (1, 7)] == [1, 8]
    assert bits(refined()) == bits(whole)
    with pytest.raises(InputError, match="initial network, batch or weights have changed"):
        refined(network=small_network(5))


@jax.custom_jvp
def torn(x):
    """x, whose slope is not a number above 1/2."""
    return x


torn.defjvp(lambda x, slope: (torn(x[0]), slope[0] * jnp.where(x[0] > 0.5, jnp.nan, 1.0)))


def test_a_slope_that_is_not_finite_ends_it_with_the_last_good_network():
    objective = SumOfSquares(lambda field, batch: {"torn": torn(jax.vmap(field)(batch["x"])) - 1})
    found = refine(Cosines(jnp.zeros(1)), objective, {"x": X}, steps=20, method="gauss-newton")
    assert (found.stopped_by, found.message) == ("non-finite", "at step 0 the gradient of term 'torn' is not finite")
    assert found.network.a[...].item() == 0


def test_a_residual_that_is_not_finite_is_named():
    found = refine(small_network(), VALUES, {"curve": (X, jnp.full_like(X, jnp.nan))}, steps=3, method="gauss-newton")
    assert (found.stopped_by, found.steps) == ("non-finite", 0)
    assert found.message == "at step 0 term 'curve' is nan"


def test_the_network_is_float64_unless_float32_is_asked_for():
    network = SIREN(1, 1, width=4, depth=1, rngs=nnx.Rngs(0))
    for double, dtype in ((None, "float64"), (True, "float64"), (False, "float32")):
        found = refine(network, VALUES, CURVE, steps=1, method="gauss-newton", double=double).network
        assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(found))} == {jnp.dtype(dtype)}


def test_what_gauss_newton_cannot_do_is_refused():
    with pytest.raises(InputError, match="needs residuals, not their squares"):
        refine(small_network(), supervise("value"), CURVE, steps=1, method="gauss-newton")
    with pytest.raises(InputError, match=r"methods lbfgs, broyden, gauss-newton, last-layer, but got 'newton'"):
        refine(small_network(), VALUES, CURVE, steps=1, method="newton")
    many = jnp.zeros((9000, 1))
    with pytest.raises(InputError, match=r"up to 8,000.*198,145 parameters, and there are 9,000 residuals.* take 3 GB"):
        refine(SIREN(1, 1, rngs=nnx.Rngs(0)), VALUES, {"curve": (many, many)}, steps=1, method="gauss-newton")
    with pytest.raises(InputError, match=r"new points in each step are for .*, but got 'lbfgs'"):
        refine(small_network(), VALUES, CURVE, steps=1, draw=lambda step: CURVE)
    rough = Problem([equation(lambda u, x: laplacian(u)(x), Interval(0, 1), points=8, power=1)])
    with pytest.raises(InputError, match=r"\['equation'\] are absolute values"):
        rough.refine(small_network(), key=jax.random.key(0), steps=1, method="gauss-newton")
