"""Nodes of integrals: points of a domain or of its boundary, with weights, from products of Gauss rules where possible.

Differences of domains have quasi-random nodes, whose weights are fitted to polynomials.
"""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax.equations.domains import NEAR, Ball, Box, Difference, Disk, Domain, SpaceTime
from siren_jax.equations.regions import Region
from siren_jax.equations.sampling import sobol
from siren_jax.equations.tracing import decisions_refused
from siren_jax.errors import InputError

MOST = 2**16  # nodes: the field and its derivatives at all of them are in memory at once
TENSOR = 3  # coordinates, above which a product of rules has too many nodes
MEASURED = 2**17  # points that measure a difference of domains
DEGREE = 6  # of the polynomials that its nodes integrate as accurately as those points

Rule = tuple[Float[ndarray, "_"], Float[ndarray, "_"]]
"""Numbers in [0, 1] and their weights, with the sum 1."""


class Nodes(NamedTuple):
    """The integral as a sum over nodes: Σ_j weights_j·f(x_j), in float64."""

    x: Float[ndarray, "n d"]
    normal: Float[ndarray, "n d"]
    weights: Float[ndarray, "n"]


def of_unit_box(nodes: int, axes: int) -> tuple[Float[ndarray, "n k"], Float[ndarray, "n"]]:
    """Nodes in [0, 1]^axes and their weights, with the sum 1."""
    return _tensor([_gauss(_checked(nodes, axes))] * axes)


@functools.lru_cache(maxsize=64)  # a residual is traced several times
def space_and_time(domain: Domain, nodes: int) -> Nodes:
    """Nodes of a domain, also over its time span."""
    if not isinstance(domain, SpaceTime):
        return of_space(domain, nodes)
    (moments, shares), space = _gauss(nodes), of_space(domain.space, nodes)
    _check_count(len(moments) * len(space.x))
    times = domain.start + (domain.stop - domain.start) * np.repeat(moments, len(space.x))
    x = np.concatenate([times[:, None], np.tile(space.x, (len(moments), 1))], axis=1)
    weights = (domain.stop - domain.start) * np.outer(shares, space.weights).ravel()
    return Nodes(x, np.zeros_like(x), weights)


def of_space(domain: Domain, nodes: int) -> Nodes:
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


def _fitted(few: Nodes, many: Nodes) -> Nodes:
    """The few nodes, with the nearest weights that give polynomials of a low degree the integrals of the many."""
    low, high = many.x.min(axis=0), many.x.max(axis=0)
    degrees = [k for k in itertools.product(range(DEGREE + 1), repeat=len(low)) if sum(k) <= DEGREE]

    def polynomials(x: Float[ndarray, "n d"]) -> Float[ndarray, "n k"]:
        each = np.polynomial.legendre.legvander((2 * x - low - high) / (high - low), DEGREE)  # (n, d, degree)
        return np.stack([np.prod([each[:, axis, k] for axis, k in enumerate(ks)], axis=0) for ks in degrees], axis=1)

    rows = polynomials(few.x).T
    missing = polynomials(many.x).T @ many.weights - rows @ few.weights
    return few._replace(weights=few.weights + np.linalg.lstsq(rows, missing)[0])


def _outermost(domain: Domain) -> tuple[Region, Callable[[Nodes], Nodes]]:
    """The region that holes are cut out of, and a function that leaves out the nodes in a hole."""
    holes = []
    while isinstance(domain, Difference):
        domain, holes = domain.domain, [*holes, domain.hole]
    outside = lambda x: ~jnp.any(jnp.stack([hole.contains(x) for hole in holes]))
    return domain.interior(), lambda nodes: _kept(nodes, _holds(outside, nodes))


def of_boundary(domain: Domain, nodes: int, where: Callable[[Array], Array] | None, name: str) -> Nodes:
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


def _rim(domain: Domain, nodes: int) -> Nodes:
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
        return Nodes(*(np.concatenate(each) for each in zip(*parts, strict=True)))
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


def _located(region: Region, numbers: Float[ndarray, "n k"], shares: Float[ndarray, "n"]) -> Nodes:
    """Nodes of a region for uniform numbers and the shares of their surroundings in it."""
    # While JAX traces a residual, too: nodes are numbers, not a part of the program.
    with jax.ensure_compile_time_eval(), jax.enable_x64(True):
        x, normal = (np.asarray(array) for array in jax.jit(region.at)(numbers))
    return Nodes(x, normal, region.measure * shares)


def _kept(nodes: Nodes, those: Bool[ndarray, "n"]) -> Nodes:
    return Nodes(*(array[those] for array in nodes))


def _holds(condition: Callable[[Array], Array], nodes: Nodes) -> Bool[ndarray, "n"]:
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
