"""The map between the units of a shape's file and the coordinates of a field."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

MARGIN = 0.9  # half the longest side of a shape's box, in coordinates; the cube of a field extends to 1


@dataclass(frozen=True)
class Placement:
    """Map file = centre + scale·coordinates, with one scale for all axes. The axes have the file's order, (x, y, z).

    >>> placement = Placement((10.0, 0.0, 0.0), 2.0)
    >>> placement.coordinates(np.array([[12.0, 0.0, 1.0]])).tolist()
    [[1.0, 0.0, 0.5]]
    """

    centre: tuple[float, float, float]
    scale: float

    def coordinates(self, points: ndarray) -> Float[ndarray, "n 3"]:
        """Coordinates of points in the file's units."""
        return ((np.asarray(points, np.float64) - np.array(self.centre)) / self.scale).astype(np.float32)

    def units(self, coordinates: ndarray) -> Float[ndarray, "n 3"]:
        """Points in the file's units: the inverse of `coordinates`."""
        return np.asarray(coordinates, np.float64) * self.scale + np.array(self.centre)


def place(points: Float[ndarray, "n 3"]) -> Placement:
    """The placement that centres the points' box in the cube, with the longest side from -0.9 to 0.9."""
    low, high = points.min(axis=0), points.max(axis=0)
    x, y, z = ((low + high) / 2).tolist()
    return Placement((x, y, z), float((high - low).max()) / (2 * MARGIN))
