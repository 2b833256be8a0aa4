"""Polygons in space, and their triangulation."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

MAX_CORNERS = 2**13  # corners of a polygon that no fan covers; the time to divide it grows with their square
FLAT = 1e-12  # smallest area of a fan's triangle, as a share of the polygon's area


class Polygons(NamedTuple):
    """Polygons of a file: vertices, and the corners of all polygons one after another."""

    vertices: Float[ndarray, "v 3"]
    sizes: Int[ndarray, "f"]
    """Number of corners of each polygon; empty for a cloud of points."""
    corners: Int[ndarray, "c"]
    """Indices of the vertices of the first polygon, then of the second, …"""
    normals: Float[ndarray, "v 3"] | None = None
    """Normals of the vertices, if the file has them."""


def joined(parts: list[tuple[Float[ndarray, "v 3"], Int[ndarray, "f 3"]]]) -> Polygons:
    """Vertices and triangles of several parts in one object.

    >>> part = np.eye(3), np.array([[0, 1, 2]])
    >>> joined([part, part]).corners.tolist()
    [0, 1, 2, 3, 4, 5]
    """
    offsets = np.cumsum([0] + [len(vertices) for vertices, _ in parts])
    faces = [np.asarray(faces, np.int64) + start for (_, faces), start in zip(parts, offsets, strict=False)]
    corners = np.concatenate([np.zeros((0, 3), np.int64), *faces])
    vertices = np.concatenate([np.zeros((0, 3)), *(np.asarray(vertices, np.float64) for vertices, _ in parts)])
    return Polygons(vertices, np.full(len(corners), 3), corners.ravel())


def triangles(polygons: Polygons) -> tuple[Int[ndarray, "t 3"], int]:
    """Triangles that cover the polygons, and the number of polygons that cross themselves.

    A polygon becomes the fan of its first or second corner if the fan covers it, which is the case for convex polygons
    and for all with four corners. Other polygons are divided by ear clipping (Meisters 1975). A triangle has no area
    only if its polygon has none, so that closed surfaces stay closed. A polygon that crosses itself becomes a fan; a
    polygon with two corners becomes a triangle without area.

    Raises:
        ValueError: a polygon has over 8,192 corners and no fan covers it.

    >>> arrow = np.array([[0.0, 0, 0], [2, 2, 0], [0, 1, 0], [-2, 2, 0]])  # concave at the third corner
    >>> triangles(Polygons(arrow, np.array([4]), np.arange(4)))[0].tolist()
    [[0, 1, 2], [0, 2, 3]]
    """
    start = np.cumsum(polygons.sizes) - polygons.sizes
    parts, crossing = [np.zeros((0, 3), np.int64)], 0
    for n in np.unique(polygons.sizes[polygons.sizes > 0]).tolist():
        some = polygons.corners[start[polygons.sizes == n][:, None] + np.arange(n)]
        if n <= 3:
            parts.append(some[:, [0, n // 2, n - 1]])
            continue
        found, covered = _fans(polygons.vertices, some)
        parts.append(found[covered].reshape(-1, 3))
        for polygon, fan in zip(some[~covered], found[~covered], strict=True):
            if n > MAX_CORNERS:
                raise ValueError(f"a polygon has {n:,} corners; up to {MAX_CORNERS:,} can be divided into triangles")
            ears = _ears(_flattened(polygons.vertices[polygon]))
            crossing += ears is None
            parts.append(fan if ears is None else polygon[ears])
    return np.concatenate(parts), crossing


def _fans(vertices: ndarray, polygons: Int[ndarray, "f n"]) -> tuple[Int[ndarray, "f n-2 3"], ndarray]:
    """A fan of each polygon, and whether it covers the polygon: all its triangles then face the same way."""
    f, n = polygons.shape
    found, covered = np.empty((f, n - 2, 3), np.int64), np.zeros(f, bool)
    for first in (1, 0):
        ring = np.roll(polygons, -first, axis=1)
        places = vertices[ring] - vertices[ring[:, :1]]
        with np.errstate(invalid="ignore", over="ignore"):
            areas = np.cross(places[:, 1:-1], places[:, 2:])
            whole = areas.sum(axis=1, keepdims=True)
            size = np.sum(whole**2, axis=2)
            good = np.all(np.sum(areas * whole, axis=2) > FLAT * size, axis=1)
        good |= ~np.isfinite(size[:, 0]) | (size[:, 0] == 0)  # no fan covers these; they are left out later
        fan = np.stack([np.broadcast_to(ring[:, :1], (f, n - 2)), ring[:, 1:-1], ring[:, 2:]], axis=2)
        take = good | (first == 0) & ~covered
        found[take], covered = fan[take], covered | good
    return found, covered


def _flattened(places: Float[ndarray, "n 3"]) -> Float[ndarray, "n 2"]:
    """A polygon projected to a plane along the axis nearest to its normal, so that it is counterclockwise."""
    places = places - places[0]
    normal = np.cross(places[1:-1], places[2:]).sum(axis=0)
    axis = int(np.abs(normal).argmax())
    one, other = (axis + 1) % 3, (axis + 2) % 3
    return places[:, [one, other] if normal[axis] > 0 else [other, one]]


def _ears(points: Float[ndarray, "n 2"]) -> Int[ndarray, "n-2 3"] | None:
    """Triangles of a counterclockwise polygon, the fattest ear first; None if it crosses itself."""
    n, (x, y) = len(points), points.T.copy()
    before, after, left = [n - 1, *range(n - 1)], [*range(1, n), 0], np.ones(n, bool)

    def fatness(i: int) -> float:
        """Area of the triangle at a corner divided by its longest side squared; 0 if it is not an ear."""
        a, c = before[i], after[i]
        area = _turn(x, y, a, i, x[c], y[c])
        if not area > 0:
            return 0.0
        others = np.flatnonzero(left)
        for p, q in ((a, i), (i, c), (c, a)):
            others = others[_turn(x, y, p, q, x[others], y[others]) >= 0]
        own = np.any(
            [(x[others] == x[p]) & (y[others] == y[p]) for p in (a, i, c)], axis=0
        )  # equal to a corner: also both sides of a slit
        if not np.all(own):
            return 0.0
        return area / max((x[p] - x[q]) ** 2 + (y[p] - y[q]) ** 2 for p, q in ((a, i), (i, c), (c, a)))

    fat = np.array([fatness(i) for i in range(n)])
    found = []
    while True:
        i = int(fat.argmax())
        if not fat[i] > 0:
            return None
        found.append((before[i], i, after[i]))
        if len(found) == n - 2:
            return np.array(found)
        fat[i], left[i] = 0, False
        after[before[i]], before[after[i]] = after[i], before[i]
        for j in (before[i], after[i]):
            fat[j] = fatness(j)


def _turn(x: ndarray, y: ndarray, p: int, q: int, to_x: Any, to_y: Any) -> Any:
    """Twice the area of the triangles from p to q to other points; positive if these lie on the left."""
    return (x[q] - x[p]) * (to_y - y[p]) - (y[q] - y[p]) * (to_x - x[p])
