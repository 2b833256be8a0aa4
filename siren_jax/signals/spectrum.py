"""A signal's own frequencies, and the first omega that suits them."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from siren_jax.signals.grid import Frame

# From grids of omegas, judged between the samples: photographs of 128 to 500 pixels, two seconds of sound. See
# `docs/performance.md` and `benchmarks/omega.py`.
OWN_SHARE = 0.6
NYQUIST_SHARE = 0.045
CROWDING = 0.15
CROWDING_SAMPLES = 128**2


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

    omega = d·(N/128²)^0.15·min(0.6·root-mean-square frequency, 0.045·Nyquist frequency) for N samples, with Nyquist
    π/spacing. The first layer's weights are U(±1/d), so that a wave of the network begins with at most omega/d radians
    a coordinate. A signal sampled finer than it varies is met at its own frequencies. One that varies up to its
    sampling, as pictures do, is kept smooth between its samples: a higher omega fits them sooner and leaves rubbish
    between them, the less so the more samples a network has to carry. Two digits, and at least 1.

    Args:
        values: of all samples.
        frame: their grid.

    >>> x = Frame((128, 128)).coordinates(np.moveaxis(np.indices((128, 128)), 0, -1))
    >>> spectral_omega(np.sin(4 * np.pi * x[..., :1]), Frame((128, 128))).reason
    "1.2 times the signal's root-mean-square frequency, 12.5 rad a coordinate"
    """
    d, own, nyquist = len(frame.shape), rms_frequency(values, frame), math.pi / frame.spacing
    share, frequency, whose = min(
        (OWN_SHARE, own, "signal's root-mean-square"),
        (NYQUIST_SHARE, nyquist, "sampling's Nyquist"),
        key=lambda candidate: candidate[0] * candidate[1],
    )
    factor = d * (math.prod(frame.shape) / CROWDING_SAMPLES) ** CROWDING * share
    if factor * frequency < 1:
        return OmegaChoice(1.0, "the least; the signal hardly varies")
    reason = f"{factor:.2g} times the {whose} frequency, {frequency:.4g} rad a coordinate"
    return OmegaChoice(float(f"{factor * frequency:.2g}"), reason)
