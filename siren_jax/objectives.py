"""Objectives: `(field, batch) -> {term: value at each point}`. Who fits takes the means and weighs them."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from siren_jax._types import Batch, Field, Objective
from siren_jax.operators import laplacian, value_jacobian, value_jacobian_laplacian

QUANTITIES = ("value", "gradient", "laplacian")


def supervise(*quantities: str, mean_square: Mapping[str, float] | None = None) -> Objective:
    """Squared errors of a field's value, gradient and Laplacian at points, each a term of its own.

    For every quantity q of the field f and its target t: |q(f)(x) - t(x)|² / m, the mean over channels (and the sum over the
    gradient's components), from one pass over the network. Sitzmann et al. 2020, Section 3.1 and Eq. 8.

    Args:
        *quantities: which of "value", "gradient", "laplacian" the batch supervises. It holds one array for each, of the shapes
            `(n, c)`, `(n, c, d)` and `(n, c)`, and `coordinates` of shape `(n, d)`.
        mean_square: m of a quantity; one where it is not given. Dividing by the target's own mean square makes terms of
            different units comparable: 1 then means "no better than zero".

    Raises:
        ValueError: an unknown quantity, or none.

    >>> objective = supervise("value", "gradient", mean_square={"gradient": 4.0})
    >>> batch = {"coordinates": jnp.ones((5, 2)), "value": jnp.ones((5, 1)), "gradient": jnp.zeros((5, 1, 2))}
    >>> terms = objective(lambda x: 2 * x[:1], batch)
    >>> terms["value"][0].item(), terms["gradient"][0].item()
    (1.0, 1.0)
    """
    if not quantities or not set(quantities) <= set(QUANTITIES):
        raise ValueError(f"supervise takes one or more of {', '.join(QUANTITIES)}, but got {quantities or 'none'}.")
    scale = {q: 1 / m for q, m in (mean_square or {}).items() if m > 0}

    def objective(field: Field, batch: Batch) -> dict[str, jax.Array]:
        predictions = jax.vmap(_several(field, quantities))(batch["coordinates"])
        return {q: scale.get(q, 1.0) * _squared_error(predictions[q], batch[q]) for q in quantities}

    return objective


def _several(field: Field, quantities: tuple[str, ...]):
    """The cheapest pass that has all quantities of a point."""

    def evaluate(x: jax.Array) -> dict[str, jax.Array]:
        if quantities == ("value",):
            return {"value": field(x)}
        if quantities == ("laplacian",):
            return {"laplacian": laplacian(field)(x)}
        if "laplacian" not in quantities:
            return dict(zip(QUANTITIES, value_jacobian(field)(x), strict=False))
        return dict(zip(QUANTITIES, value_jacobian_laplacian(field)(x), strict=True))

    return evaluate


def _squared_error(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Per point: the mean over channels of the squared length of the error."""
    if prediction.shape != target.shape:
        raise ValueError(f"the field gives values of the shape {prediction.shape}, but the target has {target.shape}.")
    n, c = prediction.shape[:2]
    return jnp.sum((prediction - target).reshape(n, -1) ** 2, axis=1) / c
