"""The steps of a fit as one compiled function: optimizer, tiles and the check for non-finite values."""

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
from jax.sharding import Mesh
from jax.tree_util import Partial
from jaxtyping import Float, Int

from siren_jax._types import Batch
from siren_jax.errors import InputError
from siren_jax.fields.tiles import sum_over_tiles

REMEMBERED = 0.9  # share of the old value in the moving averages of the balance and of the loss
POWER = 8  # step i has a weight of about i^POWER in the average of the parameters; the mean age is a tenth of the steps
OF_THEIR_OWN = {"LookaheadState", "SAMState", "ScheduleFreeState"}  # by name, because Optax moves its modules


class Best(NamedTuple):
    """The parameters with the lowest running loss."""

    params: Any
    loss: Float[Array, ""]
    step: Int[Array, ""]


class State(NamedTuple):
    """Arrays that a step changes: everything that a fit needs to continue."""

    params: Any
    optimizer: Any
    good: Any
    """The last parameters whose loss was finite."""
    best: Best
    running: Float[Array, ""]
    """Moving average of the loss, infinite before the first step. The loss of a single batch may be low by chance."""
    balance: Float[Array, "terms"]
    """Factors on the weights of the terms."""
    failed: Int[Array, "2"]
    """Number of steps with a non-finite loss or gradient: in a row up to now, and in total."""
    average: Any = None
    """Average of the parameters after each step, or None."""

    @property
    def result(self) -> Any:
        """The parameters to return: the average if there is one."""
        return self.params if self.average is None else self.average


def initial_state(params: Any, optimizer: Any, terms: int, *, average: bool = False) -> State:
    """The state before the first step; its arrays are copies, so that they can be donated.

    Raises:
        InputError: the optimizer needs more than this state.
    """
    moments = _begun(optimizer, params)
    copy = lambda: jax.tree.map(jnp.copy, params)
    params, infinite = copy(), lambda: jnp.array(jnp.inf, jnp.float32)
    best = Best(copy(), infinite(), jnp.int32(0))
    balance, failed = jnp.ones(terms, jnp.float32), jnp.zeros(2, jnp.int32)
    own = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), moments)  # a key may be the caller's
    return State(params, own, copy(), best, infinite(), balance, failed, copy() if average else None)


class Given(NamedTuple):
    """Arrays that no step changes, and the functions that use them."""

    rest: Any
    """The network's state without its parameters."""
    objective: Partial
    sample: Partial
    """See `batch_of`."""
    key: Array
    weights: Float[Array, "terms"]


class Span(NamedTuple):
    """The steps to take, and the spent share of the budget at each: `share + (step - since)·rate`."""

    start: Array
    stop: Array
    share: Array
    since: Array
    rate: Array


class Term(NamedTuple):
    """A term of the objective."""

    name: str
    points: int
    """Number of points over which the term is averaged."""
    schedule: Callable[[Array], Array] | None = None
    """Factor on the term's weight, as a function of the spent share of the budget."""


