"""A sound as the subject of a fit, and as a file."""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from flax import nnx
from jax.tree_util import Partial
from numpy import ndarray

from siren_jax import metrics
from siren_jax.errors import InputError
from siren_jax.files.atomic import write_atomically
from siren_jax.files.header import valid_rate
from siren_jax.fitting.objectives import supervise
from siren_jax.neural_field import NeuralField
from siren_jax.signals import SampleDataset, Sound, encode_sound, load_sound, resample
from siren_jax.signals.sound import MAX_LENGTH, MAX_SAMPLES
from siren_jax.subjects.estimate import Estimate
from siren_jax.subjects.moments import timeline
from siren_jax.subjects.subject import SNR, Sampled

ESTIMATED = 16384  # samples of the SNR that is shown between chunks
FILTER_REACH = 10  # half length of SciPy's filter, in samples of the lower rate


class Recording(Sampled):
    """The samples of a sound; see `Subject`. Its loudest sample becomes 1, as in the paper."""

    measure = SNR
    note = ""
    files = ("reconstruction.wav",)

    def __init__(self, sound: Sound):
        self._sound, self.rate = sound, float(sound.rate)
        self.dataset = SampleDataset(sound.samples, value_range=(-sound.peak, sound.peak))
        self.objective, self.weights = supervise("value"), {}
        self._estimate = Estimate(self.dataset, ESTIMATED)
        self._power = np.mean(self.dataset.value**2)  # over all samples: those of an estimate may be silent

    def sampler(self, batch_size: int) -> Partial:
        return self.dataset.sampler(batch_size)

    def field(self, network: nnx.Module, record: dict[str, Any]) -> NeuralField:
        data = self.dataset
        return NeuralField(network, data.frame, data.value_range, "sound", self.rate, record)  # pyright: ignore

    def estimate(self, network: nnx.Module) -> float:
        mse = np.mean((self._estimate(network) - self._estimate.truth) ** 2)
        return float(10 * np.log10(self._power / mse))

    def quality(self, network: nnx.Module) -> float:
        return metrics.snr(self._samples(network), self._sound.samples)

    def figure(self, network: nnx.Module, title: str):
        from siren_jax import plot  # imports Matplotlib, which takes longer than a first step

        return plot.sound_comparison(self._sound.samples, self._samples(network), rate=self._sound.rate, title=title)

    def write(self, network: nnx.Module, path: Callable[[str], str], *, overwrite: bool) -> dict[str, Any]:
        samples, truth = self._samples(network), self._sound.samples
        write_sound(path(self.files[0]), Sound(samples, self._sound.rate), overwrite=overwrite)
        error = (samples - truth) / self.dataset.value_range[1]
        return {"snr": metrics.snr(samples, truth), "mse": float(np.mean(error.astype(np.float64) ** 2))}

    def _samples(self, network: nnx.Module) -> ndarray:
        """The network's samples, in the file's own scale."""
        return self.field(network, {}).render()


def open_sound(
    source: str | ndarray,
    *,
    rate: int | float | None = None,
    downsample: int = 1,
    between: tuple[int | float, int | float] | None = None,
) -> Recording:
    """The sound in a file, or an array `(n,)` or `(n, c)` with its rate, as the subject of a fit.

    Args:
        source: path of a file, or an array of floats, 1 and -1 for full scale.
        rate: samples per second of an array.
        downsample: whole number by which the rate of a file is divided, after a low-pass filter.
        between: start and stop of the part of a file to fit, in seconds.

    Raises:
        InputError: as for `load_sound`; an array has no rate or another shape, or is silent.
    """
    if not isinstance(source, ndarray):
        if rate is not None:
            raise InputError("a file contains its rate; give rate= for an array only.")
        return Recording(load_sound(source, downsample=downsample, between=between))
    if rate is None or not valid_rate("sound", rate):
        raise InputError(f"an array of a sound needs its rate, a whole number of samples a second, but has {rate}.")
    if downsample != 1 or between is not None:
        raise InputError("downsample and between apply to files only; cut and resample an array beforehand.")
    if source.ndim not in (1, 2) or len(source) < 2 or source.dtype.kind != "f" or not np.isfinite(source).all():
        raise InputError(
            f"a sound is an array (n,) or (n, c) of floats, but this one has the shape {source.shape} and the type "
            f"{source.dtype}, or contains values that are not finite."
        )
    if source.shape[0] > MAX_LENGTH:
        raise InputError(f"a sound has up to {MAX_LENGTH:,} samples, but this array has {source.shape[0]:,}.")
    if not source.any():
        raise InputError("the sound is silent: every sample is zero.")
    return Recording(Sound(source.reshape(len(source), -1).astype(np.float32), int(rate)))


def render_sound(
    field: NeuralField,
    path: str,
    *,
    rate: float | None = None,
    between: tuple[float, float] | None = None,
    overwrite: bool = False,
) -> tuple[str, str]:
    """Writes a sound as a WAV, FLAC or OGG of 16 bits or as an NPY; returns what was written, in words.

    Args:
        field: the sound.
        path: ends in `.wav`, `.flac`, `.ogg` or `.npy`.
        rate: samples per second; by default those of the original.
        between: start and stop of the part to write, in seconds.
        overwrite: whether to replace an existing file.
    """
    sound = excerpt(field, between, rate)
    write_sound(path, sound, overwrite=overwrite)
    return f"{sound.seconds:.4g} s", f"at {sound.rate} Hz"


def excerpt(field: NeuralField, between: tuple[float, float] | None, rate: float | None) -> Sound:
    """A part of a sound, from and to a time in seconds, at another number of samples per second.

    Raises:
        InputError: the part is not within the sound, the rate is not whole or out of range, or there are too many
            samples.
    """
    if rate is not None and not float(rate).is_integer():
        raise InputError(f"rate= of a sound takes a whole number, but is {rate:g}.")
    wanted = timeline(field, between, rate)
    own, rate = round(wanted.own), round(wanted.rate)
    finest = wanted if rate >= own else timeline(field, between, None)
    if (samples := finest.count * field.network.out_features) > MAX_SAMPLES:
        raise InputError(f"{finest.count:,} samples of each channel are {samples:,}; up to {MAX_SAMPLES:,} are made.")
    if rate >= own:
        return Sound(field.render((wanted.count,), region=(wanted.region,)), rate)
    # Sampling the network at the lower rate would alias. The filter also uses the samples beyond the cuts.
    wide, before = wanted.widened(FILTER_REACH, field.frame.shape[0])
    at_own_rate = replace(wide, count=math.ceil(wide.count * own / rate), rate=wide.own)
    samples = field.render((at_own_rate.count,), region=(at_own_rate.region,))
    lower = resample(Sound(samples, own), rate)
    return Sound(lower.samples[before : before + wanted.count], rate)


def write_sound(path: str, sound: Sound, *, overwrite: bool) -> None:
    """Writes a sound in the format of the path's suffix, which may be NPY."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".npy":
        write_atomically(path, lambda file: np.save(file, sound.samples), overwrite=overwrite)
    else:
        write_atomically(path, lambda file: encode_sound(file, sound, suffix), overwrite=overwrite)
