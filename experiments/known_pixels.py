"""Test pictures of which some pixels are known, two interpolations of them that learn nothing, and their errors."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import skimage.restoration
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from siren_jax.signals import IncompletePicture


class Tests(NamedTuple):
    """Test pictures; values are from 0 to 1."""

    truth: Float[ndarray, "m h w c"]
    pixels: Int[ndarray, "m n"]
    """Numbers of pixels in the order in which they become known."""
    unknown: Bool[ndarray, "k m h w"]
    """For each number of known pixels, where a picture is unknown."""


def split(
    pictures: UInt8[ndarray, "n h w c"], tests: int, known: tuple[int, ...], *, seed: int
) -> tuple[UInt8[ndarray, "t h w c"], Tests]:
    """Pictures for training, and others for tests.

    Args:
        pictures: all pictures.
        tests: number of pictures for tests; at most a tenth of all.
        known: numbers of pixels that are known in tests.
        seed: seed of the choice of pictures and of their pixels.
    """
    count, h, w, _ = pictures.shape
    random = np.random.default_rng(seed)
    order, held_out = random.permutation(count), max(1, min(tests, count // 10))
    truth, train = pictures[order[:held_out]] / np.float32(255), pictures[order[held_out:]]
    pixels = np.stack([random.permutation(h * w)[: max(known)] for _ in truth])
    unknown = np.ones((len(known), len(truth), h * w), bool)
    for row, n in enumerate(known):
        np.put_along_axis(unknown[row], pixels[:, :n], False, axis=1)
    return train, Tests(truth, pixels, unknown.reshape(*unknown.shape[:2], h, w))


def nearest(tests: Tests) -> Float[ndarray, "k m h w c"]:
    """Pictures whose unknown pixels have the value of the nearest known one, for each number of known pixels."""
    return _each(tests, lambda picture, away: IncompletePicture(picture, ~away, value_range=(0.0, 1.0)).filled())


def biharmonic(tests: Tests) -> Float[ndarray, "k m h w c"]:
    """Pictures whose unknown pixels are inpainted by scikit-image, for each number of known pixels."""
    inpaint = partial(skimage.restoration.inpaint_biharmonic, channel_axis=-1)
    return _each(tests, lambda picture, away: inpaint(np.where(away[..., None], 0, picture), away))


def _each(tests: Tests, fill: Callable[[ndarray, ndarray], ndarray]) -> ndarray:
    return np.array([[fill(*pair) for pair in zip(tests.truth, row, strict=True)] for row in tests.unknown])


def errors(completed: Float[ndarray, "k m h w c"], tests: Tests) -> list[tuple[float, float]]:
    """Mean squared errors over all and over unknown pixels, for each number of known pixels."""
    square = np.mean((np.clip(completed, 0, 1) - tests.truth) ** 2, axis=-1)
    return [(float(rows.mean()), float(rows[away].mean())) for rows, away in zip(square, tests.unknown, strict=True)]
