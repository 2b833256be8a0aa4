"""A field of one parameter, whose fits can be followed by hand."""

import jax
import jax.numpy as jnp
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
