"""Decoding of picture files into the numbers that they contain; `signals.image` converts these to values."""

import itertools
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from siren_jax.errors import InputError
from siren_jax.formats.colour_profiles import in_srgb, warn_of_hdr
from siren_jax.formats.decoded import MAX_PIXELS as MAX_PIXELS
from siren_jax.formats.decoded import Check, check_room, levels_of, upright
from siren_jax.formats.decoded import Decoded as Decoded
from siren_jax.formats.file_kind import check_file, is_heif, kind_of
from siren_jax.formats.plain_pictures import decode_fits, decode_netpbm, decode_npy
from siren_jax.formats.tiff import decode_tiff, numbers

FINER = 4  # smallest ratio of a large picture's decoded sides to the wanted ones, before it is shrunk
_STRIP = 2**20  # pixels converted by Pillow at a time
_ORIENTATION = 0x0112  # EXIF
_ANIMATIONS = ("GIF", "PNG", "WEBP", "AVIF", "FLI")  # in other formats, further frames are sizes, layers or previews

# (offset, bytes, kind of file, advice) for files that cannot be read.
_OTHERS = (
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture", "convert it to a float TIFF first, for example with oiiotool"),
    (0, b"#?R", "a Radiance picture", "convert it to a float TIFF first, for example with oiiotool"),
    (0, b"\xff\x0a", "a JPEG XL picture", "convert it to PNG first, for example with djxl"),
    (4, b"JXL ", "a JPEG XL picture", "convert it to PNG first, for example with djxl"),
    (0, b"%PDF", "a PDF document", "export the picture as PNG first"),
    (0, b"<svg", "a vector graphic", "export it as PNG in the size that you need first"),
    (0, b"<?xml", "an XML file, such as a vector graphic", "export it as PNG in the size that you need first"),
    (128, b"DICM", "a DICOM picture", "convert it to a 16-bit TIFF or PNG first, for example with dcmj2pnm"),
    *(
        (at, mark, "the raw photograph of a camera", "develop it first, for example with darktable or RawTherapee")
        for at, mark in ((0, b"FUJIFILMCCD"), (0, b"IIU\0"), (0, b"IIRO"), (0, b"IIRS"), (0, b"FOVb"), (8, b"crx "))
    ),
)  # fmt: skip


def decode(path: str, shrunk: Callable[[int, int], tuple[int, int]] = lambda h, w: (h, w)) -> Decoded:
    """The pixels of a picture file.

    Args:
        path: path of the file.
        shrunk: function from the picture's sides to the wanted sides, which raises an `InputError` if they are too
            large. The decoded picture has its full sides, or at least `FINER` times the wanted ones.

    Raises:
        InputError: the file is missing, is not a picture, is damaged or is too large.
    """
    from PIL import Image, UnidentifiedImageError

    def check(h: int, w: int, bytes_a_pixel: int) -> None:
        check_room(path, h, w, bytes_a_pixel)
        shrunk(h, w)

    check_file(path, "a picture file")
    try:
        with open(path, "rb") as file:
            start = file.read(132)
        return _decode(path, start, check, shrunk)
    except InputError:
        raise
    except UnidentifiedImageError:
        if (kind := kind_of(path)) != "image":
            raise InputError(
                f"{path!r} is a {kind}, according to its content or its name; a picture is needed."
            ) from None
        raise InputError(
            f"{path!r} is not a picture in a format that Pillow reads, nor a known kind of sound, video or shape."
        ) from None
    except Image.DecompressionBombError as error:
        raise InputError(f"{path!r} is too large to be decoded safely: {error}") from None
    except Exception as error:  # parsers may raise any error, such as IndexError or struct.error
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputError(f"{path!r} is damaged or cannot be read: {reason}.") from None


def _decode(path: str, start: bytes, check: Check, shrunk: Callable) -> Decoded:
    for offset, mark, what, way_out in _OTHERS:
        if start[offset:].startswith(mark):
            raise InputError(f"{path!r} is {what}, which cannot be read; {way_out}.")
    decoded, holes = None, ()
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        decoded, holes = decode_tiff(path, check)
    elif re.match(rb"P[2-7]\s", start):
        decoded = decode_netpbm(path, check)
    elif start.startswith(b"SIMPLE"):
        decoded = decode_fits(path, check)
    elif start.startswith(b"\x93NUMPY"):
        decoded = decode_npy(path, check)
    elif is_heif(start):
        decoded = _decode_heif(path, check)
    return decoded or _by_pillow(path, holes, check, shrunk)


