"""Initializers of sine networks, in the form of `jax.nn.initializers`: `(key, shape, dtype) -> Array`.

A kernel has the shape `(fan_in, fan_out)`. Sitzmann et al. 2020, Section 3.2 and supplement 1, with the bias range of
the authors' code: biases are drawn from PyTorch's default range, U(±1/√fan_in), and multiplied by omega like the
weights. Zero biases would make the network an odd function.
"""

import math

import jax
import jax.numpy as jnp
from jax import Array
from jax.nn import initializers
from jax.typing import DTypeLike

from siren_jax._types import Initializer

ones = initializers.ones
xavier_normal = initializers.variance_scaling(1.0, "fan_avg", "normal")
"""N(0, 2/(fan_in + fan_out)), not truncated."""


def symmetric_uniform(bound: float) -> Initializer:
    """An initializer that draws from U(-bound, bound).

    >>> bool(jnp.all(jnp.abs(symmetric_uniform(0.5)(jax.random.key(0), (100,), jnp.float32)) <= 0.5))
    True
    """

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def siren_first() -> Initializer:
    """The first layer's weights, W ~ U(±1/fan_in): units have up to omega/(π·fan_in) initial periods per coordinate."""

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        return symmetric_uniform(1 / shape[0])(key, shape, dtype)

    return init


def siren_hidden(omega: float) -> Initializer:
    """The weights of every later layer, W ~ U(±√(6/fan_in)/omega): omega·Wx has variance 1 for arcsine inputs x."""

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        return symmetric_uniform(math.sqrt(6 / shape[0]) / omega)(key, shape, dtype)

    return init


def siren_bias(fan_in: int) -> Initializer:
    """The biases of a layer with `fan_in` inputs, b ~ U(±1/√fan_in), which is also PyTorch's default."""
    return symmetric_uniform(1 / math.sqrt(fan_in))


def pytorch_default() -> Initializer:
    """PyTorch's `nn.Linear` weights: Kaiming uniform with a = √5, which is W ~ U(±1/√fan_in)."""
    return initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def identity() -> Initializer:
    """Ones on the main diagonal and zeros elsewhere, also for rectangular kernels."""

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        del key
        return jnp.eye(*shape, dtype=dtype)

    return init


def scaled(initializer: Initializer, factor: float) -> Initializer:
    """`initializer` with every weight multiplied by `factor`.

    >>> scaled(ones, 2.5)(jax.random.key(0), (1, 2), jnp.float32)
    Array([[2.5, 2.5]], dtype=float32)
    """

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        return factor * initializer(key, shape, dtype)

    return init
