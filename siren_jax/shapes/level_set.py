"""Level sets of a field as triangle meshes, by marching cubes in the cells near the surface."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.shapes.mesh import Mesh

CELLS = 8  # cells along a side of the blocks that are refined or skipped
POINTS = 65536  # points that are evaluated together
SLACK = 1.5  # factor on the steepest measured slope
NUDGE = 1e-3  # smallest distance of a vertex from the ends of its edge, in cells
MAX_RESOLUTION = 2048
MAX_VERTICES = 2**24

Values = Callable[[Float[ndarray, "n 3"]], ndarray]


def extract(values: Values, *, resolution: int = 256) -> Mesh:
    """The surface on which a field over the cube [-1, 1]³ is zero, from a grid of `resolution`³ cells.

    The grid is divided into blocks of 8³ cells, and only blocks that the surface can reach are refined: those whose
    centre has an absolute value of at most 1.5·r·s, where r is half the diagonal of a block and s the steepest slope
    between random points at the distance r. Blocks are processed layer by layer, and every node is evaluated once. The
    memory is that of the mesh and of the values of a layer, 9·resolution² floats. The surface is open where it leaves
    the cube.

    Args:
        values: function from `(n, 3)` points to `(n,)` values, negative inside; always called with the same n. A signed
            distance is best, or another field that is equally steep everywhere.
        resolution: cells along each axis, a multiple of 8.

    Raises:
        InputError: the resolution is invalid, values are not finite, or the mesh has more than 16 million vertices.
    """
    check_resolution(resolution)
    active, least = _active_blocks(values, resolution)
    side = resolution + 1
    slab, known = np.ones((CELLS + 1, side, side), np.float32), np.zeros((side, side), bool)
    vertices, faces, count = [np.zeros((0, 3), np.float32)], [np.zeros((0, 3), np.int64)], 0
    border, border_vertices = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for layer, blocks in enumerate(active):
        cells = blocks.repeat(CELLS, axis=0).repeat(CELLS, axis=1)
        nodes = np.zeros((side, side), bool)
        for i, j in np.ndindex(2, 2):
            nodes[i : side - 1 + i, j : side - 1 + j] |= cells
        slab[0] = slab[-1]  # both layers have the same values in their common plane
        slab[1:] = 1
        needed = np.broadcast_to(nodes, slab.shape).copy()
        needed[0] &= ~known
        known = nodes
        index = np.argwhere(needed)
        fresh = _evaluated(values, (index + np.array([layer * CELLS, 0, 0])) * np.float32(2 / resolution) - 1)
        slab[needed] = np.where(np.abs(fresh) < least, np.where(fresh < 0, -least, least), fresh)
        found, triangles = _march(slab, cells)
        # Vertices in the plane below exist already. Each is inside an edge that its rounded-down position identifies.
        whole = np.floor(found).astype(np.int64)
        name = (whole[:, 1] * side + whole[:, 2]) * 2 + (found[:, 1] != whole[:, 1])
        below, above = found[:, 0] == 0, found[:, 0] == CELLS
        place = np.searchsorted(border, name[below])
        old = np.zeros(len(found), bool)
        if len(border):
            old[below] = border[np.minimum(place, len(border) - 1)] == name[below]
        number = np.cumsum(~old) - 1 + count
        number[old] = border_vertices[np.searchsorted(border, name[old])]
        count += int(np.sum(~old))
        if count > MAX_VERTICES:
            raise InputError(f"the surface has over {MAX_VERTICES:,} vertices at this resolution; choose a lower one.")
        order = np.argsort(name[above])
        border, border_vertices = name[above][order], number[above][order]
        vertices.append(found[~old] + np.array([layer * CELLS, 0, 0], np.float32))
        faces.append(number[triangles])
    return Mesh(
        np.concatenate(vertices) * np.float32(2 / resolution) - 1, np.concatenate(faces).astype(np.int32, copy=False)
    )


def zero_level(values: Float[ndarray, "n n n"]) -> Mesh:
    """The surface on which values at the nodes of a small grid are zero, in units of its cells; empty if there is none.

    >>> corner = np.where(np.indices((3, 3, 3)).sum(axis=0) == 0, -1.0, 1.0).astype(np.float32)
    >>> zero_level(corner).faces.shape, zero_level(np.ones_like(corner)).faces.shape
    ((1, 3), (0, 3))
    """
    return Mesh(*_march(values, np.ones([n - 1 for n in values.shape[1:]], bool)))


def check_resolution(resolution: int) -> None:
    """Raises an `InputError` for a resolution that `extract` does not accept."""
    if resolution % CELLS or not 2 * CELLS <= resolution <= MAX_RESOLUTION:
        raise InputError(
            f"a resolution must be a multiple of {CELLS} from {2 * CELLS} to {MAX_RESOLUTION}, but is {resolution}."
        )


def _active_blocks(values: Values, resolution: int) -> tuple[Bool[ndarray, "b b b"], float]:
    """The blocks that the surface can reach, and the smallest absolute value that a node may have."""
    blocks = resolution // CELLS
    centre = np.empty((blocks,) * 3, np.float32)
    for layer in range(blocks):
        index = np.argwhere(np.ones((1, blocks, blocks), bool)) + np.array([layer, 0, 0])
        centre[layer] = _evaluated(values, (index + 0.5) * (2 / blocks) - 1).reshape(blocks, blocks)
    reach = np.sqrt(3) / blocks
    random = np.random.default_rng(0)
    ends = random.uniform(-1, 1, (2, POINTS // 2, 3))
    ends[1] = ends[0] + (ends[1] - ends[0]) * (reach / np.linalg.norm(ends[1] - ends[0], axis=1, keepdims=True))
    start, stop = _evaluated(values, ends.reshape(-1, 3)).reshape(2, -1)
    steepest = float(np.max(np.abs(stop - start))) / reach
    return np.abs(centre) <= SLACK * steepest * reach, NUDGE * steepest * 2 / resolution


def _evaluated(values: Values, points: ndarray) -> Float[ndarray, "n"]:
    """Values of the field at points. It is always called with `POINTS` points, so that it is compiled once."""
    result = np.empty(len(points), np.float32)
    for first in range(0, len(points), POINTS):
        some = points[first : first + POINTS].astype(np.float32)
        padded = np.pad(some, ((0, POINTS - len(some)), (0, 0)), mode="edge")
        result[first : first + POINTS] = np.asarray(values(padded)).reshape(POINTS)[: len(some)]
    if not np.isfinite(result).all():
        raise InputError("the field has values that are not finite: there is no surface to extract.")
    return result


def _march(slab: Float[ndarray, "k n n"], cells: Bool[ndarray, "m m"]) -> tuple[ndarray, ndarray]:
    """Vertices, in cells, and triangles of the surface in the given columns of a layer."""
    import skimage.measure

    mask = np.zeros(slab.shape, bool)
    mask[1:, 1:, 1:] = cells  # the mask identifies a cell by its upper corner
    if cells.any() and slab.min() < 0 < slab.max():
        try:
            found, triangles, *_ = skimage.measure.marching_cubes(slab, 0.0, gradient_direction="descent", mask=mask)
            return found, triangles.astype(np.int64)
        except RuntimeError:  # no cell of the mask has both signs, although the slab has
            pass
    return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int64)