def _by_pillow(path: str, holes: tuple[str, ...], check: Check, shrunk: Callable) -> Decoded:
    from PIL import Image, ImageOps

    # Pillow maps a file that it opens by name into memory, which makes stripes of a turned TIFF; so it gets a stream.
    with open(path, "rb") as stream:
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            image = Image.open(stream)
        with image as file:
            w, h = file.size
            check(h, w, 4)
            if file.format in _ANIMATIONS:
                _warn_of_frames(file, path)
            profile, orientation = file.info.get("icc_profile"), file.getexif().get(_ORIENTATION, 1)
            with open(path, "rb") as again:
                data = again.read() if file.format in ("PNG", "JPEG2000", "AVIF") else b""
            if warn_of_hdr(path, _transfer(data, file), stacklevel=7):
                profile = None  # another description of the same colours
            if (wide := _wide(data, file)) is not None:
                return in_srgb(replace(wide, pixels=upright(wide.pixels, orientation)), profile, path)
            del data
            _check_width(path, file)
            sides = None
            if h * w > MAX_PIXELS:
                wanted_h, wanted_w = shrunk(h, w)
                file.draft(file.mode, (FINER * wanted_w, FINER * wanted_h))  # JPEG only: means over 2², 4² or 8²
                if file.size != (w, h):
                    sides = (w, h) if orientation in (5, 6, 7, 8) else (h, w)
            file.load()
            check(file.height, file.width, 4)  # a frame of a GIF may reach beyond the sides in its header
            ImageOps.exif_transpose(file, in_place=True)
            as_written = file.mode in ("L", "LA", "RGB", "RGBA")
            decoded = replace(_pixels(file), sides=sides, no_data=numbers(holes, np.dtype("u1")) if as_written else ())
            return in_srgb(decoded, profile, path, ink=file.mode == "CMYK")


def _warn_of_frames(file, path: str) -> None:
    try:
        frames = getattr(file, "n_frames", 1)
    except Exception:  # a frame behind the first is damaged
        frames = "further"
    if frames == "further" or frames > 1:
        warnings.warn(f"{path!r} has {frames} frames: the first is taken.", stacklevel=7)
    file.seek(0)


