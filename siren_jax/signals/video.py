"""Video files as arrays, and back."""

import math
import os
import re
import warnings
from collections.abc import Generator, Iterable
from contextlib import closing
from fractions import Fraction
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.signals.files import check_file
from siren_jax.signals.image import MAX_PIXELS, shrunk_sides

MAX_BYTES = 2**30  # of decoded frames; decoding and fitting need as much again, each
MAX_FRAMES = 2**24
GIF = b"GIF8"
GIF_MILLISECONDS = 100  # of a frame of a GIF that has no duration, as browsers show it
H264_SIDE = 16384  # the largest of the format
QUALITY = "16"  # x264's constant rate factor: 0 loses nothing, 23 is its default


class Video(NamedTuple):
    """Frames of a video and their number a second."""

    frames: UInt8[ndarray, "t h w c"]
    """One channel (grey) or three (RGB)."""
    rate: float
    """Frames a second."""

    @property
    def seconds(self) -> float:
        return len(self.frames) / self.rate


class _Frame(NamedTuple):
    """A decoded frame, and the height and width it is to be shown with, where pixels are not square."""

    values: UInt8[ndarray, "h w 3"]
    sides: tuple[int, int]


def load_video(
    path: str | os.PathLike[str],
    *,
    downsample: int = 1,
    size: int | None = None,
    between: tuple[float, float] | None = None,
) -> Video:
    """A video file, upright: MP4, MOV, MKV, WebM, AVI and what else FFmpeg reads; GIF alone without the extra `video`.

    Frames are resized as they are decoded, so that memory is twice that of the result, which is at most 1 GiB: a byte a
    value. A video without colour becomes grey. Frames of uneven duration are taken as even; of a GIF they are repeated
    instead.

    Args:
        path: the file.
        downsample: divide both sides by this whole number, with a filter against aliasing.
        size: resize so that the longer side has this many pixels, likewise; after `downsample`.
        between: start and stop of the part that is read, in seconds; by default all.

    Raises:
        InputError: the file is missing, damaged, no video, of one frame, too large, or needs the extra.
    """
    path = os.fspath(path)
    check_file(path, "a video file")
    start, stop = (0.0, math.inf) if between is None else between
    if not 0 <= start < stop:
        raise InputError(f"a part of a video has a start before a stop, both from 0 s on, but is {start:g} {stop:g}.")
    frames: list[ndarray] = []
    sides, room = (1, 1), MAX_BYTES
    with open(path, "rb") as file:
        gif = file.read(len(GIF)) == GIF
        file.seek(0)
        with closing((_decode_gif if gif else _decode)(file, path, start, stop)) as decoded:
            rate = next(decoded)
            for values, shown in decoded:
                if not frames:
                    sides = shrunk_sides(*shown, downsample=downsample, size=size)
                frames.append(_without_colour(_resized(values, sides)))
                room -= frames[-1].nbytes
                if room < 0:
                    raise InputError(_too_large(path, len(frames) - 1, sides))
    part = "" if between is None else f" from {start:g} to {stop:g} s"
    if len(frames) < 2:
        raise InputError(f"a video has at least 2 frames, but {path!r} has {len(frames)}{part}; one is a picture.")
    if stop < math.inf and len(frames) < _number(stop, rate) - _number(start, rate):
        raise InputError(f"{path!r} ends after {start + len(frames) / rate:g} s;{part} were asked for.")
    channels = max(frame.shape[-1] for frame in frames)
    if len(frames) * math.prod(sides) * channels > MAX_BYTES:
        raise InputError(_too_large(path, len(frames), sides))
    video = np.empty((len(frames), *sides, channels), np.uint8)
    for number, frame in enumerate(frames):
        video[number] = frame
    return Video(video, rate)


def encode_video(file: IO[bytes], frames: Iterable[UInt8[ndarray, "h w c"]], rate: float, suffix: str) -> None:
    """Writes frames in the format of a suffix: ".mp4" (H.264), ".gif".

    An MP4 is written frame by frame, and has even sides: the last row or column is repeated where they are odd, with a
    warning. A GIF is held in memory until its end, a byte a pixel; it has 256 colours, and durations of hundredths of a
    second.

    Args:
        file: opened for writing, seekable.
        frames: of one shape; one channel or three.
        rate: frames a second.
        suffix: of the format.

    Raises:
        InputError: MP4 without the extra `video`, or a rate or a size that the format does not have.
    """
    rgb = (np.repeat(frame, 3, axis=-1) if frame.shape[-1] == 1 else frame for frame in frames)
    slowest, fastest = (0.01, 50.0) if suffix == ".gif" else (0.01, 1000.0)
    if not slowest <= rate <= fastest:
        raise InputError(f"{suffix} has {slowest:g} to {fastest:g} frames a second, but {rate:g} were asked for.")
    (_encode_gif if suffix == ".gif" else _encode_mp4)(file, rgb, rate)


