"""Stochastic gradient descent for any network, objective and `sample(key, step)`; one jitted call takes many steps.

`fit` prints nothing and writes no files except the requested checkpoints.
"""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.sharding import Mesh
from jax.tree_util import Partial
from numpy import ndarray

from siren_jax._types import Batch, Objective, StoppedBy
from siren_jax.errors import InputError
from siren_jax.fields.tiles import points_per_tile
from siren_jax.fitting.checkpoints import Checkpoints
from siren_jax.fitting.devices import Devices
from siren_jax.fitting.host_loop import run
from siren_jax.fitting.progress import LOOK, Budget, Log, Progress, interrupts
from siren_jax.fitting.recipes import TUNED, Schedule, cosine_decay
from siren_jax.fitting.result import Fit, N
from siren_jax.fitting.resume import Keeper
from siren_jax.fitting.step import Given, Span, State, Steps, Term, batch_of, check_precision, initial_state
from siren_jax.fitting.terms import Weight, check_weights, describe_nonfinite, final_weights, points_of_terms

Sample = Callable[..., Batch]
"""`(key, step) -> batch`, or `(key, step, share) -> batch` with the spent share of the budget."""


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
    reuse: bool = False,
    checkpoints: Checkpoints | None = None,
    mesh: Mesh | None = None,
) -> Fit[N]:
    """A network fitted to an objective: minimises Σ_k weight_k · mean over points of term_k.

    The same key, arguments and number of steps give the same bits on the same machine. In each step, the batch is
    divided into tiles and the gradient is summed over them: memory is constant, and activations stay in the cache.

    Args:
        network: any NNX module that maps one point to values.
        objective: `(field, batch) -> {term: (n,)}`, traced into the step.
        sample: `(key, step) -> batch`, also traced into the step. The leading axis of every array is the points, n of
            them. Arrays may differ in n if the objective's terms do. If the sampler has a third argument named `share`,
            it receives the spent share of the budget, 0 to 1. `objective` and `sample` may be a
            `jax.tree_util.Partial`, whose arrays are arguments of the compiled program instead of constants.
        key: source of every batch; step k draws with `jax.random.fold_in(key, k)`.
        steps: number of steps after which the fit ends.
        seconds: time after which the fit ends, without compilation. At least one of `steps` and `seconds` is required.
        optimizer: an `optax.GradientTransformation` whose update needs the gradient, its state and the parameters; for
            L-BFGS see `refine`. The default is that of `recipes.TUNED["values"]`: Adam at 2.5e-4, with a lower rate for
            wide networks and for a first layer with a high omega. Labels and masks, which freeze a layer, are trees
            made from `nnx.state(network, nnx.Param)`, or functions of the parameters.
        schedule: factor on the optimizer's update, as a function of the spent share of the budget (of `steps`, if
            given), 0 to 1; see `recipes.Schedule`.
        weights: weights of the terms, numbers or functions of the spent share of the budget; 1 for terms not named.
        balance_every: number of steps after which the factors Σ_j |∇L_j| / |∇L_i| on the terms' weights are updated, as
            a moving average. With equal weights they make the gradients of all terms equally long; otherwise the
            lengths have the ratio of the weights (Wang et al. 2023 on training PINNs). The default is never.
        tile: number of points whose gradient is computed at once; by default 2,048 on a CPU and 65,536 elsewhere.
        skip: number of steps in a row that may have a non-finite loss or gradient. These steps change nothing and are
            counted; one more ends the fit. By default the first one ends it.
        average: whether to return, and to show to `until` and `watch`, the average of the weights over about the last
            tenth of the steps, whatever their number. With the schedule `recipes.inverse_root`, the average is at any
            step about as good as the end of a cosine decay.
        until: called with `Progress` at fixed steps that do not depend on the clock; a true result ends the fit. A fit
            that ends at a target is therefore repeatable.
        look: share of the completed steps after which `until` is called again; at least eight steps.
        watch: called with `Progress` between chunks; a true result ends the fit. A target of 40 dB for values in
            [-1, 1] is `watch=lambda progress: progress.terms["value"] < 4e-4`.
        reuse: whether to use the compiled steps of an earlier such fit in this process, which had the same functions,
            optimizer and settings, and data and network of the same shapes. The last eight are kept. As with `jax.jit`,
            nothing else that the functions read may have changed. Arrays of a `Partial` are not kept, others are.
        checkpoints: where the fit is saved while it runs and at its end. An existing checkpoint is continued, and the
            result has the same bits as without the interruption if `steps` alone is the budget. If `steps` has grown, a
            schedule uses the new number. Code and numbers inside it, such as a learning rate, cannot be compared: name
            them in the `config` of `Checkpoints`.
        mesh: devices that share the points of every step, along one axis named "points", for example
            `jax.make_mesh((8,), ("points",))`. Each has a copy of the network and of the data. 1, 2, 4 and 8 devices of
            one kind give the same bits; other numbers, and a fit without a mesh, differ from them by rounding. If the
            devices belong to several processes, every process calls `fit` with the same arguments and gets the same
            result; process 0 decides by the clock and uses `checkpoints`, which the others need not have.

    Returns:
        `Fit`, also after Ctrl-C (a second one raises) and after a non-finite loss, then with the last good network.

    Raises:
        InputError: the optimizer needs more arguments or has its own copy of the parameters; weights have 16 bits, or
            64 where JAX computes in 32; the budget is missing or not positive; a weight is for no term; a term lacks a
            value at each point, or has the name "loss" or "seconds"; a checkpoint has a network, optimizer or terms of
            other shapes, another key or other data, or is from a later step; with `reuse`, a function has no hash; the
            mesh has another axis, or the processes have different data.
    """
    devices = Devices(mesh)
    budget = Budget(steps, seconds)
    if tile is not None and tile < 1:
        raise InputError(f"tile must be at least one point, but got tile={tile}.")
    if balance_every is not None and balance_every < 1:
        raise InputError(f"balance_every must be at least one step, but got balance_every={balance_every}.")
    if optimizer is None:
        optimizer = TUNED["values"].optimizer(network)
    objective, sample = (f if isinstance(f, Partial) else Partial(f) for f in (objective, sample))
    weights = {} if weights is None else weights
    graphdef, params, rest = nnx.split(network, nnx.Param, ...)
    check_precision(params)
    points = points_of_terms(
        lambda params, batch: objective(nnx.merge(graphdef, params, rest), batch),
        params,
        lambda: batch_of(sample, key, jnp.int32(0), jnp.float32(0)),
    )
    check_weights(weights, points)
    schedules = {name: weight for name, weight in weights.items() if callable(weight)}
    constants = jnp.array([1.0 if name in schedules else weights.get(name, 1.0) for name in points], jnp.float32)
    state = initial_state(params, optimizer, len(points), average=average)  # copies: the caller's network is unchanged
    log = Log(("loss", *points))
    keeper = Keeper(checkpoints, log, (key, rest, objective, sample), devices)
    state = keeper.restored(state, budget, "the key or the data have changed")
    program = Steps(
        graphdef,
        optimizer,
        schedule,
        tuple(Term(name, count, schedules.get(name)) for name, count in points.items()),
        tile or points_per_tile(),
        budget.longest,
        balance_every,
        skip,
        devices.mesh,
    )
    began = time.perf_counter()
    given = Given(rest, objective, sample, key, constants)
    descent = _Descent(program, given, state, log, budget, reuse, devices)
    compile_seconds = time.perf_counter() - began
    with interrupts() as interrupted:
        stopped_by = run(descent, log, budget, interrupted, keeper, devices, until=until, look=look, watch=watch)

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
    """The `Method` that takes compiled steps of an optimizer."""

    def __init__(
        self, program: Steps, given: Given, state: State, log: Log, budget: Budget, reuse: bool, devices: Devices
    ):
        self._program, self._log, self._budget, self._devices, self._rest = program, log, budget, devices, given.rest
        self._failed: tuple[Span, ndarray] | None = None
        self._given, self._state = given, state = devices.spread((given, state))
        span = devices.spread(_span(0, 1, (0.0, 0, 0.0)))
        jitted = _kept_for(program, (state, given)) if reuse else _jitted(program)
        self._take = jitted.lower(state, given, span).compile()

    def take(self, steps: int) -> tuple[ndarray, StoppedBy | None]:
        span = self._devices.spread(_span(self._log.steps, steps, self._budget.clock(self._log)))
        self._state, table, taken = self._take(self._state, self._given, span)
        table, taken = np.asarray(table), int(taken)  # waits for the device
        if taken == steps:
            return table[:taken], None
        self._failed = span, table[taken]
        return table[:taken], "non-finite"

    def network(self) -> Callable[[], nnx.Module]:
        params, graphdef, rest = self._state.result, self._program.graphdef, self._rest
        return lambda: nnx.merge(graphdef, jax.tree.map(jnp.copy, self._devices.local(params)), rest)

    def state(self) -> State:
        return self._devices.local(self._state)

    def message(self) -> str:
        """Description of the non-finite value in the step that ended the fit."""
        assert self._failed is not None
        (span, row), step = self._failed, self._log.steps
        program, given, params = self._program, self._given, self._state.params
        share = span.share + (step - span.since) * span.rate
        batch = batch_of(given.sample, given.key, jnp.int32(step), jnp.float32(share))
        gradient_of = lambda term: jax.jit(lambda *args: program.gradient_of(term, *args))
        gradients = (gradient_of(term)(params, given, batch) for term in program.terms)
        return describe_nonfinite(step, [term.name for term in program.terms], row, gradients)


def _jitted(program: Steps) -> Any:
    return jax.jit(Devices(program.mesh).everywhere(program), donate_argnums=0)


def _kept_for(program: Steps, arguments: Any) -> Any:
    """The jitted steps for arguments of these shapes."""
    try:
        shapes, structure = jax.tree.flatten(jax.eval_shape(lambda same: same, arguments))
        return _kept(program, structure, tuple(shapes))
    except (TypeError, ValueError) as error:  # the second of a comparison of arrays
        raise InputError(
            f"reuse=True recognises functions and settings by their hash, but one has none: {error}. A function has a "
            "hash, and so has a dataclass with frozen=True whose fields have one; arrays belong into a Partial."
        ) from error


@functools.lru_cache(maxsize=8)
def _kept(program: Steps, structure: Any, shapes: tuple[jax.ShapeDtypeStruct, ...]) -> Any:
    del structure, shapes  # each has a jitted function of its own, so that its programs are forgotten with it
    return _jitted(program)


def _span(start: int, length: int, clock: tuple[float, int, float]) -> Span:
    share, since, rate = clock
    steps = jnp.int32(start), jnp.int32(start + length)
    return Span(*steps, jnp.float32(share), jnp.int32(since), jnp.float32(rate))
