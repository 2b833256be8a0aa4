"""Sound files as arrays, and back."""

import os
import warnings
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.signals.files import check_file

MAX_LENGTH = 2**23  # samples of a channel, three minutes at 44.1 kHz: beyond, float32 no longer tells neighbours apart
MAX_SAMPLES = 2**27  # of all channels
MAX_FLAC_CHANNELS = 8
MAX_OGG_RATE = 200_000  # beyond, libsndfile's encoder crashes, as it does on long arrays
BLOCK = 2**16
UNKNOWN = 2**31 - 2**16  # bytes: from here on a header says that the file was written to a pipe, length unknown
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
        """The loudest sample, which a network has as 1."""
        return float(np.abs(self.samples).max())


def load_sound(
    path: str | os.PathLike[str], *, downsample: int = 1, between: tuple[float, float] | None = None
) -> Sound:
    """A sound file: WAV, FLAC, OGG and what else libsndfile reads; plain WAV alone without the extra `audio`.

    Args:
        path: the file.
        downsample: divide the samples a second by this, to the next whole number, behind a low-pass filter against
            aliasing.
        between: start and stop of the part that is taken, in seconds; by default all.

    Raises:
        InputError: the file is missing, damaged, no sound, silent, too short or too long, or needs the extra.
    """
    path = os.fspath(path)
    check_file(path, "a sound file")
    if downsample < 1:
        raise InputError(f"downsample must be at least 1, but is {downsample}.")
    if (promised := _promised_bytes(path)) > (size := os.path.getsize(path)) + 1:  # an odd last chunk may lack its pad
        warnings.warn(f"{path!r} is cut short: {promised:,} bytes are promised, {size:,} are there.", stacklevel=2)
    samples, rate = (_read if _has_soundfile() or not _is_wav(path) else _read_wav)(path, between)
    if len(samples) < 2:
        raise InputError(f"a sound has at least 2 samples, but {path!r} has {len(samples)}.")
    if not np.isfinite(samples).all():
        raise InputError(f"{path!r} is damaged: it holds samples that are NaN or infinite.")
    loud = np.abs(samples)
    if (share := np.mean((loud >= FULL_SCALE) & (loud <= 1))) > 1e-3:
        warnings.warn(f"{path!r} is clipped: {100 * share:.2g} % of its samples are at full scale.", stacklevel=2)
    sound = Sound(samples, rate)
    if downsample > 1:
        sound = resample(sound, max(1, round(rate / downsample)))
        if len(sound.samples) < 2:
            raise InputError(f"{path!r} has {len(samples):,} samples, too few to divide them by {downsample}.")
    if not sound.samples.any():
        raise InputError(f"{path!r} is silent: every sample is zero.")
    return sound


def resample(sound: Sound, rate: int) -> Sound:
    """The same sound with another number of samples a second, behind a low-pass filter against aliasing.

    The first sample stays where it is. Beyond its ends the sound is taken to continue with its last sample.
    """
    import scipy.signal

    divisor = int(np.gcd(rate, sound.rate))
    up, down = rate // divisor, sound.rate // divisor
    samples = scipy.signal.resample_poly(sound.samples, up, down, axis=0, padtype="edge")
    return Sound(samples.astype(np.float32), rate)


