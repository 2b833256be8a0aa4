"""The sine network as a Flax NNX module, with its derivatives in one forward pass.

Φ(x) = W_n (φ_{n-1} ∘ … ∘ φ_0)(x) + b_n,  φ_i(x) = sin(omega_i (W_i x + b_i)).  Sitzmann et al. 2020, Eq. 5.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from siren_jax._types import Initializer
from siren_jax.errors import InputError
from siren_jax.networks import grading, initializers, periods
from siren_jax.networks import windows as windowing
from siren_jax.networks.fast_sine import sine, sine_and_cosine
from siren_jax.networks.layers import FULL_PRECISION, Activation, SineLayer, check_points, check_sizes

OUTERMOST = ("linear", "sine", "sigmoid", "tanh")


class SIREN(nnx.Module):
    """A sine network Φ: R^d -> R^c. It is a field: it maps one point to its values, and a batch to a batch.

    It consists of a first sine layer, `depth` sine layers from width to width, and a linear layer, which a function may
    follow. With width 256 and depth 3, a network from 2 coordinates to 1 channel has 198,401 parameters. Sitzmann et
    al. 2020, Eq. 5.

    Args:
        in_features: d, the coordinates of a point, each in [-1, 1].
        out_features: c, the channels.
        width: units of each sine layer.
        depth: sine layers after the first.
        first_omega: omega of the first layer; it sets the initial frequencies of the network.
        omega: omega of the later sine layers.
        outermost: function after the last linear map y = Wh + b: none ("linear", as in the paper), sin(omega·y)
            ("sine"), 1/(1 + exp(-y)) ("sigmoid") or "tanh".
        weight_scale: factor on the initial weights of the sine layers after the first; the paper has 1. At 2, their
            sines are initially further from linear, and the network learns detail sooner; see `docs/performance.md`.
        use_bias: whether the layers have biases. Without them the network is an odd function.
        kernel_init: initializer of the weights of every layer, including the linear one, instead of the paper's range.
        periodic: period of each coordinate in which the network is periodic, such as `{1: 2.0}`, in units of the
            coordinate. Φ(x + P·e_i) = Φ(x) then holds for all derivatives, up to rounding. The frequencies of the first
            layer in this coordinate are the usual initial ones, rounded to whole numbers of periods, and are not
            learned; their phases and all other weights are.
        graded: coordinates in which the network has fine detail near some places, such as a shock: a (place, width)
            pair of each, or several in a list, such as `{1: (0.0, 0.005)}`, in units of the coordinate. The first layer
            acts on m(x) = Σ_j asinh((x - place_j)/width_j) instead of this coordinate. Its frequency k is then the
            frequency k/√((x - place)² + width²) in x. Places and widths are not learned.
        windows: number of units and window of each block of units of the first layer, such as
            `[(200, None), (56, Gaussian((0.0, 0.0), 0.1))]`, in the coordinates of the points. The values of these
            units are w(x)·sin(…). Windows are not learned.
        precision: precision of every matrix product; see `jax.numpy.matmul`.
        rngs: Flax random streams; uses `params`.

    Raises:
        InputError: a size is not positive, a point does not have d coordinates, `outermost` is unknown, a period or a
            width is not positive or of no coordinate, a coordinate is both periodic and graded, `first_omega` is
            below 2π·d/period, the frequency of one period, or the windows are not those of `width` units.

    >>> network = SIREN(2, 3, width=16, depth=1, rngs=nnx.Rngs(0))
    >>> network(jnp.zeros(2)).shape, network(jnp.zeros((5, 4, 2))).shape
    ((3,), (5, 4, 3))
    """

    first_layer: ClassVar[tuple[str | int, ...]] = ("layers", 0)
    """Path of the first layer in the network's parameters, for an optimizer with another learning rate there."""
    last_layer: ClassVar[tuple[str | int, ...]] = ("output",)
    """Path of the linear layer in the network's parameters, for a method that learns only this layer."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        width: int = 256,
        depth: int = 3,
        first_omega: float = 30.0,
        omega: float = 30.0,
        outermost: str = "linear",
        weight_scale: float = 1.0,
        use_bias: bool = True,
        kernel_init: Initializer | None = None,
        periodic: Mapping[int, int | float] | None = None,
        graded: Mapping[int, Any] | None = None,
        windows: Iterable[Any] | None = None,
        precision: str | None = FULL_PRECISION,
        rngs: nnx.Rngs,
    ):
        check_sizes(in_features, out_features, width, depth)
        if outermost not in OUTERMOST:
            raise InputError(f"outermost is one of {', '.join(OUTERMOST)}, but is {outermost!r}.")
        hidden = initializers.siren_hidden(omega) if kernel_init is None else kernel_init
        sizes = [in_features] + [width] * (depth + 1)
        self.periodic = periods.periods_of(periodic, in_features, float(first_omega))
        """Period of each coordinate, or None if the network is not periodic in it; empty if it is in none."""
        self.graded = grading.places_of(graded, in_features, periodic or ())
        """(place, width) pairs of each coordinate, none if it is not graded; empty if no coordinate is graded."""
        self.windows = windowing.windows_of(windows, in_features, width)
        """Number of units and window of each block of the first layer; empty if no unit has a window."""
        if kernel_init is None:
            periods.check_reach(self.periodic, float(first_omega))
        self.layers = nnx.List(
            SineLayer(
                n,
                width,
                omega=first_omega if i == 0 else omega,
                is_first=i == 0,
                use_bias=use_bias,
                kernel_init=kernel_init if i == 0 else initializers.scaled(hidden, float(weight_scale)),
                periodic=periodic if i == 0 else None,
                graded=graded if i == 0 else None,
                windows=self.windows if i == 0 else None,
                precision=precision,
                rngs=rngs,
            )
            for i, n in enumerate(sizes[:-1])
        )
        self.output = nnx.Linear(
            width,
            out_features,
            use_bias=use_bias,
            kernel_init=hidden,
            bias_init=initializers.siren_bias(width),
            precision=precision,
            rngs=rngs,
        )
        self.in_features, self.out_features, self.width, self.depth = in_features, out_features, width, depth
        self.first_omega, self.omega = float(first_omega), float(omega)
        self.outermost, self.use_bias = outermost, use_bias

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... c"]:
        return self.activations(x)[-1].after

    def trunk(self, x: Float[Array, "... d"], layers: int) -> Float[Array, "... width"]:
        """Values of the first sine layers, as many as `layers`."""
        check_points(x, self.in_features)
        for layer in list(self.layers)[:layers]:
            x = layer(x)
        return x

    def head(self, h: Float[Array, "... width"], layers: int) -> Float[Array, "... c"]:
        """Φ, from the values h of the first `layers` layers: `head(trunk(x, n), n)` is `Φ(x)`."""
        for layer in list(self.layers)[layers:]:
            h = layer(h)
        return self._ending(self.output(h))

    def activations(self, x: Float[Array, "... d"]) -> list[Activation]:
        """Values of every sine layer before and after its sine, then Wh + b of the last layer and the network's value.

        The values of all layers at all points are in memory at once.
        """
        check_points(x, self.in_features)
        values = []
        for layer in self.layers:
            values.append(layer.activation(x))
            x = values[-1].after
        y = self.output(x)
        return [*values, Activation(y, self._ending(y))]

    def value_jacobian_laplacian(
        self, x: Float[Array, "... d"]
    ) -> tuple[Float[Array, "... c"], Float[Array, "... c d"], Float[Array, "... c"]]:
        """Φ, its Jacobian and the Laplacian of every channel, from one forward pass; see `derivatives`."""
        value, jacobian, (laplacian,) = self.derivatives(x, ((1.0,) * self.in_features,))
        return value, jacobian, laplacian

    def derivatives(
        self, x: Float[Array, "... d"], weights: tuple[tuple[float, ...], ...] = ()
    ) -> tuple[Float[Array, "... c"], Float[Array, "... c d"], list[Float[Array, "... c"]]]:
        """Φ, its Jacobian, and Σ_i a_i ∂²Φ/∂x_i² for each row a of the weights, from one forward pass.

        Each layer propagates h, J = ∂h/∂x and ℓ = Σ_i a_i ∂²h/∂x_i². With z = omega·(Wh + b), J_z = omega·WJ and
        ℓ_z = omega·Wℓ, the next values are h' = sin z,  J' = cos z·J_z,  ℓ' = cos z·ℓ_z - sin z·Σ_i a_i J_z,i².
        The cost is one sine and one cosine per unit and, in each layer after the first, 1 + d matrix products and one
        more for each row. The first layer has J_z = omega·W and ℓ_z = 0; for a graded coordinate x_i, its row is
        omega·W_i·m_i'(x_i), and ℓ_z contains a_i·omega·W_i·m_i''(x_i). Windows follow by the product rule. An outermost
        function g follows the same rule: g(y),  g'(y)·J_y,  g'(y)·ℓ_y + g''(y)·Σ_i a_i J_y,i².
        """
        check_points(x, self.in_features)
        first, *later = self.layers
        scaled = first.omega * first.weights(x.dtype)
        s, c = sine_and_cosine(first.argument(x))
        scaled, bent = grading.derivatives(scaled, x, self.graded) if self.graded else (scaled, None)
        # One array per component of J: with an axis of size d, XLA would transpose it around every product.
        h, jacobian, curvatures = s, [c * row for row in scaled], [-s * _squares(scaled, row) for row in weights]
        if bent is not None:
            curvatures = [ell + c * _weighted(bent, row) for ell, row in zip(curvatures, weights, strict=True)]
        if self.windows:
            h, jacobian, curvatures = windowing.applied(self.windows, x, h, jacobian, curvatures, weights)
        for layer in later:
            s, c = sine_and_cosine(layer.omega * layer.linear(h))
            jacobian = [layer.omega * _product(layer.linear, j) for j in jacobian]
            curvatures = [layer.omega * _product(layer.linear, curvature) for curvature in curvatures]
            curvatures = [
                c * curvature - s * _squares(jacobian, row) for curvature, row in zip(curvatures, weights, strict=True)
            ]
            h, jacobian = s, [c * j for j in jacobian]
        y, jacobian = self.output(h), [_product(self.output, j) for j in jacobian]
        curvatures = [_product(self.output, curvature) for curvature in curvatures]
        if self.outermost != "linear":
            y, slope, bend = _derivatives(self._ending, y)
            curvatures = [
                slope * curvature + bend * _squares(jacobian, row)
                for curvature, row in zip(curvatures, weights, strict=True)
            ]
            jacobian = [slope * j for j in jacobian]
        return y, jnp.stack(jacobian, axis=-1), curvatures

    def _ending(self, y: Array) -> Array:
        """The function after the last linear map."""
        match self.outermost:
            case "sine":
                return sine(self.omega * y)
            case "sigmoid":
                return jax.nn.sigmoid(y)
            case "tanh":
                return jnp.tanh(y)
        return y


def _derivatives(g: Callable[[Array], Array], y: Array) -> tuple[Array, Array, Array]:
    """g(y), g'(y) and g''(y) at every element of y, for a function g of one number."""
    one = jnp.ones_like(y)
    (value, slope), (_, bend) = jax.jvp(lambda y: jax.jvp(g, (y,), (one,)), (y,), (one,))
    return value, slope, bend


def _product(linear: nnx.Linear, x: Array) -> Array:
    """The linear map without its bias."""
    return jnp.matmul(x, linear.kernel[...].astype(x.dtype), precision=linear.precision)


def _squares(parts: Sequence[Array] | Array, weights: tuple[float, ...]) -> Array | float:
    """Σ_i weights_i·parts_i², without the products that weights of zero and one make unnecessary."""
    return sum(part * part if a == 1 else a * part * part for part, a in zip(parts, weights, strict=True) if a)


def _weighted(parts: Sequence[Array | None], weights: tuple[float, ...]) -> Array | float:
    """Σ_i weights_i·parts_i over the parts that there are."""
    return sum((a * part for part, a in zip(parts, weights, strict=True) if a and part is not None), start=0.0)
