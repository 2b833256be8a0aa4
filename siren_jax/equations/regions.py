"""Regions: sets from which the points of a residual are drawn, as maps from uniform numbers to a point."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax.equations.tracing import decisions_refused
from siren_jax.errors import InputError

TRIED = 4096  # points that measure the share of a region where a condition holds
MISSED = 1e-4  # share of points for which all candidates may fail the condition
MOST = 1024  # largest number of candidates for a point


class Located(NamedTuple):
    """A point, and the outward normal if the point lies on the boundary of its domain, else zeros."""

    x: Float[Array, "d"]
    normal: Float[Array, "d"]


@dataclass(frozen=True)
class Region:
    """A set of points, as the map from uniform numbers that covers it evenly.

    Args:
        numbers: number of uniform numbers in [0, 1) for a point.
        place: the map from these numbers to a point.
        measure: length, area or volume of the set.
    """

    numbers: int
    place: Callable[[Float[Array, "numbers"]], Located]
    measure: float

    def where(self, condition: Callable[[Float[Array, "d"]], Bool[Array, ""]], what: str = "this") -> "Region":
        """The part of a region where a condition on points holds: each point is the first candidate that fulfils it.

        Raises:
            InputError: the condition holds nowhere or almost nowhere, or does not return one boolean.
        """
        return self.located_where(lambda at: condition(at.x), what)

    def located_where(self, condition: Callable[[Located], Bool[Array, ""]], what: str = "this") -> "Region":
        """The part of a region where a condition on points and normals holds; see `where`."""
        numbers = np.random.default_rng(0).random((TRIED, self.numbers), np.float32)
        with decisions_refused("a condition"):
            located, holds = jax.jit(jax.vmap(lambda u: (at := self.place(u), condition(at))))(numbers)
        holds = np.asarray(holds)
        if holds.shape != (TRIED,) or holds.dtype != bool:
            raise InputError(
                "a condition returns one boolean at a point, as x[0] < 1 does, but this one returns "
                f"{holds.dtype}{holds.shape[1:]}."
            )
        share = holds.mean()
        candidates = 1 if share == 1 else math.ceil(math.log(MISSED) / math.log1p(-share)) if share else MOST + 1
        if candidates > MOST:
            raise InputError(
                f"of {TRIED:,} points of the region {holds.sum()} fulfil the condition: {what} is outside of it, or "
                "too small to find. Correct the condition or the domain."
            )
        example = jax.tree.map(lambda leaf: leaf[int(holds.argmax())], located)

        def place(numbers: Array) -> Located:
            found = jax.vmap(self.place)(numbers.reshape(candidates, self.numbers))
            holds = jax.vmap(condition)(found)
            first = jnp.argmax(holds)
            return jax.tree.map(lambda each, other: jnp.where(holds[first], each[first], other), found, example)

        return Region(candidates * self.numbers, place, float(self.measure * share))

    def sample(self, key: Array, n: int) -> Located:
        """n points, uniform over the region: arrays of the shape `(n, d)`."""
        return self.at(jax.random.uniform(key, (n, self.numbers), jnp.float32))

    def at(self, numbers: Float[Array | ndarray, "n numbers"]) -> Located:
        """Points for rows of uniform numbers."""
        return jax.vmap(self.place)(jnp.asarray(numbers))


def either(one: Region, other: Region) -> Region:
    """The union of two regions, each drawn in proportion to its measure; both use the same numbers."""
    share = one.measure / (one.measure + other.measure)
    numbers = 1 + max(one.numbers, other.numbers)

    def place(u: Array) -> Located:
        choices = one.place(u[1 : 1 + one.numbers]), other.place(u[1 : 1 + other.numbers])
        return jax.tree.map(lambda a, b: jnp.where(u[0] < share, a, b), *choices)

    return Region(numbers, place, one.measure + other.measure)
