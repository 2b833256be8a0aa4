"""Stationary flows of PINNacle: two velocities and a pressure. Hao et al. 2023, Appendix B; see `pinnacle_record`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jax import Array

from experiments.pinnacle_record import Benchmark, Recipe, path_in
from siren_jax import jacobian, laplacian
from siren_jax._types import Field
from siren_jax.equations import Box, Disk, Domain, Problem, Term, boundary, equation, known

CHANNELS = ("velocity along y", "velocity along x", "pressure")
COLUMNS = (1, 0, 2)  # of the tables, which begin with the velocity along x
NEAR = 1e-4  # a point this near to a side, relative to it, is on it: points are rounded to float32
EVEN: dict[str, Any] = {"sampler": "sobol"}


def steady_flow(viscosity: float) -> Callable[[Field, Array], Array]:
    """The residual of (v·∇)v = -∇p + ν·Δv and ∇·v = 0."""

    def residual(u: Field, x: Array) -> Array:
        v, slope = u(x)[:2], jacobian(u)(x)
        momentum = jnp.sum(slope[:2] * v, axis=1) + slope[2] - viscosity * laplacian(u)(x)[:2]
        return jnp.append(momentum, slope[0, 0] + slope[1, 1])

    return residual


def velocity_on(domain: Domain, along_x: Callable[[Array], Array], where: Callable[[Array], Array] | None) -> Term:
    """The velocity on a part of the boundary: a given one along x, none along y."""
    residual = lambda u, x, _: u(x)[:2] - jnp.stack([jnp.zeros_like(x[0]), along_x(x)])
    return boundary(residual, domain, where=where, points=1024, weight=100.0, name="velocity")


def lid_driven_cavity(folder: Path | None) -> Benchmark:
    """ν = 1/100 in the unit square, the lid y = 1 moves at 4x(1 - x) along x, p = 0 in the corner (0, 0)."""
    box = Box((0, 0), (1, 1))
    lid = lambda x: jnp.where(x[0] > 1 - NEAR, 4 * x[1] * (1 - x[1]), 0.0)
    terms = [
        equation(steady_flow(0.01), box, points=4096, **EVEN),
        velocity_on(box, lid, None),
        known(lambda u, x: u(x)[2:], [[0.0, 0.0]], name="pressure"),
    ]
    recipe = Recipe(
        (25.0, 25.0), width=500, method="last-layer", refined=10, quick={"width": 250, "frequencies": (16.0, 16.0)}
    )
    table = path_in(folder, "lid_driven_a4.dat")
    return Benchmark("NS 2d-C", Problem(terms), box, CHANNELS, recipe, table=table, columns=COLUMNS)


def back_step(folder: Path | None) -> Benchmark:
    """ν = 1/100 in a channel that is 1 wide until x = 2 and then 2 wide until x = 4.

    Through x = 0, the velocity is 4y(1 - y); p = 0 at x = 4; the walls are at rest.
    """
    channel = Box((0, 0), (2, 4)) - Box((1, -1), (3, 2))
    outlet = lambda x: x[1] > 4 - 4 * NEAR
    inflow = lambda x: jnp.where(x[1] < NEAR, 4 * x[0] * (1 - x[0]), 0.0)
    terms = [
        equation(steady_flow(0.01), channel, points=4096, **EVEN),
        velocity_on(channel, inflow, lambda x: ~outlet(x)),
        boundary(lambda u, x, _: u(x)[2:], channel, where=outlet, points=256, weight=100.0, name="pressure"),
    ]
    recipe = Recipe(
        (15.0, 10.0), width=600, method="last-layer", refined=10, quick={"width": 300, "frequencies": (10.0, 6.0)}
    )
    table = path_in(folder, "ns_0_obstacle.dat")
    return Benchmark("NS 2d-CG", Problem(terms), channel, CHANNELS, recipe, table=table, columns=COLUMNS)


def two_cylinders(folder: Path | None) -> Benchmark:
    """ν = 1 in a square with the side 8 and two round obstacles; the repository has this flow, its tables do not.

    Through x = 0, the velocity is y(8 - y)/16; p = 0 at x = 8; the walls and obstacles are at rest.
    """
    square = Box((0, 0), (8, 8)) - Disk((6, 6), 1.0) - Disk((1, 2), 0.5)
    outlet = lambda x: x[1] > 8 - 8 * NEAR
    inflow = lambda x: jnp.where(x[1] < 8 * NEAR, x[0] * (8 - x[0]) / 16, 0.0)
    terms = [
        equation(steady_flow(1.0), square, points=4096, **EVEN),
        velocity_on(square, inflow, lambda x: ~outlet(x)),
        boundary(lambda u, x, _: u(x)[2:], square, where=outlet, points=256, weight=100.0, name="pressure"),
    ]
    recipe = Recipe((2.0, 2.0))
    table = path_in(folder, "ns2d.dat")
    return Benchmark("NS, two cylinders", Problem(terms), square, CHANNELS, recipe, table=table, columns=COLUMNS)
