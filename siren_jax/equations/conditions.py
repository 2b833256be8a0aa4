"""Conditions: terms at the boundary of a domain, and at the start of its time span."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from siren_jax._types import Field, Sampler
from siren_jax.equations.domains import Box, Domain, Interval, SpaceTime
from siren_jax.equations.regions import Located
from siren_jax.equations.sampling import draws, graded_interior
from siren_jax.equations.terms import Residual, Term
from siren_jax.equations.unknowns import ComplexField
from siren_jax.equations.values import Value, value_at
from siren_jax.errors import InputError
from siren_jax.fields.operators import derivative, jacobian, value_jacobian

Condition = Callable[[Float[Array, "d"]], Any]
"""Whether a point belongs to the selected part."""


def boundary(
    residual: Residual,
    domain: Domain,
    *,
    where: Condition | None = None,
    points: int = 512,
    name: str = "boundary",
    weight: Any = 1.0,
    power: Literal[1, 2] = 2,
    sampler: Sampler = "uniform",
) -> Term:
    """A custom condition on the boundary; `dirichlet`, `neumann` and `robin` are the common ones.

    Args:
        residual: `(u, x, normal) -> numbers`, zero where the condition holds; the normal `(d,)` has length 1 and points
            outwards. In a domain with time its component along the time is 0.
        domain: the domain; with time, the condition is for all times.
        where: a condition on points that selects a part of the boundary, `lambda x: x[0] == 1`; in a domain with time
            `x[0]` is the time.
        points: number of points, drawn anew in every step.
        name: name of the term.
        weight: as in `equation`.
        power: as in `equation`.
        sampler: as in `equation`.

    Raises:
        InputError: a setting is invalid, or the part of the boundary is empty.
    """
    region = domain.boundary()
    if where is not None:
        region = region.where(where, f"the part of the boundary that {name} selects")
    return Term(name, residual, draws(region, points, sampler), power, weight, domain=domain)


def dirichlet(
    value: Value,
    domain: Domain,
    *,
    where: Condition | None = None,
    points: int = 512,
    name: str = "dirichlet",
    weight: Any = 1.0,
    power: Literal[1, 2] = 2,
    sampler: Sampler = "uniform",
) -> Term:
    """u = value on the boundary.

    Args:
        value: one number for all channels, one for each, or a function of the point; complex for `ComplexField(u)`. A
            function of two arguments gets the field too: `lambda u, x: u["level"]` is an unknown number, see
            `WithCoefficients`.
        domain, where, points, name, weight, power, sampler: as in `boundary`.
    """

    def residual(u: Field, x: Array, normal: Array) -> Array:
        v, wanted = _asked(u, x, value)
        return v(x) - wanted

    return boundary(
        residual,
        domain,
        where=where,
        points=points,
        name=name,
        weight=weight,
        power=power,
        sampler=sampler,
    )


def neumann(
    value: Value,
    domain: Domain,
    *,
    where: Condition | None = None,
    points: int = 512,
    name: str = "neumann",
    weight: Any = 1.0,
    power: Literal[1, 2] = 2,
    sampler: Sampler = "uniform",
) -> Term:
    """∂u/∂n = value on the boundary, n outwards. Arguments as in `dirichlet`."""

    def residual(u: Field, x: Array, normal: Array) -> Array:
        v, wanted = _asked(u, x, value)
        return _along(normal, v, x) - wanted

    return boundary(
        residual,
        domain,
        where=where,
        points=points,
        name=name,
        weight=weight,
        power=power,
        sampler=sampler,
    )


def robin(
    value: Value,
    factor: Value,
    domain: Domain,
    *,
    where: Condition | None = None,
    points: int = 512,
    name: str = "robin",
    weight: Any = 1.0,
    power: Literal[1, 2] = 2,
    sampler: Sampler = "uniform",
) -> Term:
    """∂u/∂n + factor·u = value on the boundary, n outwards. Arguments as in `dirichlet`.

    An unknown factor is `lambda u, x: u["h"]`. With value=0 and factor=-1j * k, a wave exp(ikx - iωt) leaves at a right
    angle: Sommerfeld's condition.
    """

    def residual(u: Field, x: Array, normal: Array) -> Array:
        v, wanted, share = _asked(u, x, value, factor)
        return _along(normal, v, x) + share * v(x) - wanted

    return boundary(
        residual,
        domain,
        where=where,
        points=points,
        name=name,
        weight=weight,
        power=power,
        sampler=sampler,
    )


def periodic(
    domain: Domain,
    axis: int,
    *,
    derivatives: int = 1,
    points: int = 256,
    name: str = "periodic",
    weight: Any = 1.0,
    power: Literal[1, 2] = 2,
    sampler: Sampler = "uniform",
) -> Term:
    """u and ∂u/∂x_axis, or more derivatives, are the same at both ends of a coordinate.

    Args:
        domain: a box, possibly with time.
        axis: index of the coordinate; in a domain with time, 1 is the first one in space.
        derivatives: highest order of the derivatives along the axis that agree; an equation of the order n along it
            needs n - 1.
        points: number of pairs per step.
        name: name of the term.
        weight: as in `equation`.
        power: as in `equation`.
        sampler: as in `equation`.
    """
    space = domain.space if isinstance(domain, SpaceTime) else domain
    if not isinstance(space, Box) or not len(domain.low) - len(space.low) <= axis < len(domain.low):
        raise InputError(f"periodic needs a box and an axis of it in space, but got axis {axis} of {domain!r}.")
    if derivatives < 0:
        raise InputError(f"periodic takes an order of derivatives of at least 0, but got derivatives={derivatives}.")
    low, high = domain.low[axis], domain.high[axis]

    def residual(u: Field, x: Array, normal: Array) -> Array:
        def at(end: float) -> Array:
            place = x.at[axis].set(end)
            value, slope = value_jacobian(u)(place)
            found, along = [value, slope[:, axis]], lambda y: jacobian(u)(y)[:, axis]
            for _ in range(derivatives - 1):
                along = derivative(along, axis)
                found.append(along(place))
            return jnp.concatenate(found[: derivatives + 1])

        return at(low) - at(high)

    return Term(name, residual, draws(domain.interior(), points, sampler), power, weight, domain=domain)


def initial(
    value: Value | None,
    domain: Domain,
    *,
    velocity: Value | None = None,
    points: int = 1024,
    name: str = "",
    weight: Any = 1.0,
    power: Literal[1, 2] = 2,
    sampler: Sampler = "uniform",
    graded: Mapping[int, Any] | None = None,
) -> Term:
    """u = value and, with a velocity, ∂u/∂t = velocity at the start of the time span.

    Args:
        value: as in `dirichlet`; None for a term with the velocity alone, which then has a weight of its own.
        domain: a domain with time, or an interval of time alone. A smaller one with the same start restricts the
            condition to its space.
        velocity: as in `dirichlet`.
        points: number of points, drawn anew in every step.
        name: name of the term; by default "initial", or "initial velocity" without a value.
        weight: as in `equation`.
        power: as in `equation`.
        sampler: as in `equation`.
        graded: as in `equation`.

    Raises:
        InputError: there is neither value nor velocity, the domain has no time, or a setting is invalid.
    """
    if not isinstance(domain, SpaceTime | Interval):
        raise InputError(
            "an initial condition needs a domain with time, domain.during(0, 1), or an interval of time alone, but got "
            f"{domain!r}."
        )
    if value is None and velocity is None:
        raise InputError("an initial condition needs a value or a velocity, but got neither; give one.")

    name = name or ("initial velocity" if value is None else "initial")
    inside, start = graded_interior(domain, graded), domain.low[0]
    region = replace(inside, place=lambda u: _at_time(start, inside.place(u)))
    return Term(name, AtStart(value, velocity), draws(region, points, sampler), power, weight, domain=domain)


@dataclass(frozen=True, eq=False)
class AtStart:
    """The residual of `initial`."""

    value: Value | None
    velocity: Value | None

    def __call__(self, u: Field, x: Array, normal: Array) -> Array:
        errors = []
        if self.value is not None:
            v, wanted = _asked(u, x, self.value)
            errors.append(v(x) - wanted)
        if self.velocity is not None:
            v, wanted = _asked(u, x, self.velocity)
            errors.append(jacobian(v)(x)[:, 0] - wanted)
        return jnp.concatenate(errors)


def _at_time(time: float, located: Located) -> Located:
    return located._replace(x=located.x.at[0].set(time))


def _along(normal: Array, u: Field, x: Array) -> Array:
    """∂u/∂n, as a sum, because a matrix product may have low precision on a GPU."""
    return jnp.sum(jacobian(u)(x) * normal, axis=-1)


def _asked(u: Field, x: Array, *values: Value) -> tuple[Any, ...]:
    """The field, as a `ComplexField` if a value is complex, and the values at a point.

    Each value is one number for all channels, or one for each channel.
    """
    found = [value_at(value, u, x) for value in values]
    v = ComplexField(u) if any(map(jnp.iscomplexobj, found)) else u
    channels = v(x)
    for numbers in found:
        if numbers.shape not in ((), (1,), channels.shape):
            raise InputError(
                f"a condition requires values of the shape {numbers.shape}, but the field has {channels.size} "
                "channels; give one number or as many as there are channels, or a network with more of them."
            )
    return v, *found