def writes_mp4() -> bool:
    """Whether the extra `video` is there, with the encoder of H.264; without it GIF alone is written."""
    try:
        import av
    except ImportError:
        return False
    return "libx264" in av.codecs_available


def _decode(file: IO[bytes], path: str, start: float, stop: float) -> Generator[Any, None, None]:
    """The rate, then the frames of a part, decoded with FFmpeg."""
    av = _av(os.path.basename(path))
    number = damaged = promised = 0
    ended = lasting = 0.0  # seconds: when the last frame ends, and how long all last by the header
    try:
        # An open file, not its name: FFmpeg takes a name with a colon for a protocol, and would follow a playlist.
        with av.open(file, options={"protocol_whitelist": "file"}) as container:
            stream = container.streams.best("video")
            if stream is None:
                raise InputError(f"{path!r} holds no video, or is cut short.")
            if stream.codec_context is None:
                raise InputError(f"{path!r} is in a format that this FFmpeg does not decode.")
            if stream.width * stream.height > MAX_PIXELS:
                raise InputError(
                    f"{path!r} has frames of {stream.height} x {stream.width} pixels; up to {MAX_PIXELS:,} are taken."
                )
            stream.thread_type = "AUTO"
            promised, lasting = stream.frames, _lasting(stream)
            aspect = float(stream.sample_aspect_ratio or 1)
            rate = float(stream.average_rate or stream.guessed_rate or 25)
            yield rate
            for packet in container.demux(stream):
                try:
                    decoded = packet.decode()
                except av.InvalidDataError:
                    damaged += 1
                    continue
                for frame in decoded:
                    number, ended = number + 1, (frame.time or 0.0) + 1 / rate
                    if number > _number(stop, rate):
                        return
                    if number > _number(start, rate):
                        yield _upright(frame, aspect)
    except (av.FFmpegError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        if not number:
            reason = getattr(error, "strerror", None) or error  # without FFmpeg's number and the path
            raise InputError(f"{path!r} is not a video that FFmpeg reads, or is damaged: {reason}.") from None
        damaged += 1
    # A header may count frames that an edit list leaves out.
    if damaged or number < max(1, 0.9 * promised) or ended < 0.9 * lasting:
        warnings.warn(f"{path!r} is damaged or cut short: {number} frames could be decoded.", stacklevel=3)


def _lasting(stream) -> float:
    """Seconds that a video lasts by a Matroska file or a WebM, which count no frames; 0 where a file does not say."""
    said = re.fullmatch(r"(\d+):(\d+):(\d+\.?\d*)", stream.metadata.get("DURATION", ""))
    return sum(float(part) * unit for part, unit in zip(said.groups(), (3600, 60, 1), strict=True)) if said else 0.0


def _upright(frame, aspect: float) -> _Frame:
    quarters = round(frame.rotation / 90)  # before the frame is converted, which forgets it
    sides = frame.height, max(1, round(frame.width * aspect))
    if any((c.height, c.width) < (frame.height, frame.width) for c in frame.format.components[1:]):
        # Colour has fewer samples. FFmpeg interpolates them on this way only, 5 dB on saturated colours.
        frame = frame.reformat(format="yuv444p", interpolation="BICUBIC")
    return _Frame(np.rot90(frame.to_ndarray(format="rgb24"), quarters), (sides[1], sides[0]) if quarters % 2 else sides)


def _decode_gif(file: IO[bytes], path: str, start: float, stop: float) -> Generator[Any, None, None]:
    """The rate, then the frames of a part; where durations differ much, that of the shortest, and others repeated."""
    from PIL import Image

    white = Image.new("RGBA", (1, 1), "white")
    durations: list[int] = []
    try:
        with Image.open(file) as picture:
            try:
                while True:  # to the end of the file, or to where it breaks off: `n_frames` would not get beyond that
                    picture.seek(len(durations))
                    picture.load()
                    durations.append(int(picture.info.get("duration", 0)) or GIF_MILLISECONDS)
            except EOFError:
                pass
            except Exception as error:
                if not durations:
                    raise
                text = f"{path!r} is damaged or cut short: {len(durations)} frames could be decoded ({error})."
                warnings.warn(text, stacklevel=3)
            ends, shortest = np.cumsum(durations), min(durations)
            step = shortest if max(durations) >= 1.5 * shortest else ends[-1] / len(durations)
            rate, count = float(1000 / step), round(ends[-1] / step)
            yield rate
            for number in range(_number(start, rate), min(count, _number(stop, rate))):
                picture.seek(min(int(np.searchsorted(ends, (number + 0.5) * step)), len(ends) - 1))
                frame = picture.convert("RGBA")
                values = np.asarray(Image.alpha_composite(white.resize(frame.size), frame).convert("RGB"))
                yield _Frame(values, (frame.height, frame.width))
    except Exception as error:  # whatever Pillow's parser trips over: IndexError, struct.error, DecompressionBombError
        raise InputError(f"{path!r} is a damaged GIF: {error}") from None


def _encode_gif(file: IO[bytes], frames: Iterable[UInt8[ndarray, "h w 3"]], rate: float) -> None:
    from PIL import Image

    pictures = [Image.fromarray(frame).quantize() for frame in frames]
    ends = [round(100 * (number + 1) / rate) for number in range(len(pictures))]
    durations = [10 * (end - begin) for begin, end in zip([0, *ends], ends, strict=False)]
    pictures[0].save(file, format="GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)


def _encode_mp4(file: IO[bytes], frames: Iterable[UInt8[ndarray, "h w 3"]], rate: float) -> None:
    av = _av("an MP4")
    if not writes_mp4():
        raise InputError("this build of PyAV has no encoder of H.264; write a .gif.")
    stream = None
    try:
        with av.open(file, "w", format="mp4") as container:
            for frame in frames:
                values = np.pad(frame, [(0, n % 2) for n in frame.shape[:2]] + [(0, 0)], mode="edge")
                if stream is None:
                    if values.shape != frame.shape:
                        odd, even = (f"{h} x {w}" for h, w, _ in (frame.shape, values.shape))
                        text = f"an MP4 has even sides: {odd} pixels become {even}, the last row or column twice."
                        warnings.warn(text, stacklevel=3)
                    if max(values.shape) > H264_SIDE:
                        raise InputError(
                            f"an MP4 has up to {H264_SIDE:,} pixels a side, but {values.shape[0]} x {values.shape[1]} "
                            "were asked for."
                        )
                    fraction = Fraction(rate).limit_denominator(1001)
                    stream = container.add_stream("libx264", rate=fraction, options={"crf": QUALITY})
                    stream.pix_fmt = "yuv420p"
                    stream.height, stream.width = values.shape[:2]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(values), format="rgb24")))
            if stream is not None:
                container.mux(stream.encode())
    except av.FFmpegError as error:
        raise InputError(f"the video cannot be written as MP4: {error}") from None


