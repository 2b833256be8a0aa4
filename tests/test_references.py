"""References: closed forms satisfy their equations, schemes have their order, and both agree."""

import numpy as np
import pytest
import scipy.integrate
import scipy.special

from siren_jax.references import (
    absorbing_layer,
    allen_cahn,
    burgers,
    free_space,
    gaussian_pulse_in_the_plane,
    kovasznay,
    leapfrog,
    solve_helmholtz,
)

DIFFERENCES = {1: np.array([-1, 9, -45, 0, 45, -9, 1]) / 60, 2: np.array([2, -27, 270, -490, 270, -27, 2]) / 180}


def uniform(low, high, n=100):
    return np.random.default_rng(5).uniform(low, high, (n, len(low)))


def derivative(function, points, axis, order, h):
    """By central differences of the sixth order."""
    steps = h * np.arange(-3, 4)[:, None, None] * np.eye(points.shape[1])[axis]
    values = function((points + steps).reshape(-1, points.shape[1]))
    return np.tensordot(DIFFERENCES[order] / h**order, values.reshape(7, len(points), *values.shape[1:]), axes=1)


def laplacian(function, points, axes, h):
    return sum(derivative(function, points, axis, 2, h) for axis in axes)


def grid(n, half_width=1.0):
    return np.stack(np.meshgrid(*[np.linspace(-half_width, half_width, n)] * 2, indexing="ij"), axis=-1)


def gaussian(points, variance, source=(0.0, 0.0)):
    return np.exp(-np.sum((points - source) ** 2, axis=-1) / (2 * variance)) / (2 * np.pi * variance)


def measured_order(errors):
    """Of errors on grids of which each is twice as fine as the one before."""
    return np.log2(errors[:-1] / errors[1:])


# Helmholtz


@pytest.mark.parametrize(("wavenumber", "variance"), [(20.0, 1e-4), (3.0, 0.5), (20.0, 0.04)])
@pytest.mark.parametrize("radius", [0.3, 1.3, 5.0, 20.0])
def test_the_wave_of_a_gaussian_source_is_the_convolution_with_the_point_source(wavenumber, variance, radius):
    s = variance**0.5
    r = radius * s  # by the addition theorem H₀(k|x - y|) becomes, in the mean over circles, J₀(k·less)·H₀(k·greater)

    def integrand(q):
        return q * gaussian(np.array([q, 0.0]), variance) * scipy.special.j0(wavenumber * min(q, r)) * hankel(q)

    def hankel(q):
        return scipy.special.hankel1(0, wavenumber * max(q, r))

    pieces = [(0, min(r, 10 * s)), (min(r, 10 * s), 10 * s)]
    expected = (
        0.5j * np.pi * sum(scipy.integrate.quad(integrand, *p, complex_func=True, epsabs=1e-13)[0] for p in pieces)
    )
    source = (0.2, -0.7)
    found = free_space(np.array([[0.2, -0.7 - r]]), wavenumber=wavenumber, variance=variance, source=source)
    assert abs(found - expected) < 1e-12  # of the quadrature


def test_the_wave_is_finite_at_its_source():
    a = 3.0**2 * 0.1 / 2
    expected = np.exp(-a) * (0.25j - scipy.special.expi(a) / (4 * np.pi))  # the limit of the two infinite parts
    found = free_space(np.array([[0.0, 0.0], [1e-7, 0.0]]), wavenumber=3.0, variance=0.1)
    assert np.max(np.abs(found - expected)) < 1e-13


def test_the_wave_satisfies_its_equation():
    k, variance, points = 20.0, 0.01, uniform([-0.5, -0.5], [0.5, 0.5])
    u = lambda p: free_space(p, wavenumber=k, variance=variance)
    residual = laplacian(u, points, (0, 1), 0.005) + k**2 * u(points) + gaussian(points, variance)
    assert np.max(np.abs(residual)) < 1e-6 * gaussian(np.zeros(2), variance)  # h⁶ / s⁶ = 1.6e-8


