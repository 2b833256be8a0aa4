"""Checks while JAX traces a residual or a condition: no index beyond its array, no decision by a traced value.

JAX silently moves an index beyond the end to the last entry: a residual with `u(x)[1]` of a field of one channel would
be solved with `u(x)[0]`.
"""

import operator
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.extend.core import Jaxpr, Literal
from jax.lax import GatherScatterMode
from numpy import ndarray

from siren_jax.errors import InputError

FOLDED = {
    "lt": operator.lt,
    "add": operator.add,
    "select_n": lambda which, *cases: np.choose(which, cases),
    "convert_element_type": lambda numbers, **to: numbers.astype(to["new_dtype"]),
    "concatenate": lambda *parts, dimension: np.concatenate(parts, dimension),
    "broadcast_in_dim": lambda numbers, **to: _spread(numbers, to["shape"], to["broadcast_dimensions"]),
}
"""Operations that JAX applies to constant indices if one is negative or there are several."""


def refuse_indices_beyond(what: str, function: Callable[..., Any], *args: Any) -> None:
    """Traces a function and checks all constant indices in it.

    Args:
        what: names the function in the message.
        function: a function of arrays.
        *args: the arrays, or tracers.

    Raises:
        InputError: an index is not within its array.

    >>> refuse_indices_beyond("the residual", lambda x: x[-2], np.ones(2))
    """
    program = jax.make_jaxpr(function)(*args)
    _look(what, program.jaxpr, dict(zip(program.jaxpr.constvars, program.consts, strict=True)))


def _look(what: str, program: Jaxpr, known: dict[Any, Any]) -> list[Any]:
    """Outputs of a program that are known integers; None for the others. Checks constant indices on the way."""

    def value(of: Any) -> Any:
        found = of.val if isinstance(of, Literal) else known.get(of)
        whole = found is not None and not isinstance(found, Tracer) and np.asarray(found).dtype.kind in "biu"
        return np.asarray(found) if whole else None

    for equation in program.eqns:
        values, name = [value(of) for of in equation.invars], equation.primitive.name
        if name == "jit":
            inner = equation.params["jaxpr"]
            given = [
                *zip(inner.jaxpr.invars, values, strict=True),
                *zip(inner.jaxpr.constvars, inner.consts, strict=True),
            ]
            known.update(zip(equation.outvars, _look(what, inner.jaxpr, dict(given)), strict=True))
        elif name in FOLDED and all(number is not None for number in values):
            known[equation.outvars[0]] = FOLDED[name](*values, **equation.params)
        elif name == "dynamic_slice":
            _check(what, equation, range(len(values) - 1), values[1:])
        elif name == "gather" and equation.params["mode"] is GatherScatterMode.PROMISE_IN_BOUNDS:
            axes = equation.params["dimension_numbers"].start_index_map
            _check(what, equation, axes, [None] * len(axes) if values[1] is None else np.moveaxis(values[1], -1, 0))
    return [value(of) for of in program.outvars]


def _check(what: str, equation: Any, axes: Iterable[int], starts: Iterable[Any]) -> None:
    """Refuses slices that reach beyond an array, by their starts along its axes."""
    shape, taken = equation.invars[0].aval.shape, equation.params["slice_sizes"]
    for axis, start in zip(axes, starts, strict=True):
        beyond = [] if start is None else [int(i) for i in np.ravel(start) if not 0 <= i <= shape[axis] - taken[axis]]
        if beyond:
            raise InputError(
                f"{what} reads entry {beyond[0]}, counted from zero, of an axis of {shape[axis]} in an array of the "
                f"shape {shape}: the field has too few channels or the domain too few coordinates, or the index is "
                "wrong."
            )


def _spread(numbers: ndarray, shape: tuple[int, ...], axes: tuple[int, ...]) -> ndarray:
    sizes = [numbers.shape[axes.index(axis)] if axis in axes else 1 for axis in range(len(shape))]
    return np.broadcast_to(numbers.reshape(sizes), shape)


@contextmanager
def decisions_refused(what: str) -> Iterator[None]:
    """A context for tracing a function, in which Python's `if` and `and` raise an error that explains what to write.

    Args:
        what: names the function in the message.

    Raises:
        InputError: the function decides by a value that is not known while it is traced.
    """
    try:
        yield
    except jax.errors.TracerBoolConversionError as error:
        raise InputError(
            f"{what} decides with if, and, or, not or a < b < c, but JAX traces it before values are known: "
            "write & for and, | for or, ~ for not, and jnp.where(condition, a, b) for if."
        ) from error
