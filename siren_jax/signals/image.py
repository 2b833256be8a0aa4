"""Picture files as arrays."""

import os
from functools import partial

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.signals.picture_files import FINER, Decoded, decode
from siren_jax.signals.picture_files import MAX_PIXELS as MAX_PIXELS
from siren_jax.signals.samples import value_range_of
from siren_jax.signals.shrinking import Means, resized
from siren_jax.signals.shrinking import shrink as shrink
from siren_jax.signals.shrinking import shrunk_sides as shrunk_sides

WHITE = 1.0
STRIP = 2**20  # pixels that become floats at a time


def load_image(
    path: str | os.PathLike[str],
    *,
    keep_alpha: bool = False,
    downsample: int = 1,
    size: int | None = None,
) -> Float[ndarray, "h w c"]:
    """A picture file as an array of values in [0, 1], upright, with one channel (grey), three (RGB) or more.

    Every format that Pillow reads, of which PNG, TIFF, Netpbm, JPEG 2000 and AVIF keep all their bits; FITS; arrays in
    `.npy` files; HEIF with the extra `heif`. The picture is turned upright as its EXIF data say. Palettes and CMYK
    become RGB, and colours become sRGB by the profile in the file. Of an animation the first frame is taken, with a
    warning. Transparency is laid over white, or kept as a last channel.

    Args:
        path: the file.
        keep_alpha: keep transparency as a channel instead of laying the picture over white.
        downsample: divide both sides by this whole number, with a Gaussian against aliasing.
        size: resize so that the longer side has this many pixels, likewise; after `downsample`.

    Raises:
        InputError: the file is missing, is not a picture, is damaged or is too large.
    """
    wanted = partial(shrunk_sides, downsample=downsample, size=size)
    decoded = decode(os.fspath(path), wanted)
    sides = decoded.sides or decoded.pixels.shape[:2]
    h, w = wanted(*sides)
    finest = (FINER * h, FINER * w) if sides[0] * sides[1] > MAX_PIXELS else sides
    return resized(_values(decoded, keep_alpha, finest), (h, w), sides)


def load_mask(path: str | os.PathLike[str], *, size: int | None = None) -> Bool[ndarray, "h w"]:
    """A picture file as a mask: true where it is nearer to white than to black. Transparent counts as black.

    Args:
        path: the file.
        size: as for `load_image`.

    Raises:
        InputError: as for `load_image`.
    """
    picture = load_image(path, keep_alpha=True, size=size)
    if picture.shape[-1] in (2, 4):
        return picture[..., :-1].mean(axis=-1) * picture[..., -1] > 0.5
    return picture.mean(axis=-1) > 0.5


def _values(decoded: Decoded, keep_alpha: bool, finest: tuple[int, ...]) -> Float[ndarray, "h w c"]:
    """Values in [0, 1], a strip at a time: as floats all at once they take 16 bytes a pixel. See `Means`."""
    pixels = decoded.pixels
    if not np.isfinite(pixels).all():
        raise InputError("it holds values that are NaN or infinite")
    low, high = value_range_of(pixels) if decoded.levels is None else decoded.levels
    flatten = decoded.has_alpha and not keep_alpha
    h, w, c = pixels.shape
    values = Means(h, w, c - flatten, finest)
    rows = max(1, STRIP // w)
    for top in range(0, h, rows):
        strip = ((pixels[top : top + rows].astype(np.float64) - low) / (high - low)).astype(np.float32)
        if flatten:
            colour, alpha = strip[..., :-1], strip[..., -1:]
            strip = alpha * colour + (1 - alpha) * WHITE
        values.add(top, strip)
    return values.array
