"""Exact rescaling of a network: the same function in other coordinates, or with another value range."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.fields.precision import precision_of
from siren_jax.networks import grading
from siren_jax.networks.siren import SIREN
from siren_jax.networks.windows import windows_of


def with_points(network: SIREN, scale: Float[ndarray, "d"], shift: Float[ndarray, "d"]) -> SIREN:
    """The network x ↦ Φ(scale·x + shift); only the first layer changes: W(scale·x + shift) + b.

    A period P of a coordinate becomes P/|scale|, with the same numbers of periods. In a graded coordinate, a place c
    and its width w become (c - shift)/scale and w/|scale|, and the weights keep their absolute values. Windows are
    stretched likewise.

    Raises:
        InputError: the network has no biases, and the shift is not zero; or a place or width leaves its limits.
    """
    with jax.enable_x64(True):
        kernel = np.asarray(network.layers[0].weights(jnp.float64))
    with precision_of(network):
        changed = nnx.clone(network)
        first = changed.layers[0].linear
        stretched = zip(network.periodic, np.abs(scale).tolist(), strict=True) if network.periodic else ()
        changed.periodic = tuple(None if period is None else period / factor for period, factor in stretched)
        changed.layers[0].periodic = changed.periodic
        if network.windows:
            blocks = [(n, window and window.stretched(scale.tolist(), shift.tolist())) for n, window in network.windows]
            changed.windows = changed.layers[0].windows = windows_of(blocks, network.in_features, network.width)
        if network.graded:
            changed.graded = grading.stretched(network.graded, scale.tolist(), shift.tolist())
            changed.layers[0].graded = changed.graded
            is_graded = np.array([len(pairs) > 0 for pairs in network.graded])
            scale, shift = np.where(is_graded, np.sign(scale), scale), np.where(is_graded, 0, shift)
        _add_to_bias(first, shift @ kernel)
        first.kernel[...] = jnp.asarray(scale[:, None] * kernel)
    return changed


def with_values(network: SIREN, low: float, high: float) -> SIREN:
    """The network 2·(Φ(x) - low)/(high - low) - 1, which maps the values low and high to -1 and 1.

    Only the last layer changes. A sigmoid at the end is allowed for low = 0 and high = 1: it becomes
    2/(1 + exp(-y)) - 1 = tanh(y/2).

    Raises:
        InputError: high is not above low, or a function other than this sigmoid follows the last layer.
    """
    if (low, high) == (-1, 1):
        return network
    if not -np.inf < low < high < np.inf:
        raise InputError(f"values go from a lower to a higher number, but from {low:g} to {high:g}.")
    with precision_of(network):
        changed = nnx.clone(network)
    if network.outermost == "sigmoid" and (low, high) == (0, 1):
        changed.outermost, factor, shift = "tanh", 0.5, 0.0
    elif network.outermost == "linear":
        factor, shift = 2 / (high - low), -(low + high) / (high - low)
    else:
        raise InputError(f"a network that ends in {network.outermost!r} does not take the values {low:g} to {high:g}.")
    with precision_of(network):
        for part in [changed.output.kernel, *([changed.output.bias] if network.use_bias else [])]:
            part[...] = factor * part[...]
        _add_to_bias(changed.output, np.full(network.out_features, shift))
    return changed


def _add_to_bias(linear: nnx.Linear, shift: ndarray) -> None:
    if linear.bias is not None:
        linear.bias[...] = jnp.asarray(np.asarray(linear.bias[...], np.float64) + shift)
    elif np.any(shift):
        raise InputError("a network without biases cannot be shifted; choose other points or values.")
