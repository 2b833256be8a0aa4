"""Sounds: reading their files as arrays, resampling, and writing them."""

import math
import os
import warnings
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.formats.file_kind import check_file
from siren_jax.formats.sounds import BLOCK, SoundFile, has_soundfile, opened

MAX_LENGTH = 2**23  # samples of a channel, three minutes at 44.1 kHz: beyond, float32 no longer tells neighbours apart
MAX_SAMPLES = 2**27  # of all channels
MAX_FLAC_CHANNELS = 8
MAX_OGG_RATE = 200_000  # beyond, libsndfile's encoder crashes, as it does on long arrays
RESAMPLED = 2**20  # samples of a channel at a time: SciPy designs its filter anew each time
FULL_SCALE = 1 - 2.0**-15  # the largest sample of 16 bits


class Sound(NamedTuple):
    """Samples of a sound and their number a second."""

    samples: Float[ndarray, "n c"]
    """One column a channel; 1 and -1 are the file's full scale."""
    rate: int
    """Samples a second."""

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate

    @property
    def peak(self) -> float:
        """Absolute value of the loudest sample, which a network has as 1."""
        return float(np.abs(self.samples).max())


def load_sound(
    path: str | os.PathLike[str], *, downsample: int = 1, between: tuple[float, float] | None = None
) -> Sound:
    """The sound in a file: WAV, FLAC, OGG, MP3 and all else that libsndfile reads, M4A, MP4 and all else of FFmpeg.

    Without the extras `audio` and `video` only plain WAV is read. The file is decoded and resampled in blocks, so that
    the limit, 8 million samples of a channel, applies to the returned sound alone.

    Args:
        path: the file.
        downsample: divide the samples a second by this, rounded to a whole number, after a low-pass filter against
            aliasing.
        between: start and stop of the part to read, in seconds; by default all.

    Raises:
        InputError: the file is missing, damaged, no sound, silent, too short or too long, or needs the extra.
    """
    path = os.fspath(path)
    check_file(path, "a sound file")
    if downsample < 1:
        raise InputError(f"downsample must be at least 1, but is {downsample}.")
    with opened(path) as file:
        rate = max(1, round(file.rate / downsample))
        count = clipped = 0

        def checked(blocks: Iterable[ndarray]) -> Iterator[ndarray]:
            nonlocal count, clipped
            for block in blocks:
                if not np.isfinite(block).all():
                    raise InputError(f"{path!r} is damaged: it holds samples that are NaN or infinite.")
                loud = np.abs(block)
                count += block.size
                clipped += np.count_nonzero((loud >= FULL_SCALE) & (loud <= 1))
                yield block

        blocks = checked(_part(file, path, between))
        samples = _gathered(blocks if rate == file.rate else resampled(blocks, file.rate, rate), path)
    if len(samples) < 2:
        divided = f" after dividing its rate by {downsample}" if downsample > 1 else ""
        raise InputError(f"a sound has at least 2 samples, but {path!r} has {len(samples)}{divided}.")
    if not samples.any():
        part = "" if between is None else f" from {between[0]:g} to {between[1]:g} s"
        raise InputError(f"{path!r} is silent{part}: every sample is zero.")
    if clipped > 1e-3 * count:
        warnings.warn(
            f"{path!r} is clipped: {100 * clipped / count:.2g} % of its samples are at full scale.", stacklevel=2
        )
    return Sound(samples, rate)


def resample(sound: Sound, rate: int) -> Sound:
    """The same sound with another number of samples a second, after a low-pass filter against aliasing.

    The first sample stays where it is. Beyond either end the sound continues with the sample at this end.
    """
    return Sound(np.concatenate(list(resampled([sound.samples], sound.rate, rate))), rate)


