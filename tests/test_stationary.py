"""References of stationary equations: they satisfy their equations and conditions, and converge."""

import numpy as np
import pytest
from test_references import derivative, grid, laplacian, uniform

from siren_jax.references import clamped_plate, l_shaped_membrane, spot_in_two_materials


def sides(corners, n):
    """Points on the sides of a polygon, which ends where it begins."""
    share = np.linspace(0, 1, n)[:, None]
    return np.concatenate([a + (b - a) * share for a, b in zip(corners[:-1], corners[1:], strict=True)])


# Membrane


L = np.array([[0, 0], [0, 1], [-1, 1], [-1, -1], [1, -1], [1, 0], [0, 0]], np.float64)


@pytest.mark.parametrize(("degree", "error"), [(10, 1e-5), (20, 1e-8), (40, 1e-13)])
def test_the_membrane_is_zero_on_its_rim_so_nowhere_wrong_by_more(degree, error):
    assert np.max(np.abs(l_shaped_membrane(sides(L, 501), degree=degree))) < error  # the rest is exact, see below


def test_the_membrane_satisfies_poisson_equation_and_is_symmetric():
    points = uniform([-0.95, -0.95], [0.95, 0.95], 400)
    points = points[np.min(points, axis=1) < -0.05]
    points = points[np.linalg.norm(points, axis=1) > 0.2]
    u = lambda p: l_shaped_membrane(p, degree=20)
    residual = laplacian(u, points, (0, 1), 0.01) + 1
    assert np.max(np.abs(residual)) < 1e-6  # (h/r)⁶ = 2e-8 near the corners
    np.testing.assert_allclose(u(points[:, ::-1]), u(points), rtol=0, atol=1e-8)


def test_the_membrane_rises_from_the_corner_like_the_power_two_thirds():
    r = np.array([1e-6, 1e-9])
    u = l_shaped_membrane(np.stack([-r, -r], axis=1))
    assert abs(np.log(u[0] / u[1]) / np.log(1e3) - 2 / 3) < 1e-5


# Two materials


def test_heat_is_conducted_in_both_materials():
    points, variance = uniform([-1, 0.05], [1, 2]), 1 / 64
    u = lambda p: spot_in_two_materials(p, conductivities=(2.0, 5.0), variance=variance)
    source = np.exp(-(points[:, 0] ** 2 + (points[:, 1] - 1) ** 2) / (2 * variance)) / (2 * np.pi * variance)
    residual = laplacian(u, points, (0, 1), 0.01) * [2, 5] + np.stack([source, 0 * source], axis=1)
    assert np.max(np.abs(residual)) < 1e-6 * np.max(source)  # (0.08 of the width)⁶ = 3e-7


@pytest.mark.parametrize("conductivities", [(1.0, 4.0), (3.0, 0.5)])
def test_both_materials_are_in_contact(conductivities):
    points = uniform([-1, 0], [1, 0])
    u = lambda p: spot_in_two_materials(p, conductivities=conductivities)
    np.testing.assert_allclose(u(points)[:, 0], u(points)[:, 1], rtol=0, atol=1e-13)
    flux = conductivities * derivative(u, points, 1, 1, 0.01)  # both away from the interface
    assert np.max(np.abs(flux.sum(axis=1))) < 1e-9 < np.min(np.abs(flux))  # (h/1)⁶ = 1e-12
    along = conductivities * derivative(u, points, 0, 1, 0.01)
    np.testing.assert_allclose(along[:, 0] * conductivities[1], along[:, 1] * conductivities[0], rtol=0, atol=1e-10)


def test_equal_materials_are_one():
    points = uniform([-1, 0], [1, 2])
    found = spot_in_two_materials(points, conductivities=(1.0, 1.0))
    mirrored = spot_in_two_materials(points * [1, -1], conductivities=(1.0, 1.0))
    np.testing.assert_allclose(found[:, 0], mirrored[:, 1], rtol=0, atol=1e-14)


# Plate


def test_the_plate_satisfies_its_equation_and_is_clamped():
    points = uniform([-2.5, -2.5], [2.5, 2.5])
    plate = lambda p: clamped_plate(p, resolution=32)
    bending = laplacian(plate, points, (0, 1), 0.05)
    np.testing.assert_allclose(bending[:, 0], plate(points)[:, 1], rtol=0, atol=1e-8)  # h⁶ = 1.6e-8, / 560
    np.testing.assert_allclose(bending[:, 1], 1, rtol=0, atol=1e-3)  # the error of Δu, times the square of 32
    rim = sides(np.array([[3, 3], [-3, 3], [-3, -3], [3, -3], [3, 3.0]]), 51)
    slopes = [derivative(plate, rim, axis, 1, 0.004)[:, 0] for axis in (0, 1)]
    assert max(np.max(np.abs(slopes)), np.max(np.abs(plate(rim)[:, 0]))) < 1e-9


def test_the_plate_has_the_deflection_and_moment_of_textbooks():
    u = clamped_plate(np.array([[0, 0], [0.5, 0]]), side=1, resolution=24)
    assert abs(u[0, 0] - 0.00126532) < 5e-9  # Timoshenko and Woinowsky-Krieger 1959: 0.00126, and 0.0513
    assert abs(u[1, 1] - 0.0513) < 5e-5


def test_the_plate_converges():
    points = grid(60, 2.99).reshape(-1, 2)
    errors = [clamped_plate(points, resolution=n) - clamped_plate(points, resolution=36) for n in (8, 16, 28)]
    deflection, bending = np.max(np.abs(errors), axis=1).T
    assert np.all(deflection < [1e-5, 1e-7, 2e-9])
    assert np.all(bending < [1e-2, 1e-3, 1e-4])
