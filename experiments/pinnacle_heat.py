"""PINNacle's problems of heat with closed forms: two scales, five dimensions, and an unknown conductivity."""

import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float

from experiments.pinnacle_record import Benchmark, Recipe, features, path_in
from siren_jax import InputError, jacobian, laplacian, second_derivatives
from siren_jax._types import Field
from siren_jax.equations import Box, Problem, SpaceTime, boundary, dirichlet, equation, initial, known, neumann
from siren_jax.equations.regions import Located, Region
from siren_jax.equations.unknowns import Derivatives, derivatives_at

PI = math.pi
EVEN: dict[str, Any] = {"sampler": "sobol"}


def heat_2d_scales(folder: Path | None) -> Benchmark:
    """u_t = u_xx/(500π)² + u_yy/π², u(0, y, x) = sin 20πx · sin πy, u = 0 on the rim of the square.

    Beyond the rim, where it is odd, the solution has the periods of its start.
    """
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
    recipe = Recipe((0.6, 3.5, 64.0), width=400, method="last-layer", refined=1, periodic={1: 2.0, 2: 0.1})
    return Benchmark("Heat 2d-MS", Problem(terms), square, ("u",), recipe, exact=exact)


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


class OfSquares(nnx.Module):
    """u(t, x) = N(t, x_1², x_2², …): even in each coordinate of space.

    Args:
        network: N.
    """

    last_layer = ("network", "output")

    def __init__(self, network: nnx.Module):
        self.network = network

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... c"]:
        return self.network(jnp.concatenate([x[..., :1], x[..., 1:] ** 2], axis=-1))

    def derivatives(self, x: Float[Array, "d"], weights: tuple[tuple[float, ...], ...]) -> Derivatives:
        """Derivatives by the chain rule, with q = x²: ∂u/∂x = 2x·∂N/∂q and ∂²u/∂x² = 4x²·∂²N/∂q² + 2·∂N/∂q."""
        inner, bend = (2 * x).at[0].set(1), jnp.full_like(x, 2).at[0].set(0)
        rows = tuple(map(tuple, np.eye(len(x)).tolist()))
        value, slope, second = derivatives_at(self.network, jnp.concatenate([x[:1], x[1:] ** 2]), rows)
        second = jnp.stack(second, axis=1) * inner**2 + slope * bend
        return value, slope * inner, [second @ jnp.array(row) for row in weights]


def heat_nd(folder: Path | None) -> Benchmark:
    """u_t = (Δu - |x|²·exp(|x|²/2 + t))/5 in the ball of five dimensions, with u and ∂u/∂n given: exp(|x|²/2 + t).

    The problem is the same with -x_i for x_i, so the network sees the squares.
    """
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
    made = lambda recipe, seed: OfSquares(features(recipe, 1, seed))
    recipe = Recipe((0.5,) * 6, width=1600, method="last-layer", refined=1, made=made, quick={"width": 600})
    return Benchmark("High dim HNd", Problem(terms), ball, ("u",), recipe, exact=exact)


def heat_inverse(folder: Path | None) -> Benchmark:
    """u_t = ∇·(a∇u) + f with unknown u and a(y, x), from 2,500 values of u with noise 0.1 and from a on the rim.

    The closed form is u = exp(-t)·sin πx·sin πy, a = 2 + sin πx·sin πy, and f is made from it. The noise limits how
    well a is found, so the sines are few and slow, and a is constant in time by construction. The fit begins with
    a = 2, its value on the rim.
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
        known(lambda u, x, value: u(x)[:1] - value, at, measured, name="measured"),
        boundary(lambda u, x, _: u(x)[1] - 2 - wave(x), square, points=512, weight=10.0, name="a on the rim", **EVEN),
    ]

    def made(recipe: Recipe, seed: int) -> nnx.Module:
        network = features(recipe, 2, seed)
        assert network.output.bias is not None
        network.output.bias[...] = jnp.array([0.0, 2.0])
        return StillSecond(network)

    recipe = Recipe((1.0, 3.3, 3.3), width=200, method="last-layer", refined=12, made=made)
    return Benchmark("Inverse HInv", Problem(terms), square, ("u", "a"), recipe, exact=exact)


class StillSecond(nnx.Module):
    """u(t, x) = (N_1(t, x), N_2(0, x)): the second unknown does not depend on the time.

    Args:
        network: N, with two channels.
    """

    last_layer = ("network", "output")

    def __init__(self, network: nnx.Module):
        self.network = network

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... 2"]:
        moving, still = self.network(x), self.network(x.at[..., 0].set(0))
        return jnp.stack([moving[..., 0], still[..., 1]], axis=-1)

    def derivatives(self, x: Float[Array, "d"], weights: tuple[tuple[float, ...], ...]) -> Derivatives:
        """Derivatives of the network at the time, and of its second channel in space at the time zero."""
        value, slope, sums = derivatives_at(self.network, x, weights)
        in_space = tuple((0.0, *row[1:]) for row in weights)
        value_0, slope_0, sums_0 = derivatives_at(self.network, x.at[0].set(0), in_space)
        both = lambda moving, still: jnp.concatenate([moving[:1], still[1:]])
        return both(value, value_0), both(slope, slope_0.at[:, 0].set(0)), list(map(both, sums, sums_0))
