"""Orientation of surfaces: normals of point clouds, and triangles of the wrong orientation."""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from siren_jax.shapes.mesh import Mesh

NEIGHBOURS = 16  # points that a normal is estimated from
ENOUGH = 50_000  # number of points whose normals are compared with those of their neighbours
NEAR = 6  # neighbours of each point for this comparison
CHANCE = 4  # standard deviations above which a sum is not due to chance
SHEET = 0.5  # length of the mean normal above which a surface is an open sheet; it is 0 for a closed surface


def estimated_normals(
    points: Float[ndarray, "n 3"], known: Float[ndarray, "n 3"] | None = None
) -> Float[ndarray, "n 3"]:
    """Unit normals of a point cloud with consistent signs: perpendicular to the plane through a point's 16 neighbours.

    The signs are made consistent along a minimum spanning tree of the angles between neighbours (Hoppe et al. 1992,
    Section 3.3). Then each connected part is turned as a whole to the side of its known normals or, if it has none,
    outwards, so that ∮ x·n dA is positive. The signs are right for closed surfaces whose points are closer together
    than their thinnest parts are thick.

    Args:
        points: the cloud.
        known: normals known to be right; zero for other points.
    """
    near, normals = _neighbours(points, NEIGHBOURS), np.empty((len(points), 3))
    for some in np.array_split(np.arange(len(points)), len(points) // 65536 + 1):
        offsets = points[near[some]] - points[near[some]].mean(axis=1, keepdims=True)
        normals[some] = np.linalg.eigh(np.einsum("nki,nkj->nij", offsets, offsets))[1][
            ..., 0
        ]  # direction of the smallest spread
    start, stop = np.repeat(np.arange(len(points)), near.shape[1] - 1), near[:, 1:].ravel()
    cosine = np.sum(normals[start] * normals[stop], axis=1)
    sign, part = agreeing_signs(len(points), start, stop, cosine > 0, 1 - np.abs(cosine))
    normals *= sign[:, None]
    side = outwardness(points, normals, part)
    if known is not None:
        agreement = np.bincount(part, np.sum(normals * known, axis=1))
        side = np.where(agreement == 0, side, agreement)
    return normals * np.where(side < 0, -1.0, 1.0)[part, None]


def disagreement(points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"]) -> float:
    """Share of neighbouring points whose normals point to opposite sides; ½ if the signs are random.

    A pair of points behind one another lies on the two sides of a thin part, and does not count.
    """
    some = np.arange(0, len(points), max(1, len(points) // ENOUGH))
    near = _neighbours(points, NEAR, some)[:, 1:]
    start, stop = np.repeat(some, near.shape[1]), near.ravel()
    opposite = np.sum(normals[start] * normals[stop], axis=1) < 0
    offset = points[stop] - points[start]
    behind = (np.sum(offset * normals[start], axis=1) < 0) & (np.sum(offset * normals[stop], axis=1) > 0)
    return float(np.mean(opposite & ~behind)) if len(start) else 0.0


def faces_inwards(points: Float[ndarray, "n 3"], areas: Float[ndarray, "n 3"]) -> bool:
    """Whether the normals, or vector areas, of a nearly closed surface point inwards, as in a room seen from inside.

    False for a sheet, where most normals point in one direction (∮ n dA is zero for a closed surface), and if the
    result may be due to chance.
    """
    heights = np.sum((points - points.mean(axis=0)) * areas, axis=1)
    sheet = np.linalg.norm(areas.sum(axis=0)) > SHEET * np.linalg.norm(areas, axis=1).sum()
    return bool(heights.sum() < -CHANCE * np.linalg.norm(heights) and not sheet)


def _neighbours(points: Float[ndarray, "n 3"], count: int, of: Int[ndarray, "m"] | None = None) -> Int[ndarray, "m k"]:
    """Indices of the nearest neighbours of all points, or of the points `of`; the point itself comes first."""
    import scipy.spatial

    asked = points if of is None else points[of]
    near = scipy.spatial.KDTree(points).query(asked, min(count, len(points) - 1) + 1)[1]
    return np.asarray(near).reshape(len(asked), -1)


def outwardness(
    points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"], part: Int[ndarray, "n"] | None = None
) -> Float[ndarray, "p"]:
    """Σ (x - centre)·n over each part: positive if its normals point outwards, because ∮ x·n dA = 3·volume."""
    part = np.zeros(len(points), np.int64) if part is None else part
    size = np.bincount(part)
    centre = np.stack([np.bincount(part, column) / size for column in points.T], axis=1)
    return np.bincount(part, np.sum((points - centre[part]) * normals, axis=1))


def agreeing_triangles(mesh: Mesh) -> tuple[Mesh, int]:
    """The mesh with consistently oriented neighbouring triangles, and the number of triangles turned.

    In each connected part, the minority is turned. Edges with more than two triangles are ignored.
    """
    faces = mesh.faces.astype(np.int64)
    start, stop = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    edge = np.minimum(start, stop) * len(mesh.vertices) + np.maximum(start, stop)
    order = np.argsort(edge, kind="stable")
    _, first, count = np.unique(edge[order], return_index=True, return_counts=True)
    one, other = order[first[count == 2]], order[first[count == 2] + 1]
    sign, part = agreeing_signs(len(faces), one // 3, other // 3, start[one] != start[other], np.ones(len(one)))
    minority = np.where(np.bincount(part, sign) < 0, -1.0, 1.0)[part]
    wrong = sign != minority
    return Mesh(mesh.vertices, np.where(wrong[:, None], mesh.faces[:, ::-1], mesh.faces)), int(wrong.sum())


def outward_parts(mesh: Mesh) -> tuple[Mesh, int]:
    """A closed mesh with every part facing outwards, and the number of triangles turned.

    The whole mesh is turned if its volume is negative. Then each part with a negative volume is turned, unless it lies
    inside another part and is therefore a cavity.
    """
    faces = mesh.faces if mesh.volume >= 0 else mesh.faces[:, ::-1]
    part = mesh.parts()[faces[:, 0]]
    corners = mesh.vertices[faces] - mesh.vertices.mean(axis=0)
    volume = np.bincount(part, np.linalg.det(corners) / 6)
    low, high = (np.full((len(volume), 3), end) for end in (np.inf, -np.inf))
    np.minimum.at(low, part, corners.min(axis=1))
    np.maximum.at(high, part, corners.max(axis=1))
    wrong = np.zeros(len(volume), bool)
    for one in np.flatnonzero(volume < 0):
        around = np.all((low < low[one]) & (high > high[one]), axis=1)
        wrong[one] = winding(corners[around[part]], corners[part == one][0, 0]) < 0.5
    turned = np.where(wrong[part][:, None], faces[:, ::-1], faces)
    return Mesh(mesh.vertices, turned), int(np.sum(np.any(turned != mesh.faces, axis=1)))


def winding(corners: Float[ndarray, "f 3 3"], point: Float[ndarray, "3"]) -> float:
    """Winding number of closed triangles around a point, independent of the side they face: 0 outside, 1 inside.

    Σ Ω/4π over the solid angles Ω of the triangles (van Oosterom and Strackee 1983).
    """
    a, b, c = arrows = np.moveaxis(corners - point, 1, 0)
    x, y, z = np.linalg.norm(arrows, axis=2)
    along = x * y * z + np.sum(a * b, axis=1) * z + np.sum(b * c, axis=1) * x + np.sum(c * a, axis=1) * y
    return abs(float(np.sum(np.arctan2(np.sum(a * np.cross(b, c), axis=1), along)))) / (2 * np.pi)


def agreeing_signs(
    count: int, start: Int[ndarray, "e"], stop: Int[ndarray, "e"], agree: Bool[ndarray, "e"], cost: Float[ndarray, "e"]
) -> tuple[Float[ndarray, "n"], Int[ndarray, "n"]]:
    """A sign for each node of a graph, opposite for neighbours that do not agree, and the node's connected part.

    If not all edges can be satisfied, those of the minimum spanning tree are.
    """
    import scipy.sparse.csgraph as graphs

    tree = graphs.minimum_spanning_tree(_graph(cost + 1e-9, start, stop, count))
    _, part = graphs.connected_components(tree, directed=False)
    roots = np.unique(part, return_index=True)[1]
    # One more node joins the roots, so that one search from it reaches all nodes; a weight of 0 would not be an edge.
    start_, stop_ = tree.tocoo().coords
    ends = np.append(start_, np.full(len(roots), count)), np.append(stop_, roots)
    joined = _graph(np.ones(len(start_) + len(roots)), *ends, count + 1)
    _, before = graphs.breadth_first_order(joined, count, directed=False)
    before = before.astype(np.int64)
    before[count] = count
    key = np.concatenate([start * (count + 1) + stop, stop * (count + 1) + start])
    order = np.argsort(key, kind="stable")
    wanted = np.arange(count) * (count + 1) + before[:count]
    found = np.minimum(np.searchsorted(key[order], wanted), len(key) - 1) if len(key) else np.zeros(count, np.int64)
    same = np.ones(count, bool)
    if len(key):
        edge = order[found]
        same = np.where(key[edge] == wanted, np.tile(agree, 2)[edge], True)  # a root agrees with the added node
    sign = np.append(np.where(same, 1.0, -1.0), 1.0)
    while np.any(before != count):  # each round doubles how far up the tree a sign has been multiplied
        sign, before = sign * sign[before], before[before]
    return sign[:count], part


def _graph(weight: Float[ndarray, "e"], start: Int[ndarray, "e"], stop: Int[ndarray, "e"], count: int):
    """Edges as a sparse matrix; SciPy 1.15 cannot make trees from matrices with 64-bit indices."""
    import scipy.sparse

    ends = start.astype(np.int32), stop.astype(np.int32)
    return scipy.sparse.coo_array((weight, ends), shape=(count, count)).tocsr()
