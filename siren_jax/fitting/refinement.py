"""The second phase of a fit: L-BFGS, Broyden's method or Gauss-Newton on a fixed batch, optionally in double precision.

Adam on fresh points stops improving at the noise of its batches. A quasi-Newton method on fixed points goes further:
L-BFGS for large networks, the self-scaled Broyden method for small ones. Gauss-Newton, for sums of squares and small
networks or few residuals, goes further still.
"""

import math
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Generic

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh

from siren_jax._types import Batch, Objective, RefinementMethod, StoppedBy
from siren_jax.errors import InputError
from siren_jax.fields.precision import cast
from siren_jax.fitting.broyden import self_scaled_broyden
from siren_jax.fitting.checkpoints import Checkpoints
from siren_jax.fitting.conjugate_gradients import ConjugateGradients, start_state, unfinished
from siren_jax.fitting.devices import Devices
from siren_jax.fitting.gauss_newton import HARDLY, Form, GaussNewton, initial_state, residual_count
from siren_jax.fitting.host_loop import run
from siren_jax.fitting.last_layer import FIRST, check_linear, check_rows, first_state, learned_parameters, undetermined
from siren_jax.fitting.objectives import SumOfSquares
from siren_jax.fitting.progress import Budget, Log, Progress, interrupts
from siren_jax.fitting.quasi_newton import Loss, QuasiNewton
from siren_jax.fitting.result import Fit, N
from siren_jax.fitting.resume import Keeper
from siren_jax.fitting.step import check_precision
from siren_jax.fitting.terms import Weight, check_weights, final_weights

METHODS: tuple[RefinementMethod, ...] = ("lbfgs", "broyden", "gauss-newton", "last-layer")
# Broyden's method: the matrix, which a step overwrites, and its copy in a checkpoint. Gauss-Newton: the old and the new
# JᵀJ, the damped one and its factor. A last layer: the old and the new triangle, the rows of a tile, and their copy.
MATRICES = {"broyden": 2, "gauss-newton": 4, "last-layer": 6}
# Parameters, or residuals of Gauss-Newton with more parameters than this: a matrix takes half a gigabyte, a QR
# factorization a teraflop. A last layer with more parameters is solved without a matrix.
MOST = 8000
VECTORS = 16  # of that solution, each with a number for each parameter: the state, its copies and the sums of a pass
PAIRS = 50  # default memory of L-BFGS


