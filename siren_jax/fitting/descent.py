"""Stochastic gradient descent: any network, any objective, any `sample(key, step)`; many jitted steps a call.

`fit` prints nothing, and writes nothing but the checkpoints that it is asked for.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.tree_util import Partial
from numpy import ndarray

from siren_jax._types import Batch, Objective, StoppedBy
from siren_jax.errors import InputError
from siren_jax.fields.tiles import points_per_tile
from siren_jax.fitting.checkpoints import Checkpoints
from siren_jax.fitting.host_loop import run
from siren_jax.fitting.progress import LOOK, Budget, Log, Progress, interrupts
from siren_jax.fitting.recipes import TUNED, Schedule, cosine_decay
from siren_jax.fitting.result import Fit, N
from siren_jax.fitting.resume import Keeper
from siren_jax.fitting.step import Given, Span, State, Steps, Term, batch_of, initial_state
from siren_jax.fitting.terms import Weight, check_weights, describe_nonfinite, final_weights, points_of_terms

Sample = Callable[..., Batch]
"""`(key, step) -> batch`, or with the share of the budget that is spent, `(key, step, share) -> batch`."""


def fit(
    network: N,
    objective: Objective,
    sample: Sample,
    *,
    key: Array,
    steps: int | None = None,
    seconds: float | None = None,
    optimizer: Any = None,
    schedule: Schedule = cosine_decay,
    weights: Mapping[str, Weight] | None = None,
    balance_every: int | None = None,
    tile: int | None = None,
    skip: int = 0,
    average: bool = False,
    until: Callable[[Progress], Any] | None = None,
    look: float = LOOK,
    watch: Callable[[Progress], Any] | None = None,
    checkpoints: Checkpoints | None = None,
) -> Fit[N]:
    """A network fitted to an objective: minimises Σ_k weight_k · mean over points of term_k.

    The same key, arguments and number of steps give the same bits on the same machine. In each step the batch is cut
    into tiles and the gradient summed over them: constant memory, and activations that stay in the cache.

    Args:
        network: any NNX module that maps one point to values.
        objective: `(field, batch) -> {term: (n,)}`, traced into the step.
        sample: `(key, step) -> batch`, traced into the step as well; the leading axis of every array is one of points,
            n of them. Arrays may differ in n where the objective's terms do. The arrays of a `jax.tree_util.Partial`,
            for either, are kept out of the compiled program. With a third argument of the name `share` it is told the
            share of the budget that is spent, 0 to 1.
        key: source of every batch; step k draws with `jax.random.fold_in(key, k)`.
        steps: stop after this many.
        seconds: stop after this time, compilation not counted. At least one of `steps` and `seconds` is needed.
        optimizer: an `optax.GradientTransformation` whose update needs the gradient, its state and the parameters; for
            L-BFGS see `refine`. By default that of `recipes.TUNED["values"]`: Adam at 2.5e-4, slower in wide networks
            and in a first layer of high omega. Labels and masks, which freeze a layer, are trees made of
            `nnx.state(network, nnx.Param)`, or functions of the parameters.
        schedule: factor on its update, as a function of the share of the budget that is spent (of `steps`, if given), 0
            to 1; see `recipes.Schedule`.
        weights: of the terms, numbers or functions of the share of the budget that is spent; one where not given.
        balance_every: steps after which the factors Σ_j |∇L_j| / |∇L_i| on the terms' weights are found anew, a moving
            average that makes the terms' gradients equally long where weights are equal, and else as the weights are to
            each other (Wang et al. 2023 on training PINNs). By default never.
        tile: points whose gradient is taken at once; by default 2,048 on a CPU and 65,536 elsewhere.
        skip: how many steps in a row may have a loss or gradient that is not finite. They change nothing, and are
            counted; one more ends the fit. By default the first does.
        average: return, and show to `until` and `watch`, the average of the weights over about the last tenth of the
            steps, whatever their number. With the schedule `recipes.inverse_root` it is at any step as good as the end
            of a cosine decay.
        until: called with `Progress` at fixed steps, which do not depend on the clock; a true answer ends the fit. So a
            fit that ends when a target is reached is repeatable.
        look: share of the steps taken after which `until` is called again; at least eight steps.
        watch: called between chunks with `Progress`; a true answer ends the fit. A target of 40 dB on values in
            [-1, 1]: `watch=lambda progress: progress.terms["value"] < 4e-4`.
        checkpoints: where the fit is kept while it runs and at its end. What they hold already is continued, to the
            same bits as without the interruption where `steps` alone bound it. With more steps than then a schedule
            goes by the new number. Code cannot be compared, nor numbers within it like a learning rate: name them in
            the `config` of `Checkpoints`.

    Returns:
        `Fit`, also after Ctrl-C (once; twice raises) and after a non-finite loss, then with the last good network.

    Raises:
        InputError: an optimizer that needs more or keeps parameters of its own, or weights of 16 bits; no budget, one
            that is not positive, a weight for no term, a term without a value at each point, or one with the name
            "loss" or "seconds"; a checkpoint of a network, optimiser or terms of other shapes, of another key or other
            data, or of a later step.
    """
    budget = Budget(steps, seconds)
    if tile is not None and tile < 1:
        raise InputError(f"a tile has at least one point, but got tile={tile}.")
    if balance_every is not None and balance_every < 1:
        raise InputError(f"weights are balanced after at least one step, but got balance_every={balance_every}.")
    if optimizer is None:
        optimizer = TUNED["values"].optimizer(network)
    objective, sample = (f if isinstance(f, Partial) else Partial(f) for f in (objective, sample))
    weights = {} if weights is None else weights
    graphdef, params, rest = nnx.split(network, nnx.Param, ...)
    points = points_of_terms(
        lambda params, batch: objective(nnx.merge(graphdef, params, rest), batch),
        params,
        lambda: batch_of(sample, key, jnp.int32(0), jnp.float32(0)),
    )
    check_weights(weights, points)
    schedules = {name: weight for name, weight in weights.items() if callable(weight)}
    constants = jnp.array([1.0 if name in schedules else weights.get(name, 1.0) for name in points], jnp.float32)
    state = initial_state(params, optimizer, len(points), average=average)  # the caller's network stays as it is
    log = Log(("loss", *points))
    keeper = Keeper(checkpoints, log, (key, rest, objective, sample))
    state = keeper.restored(state, budget, "its key or its data are others")
    program = Steps(
        graphdef,
        optimizer,
        schedule,
        tuple(Term(name, count, schedules.get(name)) for name, count in points.items()),
        tile or points_per_tile(),
        budget.longest,
        balance_every,
        skip,
    )
    began = time.perf_counter()
    descent = _Descent(program, Given(rest, objective, sample, key, constants), state, log, budget)
    compile_seconds = time.perf_counter() - began
    with interrupts() as interrupted:
        stopped_by = run(descent, log, budget, interrupted, keeper, until=until, look=look, watch=watch)

    state, failed = descent.state(), stopped_by == "non-finite"
    balance = dict(zip(points, np.asarray(state.balance).tolist(), strict=True))
    return Fit(
        network=nnx.merge(graphdef, state.good if failed else state.result, rest),
        history=log.history(),
        best=nnx.merge(graphdef, state.best.params, rest),
        best_step=int(state.best.step),
        final_over_best=float(state.running / state.best.loss) if jnp.isfinite(state.running) else 1.0,
        stopped_by=stopped_by,
        compile_seconds=compile_seconds,
        seconds_per_step=log.seconds_per_step(),
        weights={name: weight * balance[name] for name, weight in final_weights(points, weights).items()},
        skipped=int(state.failed[1]) - failed,
        message=descent.message() if failed else "",
    )


class _Descent:
    """Compiled steps of an optimizer, as a `Method`."""

    def __init__(self, program: Steps, given: Given, state: State, log: Log, budget: Budget):
        self._program, self._given, self._state, self._log, self._budget = program, given, state, log, budget
        self._failed: tuple[Span, ndarray] | None = None
        span = _span(0, 1, (0.0, 0, 0.0))
        self._take = jax.jit(program, donate_argnums=0).lower(state, given, span).compile()

    def take(self, steps: int) -> tuple[ndarray, StoppedBy | None]:
        span = _span(self._log.steps, steps, self._budget.clock(self._log))
        self._state, table, taken = self._take(self._state, self._given, span)
        table, taken = np.asarray(table), int(taken)  # waits for the device
        if taken == steps:
            return table[:taken], None
        self._failed = span, table[taken]
        return table[:taken], "non-finite"

    def network(self) -> Callable[[], nnx.Module]:
        params, graphdef, rest = self._state.result, self._program.graphdef, self._given.rest
        return lambda: nnx.merge(graphdef, jax.tree.map(jnp.copy, params), rest)

    def state(self) -> State:
        return self._state

    def message(self) -> str:
        """What was not finite in the step that ended the fit."""
        assert self._failed is not None
        (span, row), step = self._failed, self._log.steps
        program, given, params = self._program, self._given, self._state.params
        spent = span.share + (step - span.since) * span.rate
        batch = batch_of(given.sample, given.key, jnp.int32(step), jnp.float32(spent))
        gradient_of = jax.jit(program.gradient_of, static_argnums=0)
        gradients = (gradient_of(term, params, given, batch) for term in program.terms)
        return describe_nonfinite(step, [term.name for term in program.terms], row, gradients)


def _span(start: int, length: int, clock: tuple[float, int, float]) -> Span:
    share, since, rate = clock
    steps = jnp.int32(start), jnp.int32(start + length)
    return Span(*steps, jnp.float32(share), jnp.int32(since), jnp.float32(rate))
