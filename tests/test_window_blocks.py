"""Units with windows: values and derivatives by the product rule, and solutions with detail in one place or a kink."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from siren_jax import SIREN, jacobian, laplacian, random_features, second_derivatives
from siren_jax.equations import Interval, Problem, dirichlet, equation, known
from siren_jax.fields.precision import cast
from siren_jax.networks.features import Block
from siren_jax.networks.windows import Beyond, Gaussian

WINDOWS = [
    (5, None),
    (7, Gaussian((0.2, -0.1), (0.3, 0.6))),
    (4, Beyond(1, -0.3, 0.4, 3, 0.7)),
    (8, Beyond(0, high=0.1)),
]
POINTS = np.random.default_rng(0).uniform(-1, 1, (60, 2))


def by_formula(siren):
    """The network as a plain function of one point, for autodiff in float64."""

    def window(x):
        gaussian = jnp.exp(-0.5 * (((x[0] - 0.2) / 0.3) ** 2 + ((x[1] + 0.1) / 0.6) ** 2))
        beyond = (jnp.maximum(x[1] - 0.4, 0) + jnp.maximum(-0.3 - x[1], 0)) / 0.7
        return jnp.concatenate(
            [jnp.ones(5), jnp.full(7, gaussian), jnp.full(4, beyond**3), jnp.full(8, jnp.maximum(x[0] - 0.1, 0) ** 3)]
        )

    def function(x):
        factors, h = window(x), x
        for layer in siren.layers:
            h = factors * jnp.sin(layer.omega * (layer.linear.kernel[...].T @ h + layer.linear.bias[...]))
            factors = 1.0
        return siren.output.kernel[...].T @ h + siren.output.bias[...]

    return function


@pytest.mark.parametrize("depth", [0, 1])
def test_values_and_derivatives_are_those_of_the_formula(depth):
    with jax.enable_x64(True):
        siren = SIREN(2, 3, width=24, depth=depth, first_omega=6.0, omega=2.0, windows=WINDOWS, rngs=nnx.Rngs(0))
        siren, x = cast(siren, np.float64), jnp.asarray(POINTS)
        third = lambda u: jacobian(laplacian(u, weights=(1, 3)))
        for operator in (lambda u: u, jacobian, laplacian, second_derivatives, third):
            found, expected = (jax.vmap(operator(u))(x) for u in (siren, by_formula(siren)))
            assert jnp.linalg.norm(found - expected) < 1e-13 * jnp.linalg.norm(expected)
        assert jnp.abs(siren(x) - jax.vmap(siren)(x)).max() < 1e-14  # a batch at once


@pytest.mark.parametrize("power", [1, 2, 3])
def test_a_window_beyond_an_interval_has_a_jump_of_the_derivative_of_its_power(power):
    window, near = Beyond(0, low=-0.5, high=0.5, power=power, unit=0.5), 1e-6
    with jax.enable_x64(True):
        function = lambda x: window.at(x[None]).value
        for _ in range(power):
            inner, function = function, jax.grad(function)
            assert abs(inner(jnp.float64(0.5 + near)) - inner(jnp.float64(0.5 - near))) < 1e-3
        jump = function(jnp.float64(0.5 + near)) - function(jnp.float64(0.5 - near))
        assert jump == pytest.approx({1: 2, 2: 8, 3: 48}[power])  # power!/unit^power
        assert window.at(jnp.array([-1.0])).value == pytest.approx(1)


def test_each_block_has_its_own_frequencies():
    blocks = [Block(40, (50.0, 10.0), Gaussian((0.0, 0.0), 0.1)), Block(30, 20.0, Beyond(0, high=0.5))]
    siren = random_features(2, 1, width=100, frequencies=5.0, blocks=blocks, rngs=nnx.Rngs(0))
    highest = np.abs(siren.first_omega * siren.layers[0].linear.kernel[...])
    for block, bound in ((slice(0, 100), (5, 5)), (slice(100, 140), (50, 10)), (slice(140, None), (20, 20))):
        assert np.all(highest[:, block].max(axis=1) <= bound)
        assert np.all(highest[:, block].max(axis=1) > 0.8 * np.array(bound))
    assert siren.width == 170
    assert [n for n, _ in siren.windows] == [100, 40, 30]


def solved(residual, features, ends, more=()):
    line = Interval(-1, 1)
    terms = [equation(residual, line, points=600, sampler="sobol", graded={0: (0.0, 0.01)})]
    terms += [dirichlet(ends, line, points=16, weight=100.0), *more]
    network = random_features(1, 1, rngs=nnx.Rngs(0), **features)
    return Problem(terms).refine(network, key=jax.random.key(0), steps=2, method="last-layer").network


def largest_error(network, exact):
    with jax.enable_x64(True):
        x = jnp.linspace(-1, 1, 4001)[:, None]
        return float(jnp.abs(network(x)[:, 0] - jax.vmap(exact)(x)).max())


@pytest.mark.slow
def test_windows_of_shrinking_width_resolve_a_narrow_source():
    """u'' = g'' for a Gaussian g of the width 0.01. As many sines without windows do not resolve it."""
    exact = lambda x: jnp.exp(-(x[0] ** 2) / 2e-4)
    residual = lambda u, x: (laplacian(u)(x) - laplacian(lambda x: exact(x)[None])(x)) * (x[0] ** 2 + 1e-4)
    blocks = [Block(32, 4 / width, Gaussian((0.0,), width)) for width in (0.2, 0.05, 0.015)]
    with_windows = solved(residual, {"width": 32, "frequencies": 10.0, "blocks": blocks}, 0.0)
    without = solved(residual, {"width": 128, "frequencies": 190.0}, 0.0)
    assert largest_error(with_windows, exact) < 1e-5
    assert largest_error(without, exact) > 0.1


def test_a_window_of_power_one_represents_a_kink():
    """(ku')' = -1 with k = 1 below 0 and 4 above: u' jumps, ku' does not. Both parts are parabolas."""
    k = lambda x: jnp.where(x[0] > 0, 4.0, 1.0)
    slope = -0.3  # ku' at 0, by u(1) = 0 = u(-1): u = (slope·x - x²/2)/k + u(0)
    exact = lambda x: (slope * x[0] - x[0] ** 2 / 2) / k(x) + (0.5 + slope)

    def flux(u, x):
        below, above = (jacobian(u)(x + side)[0] for side in (-1e-9, 1e-9))
        return below - 4 * above

    contact = known(flux, [[0.0]], name="contact", weight=10.0)
    features = {"width": 30, "frequencies": 4.0, "blocks": [Block(30, 4.0, Beyond(0, high=0.0, power=1))]}
    network = solved(lambda u, x: k(x) * laplacian(u)(x) + 1, features, 0.0, [contact])
    assert largest_error(network, exact) < 1e-8
