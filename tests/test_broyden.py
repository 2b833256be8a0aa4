"""Broyden's method satisfies the secant condition, ends on quadratics in n steps, and solves equations exactly."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from siren_jax import SIREN, Checkpoints, InputError, laplacian, refine, supervise
from siren_jax.equations import Interval, Problem, dirichlet, equation, solution
from siren_jax.fitting.broyden import next_inverse, scale_and_member, self_scaled_broyden

LINE = Interval(0, 1)
X = jnp.linspace(-1, 1, 40)[:, None]
CURVE = {"coordinates": X, "value": jnp.exp(X)}


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


def small_network(seed=0):
    return nnx.Sequential(nnx.Linear(1, 6, rngs=nnx.Rngs(seed)), jnp.sin, nnx.Linear(6, 1, rngs=nnx.Rngs(seed + 1)))


def positive_matrix(key, n, condition):
    q, _ = jnp.linalg.qr(jax.random.normal(key, (n, n)))
    return q * jnp.geomspace(1, condition, n) @ q.T


def wave(**changes):
    """sin πx, the solution of u″ = -π² sin πx with u = 0 at both ends."""
    force = lambda x: -(math.pi**2) * jnp.sin(math.pi * x[0])
    terms = [
        equation(lambda u, x: laplacian(u)(x) - force(x), LINE, points=64, sampler="sobol", **changes),
        dirichlet(0.0, LINE, points=8, weight=1000.0),
    ]
    return Problem(terms)


def error(found):
    x = np.linspace(0, 1, 201)[:, None]
    return np.abs(np.asarray(solution(found.network, LINE)(x)) - np.sin(np.pi * x)).max()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("seed", range(6))
def test_an_update_keeps_the_matrix_positive_and_satisfies_the_secant_condition(seed):
    h, b, pair = jax.random.split(jax.random.key(seed), 3)
    inverse = positive_matrix(h, 7, 1e4)
    step = jax.random.normal(pair, (7,))
    change = positive_matrix(b, 7, 1e2 if seed % 2 else 1e-2) @ step  # so yᵀs > 0; with large and with small slopes
    found, fresh = next_inverse(inverse, step, change, step @ jnp.linalg.solve(inverse, step))
    assert not fresh
    assert jnp.allclose(found, found.T, rtol=0, atol=1e-12 * jnp.abs(found).max())
    assert jnp.linalg.eigvalsh(found).min() > 0
    assert jnp.allclose(found @ change, step, rtol=0, atol=1e-10 * jnp.linalg.norm(step))  # a condition of 1e4


@pytest.mark.usefixtures("float64")
def test_the_inverse_of_the_matrix_is_that_of_broydens_family_scaled():
    # τ (B - Bs sᵀB / sᵀBs + θ·sᵀBs w wᵀ) + y yᵀ / yᵀs with w = y / yᵀs - Bs / sᵀBs, for θ = (1 - φ) / (1 + aφ).
    h, pair = jax.random.split(jax.random.key(0))
    inverse, (s, y) = positive_matrix(h, 5, 100.0), jax.random.normal(pair, (2, 5))
    y = y * jnp.sign(y @ s)
    direct = jnp.linalg.inv(inverse)
    image = direct @ s
    ys, bend = y @ s, s @ image
    h, b = y @ inverse @ y / ys, bend / ys
    scale, member = scale_and_member(h, b, 5)
    theta = (1 - member) / (1 + (b * h - 1) * member)
    w = y / ys - image / bend
    expected = scale * (direct - jnp.outer(image, image) / bend + theta * bend * jnp.outer(w, w)) + jnp.outer(y, y) / ys
    assert jnp.allclose(jnp.linalg.inv(next_inverse(inverse, s, y, bend)[0]), expected, rtol=1e-9)


@pytest.mark.usefixtures("float64")
def test_with_exact_line_searches_a_quadratic_of_n_variables_ends_in_n_steps():
    hessian, start = positive_matrix(jax.random.key(0), 6, 100.0), jax.random.normal(jax.random.key(1), (6,))
    x, inverse = start, jnp.eye(6)
    for _ in range(6):
        gradient = hessian @ x
        direction = -inverse @ gradient
        length = -(gradient @ direction) / (direction @ hessian @ direction)
        step = length * direction
        inverse, _ = next_inverse(inverse, step, hessian @ step, -length * (gradient @ step))
        x = x + step
    assert jnp.linalg.norm(hessian @ x) < 1e-10 * jnp.linalg.norm(hessian @ start)


@pytest.mark.usefixtures("float64")
def test_a_step_against_the_slope_changes_nothing_and_no_step_begins_anew():
    inverse = positive_matrix(jax.random.key(0), 4, 10.0)
    step = jax.random.normal(jax.random.key(1), (4,))
    bend = step @ jnp.linalg.solve(inverse, step)
    kept, fresh = next_inverse(inverse, step, -step, bend)
    assert jnp.array_equal(kept, inverse)
    assert not fresh
    for arguments in ((0 * step, 0 * step, 0 * bend), (step, step, -bend)):
        begun, fresh = next_inverse(inverse, *arguments)
        assert jnp.array_equal(begun, jnp.eye(4))
        assert fresh


@pytest.mark.usefixtures("float64")
def test_the_parameters_of_an_update_are_finite_where_it_only_rescales():
    # y is a multiple of H⁻¹s, so a = bh - 1 = 0.
    for h in (0.5, 1.0, 2.0):
        assert np.isfinite(scale_and_member(jnp.array(h), jnp.array(1 / h), 9)).all()
    assert np.allclose(scale_and_member(jnp.array(1.0), jnp.array(1.0), 9), 1)  # BFGS, unscaled


class Valley(nnx.Module):
    """A point, from which a field of the same two values follows."""

    def __init__(self):
        self.point = nnx.Param(jnp.array([-1.2, 1.0]))

    def __call__(self, x):
        return self.point[...]


def test_rosenbrocks_valley_is_left_at_its_lowest_point():
    def objective(field, batch):
        a, b = jax.vmap(field)(batch["x"]).T
        return {"slope": (1 - a) ** 2, "valley": 100 * (b - a**2) ** 2}

    found = refine(Valley(), objective, {"x": jnp.ones((1, 1))}, steps=200, method="broyden")
    assert np.allclose(found.network.point[...], 1, rtol=0, atol=1e-14)
    assert found.stopped_by == "converged"
    loss = found.history["loss"]
    last = int(np.argmax(loss < 1e-20))
    assert loss[last] < 1e-6 * loss[last - 2]  # superlinear


def test_a_solution_is_exact_to_the_rounding_of_float64():
    network = SIREN(1, 1, width=2, depth=0, first_omega=3.0, omega=1.0, rngs=nnx.Rngs(0))
    found = wave().refine(network, key=jax.random.key(0), batches=1, steps=300, method="broyden")
    assert found.stopped_by == "converged"
    assert error(found) < 1e-14  # two sines contain the solution


@pytest.mark.slow
def test_an_equation_gains_digits_on_lbfgs_in_as_many_steps():
    network = SIREN(1, 1, width=8, depth=0, first_omega=3.0, omega=1.0, rngs=nnx.Rngs(0))
    solved = partial(wave().refine, network, key=jax.random.key(0), batches=1, steps=300, double=True)
    errors = {way: error(solved(method=way)) for way in ("lbfgs", "broyden")}
    assert errors["broyden"] < 0.1 * errors["lbfgs"]
    assert errors["broyden"] < 1e-7


def test_absolute_values_of_residuals_are_minimised():
    network = SIREN(1, 1, width=4, depth=0, first_omega=3.0, omega=1.0, rngs=nnx.Rngs(0))
    found = wave(power=1).refine(network, key=jax.random.key(0), batches=1, steps=100, method="broyden")
    assert error(found) < 1e-2


@pytest.mark.usefixtures("two_step_chunks")
def test_a_fit_that_is_continued_is_the_one_that_was_not_interrupted(tmp_path):
    def refined(until: int | None = None, **changes):
        settings = {"network": small_network(), "batch": CURVE, "steps": 12, **changes}
        stop = None if until is None else lambda progress: progress.step >= until
        with Checkpoints(tmp_path) as checkpoints:
            return refine(
                objective=supervise("value"), method="broyden", watch=stop, checkpoints=checkpoints, **settings
            )

    bits = lambda fit: [np.asarray(x).tobytes() for x in jax.tree.leaves((nnx.state(fit.network), fit.history["loss"]))]
    whole = refine(small_network(), supervise("value"), CURVE, steps=12, method="broyden")
    assert [refined(until=step).steps for step in (1, 7)] == [1, 8]
    assert bits(refined()) == bits(whole)
    with pytest.raises(InputError, match="initial network, batch or weights have changed"):
        refined(network=small_network(5))


def test_the_network_is_float64_unless_float32_is_asked_for():
    for double, dtype in ((None, "float64"), (True, "float64"), (False, "float32")):
        found = refine(small_network(), supervise("value"), CURVE, steps=2, method="broyden", double=double).network
        assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(found))} == {jnp.dtype(dtype)}


def test_the_matrix_is_there_once():
    network, held = SIREN(1, 1, width=40, depth=1, rngs=nnx.Rngs(0)), []
    size = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network))) ** 2
    before = sum(array.size for array in jax.live_arrays())
    watch = lambda progress: held.append((sum(array.size for array in jax.live_arrays()) - before) / size)
    refine(network, supervise("value"), CURVE, steps=2, method="broyden", watch=watch)
    assert max(held) < 1.1


def test_a_network_of_too_many_parameters_is_refused():
    with pytest.raises(InputError, match=r"Broyden's method stores matrices .* 628 GB for the 198,145 .* up to 8,000"):
        refine(SIREN(1, 1, rngs=nnx.Rngs(0)), supervise("value"), CURVE, steps=1, method="broyden")


@pytest.mark.usefixtures("float64")
def test_the_optimizer_is_one_of_optax_and_takes_any_tree():
    loss = lambda p: jnp.sum((p["a"] - 3) ** 2) + jnp.sum((p["b"] + 1) ** 4)
    params, optimizer = {"a": jnp.zeros((2, 3)), "b": jnp.zeros(2)}, self_scaled_broyden()

    @jax.jit
    def step(params, state):
        value, gradient = optax.value_and_grad_from_state(loss)(params, state=state)
        updates, state = optimizer.update(gradient, state, params, value=value, grad=gradient, value_fn=loss)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    for _ in range(30):
        params, state = step(params, state)
    assert jnp.allclose(params["a"], 3, atol=1e-8)
    assert jnp.allclose(params["b"], -1, atol=1e-3)  # flat to third order
