"""Windows on the units of a first layer: factors that vanish away from a place, or within an interval.

Units with a window add detail where it is needed, such as near a source, and none elsewhere; the other units represent
the smooth rest. Each window has its own units, a block of them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
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

    >>> Gaussian((0.0, 1.0), 0.5).at(jnp.array([0.0, 0.0])).value.item()
    0.1353352814912796
    """

    place: tuple[float, ...]
    width: float | tuple[float, ...]

    def at(self, x: Float[Array, "... d"]) -> Factor:
        """The window at points."""
        widths = self.widths
        steps = [(x[..., i] - c) / w for i, (c, w) in enumerate(zip(self.place, widths, strict=True))]
        value = jnp.exp(-0.5 * sum(step * step for step in steps))
        slopes = {i: -step / w * value for i, (step, w) in enumerate(zip(steps, widths, strict=True))}
        bends = {i: (s * s - 1) / w**2 * value for i, (s, w) in enumerate(zip(steps, widths, strict=True))}
        return Factor(value, slopes, bends)

    @property
    def widths(self) -> tuple[float, ...]:
        """The standard deviation along each coordinate."""
        return self.width if isinstance(self.width, tuple) else (self.width,) * len(self.place)

    def stretched(self, scale: Sequence[float], shift: Sequence[float]) -> "Gaussian":
        """The window of scale·x + shift as a function of x."""
        place = tuple((c - b) / a for c, a, b in zip(self.place, scale, shift, strict=True))
        return Gaussian(place, tuple(w / abs(a) for w, a in zip(self.widths, scale, strict=True)))


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

    >>> Beyond(0, low=-0.5, high=0.5, power=2).at(jnp.array([1.0])).value.item()
    0.25
    """

    axis: int
    low: float = -math.inf
    high: float = math.inf
    power: int = 3
    unit: float = 1.0

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


def windows_of(windows: Iterable[tuple[int, Window | None]] | None, inputs: int, units: int) -> Windows:
    """The blocks of a layer, checked.

    Raises:
        InputError: the blocks have another number of units than the layer; a window has another number of coordinates;
            a number is not within its limits.
    """
    blocks = tuple(windows or ())
    if not blocks:
        return ()
    if len(blocks) > MOST_BLOCKS or any(count < 1 for count, _ in blocks) or sum(n for n, _ in blocks) != units:
        raise InputError(
            f"windows are (number of units, window) pairs for up to {MOST_BLOCKS} blocks of the first layer, "
            f"{units} units in all, but the numbers are {[count for count, _ in blocks]!r:.200}."
        )
    for _, window in blocks:
        if isinstance(window, Gaussian):
            sound = len(window.place) == len(window.widths) == inputs and all(map(_is_place, window.place))
            sound = sound and all(LEAST <= width <= MOST for width in window.widths)
        elif isinstance(window, Beyond):
            ends = [end for end in (window.low, window.high) if math.isfinite(end)]
            sound = (
                window.axis in range(inputs) and window.low < window.high and bool(ends) and all(map(_is_place, ends))
            )
            sound = sound and 1 <= window.power <= HIGHEST and LEAST <= window.unit <= MOST
        else:
            sound = window is None
        if not sound:
            raise InputError(
                f"a window for {inputs} coordinates is None, Gaussian(place, width) with as many numbers, or "
                f"Beyond(axis, low=, high=, power=, unit=) with low below high and one of them finite. Numbers are at "
                f"most {MOST:g}, widths and units at least {LEAST:g}, and powers 1 to {HIGHEST}, but got {window}."
            )
    return blocks


def as_json(blocks: Windows) -> list[dict[str, Any]]:
    """The blocks in a file."""
    found: list[dict[str, Any]] = []
    for units, window in blocks:
        if isinstance(window, Gaussian):
            more = {"type": "gaussian", "place": list(window.place), "width": list(window.widths)}
        elif isinstance(window, Beyond):
            ends = {
                name: end if math.isfinite(end) else None for name, end in (("low", window.low), ("high", window.high))
            }
            more = {"type": "beyond", "axis": window.axis, **ends, "power": window.power, "unit": window.unit}
        else:
            more = {"type": "everywhere"}
        found.append({"units": units, **more})
    return found


def from_json(given: Any, inputs: int, units: int) -> Windows:
    """The blocks from those of a file, which is untrusted.

    Raises:
        ValueError: they are not valid.
    """
    if not isinstance(given, list) or not given:
        raise ValueError("no list of blocks")
    try:
        return windows_of([(_whole(block["units"]), _window(block)) for block in given], inputs, units)
    except (KeyError, TypeError, InputError) as error:
        raise ValueError(str(error)) from None


def text(blocks: Windows) -> str:
    """The blocks in words.

    >>> text(((100, None), (20, Gaussian((0.0, 0.0), 0.1)), (10, Beyond(1, high=0.5))))
    '20 units near (0, 0) within about 0.1, 10 units where coordinate 1 is above 0.5'
    """
    parts = []
    for units, window in blocks:
        if isinstance(window, Gaussian):
            place = ", ".join(f"{c:g}" for c in window.place)
            parts.append(f"{units} units near ({place}) within about {max(window.widths):g}")
        elif isinstance(window, Beyond):
            ends = [f"below {window.low:g}"] * (window.low > -math.inf) + [f"above {window.high:g}"] * (
                window.high < math.inf
            )
            parts.append(f"{units} units where coordinate {window.axis} is {' or '.join(ends)}")
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


def _is_place(number: float) -> bool:
    return -MOST <= number <= MOST


def _window(block: Mapping[str, Any]) -> Window | None:
    kind, fields = block["type"], {name: value for name, value in block.items() if name not in ("type", "units")}
    if kind == "gaussian" and set(fields) == {"place", "width"}:
        return Gaussian(_numbers(fields["place"]), _numbers(fields["width"]))
    if kind == "beyond" and set(fields) == {"axis", "low", "high", "power", "unit"}:
        (unit,) = _numbers([fields["unit"]])
        low, high = (
            usual if end is None else _numbers([end])[0]
            for end, usual in ((fields["low"], -math.inf), (fields["high"], math.inf))
        )
        return Beyond(_whole(fields["axis"]), low, high, _whole(fields["power"]), unit)
    if kind == "everywhere" and not fields:
        return None
    raise ValueError(f"no window has the type {kind!r:.40} and the fields {sorted(map(str, fields))!r:.200}")


def _numbers(given: Any) -> tuple[float, ...]:
    if not isinstance(given, list) or not all(type(number) in (int, float) for number in given):
        raise ValueError(f"{given!r:.200} is no list of numbers")
    return tuple(map(float, given))


def _whole(given: Any) -> int:
    if type(given) is not int:
        raise ValueError(f"{given!r:.40} is no whole number")
    return given
