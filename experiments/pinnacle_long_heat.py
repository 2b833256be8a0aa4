"""PINNacle's heat with a source over a long time: its symmetries, slabs of time, and a spectral reference."""

import functools
import math
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float, Float64
from numpy import ndarray

from experiments.pinnacle_record import Benchmark, Recipe, path_in
from siren_jax import jacobian, laplacian
from siren_jax._types import Field
from siren_jax.equations import Box, Problem, equation, initial
from siren_jax.equations.unknowns import Derivatives

PI = math.pi
SAVED = 0.2  # time between two tables of the reference, which is that of PINNacle's


def heat_2d_long(folder: Path | None) -> Benchmark:
    """u_t = 0.001·Δu + 5·sin(u²)·(1 + 2·sin(πt/4))·sin 4πx·sin 2πy until t = 100, from sin 4πx·sin 3πy, rim at zero.

    The start and the source are odd in x and y and even about x = 1/8, and so is the solution. A network of products
    of sines with these symmetries has a rim of zero, and needs an eighth of the square. The source has the period 8.
    Slabs are shortest where u grows from small values: there, Newton's method finds the solution from near alone.
    """
    square = Box((0, 0), (1, 1)).during(0, 100)
    part = Box((0, 0), (1, 1 / 8)).during(0, 100)

    def residual(u: Field, x: Array) -> Array:
        source = 5 * jnp.sin(u(x)[0] ** 2) * (1 + 2 * jnp.sin(PI / 4 * x[0]))
        source *= jnp.sin(4 * PI * x[2]) * jnp.sin(2 * PI * x[1])
        return jacobian(u)(x)[0, 0] - 0.001 * laplacian(u, weights=(0, 1, 1))(x)[0] - source

    terms = [
        equation(residual, part, points=640, sampler="sobol"),
        initial(_start, part, points=320, weight=50.0, sampler="sobol"),
    ]
    recipe = Recipe(
        (1.0,), width=300, method="last-layer", slabs=_slabs(), refined=3, made=_products, quick={"width": 60}
    )
    table = path_in(folder, "heat_longtime.dat")
    return Benchmark("Heat 2d-LT", Problem(terms), square, ("u",), recipe, table=table, truth=long_heat)


class ProductsOfSines(nnx.Module):
    """u(x) = Σ_j a_j·Π_i sin(w_ij·x_i + b_ij), where the a_j are learned.

    It is the sum of 2^(d - 1) SIRENs of one sine layer, with equal weights except for signs.

    >>> u = ProductsOfSines([[PI], [PI]], [[0.0], [PI / 2]])
    >>> u.output.kernel[...] = jnp.ones((1, 1))
    >>> u(jnp.array([0.5, 1.0])).tolist()
    [-1.0]
    """

    last_layer = ("output",)

    def __init__(self, frequencies: Float[ndarray, "d n"] | list, phases: Float[ndarray, "d n"] | list):
        self.frequencies = nnx.Param(jnp.asarray(frequencies, jnp.float32))
        self.phases = nnx.Param(jnp.asarray(phases, jnp.float32))
        zeros, n = nnx.initializers.zeros_init(), self.phases[...].shape[1]
        self.output = nnx.Linear(n, 1, use_bias=False, kernel_init=zeros, rngs=nnx.Rngs(0))

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... 1"]:
        return jnp.prod(jnp.sin(self._angles(x)), axis=-2) @ self.output.kernel[...]

    def derivatives(self, x: Float[Array, "d"], weights: tuple[tuple[float, ...], ...]) -> Derivatives:
        """Derivatives in closed form."""
        w, angles, a = self.frequencies[...], self._angles(x), self.output.kernel[...][:, 0]
        sines, slopes = jnp.sin(angles), w * jnp.cos(angles)
        product = jnp.prod(sines, axis=0) * a
        slope = jnp.stack([jnp.prod(sines.at[i].set(slopes[i]), axis=0) @ a for i in range(len(x))])
        sums = [-jnp.sum(jnp.array(row) @ w**2 * product)[None] for row in weights]
        return jnp.sum(product)[None], slope[None], sums

    def _angles(self, x: Float[Array, "... d"]) -> Float[Array, "... d n"]:
        return self.frequencies[...] * x[..., None] + self.phases[...]