def manufactured(n, half_width=1.2, layer_width=0.8, strength=1.5, wavenumber=9.0):
    """A source for which the solution in a medium is exp(-(z₁² + z₂²)/2s²) in the layer's own coordinates dz = e dx."""
    points, variance = grid(n, half_width), 0.04
    setting = dict(half_width=half_width, layer_width=layer_width, strength=strength)
    e = absorbing_layer(points.reshape(-1, 2), **setting).reshape(points.shape)
    depth = np.maximum(np.abs(points) - (half_width - layer_width), 0)
    z = points + 1j * strength * np.sign(points) * depth**3 / (3 * layer_width**2)
    square = np.sum(z**2, axis=-1)
    u = np.exp(-square / (2 * variance))
    medium = 1 + 0.4 * np.sin(3 * points[..., 0] + 1) * np.cos(2 * points[..., 1])
    source = -e.prod(axis=-1) * (square / variance**2 - 2 / variance + wavenumber**2 * medium) * u
    return u, solve_helmholtz(medium, source, wavenumber=wavenumber, **setting)


def test_helmholtz_in_a_medium_is_solved_to_the_fourth_order_in_the_layer_too():
    errors = np.array([np.max(np.abs(np.subtract(*manufactured(n)))) for n in (21, 41, 81)])
    np.testing.assert_allclose(measured_order(errors), 4, atol=0.25)
    assert errors[-1] < 1e-4


def error_inside(n, wavenumber=10.0, variance=0.01, half_width=1.0, layer_width=0.5, strength=5.0):
    """Largest difference from the wave in the whole plane, outside of the layer, relative to its largest value."""
    points = grid(n, half_width)
    setting = dict(half_width=half_width, layer_width=layer_width, strength=strength)
    found = solve_helmholtz(np.ones((n, n)), gaussian(points, variance), wavenumber=wavenumber, **setting)
    expected = free_space(points.reshape(-1, 2), wavenumber=wavenumber, variance=variance).reshape(n, n)
    inside = np.all(np.abs(points) < half_width - layer_width + 1e-9, axis=-1)
    return np.max(np.abs(found - expected)[inside]) / np.max(np.abs(expected))


def test_the_square_with_a_layer_is_the_whole_plane():
    errors = np.array([error_inside(n) for n in (33, 65)])
    np.testing.assert_allclose(measured_order(errors), 4, atol=0.4)  # so what comes back from the layer is less
    assert errors[-1] < 2e-4


def test_the_field_satisfies_the_equation_of_the_layer():
    n, k, variance = 65, 10.0, 0.01
    points, h = grid(n), 2 / (n - 1)
    axis, middle = points[:, :1, 0], points[:-1, :1, 0] + h / 2
    e, between = absorbing_layer(axis), absorbing_layer(middle)  # columns; e of the other coordinate is their transpose
    source = gaussian(points, variance)
    u = solve_helmholtz(np.ones((n, n)), source, wavenumber=k)

    def flux_difference(u):
        return np.diff(e.T / between * np.diff(u, axis=0), axis=0)[:, 1:-1] / h**2

    terms = (e * e.T * k**2 * u)[1:-1, 1:-1]
    residual = np.abs(flux_difference(u) + flux_difference(u.T).T + terms + source[1:-1, 1:-1])
    in_the_layer = np.max(np.abs(points[1:-1, 1:-1]), axis=-1) > 0.6
    # Of the second order: h²/s²/3 = 3 % of the source and, in the layer, (|e|kh)²/12, 3 % of a wave where |e| is 2.
    assert np.max(residual) < 0.04 * np.max(source)
    assert np.max(residual[in_the_layer]) < 0.03 * np.max(np.abs(terms[in_the_layer]))


@pytest.mark.parametrize(("strength", "layer_width"), [(0.5, 0.5), (1.0, 0.5), (2.0, 0.5), (2.0, 0.2), (2.0, 0.35)])
def test_the_layer_reflects_as_much_as_its_closed_form_says(strength, layer_width):
    n, k = round(48 * (0.5 + layer_width)) + 1, 10.0  # 24 points for the length 1
    error = error_inside(n, k, half_width=0.5 + layer_width, layer_width=layer_width, strength=strength)
    reflection = np.exp(-2 * k * strength * layer_width / 3)  # there and back, at a right angle
    # The circular wave spreads on its way: less than the plane one returns, but much of it.
    assert 0.5 * reflection < error < 1.1 * reflection


