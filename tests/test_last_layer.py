"""The last layer's least squares: exact for linear equations, Newton's convergence for others, and what is refused."""

import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from siren_jax import SIREN, InputError, ReLUMLP, SumOfSquares, jacobian, laplacian, random_features, refine
from siren_jax.equations import (
    Ansatz,
    Box,
    ComplexField,
    Interval,
    Problem,
    WithCoefficients,
    dirichlet,
    equation,
    known,
    neumann,
)
from siren_jax.fitting import gauss_newton


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


KEY = jax.random.key(0)
LINE, SQUARE = Interval(0, 1), Box((-1, -1), (1, 1))
SINE = lambda x: jnp.sin(math.pi * x[0])
VALUES = SumOfSquares(lambda field, batch: {"value": jax.vmap(field)(batch["x"]) - batch["y"]})


def poisson_on_a_line(**settings):
    residual = lambda u, x: laplacian(u)(x) + math.pi**2 * SINE(x)
    return Problem([equation(residual, LINE, points=100, sampler="sobol"), dirichlet(0.0, LINE, points=20, **settings)])


def features(d=1, c=1, width=40, frequencies=8, seed=0):
    return random_features(d, c, width=width, frequencies=frequencies, rngs=nnx.Rngs(seed))


def largest_error(network, exact, domain, n=23):
    axes = [jnp.linspace(low, high, n) for low, high in zip(domain.low, domain.high, strict=True)]
    points = jnp.stack(jnp.meshgrid(*axes, indexing="ij"), -1).reshape(-1, len(axes))
    return float(jnp.abs(network(points) - jax.vmap(exact)(points).reshape(len(points), -1)).max())


def learned(network, other):
    """Paths of the parameters that differ between two networks."""
    flat = lambda net: dict(nnx.to_flat_state(nnx.state(net, nnx.Param)))
    a, b = flat(network), flat(other)
    return {path for path in a if np.any(np.asarray(a[path][...], np.float64) != np.asarray(b[path][...], np.float64))}


def test_a_linear_equation_is_solved_to_the_rounding_of_float64():
    fitted = poisson_on_a_line().refine(features(), key=KEY, steps=5, method="last-layer")
    assert largest_error(fitted.network, SINE, LINE) < 1e-12
    assert fitted.stopped_by == "converged"
    assert fitted.steps == 1
    assert fitted.loss < 1e-20 * fitted.history["loss"][0]


def test_the_solution_is_that_of_numpys_least_squares():
    x = np.linspace(-1, 1, 60)[:, None]
    batch = {"x": jnp.asarray(x), "y": jnp.asarray(np.exp(x))}
    network = features(width=5, frequencies=2.0)
    found = refine(network, VALUES, batch, steps=3, method="last-layer").network
    rows = np.concatenate([np.asarray(found.layers[0](jnp.asarray(x))), np.ones((60, 1))], axis=1)
    *weights, bias = np.linalg.lstsq(rows, np.exp(x)[:, 0])[0]
    # The condition of the rows is below 1e5, so ten digits are left.
    assert np.allclose(found.output.kernel[...][:, 0], weights, rtol=1e-8)
    assert found.output.bias[...].item() == pytest.approx(bias, rel=1e-8)


def riccati(frequencies, width=40):
    """u' = -u²·e^x with u(0) = 1, by a number of random sines."""
    residual = lambda u, x: jacobian(u)(x)[0, 0] + u(x)[0] ** 2 * jnp.exp(x[0])
    at_zero = dirichlet(1.0, LINE, where=lambda x: x[0] < 0.5, points=20)
    problem = Problem([equation(residual, LINE, points=100, sampler="sobol"), at_zero])
    return problem.refine(features(width=width, frequencies=frequencies), key=KEY, steps=30, method="last-layer")


def test_a_nonlinear_equation_converges_quadratically():
    exact = lambda x: jnp.exp(-x[0])
    fitted = riccati(4.0)
    assert largest_error(fitted.network, exact, LINE) < 1e-11
    assert fitted.steps < 20
    digits = -np.log10(fitted.history["loss"][:5])
    assert np.diff(digits).max() > 3  # no method of first order gains three digits in a step


def test_corrections_gain_digits_without_another_factorization(monkeypatch):
    corrected = riccati(4.0).history["loss"]
    monkeypatch.setattr(gauss_newton, "CORRECTIONS", 0)
    plain = riccati(4.0).history["loss"]
    near = np.argmax(plain < 1e-2)  # after the step that comes near the solution
    assert corrected[near] < 1e-3 * plain[near]


