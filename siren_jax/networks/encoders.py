"""Encoders: maps from the known samples of a signal to a code, for a `Hypernetwork`.

Sitzmann et al. 2020, Section 4.4. An encoder finds a code in one evaluation, but the signal of this code need not agree
with the known samples exactly.
"""

import itertools
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.nn import initializers
from jaxtyping import Bool, Float

from siren_jax.errors import InputError
from siren_jax.fields.coordinates import generate_coordinates
from siren_jax.networks.initializers import siren_bias
from siren_jax.networks.layers import FULL_PRECISION, SineLayer, check_points

LEAST = 1e-6  # density below which no pixel counts as known nearby


class SetEncoder(nnx.Module):
    """A permutation-invariant map from a set of points with values to a code: the mean of a network over the set.

    z = (1/n) Σ_i ρ(x_i, y_i). Every layer of ρ ends in its activation, also the last, so sine codes are within [-1, 1].
    Garnelo et al. 2018, "Conditional Neural Processes"; with sines: Sitzmann et al. 2020, Section 4.4.

    Args:
        in_features: d, the coordinates of a point, each in [-1, 1].
        channels: c, the channels of a value.
        latent: k, the numbers of a code.
        width: units of each hidden layer.
        depth: hidden layers after the first.
        activation: "sine" or "relu".
        first_omega: omega of the first layer, if it is a sine layer. The authors' code has 30 in every layer.
        omega: omega of the later sine layers.
        precision: precision of every matrix product; see `jax.numpy.matmul`.
        rngs: Flax random streams; uses `params`.

    Raises:
        InputError: a size is not positive, the activation is unknown, or points or values have other sizes.

    >>> encoder = SetEncoder(2, 1, latent=4, width=8, depth=1, rngs=nnx.Rngs(0))
    >>> encoder(jnp.zeros((5, 2)), jnp.ones((5, 1))).shape
    (4,)
    """

    def __init__(
        self,
        in_features: int,
        channels: int,
        *,
        latent: int = 256,
        width: int = 256,
        depth: int = 2,
        activation: Literal["sine", "relu"] = "sine",
        first_omega: float = 30.0,
        omega: float = 30.0,
        precision: str | None = FULL_PRECISION,
        rngs: nnx.Rngs,
    ):
        if min(in_features, channels, latent, width) < 1 or depth < 0:
            raise InputError(
                f"an encoder needs at least 1 coordinate, 1 channel, 1 number of a code, 1 unit and no negative depth, "
                f"but got {in_features}, {channels}, {latent}, width {width}, depth {depth}."
            )
        if activation not in ("sine", "relu"):
            raise InputError(f"activation is 'sine' or 'relu', but is {activation!r}.")
        sizes = [in_features + channels] + [width] * (depth + 1) + [latent]
        if activation == "sine":
            layers = [
                SineLayer(n, m, omega=omega if i else first_omega, is_first=i == 0, precision=precision, rngs=rngs)
                for i, (n, m) in enumerate(itertools.pairwise(sizes))
            ]
        else:
            he = initializers.he_normal()
            layers = [
                nnx.Linear(n, m, kernel_init=he, bias_init=siren_bias(n), precision=precision, rngs=rngs)
                for n, m in itertools.pairwise(sizes)
            ]
        self.layers = nnx.List(layers)
        self.in_features, self.channels, self.latent = in_features, channels, latent
        self.width, self.depth, self.activation = width, depth, activation

    def __call__(
        self, points: Float[Array, "n d"], values: Float[Array, "n c"], known: Bool[Array, "n"] | None = None
    ) -> Float[Array, "k"]:
        """The code of a set. Sets of a batch have one size: `known` says which of their points count.

        Args:
            points: where the values are.
            values: values in [-1, 1]. Unknown ones do not matter, and may be NaN.
            known: true where a value is known; by default all are. Without any, the code is 0.
        """
        check_points(points, self.in_features)
        if values.shape != (*points.shape[:-1], self.channels):
            raise InputError(
                f"{len(points)} points need values of the shape ({len(points)}, {self.channels}), but these have "
                f"{values.shape}."
            )
        known = jnp.ones(len(points), bool) if known is None else known
        h = jnp.concatenate([points, jnp.where(known[:, None], values, 0)], axis=-1)
        for layer in self.layers:
            h = layer(h) if self.activation == "sine" else jax.nn.relu(layer(h))
        weights = known / jnp.maximum(jnp.sum(known), 1)
        return jnp.sum(weights[:, None] * h, axis=0)


