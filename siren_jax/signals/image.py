"""Picture files as arrays."""

import os

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.signals.picture_files import MAX_PIXELS, Decoded, decode
from siren_jax.signals.samples import value_range_of

WHITE = 1.0
STRIP = 2**20  # pixels that become floats at a time


def load_image(
    path: str | os.PathLike[str],
    *,
    keep_alpha: bool = False,
    downsample: int = 1,
    size: int | None = None,
) -> Float[ndarray, "h w c"]:
    """A picture file as an array of values in [0, 1], upright, with one (grey), three (RGB) or four (RGBA) channels.

    Every format that Pillow reads. The EXIF rotation is obeyed; palettes and CMYK become RGB; of an animation the first
    frame is taken, with a warning. Transparency is laid over white, or kept as a fourth channel.

    Args:
        path: the file.
        keep_alpha: keep transparency as a channel instead of laying the picture over white.
        downsample: divide both sides by this whole number, with a Gaussian against aliasing.
        size: resize so that the longer side has this many pixels, likewise; after `downsample`.

    Raises:
        InputError: the file is missing, is not a picture, is damaged or is too large.
    """
    return shrink(_values(decode(os.fspath(path)), keep_alpha), downsample=downsample, size=size)


def load_mask(path: str | os.PathLike[str], *, size: int | None = None) -> Bool[ndarray, "h w"]:
    """A picture file as a mask: true where it is nearer to white than to black. Transparent counts as black.

    Args:
        path: the file.
        size: as for `load_image`.

    Raises:
        InputError: as for `load_image`.
    """
    picture = load_image(path, keep_alpha=True, size=size)
    brightness = picture[..., :3].mean(axis=-1)
    return (brightness * picture[..., 3] if picture.shape[-1] == 4 else brightness) > 0.5


def shrink(
    image: Float[ndarray, "h w c"], *, downsample: int = 1, size: int | None = None
) -> Float[ndarray, "h2 w2 c"]:
    """The image with fewer pixels, smoothed by a Gaussian against aliasing; `size` may also enlarge it. See
    `load_image`."""
    h, w = shrunk_sides(*image.shape[:2], downsample=downsample, size=size)
    if (h, w) == image.shape[:2]:
        return image
    import skimage.transform

    smaller = h * w < image.shape[0] * image.shape[1]
    resized = skimage.transform.resize(image, (h, w), order=1 if smaller else 3, anti_aliasing=smaller)
    return np.asarray(resized, np.float32)


def shrunk_sides(h: int, w: int, *, downsample: int = 1, size: int | None = None) -> tuple[int, int]:
    """Height and width after `shrink`."""
    if downsample < 1 or (size is not None and size < 1):
        raise InputError(f"downsample and size must be at least 1, but are {downsample} and {size}.")
    h, w = (max(1, n // downsample) for n in (h, w))
    if size is not None:
        h, w = (max(1, round(n * size / max(h, w))) for n in (h, w))
    if h * w > MAX_PIXELS:
        raise InputError(f"an image of {h} x {w} pixels is too large; up to {MAX_PIXELS:,} pixels are taken.")
    return h, w


def _values(decoded: Decoded, keep_alpha: bool) -> Float[ndarray, "h w c"]:
    """Values in [0, 1], a strip at a time: as floats all at once they take 16 bytes a pixel."""
    pixels = decoded.pixels
    if not np.isfinite(pixels).all():
        raise InputError("it holds values that are NaN or infinite")
    low, high = value_range_of(pixels) if decoded.levels is None else decoded.levels
    flatten = decoded.has_alpha and not keep_alpha
    h, w, c = pixels.shape
    values = np.empty((h, w, c - flatten), np.float32)
    rows = max(1, STRIP // w)
    for top in range(0, h, rows):
        strip = ((pixels[top : top + rows].astype(np.float64) - low) / (high - low)).astype(np.float32)
        if flatten:
            colour, alpha = strip[..., :-1], strip[..., -1:]
            strip = alpha * colour + (1 - alpha) * WHITE
        values[top : top + rows] = strip
    return values
