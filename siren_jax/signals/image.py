"""Picture files as arrays of values, with the range from black to white and NaN for pixels without a value."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Shaped
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.formats.pictures import FINER, Decoded, decode
from siren_jax.formats.pictures import MAX_PIXELS as MAX_PIXELS
from siren_jax.formats.plain_pictures import decode_array
from siren_jax.signals.ranges import lone_ends, used_range, value_range_of
from siren_jax.signals.shrinking import Means, resized
from siren_jax.signals.shrinking import shrink as shrink
from siren_jax.signals.shrinking import shrunk_sides as shrunk_sides

STRIP = 2**20  # pixels converted to floats at a time
SAME = 2e-6  # relative tolerance: a header may spell -3.4028235e38 with six digits
LARGEST = 1e18  # largest value: its square fits into float32
DARK = 0.25  # a picture that uses less than this share of its range is called dark


@dataclass(frozen=True)
class Image:
    """A picture and what its numbers mean."""

    values: Float[ndarray, "h w c"]
    """Values in the units of the value range; NaN where the file has no value."""
    value_range: tuple[float, float]
    """Values of black and white, which a network has as -1 and 1; other values may lie outside."""
    notes: tuple[str, ...] = ()
    """Sentences about the file: which range was taken, what was left out, and what may not be intended."""

    @property
    def known(self) -> Bool[ndarray, "h w"]:
        """Whether each pixel has a value."""
        return np.all(np.isfinite(self.values), axis=-1)

    @property
    def brightness(self) -> Float[ndarray, "h w c"]:
        """The values with 0 for black and 1 for white."""
        low, high = self.value_range
        return self.values if (low, high) == (0.0, 1.0) else (self.values - low) / (high - low)


def read_image(
    source: str | os.PathLike[str] | ndarray,
    *,
    keep_alpha: bool = False,
    downsample: int = 1,
    size: int | None = None,
    value_range: tuple[float, float] | None = None,
    no_data: Sequence[float] = (),
) -> Image:
    """A picture file or an array as values with their range, upright, with one (grey), three (RGB) or more channels.

    If the file defines black and white, as files of 8 and 16 bits do, values run from 0 (black) to 1 (white).
    Otherwise, or with a value range, they are the file's own numbers. Pixels without a value become NaN: pixels that
    are NaN or infinite, or have a number for no data, from the header or `no_data` (in any channel if the file does not
    define black and white, else in all channels).

    Args:
        source: path of the file, or an array `(h, w)` or `(h, w, c)`, read like one in an `.npy` file.
        keep_alpha: keep transparency as a channel instead of laying the picture over white.
        downsample: divide both sides by this whole number, with a Gaussian against aliasing.
        size: resize so that the longer side has this many pixels, with the same filter; after `downsample`.
        value_range: the numbers of the file that stand for black and white; by default those of its type or header,
            else as `value_range_of` finds them for floats.
        no_data: numbers of the file that stand for no value, besides those in its header.

    Raises:
        InputError: the file is missing, is not a picture, is damaged or is too large; no pixel has a value; values
            beyond 1e18; an empty value range.
    """
    wanted = partial(shrunk_sides, downsample=downsample, size=size)
    is_array = isinstance(source, ndarray)
    decoded = decode_array(source, "this is") if is_array else decode(os.fspath(source), wanted)
    sides = decoded.sides or decoded.pixels.shape[:2]
    h, w = wanted(*sides)
    finest = (FINER * h, FINER * w) if sides[0] * sides[1] > MAX_PIXELS else None
    image = interpret(decoded, keep_alpha=keep_alpha, value_range=value_range, no_data=no_data, finest=finest)
    return replace(image, values=resized(image.values, (h, w), sides))


def load_image(
    path: str | os.PathLike[str],
    *,
    keep_alpha: bool = False,
    downsample: int = 1,
    size: int | None = None,
) -> Float[ndarray, "h w c"]:
    """A picture file as an array of values, upright, with one channel (grey), three (RGB) or more.

    Values are in [0, 1] for files of 8 and 16 bits, and the file's own numbers for floats and 32 bits; NaN where the
    file has no value. `read_image` gives the range of the values too.

    Formats are all that Pillow reads (PNG, TIFF, Netpbm, JPEG 2000 and AVIF with all their bits), FITS, arrays in
    `.npy` files, and HEIF with the extra `heif`. The picture is turned upright by its EXIF data. Palettes and CMYK
    become RGB, and colours become sRGB by the profile in the file. Only the first frame of an animation is read, with a
    warning. Transparency is laid over white, or kept as a last channel.

    Args:
        path: the file.
        keep_alpha: keep transparency as a channel instead of laying the picture over white.
        downsample: divide both sides by this whole number, with a Gaussian against aliasing.
        size: resize so that the longer side has this many pixels, with the same filter; after `downsample`.

    Raises:
        InputError: as for `read_image`.
    """
    return read_image(path, keep_alpha=keep_alpha, downsample=downsample, size=size).values


def load_mask(path: str | os.PathLike[str], *, size: int | None = None) -> Bool[ndarray, "h w"]:
    """A picture file as a mask: true where it is nearer to white than to black. Transparent pixels count as black.

    Args:
        path: the file.
        size: as for `load_image`.

    Raises:
        InputError: as for `load_image`; pixels without a value.
    """
    image = read_image(path, keep_alpha=True, size=size)
    if not image.known.all():
        raise InputError(f"the mask {os.fspath(path)!r} has pixels without a value; make them black or white.")
    picture = image.brightness
    if picture.shape[-1] in (2, 4):
        return picture[..., :-1].mean(axis=-1) * picture[..., -1] > 0.5
    return picture.mean(axis=-1) > 0.5


def interpret(
    decoded: Decoded,
    *,
    keep_alpha: bool = False,
    value_range: tuple[float, float] | None = None,
    no_data: Sequence[float] = (),
    finest: tuple[int, int] | None = None,
) -> Image:
    """Decoded pixels as values with their range; see `read_image`. A picture with more rows or columns than `finest` is
    averaged over equal areas."""
    if value_range is not None and not -LARGEST <= value_range[0] < value_range[1] <= LARGEST:
        raise InputError(f"a value range is (low, high) with low < high, within ±{LARGEST:g}, but is {value_range}.")
    colours = decoded.pixels[..., :-1] if decoded.has_alpha else decoded.pixels
    given = dict.fromkeys((*decoded.no_data, *no_data))
    named = [number for number in given if np.isfinite(number)]  # others are left out anyway
    unknown = _without_value(colours, named, in_any_channel=decoded.levels is None)
    if unknown.all():
        raise InputError("no pixel of the picture has a value: all are NaN, infinite or stand for no data.")
    known = (colours[~unknown] if unknown.any() else colours).reshape(-1, colours.shape[-1])
    if decoded.levels is None:
        known = known.astype(np.result_type(known.dtype, np.float32), copy=False)  # an integer's type tells no range
        _check_size(known)
    interval = value_range or decoded.levels or value_range_of(known)
    notes = _notes(known, interval, decoded.levels is not None, value_range is not None)
    if unknown.any():
        why = ", ".join(["NaN or infinite"] * (known.dtype.kind == "f") + [_text(number) for number in named])
        notes = (f"{np.count_nonzero(unknown):,} of {unknown.size:,} pixels have no value ({why}): left out.", *notes)
    own = value_range is not None or decoded.levels is None
    values = _values(decoded, unknown, interval, own, decoded.has_alpha and not keep_alpha, finest)
    return Image(values, interval if own else (0.0, 1.0), notes)


def _without_value(
    colours: Shaped[ndarray, "h w c"], named: Sequence[float], *, in_any_channel: bool
) -> Bool[ndarray, "h w"]:
    unknown = ~np.all(np.isfinite(colours), axis=-1)
    for number in named:
        margin = SAME * abs(number) if colours.dtype.kind == "f" else 0.0
        has = (colours >= np.float64(number - margin)) & (colours <= np.float64(number + margin))
        unknown |= np.any(has, axis=-1) if in_any_channel else np.all(has, axis=-1)
    return unknown


def _check_size(known: Float[ndarray, "n c"]) -> None:
    least, greatest = float(known.min()), float(known.max())
    if max(-least, greatest) > LARGEST:
        number = _text(least if -least > greatest else greatest)
        raise InputError(
            f"the picture's values reach from {_text(least)} to {_text(greatest)}, beyond {LARGEST:g}. If {number} "
            f"stands for no value, leave it out: no_data={number}."
        )


def _notes(
    known: Shaped[ndarray, "n c"], interval: tuple[float, float], from_file: bool, given: bool
) -> tuple[str, ...]:
    """Notes on the known values of a file, in its own numbers, and on the interval taken as black to white."""
    low, high = interval
    used = used_range(known)
    notes = []
    if not (from_file or given):
        least, greatest = float(known.min()), float(known.max())
        reach = "" if (least, greatest) == interval else f" (they reach from {_text(least)} to {_text(greatest)})"
        notes.append(
            f"values from {_text(low)} to {_text(high)} are taken as black to white{reach}; values=(low, high) "
            "takes others."
        )
    dark = (share := (used[1] - used[0]) / (high - low)) < DARK and used[0] < used[1]
    if dark and not given:
        notes.append(
            f"the values lie from {_text(used[0])} to {_text(used[1])}, {100 * share:.2g} % of the range from "
            f"{_text(low)} to {_text(high)}; values=({_text(used[0])}, {_text(used[1])}) takes them as black and white."
        )
    usual = given or interval in ((0.0, 1.0), (-1.0, 1.0))
    for lone in lone_ends(known) if dark or not from_file else ():
        if not usual or not low <= lone.value <= high:
            number, (least, greatest) = _text(lone.value), lone.others
            notes.append(
                f"the number {number} ({lone.times:,} of {known.size:,} values) is far from all others, which lie from "
                f"{_text(least)} to {_text(greatest)}. If it stands for no value, leave it out: no_data={number}."
            )
    return tuple(notes)


def _values(
    decoded: Decoded,
    unknown: Bool[ndarray, "h w"],
    interval: tuple[float, float],
    own: bool,
    flatten: bool,
    finest: tuple[int, int] | None,
) -> Float[ndarray, "h2 w2 c"]:
    """The file's own numbers or brightness, made strip by strip: all at once, floats take 16 bytes a pixel."""
    pixels, (low, high) = decoded.pixels, interval
    black, white = interval if own else (0.0, 1.0)
    opaque = decoded.levels[1] if decoded.levels else 1.0
    h, w, c = pixels.shape
    values = Means(h, w, c - flatten, finest or (h, w), np.result_type(pixels, np.float32) if own else np.float32)
    rows = max(1, STRIP // w)
    for top in range(0, h, rows):
        strip = pixels[top : top + rows].astype(np.float64)
        colours = strip[..., : c - decoded.has_alpha]
        colours = colours if own else (colours - low) / (high - low)
        if decoded.has_alpha:
            alpha = strip[..., -1:] / opaque
            if flatten:
                colours = alpha * colours + (1 - alpha) * white
            else:
                colours = np.concatenate([colours, black + alpha * (white - black)], axis=-1)
        values.add(top, np.where(unknown[top : top + rows, :, None], np.nan, colours))
    return values.array


def _text(number: float) -> str:
    """A number as text for an option: whole numbers with all digits, others with the digits of float32."""
    return f"{number:.0f}" if number == int(number) and abs(number) < 1e15 else f"{number:.7g}"
