"""Comparison of two shapes by distance and normals, and the grid cells that a mesh encloses."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax.shapes.mesh import Mesh
from siren_jax.shapes.scanlines import hits
from siren_jax.shapes.surface import Surface

CANDIDATES = 12  # triangles or discs that are searched for the nearest one
AROUND = 6  # a point's disc reaches to this neighbour
BLOCK = 65536
OFFSET = (0.5 + 1e-4 * np.sqrt(2), 0.5 + 1e-4 * np.sqrt(3))  # of lines from cell corners, to miss edges


class Agreement(NamedTuple):
    """Agreement of a shape with the true one; distances are in their units."""

    chamfer: float
    """Mean of `to_truth` and `from_truth`."""
    to_truth: float
    """Mean distance of the shape's points from the truth: surplus parts of the shape raise it."""
    from_truth: float
    """Mean distance of the truth's points from the shape: missing parts of the shape raise it."""
    normal_consistency: float
    """Mean cosine between the normals of points and of the nearest points of the other surface, over both surfaces."""


class Reference:
    """A true surface, with which shapes are compared.

    Args:
        truth: a mesh, or a cloud with normals.
        count: number of points to compare on each surface; for a cloud, at most its number of points.
        seed: seed for drawing these points.
    """

    def __init__(self, truth: Mesh | Surface, *, count: int = 50_000, seed: int = 0):
        self._count, self._seed = count, seed
        self._nearest = Nearest(truth, samples=2 * count)
        if isinstance(truth, Mesh):
            self.points, face = truth.sample(count, seed=seed + 1)
            self._normals = truth.face_normals[face]
        else:
            taken = np.random.default_rng(seed).permutation(len(truth.points))[:count]
            self.points, self._normals = truth.points[taken], truth.normals[taken]

    def agreement(self, shape: Mesh) -> Agreement:
        """Chamfer distance and normal consistency of a mesh and the truth.

        chamfer = ½·mean over A of min_b |a - b| + ½·mean over B of min_a |a - b|: distances, not their squares. A and B
        are points spread evenly over each surface. The nearest point may be any point of the other surface, so that
        equal shapes have distance zero. The result is NaN for a shape without triangles. `Nearest` defines the surface
        of a cloud.
        """
        if not len(shape.faces):
            return Agreement(*[float("nan")] * 4)
        points, face = shape.sample(self._count, seed=self._seed)
        to_truth, truth_normals = self._nearest(points)
        from_truth, shape_normals = Nearest(shape, samples=2 * self._count)(self.points)
        there, back = float(to_truth.mean()), float(from_truth.mean())
        cosines = [
            np.mean(np.sum(a * b, axis=1))
            for a, b in ((shape.face_normals[face], truth_normals), (self._normals, shape_normals))
        ]
        return Agreement((there + back) / 2, there, back, float(np.mean(cosines)))

    def distance(self, points: Float[ndarray, "n 3"]) -> Float[ndarray, "n"]:
        """Distance of points from the truth."""
        return self._nearest(points)[0]


