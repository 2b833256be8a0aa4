"""Heat conduction in two materials that touch, by the method of images."""

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray


def spot_in_two_materials(
    points: Float[ndarray, "n 2"],
    *,
    conductivities: tuple[int | float, int | float] = (1.0, 4.0),
    distance: int | float = 1.0,
    variance: float = 1 / 64,
) -> Float64[ndarray, "n 2"]:
    """Temperatures of two materials, of which one has a warm spot, at points `(y, s)` on either side of the interface.

    ∇·(k∇u) = -f in the plane, with k = k₁ for x < 0 and k₂ for x > 0, and a Gaussian f of the integral 1 in the first
    material. u and k·∂u/∂x are continuous at the interface x = 0. With the temperature φ(r) of a Gaussian source in the
    whole plane, φ = -(ln r² + E₁(r²/2s²))/4π, the distances r from the source and r' from its mirror image,

        u₁ = (φ(r) + (k₁ - k₂)/(k₁ + k₂)·φ(r'))/k₁ at x = -s,    u₂ = 2/(k₁ + k₂)·φ(r) at x = s.

    This needs a spot within the first material: the error is the source at the interface, exp(-distance²/2s²) of its
    peak, 1e-14 by default.

    Args:
        points: `(y, s)` with the distance s ≥ 0 from the interface.
        conductivities: k₁ and k₂.
        distance: of the source from the interface; the source is at y = 0.
        variance: s² of the source.

    >>> u = spot_in_two_materials(np.array([[0.3, 0.0]]))  # at the interface
    >>> round(float(u[0, 0] - u[0, 1]), 12)
    0.0
    """
    y, s = np.asarray(points, np.float64).T
    one, other = conductivities
    near, far = _whole_plane(np.hypot(y, s - distance), variance), _whole_plane(np.hypot(y, s + distance), variance)
    return np.stack([(near + (one - other) / (one + other) * far) / one, 2 / (one + other) * far], axis=1)


def _whole_plane(r: Float64[ndarray, "n"], variance: float) -> Float64[ndarray, "n"]:
    """φ, with -Δφ = exp(-r²/2s²)/(2πs²)."""
    import scipy.special

    square = np.maximum(r**2, 1e-16 * variance)  # at zero two infinities cancel; to rounding, φ is constant up to here
    return -(np.log(square) + scipy.special.exp1(square / (2 * variance))) / (4 * np.pi)
