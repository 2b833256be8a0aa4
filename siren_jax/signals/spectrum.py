"""A signal's own frequencies, and the first omega that suits them."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from siren_jax.signals.grid import Frame

# The best of grids of omegas, judged between the samples: photographs of 128 and 256 pixels, two seconds of music. See
# `docs/performance.md` and `benchmarks/omega.py`.
OWN_SHARE = 2 / 3
NYQUIST_SHARE = 0.045


class OmegaChoice(NamedTuple):
    """A first omega, and why."""

    omega: float
    reason: str


def rms_frequency(values: Float[ndarray, "*shape c"], frame: Frame) -> float:
    """Root-mean-square frequency of a sampled signal, in radians a coordinate.

    √(mean |∇f|² / variance of f), which by Parseval is the root of the mean of |k|² over the power spectrum without
    k = 0. Differences between neighbours stand for ∇f: a wave along an axis has |2 sin(k h/2)/h| for spacing h. Zero
    for a constant.

    Args:
        values: of all samples.
        frame: their grid.

    >>> x = Frame((1000,)).coordinates(np.arange(1000)[:, None])
    >>> round(rms_frequency(np.sin(13 * np.pi * x), Frame((1000,))) / np.pi, 2)
    12.99
    """
    variance = float(np.mean((values - values.mean(axis=tuple(range(values.ndim - 1)))) ** 2))
    if variance == 0:
        return 0.0
    slopes = [np.diff(values, axis=axis) for axis, n in enumerate(frame.shape) if n > 1]
    return math.sqrt(sum(float(np.mean(slope**2)) for slope in slopes) / variance) / frame.spacing


def spectral_omega(values: Float[ndarray, "*shape c"], frame: Frame) -> OmegaChoice:
    """First omega of a SIREN for a signal, from its spectrum and sampling, and why.

    omega = d·min(2/3 of the root-mean-square frequency, 0.045·Nyquist frequency), Nyquist π/spacing. The first layer's
    weights are U(±1/d), so that a wave of the network begins with at most omega/d radians a coordinate. A signal
    sampled finer than it varies, as sound is, is met at its own frequencies. One that varies up to its sampling, as
    pictures do, is kept smooth between its samples: a higher omega fits them sooner and leaves rubbish between them. At
    least 1.

    Args:
        values: of all samples.
        frame: their grid.

    >>> x = Frame((1000,)).coordinates(np.arange(1000)[:, None])
    >>> round(spectral_omega(np.sin(60 * x), Frame((1000,))).omega)
    40
    """
    d, own, nyquist = len(frame.shape), rms_frequency(values, frame), math.pi / frame.spacing
    share, frequency, whose = min(
        (OWN_SHARE, own, "signal's root-mean-square"),
        (NYQUIST_SHARE, nyquist, "sampling's Nyquist"),
        key=lambda candidate: candidate[0] * candidate[1],
    )
    omega, times = d * share * frequency, f"{d} times " if d > 1 else ""
    if omega < 1:
        return OmegaChoice(1.0, "the least; the signal hardly varies")
    return OmegaChoice(omega, f"{times}{share:.2g} of the {whose} frequency, {frequency:.4g} rad a coordinate")
