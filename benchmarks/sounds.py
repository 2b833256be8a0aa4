"""Sounds with known values between their samples: two seconds of a sound of `experiments.sounds`, or of a WAV file.

A sound is smoothed with the filter (1, 3, 3, 1)/8, like the pictures. A network sees every second sample, and the
samples between them are held out.
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import scipy.io.wavfile
import scipy.ndimage
from jax import Array
from jax.tree_util import Partial
from numpy import ndarray

from experiments.sounds import RATE, SYNTHESISED
from siren_jax.fields import Frame


@dataclass(frozen=True)
class Sound:
    name: str
    samples: ndarray
    """`(n, 1)`: the samples for the network; the largest absolute value of all samples is 1."""
    between: ndarray
    """`(n - 1, 1)`: held-out values half a sample later."""

    @property
    def frame(self) -> Frame:
        return Frame((len(self.samples),))

    def sampler(self, batch_size: int) -> Partial:
        """A pure function `sample(key, step)` that draws one sample from each of `batch_size` strata."""
        points = self.frame.coordinates(np.arange(len(self.samples))[:, None])
        return Partial(_draw, jnp.asarray(points), jnp.asarray(self.samples, jnp.float32), jnp.arange(batch_size))


def synthesise(name: str) -> Sound:
    return _held_out(name, SYNTHESISED[name](np.arange(2 * RATE) / RATE))


def read(path: str, *, seconds: float = 2.0) -> Sound:
    """The beginning of the first channel of a WAV file."""
    rate, samples = scipy.io.wavfile.read(path)
    samples = samples.reshape(len(samples), -1)[: int(seconds * rate), 0]
    return _held_out(Path(path).stem, samples.astype(np.float64))


def _held_out(name: str, samples: ndarray) -> Sound:
    smooth = scipy.ndimage.correlate1d(samples, np.array([1, 3, 3, 1]) / 8, mode="reflect")[1:]
    smooth = smooth[: len(smooth) - 1 + len(smooth) % 2, None] / np.abs(smooth).max()
    return Sound(name, smooth[::2], smooth[1::2])


def _draw(points: Array, samples: Array, strata: Array, key: Array, step: Array) -> dict[str, Array]:
    del step
    n = len(points)
    index = ((strata + jax.random.uniform(key, strata.shape)) * (n / len(strata))).astype(jnp.int32)
    index = jnp.minimum(index, n - 1)
    return {"coordinates": points[index], "value": samples[index]}
