"""Picture files with plain pixels behind a header: Netpbm, FITS and NumPy."""

import re

import numpy as np
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.formats.decoded import Check, Decoded, levels_of

_FITS_TYPES = {8: "u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}


def decode_netpbm(path: str, check: Check) -> Decoded | None:
    """The picture in a PGM, PPM or PAM file; None for files that Pillow reads: bitmaps, PGM and PPM of white 255."""
    with open(path, "rb") as file:
        form = file.read(2)
        if form == b"P7":
            header = dict(line.split(None, 1) for line in iter(file.readline, b"ENDHDR\n") if line[0] not in b"\n#")
            w, h, c, white = (int(header[name]) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
            has_alpha = header.get(b"TUPLTYPE", b"").strip().endswith(b"_ALPHA")
        else:
            w, h, white = (_number(file) for _ in range(3))
            c, has_alpha = 3 if form in (b"P3", b"P6") else 1, False
            if form not in (b"P2", b"P3", b"P5", b"P6") or white == 255:
                return None
        if not (0 < white < 65536 and h > 0 and w > 0 and c > 0):
            raise ValueError(f"{h} x {w} pixels of {c} channels from 0 to {white}")
        kind = np.dtype("u1" if white < 256 else ">u2")
        check(h, w, c * kind.itemsize)
        count = h * w * c
        if form in (b"P2", b"P3"):
            words = re.sub(rb"#[^\r\n]*", b"", file.read()).split(maxsplit=count)
            pixels = np.array(words[:count], np.uint16 if white > 255 else np.uint8)
        else:
            pixels = np.frombuffer(file.read(count * kind.itemsize), kind)
    if len(pixels) < count:
        raise ValueError(f"it contains {len(pixels)} of its {count} samples")
    if (most := pixels.max()) > white:
        raise ValueError(f"a sample is {most}, but the header says that white is {white}")
    return Decoded(pixels.reshape(h, w, c).astype(kind.newbyteorder("=")), (0.0, float(white)), has_alpha)


def _number(file) -> int:
    """Reads the next integer of a Netpbm header, and the whitespace character after it."""
    digits = b""
    while (byte := file.read(1)).isdigit() or not digits:
        if byte == b"#":
            file.readline()
        elif byte.isdigit():
            digits += byte
        elif not byte.isspace():
            raise ValueError("its header is not a list of numbers")
        if len(digits) > 9:
            raise ValueError("a number in its header is too long")
    return int(digits)


def decode_fits(path: str, check: Check) -> Decoded | None:
    """The picture in the first part of a FITS file, with the last row first.

    The result is None if the picture is in an extension, which Pillow reads. Values are BZERO + BSCALE · number.
    Integers stay integers if BSCALE is 1 and BZERO is 0 or denotes a type that FITS lacks, such as unsigned 16 bits.
    """
    cards: dict[str, str] = {}
    with open(path, "rb") as file:
        while (card := file.read(80))[:8].strip() != b"END":
            if len(card) < 80:
                raise ValueError("its header has no end")
            name, equals, value = card[:8].decode("latin-1").strip(), card[8:10], card[10:].decode("latin-1")
            if equals == b"= ":
                cards[name] = value.split("/")[0].strip().replace("D", "E")
        sides = [int(cards[f"NAXIS{k + 1}"]) for k in range(int(cards["NAXIS"]))]
        if not sides:
            return None  # the picture is an extension
        planes = [n for n in sides[2:] if n != 1]
        if len(sides) < 2 or planes:
            raise InputError(
                f"{path!r} has axes of {' x '.join(map(str, sides))}; a FITS picture with two axes is needed. Save one "
                "plane of it."
            )
        (w, h), kind = sides[:2], np.dtype(_FITS_TYPES[int(cards["BITPIX"])])
        if w < 1 or h < 1:
            raise ValueError(f"it has {h} x {w} pixels")
        check(h, w, 2 * kind.itemsize)
        file.seek(-(-file.tell() // 2880) * 2880)
        data = file.read(h * w * kind.itemsize)
    pixels = np.frombuffer(data, kind).reshape(h, w, 1)[::-1].astype(kind.newbyteorder("="))
    scale, zero = float(cards.get("BSCALE", 1)), float(cards.get("BZERO", 0))
    no_data = (scale * float(cards["BLANK"]) + zero,) if "BLANK" in cards and kind.kind != "f" else ()
    if kind.kind != "f" and scale == 1 and zero in (limits := _limits_from_zero(kind)):
        pixels = (pixels.astype(np.int64) + int(zero)).astype(limits[zero])
    elif (scale, zero) != (1, 0):
        pixels = pixels * scale + zero
    return Decoded(pixels, levels_of(pixels.dtype), no_data=no_data)


def _limits_from_zero(kind: np.dtype) -> dict[float, str]:
    """BZERO for the types that FITS lacks: unsigned 16 and 32 bits, and signed 8 bits."""
    return {1: {-128.0: "i1"}, 2: {2.0**15: "u2"}, 4: {2.0**31: "u4"}}.get(kind.itemsize, {})


def decode_npy(path: str, check: Check) -> Decoded:
    """A NumPy array from a file, `(h, w)` or `(h, w, c)`, such as `render --out picture.npy` writes."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise InputError(f"{path!r} is not an array of numbers that can be read: {error}.") from None
    return decode_array(array, f"{path!r} contains", check)


def decode_array(array: ndarray, owner: str, check: Check = lambda h, w, bytes_a_pixel: None) -> Decoded:
    """The pixels of an array `(h, w)` or `(h, w, c)`.

    Args:
        array: booleans, integers or floats; the type decides which numbers are black and white.
        owner: beginning of the sentence of an error, such as "this is".
        check: raises an `InputError` if the picture is too large.

    Raises:
        InputError: the array has another shape or type.
    """
    shape = array.shape
    if array.dtype.kind not in "buif":
        raise InputError(f"{owner} values of the type {array.dtype}; real numbers are needed.")
    if array.ndim not in (2, 3) or not array.size or (shape[-1] > 64 and array.ndim == 3):
        raise InputError(
            f"{owner} an array of the shape {shape}; a picture has (h, w) or (h, w, c), with up to 64 channels. "
            "In Python, SampleDataset takes other shapes."
        )
    if array.ndim == 2 and shape[1] <= 4 < shape[0]:
        raise InputError(
            f"{owner} an array of the shape {shape}, which looks like a sound; a picture this narrow needs the "
            f"shape {(*shape, 1)}."
        )
    check(shape[0], shape[1], array.dtype.itemsize * (shape[2] if array.ndim == 3 else 1))
    pixels = np.array(array, array.dtype.newbyteorder("="), order="C").reshape(*shape[:2], -1)
    return Decoded(pixels, levels_of(pixels.dtype))
