"""Conjugate gradients for large last layers, at small ones that are made to use them."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from siren_jax import Checkpoints, InputError, SumOfSquares, fourier_features, laplacian, random_features, refine
from siren_jax.equations import Interval, Problem, equation, initial, march
from siren_jax.fields import jacobian
from siren_jax.fitting import refinement


@pytest.fixture(autouse=True)
def float64(monkeypatch):
    monkeypatch.setattr(refinement, "MOST", 3)
    with jax.enable_x64(True):
        yield


KEY = jax.random.key(0)
VALUES = SumOfSquares(lambda field, batch: {"value": jax.vmap(field)(batch["x"]) - batch["y"]})
LATTICE = math.pi * np.arange(1, 9)[:, None]  # period 2; in units of the largest one exact in float32
GRID = np.arange(24)[:, None] / 12 - 1  # sines of frequencies up to 12π are orthogonal here


def lattice(c=1):
    return fourier_features(LATTICE, c, rngs=nnx.Rngs(0))


def solved(target, *, network=None, points=GRID, steps=20, **settings):
    batch = {"x": jnp.asarray(points), "y": jnp.asarray(target)}
    return refine(network or lattice(), VALUES, batch, steps=steps, method="last-layer", **settings)


def parameters(network):
    return np.concatenate([np.ravel(leaf[...]) for leaf in (network.output.kernel, network.output.bias)])


def rows(network, points):
    return np.concatenate([np.asarray(network.layers[0](jnp.asarray(points))), np.ones((len(points), 1))], axis=1)


def target(points, c=1):
    x = np.asarray(points)[:, :1]
    return np.concatenate([np.exp(np.sin(np.pi * x) + x * number) for number in range(c)], axis=1)


def test_as_many_steps_suffice_as_there_are_different_eigenvalues():
    """Of JᵀJ at the points of a grid: 1/2 for each sine, and 1 for the constant."""
    values = target(GRID)
    for wanted, steps in ((values - values.mean(), 1), (values, 2)):
        loss = solved(wanted).history["loss"]
        assert loss[steps] == pytest.approx(loss[-1], abs=1e-13 * loss[0])  # phases are rounded to float32, 1e-7
        assert steps == 1 or loss[1] > loss[-1] + 1e-4 * loss[0]


def test_the_rounding_of_a_gradient_of_zero_is_not_followed():
    fitted = solved(np.sin(3 * np.pi * GRID) + np.cos(np.pi * GRID))
    assert fitted.stopped_by == "converged"
    assert fitted.steps == 2  # one for the solution, and one for the phases, which are rounded to float32
    residuals = rows(fitted.network, GRID) @ parameters(fitted.network) - np.sin(3 * np.pi * GRID[:, 0])
    assert np.abs(residuals - np.cos(np.pi * GRID[:, 0])).max() < 1e-13


def test_the_solution_is_that_of_numpys_least_squares():
    points = np.random.default_rng(0).uniform(-1, 1, (80, 1))
    fitted = solved(target(points, 2), network=lattice(2), points=points, steps=100)
    assert fitted.stopped_by == "converged"
    expected = np.linalg.lstsq(rows(fitted.network, points), target(points, 2))[0]
    # The condition of the rows is below 10, and the loss is stationary to its digits.
    assert np.allclose(np.ravel(expected[:-1]), parameters(fitted.network)[:-2], atol=1e-6)
    assert np.all(np.diff(fitted.history["loss"]) <= 0)


def test_weights_and_complex_residuals_count_as_in_the_dense_solution(monkeypatch):
    objective = SumOfSquares(
        lambda field, batch: {
            "value": jax.vmap(field)(batch["x"]) * (1 + 2j) - batch["y"],
            "ends": jax.vmap(jacobian(field))(batch["ends"]),
        }
    )
    points = np.random.default_rng(0).uniform(-1, 1, (80, 1))
    batch = {"x": jnp.asarray(points), "y": target(points) * jnp.exp(2j), "ends": jnp.array([[-0.9], [0.1], [0.5]])}
    settings = {"steps": 60, "weights": {"ends": 0.01}, "method": "last-layer"}
    large = refine(lattice(), objective, batch, **settings)
    monkeypatch.setattr(refinement, "MOST", 8000)
    dense = refine(lattice(), objective, batch, **settings)
    assert "damping" in dense.history
    assert "damping" not in large.history
    assert np.allclose(parameters(large.network), parameters(dense.network), atol=1e-6)
    assert large.history["loss"][-1] == pytest.approx(dense.loss, rel=1e-9)


def test_an_equation_is_solved_to_the_rounding_of_float64():
    line, exact = Interval(-1, 1), lambda x: jnp.sin(3 * math.pi * x[0]) + jnp.cos(math.pi * x[0])
    force = lambda x: laplacian(lambda x: exact(x)[None])(x) - 20 * exact(x)
    terms = [equation(lambda u, x: laplacian(u)(x) - 20 * u(x) - force(x), line, points=64, sampler="sobol")]
    fitted = Problem(terms).refine(lattice(), key=KEY, steps=200, method="last-layer")
    points = jnp.linspace(-1, 1, 50)[:, None]
    # The frequencies of the network are exact, and its phases are rounded to float32.
    assert jnp.abs(fitted.network(points)[:, 0] - jax.vmap(exact)(points)).max() < 1e-11
    assert fitted.stopped_by == "converged"


def test_tiles_change_only_the_rounding():
    one, many = (solved(target(GRID), tile=tile) for tile in (1000, 5))
    assert np.allclose(parameters(one.network), parameters(many.network), atol=1e-12)


def test_float32_is_taken_if_asked_for():
    fitted = solved(target(GRID), double=False)
    assert fitted.network.output.kernel[...].dtype == np.float32
    assert np.allclose(parameters(fitted.network), parameters(solved(target(GRID)).network), atol=1e-5)


def test_a_resumed_fit_has_the_bits_of_an_uninterrupted_one(tmp_path):
    points = np.random.default_rng(0).uniform(-1, 1, (80, 1))
    settings = {"points": points, "steps": 9}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nine steps do not reach the solution
        whole = solved(target(points), **settings)
        for stop in (4, 100):
            with Checkpoints(tmp_path) as kept:
                watch = lambda progress, stop=stop: progress.step >= stop
                resumed = solved(target(points), watch=watch, checkpoints=kept, **settings)
    assert len(resumed.history["loss"]) == 9
    assert np.array_equal(resumed.history["loss"], whole.history["loss"])
    assert np.array_equal(parameters(resumed.network), parameters(whole.network))


def test_the_solution_is_not_left():
    fitted = solved(np.zeros_like(GRID))
    assert (fitted.stopped_by, fitted.steps) == ("converged", 1)
    assert np.all(parameters(fitted.network) == 0)


def test_a_value_that_is_not_finite_is_named_and_the_network_kept():
    values = target(GRID)
    values[3] = np.nan
    fitted = solved(values)
    assert (fitted.stopped_by, fitted.message) == ("non-finite", "at step 0 term 'value' is nan")
    assert np.all(parameters(fitted.network) == 0)


def test_steps_that_do_not_reach_the_solution_are_said():
    network = random_features(1, 1, width=20, frequencies=8.0, rngs=nnx.Rngs(0))  # nearly dependent sines
    with pytest.warns(UserWarning, match=r"have not reached the solution: after 3 steps, the gradient is \d"):
        fitted = solved(target(GRID), network=network, steps=3)
    assert fitted.message.endswith("Take more steps, or sines that are more nearly orthogonal at the points.")


def test_residuals_that_are_not_linear_are_refused():
    squares = SumOfSquares(lambda field, batch: {"value": jax.vmap(field)(batch["x"]) ** 2 - batch["y"]})
    batch = {"x": jnp.asarray(GRID), "y": jnp.asarray(target(GRID))}
    with pytest.raises(InputError, match=r"more than 3 parameters .* not linear in the 17 parameters of this one"):
        refine(lattice(), squares, batch, steps=3, method="last-layer")


def test_one_batch_after_another_is_solved_by_the_same_program():
    """A transport, u_t + u_x = 0, by sines of x - t in two slabs of time."""
    ring = Interval(-1, 1).during(0, 2)
    start = lambda x: jnp.exp(jnp.sin(math.pi * x[1]))
    transport = lambda u, x: jacobian(u)(x)[:, 0] + jacobian(u)(x)[:, 1]
    terms = [
        equation(transport, ring, points=64, sampler="sobol", weight=0.01),
        initial(start, ring, points=64, sampler="sobol"),
    ]
    sines = fourier_features(LATTICE * [[-1.0, 1.0]], 1, rngs=nnx.Rngs(0))  # a slab has the length 1
    marched = march(Problem(terms), sines, 2, key=KEY, steps=40)
    t, x = jnp.meshgrid(jnp.linspace(0, 2, 9), jnp.linspace(-1, 1, 9))
    points = jnp.stack([t.ravel(), x.ravel()], axis=1)
    exact = jnp.exp(jnp.sin(math.pi * (points[:, 1] - points[:, 0])))
    # exp(sin) = Σ I_n(1)·…, whose terms beyond the eighth are below 1e-8.
    assert jnp.abs(marched.network(points)[:, 0] - exact).max() < 1e-6
    assert all("damping" not in fitted.history for fitted in marched.fits)


def test_the_memory_is_that_of_vectors():
    assert refinement.bytes_of("last-layer", 10**6, 0) < 2**28
