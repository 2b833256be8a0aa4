"""Networks that a SIREN is compared with, beside `ReLUMLP`."""

import jax
import jax.numpy as jnp

from siren_jax import ReLUMLP


class TanhMLP(ReLUMLP):
    """The same layers with a tanh after each."""

    def __call__(self, x: jax.Array) -> jax.Array:
        *hidden, output = self.layers
        for layer in hidden:
            x = jnp.tanh(layer(x))
        return output(x)