def _pixels(picture) -> Decoded:
    """Pixels of a picture that Pillow has read, converted strip by strip: Pillow copies them more than once."""
    if picture.mode == "CMYK" or picture.mode == "F" or picture.mode[0] == "I":
        bands, transparent = picture.mode, False
    else:
        transparent = picture.has_transparency_data
        grey = picture.mode in ("1", "L", "LA")
        bands = ("LA" if grey else "RGBA") if transparent else "L" if grey else "RGB"
    w, h = picture.size
    parts, rows = [], max(1, _STRIP // max(1, w))
    for top in range(0, h, rows):
        strip = picture.crop((0, top, w, min(h, top + rows)))
        parts.append(np.asarray(strip if strip.mode == bands else strip.convert(bands)))
    pixels = np.concatenate(parts).reshape(h, w, -1)
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    return Decoded(pixels, levels_of(pixels.dtype), has_alpha=transparent)


def _transfer(data: bytes, file) -> int | None:
    """Number of the transfer function in a PNG's chunk cICP or in the box colr of an AVIF."""
    if file.format == "PNG":
        before = itertools.takewhile(lambda named: named[0] != b"IDAT", _chunks(data))
        return next((chunk[9] for name, chunk in before if name == b"cICP" and len(chunk) == 16), None)
    place = data.find(b"colrnclx") if file.format == "AVIF" else -1
    return int.from_bytes(data[place + 10 : place + 12]) if place >= 0 else None


def _wide(data: bytes, file) -> Decoded | None:
    """The picture with all its bits if it has more than 8 per channel, which Pillow reduces to 8; otherwise None.

    This includes a grey PNG of fewer than 8 bits with a transparent level, because Pillow reads the level wrongly.
    """
    if file.format == "PNG":
        bits, colour = data[24:26]
        if bits == 16 or (bits < 8 and colour == 0 and "transparency" in file.info):
            chunks = list(_chunks(data))
            # Other chunks are left out, because libpng prints warnings about them on the terminal.
            kept = [chunk for name, chunk in chunks if name in (b"IHDR", b"tRNS", b"IDAT", b"IEND")]
            decoded = _by_imagecodecs("png", b"".join([data[:8], *kept]), file, None)
            significant = [max(chunk[8:-4]) for name, chunk in chunks if name == b"sBIT" and len(chunk) > 12]
            return replace(decoded, levels=_levels_of_png(decoded, significant[0])) if significant else decoded
    elif file.format == "JPEG2000" and (size := data.find(b"\xff\x4f\xff\x51")) >= 0 and data[size + 42] & 127 > 7:
        return _by_imagecodecs("jpeg2k", data, file, (data[size + 42] & 127) + 1)
    elif file.format == "AVIF" and (config := data.find(b"av1C")) >= 0 and data[config + 6] & 64:
        return _by_imagecodecs("avif", data, file, 12 if data[config + 6] & 32 else 10)
    return None


def _check_width(path: str, file) -> None:
    """Refuses a picture of 16 bits per channel of which Pillow would read 8, such as those of Silicon Graphics."""
    decoders = [f"{tile[0]} {tile[3]}" for tile in file.tile]
    if file.mode in ("L", "LA", "RGB", "RGBA") and any(re.search("SGI16|;16[BLN]", decoder) for decoder in decoders):
        raise InputError(
            f"{path!r} has 16 bits per channel in the format {file.format}, of which 8 would be read; convert it to a "
            "16-bit PNG or TIFF first."
        )


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """The chunks of a PNG file up to its end, with names: length, name, content, checksum."""
    place, name, view = 8, b"", memoryview(data)
    while place + 12 <= len(data) and name != b"IEND":
        end = place + 12 + int.from_bytes(data[place : place + 4])
        name = data[place + 4 : place + 8]
        yield name, view[place:end]
        place = end


def _by_imagecodecs(codec: str, data: bytes, file, bits: int | None) -> Decoded:
    import imagecodecs

    pixels = getattr(imagecodecs, f"{codec}_decode")(data)
    w, h = file.size
    if pixels.shape[:2] != (h, w):
        raise ValueError(f"its header declares {h} x {w} pixels, but its array has the shape {pixels.shape}")
    pixels = pixels.reshape(h, w, -1)
    return Decoded(pixels, levels_of(pixels.dtype, bits), has_alpha=pixels.shape[-1] in (2, 4))


def _levels_of_png(decoded: Decoded, bits: int) -> tuple[float, float] | None:
    """Numbers for black and white of a PNG whose chunk sBIT declares that only some bits are significant.

    According to the specification, these are the upper bits, and the lower ones are zero or repeat them. However, some
    programs write the 10 or 12 bits of a camera unshifted.
    """
    pixels = decoded.pixels
    as_they_are = bits < 16 and pixels.max() < 2**bits and (pixels % 2 ** (16 - bits)).any()
    return (
        (0.0, 2.0**bits - 1) if as_they_are and pixels.dtype.itemsize == 2 and not decoded.has_alpha else decoded.levels
    )


def _decode_heif(path: str, check: Check) -> Decoded:
    try:
        import pillow_heif
    except ImportError:
        raise InputError(
            f"{path!r} is a HEIF picture (HEIC), the format of many phones; to read it, pip install 'siren-jax[heif]', "
            "or convert it to JPEG."
        ) from None
    file = pillow_heif.open_heif(path, convert_hdr_to_8bit=False)  # the result is upright
    w, h = file.size
    profile = file.info.get("icc_profile")
    if warn_of_hdr(path, (file.info.get("nclx_profile") or {}).get("transfer_characteristics"), stacklevel=7):
        profile = None
    mode, _, wide = file.mode.partition(";")
    check(h, w, len(mode) * (2 if wide else 1))
    # Copied, because pillow-heif 1.0's view does not keep the file's memory.
    pixels, bits = np.array(file).reshape(h, w, -1), file.info["bit_depth"] if wide else 8
    if wide:
        pixels = pixels >> (16 - bits)  # 10 or 12 bits are the upper ones of 16
    return in_srgb(Decoded(pixels, (0.0, 2.0**bits - 1), mode.endswith("A")), profile, path)
