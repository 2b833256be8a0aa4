"""The wave equation u_tt = c²Δu: a pulse in the whole plane, and any initial field on a grid with zero at its rim."""

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray

from siren_jax.errors import InputError


def gaussian_pulse_in_the_plane(
    points: Float[ndarray, "n 3"], *, variance: float, source: tuple[float, float] = (0.0, 0.0), speed: float = 1.0
) -> Float64[ndarray, "n"]:
    """Wave that a Gaussian pulse at rest sends into the whole plane, at points `(t, y, x)`.

    u_tt = c²Δu, u(0) = exp(-r²/2s²), u_t(0) = 0. The solution is the mean of one plane wave over all directions,

        u(t, r) = 1/π·∫_0^π g(ct + r·cos θ) dθ,    g(η) = s²·∫_0^∞ exp(-s²κ²/2)·cos(κη)·κ dκ = 1 - 2z·D(z),

    with z = η/√(2s²) and Dawson's integral D. A mean over N angles lacks only waves with κr > 2N. N grows with
    the largest r/s, so that these are less than 1e-15 of u.

    Args:
        points: `(t, y, x)`.
        variance: s².
        source: centre `(y, x)` of the pulse, whose height is 1.
        speed: c.

    >>> gaussian_pulse_in_the_plane(np.array([[0.0, 0, 0], [0, 1, 0]]), variance=0.5).round(6).tolist()
    [1.0, 0.367879]
    """
    import scipy.special

    points, width = np.asarray(points, np.float64), np.sqrt(2 * variance)
    way, distance = speed * points[:, 0] / width, np.linalg.norm(points[:, 1:] - source, axis=1) / width
    count = 30 + int(7 * distance.max())  # exp(-s²κ²/2) is 1e-21 where κr = 14·distance
    u = np.zeros(len(points))
    for angle in np.pi * (np.arange(count) + 0.5) / count:
        z = way + distance * np.cos(angle)
        u += (1 - 2 * z * scipy.special.dawsn(z)) / count
    return u


def leapfrog(
    initial: Float[ndarray, "*shape"],
    speed: float | Float[ndarray, "*shape"],
    times: Float[ndarray, "k"],
    *,
    spacing: float,
    step: float,
) -> Float64[ndarray, "k *shape"]:
    """Wave from an initial field at rest, on a grid whose outermost points are zero, at the given times.

    u(t + τ) = 2u(t) - u(t - τ) + (τ²A + τ⁴A²/12)·u(t) with A = c²Δ in differences of the fourth order. As u_tttt = A²u,
    the error falls with the fourth power of spacing and step if speed and initial field are smooth, not with the second
    as in plain leapfrog (Dablain 1986).

    Args:
        initial: u(0) on a grid of any dimension; values at the outermost points are not read.
        speed: c, everywhere or at each point.
        times: multiples of `step`.
        spacing: spacing of the grid along every axis.
        step: τ, at most 1.5·spacing / (c·√d) in d dimensions.

    Raises:
        InputError: the step is so long that waves would grow, or times are not multiples of it.

    >>> u = leapfrog(np.array([0.0, 1, 0]), 1.0, np.array([0.6]), spacing=1.0, step=0.6)
    >>> u.round(3).tolist()  # A = -7/3 at the only free point: 1 - 0.84/2 + 0.84²/24, nearly cos √0.84 = 0.608
    [[0.0, 0.609, 0.0]]
    """
    fastest = float(np.max(speed))
    longest = 1.5 * spacing / (fastest * np.sqrt(initial.ndim))  # from τ²|A| ≤ 12 and |A| ≤ 16/3·d·(c/spacing)²
    if step > longest:
        raise InputError(
            f"with the step {step:g}, waves of the speed {fastest:g} would grow on points {spacing:g} apart; "
            f"the longest step is {longest:.4g}."
        )
    number = np.round(times / step).astype(int)
    if not np.allclose(number * step, times, rtol=1e-9, atol=0) or np.any(number < 0):
        raise InputError(f"times must be multiples of the step {step:g}, but they are {times}.")
    squared = (step * np.asarray(speed, np.float64) / spacing) ** 2

    def change(u: ndarray) -> ndarray:
        once = squared * _laplacian(u)
        return once + squared * _laplacian(once) / 12

    fields = np.zeros((len(times), *initial.shape))
    u = np.pad(np.asarray(initial, np.float64)[(slice(1, -1),) * initial.ndim], 1)
    before = u + change(u) / 2  # u(-τ) = u(τ)
    for n in range(number.max() + 1):
        fields[number == n] = u
        before, u = u, 2 * u - before + change(u)
    return fields


def _laplacian(u: ndarray) -> ndarray:
    """Laplacian times spacing². Zero at the outermost points, beyond which u continues as an odd function."""
    total = np.zeros_like(u)
    for axis in range(u.ndim):
        along = _second_difference(u, axis)
        total += along - _second_difference(along, axis) / 12
    return total


def _second_difference(u: ndarray, axis: int) -> ndarray:
    return np.pad(np.diff(u, n=2, axis=axis), [(int(i == axis),) * 2 for i in range(u.ndim)])
