"""Time marching: an equation solved in one slab of time after another, each from the end of the last one."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from siren_jax._types import Batch, Field, RefinementMethod, StoppedBy
from siren_jax.equations.conditions import AtStart
from siren_jax.equations.problem import Problem, residual_at
from siren_jax.equations.slabs import InSlab, Slabs
from siren_jax.equations.terms import Term
from siren_jax.equations.values import takes_field, value_at
from siren_jax.errors import InputError
from siren_jax.fields.operators import value_jacobian
from siren_jax.fields.precision import cast
from siren_jax.fitting.last_layer import learned_parameters
from siren_jax.fitting.objectives import SumOfSquares
from siren_jax.fitting.progress import Progress, interrupts
from siren_jax.fitting.refinement import InTurn
from siren_jax.fitting.result import Fit

NEAR = 1e-18  # initial damping of the last layer, whose start is near the solution
ENOUGH = 1e-20  # damping of the last layer that is as good as none: with less, the parameters and their rounding grow
SOLVED: tuple[StoppedBy, ...] = ("converged", "steps")


@dataclass(frozen=True)
class Marched:
    """The result of `march`: the solution, and the fits of the slabs."""

    network: Slabs
    """The solution. If a slab could not be solved, it ends there."""
    fits: tuple[Fit, ...]
    """The fit of each slab."""

    ended_by: StoppedBy | None = None
    """Why no slab followed, if the fit of the last one is not the reason: "seconds", "watch" or an interruption."""

    @property
    def stopped_by(self) -> StoppedBy:
        """Why the march ended: `ended_by`, or why the fit of the last slab ended."""
        return self.ended_by or self.fits[-1].stopped_by

    def as_fit(self) -> Fit[Slabs]:
        """The fits of all slabs as one, with their steps and histories one after another."""
        whole = reduce(Fit.followed_by, self.fits)
        steps = np.diff(whole.history["seconds"], prepend=0.0)
        changed = {"network": self.network, "best": self.network, "best_step": whole.steps}
        return replace(whole, stopped_by=self.stopped_by, seconds_per_step=float(np.median(steps)), **changed)

    @property
    def steps(self) -> int:
        """Number of steps of all slabs."""
        return sum(fit.steps for fit in self.fits)

    @property
    def compile_seconds(self) -> float:
        """Time of compilation, which is that of the first slab."""
        return sum(fit.compile_seconds for fit in self.fits)

    @property
    def seconds(self) -> float:
        """Time spent on steps."""
        return sum(fit.seconds for fit in self.fits)


def march(
    problem: Problem,
    network: nnx.Module,
    slabs: int | Sequence[int | float],
    *,
    key: Array,
    steps: int = 20,
    batches: int = 1,
    method: RefinementMethod = "last-layer",
    weights: Mapping[str, Any] | None = None,
    tile: int | None = None,
    seconds: int | float | None = None,
    watch: Callable[[Progress], Any] | None = None,
) -> Marched:
    """The solution of a problem over a long time, in slabs: each is solved from the end of the last one.

    A network that represents the solution over a whole long time is large, and Newton's method needs a start near the
    solution. In a short slab, a small network is enough, and its start is the initial value at all times of the slab.
    The terms of the problem are those for the whole time. Their points are drawn once and moved into each slab, so that
    all slabs have the same program, which is compiled once.

    Args:
        problem: has a term made by `initial`.
        network: sees the time of each slab from 0 to 1 and the other coordinates as they are; it is not changed. With
            the method "last-layer", made by `random_features`, whose frequency in the first coordinate is in radians
            per slab.
        slabs: number of slabs of equal length, or the times of their ends, from the start to the end of the time.
        key: random key of the points.
        steps: largest number of steps in each slab.
        batches: as in `Problem.refine`.
        method: "last-layer", or "gauss-newton" for all parameters, which starts from the network of the last slab.
        weights: weights of the terms; by default those of the problem.
        tile: see `refine`.
        seconds: time, without compilation, after which no further slab begins.
        watch: called after each solved slab with `Progress`, whose share is that of the solved slabs and whose network
            is that of the slabs so far; a true result ends the march.

    Returns:
        `Marched`. Ctrl-C ends the march, and the slabs that are solved are kept.

    Raises:
        InputError: the problem has no `initial` term, or its terms have different times or given points; the slabs are
            not increasing from the start to the end of the time.
    """
    first, start, stop = _checked(problem)
    edges = _edges(slabs, start, stop)
    fitted = InTurn(
        SumOfSquares(lambda field, batch: _residuals(problem.terms, field, batch)),
        steps=steps,
        weights=problem.weights if weights is None else weights,
        method=method,
        tile=tile,
        damping=(NEAR, ENOUGH) if method == "last-layer" else None,
    )
    whole = problem.fixed(key, batches, double=True)[1]
    networks, fits, now, before, constant, ended_by = [], [], network, None, None, None
    with jax.enable_x64(True), interrupts() as interrupted:
        for low, high in pairwise(edges):
            moved = {name: _moved(arrays, start, stop, low, high) for name, arrays in whole.items()}
            batch = {}
            for term in problem.terms:
                (x, *more), slab_of = moved[term.name], _columns(low, high, len(moved[term.name][0]))
                if isinstance(term.residual, AtStart):
                    more.append(_wanted(term.residual, network, x, before))
                batch[term.name] = slab_of, (x, *more)
            if method == "last-layer":
                x = _enough(network, moved[problem.terms[0].name][0])
                constant = constant or _Constant(network, x.at[:, 0].set((x[:, 0] - low) / (high - low)))
                now = constant(_wanted(AtStart(first.value, None), network, x.at[:, 0].set(low), before))
            fit = fitted(now, batch)
            fits.append(fit)
            if fit.stopped_by not in SOLVED:
                break
            now, before = fit.network, (fit.network, low, high)
            networks.append(now)
            if len(networks) == len(edges) - 1:
                break
            spent, so_far = sum(fit.seconds for fit in fits), partial(_slabs, networks, edges, method)
            if watch is not None:
                ended_by = "watch" if watch(_progress(fits, len(edges) - 1, so_far)) else None
            ended_by = interrupted() or ("seconds" if seconds is not None and spent >= seconds else ended_by)
            if ended_by is not None:
                break
    return Marched(_slabs(networks or [fits[0].network], edges, method), tuple(fits), ended_by)


def _slabs(networks: Sequence[nnx.Module], edges: Sequence[float], method: RefinementMethod) -> Slabs:
    return Slabs(networks, edges[: len(networks) + 1], method)


def _progress(fits: Sequence[Fit], slabs: int, network: Callable[[], Slabs]) -> Progress:
    seconds, steps, last = sum(fit.seconds for fit in fits), sum(fit.steps for fit in fits), fits[-1]
    loss = {"loss": float(last.history["loss"][-1])}
    return Progress(steps, seconds, len(fits) / slabs, last.seconds_per_step, loss, network)


class _Constant:
    """Networks whose last layers have given values at points, by least squares: the start of each slab.

    The factorization is the same for all slabs.
    """

    def __init__(self, network: nnx.Module, x: Float[Array, "n d"]):
        split = nnx.split(cast(network, jnp.float64), learned_parameters(network), ...)
        flat, unravel = ravel_pytree(jax.tree.map(jnp.zeros_like, split[1]))
        self._merged = lambda flat: nnx.merge(split[0], unravel(flat), split[2])
        at_point = jax.jacrev(lambda flat, x: self._merged(flat)(x))
        rows = jax.jit(jax.vmap(at_point, (None, 0)))(flat, x).reshape(-1, flat.size)
        damping = jnp.sqrt(NEAR / flat.size) * jnp.linalg.norm(rows) * jnp.eye(flat.size)
        q, self._triangle = jnp.linalg.qr(jnp.concatenate([rows, damping]))
        self._q = q[: len(rows)]

    def __call__(self, values: Float[Array, "n c"]) -> nnx.Module:
        return self._merged(jax.scipy.linalg.solve_triangular(self._triangle, self._q.T @ values.ravel()))


def _enough(network: nnx.Module, x: Float[Array, "n d"]) -> Float[Array, "m d"]:
    """As many of the points as have three times as many values as the last layer has parameters."""
    parameters = sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network, learned_parameters(network))))
    (channels,) = jax.eval_shape(network, x[0]).shape
    return x[: math.ceil(3 * parameters / channels)]


def _residuals(terms: Sequence[Term], field: Field, batch: Batch) -> dict[str, Array]:
    """The residuals of the terms in a slab, whose start and length are columns of the batch."""

    def at(term: Term) -> Any:
        residual = residual_at(replace(term, residual=_continued(term.residual)))
        return lambda field, here: residual(InSlab(field, *here[0]), here[1])

    def _continued(residual: Any) -> Any:
        if not isinstance(residual, AtStart):
            return residual
        return lambda u, x, normal, wanted: _joined(residual, u, x) - wanted

    return {term.name: jax.vmap(at(term), (None, 0))(field, batch[term.name]) for term in terms}


def _joined(condition: AtStart, u: Field, x: Float[Array, "d"]) -> Array:
    """What a condition prescribes at the start: the values, the derivatives in time, or both."""
    value, slope = value_jacobian(u)(x) if condition.velocity is not None else (u(x), None)
    parts = [] if condition.value is None else [value]
    return jnp.concatenate(parts if slope is None else [*parts, slope[:, 0]])


def _wanted(condition: AtStart, network: Any, x: Float[Array, "n d"], before: Any) -> Float[Array, "n r"]:
    """The prescribed numbers at the start of a slab: those of the problem, or of the slab before at its end."""
    if before is not None:
        last, low, high = before
        return _at_end(condition.value is not None, condition.velocity is not None, last, low, high - low, x)
    (channels,) = jax.eval_shape(network, x[0]).shape
    given = [value for value in (condition.value, condition.velocity) if value is not None]
    if any(callable(value) and takes_field(value) for value in given):
        raise InputError("time marching takes initial values that are numbers or functions of the point alone.")

    def at(x: Array) -> Array:
        return jnp.concatenate([_as_channels(value_at(value, lambda x: x, x), channels) for value in given])

    return jax.vmap(at)(x).astype(x.dtype)


def _as_channels(value: Array, channels: int) -> Array:
    if jnp.iscomplexobj(value):
        half = jnp.broadcast_to(value, channels // 2)
        return jnp.concatenate([half.real, half.imag])
    return jnp.broadcast_to(value, channels)


@partial(jax.jit, static_argnums=(0, 1))
def _at_end(value: bool, velocity: bool, network: Any, low: Any, length: Any, x: Array) -> Array:
    condition = AtStart(0.0 if value else None, 0.0 if velocity else None)
    return jax.vmap(lambda x: _joined(condition, InSlab(network, low, length), x))(x)


def _moved(arrays: tuple[Array, ...], start: float, stop: float, low: float, high: float) -> tuple[Array, ...]:
    """The arrays of a term, with points moved from the whole time into a slab."""
    x, *more = arrays
    share = (x[:, 0] - start) / (stop - start)
    return x.at[:, 0].set(low * (1 - share) + high * share), *more


def _columns(low: float, high: float, n: int) -> tuple[Array, Array]:
    return jnp.full(n, low), jnp.full(n, high - low)


def _checked(problem: Problem) -> tuple[AtStart, float, float]:
    """The condition with the first initial value, and the time of the problem."""
    conditions = [term.residual for term in problem.terms if isinstance(term.residual, AtStart)]
    values = [condition for condition in conditions if condition.value is not None]
    if not values:
        raise InputError(
            "time marching needs a problem that evolves from an initial value, with a term initial(value, domain); "
            f"but got the terms {[term.name for term in problem.terms]}."
        )
    if given := [term.name for term in problem.terms if term.given]:
        raise InputError(
            f"time marching moves the points of all terms into each slab, but those of {given} are given; leave these "
            "terms out, or use conditions on a domain."
        )
    times = {(term.domain.low[0], term.domain.high[0]) for term in problem.terms if term.domain is not None}
    if len(times) > 1:
        raise InputError(f"time marching needs the same time in all terms, but they have {sorted(times)}.")
    ((start, stop),) = times
    return values[0], start, stop


def _edges(slabs: Any, start: float, stop: float) -> list[float]:
    """The times of the ends of the slabs."""
    if isinstance(slabs, int):
        if slabs < 1:
            raise InputError(f"time marching needs at least one slab, but got {slabs}.")
        return np.linspace(start, stop, slabs + 1).tolist()
    edges = np.asarray(slabs, np.float64)
    if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0):
        raise InputError(f"slabs are a number, or increasing times of their ends, but got {slabs!r:.200}.")
    near = 1e-6 * (stop - start)
    if abs(edges[0] - start) > near or abs(edges[-1] - stop) > near:
        raise InputError(
            f"the slabs go from {edges[0]:g} to {edges[-1]:g}, but the problem's time from {start:g} to {stop:g}; give "
            "the times of all ends, from the start to the end of the time."
        )
    return edges.tolist()
