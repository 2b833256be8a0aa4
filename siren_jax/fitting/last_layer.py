"""The last layer alone as the unknown: with fixed sines, a linear equation is a linear least-squares problem.

Its solution is exact to the rounding of float64: no other method reaches as many digits in as little time where the
sines can represent the solution, as those of `random_features` can. Where the residuals are not linear in the last
layer, it is the result of a few Gauss-Newton steps.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.flatten_util import ravel_pytree

from siren_jax._types import Batch
from siren_jax.errors import InputError
from siren_jax.fitting.gauss_newton import LEAST, GaussNewton, initial_state, residual_count

FIRST = 1e-6  # initial damping for residuals that are not linear
SEEN = 1e-24  # damping, in units of the mean of the diagonal of JᵀJ: a change of 1e-12 of the residuals is seen
LOOSE = 1e-3  # share of the values of a random function above which an unseen part is reported
TESTED = 256  # points at which the residuals are compared with a linear function


def learned_parameters(network: nnx.Module) -> Callable[[tuple[Any, ...], Any], bool]:
    """A filter of Flax for the parameters outside of the sine layers: the last layer, and any coefficients.

    Raises:
        InputError: the network has no linear last layer.
    """
    path = getattr(network, "last_layer", None)
    if path is None:
        raise InputError(
            f"method='last-layer' takes a network with a linear last layer, a SIREN or an unknown made from one, but "
            f"got {type(network).__name__}. Use another method."
        )
    inner = path[:-1]

    def learned(at: tuple[Any, ...], value: Any) -> bool:
        return isinstance(value, nnx.Param) and (at[: len(path)] == path or at[: len(inner)] != inner)

    return learned


def check_rows(residuals: Mapping[str, Any], parameters: int) -> None:
    """Refuses fewer residuals than parameters.

    Args:
        residuals: residuals of all points, or their shapes.
        parameters: number of parameters of the last layer.

    Raises:
        InputError: there are fewer residuals.
    """
    rows = residual_count(residuals)
    if rows < parameters:
        raise InputError(
            f"method='last-layer' needs at least as many residuals as parameters, better twice as many, but there are "
            f"{rows:,} residuals for the {parameters:,} parameters of the last layer. Use more points, or a narrower "
            "network."
        )


def first_state(
    residuals_of: Callable[[Any, Batch], Mapping[str, Array]], params: Any, batch: Batch, damping: float
) -> Any:
    """The initial state, with this damping or, for linear residuals, hardly any: the first step is the solution."""
    dtype = jax.tree.leaves(params)[0].dtype
    return initial_state(params, dtype, LEAST if _are_linear(residuals_of, params, batch) else damping)


def check_linear(
    residuals_of: Callable[[Any, Batch], Mapping[str, Array]], params: Any, batch: Batch, most: int
) -> None:
    """Refuses residuals that are not linear in the parameters of the last layer.

    Args:
        residuals_of: `(params, batch) -> {term: residuals at each point}`.
        params: parameters of the last layer.
        batch: all points.
        most: largest number of parameters with which other residuals are taken.

    Raises:
        InputError: the residuals are not linear.
    """
    if not _are_linear(residuals_of, params, batch):
        count = sum(leaf.size for leaf in jax.tree.leaves(params))
        raise InputError(
            f"method='last-layer' takes more than {most:,} parameters of the last layer only for residuals that are "
            f"linear in them, but these residuals are not linear in the {count:,} parameters of this one. Use fewer "
            "sines, or another method."
        )


def _are_linear(residuals_of: Callable[[Any, Batch], Mapping[str, Array]], params: Any, batch: Batch) -> bool:
    """Whether the derivative of the residuals at some points is the same for other parameters, up to rounding."""
    flat, unravel = ravel_pytree(params)
    few = jax.tree.map(lambda leaf: leaf[:TESTED], batch)

    @jax.jit
    def change(at: Array, along: Array, few: Batch) -> Array:  # constant points would be evaluated by the compiler
        of = lambda flat: ravel_pytree(residuals_of(unravel(flat), few))[0]
        return jax.jvp(of, (at,), (along,))[1]

    along, other = jax.random.normal(jax.random.key(0), (2, flat.size), flat.dtype)
    one, two = change(flat, along, few), change(flat + other, along, few)
    rounding = jnp.sqrt(jnp.finfo(flat.dtype).eps)
    return bool(jnp.linalg.norm(one - two) <= rounding * jnp.linalg.norm(one))


def undetermined(taker: GaussNewton, values_of: Callable[[Any], Array]) -> str:
    """A sentence that says that the residuals do not determine the solution; empty if they do.

    The solution is then the one with the smallest parameters.

    Args:
        taker: has taken the last step.
        values_of: the network's values, as a function of the last layer's parameters.
    """
    zero = values_of(jax.tree.map(jnp.zeros_like, taker.state()[0]))
    random, unseen = (jnp.linalg.norm(values_of(params) - zero) for params in taker.unseen(SEEN))
    if not unseen > LOOSE * random:
        return ""
    return (
        f"the residuals do not determine the solution: {unseen / random:.1%} of a random function changes none. "
        "This solution is the one with the smallest parameters. Add the missing condition, or more points."
    )
