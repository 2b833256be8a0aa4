"""Picture files as arrays."""

import os
import warnings

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.signals.files import check_file, kind_of
from siren_jax.signals.samples import value_range_of

WHITE = 1.0
MAX_PIXELS = 2**27


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
    return shrink(_read(os.fspath(path), keep_alpha), downsample=downsample, size=size)


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


def _read(path: str, keep_alpha: bool) -> Float[ndarray, "h w c"]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    check_file(path, "a picture file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                if (frames := getattr(file, "n_frames", 1)) > 1:
                    warnings.warn(f"{path!r} has {frames} frames: the first is taken.", stacklevel=3)
                return _channels(ImageOps.exif_transpose(file), keep_alpha)
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


def _channels(picture, keep_alpha: bool) -> Float[ndarray, "h w c"]:
    """A Pillow picture as floats in [0, 1]."""
    if picture.mode.startswith("I;16"):  # 16-bit grey; Pillow decodes 16-bit colour to 8 bits
        return np.asarray(picture, np.float32)[..., None] / 65535
    if picture.mode in ("I", "F"):  # 32 bits
        values = np.asarray(picture)[..., None]
        if not np.isfinite(values).all():
            raise InputError("it holds values that are NaN or infinite")
        low, high = value_range_of(values)
        return ((values - low) / (high - low)).astype(np.float32)
    transparent = "A" in picture.getbands() or "transparency" in picture.info
    grey = picture.mode in ("1", "L", "LA")
    values = np.asarray(picture.convert("RGBA" if transparent else "L" if grey else "RGB"), np.float32) / 255
    if values.ndim == 2:
        return values[..., None]
    if transparent and not keep_alpha:
        colour, alpha = values[..., :3], values[..., 3:]
        values = alpha * colour + (1 - alpha) * WHITE
        return values[..., :1] if grey else values
    return values
