"""Integrals have the values of their closed forms, within residuals and as terms; they determine what points cannot."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import j1

from siren_jax import SIREN, InputError, gradient, jacobian, laplacian
from siren_jax.equations import (
    Ball,
    Box,
    Disk,
    Interval,
    Problem,
    WithCoefficients,
    dirichlet,
    equation,
    integral,
    known,
    neumann,
    quadrature,
    robin,
)

LINE, SQUARE, DISK = Interval(0, 1), Box((-1, -1), (1, 1)), Disk((1, 0), 2)
TIMED = LINE.during(0, 2)


def solved(problem, network, steps=40, **settings):
    """The network of a few Gauss-Newton steps."""
    settings = {"batches": 1, "method": "gauss-newton", **settings}
    return problem.refine(network, key=jax.random.key(0), steps=steps, **settings).network


def small(first_omega=3.0, inputs=1):
    return SIREN(inputs, 1, width=6, depth=1, first_omega=first_omega, omega=1.0, rngs=nnx.Rngs(0))


def error(network, exact, domain):
    points = np.linspace(domain.low, domain.high, 101)
    with jax.enable_x64(True):
        return float(np.abs(network(jnp.asarray(points)) - exact(points)).max())


def residual(term, field):
    """The residual at each drawn moment."""
    places = jax.jit(term.draw)(jax.random.key(1), 1.0)
    return np.asarray(jax.jit(jax.vmap(lambda *at: term.residual(field, *at)))(*places))


WAVE = lambda x: jnp.cos(jnp.sum(x))


def of_wave(low, high):
    """The integral of cos(x_1 + … + x_d) over a box, the real part of a product."""
    return float(np.prod([(np.exp(1j * b) - np.exp(1j * a)) / 1j for a, b in zip(low, high, strict=True)]).real)


@pytest.mark.parametrize(
    ("domain", "exact"),
    [
        (LINE, of_wave([0], [1])),
        (Box((0, 0, 0), (1, 1, 1)), of_wave([0] * 3, [1] * 3)),
        (Disk((0, 0), 1), 2 * math.pi * j1(math.sqrt(2)) / math.sqrt(2)),  # the transform of a disk
        (TIMED, of_wave([0, 0], [2, 1])),
        ((0.0, jnp.array([0.5])), of_wave([0], [0.5])),
        ((jnp.zeros(2), jnp.ones(2)), of_wave([0, 0], [1, 1])),
        ((0.5, 0.0), -of_wave([0], [0.5])),
    ],
)
def test_quadrature_is_the_integral_of_a_smooth_function(domain, exact):
    found = jax.jit(lambda: quadrature(WAVE, domain))()  # while JAX traces, as within a residual
    assert float(found) == pytest.approx(exact, rel=1e-5)  # float32


@pytest.mark.parametrize(
    ("domain", "rel"),
    [
        (LINE, 1e-12),
        (SQUARE, 1e-12),
        (Box((0, 0, 0), (1, 2, 3)), 1e-12),
        (DISK, 1e-12),
        (Ball((0, 1, 2), 2), 1e-8),
        (SQUARE - Disk((0.2, 0), 0.5), 3e-4),  # quasi-random nodes
        (SQUARE - Disk((-0.5, -0.5), 0.2) - Box((0.1, 0.2), (0.6, 0.5)), 3e-4),
        (SQUARE - Box((0, 0), (2, 2)), 3e-2),  # the rim begins between nodes
    ],
)
def test_the_divergence_theorem_holds(domain, rel, float64):
    del float64
    d = len(domain.low)
    flow = lambda x: jnp.stack([jnp.exp(0.5 * x[0]), *[jnp.sin(x[0] + 2 * x[i]) for i in range(1, d)]])
    divergence = lambda x: jnp.trace(jax.jacobian(flow)(x))
    with jax.enable_x64(True):
        inside = integral(lambda u, x: divergence(x), domain)
        outside = integral(lambda u, x, normal: flow(x) @ normal, domain, boundary=True)
        size = integral(lambda u, x, normal: jnp.abs(flow(x) @ normal), domain, boundary=True)
        a, b, scale = (float(term.residual(jnp.sin, jnp.zeros(d, jnp.float64))[0]) for term in (inside, outside, size))
    assert abs(a - b) < rel * scale


def test_the_moments_of_an_integral_over_time_are_drawn_or_given():
    decay = lambda u, x: jnp.exp(-x[0]) * 2 * x[1]  # its integral over [0, 1] is e^-t
    assert np.abs(residual(integral(decay, TIMED, lambda t: jnp.exp(-t)), jnp.sin)).max() < 1e-6
    drawn = residual(integral(decay, TIMED, times=8), jnp.sin)
    assert len(set(drawn.ravel().tolist())) == 8
    given = residual(integral(decay, TIMED, at=[0.0, 1.5]), jnp.sin)
    np.testing.assert_allclose(given[:, 0], np.exp([0.0, -1.5]), rtol=1e-5)


def test_a_flux_through_a_part_of_the_boundary():
    field = lambda x: (x[0] ** 2 + x[1])[None]
    outflow = lambda u, x, normal: gradient(u)(x) @ normal
    part = lambda where: residual(integral(outflow, SQUARE, boundary=True, where=where), field)[0, 0]
    assert part(lambda x: x[0] == 1) == pytest.approx(4, rel=1e-5)  # 2x = 2 along a side of length 2
    assert part(lambda x: x[1] == -1) == pytest.approx(-2, rel=1e-5)
    assert part(lambda x: x[0] < 2) == pytest.approx(8, rel=1e-5)  # Δu = 2 over an area of 4


def test_each_component_has_a_value_of_its_own():
    both = lambda u, x: jnp.concatenate([x, x**2])
    np.testing.assert_allclose(residual(integral(both, LINE, [0.5, 1 / 3]), jnp.sin), 0, atol=1e-6)
    assert residual(integral(lambda u, x: x[0], LINE, 0.5), jnp.sin) == pytest.approx(0, abs=1e-6)
    turning = lambda u, x: jnp.exp(1j * jnp.pi * x)
    assert np.abs(residual(integral(turning, LINE, 2j / math.pi), jnp.sin)).max() < 1e-6


@pytest.mark.slow
def test_a_tile_or_a_mesh_changes_only_the_rounding():
    problem = Problem(
        [equation(lambda u, x: jacobian(u)(x)[0], LINE, points=30), integral(lambda u, x: u(x), LINE, 1.0)]
    )
    losses = [
        problem.refine(small(), key=jax.random.key(0), steps=2, **more).history["loss"]
        for more in ({}, {"tile": 7}, {"mesh": jax.make_mesh((1,), ("points",))})
    ]
    assert np.allclose(losses[0], losses[1:], rtol=1e-4)


def test_neumann_conditions_and_the_mean_determine_the_solution_of_poisson():
    problem = Problem(
        [
            equation(lambda u, x: laplacian(u)(x) + math.pi**2 * jnp.cos(math.pi * x[0]), LINE, points=32),
            neumann(0.0, LINE, points=4),
            integral(lambda u, x: u(x), LINE, 0.5),
        ]
    )
    found = solved(problem, small())
    assert error(found, lambda x: 0.5 + np.cos(math.pi * x), LINE) < 1e-3


def test_an_integral_up_to_the_point_is_a_part_of_the_equation():
    # u' = -u + ∫_0^x e^(s-x) u(s) ds with u(0) = 1: u = e^-x cosh x.
    memory = lambda u, x: quadrature(lambda s: jnp.exp(s - x) * u(s), (0.0, x), nodes=8)
    span = Interval(0, 2)
    problem = Problem(
        [
            equation(lambda u, x: jacobian(u)(x)[:, 0] + u(x) - memory(u, x), span, points=32),
            dirichlet(1.0, span, where=lambda x: x[0] == 0, points=1),
        ]
    )
    assert error(solved(problem, small(1.0)), lambda x: np.exp(-x) * np.cosh(x), span) < 1e-3


def test_an_integral_over_the_domain_is_a_part_of_the_equation():
    # u(x) = 2x/3 + ∫_0^1 x·y·u(y) dy: u = x.
    sides = lambda u, x: u(x) - 2 * x / 3 - quadrature(lambda y: x * y * u(y), LINE, nodes=8)
    problem = Problem([equation(sides, LINE, points=32)])
    assert error(solved(problem, small(), 20), lambda x: x, LINE) < 1e-3


def test_an_eigenvalue_is_a_coefficient_when_the_norm_is_given():
    # -u'' = λu on [0, 1], u = 0 at both ends, ∫u² = 1/2: u = sin πx, λ = π².
    problem = Problem(
        [
            equation(lambda u, x: laplacian(u)(x) + u["eigenvalue"] * u(x), LINE, points=32),
            dirichlet(0.0, LINE, points=4, weight=10.0),
            integral(lambda u, x: u(x) ** 2, LINE, 0.5),
        ]
    )
    found = solved(problem, WithCoefficients(small(), eigenvalue=8.0))
    assert float(found["eigenvalue"]) == pytest.approx(math.pi**2, rel=1e-3)
    assert error(lambda x: np.abs(found(x)), lambda x: np.sin(math.pi * x), LINE) < 1e-2


@pytest.mark.slow
def test_the_coefficient_of_a_robin_condition_is_found_from_measurements():
    # u'' = 0, u(0) = 1, u'(1) + h·u(1) = 0: u = 1 - hx / (1 + h), here with h = 2.
    places = np.array([[0.25], [0.75]])
    problem = Problem(
        [
            equation(lambda u, x: laplacian(u)(x), LINE, points=16),
            dirichlet(lambda u, x: u["left"], LINE, where=lambda x: x[0] == 0, points=1, name="left"),
            robin(0.0, lambda u, x: u["h"], LINE, where=lambda x: x[0] == 1, points=1),
            known(lambda u, x, value: u(x) - value, places, 1 - 2 * places / 3),
        ]
    )
    found = solved(problem, WithCoefficients(small(), h=1.0, left=0.5))
    assert float(found["h"]) == pytest.approx(2, rel=1e-3)
    assert float(found["left"]) == pytest.approx(1, rel=1e-3)


def test_a_fit_keeps_the_mass_at_all_times():
    # Among all functions of time and space, only the mass is asked for.
    mass = integral(lambda u, x: u(x), TIMED, lambda t: 1 + t, times=8)
    found = solved(Problem([mass]), small(inputs=2), 10)
    with jax.enable_x64(True):
        for t in (0.3, 1.1):
            at = lambda y, t=t: found(jnp.concatenate([jnp.full(1, t), y]))[0]
            assert float(quadrature(at, LINE)) == pytest.approx(1 + t, abs=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: integral(lambda u, x: x, LINE, nodes=0), "at least one node along each coordinate, but got nodes=0"),
        (lambda: integral(lambda u, x: x, Box((0,) * 3, (1,) * 3), nodes=64), "up to 65,536 nodes, .* are 262,144"),
        (lambda: quadrature(lambda y: y, Box((0,) * 3, (1,) * 3), nodes=64), "up to 65,536 nodes"),
        (lambda: quadrature(lambda y: y, (jnp.zeros(2), jnp.ones(3))), r"ends .* got the shapes \(2,\) and \(3,\)"),
        (lambda: integral(lambda u, x: x, LINE, at=0.5), "a time with a domain with time"),
        (lambda: integral(lambda u, x: x, TIMED, at=[0.5, 3.0]), "times from 0 to 2"),
        (lambda: integral(lambda u, x: x, TIMED, at=[]), "times from 0 to 2"),
        (lambda: integral(lambda u, x: x, LINE, lambda t: t), "a function of the time, but this domain has none"),
        (lambda: integral(lambda u, x: x, LINE, where=lambda x: x[0] == 0), "needs boundary=True"),
        (
            lambda: integral(lambda u, x, n: x, LINE, boundary=True, where=lambda x: x[0] == 3),
            "integral has no nodes on the selected part",
        ),
        (
            lambda: residual(integral(lambda u, x: x, LINE, [1.0, 2.0]), jnp.sin),
            r"of the shape \(2,\), but its integrand",
        ),
        (lambda: integral(lambda u, x: x, TIMED, times=0), "points=0"),
    ],
)
def test_impossible_integrals_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_the_value_of_a_condition_may_be_a_function_of_the_field_and_the_point():
    at = lambda value: Problem([dirichlet(value, SQUARE, points=16)])
    field = WithCoefficients(SIREN(2, 1, width=4, depth=0, rngs=nnx.Rngs(0)), factor=3.0)
    for value in (lambda u, x: u(x), lambda u, x: u(x) * u["factor"] / 3):
        problem = at(value)
        terms = problem.objective(field, problem.sample(jax.random.key(0), 0))
        assert np.asarray(terms["dirichlet"]).max() < 1e-10
