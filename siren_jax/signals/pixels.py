"""Images as points with values, gradients and Laplacians."""

from collections.abc import Iterator, Mapping
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.signals.grid import Frame, generate_coordinates
from siren_jax.signals.integrals import segments, stencils


def value_range_of(image: ndarray) -> tuple[float, float]:
    """The interval that an array's values are measured in, which [-1, 1] stands for.

    Integers of 8 and 16 bits: all values of the type. Wider ones, as NumPy makes them from Python's: 0 to 255 if all
    lie in it, else 0 to 65,535. Floats: [0, 1] if all lie in it, else [-1, 1]. Anything else: least to greatest.

    >>> value_range_of(np.zeros((2, 2), np.uint8)), value_range_of(np.array([0.2, 0.3]))
    ((0.0, 255.0), (0.0, 1.0))
    >>> value_range_of(np.array([0, 700])), value_range_of(np.array([-3.0, 5.0]))
    ((0.0, 65535.0), (-3.0, 5.0))
    """
    if image.dtype == bool:
        return 0.0, 1.0
    usual = [(0.0, 1.0), (-1.0, 1.0)]
    if np.issubdtype(image.dtype, np.integer):
        limits = np.iinfo(image.dtype)
        usual = [(float(limits.min), float(limits.max))] if limits.bits <= 16 else [(0.0, 255.0), (0.0, 65535.0)]
    low, high = float(image.min()), float(image.max())
    for least, most in usual:
        if least <= low and high <= most:
            return least, most
    return (low, high) if high > low else (low - 1, high + 1)


