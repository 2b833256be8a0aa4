"""Figures of merit in closed form."""

import math

import numpy as np
import pytest

from siren_jax.metrics import aligned, contrast, psnr, snr

TRUTH, OTHER = np.random.default_rng(0).normal(size=(2, 40, 3))
POINTS = np.random.default_rng(1).uniform(-1, 1, (40, 2))


@pytest.mark.parametrize("error", [1.0, 0.1, 3.0])
@pytest.mark.parametrize("value_range", [2.0, 1.0, 255.0])
def test_psnr_of_a_constant_error(error, value_range):
    expected = 20 * math.log10(value_range / error)
    assert math.isclose(psnr(TRUTH + error, TRUTH, data_range=value_range), expected, rel_tol=1e-12, abs_tol=1e-12)


def test_psnr_averages_over_all_points_and_channels():
    prediction = TRUTH.copy()
    prediction[0, 0] += 2
    assert math.isclose(psnr(prediction, TRUTH), 10 * math.log10(TRUTH.size), rel_tol=1e-12)


def test_psnr_does_not_clip():
    assert psnr(np.full(4, 3.0), np.ones(4)) == 0


def test_psnr_is_infinite_where_both_are_equal():
    assert psnr(TRUTH, TRUTH) == math.inf


def test_psnr_of_a_prediction_that_is_not_a_number_is_not_one():
    assert math.isnan(psnr(TRUTH * np.nan, TRUTH))


def test_psnr_of_float32_is_computed_in_float64():
    # An error of 2^-12 has the square 2^-24, which a float32 mean over 2^20 values would lose digits of.
    truth = np.zeros(2**20, np.float32)
    assert math.isclose(psnr(truth + np.float32(2**-12), truth), 20 * math.log10(2**13), rel_tol=1e-12)


@pytest.mark.parametrize(("degree", "offset"), [(0, 3.0), (1, 3.0), (1, 2 + POINTS @ [[1.0, 0, -2], [0.5, 4, 0]])])
def test_alignment_takes_what_cannot_be_known_from_the_truth(degree, offset):
    assert np.allclose(aligned(TRUTH + offset, TRUTH, POINTS, degree=degree), TRUTH, atol=1e-12)  # float64: rounding


@pytest.mark.parametrize("degree", [0, 1])
def test_the_error_after_alignment_is_orthogonal_to_what_was_aligned(degree):
    error = aligned(OTHER, TRUTH, POINTS, degree=degree) - TRUTH
    assert np.abs(error.sum(axis=0)).max() < 1e-12  # float64: rounding, of about 40 numbers near one
    if degree == 1:
        assert np.abs(POINTS.T @ error).max() < 1e-12


def test_alignment_leaves_the_contrast_alone():
    centred = TRUTH - TRUTH.mean(axis=0)
    assert np.allclose(aligned(0.6 * centred + 5, centred, POINTS, degree=0), 0.6 * centred)


@pytest.mark.parametrize("degree", [-1, 2])
def test_alignment_refuses_other_degrees(degree):
    with pytest.raises(ValueError, match="degree must be 0"):
        aligned(TRUTH, TRUTH, POINTS, degree=degree)


@pytest.mark.parametrize("slope", [1.0, 0.6, -2.0, 0.0])
def test_contrast_is_the_slope_whatever_the_offset_of_each_channel(slope):
    assert math.isclose(contrast(slope * TRUTH + [1, 2, 3], TRUTH), slope, abs_tol=1e-12)


def test_contrast_ignores_noise_that_is_orthogonal_to_the_truth():
    truth = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    noise = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    assert contrast(0.5 * truth + noise, truth) == 0.5


def test_contrast_with_a_constant_truth_is_nan():
    assert math.isnan(contrast(TRUTH, np.ones_like(TRUTH)))


def test_the_snr_of_a_silent_truth_is_minus_infinity():
    assert snr(np.ones(3), np.zeros(3)) == -np.inf
    assert snr(np.zeros(3), np.zeros(3)) == np.inf
