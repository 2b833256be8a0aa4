"""Fitting: any network, any objective, any `sample(key, step)`; one jitted step, many steps a call.

`fit` prints nothing and writes nothing. The host sees the state between chunks of about half a second: there it reads
the clock, heeds Ctrl-C and calls `watch`.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.tree_util import Partial
from numpy import ndarray

from siren_jax._types import Batch, Objective
from siren_jax.progress import Budget, Log, Progress
from siren_jax.recipes import TUNED, Schedule, cosine_decay
from siren_jax.step import Given, Span, State, Steps
from siren_jax.tiles import points_per_tile

Sample = Callable[[Array, Array], Batch]


@dataclass(frozen=True)
class Fit:
    """What a fit ended with."""

    network: nnx.Module
    """The fitted network; the one that was given is unchanged."""
    history: dict[str, ndarray]
    """For every step: `loss`, every term (unweighted means over the batch, before the step), and `seconds` at its
    end."""
    stopped_by: str
    """"steps", "seconds", "watch", "interrupt" or "non-finite"."""
    compile_seconds: float
    seconds_per_step: float
    """Median over chunks."""
    message: str = ""
    """Of a non-finite stop: which step, which term."""

    @property
    def steps(self) -> int:
        return len(self.history["loss"])

    @property
    def seconds(self) -> float:
        """Time spent on steps, without compilation."""
        return float(self.history["seconds"][-1]) if self.steps else 0.0


def fit(
    network: nnx.Module,
    objective: Objective,
    sample: Sample,
    *,
    key: Array,
    steps: int | None = None,
    seconds: float | None = None,
    optimizer: optax.GradientTransformation | None = None,
    schedule: Schedule = cosine_decay,
    weights: Mapping[str, float] | None = None,
    tile: int | None = None,
    watch: Callable[[Progress], Any] | None = None,
) -> Fit:
    """A network fitted to an objective: minimises Σ_k weight_k · mean over points of term_k.

    The same key, arguments and number of steps give the same bits on the same machine. In each step the batch is cut
    into tiles and the gradient summed over them: constant memory, and activations that stay in the cache.

    Args:
        network: any NNX module that maps one point to values.
        objective: `(field, batch) -> {term: (n,)}`, traced into the step.
        sample: `(key, step) -> batch`, traced into the step as well; leaves share a leading axis n. The arrays of a
            `jax.tree_util.Partial`, for either, are kept out of the compiled program.
        key: source of every batch; step k draws with `jax.random.fold_in(key, k)`.
        steps: stop after this many.
        seconds: stop after this time, compilation not counted. At least one of `steps` and `seconds` is needed.
        optimizer: optax; by default that of `recipes.TUNED["values"]`: Adam at 2.5e-4, slower in a first layer of high
            omega.
        schedule: factor on its update, as a function of the share of the budget that is spent (of `steps`, if given), 0
            to 1.
        weights: of the terms; one where not given.
        tile: points whose gradient is taken at once; by default 2,048 on a CPU and 65,536 elsewhere.
        watch: called between chunks with `Progress`; a true answer ends the fit. A target of 40 dB on values in
            [-1, 1]: `watch=lambda progress: progress.terms["value"] < 4e-4`.

    Returns:
        `Fit`, also after Ctrl-C (once; twice raises) and after a non-finite loss, then with the last good network.

    Raises:
        ValueError: no budget, one that is not positive, a weight for no term, or a term without a value at each point.
    """
    budget = Budget(steps, seconds)
    if tile is not None and tile < 1:
        raise ValueError(f"a tile has at least one point, but got tile={tile}.")
    if optimizer is None:
        optimizer = TUNED["values"].optimizer(getattr(network, "first_omega", None))
    objective, sample = (f if isinstance(f, Partial) else Partial(f) for f in (objective, sample))
    weights = {} if weights is None else weights
    graphdef, params, rest = nnx.split(network, nnx.Param, ...)
    terms = _term_names(graphdef, params, rest, objective, sample, key, weights)
    term_weights = jnp.array([weights.get(name, 1.0) for name in terms], jnp.float32)
    params = jax.tree.map(jnp.copy, params)  # donated below; the caller's network stays
    state = State(params, optimizer.init(params), jax.tree.map(jnp.copy, params))

    began = time.perf_counter()
    given = Given(rest, objective, sample, key, term_weights)
    program = Steps(graphdef, optimizer, schedule, terms, tile or points_per_tile(), budget.longest)
    take = jax.jit(program, donate_argnums=0).lower(state, given, _span(0, 1, (0.0, 0, 0.0))).compile()
    compile_seconds = time.perf_counter() - began

    log = Log(("loss", *terms))
    stopped_by = message = ""
    with _interrupts() as interrupted:
        while not stopped_by:
            length = budget.length(log)
            began = time.perf_counter()
            state, table, taken = take(state, given, _span(log.steps, length, budget.clock(log)))
            table, taken = np.asarray(table), int(taken)  # waits for the device
            log.add(table[:taken], time.perf_counter() - began)
            if taken < length:
                stopped_by, message = "non-finite", _blame(log.steps, terms, table[taken])
            else:
                stopped_by = budget.reached(log)
                if watch is not None and watch(log.progress(budget, partial(_copy, graphdef, state.params, rest))):
                    stopped_by = stopped_by or "watch"
                if interrupted():
                    stopped_by = "interrupt"

    params = state.good if stopped_by == "non-finite" else state.params
    return Fit(
        network=nnx.merge(graphdef, params, rest),
        history=log.history(),
        stopped_by=stopped_by,
        compile_seconds=compile_seconds,
        seconds_per_step=float(np.median(log.rates)),
        message=message,
    )


def _span(start: int, length: int, clock: tuple[float, int, float]) -> Span:
    share, since, rate = clock
    steps = jnp.int32(start), jnp.int32(start + length)
    return Span(*steps, jnp.float32(share), jnp.int32(since), jnp.float32(rate))


def _copy(graphdef, params, rest) -> nnx.Module:
    return nnx.merge(graphdef, jax.tree.map(jnp.copy, params), rest)


def _term_names(graphdef, params, rest, objective, sample, key, weights) -> tuple[str, ...]:
    """The objective's terms, after checking what the user's two functions return."""
    batch = jax.eval_shape(sample, key, jnp.int32(0))
    sizes = {x.shape[:1] for x in jax.tree.leaves(batch)}
    if len(sizes) != 1 or () in sizes:
        raise ValueError(f"the arrays of a batch must share their leading axis, but have the lengths {sorted(sizes)}.")
    (n,) = sizes.pop()
    names = []

    def evaluate(params: Any, batch: Batch) -> dict[str, Array]:
        terms = objective(nnx.merge(graphdef, params, rest), batch)
        names.extend(terms)  # in the objective's order, which a pytree of shapes does not keep
        return terms

    shapes = jax.eval_shape(evaluate, params, batch)
    for name, value in shapes.items():
        if value.shape != (n,):
            raise ValueError(
                f"the term {name!r} needs one value for each of the {n} points, but has the shape {value.shape}."
            )
    if unknown := set(weights) - set(shapes):
        raise ValueError(f"there are weights for {sorted(unknown)}, but the objective has the terms {sorted(shapes)}.")
    return tuple(names)


def _blame(step: int, terms: tuple[str, ...], row: ndarray) -> str:
    bad = [f"term {name!r} is {value}" for name, value in zip(terms, row[1:], strict=True) if not np.isfinite(value)]
    return f"at step {step} {', '.join(bad) or 'the gradient is not finite'}"


@contextmanager
def _interrupts() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C into a flag that is read between chunks; a second one raises as ever."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    event = threading.Event()
    previous = signal.getsignal(signal.SIGINT)

    def heed(number, frame):
        event.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, heed)
    try:
        yield event.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
