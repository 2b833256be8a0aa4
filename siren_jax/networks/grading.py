"""Coordinates that are graded towards places where a function is sharp, as a mesh is near a corner or a shock.

m(x) = Σ_j asinh((x - c_j)/w_j) for the places c_j and the widths w_j of a coordinate. Near one of the places, a
frequency k in m is the frequency k/√((x - c)² + w²) in x: detail in proportion to the distance from the place, down to
the width.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from siren_jax.errors import InputError

Places = tuple[tuple[tuple[float, float], ...], ...]
"""(place, width) pairs of each input, none for an input that is not graded; an empty tuple if no input is graded."""

# 1/LEAST⁴, the size of a fourth derivative, is finite in float32. Places are at most MOST from zero.
LEAST, MOST = 1e-9, 1e9
MOST_PLACES = 64  # of one input: more would only make a long program
HALVINGS = 120  # bring any two float64 numbers within the limits together


def places_of(graded: Mapping[int, Any] | None, inputs: int, periodic: Iterable[int] = ()) -> Places:
    """The places and widths of all inputs, from those of the graded ones.

    Args:
        graded: one (place, width) pair or several for each graded input.
        inputs: number of inputs.
        periodic: inputs that are periodic, which cannot be graded.

    Raises:
        InputError: there is no such input, it is periodic, or the pairs are not numbers within the limits.

    >>> places_of({1: (0, 0.5)}, 2)
    ((), ((0.0, 0.5),))
    """
    places: list[tuple[tuple[float, float], ...]] = [()] * inputs if graded else []
    for axis, given in (graded or {}).items():
        if axis not in range(inputs):
            raise InputError(f"graded takes coordinates from 0 to {inputs - 1} and their places, but got {axis}.")
        if axis in periodic:
            raise InputError(
                f"coordinate {axis} is both periodic and graded, but a function of asinh((x - place)/width) is not "
                "periodic. Leave out one of the two."
            )
        try:
            numbers = np.asarray(given, np.float64)
        except (TypeError, ValueError, OverflowError):
            numbers = np.zeros(0)
        pairs = (numbers[None] if numbers.shape == (2,) else numbers).tolist()
        if not are_places(pairs):
            raise InputError(
                f"graded takes (place, width) for coordinate {axis}, or up to {MOST_PLACES} of these pairs in a list, "
                f"with a width from {LEAST:g} to {MOST:g} and a place from {-MOST:g} to {MOST:g}, but got "
                f"{given!r:.200}."
            )
        places[int(axis)] = tuple((float(place), float(width)) for place, width in pairs)
    return tuple(places)


def are_places(pairs: Any) -> TypeGuard[list[list[float]]]:
    """Whether these are lists of a place and a width that a graded input may have.

    >>> are_places([[0.0, 0.1]]), are_places([]), are_places([[0.0, 0.0]]), are_places([[0.0, float("nan")]])
    (True, False, False, False)
    """
    return (
        isinstance(pairs, list)
        and 0 < len(pairs) <= MOST_PLACES
        and all(isinstance(pair, list) and len(pair) == 2 for pair in pairs)
        and all(type(number) in (int, float) for pair in pairs for number in pair)
        and all(-MOST <= place <= MOST and LEAST <= width <= MOST for place, width in pairs)
    )


def text(places: Sequence[Sequence[Sequence[float]]]) -> str:
    """The places and widths in words.

    >>> text(((), ((0.0, 0.01), (1.0, 0.1))))
    'at 0 (width 0.01) and 1 (width 0.1) in coordinate 1'
    """
    parts = [
        f"at {' and '.join(f'{place:g} (width {width:g})' for place, width in pairs)} in coordinate {axis}"
        for axis, pairs in enumerate(places)
        if pairs
    ]
    return ", ".join(parts)


def stretched(places: Places, scale: Sequence[float], shift: Sequence[float]) -> Places:
    """The places of m(scale·x + shift) as a function of x, up to the sign of the scale: (c - shift)/scale, w/|scale|.

    Raises:
        InputError: they are not within the limits.
    """
    changed = {
        axis: [((place - shift[axis]) / scale[axis], width / abs(scale[axis])) for place, width in pairs]
        for axis, pairs in enumerate(places)
        if pairs
    }
    return places_of(changed, len(places))


def graded_points(x: Float[Array, "... d"], places: Places) -> Float[Array, "... d"]:
    """m(x) for the graded inputs and x for the others."""
    columns = [
        _sum(_asinh(x[..., i] - c, w) for c, w in pairs) if pairs else x[..., i] for i, pairs in enumerate(places)
    ]
    return jnp.stack(columns, axis=-1)


def evenly_graded(low: float, high: float, pairs: Sequence[tuple[float, float]], count: int) -> Float[np.ndarray, "n"]:
    """Coordinates from low to high, as many as `count`, at equal distances in m; by bisection, because m rises.

    >>> evenly_graded(-1.0, 1.0, [(0.0, 0.01)], 5).round(3).tolist()
    [-1.0, -0.07, 0.0, 0.07, 1.0]
    """
    m = lambda x: sum(np.arcsinh((x - place) / width) for place, width in pairs)
    wanted = np.linspace(m(low), m(high), count)
    below, above = np.full(count, float(low)), np.full(count, float(high))
    for _ in range(HALVINGS):
        middle = (below + above) / 2
        high_enough = m(middle) >= wanted
        below, above = np.where(high_enough, below, middle), np.where(high_enough, middle, above)
    found = above
    found[[0, -1]] = low, high
    return found


def derivatives(
    rows: Float[Array, "d width"], x: Float[Array, "... d"], places: Places
) -> tuple[list[Float[Array, "..."]], list[Float[Array, "... width"] | None]]:
    """First and second derivatives of Wm(x) by each input, from the rows of W: W_i·m'(x_i) and W_i·m''(x_i).

    m' = Σ r and m'' = -Σ (x - c)·r³ with r = 1/√((x - c)² + w²). For an input that is not graded, they are W_i
    and None.
    """
    firsts: list[Array] = list(rows)
    seconds: list[Array | None] = [None] * len(places)
    for i, pairs in enumerate(places):
        if pairs:
            distances = [(x[..., i] - c, w) for c, w in pairs]
            firsts[i] = rows[i] * _sum(_slope(d, w) for d, w in distances)[..., None]
            seconds[i] = rows[i] * _sum(_bend(d, _slope(d, w)) for d, w in distances)[..., None]
    return firsts, seconds


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _asinh(d: Array, w: float) -> Array:
    """asinh(d/w), whose derivatives are exact for any d and w: those of the quotient would overflow."""
    return lax.asinh(d / w)


@_asinh.defjvp
def _(w, primals, tangents):
    (d,), (along,) = primals, tangents
    return _asinh(d, w), _slope(d, w) * along


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _slope(d: Array, w: float) -> Array:
    """r = 1/√(d² + w²)."""
    return lax.rsqrt(d * d + w * w)


@_slope.defjvp
def _(w, primals, tangents):
    (d,), (along,) = primals, tangents
    r = _slope(d, w)
    return r, _bend(d, r) * along


def _bend(d: Array, r: Array) -> Array:
    """-d·r³, with a product d·r of at most 1 that keeps powers of r from overflow, also in its derivatives."""
    return -(d * r) * (r * r)


def _sum(parts: Iterable[Array]) -> Array:
    first, *others = parts
    return sum(others, start=first)
