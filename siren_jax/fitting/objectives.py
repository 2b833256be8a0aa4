"""Objectives: `(field, batch) -> {term: value at each point}`. The fit averages the terms and weights them."""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float

from siren_jax._types import Batch, Field, Objective, Quantity
from siren_jax.errors import InputError
from siren_jax.fields.operators import hessian, jacobian, laplacian, value_jacobian, value_jacobian_laplacian

QUANTITIES: tuple[Quantity, ...] = ("value", "gradient", "laplacian")
INTEGRALS = ("gradient_integral", "laplacian_integral", "footprint")
PRIORS = ("total_variation", "hessian")
TINY = 1e-12  # added under a square root, whose slope at zero would be infinite


class SumOfSquares:
    """An objective made of residuals, which the methods "gauss-newton" and "last-layer" of `refine` need: a term is
    the sum of their squares.

    Args:
        residuals: `(field, batch) -> {term: residuals}`, at each point an array of numbers that should vanish; of
            complex ones, the squared modulus counts. A residual may depend only on its own point of the batch.
        values: `(field, batch) -> array`, linear in the field: what the residuals should determine. With it, the method
            "last-layer" warns if they do not, for up to 8,000 parameters.

    >>> values = SumOfSquares(lambda field, batch: {"value": jax.vmap(field)(batch["x"]) - batch["value"]})
    >>> values(lambda x: 3 * x, {"x": jnp.ones((2, 1)), "value": jnp.ones((2, 1))})["value"].tolist()
    [4.0, 4.0]
    """

    def __init__(
        self,
        residuals: Callable[[Field, Batch], Mapping[str, Array]],
        values: Callable[[Field, Batch], Array] | None = None,
    ):
        self.residuals, self.values = residuals, values

    def __call__(self, field: Field, batch: Batch) -> dict[str, Float[Array, "n"]]:
        squares = {name: jnp.abs(found) ** 2 for name, found in self.residuals(field, batch).items()}
        return {name: jnp.sum(square, axis=range(1, square.ndim)) for name, square in squares.items()}


def supervise(*quantities: str, mean_square: Mapping[str, float] | None = None) -> Objective:
    """Squared errors of a field's value, gradient and Laplacian at points, as separate terms.

    The term of a quantity q of the field f with the target t is |q(f)(x) - t(x)|² / m, the mean over channels (and the
    sum over the gradient's components), from one pass over the network. Sitzmann et al. 2020, Sections 3.1 and 4.1.

    The integral forms "gradient_integral" and "laplacian_integral" supervise averages of the derivative over all
    scales, as differences of the network's values: |f(b) - f(a) - t|² and |Σ_i f(x + h e_i) + f(x - h e_i) - 2d f(x) -
    t|². "footprint" compares a mean over points with a sample that is a mean itself: |mean_i f(x_i) - t|². See
    `signals.integrals`.

    Args:
        *quantities: quantities that the batch supervises. For "value", "gradient" and "laplacian", the batch contains
            an array of that name, of the shapes `(n, c)`, `(n, c, d)` and `(n, c)`, and `coordinates` `(n, d)`. For an
            integral form, it contains a dict of that name with `target` `(n, c)` and `points` `(n, k, d)`: the ends a
            and b, the stencil with its centre last, or the points of a footprint.
        mean_square: m of each quantity; 1 for quantities not named. Dividing by the target's own mean square makes
            terms of different units comparable: 1 then means "no better than zero".

    Raises:
        InputError: a quantity is unknown, or there is none.

    >>> objective = supervise("value", "gradient", mean_square={"gradient": 4.0})
    >>> batch = {"coordinates": jnp.ones((5, 2)), "value": jnp.ones((5, 1)), "gradient": jnp.zeros((5, 1, 2))}
    >>> terms = objective(lambda x: 2 * x[:1], batch)
    >>> terms["value"][0].item(), terms["gradient"][0].item()
    (1.0, 1.0)
    """
    if not quantities or not set(quantities) <= {*QUANTITIES, *INTEGRALS}:
        known = ", ".join((*QUANTITIES, *INTEGRALS))
        raise InputError(f"supervise takes one or more of {known}, but got {quantities or 'none'}.")
    mean_square = mean_square or {}
    scale = {q: 1 / float(mean_square[q]) for q in quantities if mean_square.get(q, 0) > 0}
    return Partial(_squared_errors(quantities), scale)  # the scale is an argument: one program fits all pictures


def with_prior(objective: Objective, prior: str) -> Objective:
    """An objective with one more term, "prior", for the smoothness of the field where no values are known.

    The term is evaluated at the batch's points `anywhere`, `(n, d)`. For "total_variation" it is the Frobenius norm of
    the Jacobian, √Σ_ki (∂_i f_k)², and favours flat pieces between edges (Rudin, Osher and Fatemi 1992). For "hessian"
    it is that of the Hessian, √Σ_kij (∂_i ∂_j f_k)², and favours straight pieces between bends. Sitzmann et al. 2020,
    supplement, inpainting.

    Args:
        objective: objective of the same batch.
        prior: one of `PRIORS`.

    Raises:
        InputError: the prior is unknown.

    >>> objective = with_prior(supervise("value"), "total_variation")
    >>> points = {"coordinates": jnp.ones((1, 2)), "value": jnp.ones((1, 1)), "anywhere": jnp.zeros((1, 2))}
    >>> objective(lambda x: 3 * x[:1] + 4 * x[1:], points)["prior"].tolist()
    [5.0]
    """
    if prior not in PRIORS:
        raise InputError(f"prior must be one of {', '.join(PRIORS)}, but got {prior!r}.")
    return Partial(_both(prior), objective if isinstance(objective, Partial) else Partial(objective))


