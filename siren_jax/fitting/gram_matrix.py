"""Inner products of the rows of a Jacobian, K = J Jᵀ, for networks with more parameters than residuals.

J is never stored whole. A row of J that belongs to the weights W of a dense layer is a matrix of low rank, G = Σ_s h_s
c_sᵀ: one pair of vectors for each way in which the residual uses the layer, such as the value and each derivative. With
the pairs of all rows, the layer's part of K is Σ_s,t (h_s·h_t)(c_s·c_t), which takes n² times the width of the layer
instead of n² times its square.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

MOST_PAIRS = 16  # of a row: with more, the rows themselves are multiplied
CACHED = 2**21  # numbers of the rows of J of the points that are differentiated together: 16 MiB
STRIP = 2**22  # products of pairs in memory at once: 32 MiB
BLOCK = 2**25  # numbers of the columns of J that are multiplied together: 256 MiB
PARTS = 4  # of the rows, so that products of parts are computed once of (i, j) and (j, i)
ROUNDING = 1000  # a part of a row this many times the rounding error of the row is rounding


class Rows(NamedTuple):
    """Residuals at points, each a row of J."""

    at: Callable[[Any, Any], Float[Array, "r"]]
    """`(params, point) -> residuals`, real numbers."""
    points: Any
    """A pytree of arrays with a leading axis of points."""


Pairs = tuple[Array, Array]
"""The vectors h_s and c_s of each row, of the shapes `(n, s, inputs)` and `(n, s, outputs)`."""


def inner_products(rows: Sequence[Rows], params: Any, pairs: Sequence[Sequence[int]]) -> Float[Array, "n n"]:
    """K = J Jᵀ of all rows.

    Args:
        rows: residuals, in the order of the rows of K.
        params: a pytree of parameters.
        pairs: from `pairs_of_rows`.
    """
    leaves = jax.tree.leaves(params)
    low = [place for place in range(len(leaves)) if any(counts[place] for counts in pairs)]
    rest = [place for place in range(len(leaves)) if place not in low]
    size = lambda places: sum(leaves[place].size for place in places)
    found = []
    if rest:
        found.append(_of_columns(rows, params, rest, size(rest)))
    factored = []
    for each, counts in zip(rows, pairs, strict=True):
        slopes = _slopes(each.at, params, low)
        of_point = lambda point, slopes=slopes, counts=counts: _factors(slopes(point), [counts[p] for p in low])
        factored.append(_mapped(of_point, each.points, size(low)) if low else [])
    for terms in zip(*factored, strict=True):
        found.append(_of_pairs([jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), term) for term in terms]))
    return sum(found[1:], start=found[0])


def pairs_of_rows(rows: Sequence[Rows], params: Any) -> tuple[tuple[int, ...], ...]:
    """Number of pairs of vectors of a row, for each entry of `rows` and each leaf of the parameters.

    It is the highest rank of the rows at random parameters, where no derivative vanishes by chance; zero where pairs
    cost more than the rows themselves.
    """
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    random = [
        leaf + 0.1 * jnp.sqrt(jnp.mean(leaf**2) + 0.01) * jax.random.normal(key, leaf.shape, leaf.dtype)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    matrices = [place for place, leaf in enumerate(leaves) if leaf.ndim == 2 and min(leaf.shape) > MOST_PAIRS]
    if not matrices:
        return ((0,) * len(leaves),) * len(rows)

    @partial(jax.jit, static_argnums=0)
    def ranks(residuals: Callable[[Any, Any], Array], points: Any) -> Int[Array, "n r m"]:
        slopes = _slopes(residuals, jax.tree.unflatten(tree, random), matrices)

        def at(point: Any) -> Array:
            factors = _factors(slopes(point), [MOST_PAIRS] * len(matrices))
            return jnp.stack([jnp.sum(jnp.any(h != 0, axis=-1), axis=-1) for h, _ in factors], axis=-1)

        return _mapped(at, points, sum(leaves[place].size for place in matrices))

    found = [np.asarray(ranks(*each)) for each in rows]
    highest = np.array([np.maximum(1, rank.max(axis=(0, 1))) for rank in found])
    counts = np.array([rank[..., 0].size for rank in found])
    chosen = np.zeros((len(rows), len(leaves)), int)
    for place, ranks_of_leaf in zip(matrices, highest.T, strict=True):
        leaf = leaves[place]
        cheaper = (counts @ ranks_of_leaf) ** 2 * sum(leaf.shape) < counts.sum() ** 2 * leaf.size
        if cheaper and ranks_of_leaf.max() < MOST_PAIRS:
            chosen[:, place] = ranks_of_leaf
    return tuple(tuple(map(int, row)) for row in chosen)


def _slopes(at: Callable[[Any, Any], Array], params: Any, places: Sequence[int]) -> Callable[[Any], list[Array]]:
    """Derivatives of the residuals at a point by some leaves of the parameters, as a function of the point."""
    leaves, tree = jax.tree.flatten(params)

    def slopes(point: Any) -> list[Array]:
        def residual(chosen: list[Array]) -> Array:
            changed = dict(zip(places, chosen, strict=True))
            return at(jax.tree.unflatten(tree, [changed.get(i, leaf) for i, leaf in enumerate(leaves)]), point)

        return jax.jacrev(residual)([leaves[place] for place in places])

    return slopes


def _factors(slopes: Sequence[Float[Array, "r i o"]], counts: Sequence[int]) -> list[Pairs]:
    return [jax.vmap(partial(_factored, count))(slope) for slope, count in zip(slopes, counts, strict=True)]


def _factored(count: int, matrix: Float[Array, "i o"]) -> tuple[Float[Array, "s i"], Float[Array, "s o"]]:
    """Q and QᵀG for a matrix G of a rank up to `count`, with orthogonal columns of Q; they are zero beyond the rank.

    Random combinations of the columns of G span all of them: Halko, Martinsson and Tropp 2011, Algorithm 4.1. Of these,
    Gram and Schmidt's method takes the longest remaining one again and again. LAPACK would factorize the matrices one
    by one, and can wait forever for its threads if XLA calls it in several places at once.
    """
    sketch = matrix @ jax.random.normal(jax.random.key(1), (matrix.shape[1], MOST_PAIRS), matrix.dtype)
    least = ROUNDING * jnp.finfo(matrix.dtype).eps * jnp.max(jnp.linalg.norm(sketch, axis=0))

    def append(both: tuple[Array, Array], place: Array) -> tuple[tuple[Array, Array], None]:
        left, basis = both
        vector = left[:, jnp.argmax(jnp.sum(left**2, axis=0))]
        size = jnp.linalg.norm(vector)
        vector /= jnp.where(size > 0, size, 1)
        vector -= basis.T @ (basis @ vector)
        vector *= (size > least) / jnp.maximum(jnp.linalg.norm(vector), 0.5)
        return (left - vector[:, None] * (vector @ left), basis.at[place].set(vector)), None

    none = jnp.zeros((count, len(matrix)), matrix.dtype)
    (_, basis), _ = jax.lax.scan(append, (sketch, none), jnp.arange(count))
    return basis, basis @ matrix


def _mapped(function: Callable[[Any], Any], points: Any, size: int) -> Any:
    """Values of a function at each point, for as many points at once as have rows of J that the cache can hold."""
    return jax.lax.map(function, points, batch_size=max(1, CACHED // max(1, size)))


def _of_pairs(terms: Sequence[Pairs]) -> Float[Array, "n n"]:
    """Σ_s,t (h_s·h_t)(c_s·c_t) for all pairs of rows."""
    total, parts = sum(len(h) for h, _ in terms), []
    for h, c in terms:
        cuts = math.ceil(PARTS * len(h) / total)
        parts += zip(jnp.array_split(h, cuts), jnp.array_split(c, cuts), strict=True)
    lower = [[_products(one, two) for two in parts[: place + 1]] for place, one in enumerate(parts)]
    count = range(len(parts))
    return jnp.block([[lower[i][j] if j <= i else lower[j][i].T for j in count] for i in count])


def _products(one: Pairs, two: Pairs) -> Float[Array, "m n"]:
    """The same for each row of one part with each row of another."""
    count, pairs = two[0].shape[:2]
    others = [each.reshape(count * pairs, -1) for each in two]

    def of_row(row: tuple[Array, Array]) -> Float[Array, "n"]:
        first, second = (each @ other.T for each, other in zip(row, others, strict=True))
        return jnp.sum((first * second).reshape(-1, count, pairs), axis=(0, 2))

    size = one[0].shape[1] * count * pairs
    return jax.lax.map(of_row, one, batch_size=max(1, STRIP // size))


def _of_columns(rows: Sequence[Rows], params: Any, places: Sequence[int], columns: int) -> Float[Array, "n n"]:
    """The sum of G Gᵀ over blocks G of the columns of J that belong to some leaves of the parameters."""
    found = [jax.eval_shape(jax.vmap(each.at, (None, 0)), params, each.points) for each in rows]
    count = sum(residuals.size for residuals in found)
    width = min(columns, max(1, BLOCK // count))
    blocks = math.ceil(columns / width)

    def block(each: Rows, start: Array) -> Array:
        slopes = _slopes(each.at, params, places)

        def at(point: Any) -> Float[Array, "r w"]:
            row = jnp.concatenate([slope.reshape(len(slope), -1) for slope in slopes(point)], axis=1)
            row = jnp.pad(row, [(0, 0), (0, blocks * width - columns)])
            return jax.lax.dynamic_slice_in_dim(row, start, width, axis=1)

        return _mapped(at, each.points, columns).reshape(-1, width)

    def add(total: Array, start: Array) -> tuple[Array, None]:
        part = jnp.concatenate([block(each, start) for each in rows])
        return total + part @ part.T, None

    return jax.lax.scan(add, jnp.zeros((count, count), found[0].dtype), width * jnp.arange(blocks))[0]
