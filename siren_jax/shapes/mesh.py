"""Triangle meshes: their areas, normals, volume and closedness, and points drawn from them."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


class Mesh(NamedTuple):
    """Triangles in space; their corners run counterclockwise as seen from outside.

    >>> corner = Mesh(np.eye(4)[:, 1:], np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]))
    >>> round(6 * corner.volume, 6), corner.is_closed, corner.count_parts()
    (1.0, True, 1)
    """

    vertices: Float[ndarray, "v 3"]
    faces: Int[ndarray, "f 3"]

    @property
    def corners(self) -> Float[ndarray, "f 3 3"]:
        """The three corners of every triangle."""
        return np.asarray(self.vertices, np.float64)[self.faces]

    @property
    def vector_areas(self) -> Float[ndarray, "f 3"]:
        """Vector along the normal of every triangle, as long as its area."""
        a, b, c = np.moveaxis(self.corners, 1, 0)
        return np.cross(b - a, c - a) / 2

    @property
    def face_normals(self) -> Float[ndarray, "f 3"]:
        """Unit normals of the triangles; zero for a triangle without area."""
        return unit(self.vector_areas)

    @property
    def vertex_normals(self) -> Float[ndarray, "v 3"]:
        """Unit normals of the vertices: means over the adjacent triangles, weighted by area."""
        total = np.zeros((len(self.vertices), 3))
        areas = self.vector_areas
        for corner in range(3):
            for axis in range(3):
                total[:, axis] += np.bincount(self.faces[:, corner], areas[:, axis], len(total))
        return unit(total)

    @property
    def volume(self) -> float:
        """Volume in a closed mesh, negative if its normals point inwards: Σ det(a, b, c)/6 over triangles."""
        about = self.vertices.mean(axis=0)  # the sum for an open mesh depends on the origin
        return float(np.sum((self.corners.mean(axis=1) - about) * self.vector_areas) / 3) if len(self.faces) else 0.0

    @property
    def open_edges(self) -> int:
        """Number of edges without exactly two triangles that run along them in opposite directions; 0 if closed."""
        size = len(self.vertices)
        start, stop = self._directed_edges()
        forth, forth_count = np.unique(start * size + stop, return_counts=True)
        back, back_count = np.unique(stop * size + start, return_counts=True)
        matched = np.isin(forth, back[back_count == 1]) & (forth_count == 1)
        return int(len(forth) - np.count_nonzero(matched))

    @property
    def rims(self) -> tuple[int, int]:
        """Number of edges with only one triangle, and number of edges with more than two."""
        start, stop = self._directed_edges()
        edge = np.minimum(start, stop) * len(self.vertices) + np.maximum(start, stop)
        count = np.unique(edge, return_counts=True)[1]
        return int(np.sum(count == 1)), int(np.sum(count > 2))

    @property
    def is_closed(self) -> bool:
        """Whether the mesh separates an inside from an outside."""
        return len(self.faces) > 0 and self.open_edges == 0

    @property
    def euler_characteristic(self) -> int:
        """Number of used vertices - edges + triangles: 2 for a sphere, 0 for a torus."""
        start, stop = self._directed_edges()
        size = len(self.vertices)
        edges = len(np.unique(np.minimum(start, stop) * size + np.maximum(start, stop)))
        return len(np.unique(self.faces)) - edges + len(self.faces)

    def count_parts(self) -> int:
        """Number of connected parts."""
        return len(np.unique(self.parts()[self.faces[:, 0]])) if len(self.faces) else 0

    def parts(self) -> Int[ndarray, "v"]:
        """Index of the connected part that each vertex belongs to."""
        import scipy.sparse
        import scipy.sparse.csgraph

        start, stop = self._directed_edges()
        graph = scipy.sparse.coo_array((np.ones(len(start), bool), (start, stop)), shape=(len(self.vertices),) * 2)
        return scipy.sparse.csgraph.connected_components(graph, directed=False)[1]

    def sample(self, count: int, *, seed: int = 0) -> tuple[Float[ndarray, "n 3"], Int[ndarray, "n"]]:
        """Points spread evenly over the area, and the triangle of each.

        The areas of the triangles are added up, the sum is divided into `count` equal intervals, and a point is drawn
        from each interval.
        """
        random = np.random.default_rng(seed)
        upto = np.cumsum(np.linalg.norm(self.vector_areas, axis=1))
        at = (np.arange(count) + random.random(count)) * (upto[-1] / count)
        face = np.minimum(np.searchsorted(upto, at, side="right"), len(upto) - 1)
        root, along = np.sqrt(random.random(count)), random.random(count)
        weights = np.stack([1 - root, root * (1 - along), root * along], axis=1)
        return np.einsum("nk,nkd->nd", weights, np.asarray(self.vertices, np.float64)[self.faces[face]]), face

    def _directed_edges(self) -> tuple[Int[ndarray, "e"], Int[ndarray, "e"]]:
        faces = self.faces.astype(np.int64)
        return faces.ravel(), np.roll(faces, -1, axis=1).ravel()


def unit(vectors: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
    """The vectors scaled to length 1; zero vectors stay zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.where(length > 0, length, 1)
