"""Doubts about jumps: coefficients of second derivatives that are not continuous, found in the trace of a residual.

The residual is traced with a field whose value, slope and second derivatives at every point are inputs of the program.
Then a product of a second derivative and a number that depends on the point alone is the product of a coefficient. If
the program computes it with a comparison or the like, its values along lines show whether it does jump.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Literal
from jaxtyping import Float
from numpy import ndarray

from siren_jax._types import KnowsDerivatives
from siren_jax.equations.domains import Domain
from siren_jax.equations.terms import AtPoint, Term
from siren_jax.equations.unknowns import part_of
from siren_jax.fields.one_pass import coefficient
from siren_jax.networks.siren import SIREN
from siren_jax.networks.windows import Beyond

POINTS = 256  # among which the lines run that a jump is looked for on
HALVINGS = 16  # of these lines; their ends are then 2^-16 of the domain apart
STILL = 0.05  # share of a coefficient's variation that is a jump if it remains between such ends

DECIDES = {  # operations whose result jumps, and which of their operands decide: by default, all
    **dict.fromkeys(("lt", "le", "gt", "ge", "eq", "ne", "sign", "floor", "ceil", "round", "argmax"), slice(None)),
    **dict.fromkeys(("gather", "dynamic_slice"), slice(1, None)),
    "select_n": slice(1),
}
SUMS = {"add", "add_any", "sub", "concatenate", "stack"}
PRODUCTS = {"mul", "div", "dot_general"}
LINEAR = {
    *(SUMS | PRODUCTS),
    *("neg", "reduce_sum", "transpose", "reshape", "broadcast_in_dim", "squeeze", "slice", "dynamic_slice", "gather"),
    *("convert_element_type", "copy", "real", "imag", "split"),
}
CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}


def doubts_about_jumps(network: Any, terms: Sequence[Term]) -> Iterator[str]:
    """A sentence for each equation with second derivatives whose coefficient jumps.

    Args:
        network: the unknown; there is no doubt if it does not compute its own derivatives, or has windows with kinks.
        terms: the terms. A jump is found in `equation`, in a coefficient that the equation's other parts do not have.
    """
    siren = part_of(network, SIREN)
    kinks = any(isinstance(window, Beyond) and window.power == 1 for _, window in siren.windows) if siren else False
    smooth = isinstance(network, KnowsDerivatives) and not kinks
    for term in terms:
        if isinstance(term.residual, AtPoint) and term.domain is not None and smooth:
            try:
                where = _jump(network, term.residual.residual, term.domain)
            except Exception:  # a doubt must not stop a fit, which traces the residual too and says what is wrong
                continue
            if where is not None:
                place = ", ".join(f"{x:.3g}" for x in where)
                yield (
                    f"the coefficient of second derivatives in {term.name!r} jumps near ({place}), where a smooth "
                    "network has no kink and the equation does not say how the flux continues: make the flux k∇u "
                    "further unknowns, in equations of first order, or give each side channels of its own, with terms "
                    "for the value and the flux at the jump, or give units a window Beyond(…, power=1) and add a term "
                    "for the flux."
                )


def _jump(network: Any, residual: Callable[..., Any], domain: Domain) -> Float[ndarray, "d"] | None:
    """A point near which a coefficient jumps."""
    d = len(domain.low)
    x = jax.ShapeDtypeStruct((d,), jnp.float32)
    channels = jax.eval_shape(network, x).shape
    parts = tuple(jnp.zeros((*channels, *(d,) * order), jnp.float32) for order in range(3))
    program = jax.make_jaxpr(lambda parts, x: residual(_Probe(network, parts), x))(parts, x)

    def factors(x: Array) -> Array:
        found: list[Array] = []
        inputs = [*(_Seen(None, pure=order == 2) for order in range(3)), _Seen(x, on_x=True)]
        _walk(program, inputs, found)
        flat = [jnp.ravel(factor) for factor in found]
        return jnp.concatenate([part for each in flat for part in (each.real, each.imag)] or [jnp.zeros(0)])

    if not jax.eval_shape(factors, x).size:
        return None
    of = jax.jit(jax.vmap(factors))
    points = jax.jit(lambda key: domain.interior().sample(key, POINTS).x)(jax.random.key(0))
    values = np.asarray(of(points), np.float64)
    low, high = (np.asarray(points)[choose(values, axis=0)] for choose in (np.argmin, np.argmax))
    before = np.ptp(values, axis=0)
    own = lambda ends: np.diagonal(np.asarray(of(jnp.asarray(ends, jnp.float32)), np.float64))
    for _ in range(HALVINGS):  # towards the greater difference
        middle = (low + high) / 2
        near = np.abs(own(middle) - own(low)) >= np.abs(own(high) - own(middle))
        low, high = np.where(near[:, None], low, middle), np.where(near[:, None], middle, high)
    jumps = np.abs(own(high) - own(low)) > STILL * before
    return low[jumps.argmax()] if jumps.any() else None


class _Seen(NamedTuple):
    """What is known of a number in a program."""

    value: Any
    """Its value at the point; None if it depends on the field."""
    on_x: bool = False
    """Whether it depends on the point."""
    decided: bool = False
    """Whether it depends on a comparison with the point or the like."""
    pure: bool = False
    """Whether it is linear in second derivatives of the field and depends on nothing else of it."""


def _walk(program: ClosedJaxpr, inputs: Sequence[_Seen], factors: list[Array]) -> list[_Seen]:
    """Outputs of a program; appends the coefficients of second derivatives that may jump."""
    known = dict(zip(program.jaxpr.constvars, map(_Seen, program.consts), strict=True))
    known |= dict(zip(program.jaxpr.invars, inputs, strict=True))
    read = lambda of: _Seen(of.val) if isinstance(of, Literal) else known[of]
    for equation in program.jaxpr.eqns:
        name, given = equation.primitive.name, [read(of) for of in equation.invars]
        if name in CALLS:
            found = _walk(equation.params[CALLS[name]], given, factors)
        elif all(one.value is not None for one in given):
            results = equation.primitive.bind(*(one.value for one in given), **equation.params)
            decided = any(one.decided for one in given)
            decided |= name in DECIDES and any(one.on_x for one in given[DECIDES[name]])
            on_x = any(one.on_x for one in given)
            several = equation.primitive.multiple_results
            found = [_Seen(result, on_x, decided) for result in (results if several else [results])]
        else:
            of_field, others = [], []
            for one in given:
                (of_field if one.value is None else others).append(one)
            pure = name in LINEAR and all(one.pure for one in of_field)
            pure &= name not in SUMS or all(_is_zero(one) for one in others)
            pure &= name not in PRODUCTS or (len(of_field) == 1 and (name != "div" or given[0].value is None))
            if pure and name in PRODUCTS:
                factors += [one.value for one in others if one.decided]
            found = [_Seen(None, pure=pure) for _ in equation.outvars]
        known.update(zip(equation.outvars, found, strict=True))
    return [read(of) for of in program.jaxpr.outvars]


def _is_zero(number: _Seen) -> bool:
    # As a NumPy array: while JAX traces, the `any` of its own array would be a part of the program.
    return not number.on_x and not isinstance(number.value, Tracer) and not np.any(np.asarray(number.value))


Parts = tuple[Array, Array, Array]
"""Value, slope and second derivatives, which do not depend on the point as numbers, but do as functions."""


@dataclasses.dataclass(eq=False)
class _Probe:
    """A field whose value and derivatives are given."""

    field: Any
    parts: Parts

    def __call__(self, x: Array) -> Array:
        return jnp.vectorize(lambda x: _value(self.parts, x), signature="(d)->(c)")(x)

    def __getitem__(self, name: str) -> Array:
        return coefficient(self.field, name)


@jax.custom_jvp
def _value(parts: Parts, x: Array) -> Array:
    return parts[0]


@jax.custom_jvp
def _slope(parts: Parts, x: Array) -> Array:
    return parts[1]


@_value.defjvp
def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
    return _value(*primals), _slope(*primals) @ tangents[1]


@_slope.defjvp
def _(primals: Any, tangents: Any) -> tuple[Array, Array]:
    return _slope(*primals), primals[0][2] @ tangents[1]
