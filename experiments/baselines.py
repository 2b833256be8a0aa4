"""Baselines for a SIREN: networks with the layers of a `ReLUMLP` and their own derivatives, and a neural process."""

from abc import abstractmethod

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from jaxtyping import Float

from siren_jax import SIREN, ReLUMLP
from siren_jax.fitting.recipes import TUNED

KINDS = ("siren", "tanh", "relu")


class _MLP(ReLUMLP):
    """A network that computes its derivatives in one pass, so that a step on an equation costs as much as a SIREN's."""

    @staticmethod
    @abstractmethod
    def activation(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The activation function and its first two derivatives."""

    def __call__(self, x: jax.Array) -> jax.Array:
        *hidden, output = self.layers
        for layer in hidden:
            x = self.activation(layer(x))[0]
        return output(x)

    def derivatives(
        self, x: jax.Array, weights: tuple[tuple[float, ...], ...] = ()
    ) -> tuple[jax.Array, jax.Array, list[jax.Array]]:
        """Value, Jacobian and weighted Laplacians at one point `(d,)`; see `SIREN.derivatives`."""
        *hidden, output = self.layers
        slopes, curvatures = jnp.eye(len(x)), [jnp.zeros(len(x))] * len(weights)
        for layer in hidden:
            x, first, second = self.activation(layer(x))
            slopes = slopes @ layer.kernel[...]
            curvatures = [
                first * (curvature @ layer.kernel[...]) + second * (jnp.array(row) @ slopes**2)
                for curvature, row in zip(curvatures, weights, strict=True)
            ]
            slopes = first * slopes
        kernel = output.kernel[...]
        return output(x), (slopes @ kernel).T, [curvature @ kernel for curvature in curvatures]


class TanhMLP(_MLP):
    @staticmethod
    def activation(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        tanh = jnp.tanh(x)
        first = 1 - tanh**2
        return tanh, first, -2 * tanh * first


class FastReLUMLP(_MLP):
    @staticmethod
    def activation(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        return jax.nn.relu(x), (x > 0).astype(x.dtype), jnp.zeros_like(x)


class NeuralProcessDecoder(nnx.Module):
    """The decoder of a Conditional Neural Process: a normal distribution of the value at a point, for each code.

    Garnelo et al. 2018. The standard deviation is at least 0.1, as in their code.
    """

    def __init__(self, channels: int, *, latent: int, width: int, depth: int = 3, rngs: nnx.Rngs):
        self.network = ReLUMLP(2 + latent, 2 * channels, width=width, depth=depth, rngs=rngs)

    def __call__(self, x: Float[Array, "n d"], code: Float[Array, "k"]) -> tuple[Array, Array]:
        """Means and standard deviations at points, both `(n, c)`."""
        both = jnp.concatenate([x, jnp.broadcast_to(code, (len(x), len(code)))], axis=1)
        mean, raw = jnp.split(self.network(both), 2, axis=1)
        return mean, 0.1 + 0.9 * jax.nn.softplus(raw)

    def value(self, x: Float[Array, "n d"], code: Float[Array, "k"]) -> Float[Array, "n c"]:
        return self(x, code)[0]

    def surprise(self, x: Float[Array, "n d"], code: Float[Array, "k"], y: Float[Array, "n c"]) -> Array:
        """Mean of -log p(y), without the constant log √2π."""
        mean, deviation = self(x, code)
        return jnp.mean(0.5 * ((y - mean) / deviation) ** 2 + jnp.log(deviation))


def network(kind: str, *features: int, width: int, depth: int, first_omega: float, seed: int) -> nnx.Module:
    """A network of a given kind; all kinds have the same size."""
    sizes = {"width": width, "depth": depth, "rngs": nnx.Rngs(seed)}
    if kind == "siren":
        return SIREN(*features, first_omega=first_omega, **sizes)
    return {"tanh": TanhMLP, "relu": FastReLUMLP}[kind](*features, **sizes)


def optimizer(kind: str, network: nnx.Module, learning_rate: float) -> optax.GradientTransformation:
    """The optimizer for an equation that suits the kind of network."""
    if kind == "siren":
        return TUNED["values"]._replace(learning_rate=learning_rate).optimizer(network)
    return optax.adam(1e-3, b2=0.99)
