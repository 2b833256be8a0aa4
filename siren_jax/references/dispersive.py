"""Waves whose speed depends on their length: the Korteweg-de Vries and the nonlinear Schrödinger equation."""

import functools

import numpy as np
from jaxtyping import Complex128, Float, Float64
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.references.fourier import Evolution, evolve

# Fourth order, symmetric, six stages: shares of a step for the linear part; those of the other part stand between.
LINEAR = (0.0792036964311957, 0.353172906049774, -0.0420650803577195)
NONLINEAR = (0.209515106613362, -0.143851773179818)
HALF_PERIOD, LAST = 5.0, np.pi / 2
SAVED = 8  # steps of Schrödinger's equation from one saved time to the next


def korteweg_de_vries(points: Float[ndarray, "n 2"]) -> Float64[ndarray, "n"]:
    """Solution of the Korteweg-de Vries equation that starts as a cosine, at points `(t, x)`.

    u_t + u·u_x + 0.022²·u_xxx = 0 for 0 ≤ t ≤ 1, u(0, x) = cos πx, with period 2 in x: the experiment in which Zabusky
    and Kruskal 1965 found solitons. The method is `evolve` with 160 waves and 16,000 steps; the error is below 1e-10.
    It takes two seconds, once in a process.

    Args:
        points: `(t, x)`.

    Raises:
        InputError: a time is outside [0, 1].

    >>> korteweg_de_vries(np.array([[0.0, 0.0], [0.0, 1 / 3]])).round(6).tolist()
    [1.0, 0.5]
    """
    return _korteweg_de_vries()(np.asarray(points, np.float64))[:, 0]


@functools.cache
def _korteweg_de_vries(*, grid: int = 320, steps: int = 8000) -> Evolution:
    x = 2 * np.arange(grid) / grid - 1

    def convection(u: ndarray, k: ndarray) -> ndarray:
        return -0.5j * k * np.fft.rfft(np.fft.irfft(u, grid) ** 2)

    dispersion = lambda k: 1j * 0.022**2 * k**3
    return evolve(np.cos(np.pi * x)[None], dispersion, convection, length=2.0, stop=1.0, steps=steps, saved=1000)


def schroedinger(points: Float[ndarray, "n 2"]) -> Complex128[ndarray, "n"]:
    """Solution of the nonlinear Schrödinger equation that starts as 2/cosh x, at points `(t, x)`.

    i·h_t + h_xx/2 + |h|²·h = 0 for 0 ≤ t ≤ π/2, even and with period 10 in x: the benchmark of Raissi, Perdikaris and
    Karniadakis 2019. On the whole line `breather` is the solution; here images of it 10 apart disturb it by 0.05.

    The start has a kink at x = ±5, where its slope jumps by 0.054. The equation does not smooth it: kinks spread, and
    at all times the terms of the cosine series fall with the square of the wavenumber. So the relative L2 error is
    3e-7, and single values have errors of 1e-6, at the first kink of 1e-5. The method takes exact steps of both parts
    of the equation in turn, with the coefficients of Blanes and Moan 2002. It takes a few seconds, once in a process.

    Args:
        points: `(t, x)`.

    Raises:
        InputError: a time is outside [0, π/2].

    >>> schroedinger(np.array([[0.0, 0.0], [0.0, 10.0]])).real.round(4).tolist()
    [2.0, 2.0]
    """
    return _schroedinger()(np.asarray(points, np.float64))


@functools.cache
def _schroedinger(*, resolution: int = 2048, steps: int = 2000, half_period: float = HALF_PERIOD) -> "_Cosines":
    return _Cosines(lambda x: 2 / np.cosh(x), resolution, steps, half_period)


