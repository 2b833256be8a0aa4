"""The value range of a signal, an interval that becomes [-1, 1], and how much of it the values use."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

BULK = 0.01  # share of the values, at either end, that a usual interval may leave out
USED = 0.001  # share of the values, at either end, that do not count as used: a camera's stuck pixels
COUNTED = 2**20  # rows from which the used range is found
NARROWEST = 1e-6  # half of the narrowest interval, in units of the greatest number: float32 still has 17 steps in it


def normalized(values: Any, value_range: tuple[float, float]) -> Any:
    """Values of an array from their own range to [-1, 1]."""
    low, high = value_range
    return (values - low) * (2 / (high - low)) - 1


def restored(values: Any, value_range: tuple[float, float]) -> Any:
    """Values of an array from [-1, 1] to their own range.

    >>> restored(np.array([-1.0, 0.0, 1.0]), (0.0, 255.0)).tolist()
    [0.0, 127.5, 255.0]
    """
    low, high = value_range
    return (values + 1) * ((high - low) / 2) + low


def value_range_of(signal: Shaped[ndarray, "..."]) -> tuple[float, float]:
    """The value range of an array: the interval that becomes [-1, 1].

    Booleans: 0 to 1. Integers of 8 and 16 bits: all values of the type. Floats: [0, 1] if all but 1 % of the values at
    either end lie in it, [-1, 1] if they are positive and negative; otherwise least to greatest. Wider integers, as
    NumPy makes them from Python's, are treated like floats, with 255 in place of 1. NaN and infinities do not count.

    The bulk of the values decides. Between the cases the ends of the interval move gradually: they are continuous
    functions of every value. Values may lie outside the interval.

    >>> value_range_of(np.zeros((2, 2), np.uint8)), value_range_of(np.array([0.2, 0.3]))
    ((0.0, 255.0), (0.0, 1.0))
    >>> value_range_of(np.append(np.linspace(0, 1, 999), 1.8)), value_range_of(np.array([-3.0, 5.0]))
    ((0.0, 1.0), (-3.0, 5.0))
    """
    if signal.dtype == bool:
        return 0.0, 1.0
    usual = 1.0
    if np.issubdtype(signal.dtype, np.integer):
        limits, usual = np.iinfo(signal.dtype), 255.0
        if limits.bits <= 16:
            return float(limits.min), float(limits.max)
    values = _finite(signal)
    least, greatest = float(values.min()), float(values.max())
    low, high = _all_but(values, BULK)
    # A photograph that was sharpened or filtered goes a little below black; a signed field goes as far as above zero.
    above = max(high, 0.01 * usual)
    signed = float(np.interp(-low, [0.05 * above, 0.25 * above], [0, 1]))
    in_usual = float(np.interp(max(-low, high) / usual, [1.1, 1.25], [1, 0]))
    middle, half = least / 2 + greatest / 2, NARROWEST * max(abs(least), abs(greatest))
    least, greatest = min(least, middle - half), max(greatest, middle + half)
    return (
        (1 - in_usual) * least - in_usual * signed * usual + 0.0,  # no negative zero
        (1 - in_usual) * greatest + in_usual * usual,
    )


def used_range(values: Shaped[ndarray, "n c"]) -> tuple[float, float]:
    """The interval of all but 0.1 % of the values at either end; least to greatest if that is a single number.

    >>> used_range(np.append(np.arange(5000), 65535)[:, None])
    (5.0, 4995.0)
    """
    values = _finite(values)
    low, high = _all_but(values[:: max(1, len(values) // COUNTED)], USED)
    return (low, high) if low < high else (float(values.min()), float(values.max()))


class Lone(NamedTuple):
    """A number at an end of the range, far from all other values."""

    value: float
    times: int
    others: tuple[float, float]
    """The interval of all other values."""


def lone_ends(values: Shaped[ndarray, "..."]) -> list[Lone]:
    """Numbers at either end that may stand for no value: they lie at least half the span of all others beyond these.

    >>> lone_ends(np.array([-9999.0, 412.5, -9999.0, 1893.0, 600.0]))
    [Lone(value=-9999.0, times=2, others=(412.5, 1893.0))]
    """
    values, found = _finite(values), []
    for end in (values.min(), values.max()):
        others = values[values != end]
        if others.size:
            low, high = float(others.min()), float(others.max())
            if low < high and max(low - float(end), float(end) - high) >= (high - low) / 2:
                found.append(Lone(float(end), values.size - others.size, (low, high)))
    return found


def _finite(values: ndarray) -> ndarray:
    finite = np.isfinite(values)
    return values if finite.all() else values[finite]


def _all_but(values: ndarray, share: float) -> tuple[float, float]:
    """The values with this share of all below and above: order statistics, without interpolation."""
    low, high = np.quantile(values, share, method="lower"), np.quantile(values, 1 - share, method="higher")
    return float(low), float(high)