class Nearest:
    """Distance from points to a surface, and the surface's normals at the nearest points.

    For a mesh, the nearest point of any triangle is searched among the twelve triangles with the nearest centres; large
    triangles are also found through points spread over them. For a cloud, the surface consists of discs around its
    points. The discs are perpendicular to the normals and reach to the sixth neighbour, so that a surface has almost no
    distance from a cloud that was sampled from it.

    Args:
        surface: a mesh with triangles, or a cloud.
        samples: number of points spread over large triangles. A triangle is large if it is wider than twice the spacing
            of this number of points on the whole mesh.
    """

    def __init__(self, surface: Mesh | Surface, *, samples: int = 100_000):
        import scipy.spatial

        if isinstance(surface, Mesh):
            self._corners, self._normals = surface.corners, surface.face_normals
            edges = np.linalg.norm(self._corners - np.roll(self._corners, 1, axis=1), axis=2)
            spacing = np.sqrt(np.linalg.norm(surface.vector_areas, axis=1).sum() / samples)
            large = np.flatnonzero(edges.max(axis=1) > 2 * spacing)
            self._owner, places = np.arange(len(self._corners)), self._corners.mean(axis=1)
            if len(large):
                spread, face = Mesh(surface.vertices, surface.faces[large]).sample(samples)
                self._owner, places = np.append(self._owner, large[face]), np.concatenate([places, spread])
            self._tree = scipy.spatial.KDTree(places)
            self._away = lambda points, owner: distance_to_triangle(points, self._corners[owner])
        else:
            self._points, self._normals = surface.points, surface.normals
            self._owner = np.arange(len(self._points))
            self._tree = scipy.spatial.KDTree(self._points)
            self._radius = self._tree.query(self._points, min(AROUND + 1, len(self._points)))[0][:, -1]
            self._away = self._distance_to_disc

    def __call__(self, points: Float[ndarray, "n 3"]) -> tuple[Float[ndarray, "n"], Float[ndarray, "n 3"]]:
        distance, index = np.empty(len(points)), np.empty(len(points), np.int64)
        candidates = min(CANDIDATES, len(self._owner))
        for first in range(0, len(points), BLOCK):
            some = points[first : first + BLOCK]
            owner = self._owner[self._tree.query(some, candidates)[1].reshape(len(some), -1)]
            away = self._away(some[:, None], owner)
            best = away.argmin(axis=1)[:, None]
            distance[first : first + BLOCK] = np.take_along_axis(away, best, axis=1)[:, 0]
            index[first : first + BLOCK] = np.take_along_axis(owner, best, axis=1)[:, 0]
        return distance, self._normals[index]

    def _distance_to_disc(self, points: ndarray, owner: ndarray) -> ndarray:
        offset = points - self._points[owner]
        height = np.sum(offset * self._normals[owner], axis=-1)
        aside = np.sqrt(np.maximum(np.sum(offset**2, axis=-1) - height**2, 0))
        return np.hypot(height, np.maximum(aside - self._radius[owner], 0))


def distance_to_triangle(points: Float[ndarray, "... 3"], corners: Float[ndarray, "... 3 3"]) -> Float[ndarray, "..."]:
    """Distance from a point to a triangle: to its plane if the point is above it, else to the nearest edge.

    >>> corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    >>> distance_to_triangle(np.array([[0.2, 0.2, 3.0], [0.5, -4.0, 3.0]]), corners).tolist()
    [3.0, 5.0]
    """
    edges = np.roll(corners, -1, axis=-2) - corners
    offset = points[..., None, :] - corners
    length = np.sum(edges**2, axis=-1)
    along = np.clip(np.sum(offset * edges, axis=-1) / np.where(length > 0, length, 1), 0, 1)
    beside = np.linalg.norm(offset - along[..., None] * edges, axis=-1).min(axis=-1)
    normal = np.cross(edges[..., 0, :], edges[..., 1, :])
    size = np.linalg.norm(normal, axis=-1)
    above = np.all(np.sum(np.cross(normal[..., None, :], edges) * offset, axis=-1) >= 0, axis=-1) & (size > 0)
    height = np.abs(np.sum(normal * offset[..., 0, :], axis=-1)) / np.where(size > 0, size, 1)
    return np.where(above, height, beside)


def occupancy(mesh: Mesh, resolution: int) -> Bool[ndarray, "r r r"]:
    """Whether each cell centre of a grid over [-1, 1]³ is inside a closed mesh.

    A line through each row of cells enters or leaves the mesh at every triangle that it meets (Jordan). The lines are
    about 1e-4 of a cell away from the centres, because lines through the centres meet edges of symmetrical shapes.
    """
    crossings = np.zeros((resolution, resolution, resolution + 1), np.int64)
    corners = (mesh.corners + 1) * (resolution / 2)  # in cells
    for hit in hits(corners[..., :2] - np.array(OFFSET), resolution):
        depth = np.sum(hit.weights * corners[hit.triangle, :, 2], axis=1)
        first = np.clip(np.ceil(depth - 0.5), 0, resolution).astype(np.int64)  # the first centre behind the hit
        np.add.at(crossings, (hit.row, hit.column, first), 1)
    return np.cumsum(crossings, axis=2)[..., :resolution] % 2 == 1