@dataclass(frozen=True)
class Steps:
    """Many steps of an optimizer on an objective, to be jitted with the state donated."""

    graphdef: nnx.GraphDef
    optimizer: optax.GradientTransformation
    schedule: Callable[..., Array]
    """See `recipes.Schedule`."""
    terms: tuple[Term, ...]
    tile: int
    """Number of points whose gradient is computed at once."""
    capacity: int
    """Rows of the log: the largest number of steps in one call."""
    balance_every: int | None = None
    """Number of steps between two updates of the balance; None for never."""
    skip: int = 0
    """Number of steps in a row that may be non-finite; these steps change nothing."""
    mesh: Mesh | None = None
    """Devices that share the tiles of a step; see `sum_over_tiles`."""

    def __call__(self, state: State, given: Given, span: Span) -> tuple[State, Array, Array]:
        """Takes the steps of a span, or fewer if too many are non-finite; returns the state, the log and their number.

        A row of the log has the loss and the terms. The row of a step that ended the fit follows those of the steps.
        """

        def step(carry):
            state, log, index = carry
            share = span.share + (index - span.since) * span.rate
            batch = batch_of(given.sample, given.key, index, share)
            factors = [term.schedule(share) if term.schedule else 1.0 for term in self.terms]
            weights = given.weights * jnp.array(factors, jnp.float32)
            balance = self._balanced(state, given, batch, index)
            (value, means), gradient = self._gradient(state.params, given, weights * balance, batch)
            finite = jnp.isfinite(value)
            sound = jnp.all(jnp.stack([finite, *(jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(gradient))]))
            updates, moments = self.optimizer.update(gradient, state.optimizer, state.params)
            factor = factor_on_rate(self.schedule, share, index)
            params = optax.apply_updates(state.params, jax.tree.map(lambda u: factor.astype(u.dtype) * u, updates))
            known = jnp.isfinite(state.running)
            running = jnp.where(known, REMEMBERED * state.running + (1 - REMEMBERED) * value, value)
            better = sound & (running < state.best.loss)
            failed = jnp.where(sound, state.failed.at[0].set(0), state.failed + 1)
            new = State(
                _select(sound, params, state.params),
                _select(sound, moments, state.optimizer),
                _select(finite, state.result, state.good),
                _select(better, Best(state.result, running, index), state.best),
                _select(sound, running, state.running),
                _select(sound, balance, state.balance),
                failed,
                None
                if state.average is None
                else _select(sound, averaged(state.average, params, index), state.average),
            )
            log = log.at[index - span.start].set(jnp.concatenate([value[None], means]).astype(log.dtype))
            return new, log, index + (failed[0] <= self.skip)

        def goes_on(carry):
            state, _, index = carry
            return (state.failed[0] <= self.skip) & (index < span.stop)

        log = jnp.full((self.capacity, 1 + len(self.terms)), jnp.nan, jnp.float32)
        state, log, index = jax.lax.while_loop(goes_on, step, (state, log, span.start))
        return state, log, index - span.start

    def _gradient(self, params: Any, given: Given, weights: Array, batch: Batch) -> Any:
        """Loss and means of the terms, and the gradient of the loss."""

        def loss(params, batch, masks):
            means = self._means(params, given, batch, masks)
            return jnp.sum(weights * means), means

        zero = ((jnp.float32(0), jnp.zeros(len(self.terms), jnp.float32)), jax.tree.map(jnp.zeros_like, params))
        return sum_over_tiles(jax.value_and_grad(loss, has_aux=True), zero, params, batch, self.tile, self.mesh)

    def gradient_of(self, term: Term, params: Any, given: Given, batch: Batch) -> Any:
        """Gradient of the mean of one term. In a sum over terms, one non-finite gradient would hide the others."""

        def mean(params, batch, masks):
            values = given.objective(nnx.merge(self.graphdef, params, given.rest), batch)
            return jnp.sum(masks[term.points] * values[term.name])

        return sum_over_tiles(jax.grad(mean), jax.tree.map(jnp.zeros_like, params), params, batch, self.tile)

    def _means(self, params: Any, given: Given, batch: Batch, masks: Any) -> Float[Array, "terms"]:
        values = given.objective(nnx.merge(self.graphdef, params, given.rest), batch)
        means = [jnp.sum(masks[term.points] * values[term.name]) for term in self.terms]
        return jnp.stack(means).astype(jnp.float32)

    def _balanced(self, state: State, given: Given, batch: Batch, index: Array) -> Array:
        """The balance, updated every `balance_every` steps from the norms of the terms' gradients: Σ_j |∇L_j| / |∇L_i|.

        It is a moving average, which a non-finite or zero norm leaves unchanged.
        """
        if self.balance_every is None:
            return state.balance

        def renew() -> Array:
            zero = jax.tree.map(lambda p: jnp.zeros((len(self.terms), *p.shape), p.dtype), state.params)
            each = jax.jacrev(lambda params, batch, masks: self._means(params, given, batch, masks))
            gradients = jax.tree.leaves(sum_over_tiles(each, zero, state.params, batch, self.tile, self.mesh))
            lengths = jnp.sqrt(sum(jnp.sum(g**2, axis=range(1, g.ndim)) for g in gradients))
            wanted = jnp.sum(lengths) / jnp.maximum(lengths, jnp.finfo(lengths.dtype).tiny)
            sound = jnp.all(jnp.isfinite(wanted)) & jnp.all(lengths > 0)
            mixed = jnp.where(index == 0, wanted, REMEMBERED * state.balance + (1 - REMEMBERED) * wanted)
            return jnp.where(sound, mixed, state.balance)

        return jax.lax.cond(index % self.balance_every == 0, renew, lambda: state.balance)


