"""Differential operators: each maps a field to a field.

Derivatives with respect to the point are compositions of JAX's automatic differentiation, so they nest to any order:
`divergence(gradient(f))` is `laplacian(f)`. Every operator follows the dtype of the point. A field with its own
derivatives (`KnowsDerivatives`) computes them if that is cheaper. Values may be complex.
"""

from collections.abc import Callable, Sequence
from typing import SupportsFloat

import jax
import jax.numpy as jnp
from jax import Array
from jax.core import Tracer
from jaxtyping import Float

from siren_jax._types import Field, KnowsDerivatives, KnowsJacobian
from siren_jax.errors import InputError


def gradient(field: Field) -> Field:
    """Gradient of a field of one channel, as a new field.

    ∇f(x) = (∂f/∂x_1, …, ∂f/∂x_d)  for f: R^d -> R. Units: [field] / [coordinate]. Reverse mode: about two evaluations.

    Args:
        field: maps one point of shape `(d,)` to a value of shape `(1,)` or `()`. Batch with `jax.vmap`.

    Returns:
        A field from `(d,)` to `(d,)`.

    Raises:
        InputError: the field has several channels, or is evaluated at more than one point.

    >>> gradient(lambda x: jnp.sum(x**2)[None])(jnp.ones(3))
    Array([2., 2., 2.], dtype=float32)
    """

    def nabla(x: Array) -> Array:
        y, slope = value_jacobian(field)(_one_point(x, "gradient"))
        if y.size != 1:
            raise InputError(
                f"gradient needs one output channel, but this field returns {y.size}. "
                "Use jacobian(field), or select one: gradient(lambda x: field(x)[:1])."
            )
        return slope.reshape(x.shape)

    return nabla


def jacobian(field: Field) -> Callable[[Float[Array, "d"]], Float[Array, "c d"]]:
    """Jacobian of a field: row k is the gradient of channel k.

    J_ki(x) = ∂f_k/∂x_i  for f: R^d -> R^c. Units: [field] / [coordinate]. It uses reverse mode for one channel, else
    forward mode.

    Args:
        field: maps one point of shape `(d,)` to values of shape `(c,)`.

    Returns:
        A function from `(d,)` to `(c, d)`.

    >>> jacobian(lambda x: jnp.stack([x[0] * x[1], x[0]]))(jnp.array([2.0, 3.0]))
    Array([[3., 2.],
           [1., 0.]], dtype=float32)
    """
    return lambda x: value_jacobian(field)(x)[1]


def value_jacobian(field: Field) -> Callable[[Float[Array, "d"]], tuple[Float[Array, "c"], Float[Array, "c d"]]]:
    """A field and its Jacobian from one evaluation: a function from `(d,)` to `(c,)` and `(c, d)`."""

    def both(x: Array) -> tuple[Array, Array]:
        x = _one_point(x, "jacobian")
        if isinstance(field, KnowsJacobian):
            return field.value_jacobian(x)
        if jax.eval_shape(field, x).size == 1 and not _is_complex(field, x):
            y, pullback = jax.vjp(field, x)
            return y, pullback(jnp.ones_like(y))[0].reshape(*y.shape, x.size)
        y, pushforward = jax.linearize(field, x)
        return y, jax.vmap(pushforward, out_axes=-1)(jnp.eye(x.size, dtype=x.dtype))

    return both


def derivative(field: Field, axis: int) -> Field:
    """Derivative of every channel along one coordinate, as a new field; repeat it for derivatives of a higher order.

    ∂f/∂x_axis  for f: R^d -> R^c. Units: [field] / [coordinate]. Forward mode: each repetition doubles the cost, so a
    third derivative is cheapest as the `derivative` of a `laplacian` with weights.

    Args:
        field: maps one point of shape `(d,)` to values of any shape.
        axis: index of the coordinate.

    Returns:
        A field with the same shapes.

    >>> cubic = lambda x: (x[0] ** 3 * x[1])[None]
    >>> derivative(laplacian(cubic, weights=(1, 0)), 0)(jnp.array([5.0, 2.0])).item()
    12.0
    """

    def along(x: Array) -> Array:
        direction = jnp.zeros_like(_one_point(x, "derivative")).at[axis].set(1)
        return jax.jvp(field, (x,), (direction,))[1]

    return along