def _products(recipe: Recipe, seed: int) -> ProductsOfSines:
    """Three sines in the time of a slab for each of the lowest products in space, sin kπy·sin 4jπx with odd j.

    The source prefers k = 2, 6, 10, …, so these k count as half as high.
    """
    size = lambda k, j: math.hypot(k / 4 / (2 if k % 4 == 2 else 1), j)
    modes = sorted(((k, j) for k in range(1, 100) for j in range(1, 30, 2)), key=lambda mode: size(*mode))
    k, j = np.repeat(modes[: max(1, recipe.width // 3)], 3, axis=0).T
    w = np.tile([0, 1, 1], len(k) // 3) * recipe.frequencies[0]
    still = np.zeros_like(w)
    return ProductsOfSines(
        np.stack([w, PI * k, 4 * PI * j]), np.stack([np.tile([PI / 2, 0, PI / 2], len(k) // 3) - w / 2, still, still])
    )


def _slabs() -> list[float]:
    """Times of the ends of the slabs, with the period of the source."""
    period = np.concatenate([np.arange(0.4, 1.55, 0.1), np.arange(1.6, 5.9, 0.2), np.arange(6, 8.3, 0.4)])
    first = np.concatenate([np.arange(0, 5.9, 0.2), np.arange(6, 8.3, 0.4)])
    times = np.concatenate([first, *(8 * n + period for n in range(1, 13))])
    return [*times[times < 99.9].round(6).tolist(), 100.0]


def _start(x: Array) -> Array:
    return jnp.sin(4 * PI * x[2]) * jnp.sin(3 * PI * x[1])


def long_heat(points: Float[ndarray, "n 3"]) -> Float64[ndarray, "n 1"]:
    """The solution at points `(t, y, x)`, where t is a multiple of 0.2.

    The method is a series of sines, with Runge-Kutta steps of fourth order and exact diffusion.
    """
    from scipy.interpolate import RectBivariateSpline

    found, slab = np.zeros((len(points), 1)), np.round(points[:, 0] / SAVED).astype(int)
    known = tables()
    y, x = (np.linspace(0, stop, n) for stop, n in zip((1, 1 / 4), known.shape[1:], strict=True))
    sign = np.where(points[:, 2] % 0.5 > 0.25, -1, 1)  # odd about x = 1/4, with the period 1/2
    folded = 0.25 - np.abs(0.25 - points[:, 2] % 0.5)
    for n in np.unique(slab):
        at = slab == n
        found[at, 0] = sign[at] * RectBivariateSpline(y, x, known[n], kx=5, ky=5).ev(points[at, 1], folded[at])
    return found


@functools.cache
def tables(*, grid: tuple[int, int] = (192, 48), steps: int = 10, stop: int = 100) -> Float64[ndarray, "times y x"]:
    """Tables of the solution on a grid in 0 ≤ y ≤ 1, 0 ≤ x ≤ 1/4, with steps between two of them."""
    from scipy.fft import dstn

    (rows, columns), step = grid, SAVED / steps
    y, x = np.arange(1, rows)[:, None] / rows, np.arange(1, columns) / columns / 4
    decay = 0.001 * ((PI * np.arange(1, rows)[:, None]) ** 2 + (4 * PI * np.arange(1, columns)) ** 2)
    half, shape = np.exp(-decay * step / 2), 5 * np.sin(4 * PI * x) * np.sin(2 * PI * y)

    def sines(values: ndarray) -> ndarray:
        """Coefficients from values at the points, and values from coefficients: its own inverse."""
        return np.asarray(dstn(values, 1)) / (2 * np.sqrt(rows * columns))

    def source(t: float, w: ndarray) -> ndarray:
        return sines(shape * np.sin(sines(w) ** 2) * (1 + 2 * np.sin(PI / 4 * t)))

    found = np.zeros((round(stop / SAVED) + 1, rows + 1, columns + 1))
    found[0, 1:-1, 1:-1] = np.sin(4 * PI * x) * np.sin(3 * PI * y)
    w = sines(found[0, 1:-1, 1:-1])
    for n in range(1, (len(found) - 1) * steps + 1):
        t = (n - 1) * step
        a = source(t, w)
        b = source(t + step / 2, half * (w + step / 2 * a))
        c = source(t + step / 2, half * w + step / 2 * b)
        d = source(t + step, half * (half * w + step * c))
        w = half * (half * (w + step / 6 * a) + step / 3 * (b + c)) + step / 6 * d
        if n % steps == 0:
            found[n // steps, 1:-1, 1:-1] = sines(w)
    return found
