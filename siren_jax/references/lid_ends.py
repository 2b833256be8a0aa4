"""The flow at the two ends of a cavity's sliding lid, where the velocity jumps.

At the distance r and the angle θ from an end, ψ = Σ Re^n·r^(n+1)·f_n(θ). f_0 is Taylor's flow of 1962 without inertia;
the next terms are its effects. They satisfy the conditions at the lid and at the wall.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.polynomial import Chebyshev

from siren_jax.references.plate import at_points, clamped_polynomials, inner_points

TERMS = 3  # more of them grow too fast away from the ends
TINY = 1e-12  # least distance from an end


class Near(NamedTuple):
    """Leading terms of the flow at the ends of the lid, at points, with derivatives along x and y."""

    stream: ndarray
    """ψ."""
    stream_x: ndarray
    stream_y: ndarray
    laplacian: ndarray
    laplacian_x: ndarray
    laplacian_y: ndarray
    bilaplacian: ndarray
    head: ndarray
    """B = p + |v|²/2."""
    head_x: ndarray
    head_y: ndarray


def near_the_lid(x: Float[ndarray, "..."], y: Float[ndarray, "..."], reynolds: int | float) -> Near:
    """The sum of the terms of both ends, at points of the unit square."""
    left, right = _near_an_end(x, y, reynolds), _near_an_end(1 - x, y, -reynolds)
    mirrored = right._replace(stream_x=-right.stream_x, laplacian_x=-right.laplacian_x, head_x=-right.head_x)
    return Near._make(one + other for one, other in zip(left, mirrored, strict=True))


def _near_an_end(x: ndarray, y: ndarray, reynolds: int | float) -> Near:
    """The terms of the left end; with -Re, those of the right end, from which x then counts."""
    r, angle = np.maximum(np.hypot(x, 1 - y), TINY), np.arctan2(1 - y, x)
    cos, sin = np.cos(angle), np.sin(angle)

    def term(power: int, profile: Chebyshev) -> ndarray:
        """r^power·profile(θ) and its derivatives along x and y."""
        value, across = profile(angle), profile.deriv()(angle)
        slope = r ** (power - 1.0) * np.stack([power * value * cos - across * sin, -power * value * sin - across * cos])
        return np.stack([r ** float(power) * value, *slope])

    stream, laplacian, head = (np.zeros((3, *r.shape)) for _ in range(3))
    bilaplacian = np.zeros(r.shape)
    terms, kappa = _terms()
    for n, each in enumerate(terms):
        stream += reynolds**n * term(n + 1, each.stream)
        laplacian += reynolds**n * term(n - 1, each.laplacian)
        bilaplacian += reynolds**n * r ** (n - 3.0) * each.bilaplacian(angle)
        head += reynolds ** (n - 1) * term(n - 1, each.head)
    head += kappa * np.stack([np.log(r), cos / r, -sin / r])
    return Near._make([*stream, *laplacian, bilaplacian, *head])


class _Term(NamedTuple):
    """Functions of the angle θ below the lid, 0 to π/2, that belong to one power of Re and r."""

    stream: Chebyshev
    """f_n of ψ = Σ Re^n·r^(n+1)·f_n."""
    laplacian: Chebyshev
    """q_n of Δψ = Σ Re^n·r^(n-1)·q_n."""
    bilaplacian: Chebyshev
    """F_n of Δ²ψ = Σ Re^n·r^(n-3)·F_n."""
    head: Chebyshev
    """b_n of B = κ·log r + Σ Re^(n-1)·r^(n-1)·b_n."""


@functools.cache
def _terms() -> tuple[list[_Term], float]:
    """The terms, and κ.

    In polar coordinates with θ downwards from the lid, the equation is r·Δ²ψ = Re·(∂ψ/∂r·∂/∂θ - ∂ψ/∂θ·∂/∂r) Δψ, so

        F_n = Σ_j (j + 1)·f_j·q_i' - (i - 1)·f_j'·q_i    with i = n - 1 - j,
        F_n = f_n⁽⁴⁾ + ((n - 1)² + (n + 1)²)·f_n'' + (n² - 1)²·f_n,    q_n = f_n'' + (n + 1)²·f_n.

    At both walls f_n and f_n' are zero, except for f_0' = -1 at the lid. The momentum equation along r makes B.
    """
    ends, scale = [0, np.pi / 2], 4 / np.pi
    smooth = lambda function: Chebyshev.interpolate(function, 15, domain=ends)
    c = 1 / (np.pi**2 / 4 - 1)
    f = smooth(lambda t: c * t * np.cos(t) - (1 + c) * np.sin(t) + c * np.pi / 2 * t * np.sin(t))
    q = smooth(lambda t: c * np.pi * np.cos(t) - 2 * c * np.sin(t))
    terms, kappa = [_Term(f, q, 0 * f, q.deriv())], 0.0
    basis, inner = clamped_polynomials(20), inner_points(20)
    value, second, fourth = (scale**order * at_points(basis, inner, order) for order in (0, 2, 4))
    for n in range(1, TERMS):
        forcing = radial = Chebyshev([0.0], domain=ends)
        for j, (one, other) in enumerate(zip(terms, reversed(terms), strict=True)):
            f, q = one.stream, other.laplacian
            forcing = forcing + (j + 1) * f * q.deriv() - (n - 2 - j) * f.deriv() * q
            radial = radial + (j + 1) * f * q
        system = fourth + ((n - 1) ** 2 + (n + 1) ** 2) * second + (n**2 - 1) ** 2 * value
        f = Chebyshev(np.linalg.solve(system, forcing((inner + 1) / scale)) @ basis, domain=ends)
        q = f.deriv(2) + (n + 1) ** 2 * f
        radial = radial - q.deriv()  # of ∂B/∂r = Re^(n-1)·r^(n-2)·radial
        if n == 1:
            kappa, b = float(radial(np.pi / 4)), (terms[0].laplacian * terms[0].stream.deriv()).integ(lbnd=0)
        else:
            b = radial / (n - 1)
        terms.append(_Term(f, q, forcing, b))
    return terms, kappa
