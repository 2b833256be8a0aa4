"""Photographs with known values between their pixels.

A picture of twice the resolution is smoothed with the binomial filter (1, 3, 3, 1)/8. A network is trained on every
second sample along each axis. The samples half a pixel away along both axes are held out, and differences between
neighbours give the gradient.
"""

from dataclasses import dataclass

import numpy as np
import scipy.ndimage
import skimage.data
import skimage.transform
import skimage.util
from numpy import ndarray

from siren_jax import NeuralField, PixelDataset
from siren_jax.metrics import psnr

NAMES = (
    "camera",
    "astronaut",
    "brick",
    "gravel",
    "coffee",
    "chelsea",
    "moon",
    "coins",
    "page",
    "rocket",
    "text",
    "cell",
    "hubble_deep_field",
    "retina",
)


@dataclass(frozen=True)
class Picture:
    """A photograph, and the truth between its pixels; values are in [0, 1]."""

    name: str
    pixels: ndarray
    """`(h, w, c)`: the pixels for the network."""
    between: ndarray
    """`(h - 1, w - 1, c)`: values half a pixel down and to the right."""
    gradient: ndarray
    """`(h - 2, w - 2, c, 2)`: gradient at the inner pixels, in value per coordinate."""

    @property
    def dataset(self) -> PixelDataset:
        return PixelDataset(self.pixels, value_range=(0.0, 1.0))


def load_picture(name: str, size: int) -> Picture:
    """A photograph of scikit-image whose longer side has `size` pixels, in its own number of channels.

    Raises:
        ValueError: the photograph has fewer than twice as many pixels, so that the truth would be interpolated.
    """
    fine = skimage.util.img_as_float(getattr(skimage.data, name)())
    fine = fine[..., None] if fine.ndim == 2 else fine
    h, w = fine.shape[:2]
    if max(h, w) < 2 * size:
        raise ValueError(f"{name} has {max(h, w)} pixels; the size can be up to {max(h, w) // 2}.")
    shape = tuple(2 * round(n * size / max(h, w)) for n in (h, w))
    if shape != (h, w):
        fine = skimage.transform.resize(fine, (*shape, fine.shape[2]), anti_aliasing=True)
    return hold_out(name, fine)


def hold_out(name: str, fine: ndarray) -> Picture:
    """A picture `(2h, 2w, c)` at half the resolution, and the truth between its pixels."""
    for axis in (0, 1):
        # An even filter: sample j of the result lies between j - 1 and j.
        fine = scipy.ndimage.correlate1d(fine, np.array([1, 3, 3, 1]) / 8, axis, mode="reflect")
    fine = np.clip(fine[1:, 1:], 0, 1)
    spacing = 2 / ((max(fine.shape[:2]) + 1) // 2)
    rows = (fine[3:-1:2, 2:-2:2] - fine[1:-3:2, 2:-2:2]) / spacing
    columns = (fine[2:-2:2, 3:-1:2] - fine[2:-2:2, 1:-3:2]) / spacing
    return Picture(name, fine[::2, ::2], fine[1::2, 1::2], np.stack([rows, columns], axis=-1))


def judge(field: NeuralField, picture: Picture, *, up_to_a_constant: bool = False) -> dict[str, float]:
    """PSNR on the pixels and half way between them, and the relative error of the gradient.

    Args:
        field: a fit of the picture.
        picture: the truth.
        up_to_a_constant: whether the mean of every channel is taken from the truth, for a fit of the gradient.
    """
    h, w = picture.pixels.shape[:2]
    middle = field.render((h - 1, w - 1), region=((0.5, h - 0.5), (0.5, w - 0.5)))
    inner = field.render((h - 2, w - 2), of="gradient", region=((1.0, h - 1.0), (1.0, w - 1.0)))
    pixels = field.render()
    if up_to_a_constant:
        offset = np.mean(picture.pixels - pixels, axis=(0, 1))
        pixels, middle = pixels + offset, middle + offset
    return {
        "pixels": psnr(pixels, picture.pixels, data_range=1.0),
        "between": psnr(middle, picture.between, data_range=1.0),
        "gradient": float(np.linalg.norm(inner - picture.gradient) / np.linalg.norm(picture.gradient)),
    }
