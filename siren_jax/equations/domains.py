"""Domains of differential equations: intervals, boxes, disks, balls, differences of them, and time as a coordinate.

>>> plate = Box((-1, -1), (1, 1)) - Disk((0, 0), 0.5)
>>> bool(plate.contains(jnp.array([0.6, 0.0]))), bool(plate.contains(jnp.array([0.4, 0.0])))
(True, False)
"""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax.equations.regions import Located, Region, either
from siren_jax.errors import InputError

Number = int | float
Place = Sequence[Number] | ndarray | Number
"""Coordinates of a point; a single number is refused, with a message."""
NEAR = 1e-4  # share of a domain's size


@runtime_checkable
class Domain(Protocol):
    """A set of points where an equation holds.

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

    def encloses(self, x: Float[Array, "d"]) -> Bool[Array, ""]:
        """Whether a point lies in the domain and not on its boundary."""
        ...

    def interior(self) -> Region:
        """The whole domain."""
        ...

    def boundary(self) -> Region:
        """The boundary in space, with normals that point outwards; in a domain with time, at all times."""
        ...


class _Shape:
    """Operations that domains in space have in common."""

    def __sub__(self: Domain, hole: Domain) -> "Difference":
        return Difference(self, hole)

    def during(self: Domain, start: Number, stop: Number) -> "SpaceTime":
        """This domain in space, from one time to another."""
        return SpaceTime(self, start, stop)


class Box(_Shape):
    """[low_1, high_1] x … x [low_d, high_d].

    Raises:
        InputError: the box has no volume, or its ends are not finite or differ in number.

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
                f"a box needs low < high along each axis, both finite in float32, but got {low} and {high}."
            )
        self._low, self._high = np.array(self.low), np.array(self.high)
        self._size = self._high - self._low
        self._slack = _slack(self.low, self.high)

    def __repr__(self) -> str:
        return f"Box({self.low}, {self.high})"

    def contains(self, x: Float[Array, "d"]) -> Bool[Array, ""]:
        return jnp.all((x >= self._low - self._slack) & (x <= self._high + self._slack))

    def encloses(self, x: Float[Array, "d"]) -> Bool[Array, ""]:
        return jnp.all((x > self._low + self._slack) & (x < self._high - self._slack))

    def interior(self) -> Region:
        d = len(self.low)
        return Region(d, lambda u: Located(self._scaled(u), jnp.zeros(d, u.dtype)), float(self._size.prod()))

    def boundary(self) -> Region:
        d = len(self.low)
        areas = np.repeat(self._size.prod() / self._size, 2)
        ends = np.cumsum(areas / areas.sum())[:-1]

        def place(u: Array) -> Located:
            face = jnp.searchsorted(jnp.asarray(ends, u.dtype), u[0], side="right")
            axis, far = face // 2, face % 2
            on = jnp.arange(d) == axis
            x = self._scaled(jnp.where(on, far, u[1:]))
            return Located(x, jnp.where(on, 2.0 * far - 1, 0.0).astype(u.dtype))

        return Region(1 + d, place, float(areas.sum()))

    def _scaled(self, u: Array) -> Array:
        low, high = (jnp.asarray(end, u.dtype) for end in (self._low, self._high))
        return low * (1 - u) + high * u  # exact at both ends


class Interval(Box):
    """[low, high], with one coordinate."""

    def __init__(self, low: Number, high: Number):
        super().__init__((low,), (high,))

    def __repr__(self) -> str:
        return f"Interval({self.low[0]}, {self.high[0]})"


