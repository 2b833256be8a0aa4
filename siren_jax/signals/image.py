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
MAX_PIXELS = 2**25  # 8K video has a hundredth less; decoding takes 20 bytes a pixel, a fit ten times as many
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
                _check_sides(*file.size)
                if (frames := getattr(file, "n_frames", 1)) > 1:
                    warnings.warn(f"{path!r} has {frames} frames: the first is taken.", stacklevel=3)
                file.load()
                _check_sides(*file.size)  # a frame of a GIF may reach beyond the sides that its header has
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
    picture = picture.convert("RGBA" if transparent else "L" if grey else "RGB")
    w, h = picture.size
    rows, channels = max(1, STRIP // w), 4 if keep_alpha and transparent else 1 if grey else 3
    values = np.empty((h, w, channels), np.float32)
    for top in range(0, h, rows):  # 16 bytes a pixel at once are too many
        strip = np.asarray(picture.crop((0, top, w, min(top + rows, h))), np.float32) / 255
        if transparent and not keep_alpha:
            colour, alpha = strip[..., :3], strip[..., 3:]
            strip = alpha * colour + (1 - alpha) * WHITE
        values[top : top + rows] = strip.reshape(*strip.shape[:2], -1)[..., :channels]
    return values


def _check_sides(w: int, h: int) -> None:
    from PIL import Image

    if w * h > MAX_PIXELS:
        raise Image.DecompressionBombError(f"it has {h} x {w} pixels, and up to {MAX_PIXELS:,} are taken.")
