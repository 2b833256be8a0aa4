"""Weights of a layer that is periodic in some of its inputs: whole numbers of periods.

sin(omega·(Wx + b)) has the period P in the input x_i, with all its derivatives, if each weight of this input is
2πk/(omega·P) with an integer k.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from siren_jax._types import Initializer
from siren_jax.errors import InputError

Periods = tuple[float | None, ...]
"""Period of each input, None for an input that is not periodic; an empty tuple if no input is periodic."""

# In float32, the weight of one period and its inverse are finite for these periods and for omega·period from LEAST on.
LEAST, MOST = 1e-18, 1e18


def periods_of(periodic: Mapping[int, int | float] | None, inputs: int, omega: float) -> Periods:
    """The periods of all inputs, from those of the periodic ones.

    Raises:
        InputError: there is no such input, or the period is not a positive number within the limits.

    >>> periods_of({1: 2}, 3, omega=30.0)
    (None, 2.0, None)
    """
    periods: list[float | None] = [None] * inputs if periodic else []
    for axis, period in (periodic or {}).items():
        if axis not in range(inputs):
            raise InputError(f"periodic takes coordinates from 0 to {inputs - 1} and their periods, but got {axis}.")
        if not is_period(period, omega):
            raise InputError(
                f"the period of coordinate {axis} is a positive number, from {LEAST:g} to {MOST:g} itself and times "
                f"omega, but is {period} with omega {omega:g}."
            )
        periods[int(axis)] = float(period)
    return tuple(periods)


def is_period(period: Any, omega: int | float) -> bool:
    """Whether this is a period that a layer with this omega may have.

    >>> is_period(2.0, 30.0), is_period(0.0, 30.0), is_period(float("nan"), 30.0)
    (True, False, False)
    """
    return bool(LEAST <= period <= MOST and LEAST <= omega * period <= MOST)


def text(periods: Sequence[float | None]) -> str:
    """The periods in words.

    >>> text((None, 2.0, 0.5))
    'period 2 in coordinate 1 and 0.5 in coordinate 2'
    """
    parts = [f"{period:g} in coordinate {axis}" for axis, period in enumerate(periods) if period is not None]
    return f"period {' and '.join(parts)}"


def check_reach(periods: Periods, omega: float) -> None:
    """Raises an `InputError` if the paper's initial weights of a first layer, U(±1/inputs), have no whole period."""
    for axis, period in enumerate(periods):
        if period is not None and (reach := omega * period / (2 * math.pi * len(periods))) < 1:
            enough = math.ceil(1000 * omega / reach) / 1000
            raise InputError(
                f"first_omega = {omega:g} is too low for the period {period:g} of coordinate {axis}: the initial "
                f"frequencies end at {reach:.3g} periods, and 1 is needed. Give a first_omega of {enough:.12g} or more."
            )


def rounded(kernel: Float[Array, "inputs units"], periods: Periods, omega: float) -> Float[Array, "inputs units"]:
    """The kernel with the nearest whole numbers of periods in the rows of periodic inputs; they have no gradient."""
    one, is_periodic = _of_one_period(periods, omega, kernel.dtype)
    fixed = jax.lax.stop_gradient(kernel)
    return jnp.where(is_periodic, jnp.round(fixed / one) * one, kernel)


def whole(initializer: Initializer, periods: Periods, omega: float) -> Initializer:
    """`initializer`, with the nearest whole numbers of periods in the rows of periodic inputs.

    The largest weight of a row is rounded to at least one period, so that the layer depends on every input. If all
    inputs are periodic, the same holds for the largest weight of a unit, because a unit without a frequency would be a
    constant. Otherwise, such a unit is a function of the inputs that are not periodic, such as the time.
    """

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        kernel = initializer(key, shape, dtype)
        one, is_periodic = _of_one_period(periods, omega, kernel.dtype)
        drawn = kernel / one
        size = jnp.abs(drawn)
        at_least_one = size == size.max(axis=1, keepdims=True)
        if None not in periods:
            at_least_one |= size == size.max(axis=0)
        count = jnp.round(drawn)
        count = jnp.where(at_least_one & (count == 0), jnp.where(drawn < 0, -1.0, 1.0), count)
        return jnp.where(is_periodic, count.astype(kernel.dtype) * one, kernel)

    return init


def _of_one_period(periods: Periods, omega: float, dtype: DTypeLike) -> tuple[Array, np.ndarray]:
    """The weight of one period for each input, 1 for an input that is not periodic, and which inputs are periodic."""
    one = [1.0 if period is None else 2 * math.pi / (omega * period) for period in periods]
    return jnp.asarray(np.array(one)[:, None], dtype), np.array([period is not None for period in periods])[:, None]
