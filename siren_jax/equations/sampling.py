"""Draws of a term's points: independent or evenly spread, over a growing time span, with candidates to choose among."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float

from siren_jax._types import Sampler
from siren_jax.equations.regions import Region
from siren_jax.errors import InputError
from siren_jax.fields.precision import is_double

Draw = Callable[[Array, Any], Any]
"""`(key, share) -> arrays of points`, with the spent share of the budget, 0 to 1. For a share in float64, points are in
float64 too: the same ones without rounding."""


def draws(
    region: Region,
    points: int,
    sampler: Sampler,
    candidates: int = 1,
    growing: tuple[float, float] | None = None,
) -> Draw:
    """A function that draws points of a region, different ones for every key.

    Args:
        region: region of the points.
        points: number of points.
        sampler: as in `equation`.
        candidates: number of candidates for each point; with several, the last array is the noise that selects among
            them.
        growing: start of the time span, and share of the budget during which the drawn times grow from it to the whole.
    """
    if points < 1 or candidates < 1 or sampler not in ("uniform", "sobol"):
        raise InputError(
            f"a term needs at least one point and one candidate, drawn uniform or sobol, but got points={points}, "
            f"candidates={candidates}, sampler={sampler!r}."
        )
    count = points * candidates
    spread = jnp.asarray(sobol(count, region.numbers)) if sampler == "sobol" else None

    def draw(spread: Array | None, key: Array, share: Any) -> tuple[Array, ...]:
        if spread is None:
            numbers = jax.random.uniform(key, (count, region.numbers), jnp.float32)
        else:
            numbers = (spread + jax.random.uniform(key, spread.shape[1:], jnp.float32)) % 1
        located = region.at(numbers.astype(jnp.float64) if is_double(share) else numbers)
        if growing is not None:
            start, whole = growing
            reach = jnp.minimum(share / whole, 1.0)
            located = located._replace(x=located.x.at[:, 0].set(start + reach * (located.x[:, 0] - start)))
        if candidates == 1:
            return tuple(located)
        choices = (*located, jax.random.gumbel(jax.random.fold_in(key, 1), (count,), jnp.float32))
        return tuple(leaf.reshape(points, candidates, *leaf.shape[1:]) for leaf in choices)

    return Partial(draw, spread)


def sobol(count: int, numbers: int) -> Float[np.ndarray, "n numbers"]:
    """The first rows of a scrambled Sobol sequence, always the same ones.

    Raises:
        InputError: a row needs more numbers than the sequence has.
    """
    from scipy.stats import qmc

    if numbers > qmc.Sobol.MAXDIM:
        raise InputError(
            f"a point of this region needs {numbers:,} numbers, more than a Sobol sequence has, because the "
            "selected part is small. Use sampler='uniform'."
        )
    most = 2 ** math.ceil(math.log2(count))
    return qmc.Sobol(numbers, rng=0).random(most)[:count].astype(np.float32)