def encode_sound(file: IO[bytes], sound: Sound, suffix: str = ".wav") -> None:
    """Writes 16 bits a sample, clipped to full scale, in the format of a suffix: ".wav", ".flac", ".ogg".

    It warns if more than a thousandth of the samples lies beyond full scale.

    Raises:
        InputError: another format than WAV without the extra `audio`, or one that is not known; a rate or a number of
            channels that the format does not have.
    """
    if (share := np.mean(np.abs(sound.samples) > 1)) > 1e-3:
        warnings.warn(f"{100 * share:.2g} % of the samples are beyond full scale and are clipped.", stacklevel=2)
    clipped = np.clip(sound.samples, -1, FULL_SCALE)
    if suffix == ".wav":
        import scipy.io.wavfile

        scipy.io.wavfile.write(file, sound.rate, np.round(clipped * 2**15).astype(np.int16))
        return
    soundfile = _soundfile(suffix)
    if suffix == ".ogg" and sound.rate > MAX_OGG_RATE:
        raise InputError(f"an OGG has up to {MAX_OGG_RATE:,} samples a second, but this sound has {sound.rate:,}.")
    channels = clipped.shape[1]
    if suffix == ".flac" and channels > MAX_FLAC_CHANNELS:
        raise InputError(f"a FLAC has up to {MAX_FLAC_CHANNELS} channels, but this sound has {channels}; write a .wav.")
    try:
        with soundfile.SoundFile(file, "w", sound.rate, channels, format=suffix.removeprefix(".").upper()) as writer:
            for start in range(0, len(clipped), BLOCK):
                writer.write(clipped[start : start + BLOCK])
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        raise InputError(f"a sound cannot be written as {suffix}: {error}") from None


def _read(path: str, between: tuple[float, float] | None) -> tuple[Float[ndarray, "n c"], int]:
    soundfile = _soundfile(os.path.basename(path))
    try:
        with soundfile.SoundFile(path) as file:
            part = _part(path, file.frames, file.channels, file.samplerate, between)
            file.seek(part.start)
            return file.read(part.stop - part.start, dtype="float32", always_2d=True), file.samplerate
    except InputError:
        raise
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        raise InputError(f"{path!r} is not a sound in a format that libsndfile reads, or is damaged: {error}") from None


def _read_wav(path: str, between: tuple[float, float] | None) -> tuple[Float[ndarray, "n c"], int]:
    import scipy.io.wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", scipy.io.wavfile.WavFileWarning)  # of chunks that it does not know
            rate, samples = scipy.io.wavfile.read(path, mmap=False)
    except Exception as error:  # whatever SciPy's parser trips over: struct.error, UnboundLocalError
        raise InputError(
            f"{path!r} is not a plain WAV file, or is damaged: {error}. Other kinds of WAV need the extra: pip install "
            "'siren-jax[audio]'."
        ) from None
    samples = samples[:, None] if samples.ndim == 1 else samples
    samples = samples[_part(path, *samples.shape, rate, between)]
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128, rate
    full = 1.0 if samples.dtype.kind == "f" else -float(np.iinfo(samples.dtype).min)
    return (samples / full).astype(np.float32), rate


def _part(path: str, length: int, channels: int, rate: int, between: tuple[float, float] | None) -> slice:
    """Which samples are asked for, if they are there and not too many."""
    start, stop = 0, length
    if between is not None:
        if not 0 <= between[0] < between[1] <= (length + 0.5) / rate:
            raise InputError(
                f"a part of {path!r} has a start before a stop within 0 to {length / rate:g} s, but is {between[0]:g} "
                f"{between[1]:g}."
            )
        start, stop = round(between[0] * rate), min(length, round(between[1] * rate))
    if stop - start > MAX_LENGTH or (stop - start) * channels > MAX_SAMPLES:
        raise InputError(
            f"{path!r} is too long: {stop - start:,} samples in each of {channels} channels, where up to "
            f"{MAX_LENGTH:,} and {MAX_SAMPLES:,} in all are taken; take a part with --between."
        )
    return slice(start, stop)


def _is_wav(path: str) -> bool:
    with open(path, "rb") as file:
        start = file.read(12)
    return start[:4] == b"RIFF" and start[8:] == b"WAVE"


def _promised_bytes(path: str) -> int:
    """The length of a WAV file by its header; 0 where that says none."""
    with open(path, "rb") as file:
        file.seek(4)
        length = 8 + int.from_bytes(file.read(4), "little")
    return length if _is_wav(path) and length < UNKNOWN else 0


def _has_soundfile() -> bool:
    import importlib.util

    return importlib.util.find_spec("soundfile") is not None


def _soundfile(what: str) -> Any:
    """The module, or an error that names the extra."""
    try:
        import soundfile
    except ImportError:
        raise InputError(f"{what} needs the extra: pip install 'siren-jax[audio]'. Plain WAV does not.") from None
    return soundfile
