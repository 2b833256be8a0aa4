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
BACKFLOW = 1.5  # change of the pressure at the outlet for each unit of velocity that comes back
EVEN: dict[str, Any] = {"sampler": "sobol"}


def steady_flow(
    viscosity: float, mass: float = 1.0, near: Callable[[Array], Array] = lambda x: jnp.ones_like(x[0])
) -> Callable[[Field, Array], Array]:
    """The residual of (v·∇)v = -∇p + ν·Δv and ∇·v = 0.

    Args:
        viscosity: ν.
        mass: factor on ∇·v: what is lost of the flow at one place is missing behind it.
        near: 1, or less near a corner where the slopes are infinite.
    """

    def residual(u: Field, x: Array) -> Array:
        v, slope = u(x)[:2], jacobian(u)(x)
        momentum = jnp.sum(slope[:2] * v, axis=1) + slope[2] - viscosity * laplacian(u)(x)[:2]
        return near(x) * jnp.append(momentum, mass * (slope[0, 0] + slope[1, 1]))

    return residual


def velocity_on(
    domain: Domain,
    along_x: Callable[[Array], Array],
    where: Callable[[Array], Array] | None,
    near: Callable[[Array], Array] = lambda x: jnp.ones_like(x[0]),
    **more: Any,
) -> Term:
    """The velocity on a part of the boundary: a given one along x, none along y."""
    residual = lambda u, x, _: (u(x)[:2] - jnp.stack([jnp.zeros_like(x[0]), along_x(x)])) * near(x)
    return boundary(residual, domain, where=where, **{"points": 1024, "name": "velocity", "weight": 100.0, **more})


def lid_driven_cavity(folder: Path | None) -> Benchmark:
    """ν = 1/100 in the unit square, the lid y = 1 moves at 4x(1 - x) along x, p = 0 in the corner (0, 0).

    At the ends of the lid p is infinite, like log r.
    """
    box = Box((0, 0), (1, 1))
    ends: dict[int, Any] = {0: (1.0, 0.01), 1: [(0.0, 0.01), (1.0, 0.01)]}
    lid = lambda x: jnp.where(x[0] > 1 - NEAR, 4 * x[1] * (1 - x[1]), 0.0)
    terms = [
        equation(steady_flow(0.01, mass=5.0), box, points=4096, graded=ends, **EVEN),
        velocity_on(box, lid, None, **EVEN),
        known(lambda u, x: u(x)[2:], [[0.0, 0.0]], name="pressure"),
    ]
    wide = {axis: [(place, 0.03) for place in places] for axis, places in ((0, (1.0,)), (1, (0.0, 1.0)))}
    quick = {"width": 300, "frequencies": (4.0, 4.0), "graded": wide, "refined": 5}
    recipe = Recipe((5.0, 5.0), graded=ends, width=750, method="last-layer", refined=10, quick=quick)
    table = path_in(folder, "lid_driven_a4.dat")
    return Benchmark("NS 2d-C", Problem(terms), box, CHANNELS, recipe, table=table, columns=COLUMNS)


def back_step(folder: Path | None) -> Benchmark:
    """ν = 1/100 in a channel that is 1 wide until x = 2 and then 2 wide until x = 4.

    Through x = 0, the velocity is 4y(1 - y); the walls are at rest. PINNacle has p = 0 at x = 4, which leaves one
    condition open. The condition here is that of its table: no velocity along the outlet; p = 0 where fluid leaves; and
    where fluid would come back, p falls by 1.5 for each unit of velocity, which nearly prevents it. The number is read
    from the table.

    At the edge of the step the slopes are infinite: at the distance r from it, the residuals are multiplied by r² and
    those of the walls by √r.
    """
    channel = Box((0, 0), (2, 4)) - Box((1, -1), (3, 2))
    places: dict[int, Any] = {0: (1.0, 0.03), 1: [(2.0, 0.06), (4.0, 0.03)]}
    outlet = lambda x: x[1] > 4 - 4 * NEAR
    inflow = lambda x: jnp.where(x[1] < NEAR, 4 * x[0] * (1 - x[0]), 0.0)
    near = lambda x: jnp.minimum(jnp.hypot(x[0] - 1, x[1] - 2) / 0.2, 1)

    def leaves(u: Field, x: Array, normal: Array) -> Array:
        along, out, p = u(x)
        return jnp.stack([along, p - BACKFLOW * jnp.minimum(out, 0)])

    terms = [
        equation(steady_flow(0.01, mass=5.0, near=lambda x: near(x) ** 2), channel, points=4096, graded=places, **EVEN),
        velocity_on(channel, inflow, lambda x: ~outlet(x), lambda x: jnp.sqrt(near(x)), points=2048, weight=10.0),
        boundary(leaves, channel, where=outlet, points=256, weight=10.0, name="outlet"),
    ]
    quick = {"width": 300, "frequencies": (2.5, 2.5), "refined": 10}
    recipe = Recipe((4.0, 4.0), graded=places, width=700, method="last-layer", refined=14, quick=quick)
    table = path_in(folder, "ns_0_obstacle.dat")
    return Benchmark("NS 2d-CG", Problem(terms), channel, CHANNELS, recipe, table=table, columns=COLUMNS)


def two_cylinders(folder: Path | None) -> Benchmark:
    """ν = 1 in a square with the side 8 and two round obstacles; the repository has this flow, its tables do not.

    Through x = 0, the velocity is y(8 - y)/16; the walls and obstacles are at rest. PINNacle has p = 0 at x = 8. The
    condition here is that of its table: no stress at x = 8, which is p = 2ν·∂v_x/∂x and ∂v_y/∂x + ∂v_x/∂y = 0.
    """
    square = Box((0, 0), (8, 8)) - Disk((6, 6), 1.0) - Disk((1, 2), 0.5)
    places: dict[int, Any] = {0: [(1.0, 0.5), (6.0, 1.0)], 1: [(2.0, 0.5), (6.0, 1.0)]}
    outlet = lambda x: x[1] > 8 - 8 * NEAR
    outer = lambda x: (jnp.minimum(x[0], x[1]) < 8 * NEAR) | (x[0] > 8 - 8 * NEAR)
    inflow = lambda x: jnp.where(x[1] < 8 * NEAR, x[0] * (8 - x[0]) / 16, 0.0)
    near = lambda x: jnp.minimum(jnp.hypot(jnp.minimum(x[0], 8 - x[0]), x[1] - 8) / 0.5, 1)  # the outlet's corners

    def free(u: Field, x: Array, normal: Array) -> Array:
        slope = jacobian(u)(x)
        return jnp.stack([u(x)[2] - 2 * slope[1, 1], slope[0, 1] + slope[1, 0]]) * near(x)

    flow = steady_flow(1.0, mass=10.0, near=lambda x: near(x) ** 2)
    terms = [
        equation(flow, square, points=4096, weight=0.1, graded=places, **EVEN),
        velocity_on(square, inflow, lambda x: outer(x) & ~outlet(x), weight=300.0),
        velocity_on(square, inflow, lambda x: ~outer(x) & ~outlet(x), name="obstacles", weight=200.0),
        boundary(free, square, where=outlet, points=256, name="outlet"),
    ]
    quick = {"width": 450, "frequencies": (4.5, 4.5), "refined": 3}
    recipe = Recipe((6.0, 6.0), graded=places, width=800, method="last-layer", refined=4, quick=quick)
    table = path_in(folder, "ns2d.dat")
    return Benchmark("NS, two cylinders", Problem(terms), square, CHANNELS, recipe, table=table, columns=COLUMNS)
