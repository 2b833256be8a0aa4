"""What a later process needs to go on with a fit: its state and its log as arrays, and back."""

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.fitting.checkpoints import Checkpoint
from siren_jax.fitting.progress import Log


def digest(*trees: Any) -> ndarray:
    """A fingerprint of arrays, 32 bytes."""
    found = hashlib.sha256()
    for leaf in jax.tree.leaves(trees):
        found.update(_plain(leaf).tobytes())
    return np.frombuffer(found.digest(), np.uint8)


def arrays_of(state: Any, log: Log, origin: ndarray) -> dict[str, ndarray]:
    """All that a later process needs to go on, as it is now, but for the log's rows.

    Args:
        state: arrays of the method.
        log: of the steps.
        origin: what has to be the same when it goes on.
    """
    # Copies: the state's own may be donated to the next step.
    state = {f"state.{place}": np.array(_plain(leaf)) for place, leaf in enumerate(jax.tree.leaves(state))}
    return {**state, "clock": log.clock(), "origin": origin}


def restored(kept: Checkpoint, state: Any, log: Log, origin: ndarray, otherwise: str) -> Any:
    """The state of a checkpoint, in place of the initial one; the log gets its rows.

    Raises:
        InputError: its arrays have other shapes, or its origin is another one, which `otherwise` tells.
    """
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
