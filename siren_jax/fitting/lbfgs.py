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

from siren_jax._types import Batch, Objective
from siren_jax.fields.tiles import points_per_tile, sum_over_tiles
from siren_jax.fitting.checkpoints import Checkpoints
from siren_jax.fitting.descent import Fit, blame, last_weights
from siren_jax.fitting.progress import Budget, Log, Progress, interrupts
from siren_jax.fitting.recipes import Schedule
from siren_jax.fitting.resume import arrays_of, digest, restored
from siren_jax.fitting.step import check_precision

PATIENCE = 10  # steps without a lower loss, after which there is none


def refine(
    network: nnx.Module,
    objective: Objective,
    batch: Batch,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    weights: Mapping[str, float | Schedule] | None = None,
    memory: int = 50,
    double: bool = False,
    tile: int | None = None,
    watch: Callable[[Progress], Any] | None = None,
    checkpoints: Checkpoints | None = None,
) -> Fit:
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
        ValueError: no budget, or a weight for no term; a checkpoint of another network, batch, weight or memory, or of
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


def _refine(network, objective, batch, budget, weights, memory, dtype, tile, watch, checkpoints) -> Fit:
    graphdef, params, rest = nnx.split(network, nnx.Param, ...)
    check_precision(params)
    given = jax.tree.map(lambda leaf: leaf.dtype, params)
    params, batch = jax.tree.map(partial(_as_precise, dtype), (params, batch))

    def merged(params: Any) -> nnx.Module:
        with jax.enable_x64(dtype == jnp.float64):  # `watch` may call it outside
            return nnx.merge(graphdef, jax.tree.map(lambda leaf, kind: jnp.array(leaf, kind), params, given), rest)

    terms = jax.eval_shape(lambda params: objective(nnx.merge(graphdef, params, rest), batch), params)
    if unknown := set(weights) - set(terms):
        raise ValueError(f"there are weights for {sorted(unknown)}, but the objective has the terms {sorted(terms)}.")
    weights = last_weights(terms, weights)

    def value_and_gradient(params: Any, batch: Batch, among: Sequence[str] = tuple(terms)) -> tuple[Array, Any]:
        def weighed(params: Any, batch: Batch, masks: Mapping[int, Array]) -> Array:
            values = objective(nnx.merge(graphdef, params, rest), batch)
            means = jnp.stack([jnp.sum(masks[len(terms[name])] * values[name]) for name in among])
            return means @ jnp.array([weights[name] for name in among], dtype)

        zero = (jnp.zeros((), dtype), jax.tree.map(jnp.zeros_like, params))
        return sum_over_tiles(jax.value_and_grad(weighed), zero, params, batch, tile or points_per_tile())

    def blamed(step: int, params: Any) -> str:
        each = [jax.jit(partial(value_and_gradient, among=(name,)))(params, batch) for name in terms]
        values = np.array([value for value, _ in each])
        return blame(step, tuple(terms), np.array([values.sum(), *values]), (gradient for _, gradient in each))

    @jax.custom_vjp
    def loss(params: Any, batch: Batch) -> Array:
        return value_and_gradient(params, batch)[0]

    # The gradient is found with the value, a tile at a time; autodiff of the sum would keep all tiles.
    loss.defvjp(value_and_gradient, lambda gradient, seed: (jax.tree.map(lambda g: seed * g, gradient), None))
    optimizer = optax.lbfgs(memory_size=memory)

    @jax.jit
    def step(params: Any, state: Any, batch: Batch) -> tuple[Any, Any, Any, Array]:
        of = lambda params: loss(params, batch)
        value, gradient = optax.value_and_grad_from_state(of)(params, state=state)
        updates, state = optimizer.update(gradient, state, params, value=value, grad=gradient, value_fn=of)
        later = optax.tree.get(state, "value"), optax.tree.get(state, "grad")  # the line search has both already
        sound = jnp.stack([_finite(value, gradient), _finite(*later)])
        return optax.apply_updates(params, updates), state, value, sound

    state, log = optimizer.init(params), Log(("loss",), dtype=np.float64)
    origin = digest(params, batch, list(weights.values()))
    if checkpoints is not None and (kept := checkpoints.latest()) is not None:
        params, state = restored(kept, (params, state), log, origin, "it has another beginning, batch or weights")
        budget.check(log)
    snapshot = lambda: arrays_of((params, state), log, origin)
    losses = log.rows()[:, 0].tolist()

    stopped_by, message = _converged(losses) or budget.reached(log), ""
    with interrupts() as interrupted:  # while it compiles too: what is there already is worth keeping
        began = time.perf_counter()
        take = step.lower(params, state, batch).compile()
        compile_seconds = time.perf_counter() - began
        while not stopped_by:
            began, before = time.perf_counter(), len(losses)
            for _ in range(budget.length(log)):
                good = params
                params, state, value, sound = take(params, state, batch)
                if not sound.all():
                    stopped_by, message = "non-finite", blamed(len(losses), params if sound[0] else good)
                else:
                    losses.append(float(value))
                    stopped_by = _converged(losses)
                if stopped_by:
                    params = good
                    break
            log.add(np.array(losses[before:])[:, None], time.perf_counter() - began)
            if stopped_by == "non-finite":
                break
            stopped_by = stopped_by or budget.reached(log)
            if watch(log.progress(budget, partial(merged, params))):
                stopped_by = stopped_by or "watch"
            stopped_by = interrupted() or stopped_by
            if checkpoints is not None and not stopped_by:
                checkpoints.offer(log.steps, snapshot, log.rows)
    if checkpoints is not None and stopped_by != "non-finite":
        checkpoints.save(log.steps, snapshot(), log.rows)
    last = merged(params)
    return Fit(
        network=last,
        history=log.history(),
        best=last,  # a line search does not go up
        best_step=log.steps,
        worse=1.0,
        stopped_by=stopped_by,
        compile_seconds=compile_seconds,
        seconds_per_step=log.seconds_per_step(),
        weights=weights,
        message=message,
    )


def _converged(losses: list[float]) -> str:
    return "converged" if len(losses) > PATIENCE and losses[-1] >= losses[-1 - PATIENCE] else ""


def _as_precise(dtype: Any, leaf: Any) -> Array:
    """Real and complex numbers in the precision of a real dtype, all else as it is."""
    leaf = jnp.asarray(leaf)
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        return leaf.astype(jnp.result_type(dtype, jnp.complex64))
    return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _finite(*trees: Any) -> Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(trees)]).all()
