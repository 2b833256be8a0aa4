"""Draws of a term's points: independent or evenly spread, over a growing time span, with candidates to choose among.

Points are even in the domain's coordinates, or in graded ones: then there are more of them near what is sharp.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float

from siren_jax._types import Sampler
from siren_jax.equations.domains import Domain
from siren_jax.equations.regions import Located, Region
from siren_jax.errors import InputError
from siren_jax.fields.precision import is_double
from siren_jax.networks.grading import evenly_graded, places_of

NODES = 4097  # of the map to a graded coordinate: piecewise linear, its slope is exact to about 1e-3

Draw = Callable[[Array, Any], Any]
"""`(key, share) -> arrays of points`, with the spent share of the budget, 0 to 1. For a share in float64, points are in
float64 too: the same ones without rounding."""


def graded_interior(domain: Domain, graded: Mapping[int, Any] | None) -> Region:
    """A domain as a region that is covered evenly in m(x) = Σ_j asinh((x - place_j)/width_j) of its graded coordinates.

    The density of points in such a coordinate is proportional to m'(x) = Σ_j 1/√((x - place_j)² + width_j²).

    Args:
        domain: the domain, also with time. Points are drawn in its box; those outside of the domain are not used.
        graded: as for `SIREN`; without it, the region is the domain's interior.
    """
    if not graded:
        return domain.interior()
    d = len(domain.low)
    nodes = [
        evenly_graded(low, high, pairs, NODES) if pairs else np.array([low, high])
        for low, high, pairs in zip(domain.low, domain.high, places_of(graded, d), strict=True)
    ]

    def place(u: Array) -> Located:
        shares = [np.linspace(0, 1, len(each)) for each in nodes]
        at = [
            jnp.interp(u[i], *(jnp.asarray(each, u.dtype) for each in both))
            for i, both in enumerate(zip(shares, nodes, strict=True))
        ]
        return Located(jnp.stack(at), jnp.zeros(d, u.dtype))

    box = Region(d, place, math.prod(high - low for low, high in zip(domain.low, domain.high, strict=True)))
    return replace(box.where(domain.contains, "the domain"), measure=domain.interior().measure)


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