def test_source_and_receiver_may_be_exchanged():
    n, points = 65, grid(65)
    medium = 1 + 0.5 * (np.sum((points - [0.1, 0.0]) ** 2, axis=-1) < 0.04)
    sources = np.stack([gaussian(points, 0.004, at) for at in ((-0.3, 0.2), (0.4, 0.1))])
    one, other = solve_helmholtz(medium, sources, wavenumber=15.0)
    there, back = np.sum(sources[1] * one), np.sum(sources[0] * other)
    assert abs(there - back) < 2e-4 * abs(there)  # the scheme is symmetric up to its error
    alone = solve_helmholtz(medium, sources[0], wavenumber=15.0)
    np.testing.assert_allclose(one, alone, atol=1e-12 * np.abs(one).max())
    assert (
        abs(there - np.sum(sources[1] * solve_helmholtz(np.ones((n, n)), sources[0], wavenumber=15.0)))
        > abs(there) / 10
    )


def test_a_narrow_source_may_be_split_off():
    k, variance = 10.0, 0.0025

    def both(n):
        points = grid(n)
        medium = 1 + gaussian(points, 0.01, (0.35, 0.0)) / 40  # 1.001 where the source is
        whole = solve_helmholtz(medium, gaussian(points, variance), wavenumber=k)
        free = free_space(points.reshape(-1, 2), wavenumber=k, variance=variance).reshape(n, n)
        return np.stack([whole, free + solve_helmholtz(medium, k**2 * (medium - 1) * free, wavenumber=k)])

    fine = both(65)[:, ::2, ::2]
    inside = np.all(np.abs(grid(33)) <= 0.5, axis=-1)
    coarse_error, split_error = np.max(np.abs(both(33) - fine[1])[:, inside], axis=1)
    assert split_error < coarse_error / 10


# Waves


def test_a_pulse_in_the_plane_satisfies_its_equation_and_its_start():
    variance, speed = 0.01, 1.5
    u = lambda p: gaussian_pulse_in_the_plane(p, variance=variance, source=(0.1, 0.2), speed=speed)
    points = uniform([0, -1, -1], [0.5, 1, 1])
    residual = derivative(u, points, 0, 2, 0.003) - speed**2 * laplacian(u, points, (1, 2), 0.005)
    assert np.max(np.abs(residual)) < 1e-6 * speed**2 / variance  # (0.05 of the width)⁶ = 1.6e-8
    points[:, 0] = 0
    np.testing.assert_allclose(
        u(points), gaussian(points[:, 1:], variance, (0.1, 0.2)) * 2 * np.pi * variance, atol=1e-13
    )
    assert np.max(np.abs(derivative(u, points, 0, 1, 0.003))) < 1e-11  # at rest: even in time


def test_a_pulse_in_the_plane_is_the_hankel_transform_of_its_waves():
    variance = 5e-4
    points = uniform([0, -1, -1], [0.4, 1, 1])
    node, weight = np.polynomial.legendre.leggauss(20)  # on each of 40 pieces: 700 radians at most in all
    k = (np.linspace(0, 390, 40)[:, None] + 5 * (node + 1)).ravel()
    waves = np.cos(k * points[:, :1]) * scipy.special.j0(k * np.linalg.norm(points[:, 1:], axis=1, keepdims=True))
    expected = waves @ (5 * np.tile(weight, 40) * k * variance * np.exp(-variance * k**2 / 2))
    np.testing.assert_allclose(gaussian_pulse_in_the_plane(points, variance=variance), expected, rtol=0, atol=1e-12)


def box(n):
    """Error of an eigenfunction of a square after a few periods."""
    x = np.linspace(0, 1, n)
    mode, omega = np.outer(np.sin(2 * np.pi * x), np.sin(3 * np.pi * x)), 2 * np.pi * 13**0.5
    h = x[1]
    found = leapfrog(mode, 2.0, np.array([0.5, 1.0]), spacing=h, step=h / 4)
    return np.max(np.abs(found - np.cos(omega * np.array([0.5, 1.0]))[:, None, None] * mode))


def string(n):
    """Of √c·sin(σ ln c)·cos(ωt) with c = 1 + x, ω² = 1/4 + σ², whose ends are zero."""
    x = np.linspace(0, 1, n)
    sigma = 3 * np.pi / np.log(2)
    mode, omega = np.sqrt(1 + x) * np.sin(sigma * np.log(1 + x)), np.hypot(sigma, 0.5)
    found = leapfrog(mode, 1 + x, np.array([0.5, 1.0]), spacing=x[1], step=x[1] / 4)
    return np.max(np.abs(found - np.cos(omega * np.array([0.5, 1.0]))[:, None] * mode))


