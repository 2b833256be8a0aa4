"""Points are drawn evenly from where they should be, and normals point out of it."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from siren_jax import InputError
from siren_jax.equations import Ball, Box, Difference, Disk, Interval, SpaceTime

N = 4000
SQUARE, UNIT_DISK = Box((-1, -1), (1, 1)), Disk((0, 0), 1)
DOMAINS = {
    "interval": (Interval(-2, 3), 5.0, 2.0),
    "box": (Box((0, 0, 0), (1, 2, 3)), 6.0, 22.0),
    "disk": (Disk((3, -1), 2), 4 * math.pi, 4 * math.pi),
    "ball": (Ball((0, 2, 1), 3), 36 * math.pi, 36 * math.pi),
    "plate with a hole": (SQUARE - Disk((0.2, 0), 0.5), 4 - math.pi / 4, 8 + math.pi),
    "an L": (SQUARE - Box((0, 0), (1, 1)), 3.0, 8.0),
    "a step": (SQUARE - Box((0, -2), (2, 0)), 3.0, 8.0),
    "corner cut": (SQUARE - Disk((1, 1), 1), 4 - math.pi / 4, 6 + math.pi / 2),
    "ring": (UNIT_DISK - Disk((0, 0), 0.5), 0.75 * math.pi, 3 * math.pi),
    "in time": (Disk((0, 0), 1).during(0, 2), 2 * math.pi, 4 * math.pi),
}
each = pytest.mark.parametrize(("domain", "volume", "surface"), DOMAINS.values(), ids=DOMAINS)


@each
def test_a_domain_is_written_as_it_is_made(domain, volume, surface):
    again = eval(repr(domain))
    assert repr(again) == repr(domain)
    assert (type(again), again.low, again.high) == (type(domain), domain.low, domain.high)


@each
def test_points_lie_inside_and_measures_are_those_of_geometry(domain, volume, surface, key):
    region = domain.interior()
    located = jax.jit(lambda key: region.sample(key, N))(key)
    assert jax.vmap(domain.contains)(located.x).all()
    assert not located.normal.any()
    low, high = np.array(domain.low), np.array(domain.high)
    slack = 1e-5 * (high - low)  # float32
    assert np.all((located.x >= low - slack) & (located.x <= high + slack))
    # Where a hole is cut out the measure is an estimate from 4,096 points: within four standard deviations.
    assert region.measure == pytest.approx(volume, rel=4 * 0.5 / math.sqrt(4096))
    assert domain.boundary().measure == pytest.approx(surface, rel=4 * 0.5 / math.sqrt(4096))


@each
def test_the_boundary_divides_inside_from_outside_along_its_normal(domain, volume, surface, key):
    region = domain.boundary()
    x, normal = jax.jit(lambda key: region.sample(key, N))(key)
    assert np.allclose(np.linalg.norm(normal, axis=1), 1, atol=1e-5)  # float32
    step = 1e-3  # beyond the domains' slack; only at corners a step inwards may leave on the other side
    inside, outside = (jax.vmap(domain.contains)(x + side * step * normal) for side in (-1, 1))
    assert inside.mean() > 0.995
    assert outside.mean() < 0.005


@pytest.mark.parametrize(
    ("domain", "part", "share"),
    [
        (Box((0, 0), (1, 2)), lambda x: x[1] < 0.5, 1 / 4),
        (UNIT_DISK, lambda x: jnp.linalg.norm(x) < 0.5, 1 / 4),
        (Ball((0, 0, 0), 1), lambda x: jnp.linalg.norm(x) < 0.5, 1 / 8),
        (Ball((0, 0, 0), 1), lambda x: x[0] < -0.5, 5 / 32),  # a cap of height 1/2: π h² (3 - h) / 3 of 4π/3
        (SQUARE - Disk((0, 0), 0.5), lambda x: x[0] > 0.5, 1 / (4 - math.pi / 4)),
        (Interval(0, 1).during(0, 4), lambda x: x[0] < 1, 1 / 4),
    ],
)
def test_points_are_spread_evenly(domain, part, share, key):
    x = domain.interior().sample(key, N).x
    found = float(jax.vmap(part)(x).mean())
    assert found == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / N))  # four standard deviations


def test_faces_of_a_box_are_met_by_their_areas(key):
    x, normal = Box((0, 0), (1, 3)).boundary().sample(key, N)
    on_long = np.abs(np.asarray(normal[:, 0])) > 0.5
    assert on_long.mean() == pytest.approx(6 / 8, abs=4 * math.sqrt(6 * 2 / 64 / N))
    assert np.all(np.isin(x[on_long, 0], [0, 1]))


@each
def test_the_boundary_belongs_to_the_domain_and_is_not_enclosed(domain, volume, surface, key):
    x = domain.boundary().sample(key, N).x
    assert jax.vmap(domain.contains)(x).all()
    assert not jax.vmap(domain.encloses)(x).any()
    inside = jax.vmap(domain.encloses)(domain.interior().sample(key, N).x)
    assert inside.mean() > 0.999  # all but those within float32 rounding of the boundary


@pytest.mark.parametrize("hole", [Disk((0.7, 0.6), 0.01), Box((0.7, 0.6), (0.71, 0.63)), Disk((0.1, -0.2), 0.3)])
def test_the_rim_of_a_hole_belongs_to_the_domain_and_the_hole_does_not(hole, key):
    plate = SQUARE - hole
    assert jax.vmap(plate.contains)(hole.boundary().sample(key, 500).x).all()
    inside = hole.interior().sample(key, 500).x
    assert jax.vmap(plate.contains)(inside).mean() < 0.01  # those that lie within rounding of the rim


def test_a_difference_looks_for_its_parts_once():
    plate = SQUARE - UNIT_DISK
    assert plate.interior() is plate.interior()
    assert plate.boundary() is plate.boundary()


@pytest.mark.parametrize(("low", "high"), [(0.1, 0.7), (-0.3, 0.6), (1e3, 1e3 + 0.1)])
def test_the_ends_of_a_box_are_met_exactly(low, high, key):
    x = Box((low,), (high,)).boundary().sample(key, 100).x
    assert set(x[:, 0].tolist()) == {float(jnp.float32(low)), float(jnp.float32(high))}


def test_time_is_the_first_coordinate_and_has_no_part_in_normals(key):
    domain = SQUARE.during(1, 3)
    assert (domain.low, domain.high) == ((1, -1, -1), (3, 1, 1))
    x, normal = domain.boundary().sample(key, N)
    assert not normal[:, 0].any()
    assert np.ptp(x[:, 0]) > 1.9
    assert np.all(domain.initial().sample(key, N).x[:, 0] == 1)


def test_a_part_of_a_region_is_where_its_condition_holds(key):
    top = SQUARE.boundary().where(lambda x: x[0] == 1)
    assert np.all(top.sample(key, N).x[:, 0] == 1)
    assert top.measure == pytest.approx(2, rel=0.15)  # an estimate from 4,096 points, a quarter of them there


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Interval(1, 1), "needs low < high"),
        (lambda: Box((0, 0), (1, math.inf)), "both finite"),
        (lambda: Box((0, 0), (1,)), "along each axis"),
        (lambda: Box((), ()), "along each axis"),
        (lambda: Disk((0, 0), 0), "positive radius"),
        (lambda: Disk((0, 0, 0), 1), "disk needs a centre of 2 coordinates"),
        (lambda: Ball((0, 0), 1), "ball needs a centre of 3 coordinates"),
        (lambda: SQUARE.during(0, 1) - UNIT_DISK, r"cut it first, .* \(domain - hole\)\.during"),
        (lambda: SQUARE - UNIT_DISK.during(0, 1), r"cut it first, .* \(domain - hole\)\.during"),
        (lambda: Disk((0, 0), 1) - SQUARE, "what the hole leaves is outside of it, or too small to find"),
        (lambda: Difference(SQUARE, Interval(0, 1)), "2 coordinates cannot have a hole of 1"),
        (lambda: SpaceTime(SQUARE, 1, 1), "a start before its stop"),
        (lambda: SQUARE.boundary().where(lambda x: x[0] > 2), "of 4,096 points of the region 0 fulfil the condition"),
        (lambda: SQUARE.interior().where(lambda x: x > 0), r"but this one returns bool\(2,\)"),
        (lambda: SQUARE.interior().where(lambda x: x[0]), r"returns one boolean at a point, .* returns float32\(\)"),
        (lambda: Box(-1, 1), r"Box\(\(-1, -1\), \(1, 1\)\), but got -1 and 1"),
        (lambda: Interval(1e8, 1e8 + 1), "both finite in float32"),
        (lambda: Interval(0, 1e39), "both finite in float32"),
        (lambda: SQUARE.during(2024, 2024 + 1e-5), "a start before its stop"),
        (lambda: Disk((1e8, 0), 1), "positive radius"),
    ],
)
def test_impossible_domains_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
