"""The integral form of derivative targets is exact where the target is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from siren_jax import Frame, PixelDataset, supervise
from siren_jax.signals.integrals import footprints, segments, stencils

SHAPES = [(16, 16), (12, 30), (30, 12), (1, 9)]


def grid(frame: Frame) -> np.ndarray:
    """Coordinates of every sample, `(*shape, d)`."""
    return frame.coordinates(np.moveaxis(np.indices(frame.shape), 0, -1)).astype(np.float64)


@pytest.mark.parametrize("shape", SHAPES)
def test_segments_of_a_quadratic_integrate_to_its_differences(shape, key):
    frame = Frame(shape)
    # The gradient is linear, for which the trapezoidal rule is exact.
    hessian = np.array([[1.3, -0.4], [-0.4, 0.7]])
    gradient = np.stack([grid(frame) @ hessian, 2 * grid(frame) @ hessian], axis=-2)
    drawn = segments(gradient, frame)(key, 500)
    a, b = np.moveaxis(np.asarray(drawn["points"], np.float64), 1, 0)
    value = lambda x: 0.5 * np.einsum("ni,ij,nj->n", x, hessian, x)
    # 30 float32 terms of size below 1: rounding of 30 * 6e-8.
    np.testing.assert_allclose(drawn["target"][:, 0], value(b) - value(a), atol=2e-6)
    np.testing.assert_allclose(drawn["target"][:, 1], 2 * (value(b) - value(a)), atol=4e-6)


def test_segments_run_along_the_axes_at_all_lengths_and_stay_inside(key):
    frame = Frame((16, 40))
    a, b = np.moveaxis(np.asarray(segments(np.zeros((16, 40, 1, 2)), frame)(key, 4000)["points"]), 1, 0)
    difference = frame.indices(b) - frame.indices(a)
    lengths = np.rint(difference.max(axis=1)).astype(int)
    assert np.all(np.count_nonzero(np.rint(difference), axis=1) <= 1)
    assert np.all(np.abs(np.concatenate([a, b])) < frame.extent)
    assert lengths.min() <= 1
    assert lengths.max() >= 30  # P(log-uniform length over 30 of 40) = 0.08 on the long axis; 4,000 draws


@pytest.mark.parametrize("shape", SHAPES)
def test_stencils_of_a_cosine_average_its_laplacian_exactly(shape, key):
    """cos(πm(i + 1/2)/n) continues itself by reflection and is an eigenfunction of Δ and of every stencil."""
    frame = Frame(shape)
    wave = np.array([2 * np.pi / n if n > 1 else 0.0 for n in shape]) / frame.spacing
    phase = wave * np.array(frame.extent)  # zero phase at the near edge
    value = lambda x: np.prod(np.cos(wave * x + phase), axis=-1)
    laplacian = -(wave @ wave) * value(grid(frame))
    drawn = stencils(np.stack([laplacian, -3 * laplacian], axis=-1), frame)(key, 500)
    *arms, centre = np.moveaxis(np.asarray(drawn["points"], np.float64), 1, 0)
    exact = sum(value(arm) for arm in arms) - 4 * value(centre)
    # float32 coordinates of size 1 times a wave number below 2π·15 and eight terms: 6e-8 * 100 * 8.
    np.testing.assert_allclose(drawn["target"][:, 0], exact, atol=5e-5)
    np.testing.assert_allclose(drawn["target"][:, 1], -3 * exact, atol=1.5e-4)


def test_stencils_fold_back_at_the_border_and_reach_half_of_the_longest_axis(key):
    frame = Frame((8, 64))
    points = np.asarray(stencils(np.zeros((8, 64, 1)), frame)(key, 4000)["points"])
    assert np.all(np.abs(points) < frame.extent)
    inside = np.abs(frame.indices(points[:, 1])[:, 1] - frame.indices(points[:, 4])[:, 1])
    assert {1, 2, 4, 8, 16, 32} <= set(np.rint(inside).astype(int))


def test_a_footprint_is_a_triangular_law_about_its_sample(key):
    frame = Frame((5, 8))
    values = np.random.default_rng(0).normal(size=(5, 8, 3)).astype(np.float32)
    n, k = 2000, 6
    drawn = jax.tree.map(np.asarray, footprints(values, frame, k)(key, n))
    centres = grid(frame).reshape(-1, 2)
    number = np.argmax(np.all(drawn["target"][:, None] == values.reshape(-1, 3), axis=-1), axis=1)
    assert set(number) == set(range(40))
    moved = (drawn["points"] - centres[number][:, None]) / frame.spacing
    assert np.all(np.abs(moved) < 1 + 1e-5)
    # The variance of the triangular law on [-1, 1] is 1/6, its fourth moment 1/15.
    np.testing.assert_allclose(moved.mean(axis=(0, 1)), 0, atol=5 * np.sqrt(1 / 6 / (n * k)))
    np.testing.assert_allclose((moved**2).mean(axis=(0, 1)), 1 / 6, atol=5 * np.sqrt((1 / 15 - 1 / 36) / (n * k)))


def test_the_objective_is_zero_for_a_field_that_has_the_targets(key):
    frame = Frame((24, 24))
    wave = 3 * np.pi / 2  # cos(wave·(x + 1)) is symmetric about both edges of [-1, 1]
    field = lambda x: jnp.prod(jnp.cos(wave * (x + 1)))[None]
    laplacian = -2 * wave**2 * np.prod(np.cos(wave * (grid(frame) + 1)), axis=-1, keepdims=True)
    batch = {"laplacian_integral": stencils(laplacian, frame)(key, 200)}
    terms = supervise("laplacian_integral")(field, batch)
    assert jnp.max(terms["laplacian_integral"]) < 1e-9  # (5e-6)²: rounding of values below 4 with float32 phases


@pytest.mark.parametrize("quantity", ["gradient_integral", "laplacian_integral"])
def test_a_sampler_draws_integrals_beside_pixels_and_anew_at_every_key(quantity):
    dataset = PixelDataset(np.random.default_rng(0).random((10, 14, 3)))
    sample = dataset.sampler(20, quantities=("value", quantity))
    first, again, other = (sample(jax.random.key(i), jnp.int32(0)) for i in (0, 0, 1))
    assert first[quantity]["target"].shape == (20, 3)
    assert jnp.array_equal(first[quantity]["points"], again[quantity]["points"])
    assert not jnp.array_equal(first[quantity]["points"], other[quantity]["points"])
    assert set(first) == {"coordinates", "value", quantity}
