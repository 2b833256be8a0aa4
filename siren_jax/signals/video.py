"""Videos: reading their files as arrays, and writing them."""

import math
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.formats import ffmpeg
from siren_jax.formats.file_kind import check_file
from siren_jax.formats.videos import GIF, VideoFile, nearest, read, read_gif, schedule
from siren_jax.signals.image import shrunk_sides

MAX_BYTES = 2**30  # of decoded frames; decoding and fitting need as much again, each
MAX_FRAMES = 2**24
H264_SIDE = 16384  # the largest of the format
LIMITED = 1  # FFmpeg's number for the range of brightness from 16 to 235
BT709 = 1  # FFmpeg's number for BT.709, as matrix, primaries and transfer function
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


def load_video(
    path: str | os.PathLike[str],
    *,
    downsample: int = 1,
    size: int | None = None,
    between: tuple[float, float] | None = None,
) -> Video:
    """The video in a file, upright: MP4, MOV, MKV, WebM, AVI and all else of FFmpeg; without the extra `video` GIF.

    Frames are resized while they are decoded, so that memory is twice that of the result, which is at most 1 GiB: a
    byte a value. A video without colour becomes grey, and transparency is laid over white. Frames of uneven duration
    are repeated, at an even rate, for as long as they last.

    Args:
        path: the file.
        downsample: divide both sides by this whole number, with a filter against aliasing.
        size: resize so that the longer side has this many pixels, with the same filter; after `downsample`.
        between: start and stop of the part to read, in seconds; by default all.

    Raises:
        InputError: the file is missing, damaged, no video, of one frame, too large, or needs the extra.
    """
    path = os.fspath(path)
    check_file(path, "a video file")
    start, stop = (0.0, math.inf) if between is None else between
    if not 0 <= start < stop:
        raise InputError(f"a part of a video has a start before a stop, both from 0 s on, but is {start:g} {stop:g}.")
    frames: list[ndarray] = []
    begins: list[Fraction] = []
    ends: list[Fraction] = []
    sides, room = (1, 1), MAX_BYTES
    with _opened(path) as file:
        for shot in file.shots:
            lasting = shot.end - shot.begin
            if shot.begin - lasting >= stop:
                break
            if shot.end + lasting <= start:
                continue
            if not frames:
                sides = shrunk_sides(*shot.sides, downsample=downsample, size=size)
            frames.append(_without_colour(_resized(shot.values(), sides)))
            begins.append(shot.begin)
            ends.append(shot.end)
            room -= frames[-1].nbytes
            if room < 0:
                raise InputError(_too_large(path, len(frames) - 1, sides))
    part = "" if between is None else f" from {start:g} to {stop:g} s"
    rate, shown = Fraction(25), [0]
    if frames:
        rate, shown = schedule(begins, ends, file.rates, path)
        shown.append(max(shown[-1] + 1, nearest(ends[-1] * rate)))
    first, last = max(shown[0], _number(start, rate)), min(shown[-1], _number(stop, rate))
    if max(0, last - first) < 2:
        raise InputError(
            f"a video has at least 2 frames, but {path!r} has {max(0, last - first)}{part}; one is a picture."
        )
    if stop < math.inf and last < _number(stop, rate):
        raise InputError(f"{path!r} ends after {last / float(rate):g} s;{part} were asked for.")
    channels = max(frame.shape[-1] for frame in frames)
    if (last - first) * math.prod(sides) * channels > MAX_BYTES:
        raise InputError(_too_large(path, last - first - 1, sides))
    video = np.empty((last - first, *sides, channels), np.uint8)
    for frame, begin, end in zip(frames, shown, shown[1:], strict=False):
        video[max(0, begin - first) : max(0, end - first)] = frame
    return Video(video, float(rate))


@contextmanager
def _opened(path: str) -> Iterator[VideoFile]:
    with open(path, "rb") as file:
        if file.read(len(GIF)) == GIF:
            file.seek(0)
            yield read_gif(file, path)
            return
        if not ffmpeg.has_pyav():
            raise InputError(f"{os.path.basename(path)} needs the extra: pip install 'siren-jax[video]'. GIF does not.")
        file.seek(0)
        with ffmpeg.opened(file, path, "video") as container:
            yield read(container, path)