def refine(
    network: N,
    objective: Objective,
    batch: Batch,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    weights: Mapping[str, Weight] | None = None,
    method: RefinementMethod = "lbfgs",
    memory: int = PAIRS,
    double: bool | None = None,
    tile: int | None = None,
    watch: Callable[[Progress], Any] | None = None,
    checkpoints: Checkpoints | None = None,
    mesh: Mesh | None = None,
    draw: Callable[[Any], Batch] | None = None,
) -> Fit[N]:
    """A network refined on one batch by L-BFGS with a line search, Nocedal and Wright 2006, Algorithm 7.5, by the
    self-scaled Broyden method, Urbán, Stefanou and Pons 2025, or by Gauss-Newton steps with Levenberg's damping, of the
    whole network or of its last layer alone.

    Minimises the loss of `fit`, Σ_k weight_k · mean of term_k. A step of L-BFGS needs one or a few evaluations, and so
    does a step of Broyden's method, which also takes about ten operations for each pair of the P parameters; for up to
    a few thousand parameters it needs far fewer steps. A step of Gauss-Newton needs the residuals' derivatives by all
    parameters and takes about n·P² operations for n residuals; for as many parameters it reaches smaller losses. With
    more than 8,000 parameters, its step comes from the equation's other form, whose matrix has an entry for each pair
    of residuals instead: it takes up to 8,000 residuals, and about n²·P operations or, for wide dense layers, fewer.
    "last-layer" takes the same steps for the last layer alone, of a network whose sines are as they should be, such as
    `random_features`. If the residuals are linear in the field, its first step is the exact solution. With more than
    8,000 parameters of the last layer, it takes steps of conjugate gradients, for linear residuals only. A step needs
    one pass over the points, and a few steps are enough for sines that are nearly orthogonal at the points, such as
    `fourier_features` with the frequencies of a lattice. The sines of `random_features` are far from that.

    Args:
        network: initial network; it is not changed.
        objective: see `fit`.
        batch: all points. The network overfits too few, so use several times as many as for a step of `fit`.
        steps: largest number of steps. A budget of steps or seconds is required.
        seconds: longest time, without compilation.
        weights: see `fit`; a schedule counts with its final value. The `Fit.weights` of an earlier phase are its final
            weights, with the balance.
        method: "lbfgs" or "broyden"; for an objective of the type `SumOfSquares` also "gauss-newton" or "last-layer".
        memory: number of pairs of steps and gradient differences by which L-BFGS approximates the curvature.
        double: whether to compute in float64 and return a float64 network; by default all methods but L-BFGS do.
            Float32 stops at a loss of about 1e-9. A `NeuralField` computes with a float64 network in float64; the
            network itself does so inside of `with jax.enable_x64(True):`.
        tile: number of points whose gradient is computed at once; the default is that of `fit`; for Gauss-Newton 512,
            and for a last layer as many as have 256 MiB of derivatives, or 2 MiB of values for conjugate gradients on
            a CPU.
        watch: see `fit`; called in the caller's own precision mode, usually float32. A float64 network is float64 there
            too.
        checkpoints: see `fit`; a second phase needs its own directory.
        mesh: see `fit`. Of the other form of Gauss-Newton, all devices compute the same matrix.
        draw: for Gauss-Newton, a function from a step's number to the points of this step, which takes the place of
            `batch`. It is traced once. With more parameters than residuals, fixed points are
            overfitted, and new ones are not. The budget or `watch` then ends the fit, and the loss may rise.

    Returns:
        `Fit`, whose history contains only the loss before each step, and the damping of Gauss-Newton. The loss and
        gradient of the returned network are finite. The fit stops for the reasons of `fit`, and with "converged" once
        ten steps have not lowered the loss; for a last layer as soon as there is nothing left to gain. With
        "non-finite", the network is the last one whose loss and gradient were finite.

    Raises:
        InputError: the budget is missing, or a weight is for no term; a checkpoint has another network, batch, weight
            or memory, or is from a later step; the mesh has another axis; Gauss-Newton has no residuals, or more than
            8,000 parameters and as many residuals; Broyden's method has more than 8,000 parameters; `draw` is for
            another method than Gauss-Newton; "last-layer" has more parameters than residuals, a
            network without a linear last layer, or more than 8,000 parameters in which the residuals are not linear.
    """
    if method not in METHODS:
        raise InputError(f"refine takes one of the methods {', '.join(METHODS)}, but got {method!r}.")
    double = in_double(method, double)
    if method in ("gauss-newton", "last-layer") and not isinstance(objective, SumOfSquares):
        raise InputError(
            f"method={method!r} needs residuals, not their squares; give SumOfSquares(residuals), with a function "
            "(field, batch) -> {term: residuals at each point}."
        )
    if draw is not None and method != "gauss-newton":
        raise InputError(
            f"new points in each step are for method='gauss-newton', but got {method!r}; leave them out, or use fit."
        )
    devices = Devices(mesh)
    usual = bool(jax.config.jax_enable_x64)  # pyright: ignore[reportAttributeAccessIssue]

    def heard(progress: Progress) -> Any:
        with jax.enable_x64(usual):
            return watch is not None and watch(progress)

    with jax.enable_x64(double):
        dtype = jnp.float64 if double else jnp.float32
        budget = Budget(steps, seconds)
        settings = (memory, dtype, tile, heard, checkpoints, devices)
        return _refine(network, objective, batch, budget, weights or {}, method, *settings, draw=draw)[0]


