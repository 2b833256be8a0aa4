"""Conversion of a fit's state and log to the arrays of a checkpoint, from which a later process continues, and back."""

import hashlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.fitting.checkpoints import Checkpoint, Checkpoints
from siren_jax.fitting.devices import Devices, is_key
from siren_jax.fitting.progress import Budget, Log


class Keeper:
    """Saves the state and the log of a fit in checkpoints and restores them; without checkpoints it does nothing.

    Of several processes, the first one reads and writes.

    Args:
        checkpoints: where state and log are saved, or None.
        log: log of the steps.
        inputs: arrays that must be the same when the fit continues, and in all processes.
        devices: the devices of the fit.

    Raises:
        InputError: the processes have different inputs.
    """

    def __init__(self, checkpoints: Checkpoints | None, log: Log, inputs: Any, devices: Devices):
        self._checkpoints, self._log, self._devices = checkpoints, log, devices
        if devices.several and jax.process_index():
            self._checkpoints = None
        unused = checkpoints is None and not devices.several
        self._origin = np.zeros(0, np.uint8) if unused else fingerprint(inputs)
        devices.check_same(self._origin)

    def restored(self, state: Any, budget: Budget, otherwise: str) -> Any:
        """The state of the newest checkpoint, or the given state if there is none; the log receives its rows.

        Args:
            state: initial state.
            budget: budget of the fit.
            otherwise: message if the inputs differ.

        Raises:
            InputError: the checkpoint belongs to another fit, or has more steps than the budget.
        """
        kept = None if self._checkpoints is None else self._checkpoints.latest()
        if self._devices.several:
            kept = _shared(kept, self._devices)
        if kept is None:
            return state
        state = _state_of(kept, state, self._log, self._origin, otherwise)
        budget.check(self._log)
        return state

    def offer(self, state: Callable[[], Any]) -> None:
        """Saves the state if a checkpoint is due."""
        if self._checkpoints is not None:
            self._checkpoints.offer(self._log.steps, lambda: self._arrays(state()), self._log.rows)

    def save(self, state: Callable[[], Any]) -> None:
        """Saves the state at once."""
        if self._checkpoints is not None:
            self._checkpoints.save(self._log.steps, self._arrays(state()), self._log.rows)

    def _arrays(self, state: Any) -> dict[str, ndarray]:
        """The arrays that a later process needs to continue, without the log's rows."""
        # Copies: the arrays of the state may be donated to the next step.
        leaves = {f"state.{place}": np.array(_plain(leaf)) for place, leaf in enumerate(jax.tree.leaves(state))}
        return {**leaves, "clock": self._log.clock(), "origin": self._origin}


def _shared(kept: Checkpoint | None, devices: Devices) -> Checkpoint | None:
    """The checkpoint of the first process, without its notes."""
    from safetensors.numpy import load, save

    data = b"" if kept is None else save({**kept.arrays, "step": np.array(kept.step), "rows": kept.rows})
    size = int(devices.of_first(np.int32(len(data))))
    if not size:
        return None
    padded = np.frombuffer(data.ljust(size, b"\0")[:size], np.uint8)
    arrays = load(devices.of_first(padded).tobytes())
    return Checkpoint(int(arrays.pop("step")), arrays, arrays.pop("rows"), {})


def fingerprint(tree: Any) -> ndarray:
    """SHA-256 digest of the arrays of a pytree, 32 bytes."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        found.update(_plain(leaf).tobytes())
    return np.frombuffer(found.digest(), np.uint8)


def _state_of(kept: Checkpoint, state: Any, log: Log, origin: ndarray, otherwise: str) -> Any:
    if not {"clock", "origin"} <= set(kept.arrays):
        raise InputError(f"the checkpoint of step {kept.step} does not contain a fit.")
    found = [kept.arrays[f"state.{place}"] for place in range(sum(n.startswith("state.") for n in kept.arrays))]
    leaves = jax.tree.leaves(state)
    wanted = [(path, _plain(leaf)) for path, leaf in jax.tree_util.tree_leaves_with_path(state)]
    other = [] if len(found) == len(wanted) else [f"it has {len(found)} arrays, not {len(wanted)}"]
    other += [
        f"{jax.tree_util.keystr(path)} is {array.dtype}{array.shape}, not {leaf.dtype}{leaf.shape}"
        for array, (path, leaf) in zip(found, wanted, strict=False)
        if (array.shape, array.dtype) != (leaf.shape, leaf.dtype)
    ]
    if kept.rows.shape[1] != len(log.names):
        other.append(f"it has {kept.rows.shape[1] - 1} terms, not {len(log.names) - 1}")
    if not np.array_equal(kept.arrays["origin"], origin):
        other.append(otherwise)
    if other:
        raise InputError(
            f"the checkpoint of step {kept.step} is from another fit: {other[0]}. Repeat the arguments of that fit."
        )
    log.restore(kept.rows, kept.arrays["clock"])
    arrays = [
        jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf)) if is_key(leaf) else array
        for array, leaf in zip(map(jnp.array, found), leaves, strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(state), arrays)


def _plain(leaf: Any) -> ndarray:
    """A leaf as an array of numbers; a random key as its bits."""
    return np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
