"""A fit warns of units and coefficients with which it cannot succeed, and a scaled unknown has the true derivatives."""

import re
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from siren_jax import SIREN, InputError, ReLUMLP, divergence, gradient, laplacian, second_derivatives
from siren_jax.equations import (
    Box,
    Interval,
    Problem,
    Scaled,
    WithCoefficients,
    equation,
    jumps,
    solution,
)
from siren_jax.equations.catalogue import CASES
from siren_jax.equations.jumps import doubts_about_jumps
from siren_jax.equations.units import doubts_about_units

SQUARE = Box((-1, -1), (1, 1))
LONG = Interval(0, 100).during(2000, 2020)


def network(d=2, channels=1, **settings):
    return SIREN(d, channels, **{"width": 4, "depth": 1, "first_omega": 3.0, "rngs": nnx.Rngs(0), **settings})


def about_units(domain, unknown, points=1000):
    return list(doubts_about_units(unknown, [equation(lambda u, x: u(x), domain)], points))


@pytest.mark.parametrize("kind", [SIREN, ReLUMLP])
def test_a_scaled_network_has_the_derivatives_of_what_it_says(kind, float64):
    inner = float64(kind(2, 2, width=6, depth=1, rngs=nnx.Rngs(0)))
    unknown = Scaled(inner, LONG)
    said = lambda x: inner((x - jnp.array([2010.0, 50.0])) / jnp.array([10.0, 50.0]))
    rows = ((1.0, -2.0), (0.0, 3.0))

    @jax.jit
    def both(x):
        sums = jnp.einsum("cii,ri->rc", jax.hessian(said)(x), jnp.array(rows))
        return unknown.derivatives(x, rows), (said(x), jax.jacobian(said)(x), list(sums)), unknown(x)

    found, expected, value = both(jnp.array([2003.0, 20.0]))
    for ours, exact in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        assert np.allclose(ours, exact, rtol=1e-9, atol=1e-15)
    assert np.allclose(value, expected[0], rtol=1e-12)


def test_a_scaled_solution_is_saved_as_a_plain_network_in_true_units():
    unknown, domain = network(1), Interval(0, 1e-3)
    scaled = Scaled(unknown, domain)
    kept = solution(WithCoefficients(scaled, h=2.0), domain)
    assert type(kept.network) is SIREN
    assert kept.record == {"coefficients": {"h": 2.0}}
    points = jnp.linspace(0, 1e-3, 11)[:, None]
    assert np.allclose(kept(points), scaled(points), atol=1e-5)  # float32
    assert np.allclose(scaled(points), unknown(jnp.linspace(-1, 1, 11)[:, None]), atol=1e-5)


def test_points_of_another_number_of_coordinates_are_refused():
    with pytest.raises(InputError, match=r"points of shape \(1,\)"):
        Scaled(network(1), Interval(0, 1))(jnp.ones(2))


@pytest.mark.parametrize(
    ("domain", "message"),
    [
        (Interval(0, 100), "coordinate 0 goes from 0 to 100, far from -1 to 1, .* 150 for 3 per unit"),
        (Interval(0, 1e-3), "from 0 to 0.001, far from"),
        (Interval(2000, 2020), "from 2000 to 2020, far from"),
        (Interval(0, 1).during(0, 500), "coordinate 0 goes from 0 to 500, far from"),
        (Interval(0, 500).during(0, 1), "coordinate 1 goes from 0 to 500, far from"),
    ],
)
def test_units_far_from_one_are_doubted_unless_they_are_scaled(domain, message):
    d = len(domain.low)
    (text,) = about_units(domain, network(d))
    assert re.search(message, text)
    assert not about_units(domain, Scaled(network(d), domain))
    assert not about_units(domain, WithCoefficients(Scaled(network(d), domain), h=1.0))
    assert not about_units(domain, nnx.Linear(d, 1, rngs=nnx.Rngs(0)))


def test_coordinates_that_float32_cannot_resolve_are_doubted_even_if_they_are_scaled():
    domain = Interval(1e6, 1e6 + 1)
    (text,) = about_units(domain, Scaled(network(1), domain))
    assert "goes from 1000000 to 1000001, and float32 resolves only about 6e-02" in text


def test_a_graded_coordinate_is_not_doubted_in_any_unit():
    assert about_units(Interval(0, 1000), network(1))
    assert not about_units(Interval(0, 1000), network(1, graded={0: (0.0, 1.0)}))
    assert not about_units(Interval(-1, 1), network(1, first_omega=1000.0, graded={0: (0.0, 1.0)}), 64)


