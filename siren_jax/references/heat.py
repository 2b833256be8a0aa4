"""Heat in a cube or a square whose rim is at zero: a closed form."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray


def cooling(
    points: Float[ndarray, "n d"], *, amplitudes: Mapping[tuple[int, ...], float], diffusivity: float
) -> Float64[ndarray, "n"]:
    """Temperature in [0, 1]^d with a rim at zero, at points `(t, x_1, …, x_d)`.

    u_t = κΔu is solved by u(t, x) = Σ_m a_m·exp(-κπ²|m|²·t)·Π_i sin(π·m_i·x_i).

    Args:
        points: `(t, x_1, …)`.
        amplitudes: a_m for each vector m of d integers.
        diffusivity: κ.

    >>> halved = np.log(2) / np.pi**2
    >>> cooling(np.array([[0.0, 0.5], [halved, 0.5]]), amplitudes={(1,): 1.0}, diffusivity=1.0).round(6).tolist()
    [1.0, 0.5]
    """
    t, x = np.asarray(points, np.float64)[:, 0], np.asarray(points, np.float64)[:, 1:]
    u = np.zeros(len(t))
    for m, amplitude in amplitudes.items():
        decay = np.exp(-diffusivity * np.pi**2 * np.sum(np.square(m)) * t)
        u += amplitude * decay * np.prod(np.sin(np.pi * np.array(m) * x), axis=1)
    return u
