"""The second phase of a fit: L-BFGS on a batch that stays the same, in double precision if wanted.

Where Adam on fresh points comes to rest at the noise of its batches, a quasi-Newton method on fixed ones goes on.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from numpy import ndarray

from siren_jax._types import Batch, Objective, StoppedBy
from siren_jax.fields.tiles import points_per_tile, sum_over_tiles
from siren_jax.fitting.checkpoints import Checkpoints
from siren_jax.fitting.host_loop import run
from siren_jax.fitting.progress import Budget, Log, Progress, interrupts
from siren_jax.fitting.result import Fit, N
from siren_jax.fitting.resume import Keeper
from siren_jax.fitting.step import check_precision
from siren_jax.fitting.terms import Weight, check_weights, describe_nonfinite, final_weights

PATIENCE = 10  # steps without a lower loss, after which there is none


def refine(
    network: N,
    objective: Objective,
    batch: Batch,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    weights: Mapping[str, Weight] | None = None,
    memory: int = 50,
    double: bool = False,
    tile: int | None = None,
    watch: Callable[[Progress], Any] | None = None,
    checkpoints: Checkpoints | None = None,
) -> Fit[N]:
    """A network refined on one batch by L-BFGS with a line search, Nocedal and Wright 2006, Algorithm 7.5.

    It minimises what `fit` does, Σ_k weight_k · mean of term_k. Every step takes one or a few evaluations.

    Args:
        network: where to begin; unchanged.
        objective: as in `fit`.
        batch: all points; overfitted if there are too few, so take several times as many as for a step of `fit`.
        steps: at most. A budget of steps or seconds is needed.
        seconds: at most, compilation not counted.
        weights: as in `fit`; of a schedule the end. Those of an earlier phase, its balance among them, are its
            `Fit.weights`.
        memory: pairs of steps and gradients that stand for the curvature.
        double: in float64, beyond the loss of some 1e-9 where float32 ends; the network that is returned is float32.
        tile: points whose gradient is taken at once; by default as in `fit`.
        watch: as in `fit`; always in the caller's own mode, float32 as a rule.
        checkpoints: as in `fit`, in a directory of their own.

    Returns:
        `Fit`, whose history has the loss alone, that before each step as in `fit`; of the network returned it is known
        that loss and gradient are finite. Stopped as `fit` is, by "non-finite" with the last network of which that is
        so, or by "converged" once ten steps have not lowered the loss.

    Raises:
        InputError: no budget, or a weight for no term; a checkpoint of another network, batch, weight or memory, or of
            a later step.
    """
    usual = bool(jax.config.jax_enable_x64)  # pyright: ignore[reportAttributeAccessIssue]

    def heard(progress: Progress) -> Any:
        with jax.enable_x64(usual):
            return watch is not None and watch(progress)

    with jax.enable_x64(double):
        dtype = jnp.float64 if double else jnp.float32
        budget = Budget(steps, seconds)
        return _refine(network, objective, batch, budget, weights or {}, memory, dtype, tile, heard, checkpoints)


def _refine(
    network: N,
    objective: Objective,
    batch: Batch,
    budget: Budget,
    weights: Mapping[str, Weight],
    memory: int,
    dtype: Any,
    tile: int | None,
    watch: Callable[[Progress], Any],
    checkpoints: Checkpoints | None,
) -> Fit[N]:
    graphdef, params, rest = nnx.split(network, nnx.Param, ...)
    check_precision(params)
    given = jax.tree.map(lambda leaf: leaf.dtype, params)
    params, batch = jax.tree.map(partial(_as_precise, dtype), (params, batch))

    def merged(params: Any) -> N:
        with jax.enable_x64(dtype == jnp.float64):  # `watch` may call it outside
            return nnx.merge(graphdef, jax.tree.map(lambda leaf, kind: jnp.array(leaf, kind), params, given), rest)

    terms_of = lambda params, batch: objective(nnx.merge(graphdef, params, rest), batch)
    terms = jax.eval_shape(terms_of, params, batch)
    check_weights(weights, terms)
    final = final_weights(terms, weights)
    loss = _Loss(terms_of, {name: (len(terms[name]), weight) for name, weight in final.items()}, tile, dtype)
    optimizer, log = optax.lbfgs(memory_size=memory), Log(("loss",), dtype=np.float64)
    keeper = Keeper(checkpoints, log, (params, batch, list(final.values())))
    # Not bound to a name: the first state, a hundred copies of the weights, would live as long as the fit.
    begin = lambda: keeper.restored(
        (params, optimizer.init(params)), budget, "it has another beginning, batch or weights"
    )
    with interrupts() as interrupted:  # while it compiles too: what is there already is worth keeping
        began = time.perf_counter()
        method = _LBFGS(optimizer, loss, begin(), batch, merged, log)
        compile_seconds = time.perf_counter() - began
        stopped_by = run(method, log, budget, interrupted, keeper, converged=method.converged(), watch=watch)
    last = merged(method.state()[0])
    return Fit(
        network=last,
        history=log.history(),
        best=last,  # a line search does not go up
        best_step=log.steps,
        final_over_best=1.0,
        stopped_by=stopped_by,
        compile_seconds=compile_seconds,
        seconds_per_step=log.seconds_per_step(),
        weights=final,
        message=method.message,
    )


class _Loss:
    """The weighted sum of the terms' means with its gradient, a tile at a time.

    Args:
        terms_of: `(params, batch) -> terms`.
        terms: number of points and weight of each.
        tile: points at once.
        dtype: of the loss.
    """

    def __init__(
        self,
        terms_of: Callable[[Any, Batch], dict[str, Array]],
        terms: Mapping[str, tuple[int, float]],
        tile: int | None,
        dtype: Any,
    ):
        self._terms_of, self.terms, self._tile, self._dtype = terms_of, terms, tile, dtype

        @jax.custom_vjp
        def loss(params: Any, batch: Batch) -> Array:
            return self.value_and_gradient(params, batch)[0]

        # The gradient is found with the value, a tile at a time; autodiff of the sum would keep all tiles.
        loss.defvjp(self.value_and_gradient, lambda gradient, seed: (jax.tree.map(lambda g: seed * g, gradient), None))
        self._loss = loss

    def __call__(self, params: Any, batch: Batch) -> Array:
        return self._loss(params, batch)

    def value_and_gradient(self, params: Any, batch: Batch, among: Sequence[str] | None = None) -> tuple[Array, Any]:
        """The loss and its gradient, of all terms or some."""
        terms = {name: self.terms[name] for name in among or self.terms}

        def weighted(params: Any, batch: Batch, masks: Mapping[int, Array]) -> Array:
            values = self._terms_of(params, batch)
            means = jnp.stack([jnp.sum(masks[count] * values[name]) for name, (count, _) in terms.items()])
            return means @ jnp.array([weight for _, weight in terms.values()], self._dtype)

        zero = (jnp.zeros((), self._dtype), jax.tree.map(jnp.zeros_like, params))
        return sum_over_tiles(jax.value_and_grad(weighted), zero, params, batch, self._tile or points_per_tile())


class _LBFGS:
    """Steps of L-BFGS, as a `Method`."""

    def __init__(
        self,
        optimizer: Any,
        loss: _Loss,
        state: tuple[Any, Any],
        batch: Batch,
        merged: Callable[[Any], nnx.Module],
        log: Log,
    ):
        self._loss, self._batch, self._merged = loss, batch, merged
        self._losses: list[float] = log.rows()[:, 0].tolist()
        self._params, self._state = state
        del state
        self.message = ""
        """What was not finite, in which step."""

        def step(params: Any, state: Any, batch: Batch) -> tuple[Any, Any, Any, Array]:
            of = lambda params: loss(params, batch)
            value, gradient = optax.value_and_grad_from_state(of)(params, state=state)
            updates, state = optimizer.update(gradient, state, params, value=value, grad=gradient, value_fn=of)
            later = optax.tree.get(state, "value"), optax.tree.get(state, "grad")  # the line search has both already
            sound = jnp.stack([_finite(value, gradient), _finite(*later)])
            return optax.apply_updates(params, updates), state, value, sound

        self._take = jax.jit(step).lower(self._params, self._state, batch).compile()

    def take(self, steps: int) -> tuple[ndarray, StoppedBy | None]:
        stopped_by: StoppedBy | None = None
        before = len(self._losses)
        for _ in range(steps):
            good = self._params
            self._params, self._state, value, sound = self._take(self._params, self._state, self._batch)
            if not sound.all():
                stopped_by, self.message = "non-finite", self._describe(self._params if sound[0] else good)
            else:
                self._losses.append(float(value))
                stopped_by = self.converged()
            if stopped_by is not None:
                self._params = good
                break
        return np.array(self._losses[before:])[:, None], stopped_by

    def network(self) -> Callable[[], nnx.Module]:
        return partial(self._merged, self._params)

    def state(self) -> tuple[Any, Any]:
        return self._params, self._state

    def converged(self) -> StoppedBy | None:
        """Whether the loss has not become lower in the last steps, as a reason to stop."""
        losses = self._losses
        return "converged" if len(losses) > PATIENCE and losses[-1] >= losses[-1 - PATIENCE] else None

    def _describe(self, params: Any) -> str:
        gradient_of = jax.jit(self._loss.value_and_gradient, static_argnames="among")
        each = [gradient_of(params, self._batch, among=(name,)) for name in self._loss.terms]
        values = np.array([value for value, _ in each])
        row = np.array([values.sum(), *values])
        return describe_nonfinite(len(self._losses), self._loss.terms, row, (gradient for _, gradient in each))


def _as_precise(dtype: Any, leaf: Any) -> Array:
    """Real and complex numbers in the precision of a real dtype, all else as it is."""
    leaf = jnp.asarray(leaf)
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        return leaf.astype(jnp.result_type(dtype, jnp.complex64))
    return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _finite(*trees: Any) -> Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(trees)]).all()