def test_an_omega_far_above_what_the_points_resolve_is_doubted():
    # 64 points on a length of 2 resolve half a period in 2/64: π/(2/64) = 100.5 radians per unit.
    (text,) = about_units(Interval(-1, 1), network(1, first_omega=1000.0), 64)
    assert "use up to 101" in text
    assert not about_units(Interval(-1, 1), network(1, first_omega=100.0), 64)


STEP = lambda x: jnp.where(x[0] > 0.3, 1.0, 10.0)
TABLE = jnp.array([1.0, 2.0, 5.0])


def about_jumps(residual, domain=SQUARE):
    return list(doubts_about_jumps(network(), [equation(residual, domain)]))


@pytest.mark.parametrize(
    "residual",
    [
        lambda u, x: divergence(lambda y: STEP(y) * gradient(u)(y))(x) - 1,
        lambda u, x: STEP(x) * second_derivatives(u)(x)[0].sum() - 1,
        lambda u, x: laplacian(u)(x) / STEP(x) - u(x),
        lambda u, x: (1 + 4.0 * (jnp.sum(x**2) < 0.25)) * laplacian(u)(x) - 1,
        lambda u, x: TABLE[jnp.floor(x[0] + 1).astype(int)] * laplacian(u)(x) - 1,
        lambda u, x: (2 + jnp.sign(x[1])) * jax.jit(lambda z: 2 * z)(laplacian(u)(x)) - 1,
    ],
)
def test_a_coefficient_of_second_derivatives_that_jumps_is_doubted(residual):
    (text,) = about_jumps(residual)
    assert "'equation' jumps near (" in text


def test_a_residual_that_cannot_be_examined_is_not_doubted(monkeypatch):
    def fails(*_):
        raise NotImplementedError

    monkeypatch.setattr(jumps, "_walk", fails)
    assert not list(doubts_about_jumps(network(), [equation(lambda u, x: laplacian(u)(x), SQUARE)]))


def test_the_place_of_a_jump_is_named():
    (text,) = about_jumps(lambda u, x: STEP(x) * laplacian(u)(x) - 1)
    assert "jumps near (0.3, " in text


@pytest.mark.parametrize(
    "residual",
    [
        lambda u, x: laplacian(u)(x) - STEP(x),  # a source
        lambda u, x: laplacian(u)(x) + STEP(x) * u(x),
        lambda u, x: STEP(x) * gradient(u)(x)[:1] - 1,  # first order
        lambda u, x: STEP(x) * (laplacian(u)(x) - 1),  # a weight of the whole equation
        lambda u, x: jnp.where(u(x) > 0, 1, 2.0) * laplacian(u)(x) - 1,  # of the field
        lambda u, x: jnp.where(x[0] > 0, 1 + x[0], 1.0) * laplacian(u)(x) - 1,  # continuous
        lambda u, x: (1 + x[0] * jnp.sign(x[0])) * laplacian(u)(x) - 1,
        lambda u, x: jnp.maximum(1, x[0]) * laplacian(u)(x) - 1,
        lambda u, x: jax.nn.sigmoid(x[0] / 0.05) * laplacian(u)(x) - 1,
        lambda u, x: laplacian(u)(x) + TABLE,  # an array of JAX, as an unknown number is too
        lambda u, x: laplacian(u),  # refused by the fit, with a message
    ],
)
def test_other_jumps_and_continuous_coefficients_are_not_doubted(residual):
    assert not about_jumps(residual)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_the_problems_of_the_catalogue_raise_no_doubt(name):
    case = CASES[name]()
    unknown = network(len(case.domain.low), len(case.channels), first_omega=case.first_omega)
    unknown = case.ansatz(unknown) if case.ansatz else unknown
    assert not [*doubts_about_jumps(unknown, case.problem.terms), *doubts_about_units(unknown, case.problem.terms, 512)]


def test_a_problem_warns_once_and_can_be_silenced():
    jump = lambda u, x: jnp.where(x[0] > 50, 1.0, 2.0) * laplacian(u)(x) - 1
    make = lambda: Problem([equation(jump, Interval(0, 100), points=8)])
    settings = {"key": jax.random.key(0), "steps": 1}
    problem = make()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        problem.fit(network(1), **settings)
    assert [str(each.message)[:15] for each in seen] == ["coordinate 0 go", "the coefficient"]
    problem.fit(network(1), **settings)  # warnings are errors in the tests
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the coefficient|coordinate 0")
        make().fit(network(1), **settings)
