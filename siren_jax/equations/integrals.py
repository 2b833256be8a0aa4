"""Integrals: a number within a residual, and the term of a problem that requires an integral to have a value."""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax._types import Field
from siren_jax.equations.domains import NEAR, Ball, Box, Difference, Disk, Domain, Number, SpaceTime
from siren_jax.equations.regions import Located, Region
from siren_jax.equations.sampling import draws, sobol
from siren_jax.equations.terms import Term
from siren_jax.equations.tracing import decisions_refused
from siren_jax.equations.values import takes_field
from siren_jax.errors import InputError
from siren_jax.fields.precision import is_double

MOST = 2**16  # nodes: the field and its derivatives at all of them are in memory at once
TENSOR = 3  # coordinates, above which a product of rules has too many nodes
MEASURED = 2**17  # points that measure a difference of domains
DEGREE = 6  # of the polynomials that its nodes integrate as accurately as those points

Rule = tuple[Float[ndarray, "_"], Float[ndarray, "_"]]
"""Numbers in [0, 1] and their weights, with the sum 1."""


class _Nodes(NamedTuple):
    """The integral as a sum over nodes: Σ_j weights_j·f(x_j), in float64."""

    x: Float[ndarray, "n d"]
    normal: Float[ndarray, "n d"]
    weights: Float[ndarray, "n"]


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
        found = _space_and_time(domain, nodes)
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
        shares, volumes = _tensor([_gauss(_checked(nodes, low.size))] * low.size)
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
    found = _of_boundary(space, nodes, where, name) if boundary else _of_space(space, nodes)

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


@functools.lru_cache(maxsize=64)  # a residual is traced several times
def _space_and_time(domain: Domain, nodes: int) -> _Nodes:
    """Nodes of a domain, also over its time span."""
    if not isinstance(domain, SpaceTime):
        return _of_space(domain, nodes)
    (moments, shares), space = _gauss(nodes), _of_space(domain.space, nodes)
    _check_count(len(moments) * len(space.x))
    times = domain.start + (domain.stop - domain.start) * np.repeat(moments, len(space.x))
    x = np.concatenate([times[:, None], np.tile(space.x, (len(moments), 1))], axis=1)
    weights = (domain.stop - domain.start) * np.outer(shares, space.weights).ravel()
    return _Nodes(x, np.zeros_like(x), weights)


def _of_space(domain: Domain, nodes: int) -> _Nodes:
    """Nodes within a domain in space."""
    d, region = len(domain.low), domain.interior()
    n = _checked(nodes, min(d, TENSOR))
    if isinstance(domain, Box) and d <= TENSOR:
        return _located(region, *_tensor([_gauss(n)] * d))
    if isinstance(domain, Disk):  # the mean over the angle is a smooth function of r², which is the first number
        return _located(region, *_tensor([_gauss(n), _even(2 * n)]))
    if isinstance(domain, Ball):
        radii, shares = _gauss(n)
        cubes = radii**3, 3 * radii**2 * shares
        return _located(region, *_tensor([cubes, _gauss(n), _even(2 * n)]))
    if not isinstance(domain, Difference):
        return _located(region, *_spread(n ** min(d, TENSOR), region.numbers))
    whole, inside = _outermost(domain)
    many = inside(_located(whole, *_spread(MEASURED, whole.numbers)))
    count = math.ceil(n ** min(d, TENSOR) * whole.measure / many.weights.sum())
    return _fitted(inside(_located(whole, *_spread(count, whole.numbers))), many)


def _fitted(few: _Nodes, many: _Nodes) -> _Nodes:
    """The few nodes, with the nearest weights that give polynomials of a low degree the integrals of the many."""
    low, high = many.x.min(axis=0), many.x.max(axis=0)
    degrees = [k for k in itertools.product(range(DEGREE + 1), repeat=len(low)) if sum(k) <= DEGREE]

    def polynomials(x: Float[ndarray, "n d"]) -> Float[ndarray, "n k"]:
        each = np.polynomial.legendre.legvander((2 * x - low - high) / (high - low), DEGREE)  # (n, d, degree)
        return np.stack([np.prod([each[:, axis, k] for axis, k in enumerate(ks)], axis=0) for ks in degrees], axis=1)

    rows = polynomials(few.x).T
    missing = polynomials(many.x).T @ many.weights - rows @ few.weights
    return few._replace(weights=few.weights + np.linalg.lstsq(rows, missing)[0])


def _outermost(domain: Domain) -> tuple[Region, Callable[[_Nodes], _Nodes]]:
    """The region that holes are cut out of, and a function that leaves out the nodes in a hole."""
    holes = []
    while isinstance(domain, Difference):
        domain, holes = domain.domain, [*holes, domain.hole]
    outside = lambda x: ~jnp.any(jnp.stack([hole.contains(x) for hole in holes]))
    return domain.interior(), lambda nodes: _kept(nodes, _holds(outside, nodes))


