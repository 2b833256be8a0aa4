"""A hypernetwork: all parameters of a SIREN as functions of a code.

p_i(z) = b_i + A_i h_i(z) for each tensor p_i of parameters, where h_i is a ReLU network of its own. Sitzmann et al.
2020, Section 4.4; Ha et al. 2017, "HyperNetworks". A `LatentSIREN` needs far fewer parameters, because only its phases
depend on the code.
"""

import itertools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.nn import initializers
from jax.typing import DTypeLike
from jaxtyping import Float

from siren_jax._types import Initializer
from siren_jax.errors import InputError
from siren_jax.networks.layers import FULL_PRECISION
from siren_jax.networks.siren import SIREN

SPREAD = 0.1


class Hypernetwork(nnx.Module):
    """A map z ↦ Φ(·; p(z)) from codes z ∈ R^k to SIRENs, whose parameters p(z) all depend on the code.

    Each weight matrix and each bias of the SIREN has a network of its own: `depth + 1` ReLU layers and a linear layer
    whose bias is initially this tensor of the given SIREN. So the code 0 initially makes the given SIREN. For a code
    whose numbers have the mean square 1, a parameter differs from it by `spread` times the root mean square of its
    tensor, and the SIREN's weights keep their initial range U(±√(6/n)/omega) but for a variance that is larger by the
    factor 1 + spread².

    A SIREN of width m has about depth·m² parameters, and the hypernetwork `width` times as many. At the default sizes
    and with the paper's SIREN, of width 256 and depth 3, these are 51 million.

    Args:
        siren: the SIREN; its sizes and frequencies are those of all that are made.
        latent: k, the numbers of a code.
        width: units of each ReLU layer.
        depth: ReLU layers after the first. The paper has one hidden layer; the authors' code has two, which is depth 1.
        spread: how much the initial parameters change with the code, relative to their size.
        kernel_init: initializer of the weights of the last layers, instead of the one by `spread`. The authors' code
            has `scaled(jax.nn.initializers.he_normal(), 0.01)` for all of them, which is independent of their size.
        precision: precision of every matrix product; see `jax.numpy.matmul`.
        rngs: Flax random streams; uses `params`.

    Raises:
        InputError: a size is not positive, a code does not have k numbers, or the SIREN has `periodic`.

    >>> siren = SIREN(2, 1, width=8, depth=1, rngs=nnx.Rngs(0))
    >>> hypernetwork = Hypernetwork(siren, latent=3, width=16, rngs=nnx.Rngs(1))
    >>> codes, points = jnp.zeros((4, 3)), jnp.zeros((5, 2))
    >>> jax.vmap(hypernetwork.value, (None, 0))(points, codes).shape
    (4, 5, 1)
    >>> bool(jnp.all(hypernetwork.at(codes[0])(points) == siren(points)))
    True
    """

    def __init__(
        self,
        siren: SIREN,
        *,
        latent: int = 256,
        width: int = 256,
        depth: int = 0,
        spread: float = SPREAD,
        kernel_init: Initializer | None = None,
        precision: str | None = FULL_PRECISION,
        rngs: nnx.Rngs,
    ):
        if min(latent, width) < 1 or depth < 0:
            raise InputError(
                f"a hypernetwork needs codes of at least 1 number, at least 1 unit and no negative depth, but got "
                f"{latent} numbers, width {width}, depth {depth}."
            )
        if siren.periodic:
            raise InputError(
                "a hypernetwork changes the frequencies of its SIREN continuously, but those of a periodic SIREN are "
                "whole numbers of periods; give a SIREN without periodic."
            )
        self.siren = nnx.clone(siren)
        tensors = jax.tree.leaves(nnx.state(self.siren, nnx.Param))
        sizes = [latent] + [width] * (depth + 1)
        self.hidden = nnx.List(
            nnx.List(
                nnx.Linear(n, m, kernel_init=initializers.he_normal(), precision=precision, rngs=rngs)
                for n, m in itertools.pairwise(sizes)
            )
            for _ in tensors
        )
        self.last = nnx.List(
            nnx.Linear(
                width,
                tensor.size,
                use_bias=False,  # the parameters of `siren` are the biases
                kernel_init=kernel_init or _relative(tensor, spread),
                precision=precision,
                rngs=rngs,
            )
            for tensor in tensors
        )
        self.latent, self.width, self.depth = latent, width, depth

    def at(self, code: Float[Array, "..."]) -> SIREN:
        """The SIREN of a code `(latent,)`. Under `vmap` over codes, its parameters have an axis of codes."""
        if code.shape != (self.latent,):
            raise InputError(
                f"a code of this hypernetwork has the shape ({self.latent},), but this array has {code.shape}; "
                "map over codes with jax.vmap."
            )
        graphdef, state = nnx.split(self.siren)
        biases, structure = jax.tree.flatten(state)
        found = []
        for bias, hidden, last in zip(biases, self.hidden, self.last, strict=True):
            h = code
            for layer in hidden:
                h = jax.nn.relu(layer(h))
            found.append(bias + last(h).reshape(bias.shape))
        return nnx.merge(graphdef, jax.tree.unflatten(structure, found))

    def value(self, x: Float[Array, "... d"], code: Float[Array, "k"]) -> Float[Array, "... c"]:
        """Φ(x; p(z)). For many points of a code, one call is cheaper than a call for each point."""
        return self.at(code)(x)


def _relative(tensor: Array, spread: float) -> Initializer:
    """N(0, (spread·r)²/n) for n inputs, where r is the root mean square of the tensor.

    With weights of variance 2/k before a ReLU and no biases, a code z makes E|h|² = n·|z|²/k, so the variance of Ah is
    (spread·r)²·|z|²/k.
    """
    scale = spread * jnp.sqrt(jnp.mean(tensor**2))

    def init(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        return (scale / math.sqrt(shape[0]) * jax.random.normal(key, shape)).astype(dtype)

    return init
