"""Which side of a surface is outside: normals of point clouds, and triangles that run the wrong way round."""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from siren_jax.signals.mesh import Mesh

NEIGHBOURS = 16  # points that a normal is estimated from


def estimated_normals(points: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
    """Unit normals of a point cloud: across the plane through each point's 16 neighbours, all turned to one side.

    Neighbours are made to agree along a minimum spanning tree of the angles between them (Hoppe et al. 1992,
    Section 3.3), and each connected part as a whole is turned outwards, so that ∮ x·n dA is positive. Right for closed
    surfaces that are sampled more densely than they are thin.
    """
    import scipy.spatial

    k = min(NEIGHBOURS, len(points) - 1)
    near = np.asarray(scipy.spatial.KDTree(points).query(points, k + 1)[1])
    normals = np.empty((len(points), 3))
    for some in np.array_split(np.arange(len(points)), len(points) // 65536 + 1):
        offsets = points[near[some]] - points[near[some]].mean(axis=1, keepdims=True)
        normals[some] = np.linalg.eigh(np.einsum("nki,nkj->nij", offsets, offsets))[1][..., 0]  # of the least spread
    start, stop = np.repeat(np.arange(len(points)), k), near[:, 1:].ravel()
    cosine = np.sum(normals[start] * normals[stop], axis=1)
    sign, part = agreeing_signs(len(points), start, stop, cosine > 0, 1 - np.abs(cosine))
    normals *= sign[:, None]
    return normals * np.where(outwardness(points, normals, part) < 0, -1.0, 1.0)[part, None]


def outwardness(
    points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"], part: Int[ndarray, "n"] | None = None
) -> Float[ndarray, "p"]:
    """For each part, Σ (x - its centre)·n: positive where normals point outwards, as ∮ x·n dA = 3·volume."""
    part = np.zeros(len(points), np.int64) if part is None else part
    size = np.bincount(part)
    centre = np.stack([np.bincount(part, column) / size for column in points.T], axis=1)
    return np.bincount(part, np.sum((points - centre[part]) * normals, axis=1))


def agreeing_triangles(mesh: Mesh) -> tuple[Mesh, int]:
    """The mesh with neighbouring triangles running the same way round, and how many were turned.

    Of each connected part the fewer are turned. Edges with more than two triangles are left out of account.
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


def agreeing_signs(
    count: int, start: Int[ndarray, "e"], stop: Int[ndarray, "e"], agree: Bool[ndarray, "e"], cost: Float[ndarray, "e"]
) -> tuple[Float[ndarray, "n"], Int[ndarray, "n"]]:
    """1 or -1 for each node of a graph so that neighbours that do not agree differ, and the part that it belongs to.

    Where that cannot be for all edges, those of the tree of least cost have it.
    """
    import scipy.sparse.csgraph as graphs

    tree = graphs.minimum_spanning_tree(_graph(cost + 1e-9, start, stop, count))
    _, part = graphs.connected_components(tree, directed=False)
    roots = np.unique(part, return_index=True)[1]
    # One more node joins the roots, so that a single walk from it meets all; zero would be no edge.
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
        same = np.where(key[edge] == wanted, np.tile(agree, 2)[edge], True)  # a root agrees with the node above
    sign = np.append(np.where(same, 1.0, -1.0), 1.0)
    while np.any(before != count):  # each round doubles how far up the tree a sign has been multiplied
        sign, before = sign * sign[before], before[before]
    return sign[:count], part


def _graph(weight: Float[ndarray, "e"], start: Int[ndarray, "e"], stop: Int[ndarray, "e"], count: int):
    """Edges as a sparse matrix; SciPy 1.15 has no trees of those with indices of 64 bits."""
    import scipy.sparse

    ends = start.astype(np.int32), stop.astype(np.int32)
    return scipy.sparse.coo_array((weight, ends), shape=(count, count)).tocsr()
