"""Rendering of pictures and frames on coarse grids without aliasing: a pixel is the mean over its cell."""

import math

import numpy as np
from numpy import ndarray

from siren_jax._types import Quantity
from siren_jax.neural_field import NeuralField

AT_ONCE = 2**20  # points of the finer grid in memory at a time


def render_cells(
    field: NeuralField,
    shape: tuple[int, ...],
    *,
    of: Quantity = "value",
    region: tuple[tuple[float, float], ...],
    out: ndarray | None = None,
) -> ndarray:
    """A picture or a video as `NeuralField.render` returns it, without aliasing on grids coarser than the original.

    A pixel is the mean of the values at points that are spread evenly over its cell. Along each side, their number is
    that of the original pixels in the cell, rounded up; on a grid that is not coarser, it is only the centre. The mean
    of a derivative is the derivative of the mean. Frames of a video are not averaged over time.

    Args:
        field: a picture or a video.
        shape: as for `NeuralField.render`.
        of: as for `NeuralField.render`.
        region: as for `NeuralField.render`.
        out: as for `NeuralField.render`.
    """
    down, across = (max(1, math.ceil((b - a) / n - 1e-9)) for (a, b), n in zip(region[-2:], shape[-2:], strict=True))
    if down == across == 1:
        return field.render(shape, of=of, region=region, out=out)
    h, w = shape[-2:]
    result = np.empty(field.rendered_shape(shape, of), np.float32) if out is None else out
    result[...] = 0
    pictures = [result] if len(shape) == 2 else result
    top, height = region[-2][0], (region[-2][1] - region[-2][0]) / (h * down)
    rows = max(1, AT_ONCE // (w * across))
    for number, picture in enumerate(pictures):
        moment = tuple(
            (a + number * (b - a) / n, a + (number + 1) * (b - a) / n) for (a, b), n in _times(region, shape)
        )
        for first in range(0, h * down, rows):
            count = min(rows, h * down - first)
            band = (top + first * height, top + (first + count) * height)
            grid = (*[1] * len(moment), count, w * across)
            fine = field.render(grid, of=of, region=(*moment, band, region[-1]))
            means = fine.reshape(count, w, across, *fine.shape[len(grid) :]).mean(axis=2, dtype=np.float64)
            np.add.at(picture, (first + np.arange(count)) // down, means / down)
    return result


def _times(region: tuple[tuple[float, float], ...], shape: tuple[int, ...]):
    return zip(region[:-2], shape[:-2], strict=True)