def _of_boundary(domain: Domain, nodes: int, where: Callable[[Array], Array] | None, name: str) -> _Nodes:
    """Nodes on the boundary of a domain in space, or on a part of it."""
    found = _rim(domain, nodes)
    if where is not None:
        found = _kept(found, _holds(where, found))
    if not len(found.x):
        raise InputError(
            f"{name} has no nodes on the selected part of the boundary: the part is empty, or too small for {nodes} "
            "nodes along a coordinate; correct the condition or give more nodes."
        )
    return found


def _rim(domain: Domain, nodes: int) -> _Nodes:
    if isinstance(domain, Difference):
        outer, inner = _rim(domain.domain, nodes), _rim(domain.hole, nodes)
        inner = inner._replace(normal=-inner.normal)
        # Tested slightly off the rim, as in `Difference`: the hole may touch the other boundary from either side.
        step = NEAR * float(np.max(np.array(domain.high) - np.array(domain.low)))
        inwards = inner._replace(x=inner.x - step * inner.normal)
        parts = (
            _kept(outer, ~_holds(domain.hole.contains, outer)),
            _kept(inner, _holds(domain.domain.contains, inwards)),
        )
        return _Nodes(*(np.concatenate(each) for each in zip(*parts, strict=True)))
    d, region = len(domain.low), domain.boundary()
    n = _checked(nodes, min(d - 1, TENSOR))
    if isinstance(domain, Box) and d <= TENSOR:
        sides = np.array(domain.high) - np.array(domain.low)
        areas = np.repeat(sides.prod() / sides, 2) / np.sum(2 * sides.prod() / sides)
        middles = np.cumsum(areas) - areas / 2  # the first number chooses the face
        once = np.full(1, 0.5), np.ones(1)
        faces = []
        for face, (middle, area) in enumerate(zip(middles, areas, strict=True)):
            rules = [once if axis == face // 2 else _gauss(n) for axis in range(d)]
            faces.append(_tensor([(np.array([middle]), np.array([area])), *rules]))
        numbers, shares = (np.concatenate(each) for each in zip(*faces, strict=True))
        return _located(region, numbers, shares)
    if isinstance(domain, Disk):
        return _located(region, *_tensor([_even(2 * n)]))
    if isinstance(domain, Ball):
        return _located(region, *_tensor([_gauss(n), _even(2 * n)]))
    return _located(region, *_spread(n ** min(d - 1, TENSOR), region.numbers))


def _located(region: Region, numbers: Float[ndarray, "n k"], shares: Float[ndarray, "n"]) -> _Nodes:
    """Nodes of a region for uniform numbers and the shares of their surroundings in it."""
    # While JAX traces a residual, too: nodes are numbers, not a part of the program.
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        x, normal = (np.asarray(array) for array in jax.jit(region.at)(numbers))
    return _Nodes(x, normal, region.measure * shares)


def _kept(nodes: _Nodes, those: Bool[ndarray, "n"]) -> _Nodes:
    return _Nodes(*(array[those] for array in nodes))


def _holds(condition: Callable[[Array], Array], nodes: _Nodes) -> Bool[ndarray, "n"]:
    with decisions_refused("a condition"), jax.ensure_compile_time_eval(), jax.enable_x64(True):
        return np.asarray(jax.jit(jax.vmap(condition))(nodes.x))


def _gauss(n: int) -> Rule:
    """Nodes and weights of Gauss and Legendre in [0, 1]."""
    x, weights = np.polynomial.legendre.leggauss(n)
    return (1 + x) / 2, weights / 2


def _even(n: int) -> Rule:
    """Nodes of equal weight, which integrate periodic functions as accurately as Gauss nodes others."""
    return (np.arange(n) + 0.5) / n, np.full(n, 1 / n)


def _spread(n: int, numbers: int) -> tuple[Float[ndarray, "n k"], Float[ndarray, "n"]]:
    """At least n quasi-random nodes of equal weight: as many as the next power of two, where they are spread best."""
    count = 2 ** math.ceil(math.log2(max(1, n)))
    return sobol(count, numbers).astype(np.float64), np.full(count, 1 / count)


def _tensor(rules: Sequence[Rule]) -> tuple[Float[ndarray, "n k"], Float[ndarray, "n"]]:
    """The product of rules, one for each number."""
    numbers = np.meshgrid(*(x for x, _ in rules), indexing="ij")
    shares = functools.reduce(np.multiply.outer, [weights for _, weights in rules])
    return np.stack(numbers, axis=-1).reshape(-1, len(rules)), shares.ravel()


def _checked(nodes: int, axes: int) -> int:
    if nodes < 1:
        raise InputError(f"an integral needs at least one node along each coordinate, but got nodes={nodes}.")
    _check_count(nodes**axes)
    return nodes


def _check_count(count: int) -> None:
    if count > MOST:
        raise InputError(
            f"an integral takes up to {MOST:,} nodes, whose values are in memory at once, but these are {count:,}; "
            "give fewer nodes along each coordinate."
        )
