"""Evaluation of everything that a function needs of a field at one point in one pass over the network.

`laplacian(u)(x) + k**2 * u(x)` evaluates the field twice. With autodiff, each evaluation costs its own forward pass
and, in a training step, its own backward pass.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

import jax
from jax import Array
from jaxtyping import Float

from siren_jax._types import Field, KnowsDerivatives
from siren_jax.errors import InputError
from siren_jax.fields.operators import value_jacobian

Row = tuple[float, ...]
P = ParamSpec("P")
R = TypeVar("R")


def in_one_pass(function: Callable[Concatenate[Field, Array, P], R]) -> Callable[Concatenate[Field, Array, P], R]:
    """The same function of a field and a point, with only one evaluation of the field and its derivatives there.

    The function is traced once more to find out what it needs of the field at the point itself: values, and derivatives
    by the operators `gradient`, `jacobian`, `divergence`, `curl`, `laplacian` and `second_derivatives`. Other
    quantities, such as the value at another point or a third derivative, are evaluated separately.

    Args:
        function: function of a field, a point of shape `(d,)`, and any further arguments.

    >>> import jax.numpy as jnp
    >>> squares = in_one_pass(lambda field, x: field(x) ** 2)
    >>> squares(lambda x: 3 * x, jnp.ones(2)).tolist()
    [9.0, 9.0]
    """

    def once(field: Field, x: Array, *args: P.args, **kwargs: P.kwargs) -> R:
        if not isinstance(field, KnowsDerivatives):
            return function(field, x, *args, **kwargs)
        asked = _Asked(field)

        def ask(x: Array) -> None:
            asked.point = x
            function(asked, x, *args, **kwargs)

        jax.eval_shape(ask, x)
        return function(_expand(field, x, asked), x, *args, **kwargs)

    return once


@dataclasses.dataclass(eq=False)
class _Asked:
    """A field that records which values and derivatives are evaluated at the point."""

    field: Any
    point: Array | None = None
    slope: bool = False
    rows: list[Row] = dataclasses.field(default_factory=list)

    def __call__(self, x: Array) -> Array:
        return self.field(x)

    def __getitem__(self, name: str) -> Array:
        return coefficient(self.field, name)

    def value_jacobian(self, x: Array) -> tuple[Array, Array]:
        self.slope |= x is self.point
        return value_jacobian(self.field)(x)

    def derivatives(self, x: Array, weights: tuple[Row, ...]) -> tuple[Array, Array, list[Array]]:
        if x is self.point:
            self.rows += [row for row in weights if row not in self.rows]
        return self.field.derivatives(x, weights)


@dataclasses.dataclass(eq=False)
class _Expansion:
    """A field whose value and derivatives at one point are already computed."""

    field: Any
    point: Array
    value: Float[Array, "c"]
    jacobian: Float[Array, "c d"] | None = None
    sums: dict[Row, Float[Array, "c"]] = dataclasses.field(default_factory=dict)

    def __call__(self, x: Array) -> Array:
        return self.value if x is self.point else self.field(x)

    def __getitem__(self, name: str) -> Array:
        return coefficient(self.field, name)

    def value_jacobian(self, x: Array) -> tuple[Array, Array]:
        if x is not self.point or self.jacobian is None:
            return value_jacobian(self.field)(x)
        return self.value, self.jacobian

    def derivatives(self, x: Array, weights: tuple[Row, ...]) -> tuple[Array, Array, list[Array]]:
        if x is not self.point or self.jacobian is None or not self.sums.keys() >= set(weights):
            return self.field.derivatives(x, weights)
        return self.value, self.jacobian, [self.sums[row] for row in weights]


def coefficient(field: Any, name: str) -> Array:
    """The number `field[name]`.

    Raises:
        InputError: the field has no coefficients.
    """
    if not hasattr(field, "__getitem__"):
        raise InputError(f"this network has no coefficients such as {name!r}; fit WithCoefficients(network, …).")
    return field[name]


def _expand(field: Any, x: Array, asked: _Asked) -> _Expansion:
    """The field with the recorded values and derivatives, from the cheapest pass that computes all of them."""
    if asked.rows:
        value, jacobian, sums = field.derivatives(x, tuple(asked.rows))
        return _Expansion(field, x, value, jacobian, dict(zip(asked.rows, sums, strict=True)))
    if asked.slope:
        return _Expansion(field, x, *value_jacobian(field)(x))
    return _Expansion(field, x, field(x))
