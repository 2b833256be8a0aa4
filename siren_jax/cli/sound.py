"""A sound as the subject of a fit, and as a file."""

import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.tree_util import Partial
from numpy import ndarray

from siren_jax import metrics
from siren_jax.errors import InputError
from siren_jax.neural_field import NeuralField
from siren_jax.objectives import supervise
from siren_jax.signals import SampleDataset, Sound, encode_sound, resample
from siren_jax.signals.sound import MAX_SAMPLES
from siren_jax.storage import write_atomically

ESTIMATED = 16384  # samples of the SNR that is shown between chunks


class Recording:
    """The samples of a sound; see `Subject`. Its loudest sample becomes 1, as in the paper."""

    measure = "snr"
    note = ""
    files = ("reconstruction.wav",)

    def __init__(self, sound: Sound):
        peak = float(np.abs(sound.samples).max())
        self._sound = sound
        self.dataset = SampleDataset(sound.samples, value_range=(-peak, peak))
        self.objective, self.weights = supervise("value"), {}
        self._subset = np.sort(np.random.default_rng(0).permutation(len(self.dataset))[:ESTIMATED])

    def sampler(self, batch_size: int) -> Partial:
        return self.dataset.sampler(batch_size)

    def field(self, network: nnx.Module, record: dict[str, Any]) -> NeuralField:
        data, rate = self.dataset, float(self._sound.rate)
        return NeuralField(network, data.frame, data.value_range, "sound", rate, record)  # pyright: ignore

    def estimate(self, network: nnx.Module) -> float:
        values = _evaluate(network, self.dataset.coordinates[self._subset])
        return metrics.snr(np.asarray(values), self.dataset.value[self._subset])

    def quality(self, network: nnx.Module) -> float:
        return metrics.snr(self._samples(network), self._sound.samples)

    def metrics(self, network: nnx.Module) -> dict[str, Any]:
        error = (self._samples(network) - self._sound.samples) / self.dataset.value_range[1]
        return {"snr": self.quality(network), "mse": float(np.mean(error.astype(np.float64) ** 2))}

    def figure(self, network: nnx.Module, title: str):
        from siren_jax import plot  # imports Matplotlib, which takes longer than a first step

        return plot.sound_comparison(self._sound.samples, self._samples(network), rate=self._sound.rate, title=title)

    def write(self, network: nnx.Module, path: Callable[[str], str], *, overwrite: bool) -> None:
        sound = Sound(self._samples(network), self._sound.rate)
        write_sound(path(self.files[0]), sound, overwrite=overwrite)

    def _samples(self, network: nnx.Module) -> ndarray:
        """The sound as the network has it, in the file's own scale."""
        return self.field(network, {}).render()


def excerpt(field: NeuralField, between: tuple[float, float] | None, rate: int | None) -> Sound:
    """A part of a sound, between seconds of the original, at another number of samples a second.

    Raises:
        InputError: a part that is not within the sound, a rate that is not positive, more samples than can be held.
    """
    own = round(field.rate or 1)
    length = field.frame.shape[0] / own
    start, stop = between or (0.0, length)
    if not 0 <= start < stop <= length:
        raise InputError(f"--between takes a start before a stop within 0 to {length:g} s, but is {start:g} {stop:g}.")
    rate = own if rate is None else rate
    finer = max(rate, own)
    count = round((stop - start) * finer)
    if rate < 1 or not 1 <= count * field.network.out_features <= MAX_SAMPLES:
        raise InputError(
            f"{stop - start:g} s at --rate {rate} are {count:,} samples; 1 to {MAX_SAMPLES:,} are written."
        )
    samples = field.render((count,), region=((start * own, stop * own),))
    sound = Sound(samples, finer)
    return sound if rate == finer else resample(sound, rate)  # the network alone would alias


def write_sound(path: str, sound: Sound, *, overwrite: bool) -> None:
    """A sound file in the format of its suffix, or an NPY."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".npy":
        write_atomically(path, lambda file: np.save(file, sound.samples), overwrite=overwrite)
    else:
        write_atomically(path, lambda file: encode_sound(file, sound, suffix), overwrite=overwrite)


# Eagerly it would take twice as long, a tenth of a chunk.
_evaluate = jax.jit(lambda network, points: network(points))
