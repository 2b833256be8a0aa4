"""Fitting: any network, any objective, any `sample(key, step)`; one jitted step, many steps a call.

`fit` prints nothing, and writes nothing but the checkpoints that it is asked for. The host sees the state between
chunks of about half a second: there it reads the clock, heeds Ctrl-C, calls `watch` and offers a checkpoint.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.tree_util import Partial
from numpy import ndarray

from siren_jax._types import Batch, Objective
from siren_jax.fields.tiles import points_per_tile
from siren_jax.fitting.checkpoints import Checkpoints
from siren_jax.fitting.progress import LOOK, Budget, Log, Progress, interrupts, next_look
from siren_jax.fitting.recipes import TUNED, Schedule, cosine_decay
from siren_jax.fitting.resume import arrays_of, digest, restored
from siren_jax.fitting.step import Given, Span, Steps, Term, batch_of, initial_state

Sample = Callable[..., Batch]
"""`(key, step) -> batch`, or with the share of the budget that is spent, `(key, step, share) -> batch`."""


@dataclass(frozen=True)
class Fit:
    """What a fit ended with."""

    network: nnx.Module
    """The fitted network; the one that was given is unchanged."""
    history: dict[str, ndarray]
    """For every step: `loss`, every term (unweighted means over the batch, before the step), and `seconds` at its
    end."""
    best: nnx.Module
    """The network where the running loss, a moving average of some ten steps, was lowest; for losses that may jump. It
    says nothing where weights change with the steps."""
    best_step: int
    worse: float
    """The running loss at the end, in units of its lowest; one where it is that."""
    stopped_by: str
    """"steps", "seconds", "watch" (or `until`), "interrupt" (Ctrl-C), "terminate" (SIGTERM), "hangup" (SIGHUP) or
    "non-finite"; of `refine` also "converged"."""
    compile_seconds: float
    seconds_per_step: float
    """Median over chunks."""
    weights: dict[str, float]
    """Of every term, for a second phase: those given, of a schedule the end, times the balance that was found."""
    skipped: int = 0
    """Steps whose loss or gradient was not finite, which changed nothing."""
    message: str = ""
    """Of a non-finite stop: which step, which term."""

    @property
    def steps(self) -> int:
        return len(self.history["loss"])

    @property
    def seconds(self) -> float:
        """Time spent on steps, without compilation."""
        return float(self.history["seconds"][-1]) if self.steps else 0.0

    def followed_by(self, later: "Fit") -> "Fit":
        """This fit and a second phase as one; the history has what both have."""
        offset = {"seconds": self.seconds}
        history = {
            name: np.concatenate([column, later.history[name] + offset.get(name, 0.0)])
            for name, column in self.history.items()
            if name in later.history
        }
        compile_seconds = self.compile_seconds + later.compile_seconds
        return replace(later, history=history, compile_seconds=compile_seconds)


def fit(
    network: nnx.Module,
    objective: Objective,
    sample: Sample,
    *,
    key: Array,
    steps: int | None = None,
    seconds: float | None = None,
    optimizer: Any = None,
    schedule: Schedule = cosine_decay,
    weights: Mapping[str, float | Schedule] | None = None,
    balance_every: int | None = None,
    tile: int | None = None,
    skip: int = 0,
    average: bool = False,
    until: Callable[[Progress], Any] | None = None,
    look: float = LOOK,
    watch: Callable[[Progress], Any] | None = None,
    checkpoints: Checkpoints | None = None,
) -> Fit:
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
        InputError: an optimizer that needs more or keeps parameters of its own, or weights of 16 bits.
        ValueError: no budget, one that is not positive, a weight for no term, a term without a value at each point, or
            one with the name "loss" or "seconds"; a checkpoint of a network, optimiser or terms of other shapes, of
            another key or other data, or of a later step.
    """
    budget = Budget(steps, seconds)
    if tile is not None and tile < 1:
        raise ValueError(f"a tile has at least one point, but got tile={tile}.")
    if balance_every is not None and balance_every < 1:
        raise ValueError(f"weights are balanced after at least one step, but got balance_every={balance_every}.")
    if optimizer is None:
        optimizer = TUNED["values"].optimizer(network)
    objective, sample = (f if isinstance(f, Partial) else Partial(f) for f in (objective, sample))
    weights = {} if weights is None else weights
    graphdef, params, rest = nnx.split(network, nnx.Param, ...)
    points = _points_of_terms(graphdef, params, rest, objective, sample, key, weights)
    names = tuple(points)
    weighted = [weights.get(name, 1.0) for name in names]
    term_weights = jnp.array([1.0 if callable(weight) else weight for weight in weighted], jnp.float32)
    state = initial_state(params, optimizer, len(names), average=average)  # the caller's network stays as it is
    log = Log(("loss", *names))
    origin = digest(key, rest, objective, sample) if checkpoints is not None else np.zeros(0)
    if checkpoints is not None and (kept := checkpoints.latest()) is not None:
        state = restored(kept, state, log, origin, "its key or its data are others")
        budget.check(log)
    snapshot = lambda: arrays_of(state, log, origin)

    began = time.perf_counter()
    given = Given(rest, objective, sample, key, term_weights)
    terms = tuple(
        Term(name, points[name], weight if callable(weight) else None)
        for name, weight in zip(names, weighted, strict=True)
    )
    program = Steps(
        graphdef, optimizer, schedule, terms, tile or points_per_tile(), budget.longest, balance_every, skip
    )
    take = jax.jit(program, donate_argnums=0).lower(state, given, _span(0, 1, (0.0, 0, 0.0))).compile()
    compile_seconds = time.perf_counter() - began

    stopped_by, message = budget.reached(log), ""
    with interrupts() as interrupted:
        while not stopped_by:
            looked_at = None if until is None else next_look(log.steps, look)
            length = budget.length(log, looked_at)
            share, since, rate = clock = budget.clock(log)
            began = time.perf_counter()
            state, table, taken = take(state, given, _span(log.steps, length, clock))
            table, taken = np.asarray(table), int(taken)  # waits for the device
            log.add(table[:taken], time.perf_counter() - began)
            if taken < length:
                spent = jnp.float32(share + (log.steps - since) * rate)
                batch = batch_of(sample, key, jnp.int32(log.steps), spent)
                gradient_of = jax.jit(program.gradient_of, static_argnums=0)
                gradients = (gradient_of(term, state.params, given, batch) for term in terms)
                stopped_by, message = "non-finite", blame(log.steps, names, table[taken], gradients)
            else:
                stopped_by = budget.reached(log)
                progress = log.progress(budget, partial(_copy, graphdef, state.result, rest))
                if until is not None and (log.steps == looked_at or stopped_by) and until(progress):
                    stopped_by = "watch"
                if watch is not None and watch(progress):
                    stopped_by = stopped_by or "watch"
                stopped_by = interrupted() or stopped_by
                if checkpoints is not None and not stopped_by:
                    checkpoints.offer(log.steps, snapshot, log.rows)

    if checkpoints is not None and stopped_by != "non-finite":
        checkpoints.save(log.steps, snapshot(), log.rows)
    params = state.good if stopped_by == "non-finite" else state.result
    balance = dict(zip(names, np.asarray(state.balance).tolist(), strict=True))
    return Fit(
        network=nnx.merge(graphdef, params, rest),
        history=log.history(),
        best=nnx.merge(graphdef, state.best.params, rest),
        best_step=int(state.best.step),
        worse=float(state.running / state.best.loss) if jnp.isfinite(state.running) else 1.0,
        stopped_by=stopped_by,
        compile_seconds=compile_seconds,
        seconds_per_step=log.seconds_per_step(),
        weights={name: weight * balance[name] for name, weight in last_weights(names, weights).items()},
        skipped=int(state.failed[1]) - (stopped_by == "non-finite"),
        message=message,
    )


