"""How far two networks for the same signal are apart, in words."""

import math

import jax.numpy as jnp
import numpy as np

from siren_jax import metrics
from siren_jax.fields.tiles import evaluate
from siren_jax.neural_field import NeuralField

COMPARED = 65536  # grid points


def agreement(one: NeuralField, other: NeuralField) -> str:
    """PSNR between two networks for values in [-1, 1], at the points of their grid or at random ones of a large
    grid."""
    shape = one.frame.shape
    if math.prod(shape) <= COMPARED:
        indices = np.indices(shape).reshape(len(shape), -1).T
    else:
        indices = np.random.default_rng(0).integers(shape, size=(COMPARED, len(shape)))
    points = jnp.asarray(one.frame.coordinates(indices))
    a, b = (np.asarray(evaluate(field.network, points)) for field in (one, other))
    return "no difference" if np.array_equal(a, b) else f"PSNR {metrics.psnr(a, b):.2f} dB"