def factor_on_rate(schedule: Callable[..., Array], share: Array, index: Array) -> Array:
    """Factor on the learning rate at a step. A schedule with an argument `step` receives the step's number."""
    told = {"step": index} if "step" in inspect.signature(schedule).parameters else {}
    return schedule(share, **told)


def averaged(average: Any, params: Any, index: Array) -> Any:
    """The average after step `index`: ā + (p + 1)/(index + p + 1)·(parameters − ā), with p = 8.

    The parameters after step i have a weight of about i^p, so the average covers about the last tenth of any number of
    steps. Polynomial-decay averaging, Shamir and Zhang 2013.
    """
    share = (POWER + 1) / (index + POWER + 1)
    return jax.tree.map(lambda old, new: old + (share * (new - old)).astype(old.dtype), average, params)


def batch_of(sample: Callable[..., Batch], key: Array, index: Array, share: Array) -> Batch:
    """The batch of a step. A sampler with an argument `share` receives the spent share of the budget."""
    told = {"share": share} if "share" in inspect.signature(sample).parameters else {}
    return sample(jax.random.fold_in(key, index), index, **told)


def _select(condition, new, old):
    return jax.tree.map(partial(jnp.where, condition), new, old)


def check_precision(params: Any) -> None:
    """Checks that all weights have at least 32 bits, because the spacing of 16-bit numbers is larger than a step, and
    no more than JAX computes with.

    Raises:
        InputError: a weight has fewer bits, or more.
    """
    widest = jnp.finfo(jnp.result_type(float)).bits
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact) or jnp.finfo(leaf.dtype).bits < 32:
            raise InputError(
                f"a fit needs weights in float32 or float64, but {jax.tree_util.keystr(path)} is {leaf.dtype}; cast "
                "the network first, and save with precision='bfloat16' for a small file."
            )
        if jnp.finfo(leaf.dtype).bits > widest:
            raise InputError(
                f"{jax.tree_util.keystr(path)} is {leaf.dtype}, but JAX computes in float32 here; call fit inside of "
                "`with jax.enable_x64(True):`, or refine with double=True."
            )


def _begun(optimizer: Any, params: Any) -> Any:
    """The optimizer's initial state, after a trial of its update on shapes alone.

    Raises:
        InputError: the object is not an optimizer, fails, or has its own copy of the parameters, which differs from
            the network's.
    """
    needed = "fit takes an optax.GradientTransformation whose update needs the gradient, its state and the parameters"
    if not all(callable(getattr(optimizer, name, None)) for name in ("init", "update")):
        raise InputError(f"{needed}, such as optax.adam(1e-3), but this is of the type {type(optimizer).__name__}.")
    try:
        state = optimizer.init(params)
        jax.eval_shape(optimizer.update, params, state, params)
    except Exception as error:  # an optimizer of other code may raise any error
        reason = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        if isinstance(error, TypeError) and "missing" in reason:
            raise InputError(
                f"{needed}, but this one is {reason.split('() ')[-1]}; siren_jax.refine is L-BFGS with a line search."
            ) from error
        raise InputError(
            f"{needed}, but this one fails: {reason}. Labels and masks must be functions of the parameters, or trees "
            "made from nnx.state(network, nnx.Param)."
        ) from error
    nodes = jax.tree.leaves(state, is_leaf=lambda node: type(node).__name__ in OF_THEIR_OWN)
    if own := [type(node).__name__ for node in nodes if type(node).__name__ in OF_THEIR_OWN]:
        raise InputError(
            f"{needed}, but this one keeps parameters of its own ({own[0]}), which fit would neither evaluate nor "
            "return; choose one that does not."
        )
    return state
