"""A signal's own frequencies, and the first omega that suits them."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from siren_jax.signals.grid import Frame


class OmegaChoice(NamedTuple):
    """A first omega, and why."""

    omega: float
    reason: str


def rms_frequency(values: Float[ndarray, "*shape c"], frame: Frame) -> float:
    """Root-mean-square frequency of a sampled signal, in radians a coordinate.

    √(mean |∇f|² / variance of f), which by Parseval is the root of the mean of |k|² over the power spectrum without
    k = 0. Differences between neighbours stand for ∇f: a wave along an axis has |2 sin(k h/2)/h| for spacing h. Zero for
    a constant.

    Args:
        values: of all samples.
        frame: their grid.

    >>> x = Frame((1000,)).coordinates(np.arange(1000)[:, None])
    >>> round(rms_frequency(np.sin(40 * x), Frame((1000,))))
    40
    """
    variance = float(np.mean((values - values.mean(axis=tuple(range(values.ndim - 1)))) ** 2))
    if variance == 0:
        return 0.0
    slopes = [np.diff(values, axis=axis) for axis, n in enumerate(frame.shape) if n > 1]
    return math.sqrt(sum(float(np.mean(slope**2)) for slope in slopes) / variance) / frame.spacing


def choose_omega(values: Float[ndarray, "*shape c"], frame: Frame) -> OmegaChoice:
    """First omega of a SIREN for a signal, from its root-mean-square frequency."""
    k = rms_frequency(values, frame)
    return OmegaChoice(1.5 * k, f"rms {k:.0f}")
