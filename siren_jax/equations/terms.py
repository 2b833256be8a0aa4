"""Terms of a problem: the equation and known values, each a residual at points. `conditions` has terms at boundaries.

A residual is plain JAX on a field u and a point x, with the operators of this library:

    equation(lambda u, x: laplacian(u)(x) + k**2 * u(x) - source(x), Box((-1, -1), (1, 1)))

and may return one number or several, or complex ones.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from siren_jax._types import Field, Sampler
from siren_jax.equations.domains import Domain, Interval, SpaceTime
from siren_jax.equations.sampling import Draw, draws, graded_interior
from siren_jax.errors import InputError
from siren_jax.fields.precision import is_double

Residual = Callable[..., Any]
"""A function of a field and a point `(d,)`, zero where the equation holds."""


@dataclass(frozen=True)
class Term:
    """A residual, and the points where it should vanish."""

    name: str
    residual: Residual
    """`(u, x, *more)`, with the arrays of `draw` at a point."""
    draw: Draw
    """`(key, share) -> (points, *more)`, arrays with a leading axis of points; see `Draw`. With `candidates > 1`,
    arrays have a second axis of candidates, and the last array is the noise that selects among them."""
    power: int
    """1 for the absolute value of the residual, 2 for its square."""
    weight: Any
    """A number, or a function of the spent share of the budget."""
    candidates: int = 1
    """Number of candidates for each point; their probability rises with the residual."""
    domain: Domain | None = None
    """Where the points are, if that is known; warnings about units and coefficients need it."""

    given: bool = False
    """Whether the points, or their times, are given, not drawn from the whole domain."""

    def __post_init__(self) -> None:
        if self.power not in (1, 2):
            raise InputError(
                f"{self.name!r} takes power=1 for absolute residuals or 2 for squares, but got {self.power!r}."
            )
        if not callable(self.weight) and not (np.ndim(self.weight) == 0 and 0 <= float(self.weight) < math.inf):
            raise InputError(
                f"{self.name!r} takes a weight of at least zero, or a function of the spent share of the budget, "
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
    sampler: Sampler = "uniform",
    candidates: int = 1,
    growing: float | None = None,
    graded: Mapping[int, Any] | None = None,
) -> Term:
    """The term of a differential equation that holds in a domain.

    Args:
        residual: `(u, x) -> numbers`, zero where the equation holds.
        domain: where the equation holds.
        points: number of points, drawn anew in every step.
        name: name of the term.
        weight: a number, or a function of the spent share of the budget, 0 to 1.
        power: 2 for the mean of squared residuals, 1 for that of absolute residuals, as in Sitzmann et al. 2020.
        sampler: "uniform" draws independent points; "sobol" spreads them evenly, by a shifted low-discrepancy sequence.
        candidates: above 1, each point is chosen from this many, with a probability that rises with the residual: more
            points where the equation fails (Wu et al. 2023 on adaptive sampling).
        growing: in a domain with time, or an interval of time alone, share of the budget, above 0 and up to 1, during
            which the drawn times grow from the start to the whole span.
        graded: coordinates with more points near some places, a (place, width) pair of each or several in a list, such
            as `{1: (0.0, 0.005)}`: points are even in the coordinates of `SIREN(graded=)`, with a density of about
            1/√((x - place)² + width²). The mean of the residuals counts points, so it weights them by this density.

    Raises:
        InputError: a setting is invalid.
    """
    if growing is not None and not (0 < growing <= 1 and isinstance(domain, SpaceTime | Interval)):
        raise InputError(
            "growing takes a share of the budget, above 0 and up to 1, and a domain with time or an interval of time, "
            f"but got {growing} and {domain!r}."
        )
    span = None if growing is None else (domain.low[0], growing)
    draw = draws(graded_interior(domain, graded), points, sampler, candidates, span)
    return Term(name, AtPoint(residual), draw, power, weight, candidates, domain)


@dataclass(frozen=True, eq=False)
class AtPoint:
    """A residual that needs no normal. Two are equal if their residuals are the same object."""

    residual: Residual

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AtPoint) and other.residual is self.residual

    def __hash__(self) -> int:
        return id(self.residual)

    def __call__(self, u: Field, x: Array, normal: Array | None) -> Any:
        return self.residual(u, x)


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
        domain: points outside of it are refused.
        drawn: number of points drawn at random in each step; by default every step uses all points.
        name: name of the term.
        weight: as in `equation`.
        power: as in `equation`.
    """
    exact = (
        (np.asarray(points, np.float64),) if values is None else (np.asarray(points, np.float64), np.asarray(values))
    )
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
        chosen = slice(None) if drawn is None else jax.random.randint(key, (drawn,), 0, len(given[0]), jnp.int32)
        return tuple(jnp.asarray(array)[chosen] for array in (exact if is_double(share) else given))

    return Term(name, residual, Partial(draw, given), power, weight, domain=domain, given=True)
