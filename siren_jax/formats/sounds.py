"""Decoding of sound files into blocks of samples; `signals.sound` converts these to a signal."""

import io
import mmap
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import chain
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.formats import ffmpeg

BLOCK = 2**16
UNKNOWN = 2**31 - 2**16  # bytes; a header that declares more was written to a pipe, when the length was unknown
# Encodings whose samples do not depend on earlier ones, so that libsndfile can start at any sample.
SEEKABLE = ("PCM_U8", "PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
TRAILER = 2**14  # bytes of tags that may follow the last frame of an MP3
MPEG = (b"ID3", *(b"\xff" + bytes([second]) for second in (0xFB, 0xFA, 0xF3, 0xF2, 0xE3, 0xE2)))


class SoundFile(NamedTuple):
    """An open sound file."""

    rate: int
    """Samples per second."""
    blocks: Callable[[int], Iterator[tuple[int, Float[ndarray, "_ c"]]]]
    """Function that yields blocks from a given sample to the end of the file, each with the index of its first sample.
    The first block begins earlier if the decoder has to."""


@contextmanager
def opened(path: str) -> Iterator[SoundFile]:
    """A sound file, read by libsndfile, by FFmpeg or, without the extra `audio`, by SciPy.

    Raises:
        InputError: the file is damaged or is not a sound, or an extra is required.
    """
    readers = list(_readers(path))
    if not readers:
        raise InputError(
            f"{os.path.basename(path)} needs an extra: pip install 'siren-jax[audio]' for FLAC, OGG, MP3 and all kinds "
            "of WAV, 'siren-jax[video]' for M4A, MP4 and other formats of FFmpeg. Plain WAV needs none."
        )
    refusals = []
    with ExitStack() as stack:
        for reader in readers:
            try:
                file = stack.enter_context(reader(path))
                break
            except InputError as error:
                refusals.append(str(error))
        else:
            raise InputError(refusals[0])
        yield file


def _readers(path: str) -> Iterator[Callable[[str], AbstractContextManager[SoundFile]]]:
    """The installed readers, with the best one for the file first."""
    if (mpeg := _is_mpeg(path)) and ffmpeg.has_pyav():  # libsndfile guesses the length of an MP3 that has none
        yield _with_ffmpeg
    if has_soundfile():
        yield _with_libsndfile
    elif _is_wav(path):
        yield _with_scipy
    if not mpeg and ffmpeg.has_pyav():
        yield _with_ffmpeg


def _is_mpeg(path: str) -> bool:
    with open(path, "rb") as file:
        return file.read(4).startswith(MPEG)


def _is_wav(path: str) -> bool:
    with open(path, "rb") as file:
        start = file.read(12)
    return start[:4] == b"RIFF" and start[8:] == b"WAVE"


def has_soundfile() -> bool:
    """Whether the extra `audio` is installed."""
    try:
        import soundfile  # noqa: F401
    except (ImportError, OSError):  # OSError: on some systems its library is missing
        return False
    return True


@contextmanager
def _with_libsndfile(path: str) -> Iterator[SoundFile]:
    import soundfile

    class Forward(soundfile.SoundFile):
        """A file that is read from beginning to end, without seeking.

        soundfile seeks after every block that it reads. libsndfile seeks inexactly in MP3 and Vorbis, and not at all in
        several kinds of ADPCM.
        """

        def seekable(self) -> bool:
            return False

    def blocks(start: int) -> Iterator[tuple[int, ndarray]]:
        index = 0
        if start and file.subtype in SEEKABLE:
            index = file.seek(min(start, file.frames))
        elif file.format == "OGG":
            file.seek(0)  # otherwise libsndfile returns the samples of an Opus file that only prepare the decoder
        while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
            yield index, block
            index += len(block)
        yield index, np.zeros((0, file.channels), np.float32)
        if file.format == "MP3" and (left := os.path.getsize(path) - raw.tell()) > TRAILER:
            warnings.warn(
                f"{path!r} does not declare its length: libsndfile reads {index / file.samplerate:g} s and ignores "
                f"{left:,} bytes; the extra `video` reads all of it: pip install 'siren-jax[video]'.",
                stacklevel=7,
            )
        elif file.format != "MP3" and index < file.frames:
            warnings.warn(
                f"{path!r} is truncated: its header declares {file.frames:,} samples, but it has {index:,}.",
                stacklevel=7,
            )

    try:
        # From a file object if its position is needed, else by name, because formats such as SD2 have a second file.
        with open(path, "rb") as raw, _repaired(path) as source, Forward(raw if _is_mpeg(path) else source) as file:
            yield SoundFile(file.samplerate, blocks)
    except (soundfile.LibsndfileError, OSError, ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        reason = str(getattr(error, "error_string", error)).removeprefix("Error : ")
        hint = "" if ffmpeg.has_pyav() else " M4A, MP4 and more need the extra: pip install 'siren-jax[video]'."
        raise InputError(
            f"{path!r} is not a sound in a format that libsndfile reads, or is damaged: {reason.rstrip('.')}.{hint}"
        ) from None


@contextmanager
def _with_scipy(path: str) -> Iterator[SoundFile]:
    import scipy.io.wavfile

    try:
        with warnings.catch_warnings(), _repaired(path) as source:
            warnings.simplefilter("ignore", scipy.io.wavfile.WavFileWarning)  # about chunks that SciPy does not know
            rate, samples = scipy.io.wavfile.read(source if source is path else io.BytesIO(source))
    except Exception as error:  # SciPy's parser may raise any error, such as struct.error or UnboundLocalError
        reason = f": {error}" if isinstance(error, ValueError) else ""
        raise InputError(
            f"{path!r} is not a plain WAV file, or is damaged{reason.rstrip('.')}. Other kinds of WAV need the extra: "
            "pip install 'siren-jax[audio]'."
        ) from None
    samples = samples[:, None] if samples.ndim == 1 else samples
    channels = samples.shape[-1]
    zero, full = (128, 128.0) if samples.dtype == np.uint8 else (0, 1.0)
    if samples.dtype.kind == "i":
        full = -float(np.iinfo(samples.dtype).min)

    def blocks(start: int) -> Iterator[tuple[int, ndarray]]:
        for index in range(start, len(samples), BLOCK):
            yield index, ((samples[index : index + BLOCK].astype(np.float64) - zero) / full).astype(np.float32)
        yield len(samples), np.zeros((0, channels), np.float32)

    yield SoundFile(int(rate), blocks)


@contextmanager
def _with_ffmpeg(path: str) -> Iterator[SoundFile]:
    import av

    with open(path, "rb") as file, ffmpeg.opened(file, path, "sound") as container:
        stream = container.streams.best("audio")
        if stream is None or stream.codec_context is None:
            raise InputError(f"{path!r} holds no sound that FFmpeg reads, or is cut short.")
        frames = ffmpeg.Frames(container, stream)
        decoded = iter(frames)
        first = next(decoded, None)
        if first is None:
            raise InputError(f"{path!r} holds no sound that FFmpeg reads, or is damaged.")
        rate, layout = first.sample_rate, first.layout  # a header may have half the rate, or no layout
        resampler = av.AudioResampler("flt", layout, rate)  # for its conversion to floats

        def blocks(start: int) -> Iterator[tuple[int, ndarray]]:
            del start  # a lossy decoder starts at the beginning
            index = 0
            for frame in chain((first,), decoded, (None,)):
                for part in resampler.resample(frame):
                    block = part.to_ndarray().reshape(-1, layout.nb_channels)
                    yield index, block
                    index += len(block)
            if frames.damaged:
                warnings.warn(f"{path!r} is damaged or truncated: {index / rate:g} s could be decoded.", stacklevel=4)

        yield SoundFile(rate, blocks)


class _Map(mmap.mmap):
    """A memory map that allows seeking beyond its end, as files do: libsndfile seeks over padding there."""

    def seek(self, pos: int, whence: int = os.SEEK_SET, /) -> None:
        super().seek(min(len(self), pos + (0, self.tell(), len(self))[whence]))


@contextmanager
def _repaired(path: str) -> Iterator[Any]:
    """The path or, for a WAV file with a wrong header, a map of the file with a corrected one."""
    with open(path, "rb") as file:
        repairs = _repairs(file, path)
        if not repairs:
            yield path
            return
        with _Map(file.fileno(), 0, access=mmap.ACCESS_COPY) as content:  # the file itself is unchanged
            for offset, value in repairs.items():
                content[offset : offset + len(value)] = value
            yield content


def _repairs(file: IO[bytes], path: str) -> dict[int, bytes]:
    """Corrections to the header of a WAV file by offset; warns if the file is truncated or was not closed."""
    size, start = os.path.getsize(path), file.read(12)
    repairs: dict[int, bytes] = {}
    if start[:4] not in (b"RIFF", b"RF64") or start[8:] != b"WAVE":
        return repairs
    promised = 8 + int.from_bytes(start[4:8], "little")
    if size + 1 < promised < UNKNOWN:  # an odd last chunk may lack its padding
        warnings.warn(
            f"{path!r} is truncated: its header declares {promised:,} bytes, but it has {size:,}.", stacklevel=7
        )
    align, long = 1, 0
    for name, offset, length in _chunks(file, 12, size):
        body = file.read(16)
        if name == b"fmt " and len(body) == 16:
            kind, channels, align, bits = (int.from_bytes(body[k : k + 2], "little") for k in (0, 2, 12, 14))
            width = 8 * align // max(channels, 1)
            if kind == 1 and bits <= width <= 32 and -(-bits // 8) * 8 != width:  # such as 24 bits in 32
                repairs[offset + 14] = width.to_bytes(2, "little")
        elif name == b"ds64":
            long = int.from_bytes(body[8:16], "little")
        elif name == b"data":
            length = long if start[:4] == b"RF64" else length
            unclosed = length == 0 and offset < size and not _are_chunks(file, offset, size)
            if unclosed:
                warnings.warn(
                    f"{path!r} was not closed by its writer: it is read to the end of the file.", stacklevel=7
                )
            if unclosed or offset + length > size:
                there = (size - offset) // max(align, 1) * max(align, 1)
                lengths = {4: size - 8, offset - 4: there}
                repairs |= {at: min(value, 2**32 - 1).to_bytes(4, "little") for at, value in lengths.items()}
                repairs[0] = b"RIFF"
            break
    return repairs


def _chunks(file: IO[bytes], position: int, size: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, offset and length of each chunk of a RIFF file, which is then positioned at this offset."""
    while position + 8 <= size:
        file.seek(position)
        head = file.read(8)
        length = int.from_bytes(head[4:], "little")
        yield head[:4], position + 8, length
        position += 8 + length + length % 2


def _are_chunks(file: IO[bytes], position: int, size: int) -> bool:
    """Whether the file consists of chunks from a position to its end, so that no samples begin there."""
    for name, offset, length in _chunks(file, position, size):
        if not (name.isascii() and name.decode("ascii").isprintable()):
            return False
        position = offset + length + length % 2
    return size <= position <= size + 1
