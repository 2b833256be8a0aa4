"""Decoding of video files into frames with times; `signals.video` converts these to a signal."""

import math
import re
import warnings
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.formats import ffmpeg
from siren_jax.formats.colour_profiles import warn_of_hdr
from siren_jax.formats.decoded import MAX_PIXELS

GIF = b"GIF8"
GIF_MILLISECONDS = 100  # duration of a GIF's frame without one, as in browsers
MAX_RATE = Fraction(120)  # for frames of uneven duration; nobody sees shorter ones
UNSPECIFIED = 2  # FFmpeg's number for an unspecified matrix between RGB and YUV
HD = 720  # number of rows from which television uses another matrix


class Shot(NamedTuple):
    """A frame of a file, and the times when it is shown, in seconds from the first frame."""

    begin: Fraction
    end: Fraction
    values: Callable[[], UInt8[ndarray, "h w 3"]]
    """Function that returns the pixels, upright. It must be called before the next shot is read."""
    sides: tuple[int, int]
    """Height and width at which the frame is shown, corrected for pixels that are not square."""


class VideoFile(NamedTuple):
    """An open video file."""

    rates: tuple[Fraction, ...]
    """Frames per second in the header, the more likely first: the average, and the one whose period divides all
    times."""
    shots: Iterator[Shot]


def read_gif(file: IO[bytes], path: str) -> VideoFile:
    """The frames of a GIF, with white under transparent pixels."""
    return VideoFile((), _gif_shots(file, path))


def _gif_shots(file: IO[bytes], path: str) -> Iterator[Shot]:
    from PIL import Image

    end, number = Fraction(0), 0
    try:
        with Image.open(file) as picture:
            while True:  # to the end of the file, or until it breaks off, where `n_frames` would fail
                try:
                    picture.seek(number)
                    picture.load()
                except EOFError:
                    return
                except Exception as error:
                    if not number:
                        raise
                    text = f"{path!r} is damaged or truncated: {number} frames could be decoded ({error})."
                    warnings.warn(text, stacklevel=4)
                    return
                begin = end
                end += Fraction(int(picture.info.get("duration", 0)) or GIF_MILLISECONDS, 1000)
                number += 1
                frame = picture.convert("RGBA")
                yield Shot(begin, end, lambda frame=frame: over_white(np.asarray(frame)), (frame.height, frame.width))
    except Exception as error:  # Pillow's parser may raise any error: IndexError, struct.error, DecompressionBombError
        raise InputError(f"{path!r} is a damaged GIF: {error}") from None