@pytest.mark.parametrize("error", [box, string])
def test_leapfrog_is_of_the_fourth_order(error):
    errors = np.array([error(n) for n in (33, 65, 129)])
    np.testing.assert_allclose(measured_order(errors), 4, atol=0.2)


def test_leapfrog_agrees_with_the_plane_until_the_rim_is_reached():
    variance, times = 0.01, np.array([0.0, 0.2, 0.4])  # from 0.4 to the rim there are six standard deviations

    def error(n):
        points = np.concatenate([np.insert(grid(n).reshape(-1, 2), 0, t, axis=1) for t in times])
        expected = gaussian_pulse_in_the_plane(points, variance=variance).reshape(3, n, n)
        return np.max(np.abs(leapfrog(expected[0], 1.0, times, spacing=2 / (n - 1), step=1 / (n - 1)) - expected))

    errors = np.array([error(n) for n in (41, 81, 161)])
    np.testing.assert_allclose(measured_order(errors), 4, atol=0.3)
    assert errors[-1] < 2e-5


def test_leapfrog_keeps_its_energy():
    start, speed = np.random.default_rng(5).uniform(0.5, 1.0, (2, 20, 30))
    u = leapfrog(start, speed, 0.9 * np.arange(400), spacing=1.0, step=0.9)
    inner = lambda a, b: np.sum(a * b / speed**2, axis=(1, 2))
    # A is symmetric in this product, and so is the matrix of a step: what leapfrog keeps is kept to rounding.
    energy = inner(u[1:-1], u[1:-1]) - inner(u[2:], u[:-2])
    np.testing.assert_allclose(energy, energy[0], rtol=1e-11)


@pytest.mark.parametrize("shape", [(40,), (16, 16), (8, 8, 8)])
def test_waves_do_not_grow_with_the_longest_step(shape):
    longest = 1.5 * 0.1 / (2.0 * len(shape) ** 0.5)
    start = np.random.default_rng(5).uniform(-1, 1, shape)
    end = leapfrog(start, 2.0, np.array([300 * longest]), spacing=0.1, step=longest)
    assert np.max(np.abs(end)) < 10  # one that grows by 1 % a step would be 20 times as large
    with pytest.raises(ValueError, match="longest step"):
        leapfrog(start, 2.0, np.array([0.0]), spacing=0.1, step=1.001 * longest)


@pytest.mark.parametrize("time", [0.25, -0.1])
def test_times_between_steps_are_refused(time):
    with pytest.raises(ValueError, match=r"multiples of the step 0\.1"):
        leapfrog(np.zeros(5), 1.0, np.array([0.1, time]), spacing=1.0, step=0.1)


# Burgers


def test_burgers_satisfies_its_equation_and_its_start():
    viscosity, points = 0.01 / np.pi, uniform([0.1, -1], [1, 1], 200)
    points[:100, 1] *= 0.02  # half of them in the shock
    convection = burgers(points) * derivative(burgers, points, 1, 1, 4e-4)
    residual = derivative(burgers, points, 0, 1, 1e-3) + convection
    residual -= viscosity * derivative(burgers, points, 1, 2, 4e-4)
    assert np.max(np.abs(residual)) < 1e-6 * np.max(np.abs(convection))  # h is 1/16 of the shock's width 2ν
    points[:, 0] = 0
    np.testing.assert_allclose(burgers(points), -np.sin(np.pi * points[:, 1]), atol=1e-14)


def test_burgers_is_odd_about_the_shock_and_the_ends():
    points = uniform([0, -1], [2, 1])
    for end in (0, 1):
        mirrored = np.array([0, 2 * end]) + np.array([1, -1]) * points
        np.testing.assert_allclose(burgers(mirrored), -burgers(points), atol=1e-11)


def test_the_shock_is_as_steep_as_published():
    t = 1.6037 / np.pi  # Basdevant and others 1986: the largest slope is 152.00516
    assert abs(-derivative(burgers, np.array([[t, 0.0]]), 1, 1, 2e-4).item() - 152.00516) < 1e-4


