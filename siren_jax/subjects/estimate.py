"""Predictions at some samples of a signal, for the quality that is shown while a fit runs."""

from functools import cached_property

import jax
import numpy as np
from flax import nnx
from jax.tree_util import Partial
from numpy import ndarray

from siren_jax._types import Batch
from siren_jax.fields.tiles import evaluate
from siren_jax.signals import SampleDataset

ESTIMATED = 4096  # pixels of the PSNR that is shown between chunks


class Estimate:
    """A network's predictions at a fixed set of samples, and the truth there.

    Args:
        dataset: the signal.
        count: number of samples, spread evenly over the signal; all if it has fewer.
    """

    def __init__(self, dataset: SampleDataset, count: int):
        self._dataset, self._count = dataset, count

    def __call__(self, network: nnx.Module) -> ndarray:
        """The network's values, `(n, c)` in [-1, 1]."""
        return np.asarray(evaluate(network, self._batch["coordinates"]))

    @property
    def points(self) -> ndarray:
        """Coordinates of the samples, `(n, d)`."""
        return np.asarray(self._batch["coordinates"])

    @property
    def truth(self) -> ndarray:
        """Values of the samples, `(n, c)` in [-1, 1]."""
        return np.asarray(self._batch["value"])

    @cached_property
    def _batch(self) -> Batch:
        return _drawn(self._dataset.sampler(min(self._count, len(self._dataset))))


@jax.jit
def _drawn(sample: Partial) -> Batch:
    return sample(jax.random.key(0), 0)
