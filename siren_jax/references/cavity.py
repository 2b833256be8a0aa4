"""The lid-driven cavity: the flow in a square whose lid slides, by a stream function."""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray
from numpy.polynomial import chebyshev

from siren_jax.errors import InputError
from siren_jax.references.lid_ends import near_the_lid
from siren_jax.references.plate import at_points, clamped_polynomials, inner_points, on_points

LONGEST = 300.0  # step in the Reynolds number from a flow to the next one, for which it is the first guess
SLOW = 1e-9  # Reynolds number of the first flow, for which the equation is linear
COARSE = 32  # resolution of first guesses


def lid_driven_cavity(
    points: Float[ndarray, "n 2"], *, reynolds: int | float = 100.0, resolution: int = 48
) -> Float64[ndarray, "n 3"]:
    """Velocity along both coordinates, and pressure, in a square cavity whose lid slides, at points `(y, x)`.

    (v·∇)v = -∇p + Δv/Re and ∇·v = 0 in the unit square. The velocity is 1 along x at the lid y = 1, and zero at the
    other sides. The pressure is zero at the centre. The stream function with v_x = ∂ψ/∂y, v_y = -∂ψ/∂x satisfies

        Δ²ψ = Re·(∂ψ/∂y·∂/∂x - ∂ψ/∂x·∂/∂y) Δψ.

    The velocity jumps at both ends of the lid. As in Botella and Peyret 1998, leading terms of the flow there are
    subtracted, see `lid_ends`. What remains is a polynomial; its coefficients are found by collocation and Newton's
    method.

    Args:
        points: `(y, x)`. At the two ends of the lid the velocity is undefined, and the pressure infinite.
        reynolds: Re.
        resolution: number of polynomials along each axis. At more than 0.1 from the ends, the velocity has an error of
            about 1e-6 with Re = 100 and 48 polynomials, 1e-5 with 400 and 56, 1e-4 with 1000 and 72, and the pressure
            one of 2e-5, 5e-5 and 2e-4. This takes 1 s, 3 s and 7 s of one core.

    Raises:
        InputError: Newton's method does not converge, because Re is too large for the resolution.

    >>> lid_driven_cavity(np.array([[0.0, 0.3], [1.0, 0.3]]), resolution=12)[:, 1].round(6).tolist()  # rest and lid
    [0.0, 1.0]
    """
    flow, rows = _flow(float(reynolds), resolution), np.asarray(points, np.float64)
    y, x = np.append(rows, [[0.5, 0.5]], axis=0).T
    near, square = near_the_lid(x, y, reynolds), np.stack([2 * x - 1, 2 * y - 1], axis=1)
    v_x = near.stream_y + 2 * on_points(chebyshev.chebder(flow.stream, axis=1), square)
    v_y = -near.stream_x - 2 * on_points(chebyshev.chebder(flow.stream, axis=0), square)
    pressure = near.head + on_points(flow.head, square) - (v_x**2 + v_y**2) / 2
    return np.stack([v_y, v_x, pressure - pressure[-1]], axis=1)[:-1]


class _Flow(NamedTuple):
    """Chebyshev coefficients in x and y of what remains without the ends of the lid."""

    stream: Float64[ndarray, "m m"]
    """ψ."""
    head: Float64[ndarray, "k k"]
    """p + |v|²/2."""


@functools.cache
def _flow(reynolds: float, resolution: int) -> _Flow:
    coarse = min(resolution, COARSE)
    stages = [(number, coarse) for number in (SLOW, *np.arange(LONGEST, reynolds, LONGEST), reynolds)]
    stream, before = np.zeros((1, 1)), SLOW
    for number, size in [*stages, *[(reynolds, resolution)] * (resolution > coarse)]:
        stream, before = _stream(number, size, stream, before), number
    return _Flow(stream, _head(stream, reynolds))


def _stream(reynolds: float, resolution: int, first: ndarray, first_reynolds: float) -> Float64[ndarray, "m m"]:
    """Coefficients of the rest of ψ, by Newton's method from those of another flow."""
    import scipy.linalg

    basis, inner = clamped_polynomials(resolution), inner_points(resolution)
    operators = np.stack([2**order * at_points(basis, inner, order) for order in range(5)])
    value, (x, y) = operators[0], _grid(inner)
    near, rim = near_the_lid(x, y, reynolds), _rim(reynolds, resolution + 4)
    guess = near_the_lid(x, y, first_reynolds).stream + _at(first, inner) - near.stream - _at(rim, inner)
    c = np.linalg.solve(value, np.linalg.solve(value, guess).T).T
    factors, size = None, np.inf
    for _ in range(40):
        d = functools.partial(_at, rim + basis.T @ c @ basis, inner)
        psi_x, psi_y = near.stream_x + d(1, 0), near.stream_y + d(0, 1)
        q_x, q_y = near.laplacian_x + d(3, 0) + d(1, 2), near.laplacian_y + d(2, 1) + d(0, 3)
        friction = near.bilaplacian + d(4, 0) + 2 * d(2, 2) + d(0, 4)
        residual = friction / reynolds - psi_y * q_x + psi_x * q_y
        if factors is None:
            factors = scipy.linalg.lu_factor(_slope(operators, psi_x, psi_y, q_x, q_y, reynolds), overwrite_a=True)
        step = scipy.linalg.lu_solve(factors, residual.ravel()).reshape(c.shape)
        c, before, size = c - step, size, float(np.max(np.abs(step)))
        if size < 1e-9:
            return rim + basis.T @ c @ basis
        if size > before / 10:
            factors = None  # a factorization costs as much as hundreds of steps
    raise InputError(
        f"Newton's method finds no flow at Re = {reynolds:g} with resolution={resolution}; "
        "give a lower reynolds= or a higher resolution=."
    )


