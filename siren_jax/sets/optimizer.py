"""Adam as products only, so that programs for one and for several devices round alike.

Optax divides by the corrections of the moments. XLA turns such a division into a product with the reciprocal if it
compiles for one device, but not for several.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Int

from siren_jax.fitting.recipes import Recipe

B1, EPSILON = 0.9, 1e-8


class Moments(NamedTuple):
    """Adam's state."""

    mean: Any
    square: Any
    step: Int[Array, ""]


def adam(recipe: Recipe, network: Any) -> optax.GradientTransformation:
    """Adam with the rate and the b2 of a recipe, for a network; Kingma and Ba 2015."""
    rate, b2 = recipe.rate(network), float(recipe.b2)

    def init(params: Any) -> Moments:
        zeros = lambda: jax.tree.map(jnp.zeros_like, params)
        return Moments(zeros(), zeros(), jnp.int32(0))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Moments]:
        del params
        step = state.step + 1
        mean = jax.tree.map(lambda m, g: B1 * m + (1 - B1) * g, state.mean, updates)
        square = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * (g * g), state.square, updates)
        for_mean, for_square = (jax.lax.reciprocal(1 - b**step) for b in (jnp.float32(B1), jnp.float32(b2)))
        move = lambda m, v: -rate * (m * for_mean) / (jnp.sqrt(v * for_square) + EPSILON)
        return jax.tree.map(move, mean, square), Moments(mean, square, step)

    return optax.GradientTransformation(init, update)
