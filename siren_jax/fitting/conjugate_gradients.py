"""Conjugate gradients on a linear least-squares problem that is too large for a matrix: CGLS.

The loss is |r(θ)|² with r(θ) = Jθ - b, each residual times the root of its weight. A step goes along the direction p to
the least loss on this line, and the next direction is conjugate to all earlier ones. Hestenes and Stiefel 1952; Björck
1996, Section 7.4. J is never stored: one pass over the points, tile by tile, gives |r|², |Jp|², Jᵀr and JᵀJp. The
residuals are evaluated anew in each step, so their rounding errors do not add up.

In exact arithmetic, as many steps suffice as JᵀJ has different eigenvalues: one for columns that are orthonormal, and
few for columns that nearly are, such as sines of a lattice at the points of a grid.
"""

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.flatten_util import ravel_pytree
from numpy import ndarray

from siren_jax._types import Batch, StoppedBy
from siren_jax.fields.tiles import points_per_tile, sum_over_tiles
from siren_jax.fitting.gauss_newton import real_rows
from siren_jax.fitting.host_loop import converged
from siren_jax.fitting.progress import Log
from siren_jax.fitting.quasi_newton import Loss

UNITS = 128  # a tile has as many numbers in a layer as `points_per_tile()` points of this many units
# Rounding, in units of that of one number: of the gradient, times the one before the first step, and of the loss.
ROUNDING = 100
FAR = 1e-6  # share of the first gradient that is not called a solution

State = tuple[Any, Array, Array, Array]
"""Parameters, the direction of the next step, |Jᵀr|² at these parameters and at the initial ones."""


def start_state(params: Any, dtype: Any) -> State:
    """The state before the first step, whose gradient is not yet known."""
    unknown = jnp.array(jnp.inf, dtype)
    return params, jnp.zeros_like(ravel_pytree(params)[0]), unknown, unknown


class ConjugateGradients:
    """The `Method` that takes steps of CGLS.

    Args:
        residuals_of: `(params, batch) -> {term: residuals at each point}`, linear in the parameters.
        loss: the sum of their weighted squares, with its terms and devices.
        state: from `start_state`, or of an earlier process.
        batch: all points.
        merged: makes a network of parameters.
        log: the steps so far, as rows of the loss before the step.
        tile: number of points that are taken together.
    """

    def __init__(
        self,
        residuals_of: Callable[[Any, Batch], Mapping[str, Array]],
        loss: Loss,
        state: State,
        batch: Batch,
        merged: Callable[[Any], nnx.Module],
        log: Log,
        tile: int | None,
    ):
        self._residuals_of, self._loss, self._merged, self._local = residuals_of, loss, merged, loss.devices.local
        self._rounding = ROUNDING * float(jnp.finfo(state[1].dtype).eps)
        self._tile = tile or max(1, UNITS * points_per_tile() // len(state[1]))
        self._take = jax.jit(loss.devices.everywhere(self._step)).lower(state, batch).compile()
        self._begin(state, batch, log)

    def again(self, params: Any, batch: Batch, log: Log) -> "ConjugateGradients":
        """The method with its compiled program for other parameters and another batch; see `GaussNewton.again`."""
        other = copy.copy(self)
        other._begin(start_state(params, self._state[1].dtype), batch, log)
        return other

    def _begin(self, state: State, batch: Batch, log: Log) -> None:
        self._losses: list[float] = log.rows()[:, 0].tolist()
        self._batch = batch
        self.message = ""
        """Which value was not finite, and in which step."""
        self._state: State = state

    def take(self, steps: int) -> tuple[ndarray, StoppedBy | None]:
        stopped_by: StoppedBy | None = None
        before = len(self._losses)
        if not jnp.isfinite(self._state[2]):
            self._state = self._take(self._state, self._batch)[0]  # a step of length 0, which finds the gradient
        while stopped_by is None and len(self._losses) < before + steps:
            state, loss, close = self._take(self._state, self._batch)
            if all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((state, loss))):
                self._losses.append(float(loss))
                self._state, stopped_by = state, "converged" if close else self.converged()
            else:
                self.message = self._loss.describe(len(self._losses), self._state[0], self._batch)
                stopped_by = "non-finite"
        return np.array(self._losses[before:])[:, None], stopped_by

    def network(self) -> Callable[[], nnx.Module]:
        params = self._state[0]
        return lambda: self._merged(self._local(params))

    def state(self) -> State:
        return self._local(self._state)

    def converged(self) -> StoppedBy | None:
        return "converged" if self.gradient() <= self._rounding else converged(self._losses)

    def gradient(self) -> float:
        """Size of the gradient, in units of that before the first step; NaN if no pass has been taken."""
        left, first = map(float, self._state[2:])
        return math.sqrt(left / first) if first else 0.0

    def _step(self, state: State, batch: Batch) -> tuple[State, Array, Array]:
        """The next state, the loss before the step, and whether the step has hardly lowered it."""
        tree, direction, left, first = state
        params, unravel = ravel_pytree(tree)
        number = jnp.zeros((), params.dtype)
        zero = number, number, jnp.zeros_like(params), jnp.zeros_like(params)

        def of_tile(at: Array, batch: Batch, masks: Mapping[int, Array]) -> tuple[Array, Array, Array, Array]:
            vector = lambda params: self._vector(unravel(params), batch, masks)
            residuals, along = jax.jvp(vector, (at[0],), (at[1],))
            pulled = jax.vjp(vector, at[0])[1]
            return residuals @ residuals, along @ along, *pulled(residuals), *pulled(along)

        loss, squares, gradient, bent = sum_over_tiles(
            of_tile, zero, jnp.stack([params, direction]), batch, self._tile, self._loss.devices.mesh
        )
        size, slope = gradient @ gradient, gradient @ direction
        moves = squares > 0
        length = jnp.where(moves, -slope / squares, 0)
        gradient += length * bent
        left = gradient @ gradient
        kept = jnp.where(moves, left / size, 0)
        next_state = (
            unravel(params + length * direction),
            kept * direction - gradient,
            left,
            jnp.where(jnp.isfinite(first), first, size),
        )
        return next_state, loss, -length * slope <= self._rounding * loss

    def _vector(self, params: Any, batch: Batch, masks: Mapping[int, Array]) -> Array:
        """Residuals of a tile, each times the root of its share of the loss."""
        residuals = self._residuals_of(params, batch)
        return jnp.concatenate(
            [
                (real_rows(residuals[name]) * jnp.sqrt(weight * masks[count])[:, None]).ravel()
                for name, (count, weight) in self._loss.terms.items()
            ]
        )


def unfinished(taker: ConjugateGradients, steps: int) -> str:
    """A sentence that says that the steps have not reached the solution; empty if they have."""
    if (left := taker.gradient()) <= FAR:
        return ""
    return (
        f"conjugate gradients have not reached the solution: after {steps} steps, the gradient is {left:.1e} times the "
        "first one. Take more steps, or sines that are more nearly orthogonal at the points."
    )
