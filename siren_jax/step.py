"""The steps of a fit as one compiled function: optimiser, tiles and the guard against values that are not finite."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float

from siren_jax.tiles import sum_over_tiles


class State(NamedTuple):
    """What a step changes."""

    params: Any
    optimizer: Any
    good: Any
    """The last parameters whose loss was finite."""


class Given(NamedTuple):
    """Arrays that no step changes, with the functions that use them."""

    rest: Any
    """The network's state besides its parameters."""
    objective: Partial
    sample: Partial
    key: Array
    weights: Float[Array, "terms"]


class Span(NamedTuple):
    """Which steps to take, and what the schedule is told: `share + (step - since)·rate` of the budget is spent."""

    start: Array
    stop: Array
    share: Array
    since: Array
    rate: Array


@dataclass(frozen=True)
class Steps:
    """Many steps of an optimiser on an objective, to be jitted with the state donated."""

    graphdef: nnx.GraphDef
    optimizer: optax.GradientTransformation
    schedule: Callable[[Array], Array]
    terms: tuple[str, ...]
    tile: int
    """Points whose gradient is taken at once."""
    capacity: int
    """Rows of the log: the most steps of a call."""

    def __call__(self, state: State, given: Given, span: Span) -> tuple[State, Array, Array]:
        """Takes the steps of a span, or fewer if a loss or gradient is not finite: the state, the log and their number.

        A row of the log is the loss and the terms; that of the step that failed follows those taken.
        """

        def loss(params, batch, mask):
            values = given.objective(nnx.merge(self.graphdef, params, given.rest), batch)
            means = jnp.stack([jnp.sum(mask * values[name]) for name in self.terms])
            return jnp.sum(given.weights * means), means

        def step(carry):
            state, log, index, _ = carry
            batch = given.sample(jax.random.fold_in(given.key, index), index)
            zero = ((jnp.float32(0), jnp.zeros(len(self.terms))), jax.tree.map(jnp.zeros_like, state.params))
            (value, means), gradient = sum_over_tiles(
                jax.value_and_grad(loss, has_aux=True), zero, state.params, batch, self.tile
            )
            finite = jnp.isfinite(value)
            sound = jnp.all(jnp.stack([finite, *(jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradient))]))
            updates, moments = self.optimizer.update(gradient, state.optimizer, state.params)
            factor = self.schedule(span.share + (index - span.since) * span.rate)
            params = optax.apply_updates(state.params, jax.tree.map(lambda u: factor.astype(u.dtype) * u, updates))
            new = State(
                _select(sound, params, state.params),
                _select(sound, moments, state.optimizer),
                _select(finite, state.params, state.good),
            )
            log = log.at[index - span.start].set(jnp.concatenate([value[None], means]).astype(log.dtype))
            return new, log, index + sound, sound

        log = jnp.full((self.capacity, 1 + len(self.terms)), jnp.nan, jnp.float32)
        carry = (state, log, span.start, jnp.array(True))
        state, log, index, _ = jax.lax.while_loop(lambda carry: carry[3] & (carry[2] < span.stop), step, carry)
        return state, log, index - span.start


def _select(condition, new, old):
    return jax.tree.map(partial(jnp.where, condition), new, old)
