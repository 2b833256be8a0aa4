"""Tiles: points are evaluated in groups that are small enough for intermediate results to stay in the cache.

The memory is that of one tile for any number of points, and a step on a CPU is faster.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh
from jaxtyping import Float
from numpy import ndarray

from siren_jax._types import Batch
from siren_jax.fields.precision import precision_of

AXIS = "points"  # name of the mesh's axis over which the tiles of a batch are divided
PIECES = 8  # least number of sums that make up a gradient: 1, 2, 4 and 8 devices add the same ones


def points_per_tile() -> int:
    """Number of points in a tile: 2,048 on a CPU, 65,536 on other devices."""
    # 2,048 x 256 float32 are 2 MiB, about the L2 cache of a core.
    return 2048 if jax.default_backend() == "cpu" else 65536


def map_over_tiles(function: Callable[[Array], Array], points: Array) -> Array:
    """Values of a function at each point, computed tile by tile."""
    return jax.lax.map(function, points, batch_size=points_per_tile())


def evaluate(field: Any, points: Array | ndarray) -> Array:
    """Values of a field, a network or another pytree, at each point: one compiled program for all fields of a kind.

    With float64 parameters, the values are float64 too.
    """
    with precision_of(field) as array:
        return _evaluate(field, array(points))


@jax.jit
def _evaluate(field: Any, points: Array) -> Array:
    return map_over_tiles(field, points)


def sum_over_tiles(
    value_and_grad: Callable[[Any, Batch, Mapping[int, Array]], Any],
    zero: Any,
    params: Any,
    batch: Batch,
    tile: int,
    mesh: Mesh | None = None,
) -> Any:
    """`zero` plus the sum of `value_and_grad(params, tile of the batch, masks)` over tiles of nearly equal size.

    The arrays of a batch may differ in length: each is divided into the same number of tiles. The mask for arrays of
    length n is 1/n at each point, so that sums are means. The last tile is padded with copies of the last point, whose
    mask is 0; there are fewer copies than tiles.

    If a batch has a higher precision than the parameters (and than float32), it is rounded to that of the parameters:
    one float64 array would otherwise promote the whole computation to float64.

    With a mesh, which requires a `jax.shard_map` over its axis "points" and the same arguments on all devices, every
    device computes the tiles of some pieces of the batch. All devices return the same sum, to the same bits.
    """
    tiles, pieces = _tiles(params, batch, tile, mesh)

    def add(total, piece):
        return jax.tree.map(jnp.add, total, value_and_grad(params, *piece)), None

    total = lambda tiles: jax.lax.scan(add, zero, tiles)[0]
    return total(tiles) if mesh is None else _sum_over_devices(total, zero, tiles, pieces, mesh.size)


def triangle_over_tiles(
    rows: Callable[[Any, Batch, Mapping[int, Array]], Float[Array, "r p"]],
    width: int,
    params: Any,
    batch: Batch,
    tile: int,
    mesh: Mesh | None = None,
) -> Float[Array, "p p"]:
    """R of the QR factorization of all rows, one tile after another: RᵀR is the sum of the tiles' AᵀA.

    The rounding errors are those of the rows, not of their squares. `jnp.linalg.qr` of all rows would store them all.

    Args:
        rows: `(params, tile of the batch, masks) -> A`; see `sum_over_tiles`, also for the other arguments.
        width: p, the columns of A.
        params: first argument of `rows`.
        batch: all points.
        tile: number of points in a tile. A tile of fewer than p rows costs as much as one of p rows.
        mesh: devices that share the tiles.
    """
    tiles, _ = _tiles(params, batch, tile, mesh)
    triangle = lambda rows: jnp.linalg.qr(rows, mode="r")

    def append(found, piece):
        return triangle(jnp.concatenate([found, rows(params, *piece)])), None

    none = jnp.zeros((width, width), _precision(params))
    of_tiles = lambda tiles: jax.lax.scan(append, none, tiles)[0]
    if mesh is None and len(jax.tree.leaves(tiles)[0]) == 1:
        only = rows(params, *jax.tree.map(lambda leaf: leaf[0], tiles))
        return triangle(only if len(only) >= width else jnp.concatenate([none, only]))
    if mesh is None:
        return of_tiles(tiles)
    share = len(jax.tree.leaves(tiles)[0]) // mesh.size
    first = jax.lax.axis_index(AXIS) * share
    own = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, first, share), tiles)
    return triangle(jax.lax.all_gather(of_tiles(own), AXIS).reshape(-1, width))


def _tiles(params: Any, batch: Batch, tile: int, mesh: Mesh | None) -> tuple[tuple[Batch, dict[int, Array]], int]:
    """The batch and the masks with a leading axis of tiles, and the number of pieces that devices divide."""
    precision = _precision(params)
    batch = jax.tree.map(partial(_no_wider, precision), batch)
    lengths = {len(leaf) for leaf in jax.tree.leaves(batch)}
    count = math.ceil(sum(lengths) / tile)
    pieces = 1 if mesh is None else mesh.size * math.ceil(PIECES / mesh.size)
    count = pieces * math.ceil(count / pieces)

    def cut(x: Array, mode: Any = "edge") -> Array:
        n = len(x)
        size = math.ceil(n / count)
        padded = jnp.pad(x, [(0, count * size - n)] + [(0, 0)] * (x.ndim - 1), mode=mode)
        return padded.reshape(count, size, *x.shape[1:])

    masks = {n: cut(jnp.full(n, 1 / n, precision), "constant") for n in lengths}
    return (jax.tree.map(cut, batch), masks), pieces


def _sum_over_devices(total: Callable[[Any], Any], zero: Any, tiles: Any, pieces: int, devices: int) -> Any:
    """The sum of `total` over pieces of equally many tiles, of which every device computes its share.

    The order of the sum is that of a binary tree over the pieces, whichever devices have computed them. The arrays are
    joined to one vector, and every device adds a part of it: it receives twice the size of the vector, however many
    devices there are.
    """
    share = pieces // devices
    tiles = jax.tree.map(lambda x: x.reshape(pieces, -1, *x.shape[1:]), tiles)
    flat, unravel = ravel_pytree(zero)
    first = jax.lax.axis_index(AXIS) * share

    def add(i, sums):
        return sums.at[i - first].set(ravel_pytree(total(jax.tree.map(lambda x: x[i], tiles)))[0])

    # XLA does not know the bounds, so a single piece is a loop too, and its code the same as that of several.
    own = _pairwise_sum(jax.lax.fori_loop(first, first + share, add, jnp.zeros((share, len(flat)), flat.dtype)))
    parts = jnp.pad(own, (0, -len(own) % devices)).reshape(devices, -1)
    part = _pairwise_sum(jax.lax.all_to_all(parts, AXIS, 0, 0))
    whole = jax.lax.all_gather(part, AXIS, tiled=True)[: len(own)]
    return unravel(jax.lax.optimization_barrier(whole))


def _pairwise_sum(rows: Array) -> Array:
    """Sum over the first axis: of neighbours, then of neighbouring sums, and so on."""
    while len(rows) > 1:
        rows = jnp.pad(rows, [(0, len(rows) % 2), (0, 0)])
        rows = rows[0::2] + rows[1::2]
    return rows[0]


def _precision(params: Any) -> Any:
    """Real dtype of the widest parameter, at least float32."""
    kinds = [leaf.dtype for leaf in jax.tree.leaves(params) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.finfo(jnp.result_type(jnp.float32, *kinds)).dtype


def _no_wider(precision: Any, leaf: Array) -> Array:
    """An array cast to this real precision if it is real or complex and wider; other arrays are unchanged."""
    if not jnp.issubdtype(leaf.dtype, jnp.inexact) or jnp.finfo(leaf.dtype).bits <= jnp.finfo(precision).bits:
        return leaf
    return leaf.astype(jnp.result_type(precision, jnp.complex64) if jnp.iscomplexobj(leaf) else precision)
