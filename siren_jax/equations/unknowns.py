"""What is solved for, made of a network: numbers beside it, and conditions that it fulfils by construction."""

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from siren_jax._types import KnowsDerivatives
from siren_jax.errors import InputError
from siren_jax.operators import laplacian, value_jacobian

Derivatives = tuple[Float[Array, "c"], Float[Array, "c d"], list[Float[Array, "c"]]]


class _Unknown(nnx.Module):
    """Made of a network, whose recipe holds for it."""

    def __init__(self, network: nnx.Module):
        self.network = network

    @property
    def width(self) -> int | None:
        """That of the network, which recipes go by."""
        return getattr(self.network, "width", None)

    @property
    def first_omega(self) -> float | None:
        """Likewise."""
        return getattr(self.network, "first_omega", None)

    def derivatives(self, x: Float[Array, "d"], weights: tuple[tuple[float, ...], ...]) -> Derivatives:
        """Those of the network, by autodiff where it does not know them."""
        return _derivatives(self.network, x, weights)


class WithCoefficients(_Unknown):
    """A network and numbers beside it, which a residual has as `u["name"]`: an inverse problem.

    Args:
        network: the unknown function, of any kind.
        **coefficients: where each number begins.

    Raises:
        InputError: a name that is asked for and not there.

    >>> from siren_jax import SIREN
    >>> u = WithCoefficients(SIREN(2, 1, width=8, rngs=nnx.Rngs(0)), speed=1.0)
    >>> u["speed"].item(), u(jnp.zeros(2)).shape
    (1.0, (1,))
    """

    def __init__(self, network: nnx.Module, **coefficients: float):
        super().__init__(network)
        self.coefficients = nnx.Dict({name: nnx.Param(jnp.float32(x)) for name, x in coefficients.items()})

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... c"]:
        return self.network(x)

    def __getitem__(self, name: str) -> Float[Array, ""]:
        if name not in self.coefficients:
            raise InputError(f"there is no coefficient {name!r}, but {', '.join(self.coefficients) or 'none at all'}.")
        return self.coefficients[name][...]


class Ansatz(_Unknown):
    """u(x) = offset(x) + factor(x)·N(x): conditions that hold by construction, where the factor is zero.

    Lagaris, Likas and Fotiadis 1998, Equation 2; "hard" conditions, which need no terms. With the start as the offset
    and the time as the factor, a fit also begins as the start at all times.

    Args:
        network: N, of any kind.
        offset: of a point `(d,)`, a number for all channels or `(c,)`.
        factor: of a point, a number.

    >>> from siren_jax import SIREN
    >>> network = SIREN(2, 1, width=8, rngs=nnx.Rngs(0))
    >>> u = Ansatz(network, offset=lambda x: x[1] ** 2, factor=lambda x: x[0])
    >>> u(jnp.array([0.0, 3.0])).tolist()
    [9.0]
    """

    def __init__(
        self,
        network: nnx.Module,
        *,
        offset: Callable[[Float[Array, "d"]], Array],
        factor: Callable[[Float[Array, "d"]], Array],
    ):
        super().__init__(network)
        self.offset, self.factor = offset, factor

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... c"]:
        return jnp.vectorize(self._at, signature="(d)->(c)")(x)

    def derivatives(self, x: Float[Array, "d"], weights: tuple[tuple[float, ...], ...]) -> Derivatives:
        """By the product rule, from one pass over the network."""
        value, slope, sums = _derivatives(self.network, x, weights)
        a, a_slope, a_sums = _derivatives(lambda x: jnp.broadcast_to(self.offset(x), value.shape), x, weights)
        b, b_slope, b_sums = _derivatives(lambda x: jnp.reshape(self.factor(x), 1), x, weights)
        curvatures = [
            a_sum + b_sum * value + 2 * jnp.sum(jnp.array(row) * b_slope * slope, axis=-1) + b * network_sum
            for row, a_sum, b_sum, network_sum in zip(weights, a_sums, b_sums, sums, strict=True)
        ]
        return a + b * value, a_slope + value[:, None] * b_slope + b * slope, curvatures

    def _at(self, x: Float[Array, "d"]) -> Float[Array, "c"]:
        return self.offset(x) + self.factor(x) * self.network(x)


def _derivatives(field: Callable[[Array], Array], x: Array, weights: tuple[tuple[float, ...], ...]) -> Derivatives:
    """Value, Jacobian and weighted Laplacians, by autodiff where the field does not know them."""
    if isinstance(field, KnowsDerivatives):
        return field.derivatives(x, weights)
    value, jacobian = value_jacobian(field)(x)
    return value, jacobian, [laplacian(field, weights=row)(x) for row in weights]
