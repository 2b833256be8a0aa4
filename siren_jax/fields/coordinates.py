"""Grids: maps between the indices of an array and the coordinates of a field."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from siren_jax.errors import InputError


@dataclass(frozen=True)
class Frame:
    """The map between the indices of an array and the coordinates of a field.

    Axes have the order of the array: `(row, column)`, `(frame, row, column)`, `(sample,)`. A sample lies at the centre
    of its cell. The longest axis spans [-1, 1], and all axes have the same spacing, so that derivatives along them have
    the same unit. Sample i of n has the coordinate x = spacing·(i + 1/2 - n/2) with spacing = 2 / max(shape), which is
    (2i + 1)/n - 1 on the longest axis.

    Args:
        shape: samples along each axis, without channels.

    >>> frame = Frame((2, 4))
    >>> frame.spacing, frame.coordinates(np.array([[0, 0], [1, 3]])).tolist()
    (0.5, [[-0.25, -0.75], [0.25, 0.75]])
    """

    shape: tuple[int, ...]

    @property
    def spacing(self) -> float:
        """Distance between neighbouring samples, in coordinates."""
        return 2 / max(self.shape)

    @property
    def extent(self) -> tuple[float, ...]:
        """Coordinate of the far edge of each axis, 1 on the longest one; the near edge is its negative."""
        return tuple(n / max(self.shape) for n in self.shape)

    def coordinates(self, indices: ndarray, dtype: Any = np.float32) -> Float[ndarray, "... d"]:
        """Coordinates of indices, whole or fractional, of shape `(..., d)`."""
        return ((np.asarray(indices, np.float64) + 0.5 - np.array(self.shape) / 2) * self.spacing).astype(dtype)

    def indices(self, coordinates: ndarray) -> Float[ndarray, "... d"]:
        """Fractional indices of coordinates: the inverse of `coordinates`."""
        return np.asarray(coordinates, np.float64) / self.spacing - 0.5 + np.array(self.shape) / 2


@dataclass(frozen=True)
class Grid:
    """The map between the indices of an array and the coordinates of a box in which an equation is solved.

    Cell i of n along an axis has its centre at low + (i + 1/2)·(high - low)/n.

    Args:
        shape: cells along each axis.
        low: smallest coordinate along each axis.
        high: largest coordinate along each axis.

    >>> grid = Grid((2, 4), (0.0, -1.0), (1.0, 1.0))
    >>> grid.coordinates(np.array([[0, 0], [1, 3]])).tolist()
    [[0.25, -0.75], [0.75, 0.75]]
    """

    shape: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    def coordinates(self, indices: ndarray, dtype: Any = np.float32) -> Float[ndarray, "... d"]:
        """Coordinates of indices, whole or fractional, of shape `(..., d)`."""
        low, size = np.array(self.low), np.array(self.high) - np.array(self.low)
        return (low + (np.asarray(indices, np.float64) + 0.5) * size / np.array(self.shape)).astype(dtype)

    def indices(self, coordinates: ndarray) -> Float[ndarray, "... d"]:
        """Fractional indices of coordinates: the inverse of `coordinates`."""
        low, size = np.array(self.low), np.array(self.high) - np.array(self.low)
        return (np.asarray(coordinates, np.float64) - low) / size * np.array(self.shape) - 0.5


def generate_coordinates(shape: int | tuple[int, ...]) -> Float[ndarray, "n d"]:
    """Coordinates of every sample of a grid, in the order of `array.reshape(-1)`: the last axis varies fastest.

    Args:
        shape: samples along each axis; an integer means one axis.

    >>> generate_coordinates((2, 2)).tolist()
    [[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]]
    """
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    if not shape or min(shape) < 1:
        raise InputError(f"a grid needs at least one sample along each axis, but the shape is {shape}.")
    return Frame(shape).coordinates(np.indices(shape).reshape(len(shape), math.prod(shape)).T)
