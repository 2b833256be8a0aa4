"""Problems of PINNacle with time: Burgers, heat and waves. Hao et al. 2023, Appendix B; see `pinnacle_record`."""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from experiments.pinnacle_record import Benchmark, Recipe, path_in
from siren_jax import InputError, jacobian, laplacian, references, second_derivatives
from siren_jax._types import Field
from siren_jax.equations import (
    Box,
    Interval,
    Problem,
    SpaceTime,
    boundary,
    dirichlet,
    equation,
    initial,
    known,
    neumann,
)
from siren_jax.equations.regions import Located, Region

PI = math.pi
EVEN: dict[str, Any] = {"sampler": "sobol"}


def burgers_1d(folder: Path | None) -> Benchmark:
    """u_t + u·u_x = ν·u_xx with ν = 0.01/π, u(0, x) = -sin πx, u(t, ±1) = 0."""
    line = Interval(-1, 1).during(0, 1)

    def residual(u: Field, x: Array) -> Array:
        (slope,), (second,) = jacobian(u)(x), second_derivatives(u)(x)
        return slope[0] + u(x)[0] * slope[1] - 0.01 / PI * second[1]

    terms = [
        equation(residual, line, points=4096, **EVEN),
        initial(lambda x: -jnp.sin(PI * x[1]), line, points=256, weight=100.0, **EVEN),
        dirichlet(0.0, line, points=128, weight=100.0, **EVEN),
    ]
    recipe = Recipe((3.0, 5.0))
    table, truth = path_in(folder, "burgers1d.dat"), lambda points: references.burgers(points)[:, None]
    return Benchmark("Burgers 1d-C", Problem(terms), line, ("u",), recipe, table=table, truth=truth)


def heat_2d_scales(folder: Path | None) -> Benchmark:
    """u_t = u_xx/(500π)² + u_yy/π², u(0, y, x) = sin 20πx · sin πy, u = 0 on the rim of the square."""
    square = Box((0, 0), (1, 1)).during(0, 5)
    along_x, along_y = (500 * PI) ** -2, PI**-2
    decay = along_x * (20 * PI) ** 2 + along_y * PI**2

    def exact(x: Array) -> Array:
        t, y, x = x
        return (jnp.sin(20 * PI * x) * jnp.sin(PI * y) * jnp.exp(-decay * t))[None]

    def residual(u: Field, x: Array) -> Array:
        second = second_derivatives(u)(x)[0]
        return jacobian(u)(x)[0, 0] - along_y * second[1] - along_x * second[2]

    terms = [
        equation(residual, square, points=4096, **EVEN),
        initial(lambda x: exact(x.at[0].set(0)), square, points=1024, weight=100.0, **EVEN),
        dirichlet(0.0, square, points=2048, weight=100.0, **EVEN),
    ]
    quick = {"width": 1600, "batches": 1}
    recipe = Recipe((1.0, 3.5, 64.0), width=3000, method="last-layer", refined=1, batches=2, quick=quick)
    return Benchmark("Heat 2d-MS", Problem(terms), square, ("u",), recipe, exact=exact)


def heat_2d_long(folder: Path | None) -> Benchmark:
    """u_t = 0.001·Δu + 5·sin(u²)·(1 + 2·sin(πt/4))·sin 4πx·sin 2πy until t = 100, from sin 4πx·sin 3πy, rim at zero."""
    square = Box((0, 0), (1, 1)).during(0, 100)

    def residual(u: Field, x: Array) -> Array:
        source = 5 * jnp.sin(u(x)[0] ** 2) * (1 + 2 * jnp.sin(PI / 4 * x[0]))
        source *= jnp.sin(4 * PI * x[2]) * jnp.sin(2 * PI * x[1])
        return jacobian(u)(x)[0, 0] - 0.001 * laplacian(u, weights=(0, 1, 1))(x)[0] - source

    start = lambda x: jnp.sin(4 * PI * x[2]) * jnp.sin(3 * PI * x[1])
    terms = [
        equation(residual, square, points=4096, **EVEN),
        initial(start, square, points=1024, weight=100.0, **EVEN),
        dirichlet(0.0, square, points=1024, weight=100.0, **EVEN),
    ]
    recipe = Recipe((1.0, 9.0, 13.0))
    return Benchmark("Heat 2d-LT", Problem(terms), square, ("u",), recipe, table=path_in(folder, "heat_longtime.dat"))


class UnitBall:
    """Points at most 1 away from the origin, in any number of dimensions: a domain in space.

    A direction is that of normally distributed numbers.

    >>> round(UnitBall(5).interior().measure, 3)
    5.264
    """

    def __init__(self, dimensions: int):
        self.low, self.high = (-1.0,) * dimensions, (1.0,) * dimensions
        self._volume = PI ** (dimensions / 2) / math.gamma(dimensions / 2 + 1)

    def contains(self, x: Array) -> Array:
        return jnp.linalg.norm(x) <= 1 + 1e-6

    def encloses(self, x: Array) -> Array:
        return jnp.linalg.norm(x) < 1 - 1e-6

    def interior(self) -> Region:
        d = len(self.low)

        def place(u: Array) -> Located:
            return Located(u[0] ** (1 / d) * _direction(u[1:]), jnp.zeros(d, u.dtype))

        return Region(1 + d, place, self._volume)

    def boundary(self) -> Region:
        d = len(self.low)

        def place(u: Array) -> Located:
            x = _direction(u)
            return Located(x, x)

        return Region(d, place, d * self._volume)


