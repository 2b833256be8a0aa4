"""A field of one parameter, whose fits can be followed by hand, and the formula of a latent network in NumPy."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


class Number(nnx.Module):
    """The number a at every point: on the loss a, SGD at the rate r leaves a = -r·n after n steps."""

    def __init__(self):
        self.a = nnx.Param(jnp.float32(0))

    def __call__(self, x):
        return self.a[...][None]


def level(field, batch):
    """The value itself as the loss: its gradient is one."""
    return {"level": jax.vmap(field)(batch["coordinates"])[:, 0]}


def siren_of_code(arrays: Mapping[str, np.ndarray], *, layers: int) -> dict[str, np.ndarray]:
    """The arrays of the SIREN that a latent network is at its code, as docs/file-format.md says, in float64."""
    made = {name: np.asarray(array, np.float64) for name, array in arrays.items()}
    for i in range(layers):
        kernel, bias = f"layers.{i}.linear.kernel", f"layers.{i}.linear.bias"
        scale = 1 + made["code"] @ made[f"scales.{i}"] if f"scales.{i}" in made else np.ones(1)
        made[bias] = scale * made[bias] + made["code"] @ made[f"shifts.{i}"]
        made[kernel] = made[kernel] @ np.diag(np.broadcast_to(scale, made[kernel].shape[1]))
    return {name: array for name, array in made.items() if name.startswith(("layers", "output"))}
