"""The bandwidth of a signal, and the first omega that suits it."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Num
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.fields.coordinates import Frame

POWER = 0.9999
ANALYSED = 2**20  # samples: 1,024² pixels, 23 seconds at 44.1 kHz


class OmegaChoice(NamedTuple):
    """A first omega, and the reason for it."""

    omega: float
    reason: str


def bandwidth(values: Num[ndarray, "*shape c"], frame: Frame) -> float:
    """Frequency below which 99.99 % of a signal's power lies, in radians a coordinate.

    The power is that of all channels, each without its mean, under a Hann window. Of more than 2^20 samples, only the
    middle is analysed. Zero for a constant.

    Args:
        values: all samples.
        frame: their grid.

    Raises:
        InputError: the values are not finite, or do not have the shape of the grid.

    >>> x = Frame((1000,)).coordinates(np.arange(1000)[:, None])
    >>> round(bandwidth(np.sin(100 * np.pi * x), Frame((1000,))) / np.pi)
    101
    """
    d, shape = len(frame.shape), frame.shape
    if values.shape[:-1] != shape:
        raise InputError(
            f"a signal on the grid {shape} has an array of the shape {(*shape, 'c')} with c channels, but this one has "
            f"the shape {values.shape}. One channel is values[..., None]."
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError("the values of a signal must be finite, but some are NaN or infinite.")
    side = math.floor(ANALYSED ** (1 / d) + 1e-9)
    middle = tuple(slice((n - min(n, side)) // 2, (n + min(n, side)) // 2) for n in shape)
    part = values[middle].astype(np.float64)
    axes = tuple(range(d))
    if not np.ptp(part, axis=axes).any():  # the mean of equal numbers need not be that number to the last bit
        return 0.0
    part -= part.mean(axis=axes)
    for axis, n in enumerate(part.shape[:-1]):
        part *= np.expand_dims(np.hanning(n + 2)[1:-1], tuple(a for a in range(d + 1) if a != axis))
    power = np.sum(np.abs(np.fft.fftn(part - part.mean(axis=axes), axes=axes)) ** 2, axis=-1).ravel()
    waves = np.ix_(*(2 * np.pi * np.fft.fftfreq(n, frame.spacing) for n in part.shape[:-1]))
    frequency = np.sqrt(sum(wave**2 for wave in waves)).ravel()
    rising = np.argsort(frequency)
    below = np.cumsum(power[rising])
    return float(frequency[rising][np.searchsorted(below, POWER * below[-1])])


def choose_omega(values: Num[ndarray, "*shape c"], frame: Frame) -> OmegaChoice:
    """First omega of a SIREN for a signal, and the reason for it.

    omega = 0.045·d·k_N·(k/k_N)^(2/3)·(N/128²)^(1/10) for N samples in d dimensions with the bandwidth k, and k_N =
    π/spacing, the Nyquist frequency. The first layer's weights are U(±1/d), so that a wave of the network begins with
    at most omega/d radians a coordinate. A higher omega fits the samples sooner and leaves artefacts between them, the
    fewer the more samples a network has to represent. The result has two digits and is at least 1.

    The constants are fitted to the best omegas of grid searches, judged between the samples, for photographs of 128 to
    500 pixels and two seconds of sounds: `benchmarks/omega.py`. For three axes they are too high: the
    recipe for videos, `recipes.TUNED_VIDEO`, has omega 60.

    Args:
        values: all samples.
        frame: their grid.

    Raises:
        InputError: the values are not finite, or do not have the shape of the grid.

    >>> choose_omega(np.random.default_rng(0).normal(size=(128, 128, 1)), Frame((128, 128))).omega
    23.0
    """
    nyquist = math.pi / frame.spacing
    share = bandwidth(values, frame) / nyquist
    factor = 0.045 * len(frame.shape) * share ** (2 / 3) * (math.prod(frame.shape) / 128**2) ** 0.1
    omega = max(1.0, float(f"{factor * nyquist:.2g}"))
    return OmegaChoice(
        omega,
        f"{omega / nyquist:.2g} of the sampling's Nyquist frequency, {nyquist:.4g} rad a coordinate; "
        f"{100 * POWER:g} % of the power lies below {share:.2g} of it",
    )
