"""What a later process needs to go on with a fit: its state and its log as arrays, and back."""

import hashlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.fitting.checkpoints import Checkpoint, Checkpoints
from siren_jax.fitting.progress import Budget, Log


class Keeper:
    """Keeps the state and the log of a fit in checkpoints, and finds them there again; without checkpoints nothing.

    Args:
        checkpoints: where they are kept.
        log: of the steps.
        inputs: arrays that must be the same when the fit goes on.
    """

    def __init__(self, checkpoints: Checkpoints | None, log: Log, inputs: Any):
        self._checkpoints, self._log = checkpoints, log
        self._origin = np.zeros(0, np.uint8) if checkpoints is None else fingerprint(inputs)

    def restored(self, state: Any, budget: Budget, otherwise: str) -> Any:
        """The state of the newest checkpoint, or else the one given; the log gets its rows.

        Args:
            state: the first one.
            budget: of the fit.
            otherwise: what it means if the inputs are not the same.

        Raises:
            InputError: the checkpoint is of another fit, or of more steps than the budget has.
        """
        if self._checkpoints is None or (kept := self._checkpoints.latest()) is None:
            return state
        state = _state_of(kept, state, self._log, self._origin, otherwise)
        budget.check(self._log)
        return state

    def offer(self, state: Callable[[], Any]) -> None:
        """Keeps the state if it is time for it."""
        if self._checkpoints is not None:
            self._checkpoints.offer(self._log.steps, lambda: self._arrays(state()), self._log.rows)

    def save(self, state: Callable[[], Any]) -> None:
        """Keeps the state now."""
        if self._checkpoints is not None:
            self._checkpoints.save(self._log.steps, self._arrays(state()), self._log.rows)

    def _arrays(self, state: Any) -> dict[str, ndarray]:
        """All that a later process needs to go on, but for the log's rows."""
        # Copies: the state's own may be donated to the next step.
        leaves = {f"state.{place}": np.array(_plain(leaf)) for place, leaf in enumerate(jax.tree.leaves(state))}
        return {**leaves, "clock": self._log.clock(), "origin": self._origin}


def fingerprint(tree: Any) -> ndarray:
    """A digest of arrays, 32 bytes."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        found.update(_plain(leaf).tobytes())
    return np.frombuffer(found.digest(), np.uint8)


def _state_of(kept: Checkpoint, state: Any, log: Log, origin: ndarray, otherwise: str) -> Any:
    if not {"clock", "origin"} <= set(kept.arrays):
        raise InputError(f"the checkpoint of step {kept.step} is of something else than a fit.")
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
        raise InputError(f"the checkpoint of step {kept.step} is of another fit: {other[0]}. Give it what it had then.")
    log.restore(kept.rows, kept.arrays["clock"])
    arrays = [
        jax.random.wrap_key_data(array, impl=jax.random.key_impl(leaf)) if _is_key(leaf) else array
        for array, leaf in zip(map(jnp.array, found), leaves, strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(state), arrays)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> ndarray:
    """As an array of numbers, of a key its bits."""
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
