"""Quality measures: functions of arrays that return one number."""

import numpy as np
from jaxtyping import Bool, Float, Real
from numpy import ndarray

from siren_jax.errors import InputError


def psnr(prediction: Real[ndarray, "..."], truth: Real[ndarray, "..."], *, data_range: float = 2.0) -> float:
    """Peak signal-to-noise ratio in dB, over all points and channels, unclipped.

    10·log10(data_range² / MSE), which is infinite if both arrays are equal.

    Args:
        prediction: array of any shape.
        truth: array of the same shape.
        data_range: length of the interval of possible values; 2 for values in [-1, 1].

    >>> round(psnr(np.zeros(4), np.full(4, 0.2)), 6)
    20.0
    """
    mse = float(np.mean((np.asarray(prediction, np.float64) - truth) ** 2))
    return float(10 * np.log10(data_range**2 / mse)) if mse != 0 else float("inf")


def snr(prediction: Real[ndarray, "..."], truth: Real[ndarray, "..."]) -> float:
    """Signal-to-noise ratio in dB, over all samples and channels.

    10·log10(mean(truth²) / MSE), which is infinite if both arrays are equal, and minus infinity for a truth of zeros.

    Args:
        prediction: array of any shape.
        truth: array of the same shape, with a mean near zero, as in a sound.

    >>> round(snr(np.full(4, 0.9), np.ones(4)), 6)
    20.0
    """
    truth = np.asarray(truth, np.float64)
    power, mse = np.mean(truth**2), np.mean((np.asarray(prediction, np.float64) - truth) ** 2)
    if mse == 0:
        return float("inf")
    return float(10 * np.log10(power / mse)) if power != 0 else float("-inf")


def aligned(
    prediction: Float[ndarray, "n c"], truth: Float[ndarray, "n c"], points: Float[ndarray, "n d"], *, degree: int
) -> Float[ndarray, "n c"]:
    """The prediction plus the polynomial in the coordinates, of degree 0 or 1, that brings it closest to the truth.

    A gradient determines a signal up to a constant (degree 0). A Laplacian determines it up to a harmonic function,
    whose largest part is a plane (degree 1). Before a comparison, the undetermined part is therefore taken from the
    truth. The polynomial is fitted by least squares; the contrast is unchanged.

    Args:
        prediction: values at the points.
        truth: true values at the points.
        points: coordinates of the points.
        degree: 0 for the mean, 1 for the mean and the plane.

    >>> aligned(np.zeros((2, 1)), np.array([[1.0], [3.0]]), np.array([[0.0], [1.0]]), degree=0).round(6).tolist()
    [[2.0], [2.0]]
    """
    if degree not in (0, 1):
        raise InputError(f"degree must be 0 (mean) or 1 (mean and plane), not {degree}.")
    basis = np.ones((len(points), 1)) if degree == 0 else np.column_stack([np.ones(len(points)), points])
    error = np.asarray(truth, np.float64) - np.asarray(prediction)
    return np.asarray(prediction) + basis @ np.linalg.lstsq(basis, error, rcond=None)[0]


def contrast(prediction: Float[ndarray, "n c"], truth: Float[ndarray, "n c"]) -> float:
    """Slope of the least-squares line from the truth to the prediction; 1 means the right contrast.

    cov(truth, prediction) / var(truth), with the mean of each channel removed. NaN for a constant truth.

    >>> truth = np.arange(4.0)[:, None]
    >>> contrast(0.5 * truth + 3, truth)
    0.5
    """
    t, p = (np.asarray(x, np.float64) for x in (truth, prediction))
    t, p = t - t.mean(axis=0), p - p.mean(axis=0)
    return float(np.sum(t * p) / np.sum(t * t)) if np.any(np.ptp(truth, axis=0) > 0) else float("nan")


def chamfer_distance(a: Float[ndarray, "n d"], b: Float[ndarray, "m d"]) -> float:
    """Chamfer distance of two sets of points: the average of both mean distances to the nearest point of the other set.

    ½·mean_a min_b |a - b| + ½·mean_b min_a |a - b|: distances, not their squares. For two samplings of one surface, it
    is about half the spacing of the points; `shapes.Reference` measures surfaces without this error.

    >>> chamfer_distance(np.array([[0.0], [1.0]]), np.array([[0.0]]))
    0.25
    """
    import scipy.spatial

    there, back = scipy.spatial.KDTree(b).query(a)[0], scipy.spatial.KDTree(a).query(b)[0]
    return float(there.mean() + back.mean()) / 2


def intersection_over_union(a: Bool[ndarray, "..."], b: Bool[ndarray, "..."]) -> float:
    """Number of cells inside both shapes divided by the number inside at least one; NaN if no cell is inside.

    >>> intersection_over_union(np.array([True, True, False]), np.array([True, False, False]))
    0.5
    """
    union = np.count_nonzero(a | b)
    return float(np.count_nonzero(a & b) / union) if union else float("nan")