def hessian(field: Field) -> Callable[[Float[Array, "d"]], Float[Array, "c d d"]]:
    """Matrix of second derivatives of every channel.

    H_kij(x) = ∂²f_k/∂x_i∂x_j  for f: R^d -> R^c. Units: [field] / [coordinate]².

    Args:
        field: maps one point of shape `(d,)` to values of shape `(c,)`.

    Returns:
        A function from `(d,)` to `(c, d, d)`.

    >>> hessian(lambda x: (x[0] ** 2 * x[1])[None])(jnp.ones(2))
    Array([[[2., 2.],
            [2., 0.]]], dtype=float32)
    """
    return lambda x: _hessian(field, _one_point(x, "hessian"))


def divergence(field: Field) -> Field:
    """Divergence of a vector field, as a field of one channel.

    div f(x) = Σ_i ∂f_i/∂x_i  for f: R^d -> R^d. Units: [field] / [coordinate].

    Args:
        field: maps one point of shape `(d,)` to a vector of shape `(d,)`.

    Returns:
        A field from `(d,)` to `(1,)`.

    Raises:
        InputError: the numbers of channels and coordinates differ.

    >>> divergence(lambda x: x**2)(jnp.ones(3))
    Array([6.], dtype=float32)
    """

    def diverge(x: Array) -> Array:
        return jnp.trace(_vector_jacobian(field, x, "divergence"))[None]

    return diverge


def laplacian(field: Field, *, weights: Sequence[SupportsFloat] | None = None) -> Field:
    """Laplacian of every channel, as a new field.

    Δf_k(x) = Σ_i ∂²f_k/∂x_i²  for f: R^d -> R^c. Units: [field] / [coordinate]². It is the trace of the Hessian, or
    takes one forward pass if the field has its own derivatives.

    Args:
        field: maps one point of shape `(d,)` to values of shape `(c,)`. Batch with `jax.vmap`.
        weights: numbers a_i, one for each coordinate, for Σ_i a_i ∂²f_k/∂x_i² instead of the Laplacian. (1, -1, -1) is
            the operator of the wave equation in time and two dimensions.

    Returns:
        A field with the same shapes.

    Raises:
        InputError: the numbers of weights and coordinates differ, or a weight is not a plain number.

    >>> laplacian(lambda x: jnp.sum(x**2)[None])(jnp.ones(3)).item()
    6.0
    """

    def weigh(x: Array) -> Array:
        row = (1.0,) * x.size if weights is None else _row(weights)
        if len(row) != x.size:
            raise InputError(f"laplacian needs a weight for each of {x.size} coordinates, but got {len(row)}.")
        return _weighted_laplacians(field, _one_point(x, "laplacian"), (row,))[0]

    return weigh


def second_derivatives(field: Field) -> Callable[[Float[Array, "d"]], Float[Array, "c d"]]:
    """Second derivatives of every channel along each coordinate: the diagonal of its Hessian.

    S_ki(x) = ∂²f_k/∂x_i²  for f: R^d -> R^c. Units: [field] / [coordinate]².

    Args:
        field: maps one point of shape `(d,)` to values of shape `(c,)`.

    Returns:
        A function from `(d,)` to `(c, d)`.

    >>> second_derivatives(lambda x: (x[0] ** 2 * x[1] ** 3)[None])(jnp.ones(2))
    Array([[2., 6.]], dtype=float32)
    """

    def along_each(x: Array) -> Array:
        rows = tuple(tuple(float(i == j) for j in range(x.size)) for i in range(x.size))
        return jnp.stack(_weighted_laplacians(field, _one_point(x, "second_derivatives"), rows), axis=-1)

    return along_each