class InTurn(Generic[N]):
    """`refine` in float64 for one batch after another, all with the programs that the first one compiles.

    All batches have the same shapes, and the networks differ only in the parameters that the method learns.

    Args:
        objective: residuals, which are the same function for all batches.
        steps: largest number of steps for a batch.
        weights: see `refine`.
        method: "gauss-newton" or "last-layer".
        tile: see `refine`.
        damping: for a last layer whose residuals are not linear, the initial damping for every batch, in units of the
            mean of the diagonal of JᵀJ, and one that is as good as none; by default as in `refine`.
    """

    def __init__(
        self,
        objective: SumOfSquares,
        *,
        steps: int,
        weights: Mapping[str, Weight] | None = None,
        method: RefinementMethod = "last-layer",
        tile: int | None = None,
        damping: tuple[float, float] | None = None,
    ):
        if method not in ("gauss-newton", "last-layer"):
            raise InputError(f"one batch after another takes 'gauss-newton' or 'last-layer', but got {method!r}.")
        self._objective, self._budget, self._weights = objective, Budget(steps, None), dict(weights or {})
        self._method: RefinementMethod = method
        self._tile, self._damping, self._taker = tile, damping, None
        self._final: dict[str, float] = {}
        self._names: tuple[str, ...] = ()

    def __call__(self, network: N, batch: Batch) -> Fit[N]:
        silent, devices = lambda progress: False, Devices(None)
        with jax.enable_x64(True):
            if self._taker is None:
                settings = (self._method, PAIRS, jnp.float64, self._tile, silent, None, devices, self._damping)
                first, self._taker = _refine(network, self._objective, batch, self._budget, self._weights, *settings)
                self._final, self._names = first.weights, tuple(name for name in first.history if name != "seconds")
                return first
            learned = learned_parameters(network) if self._method == "last-layer" else nnx.Param
            graphdef, params, fixed, rest = nnx.split(network, learned, nnx.Param, ...)
            log = Log(self._names, dtype=np.float64)
            with interrupts() as interrupted:
                taker = self._taker.again(*cast((params, batch), jnp.float64), log)
                keeper = Keeper(None, log, None, devices)
                stopped_by = run(taker, log, self._budget, interrupted, keeper, devices, converged=taker.converged())
            last = nnx.merge(graphdef, *cast((taker.state()[0], fixed), jnp.float64), rest)
        return _result(last, log, stopped_by, 0.0, self._final, taker)


def in_double(method: RefinementMethod, double: bool | None) -> bool:
    """Whether a method computes in float64, with `double` as for `refine`."""
    return method != "lbfgs" if double is None else double


def check_size(method: RefinementMethod, count: int, residuals: int) -> None:
    """Refuses networks with too many parameters for a method.

    Args:
        method: method of `refine`.
        count: number of parameters that it learns.
        residuals: number of residuals, which only Gauss-Newton needs.

    Raises:
        InputError: there are more than `MOST`, and the method has matrices of all their pairs.
    """
    if method not in ("broyden", "gauss-newton") or _order(method, count, residuals) <= MOST:
        return
    size = f"{bytes_of(method, count, residuals) / 1e9:,.0f} GB"
    if method == "gauss-newton":
        raise InputError(
            f"Gauss-Newton takes up to {MOST:,} parameters or {MOST:,} residuals, but this network has {count:,} "
            f"parameters, and there are {residuals:,} residuals, for whose pairs its matrices would take {size}. Use "
            "fewer points, or L-BFGS."
        )
    raise InputError(
        f"Broyden's method stores matrices of all pairs of parameters, {size} for the {count:,} parameters of this "
        f"network; it takes up to {MOST:,}. Use a narrower network, or L-BFGS."
    )


def bytes_of(method: RefinementMethod, count: int, residuals: int, double: bool | None = None) -> int:
    """Memory that a method takes for a number of parameters and residuals, in bytes: its matrices, or its vectors, such
    as the pairs of L-BFGS before and after a step."""
    if method == "lbfgs" or (method == "last-layer" and count > MOST):
        numbers = (2 * 2 * PAIRS if method == "lbfgs" else VECTORS) * count
    else:
        numbers = MATRICES[method] * _order(method, count, residuals) ** 2
    return numbers * (8 if in_double(method, double) else 4)


def _order(method: RefinementMethod, count: int, residuals: int) -> int:
    """Number of rows of a method's matrices."""
    return residuals if method == "gauss-newton" and count > MOST else count


