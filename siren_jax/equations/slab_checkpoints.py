"""The slabs of a march in checkpoints, from which a later process continues; `fitting.resume` does so for one fit."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy import ndarray

from siren_jax._types import RefinementMethod
from siren_jax.equations.slabs import Slabs
from siren_jax.errors import InputError
from siren_jax.fields.precision import cast
from siren_jax.fitting.checkpoints import Checkpoints
from siren_jax.fitting.progress import Log
from siren_jax.fitting.result import Fit, no_fit
from siren_jax.fitting.resume import fingerprint


class KeptSlabs:
    """Saves the solved slabs and the log of their steps, and restores them; without checkpoints it does nothing.

    Args:
        checkpoints: where slabs and log are saved, or None.
        log: log of the steps of the solved slabs.
        inputs: arrays that must be the same when the march continues.
    """

    def __init__(self, checkpoints: Checkpoints | None, log: Log, inputs: Any):
        self._checkpoints, self._log = checkpoints, log
        self._origin = np.zeros(0, np.uint8) if checkpoints is None else fingerprint(inputs)

    def restored(self, network: nnx.Module, method: RefinementMethod) -> Fit[Slabs] | None:
        """The slabs of the newest checkpoint as one fit, or None; the log receives their steps.

        Raises:
            InputError: the checkpoint belongs to another march.
        """
        kept = None if self._checkpoints is None else self._checkpoints.latest()
        if kept is None:
            return None
        if not np.array_equal(kept.arrays.get("origin", ()), self._origin):
            raise InputError(
                f"the checkpoint of step {kept.step} is from another march: the network, points, weights or slabs have "
                "changed. Repeat the arguments of that march."
            )
        edges: list[float] = kept.arrays["edges"].tolist()
        slabs = Slabs([cast(network, jnp.float64)], edges[:2], method)
        slabs.edges, slabs.rows = tuple(edges), nnx.Param(jnp.asarray(kept.arrays["rows"]))
        self._log.restore(kept.rows, kept.arrays["clock"])
        pace = self._log.seconds_per_step()
        return replace(no_fit(slabs), history=self._log.history(), stopped_by="converged", seconds_per_step=pace)

    def offer(self, slabs: Callable[[], Slabs]) -> None:
        """Saves the slabs if a checkpoint is due."""
        if self._checkpoints is not None:
            self._checkpoints.offer(self._log.steps, lambda: self._arrays(slabs()), self._log.rows)

    def save(self, slabs: Callable[[], Slabs]) -> None:
        """Saves the slabs at once, if there are any."""
        if self._checkpoints is not None and self._log.steps:
            self._checkpoints.save(self._log.steps, self._arrays(slabs()), self._log.rows)

    def _arrays(self, slabs: Slabs) -> dict[str, ndarray]:
        edges, rows = np.array(slabs.edges), np.asarray(slabs.rows[...])
        return {"edges": edges, "rows": rows, "clock": self._log.clock(), "origin": self._origin}