def test_residuals_of_complex_values_count_with_both_parts():
    """v'' = -9v with v(0) = 1 and v'(0) = 3i: v = exp(3ix)."""
    slope = lambda u, x: jacobian(ComplexField(u))(x)[0] - 3j
    terms = [
        equation(lambda u, x: laplacian(ComplexField(u))(x) + 9 * ComplexField(u)(x), LINE, points=60, sampler="sobol"),
        dirichlet(1.0 + 0j, LINE, where=lambda x: x[0] < 0.5, points=20),
        known(slope, [[0.0]], name="slope"),
    ]
    fitted = Problem(terms).refine(features(c=2, frequencies=6.0), key=KEY, steps=3, method="last-layer")
    assert largest_error(fitted.network, lambda x: jnp.stack([jnp.cos(3 * x[0]), jnp.sin(3 * x[0])]), LINE) < 1e-10


def test_only_the_last_layer_and_the_coefficients_are_learned():
    network = SIREN(1, 1, width=8, depth=1, first_omega=3.0, rngs=nnx.Rngs(0))
    plain = poisson_on_a_line().refine(network, key=KEY, steps=2, method="last-layer").network
    assert learned(plain, network) == {("output", "kernel"), ("output", "bias")}
    hard = Ansatz(network, offset=lambda x: 0.0 * x[0], factor=lambda x: x[0] * (1 - x[0]))
    found = poisson_on_a_line().refine(hard, key=KEY, steps=2, method="last-layer").network
    assert learned(found, hard) == {("network", "output", "kernel"), ("network", "output", "bias")}
    number = WithCoefficients(network, force=1.0)
    residual = lambda u, x: laplacian(u)(x) + u["force"] * SINE(x)
    terms = [equation(residual, LINE, points=50), dirichlet(lambda x: SINE(x), LINE, points=9)]
    found = Problem(terms).refine(number, key=KEY, steps=2, method="last-layer").network
    assert learned(found, number) == {
        ("coefficients", "force"),
        ("network", "output", "kernel"),
        ("network", "output", "bias"),
    }


@pytest.mark.slow
def test_tiles_change_only_the_rounding():
    exact = lambda x: jnp.sin(x[0] + 2 * x[1])
    terms = [
        equation(lambda u, x: laplacian(u)(x) + 5 * exact(x), SQUARE, points=400, sampler="sobol"),
        dirichlet(exact, SQUARE, points=150, sampler="sobol"),
    ]
    solve = lambda tile: Problem(terms).refine(
        features(2, width=100, frequencies=4.0), key=KEY, steps=3, method="last-layer", tile=tile
    )
    one, many = solve(1000), solve(50)
    assert largest_error(one.network, exact, SQUARE) < 1e-5
    assert largest_error(many.network, lambda x: one.network(x)[0], SQUARE) < 1e-9


def test_a_missing_condition_is_said_and_the_smallest_solution_given():
    force = lambda x: jnp.cos(math.pi * x[0])
    flat_ends = [
        equation(lambda u, x: laplacian(u)(x) + math.pi**2 * force(x), LINE, points=100, sampler="sobol"),
        neumann(0.0, LINE, points=20),
    ]
    with pytest.warns(UserWarning, match="do not determine the solution"):
        fitted = Problem(flat_ends).refine(features(), key=KEY, steps=3, method="last-layer")
    assert "changes none" in fitted.message
    shift = float(fitted.network(jnp.zeros(1))[0] - 1)
    assert largest_error(fitted.network, lambda x: force(x) + shift, LINE) < 1e-8
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not poisson_on_a_line().refine(features(), key=KEY, steps=3, method="last-layer").message


def test_a_missing_condition_is_said_whichever_term_is_the_first():
    tilted = [
        known(lambda u, x: u(x), [[0.5]]),  # where all solutions have the same value
        equation(lambda u, x: laplacian(u)(x), LINE, points=100),
    ]
    with pytest.warns(UserWarning, match="do not determine the solution"):
        Problem(tilted).refine(features(), key=KEY, steps=3, method="last-layer")