class _Cosines:
    """The solution of Schrödinger's equation from an even start, as a series of cosines at every eighth step.

    Args:
        start: h at t = 0.
        resolution: intervals between x = 0 and half a period.
        steps: number of steps, a multiple of 8.
        half_period: half a period.
    """

    def __init__(self, start, resolution: int, steps: int, half_period: float):
        self._wave = np.pi * np.arange(resolution + 1) / half_period
        self._apart = SAVED * LAST / steps
        modes = self._transform(start(np.linspace(0, half_period, resolution + 1)).astype(np.complex128))
        self._saved = [modes]
        for number in range(1, steps + 1):
            modes = self._step(modes, LAST / steps)
            if number % SAVED == 0:
                self._saved.append(modes)

    def __call__(self, points: Float64[ndarray, "n 2"]) -> Complex128[ndarray, "n"]:
        times, moment = np.unique(points[:, 0], return_inverse=True)
        if not np.all((times >= 0) & (times <= LAST * (1 + 1e-6))):  # π/2 in float32 is larger than π/2
            raise InputError(
                f"the solution is known for 0 ≤ t ≤ π/2, but t goes from {times.min():g} to {times.max():g}."
            )
        found = np.empty(len(points), np.complex128)
        for number, time in enumerate(times):
            part = np.flatnonzero(moment == number)
            series = self.at(time)
            for few in np.array_split(part, max(1, len(part) // 1024)):  # bounds the memory
                found[few] = np.cos(np.outer(points[few, 1], self._wave)) @ series
        return found

    def at(self, time: float) -> Complex128[ndarray, "modes"]:
        """Coefficients of the cosines at a time, by one more step from the nearest saved time."""
        nearest = min(round(time / self._apart), len(self._saved) - 1)
        series = self._step(self._saved[nearest], time - nearest * self._apart) / (len(self._wave) - 1)
        series[[0, -1]] /= 2
        return series

    def _step(self, modes: ndarray, step: float) -> ndarray:
        linear = [*LINEAR, 1 - 2 * sum(LINEAR), *LINEAR[::-1]]
        nonlinear = [*NONLINEAR, 0.5 - sum(NONLINEAR)]
        turns = dict.fromkeys(linear)
        for share in turns:
            turns[share] = np.exp(-0.5j * step * share * self._wave**2)
        modes = turns[linear[0]] * modes
        for share, next_share in zip(nonlinear + nonlinear[::-1], linear[1:], strict=True):
            h = self._transform(modes) / (2 * (len(modes) - 1))
            h *= np.exp(1j * step * share * (h.real**2 + h.imag**2))  # |h| is constant in this part
            modes = turns[next_share] * self._transform(h)
        return modes

    def _transform(self, values: ndarray) -> ndarray:
        """Coefficients from values at the points, and values from coefficients, up to a factor."""
        import scipy.fft

        return np.asarray(scipy.fft.dct(values, 1))


def breather(points: Float[ndarray, "n 2"]) -> Complex128[ndarray, "n"]:
    """Solution of the nonlinear Schrödinger equation on the whole line from 2/cosh x, at points `(t, x)`.

    i·h_t + h_xx/2 + |h|²·h = 0. Two solitons at the same place, bound to each other: |h| has the period π/2 in time.
    Satsuma and Yajima 1974,

        h(t, x) = 4·exp(it/2)·(cosh 3x + 3·exp(4it)·cosh x) / (cosh 4x + 4·cosh 2x + 3·cos 4t).

    Args:
        points: `(t, x)`.

    >>> abs(breather(np.array([[0.0, 0.0], [np.pi / 4, 0.0], [np.pi / 2, 0.0]]))).round(9).tolist()
    [2.0, 4.0, 2.0]
    """
    t, x = np.asarray(points, np.float64).T
    e = np.exp(-np.abs(x))  # both sides of the fraction times exp(-4|x|), which does not overflow
    numerator = e * (1 + e**6) / 2 + 3 * np.exp(4j * t) * e**3 * (1 + e**2) / 2
    denominator = (1 + e**8) / 2 + 2 * e**2 * (1 + e**4) + 3 * np.cos(4 * t) * e**4
    return 4 * np.exp(0.5j * t) * numerator / denominator
