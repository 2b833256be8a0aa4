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
    """A field that gives value, Jacobian and Laplacian of a point in one forward pass."""

    def value_jacobian_laplacian(
        self, x: Float[Array, "d"]
    ) -> tuple[Float[Array, "c"], Float[Array, "c d"], Float[Array, "c"]]: ...
