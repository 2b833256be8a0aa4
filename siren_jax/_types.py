"""Types of the library's central idea, a field that maps one point to its values, and the words of arguments."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

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
    """A field that computes value, Jacobian and weighted Laplacians at a point in one forward pass."""

    def derivatives(
        self, x: Float[Array, "d"], weights: tuple[tuple[float, ...], ...]
    ) -> tuple[Float[Array, "c"], Float[Array, "c d"], list[Float[Array, "c"]]]:
        """f(x), its Jacobian, and Σ_i a_i ∂²f/∂x_i² for each row a of the weights."""
        ...


@runtime_checkable
class KnowsJacobian(Protocol):
    """A field that computes value and Jacobian at a point at a lower cost than autodiff."""

    def value_jacobian(self, x: Float[Array, "d"]) -> tuple[Float[Array, "c"], Float[Array, "c d"]]: ...


SignalName = Literal["image", "sound", "video", "shape"]
"""A kind of signal that comes in files."""

Quantity = Literal["value", "gradient", "laplacian"]
"""What is rendered of a signal."""

Target = Literal["values", "gradient", "laplacian", "mixed"]
"""What a network is fitted to."""

RecipeName = Literal["tuned", "paper"]
"""Settings of a fit; see `fitting.recipes`."""

Mode = Literal["mean", "max", "paste"]
"""How two pictures become one; see `Composite`."""

RefinementMethod = Literal["lbfgs", "broyden", "gauss-newton", "last-layer"]
"""How `refine` takes its steps."""

Sampler = Literal["uniform", "sobol"]
"""How the points of an equation's term are drawn."""

Precision = Literal["float32", "float16", "bfloat16", "int8", "float64"]
"""Precision of the weights in a `.siren` file."""

SetPrecision = Literal["float32", "float16", "bfloat16", "int8"]
"""Precision of the weights in a set."""

Layout = Literal["paper", "pip", "tutorial", "coin"]
"""Names of the parameters in a PyTorch state dict; see `files.pytorch`."""

StoppedBy = Literal[
    "steps", "seconds", "watch", "converged", "unsolved", "non-finite", "interrupt", "terminate", "hangup"
]
"""Why a fit ended; see `Fit`."""
