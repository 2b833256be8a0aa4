"""Decoded pixels of a picture file, and limits on their size."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from siren_jax.errors import InputError

MAX_PIXELS = 2**25  # largest picture to fit; an 8K frame is 1 % smaller, and a fit takes 200 bytes per pixel
MAX_BYTES = 2**30  # largest decoded picture: 179 million pixels of 16-bit RGB; reading takes twice as much
SMALL = 2**27  # decoded bytes that the header of any file may declare, 32 million pixels of 8-bit RGBA
PACKED = 256  # most decoded bytes, above `SMALL`, per byte of the file; photographs have 5 to 50

Check = Callable[[int, int, int], None]
"""Raises an `InputError` if a picture has too many rows, columns or bytes per pixel."""


@dataclass(frozen=True)
class Decoded:
    """Pixels of a picture file, upright, in the file's own numbers."""

    pixels: Shaped[ndarray, "h w c"]
    """Whole numbers, booleans or floats, in the type of the file; one channel (grey), three (RGB) or more."""
    levels: tuple[float, float] | None
    """Numbers for black and white, according to the file's type or header; None if the file does not define them, as
    for floats and 32 bits."""
    has_alpha: bool = False
    """Whether the last channel is transparency, 0 to `levels[1]`."""
    no_data: tuple[float, ...] = ()
    """Numbers that mean "no value" according to the file's header."""
    sides: tuple[int, int] | None = None
    """Height and width in the file, if each of `pixels` is already a mean over several pixels of the file."""


def check_room(path: str, h: int, w: int, bytes_a_pixel: int) -> None:
    """Raises an `InputError` if a picture has no pixels, is too large to decode, or implausibly large for its file."""
    if h < 1 or w < 1:
        raise InputError(f"{path!r} is damaged: according to its header it has {h} x {w} pixels.")
    size = h * w * bytes_a_pixel
    if size > MAX_BYTES:
        raise InputError(
            f"{path!r} is too large to be decoded: its {h} x {w} pixels take {size:,} bytes, and up to {MAX_BYTES:,} "
            "are accepted; make it smaller with another program first."
        )
    if size > max(SMALL, PACKED * (length := os.path.getsize(path))):
        raise InputError(
            f"{path!r} claims to have {h} x {w} pixels, which its {length:,} bytes can hardly contain: it is damaged, "
            "or made to fill the memory; if it is intact, save it as a TIFF without compression."
        )


def upright(pixels: Shaped[ndarray, "h w c"], orientation: int) -> Shaped[ndarray, "h2 w2 c"]:
    """Pixels turned and mirrored according to the orientation tag of EXIF and TIFF, 1 to 8; other numbers mean 1."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def levels_of(dtype: np.dtype, bits: int | None = None) -> tuple[float, float] | None:
    """Numbers for black and white of booleans and of unsigned integers below 32 bits; None for other types."""
    if dtype.kind == "b":
        return 0.0, 1.0
    bits = bits or 8 * dtype.itemsize
    return (0.0, 2.0**bits - 1) if dtype.kind == "u" and bits < 32 else None
