"""Reactions and diffusion: the Allen-Cahn and the Gray-Scott equations, with the initial fields of the benchmarks."""

import functools

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.references.fourier import Evolution, evolve

DIFFUSIVITY = 1e-4


def allen_cahn(points: Float[ndarray, "n 2"], *, resolution: int = 1024) -> Float64[ndarray, "n"]:
    """Solution of Allen and Cahn's equation that starts as x²·cos πx, at points `(t, x)`.

    u_t = 10⁻⁴·u_xx + 5u - 5u³ for 0 ≤ t ≤ 1, even and with period 2 in x: the benchmark of Raissi, Perdikaris and
    Karniadakis 2019. The method is a series of cosines with classical Runge-Kutta steps and exact diffusion.

    The start has a kink at x = ±1, which a cosine series represents at its points only. So u = k + w, where
    k has the kink and solves k_t = 10⁻⁴·k_xx - 10k in closed form. The rest, w_t = 10⁻⁴·w_xx + 5u - 5u³ + 10k, is
    smoother, because u = -1 at the kink, where the slope of 5u - 5u³ is -10.

    Args:
        points: `(t, x)`.
        resolution: intervals between x = 0 and 1. The error is below 1e-8 with 1024, 2e-7 with 512.

    Raises:
        InputError: a time is outside [0, 1].

    >>> allen_cahn(np.array([[0.0, 1.0], [0.0, 1 / 3]]), resolution=128).round(6).tolist()  # -1 and 1/9·cos π/3
    [-1.0, 0.055556]
    """
    import scipy.fft
    import scipy.interpolate

    t, x = np.asarray(points, np.float64).T
    if not np.all((t >= 0) & (t <= 1)):
        raise InputError(f"the solution is known for 0 ≤ t ≤ 1, but t goes from {t.min():g} to {t.max():g}.")
    grid = np.linspace(0, 1, resolution + 1)
    decay = DIFFUSIVITY * (np.pi * np.arange(resolution + 1)) ** 2

    def cosines(values: ndarray) -> ndarray:
        """Coefficients from values at the points, and values from coefficients: its own inverse."""
        return np.asarray(scipy.fft.dct(values, 1)) / np.sqrt(2 * resolution)

    def reaction(t: float, w: ndarray) -> ndarray:
        k = _kink(t, grid)
        u = k + cosines(w)
        return cosines(5 * u - 5 * u**3 + 10 * k)

    root = np.linspace(0, 1, resolution // 2 + 1)  # √t, because at first changes are proportional to it
    w = cosines(grid**2 * np.cos(np.pi * grid) - _kink(0.0, grid))
    series = [w]
    for now, step in zip(root**2, np.diff(root**2), strict=False):
        half = np.exp(-decay * step / 2)
        a = reaction(now, w)
        b = reaction(now + step / 2, half * (w + step / 2 * a))
        c = reaction(now + step / 2, half * w + step / 2 * b)
        d = reaction(now + step, half * (half * w + step * c))
        w = half * (half * (w + step / 6 * a) + step / 3 * (b + c)) + step / 6 * d
        series.append(w)
    table = scipy.interpolate.RectBivariateSpline(root, grid, cosines(np.stack(series)), kx=5, ky=5)
    x = np.abs((x + 1) % 2 - 1)
    return table.ev(np.sqrt(t), x) + _kink(t, x)


def _kink(t: float | ndarray, x: ndarray) -> ndarray:
    """k for 0 ≤ x ≤ 1; at t = 0 it is 2y - y² with the distance y from the kink, where its slope jumps from -2 to 2."""
    import scipy.special

    y, width = 1 - x, np.sqrt(4 * DIFFUSIVITY * t) + 1e-30
    spread = width / np.sqrt(np.pi) * np.exp(-((y / width) ** 2)) + y * scipy.special.erf(y / width)  # of |y|
    return np.exp(-10 * t) * (2 * spread - y**2 - 2 * DIFFUSIVITY * t)


def gray_scott(points: Float[ndarray, "n 2"]) -> Float64[ndarray, "n 2"]:
    """Concentrations of a substrate u and an activator v that lives on it, by Gray and Scott 1984, at points `(t, x)`.

    u_t = 0.2·u_xx + 40·(1 - u) - 1000·u·v²,    v_t = 0.1·v_xx - 100·v + 1000·u·v²    for 0 ≤ t ≤ 1/2,

    with period 2 in x, from u = 1 - w(x + 0.05) and v = w(x - 0.05). One pulse of v becomes two, which move apart. w is
    the sum of exp(-10·x²) and its images: a function that is smooth with the period. The constants are those of the
    benchmark in two dimensions of Wang et al. 2024, PirateNets. The method is `evolve` with 96 waves and 8,000
    steps; the error is below 1e-9. It takes three seconds, once in a process.

    Args:
        points: `(t, x)`.

    Raises:
        InputError: a time is outside [0, 1/2].

    >>> gray_scott(np.array([[0.0, 0.05]])).round(4).tolist()  # 1 - exp(-0.1) and 1
    [[0.0952, 1.0]]
    """
    return _gray_scott()(np.asarray(points, np.float64))


@functools.cache
def _gray_scott(*, grid: int = 192, steps: int = 4000, saved: int = 4000) -> Evolution:
    x = 2 * np.arange(grid) / grid - 1
    pulse = lambda x: sum(np.exp(-10 * (x + image) ** 2) for image in (-2, 0, 2))
    decay = lambda k: np.stack([-0.2 * k**2 - 40, -0.1 * k**2 - 100])

    def reaction(modes: ndarray, k: ndarray) -> ndarray:
        u, v = np.fft.irfft(modes, grid)
        eaten = 1000 * np.fft.rfft(u * v**2)
        change = np.stack([-eaten, eaten])
        change[0, 0] += 40 * grid
        return change

    start = np.stack([1 - pulse(x + 0.05), pulse(x - 0.05)])
    return evolve(start, decay, reaction, length=2.0, stop=0.5, steps=steps, saved=saved)
