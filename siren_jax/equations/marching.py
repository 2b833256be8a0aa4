"""Time marching: an equation solved in one slab of time after another, each from the end of the last one."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from itertools import pairwise
from typing import Any, NamedTuple

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
from siren_jax.equations.slab_checkpoints import KeptSlabs
from siren_jax.equations.slabs import InSlab, Slabs
from siren_jax.equations.terms import Term
from siren_jax.equations.values import takes_field, value_at
from siren_jax.errors import InputError
from siren_jax.fields.operators import value_jacobian
from siren_jax.fields.precision import cast
from siren_jax.fitting.checkpoints import Checkpoints
from siren_jax.fitting.gauss_newton import NEGLIGIBLE
from siren_jax.fitting.last_layer import learned_parameters
from siren_jax.fitting.objectives import SumOfSquares
from siren_jax.fitting.progress import INTERRUPTIONS, Log, Progress, interrupts
from siren_jax.fitting.refinement import InTurn
from siren_jax.fitting.result import Fit
from siren_jax.fitting.resume import fingerprint
from siren_jax.fitting.terms import final_weights

NEAR = 1e-18  # initial damping of the last layer, whose start is near the solution
ENOUGH = 1e-20  # damping of the last layer that is as good as none: with less, the parameters and their rounding grow
HALVINGS = 6  # of a slab that is not solved: its smallest parts are 1/64 of it
SAME = 1e-9  # difference of two times that are the same but for rounding, in units of a slab


@dataclass(frozen=True)
class Marched:
    """The result of `march`: the solution, and the fits of the slabs."""

    network: Slabs
    """The solution. If a slab could not be solved, it ends there."""
    fits: tuple[Fit, ...]
    """The fit of each slab, and of each that was not solved, before the fits of its halves. If a checkpoint is
    continued, the first one is that of all slabs until there."""

    ended_by: StoppedBy | None = None
    """Why no slab followed, if the fit of the last one is not the reason: "seconds", "watch", "unsolved" or an
    interruption."""

    @property
    def stopped_by(self) -> StoppedBy:
        """Why the march ended: `ended_by`, or why the fit of the last slab ended."""
        return self.ended_by or self.fits[-1].stopped_by

    def as_fit(self) -> Fit[Slabs]:
        """The fits of all slabs as one, with their steps and histories one after another."""
        whole = reduce(Fit.followed_by, self.fits)
        steps = np.diff(whole.history["seconds"], prepend=0.0)
        pace = float(np.median(steps)) if whole.steps else 0.0
        changed = {"network": self.network, "best": self.network, "best_step": whole.steps}
        return replace(whole, stopped_by=self.stopped_by, seconds_per_step=pace, **changed)

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
    tolerance: int | float | None = None,
    batches: int = 1,
    method: RefinementMethod = "last-layer",
    weights: Mapping[str, Any] | None = None,
    tile: int | None = None,
    seconds: int | float | None = None,
    watch: Callable[[Progress], Any] | None = None,
    after: Slabs | None = None,
    checkpoints: Checkpoints | None = None,
) -> Marched:
    """The solution of a problem over a long time, in slabs: each is solved from the end of the last one.

    A network that represents the solution over a whole long time is large, and Newton's method needs a start near the
    solution. In a short slab, a small network is enough, and its start is the initial value at all times of the slab.
    The terms of the problem are those for the whole time. Their points are drawn once and moved into each slab, so that
    all slabs have the same program, which is compiled once.

    A slab that is not solved is halved, and its halves are solved one after the other, with the same program. They are
    halved again until they are solved or 1/64 of the slab; then the march ends with a warning. With the method
    "last-layer", a slab is solved if Newton's method converges within `steps`, or its loss falls by 16 digits; one step
    solves a linear problem. With "gauss-newton", a slab is solved with any finite loss. With a `tolerance`, the loss
    decides instead.

    Args:
        problem: has a term made by `initial`.
        network: sees the time of each slab from 0 to 1 and the other coordinates as they are; it is not changed. With
            the method "last-layer", made by `random_features`, whose frequency in the first coordinate is in radians
            per slab.
        slabs: number of slabs of equal length, or the times of their ends, from the start to the end of the time.
        key: random key of the points.
        steps: largest number of steps in each slab; Newton's method takes two to five near the solution.
        tolerance: largest loss of a slab that is solved, the sum of the terms' weights times their mean squares. By
            default, a converged slab may have any loss. With `math.inf`, every finite loss is small enough.
        batches: as in `Problem.refine`.
        method: "last-layer", or "gauss-newton" for all parameters, which starts from the network of the last slab.
        weights: weights of the terms; by default those of the problem.
        tile: see `refine`.
        seconds: time, without compilation, after which no further slab begins.
        watch: called after each solved slab with `Progress`, whose share is that of the solved time, whose network is
            that of the slabs so far and whose message says which slabs were halved; a true result ends the march.
        after: the slabs of an earlier march of the same problem and network, which is continued from their end. With
            the same `slabs`, the result is that of one march, to the bit.
        checkpoints: see `fit`; saved between slabs.

    Returns:
        `Marched`. Ctrl-C ends the march, and the slabs that are solved are kept.

    Raises:
        InputError: the problem has no `initial` term, or its terms have different times or given points; the slabs are
            not increasing from the start to the end of the time; the tolerance is not positive; `after` has another
            network or method, or no time is left after it; a checkpoint is of another march.
    """
    first, start, stop = _checked(problem)
    planned = _edges(slabs, start, stop)
    if tolerance is not None and not tolerance > 0:
        raise InputError(f"tolerance= is the largest loss of a solved slab, a positive number, but got {tolerance}.")
    if after is not None:
        _check_continued(after, network, method, start, stop)
    weights = final_weights([term.name for term in problem.terms], problem.weights if weights is None else weights)
    fitted = InTurn(
        SumOfSquares(lambda field, batch: _residuals(problem.terms, field, batch)),
        steps=steps,
        weights=weights,
        method=method,
        tile=tile,
        damping=(NEAR, ENOUGH) if method == "last-layer" else None,
    )
    points = problem.fixed(key, batches, double=True)[1]
    fits, log, ended_by = [], Log(("loss",), dtype=np.float64), None
    tried, halved = [], []  # fits and messages since the last solved slab, which are not yet logged and told
    with jax.enable_x64(True), interrupts() as interrupted:
        learns_all = method == "gauss-newton"
        inputs = (nnx.state(network, nnx.Param), points, weights, planned, learns_all, after and after.rows[...])
        store = KeptSlabs(checkpoints, log, inputs)
        if earlier := store.restored(network, method):
            fits, after = [earlier], earlier.network
        networks = [after.network_of(number) for number in range(len(after.edges) - 1)] if after else []
        edges, high = list(after.edges) if after else [start], stop
        so_far = lambda: Slabs(networks, edges, method)
        parts = [_Part(number, *ends) for number, ends in enumerate(pairwise(planned), 1)]
        ahead = [part for whole in parts for part in whole.after(edges[-1])]
        x = points[problem.terms[0].name][0]
        constant = _Constant(network, x, start, stop) if method == "last-layer" else None
        while ahead and ended_by is None:
            part = ahead.pop(0)
            low, high = edges[-1], part.high
            before = (networks[-1], edges[-2], low) if networks else None
            now = networks[-1] if networks else network
            if constant is not None:
                now = constant(_wanted(AtStart(first.value, None), network, constant.points_at(low), before))
            fit = fitted(now, _batch(problem, points, network, (start, stop), (low, high), before))
            fits.append(fit)
            tried.append(fit)
            if fit.stopped_by in INTERRUPTIONS.values():
                break
            if reason := _unsolved(fit, method, tolerance):
                name = part.told(len(parts))
                if part.halvings == HALVINGS:
                    ended_by = "unsolved"
                    warnings.warn(
                        f"the march ends at the time {low:.6g}: {name} is not solved: {reason}. Give more steps, more "
                        f"sines, {'' if tolerance is None else 'a larger tolerance, '}or shorter slabs.",
                        stacklevel=2,
                    )
                    break
                halved.append(f"{name} halved: {reason}")
                ahead[:0] = part.halves()
            else:
                if tolerance is None and constant is not None:
                    fits[-1] = replace(fit, stopped_by="converged")  # its last step may have been the last one allowed
                networks.append(fit.network)
                edges.append(high)
                for each in tried:
                    log.add(each.history["loss"][:, None], each.seconds)
                store.offer(so_far)
                if not ahead:
                    break
                if watch is not None:
                    share = (high - start) / (stop - start)
                    loss = {"loss": fit.loss}
                    told = (log.steps, log.seconds, share, fit.seconds_per_step, loss, so_far)
                    ended_by = "watch" if watch(Progress(*told, "\n".join(halved))) else None
                tried, halved = [], []
            spent = log.seconds + sum(each.seconds for each in tried)
            ended_by = interrupted() or ("seconds" if seconds is not None and spent >= seconds else ended_by)
        store.save(so_far)
        found = so_far() if networks else Slabs([fits[-1].network], [start, high], method)
    return Marched(found, tuple(fits), ended_by)


class _Part(NamedTuple):
    """A slab, or a part of it after some halvings."""

    slab: int
    """Number of the slab, from one on."""
    low: float
    high: float
    halvings: int = 0

    def halves(self) -> list["_Part"]:
        middle, deeper = (self.low + self.high) / 2, self.halvings + 1
        return [self._replace(high=middle, halvings=deeper), self._replace(low=middle, halvings=deeper)]

    def after(self, time: float) -> list["_Part"]:
        """The parts of this one that are left after a time: the largest ones that halving makes."""
        near = SAME * (self.high - self.low)
        if time <= self.low + near:
            return [self]
        if time >= self.high - near:
            return []
        if self.halvings == HALVINGS:
            return [self._replace(low=time)]
        return [part for half in self.halves() for part in half.after(time)]

    def told(self, slabs: int) -> str:
        share = f"1/{2**self.halvings} of " if self.halvings else ""
        return f"{share}slab {self.slab} of {slabs}"


def _unsolved(fit: Fit, method: RefinementMethod, tolerance: float | None) -> str:
    """Why a slab is not solved, in words; empty if it is."""
    if fit.stopped_by == "non-finite":
        return fit.message
    loss = fit.history["loss"][-1] if math.isnan(fit.loss) else fit.loss
    if tolerance is not None:
        return "" if loss <= tolerance else f"a loss of {loss:.2g} at step {fit.steps}, above {tolerance:g}"
    stuck = fit.history.get("damping", np.zeros(1))[-1] > ENOUGH
    solved = method == "gauss-newton" or (fit.stopped_by == "converged" and not stuck)
    solved = solved or loss <= NEGLIGIBLE * fit.history["loss"][0]
    return "" if solved else f"not converged at step {fit.steps}, with a loss of {loss:.2g}"


def _check_continued(after: Slabs, network: nnx.Module, method: RefinementMethod, start: float, stop: float) -> None:
    """Refuses slabs that a march cannot continue."""
    if after.method != method:
        raise InputError(f"the slabs of after= are solved with method={after.method!r}, but this march has {method!r}.")
    with jax.enable_x64(True):
        learned = learned_parameters(network) if method == "last-layer" else nnx.Param
        ours, theirs = (
            nnx.split(each, learned, nnx.Param, ...) for each in (cast(network, jnp.float64), after.network)
        )
    alike = [(each[0], jax.tree.map(jnp.shape, each[1]), fingerprint(each[2]).tobytes()) for each in (ours, theirs)]
    if alike[0] != alike[1]:
        raise InputError("the slabs of after= are those of another network; give the network that they were made with.")
    if abs(after.edges[0] - start) > SAME * (stop - start):
        raise InputError(f"the slabs of after= begin at the time {after.edges[0]:g}, but the problem's at {start:g}.")
    if after.edges[-1] >= stop - SAME * (stop - start):
        raise InputError(
            f"the slabs of after= end at the time {after.edges[-1]:g}, and the problem's at {stop:g}: nothing is left."
        )


class _Constant:
    """Networks whose last layers have given values at points, by least squares: the start of each slab.

    The factorization is the same for all slabs.
    """

    def __init__(self, network: nnx.Module, points: Float[Array, "n d"], start: float, stop: float):
        x = _enough(network, points)
        self._points = x = x.at[:, 0].set((x[:, 0] - start) / (stop - start))
        split = nnx.split(cast(network, jnp.float64), learned_parameters(network), ...)
        flat, unravel = ravel_pytree(jax.tree.map(jnp.zeros_like, split[1]))
        self._merged = lambda flat: nnx.merge(split[0], unravel(flat), split[2])
        at_point = jax.jacrev(lambda flat, x: self._merged(flat)(x))
        rows = jax.jit(jax.vmap(at_point, (None, 0)))(flat, x).reshape(-1, flat.size)
        damping = jnp.sqrt(NEAR / flat.size) * jnp.linalg.norm(rows) * jnp.eye(flat.size)
        q, self._triangle = jnp.linalg.qr(jnp.concatenate([rows, damping]))
        self._q = q[: len(rows)]

    def points_at(self, time: float) -> Float[Array, "n d"]:
        return self._points.at[:, 0].set(time)

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


def _batch(problem: Problem, points: Batch, network: Any, time: Any, slab: Any, before: Any) -> Batch:
    """The points of all terms, moved from the whole time into a slab, each with the slab's start and length."""
    batch, ((start, stop), (low, high)) = {}, (time, slab)
    for term in problem.terms:
        x, *more = points[term.name]
        share = (x[:, 0] - start) / (stop - start)
        x = x.at[:, 0].set(low * (1 - share) + high * share)
        if isinstance(term.residual, AtStart):
            more.append(_wanted(term.residual, network, x, before))
        batch[term.name] = (jnp.full(len(x), low), jnp.full(len(x), high - low)), (x, *more)
    return batch


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