def resampled(blocks: Iterable[Float[ndarray, "_ c"]], old: int, new: int) -> Iterator[Float[ndarray, "_ c"]]:
    """Blocks of the resampled sound from blocks of a sound: `resample` with little more memory than a block."""
    import scipy.signal

    divisor = math.gcd(old, new)
    up, down = new // divisor, old // divisor
    # SciPy's filter reaches 10·max(up, down)/up samples. Cuts are at multiples of `down`, where a new sample lies.
    reach = down * (10 * max(up, down) // (up * down) + 1)
    least = 2 * reach + down * max(1, RESAMPLED // down)
    pending: list[ndarray] = []
    length, before = 0, 0  # samples in `pending`, and those at its start that only the filter needs
    for block in chain(blocks, (None,)):
        if block is not None:
            pending.append(block)
            length += len(block)
            if length < least:
                continue
        if not pending:
            return
        samples = np.concatenate(pending)
        stop = len(samples) if block is None else (len(samples) - reach) // down * down
        made = scipy.signal.resample_poly(samples, up, down, axis=0, padtype="edge").astype(np.float32)
        yield made[before // down * up : None if block is None else stop // down * up]
        pending = [samples[max(0, stop - reach) :]]
        length, before = len(pending[0]), min(stop, reach)


def encode_sound(file: IO[bytes], sound: Sound, suffix: str = ".wav") -> None:
    """Writes 16 bits a sample, clipped to full scale, in the format of a suffix: ".wav", ".flac", ".ogg".

    It warns if more than a thousandth of the samples lie beyond full scale.

    Raises:
        InputError: another format than WAV without the extra `audio`, or an unknown format; a rate or a number of
            channels that the format does not allow.
    """
    if (share := np.mean(np.abs(sound.samples) > 1)) > 1e-3:
        warnings.warn(f"{100 * share:.2g} % of the samples are beyond full scale and are clipped.", stacklevel=2)
    clipped = np.clip(sound.samples, -1, FULL_SCALE)
    if suffix == ".wav":
        import scipy.io.wavfile

        scipy.io.wavfile.write(file, sound.rate, np.round(clipped * 2**15).astype(np.int16))
        return
    if not has_soundfile():
        raise InputError(f"{suffix} needs the extra: pip install 'siren-jax[audio]'. Plain WAV does not.")
    import soundfile

    target: Any = file  # soundfile takes any file object, but declares fewer
    if suffix == ".ogg" and sound.rate > MAX_OGG_RATE:
        raise InputError(f"an OGG has up to {MAX_OGG_RATE:,} samples a second, but this sound has {sound.rate:,}.")
    channels = clipped.shape[1]
    if suffix == ".flac" and channels > MAX_FLAC_CHANNELS:
        raise InputError(f"a FLAC has up to {MAX_FLAC_CHANNELS} channels, but this sound has {channels}; write a .wav.")
    try:
        with soundfile.SoundFile(target, "w", sound.rate, channels, format=suffix.removeprefix(".").upper()) as writer:
            for start in range(0, len(clipped), BLOCK):
                writer.write(clipped[start : start + BLOCK])
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        raise InputError(f"a sound cannot be written as {suffix}: {error}") from None


def _part(file: SoundFile, path: str, between: tuple[float, float] | None) -> Iterator[Float[ndarray, "_ c"]]:
    """Blocks of the samples between two times; refuses times that the file does not have."""
    start, stop = (0, math.inf) if between is None else between
    refusal = f"a part of {path!r} has a start before a stop within 0 to %s, but is {start:g} {stop:g}."
    if not 0 <= start < stop:
        raise InputError(refusal % "its length")
    first, last = (round(min(time * file.rate, 2**62)) for time in (start, stop))
    end = 0
    for index, block in file.blocks(first):
        end = index + len(block)
        yield block[max(0, first - index) : max(0, last - index)]
        if end >= last:
            return
    if between is not None and stop * file.rate > end + 0.5:
        raise InputError(refusal % f"{end / file.rate:g} s")


def _gathered(blocks: Iterable[Float[ndarray, "_ c"]], path: str) -> Float[ndarray, "n c"]:
    """The blocks as one array; refuses too many samples."""
    gathered: list[ndarray] = []
    length = 0
    for block in blocks:
        gathered.append(block)
        length += len(block)
        if length > MAX_LENGTH or length * block.shape[1] > MAX_SAMPLES:
            raise InputError(
                f"{path!r} is too long: over {MAX_LENGTH:,} samples in each of {block.shape[1]} channels, or "
                f"{MAX_SAMPLES:,} in all; take a part with between=, or fewer samples a second with downsample=."
            )
    return np.concatenate(gathered)
