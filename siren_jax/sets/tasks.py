"""What the rows of a stack are fitted to: all samples of signals of one shape, or points drawn from signals of any."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from siren_jax._types import Batch, Field, Objective
from siren_jax.fields.coordinates import generate_coordinates
from siren_jax.fitting.objectives import supervise
from siren_jax.signals.samples import draw_strata, numbered_coordinates, strata

VALUE = supervise("value")


class _Values:
    """The common part of tasks that fit values."""

    @property
    def objective(self) -> Objective:
        return VALUE


@dataclass(frozen=True)
class Whole(_Values):
    """All samples of signals of one shape in every step, on coordinates that all rows share."""

    shape: tuple[int, ...]
    channels: int

    @property
    def points(self) -> int:
        return int(np.prod(self.shape))

    @property
    def common(self) -> Float[Array, "n d"]:
        return jnp.asarray(generate_coordinates(self.shape))

    def data(self, value: Float[np.ndarray, "n c"], shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """A row's arrays, from its values in [-1, 1]."""
        del shape  # is that of all
        return {"value": value}

    def sample(self, common: Array, data: Mapping[str, Array], key: Array, step: Array) -> Batch:
        del key, step  # every batch has all samples
        return {"coordinates": common, "value": data["value"]}

    def error(self, field: Field, common: Array, data: Mapping[str, Array]) -> Float[Array, ""]:
        return jnp.mean((field(common) - data["value"]) ** 2)


@dataclass(frozen=True)
class Drawn(_Values):
    """Points that are drawn anew in every step, one from each of as many strata, from signals of any size.

    Args:
        axes: number of coordinates.
        channels: number of channels.
        length: samples for which a row has room; shorter signals are padded.
        points: points of a batch. If a signal has fewer samples, each occurs about equally often.
    """

    axes: int
    channels: int
    length: int
    points: int

    @property
    def common(self) -> None:
        return None

    def data(self, value: Float[np.ndarray, "n c"], shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        room = np.zeros((self.length, self.channels), np.float32)
        room[: len(value)] = value
        return {"value": room, "shape": np.array(shape, np.int32), "edges": strata(len(value), self.points)}

    def sample(self, common: None, data: Mapping[str, Array], key: Array, step: Array) -> Batch:
        del common, step
        number = draw_strata(data["edges"], key)
        return {"coordinates": numbered_coordinates(number, data["shape"]), "value": data["value"][number]}

    def error(self, field: Field, common: None, data: Mapping[str, Array]) -> Float[Array, ""]:
        del common
        count, tile = jnp.prod(data["shape"]), min(self.length, 4096)

        def add(start: Array, total: Array) -> Array:
            number = start * tile + jnp.arange(tile)
            known = number < count
            number = jnp.minimum(number, count - 1)
            found = field(numbered_coordinates(number, data["shape"]))
            return total + jnp.sum(jnp.where(known[:, None], (found - data["value"][number]) ** 2, 0))

        total = jax.lax.fori_loop(0, -(-self.length // tile), add, jnp.float32(0))
        return total / (count * self.channels)
