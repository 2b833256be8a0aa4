"""Lines of a square grid that pass through triangles, for pictures of meshes and for their interior."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

AT_ONCE = 2**20  # pairs of a triangle and a line


class Hits(NamedTuple):
    """Pairs of a triangle and a line that passes through it."""

    triangle: Int[ndarray, "n"]
    row: Int[ndarray, "n"]
    column: Int[ndarray, "n"]
    weights: Float[ndarray, "n 3"]
    """Barycentric coordinates of the point where the line meets the triangle; their sum is 1."""


def hits(triangles: Float[ndarray, "f 3 2"], side: int) -> Iterator[Hits]:
    """For every triangle, the integer grid points (0 … side-1)² inside it, yielded in batches.

    >>> [(h.row.tolist(), h.column.tolist()) for h in hits(np.array([[[0.5, 0.5], [3.5, 0.5], [0.5, 2.6]]]), 9)]
    [([1, 1, 2], [1, 2, 1])]
    """
    low = np.clip(np.ceil(triangles.min(axis=1)), 0, side).astype(np.int64)
    high = np.clip(np.floor(triangles.max(axis=1)) + 1, 0, side).astype(np.int64)
    sides = np.maximum(high - low, 0)
    pairs = sides.prod(axis=1)
    some = np.flatnonzero(pairs)
    for part in np.split(some, np.flatnonzero(np.diff(np.cumsum(pairs[some]) // AT_ONCE)) + 1):
        owner = np.repeat(part, pairs[part])
        number = np.arange(len(owner)) - np.repeat(np.cumsum(pairs[part]) - pairs[part], pairs[part])
        row, column = low[owner, 0] + number // sides[owner, 1], low[owner, 1] + number % sides[owner, 1]
        a, b, c = np.moveaxis(triangles[owner] - np.stack([row, column], axis=1)[:, None], 1, 0)
        areas = np.stack([_cross(b, c), _cross(c, a), _cross(a, b)], axis=1)
        whole = areas.sum(axis=1)
        hit = (np.all(areas >= 0, axis=1) | np.all(areas <= 0, axis=1)) & (whole != 0)
        yield Hits(owner[hit], row[hit], column[hit], areas[hit] / whole[hit, None])


def _cross(p: Float[ndarray, "n 2"], q: Float[ndarray, "n 2"]) -> Float[ndarray, "n"]:
    return p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]
