"""Images as points with values, gradients and Laplacians."""

from collections.abc import Mapping
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.signals.integrals import segments, stencils
from siren_jax.signals.ranges import restored
from siren_jax.signals.samples import SampleDataset, draw_strata


class PixelDataset(SampleDataset):
    """The pixels of an image as points, with the values and derivatives that a network is fitted to.

    `len(dataset)` is the number of pixels n. `dataset[i]`, with an integer, a slice or an array of them, is a dict of

    - `coordinates` `(…, 2)`: of the pixel's centre, row and column, see `Frame`;
    - `indices` `(…, 2)`: its row and column;
    - `value` `(…, c)`: scaled from the image's range to [-1, 1];
    - `gradient` `(…, c, 2)`: SciPy's Sobel filter over 8·spacing, in value per coordinate;
    - `gradient_norm` `(…, c)`: its Euclidean length;
    - `laplacian` `(…, c)`: SciPy's Laplace filter over spacing², in value per coordinate².

    Both filters continue the picture by reflection at its border.

    Args:
        image: `(h, w)` or `(h, w, c)`: whole numbers, booleans or floats.
        value_range: the interval of values that becomes [-1, 1]; by default as `value_range_of` finds it.

    Raises:
        InputError: another number of axes, no pixels, not numbers, values that are not finite, an empty range.

    >>> dataset = PixelDataset(np.array([[0, 255], [0, 255]], np.uint8))
    >>> len(dataset), dataset[1]["value"].item(), dataset[1]["gradient"].tolist()
    (4, 1.0, [[0.0, 1.0]])
    """

    def __init__(self, image: ndarray, *, value_range: tuple[float, float] | None = None):
        image = np.asarray(image)
        if image.ndim not in (2, 3) or image.size == 0:
            raise InputError(
                f"an image has the shape (h, w) or (h, w, c) and at least one pixel, but this is {image.shape}."
            )
        super().__init__(image.reshape(*image.shape[:2], -1), value_range=value_range)

    @cached_property
    def gradient(self) -> Float[ndarray, "n c 2"]:
        """Every pixel's gradient, value per coordinate."""
        import scipy.ndimage

        channels = np.moveaxis(self._scaled(), -1, 0)  # one by one: the filter would smooth across them
        sobel = [[scipy.ndimage.sobel(channel, axis) for axis in (0, 1)] for channel in channels]
        return self._flat(np.transpose(sobel, (2, 3, 0, 1)) / (8 * self.frame.spacing))

    @cached_property
    def gradient_norm(self) -> Float[ndarray, "n c"]:
        """Length of every pixel's gradient."""
        return np.linalg.norm(self.gradient, axis=-1)

    @cached_property
    def laplacian(self) -> Float[ndarray, "n c"]:
        """Every pixel's Laplacian, value per coordinate²."""
        import scipy.ndimage

        laplace = [scipy.ndimage.laplace(channel) for channel in np.moveaxis(self._scaled(), -1, 0)]
        return self._flat(np.stack(laplace, axis=-1) / self.frame.spacing**2)

    @cached_property
    def mean_square(self) -> Mapping[str, float]:
        """Mean over pixels and channels of the squared length of gradient and Laplacian, to normalise a loss."""
        return {name: float(np.sum(getattr(self, name) ** 2)) / self.value.size for name in ("gradient", "laplacian")}

    def __getitem__(self, index) -> dict[str, ndarray]:
        derivatives = ("gradient", "gradient_norm", "laplacian")
        return super().__getitem__(index) | {name: getattr(self, name)[index] for name in derivatives}

    def sampler(self, batch_size: int | None = None, *, quantities: tuple[str, ...] = ("value",)) -> Partial:
        """A pure function `sample(key, step)` that draws a batch inside a jitted step.

        The pixels, row by row, are cut into `batch_size` strata of equal length (to one pixel), and one is drawn from
        each: no pixel comes twice in a batch, and a batch of all pixels is the whole image in order.

        Args:
            batch_size: points of a batch; by default all.
            quantities: what the batch contains besides `coordinates`: "value", "gradient", "laplacian", and the
                integral forms "gradient_integral" and "laplacian_integral" of `signals.integrals`, one for each point.

        Raises:
            InputError: the batch is larger than the image, or not positive.
        """
        edges = self._strata(batch_size)
        integrals = {}
        if "gradient_integral" in quantities:
            integrals["gradient_integral"] = segments(self.grid("gradient"), self.frame)
        if "laplacian_integral" in quantities:
            integrals["laplacian_integral"] = stencils(self.grid("laplacian"), self.frame)
        pointwise = {"coordinates", *quantities} - set(integrals)
        data = {name: jnp.asarray(getattr(self, name)) for name in sorted(pointwise)}
        return Partial(_draw, data, edges, integrals)

    def grids(self) -> dict[str, ndarray]:
        """Value, gradient and Laplacian as grids, in the image's own values.

        Their shapes are `(h, w, c)`, `(h, w, c, 2)` and `(h, w, c)`.
        """
        low, high = self.value_range
        derivatives = {name: (high - low) / 2 * self.grid(name) for name in ("gradient", "laplacian")}
        return {"value": restored(self.grid("value"), self.value_range), **derivatives}

    def _flat(self, grid: ndarray) -> Float[ndarray, "n ..."]:
        return grid.reshape(-1, *grid.shape[2:]).astype(np.float32)


def _draw(
    data: dict[str, Array], edges: Array, integrals: dict[str, Partial], key: Array, step: Array | int
) -> dict[str, Array | dict[str, Array]]:
    del step  # every step draws alike; the key differs
    for_pixels, *others = jax.random.split(key, 1 + len(integrals))
    index = draw_strata(edges, for_pixels)
    drawn = {name: draw(k, len(index)) for (name, draw), k in zip(integrals.items(), others, strict=True)}
    return {name: values[index] for name, values in data.items()} | drawn
