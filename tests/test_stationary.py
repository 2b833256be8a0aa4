"""References of stationary equations: they satisfy their equations and conditions, and converge."""

import itertools

import numpy as np
import pytest
from test_references import derivative, grid, laplacian, uniform

from siren_jax.references import clamped_plate, l_shaped_membrane, lid_driven_cavity, spot_in_two_materials


def sides(corners, n):
    """Points on the sides of a polygon, which ends where it begins."""
    share = np.linspace(0, 1, n)[:, None]
    return np.concatenate([a + (b - a) * share for a, b in itertools.pairwise(corners)])


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


# Cavity


def centre_lines(reynolds, resolution):
    """Largest and least velocity along y on one centre line, and least velocity along x on the other."""
    line = np.linspace(0.1, 0.95, 1701)
    across = lid_driven_cavity(np.stack([0 * line + 0.5, line], axis=1), reynolds=reynolds, resolution=resolution)
    along = lid_driven_cavity(np.stack([line, 0 * line + 0.5], axis=1), reynolds=reynolds, resolution=resolution)
    return [np.max(across[:, 0]), np.min(across[:, 0]), np.min(along[:, 1])]


def test_the_cavity_has_the_published_extremes_of_velocity():
    # Botella and Peyret 1998; Ghia, Ghia and Shin 1982 have 0.17527, -0.24533 and -0.21090 at points of a grid
    np.testing.assert_allclose(centre_lines(100.0, 40), [0.1795728, -0.2538030, -0.2140424], rtol=0, atol=5e-6)


@pytest.mark.slow
def test_the_cavity_has_the_published_flow_at_a_reynolds_number_of_1000():
    setting = {"reynolds": 1000.0, "resolution": 64}
    np.testing.assert_allclose(centre_lines(**setting), [0.3769447, -0.5270771, -0.3885698], rtol=0, atol=2e-5)
    y = np.array([0.9766, 0.8516, 0.6172, 0.5, 0.2813, 0.1016])  # Botella and Peyret 1998, Table 9
    found = lid_driven_cavity(np.stack([y, 0 * y + 0.5], axis=1), **setting)
    velocity = [0.6644227, 0.3372212, 0.0570178, -0.0620561, -0.2803696, -0.3004561]
    pressure = [0.052009, 0.034910, -0.000827, 0.0, 0.040377, 0.104187]
    np.testing.assert_allclose(found[:, 1], velocity, rtol=0, atol=5e-5)
    np.testing.assert_allclose(found[:, 2], pressure, rtol=0, atol=5e-5)


def test_the_cavity_satisfies_navier_and_stokes():
    points, reynolds = uniform([0.1, 0.1], [0.8, 0.9]), 100.0
    flow = lambda p: lid_driven_cavity(p, reynolds=reynolds, resolution=40)
    slope = np.stack([derivative(flow, points, axis, 1, 0.01) for axis in (0, 1)], axis=-1)
    velocity, viscous = flow(points)[:, :2], laplacian(flow, points, (0, 1), 0.01)[:, :2] / reynolds
    momentum = np.einsum("nj,nij->ni", velocity, slope[:, :2]) + slope[:, 2] - viscous
    assert np.max(np.abs(np.trace(slope[:, :2], axis1=1, axis2=2))) < 1e-6  # up to (h/0.2)⁶ of the ends
    assert np.max(np.abs(momentum)) < 1e-3  # of derivatives of the third order, each a factor of 40


def test_the_cavity_converges_away_from_the_lid():
    points = uniform([0, 0], [1, 1], 500)
    points = points[np.hypot(1 - points[:, 0], np.minimum(points[:, 1], 1 - points[:, 1])) > 0.1]
    coarse, fine = (lid_driven_cavity(points, resolution=n) for n in (32, 40))
    assert np.max(np.abs(coarse - fine)[:, :2]) < 5e-5


def test_the_cavity_without_inertia_is_symmetric():
    points = uniform([0, 0], [1, 1])
    setting = {"reynolds": 1e-6, "resolution": 24}
    flow, mirrored = lid_driven_cavity(points, **setting), lid_driven_cavity([0, 1] + points * [1, -1], **setting)
    np.testing.assert_allclose(flow[:, :2], mirrored[:, :2] * [-1, 1], rtol=0, atol=1e-6)


def test_the_cavity_says_that_a_flow_is_too_fast():
    with pytest.raises(ValueError, match="a higher resolution="):
        lid_driven_cavity(np.array([[0.5, 0.5]]), reynolds=20000.0, resolution=8)
