"""Domains of differential equations: intervals, boxes, disks, differences of them, and time as a coordinate.

>>> plate = Box((-1, -1), (1, 1)) - Disk((0, 0), 0.5)
>>> bool(plate.contains(jnp.array([0.6, 0.0]))), bool(plate.contains(jnp.array([0.4, 0.0])))
(True, False)
"""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax.equations.regions import Located, Region, either
from siren_jax.errors import InputError

Number = int | float
Place = Sequence[Number] | ndarray | Number
"""Coordinates of one; a number by itself is refused, with a message."""
NEAR = 1e-4  # of a domain's size


@runtime_checkable
class Domain(Protocol):
    """Where an equation holds.

    Shapes: a point is `(d,)`. In a domain with time, coordinate 0 is time.
    """

    @property
    def low(self) -> tuple[float, ...]:
        """Least coordinate along each axis."""
        ...

    @property
    def high(self) -> tuple[float, ...]:
        """Greatest coordinate along each axis."""
        ...

    def contains(self, x: Float[Array, "d"]) -> Bool[Array, ""]:
        """Whether a point lies in the domain or on its boundary."""
        ...

    def interior(self) -> Region:
        """All of it."""
        ...

    def boundary(self) -> Region:
        """Its boundary in space, with normals that point outwards. In a domain with time, at any time."""
        ...


class _Shape:
    """What domains in space have in common."""

    def __sub__(self: Domain, hole: Domain) -> "Difference":
        return Difference(self, hole)

    def during(self: Domain, start: Number, stop: Number) -> "SpaceTime":
        """This domain from one time to another."""
        return SpaceTime(self, start, stop)


class Box(_Shape):
    """[low_1, high_1] x … x [low_d, high_d].

    Raises:
        InputError: it has no volume, or ends that are not finite or not as many.

    >>> Box((0, 0), (1, 2)).interior().measure
    2.0
    """

    def __init__(self, low: Place, high: Place):
        if np.ndim(low) != 1 or np.shape(low) != np.shape(high) or not np.size(low):
            raise InputError(
                f"a box has a low and a high end along each axis, as Box((-1, -1), (1, 1)), but got {low} and {high}."
            )
        self.low, self.high = tuple(map(float, np.ravel(low))), tuple(map(float, np.ravel(high)))
        if not _apart(self.low, self.high):
            raise InputError(
                f"a box needs low < high along each axis, both finite, as float32 has them, but got {low} and {high}."
            )
        self._low, self._high = np.array(self.low), np.array(self.high)
        self._size = self._high - self._low

    def contains(self, x: Float[Array, "d"]) -> Bool[Array, ""]:
        slack = 1e-6 * self._size  # rounding of points on the boundary
        return jnp.all((x >= self._low - slack) & (x <= self._high + slack))

    def interior(self) -> Region:
        d = len(self.low)
        return Region(d, lambda u: Located(self._scaled(u), jnp.zeros(d)), float(self._size.prod()))

    def boundary(self) -> Region:
        d = len(self.low)
        areas = np.repeat(self._size.prod() / self._size, 2)
        ends = np.cumsum(areas / areas.sum())[:-1]

        def place(u: Array) -> Located:
            face = jnp.searchsorted(jnp.asarray(ends, u.dtype), u[0], side="right")
            axis, far = face // 2, face % 2
            on = jnp.arange(d) == axis
            x = self._scaled(jnp.where(on, far, u[1:]))
            return Located(x, jnp.where(on, 2.0 * far - 1, 0.0))

        return Region(1 + d, place, float(areas.sum()))

    def _scaled(self, u: Array) -> Array:
        return jnp.asarray(self._low * (1 - u) + self._high * u, u.dtype)  # exact at both ends


class Interval(Box):
    """[low, high], of one coordinate."""

    def __init__(self, low: Number, high: Number):
        super().__init__((low,), (high,))