class _Round(_Shape):
    """Points at most a radius away from a centre."""

    name: ClassVar[str]
    coordinates: ClassVar[int]
    unit: ClassVar[float]
    """Area or volume for the radius 1."""

    def __init__(self, centre: Place, radius: Number):
        self.centre, self.radius = tuple(map(float, np.ravel(centre))), float(radius)
        self.low = tuple(c - self.radius for c in self.centre)
        self.high = tuple(c + self.radius for c in self.centre)
        if len(self.centre) != self.coordinates or not _apart(self.low, self.high):
            raise InputError(
                f"a {self.name} needs a centre of {self.coordinates} coordinates and a positive radius, not "
                f"{centre}, {radius}."
            )
        self._slack = float(np.max(_slack(self.low, self.high)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.centre}, {self.radius})"

    def contains(self, x: Float[Array, "d"]) -> Bool[Array, ""]:
        return jnp.linalg.norm(x - jnp.array(self.centre)) <= self.radius + self._slack

    def encloses(self, x: Float[Array, "d"]) -> Bool[Array, ""]:
        return jnp.linalg.norm(x - jnp.array(self.centre)) < self.radius - self._slack

    def interior(self) -> Region:
        d = self.coordinates

        def place(u: Array) -> Located:
            return Located(self._at(u[0] ** (1 / d), u[1:]), jnp.zeros(d, u.dtype))

        return Region(d, place, self.unit * self.radius**d)

    def boundary(self) -> Region:
        d = self.coordinates

        def place(u: Array) -> Located:
            x = self._at(jnp.ones((), u.dtype), u)
            return Located(x, (x - jnp.array(self.centre, u.dtype)) / self.radius)

        return Region(d - 1, place, d * self.unit * self.radius ** (d - 1))

    def _at(self, distance: Array, turns: Array) -> Array:
        return jnp.array(self.centre, turns.dtype) + self.radius * distance * self._direction(turns)

    def _direction(self, turns: Array) -> Array:
        """A unit vector, uniform in direction, from numbers in [0, 1), one fewer than its coordinates."""
        raise NotImplementedError


class Disk(_Round):
    """Points of the plane at most a radius away from a centre.

    Raises:
        InputError: the radius is not positive, or the centre has other than two finite coordinates.

    >>> round(Disk((0, 0), 2).interior().measure / math.pi, 6)
    4.0
    """

    name, coordinates, unit = "disk", 2, math.pi

    def _direction(self, turns: Array) -> Array:
        angle = 2 * jnp.pi * turns[0]
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)])


class Ball(_Round):
    """Points of space at most a radius away from a centre.

    Raises:
        InputError: the radius is not positive, or the centre has other than three finite coordinates.

    >>> round(Ball((0, 0, 0), 3).interior().measure / math.pi, 6)
    36.0
    """

    name, coordinates, unit = "ball", 3, 4 / 3 * math.pi

    def _direction(self, turns: Array) -> Array:
        height, angle = 2 * turns[0] - 1, 2 * jnp.pi * turns[1]  # all heights on a sphere are equally likely
        across = jnp.sqrt(1 - height**2)
        return jnp.stack([height, across * jnp.cos(angle), across * jnp.sin(angle)])


