"""Sound files as arrays, and back."""

import os
import warnings
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.signals.files import check_file

MAX_SAMPLES = 2**27  # of all channels: half an hour of stereo at 44.1 kHz
FULL_SCALE = 1 - 2.0**-15  # the largest sample of 16 bits
SCIPY_READS = ".wav"


class Sound(NamedTuple):
    """Samples of a sound and their number a second."""

    samples: Float[ndarray, "n c"]
    """One column a channel; 1 and -1 are the file's full scale."""
    rate: int
    """Samples a second."""

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.rate


def load_sound(path: str | os.PathLike[str], *, downsample: int = 1) -> Sound:
    """A sound file: WAV, FLAC, OGG and what else libsndfile reads; plain WAV alone without the extra `audio`.

    Args:
        path: the file.
        downsample: keep every so many-th sample, behind a low-pass filter against aliasing.

    Raises:
        InputError: the file is missing, damaged, no sound, silent, too short or too long, or needs the extra.
    """
    path = os.fspath(path)
    check_file(path, "a sound file")
    samples, rate = _read(path)
    if len(samples) < 2:
        raise InputError(f"{path!r} holds {len(samples)} samples; a sound has at least 2.")
    if not np.isfinite(samples).all():
        raise InputError(f"{path!r} is damaged: it holds samples that are NaN or infinite.")
    if not samples.any():
        raise InputError(f"{path!r} is silent: every sample is zero.")
    share = np.mean(np.abs(samples) >= FULL_SCALE)
    if share > 1e-3:
        warnings.warn(f"{path!r} is clipped: {100 * share:.2g} % of its samples are at full scale.", stacklevel=2)
    if downsample < 1:
        raise InputError(f"downsample must be at least 1, but is {downsample}.")
    return resample(Sound(samples, rate), max(1, round(rate / downsample))) if downsample > 1 else Sound(samples, rate)


def resample(sound: Sound, rate: int) -> Sound:
    """The same sound with another number of samples a second, behind a low-pass filter against aliasing."""
    import scipy.signal

    divisor = int(np.gcd(rate, sound.rate))
    samples = scipy.signal.resample_poly(sound.samples, rate // divisor, sound.rate // divisor, axis=0)
    return Sound(samples.astype(np.float32), rate)


def encode_sound(file: IO[bytes], sound: Sound, suffix: str = ".wav") -> None:
    """Writes 16 bits a sample, clipped to full scale, in the format of a suffix: ".wav", ".flac", ".ogg".

    Raises:
        InputError: another format than WAV without the extra `audio`, or one that is not known.
    """
    clipped = np.clip(sound.samples, -1, FULL_SCALE)
    if suffix == SCIPY_READS:
        import scipy.io.wavfile

        scipy.io.wavfile.write(file, sound.rate, np.round(clipped * 2**15).astype(np.int16))
        return
    soundfile = _soundfile(suffix)
    try:
        soundfile.write(file, clipped, sound.rate, format=suffix.removeprefix(".").upper())  # pyright: ignore
    except (soundfile.LibsndfileError, ValueError, TypeError) as error:
        raise InputError(f"a sound cannot be written as {suffix}: {error}") from None


def _read(path: str) -> tuple[Float[ndarray, "n c"], int]:
    if os.path.splitext(path)[1].lower() == SCIPY_READS and not _has_soundfile():
        return _read_wav(path)
    soundfile = _soundfile(os.path.basename(path))
    try:
        with soundfile.SoundFile(path) as file:
            if file.frames * file.channels > MAX_SAMPLES:
                raise InputError(_too_long(path, file.frames, file.channels))
            return file.read(dtype="float32", always_2d=True), file.samplerate
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        raise InputError(f"{path!r} is not a sound in a format that libsndfile reads, or is damaged: {error}") from None


def _read_wav(path: str) -> tuple[Float[ndarray, "n c"], int]:
    import scipy.io.wavfile

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", scipy.io.wavfile.WavFileWarning)  # of chunks that it does not know
            rate, samples = scipy.io.wavfile.read(path, mmap=False)
    except Exception as error:  # whatever SciPy's parser trips over: struct.error, UnboundLocalError
        raise InputError(f"{path!r} is not a plain WAV file, or is damaged: {error}") from None
    if samples.size > MAX_SAMPLES:
        raise InputError(_too_long(path, len(samples), samples.size // len(samples)))
    samples = samples.reshape(len(samples), -1)
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128, rate
    full = 1.0 if samples.dtype.kind == "f" else -float(np.iinfo(samples.dtype).min)
    return (samples / full).astype(np.float32), rate


def _too_long(path: str, samples: int, channels: int) -> str:
    return (
        f"{path!r} is too long: {samples:,} samples of {channels} channels, where up to {MAX_SAMPLES:,} in all are "
        "taken; cut it first."
    )


def _has_soundfile() -> bool:
    import importlib.util

    return importlib.util.find_spec("soundfile") is not None


def _soundfile(what: str):
    """The module, or an error that names the extra."""
    try:
        import soundfile
    except ImportError:
        raise InputError(f"{what} needs the extra: pip install 'siren-jax[audio]'. Plain WAV does not.") from None
    return soundfile
