"""Regions: where the points of a residual are drawn, as a map from uniform numbers to a point."""

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

TRIED = 4096  # numbers that tell how much of a region a condition leaves
MISSED = 1e-4  # share of points for which no candidate need be found
MOST = 1024  # candidates for a point


class Located(NamedTuple):
    """A point, and the direction out of its domain where it lies on the boundary, else zeros."""

    x: Float[Array, "d"]
    normal: Float[Array, "d"]


@dataclass(frozen=True)
class Region:
    """A set of points, by the map that carries uniform numbers evenly onto it.

    Args:
        numbers: how many of [0, 1) make a point.
        place: the point that they make.
        measure: length, area or volume of the set.
    """

    numbers: int
    place: Callable[[Float[Array, "numbers"]], Located]
    measure: float

    def where(self, condition: Callable[[Float[Array, "d"]], Bool[Array, ""]], what: str = "this") -> "Region":
        """The part of a region where a condition on points holds: of some candidates the first that does.

        Raises:
            InputError: it holds nowhere, or nearly, or is no condition.
        """
        return self.located_where(lambda at: condition(at.x), what)

    def located_where(self, condition: Callable[[Located], Bool[Array, ""]], what: str = "this") -> "Region":
        """The same by a condition that may ask for the normal too."""
        numbers = np.random.default_rng(0).random((TRIED, self.numbers), np.float32)
        with decisions_refused("a condition"):
            located, holds = jax.jit(jax.vmap(lambda u: (at := self.place(u), condition(at))))(numbers)
        holds = np.asarray(holds)
        if holds.shape != (TRIED,) or holds.dtype != bool:
            raise InputError(
                "a condition answers yes or no at a point, as x[0] < 1 does, but this one gives "
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
        """So many points, drawn evenly: arrays of the shape `(n, d)`."""
        return self.at(jax.random.uniform(key, (n, self.numbers), jnp.float32))

    def at(self, numbers: Float[Array | ndarray, "n numbers"]) -> Located:
        """The points that rows of numbers make."""
        return jax.vmap(self.place)(jnp.asarray(numbers))


def either(one: Region, other: Region) -> Region:
    """Both regions, each as often as its measure says; the numbers of one serve for the other."""
    share = one.measure / (one.measure + other.measure)
    numbers = 1 + max(one.numbers, other.numbers)

    def place(u: Array) -> Located:
        choices = one.place(u[1 : 1 + one.numbers]), other.place(u[1 : 1 + other.numbers])
        return jax.tree.map(lambda a, b: jnp.where(u[0] < share, a, b), *choices)

    return Region(numbers, place, one.measure + other.measure)
