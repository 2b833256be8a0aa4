"""Inverse problems: numbers of an equation that are learned with its solution."""

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from siren_jax._types import KnowsDerivatives
from siren_jax.errors import InputError
from siren_jax.operators import laplacian, value_jacobian


class WithCoefficients(nnx.Module):
    """A network and numbers beside it, which a residual has as `u["name"]`.

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
        self.network = network
        self.coefficients = nnx.Dict({name: nnx.Param(jnp.float32(x)) for name, x in coefficients.items()})

    def __call__(self, x: Float[Array, "... d"]) -> Float[Array, "... c"]:
        return self.network(x)

    def __getitem__(self, name: str) -> Float[Array, ""]:
        if name not in self.coefficients:
            raise InputError(f"there is no coefficient {name!r}, but {', '.join(self.coefficients) or 'none at all'}.")
        return self.coefficients[name][...]

    @property
    def width(self) -> int | None:
        """That of the network, which recipes go by."""
        return getattr(self.network, "width", None)

    @property
    def first_omega(self) -> float | None:
        """Likewise."""
        return getattr(self.network, "first_omega", None)

    def derivatives(
        self, x: Float[Array, "d"], weights: tuple[tuple[float, ...], ...]
    ) -> tuple[Float[Array, "c"], Float[Array, "c d"], list[Float[Array, "c"]]]:
        """Those of the network, by autodiff where it does not know them."""
        if isinstance(self.network, KnowsDerivatives):
            return self.network.derivatives(x, weights)
        value, jacobian = value_jacobian(self.network)(x)
        return value, jacobian, [laplacian(self.network, weights=row)(x) for row in weights]
