"""The devices of a fit: one, or those of a mesh, which may belong to several processes that then decide alike."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy import ndarray

from siren_jax._types import StoppedBy
from siren_jax.errors import InputError
from siren_jax.fields.tiles import AXIS

WORDS: tuple[StoppedBy | None, ...] = (
    *(None, "steps", "seconds", "watch", "converged", "non-finite"),
    *("interrupt", "terminate", "hangup"),
)


class Devices:
    """The devices on which a fit runs; without a mesh, all methods return what they are given.

    Args:
        mesh: devices along one axis named "points". Every process that has one of them runs the same fit.

    Raises:
        InputError: the mesh has other axes, or devices of some but not all processes.
    """

    def __init__(self, mesh: Mesh | None):
        self.mesh = mesh
        self.several = False
        """Whether the devices belong to several processes."""
        if mesh is None:
            return
        if mesh.axis_names != (AXIS,):
            raise InputError(f"a mesh for a fit has one axis named {AXIS!r}, but this one has {mesh.axis_names}.")
        owners = {device.process_index for device in mesh.devices.flat}
        if owners != {jax.process_index()} and owners != set(range(jax.process_count())):
            raise InputError(
                f"a mesh for a fit has devices of this process or of all {jax.process_count()} processes, but this one "
                f"has devices of {sorted(owners)} in process {jax.process_index()}; use jax.local_devices() or "
                "jax.devices()."
            )
        self.mesh = Mesh(mesh.devices, mesh.axis_names)  # without the axis types of `jax.make_mesh`
        self.several = len(owners) > 1

    def everywhere(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, computed by every device from the same arguments, to be jitted.

        Only in `sum_over_tiles` have devices parts of their own. The result is another function than any earlier one:
        JAX keeps the programs of functions that are equal.
        """
        own = lambda *arguments: function(*arguments)
        if self.mesh is None:
            return own
        same = PartitionSpec()
        return jax.shard_map(own, mesh=self.mesh, in_specs=same, out_specs=same, check_vma=False)

    def spread(self, tree: Any) -> Any:
        """Arrays of this process as arrays on all devices."""
        if self.mesh is None:
            return tree
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        if not self.several:
            return jax.device_put(tree, everywhere)

        def spread(leaf: Any) -> Any:
            if is_key(leaf):
                return jax.random.wrap_key_data(spread(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
            # `jax.device_put` would send the whole array to compare it.
            return jax.make_array_from_callback(np.shape(leaf), everywhere, lambda index: np.asarray(leaf)[index])

        return jax.tree.map(spread, tree)

    def local(self, tree: Any) -> Any:
        """Copies, on one device of this process, of arrays on all devices. No other process needs to call it."""

        def local(leaf: Any) -> Any:
            leaf = leaf.addressable_data(0)
            return leaf if is_key(leaf) else jnp.array(np.asarray(leaf))  # not bound to a device

        return tree if self.mesh is None else jax.tree.map(local, tree)

    def of_first(self, value: Any) -> Any:
        """The arrays of process 0, of the same shapes and dtypes in every process."""
        from jax.experimental import multihost_utils

        return multihost_utils.broadcast_one_to_all(value) if self.several else value

    def agreed(self, word: StoppedBy | None) -> StoppedBy | None:
        """The reason to stop of the first process that has one."""
        if not self.several:
            return word
        return next((WORDS[found] for found in self._of_each(np.int32(WORDS.index(word))) if found), None)

    def check_same(self, digest: ndarray) -> None:
        """Refuses inputs that differ between the processes, by a digest of them.

        Raises:
            InputError: the digests differ.
        """
        if self.several and len(np.unique(self._of_each(digest), axis=0)) > 1:
            raise InputError(
                "the processes of a fit need the same key, network and data, but theirs differ; draw random numbers "
                "from the same seed, and read the same files."
            )

    def _of_each(self, value: Any) -> ndarray:
        from jax.experimental import multihost_utils

        return multihost_utils.process_allgather(value)


def is_key(leaf: Any) -> bool:
    """Whether a leaf of a pytree is an array of random keys."""
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
