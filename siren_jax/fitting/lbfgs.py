"""The second phase of a fit: L-BFGS or Gauss-Newton on a fixed batch, optionally in double precision.

Adam on fresh points stops improving at the noise of its batches. A quasi-Newton method on fixed points goes further,
and Gauss-Newton, for small networks and sums of squares, further still.
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
from jax.sharding import Mesh
from numpy import ndarray

from siren_jax._types import Batch, Objective, RefinementMethod, StoppedBy
from siren_jax.errors import InputError
from siren_jax.fields.precision import cast
from siren_jax.fields.tiles import points_per_tile, sum_over_tiles
from siren_jax.fitting.checkpoints import Checkpoints
from siren_jax.fitting.devices import Devices
from siren_jax.fitting.gauss_newton import GaussNewton, initial_state
from siren_jax.fitting.host_loop import converged, run
from siren_jax.fitting.objectives import SumOfSquares
from siren_jax.fitting.progress import Budget, Log, Progress, interrupts
from siren_jax.fitting.result import Fit, N
from siren_jax.fitting.resume import Keeper
from siren_jax.fitting.step import check_precision
from siren_jax.fitting.terms import Weight, check_weights, describe_nonfinite, final_weights

METHODS: tuple[RefinementMethod, ...] = ("lbfgs", "gauss-newton")


def refine(
    network: N,
    objective: Objective,
    batch: Batch,
    *,
    steps: int | None = None,
    seconds: float | None = None,
    weights: Mapping[str, Weight] | None = None,
    method: RefinementMethod = "lbfgs",
    memory: int = 50,
    double: bool | None = None,
    tile: int | None = None,
    watch: Callable[[Progress], Any] | None = None,
    checkpoints: Checkpoints | None = None,
    mesh: Mesh | None = None,
) -> Fit[N]:
    """A network refined on one batch by L-BFGS with a line search, Nocedal and Wright 2006, Algorithm 7.5, or by
    Gauss-Newton steps with Levenberg's damping.

    Minimises the loss of `fit`, Σ_k weight_k · mean of term_k. A step of L-BFGS needs one or a few evaluations. A step
    of Gauss-Newton needs the residuals' derivatives by all P parameters and takes about n·P² operations for n points;
    for up to a few thousand parameters it reaches far smaller losses.

    Args:
        network: initial network; it is not changed.
        objective: see `fit`.
        batch: all points. The network overfits too few, so use several times as many as for a step of `fit`.
        steps: largest number of steps. A budget of steps or seconds is required.
        seconds: longest time, without compilation.
        weights: see `fit`; a schedule counts with its final value. The `Fit.weights` of an earlier phase are its final
            weights, with the balance.
        method: "lbfgs", or "gauss-newton" for an objective of the type `SumOfSquares`.
        memory: number of pairs of steps and gradient differences by which L-BFGS approximates the curvature.
        double: whether to compute in float64 and return a float64 network; by default Gauss-Newton does, and L-BFGS
            does not. Float32 stops at a loss of about 1e-9. A `NeuralField` computes with a float64 network in float64;
            the network itself does so inside of `with jax.enable_x64(True):`.
        tile: number of points whose gradient is computed at once; the default is that of `fit`, and 512 for
            Gauss-Newton.
        watch: see `fit`; called in the caller's own precision mode, usually float32. A float64 network is float64 there
            too.
        checkpoints: see `fit`; a second phase needs its own directory.
        mesh: see `fit`.

    Returns:
        `Fit`, whose history contains only the loss before each step, and the damping of Gauss-Newton. The loss and
        gradient of the returned network are finite. The fit stops for the reasons of `fit`, and with "converged" once
        ten steps have not lowered the loss. With "non-finite", the network is the last one whose loss and gradient were
        finite.

    Raises:
        InputError: the budget is missing, or a weight is for no term; a checkpoint has another network, batch, weight
            or memory, or is from a later step; the mesh has another axis; Gauss-Newton has no residuals, or more than
            8,000 parameters.
    """
    if method not in METHODS:
        raise InputError(f"refine takes one of the methods {', '.join(METHODS)}, but got {method!r}.")
    double = in_double(method, double)
    if method == "gauss-newton" and not isinstance(objective, SumOfSquares):
        raise InputError(
            "Gauss-Newton needs residuals, not their squares; give SumOfSquares(residuals), with a function "
            "(field, batch) -> {term: residuals at each point}."
        )
    devices = Devices(mesh)
    usual = bool(jax.config.jax_enable_x64)  # pyright: ignore[reportAttributeAccessIssue]

    def heard(progress: Progress) -> Any:
        with jax.enable_x64(usual):
            return watch is not None and watch(progress)

    with jax.enable_x64(double):
        dtype = jnp.float64 if double else jnp.float32
        budget = Budget(steps, seconds)
        return _refine(
            network, objective, batch, budget, weights or {}, method, memory, dtype, tile, heard, checkpoints, devices
        )


def in_double(method: RefinementMethod, double: bool | None) -> bool:
    """Whether a method computes in float64, with `double` as for `refine`."""
    return method == "gauss-newton" if double is None else double


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
) -> Fit[N]:
    graphdef, params, rest = nnx.split(network, nnx.Param, ...)
    check_precision(params)
    params, batch = cast((params, batch), dtype)

    def merged(params: Any) -> N:
        with jax.enable_x64(dtype == jnp.float64):  # `watch` may call it outside
            return nnx.merge(graphdef, jax.tree.map(jnp.array, params), rest)

    terms_of = lambda params, batch: objective(nnx.merge(graphdef, params, rest), batch)
    terms = jax.eval_shape(terms_of, params, batch)
    check_weights(weights, terms)
    final = final_weights(terms, weights)
    sized = {name: (len(terms[name]), weight) for name, weight in final.items()}
    if isinstance(objective, SumOfSquares) and method == "gauss-newton":
        residuals = objective.residuals
        residuals_of = lambda params, batch: residuals(nnx.merge(graphdef, params, rest), batch)
        log, start = Log(("loss", "damping"), dtype=np.float64), lambda: initial_state(params, dtype)
        make = lambda state, batch: GaussNewton(residuals_of, sized, state, batch, merged, log, tile, devices)
    else:
        loss, optimizer = _Loss(terms_of, sized, tile, dtype, devices), optax.lbfgs(memory_size=memory)
        log, start = Log(("loss",), dtype=np.float64), lambda: (params, optimizer.init(params))
        make = lambda state, batch: _LBFGS(optimizer, loss, state, batch, merged, log)
    keeper = Keeper(checkpoints, log, (params, batch, list(final.values())), devices)
    # Not bound to a name: the first state, a hundred copies of the weights, would live as long as the fit.
    begin = lambda: keeper.restored(start(), budget, "the initial network, batch or weights have changed")
    with interrupts() as interrupted:  # during compilation too: the first phase's result must not be lost
        began = time.perf_counter()
        taker = make(devices.spread(begin()), devices.spread(batch))
        compile_seconds = time.perf_counter() - began
        stopped_by = run(taker, log, budget, interrupted, keeper, devices, converged=taker.converged(), watch=watch)
    last = merged(taker.state()[0])
    return Fit(
        network=last,
        history=log.history(),
        best=last,  # a line search does not increase the loss
        best_step=log.steps,
        final_over_best=1.0,
        stopped_by=stopped_by,
        compile_seconds=compile_seconds,
        seconds_per_step=log.seconds_per_step(),
        weights=final,
        message=taker.message,
    )


class _Loss:
    """The weighted sum of the terms' means and its gradient, computed tile by tile.

    Args:
        terms_of: `(params, batch) -> terms`.
        terms: number of points and weight of each term.
        tile: number of points of a tile.
        dtype: dtype of the loss.
        devices: devices that share the tiles.
    """

    def __init__(
        self,
        terms_of: Callable[[Any, Batch], dict[str, Array]],
        terms: Mapping[str, tuple[int, float]],
        tile: int | None,
        dtype: Any,
        devices: Devices,
    ):
        self._terms_of, self.terms, self._dtype, self.devices = terms_of, terms, dtype, devices
        self._tile = tile or points_per_tile()

        @jax.custom_vjp
        def loss(params: Any, batch: Batch) -> Array:
            return self.value_and_gradient(params, batch)[0]

        # The gradient is computed with the value, tile by tile; autodiff of the sum would store all tiles.
        loss.defvjp(self.value_and_gradient, lambda gradient, seed: (jax.tree.map(lambda g: seed * g, gradient), None))
        self._loss = loss

    def __call__(self, params: Any, batch: Batch) -> Array:
        return self._loss(params, batch)

    def value_and_gradient(self, params: Any, batch: Batch, among: Sequence[str] | None = None) -> tuple[Array, Any]:
        """The loss and its gradient, for all terms or for those in `among`."""
        terms = {name: self.terms[name] for name in among or self.terms}

        def weighted(params: Any, batch: Batch, masks: Mapping[int, Array]) -> Array:
            values = self._terms_of(params, batch)
            means = jnp.stack([jnp.sum(masks[count] * values[name]) for name, (count, _) in terms.items()])
            return means @ jnp.array([weight for _, weight in terms.values()], self._dtype)

        zero = (jnp.zeros((), self._dtype), jax.tree.map(jnp.zeros_like, params))
        return sum_over_tiles(jax.value_and_grad(weighted), zero, params, batch, self._tile, self.devices.mesh)


class _LBFGS:
    """The `Method` that takes steps of L-BFGS."""

    def __init__(
        self,
        optimizer: Any,
        loss: _Loss,
        state: tuple[Any, Any],
        batch: Batch,
        merged: Callable[[Any], nnx.Module],
        log: Log,
    ):
        self._loss, self._batch, self._merged, self._local = loss, batch, merged, loss.devices.local
        self._losses: list[float] = log.rows()[:, 0].tolist()
        self._params, self._state = state
        del state
        self.message = ""
        """Which value was not finite, and in which step."""

        def step(params: Any, state: Any, batch: Batch) -> tuple[Any, Any, Any, Array]:
            of = lambda params: loss(params, batch)
            value, gradient = optax.value_and_grad_from_state(of)(params, state=state)
            updates, state = optimizer.update(gradient, state, params, value=value, grad=gradient, value_fn=of)
            later = optax.tree.get(state, "value"), optax.tree.get(state, "grad")  # known from the line search
            sound = jnp.stack([_finite(value, gradient), _finite(*later)])
            return optax.apply_updates(params, updates), state, value, sound

        self._take = jax.jit(loss.devices.everywhere(step)).lower(self._params, self._state, batch).compile()

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
        params = self._params
        return lambda: self._merged(self._local(params))

    def state(self) -> tuple[Any, Any]:
        return self._local((self._params, self._state))

    def converged(self) -> StoppedBy | None:
        return converged(self._losses)

    def _describe(self, params: Any) -> str:
        of = lambda name: self._loss.devices.everywhere(partial(self._loss.value_and_gradient, among=(name,)))
        each = [jax.jit(of(name))(params, self._batch) for name in self._loss.terms]
        values = np.array([value for value, _ in each])
        row = np.array([values.sum(), *values])
        return describe_nonfinite(len(self._losses), self._loss.terms, row, (gradient for _, gradient in each))


def _finite(*trees: Any) -> Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(trees)]).all()
