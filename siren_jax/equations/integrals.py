"""Integrals: a number within a residual, and the term of a problem that requires an integral to have a value."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax._types import Field
from siren_jax.equations.domains import Domain, Number, SpaceTime
from siren_jax.equations.nodes import of_boundary, of_space, of_unit_box, space_and_time
from siren_jax.equations.regions import Located, Region
from siren_jax.equations.sampling import draws
from siren_jax.equations.terms import Term
from siren_jax.equations.values import takes_field
from siren_jax.errors import InputError
from siren_jax.fields.precision import is_double


def quadrature(
    integrand: Callable[[Float[Array, "d"]], Any], domain: Domain | tuple[Any, Any], *, nodes: int = 16
) -> Array:
    """∫ f(y) dy over a domain, or between ends that may depend on the point: a sum over fixed nodes, for a residual.

    Volterra's operator ∫_0^x e^{s-x} u(s) ds is `quadrature(lambda s: jnp.exp(s - x) * u(s), (0.0, x))`, and
    ∫_line k(x, y) u(y) dy is `quadrature(lambda y: k(x, y) * u(y), line)`. The field is evaluated at the nodes of a
    domain once for all points of a residual, and between ends anew for every point.

    Nodes are those of Gauss and Legendre, so the error falls faster than any power of their number where f is smooth,
    as in `integral`.

    Args:
        integrand: f, a function of one point `(d,)`; numbers of any shape.
        domain: a domain, or the low and the high end: numbers or arrays `(d,)`, with up to three coordinates. An
            integral from a higher to a lower end is negative.
        nodes: number of nodes along each coordinate, as in `integral`.

    Raises:
        InputError: there are more than 65,536 nodes, or the ends have different shapes.

    >>> f = lambda y: y[0] ** 2
    >>> from siren_jax.equations import Interval
    >>> quadrature(f, Interval(0, 3), nodes=2).item(), quadrature(f, (0.0, jnp.array([3.0])), nodes=2).item()
    (9.0, 9.0)
    """
    if not isinstance(domain, tuple):
        found = space_and_time(domain, nodes)
        # An array of float64 becomes float32 unless JAX computes in float64.
        x, weights = jnp.asarray(found.x), jnp.asarray(found.weights)
    else:
        low, high = (jnp.atleast_1d(jnp.asarray(end)) for end in domain)
        if low.ndim > 1 or high.ndim > 1 or (low.size != high.size and 1 not in (low.size, high.size)):
            raise InputError(
                f"quadrature takes two ends of as many coordinates, but got the shapes {low.shape} and {high.shape}."
            )
        low, high = jnp.broadcast_arrays(low, high)
        dtype = jnp.result_type(low, high, jnp.float32)
        shares, volumes = of_unit_box(nodes, low.size)
        x = low + (high - low) * jnp.asarray(shares, dtype)
        weights = jnp.prod(high - low) * jnp.asarray(volumes, dtype)
    return _sum(weights, jax.vmap(integrand)(x))


def integral(
    integrand: Callable[..., Any],
    domain: Domain,
    value: Any = 0.0,
    *,
    boundary: bool = False,
    where: Callable[[Float[Array, "d"]], Bool[Array, ""]] | None = None,
    at: Number | Sequence[Number] | ndarray | None = None,
    times: int = 16,
    nodes: int = 16,
    name: str = "integral",
    weight: Any = 1.0,
    power: Literal[1, 2] = 2,
) -> Term:
    """∫ f dx = value over a domain in space, or over its boundary; in a domain with time, at every time.

    The residual is one number for each component of f, ∫ f dx - value, and not one at each point. So it is of the size
    of the integral: the term of a mean over the domain is f divided by the domain's measure.

    The integral is a sum over fixed nodes. In a box of up to three coordinates, a disk or a ball, and on their
    boundaries, it is as accurate as the product of Gauss rules: 16 nodes integrate polynomials of degree 31 along a
    coordinate of a box. In a difference of domains, nodes are quasi-random, and their weights integrate polynomials up
    to degree 6; the error is about 1e-4 of the size of f times the area. Where a boundary ends between nodes, at a
    hole on the rim or at a part that `where` selects, the error is about the spacing of the nodes.

    Args:
        integrand: f, `(u, x) -> numbers`; for a boundary `(u, x, normal) -> numbers`. In a domain with time, x begins
            with the time.
        domain: the domain.
        value: one number for all components of f or one for each. In a domain with time also a function of the time,
            or of the field and the time, `(u, t) -> numbers`.
        boundary: whether the integral is over the boundary, Σ over both ends in one dimension.
        where: a condition on points of the boundary that selects a part of it.
        at: in a domain with time, the time or times of the integral; by default `times` of them, drawn anew in every
            step.
        times: number of drawn times.
        nodes: number of nodes along each coordinate. Along an angle there are twice as many. A domain without
            such a rule has about nodes^d of them, and one of more than three coordinates nodes^3.
        name: name of the term.
        weight: as in `equation`.
        power: as in `equation`.

    Raises:
        InputError: a setting is invalid, there are more than 65,536 nodes, or none where `where` holds.
    """
    space = domain.space if isinstance(domain, SpaceTime) else domain
    if at is not None and not isinstance(domain, SpaceTime):
        raise InputError(f"{name} takes a time with a domain with time, domain.during(0, 1), but got {domain!r}.")
    if callable(value) and not isinstance(domain, SpaceTime):
        raise InputError(
            f"the value of {name} is a function of the time, but this domain has none; give a number, and subtract an "
            "unknown one, divided by the domain's measure, within the integrand."
        )
    if where is not None and not boundary:
        raise InputError(f"{name} selects a part of the boundary with where=…, which needs boundary=True.")
    found = of_boundary(space, nodes, where, name) if boundary else of_space(space, nodes)

    def residual(u: Field, x: Array) -> Array:
        places, normals, weights = (jnp.asarray(array, x.dtype) for array in found)
        if isinstance(domain, SpaceTime):
            times = jnp.broadcast_to(x[:1], (len(places), 1))
            places = jnp.concatenate([times, places], axis=1)
            normals = jnp.concatenate([jnp.zeros_like(times), normals], axis=1)
        each = jax.vmap(lambda y, normal: jnp.asarray(integrand(u, y, normal) if boundary else integrand(u, y)))
        total = _sum(weights, each(places, normals))
        wanted = jnp.asarray(value if not callable(value) else value(u, x[0]) if takes_field(value) else value(x[0]))
        if wanted.shape not in ((), (1,), total.shape):
            raise InputError(
                f"{name} requires a value of the shape {wanted.shape}, but its integrand has the shape {total.shape}; "
                "give one number, or one for each component."
            )
        return jnp.atleast_1d(total) - wanted

    draw = _moments(domain, found.x[0], at, times, name)
    return Term(name, residual, draw, power, weight, domain=domain, given=at is not None)


def _moments(domain: Domain, place: ndarray, at: Any, times: int, name: str) -> Callable[..., tuple[Array, ...]]:
    """Draws points at the times of the integral: one fixed point in a domain without time.

    The residual reads the time of the point alone; its place is one in the domain, so that any field has a value there.
    """
    if isinstance(domain, SpaceTime) and at is None:
        start, length = domain.start, domain.stop - domain.start

        def locate(u: Array) -> Located:
            x = jnp.concatenate([start + length * u, jnp.asarray(place, u.dtype)])
            return Located(x, jnp.zeros_like(x))

        draw = draws(Region(1, locate, length), times, "sobol")
        return Partial(lambda draw, key, share: draw(key, share)[:1], draw)
    exact = place[None]
    if isinstance(domain, SpaceTime):
        moments = np.ravel(np.asarray(at, np.float64))
        if not moments.size or not np.all((domain.start <= moments) & (moments <= domain.stop)):
            raise InputError(
                f"{name} takes times from {domain.start:g} to {domain.stop:g}, those of the domain, but got {at}."
            )
        exact = np.concatenate([moments[:, None], np.broadcast_to(place, (len(moments), len(place)))], axis=1)
    single = jnp.asarray(exact, jnp.float32)
    return Partial(lambda single, key, share: (jnp.asarray(exact if is_double(share) else single),), single)


def _sum(weights: Array, values: Array) -> Array:
    """Σ_j weights_j·values_j, as a sum, because a matrix product may have low precision on a GPU."""
    return jnp.sum(weights.reshape(-1, *[1] * (values.ndim - 1)) * values, axis=0)