def read(container: Any, path: str) -> VideoFile:
    """The frames of an open container; see `ffmpeg.opened`."""
    stream = container.streams.best("video")
    if stream is None:
        raise InputError(f"{path!r} contains no video, or is truncated.")
    if stream.codec_context is None:
        raise InputError(f"{path!r} is in a format that this FFmpeg does not decode.")
    if stream.width * stream.height > MAX_PIXELS:
        raise InputError(
            f"{path!r} has frames of {stream.height} x {stream.width} pixels; up to {MAX_PIXELS:,} are accepted."
        )
    stream.thread_type = "AUTO"
    rates = tuple(Fraction(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate)
    return VideoFile(rates, _shots(container, stream, path, rates[0] if rates else Fraction(25)))


def _shots(container: Any, stream: Any, path: str, rate: Fraction) -> Iterator[Shot]:
    aspect = float(stream.sample_aspect_ratio or 1)
    frames = ffmpeg.Frames(container, stream)
    count, origin, begin, lasting = 0, Fraction(0), Fraction(0), 1 / rate
    waiting: Any = None  # a frame lasts until the next one begins
    for frame in frames:
        time = Fraction(count) / rate if frame.pts is None else frame.pts * Fraction(frame.time_base)
        if waiting is None:
            origin = time
            _warn(frame, stream, path)
        else:
            lasting = max(Fraction(0), time - origin - begin)
            yield _shot(begin, begin + lasting, waiting, aspect)
            begin += lasting
        count, waiting = count + 1, frame
    if waiting is None:
        return
    # MP4 and MOV have durations, but in the order of decoding; for other formats FFmpeg guesses them.
    if "mp4" in container.format.name and not stream.codec_context.has_b_frames:
        lasting = waiting.duration * Fraction(waiting.time_base)
    yield _shot(begin, begin + lasting, waiting, aspect)
    if frames.damaged or not _is_whole(stream, count, origin, begin + lasting):
        warnings.warn(f"{path!r} is damaged or truncated: {count} frames could be decoded.", stacklevel=4)


def _is_whole(stream: Any, count: int, origin: Fraction, end: Fraction) -> bool:
    """Whether at least 90 % of the duration, or of the frames, in the file's header was decoded."""
    said = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    if said:  # in Matroska and WebM, the end of the last frame
        promised = sum(float(part) * unit for part, unit in zip(said.groups(), (3600, 60, 1), strict=True))
        return origin + end >= 0.9 * promised
    # A header may count frames that an edit list leaves out.
    return end >= 0.9 * stream.duration * stream.time_base if stream.duration else count >= 0.9 * stream.frames


def _shot(begin: Fraction, end: Fraction, frame: Any, aspect: float) -> Shot:
    turn, sides = _display(frame), (frame.height, max(1, round(frame.width * aspect)))
    shown = (sides[1], sides[0]) if turn(np.zeros(sides, bool)).shape != sides else sides
    return Shot(begin, end, lambda: turn(_colours(frame)), shown)


def _display(frame: Any) -> Callable[[ndarray], ndarray]:
    """A function that turns and mirrors a frame's array so that it is upright."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return lambda values: values
    # The point (x, y) is shown at (a·x + c·y, b·x + d·y).
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32)[:5].astype(np.int64)
    if turned := abs(b) + abs(c) > abs(a) + abs(d):
        a, d = c, b
    rows, columns = slice(None, None, -1 if d < 0 else 1), slice(None, None, -1 if a < 0 else 1)
    return lambda values: (np.swapaxes(values, 0, 1) if turned else values)[rows, columns]


def _colours(frame: Any) -> UInt8[ndarray, "h w 3"]:
    transparent = any(component.is_alpha for component in frame.format.components)
    if any((c.height, c.width) < (frame.height, frame.width) for c in frame.format.components[1:]):
        # Colour has fewer samples, which FFmpeg interpolates only with this call: 5 dB more on saturated colours.
        deep = frame.format.components[0].bits > 8
        format = f"yuv{'a' if transparent else ''}444p{'16le' if deep else ''}"
        frame = frame.reformat(format=format, interpolation="BICUBIC")
    return over_white(frame.to_ndarray(format="rgba")) if transparent else frame.to_ndarray(format="rgb24")


def over_white(values: UInt8[ndarray, "h w 4"]) -> UInt8[ndarray, "h w 3"]:
    """Colours with transparency, combined with a white background."""
    alpha = values[..., 3:].astype(np.uint16)
    return ((values[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _warn(frame: Any, stream: Any, path: str) -> None:
    """Warns of properties of the first frame, and thus of all frames, that are not shown as intended."""
    if ("alpha_mode", "1") in {(name.lower(), value) for name, value in stream.metadata.items()}:
        warnings.warn(f"{path!r} has transparency, which FFmpeg leaves out in VP8 and VP9.", stacklevel=5)
    if frame.interlaced_frame:
        warnings.warn(f"{path!r} is interlaced: the two moments in each frame are not separated.", stacklevel=5)
    warn_of_hdr(path, frame.color_trc, stacklevel=6)
    coloured = len(frame.format.components) > 2 and not frame.format.is_rgb
    if coloured and frame.colorspace == UNSPECIFIED and frame.height >= HD:
        warnings.warn(
            f"{path!r} does not declare its colour matrix: BT.601 is assumed, as in FFmpeg; if it is BT.709, saturated "
            "colours are up to 9 % off.",
            stacklevel=5,
        )


def schedule(
    begins: list[Fraction], ends: list[Fraction], rates: tuple[Fraction, ...], path: str
) -> tuple[Fraction, list[int]]:
    """An even rate for frames, and the number of each frame at that rate.

    Frames that begin within half a period of even times count as even. Other frames get a rate at which the shortest
    one is shown, with a warning, and a frame is repeated until the next one begins: number k is shown at k/rate.

    Args:
        begins: times when frames are first shown, in seconds, ascending.
        ends: times when the next frames are first shown.
        rates: frames per second in the header; see `VideoFile`.
        path: path of the file, for the warning.
    """
    durations = [end - begin for begin, end in zip(begins, ends, strict=True) if end > begin]
    if not durations:  # no times
        return rates[0] if rates else Fraction(25), list(range(len(begins)))
    shortest, longest = min(durations), max(durations)
    measured = len(begins) / (ends[-1] - begins[0])
    if 2 * longest < 3 * shortest and len(durations) == len(begins):
        for rate in (*rates[:1], measured):
            shifts = [(begin - begins[0]) * rate - number for number, begin in enumerate(begins)]
            if 2 * max(map(abs, shifts)) <= 1 and 10 * abs(rate - measured) <= measured:
                first = nearest(begins[0] * rate)
                return rate, list(range(first, first + len(begins)))
    rate = min(1 / shortest, max(MAX_RATE, measured))
    for header in rates[1:]:
        if all(10 * abs(begin * header - nearest(begin * header)) <= 1 for begin in begins):
            rate = min(rate, header)
    numbers = [math.ceil(begin * rate - Fraction(1, 10)) for begin in begins]  # a tenth allows for rounded times
    left_out = len(numbers) - len(set(numbers))
    left = f"; {left_out:,} too short to be shown are left out" if left_out else ""
    warnings.warn(
        f"{path!r} has frames of uneven duration, {1000 * float(shortest):,.0f} to {1000 * float(longest):,.0f} ms: "
        f"they become {float(rate):g} frames per second, each repeated for its duration{left}.",
        stacklevel=4,
    )
    return rate, numbers


def nearest(number: Fraction) -> int:
    """The nearest integer; a half is rounded up."""
    return math.floor(number + Fraction(1, 2))
