"""Figures of merit: arrays in, a scalar out."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray


def psnr(prediction: Float[ndarray, "..."], truth: Float[ndarray, "..."], *, value_range: float = 2.0) -> float:
    """Peak signal-to-noise ratio in dB, over all points and channels, unclipped.

    10·log10(value_range² / MSE). Infinite where both are equal.

    Args:
        prediction: any shape.
        truth: the same shape.
        value_range: length of the interval of possible values; 2 for values in [-1, 1].

    >>> round(psnr(np.zeros(4), np.full(4, 0.2)), 6)
    20.0
    """
    mse = float(np.mean((np.asarray(prediction, np.float64) - truth) ** 2))
    return float(10 * np.log10(value_range**2 / mse)) if mse > 0 else float("inf")


def aligned(
    prediction: Float[ndarray, "*shape c"], truth: Float[ndarray, "*shape c"], *, degree: int
) -> Float[ndarray, "*shape c"]:
    """The prediction plus the polynomial of the grid's axes, up to `degree`, that brings it nearest to the truth.

    A gradient fixes a signal up to a constant (degree 0), a Laplacian up to a harmonic function, of which the plane
    (degree 1) is the largest part: what cannot be known is taken from the truth before the two are compared.
    The contrast is not touched.

    Args:
        prediction: values on a grid, channels last.
        truth: the same shape.
        degree: 0 for the mean, 1 for the mean and the plane.

    >>> aligned(np.zeros((2, 2, 1)), np.ones((2, 2, 1)), degree=0).ravel().tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    if degree not in (0, 1):
        raise ValueError(f"degree is 0 (mean) or 1 (mean and plane), not {degree}.")
    *shape, c = truth.shape
    axes = np.indices(shape, dtype=np.float64).reshape(len(shape), -1)
    basis = np.concatenate([np.ones((1, axes.shape[1])), axes[:, :] if degree else axes[:0]]).T
    error = (np.asarray(truth, np.float64) - prediction).reshape(-1, c)
    coefficients = np.linalg.lstsq(basis, error, rcond=None)[0]
    return prediction + (basis @ coefficients).reshape(*shape, c)


def contrast(prediction: Float[ndarray, "*shape c"], truth: Float[ndarray, "*shape c"]) -> float:
    """Slope of the least-squares line from the truth to the prediction; 1 means the right contrast.

    cov(truth, prediction) / var(truth), each channel about its own mean. NaN for a constant truth.

    >>> truth = np.arange(4.0)[:, None]
    >>> contrast(0.5 * truth + 3, truth)
    0.5
    """
    axes = tuple(range(truth.ndim - 1))
    t = np.asarray(truth, np.float64) - truth.mean(axes)
    p = np.asarray(prediction, np.float64) - prediction.mean(axes)
    return float(np.sum(t * p) / np.sum(t * t)) if np.any(t) else float("nan")
