"""How far two shapes are apart, and what a mesh encloses."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax.signals.mesh import Mesh
from siren_jax.signals.surface import Surface

CANDIDATES = 8  # triangles that the nearest is looked for among
SAMPLES = 200_000  # points by which large triangles are found
BLOCK = 65536
OFFSET = (0.5 + 1e-4 * np.sqrt(2), 0.5 + 1e-4 * np.sqrt(3))  # of lines from the centres of cells, so as to miss edges


class Nearest(NamedTuple):
    """For each of many points, what of a surface is nearest."""

    distance: Float[ndarray, "n"]
    normal: Float[ndarray, "n 3"]
    """Of the surface there."""


class Agreement(NamedTuple):
    """How far a shape and its truth are apart, in their units."""

    chamfer: float
    """Mean of the two below."""
    to_truth: float
    """Mean distance of the shape's points from the truth: what it has too much raises this."""
    from_truth: float
    """Mean distance of the truth's points from the shape: what it lacks raises this."""
    normal_consistency: float
    """Mean cosine between the normals of the points and those of what is nearest to them, over both."""


def agreement(shape: Mesh, truth: Mesh | Surface, *, count: int = 100_000, seed: int = 0) -> Agreement:
    """Chamfer distance and normal consistency of a mesh and the truth.

    chamfer = ½·mean over A of min_b |a - b| + ½·mean over B of min_a |a - b|: distances, not their squares. A and B are
    points spread evenly over each mesh; the nearest point is that of the other mesh, so that equal shapes have a
    distance of zero. Of a cloud only its points count, and a shape that it was taken from is about half the spacing of
    its points away from them.

    Args:
        shape: what was made.
        truth: a mesh, or a cloud with normals.
        count: points of each.
        seed: of their drawing.
    """
    there = shape.sample(count, seed=seed)
    there_normals = shape.face_normals[there[1]]
    if isinstance(truth, Mesh):
        points, face = truth.sample(count, seed=seed + 1)
        normals = truth.face_normals[face]
    else:
        taken = np.random.default_rng(seed).permutation(len(truth.points))[:count]
        points, normals = truth.points[taken], truth.normals[taken]
    to_truth, from_truth = nearest(there[0], truth), nearest(points, shape)
    distances = float(to_truth.distance.mean()), float(from_truth.distance.mean())
    cosines = np.sum(there_normals * to_truth.normal, axis=1).mean(), np.sum(normals * from_truth.normal, axis=1).mean()
    return Agreement(sum(distances) / 2, *distances, float(sum(cosines) / 2))


def nearest(points: Float[ndarray, "n 3"], surface: Mesh | Surface) -> Nearest:
    """Distance from each point to a surface, and its normal there.

    Of a mesh the nearest point of any triangle, looked for among those with the nearest centres, and the nearest of
    200,000 points spread over all.
    """
    import scipy.spatial

    if not isinstance(surface, Mesh):
        distance, index = scipy.spatial.cKDTree(surface.points).query(points)
        return Nearest(distance, surface.normals[index])
    corners, normals = surface.corners, surface.face_normals
    spread, face = surface.sample(SAMPLES)
    face = np.concatenate([np.arange(len(corners)), face])
    tree = scipy.spatial.cKDTree(np.concatenate([corners.mean(axis=1), spread]))
    distance, index = np.empty(len(points)), np.empty(len(points), np.int64)
    for first in range(0, len(points), BLOCK):
        some = points[first : first + BLOCK]
        candidates = face[tree.query(some, CANDIDATES)[1]]
        away = distance_to_triangle(some[:, None], corners[candidates])
        best = away.argmin(axis=1)[:, None]
        distance[first : first + BLOCK] = np.take_along_axis(away, best, axis=1)[:, 0]
        index[first : first + BLOCK] = np.take_along_axis(candidates, best, axis=1)[:, 0]
    return Nearest(distance, normals[index])


def distance_to_triangle(points: Float[ndarray, "... 3"], corners: Float[ndarray, "... 3 3"]) -> Float[ndarray, "..."]:
    """Distance from a point to the nearest point of a triangle: above it to its plane, beside it to an edge.

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
    """Whether the centres of the cells of a grid over [-1, 1]³ are inside a closed mesh.

    Along a line through each row of cells it is left and entered at each triangle in turn (Jordan). The lines pass a
    ten-thousandth of a cell beside the centres, because those of symmetrical shapes meet edges.
    """
    crossings = np.zeros((resolution, resolution, resolution + 1), np.int64)
    corners = (mesh.corners + 1) * (resolution / 2)  # in cells
    flat = corners[..., :2] - np.array(OFFSET)  # lines at whole numbers
    low = np.clip(np.ceil(flat.min(axis=1)), 0, resolution).astype(np.int64)
    high = np.clip(np.floor(flat.max(axis=1)) + 1, 0, resolution).astype(np.int64)
    sides = np.maximum(high - low, 0)
    for triangles in np.array_split(np.arange(len(corners)), sides.prod(axis=1).sum() // 2**21 + 1):
        count = sides[triangles].prod(axis=1)
        owner = np.repeat(triangles, count)
        number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
        row, column = low[owner, 0] + number // sides[owner, 1], low[owner, 1] + number % sides[owner, 1]
        line = np.stack([row, column], axis=1)
        a, b, c = np.moveaxis(flat[owner], 1, 0)
        areas = np.stack([_area(line, b, c), _area(line, c, a), _area(line, a, b)], axis=1)
        hit = np.all(areas > 0, axis=1) | np.all(areas < 0, axis=1)
        owner, row, column, areas = owner[hit], row[hit], column[hit], areas[hit]
        depth = np.sum(areas * corners[owner, :, 2], axis=1) / areas.sum(axis=1)
        first = np.clip(np.ceil(depth - 0.5), 0, resolution).astype(np.int64)  # the first centre beyond
        np.add.at(crossings, (row, column, first), 1)
    return np.cumsum(crossings, axis=2)[..., :resolution] % 2 == 1


def _area(p: ndarray, q: ndarray, r: ndarray) -> ndarray:
    """Twice the signed area of plane triangles."""
    return (q[:, 0] - p[:, 0]) * (r[:, 1] - p[:, 1]) - (q[:, 1] - p[:, 1]) * (r[:, 0] - p[:, 0])
