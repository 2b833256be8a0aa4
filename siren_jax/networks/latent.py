"""A sine network that is another function for each code: the code shifts the phases of its layers.

h_{i+1} = sin(omega_i·((1 + R_i z) ∘ (W_i h_i + b_i) + S_i z))  for a code z ∈ R^k.

Shifts S_i z: Dupont et al. 2022, "From data to functa", Eq. 3, with a linear map from code to shifts as there. The
scales 1 + R_i z are optional.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from siren_jax.errors import InputError
from siren_jax.networks.fast_sine import sine, sine_and_cosine
from siren_jax.networks.layers import FULL_PRECISION, check_points
from siren_jax.networks.siren import SIREN

# Standard deviation, in radians, of the initial phases for codes with components of variance 1. With 0.7, 64 numbers
# and digits, training ends at the mean of all digits.
SHIFT = 0.04


class LatentSIREN(nnx.Module):
    """A SIREN Φ(·; z): R^d -> R^c for every code z ∈ R^k. As a field, it is that of its own code.

    For each code, Φ(·; z) is an ordinary SIREN with other biases, and with `scaled` other weights; see `at`.

    Args:
        in_features: d, the coordinates of a point, each in [-1, 1].
        out_features: c, the channels.
        latent: k, the numbers of a code.
        scaled: whether the code also scales what the units receive.
        width, depth, first_omega, omega: as for `SIREN`.
        rngs: Flax random streams; uses `params`.

    Raises:
        InputError: a size is not positive.

    >>> network = LatentSIREN(2, 1, latent=3, width=8, depth=1, rngs=nnx.Rngs(0))
    >>> network.at(jnp.ones(3))(jnp.zeros((5, 2))).shape
    (5, 1)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        latent: int = 64,
        scaled: bool = False,
        width: int = 128,
        depth: int = 3,
        first_omega: float = 20.0,
        omega: float = 30.0,
        rngs: nnx.Rngs,
    ):
        if latent < 1:
            raise InputError(f"a code needs at least 1 number, but got {latent}.")
        sizes = {"width": width, "depth": depth, "first_omega": first_omega, "omega": omega}
        siren = SIREN(in_features, out_features, **sizes, rngs=rngs)
        self.layers, self.output = siren.layers, siren.output
        bound = SHIFT * (3 / latent) ** 0.5
        draw = lambda size: jax.random.uniform(rngs.params(), (latent, width), minval=-size, maxval=size)
        self.shifts = nnx.List(nnx.Param(draw(bound / layer.omega)) for layer in self.layers)
        if scaled:
            self.scales = nnx.List(nnx.Param(jnp.zeros((latent, width))) for _ in self.layers)
        self.code = nnx.Param(jnp.zeros(latent))
        self.in_features, self.out_features, self.width, self.depth = in_features, out_features, width, depth
        self.latent, self.scaled = latent, scaled
        self.first_omega, self.omega = float(first_omega), float(omega)

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... c"]:
        return self.value(x, self.code[...])

    def at(self, code: Float[Array, "k"]) -> SIREN:
        """The SIREN that Φ(·; z) is: b' = (1 + Rz)∘b + Sz and W' = W·diag(1 + Rz)."""
        found: dict[Any, Array] = {
            ("output", "kernel"): self.output.kernel[...],
            ("output", "bias"): _bias(self.output)[...],
        }
        for i, layer in enumerate(self.layers):
            scale, shift = self._change(i, code)
            kernel = layer.linear.kernel[...]
            found["layers", i, "linear", "kernel"] = kernel * scale if self.scaled else kernel
            found["layers", i, "linear", "bias"] = scale * _bias(layer.linear)[...] + shift
        graphdef, state = _structure(
            self.in_features, self.out_features, self.width, self.depth, self.first_omega, self.omega
        )
        leaves = [found[name] for name, _ in nnx.to_flat_state(state)]
        return nnx.merge(graphdef, jax.tree.unflatten(jax.tree.structure(state), leaves))

    def value(self, x: Float[Array, "... d"], code: Float[Array, "k"]) -> Float[Array, "... c"]:
        """Φ(x; z). Under `vmap` over codes, the products with the weights stay common to all."""
        check_points(x, self.in_features)
        for i, layer in enumerate(self.layers):
            scale, shift = self._change(i, code)
            x = sine(layer.omega * (scale * layer.linear(x) + shift))
        return self.output(x)

    def value_and_jacobian(
        self, x: Float[Array, "n d"], code: Float[Array, "k"]
    ) -> tuple[Float[Array, "n c"], Float[Array, "n c k"]]:
        """Φ(x; z) and its derivative by the code, ∂Φ/∂z.

        The code enters each layer linearly, so ∂Φ_c/∂z = Σ_i G_i S_iᵀ + (G_i ∘ (W_i h_i + b_i)) R_iᵀ, where
        G_i = ∂Φ_c/∂(argument of layer i's sine)·omega_i is from one backward pass for each channel c: about as costly
        as a gradient of the weights, whatever the size of the code.
        """
        check_points(x, self.in_features)
        slopes: list[Array] = []
        linear: list[Array] = []
        for i, layer in enumerate(self.layers):
            scale, shift = self._change(i, code)
            linear.append(layer.linear(x))
            x, cosine = sine_and_cosine(layer.omega * (scale * linear[-1] + shift))
            slopes.append(layer.omega * cosine)
        product = functools.partial(jnp.matmul, precision=FULL_PRECISION)

        def of_channel(weights: Array) -> Array:
            back, total = weights, jnp.zeros(self.latent, x.dtype)
            for i in reversed(range(len(self.layers))):
                received = slopes[i] * back
                total = total + product(received, self.shifts[i][...].T)
                if self.scaled:
                    total = total + product(received * linear[i], self.scales[i][...].T)
                back = product(received * self._change(i, code)[0], self.layers[i].linear.kernel[...].T) if i else back
            return total

        channels = [of_channel(self.output.kernel[:, c]) for c in range(self.out_features)]
        return self.output(x), jnp.stack(channels, axis=1)

    def standardised(self, codes: Float[Array, "n k"]) -> "tuple[LatentSIREN, Float[Array, 'n k']]":
        """The same functions for other codes, which have mean 0 and covariance I: the network, and the new codes.

        With z = m + Lz', the layers become those of the code m, and the maps R' = RL / (1 + Rm), S' = SL - R'·Sm.
        """
        mean = jnp.mean(codes, axis=0)
        centred = codes - mean
        covariance = centred.T @ centred / len(codes)
        # Where codes hardly vary, their covariance may be singular to float32.
        tiny = 1e-6 * jnp.trace(covariance) / self.latent
        factor = jnp.linalg.cholesky(covariance + tiny * jnp.eye(self.latent))
        changed = nnx.clone(self)
        for i, layer in enumerate(changed.layers):
            scale, shift = self._change(i, mean)
            layer.linear.kernel[...] = layer.linear.kernel[...] * scale
            bias = _bias(layer.linear)
            bias[...] = bias[...] * scale + shift
            changed.shifts[i][...] = factor.T @ self.shifts[i][...]
            if self.scaled:
                changed.scales[i][...] = factor.T @ self.scales[i][...] / scale
                changed.shifts[i][...] -= changed.scales[i][...] * shift
        return changed, jax.scipy.linalg.solve_triangular(factor, centred.T, lower=True).T

    def _change(self, i: int, code: Array) -> tuple[Array, Array]:
        """Scale and shift of layer i."""
        matmul = functools.partial(jnp.matmul, precision=FULL_PRECISION)
        scale = 1 + matmul(code, self.scales[i][...]) if self.scaled else jnp.ones((), code.dtype)
        return scale, matmul(code, self.shifts[i][...])


def _bias(linear: nnx.Linear) -> nnx.Param:
    assert linear.bias is not None
    return linear.bias


@functools.lru_cache(maxsize=64)
def _structure(
    in_features: int, out_features: int, width: int, depth: int, first_omega: float, omega: float
) -> tuple[nnx.GraphDef, Any]:
    """Graph and state of a SIREN without arrays."""
    sizes = {"width": width, "depth": depth, "first_omega": first_omega, "omega": omega}
    return nnx.split(nnx.eval_shape(lambda: SIREN(in_features, out_features, **sizes, rngs=nnx.Rngs(0))))
