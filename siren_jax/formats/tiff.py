"""TIFF files with samples that Pillow does not read, by tifffile."""

import logging
import math
import warnings

import numpy as np
from jaxtyping import Shaped
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.formats.colour_profiles import in_srgb
from siren_jax.formats.decoded import Check, Decoded, levels_of, upright

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # otherwise its log messages are printed

# Compressions whose decoders return at most the size of a strip or tile, which is checked. Other compressions contain
# pictures with their own sides; those of 8 bits are read by Pillow's libtiff.
_OURS = {1, 5, 8, 32946, 32773, 34925, 50000}  # none, LZW, deflate, deflate, PackBits, LZMA, Zstandard
_PILLOWS = {1, 2, 3, 4, 5, 6, 7, 8, 32946, 32771, 32773, 32809}  # with fax and JPEG
_WHITE_IS_ZERO, _PALETTE, _INK = 0, 3, 5  # photometric interpretations
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3, 8: 3}  # channels by interpretation, without extra channels
_RAW = {32803, 34892}  # values of a sensor: one colour per pixel, or linear
_DNG_VERSION, _ICC_PROFILE, _NO_DATA, _EXTRA, _ORIENTATION = 50706, 34675, 42113, 338, 274  # tags


def decode_tiff(path: str, check: Check) -> tuple[Decoded | None, tuple[str, ...]]:
    """The picture in a TIFF file; or None and its numbers for no data, as text, if Pillow reads the picture correctly.

    Pillow does so if the picture is the first page, has up to 8 bits per sample, and no channels except its colours and
    transparency. In a file of several pages, the first one that is not a smaller copy or a mask is read, with a warning
    if there are more.
    """
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = _main_page(file, path)
        holes = tuple(str(page.tags.valueof(_NO_DATA, "")).strip("\0 ").replace(",", ".").split())
        if _is_plain(page):
            return None, holes
        _check_kind(page, path)
        h, w, samples = page.imagelength, page.imagewidth, page.samplesperpixel
        check(h, w, samples * page.dtype.itemsize)
        if page.is_tiled:
            check(page.tilelength, page.tilewidth, samples * page.dtype.itemsize)
        if not page.is_contiguous and len(page.dataoffsets) != (parts := math.prod(page.chunked)):
            raise ValueError(f"it contains {len(page.dataoffsets)} of its {parts} strips or tiles")
        array = page.asarray()
        if array.size != h * w * samples:
            raise ValueError(f"it contains {array.size} of its {h * w * samples} samples")
        if page.axes == "SYX":
            array = np.moveaxis(array, 0, -1)
        pixels = np.ascontiguousarray(array.reshape(h, w, samples), array.dtype.newbyteorder("="))
        no_data, levels = numbers(holes, pixels.dtype), levels_of(pixels.dtype, page.bitspersample)
        ink = page.photometric == _INK
        if page.photometric == _PALETTE:
            pixels = np.moveaxis(np.asarray(page.colormap, np.uint16), 0, -1)[pixels[..., 0]]
            levels, no_data = (0.0, 65535.0), ()
        elif page.photometric == _WHITE_IS_ZERO and levels is not None:
            pixels = ~pixels if pixels.dtype == bool else (int(levels[1]) - pixels).astype(pixels.dtype)
            no_data = tuple(levels[1] - n for n in no_data)
        pixels = upright(pixels, int(page.tags.valueof(_ORIENTATION, 1)))
        decoded = _with_alpha_last(Decoded(pixels, levels, no_data=no_data), page)
        profile = page.tags.valueof(_ICC_PROFILE)
    return in_srgb(decoded, bytes(profile) if profile else None, path, ink=ink), ()


def numbers(words: tuple[str, ...], dtype: np.dtype) -> tuple[float, ...]:
    """The numbers for no data, in the type of the picture."""
    try:
        values = [float(word) for word in words]
    except ValueError:
        return ()
    with np.errstate(over="ignore"):
        return tuple(float(dtype.type(n)) if dtype.kind == "f" else n for n in values)