def _number(time: float, rate: float) -> int:
    """The frame that begins at a time."""
    return round(min(time * rate, MAX_FRAMES))


def _resized(frame: UInt8[ndarray, "h w 3"], sides: tuple[int, int]) -> UInt8[ndarray, "h2 w2 3"]:
    if frame.shape[:2] == sides:
        return frame
    from PIL import Image

    # Pillow's filters reach as far as the pixels of the result, so that nothing aliases.
    picture = Image.fromarray(np.ascontiguousarray(frame))
    return np.asarray(picture.resize((sides[1], sides[0]), Image.Resampling.BICUBIC))


def _without_colour(frame: UInt8[ndarray, "h w 3"]) -> UInt8[ndarray, "h w c"]:
    """One channel of a frame whose channels are equal."""
    grey = np.array_equal(frame[..., 0], frame[..., 1]) and np.array_equal(frame[..., 0], frame[..., 2])
    return frame[..., :1].copy() if grey else frame


def _too_large(path: str, count: int, sides: tuple[int, int]) -> str:
    return (
        f"{path!r} is too large: over {count} frames of {sides[0]} x {sides[1]} pixels, where up to {MAX_BYTES:,} "
        "values are taken; make them smaller with --size or --downsample, or take a part with --between."
    )


def _av(what: str) -> Any:
    """The module, or an error that names the extra."""
    try:
        import av
    except ImportError:
        raise InputError(f"{what} needs the extra: pip install 'siren-jax[video]'. GIF does not.") from None
    return av