def _span(start: int, length: int, clock: tuple[float, int, float]) -> Span:
    share, since, rate = clock
    steps = jnp.int32(start), jnp.int32(start + length)
    return Span(*steps, jnp.float32(share), jnp.int32(since), jnp.float32(rate))


def _copy(graphdef, params, rest) -> nnx.Module:
    return nnx.merge(graphdef, jax.tree.map(jnp.copy, params), rest)


def _points_of_terms(graphdef, params, rest, objective, sample, key, weights) -> dict[str, int]:
    """How many points each term of the objective has, after checking what the user's two functions return."""
    batch = jax.eval_shape(partial(batch_of, sample), key, jnp.int32(0), jnp.float32(0))
    shapes = [x.shape for x in jax.tree.leaves(batch)]
    if not shapes or not all(shape and shape[0] for shape in shapes):
        raise ValueError(f"every array of a batch needs a leading axis of points, but the shapes are {shapes}.")
    lengths = sorted({shape[0] for shape in shapes})
    names = []

    def evaluate(params: Any, batch: Batch) -> dict[str, Array]:
        terms = objective(nnx.merge(graphdef, params, rest), batch)
        names.extend(terms)  # in the objective's order, which a pytree of shapes does not keep
        return terms

    terms = jax.eval_shape(evaluate, params, batch)
    for name, value in terms.items():
        if value.ndim != 1 or value.shape[0] not in lengths:
            raise ValueError(
                f"the term {name!r} needs one value for each of the {' or '.join(map(str, lengths))} points, but has "
                f"the shape {value.shape}."
            )
    if reserved := {"loss", "seconds"} & set(terms):
        raise ValueError(f"a term cannot have the name {min(reserved)!r}, which the history has already; rename it.")
    if unknown := set(weights) - set(terms):
        raise ValueError(f"there are weights for {sorted(unknown)}, but the objective has the terms {sorted(terms)}.")
    return {name: terms[name].shape[0] for name in names}


def last_weights(names: Iterable[str], weights: Mapping[str, float | Schedule]) -> dict[str, float]:
    """The weight of every term once the budget is spent; one where not given."""
    given = {name: weights.get(name, 1.0) for name in names}
    return {name: float(w(jnp.float32(1)) if callable(w) else w) for name, w in given.items()}


def blame(step: int, names: tuple[str, ...], row: ndarray, gradients: Iterable[Any]) -> str:
    """What is not finite in a step.

    Args:
        step: its number.
        names: of the terms.
        row: the loss and the terms.
        gradients: of each term; not computed, if they are lazy, unless loss and terms are finite.
    """
    bad = [f"term {name!r} is {value}" for name, value in zip(names, row[1:], strict=True) if not np.isfinite(value)]
    if not bad and not np.isfinite(row[0]):
        bad = [f"the loss is {row[0]}"]
    if not bad:
        sound = [all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient)) for gradient in gradients]
        of = [f"term {name!r}" for name, fine in zip(names, sound, strict=True) if not fine]
        bad = [f"the gradient of {' and '.join(of) or 'the loss'} is not finite"]
    return f"at step {step} {', '.join(bad)}"
