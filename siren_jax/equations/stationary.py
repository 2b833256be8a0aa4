"""Stationary equations of the catalogue: a membrane, two materials, a plate and the flow in a cavity."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from siren_jax import references
from siren_jax._types import Field
from siren_jax.equations.case import Case, by_sines, by_small_network
from siren_jax.equations.conditions import boundary, dirichlet
from siren_jax.equations.domains import Box
from siren_jax.equations.problem import Problem
from siren_jax.equations.terms import equation, known
from siren_jax.fields.operators import jacobian, laplacian

SLOW = 100.0  # Reynolds number up to which random sines were seen to converge from rest


def l_shape() -> Case:
    """Δu = -1 in an L with u = 0 on its rim. At the re-entrant corner u rises like r^(2/3), with infinite slope."""
    room = Box((-1, -1), (1, 1)) - Box((0, 0), (2, 2))
    corner: dict[int, tuple[float, float]] = {0: (0.0, 1e-3), 1: (0.0, 1e-3)}
    return Case(
        about="Poisson's equation in an L, whose solution has a singular corner",
        problem=Problem(
            [
                equation(lambda u, x: laplacian(u)(x) + 1, room, points=2048, sampler="sobol", graded=corner),
                dirichlet(0.0, room, points=1024, weight=100.0, sampler="sobol"),
            ]
        ),
        domain=room,
        channels=("u",),
        truth=lambda points: references.l_shaped_membrane(points)[:, None],
        first_omega=5.0,
        width=64,
        depth=2,
        steps=1000,
        refined=1000,
        direct=by_sines(room, 1, 2500, 4.0, batches=3, graded=corner),
        judged=lambda points: np.min(points, axis=1) < 0,
    )


def two_materials() -> Case:
    """∇·(k∇u) = -f with k = 1 for x < 0 and 4 for x > 0, and a Gaussian f near x = -1.

    At the interface u has a kink, and the flux along it jumps. No smooth network has either of them, so the plane is
    folded along the interface: at the distance s from it, one unknown is u(-s) in the first material, the other u(s) in
    the second. Both are smooth. At s = 0 they are equal, and the heat that leaves one material enters the other.
    """
    folded, (one, other), variance = Box((-1, 0), (1, 2)), (1.0, 4.0), 1 / 64

    def source(x: Array) -> Array:
        square = x[0] ** 2 + (x[1] - 1) ** 2
        return jnp.exp(-square / (2 * variance)) / (2 * math.pi * variance)

    def residual(u: Field, x: Array) -> Array:
        return jnp.array([one, other]) * laplacian(u)(x) + source(x) * jnp.array([1.0, 0.0])

    def contact(u: Field, x: Array, normal: Array) -> Array:
        (first, second), slope = u(x), jacobian(u)(x)[:, 1]
        return jnp.stack([first - second, one * slope[0] + other * slope[1]])

    def exact(x: Array) -> Array:
        """The solution on the outer rim, where the source is negligible."""
        near, far = (-jnp.log(x[0] ** 2 + (x[1] - place) ** 2) / (4 * math.pi) for place in (1, -1))
        return jnp.stack([(near + (one - other) / (one + other) * far) / one, 2 / (one + other) * far])

    outside = lambda x: x[1] > 0
    return Case(
        about="heat conduction in two materials, with an unknown for each of them",
        problem=Problem(
            [
                equation(residual, folded, points=2048, sampler="sobol"),
                boundary(contact, folded, where=lambda x: ~outside(x), points=256, name="contact", weight=100.0),
                dirichlet(exact, folded, where=outside, points=512, weight=100.0),
            ]
        ),
        domain=folded,
        channels=("u on the left", "u on the right"),
        truth=lambda points: references.spot_in_two_materials(
            points, conductivities=(one, other), distance=1.0, variance=variance
        ),
        first_omega=5.0,
        width=64,
        depth=2,
        steps=1000,
        refined=1000,
        direct=by_sines(folded, 2, 1500, 18.0),
        axes=("y", "distance"),
    )


def plate() -> Case:
    """Δ²u = 1 in a square, u = ∂u/∂n = 0 on its rim: a clamped plate under a uniform load.

    The second unknown is the bending w = Δu, so second derivatives suffice. The side of 6 makes both about as large
    as 1.
    """
    square = Box((-3, -3), (3, 3))

    def residual(u: Field, x: Array) -> Array:
        return laplacian(u)(x) - jnp.stack([u(x)[1], jnp.ones((), x.dtype)])

    def clamped(u: Field, x: Array, normal: Array) -> Array:
        return jnp.stack([u(x)[0], jnp.sum(jacobian(u)(x)[0] * normal)])

    return Case(
        about="a clamped plate under a uniform load: the deflection and its Laplacian",
        problem=Problem(
            [
                equation(residual, square, points=2048, sampler="sobol"),
                boundary(clamped, square, points=512, name="clamped", weight=10.0, sampler="sobol"),
            ]
        ),
        domain=square,
        channels=("deflection", "bending"),
        truth=lambda points: references.clamped_plate(points, side=6.0),
        first_omega=2.0,
        width=64,
        depth=2,
        steps=1000,
        refined=1000,
        direct=by_sines(square, 2, 1200, 6.0, batches=2),
    )


def cavity(*, reynolds: float = 100.0, resolution: int = 48) -> Case:
    """(v·∇)v = -∇p + Δv/Re, ∇·v = 0 in the unit square, whose lid y = 1 slides with the velocity 1. Ghia et al. 1982.

    At both ends of the lid the velocity jumps. At the distance r from them its slopes grow like 1/r, and the terms of
    the momentum equation like 1/r². Near the ends each residual is multiplied by the same power of r, and the velocity
    along the walls may differ from that of the lid; the solution is not judged there. The velocity across the walls is
    zero up to the ends, so no fluid leaves. p is fixed at the centre.

    Args:
        reynolds: Re.
        resolution: of the reference.
    """
    square = Box((0, 0), (1, 1))

    ends: dict[int, Any] = {0: (1.0, 0.05), 1: [(0.0, 0.05), (1.0, 0.05)]}

    def near(x: Array, distance: float) -> Array:
        """1, or less at a point that is nearer to an end of the lid than a distance: the share of it."""
        return jnp.minimum(jnp.hypot(1 - x[0], jnp.minimum(x[1], 1 - x[1])) / distance, 1)

    def residual(u: Field, x: Array) -> Array:
        v, slope, curvature = u(x)[:2], jacobian(u)(x), laplacian(u)(x)[:2]
        momentum = slope[:2] @ v + slope[2] - curvature / reynolds
        mass = slope[0, 0] + slope[1, 1]
        return jnp.append(momentum * near(x, 0.2) ** 2, 5 * mass * near(x, 0.05))

    def no_slip(u: Field, x: Array, normal: Array) -> Array:
        on_lid = normal[0] > 0.5
        slip = u(x)[:2] - jnp.stack([0 * on_lid, on_lid])
        across = jnp.sum(slip * normal) * normal
        return across + (slip - across) * near(x, 0.1) ** 2

    return Case(
        about=f"the flow in a cavity whose lid slides, Re = {reynolds:g}: two velocities and the pressure",
        problem=Problem(
            [
                equation(residual, square, points=4096, sampler="sobol", graded=ends),
                boundary(no_slip, square, points=1024, name="no slip", weight=300.0, sampler="sobol"),
                known(lambda u, x: u(x)[2:], np.array([[0.5, 0.5]]), name="pressure"),
            ]
        ),
        domain=square,
        channels=("velocity along y", "velocity along x", "pressure"),
        truth=lambda points: references.lid_driven_cavity(points, reynolds=reynolds, resolution=resolution),
        first_omega=5.0,
        width=64,
        depth=2,
        steps=1000,
        refined=2000,
        direct=(
            by_sines(square, 3, 500, 5.0, graded=ends)
            if reynolds <= SLOW
            else by_small_network(square, 3, 16, 3, 3.0, 150)
        ),
        judged=lambda points: np.hypot(1 - points[:, 0], np.minimum(points[:, 1], 1 - points[:, 1])) > 0.1,
    )


STATIONARY: dict[str, Callable[..., Case]] = {
    "l-shape": l_shape,
    "two-materials": two_materials,
    "plate": plate,
    "cavity": cavity,
    "cavity-400": functools.partial(cavity, reynolds=400.0, resolution=56),
    "cavity-1000": functools.partial(cavity, reynolds=1000.0, resolution=72),
}
"""Stationary cases by the name that `siren-jax solve` takes."""
