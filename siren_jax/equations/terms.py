"""Terms of a problem: the equation, its boundary and initial conditions and known values, each a residual at points.

A residual is plain JAX on a field u and a point x, with the operators of this library:

    equation(lambda u, x: laplacian(u)(x) + k**2 * u(x) - source(x), Box((-1, -1), (1, 1)))

and may return one number or several, or complex ones.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float

from siren_jax._types import Field
from siren_jax.equations.domains import Box, Domain, SpaceTime
from siren_jax.equations.regions import Region
from siren_jax.errors import InputError
from siren_jax.operators import jacobian, value_jacobian

Residual = Callable[..., Any]
"""Of a field and a point `(d,)`; zero where the equation holds."""
Value = Callable[[Float[Array, "d"]], Any] | Any
"""What is asked for at a point: a number, or a function of the point."""
Condition = Callable[[Float[Array, "d"]], Any]
"""On a point: whether it is meant."""
Draw = Callable[[Array, Any], Any]
"""Of a key and the share of the budget that is spent, 0 to 1."""


@dataclass(frozen=True)
class Term:
    """A residual, and where it is asked to vanish."""

    name: str
    residual: Residual
    """`(u, x, *more)`, with what `draw` has of a point."""
    draw: Draw
    """`(key, share) -> (points, *more)`, arrays with a leading axis of points; of several candidates for each with a
    second one, and noise that chooses among them last."""
    power: int
    """1 for its size, 2 for its square."""
    weight: Any
    """A number, or a function of the share of the budget that is spent."""
    candidates: int = 1
    """Places of which each point is chosen: the greater the residual, the likelier."""

    def __post_init__(self) -> None:
        if self.power not in (1, 2):
            raise InputError(
                f"{self.name!r} takes power=1 for sizes of residuals or 2 for squares, but got {self.power!r}."
            )
        if not callable(self.weight) and not (np.ndim(self.weight) == 0 and 0 <= float(self.weight) < math.inf):
            raise InputError(
                f"{self.name!r} takes a weight from zero on, or a function of the share of the budget that is spent, "
                f"but got {self.weight!r}."
            )


def equation(
    residual: Residual,
    domain: Domain,
    *,
    points: int = 4096,
    name: str = "equation",
    weight: Any = 1.0,
    power: Literal[1, 2] = 2,
    sampler: str = "uniform",
    candidates: int = 1,
    growing: float | None = None,
) -> Term:
    """The term of a differential equation that holds in a domain.

    Args:
        residual: `(u, x) -> numbers`, zero where the equation holds.
        domain: where it does.
        points: drawn afresh in every step.
        name: of the term.
        weight: a number, or a function of the share of the budget that is spent, 0 to 1.
        power: 2 for the mean of squared residuals, 1 for that of their sizes, as in Sitzmann et al. 2020.
        sampler: "uniform" draws each point by itself; "sobol" spreads them evenly, a shifted low-discrepancy sequence.
        candidates: above 1, each point is drawn from so many with the probability of its residual: more points where
            the equation fails (Wu et al. 2023 on adaptive sampling).
        growing: of a domain with time, the share of the budget, above 0 and up to 1, in which the times drawn grow from
            the start to all of it.

    Raises:
        InputError: a setting that cannot be meant.
    """
    if growing is not None and not (0 < growing <= 1 and isinstance(domain, SpaceTime)):
        raise InputError(
            "growing takes a share of the budget, above 0 and up to 1, and a domain with time, but got "
            f"{growing} and {domain!r}."
        )
    span = None if growing is None else (domain.low[0], growing)
    draw = _draw(domain.interior(), points, sampler, candidates, span)
    return Term(name, AtPoint(residual), draw, power, weight, candidates)


@dataclass(frozen=True, eq=False)
class AtPoint:
    """A residual that needs no normal. Two of the very same one are equal."""

    residual: Residual

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AtPoint) and other.residual is self.residual

    def __hash__(self) -> int:
        return id(self.residual)

    def __call__(self, u: Field, x: Array, normal: Array | None) -> Any:
        return self.residual(u, x)


def boundary(
    residual: Residual,
    domain: Domain,
    *,
    where: Condition | None = None,
    points: int = 512,
    name: str = "boundary",
    weight: Any = 1.0,
    power: Literal[1, 2] = 2,
    sampler: str = "uniform",
) -> Term:
    """A condition of your own on the boundary; those that have a name are `dirichlet`, `neumann` and `robin`.

    Args:
        residual: `(u, x, normal) -> numbers`, zero where the condition holds; the normal `(d,)` has length 1 and points
            outwards, in a domain with time with 0 along the time.
        domain: whose boundary is meant, at any time.
        where: a condition on points that selects a part of the boundary, `lambda x: x[0] == 1`; in a domain with time
            `x[0]` is the time.
        points: drawn afresh in every step.
        name: of the term.
        weight: as in `equation`.
        power: as in `equation`.
        sampler: as in `equation`.

    Raises:
        InputError: a setting that cannot be meant, or a part that is empty.
    """
    region = domain.boundary()
    if where is not None:
        region = region.where(where, f"the part of the boundary that {name} selects")
    return Term(name, residual, _draw(region, points, sampler), power, weight)


def dirichlet(
    value: Value,
    domain: Domain,
    *,
    where: Condition | None = None,
    points: int = 512,
    name: str = "dirichlet",
    weight: Any = 1.0,
    power: Literal[1, 2] = 2,
    sampler: str = "uniform",
) -> Term:
    """u = value on the boundary.

    Args:
        value: a number for all channels, several, or a function of the point.
        domain: as in `boundary`, with all that follow.
    """
    return boundary(
        lambda u, x, normal: u(x) - _at(value, x, u(x)),
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
    sampler: str = "uniform",
) -> Term:
    """∂u/∂n = value on the boundary, n outwards. Arguments as in `dirichlet`."""
    return boundary(
        lambda u, x, normal: _along(normal, u, x) - _at(value, x, u(x)),
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
    sampler: str = "uniform",
) -> Term:
    """∂u/∂n + factor·u = value on the boundary, n outwards. Arguments as in `dirichlet`."""
    return boundary(
        lambda u, x, normal: _along(normal, u, x) + _at(factor, x, u(x)) * u(x) - _at(value, x, u(x)),
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
    points: int = 256,
    name: str = "periodic",
    weight: Any = 1.0,
    power: Literal[1, 2] = 2,
    sampler: str = "uniform",
) -> Term:
    """u and ∂u/∂x_axis are the same at both ends of a coordinate.

    Args:
        domain: a box, or one with time.
        axis: the coordinate; of a domain with time, 1 is the first in space.
        points: pairs in a step.
        name: of the term.
        weight: as in `equation`.
        power: as in `equation`.
        sampler: as in `equation`.
    """
    space = domain.space if isinstance(domain, SpaceTime) else domain
    if not isinstance(space, Box) or not len(domain.low) - len(space.low) <= axis < len(domain.low):
        raise InputError(f"periodic needs a box and an axis of it in space, but got axis {axis} of {domain!r}.")
    low, high = domain.low[axis], domain.high[axis]

    def residual(u: Field, x: Array, normal: Array) -> Array:
        (a, a_slope), (b, b_slope) = (value_jacobian(u)(x.at[axis].set(end)) for end in (low, high))
        return jnp.concatenate([a - b, a_slope[:, axis] - b_slope[:, axis]])

    return Term(name, residual, _draw(domain.interior(), points, sampler), power, weight)


def initial(
    value: Value | None,
    domain: Domain,
    *,
    velocity: Value | None = None,
    points: int = 1024,
    name: str = "",
    weight: Any = 1.0,
    power: Literal[1, 2] = 2,
    sampler: str = "uniform",
) -> Term:
    """u = value and, with a velocity, ∂u/∂t = velocity at the start of the time.

    Args:
        value: as in `dirichlet`; None asks for the velocity alone, in a term with a weight of its own.
        domain: one with time. That of a smaller place with the same start asks only there.
        velocity: likewise.
        points: drawn afresh in every step.
        name: of the term; "initial", or "initial velocity" of one for that alone.
        weight: as in `equation`.
        power: as in `equation`.
        sampler: as in `equation`.

    Raises:
        InputError: neither value nor velocity, a domain without time, or a setting that cannot be meant.
    """
    if not isinstance(domain, SpaceTime):
        raise InputError(f"an initial condition needs a domain with time, domain.during(0, 1), but got {domain!r}.")
    if value is None and velocity is None:
        raise InputError("an initial condition asks for a value or a velocity, but got neither; give one.")

    def residual(u: Field, x: Array, normal: Array) -> Array:
        errors = [] if value is None else [u(x) - _at(value, x, u(x))]
        if velocity is not None:
            errors.append(jacobian(u)(x)[:, 0] - _at(velocity, x, u(x)))
        return jnp.concatenate(errors)

    name = name or ("initial velocity" if value is None else "initial")
    return Term(name, residual, _draw(domain.initial(), points, sampler), power, weight)


def known(
    residual: Residual,
    points: Any,
    values: Any = None,
    *,
    domain: Domain | None = None,
    drawn: int | None = None,
    name: str = "known",
    weight: Any = 1.0,
    power: Literal[1, 2] = 2,
) -> Term:
    """A residual at given points: measurements, sources, coefficients that are only known there.

    Args:
        residual: `(u, x, value) -> numbers`, or without values `(u, x) -> numbers`.
        points: `(n, d)`.
        values: `(n, …)`, one for each point.
        domain: refuses points outside.
        drawn: so many of the points, at random, in a step; by default all of them in every one.
        name: of the term.
        weight: as in `equation`.
        power: as in `equation`.
    """
    points = jnp.asarray(points, jnp.float32)
    if points.ndim != 2 or not points.size or (domain is not None and points.shape[1] != len(domain.low)):
        raise InputError(
            f"{name} takes points as rows of {'' if domain is None else f'{len(domain.low)} '}coordinates, (n, d), but "
            f"got an array of the shape {points.shape}; points[:, None] makes rows of one coordinate."
        )
    given = (points,) if values is None else (points, jnp.asarray(values))
    if given[-1].shape[:1] != (len(points),):
        raise InputError(
            f"{name} needs a value for each of its {len(points)} points, but got an array of the shape "
            f"{given[-1].shape}."
        )
    if wrong := sum(int(jnp.sum(~jnp.isfinite(array))) for array in given):
        raise InputError(f"{name} has {wrong} coordinates or values that are not finite; leave those points out.")
    if domain is not None:
        outside = ~jax.vmap(domain.contains)(points)
        if outside.any():
            raise InputError(f"{name} has {outside.sum()} of {len(points)} points outside the domain; leave them out.")
    if drawn is not None and drawn < 1:
        raise InputError(f"{name} draws at least one point in a step, but got drawn={drawn}.")

    def draw(given: tuple[Array, ...], key: Array, share: Any) -> tuple[Array, ...]:
        chosen = slice(None) if drawn is None else jax.random.randint(key, (drawn,), 0, len(given[0]))
        return tuple(array[chosen] for array in given)

    return Term(name, residual, Partial(draw, given), power, weight)


def _draw(
    region: Region,
    points: int,
    sampler: str,
    candidates: int = 1,
    growing: tuple[float, float] | None = None,
) -> Draw:
    """Points of a region; growing, from a start of the time to all of it in a share of the budget."""
    if points < 1 or candidates < 1 or sampler not in ("uniform", "sobol"):
        raise InputError(
            f"a term needs at least one point and one candidate, drawn uniform or sobol, but got points={points}, "
            f"candidates={candidates}, sampler={sampler!r}."
        )
    count = points * candidates
    spread = jnp.asarray(_sobol(count, region.numbers)) if sampler == "sobol" else None

    def draw(spread: Array | None, key: Array, share: Any) -> tuple[Array, ...]:
        if spread is None:
            located = region.sample(key, count)
        else:
            located = region.at((spread + jax.random.uniform(key, spread.shape[1:])) % 1)
        if growing is not None:
            start, whole = growing
            reach = jnp.minimum(share / whole, 1.0)
            located = located._replace(x=located.x.at[:, 0].set(start + reach * (located.x[:, 0] - start)))
        if candidates == 1:
            return tuple(located)
        choices = (*located, jax.random.gumbel(jax.random.fold_in(key, 1), (count,)))
        return tuple(leaf.reshape(points, candidates, *leaf.shape[1:]) for leaf in choices)

    return Partial(draw, spread)


def _sobol(count: int, numbers: int) -> Float[np.ndarray, "n numbers"]:
    from scipy.stats import qmc

    if numbers > qmc.Sobol.MAXDIM:
        raise InputError(
            f"a point of this region takes {numbers:,} numbers, more than a Sobol sequence has: the part that is "
            "selected is small. Draw it with sampler='uniform'."
        )
    most = 2 ** math.ceil(math.log2(count))
    return qmc.Sobol(numbers, rng=0).random(most)[:count].astype(np.float32)


def _along(normal: Array, u: Field, x: Array) -> Array:
    """∂u/∂n, as a sum because a product may be of low precision on a GPU."""
    return jnp.sum(jacobian(u)(x) * normal, axis=-1)


def _at(value: Value, x: Array, channels: Array) -> Array:
    """A value at a point, one number for all channels or as many as they are."""
    found = jnp.asarray(value(x) if callable(value) else value)
    if found.shape not in ((), (1,), channels.shape):
        raise InputError(
            f"a condition asks for values of the shape {found.shape}, but the field has {channels.size} channels; "
            "give one number or as many as there are channels, or a network with more of them."
        )
    return found
