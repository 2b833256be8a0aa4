"""Conversion of a picture's colours to sRGB by the ICC profile in its file, and a warning of HDR."""

import itertools
import warnings
from dataclasses import replace

import numpy as np
from numpy import ndarray

from siren_jax.formats.decoded import Decoded

HDR = {16: "PQ", 18: "HLG"}
"""Transfer functions of high dynamic range, by their numbers in ITU-T H.273, which FFmpeg, PNG, HEIF and AVIF use."""

_SPACES = {b"GRAY": ("gray", 1), b"RGB ": ("rgb", 3), b"CMYK": ("cmyk", 4)}
_STRIP = 2**20  # pixels at a time


def warn_of_hdr(path: str, transfer: int | None, *, stacklevel: int) -> bool:
    """Warns if a file's transfer function is one of high dynamic range; returns whether it is.

    Args:
        path: path of the file.
        transfer: number of its transfer function; None if the file has none.
        stacklevel: as for `warnings.warn`, from here.
    """
    if transfer in HDR:
        warnings.warn(
            f"{path!r} is HDR ({HDR[transfer]}): its values are not converted, and look pale on other screens.",
            stacklevel=stacklevel,
        )
    return transfer in HDR


def in_srgb(decoded: Decoded, profile: bytes | None, path: str, *, ink: bool = False) -> Decoded:
    """The picture with its colours in sRGB. Grey stays one channel, CMYK becomes RGB, and transparency is unchanged.

    A profile that differs from sRGB by at most one level of 255 changes nothing. A profile that cannot be used is
    ignored with a warning.

    Args:
        decoded: the picture in the colours of the profile.
        profile: an ICC profile, if the file has one.
        path: path of the file, for the warning.
        ink: whether the channels are cyan, magenta, yellow and black (CMYK), in which larger values are darker.
    """
    result = decoded
    try:
        if profile:
            result = _converted(decoded, profile, ink)
    except Exception as error:  # LittleCMS may raise any error
        warnings.warn(
            f"the colour profile of {path!r} is ignored, and its colours are read as sRGB: {error}.", stacklevel=5
        )
    return _without_ink(decoded) if ink and result is decoded else result


def _converted(decoded: Decoded, profile: bytes, ink: bool) -> Decoded:
    space, channels = _SPACES.get(profile[16:20], ("", 0))
    if not channels:
        raise ValueError(f"it is for the colours {profile[16:20].decode('ascii', 'replace').strip()!r}")
    if channels < 4 and _is_srgb(profile, space, channels):
        return decoded
    colour = decoded.pixels[..., :-1] if decoded.has_alpha else decoded.pixels
    expected = 4 if ink else min(channels, 3) if colour.shape[-1] in (1, 3) else 0
    if ink != (channels == 4) or colour.shape[-1] not in (1, expected):
        raise ValueError(f"it is for {space.upper()}, but the picture has {colour.shape[-1]} channels of another kind")
    if decoded.levels is None or colour.dtype.kind != "u":
        raise ValueError(f"the picture has values of the type {colour.dtype}")
    white = np.iinfo(colour.dtype).max
    kept = 1 if colour.shape[-1] == 1 else 3
    pixels = np.empty((*colour.shape[:2], kept + decoded.has_alpha), colour.dtype)
    rows = max(1, _STRIP // colour.shape[1])
    for top in range(0, len(colour), rows):
        strip, place = decoded.pixels[top : top + rows], pixels[top : top + rows]
        if decoded.levels[1] != white:  # 12 bits in 16
            strip = np.rint(strip * (white / decoded.levels[1])).astype(colour.dtype)
        inks = strip[..., : colour.shape[-1]]
        place[..., :kept] = _transform(np.repeat(inks, channels // inks.shape[-1], -1), profile, space)[..., :kept]
        place[..., kept:] = strip[..., colour.shape[-1] :]
    return replace(decoded, pixels=pixels, levels=(0.0, float(white)))


def _is_srgb(profile: bytes, space: str, channels: int) -> bool:
    ramp = np.arange(0, 256, 1 if channels == 1 else 17, dtype=np.uint8)
    colours = np.array(list(itertools.product(ramp, repeat=channels)), np.uint8)[None]
    return bool(np.abs(_transform(colours, profile, space).astype(int) - colours).max() <= 1)


def _transform(colours: ndarray, profile: bytes, space: str) -> ndarray:
    """Colours `(h, w, channels)` converted to sRGB `(h, w, 3)`, in the same type."""
    import imagecodecs
    from PIL import ImageCms

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    if space == "gray":
        colours = colours[..., 0]
    # By default LittleCMS replaces a 16-bit transform by a coarse table, with errors of up to 12 levels of 255.
    exact = imagecodecs.CMS.FLAGS.NOOPTIMIZE if colours.dtype.itemsize > 1 else 0
    return imagecodecs.cms_transform(
        np.ascontiguousarray(colours),
        profile,
        srgb,
        colorspace=space,
        outcolorspace="rgb",
        intent=imagecodecs.CMS.INTENT.RELATIVE_COLORIMETRIC,
        flags=exact,
    )


def _without_ink(decoded: Decoded) -> Decoded:
    """RGB from CMYK without a profile: R = (1 - C)(1 - K), and likewise for G and B."""
    assert decoded.levels is not None
    white, pixels = decoded.levels[1], decoded.pixels
    colour = np.rint((white - pixels[..., :3].astype(np.float32)) * ((white - pixels[..., 3:4]) / np.float32(white)))
    return replace(decoded, pixels=np.concatenate([colour.astype(pixels.dtype), pixels[..., 4:]], axis=-1))