def value_jacobian_laplacian(
    field: Field,
) -> Callable[[Float[Array, "d"]], tuple[Float[Array, "c"], Float[Array, "c d"], Float[Array, "c"]]]:
    """A field, its Jacobian and its Laplacian, from one forward pass if the field has its own derivatives."""

    def all_three(x: Array) -> tuple[Array, Array, Array]:
        x = _one_point(x, "value_jacobian_laplacian")
        if isinstance(field, KnowsDerivatives):
            value, slope, (curvature,) = field.derivatives(x, ((1.0,) * x.size,))
            return value, slope, curvature
        return *value_jacobian(field)(x), laplacian(field)(x)

    return all_three


def curl(field: Field) -> Field:
    """Curl of a vector field in two or three dimensions.

    ∇×f = (∂_2 f_3 - ∂_3 f_2, ∂_3 f_1 - ∂_1 f_3, ∂_1 f_2 - ∂_2 f_1) in R³, a field from `(3,)` to `(3,)`; in R² the
    scalar ∂_1 f_2 - ∂_2 f_1, a field from `(2,)` to `(1,)`. Units: [field] / [coordinate].

    Args:
        field: maps one point of shape `(d,)` to a vector of shape `(d,)`, d = 2 or 3.

    Raises:
        InputError: d is neither 2 nor 3, or the field does not have d channels.

    >>> curl(lambda x: jnp.stack([-x[1], x[0]]))(jnp.zeros(2))
    Array([2.], dtype=float32)
    """

    def rotate(x: Array) -> Array:
        if x.shape not in ((2,), (3,)):
            raise InputError(f"curl is defined at points of shape (2,) or (3,), but this one has the shape {x.shape}.")
        j = _vector_jacobian(field, x, "curl")
        if x.size == 2:
            return (j[1, 0] - j[0, 1])[None]
        return jnp.stack([j[2, 1] - j[1, 2], j[0, 2] - j[2, 0], j[1, 0] - j[0, 1]])

    return rotate


def _weighted_laplacians(field: Field, x: Array, rows: tuple[tuple[float, ...], ...]) -> list[Array]:
    """Σ_i a_i ∂²f/∂x_i² for each row a."""
    if isinstance(field, KnowsDerivatives):
        return field.derivatives(x, rows)[2]
    diagonal = jnp.diagonal(_hessian(field, x), axis1=-2, axis2=-1)
    return [diagonal @ jnp.array(row, diagonal.dtype) for row in rows]


def _hessian(field: Field, x: Array) -> Array:
    inner = jax.jacfwd if _is_complex(field, x) else jax.jacrev
    return jax.jacfwd(inner(field))(x)


def _is_complex(field: Field, x: Array) -> bool:
    """Whether values are complex. Reverse mode would return the derivatives of their real parts alone."""
    return bool(jnp.issubdtype(jax.eval_shape(field, x).dtype, jnp.complexfloating))


def _row(weights: Sequence[SupportsFloat]) -> tuple[float, ...]:
    if any(isinstance(weight, Tracer) for weight in weights):
        raise InputError(
            "laplacian needs weights that are plain numbers, but one is computed, perhaps from a learned coefficient. "
            "Multiply second_derivatives(field)(x) by it instead, which costs the same."
        )
    return tuple(map(float, weights))


def _vector_jacobian(field: Field, x: Array, name: str) -> Float[Array, "d d"]:
    j = jacobian(field)(_one_point(x, name))
    if j.shape != (x.size, x.size):
        raise InputError(
            f"{name} needs a vector field, with as many channels as coordinates, "
            f"but this field maps {x.size} coordinates to values of the shape {j.shape[:-1]}."
        )
    return j


def _one_point(x: Array, name: str) -> Array:
    if x.ndim != 1:
        raise InputError(
            f"{name} acts on one point of shape (d,), but this array has the shape {x.shape}. "
            f"For many points use jax.vmap({name}(field))(points)."
        )
    return x