def _main_page(file, path: str):
    """The first page that is neither a smaller copy of another page nor a mask."""
    pages = file.pages
    first = pages[0]
    inner = list(first.pages or ())[:16] if 330 in first.tags else []
    with open(path, "rb") as stream:
        is_canon = stream.read(10)[8:] == b"CR"
    if is_canon or _DNG_VERSION in first.tags or any(page.photometric in _RAW for page in (first, *inner)):
        raise InputError(
            f"{path!r} is the raw photograph of a camera; develop it first, for example with darktable or RawTherapee, "
            "and use the TIFF or PNG that they export."
        )
    try:
        count = len(pages)
        others = [pages[k] for k in range(1, min(count, 16))]
    except Exception:  # a later page is damaged
        count, others = 1, []
    own = [page for page in (first, *others, *inner) if not page.subfiletype & 5]  # neither reduced nor a mask
    page = own[0] if own else max((first, *others, *inner), key=lambda page: page.imagewidth * page.imagelength)
    if count > 1 and (count > 16 or sum(page in (first, *others) for page in own) > 1):
        warnings.warn(f"{path!r} has {count} pages: the first is taken.", stacklevel=5)
    return page


def _is_plain(page) -> bool:
    """Whether Pillow reads the page correctly."""
    bits, samples, predicted = page.bitspersample, page.samplesperpixel, page.predictor != 1
    extra = samples - _COLOURS.get(page.photometric, 0)
    transparent = extra == 1 and page.photometric in (1, 2) and page.tags.valueof(_EXTRA, (2,))[0] in (1, 2)
    return (
        page._index == (0,)
        and page.imagedepth == 1
        and page.photometric in _COLOURS
        and (extra == 0 or transparent)
        and bits in ((1, 2, 4, 8) if samples == 1 else (8,))
        and page.sampleformat in (1, 4)  # unsigned integers, or undefined
        and page.planarconfig == 1
        and page.compression in _PILLOWS
        and not (predicted and page.compression in (1, 32773))  # Pillow reads differences as values
        and not (
            bits == 8 and page.photometric == _WHITE_IS_ZERO and page.compression in _OURS
        )  # numbers for no data are inverted too
    )


def _check_kind(page, path: str) -> None:
    """Raises an `InputError` for a page that neither Pillow nor tifffile reads."""
    kind, photometric = page.dtype, page.photometric
    name = lambda code: getattr(code, "name", code)
    whole = kind is not None and kind.kind in "bu"
    reason = (
        f"samples of {page.bitspersample} bits in the format {name(page.sampleformat)}"
        if kind is None or kind.kind not in "buif"
        else f"{page.bitspersample}-bit samples with the compression {name(page.compression)}"
        if page.compression not in _OURS
        else f"colours of the kind {name(photometric)}"
        if photometric not in (0, 1, 2, 3, 5)
        else f"values of the type {kind} for the colours {name(photometric)}"
        if (photometric == _INK and not (whole and kind.itemsize <= 2)) or (photometric == _WHITE_IS_ZERO and not whole)
        else f"a volume of {page.imagedepth} layers"
        if page.imagedepth != 1
        else ""
    )
    if reason:
        raise InputError(
            f"{path!r} contains {reason}, which cannot be read; save it as grey or RGB, uncompressed or with LZW or "
            "deflate."
        )


def _with_alpha_last(decoded: Decoded, page) -> Decoded:
    """The picture with transparency as its last channel, and colours not multiplied by it."""
    pixels, levels = decoded.pixels, decoded.levels
    if pixels.dtype.kind == "f":
        levels = (0.0, 1.0)
    channels, colours = pixels.shape[-1], _COLOURS[page.photometric]
    kinds = page.tags.valueof(_EXTRA, (2,) if (channels, colours) == (4, 3) else ())
    kinds = dict(zip(range(colours, channels), kinds, strict=False))
    alpha = next((k for k, kind in kinds.items() if kind in (1, 2)), None)
    if alpha is None or levels is None:
        return decoded
    rest = np.delete(pixels, alpha, axis=-1)
    if kinds[alpha] == 1:
        rest = _divided(rest, pixels[..., alpha : alpha + 1], levels[1])
    return Decoded(np.concatenate([rest, pixels[..., alpha : alpha + 1]], axis=-1), levels, True, decoded.no_data)


def _divided(
    colours: Shaped[ndarray, "h w c"], alpha: Shaped[ndarray, "h w 1"], white: float
) -> Shaped[ndarray, "h w c"]:
    """Colours divided by the transparency by which they were multiplied; black where they are fully transparent."""
    values = np.divide(colours * np.float64(white), alpha, out=np.zeros(colours.shape), where=alpha > 0)
    whole = colours.dtype.kind != "f"
    return (np.rint(np.minimum(values, white)) if whole else values).astype(colours.dtype)
