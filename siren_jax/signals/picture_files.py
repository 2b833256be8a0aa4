"""Picture files as the numbers that they hold; `image` makes values of them."""

import warnings
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.signals.files import check_file, kind_of

MAX_PIXELS = 2**25  # 8K video has a hundredth less; decoding takes 20 bytes a pixel, a fit ten times as many


@dataclass(frozen=True)
class Decoded:
    """What a picture file holds, upright, in the file's own numbers."""

    pixels: Shaped[ndarray, "h w c"]
    """Whole numbers, booleans or floats, in the type of the file; one channel (grey), three (RGB) or more."""
    levels: tuple[float, float] | None
    """The numbers that stand for black and white, by the file's type or header; None where it does not say, as for
    floats and 32 bits."""
    has_alpha: bool = False
    """Whether the last channel is transparency, 0 to `levels[1]`."""
    no_data: tuple[float, ...] = ()
    """Numbers that, by the file's header, stand for no value."""


def decode(path: str) -> Decoded:
    """The pixels of a picture file.

    Raises:
        InputError: the file is missing, is not a picture, is damaged or is too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    check_file(path, "a picture file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                _check_sides(*file.size)
                if (frames := getattr(file, "n_frames", 1)) > 1:
                    warnings.warn(f"{path!r} has {frames} frames: the first is taken.", stacklevel=4)
                file.load()
                _check_sides(*file.size)  # a frame of a GIF may reach beyond the sides that its header has
                return _decoded(ImageOps.exif_transpose(file))
    except UnidentifiedImageError:
        if (kind := kind_of(path)) != "image":
            raise InputError(f"{path!r} is a {kind}, by its content or its name; a picture is needed.") from None
        raise InputError(
            f"{path!r} is not a picture in a format that Pillow reads, nor a known kind of sound, video or shape."
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path!r} is too large to be decoded safely: {error}") from None
    except Exception as error:  # whatever Pillow's parsers trip over: IndexError, struct.error
        raise InputError(f"{path!r} is damaged or cannot be read: {error}.") from None


def _decoded(picture) -> Decoded:
    if picture.mode.startswith("I;16"):  # 16-bit grey; Pillow decodes 16-bit colour to 8 bits
        return Decoded(np.asarray(picture)[..., None], (0.0, 65535.0))
    if picture.mode in ("I", "F"):  # 32 bits
        return Decoded(np.asarray(picture)[..., None], None)
    transparent = "A" in picture.getbands() or "transparency" in picture.info
    grey = picture.mode in ("1", "L", "LA")
    bands = ("LA" if grey else "RGBA") if transparent else "L" if grey else "RGB"
    pixels = np.asarray(picture.convert(bands))
    return Decoded(pixels.reshape(*pixels.shape[:2], -1), (0.0, 255.0), has_alpha=transparent)


def _check_sides(w: int, h: int) -> None:
    from PIL import Image

    if w * h > MAX_PIXELS:
        raise Image.DecompressionBombError(f"it has {h} x {w} pixels, and up to {MAX_PIXELS:,} are taken.")
