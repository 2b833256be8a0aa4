"""Steps of an Optax optimizer with a line search, on a loss that is computed tile by tile."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from numpy import ndarray

from siren_jax._types import Batch, StoppedBy
from siren_jax.fields.tiles import points_per_tile, sum_over_tiles
from siren_jax.fitting.devices import Devices
from siren_jax.fitting.host_loop import converged
from siren_jax.fitting.progress import Log
from siren_jax.fitting.terms import describe_nonfinite


class Loss:
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

    def describe(self, step: int, params: Any, batch: Batch) -> str:
        """A sentence that names the terms whose value or gradient is not finite at a step."""
        of = lambda name: self.devices.everywhere(partial(self.value_and_gradient, among=(name,)))
        each = [jax.jit(of(name))(params, batch) for name in self.terms]
        values = np.array([value for value, _ in each])
        row = np.array([values.sum(), *values])
        return describe_nonfinite(step, self.terms, row, (gradient for _, gradient in each))


class QuasiNewton:
    """The `Method` that takes steps of an Optax optimizer with a line search.

    Args:
        optimizer: as `optax.lbfgs`; its state has the value and the gradient after the step, as "value" and "grad".
        loss: the loss.
        state: parameters and state of the optimizer, initial ones or those of an earlier process.
        batch: all points.
        merged: makes a network of parameters.
        log: the steps so far, as rows of the loss before the step.
        in_place: whether a step overwrites the optimizer's state, which then may share no array with the parameters.
    """

    def __init__(
        self,
        optimizer: Any,
        loss: Loss,
        state: tuple[Any, Any],
        batch: Batch,
        merged: Callable[[Any], nnx.Module],
        log: Log,
        *,
        in_place: bool = False,
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

        donated = (1,) if in_place else ()
        self._take = (
            jax.jit(loss.devices.everywhere(step), donate_argnums=donated)
            .lower(self._params, self._state, batch)
            .compile()
        )

    def take(self, steps: int) -> tuple[ndarray, StoppedBy | None]:
        stopped_by: StoppedBy | None = None
        before = len(self._losses)
        for _ in range(steps):
            good = self._params
            self._params, self._state, value, sound = self._take(self._params, self._state, self._batch)
            if not sound.all():
                at = self._params if sound[0] else good
                stopped_by, self.message = "non-finite", self._loss.describe(len(self._losses), at, self._batch)
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


def _finite(*trees: Any) -> Array:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(trees)]).all()
