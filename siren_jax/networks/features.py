"""Sine layers that stay as they are made, with random or given frequencies, and a last layer to be learned."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float

from siren_jax.errors import InputError
from siren_jax.networks.layers import check_sizes
from siren_jax.networks.siren import SIREN
from siren_jax.networks.windows import Window

Frequencies = int | float | Sequence[int | float]


@dataclass(frozen=True)
class Block:
    """Random sines with a window, for `random_features`."""

    width: int
    """Number of sines."""
    frequencies: Frequencies
    """Largest frequency of every coordinate, or of each, in radians per unit of the coordinate."""
    window: Window


def random_features(
    in_features: int,
    out_features: int,
    *,
    width: int,
    frequencies: Frequencies,
    blocks: Sequence[Block] = (),
    periodic: Mapping[int, int | float] | None = None,
    graded: Mapping[int, Any] | None = None,
    rngs: nnx.Rngs,
) -> SIREN:
    """A SIREN of one sine layer with random frequencies and phases, whose last layer is zero.

    f(x) = Σ_j a_j sin(w_j·x + b_j) with w_ji ~ U(±frequency_i) and b_j ~ U(±π). Rahimi and Recht 2007. With
    `refine(method="last-layer")`, only the a_j are learned, by linear least squares. Sines of frequencies up to that of
    a smooth function represent it on a bounded domain to nearly all digits of float64, if there are enough of them:
    along an axis of length L, about frequency·L/π + 8; in all, the product of these numbers. With frequencies that are
    too high, the same number of sines fails.

    Detail near a place needs frequencies that are too high elsewhere. Blocks of further sines, each with a window w(x),
    add it: their terms are a_j·w(x)·sin(w_j·x + b_j). For a `Gaussian` window of the width s, frequencies of about 4/s
    and 150 sines in two dimensions are enough, and a next window of half the width for finer detail.

    Args:
        in_features: d, coordinates of a point, in any unit.
        out_features: c, channels.
        width: number of sines without a window.
        frequencies: largest frequency of every coordinate, or of each, in radians per unit of the coordinate.
        blocks: further sines with windows.
        periodic: see `SIREN`.
        graded: see `SIREN`; frequencies of a graded coordinate are in radians per unit of its asinh.
        rngs: Flax random streams; uses `params`.

    Raises:
        InputError: a frequency is not a positive number, or below that of a period, or there are not as many as
            coordinates; see also `SIREN`.

    >>> random_features(2, 1, width=100, frequencies=[3.0, 20.0], rngs=nnx.Rngs(0))(jnp.ones(2)).tolist()
    [0.0]
    """
    counts = [width, *[block.width for block in blocks]]
    for count in counts:
        check_sizes(in_features, out_features, count, 0)
    rows = np.stack([_highest(each, in_features) for each in (frequencies, *[block.frequencies for block in blocks])])
    highest = rows.max(axis=0)
    for axis, period in (periodic or {}).items():
        if axis in range(in_features) and highest[axis] * period < 2 * math.pi:
            raise InputError(
                f"the frequencies of coordinate {axis} end at {highest[axis]:g}, below that of its period {period:g}; "
                f"give one of {2 * math.pi / period:.4g} or more."
            )
    omega = float(highest.max())
    zeros = nnx.initializers.zeros_init()  # instead of the paper's range, which may have no whole period
    network = SIREN(
        in_features,
        out_features,
        width=sum(counts),
        depth=0,
        first_omega=omega,
        kernel_init=zeros,
        periodic=periodic,
        graded=graded,
        windows=[(width, None), *[(block.width, block.window) for block in blocks]] if blocks else None,
        rngs=rngs,
    )
    first, last = network.layers[0].linear, network.output
    assert first.bias is not None
    assert last.bias is not None
    if periodic:
        frequency, phase = _evenly_drawn(rngs.params(), in_features, sum(counts))
    else:
        keys = jax.random.split(rngs.params(), 2)
        frequency = jax.random.uniform(keys[0], (in_features, sum(counts)), jnp.float32, -1, 1)
        phase = jax.random.uniform(keys[1], (sum(counts),), jnp.float32, -math.pi, math.pi)
    first.kernel[...] = jnp.asarray(np.repeat(rows, counts, axis=0).T / omega, jnp.float32) * frequency
    first.bias[...] = phase / omega
    last.bias[...] = jnp.zeros_like(last.bias[...])
    return network


def fourier_features(
    frequencies: Any, out_features: int, *, periodic: Mapping[int, int | float] | None = None, rngs: nnx.Rngs
) -> SIREN:
    """A SIREN of one sine layer with the sine and the cosine of each given frequency, whose last layer is zero.

    f(x) = Σ_j a_j sin(w_j·x) + b_j cos(w_j·x) + c, with 2n sines for n frequencies: a cosine has the phase π/2. The
    first n units are the sines. With `refine(method="last-layer")`, only the a_j, b_j and c are learned. Frequencies of
    a lattice make a Fourier series. Frequencies (ω, k) that satisfy the dispersion relation of an equation, such as
    ω = ±|k| for waves, make solutions of this equation, whatever the last layer is: the method of Trefftz 1926.

    The frequencies are float32 numbers: their relative error of 1e-7 is one of 1e-7·w·x radians in a phase. Those of a
    periodic coordinate are exact whole numbers of periods.

    Args:
        frequencies: `(n, d)`, in radians per unit of each coordinate. The constant c is learned without a frequency of
            zero, and of w and -w one is enough.
        out_features: c, channels.
        periodic: see `SIREN`; frequencies are rounded to whole numbers of periods.
        rngs: Flax random streams; uses `params`.

    Raises:
        InputError: the frequencies are not rows of finite numbers; see also `SIREN`.

    >>> network = fourier_features([[3.0, 4.0]], 1, rngs=nnx.Rngs(0))
    >>> network.layers[0](jnp.zeros(2)).tolist()
    [0.0, 1.0]
    """
    try:
        rows = np.asarray(frequencies, np.float64)
    except (TypeError, ValueError):
        rows = np.zeros(0)
    if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
        raise InputError(
            "Fourier features take frequencies as rows of finite numbers, one for each coordinate, (n, d), but got "
            f"{f'shape {rows.shape}, ' if rows.size else ''}{frequencies!r:.200}."
        )
    n, d = len(rows), rows[0].size
    omega = float(np.abs(rows).max()) or 1.0
    zeros = nnx.initializers.zeros_init()
    network = SIREN(
        *(d, out_features), width=2 * n, depth=0, first_omega=omega, kernel_init=zeros, periodic=periodic, rngs=rngs
    )
    first, last = network.layers[0].linear, network.output
    assert first.bias is not None
    assert last.bias is not None
    first.kernel[...] = jnp.asarray(np.tile(rows, (2, 1)).T / omega, jnp.float32)
    first.bias[...] = jnp.asarray(np.repeat([0, math.pi / 2], n) / omega, jnp.float32)
    last.bias[...] = jnp.zeros_like(last.bias[...])
    return network


def space_time_frequencies(
    period: int | float,
    highest: int | float,
    fastest: int | float,
    counts: tuple[int | float, int | float],
    *,
    waves: Callable[[float], float] | None = None,
) -> Float[np.ndarray, "n 2"]:
    """Frequencies (ω, k) for a function of time and one periodic coordinate, for `fourier_features`.

    Each whole number of periods k = 2πj/period has several frequencies ω in time, Chebyshev points from -fastest to
    fastest. In a slab of time from 0 to 1, n of them represent about as much as a polynomial of degree n - 1. Short
    waves are weak in a smooth function, so they need fewer.

    Args:
        period: period of the coordinate.
        highest: largest k, in radians per unit of the coordinate.
        fastest: largest frequency in time, in radians per unit of time, or per slab.
        counts: number of frequencies in time of the lowest and of the highest k; in between, it changes linearly.
        waves: dispersion relation ω(k) of an equation, in the unit of `fastest`. Short waves that travel freely can be
            much faster than the rest of the solution: where ω(k) is above `fastest`, k also has ω(k) and -ω(k).

    Raises:
        InputError: a number is not positive, or `highest` is below the frequency of one period.

    >>> space_time_frequencies(2.0, 6.3, 4.0, (3, 1)).round(2).tolist()  # 0, π and 2π
    [[3.46, 0.0], [2.83, 3.14], [-2.83, 3.14], [0.0, 6.28]]
    >>> space_time_frequencies(2.0, 6.3, 4.0, (1, 1), waves=lambda k: k).round(2).tolist()
    [[0.0, 3.14], [0.0, 6.28], [6.28, 6.28], [-6.28, 6.28]]
    """
    given = (period, highest, fastest, *counts)
    if not all(0 < number < math.inf for number in given) or highest * period < 2 * math.pi:
        raise InputError(
            "frequencies in space and time take a positive period, a highest frequency of at least 2π/period, a "
            f"fastest one, and two counts, but got {period}, {highest}, {fastest} and {counts}."
        )
    whole = int(highest * period / (2 * math.pi))
    rows = []
    for j, count in enumerate(np.linspace(*counts, whole + 1)):
        n = max(1, round(count))
        omega = fastest * np.cos(math.pi * (np.arange(n) + 0.5) / n)
        omega[np.abs(omega) < 1e-12 * fastest] = 0.0  # the middle one of an odd number
        omega = omega if j else omega[omega > 0]  # (-ω, 0) is (ω, 0) again, and (0, 0) the constant
        k = 2 * math.pi * j / period
        if waves is not None and j and (free := waves(k)) > fastest:
            omega = np.array([*omega, free, -free])
        rows.append(np.stack([omega, np.full(len(omega), k)], axis=1))
    return np.concatenate(rows)


def _highest(frequencies: Frequencies, in_features: int) -> Float[np.ndarray, "d"]:
    given = [frequencies] if np.ndim(frequencies) == 0 else list(frequencies)  # pyright: ignore[reportArgumentType]
    try:
        numbers = np.array([math.nan if isinstance(number, bool | str) else number for number in given], float)
    except (TypeError, ValueError, OverflowError):
        numbers = np.zeros(1)
    highest = np.broadcast_to(numbers, in_features) if numbers.shape in ((1,), (in_features,)) else np.zeros(1)
    if not (np.all(highest > 0) and np.all(np.isfinite(highest))):
        raise InputError(
            f"random features take a positive frequency, or one for each of the {in_features} coordinates, but got "
            f"{frequencies!r:.200}."
        )
    return highest


def _evenly_drawn(key: Array, inputs: int, width: int) -> tuple[Float[Array, "inputs width"], Float[Array, "width"]]:
    """Frequencies in [-1, 1) and phases in [-π, π), spread evenly by an additive recurrence with a random shift.

    Each whole number of periods then has about as many sines. Of independent draws, some numbers would have too few.
    """
    n = inputs + 1
    root = 2.0
    for _ in range(64):  # to the root of root^(n+1) = root + 1, the golden ratio for n = 1
        root = (1 + root) ** (1 / (n + 1))
    shift = np.asarray(jax.random.uniform(key, (n, 1), jnp.float32), np.float64)
    drawn = 2 * ((shift + root ** -np.arange(1.0, n + 1)[:, None] * np.arange(width)) % 1) - 1
    return jnp.asarray(drawn[:-1], jnp.float32), jnp.asarray(math.pi * drawn[-1], jnp.float32)