def _direction(numbers: Array) -> Array:
    normal = jax.scipy.special.ndtri(jnp.clip(numbers, 1e-6, 1 - 1e-6))
    return normal / jnp.linalg.norm(normal)


def heat_nd(folder: Path | None) -> Benchmark:
    """u_t = (Δu - |x|²·exp(|x|²/2 + t))/5 in the ball of five dimensions, with u and ∂u/∂n given: exp(|x|²/2 + t)."""
    ball = SpaceTime(UnitBall(5), 0, 1)
    exact = lambda x: jnp.exp(jnp.sum(x[1:] ** 2) / 2 + x[0])[None]

    def residual(u: Field, x: Array) -> Array:
        diffusion = laplacian(u, weights=(0, 1, 1, 1, 1, 1))(x)[0]
        return jacobian(u)(x)[0, 0] - (diffusion - jnp.sum(x[1:] ** 2) * exact(x)[0]) / 5

    terms = [
        equation(residual, ball, points=4096, **EVEN),
        initial(exact, ball, points=1024, weight=100.0, **EVEN),
        neumann(exact, ball, points=1024, weight=10.0, **EVEN),
    ]
    quick = {"width": 1200, "batches": 1}
    recipe = Recipe((0.5,) * 6, width=3600, method="last-layer", refined=1, batches=2, quick=quick)
    return Benchmark("High dim HNd", Problem(terms), ball, ("u",), recipe, exact=exact)


def wave_1d(folder: Path | None) -> Benchmark:
    """u_tt = 4·u_xx between two ends at rest, from rest: sin πx·cos 2πt + sin 4πx·cos 8πt / 2."""
    line = Interval(0, 1).during(0, 1)

    def exact(x: Array) -> Array:
        t, x = x
        return (jnp.sin(PI * x) * jnp.cos(2 * PI * t) + jnp.sin(4 * PI * x) * jnp.cos(8 * PI * t) / 2)[None]

    terms = [
        equation(lambda u, x: laplacian(u, weights=(1, -4))(x) / 100, line, points=4096, **EVEN),
        initial(exact, line, points=256, weight=100.0, **EVEN),
        initial(None, line, velocity=0.0, points=256, **EVEN),
        dirichlet(0.0, line, points=256, weight=100.0, **EVEN),
    ]
    recipe = Recipe((30.0, 15.0), width=600, method="last-layer", refined=2)
    return Benchmark("Wave 1d-C", Problem(terms), line, ("u",), recipe, exact=exact)


def heat_inverse(folder: Path | None) -> Benchmark:
    """u_t = ∇·(a∇u) + f with unknown u and a(y, x), from 2,500 values of u with noise 0.1 and from a on the rim.

    The closed form is u = exp(-t)·sin πx·sin πy, a = 2 + sin πx·sin πy, and f is made from it.
    """
    square = Box((-1, -1), (1, 1)).during(0, 1)
    path = path_in(folder, "heatinv_points.dat")
    try:
        places = np.loadtxt(path, ndmin=2)
    except ValueError as error:
        raise InputError(f"{path} is not a table of numbers: {error}.") from None
    if places.shape[1] != 3:
        raise InputError(f"{path} needs three numbers in a row, x, y and t, but has {places.shape[1]}.")
    wave = lambda x: jnp.sin(PI * x[2]) * jnp.sin(PI * x[1])
    exact = lambda x: jnp.stack([jnp.exp(-x[0]) * wave(x), 2 + wave(x)])

    def residual(u: Field, x: Array) -> Array:
        slope, bend = jacobian(u)(x), laplacian(u, weights=(0, 1, 1))(x)[0]
        flow = jnp.sum(slope[0, 1:] * slope[1, 1:]) + u(x)[1] * bend
        s, c = jnp.sin(PI * x[1:]) ** 2, jnp.cos(PI * x[1:]) ** 2
        bumps = 2 * s[0] * s[1] - c[1] * s[0] - s[1] * c[0]
        return slope[0, 0] - flow - jnp.exp(-x[0]) * ((4 * PI**2 - 1) * wave(x) + PI**2 * bumps)

    at = places[:, ::-1]
    measured = np.exp(-at[:, 0]) * np.sin(PI * at[:, 1]) * np.sin(PI * at[:, 2])
    measured = measured[:, None] + np.random.default_rng(0).normal(0, 0.1, (len(at), 1))
    terms = [
        equation(residual, square, points=4096, **EVEN),
        equation(lambda u, x: jacobian(u)(x)[1, 0], square, points=1024, weight=10.0, name="no change of a", **EVEN),
        known(lambda u, x, value: u(x)[:1] - value, at, measured, name="measured", weight=100.0),
        boundary(lambda u, x, _: u(x)[1] - 2 - wave(x), square, points=512, weight=100.0, name="a on the rim", **EVEN),
    ]
    recipe = Recipe((1.0, 3.0, 3.0))
    return Benchmark("Inverse HInv", Problem(terms), square, ("u", "a"), recipe, exact=exact)
