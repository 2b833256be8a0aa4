"""Predictions at some of a signal's samples: enough for the quality that is shown while a fit runs."""

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
    """Predictions beside the truth, at the same samples every time.

    Args:
        dataset: the signal.
        count: samples, spread evenly over it; all if there are fewer.
    """

    def __init__(self, dataset: SampleDataset, count: int):
        batch = _drawn(dataset.sampler(min(count, len(dataset))))
        self._coordinates = batch["coordinates"]
        self.points, self.truth = np.asarray(batch["coordinates"]), np.asarray(batch["value"])

    def __call__(self, network: nnx.Module) -> ndarray:
        """The network's values, `(n, c)` in [-1, 1]."""
        return np.asarray(evaluate(network, self._coordinates))


@jax.jit
def _drawn(sample: Partial) -> Batch:
    return sample(jax.random.key(0), 0)
