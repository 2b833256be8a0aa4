"""Stationary problems of PINNacle with one unknown, and one with a coefficient. Hao et al. 2023, Appendix B."""

import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.pinnacle_record import Benchmark, Recipe, path_in
from siren_jax import jacobian, laplacian
from siren_jax._types import Field
from siren_jax.equations import Box, Difference, Disk, Domain, Problem, boundary, dirichlet, equation, known

PI = math.pi
EVEN: dict[str, Any] = {"sampler": "sobol"}
NEAR = 1e-4  # a point this near to a side of the square is on it: points are rounded to float32


def poisson_2d(folder: Path | None) -> Benchmark:
    """Δu = 0 in a square with four round holes, u = 1 on its rim and 0 on the holes."""
    plate: Domain = Box((-0.5, -0.5), (0.5, 0.5))
    for y in (-0.3, 0.3):
        for x in (-0.3, 0.3):
            plate = Difference(plate, Disk((y, x), 0.1))
    graded: dict[int, Any] = {axis: [(-0.3, 0.1), (0.3, 0.1)] for axis in (0, 1)}
    on_rim = lambda x: jnp.max(jnp.abs(x)) > 0.5 - NEAR
    terms = [
        equation(lambda u, x: laplacian(u)(x), plate, points=4096, weight=1e-3, graded=graded, **EVEN),
        dirichlet(1.0, plate, where=on_rim, points=1024, weight=100.0, name="rim"),
        dirichlet(0.0, plate, where=lambda x: ~on_rim(x), points=1024, weight=100.0, name="holes"),
    ]
    quick = {"width": 1000, "frequencies": (5.0, 5.0), "batches": 1}
    recipe = Recipe((7.0, 7.0), graded=graded, width=2000, method="last-layer", refined=1, batches=2, quick=quick)
    table = path_in(folder, "poisson1_cg_data.dat")
    return Benchmark("Poisson 2d-C", Problem(terms), plate, ("u",), recipe, table=table)


def poisson_2d_holes(folder: Path | None) -> Benchmark:
    """-Δu + 64u = f in a square with four round holes, u = 0.2 on its rim and 1 on the holes.

    f = 10·(17 + x² + y²)·sin πx·sin 4πy.
    """
    plate: Domain = Box((-1, -1), (1, 1))
    for x, y, radius in ((0.5, 0.5, 0.2), (0.4, -0.4, 0.4), (-0.2, -0.7, 0.1), (-0.6, 0.5, 0.3)):
        plate = Difference(plate, Disk((y, x), radius))
    on_rim = lambda x: jnp.max(jnp.abs(x)) > 1 - NEAR

    def residual(u: Field, x: Array) -> Array:
        source = 10 * (17 + jnp.sum(x**2)) * jnp.sin(PI * x[1]) * jnp.sin(4 * PI * x[0])
        return -laplacian(u)(x) + 64 * u(x) - source

    graded: dict[int, Any] = {
        0: [(-0.7, 0.1), (0.5, 0.25), (-0.4, 0.4)],
        1: [(-0.2, 0.1), (0.5, 0.25), (-0.6, 0.3)],
    }
    terms = [
        equation(residual, plate, points=4096, weight=1e-5, graded=graded, **EVEN),
        dirichlet(0.2, plate, where=on_rim, points=1024, weight=100.0, name="rim"),
        dirichlet(1.0, plate, where=lambda x: ~on_rim(x), points=1024, weight=100.0, name="holes"),
    ]
    quick = {"width": 1200, "frequencies": (3.5, 3.5), "batches": 1}
    recipe = Recipe((5.0, 5.0), graded=graded, width=2500, method="last-layer", refined=1, batches=2, quick=quick)
    table = path_in(folder, "poisson_boltzmann2d.dat")
    return Benchmark("Poisson 2d-CG", Problem(terms), plate, ("u",), recipe, table=table)


def poisson_nd(folder: Path | None) -> Benchmark:
    """Δu = -(π/2)²·Σ sin(πx_i/2) in the cube of five dimensions, with the solution Σ sin(πx_i/2) on its rim."""
    cube = Box((0,) * 5, (1,) * 5)
    exact = lambda x: jnp.sum(jnp.sin(PI / 2 * x))[None]
    terms = [
        equation(lambda u, x: laplacian(u)(x) + (PI / 2) ** 2 * exact(x), cube, points=4096, **EVEN),
        dirichlet(exact, cube, points=2048, weight=100.0, **EVEN),
    ]
    recipe = Recipe((2.0,) * 5, width=1600, method="last-layer", refined=1, quick={"width": 600})
    return Benchmark("High dim PNd", Problem(terms), cube, ("u",), recipe, exact=exact)


def poisson_inverse(folder: Path | None) -> Benchmark:
    """-∇·(a∇u) = f with unknown u and a, from 2,500 values of u with noise 0.1 and from a on the rim.

    The closed form is u = sin πx·sin πy, a = 1/(1 + x² + y² + (x - 1)² + (y - 1)²), and f = -∇·(a∇u) is made from it.
    PINNacle's f has 2x + 1 and 2y + 1 where ∇a gives 2x - 1 and 2y - 1, so its closed form solves only this equation.
    """
    square = Box((0, 0), (1, 1))
    share = lambda x: 1 / (1 + jnp.sum(x**2) + jnp.sum((x - 1) ** 2))
    exact = lambda x: jnp.stack([jnp.prod(jnp.sin(PI * x)), share(x)])

    def residual(u: Field, x: Array) -> Array:
        slope, a = jacobian(u)(x), share(x)
        flow = jnp.sum(slope[0] * slope[1]) + u(x)[1] * laplacian(u)(x)[0]
        s, c = jnp.sin(PI * x), jnp.cos(PI * x)
        across = (2 * x[1] - 1) * c[1] * s[0] + (2 * x[0] - 1) * s[1] * c[0]
        return flow + 2 * PI**2 * s[0] * s[1] * a + 2 * PI * across * a**2

    axis = np.linspace(0, 1, 50)
    at = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    measured = np.sin(PI * at).prod(axis=1, keepdims=True) + np.random.default_rng(0).normal(0, 0.1, (len(at), 1))
    terms = [
        equation(residual, square, points=2048, weight=100.0, **EVEN),
        known(lambda u, x, value: u(x)[:1] - value, at, measured, name="measured"),
        boundary(lambda u, x, _: u(x)[1] - share(x), square, points=256, weight=1000.0, name="a on the rim", **EVEN),
    ]
    recipe = Recipe((4.0, 4.0), width=50, method="last-layer", refined=30)
    return Benchmark("Inverse PInv", Problem(terms), square, ("u", "a"), recipe, exact=exact)
