"""What the rows of a stack are fitted to: all samples of signals of one shape, points drawn from signals of any, or
batches that each signal's own sampler draws."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float

from siren_jax._types import Batch, Field, Objective
from siren_jax.fields.coordinates import generate_coordinates
from siren_jax.fitting.objectives import supervise
from siren_jax.signals.samples import draw_strata, numbered_coordinates, strata
from siren_jax.subjects.shape import Scan
from siren_jax.subjects.subject import Subject

VALUE = supervise("value")


@runtime_checkable
class Task(Protocol):
    """What the rows are fitted to: functions of a row's arrays, traced into the steps. Equal tasks share a program."""

    @property
    def points(self) -> int:
        """Number of points in a batch of a row."""
        ...

    @property
    def judged(self) -> int:
        """Number of points of which `error` is the mean."""
        ...

    @property
    def weights(self) -> tuple[tuple[str, float], ...]:
        """Weights of the objective's terms; 1 for others."""
        ...

    def common(self, network: Any) -> Any:
        """Arrays that all rows share, from a network with the weights that all rows share."""
        ...

    def field(self, network: Any) -> Field:
        """A row's network as a function of the coordinates in its batch."""
        ...

    def objective(self, data: Any) -> Objective:
        """The objective of a row."""
        ...

    def sample(self, common: Any, data: Any, key: Array, step: Array) -> Batch:
        """The batch of a step, from arrays that all rows share and those of one row."""
        ...

    def error(self, field: Field, common: Any, data: Any) -> Float[Array, ""]:
        """Mean squared error over all samples of a row's signal; another task's is only known to be finite."""
        ...


class _Values:
    """The common part of tasks that fit values."""

    weights = ()

    def objective(self, data: Any) -> Objective:
        del data  # is that of all
        return VALUE


class _OwnPoints:
    """The common part of tasks whose batches have coordinates of their own in every row."""

    def common(self, network: Any) -> None:
        del network

    def field(self, network: Any) -> Field:
        return network


@dataclass(frozen=True)
class Whole(_Values):
    """All samples of signals of one shape in every step, on a grid that all rows share.

    Args:
        shape: number of samples along each axis.
        channels: number of channels.
        layers: number of layers that all rows share. They are evaluated once for all rows and steps.
    """

    shape: tuple[int, ...]
    channels: int
    layers: int = 0

    @property
    def points(self) -> int:
        return int(np.prod(self.shape))

    @property
    def judged(self) -> int:
        return self.points

    def common(self, network: Any) -> Float[Array, "n d"]:
        return network.trunk(jnp.asarray(generate_coordinates(self.shape)), self.layers)

    def field(self, network: Any) -> Field:
        return lambda h: network.head(h, self.layers)

    def data(self, value: Float[np.ndarray, "n c"]) -> dict[str, np.ndarray]:
        """A row's arrays, from its values in [-1, 1]."""
        return {"value": value}

    def sample(self, common: Array, data: Mapping[str, Array], key: Array, step: Array) -> Batch:
        del key, step  # every batch has all samples
        return {"coordinates": common, "value": data["value"]}

    def error(self, field: Field, common: Array, data: Mapping[str, Array]) -> Float[Array, ""]:
        return jnp.mean((field(common) - data["value"]) ** 2)


@dataclass(frozen=True)
class Drawn(_OwnPoints, _Values):
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
    def judged(self) -> int:
        return self.length

    def data(self, value: Float[np.ndarray, "n c"], shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """A row's arrays, from its values in [-1, 1] and their numbers along each axis."""
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


@dataclass(frozen=True)
class BySubject(_OwnPoints):
    """Batches of a subject's own sampler for its own objective: surfaces, derivatives, pictures with unknown pixels.

    The quality of such a signal is measured by its subject, not in the stack.
    """

    structure: Any
    """Functions and sizes of the sampler's and the objective's arrays."""
    weights: tuple[tuple[str, float], ...]
    points: int

    @property
    def judged(self) -> int:
        return self.points

    def objective(self, data: Any) -> Objective:
        return data["objective"]

    def sample(self, common: None, data: Any, key: Array, step: Array) -> Batch:
        del common
        return data["sampler"](key, step)

    def error(self, field: Field, common: None, data: Any) -> Float[Array, ""]:
        terms = data["objective"](field, self.sample(common, data, jax.random.key(0), jnp.int32(0)))
        return jnp.mean(jnp.stack([jnp.mean(term) for term in terms.values()]))


def by_subject(subject: Subject, points: int) -> tuple[BySubject, Any]:
    """A subject as a task, and its arrays as a row's. A surface is fitted to signed distances as values."""
    objective, sampler, weights = subject.objective, subject.sampler, subject.weights
    if isinstance(subject, Scan):
        objective, sampler, weights = VALUE, subject.distance_sampler, {}
    functions = {
        "objective": objective if isinstance(objective, Partial) else Partial(objective),
        "sampler": sampler(points),
    }
    data = jax.tree.map(lambda leaf: np.asarray(leaf, None if hasattr(leaf, "dtype") else np.float32), functions)
    leaves, structure = jax.tree.flatten(data)
    sizes = tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    return BySubject((structure, sizes), tuple(sorted(weights.items())), points), data
