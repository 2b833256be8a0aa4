"""Sampled signals with any number of axes, as points with values."""

from collections.abc import Iterator
from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float, Int
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.fields.coordinates import Frame, generate_coordinates
from siren_jax.signals.ranges import normalized, value_range_of


class SampleDataset:
    """The samples of a signal as points, with the values that a network is fitted to.

    The signal may be a sound `(n, c)`, a picture `(h, w, c)`, a video `(t, h, w, c)` or a volume. `len(dataset)` is the
    number of samples n. `dataset[i]`, with an integer, a slice or an array of them, is a dict of

    - `coordinates` `(…, d)`: of the sample, see `Frame`;
    - `indices` `(…, d)`: along each axis of the signal;
    - `value` `(…, c)`: scaled from the signal's range to [-1, 1].

    Args:
        signal: `(*shape, c)`: whole numbers, booleans or floats, which are kept as they are.
        value_range: the interval of values that becomes [-1, 1]; by default as `value_range_of` finds it.

    Raises:
        InputError: no axis but the channels, no samples, not numbers, values that are not finite, an empty range.

    >>> dataset = SampleDataset(np.array([[0.0], [0.5], [1.0], [0.0]]))
    >>> len(dataset), dataset[1]["coordinates"].tolist(), dataset[1]["value"].tolist()
    (4, [-0.25], [0.0])
    """

    def __init__(self, signal: ndarray, *, value_range: tuple[float, float] | None = None):
        signal = np.asarray(signal)
        if signal.ndim < 2 or signal.size == 0:
            raise InputError(
                f"a signal has the shape (*shape, channels) and at least one sample, but this is {signal.shape}."
            )
        if signal.dtype.kind not in "buif":
            raise InputError(f"a signal holds real numbers, but this array has the type {signal.dtype}.")
        known = self._known(signal)
        if signal.dtype.kind == "f" and (bad := int(known.size - np.count_nonzero(np.isfinite(known)))):
            raise InputError(
                f"{bad} of the {signal.size} values are NaN or infinite; replace them first, or leave such pixels of a "
                "picture out with IncompletePicture."
            )
        self.value_range = value_range or value_range_of(known)
        low, high = self.value_range
        if not 0 < high - low < np.inf:
            raise InputError(
                f"the value range must be (low, high) with low < high, both finite, but is {self.value_range}."
            )
        self.frame = Frame(signal.shape[:-1])
        self.channels = signal.shape[-1]
        self.signal = signal
        """The signal as it was given."""

    def _known(self, signal: ndarray) -> ndarray:
        """The known values, which must be finite and decide the value range."""
        return signal

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples along each axis."""
        return self.frame.shape

    @cached_property
    def coordinates(self) -> Float[ndarray, "n d"]:
        """Every sample's coordinates, last axis fastest."""
        return generate_coordinates(self.shape)

    @cached_property
    def value(self) -> Float[ndarray, "n c"]:
        """Every sample's value in [-1, 1]."""
        return self._scaled().reshape(-1, self.channels).astype(np.float32)

    def grid(self, name: str = "value") -> Float[ndarray, "..."]:
        """A quantity of every sample on the signal's grid; values in [-1, 1]."""
        values = getattr(self, name)
        return values.reshape(*self.shape, *values.shape[1:])

    def __len__(self) -> int:
        return int(np.prod(self.shape))

    def __getitem__(self, index) -> dict[str, ndarray]:
        index = np.arange(len(self))[index]  # checks the bounds and resolves slices, masks and negative numbers
        return {
            "coordinates": self.coordinates[index],
            "indices": np.stack(np.unravel_index(index, self.shape), axis=-1),
            "value": self.value[index],
        }

    def batches(self, batch_size: int | None = None, *, key: Array | None = None) -> Iterator[dict[str, ndarray]]:
        """Every sample once, in batches: in order, or shuffled by a key. Without a size the full signal is one batch.

        The last batch is smaller where the size does not divide the number of samples.
        """
        batch_size = self._checked(batch_size)
        order = np.arange(len(self)) if key is None else np.asarray(jax.random.permutation(key, len(self)))
        for start in range(0, len(self), batch_size):
            yield self[order[start : start + batch_size]]

    def sampler(self, batch_size: int | None = None) -> Partial:
        """A pure function `sample(key, step)` that draws a batch of `coordinates` and `value` inside a jitted step.

        The samples, last axis fastest, are cut into `batch_size` strata of equal length (to one sample), and one is
        drawn from each: no sample comes twice in a batch, and a batch of all is the whole signal in order.

        It keeps the signal in its own type if that is smaller than float32, else as float32.

        Args:
            batch_size: points of a batch; by default all.

        Raises:
            InputError: the batch is larger than the signal, or not positive.
        """
        low, high = self.value_range
        factor = 2 / (high - low)
        scale = (factor, -1 - low * factor) if self._compact else (1.0, 0.0)
        return Partial(_draw, self._strata(batch_size), jnp.array(self.shape), self._samples, *map(jnp.float32, scale))

    @property
    def _compact(self) -> bool:
        """Whether the signal takes less memory in its own type than as float32."""
        return self.signal.dtype.itemsize < 4

    @cached_property
    def _samples(self) -> Array:
        """The array that all samplers share: the signal as it is, or its values in [-1, 1]."""
        return jnp.asarray(self.signal.reshape(-1, self.channels) if self._compact else self.value)

    def _scaled(self) -> Float[ndarray, "*shape c"]:
        return normalized(self.signal.astype(np.float64), self.value_range)

    def _strata(self, batch_size: int | None) -> Int[Array, "edges"]:
        return jnp.asarray(strata(len(self), self._checked(batch_size)))

    def _checked(self, batch_size: int | None) -> int:
        if batch_size is None:
            return len(self)
        if not 1 <= batch_size <= len(self):
            raise InputError(
                f"a batch has 1 to {len(self)} points, the signal's samples, but {batch_size} were asked for."
            )
        return batch_size


def strata(length: int, count: int) -> Int[ndarray, "edges"]:
    """Edges of `count` strata of 0, …, length - 1, which are equally long to one number."""
    return (np.arange(count + 1) * length // count).astype(np.int32)


def draw_strata(edges: Int[Array, "edges"], key: Array) -> Int[Array, "n"]:
    """A number from each stratum, [edges[i], edges[i + 1]), or edges[i] if the stratum is empty."""
    start, width = edges[:-1], jnp.diff(edges)
    offset = (jax.random.uniform(key, start.shape, jnp.float32) * width).astype(jnp.int32)
    return start + jnp.clip(offset, 0, jnp.maximum(width - 1, 0))  # the product may round up to the width


def _draw(
    edges: Array, shape: Array, samples: Array, factor: Array, shift: Array, key: Array, step: Array | int
) -> dict[str, Array]:
    del step  # every step draws alike; the key differs
    number = draw_strata(edges, key)
    return {
        "coordinates": numbered_coordinates(number, shape),
        "value": samples[number].astype(jnp.float32) * factor + shift,
    }


def numbered_coordinates(number: Int[Array, "n"], shape: Int[Array, "d"]) -> Float[Array, "n d"]:
    """Coordinates, as in `Frame`, of samples that are numbered with the last axis fastest."""
    along = []
    for size in shape[::-1]:
        along.append((2 * (number % size) + 1 - size).astype(jnp.float32) / shape.max().astype(jnp.float32))
        number = number // size
    return jnp.stack(along[::-1], axis=-1)
