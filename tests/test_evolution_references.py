"""References of evolution equations: they satisfy equation, start and invariants, and finer runs change nothing."""

import numpy as np
import pytest

from siren_jax.references import (
    breather,
    cooling,
    gray_scott,
    korteweg_de_vries,
    kuramoto_sivashinsky,
    lotka_volterra,
    schroedinger,
)
from siren_jax.references.dispersive import _korteweg_de_vries, _schroedinger
from siren_jax.references.flame_fronts import _kuramoto_sivashinsky
from siren_jax.references.fourier import evolve
from siren_jax.references.populations import _lotka_volterra
from siren_jax.references.reaction_diffusion import _gray_scott

FIRST = np.array([-1, 9, -45, 0, 45, -9, 1]) / 60
SECOND = np.array([2, -27, 270, -490, 270, -27, 2]) / 180


def uniform(low, high, n=60):
    return np.random.default_rng(5).uniform(low, high, (n, len(low)))


def derivative(function, axis, h, order=1):
    """By central differences of the sixth order, repeated for more than two."""
    if order > 2:
        return derivative(derivative(function, axis, h, order - 2), axis, h, 2)

    def along(points):
        steps = h * np.arange(-3, 4)[:, None, None] * np.eye(points.shape[1])[axis]
        values = function((points + steps).reshape(-1, points.shape[1])).reshape(7, len(points), -1)
        return np.tensordot((FIRST, SECOND)[order - 1] / h**order, values, axes=1)

    return along


def column(function):
    return lambda points: function(points)[:, None]


def line(t, n, low, high):
    """n equidistant points of a period at a time."""
    return np.stack([np.full(n, t), low + (high - low) * np.arange(n) / n], axis=1)


# The method


@pytest.mark.parametrize("d", [1, 2])
def test_each_wave_of_a_linear_equation_decays_and_travels_exactly(d):
    grid = np.stack(np.meshgrid(*[np.arange(16) / 16 - 0.5] * d, indexing="ij"), axis=-1)
    wave = 2 * np.pi * np.array([3, -2])[:d]
    rate = lambda *k: -0.01 * sum(axis**2 for axis in k) - 1j * k[0]  # u_t = 0.01·Δu - u_y
    nothing = lambda modes, *k: np.zeros_like(modes)
    start = np.stack([2 + np.cos(grid @ wave), np.sin(grid @ wave)])
    found = evolve(start, rate, nothing, length=1.0, stop=1.0, steps=100, saved=100)
    points = uniform([0] * (d + 1), [1] * (d + 1))
    t, phase = points[:, 0], points[:, 1:] @ wave - wave[0] * points[:, 0]
    decay = np.exp(-0.01 * np.sum(wave**2) * t)
    expected = np.stack([2 + decay * np.cos(phase), decay * np.sin(phase)], axis=1)
    # Ten times are interpolated, 0.19 radians from one to the next: 0.19¹⁰/30 at the ends.
    np.testing.assert_allclose(found(points), expected, atol=1e-8)


def test_steps_are_of_the_fifth_order():
    # u' = -u + u², u(0) = 1/2, at every point: u = 1/(1 + e^t).
    def error(steps):
        square = lambda modes, k: np.fft.rfft(np.fft.irfft(modes, 4) ** 2)
        found = evolve(
            np.full((1, 4), 0.5), lambda k: -np.ones_like(k), square, length=1.0, stop=4.0, steps=steps, saved=20
        )
        return abs(found(np.array([[4.0, 0.0]])).item() - 1 / (1 + np.exp(4.0)))

    errors = np.array([error(20), error(40), error(80)])
    np.testing.assert_allclose(np.log2(errors[:-1] / errors[1:]), 5, atol=0.4)


# Korteweg and de Vries


def test_korteweg_de_vries_satisfies_its_equation_and_its_start():
    points, u = uniform([0.05, -1], [0.95, 1]), column(korteweg_de_vries)
    convection = u(points) * derivative(u, 1, 2e-3)(points)
    residual = derivative(u, 0, 1e-3)(points) + convection + 0.022**2 * derivative(u, 1, 4e-3, 3)(points)
    assert np.max(np.abs(residual)) < 3e-4 * np.max(np.abs(convection))  # solitons of the width 0.05: (h/width)⁶ and h⁶
    start = line(0.0, 50, -1, 1)
    np.testing.assert_allclose(korteweg_de_vries(start), np.cos(np.pi * start[:, 1]), atol=1e-13)