def _slope(
    operators: ndarray, psi_x: ndarray, psi_y: ndarray, q_x: ndarray, q_y: ndarray, reynolds: float
) -> Float64[ndarray, "mm mm"]:
    """Derivative of the residual with respect to the coefficients, at all points."""
    m = len(psi_x)
    zeroth, first, second, third, fourth = operators[:, :, None]
    psi_x, psi_y, q_x, q_y = (each[:, :, None] for each in (psi_x, psi_y, q_x, q_y))
    along_x = np.stack(  # the factors of the derivatives along y, from the zeroth to the fourth
        [
            fourth / reynolds - psi_y * third + q_y * first,
            psi_x * second - q_x * zeroth,
            2 * second / reynolds - psi_y * first,
            psi_x * zeroth,
            np.broadcast_to(zeroth / reynolds, (m, m, m)),
        ]
    )
    slope = np.empty((m, m, m * m))
    for j in range(m):
        slope[:, j] = (along_x[:, :, j].reshape(5, m * m).T @ operators[:, j]).reshape(m, m * m)
    return slope.reshape(m * m, m * m)


def _head(stream: ndarray, reynolds: float) -> Float64[ndarray, "m m"]:
    """Coefficients of the rest of the head B = p + |v|²/2: ∇B = Δψ·∇ψ + (∂/∂y, -∂/∂x) Δψ/Re.

    B is the mean of integrals along two paths from the centre.
    """
    count = len(stream)
    inner = chebyshev.chebpts1(count)
    near, d = near_the_lid(*_grid(inner), reynolds), functools.partial(_at, stream, inner)
    q = near.laplacian + d(2, 0) + d(0, 2)
    q_x, q_y = near.laplacian_x + d(3, 0) + d(1, 2), near.laplacian_y + d(2, 1) + d(0, 3)
    along_x = q * (near.stream_x + d(1, 0)) + q_y / reynolds - near.head_x
    along_y = q * (near.stream_y + d(0, 1)) - q_x / reynolds - near.head_y
    table = _coefficients(count)
    by_x = np.pad(chebyshev.chebint(table @ along_x @ table.T / 2, lbnd=0, axis=0), [(0, 0), (0, 1)])
    by_y = np.pad(chebyshev.chebint(table @ along_y @ table.T / 2, lbnd=0, axis=1), [(0, 1), (0, 0)])
    middle = chebyshev.chebvander(np.zeros(1), count)[0]
    head = (by_x + by_y) / 2
    head[:, 0] += by_x @ middle / 2
    head[0] += middle @ by_y / 2
    return head


def _rim(reynolds: float, count: int) -> Float64[ndarray, "m m"]:
    """Coefficients of a polynomial with the values and slopes of the rest of ψ at the rim: a Coons patch."""
    ends = np.concatenate([at_points(np.eye(count), np.array([end]), order) for end in (-1.0, 1.0) for order in (0, 1)])
    cubics = np.pad(np.linalg.inv(ends[:, :4]).T, [(0, 0), (0, count - 4)])  # each has one of the values at the ends

    def wall(x: float | None, y: float | None, slope: bool) -> ndarray:
        def rest(s: ndarray) -> ndarray:
            along = (1 + s) / 2
            near = near_the_lid(along if x is None else 0 * s + x, along if y is None else 0 * s + y, reynolds)
            if not slope:
                return -near.stream
            return -near.stream_x / 2 if y is None else ((y == 1) - near.stream_y) / 2

        return _coefficients(count) @ rest(chebyshev.chebpts1(count))

    sides = [(end, slope) for end in (0.0, 1.0) for slope in (False, True)]
    across_x = np.stack([wall(end, None, slope) for end, slope in sides])
    across_y = np.stack([wall(None, end, slope) for end, slope in sides])
    return cubics.T @ across_x + across_y.T @ cubics - cubics.T @ (across_x @ ends.T) @ cubics


def _coefficients(count: int) -> Float64[ndarray, "m m"]:
    """The matrix from values at `chebpts1` to coefficients."""
    return np.linalg.inv(chebyshev.chebvander(chebyshev.chebpts1(count), count - 1))


def _grid(inner: ndarray) -> tuple[ndarray, ndarray]:
    """x and y of all pairs of points in (-1, 1), moved to (0, 1)."""
    x, y = np.meshgrid((1 + inner) / 2, (1 + inner) / 2, indexing="ij")
    return x, y


def _at(series: ndarray, inner: ndarray, order_x: int = 0, order_y: int = 0) -> ndarray:
    """A derivative along x and y of a polynomial at all pairs of points."""
    one, other = (at_points(np.eye(len(series)), inner, order) for order in (order_x, order_y))
    return 2 ** (order_x + order_y) * one @ series @ other.T