@pytest.mark.parametrize(("viscosity", "n"), [(0.02, 256), (4.0, 24)])
def test_burgers_agrees_with_an_independent_run(viscosity, n):
    x = 2 * np.arange(n) / n - 1
    wave = np.pi * np.fft.rfftfreq(n, 1 / n)
    wave[-1] = 0  # its derivative is zero at the points

    def rate(t, u):
        transform = np.fft.rfft(u)
        return -u * np.fft.irfft(1j * wave * transform) - viscosity * np.fft.irfft(wave**2 * transform)

    run = scipy.integrate.solve_ivp(rate, (0, 1), -np.sin(np.pi * x), t_eval=[0.3, 1.0], rtol=1e-9, atol=1e-11)
    for t, expected in zip(run.t, run.y.T, strict=True):
        found = burgers(np.stack([np.full(n, t), x], axis=1), viscosity=viscosity)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


# Allen and Cahn


@pytest.mark.slow
def test_allen_cahn_is_as_accurate_as_it_says():
    points = uniform([0, 0], [1, 1], 4000) ** [3, 1]  # near the start,
    points[::2, 1] = 1 - points[::2, 1] ** 3  # and near the kink
    finest = allen_cahn(points, resolution=2048)
    assert np.max(np.abs(allen_cahn(points) - finest)) < 1e-8
    assert np.max(np.abs(allen_cahn(points, resolution=512) - finest)) < 2e-7


@pytest.mark.slow
def test_allen_cahn_agrees_with_steps_of_diffusion_and_reaction_in_turn():
    n, times = 2048, (0.2, 0.6, 1.0)
    x = 2 * np.arange(n) / n - 1

    def in_turn(steps):
        half = np.exp(-1e-4 * (np.pi * np.fft.rfftfreq(n, 1 / n)) ** 2 / (2 * steps))
        diffused = lambda u: np.fft.irfft(half * np.fft.rfft(u))
        grown = np.exp(5 / steps)  # u' = 5u - 5u³ takes u to u·g / √(1 + u²·(g² - 1)) with g = exp(5t)
        run = [x**2 * np.cos(np.pi * x)]
        for _ in range(steps):
            u = diffused(run[-1])
            run.append(diffused(u * grown / np.sqrt(1 + u**2 * (grown**2 - 1))))
        return np.stack([run[round(t * steps)] for t in times])

    expected = (4 * in_turn(1000) - in_turn(500)) / 3  # of the second order; the next error is (10/1000)⁴
    found = np.stack([allen_cahn(np.stack([np.full(n, t), x], axis=1)) for t in times])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    far = np.abs(x) < 0.9  # from the kink, which steps from value to value see only to 1/n²
    np.testing.assert_allclose(found[:, far], expected[:, far], rtol=0, atol=3e-8)


def test_allen_cahn_is_even_periodic_and_of_a_bounded_time():
    points = uniform([0, 0], [1, 1])
    same = np.concatenate([points, points * [1, -1], points + np.array([0, 2]), points - np.array([0, 4])])
    u = allen_cahn(same, resolution=64).reshape(4, -1)
    np.testing.assert_allclose(u, np.broadcast_to(u[0], u.shape), atol=1e-12)
    with pytest.raises(ValueError, match="0 ≤ t ≤ 1"):
        allen_cahn(np.array([[1.1, 0.0]]))


# Kovasznay


@pytest.mark.parametrize("reynolds", [10.0, 40.0])
def test_kovasznay_flow_satisfies_navier_and_stokes(reynolds):
    flow = lambda p: kovasznay(p, reynolds=reynolds)
    points = uniform([-0.5, -0.5], [1.5, 1])
    slope = np.stack([derivative(flow, points, axis, 1, 0.01) for axis in (0, 1)], axis=-1)
    velocity, viscous = flow(points)[:, :2], laplacian(flow, points, (0, 1), 0.01)[:, :2] / reynolds
    momentum = np.einsum("nj,nij->ni", velocity, slope[:, :2]) + slope[:, 2] - viscous
    divergence = np.trace(slope[:, :2], axis1=1, axis2=2)
    assert max(np.max(np.abs(momentum)), np.max(np.abs(divergence))) < 1e-8 * np.max(np.abs(slope))  # (2πh)⁶ = 6e-8
