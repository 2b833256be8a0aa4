"""The ReLU network, a baseline for SIREN."""

import itertools

import jax
from flax import nnx
from jax import Array
from jaxtyping import Float

from siren_jax._types import Initializer
from siren_jax.networks import initializers
from siren_jax.networks.layers import FULL_PRECISION, check_points, check_sizes


class ReLUMLP(nnx.Module):
    """A ReLU network with the layer sizes of a SIREN, as a baseline. Its Laplacian is zero almost everywhere.

    The weights are Xavier normal, and the biases have PyTorch's default range. Sitzmann et al. 2020, Section 4.

    Args:
        in_features: d, the coordinates of a point.
        out_features: c, the channels.
        width: units of each ReLU layer.
        depth: ReLU layers after the first.
        kernel_init: initializer of the weights of every layer.
        precision: precision of every matrix product; see `jax.numpy.matmul`.
        rngs: Flax random streams; uses `params`.

    Raises:
        InputError: a size is not positive, or a point does not have d coordinates.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        width: int = 256,
        depth: int = 3,
        kernel_init: Initializer = initializers.xavier_normal,
        precision: str | None = FULL_PRECISION,
        rngs: nnx.Rngs,
    ):
        check_sizes(in_features, out_features, width, depth)
        sizes = [in_features] + [width] * (depth + 1) + [out_features]
        self.layers = nnx.List(
            nnx.Linear(
                n,
                m,
                kernel_init=kernel_init,
                bias_init=initializers.siren_bias(n),
                precision=precision,
                rngs=rngs,
            )
            for n, m in itertools.pairwise(sizes)
        )
        self.in_features, self.out_features, self.width, self.depth = in_features, out_features, width, depth

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... c"]:
        return self.head(self.trunk(x, 0), 0)

    def trunk(self, x: Float[Array, "... d"], layers: int) -> Float[Array, "... width"]:
        """Values of the first ReLU layers, as many as `layers`."""
        check_points(x, self.in_features)
        for layer in list(self.layers)[:layers]:
            x = jax.nn.relu(layer(x))
        return x

    def head(self, h: Float[Array, "... width"], layers: int) -> Float[Array, "... c"]:
        """Values of the network, from the values h of its first `layers` layers."""
        *hidden, output = list(self.layers)[layers:]
        for layer in hidden:
            h = jax.nn.relu(layer(h))
        return output(h)