def test_korteweg_de_vries_keeps_mass_momentum_and_energy():
    evolution, kept = _korteweg_de_vries(), []
    for t in (0.0, 0.3, 0.77, 1.0):
        u = evolution(line(t, 1024, -1, 1))[:, 0]
        modes = np.fft.rfft(u)
        slope = np.fft.irfft(1j * np.pi * np.arange(513) * modes)
        kept.append([np.mean(u), np.mean(u**2), np.mean(u**3 / 3 - 0.022**2 * slope**2)])
    np.testing.assert_allclose(kept, np.broadcast_to([0, 0.5, -0.5 * (0.022 * np.pi) ** 2], (4, 3)), atol=1e-9)


def test_a_finer_run_of_korteweg_de_vries_changes_nothing():
    points = uniform([0, -1], [1, 1], 200)
    coarse = _korteweg_de_vries(grid=256, steps=4000)(points)[:, 0]
    # A coarser one is 2⁵ times as far away, and this close: so the error is below 1e-10.
    assert np.max(np.abs(korteweg_de_vries(points) - coarse)) < 1e-9


# Kuramoto and Sivashinsky


def test_kuramoto_sivashinsky_satisfies_its_equation_and_its_start():
    points, u = uniform([0.05, -1], [0.95, 1]), column(kuramoto_sivashinsky)
    along = lambda order: derivative(u, 1, 0.01, order)(points)
    convection = 5 * u(points) * along(1)
    residual = derivative(u, 0, 1e-3)(points) + convection + 0.5 * along(2) + 0.005 * along(4)
    assert np.max(np.abs(residual)) < 1e-4 * np.max(np.abs(convection))  # waves of the length 0.2: (2πh/0.2)⁶ = 1e-3
    start = line(0.0, 50, -1, 1)
    np.testing.assert_allclose(kuramoto_sivashinsky(start), -np.sin(np.pi * start[:, 1]), atol=1e-13)


def test_kuramoto_sivashinsky_is_odd():
    points = uniform([0, -1], [1, 1])
    # Rounding of 1e-16 grows by exp(12.5) = 3e5.
    np.testing.assert_allclose(kuramoto_sivashinsky(points * [1, -1]), -kuramoto_sivashinsky(points), atol=1e-9)


def test_a_finer_run_of_kuramoto_sivashinsky_changes_nothing():
    points = uniform([0, -1], [1, 1], 200)
    coarse = _kuramoto_sivashinsky(grid=96, steps=4000)(points)[:, 0]
    assert np.max(np.abs(kuramoto_sivashinsky(points) - coarse)) < 1e-8  # see Korteweg and de Vries


# Schrödinger


def schroedingers_residual(function, points):
    h = column(function)
    value, second = h(points), derivative(h, 1, 0.01, 2)(points)
    residual = 1j * derivative(h, 0, 2e-3)(points) + second / 2 + np.abs(value) ** 2 * value
    return np.max(np.abs(residual)) / np.max(np.abs(second))


def test_the_breather_satisfies_schroedingers_equation_and_its_start():
    assert schroedingers_residual(breather, uniform([0, -5], [1.5, 5])) < 1e-7  # (4h)⁶ = 4e-9
    start = line(0.0, 50, -5, 5)
    np.testing.assert_allclose(breather(start), 2 / np.cosh(start[:, 1]), rtol=1e-13)


def test_with_a_long_period_schroedingers_equation_has_the_breather():
    points = uniform([0, -5], [np.pi / 2, 5], 40)
    found = _schroedinger(resolution=512, steps=1000, half_period=16.0)(points)
    np.testing.assert_allclose(found, breather(points), atol=3e-6)  # 4·exp(-16) of the kink at the end: 5e-7


def test_schroedingers_equation_keeps_the_mass_and_the_period():
    evolution = _schroedinger()
    for t in (0.0, 0.4, np.pi / 2):
        h = evolution(line(t, 4096, -5, 5))
        assert abs(np.mean(np.abs(h) ** 2) - 0.8 * np.tanh(5)) < 1e-7
    points = uniform([0, -5], [1.5, 5], 20)
    same = schroedinger(np.concatenate([points, points * [1, -1], points + np.array([0, 10])])).reshape(3, -1)
    np.testing.assert_allclose(same, np.broadcast_to(same[0], same.shape), atol=1e-10)
    start = line(0.0, 50, -5, 5)
    error = np.abs(schroedinger(start) - 2 / np.cosh(start[:, 1]))
    assert error.max() < 1e-5  # at the kink: 0.0054·Σ 1/k² beyond the last wave
    assert error[1:].max() < 1e-7


