"""Resizing of pictures, against aliasing and around pixels without a value."""

import math
from functools import partial

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.typing import DTypeLike

from siren_jax.errors import InputError
from siren_jax.formats.decoded import MAX_PIXELS


def shrink(
    image: Float[ndarray, "h w c"], *, downsample: int = 1, size: int | None = None
) -> Float[ndarray, "h2 w2 c"]:
    """The image with fewer pixels, smoothed by a Gaussian against aliasing; `size` may also enlarge it. See
    `load_image`.

    Pixels with a channel that is NaN or infinite are left out of every mean; if they have over half of its weight, the
    mean is NaN.
    """
    sides = image.shape[:2]
    return resized(image, shrunk_sides(*sides, downsample=downsample, size=size), sides)


def shrunk_sides(h: int, w: int, *, downsample: int = 1, size: int | None = None) -> tuple[int, int]:
    """Height and width after `shrink`."""
    if downsample < 1 or (size is not None and size < 1):
        raise InputError(f"downsample and size must be at least 1, but are {downsample} and {size}.")
    h, w = (max(1, n // downsample) for n in (h, w))
    if size is not None:
        h, w = (max(1, round(n * size / max(h, w))) for n in (h, w))
    if h * w > MAX_PIXELS:
        raise InputError(
            f"an image of {h} x {w} pixels is too large to fit; up to {MAX_PIXELS:,} pixels are taken. "
            "Make it smaller by size= or downsample=, such as size=2048."
        )
    return h, w


def resized(
    image: Float[ndarray, "h w c"], wanted: tuple[int, int], sides: tuple[int, ...]
) -> Float[ndarray, "h2 w2 c"]:
    """The image with the `wanted` height and width; its pixels may be means over equal areas of a picture of larger
    `sides`.

    The Gaussian has σ = (s - 1)/2 pixels of that picture along an axis that shrinks by s. Means over r pixels already
    contribute the variance (r² - 1)/12, and interpolation half way between two of them adds (r² - 1)/4.
    """
    if image.shape[:2] == wanted:
        return image
    import skimage.transform

    smaller = wanted[0] * wanted[1] < image.shape[0] * image.shape[1]
    sigma = [0.0, 0.0, 0.0]
    for axis, (n, own, least) in enumerate(zip(sides, image.shape[:2], wanted, strict=True)):
        s, r = max(1.0, n / least), n / own
        sigma[axis] = math.sqrt(max(0.0, (s - 1) ** 2 / 4 - (r**2 - 1) / 3)) / r
    resize = partial(
        skimage.transform.resize,
        output_shape=wanted,
        # Reflected at the centre of the last pixel, which is its edge for a fine picture but not for means.
        mode="reflect" if image.shape[:2] == tuple(sides) else "symmetric",
        anti_aliasing=smaller,
        anti_aliasing_sigma=tuple(sigma) if smaller else None,
    )
    dtype = np.float64 if image.dtype == np.float64 else np.float32
    known = np.all(np.isfinite(image), axis=-1, keepdims=True)
    if known.all():
        return np.asarray(resize(image, order=1 if smaller else 3), dtype)
    weight = np.asarray(resize(known.astype(np.float64), order=1))
    sums = np.asarray(
        resize(np.where(known, image, 0).astype(np.float64), order=1)
    )  # cubic splines have weights below 0
    enough = weight >= 0.5
    return np.where(enough, sums / np.where(enough, weight, 1), np.nan).astype(dtype)


class Means:
    """An image from strips of rows, unchanged or averaged over equal areas if a side is longer than `finest`. A mean is
    NaN if any part of its area is."""

    def __init__(self, h: int, w: int, c: int, finest: tuple[int, ...], dtype: DTypeLike = np.float32):
        self._whole = h <= finest[0] and w <= finest[1]
        sides = min(h, finest[0]), min(w, finest[1])
        self._down, self._across = _means(h, sides[0]), _means(w, sides[1])
        self.array = np.zeros((*sides, c), dtype)
        """Complete when every row has been added."""

    def add(self, top: int, strip: Float[ndarray, "rows w c"]) -> None:
        """Adds the rows from `top` on."""
        if self._whole:
            self.array[top : top + len(strip)] = strip
            return
        down = self._down[:, top : top + len(strip)]
        reached = np.unique(down.nonzero()[0])
        for k in range(strip.shape[-1]):
            self.array[reached, :, k] += down[reached] @ (self._across @ strip[..., k].T).T


def _means(n: int, parts: int):
    """A sparse `(parts, n)` matrix: means over equal parts of n pixels, each of which lies in one part or in two."""
    import scipy.sparse

    pixel = np.arange(n)
    part = pixel * parts // n
    inside = np.minimum(1.0, (part + 1) * (n / parts) - pixel)  # share of the pixel in its first part
    second = np.minimum(part + 1, parts - 1)
    weights = np.concatenate([inside, 1 - inside]) * (parts / n)
    places = (np.concatenate([part, second]), np.concatenate([pixel, pixel]))
    return scipy.sparse.csr_array((weights.astype(np.float32), places), shape=(parts, n))