def signed_distance(field: Field, batch: Batch) -> dict[str, Array]:
    """Terms of the loss for the signed distance to a surface, negative inside.

    Each element of the batch has a point x on the surface with the normal n, and a point y off it. The terms of the
    paper are "on", |f(x)|; "off", exp(-100·|f(y)|), which penalises zeros off the surface; "normal", 1 - ∇f·n / |∇f| at
    x; and "eikonal", ||∇f| - 1|, the mean over x and y. Value and gradient come from one pass. Sitzmann et al. 2020,
    Eq. 6.

    The term "far", |f(y) - d|, is not from the paper; d is approximately the signed distance of y. Without it, nothing
    determines the sign behind a spurious zero, and it is wrong in places. `recipes.SHAPE_WEIGHTS` has the weights.

    Args:
        field: a field with one channel.
        batch: `on`, `normal` and `off`, each `(n, 3)`, and `distance` `(n,)`; see `SurfaceDataset.sampler`.

    >>> batch = {"on": jnp.array([[2.0, 0, 0]]), "normal": jnp.array([[1.0, 0, 0]]), "off": jnp.array([[0, 0.5, 0]])}
    >>> terms = signed_distance(lambda x: jnp.linalg.norm(x)[None] - 1, {**batch, "distance": jnp.array([-0.25])})
    >>> {name: round(term[0].item(), 6) for name, term in terms.items()}
    {'on': 1.0, 'off': 0.0, 'normal': 0.0, 'eikonal': 0.0, 'far': 0.25}
    """
    both = jnp.concatenate([batch["on"], batch["off"]])
    value, gradient = jax.vmap(value_jacobian(field))(both)
    if value.shape[1:] != (1,):
        raise InputError(f"a signed distance has one channel, but this field returns the shape {value.shape[1:]}.")
    (on, off), gradient = jnp.split(value[:, 0], 2), gradient[:, 0]
    length = jnp.sqrt(jnp.sum(gradient**2, axis=1) + 1e-12)  # its gradient is finite at zero
    along = jnp.sum(jnp.split(gradient, 2)[0] * batch["normal"], axis=1)
    uneven = jnp.split(jnp.abs(length - 1), 2)
    return {
        "on": jnp.abs(on),
        "off": jnp.exp(-100 * jnp.abs(off)),
        "normal": 1 - along / jnp.split(length, 2)[0],
        "eikonal": (uneven[0] + uneven[1]) / 2,
        "far": jnp.abs(off - batch["distance"]),
    }


@functools.cache  # the same function for the same quantities, so that `fit` finds its compiled steps again
def _squared_errors(quantities: tuple[str, ...]) -> Callable[..., dict[str, Array]]:
    """The objective of `supervise`, as a function of the scale, the field and the batch."""
    pointwise = tuple(q for q in quantities if q in QUANTITIES)

    def objective(scale: Mapping[str, Array | float], field: Field, batch: Batch) -> dict[str, Array]:
        errors = {}
        if pointwise:
            predictions = jax.vmap(_several(field, pointwise))(batch["coordinates"])
            errors = {q: _squared_error(predictions[q], batch[q]) for q in pointwise}
        for q in (q for q in quantities if q in INTEGRALS):
            combined = _mean if q == "footprint" else _difference
            errors[q] = _squared_error(combined(field, batch[q]["points"]), batch[q]["target"])
        return {q: scale.get(q, 1.0) * errors[q] for q in quantities}

    return objective


@functools.cache
def _both(prior: str) -> Callable[..., dict[str, Array]]:
    """The objective of `with_prior`, as a function of the other objective, the field and the batch."""
    derivative = jacobian if prior == "total_variation" else hessian

    def objective(other: Objective, field: Field, batch: Batch) -> dict[str, Array]:
        derivatives = jax.vmap(derivative(field))(batch["anywhere"])
        square = jnp.sum(derivatives**2, axis=range(1, derivatives.ndim))
        return {**other(field, batch), "prior": jnp.sqrt(square + TINY)}

    return objective


def _several(field: Field, quantities: tuple[str, ...]) -> Callable[[Array], dict[str, Array]]:
    """The cheapest function that computes all quantities at a point in one pass."""

    def evaluate(x: Array) -> dict[str, Array]:
        if quantities == ("value",):
            return {"value": field(x)}
        if quantities == ("laplacian",):
            return {"laplacian": laplacian(field)(x)}
        if "laplacian" not in quantities:
            return dict(zip(QUANTITIES, value_jacobian(field)(x), strict=False))
        return dict(zip(QUANTITIES, value_jacobian_laplacian(field)(x), strict=True))

    return evaluate


def _mean(field: Field, points: Float[Array, "n k d"]) -> Float[Array, "n c"]:
    return jnp.mean(jax.vmap(jax.vmap(field))(points), axis=1)


def _difference(field: Field, points: Float[Array, "n k d"]) -> Float[Array, "n c"]:
    """f(b) - f(a) for two points; Σ_i f(x + h e_i) + f(x - h e_i) - 2d f(x) for a stencil of 2d + 1, centre last."""
    n, k, d = points.shape
    values = jax.vmap(field)(points.reshape(n * k, d)).reshape(n, k, -1)
    return values[:, 1] - values[:, 0] if k == 2 else jnp.sum(values[:, :-1], axis=1) - (k - 1) * values[:, -1]


def _squared_error(prediction: Array, target: Array) -> Float[Array, "n"]:
    """Mean over channels of the squared length of the error at each point."""
    if prediction.shape != target.shape:
        raise InputError(
            f"the field returns the shape {prediction.shape}, but the target has the shape {target.shape}."
        )
    n, c = prediction.shape[:2]
    return jnp.sum((prediction - target).reshape(n, -1) ** 2, axis=1) / c
