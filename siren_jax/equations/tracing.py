"""What a residual or a condition must not do while JAX traces it: ask for indices beyond an array, or decide.

JAX moves an index beyond the end to the last entry without a word: a residual that asks for `u(x)[1]` of a field of one
channel would be solved with `u(x)[0]`.
"""

import operator
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.extend.core import Literal

from siren_jax.errors import InputError

FOLDED = {"lt": operator.lt, "add": operator.add, "select_n": lambda which, *cases: cases[int(which)]}
"""What JAX does to an index that is a number, where that is negative."""


def refuse_indices_beyond(what: str, function: Callable[..., Any], *args: Any) -> None:
    """Traces a function and looks at all indices in it that are numbers.

    Args:
        what: names the function in the message.
        function: of arrays.
        *args: the arrays, or tracers.

    Raises:
        InputError: an index is not within its array.

    >>> refuse_indices_beyond("the residual", lambda x: x[-2], np.ones(2))
    """
    known: dict[Any, Any] = {}
    for equation in jax.make_jaxpr(function)(*args).jaxpr.eqns:
        values = [v.val if isinstance(v, Literal) else known.get(v) for v in equation.invars]
        name = equation.primitive.name
        if name in FOLDED and all(value is not None and np.ndim(value) == 0 for value in values):
            known[equation.outvars[0]] = FOLDED[name](*values)
        if name == "dynamic_slice":
            shape = equation.invars[0].aval.shape
            for start, taken, length in zip(values[1:], equation.params["slice_sizes"], shape, strict=True):
                if start is not None and not 0 <= start <= length - taken:
                    raise InputError(
                        f"{what} asks for entry {int(start)}, from zero on, of an axis of {length} in an array of the "
                        f"shape {shape}: the field has too few channels or the domain too few coordinates, or the "
                        "index is wrong."
                    )


@contextmanager
def decisions_refused(what: str) -> Iterator[None]:
    """Around the tracing of a function: Python's `if` and `and` are refused in words.

    Args:
        what: names the function in the message.

    Raises:
        InputError: it decides by a value that is not known while it is traced.
    """
    try:
        yield
    except jax.errors.TracerBoolConversionError as error:
        raise InputError(
            f"{what} decides with if, and, or, not or a < b < c, but is plain JAX, traced before values are known: "
            "write & for and, | for or, ~ for not, and jnp.where(condition, a, b) for if."
        ) from error
