"""The codes of signals under a latent network, by Gauss-Newton: the maximum of their posterior density.

A signal's samples y at points x are Φ(x; z) with Gaussian noise, and codes have the prior N(0, I). The code minimises

    F(z) = Σ_i w_i |y_i - Φ(x_i; z)|² + s·|z - a|²,

where s is the variance of the noise, w_i is 1 for known samples, and a is 0. Each step solves
(JᵀWJ + sI + μI)δ = JᵀWr - s(z - a) with J = ∂Φ/∂z and r = y - Φ. Levenberg's damping μ follows the ratio of the actual
to the predicted decrease.

For a from the prior and y with additional noise, minima of F are about samples from the posterior density: Bardsley et
al. 2014, "Randomize-then-optimize", for linear Φ exactly.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Shaped
from numpy import ndarray

from siren_jax.networks.latent import LatentSIREN
from siren_jax.networks.layers import FULL_PRECISION

STEPS = 5
TILE = 1024  # points of a signal whose Jacobian is in memory at once
AT_ONCE = 8  # signals whose steps are computed together: their layers stay in a core's cache
CHUNK = 64  # signals in one call; each number of them is compiled
VALUES = 2**24  # values in one call, if it has more than one signal: 64 MiB
DAMPING = 0.1  # initial μ, relative to the mean of the diagonal of JᵀWJ
LINEAR_POINTS = 1024  # points with which the initial code is computed
LINEAR_CODES = 8  # codes for each of their numbers, with which Φ is linearised


class Codes(NamedTuple):
    """Codes of signals."""

    code: Float[ndarray, "n k"]
    error: Float[ndarray, "n"]
    """Mean squared error over the known samples, and channels, of a signal."""


class Linear(NamedTuple):
    """Φ(x; z) ≈ mean + slope·z at some points, for codes from the prior."""

    mean: Float[Array, "n c"]
    slope: Float[Array, "n c k"]
    variance: Float[Array, ""]
    """Mean squared error of the approximation."""


def encode(
    network: LatentSIREN,
    points: Float[ndarray, "n d"],
    values: Float[ndarray, "b n c"],
    known: Shaped[ndarray, "b n"] | None = None,
    *,
    noise: float,
    steps: int = STEPS,
    start: Float[ndarray, "b k"] | None = None,
    centre: Float[ndarray, "b k"] | None = None,
) -> Codes:
    """Codes of signals with samples at common points.

    Args:
        network: its codes have the prior N(0, I).
        points: where the samples are.
        values: samples in [-1, 1].
        known: 1 or true for known samples, and 0 or false for others; by default all are known.
        noise: s, the variance of the noise.
        steps: number of steps. A step that increases F is not taken.
        start: initial codes; by default those of the linearised network, see `linearised`.
        centre: a; by default 0.
    """
    known = np.ones(values.shape[:2], np.float32) if known is None else known.astype(np.float32)
    centre = np.zeros((len(values), network.latent), np.float32) if centre is None else centre
    some = np.sort(np.random.default_rng(0).permutation(len(points))[:LINEAR_POINTS])
    linear = linearised(network, points[some], jax.random.key(0)) if start is None else None
    # Padding with unknown samples to 1,024 · 2^i points bounds the number of programs.
    tiles = 2 ** math.ceil(math.log2(math.ceil(len(points) / TILE)))
    size = len(points) if tiles == 1 else tiles * TILE
    pad = lambda x, axis: np.pad(x, [(0, size - len(points)) if a == axis else (0, 0) for a in range(x.ndim)])
    count = len(values) if len(values) <= AT_ONCE else math.ceil(len(values) / AT_ONCE) * AT_ONCE
    count = min(count, CHUNK, max(1, VALUES // (size * values.shape[2])))
    found = []
    for first in range(0, len(values), count):
        rows = np.minimum(np.arange(first, first + count), len(values) - 1)
        y, w, a = values[rows], known[rows], centre[rows]
        begin = start[rows] if start is not None else _start(linear, y[:, some], w[:, some], a)
        batch = {"x": pad(points, 0), "y": pad(y, 1), "w": pad(w, 1), "centre": a}
        found.append(jax.device_get(_descent(network, jnp.asarray(begin), batch, jnp.float32(noise), steps)))
    code, error = (np.concatenate(parts)[: len(values)] for parts in zip(*found, strict=True))
    return Codes(code, error)


@jax.jit
def linearised(network: LatentSIREN, points: Float[Array, "n d"], key: Array) -> Linear:
    """The linear map that is closest to Φ at points on average over codes from the prior: statistical linearisation.

    It is closer than the derivative at the code 0 for codes that are far from it, as most are.
    """
    codes = jax.random.normal(key, (LINEAR_CODES * network.latent, network.latent))
    values = jax.lax.map(lambda code: network.value(points, code), codes, batch_size=AT_ONCE)
    flat = values.reshape(len(codes), -1)
    with_one = jnp.concatenate([codes, jnp.ones((len(codes), 1))], axis=1)
    normal, right = _matmul(with_one.T, with_one), _matmul(with_one.T, flat)
    solution = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(normal), right)
    variance = jnp.mean((flat - _matmul(with_one, solution)) ** 2)
    mean, slope = solution[-1], solution[:-1]
    return Linear(mean.reshape(values.shape[1:]), slope.T.reshape(*values.shape[1:], -1), variance)


@jax.jit
def _start(linear: Linear, values: Array, known: Array, centre: Array) -> Array:
    """The minimum of F for the linearised network, for each row of values."""
    slope = linear.slope.reshape(-1, linear.slope.shape[-1])

    def of_one(y: Array, w: Array, a: Array) -> Array:
        residual = (y - linear.mean).ravel() - _matmul(slope, a)
        weighted = slope * jnp.repeat(w, y.shape[1])[:, None]
        normal = _matmul(weighted.T, slope) + linear.variance * jnp.eye(slope.shape[1])
        return a + jnp.linalg.solve(normal, _matmul(weighted.T, residual))

    return jax.lax.map(lambda row: of_one(*row), (values, known, centre), batch_size=AT_ONCE)


class _Normal(NamedTuple):
    """The normal equations at a code, with the prior."""

    matrix: Array
    right: Array
    cost: Array
    """F at the code."""
    squares: Array
    """Sum of the squared errors."""


@partial(jax.jit, static_argnames="steps")
def _descent(
    network: LatentSIREN, start: Array, batch: Mapping[str, Array], noise: Array, steps: int
) -> tuple[Array, Array]:
    """Codes after some steps from initial codes, and their mean squared errors."""

    def of_one(code: Array, y: Array, w: Array, a: Array) -> tuple[Array, Array]:
        normal = lambda code: _normal(network, code, {"x": batch["x"], "y": y, "w": w}, a, noise)

        def step(_: Any, state: tuple[Array, _Normal, Array]) -> tuple[Array, _Normal, Array]:
            code, at, damping = state
            scale = damping * jnp.trace(at.matrix) / len(code)
            change = jnp.linalg.solve(at.matrix + scale * jnp.eye(len(code)), at.right)
            predicted = jnp.dot(change, 2 * at.right - _matmul(at.matrix, change))
            there = normal(code + change)
            better = there.cost < at.cost
            ratio = (at.cost - there.cost) / predicted
            damping = damping * jnp.where(better, jnp.where(ratio > 0.5, 0.1, 0.5), 8.0)
            chosen = jax.tree.map(partial(jnp.where, better), (code + change, there), (code, at))
            return *chosen, damping

        code, at, _ = jax.lax.fori_loop(0, steps, step, (code, normal(code), jnp.float32(DAMPING)))
        return code, at.squares / (jnp.maximum(jnp.sum(w), 1) * y.shape[1])

    rows = start, batch["y"], batch["w"], batch["centre"]
    return jax.lax.map(lambda row: of_one(*row), rows, batch_size=AT_ONCE)


def _normal(network: LatentSIREN, code: Array, batch: Mapping[str, Array], centre: Array, noise: Array) -> _Normal:
    """The sums over all points, tile by tile."""
    size = min(TILE, len(batch["x"]))
    tiles = jax.tree.map(lambda leaf: leaf.reshape(-1, size, *leaf.shape[1:]), dict(batch))

    def add(total: Any, tile: Mapping[str, Array]) -> tuple[Any, None]:
        value, jacobian = network.value_and_jacobian(tile["x"], code)
        weight = jnp.repeat(tile["w"], value.shape[1])
        residual = (tile["y"] - value).ravel()
        slope = jacobian.reshape(-1, len(code))
        weighted = slope * weight[:, None]
        parts = _matmul(weighted.T, slope), _matmul(weighted.T, residual), jnp.sum(weight * residual**2)
        return jax.tree.map(jnp.add, total, parts), None

    k = len(code)
    zero = jnp.zeros((k, k)), jnp.zeros(k), jnp.zeros(())
    (matrix, right, squares), _ = jax.lax.scan(add, zero, tiles)
    away = code - centre
    return _Normal(matrix + noise * jnp.eye(k), right - noise * away, squares + noise * jnp.sum(away**2), squares)


def _matmul(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=FULL_PRECISION)