class Disk(_Shape):
    """Points of the plane at most a radius away from a centre.

    Raises:
        InputError: the radius is not positive, or the centre has other than two finite coordinates.

    >>> round(Disk((0, 0), 2).interior().measure / math.pi, 6)
    4.0
    """

    def __init__(self, centre: Place, radius: Number):
        self.centre, self.radius = tuple(map(float, np.ravel(centre))), float(radius)
        self.low = tuple(c - self.radius for c in self.centre)
        self.high = tuple(c + self.radius for c in self.centre)
        if len(self.centre) != 2 or not _apart(self.low, self.high):
            raise InputError(f"a disk needs a centre of two coordinates and a positive radius, not {centre}, {radius}.")

    def contains(self, x: Float[Array, "d"]) -> Bool[Array, ""]:
        return jnp.sum((x - jnp.array(self.centre)) ** 2) <= (self.radius * (1 + 1e-6)) ** 2

    def interior(self) -> Region:
        def place(u: Array) -> Located:
            return Located(self._at(jnp.sqrt(u[0]), u[1]), jnp.zeros(2))

        return Region(2, place, math.pi * self.radius**2)

    def boundary(self) -> Region:
        def place(u: Array) -> Located:
            x = self._at(jnp.ones(()), u[0])
            return Located(x, (x - jnp.array(self.centre)) / self.radius)

        return Region(1, place, 2 * math.pi * self.radius)

    def _at(self, distance: Array, turn: Array) -> Array:
        angle = 2 * jnp.pi * turn
        return jnp.array(self.centre) + self.radius * distance * jnp.stack([jnp.cos(angle), jnp.sin(angle)])


class Difference(_Shape):
    """A domain without another one; its boundary is of both. Also written `domain - hole`.

    A hole may reach beyond the domain or touch its rim: a square without its upper quarter has the shape of an L.

    Raises:
        InputError: nothing is left, or they have other numbers of coordinates.
    """

    def __init__(self, domain: Domain, hole: Domain):
        if len(domain.low) != len(hole.low):
            raise InputError(
                f"a domain of {len(domain.low)} coordinates cannot have a hole of {len(hole.low)}; give both as many."
            )
        self.domain, self.hole = domain, hole
        self.low, self.high = domain.low, domain.high
        self.interior()  # refuses a domain that is all hole

    def contains(self, x: Float[Array, "d"]) -> Bool[Array, ""]:
        return self.domain.contains(x) & ~self.hole.contains(x)

    def interior(self) -> Region:
        return self.domain.interior().where(lambda x: ~self.hole.contains(x), "what the hole leaves")

    def boundary(self) -> Region:
        hole = self.hole.boundary()
        rim = Region(hole.numbers, lambda u: _turned(hole.place(u)), hole.measure)
        # A little way from the rim, because where it touches the other boundary it may have the domain on neither side.
        step = NEAR * float(np.max(np.array(self.high) - np.array(self.low)))
        regions = []
        for region, condition in (
            (self.domain.boundary(), lambda at: ~self.hole.contains(at.x)),
            (rim, lambda at: self.domain.contains(at.x - step * at.normal)),
        ):
            try:
                regions.append(region.located_where(condition))
            except InputError:  # a boundary that is all within the hole, or a hole that is all outside
                continue
        return either(*regions) if len(regions) == 2 else regions[0]


class SpaceTime:
    """A domain in space from a time to a later one. A point is the time, then the place. Also `domain.during(0, 1)`.

    Raises:
        InputError: the times are not finite and in order.
    """

    def __init__(self, space: Domain, start: Number, stop: Number):
        if not _apart((start,), (stop,)):
            raise InputError(f"a time span needs a start before its stop, both finite, but got {start} and {stop}.")
        self.space, self.start, self.stop = space, float(start), float(stop)
        self.low, self.high = (self.start, *space.low), (self.stop, *space.high)

    def contains(self, x: Float[Array, "d"]) -> Bool[Array, ""]:
        slack = 1e-6 * (self.stop - self.start)
        return (x[0] >= self.start - slack) & (x[0] <= self.stop + slack) & self.space.contains(x[1:])

    def interior(self) -> Region:
        return self._timed(self.space.interior())

    def boundary(self) -> Region:
        return self._timed(self.space.boundary())

    def initial(self) -> Region:
        """The domain in space at the start."""
        return self._timed(self.space.interior(), 0.0)

    def _timed(self, region: Region, share: float | None = None) -> Region:
        length = self.stop - self.start

        def place(u: Array) -> Located:
            x, normal = region.place(u[1:])
            time = self.start + length * (u[:1] if share is None else jnp.full(1, share))
            return Located(jnp.concatenate([time, x]), jnp.concatenate([jnp.zeros(1), normal]))

        return Region(1 + region.numbers, place, region.measure * (length if share is None else 1.0))


def _turned(located: Located) -> Located:
    return Located(located.x, -located.normal)


def _apart(low: Sequence[Number], high: Sequence[Number]) -> bool:
    """Whether each low end is below its high end in the coordinates of points, which are float32."""
    with np.errstate(over="ignore"):
        a, b = np.array([low, high], np.float32)
    return bool(np.all((-np.inf < a) & (a < b) & (b < np.inf)))
