"""The Kuramoto-Sivashinsky equation: an unstable flame front."""

import functools

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray

from siren_jax.references.fourier import Evolution, evolve


def kuramoto_sivashinsky(points: Float[ndarray, "n 2"]) -> Float64[ndarray, "n"]:
    """Solution of the Kuramoto-Sivashinsky equation that starts as a sine, at points `(t, x)`.

    u_t + 5·u·u_x + 0.5·u_xx + 0.005·u_xxxx = 0 for 0 ≤ t ≤ 1, u(0, x) = -sin πx, with period 2 in x; u is odd. This is
    the regular one of two benchmarks of Wang, Sankaran and Perdikaris 2022; the other one is chaotic. Small waves of
    the length 0.9 grow by exp(12.5) in this time, and so do errors of the start.

    The method is `evolve` with 64 waves and 16,000 steps; the error is below 1e-9. It takes two seconds, once in a
    process.

    Args:
        points: `(t, x)`.

    Raises:
        InputError: a time is outside [0, 1].

    >>> kuramoto_sivashinsky(np.array([[0.0, 0.5], [0.0, -1 / 6]])).round(6).tolist()
    [-1.0, 0.5]
    """
    return _kuramoto_sivashinsky()(np.asarray(points, np.float64))[:, 0]


@functools.cache
def _kuramoto_sivashinsky(*, grid: int = 128, steps: int = 8000) -> Evolution:
    x = 2 * np.arange(grid) / grid - 1

    def convection(u: ndarray, k: ndarray) -> ndarray:
        return -2.5j * k * np.fft.rfft(np.fft.irfft(u, grid) ** 2)

    growth = lambda k: 0.5 * k**2 - 0.005 * k**4
    return evolve(-np.sin(np.pi * x)[None], growth, convection, length=2.0, stop=1.0, steps=steps, saved=1000)
