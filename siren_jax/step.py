"""The steps of a fit as one compiled function: optimiser, tiles and the guard against values that are not finite."""

import inspect
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

from siren_jax._types import Batch
from siren_jax.tiles import sum_over_tiles

REMEMBERED = 0.9  # of the balance, when it is looked at again


class State(NamedTuple):
    """What a step changes."""

    params: Any
    optimizer: Any
    good: Any
    """The last parameters whose loss was finite."""
    balance: Float[Array, "terms"]
    """Factors on the weights."""


class Given(NamedTuple):
    """Arrays that no step changes, with the functions that use them."""

    rest: Any
    """The network's state besides its parameters."""
    objective: Partial
    sample: Partial
    """See `batch_of`."""
    key: Array
    weights: Float[Array, "terms"]


class Span(NamedTuple):
    """Which steps to take, and what the schedule is told: `share + (step - since)·rate` of the budget is spent."""

    start: Array
    stop: Array
    share: Array
    since: Array
    rate: Array


class Term(NamedTuple):
    """A term of the objective."""

    name: str
    points: int
    """That it is the mean over."""
    schedule: Callable[[Array], Array] | None = None
    """Factor on its weight, as a function of the share of the budget that is spent."""


@dataclass(frozen=True)
class Steps:
    """Many steps of an optimiser on an objective, to be jitted with the state donated."""

    graphdef: nnx.GraphDef
    optimizer: optax.GradientTransformation
    schedule: Callable[[Array], Array]
    terms: tuple[Term, ...]
    tile: int
    """Points whose gradient is taken at once."""
    capacity: int
    """Rows of the log: the most steps of a call."""
    balance_every: int | None = None
    """Steps between two looks at the length of each term's gradient."""

    def __call__(self, state: State, given: Given, span: Span) -> tuple[State, Array, Array]:
        """Takes the steps of a span, or fewer if a loss or gradient is not finite: the state, the log and their number.

        A row of the log is the loss and the terms; that of the step that failed follows those taken.
        """

        def step(carry):
            state, log, index, _ = carry
            share = span.share + (index - span.since) * span.rate
            batch = batch_of(given.sample, given.key, index, share)
            factors = [term.schedule(share) if term.schedule else 1.0 for term in self.terms]
            weights = given.weights * jnp.array(factors, jnp.float32)
            balance = self._balanced(state, given, batch, index)
            (value, means), gradient = self._gradient(state.params, given, weights * balance, batch)
            finite = jnp.isfinite(value)
            sound = jnp.all(jnp.stack([finite, *(jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradient))]))
            updates, moments = self.optimizer.update(gradient, state.optimizer, state.params)
            factor = self.schedule(share)
            params = optax.apply_updates(state.params, jax.tree.map(lambda u: factor.astype(u.dtype) * u, updates))
            new = State(
                _select(sound, params, state.params),
                _select(sound, moments, state.optimizer),
                _select(finite, state.params, state.good),
                _select(sound, balance, state.balance),
            )
            log = log.at[index - span.start].set(jnp.concatenate([value[None], means]).astype(log.dtype))
            return new, log, index + sound, sound

        log = jnp.full((self.capacity, 1 + len(self.terms)), jnp.nan, jnp.float32)
        carry = (state, log, span.start, jnp.array(True))
        state, log, index, _ = jax.lax.while_loop(lambda carry: carry[3] & (carry[2] < span.stop), step, carry)
        return state, log, index - span.start

    def _gradient(self, params: Any, given: Given, weights: Array, batch: Batch) -> Any:
        """Loss, means of the terms, and the loss's gradient."""

        def loss(params, batch, masks):
            means = self._means(params, given, batch, masks)
            return jnp.sum(weights * means), means

        zero = ((jnp.float32(0), jnp.zeros(len(self.terms), jnp.float32)), jax.tree.map(jnp.zeros_like, params))
        return sum_over_tiles(jax.value_and_grad(loss, has_aux=True), zero, params, batch, self.tile)

    def gradient_of(self, term: Term, params: Any, given: Given, batch: Batch) -> Any:
        """Gradient of the mean of one term, by itself: one that is not finite leaves nothing of the others'."""

        def mean(params, batch, masks):
            values = given.objective(nnx.merge(self.graphdef, params, given.rest), batch)
            return jnp.sum(masks[term.points] * values[term.name])

        return sum_over_tiles(jax.grad(mean), jax.tree.map(jnp.zeros_like, params), params, batch, self.tile)

    def _means(self, params: Any, given: Given, batch: Batch, masks: Any) -> Float[Array, "terms"]:
        values = given.objective(nnx.merge(self.graphdef, params, given.rest), batch)
        means = [jnp.sum(masks[term.points] * values[term.name]) for term in self.terms]
        return jnp.stack(means).astype(jnp.float32)

    def _balanced(self, state: State, given: Given, batch: Batch, index: Array) -> Array:
        """The balance, renewed every so many steps from the lengths of the terms' gradients: Σ_j |∇L_j| / |∇L_i|."""
        if self.balance_every is None:
            return state.balance

        def renew() -> Array:
            zero = jax.tree.map(lambda p: jnp.zeros((len(self.terms), *p.shape), p.dtype), state.params)
            each = jax.jacrev(lambda params, batch, masks: self._means(params, given, batch, masks))
            gradients = jax.tree.leaves(sum_over_tiles(each, zero, state.params, batch, self.tile))
            lengths = jnp.sqrt(sum(jnp.sum(g**2, axis=range(1, g.ndim)) for g in gradients))
            wanted = jnp.sum(lengths) / jnp.maximum(lengths, jnp.finfo(lengths.dtype).tiny)
            sound = jnp.all(jnp.isfinite(wanted)) & jnp.all(lengths > 0)
            mixed = jnp.where(index == 0, wanted, REMEMBERED * state.balance + (1 - REMEMBERED) * wanted)
            return jnp.where(sound, mixed, state.balance)

        return jax.lax.cond(index % self.balance_every == 0, renew, lambda: state.balance)


def batch_of(sample: Callable[..., Batch], key: Array, index: Array, share: Array) -> Batch:
    """The batch of a step. A sampler with an argument `share` is told the share of the budget that is spent."""
    told = {"share": share} if "share" in inspect.signature(sample).parameters else {}
    return sample(jax.random.fold_in(key, index), index, **told)


def _select(condition, new, old):
    return jax.tree.map(partial(jnp.where, condition), new, old)