class PixelDataset:
    """The pixels of an image as points, with what a network is fitted to.

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
        if image.dtype.kind not in "buif":
            raise InputError(f"an image holds real numbers, but this array has the type {image.dtype}.")
        bad = int(np.size(image) - np.count_nonzero(np.isfinite(image)))
        if bad:
            raise InputError(
                f"{bad} of the image's {image.size} values are NaN or infinite; replace or mask them first."
            )
        image = image.reshape(*image.shape[:2], -1)
        self.value_range = value_range or value_range_of(image)
        low, high = self.value_range
        if not 0 < high - low < np.inf:
            raise InputError(
                f"the value range must be (low, high) with low < high, both finite, but is {self.value_range}."
            )
        self.frame = Frame(image.shape[:2])
        self.channels = image.shape[2]
        self._grid = (image.astype(np.float64) - low) * (2 / (high - low)) - 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis: `(h, w)`."""
        return self.frame.shape

    @cached_property
    def coordinates(self) -> Float[ndarray, "n 2"]:
        """Every pixel's coordinates, row by row."""
        return generate_coordinates(self.shape)

    @cached_property
    def value(self) -> Float[ndarray, "n c"]:
        """Every pixel's value in [-1, 1]."""
        return self._flat(self._grid)

    @cached_property
    def gradient(self) -> Float[ndarray, "n c 2"]:
        """Every pixel's gradient, value per coordinate."""
        import scipy.ndimage

        channels = np.moveaxis(self._grid, -1, 0)  # one by one: the filter would smooth across them
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

        laplace = [scipy.ndimage.laplace(channel) for channel in np.moveaxis(self._grid, -1, 0)]
        return self._flat(np.stack(laplace, axis=-1) / self.frame.spacing**2)

    @cached_property
    def mean_square(self) -> Mapping[str, float]:
        """Mean over pixels and channels of the squared length of gradient and Laplacian: what a loss is normalised
        by."""
        return {name: float(np.sum(getattr(self, name) ** 2)) / self.value.size for name in ("gradient", "laplacian")}

    def __len__(self) -> int:
        return self.value.shape[0]

    def __getitem__(self, index) -> dict[str, ndarray]:
        index = np.arange(len(self))[index]  # checks the bounds and resolves slices, masks and negative numbers
        return {
            "coordinates": self.coordinates[index],
            "indices": np.stack(np.unravel_index(index, self.shape), axis=-1),
            "value": self.value[index],
            "gradient": self.gradient[index],
            "gradient_norm": self.gradient_norm[index],
            "laplacian": self.laplacian[index],
        }

    def batches(self, batch_size: int | None = None, *, key: Array | None = None) -> Iterator[dict[str, ndarray]]:
        """Every pixel once, in batches: in order, or shuffled by a key. Without a size the full image is one batch.

        The last batch is smaller where the size does not divide the number of pixels.
        """
        batch_size = self._checked(batch_size)
        order = np.arange(len(self)) if key is None else np.asarray(jax.random.permutation(key, len(self)))
        for start in range(0, len(self), batch_size):
            yield self[order[start : start + batch_size]]

    def sampler(self, batch_size: int | None = None, *, quantities: tuple[str, ...] = ("value",)) -> Partial:
        """A pure function `sample(key, step)` that draws a batch inside a jitted step.

        The pixels, row by row, are cut into `batch_size` strata of equal length (to one pixel), and one is drawn from
        each: no pixel comes twice in a batch, and a batch of all pixels is the whole image in order.

        Args:
            batch_size: points of a batch; by default all.
            quantities: what the batch holds besides `coordinates`: "value", "gradient", "laplacian", and their integral
                forms "gradient_integral" and "laplacian_integral", of `signals.integrals`, as many as there are points.

        Raises:
            InputError: the batch is larger than the image, or not positive.
        """
        batch_size = self._checked(batch_size)
        edges = np.arange(batch_size + 1) * len(self) // batch_size
        integrals = {}
        if "gradient_integral" in quantities:
            integrals["gradient_integral"] = segments(self.grid("gradient"), self.frame)
        if "laplacian_integral" in quantities:
            integrals["laplacian_integral"] = stencils(self.grid("laplacian"), self.frame)
        pointwise = {"coordinates", *quantities} - set(integrals)
        data = {name: jnp.asarray(getattr(self, name)) for name in sorted(pointwise)}
        return Partial(_draw, data, jnp.asarray(edges, jnp.int32), integrals)

    def grids(self) -> dict[str, ndarray]:
        """Value, gradient and Laplacian as grids, in the image's own values.

        Their shapes are `(h, w, c)`, `(h, w, c, 2)` and `(h, w, c)`.
        """
        low, high = self.value_range
        half = (high - low) / 2
        derivatives = {name: half * self.grid(name) for name in ("gradient", "laplacian")}
        return {"value": (self.grid("value") + 1) * half + low, **derivatives}

    def grid(self, name: str) -> Float[ndarray, "h w ..."]:
        """A quantity of every pixel, "value", "gradient" or "laplacian", as `(h, w, …)`; values in [-1, 1]."""
        values = getattr(self, name)
        return values.reshape(*self.shape, *values.shape[1:])

    def _flat(self, grid: ndarray) -> Float[ndarray, "n ..."]:
        return grid.reshape(-1, *grid.shape[2:]).astype(np.float32)

    def _checked(self, batch_size: int | None) -> int:
        if batch_size is None:
            return len(self)
        if not 1 <= batch_size <= len(self):
            raise InputError(
                f"a batch has 1 to {len(self)} points, the image's pixels, but {batch_size} were asked for."
            )
        return batch_size


def _draw(
    data: dict[str, Array], edges: Array, integrals: dict[str, Partial], key: Array, step: Array | int
) -> dict[str, Array | dict[str, Array]]:
    del step  # every step draws alike; the key differs
    for_pixels, *others = jax.random.split(key, 1 + len(integrals))
    start, width = edges[:-1], jnp.diff(edges)
    offset = (jax.random.uniform(for_pixels, start.shape) * width).astype(jnp.int32)
    index = start + jnp.minimum(offset, width - 1)  # the product may round up to the width
    drawn = {name: draw(k, len(start)) for (name, draw), k in zip(integrals.items(), others, strict=True)}
    return {name: values[index] for name, values in data.items()} | drawn
