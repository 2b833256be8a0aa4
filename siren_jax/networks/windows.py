"""Windows on the units of a first layer: factors that vanish away from a place, or within an interval.

Units with a window add detail where it is needed, such as near a source, and none elsewhere; the other units represent
the smooth rest. Each window has its own units, a block of them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from siren_jax.errors import InputError

LEAST, MOST = 1e-9, 1e9  # widths and units of length; places are at most MOST from zero
HIGHEST = 8  # power of a window
MOST_BLOCKS = 256


class Factor(NamedTuple):
    """A window at points, with its derivatives by the coordinates on which it depends."""

    value: Float[Array, "..."]
    slopes: Mapping[int, Float[Array, "..."]]
    bends: Mapping[int, Float[Array, "..."]]


@dataclass(frozen=True)
class Gaussian:
    """The window exp(-½ Σ_i ((x_i - place_i)/width_i)²).

    Args:
        place: its centre.
        width: its standard deviation, or that along each coordinate.

    Raises:
        InputError: these are not numbers within the limits, or the place has another number of them than the width.

    >>> Gaussian((0.0, 1.0), 0.5).at(jnp.array([0.0, 0.0])).value.item()
    0.1353352814912796
    """

    place: Any  # numbers are checked and become floats when a window is made
    width: Any

    def __post_init__(self):
        place = _floats(self.place)
        width = _floats(self.width) or (_float(self.width),) * len(place)
        if not place or len(place) != len(width) or not all(map(_is_place, place)) or not all(map(_is_width, width)):
            raise InputError(
                f"Gaussian takes a place of numbers from {-MOST:g} to {MOST:g} and a width, or one for each of them, "
                f"from {LEAST:g} to {MOST:g}, but got place={self.place!r:.100} and width={self.width!r:.100}."
            )
        object.__setattr__(self, "place", place)  # tuples of floats have a hash, and are equal to those of a file
        object.__setattr__(self, "width", width)

    def at(self, x: Float[Array, "... d"]) -> Factor:
        """The window at points."""
        widths: tuple[float, ...] = self.width
        steps = [(x[..., i] - c) / w for i, (c, w) in enumerate(zip(self.place, widths, strict=True))]
        value = jnp.exp(-0.5 * sum(step * step for step in steps))
        slopes = {i: -step / w * value for i, (step, w) in enumerate(zip(steps, widths, strict=True))}
        # In this order, because s²/w² may overflow far from the place, where the value is zero.
        bends = {i: (s * s - 1) * value / w**2 for i, (s, w) in enumerate(zip(steps, widths, strict=True))}
        return Factor(value, slopes, bends)

    def stretched(self, scale: Sequence[float], shift: Sequence[float]) -> "Gaussian":
        """The window of scale·x + shift as a function of x."""
        place = tuple((c - b) / a for c, a, b in zip(self.place, scale, shift, strict=True))
        return Gaussian(place, tuple(w / abs(a) for w, a in zip(self.width, scale, strict=True)))


@dataclass(frozen=True)
class Beyond:
    """The window (s/unit)^power: s is the distance of the coordinate from the interval [low, high], zero in it.

    Its derivative of the order `power` jumps at the ends of the interval. A solution has such a jump where a
    coefficient of its equation, or a derivative of one, jumps: power 1 gives it a kink, power 3 a jump of the third
    derivative.

    Args:
        axis: the coordinate.
        low: lower end of the interval; -inf if it has none.
        high: upper end; inf if it has none.
        power: a whole number.
        unit: distance at which the window is 1.

    Raises:
        InputError: the interval is empty or has no end, or a number is not within its limits.

    >>> Beyond(0, low=-0.5, high=0.5, power=2).at(jnp.array([1.0])).value.item()
    0.25
    """

    axis: Any
    low: Any = -math.inf
    high: Any = math.inf
    power: Any = 3
    unit: Any = 1.0

    def __post_init__(self):
        low, high, unit = _float(self.low), _float(self.high), _float(self.unit)
        ends = [end for end in (low, high) if not math.isinf(end)]
        whole = _is_whole(self.axis) and self.axis >= 0 and _is_whole(self.power) and 1 <= self.power <= HIGHEST
        if not (whole and low < high and ends and all(map(_is_place, ends)) and _is_width(unit)):
            raise InputError(
                f"Beyond takes a coordinate, low below high with one or both of them from {-MOST:g} to {MOST:g} and "
                f"the other infinite, a power from 1 to {HIGHEST} and a unit from {LEAST:g} to {MOST:g}, but got "
                f"axis={self.axis!r:.40}, low={self.low!r:.40}, high={self.high!r:.40}, power={self.power!r:.40} and "
                f"unit={self.unit!r:.40}."
            )
        sound = {"axis": int(self.axis), "low": low, "high": high, "power": int(self.power), "unit": unit}
        for name, number in sound.items():
            object.__setattr__(self, name, number)

    def at(self, x: Float[Array, "... d"]) -> Factor:
        """The window at points."""
        along, p = x[..., self.axis], self.power
        below, above = along < self.low, along > self.high
        side = jnp.where(above, 1.0, -1.0).astype(x.dtype) / self.unit
        step = jnp.where(above, along - self.high, jnp.where(below, along - self.low, 0)) * side

        def power(exponent: int) -> Array:
            """(s/unit)^exponent beyond the interval."""
            return step**exponent if exponent else (above | below).astype(x.dtype)

        second = p * (p - 1) * side * side * power(p - 2) if p > 1 else jnp.zeros_like(step)
        return Factor(power(p), {self.axis: p * side * power(p - 1)}, {self.axis: second})

    def stretched(self, scale: Sequence[float], shift: Sequence[float]) -> "Beyond":
        """The window of scale·x + shift as a function of x."""
        a, b = scale[self.axis], shift[self.axis]
        low, high = sorted(((self.low - b) / a, (self.high - b) / a))
        return Beyond(self.axis, low, high, self.power, self.unit / abs(a))


Window = Gaussian | Beyond
Windows = tuple[tuple[int, Window | None], ...]
"""Number of units and their window, or None, for each block of the first layer; empty if no unit has a window."""


def windows_of(windows: Iterable[Any] | None, inputs: int, units: int) -> Windows:
    """The blocks of a layer, checked; none if no unit has a window.

    Raises:
        InputError: the blocks have another number of units than the layer; a window has another number of coordinates.
    """
    blocks = tuple(windows or ())
    pairs = [block for block in blocks if isinstance(block, tuple | list) and len(block) == 2 and _is_whole(block[0])]
    counts = [int(count) for count, _ in pairs]
    if blocks and not (len(pairs) == len(blocks) <= MOST_BLOCKS and min(counts) >= 1 and sum(counts) == units):
        given = counts if len(pairs) == len(blocks) else blocks
        raise InputError(
            f"windows are pairs (number of units, window) for 1 to {MOST_BLOCKS} blocks of the first layer, {units} "
            f"units in all, but got {'blocks of ' * (given is counts)}{given!r:.200}{' units' * (given is counts)}."
        )
    for _, window in pairs:
        if window is not None and not isinstance(window, Window):
            raise InputError(f"a window is Gaussian(…), Beyond(…) or None, but got {window!r:.200}.")
        if isinstance(window, Gaussian) and len(window.place) != inputs:
            raise InputError(
                f"the layer has {inputs} coordinates, and a window Gaussian(place, width) takes as many numbers for "
                f"its place, but got {len(window.place)}: {window.place!r:.200}."
            )
        if isinstance(window, Beyond) and window.axis >= inputs:
            raise InputError(
                f"a window Beyond(axis) takes a coordinate from 0 to {inputs - 1}, but got axis={window.axis!r:.40}."
            )
    some = any(window is not None for _, window in pairs)
    return tuple(zip(counts, [window for _, window in pairs], strict=True)) if some else ()


def text(blocks: Windows) -> str:
    """The blocks in words.

    >>> text(((100, None), (20, Gaussian((0.0, 0.0), 0.1)), (10, Beyond(1, high=0.5))))
    '20 units near (0, 0) within about 0.1, 10 units where coordinate 1 is above 0.5'
    """
    parts = []
    for units, window in blocks:
        if isinstance(window, Gaussian):
            place = ", ".join(f"{c:g}" for c in window.place)
            parts.append(f"{_counted(units)} near ({place}) within about {max(window.width):g}")
        elif isinstance(window, Beyond):
            ends = [f"below {window.low:g}"] * (window.low > -math.inf) + [f"above {window.high:g}"] * (
                window.high < math.inf
            )
            parts.append(f"{_counted(units)} where coordinate {window.axis} is {' or '.join(ends)}")
    return ", ".join(parts)


def values(blocks: Windows, x: Float[Array, "... d"]) -> Float[Array, "... units"]:
    """The factor of every unit."""
    return _of_units(blocks, [window.at(x).value if window else None for _, window in blocks], x, 1.0)


def applied(
    blocks: Windows,
    x: Float[Array, "... d"],
    h: Float[Array, "... units"],
    jacobian: Sequence[Array],
    curvatures: Sequence[Array],
    weights: tuple[tuple[float, ...], ...],
) -> tuple[Array, list[Array], list[Array]]:
    """The values wh of units with the factors w, their derivatives, and their sums of second derivatives.

    (wh)_i = w·h_i + w_i·h and Σ_i a_i (wh)_ii = w·Σ_i a_i h_ii + Σ_i a_i (2·w_i·h_i + w_ii·h).

    Args:
        blocks: the windows.
        x: the points.
        h: values without windows.
        jacobian: their derivatives by each coordinate.
        curvatures: their sums of second derivatives, one for each row of weights.
        weights: the factors a_i of each row.
    """
    found = [window.at(x) if window else None for _, window in blocks]
    w = _of_units(blocks, [each.value if each else None for each in found], x, 1.0)
    axes = range(x.shape[-1])
    slopes = [_of_units(blocks, [each.slopes.get(i) if each else None for each in found], x, 0.0) for i in axes]
    bends = [_of_units(blocks, [each.bends.get(i) if each else None for each in found], x, 0.0) for i in axes]
    sums = []
    for row, curvature in zip(weights, curvatures, strict=True):
        parts = [
            a * (2 * slope * j + bend * h) for a, slope, bend, j in zip(row, slopes, bends, jacobian, strict=True) if a
        ]
        sums.append(sum(parts, start=w * curvature))
    return w * h, [w * j + slope * h for j, slope in zip(jacobian, slopes, strict=True)], sums


def _of_units(blocks: Windows, numbers: Sequence[Array | None], x: Array, usual: float) -> Array:
    """The number of every unit, from those of the blocks, with the usual one for those that have none."""
    columns = [jnp.full(x.shape[:-1], usual, x.dtype) if number is None else number for number in numbers]
    counts = jnp.array([units for units, _ in blocks])
    return jnp.repeat(jnp.stack(columns, axis=-1), counts, axis=-1, total_repeat_length=sum(n for n, _ in blocks))


def _counted(units: int) -> str:
    return f"{units:,} unit{'s' if units > 1 else ''}"


def _is_place(number: float) -> bool:
    return -MOST <= number <= MOST


def _is_width(number: float) -> bool:
    return LEAST <= number <= MOST


def _is_whole(given: Any) -> bool:
    return isinstance(given, Integral) and not isinstance(given, bool)


def _float(given: Any) -> float:
    """A number as a float; NaN, which is within no limits, for anything else."""
    try:
        return float(given) if isinstance(given, Real) and not isinstance(given, bool) else math.nan
    except OverflowError:
        return math.nan


def _floats(given: Any) -> tuple[float, ...]:
    """Numbers in a sequence as floats; none if it is no sequence."""
    listed = np.asarray(given, object)
    return tuple(map(_float, listed.tolist())) if listed.ndim == 1 else ()