def test_random_features_are_in_any_unit():
    far = Interval(0, 1000)
    shape = lambda x: SINE(x / 1000)
    residual = lambda u, x: 1e6 * laplacian(u)(x) + math.pi**2 * shape(x)
    problem = Problem([equation(residual, far, points=100, sampler="sobol"), dirichlet(0.0, far, points=20)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = problem.refine(features(frequencies=0.008), key=KEY, steps=5, method="last-layer")
    assert largest_error(fitted.network, shape, far) < 1e-9


def test_what_it_cannot_do_is_refused():
    problem = poisson_on_a_line()
    with pytest.raises(InputError, match=r"at least as many residuals as parameters.*240 residuals for the 301"):
        problem.refine(features(width=300), key=KEY, steps=1, method="last-layer")
    with pytest.raises(InputError, match=r"a linear last layer.*but got ReLUMLP"):
        problem.refine(ReLUMLP(1, 1, width=8, depth=1, rngs=nnx.Rngs(0)), key=KEY, steps=1, method="last-layer")
    with pytest.raises(InputError, match=r"'last-layer' needs residuals, not their squares"):
        refine(features(), problem.objective, problem.fixed(KEY)[1], steps=1, method="last-layer")


@pytest.mark.parametrize("frequencies", [2.0, [1.0, 30.0]])
def test_random_features_have_the_frequencies_and_phases_that_are_asked_for(frequencies):
    network = features(2, 3, width=4000, frequencies=frequencies)
    layer = network.layers[0]
    drawn = np.asarray(layer.omega * layer.linear.kernel[...])
    highest = np.broadcast_to(np.array(frequencies), 2)
    # The largest of n uniform numbers falls short of 1 by about 1/n; three digits are certain but for e^-4.
    assert np.all(np.abs(drawn).max(axis=1) <= highest * (1 + 1e-6))
    assert np.all(np.abs(drawn).max(axis=1) >= 0.998 * highest)
    assert np.allclose(drawn.var(axis=1), highest**2 / 3, rtol=0.06)  # 4 standard deviations
    phases = np.asarray(layer.omega * layer.linear.bias[...])
    assert abs(np.exp(1j * phases).mean()) < 0.06
    assert np.all(np.asarray(network(jnp.ones((3, 2)))) == 0)


def test_random_features_refuse_what_is_no_frequency():
    for frequencies in (0.0, -1.0, math.nan, [1.0, 2.0, 3.0], []):
        with pytest.raises(InputError, match="positive frequency, or one for each of the 2 coordinates"):
            features(2, frequencies=frequencies)
    with pytest.raises(InputError, match="at least 1 input"):
        features(0)
    with pytest.raises(InputError, match=r"coordinate 0 end at 3, below that of its period 2; give one of 3.142 or"):
        random_features(1, 1, width=4, frequencies=3.0, periodic={0: 2.0}, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("seed", range(3))
def test_periodic_features_have_about_as_many_sines_for_each_number_of_periods(seed):
    most = 20.5 * math.pi  # up to 20 periods of length 2, and as many in the other direction
    network = random_features(2, 1, width=410, frequencies=[3.0, most], periodic={1: 2.0}, rngs=nnx.Rngs(seed))
    first = network.layers[0]
    periods = np.round(first.omega * np.asarray(first.weights(jnp.float64))[1] / math.pi).astype(int)
    numbers, count = np.unique(periods, return_counts=True)
    assert np.array_equal(numbers, np.arange(-20, 21))
    assert np.abs(count - 10).max() <= 4  # of independent draws, some number has less than four sines, or none
    in_time = np.asarray(first.omega * first.linear.kernel[0])
    for few in np.abs(periods) < 5, np.abs(periods) >= 15:  # also for a part of them, the other coordinate's are even
        assert np.abs(np.quantile(in_time[few], [0.25, 0.5, 0.75]) - [-1.5, 0, 1.5]).max() < 0.3


@pytest.mark.slow
def test_periodic_features_solve_an_equation_without_conditions_at_the_ends():
    circle = Interval(0, 2)
    exact = lambda x: jnp.exp(jnp.sin(math.pi * x[0]))
    force = lambda x: laplacian(lambda x: exact(x)[None])(x) - exact(x)
    network = random_features(1, 1, width=150, frequencies=45.0, periodic={0: 2.0}, rngs=nnx.Rngs(0))
    problem = Problem([equation(lambda u, x: laplacian(u)(x) - u(x) - force(x), circle, points=400, sampler="sobol")])
    found = problem.refine(network, key=KEY, steps=3, method="last-layer").network
    assert largest_error(found, exact, circle) < 1e-12