def encode_video(file: IO[bytes], frames: Iterable[UInt8[ndarray, "h w c"]], rate: float, suffix: str) -> None:
    """Writes frames in the format of a suffix: ".mp4" (H.264), ".gif".

    An MP4 is written frame by frame, and has even sides: the last row or column is repeated where they are odd, with a
    warning. A GIF is kept in memory until it is complete, a byte a pixel; it has 256 colours, and durations of
    hundredths of a second.

    Args:
        file: opened for writing, seekable.
        frames: all of one shape; one channel or three.
        rate: frames a second.
        suffix: the format.

    Raises:
        InputError: MP4 without the extra `video`, or a rate or a size that the format does not allow.
    """
    rgb = (np.repeat(frame, 3, axis=-1) if frame.shape[-1] == 1 else frame for frame in frames)
    slowest, fastest = (0.01, 50.0) if suffix == ".gif" else (0.01, 1000.0)
    if not slowest <= rate <= fastest:
        raise InputError(f"{suffix} has {slowest:g} to {fastest:g} frames a second, but {rate:g} were asked for.")
    (_encode_gif if suffix == ".gif" else _encode_mp4)(file, rgb, rate)


def writes_mp4() -> bool:
    """Whether the extra `video` is installed, with an H.264 encoder; without it only GIF is written."""
    try:
        import av
    except ImportError:
        return False
    return "libx264" in av.codecs_available


def _encode_gif(file: IO[bytes], frames: Iterable[UInt8[ndarray, "h w 3"]], rate: float) -> None:
    from PIL import Image

    pictures = [Image.fromarray(frame).quantize() for frame in frames]
    ends = [round(100 * (number + 1) / rate) for number in range(len(pictures))]
    durations = [10 * (end - begin) for begin, end in zip([0, *ends], ends, strict=False)]
    pictures[0].save(file, format="GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)


def _encode_mp4(file: IO[bytes], frames: Iterable[UInt8[ndarray, "h w 3"]], rate: float) -> None:
    if not ffmpeg.has_pyav():
        raise InputError("an MP4 needs the extra: pip install 'siren-jax[video]'. GIF does not.")
    import av
    from av.error import FFmpegError

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
                    stream.codec_context.color_range = LIMITED
                    stream.codec_context.colorspace = stream.codec_context.color_primaries = BT709
                    stream.codec_context.color_trc = BT709
                    stream.height, stream.width = values.shape[:2]
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(values), format="rgb24")
                picture = picture.reformat(
                    format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG", interpolation="BICUBIC"
                )
                picture.color_primaries = picture.color_trc = BT709
                container.mux(stream.encode(picture))
            if stream is not None:
                container.mux(stream.encode())
    except FFmpegError as error:
        raise InputError(f"the video cannot be written as MP4: {error}") from None


def _number(time: float, rate: Fraction) -> int:
    """Number of the frame that begins at a time."""
    return round(min(time * float(rate), MAX_FRAMES))


def _resized(frame: UInt8[ndarray, "h w 3"], sides: tuple[int, int]) -> UInt8[ndarray, "h2 w2 3"]:
    if frame.shape[:2] == sides:
        return frame
    from PIL import Image

    # Pillow's filters widen with the pixels of the result, so that nothing aliases.
    picture = Image.fromarray(np.ascontiguousarray(frame))
    return np.asarray(picture.resize((sides[1], sides[0]), Image.Resampling.BICUBIC))


def _without_colour(frame: UInt8[ndarray, "h w 3"]) -> UInt8[ndarray, "h w c"]:
    """The frame, with one channel if its channels are equal."""
    grey = np.array_equal(frame[..., 0], frame[..., 1]) and np.array_equal(frame[..., 0], frame[..., 2])
    return frame[..., :1].copy() if grey else frame


def _too_large(path: str, count: int, sides: tuple[int, int]) -> str:
    return (
        f"{path!r} is too large: over {count} frames of {sides[0]} x {sides[1]} pixels, where up to {MAX_BYTES:,} "
        "values are taken; make them smaller with size= or downsample=, or take a part with between=."
    )