def _refine(
    network: N,
    objective: Objective,
    batch: Batch,
    budget: Budget,
    weights: Mapping[str, Weight],
    method: RefinementMethod,
    memory: int,
    dtype: Any,
    tile: int | None,
    watch: Callable[[Progress], Any],
    checkpoints: Checkpoints | None,
    devices: Devices,
    damping: tuple[float, float] | None = None,
    draw: Callable[[Any], Batch] | None = None,
) -> tuple[Fit[N], Any]:
    """The fit, and the method that has taken its steps."""
    learned = learned_parameters(network) if method == "last-layer" else nnx.Param
    graphdef, params, fixed, rest = nnx.split(network, learned, nnx.Param, ...)
    check_precision((params, fixed))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    params, fixed, batch = cast((params, fixed, batch), dtype)
    points = None
    if draw is not None:
        drawn = jax.jit(lambda step: cast(draw(step), dtype))
        points = lambda step: devices.spread(drawn(step))
        batch = drawn(0)  # a checkpoint of a fit on fixed points is another fit's

    def merged(params: Any) -> N:
        with jax.enable_x64(dtype == jnp.float64):  # `watch` may call it outside
            return nnx.merge(graphdef, *jax.tree.map(jnp.array, (params, fixed)), rest)

    terms_of = lambda params, batch: objective(nnx.merge(graphdef, params, fixed, rest), batch)
    terms = jax.eval_shape(terms_of, params, batch)
    check_weights(weights, terms)
    final = final_weights(terms, weights)
    sized = {name: (len(terms[name]), weight) for name, weight in final.items()}
    loss = Loss(terms_of, sized, tile, dtype, devices)
    if isinstance(objective, SumOfSquares) and method in ("gauss-newton", "last-layer"):
        residuals = objective.residuals
        residuals_of = lambda params, batch: residuals(nnx.merge(graphdef, params, fixed, rest), batch)
        shapes = jax.eval_shape(residuals_of, params, batch)
        check_size(method, count, residual_count(shapes))
        wide, last_layer = count > MOST, method == "last-layer"
        if last_layer:
            check_rows(shapes, count)
        if last_layer and wide:
            check_linear(residuals_of, params, batch, MOST)
            log, start = Log(("loss",), dtype=np.float64), lambda: start_state(params, dtype)
            make = lambda state, batch: ConjugateGradients(residuals_of, loss, state, batch, merged, log, tile)
        else:
            form: Form = "triangle" if last_layer else "products" if wide else "squares"
            log, start = Log(("loss", "damping"), dtype=np.float64), lambda: initial_state(params, dtype)
            first, undamped = damping or (FIRST, HARDLY)
            if last_layer:
                start = lambda: first_state(residuals_of, params, batch, first)
            make = lambda state, batch: GaussNewton(
                residuals_of, sized, state, batch, merged, log, tile, devices, form, params, points, undamped
            )
    else:
        check_size(method, count, 0)
        dense = method == "broyden"
        optimizer = self_scaled_broyden() if dense else optax.lbfgs(memory_size=memory)
        log, start = Log(("loss",), dtype=np.float64), lambda: (params, optimizer.init(params))
        make = lambda state, batch: QuasiNewton(optimizer, loss, state, batch, merged, log, in_place=dense)
    keeper = Keeper(checkpoints, log, (params, fixed, batch, list(final.values())), devices)
    # Not bound to a name: the first state, a hundred copies of the weights, would live as long as the fit.
    begin = lambda: keeper.restored(start(), budget, "the initial network, batch or weights have changed")
    with interrupts() as interrupted:  # during compilation too: the first phase's result must not be lost
        began = time.perf_counter()
        taker = make(devices.spread(begin()), devices.spread(batch))
        compile_seconds = time.perf_counter() - began
        stopped_by = run(taker, log, budget, interrupted, keeper, devices, converged=taker.converged(), watch=watch)
    message = taker.message
    values = objective.values if isinstance(objective, SumOfSquares) else None
    if isinstance(taker, ConjugateGradients) and stopped_by in ("steps", "seconds"):
        message = unfinished(taker, log.steps)
    elif method == "last-layer" and isinstance(taker, GaussNewton) and values is not None and not message:
        # Constant points would be evaluated by the compiler, slowly.
        values_at = jax.jit(lambda params, batch: values(nnx.merge(graphdef, params, fixed, rest), batch))
        message = undetermined(taker, lambda params: values_at(params, batch))
    if message and stopped_by != "non-finite":
        warnings.warn(message, stacklevel=3)
    fit = replace(_result(merged(taker.state()[0]), log, stopped_by, compile_seconds, final, taker), message=message)
    return fit, taker


def _result(last: N, log: Log, stopped_by: StoppedBy, compile_seconds: float, weights: Any, taker: Any) -> Fit[N]:
    return Fit(
        network=last,
        history=log.history(),
        best=last,  # a line search does not increase the loss
        best_step=log.steps,
        final_over_best=1.0,
        stopped_by=stopped_by,
        compile_seconds=compile_seconds,
        seconds_per_step=log.seconds_per_step(),
        weights=weights,
        message=taker.message,
        loss=taker.loss() if isinstance(taker, GaussNewton) else math.nan,
    )