class ConvolutionalEncoder(nnx.Module):
    """A map from a picture with unknown pixels to a code: a normalized convolution, residual blocks, and a mean.

    The first layer sees known pixels alone, see `normalized_convolution`. Its values, the densities and the coordinates
    of the pixels pass a convolution, residual blocks of two convolutions each, and a map of each pixel to k numbers,
    whose mean over the pixels is the code. The first layer is that of Gordon et al. 2020, "Convolutional Conditional
    Neural Processes"; the residual blocks are those of the authors' code for Sitzmann et al. 2020. There, the mean over
    the pixels has learned weights, which fix the size of the pictures: `shape=`. Without them, the size is free.

    Args:
        channels: c, the channels of a picture.
        latent: k, the numbers of a code.
        filters: filters of the first layer.
        window: pixels along each side of these filters.
        width: channels of the later layers.
        blocks: residual blocks.
        kernel: pixels along each side of their filters.
        shape: rows and columns of all pictures, for a mean with learned weights; by default the mean is plain.
        precision: precision of every convolution; see `jax.lax.conv`.
        rngs: Flax random streams; uses `params`.

    Raises:
        InputError: a size is not positive, or a picture has other channels or another shape.

    >>> encoder = ConvolutionalEncoder(1, latent=4, filters=2, width=8, blocks=1, rngs=nnx.Rngs(0))
    >>> encoder(jnp.ones((5, 6, 1)), jnp.ones((5, 6), bool)).shape
    (4,)
    """

    def __init__(
        self,
        channels: int,
        *,
        latent: int = 256,
        filters: int = 128,
        window: int = 3,
        width: int = 256,
        blocks: int = 4,
        kernel: int = 5,
        shape: tuple[int, int] | None = None,
        precision: str | None = FULL_PRECISION,
        rngs: nnx.Rngs,
    ):
        if min(channels, latent, filters, window, width, kernel, *(shape or ())) < 1 or blocks < 0:
            raise InputError(
                f"an encoder needs positive sizes, but got {channels} channels, {latent} numbers of a code, {filters} "
                f"filters of {window} pixels, width {width}, {blocks} blocks of {kernel} pixels, shape {shape}."
            )

        def convolution(n: int, m: int, side: int) -> nnx.Conv:
            he = initializers.he_normal()
            return nnx.Conv(n, m, (side, side), kernel_init=he, precision=precision, rngs=rngs)

        # The filters have the mean 1/window², so that the density of a complete picture is about 1.
        drawn = jax.random.uniform(rngs.params(), (window, window, 1, filters), maxval=2 / window**2)
        self.filters = nnx.Param(drawn)
        self.first = convolution(filters * (channels + 1) + 2, width, 3)
        self.blocks = nnx.List(
            nnx.List([convolution(width, width, kernel), convolution(width, width, kernel)]) for _ in range(blocks)
        )
        self.last = convolution(width, latent, 1)
        if shape is not None:
            self.weights = nnx.Param(jnp.full((*shape, 1), 1 / (shape[0] * shape[1]), jnp.float32))
        self.channels, self.latent, self.width, self.shape, self.precision = channels, latent, width, shape, precision

    def __call__(self, picture: Float[Array, "h w c"], known: Bool[Array, "h w"]) -> Float[Array, "k"]:
        """The code of a picture.

        Args:
            picture: values in [-1, 1]. Those of unknown pixels do not matter, and may be NaN.
            known: true where a pixel is known.
        """
        rows, columns, c = picture.shape
        if c != self.channels or known.shape != (rows, columns) or self.shape not in (None, (rows, columns)):
            size = "(h, w" if self.shape is None else f"({self.shape[0]}, {self.shape[1]}"
            raise InputError(
                f"this encoder needs a picture of shape {size}, {self.channels}) and a mask of its pixels, but they "
                f"have the shapes {picture.shape} and {known.shape}."
            )
        values, density = self.normalized_convolution(picture, known)
        places = jnp.asarray(generate_coordinates((rows, columns))).reshape(rows, columns, 2)
        h = jnp.concatenate([values.reshape(rows, columns, -1), density, places], axis=-1)
        h = jax.nn.relu(self.first(h))
        for inner, outer in self.blocks:
            h = jax.nn.relu(h + jax.nn.relu(outer(jax.nn.relu(inner(h)))))
        h = jax.nn.relu(self.last(h))
        return jnp.mean(h, axis=(0, 1)) if self.shape is None else jnp.sum(self.weights[...] * h, axis=(0, 1))

    def normalized_convolution(
        self, picture: Float[Array, "h w c"], known: Bool[Array, "h w"]
    ) -> tuple[Float[Array, "h w c f"], Float[Array, "h w f"]]:
        """Weighted means of the known pixels nearby, and the sums of their weights, for each filter |θ|.

        With the mask m: (|θ| * m·y) / (|θ| * m) and |θ| * m. The means are 0 where no pixel nearby is known. Knutsson
        and Westin 1993, "Normalized and differential convolution".
        """
        mask = known.astype(picture.dtype)[..., None]
        given = jnp.where(known[..., None], picture, 0)
        planes = jnp.moveaxis(jnp.concatenate([mask, given], axis=-1), -1, 0)[..., None]
        sums = jax.lax.conv_general_dilated(
            planes,
            jnp.abs(self.filters[...]).astype(picture.dtype),
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=self.precision,
        )
        density = sums[0]
        return jnp.moveaxis(sums[1:] / jnp.maximum(density, LEAST), 0, 2), density
