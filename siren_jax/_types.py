"""The one idea of the library, in types: a field maps one point to its values."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

from jax import Array
from jaxtyping import Float

Field = Callable[[Float[Array, "d"]], Float[Array, "c"]]
"""A function of one point. Networks are fields; batching is `jax.vmap(field)`."""

Batch = Mapping[str, Any]
"""Arrays with one leading axis of n points."""

Objective = Callable[[Field, Batch], dict[str, Float[Array, "n"]]]
"""Named terms of a loss, one value at each point."""

Initializer = Callable[..., Array]
"""`(key, shape, dtype) -> Array`, as in `jax.nn.initializers`."""


@runtime_checkable
class KnowsDerivatives(Protocol):
    """A field that gives value, Jacobian and weighted Laplacians of a point in one forward pass."""

    def derivatives(
        self, x: Float[Array, "d"], weights: tuple[tuple[float, ...], ...]
    ) -> tuple[Float[Array, "c"], Float[Array, "c d"], list[Float[Array, "c"]]]:
        """f(x), its Jacobian, and Σ_i a_i ∂²f/∂x_i² for each row a of the weights."""
        ...


@runtime_checkable
class KnowsJacobian(Protocol):
    """A field that gives value and Jacobian of a point cheaper than autodiff."""

    def value_jacobian(self, x: Float[Array, "d"]) -> tuple[Float[Array, "c"], Float[Array, "c d"]]: ...
