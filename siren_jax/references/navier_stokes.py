"""Kovasznay's flow: a closed form of the stationary Navier-Stokes equations."""

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray


def kovasznay(points: Float[ndarray, "n 2"], *, reynolds: float = 40.0) -> Float64[ndarray, "n 3"]:
    """Velocity along both coordinates, and pressure, of the flow behind a row of obstacles, at points `(y, x)`.

    (v·∇)v = -∇p + Δv/Re and ∇·v = 0 are solved by

        v_y = λ/2π·exp(λx)·sin 2πy,    v_x = 1 - exp(λx)·cos 2πy,    p = (1 - exp(2λx))/2,

    with λ = Re/2 - √(Re²/4 + 4π²) < 0. The flow is along the second coordinate, and far away it has the velocity 1 and
    the pressure 1/2. The distance of obstacles is 1. Kovasznay 1948.

    Args:
        points: `(y, x)`.
        reynolds: Re.

    >>> kovasznay(np.array([[0.0, 0.0], [0.5, 0.0]]))[:, 1:].tolist()  # at rest behind an obstacle, fast between two
    [[0.0, 0.0], [2.0, 0.0]]
    """
    y, x = np.asarray(points, np.float64).T
    rate = reynolds / 2 - np.sqrt(reynolds**2 / 4 + 4 * np.pi**2)
    decay = np.exp(rate * x)
    across = rate / (2 * np.pi) * decay * np.sin(2 * np.pi * y)
    along = 1 - decay * np.cos(2 * np.pi * y)
    return np.stack([across, along, (1 - decay**2) / 2], axis=1)
