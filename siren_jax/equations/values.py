"""Values that conditions require: numbers, functions of the point, or functions of the field and the point."""

import inspect
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from siren_jax._types import Field

Value = Callable[..., Any] | Any
"""The value required at a point: a number, a function of the point, or a function `(u, x)` of the field and the point;
complex for a `ComplexField`."""


def value_at(value: Value, u: Field, x: Float[Array, "d"]) -> Array:
    """The value at a point."""
    if not callable(value):
        return jnp.asarray(value)
    return jnp.asarray(value(u, x) if takes_field(value) else value(x))


def takes_field(function: Callable[..., Any]) -> bool:
    """Whether a function has two arguments without a default, as `lambda u, x: u["h"]` does.

    >>> takes_field(lambda u, x: x), takes_field(lambda x, power=2: x**power), takes_field(jnp.sin)
    (True, False, False)
    """
    try:
        arguments = inspect.signature(function).parameters.values()
    except ValueError:  # some compiled functions have no signature
        return False
    return sum(a.default is a.empty and a.kind in (a.POSITIONAL_ONLY, a.POSITIONAL_OR_KEYWORD) for a in arguments) == 2
