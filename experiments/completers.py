"""Networks that complete pictures: an encoder of known pixels, and a decoder that makes a picture of their code."""

import dataclasses

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, Int

from experiments.baselines import NeuralProcessDecoder
from siren_jax import SIREN, ConvolutionalEncoder, Hypernetwork, SetEncoder, generate_coordinates


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Settings of the networks and of their loss; the first four are also those of the space of `learn`."""

    latent: int = 32  # numbers of a code
    width: int = 64  # units of a hidden layer of the SIREN
    depth: int = 2  # hidden layers after the first
    first_omega: float = 10.0  # omega of the first layer
    units: int = 64  # units of a layer of set encoder and hypernetwork
    cnp_units: int = 128  # units of a layer of the CNP, and numbers of its code
    hidden: int = 0  # ReLU layers of the hypernetwork after the first
    filters: int = 16  # filters of the first layer of the convolutional encoder
    window: int = 5  # pixels along each side of these filters
    channels: int = 32  # channels of its later layers
    blocks: int = 2  # residual blocks
    kernel: int = 3  # pixels along each side of their filters
    rate: float = 2e-4  # learning rate of set encoder and hypernetwork; all rates decay
    conv_rate: float = 5e-4  # learning rate of convolutional encoder and hypernetwork
    cnp_rate: float = 3e-3  # learning rate of the CNP
    code_weight: float = 0.1  # weight of the mean squared number of a code
    weight_weight: float = 0.1  # weight of the mean squared parameter of the SIREN; its first layer dominates if narrow
    seed: int = 0  # seed of split, known pixels, weights and batches


class Completer(nnx.Module):
    """An encoder of known pixels, and a decoder of their code."""

    def __init__(self, encoder: SetEncoder | ConvolutionalEncoder, decoder: Hypernetwork | NeuralProcessDecoder):
        self.encoder, self.decoder = encoder, decoder

    def code(self, picture: Float[Array, "h w c"], pixels: Int[Array, "m"], count: Array) -> Float[Array, "k"]:
        """The code of the first pixels, as many as `count`."""
        h, w, c = picture.shape
        known = jnp.arange(len(pixels)) < count
        if isinstance(self.encoder, SetEncoder):
            places = jnp.asarray(generate_coordinates((h, w)))
            return self.encoder(places[pixels], picture.reshape(-1, c)[pixels], known)
        return self.encoder(picture, jnp.zeros(h * w, bool).at[pixels].set(known).reshape(h, w))

    def picture(self, picture: Float[Array, "h w c"], pixels: Int[Array, "m"], count: Array) -> Float[Array, "h w c"]:
        """The completed picture, for values from -1 to 1."""
        places = jnp.asarray(generate_coordinates(picture.shape[:2]))
        return self.decoder.value(places, self.code(picture, pixels, count)).reshape(picture.shape)

    def loss(self, x: Float[Array, "n d"], code: Float[Array, "k"], y: Float[Array, "n c"], sizes: Sizes) -> Array:
        if isinstance(self.decoder, NeuralProcessDecoder):
            return self.decoder.surprise(x, code, y)
        siren = self.decoder.at(code)
        weights, _ = ravel_pytree(nnx.state(siren, nnx.Param))
        priors = sizes.code_weight * jnp.mean(code**2) + sizes.weight_weight * jnp.mean(weights**2)
        return jnp.mean((siren(x) - y) ** 2) + priors


def completers(sizes: Sizes, shape: tuple[int, int, int]) -> dict[str, tuple[Completer, float]]:
    """What is trained for pictures of this shape, and the learning rate of each."""
    rngs, c = nnx.Rngs(sizes.seed), shape[-1]
    siren = lambda: SIREN(2, c, width=sizes.width, depth=sizes.depth, first_omega=sizes.first_omega, rngs=rngs)
    dense = {"latent": sizes.latent, "width": sizes.units, "rngs": rngs}
    hypernetwork = lambda: Hypernetwork(siren(), depth=sizes.hidden, **dense)
    convolutions = {name: getattr(sizes, name) for name in ("latent", "filters", "window", "blocks", "kernel")}
    convolutions |= {"width": sizes.channels, "shape": shape[:2], "rngs": rngs}
    of_cnp = {"latent": sizes.cnp_units, "width": sizes.cnp_units, "rngs": rngs}
    process = Completer(SetEncoder(2, c, activation="relu", **of_cnp), NeuralProcessDecoder(c, **of_cnp))
    return {
        "CNP": (process, sizes.cnp_rate),
        "set encoder": (Completer(SetEncoder(2, c, **dense), hypernetwork()), sizes.rate),
        "convolutional encoder": (Completer(ConvolutionalEncoder(c, **convolutions), hypernetwork()), sizes.conv_rate),
    }