def test_a_coarser_run_of_schroedingers_equation_is_as_far_away_as_its_last_waves():
    points = uniform([0, -5], [np.pi / 2, 5], 100)
    coarse = _schroedinger(resolution=1024, steps=1000)(points)
    # Half the waves are without the L2 norm that falls with their number^1.5, here 6e-7.
    assert np.linalg.norm(schroedinger(points) - coarse) < 2e-6 * np.linalg.norm(coarse)


# Gray and Scott


def test_gray_scott_satisfies_its_equations_and_its_start():
    points = uniform([0.02, -1], [0.49, 1])
    w, rate = gray_scott(points), derivative(gray_scott, 0, 2e-4)(points)
    second, eaten = derivative(gray_scott, 1, 5e-3, 2)(points), 1000 * w[:, 0] * w[:, 1] ** 2
    change = [0.2 * second[:, 0] + 40 * (1 - w[:, 0]) - eaten, 0.1 * second[:, 1] - 100 * w[:, 1] + eaten]
    assert np.max(np.abs(rate - np.stack(change, axis=1))) < 1e-4 * np.max(eaten)  # of both (h/scale)⁶ < 1e-6
    start = line(0.0, 50, -1, 1)
    x = start[:, 1:] + np.array([0.05, -0.05])
    pulse = np.exp(-10 * x**2)
    # The benchmark's start has no images, and jumps at the ends.
    np.testing.assert_allclose(gray_scott(start), [1, 0] + np.array([-1, 1]) * pulse, atol=1.3e-4)


def test_gray_scott_has_a_balance():
    # ∫(u + v) changes by what is fed and what decays: 40·∫(1 - u) - 100·∫v.
    sums = lambda t: np.array([gray_scott(line(s, 192, -1, 1)).mean(axis=0) for s in t])
    t = 0.1 + 1e-4 * np.arange(-3, 4)
    rate = FIRST @ sums(t).sum(axis=1) / 1e-4
    u, v = sums([0.1])[0]
    assert abs(rate - (40 * (1 - u) - 100 * v)) < 1e-6


def test_a_finer_run_of_gray_scott_changes_nothing():
    points = uniform([0, -1], [0.5, 1], 200)
    points[:100, 0] **= 3
    coarse = _gray_scott(grid=144, steps=2000, saved=2000)(points)
    assert np.max(np.abs(gray_scott(points) - coarse)) < 3e-6  # interpolation in time: with twice the steps, 2¹⁰ less


# Heat


@pytest.mark.parametrize("d", [1, 3])
def test_cooling_satisfies_the_heat_equation_and_is_zero_on_the_rim(d):
    amplitudes = {(1,) * d: 1.0, (2, 1, 3)[:d]: -0.5}
    u = column(lambda points: cooling(points, amplitudes=amplitudes, diffusivity=0.2))
    points = uniform([0] * (d + 1), [1] * (d + 1))
    laplacian = sum(derivative(u, axis, 0.01, 2)(points) for axis in range(1, d + 1))
    assert np.max(np.abs(derivative(u, 0, 0.002)(points) - 0.2 * laplacian)) < 1e-6  # (3πh)⁶ = 7e-7 of 0.2·laplacian
    points[:, 1] = np.round(points[:, 1])
    assert np.max(np.abs(u(points))) < 1e-14


# Lotka and Volterra


def test_predators_and_prey_satisfy_their_equations_and_keep_their_invariant():
    t = uniform([0.1], [9.9], 200)
    (x, y), rate = lotka_volterra(t).T, derivative(lotka_volterra, 0, 2e-3)(t)
    np.testing.assert_allclose(rate, np.stack([2 * x - 4 * x * y, 2 * x * y - 1.06 * y], axis=1), atol=1e-9)
    kept = 2 * x - 1.06 * np.log(x) + 4 * y - 2 * np.log(y)
    np.testing.assert_allclose(kept, 2 + 0.6 - 2 * np.log(0.15), rtol=1e-13)
    np.testing.assert_allclose(_lotka_volterra(step=0.05)(t[:, 0]).T, lotka_volterra(t), atol=1e-11)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (korteweg_de_vries, "0 ≤ t ≤ 1,"),
        (kuramoto_sivashinsky, "0 ≤ t ≤ 1,"),
        (schroedinger, "0 ≤ t ≤ π/2,"),
        (gray_scott, "0 ≤ t ≤ 0.5,"),
        (lotka_volterra, "0 ≤ t ≤ 10,"),
    ],
)
def test_other_times_are_refused(reference, message):
    points = np.array([[0.1, 0.0], [11.0, 0.0]])
    with pytest.raises(ValueError, match=message):
        reference(points[:, :1] if reference is lotka_volterra else points)
