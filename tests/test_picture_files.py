"""Picture files give the numbers that were written into them, in every layout, or are refused in words."""

import contextlib
import io
import itertools
import os
import struct
import sys
import warnings
import zlib

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile

from siren_jax import InputError, load_image
from siren_jax.formats import decoded as rooms
from siren_jax.formats.pictures import decode
from siren_jax.signals import load_mask, shrinking

H, W = 13, 37  # neither divides a tile, a strip or a byte


def array(kind, *channels):
    rng, kind = np.random.default_rng(0), np.dtype(kind)
    shape = (H, W, *channels)
    if kind.kind == "f":
        return rng.random(shape).astype(kind)
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, shape, kind, endpoint=True)


def bits_of(bits, *channels):
    return np.random.default_rng(0).integers(0, 2**bits, (H, W, *channels), np.uint16)


def holds(path, expected, levels, has_alpha=False):
    decoded = decode(str(path))
    assert np.array_equal(decoded.pixels, np.asarray(expected).reshape(*np.shape(expected)[:2], -1))
    assert (decoded.levels, decoded.has_alpha) == (levels, has_alpha)
    return decoded


def refused(path, message):
    with pytest.raises(InputError, match=message) as caught:
        decode(str(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


# TIFF

LEVELS = {"u1": (0.0, 255.0), "u2": (0.0, 65535.0)}  # other types do not say what is black and white
LAYOUTS = {
    "little endian": {"byteorder": "<"},
    "big endian": {"byteorder": ">"},
    "BigTIFF": {"bigtiff": True},
    "strips": {"rowsperstrip": 5},
    "tiles": {"tile": (16, 16)},
    "planes": {"planarconfig": "separate"},
    "planes of tiles": {"planarconfig": "separate", "tile": (16, 16)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
def test_every_type_and_layout_of_tiff_is_read_as_written(kind, layout, tmp_path):
    path, planes = tmp_path / "a.tif", layout.startswith("planes")
    grey, colour = array(kind), array(kind, 3)
    if not planes:
        tifffile.imwrite(path, grey, photometric="minisblack", **LAYOUTS[layout])
        assert holds(path, grey, LEVELS.get(kind)).pixels.dtype == kind
    tifffile.imwrite(path, np.moveaxis(colour, -1, 0) if planes else colour, photometric="rgb", **LAYOUTS[layout])
    assert holds(path, colour, LEVELS.get(kind)).pixels.dtype == kind


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd", "lzma"])
@pytest.mark.parametrize("predictor", [False, True], ids=["", "differences"])
@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
def test_every_compression_of_tiff_without_loss_is_read_as_written(compression, predictor, kind, tmp_path):
    for byteorder in "<>":
        options = {"compression": compression, "predictor": predictor and compression is not None}
        tifffile.imwrite(tmp_path / "a.tif", array(kind, 3), photometric="rgb", byteorder=byteorder, **options)
        holds(tmp_path / "a.tif", array(kind, 3), LEVELS.get(kind))


def tiff(pixels, bits, byteorder="<", photometric=None, planes=False):
    """An uncompressed TIFF with samples of so many bits."""
    channels = np.moveaxis(pixels.reshape(*pixels.shape[:2], -1), -1, 0)
    h, w, c = *pixels.shape[:2], len(channels)
    rows = channels if planes else [np.moveaxis(channels, 0, -1).reshape(h, -1)]
    strips = []
    for plane in rows:
        each = (plane[..., None] >> np.arange(bits)[::-1] & 1).astype(np.uint8).reshape(h, -1)
        strips.append(np.packbits(each, axis=1).tobytes())
    starts = list(itertools.accumulate(map(len, strips), initial=8))
    kind = photometric if photometric is not None else 1 if c == 1 else 2
    tags = {256: [w], 257: [h], 258: [bits] * c, 259: [1], 262: [kind], 273: starts[:-1], 277: [c], 278: [h]}
    tags |= {279: [len(strip) for strip in strips], 284: [2 if planes else 1]}
    start = starts[-1] + starts[-1] % 2
    table, beyond, place = b"", b"", start + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        data = struct.pack(f"{byteorder}{len(tags[tag])}I", *tags[tag])
        value = data if len(data) == 4 else struct.pack(f"{byteorder}I", place + len(beyond))
        beyond += data if len(data) > 4 else b""
        table += struct.pack(f"{byteorder}HHI", tag, 4, len(tags[tag])) + value
    mark = b"II*\0" if byteorder == "<" else b"MM\0*"
    head = mark + struct.pack(f"{byteorder}I", start)
    table = struct.pack(f"{byteorder}H", len(tags)) + table + bytes(4)
    return (head + b"".join(strips)).ljust(start, b"\0") + table + beyond


@pytest.mark.parametrize("byteorder", "<>")
@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("bits", [2, 4, 6, 10, 12, 14])
def test_tiff_of_any_number_of_bits_has_the_levels_that_it_declares(bits, planes, byteorder, tmp_path):
    pixels = bits_of(bits, 3)
    (tmp_path / "a.tif").write_bytes(tiff(pixels, bits, byteorder, planes=planes))
    holds(tmp_path / "a.tif", pixels, (0.0, 2.0**bits - 1))


def test_twelve_bits_of_grey_are_measured_in_twelve_bits(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(bits_of(12), 12))
    assert np.allclose(load_image(tmp_path / "a.tif")[..., 0], bits_of(12) / 4095, atol=1e-7)  # float32


@pytest.mark.parametrize("kind", ["u1", "u2"])
@pytest.mark.parametrize("compression", [None, "lzw"])
def test_a_tiff_of_which_zero_is_white_is_turned_round(kind, compression, tmp_path):
    extra = [(42113, 2, 0, "7", True)]
    tifffile.imwrite(
        tmp_path / "a.tif", array(kind), photometric="miniswhite", compression=compression, extratags=extra
    )
    white = np.iinfo(kind).max
    decoded = holds(tmp_path / "a.tif", white - array(kind), LEVELS[kind])
    assert decoded.no_data == (white - 7.0,)


def test_a_palette_of_sixteen_bits_gives_its_colours(tmp_path):
    palette = np.random.default_rng(1).integers(0, 65536, (3, 65536), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", array("u2"), photometric="palette", colormap=palette)
    holds(tmp_path / "a.tif", palette.T[array("u2")], (0.0, 65535.0))


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
def test_ink_of_sixteen_bits_becomes_colour(planarconfig, tmp_path):
    ink = array("u2", 4)
    written = ink if planarconfig == "contig" else np.moveaxis(ink, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", written, photometric="separated", planarconfig=planarconfig)
    colour = (1 - ink[..., :3] / 65535) * (1 - ink[..., 3:] / 65535)
    assert np.allclose(load_image(tmp_path / "a.tif"), colour, atol=0.6 / 65535)  # rounded to 16 bits, float32


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
def test_channels_beyond_the_colours_are_kept_and_transparency_is_the_last(kind, tmp_path):
    path, five, levels = tmp_path / "a.tif", array(kind, 5), LEVELS.get(kind)
    tifffile.imwrite(path, five, photometric="minisblack", planarconfig="contig")
    holds(path, five, levels)
    tifffile.imwrite(path, five[..., :4], photometric="rgb", extrasamples=["unspecified"])
    holds(path, five[..., :4], levels)
    tifffile.imwrite(path, five, photometric="rgb", extrasamples=["unassalpha", "unspecified"])
    holds(path, five[..., [0, 1, 2, 4, 3]], levels or (0.0, 1.0), has_alpha=True)
    tifffile.imwrite(path, five[..., :2], photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"])
    holds(path, five[..., :2], levels or (0.0, 1.0), has_alpha=True)


def test_colours_that_were_multiplied_by_the_transparency_are_divided_by_it(tmp_path):
    picture = array("u2", 4)
    picture[..., 3] |= 0x4000  # a quarter at least: four times the error of rounding
    multiplied = picture.copy()
    multiplied[..., :3] = np.rint(picture[..., :3] * (picture[..., 3:] / 65535))
    tifffile.imwrite(tmp_path / "a.tif", multiplied, photometric="rgb", extrasamples=["assocalpha"])
    assert np.abs(decode(str(tmp_path / "a.tif")).pixels.astype(int) - picture).max() <= 2


UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize("channels", [(), (3,), (4,)], ids=str)
def test_a_turned_tiff_is_turned_upright(orientation, kind, channels, tmp_path):
    pixels = array(kind, *channels)
    options = {"photometric": "rgb" if channels else "minisblack", "extratags": [(274, 3, 1, orientation, True)]}
    if channels == (4,):
        options["extrasamples"] = ["unassalpha"]
    tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    expected = UPRIGHT[orientation](pixels.reshape(H, W, -1))
    levels = LEVELS.get(kind) or ((0.0, 1.0) if channels == (4,) else None)
    holds(tmp_path / "a.tif", expected, levels, has_alpha=channels == (4,))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_turned_tiff_of_ink_by_pillow_is_turned_upright(orientation, tmp_path):
    ink = array("u1", 4)
    PIL.Image.frombytes("CMYK", (W, H), ink.tobytes()).save(tmp_path / "a.tif", tiffinfo={274: orientation})
    colour = (1 - ink[..., :3] / 255) * (1 - ink[..., 3:] / 255)
    # rounded to 8 bits, by half a level
    assert np.allclose(load_image(tmp_path / "a.tif"), UPRIGHT[orientation](colour), atol=0.51 / 255)


@pytest.mark.parametrize(
    ("kind", "text", "number"), [("f4", "-3.4e38", float(np.float32(-3.4e38))), ("i2", "-9999", -9999.0)]
)
def test_the_number_for_no_data_is_that_of_the_pixels(kind, text, number, tmp_path):
    pixels = array(kind)
    pixels[0, 0] = number
    tifffile.imwrite(tmp_path / "a.tif", pixels, extratags=[(42113, 2, 0, text, True)])
    decoded = holds(tmp_path / "a.tif", pixels, None)
    assert decoded.no_data == (number,)
    assert decoded.pixels[0, 0, 0] == decoded.no_data[0]


def test_eight_bits_have_their_no_data_too(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", array("u1", 3), photometric="rgb", extratags=[(42113, 2, 0, "0", True)])
    assert decode(str(tmp_path / "a.tif")).no_data == (0.0,)


def test_pages_are_called_pages_and_smaller_copies_are_passed_over(tmp_path):
    path, picture = tmp_path / "a.tif", array("u2", 3)
    with tifffile.TiffWriter(path) as file:
        file.write(picture, photometric="rgb", metadata=None)
        file.write(picture[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    holds(path, picture, (0.0, 65535.0))  # and a warning would be an error
    with tifffile.TiffWriter(path) as file:
        file.write(picture[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
        file.write(picture, photometric="rgb", metadata=None)
    holds(path, picture, (0.0, 65535.0))
    with tifffile.TiffWriter(path) as file:
        for page in (picture, picture // 2, picture // 3):
            file.write(page, photometric="rgb", metadata=None)
    with pytest.warns(UserWarning, match="has 3 pages: the first is taken"):
        holds(path, picture, (0.0, 65535.0))


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_a_damaged_page_behind_the_first_does_no_harm(kind, tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for _ in range(2):
            file.write(array(kind, 3), photometric="rgb", metadata=None)
    with tifffile.TiffFile(path) as file:
        offset = file.pages[1].offset
    data = bytearray(path.read_bytes())
    data[offset : offset + 30] = b"\xff" * 30
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        holds(path, array(kind, 3), LEVELS[kind])


@pytest.mark.parametrize("kept", [0.97, 0.5, 0.2])
@pytest.mark.parametrize(
    "options", [{}, {"rowsperstrip": 3, "compression": "zlib"}, {"tile": (16, 16), "compression": "lzw"}]
)
def test_a_truncated_tiff_of_sixteen_bits_is_refused(options, kept, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", array("u2", 3), photometric="rgb", **options)
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: int(kept * len(data))])
    refused(tmp_path / "a.tif", "is damaged")


def test_a_raw_photograph_is_refused_by_name_and_not_read_as_its_preview(tmp_path):
    path, preview, sensor = tmp_path / "a.nef", array("u1", 3), array("u2")
    with tifffile.TiffWriter(path) as file:
        file.write(preview, photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        file.write(
            sensor, photometric=32803, metadata=None, extratags=[(33421, 3, 2, (2, 2)), (33422, 1, 4, (0, 1, 1, 2))]
        )
    refused(path, "raw photograph of a camera; develop it first")
    tifffile.imwrite(path, preview, photometric="rgb", extratags=[(50706, 1, 4, (1, 4, 0, 0))])
    refused(path, "raw photograph of a camera; develop it first")
    for start in (b"FUJIFILMCCD-RAW 0201", b"IIU\0\x18\0\0\0", b"\0\0\0\x18ftypcrx \0\0\0\1"):
        path.write_bytes(start + bytes(200))
        refused(path, "raw photograph of a camera, which cannot be read; develop it first")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"photometric": "minisblack", "compression": "jpeg2000"}, "16-bit samples with the compression JPEG2000"),
        ({"photometric": "cielab"}, "colours of the kind CIELAB"),
    ],
)
def test_what_no_reader_knows_of_tiff_is_refused_by_name(options, message, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", array("u2", 3) if "cielab" in options.values() else array("u2"), **options)
    refused(tmp_path / "a.tif", message)


# PNG


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


PASSES = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def png(path, pixels, bits, *chunks, colour=None, interlaced=False):
    h, w = pixels.shape[:2]
    if colour is None:
        colour = {1: 0, 2: 4, 3: 2, 4: 6}[pixels.reshape(h, w, -1).shape[-1]]

    def rows(part):
        for row in part.reshape(len(part), -1) if part.size else ():
            yield b"\0" + np.packbits((row[:, None] >> np.arange(bits)[::-1]) & 1).tobytes()

    parts = [pixels[y::dy, x::dx] for y, x, dy, dx in PASSES] if interlaced else [pixels]
    data = zlib.compress(b"".join(line for part in parts for line in rows(part)))
    header = struct.pack(">IIBBBBB", w, h, bits, colour, 0, 0, interlaced)
    pieces = [chunk(b"IHDR", header), *chunks, chunk(b"IDAT", data), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(pieces))
    return path


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("channels", [(), (2,), (3,), (4,)], ids=str)
@pytest.mark.parametrize("bits", [8, 16])
def test_png_of_sixteen_bits_keeps_them_in_colour_and_with_transparency(bits, channels, interlaced, tmp_path):
    pixels = bits_of(bits, *channels)
    path = png(tmp_path / "a.png", pixels, bits, interlaced=interlaced)
    holds(path, pixels, (0.0, 2.0**bits - 1), has_alpha=channels in ((2,), (4,)))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_transparent_grey_of_png_is_that_one_level(bits, tmp_path):
    pixels, white = bits_of(bits), 65535 if bits == 16 else 255
    clear = int(pixels[3, 4])
    path = png(tmp_path / "a.png", pixels, bits, chunk(b"tRNS", struct.pack(">H", clear)))
    levels = pixels * (white // (2**bits - 1))
    holds(path, np.stack([levels, np.where(pixels == clear, 0, white)], -1), (0.0, white), has_alpha=True)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_colour_of_png_is_that_one_colour(bits, tmp_path):
    pixels = bits_of(bits, 3)
    clear = pixels[3, 4].tolist()
    pixels[0, 0] = clear[0] ^ 1, *clear[1:]  # the same in the upper 8 of 16 bits
    path = png(tmp_path / "a.png", pixels, bits, chunk(b"tRNS", struct.pack(">HHH", *clear)))
    alpha = np.where((pixels == clear).all(-1, keepdims=True), 0, 2**bits - 1)
    holds(path, np.concatenate([pixels, alpha], -1), (0.0, 2.0**bits - 1), has_alpha=True)


def test_significant_bits_of_png_are_the_upper_ones_unless_they_were_written_below(tmp_path):
    pixels, says = bits_of(12), chunk(b"sBIT", b"\x0c")
    holds(png(tmp_path / "a.png", pixels << 4, 16, says), pixels << 4, (0.0, 65535.0))
    holds(png(tmp_path / "a.png", pixels, 16, says), pixels, (0.0, 4095.0))


def test_png_of_sixteen_bits_is_turned_upright(tmp_path):
    pixels, exif = bits_of(16, 3), PIL.Image.Exif()
    exif[0x0112] = 6
    path = png(tmp_path / "a.png", pixels, 16, chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    holds(path, np.rot90(pixels, -1), (0.0, 65535.0))


def test_transparency_of_sixteen_bits_is_laid_over_white_or_kept_and_hides_a_mask(tmp_path):
    for channels in (2, 4):
        path = png(tmp_path / "a.png", bits_of(16, channels), 16)
        shares = bits_of(16, channels) / 65535
        colour, alpha = shares[..., :-1], shares[..., -1:]
        assert np.allclose(load_image(path), alpha * colour + 1 - alpha, atol=1e-6)  # float32
        assert np.allclose(load_image(path, keep_alpha=True), shares, atol=1e-7)
        assert np.array_equal(load_mask(path), colour.mean(-1) * alpha[..., 0] > 0.5)


# Netpbm, FITS, NumPy, JPEG 2000, AVIF, HEIF


@pytest.mark.parametrize("white", [1, 15, 255, 1023, 65535])
@pytest.mark.parametrize(("form", "c"), [("P2", 1), ("P3", 3), ("P5", 1), ("P6", 3), ("P7", 2), ("P7", 4), ("P7", 5)])
def test_netpbm_is_measured_in_its_own_white(form, c, white, tmp_path):
    pixels = np.random.default_rng(0).integers(0, white, (H, W, c), endpoint=True)
    if form == "P7":
        kind = {2: "GRAYSCALE_ALPHA", 4: "RGB_ALPHA", 5: "BANDS"}[c]
        header = f"P7\nWIDTH {W}\n# by hand\nHEIGHT {H}\nDEPTH {c}\nMAXVAL {white}\nTUPLTYPE {kind}\nENDHDR\n"
    else:
        header = f"{form}\n# by hand\n{W} {H}\n{white}\n"
    plain = " ".join(map(str, pixels.ravel())).encode()
    data = plain if form in ("P2", "P3") else pixels.astype(">u2" if white > 255 else "u1").tobytes()
    (tmp_path / "a.pnm").write_bytes(header.encode() + data)
    holds(tmp_path / "a.pnm", pixels, (0.0, white), has_alpha=c in (2, 4))
    (tmp_path / "a.pnm").write_bytes(header.encode() + data[: len(data) // 2])
    refused(tmp_path / "a.pnm", "is damaged")


FITS = {8: "u1", 16: ">i2", 32: ">i4", -32: ">f4", -64: ">f8"}


def fits(path, pixels, bits, **cards):
    cards = {"SIMPLE": "T", "BITPIX": bits, "NAXIS": 2, "NAXIS1": W, "NAXIS2": H} | cards
    header = "".join(f"{name:8}= {value!s:>20} / as FITS".ljust(80) for name, value in cards.items()) + "END"
    header = header.ljust(-(-len(header) // 2880) * 2880)
    path.write_bytes(header.encode() + pixels[::-1].astype(FITS[bits]).tobytes().ljust(2880, b"\0"))
    return path


@pytest.mark.parametrize("bits", FITS)
def test_fits_is_read_from_the_bottom_up(bits, tmp_path):
    pixels = array(FITS[bits].lstrip(">"))
    holds(fits(tmp_path / "a.fits", pixels, bits), pixels, LEVELS.get(FITS[bits]))


@pytest.mark.parametrize(("bits", "kind", "zero"), [(16, "u2", 2**15), (32, "u4", 2**31), (8, "i1", -128)])
def test_fits_with_bzero_does_not_wrap(bits, kind, zero, tmp_path):
    pixels = array(kind)
    path = fits(tmp_path / "a.fits", pixels.astype(np.int64) - zero, bits, BZERO=zero, BSCALE="1.0", BLANK=-1)
    decoded = holds(path, pixels, LEVELS.get(kind))
    assert decoded.pixels.dtype == kind
    assert decoded.no_data == (zero - 1,)


def test_fits_with_a_scale_is_in_its_units(tmp_path):
    pixels = array("i2")
    decoded = decode(str(fits(tmp_path / "a.fits", pixels, 16, BSCALE="1.0D-2", BZERO=273.15)))
    assert np.allclose(decoded.pixels[..., 0], pixels * 0.01 + 273.15, rtol=1e-12)
    assert decoded.levels is None


@pytest.mark.parametrize("kind", ["u1", "u2", ">u2", "i2", "f4", "f8", "?"])
@pytest.mark.parametrize("channels", [(), (1,), (3,), (5,)], ids=str)
def test_an_array_of_numpy_is_a_picture(kind, channels, tmp_path):
    pixels = array("u1", *channels) > 99 if kind == "?" else array(kind.lstrip(">"), *channels).astype(kind)
    np.save(tmp_path / "a.npy", pixels)
    holds(tmp_path / "a.npy", pixels, (0.0, 1.0) if kind == "?" else LEVELS.get(kind.lstrip(">")))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 3, 4, 5)), "contains an array of the shape"),
        (np.zeros(7), "contains an array of the shape"),
        (np.zeros((800, 2)), "looks like a sound"),
        (np.zeros((4, 5), complex), "values of the type complex128"),
        (np.array([{}]), "is not an array of numbers that can be read"),
    ],
)
def test_other_arrays_of_numpy_are_refused(content, message, tmp_path):
    np.save(tmp_path / "a.npy", content, allow_pickle=True)
    refused(tmp_path / "a.npy", message)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("channels", [(), (3,), (4,)], ids=str)
def test_jpeg_2000_keeps_its_bits(bits, channels, tmp_path):
    pixels = bits_of(bits, *channels).astype("u1" if bits == 8 else "u2")
    data = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, bitspersample=bits)
    (tmp_path / "a.jp2").write_bytes(data)
    holds(tmp_path / "a.jp2", pixels, (0.0, 2.0**bits - 1), has_alpha=channels == (4,))


@pytest.mark.parametrize("bits", [10, 12])
def test_avif_keeps_its_bits(bits, tmp_path):
    (tmp_path / "a.avif").write_bytes(imagecodecs.avif_encode(bits_of(bits, 3), bitspersample=bits, pixelformat="444"))
    holds(tmp_path / "a.avif", bits_of(bits, 3), (0.0, 2.0**bits - 1))


@pytest.mark.parametrize("bits", [8, 12])
def test_heif_is_read_with_the_extra(bits, tmp_path, monkeypatch):
    pillow_heif = pytest.importorskip("pillow_heif")
    monkeypatch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", True)
    # A ramp of even size; matrix 0 keeps RGB, without loss.
    ramp = np.add.outer(np.arange(32), np.arange(48))[..., None] * [1, 2, 3] * (1 if bits == 8 else 16)
    stored = ramp.astype("u1") if bits == 8 else (ramp << 4).astype("u2")
    options = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}
    with open(tmp_path / "a.heic", "wb") as file:
        pillow_heif.encode("RGB" if bits == 8 else "RGB;16", (48, 32), stored.tobytes(), file, **options)
    holds(tmp_path / "a.heic", ramp, (0.0, 2.0**bits - 1))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    refused(tmp_path / "a.heic", r"is a HEIF picture \(HEIC\).*pip install 'siren-jax\[heif\]'")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG"), (13, None)])  # 13: sRGB
def test_png_of_high_dynamic_range_is_said_to_be_it(transfer, name, bits, tmp_path):
    pixels = bits_of(bits, 3)
    path = png(tmp_path / "a.png", pixels, bits, chunk(b"cICP", bytes([9, transfer, 0, 1])))
    with pytest.warns(UserWarning, match=rf"is HDR \({name}\)") if name else contextlib.nullcontext():
        holds(path, pixels, (0.0, 2.0**bits - 1))


def test_a_png_has_no_chunk_after_its_end(tmp_path):
    pixels = bits_of(8, 3)
    path = png(tmp_path / "a.png", pixels, 8)
    path.write_bytes(path.read_bytes() + chunk(b"cICP", bytes([9, 16, 0, 1])))
    holds(path, pixels, (0.0, 255.0))


def test_a_curve_of_high_dynamic_range_stands_above_a_colour_profile(tmp_path):
    profile = chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(128)))  # which would be ignored with a message
    path = png(tmp_path / "a.png", bits_of(8, 3), 8, chunk(b"cICP", bytes([9, 16, 0, 1])), profile)
    with pytest.warns(UserWarning, match="is HDR") as caught:
        holds(path, bits_of(8, 3), (0.0, 255.0))
    assert len(caught) == 1


def test_heif_and_avif_of_high_dynamic_range_are_said_to_be_it(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    with open(tmp_path / "a.heic", "wb") as file:
        pillow_heif.encode("RGB", (16, 16), bytes(16 * 16 * 3), file, transfer_characteristics=18)
    PIL.Image.new("RGB", (16, 16)).save(tmp_path / "a.avif")
    data = (tmp_path / "a.avif").read_bytes()
    place = data.index(b"colrnclx") + 10
    (tmp_path / "a.avif").write_bytes(data[:place] + b"\0\x10" + data[place + 2 :])
    for name, curve in (("a.heic", "HLG"), ("a.avif", "PQ")):
        with pytest.warns(UserWarning, match=rf"is HDR \({curve}\)"):
            load_image(tmp_path / name)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sgi_is_read_with_eight_bits_and_refused_with_sixteen(channels, tmp_path):
    for size in (1, 2):
        pixels = bits_of(8 * size, channels)
        shape = pixels.shape[1], pixels.shape[0], channels
        header = struct.pack(">hBBHHHHll", 474, 0, size, 2 if channels == 1 else 3, *shape, 0, 256**size - 1)
        planes = pixels[::-1].transpose(2, 0, 1).astype(f">u{size}")  # from the lowest row up
        (tmp_path / f"{size}.sgi").write_bytes(header.ljust(512, b"\0") + planes.tobytes())
    holds(tmp_path / "1.sgi", bits_of(8, channels), (0.0, 255.0), has_alpha=channels == 4)
    refused(tmp_path / "2.sgi", "has 16 bits per channel in the format SGI, of which 8 would be read; convert it")


# Words


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x76\x2f\x31\x01\2\0\0\0", "is an OpenEXR picture, which cannot be read; convert it to a float TIFF"),
        (b"\xff\x0a\xfa\x1f", "is a JPEG XL picture, which cannot be read; convert it to PNG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "is a JPEG XL picture"),
        (b"#?RADIANCE\n", "is a Radiance picture"),
        (b"%PDF-1.7\n", "is a PDF document"),
        (b'<?xml version="1.0"?><svg/>', "such as a vector graphic, which cannot be read; export it as PNG"),
    ],
)
def test_formats_that_are_not_read_are_named_with_the_way_out(content, message, tmp_path):
    (tmp_path / "a.png").write_bytes(content + bytes(200))
    refused(tmp_path / "a.png", message)


def test_a_pipe_is_called_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    refused(tmp_path / "a.png", "is a pipe or a device.*write it to a file first")


def test_previews_and_sizes_of_icons_are_no_frames(tmp_path):
    photo = PIL.Image.fromarray(array("u1", 3))
    photo.save(tmp_path / "a.mpo", save_all=True, append_images=[photo.resize((8, 8))])
    photo.resize((48, 48)).save(tmp_path / "a.ico", sizes=[(16, 16), (32, 32)])
    for name in ("a.mpo", "a.ico"):
        load_image(tmp_path / name)  # a warning would be an error


# Limits


def claims(path, h, w):
    header = struct.pack(">IIBBBBB", w, h, 16, 6, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))


def test_a_picture_without_pixels_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", array("u2"), compression="zlib")
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages[0].tags[257].overwrite(0)
    refused(tmp_path / "a.tif", "is damaged: according to its header it has 0 x 37 pixels")


def test_what_a_header_claims_is_weighed_before_memory_is_taken(tmp_path):
    claims(tmp_path / "a.png", 8000, 8000)
    refused(tmp_path / "a.png", "bytes can hardly contain")
    claims(tmp_path / "a.png", 12000, 12000)
    refused(tmp_path / "a.png", "bytes can hardly contain")
    (tmp_path / "a.pgm").write_bytes(b"P5 60000 60000 1023\n")
    refused(tmp_path / "a.pgm", "is too large to be decoded")
    tile = {"tile": (16, 16), "compression": "zlib", "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((16, 16), np.uint16), **tile)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        for tag in (322, 323):
            file.pages[0].tags[tag].overwrite(32768)
    refused(tmp_path / "a.tif", "is too large to be decoded|bytes can hardly contain")


@pytest.mark.parametrize("form", ["png", "jpg", "tif"])
def test_a_picture_beyond_the_limit_is_taken_if_it_is_shrunk_below(form, tmp_path, monkeypatch):
    y, x = np.mgrid[:600, :840]
    waves = np.stack([np.sin(x / 9), np.cos(y / 7), np.sin((x + y) / 40)], -1)
    pixels = np.rint(127.5 + 100 * waves).astype(np.uint8)
    path = tmp_path / f"a.{form}"
    PIL.Image.fromarray(pixels).save(path, **({"quality": 95, "subsampling": 0} if form == "jpg" else {}))
    whole = load_image(path, size=42)
    for module in (
        rooms,
        shrinking,
        sys.modules["siren_jax.formats.pictures"],
        sys.modules["siren_jax.signals.image"],
    ):
        monkeypatch.setattr(module, "MAX_PIXELS", 100_000)
    with pytest.raises(InputError, match=r"600 x 840 pixels is too large to fit.*such as size="):
        load_image(path)
    for options in ({"size": 42}, {"downsample": 20}):
        image = load_image(path, **options)
        assert image.shape == (30, 42, 3)
        # Means and then a Gaussian have the variance of the one Gaussian; their fourth moments differ by 5⁴/120, which
        # is (2πf)⁴/24 of that, 1e-4, for the fastest wave, f = 1/44. JPEG: levels of 8 bits. At the border the whole
        # picture is reflected half a pixel further in: half of the steepest slope, 100/9 levels a pixel.
        error = np.abs(image - whole)
        assert error[2:-2, 2:-2].max() < (0.004 if form == "jpg" else 0.0005)
        assert error.max() < 0.5 * 100 / 9 / 255


def test_means_over_equal_areas_are_those_of_the_pixels_and_keep_the_whole():
    image = np.random.default_rng(0).random((23, 31, 2)).astype(np.float32)
    means = shrinking.Means(23, 31, 2, (7, 10))
    for top in range(0, 23, 4):
        means.add(top, image[top : top + 4])
    fine = image.repeat(7, 0).repeat(10, 1).astype(np.float64)  # each of the 7 x 10 areas is 23 x 31 of these
    slow = fine.reshape(7, 23, 10, 31, 2).mean((1, 3))
    assert np.allclose(means.array, slow, atol=1e-6)  # float32


# Colour profiles

D65 = (0.3127, 0.3290)
SRGB, DISPLAY_P3 = [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)], [(0.68, 0.32), (0.265, 0.69), (0.15, 0.06)]


def curve(v):
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def inverse_curve(v):
    return np.where(v <= 0.0031308, 12.92 * v, 1.055 * np.maximum(v, 0) ** (1 / 2.4) - 0.055)


def to_xyz(primaries):
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    x, y = D65
    return columns * np.linalg.solve(columns, [x / y, 1, (1 - x - y) / y])


def profile_of(primaries):
    flat = [v for xy in primaries for v in (*xy, 1.0)]
    table = curve(np.linspace(0, 1, 4096)).astype(np.float32)
    return imagecodecs.cms_profile("rgb", whitepoint=[*D65, 1.0], primaries=flat, transferfunction=table)


def in_srgb(colours):
    linear = curve(colours) @ to_xyz(DISPLAY_P3).T @ np.linalg.inv(to_xyz(SRGB)).T
    return inverse_curve(np.clip(linear, 0, 1))


@pytest.mark.parametrize("form", ["png", "tif", "jpg"])
def test_display_p3_of_eight_bits_becomes_srgb(form, tmp_path):
    pixels = np.repeat(np.repeat(array("u1", 3)[:4, :5], 16, 0), 16, 1)
    options = {"quality": 100, "subsampling": 0} if form == "jpg" else {}
    PIL.Image.fromarray(pixels).save(tmp_path / f"a.{form}", icc_profile=profile_of(DISPLAY_P3), **options)
    error = np.abs(load_image(tmp_path / f"a.{form}") - in_srgb(pixels / 255)).max()
    assert error < (4 if form == "jpg" else 1.2) / 255  # rounded twice; JPEG rounds YCbCr and coefficients before


def test_display_p3_of_sixteen_bits_becomes_srgb_and_keeps_its_transparency(tmp_path):
    data = zlib.compress(profile_of(DISPLAY_P3))
    path = png(tmp_path / "a.png", bits_of(16, 4), 16, chunk(b"iCCP", b"P3\0\0" + data))
    image, written = load_image(path, keep_alpha=True), bits_of(16, 4) / 65535
    assert np.abs(image[..., :3] - in_srgb(written[..., :3])).max() < 0.3 / 255  # the curve is a table of 4096
    assert np.allclose(image[..., 3], written[..., 3], atol=1e-7)
    tifffile.imwrite(tmp_path / "a.tif", bits_of(16, 3), photometric="rgb", iccprofile=profile_of(DISPLAY_P3))
    assert np.abs(load_image(tmp_path / "a.tif") - in_srgb(bits_of(16, 3) / 65535)).max() < 0.3 / 255


def test_twelve_bits_with_a_profile_become_srgb(tmp_path):
    decoded = rooms.Decoded(bits_of(12, 3), (0.0, 4095.0))
    from siren_jax.formats.colour_profiles import in_srgb as convert

    converted = convert(decoded, profile_of(DISPLAY_P3), "a")
    expected = in_srgb(bits_of(12, 3) / 4095)
    assert np.abs(converted.pixels / converted.levels[1] - expected).max() < 0.3 / 255


@pytest.mark.parametrize("bits", [8, 16])
def test_an_srgb_profile_changes_nothing(bits, tmp_path):
    for profile in (profile_of(SRGB), imagecodecs.cms_profile("srgb")):
        piece = chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(profile))
        path = png(tmp_path / "a.png", bits_of(bits, 3), bits, piece)
        holds(path, bits_of(bits, 3), (0.0, 2.0**bits - 1))


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_grey_with_a_profile_stays_one_channel(kind, tmp_path):
    profile = imagecodecs.cms_profile("gray", whitepoint=[*D65, 1.0], gamma=1.8)
    tifffile.imwrite(tmp_path / "a.tif", array(kind), photometric="minisblack", iccprofile=profile)
    expected = inverse_curve((array(kind) / np.iinfo(kind).max) ** 1.8)
    image = load_image(tmp_path / "a.tif")
    assert image.shape == (H, W, 1)
    assert np.abs(image[..., 0] - expected).max() < 1.5 / 255  # LittleCMS rounds in between
    tifffile.imwrite(tmp_path / "a.tif", array(kind), photometric="minisblack", iccprofile=profile_of(SRGB))
    holds(tmp_path / "a.tif", array(kind), LEVELS[kind])


@pytest.mark.parametrize(
    "profile", [b"\0" * 200, b"no profile", profile_of(DISPLAY_P3)[:300]], ids=["zeros", "text", "cut"]
)
def test_a_broken_profile_is_ignored_with_a_warning(profile, tmp_path):
    PIL.Image.fromarray(array("u1", 3)).save(tmp_path / "a.tif", icc_profile=profile)
    with pytest.warns(UserWarning, match="the colour profile of .* is ignored, and its colours are read as sRGB"):
        holds(tmp_path / "a.tif", array("u1", 3), LEVELS["u1"])


def test_a_profile_for_other_channels_is_ignored_with_a_warning(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.tif",
        array("u2", 5),
        photometric="minisblack",
        planarconfig="contig",
        iccprofile=profile_of(DISPLAY_P3),
    )
    with pytest.warns(UserWarning, match="it is for RGB, but the picture has 5 channels"):
        holds(tmp_path / "a.tif", array("u2", 5), LEVELS["u2"])


def test_a_float_picture_with_a_profile_says_that_it_is_ignored(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", array("f4", 3), photometric="rgb", iccprofile=profile_of(DISPLAY_P3))
    with pytest.warns(UserWarning, match="has values of the type float32"):
        holds(tmp_path / "a.tif", array("f4", 3), None)


def test_a_profile_of_inks_is_used(tmp_path):
    # No profile of inks can be made here: one for other colours is ignored, and the formula is used.
    PIL.Image.frombytes("CMYK", (W, H), array("u1", 4).tobytes()).save(
        tmp_path / "a.tif", icc_profile=profile_of(DISPLAY_P3)
    )
    with pytest.warns(UserWarning, match="it is for RGB, but the picture has 4 channels"):
        image = load_image(tmp_path / "a.tif")
    ink = array("u1", 4) / 255
    assert np.allclose(image, (1 - ink[..., :3]) * (1 - ink[..., 3:]), atol=0.51 / 255)


def test_bytes_of_a_picture_that_pillow_reads_right_are_unchanged(tmp_path):
    for mode, form in itertools.product(("1", "L", "LA", "P", "RGB", "RGBA"), ("PNG", "TIFF", "WEBP", "BMP", "TGA")):
        picture = PIL.Image.fromarray(array("u1", 4)).convert(mode)
        buffer = io.BytesIO()
        try:
            picture.save(buffer, form, **({"lossless": True, "exact": True} if form == "WEBP" else {}))
        except OSError:  # a mode that the format has not
            continue
        (tmp_path / "a").write_bytes(buffer.getvalue())
        read = PIL.Image.open(buffer)
        bands = {"1": "L", "P": "RGBA" if read.has_transparency_data else "RGB"}.get(read.mode, read.mode)
        expected = np.asarray(read.convert(bands))
        holds(tmp_path / "a", expected, (0.0, 255.0), has_alpha=bands[-1] == "A")
