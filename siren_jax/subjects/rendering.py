"""Sizes, limits and arrays of renderings, for all kinds."""

import math
from collections.abc import Sequence

import numpy as np

from siren_jax._types import Quantity
from siren_jax.errors import InputError
from siren_jax.files.atomic import check_space, replacing
from siren_jax.neural_field import NeuralField
from siren_jax.subjects.cells import render_cells

MAX_PICTURE = 2**28  # values of a PNG, which is rendered in memory; an NPY is not
MAX_SIDE = 2**24

Area = tuple[tuple[float, float], tuple[float, float]]
"""First and last row, first and last column (exclusive), in pixels of the original."""
Region = tuple[tuple[float, float], ...]


def area_of(field: NeuralField, region: tuple[float, float, float, float] | None) -> Area:
    """Rows and columns of a region (first row, first column, last row, last column); by default all."""
    h, w = field.frame.shape[-2:]
    r0, c0, r1, c1 = (0.0, 0.0, float(h), float(w)) if region is None else region
    return (r0, r1), (c0, c1)


def sides_of(own: Sequence[int | float], shape: tuple[int, int] | None, scale: float | None) -> tuple[int, int]:
    """Height and width of a rendering: the given ones, or those of the original times a scale.

    Raises:
        InputError: both a shape and a scale are given, or one is too small or too large.
    """
    if shape is not None and scale is not None:
        raise InputError("shape= and scale= exclude each other; give one.")
    if shape is not None:
        if min(shape) < 1 or max(shape) > MAX_SIDE:
            raise InputError(f"shape= takes two numbers from 1 to {MAX_SIDE}, but is {shape[0]} {shape[1]}.")
        return shape
    h, w = scaled(own, scale)
    return h, w


def scaled(own: Sequence[int | float], scale: float | None) -> list[int]:
    """Numbers of samples along each axis: those of the original times a scale.

    Raises:
        InputError: the scale is not positive, or there are too many samples.
    """
    scale = 1.0 if scale is None else scale
    if not 0 < scale < np.inf:
        raise InputError(f"scale= takes a positive number, but is {scale:g}.")
    if not all(0 < side * scale < MAX_SIDE for side in own):
        raise InputError(
            f"region= and scale= give {' x '.join(f'{side * scale:g}' for side in own)} samples; each side needs more "
            f"than 0 and fewer than {MAX_SIDE}."
        )
    return [max(1, round(side * scale)) for side in own]


def check_room(field: NeuralField, sides: Sequence[int], of: Quantity = "value") -> None:
    """Refuses a picture that is too large to render in memory."""
    if math.prod(field.rendered_shape(tuple(sides), of)) > MAX_PICTURE:
        raise InputError(f"{' x '.join(map(str, sides))} pixels are too many to render in memory; write an .npy.")


def write_array(
    field: NeuralField,
    path: str,
    shape: tuple[int, ...],
    region: Region | None,
    *,
    of: Quantity = "value",
    overwrite: bool,
) -> None:
    """Writes a rendering as an NPY directly to the disk: memory does not grow with the shape.

    Raises:
        InputError: the disk is too full, or the file cannot be written.
    """
    full = field.rendered_shape(shape, of)
    check_space(path, field.dtype.itemsize * math.prod(full))
    with replacing(path, overwrite=overwrite) as temporary:
        array = np.lib.format.open_memmap(temporary, mode="w+", dtype=field.dtype, shape=full)
        if field.kind in ("image", "video"):
            assert region is not None
            render_cells(field, shape, of=of, region=region, out=array)
        else:
            field.render(shape, of=of, region=region, out=array)
        array.flush()


def dimensions(shape: Sequence[int]) -> str:
    """A shape as text.

    >>> dimensions((2, 3))
    '2 x 3'
    """
    return " x ".join(map(str, shape))
