"""The sine layer, and functions that all networks share."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from siren_jax._types import Initializer
from siren_jax.errors import InputError
from siren_jax.networks import grading, initializers, periods
from siren_jax.networks import windows as windowing
from siren_jax.networks.fast_sine import sine

# Matrix products in TF32 or bfloat16 make derivatives too inaccurate.
FULL_PRECISION = "highest"


class Activation(NamedTuple):
    """Values of a layer at points, before and after its nonlinearity."""

    before: Float[Array, "... width"]
    after: Float[Array, "... width"]


class SineLayer(nnx.Module):
    """Layer sin(omega·(Wx + b)) with the paper's initial ranges.

    For n inputs, the first layer draws W ~ U(±1/n), and later layers draw W ~ U(±√(6/n)/omega). Sitzmann et al. 2020,
    Section 3.2.

    Args:
        in_features: n, the size of the last axis of the input.
        out_features: number of units.
        omega: frequency factor of weights and biases.
        is_first: whether the inputs are coordinates; it only decides the initial range.
        use_bias: whether there is a bias.
        kernel_init: initializer of the weights, instead of the paper's range.
        bias_init: initializer of the biases, instead of U(±1/√n).
        periodic: period of each input in which the layer is periodic, as in `SIREN`.
        graded: places and widths of each input that is graded, as in `SIREN`: the layer is sin(omega·(Wm(x) + b)).
        windows: number of units and window of each block of units, as in `SIREN`: their values are w(x)·sin(…).
        precision: precision of the matrix product; see `jax.numpy.matmul`.
        rngs: Flax random streams; uses `params`.

    Raises:
        InputError: a period or a width is not positive, or is that of an input that the layer does not have; windows
            are not those of all units.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        omega: float = 30.0,
        is_first: bool = False,
        use_bias: bool = True,
        kernel_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        periodic: Mapping[int, int | float] | None = None,
        graded: Mapping[int, Any] | None = None,
        windows: Iterable[Any] | None = None,
        precision: str | None = FULL_PRECISION,
        rngs: nnx.Rngs,
    ):
        if kernel_init is None:
            kernel_init = initializers.siren_first() if is_first else initializers.siren_hidden(omega)
        self.omega = float(omega)  # a NumPy number would promote float32 points to float64
        self.periodic = periods.periods_of(periodic, in_features, self.omega)
        self.graded = grading.places_of(graded, in_features, periodic or ())
        self.windows = windowing.windows_of(windows, in_features, out_features)
        if self.periodic:
            kernel_init = periods.whole(kernel_init, self.periodic, self.omega)
        self.linear = nnx.Linear(
            in_features,
            out_features,
            use_bias=use_bias,
            kernel_init=kernel_init,
            bias_init=bias_init or initializers.siren_bias(in_features),
            precision=precision,
            rngs=rngs,
        )

    def weights(self, dtype: DTypeLike) -> Float[Array, "inputs units"]:
        """The weights W in the dtype of a computation, with whole numbers of periods for periodic inputs."""
        kernel = self.linear.kernel[...].astype(dtype)
        # Rounding here, not only the initial weights, makes the layer periodic whatever the kernel went through: a cast
        # to float64, whose digits beyond float32 would be missing, a file or an optimizer with weight decay.
        return periods.rounded(kernel, self.periodic, self.omega) if self.periodic else kernel

    def argument(self, x: Float[Array, "... d"]) -> Float[Array, "... width"]:
        """The argument of the layer's sine, omega·(Wx + b), or omega·(Wm(x) + b) for graded inputs."""
        if self.graded:
            x = grading.graded_points(x, self.graded)
        if not self.periodic:
            return self.omega * self.linear(x)
        linear = self.linear
        dtype = jnp.result_type(x, linear.kernel[...])
        product = jnp.matmul(x.astype(dtype), self.weights(dtype), precision=linear.precision)
        return self.omega * (product if linear.bias is None else product + linear.bias[...])

    def activation(self, x: Float[Array, "... d"]) -> Activation:
        """The layer's values before the sine, its `argument`, and after it, times the windows."""
        before = self.argument(x)
        after = sine(before)
        return Activation(
            before, windowing.values(self.windows, x).astype(after.dtype) * after if self.windows else after
        )

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... width"]:
        return self.activation(x).after


def count_parameters(network: nnx.Module) -> int:
    """Number of trainable parameters of a network.

    >>> count_parameters(SineLayer(2, 256, rngs=nnx.Rngs(0)))
    768
    """
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network, nnx.Param)))


def check_points(x: Array, d: int) -> None:
    """Raises an `InputError` if the points do not have d coordinates."""
    if x.ndim == 0 or x.shape[-1] != d:
        raise InputError(
            f"the network takes points of shape ({d},) or (..., {d}), but this array has the shape {x.shape}."
        )


def check_sizes(in_features: int, out_features: int, width: int, depth: int) -> None:
    """Raises an `InputError` for sizes that no network can have."""
    if min(in_features, out_features, width) < 1 or depth < 0:
        raise InputError(
            f"a network needs at least 1 input, 1 output and 1 unit, and no negative depth, "
            f"but got {in_features} inputs, {out_features} outputs, width {width}, depth {depth}."
        )