class Difference(_Shape):
    """A domain without another one, also written `domain - hole`; its boundary has parts of both boundaries.

    A hole may reach beyond the domain or touch its rim: a square without its upper quarter has the shape of an L.
    Within the domain, the hole's rim belongs to the difference.

    Raises:
        InputError: nothing is left, the domains differ in their number of coordinates, or one of them has time.
    """

    def __init__(self, domain: Domain, hole: Domain):
        if isinstance(domain, SpaceTime) or isinstance(hole, SpaceTime):
            raise InputError(
                "a hole is cut out of a domain in space; cut it first, then add the time: "
                "(domain - hole).during(start, stop)."
            )
        if len(domain.low) != len(hole.low):
            raise InputError(
                f"a domain of {len(domain.low)} coordinates cannot have a hole of {len(hole.low)}; give both as many."
            )
        self.domain, self.hole = domain, hole
        self.low, self.high = domain.low, domain.high
        self.interior()  # raises an error if nothing is left

    def __repr__(self) -> str:
        return f"({self.domain} - {self.hole})"

    def contains(self, x: Float[Array, "d"]) -> Bool[Array, ""]:
        return self.domain.contains(x) & ~self.hole.encloses(x)

    def encloses(self, x: Float[Array, "d"]) -> Bool[Array, ""]:
        return self.domain.encloses(x) & ~self.hole.contains(x)

    def interior(self) -> Region:
        return self._interior

    def boundary(self) -> Region:
        return self._boundary

    # Cached, because finding a part of a region tries many points.
    @cached_property
    def _interior(self) -> Region:
        return self.domain.interior().where(lambda x: ~self.hole.contains(x), "what the hole leaves")

    @cached_property
    def _boundary(self) -> Region:
        hole = self.hole.boundary()
        rim = Region(hole.numbers, lambda u: _turned(hole.place(u)), hole.measure)
        # Tested slightly off the rim: where it touches the other boundary, the domain may be on neither side.
        step = NEAR * float(np.max(np.array(self.high) - np.array(self.low)))
        regions = []
        for region, condition in (
            (self.domain.boundary(), lambda at: ~self.hole.contains(at.x)),
            (rim, lambda at: self.domain.contains(at.x - step * at.normal)),
        ):
            try:
                regions.append(region.located_where(condition))
            except InputError:  # the whole boundary is within the hole, or the whole hole is outside
                continue
        return either(*regions) if len(regions) == 2 else regions[0]


class SpaceTime:
    """A domain in space during a time span, also written `domain.during(0, 1)`. A point is `(t, x_1, …)`.

    Raises:
        InputError: the times are not finite and in order.
    """

    def __init__(self, space: Domain, start: Number, stop: Number):
        if not _apart((start,), (stop,)):
            raise InputError(f"a time span needs a start before its stop, both finite, but got {start} and {stop}.")
        self.space, self.start, self.stop = space, float(start), float(stop)
        self.low, self.high = (self.start, *space.low), (self.stop, *space.high)
        self._span = Interval(start, stop)

    def __repr__(self) -> str:
        return f"{self.space}.during({self.start}, {self.stop})"

    def __sub__(self, hole: Domain) -> Difference:
        return Difference(self, hole)  # its message says what to do instead

    def contains(self, x: Float[Array, "d"]) -> Bool[Array, ""]:
        return self._span.contains(x[:1]) & self.space.contains(x[1:])

    def encloses(self, x: Float[Array, "d"]) -> Bool[Array, ""]:
        return self._span.encloses(x[:1]) & self.space.encloses(x[1:])

    def interior(self) -> Region:
        return self._timed(self.space.interior())

    def boundary(self) -> Region:
        return self._timed(self.space.boundary())

    def initial(self) -> Region:
        """The domain in space at the start of the time span."""
        return self._timed(self.space.interior(), 0.0)

    def _timed(self, region: Region, share: float | None = None) -> Region:
        length = self.stop - self.start

        def place(u: Array) -> Located:
            x, normal = region.place(u[1:])
            time = self.start + length * (u[:1] if share is None else jnp.full(1, share, u.dtype))
            return Located(jnp.concatenate([time, x]), jnp.concatenate([jnp.zeros(1, u.dtype), normal]))

        return Region(1 + region.numbers, place, region.measure * (length if share is None else 1.0))


def _turned(located: Located) -> Located:
    return Located(located.x, -located.normal)


def _slack(low: Sequence[float], high: Sequence[float]) -> ndarray:
    """Largest distance that float32 rounding moves a point off the boundary, along each axis."""
    ends = np.array([low, high])
    return 1e-6 * (ends[1] - ends[0]) + np.finfo(np.float32).eps * np.abs(ends).max(axis=0)


def _apart(low: Sequence[Number], high: Sequence[Number]) -> bool:
    """Whether each low end is below its high end in the coordinates of points, which are float32."""
    with np.errstate(over="ignore"):
        a, b = np.array([low, high], np.float32)
    return bool(np.all((-np.inf < a) & (a < b) & (b < np.inf)))
