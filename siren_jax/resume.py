"""What a later process needs to go on with a fit: its state and its log as arrays, and back."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy import ndarray

from siren_jax.checkpoints import Checkpoint
from siren_jax.errors import InputError
from siren_jax.progress import Log


def arrays_of(state: Any, log: Log, origin: ndarray) -> dict[str, ndarray]:
    """Copies of all that a later process needs to go on.

    Args:
        state: arrays of the method.
        log: of the steps.
        origin: what has to be the same when it goes on.
    """
    rows, ends = log.arrays()
    leaves = [np.array(leaf) for leaf in jax.tree.leaves(state)]  # the state's own may be donated to the next step
    state = {f"state.{place}": leaf for place, leaf in enumerate(leaves)}
    return {**state, "rows": rows, "ends": ends, "origin": origin}


def restored(kept: Checkpoint, state: Any, log: Log, origin: ndarray, otherwise: str) -> Any:
    """The state of a checkpoint, in place of the initial one; the log gets its rows.

    Raises:
        InputError: its arrays have other shapes, or its origin is another one, which `otherwise` tells.
    """
    found = [kept.arrays[f"state.{place}"] for place in range(sum(n.startswith("state.") for n in kept.arrays))]
    wanted = jax.tree_util.tree_leaves_with_path(state)
    other = [] if len(found) == len(wanted) else [f"it has {len(found)} arrays, not {len(wanted)}"]
    other += [
        f"{jax.tree_util.keystr(path)} is {array.dtype}{array.shape}, not {leaf.dtype}{leaf.shape}"
        for array, (path, leaf) in zip(found, wanted, strict=False)
        if (array.shape, array.dtype) != (leaf.shape, leaf.dtype)
    ]
    if kept.arrays["rows"].shape[1] != len(log.names):
        other.append(f"it has {kept.arrays['rows'].shape[1] - 1} terms, not {len(log.names) - 1}")
    if not np.array_equal(kept.arrays["origin"], origin):
        other.append(otherwise)
    if other:
        raise InputError(f"the checkpoint of step {kept.step} is of another fit: {other[0]}. Give it what it had then.")
    log.restore(kept.arrays["rows"], kept.arrays["ends"])
    leaves = [jnp.array(array) for array in found]
    return jax.tree.unflatten(jax.tree.structure(state), leaves)
