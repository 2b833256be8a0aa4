"""Helmholtz's equation Δu + k²m·u = -f: in the whole plane, and in a square with an absorbing layer inside its rim.

The time dependence is exp(-iωt): outgoing waves are exp(ikr), and the layer has e = 1 + iσ. Sitzmann et al. 2020 write
e = 1 - iσ for exp(+iωt); their u and e are the complex conjugates of those here.
"""

import numpy as np
from jaxtyping import Complex128, Float, Num
from numpy import ndarray


def free_space(
    points: Float[ndarray, "n 2"], *, wavenumber: float, variance: float, source: tuple[float, float] = (0.0, 0.0)
) -> Complex128[ndarray, "n"]:
    """Outgoing wave of a Gaussian source in the whole plane, at points `(y, x)`.

    Δu + k²u = -f with f = exp(-r²/2s²)/(2πs²) at the distance r from the source. With Hankel's H₀ = J₀ + iY₀, the
    exponential integrals E_n and a = k²s²/2,

        u(r) = e^-a·(i/4·H₀(kr) - 1/4π·Σ_n aⁿ/n!·E_{n+1}(r²/2s²)),    n = 0, 1, …

    Proof: f is the heat kernel G_τ = exp(-r²/4τ)/(4πτ) at the age τ = s²/2, and i/4·H₀(kr) is ∫_0^∞ exp(k²τ)·G_τ dτ,
    continued from k² < 0. Ages add in a convolution: u = e^-a·∫_{s²/2}^∞ exp(k²τ)·G_τ dτ. The sum is the integral over
    the younger ages, which is below rounding from r = 8s on.

    Args:
        points: `(y, x)`.
        wavenumber: k.
        variance: s².
        source: centre of the source.

    >>> u = free_space(np.zeros((1, 2)), wavenumber=2.0, variance=0.5)  # of the imaginary part, e^-a/4·J₀(0) is left
    >>> u.imag.round(6).item(), round(np.exp(-1) / 4, 6).item()
    (0.09197, 0.09197)
    """
    import scipy.special

    a = wavenumber**2 * variance / 2
    r = np.linalg.norm(np.asarray(points, np.float64) - source, axis=1)
    r = np.maximum(r, 1e-8 * variance**0.5)  # at zero two infinities cancel; to rounding, u is constant up to here
    young, weight = np.zeros_like(r), np.exp(-a)
    for n in range(int(2 * a) + 30):  # the weights are Poisson's; those left out sum to less than 1e-15
        young += weight * scipy.special.expn(n + 1, r**2 / (2 * variance))
        weight *= a / (n + 1)
    return 0.25j * np.exp(-a) * scipy.special.hankel1(0, wavenumber * r) - young / (4 * np.pi)


def absorbing_layer(
    points: Float[ndarray, "n d"], *, half_width: float = 1.0, layer_width: float = 0.5, strength: float = 5.0
) -> Complex128[ndarray, "n d"]:
    """Coefficients of a perfectly matched layer inside the rim of a square or cube about the origin.

    e_i = 1 + i·a0·(l_i/L)², where l_i is the depth of coordinate i in the layer. If e_i·dx_i replaces dx_i in
    Helmholtz's equation, a plane wave of wavenumber k that enters at a right angle decays by exp(-k·a0·L/3) on its way
    to the rim, and the layer itself reflects nothing. Sitzmann et al. 2020, supplement, conjugated.

    Args:
        points: points in the square.
        half_width: half the side of the square, including the layer.
        layer_width: L.
        strength: a0.

    >>> absorbing_layer(np.array([[0.5, -0.75]])).tolist()
    [[(1+0j), (1+1.25j)]]
    """
    depth = np.maximum(np.abs(np.asarray(points, np.float64)) - (half_width - layer_width), 0)
    return 1 + 1j * strength * (depth / layer_width) ** 2


def solve_helmholtz(
    slowness_squared: Float[ndarray, "n n"],
    source: Num[ndarray, "*several n n"],
    *,
    wavenumber: float,
    half_width: float = 1.0,
    layer_width: float = 0.5,
    strength: float = 5.0,
) -> Complex128[ndarray, "*several n n"]:
    """Outgoing wave in a square whose rim absorbs, on the grid `np.linspace(-half_width, half_width, n)` squared.

    ∂₁(e₂/e₁·∂₁u) + ∂₂(e₁/e₂·∂₂u) + e₁e₂k²m·u = -f, and u = 0 on the rim, with e of `absorbing_layer`: Helmholtz's
    equation outside of the layer. Compact differences and a sparse direct solve; the error falls with the fourth power
    of the spacing where m and f are smooth and resolved. `scipy.interpolate.RegularGridInterpolator` interpolates
    the result. With one BLAS thread, 257² points take a second, and 513² five seconds and 1 GB; several threads may be
    slower, because the products are small.

    A narrow source needs a fine grid. If m = 1 around it and in the layer, u outside of the layer is the sum of v from
    `free_space` and a smooth w with the source k²(m - 1)·v.

    Args:
        slowness_squared: m, at the grid's points.
        source: f, at the grid's points; several right-hand sides cost little more than one.
        wavenumber: k, where m = 1.
        half_width: half the side of the square, including the layer.
        layer_width: width of the layer, less than `half_width`.
        strength: a0 of the layer.
    """
    import scipy.sparse.linalg

    n, kron = len(slowness_squared), scipy.sparse.kron
    axis = np.linspace(-half_width, half_width, n)
    depth = np.maximum(np.abs(axis) - (half_width - layer_width), 0)
    # In the coordinate z = ∫e dx the equation is plain Helmholtz in the layer too, and u as smooth as outside.
    second, mean = _compact_differences(axis + 1j * strength * np.sign(axis) * depth**3 / (3 * layer_width**2))
    inner_second, inner_mean = second[:, 1:-1], mean[:, 1:-1]
    inner_slowness = scipy.sparse.diags_array(slowness_squared[1:-1, 1:-1].ravel())
    system = kron(inner_second, inner_mean) + kron(inner_mean, inner_second)
    system += wavenumber**2 * kron(inner_mean, inner_mean) @ inner_slowness
    e = absorbing_layer(axis[:, None], half_width=half_width, layer_width=layer_width, strength=strength)
    right = -kron(mean, mean) @ (source / (e * e.T)).reshape(-1, n * n).T
    field = np.zeros(source.shape, np.complex128)
    solved = scipy.sparse.linalg.splu(system.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.01).solve(right)
    field[..., 1:-1, 1:-1] = solved.T.reshape(*source.shape[:-2], n - 2, n - 2)
    return field


def _compact_differences(z: Complex128[ndarray, "n"]):
    """Sparse matrices A and B, (n - 2, n), with Au = Bu'' for polynomials in z up to the fourth degree."""
    import scipy.sparse

    left, right = np.diff(z)[:-1], np.diff(z)[1:]
    both, product = left + right, left * right
    second = [2 / (left * both), -2 / product, 2 / (right * both)]
    mean = [
        (left**2 + product - right**2) / (6 * left * both),
        (left**2 + 3 * product + right**2) / (6 * product),
        (right**2 + product - left**2) / (6 * right * both),
    ]
    shape = len(left), len(z)
    return [
        scipy.sparse.diags_array(bands, offsets=[0, 1, 2], shape=shape).tocsr()  # pyright: ignore[reportArgumentType]
        for bands in (second, mean)
    ]
