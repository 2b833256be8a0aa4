"""Many networks of one architecture as rows of stacked arrays, and the compiled steps that all rows take together.

A row depends on no other row: the same signal, key and settings give the same bits in any row, in any stack and on any
number of devices.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, Int
from numpy import ndarray

from siren_jax._types import Batch, Field, Objective
from siren_jax.fields.tiles import sum_over_tiles
from siren_jax.fitting.recipes import Schedule
from siren_jax.fitting.step import averaged, factor_on_rate

AXIS = "signals"  # name of the mesh's axis over which rows are divided
TILE = 4096  # points of a row whose gradient is computed at once
VALUES = 2**17  # values of a layer in a tile of rows, 0.5 MiB: layer, sine and gradient stay in a core's cache


@runtime_checkable
class Task(Protocol):
    """What the rows are fitted to: functions of a row's arrays, traced into the steps."""

    @property
    def objective(self) -> Objective: ...

    @property
    def points(self) -> int:
        """Number of points in a batch of a row."""
        ...

    @property
    def common(self) -> Any:
        """Arrays that all rows share."""
        ...

    def data(self, value: Float[ndarray, "n c"], shape: tuple[int, ...]) -> Mapping[str, ndarray]:
        """A row's arrays, from the values of its signal in [-1, 1] and their numbers along each axis."""
        ...

    def sample(self, common: Any, data: Any, key: Array, step: Array) -> Batch:
        """The batch of a step, from arrays that all rows share and those of one row."""
        ...

    def error(self, field: Field, common: Any, data: Any) -> Float[Array, ""]:
        """Mean squared error over all samples of a row's signal."""
        ...


class Rows(NamedTuple):
    """The state of all rows; every array has a leading axis of rows."""

    params: Any
    moments: Any
    """State of the optimizer."""
    average: Any
    """Average of the parameters, or None."""
    step: Int[Array, "rows"]
    """Number of steps that a row has taken."""
    key: Array
    data: Any
    """Arrays of a row's signal."""

    @property
    def result(self) -> Any:
        """The parameters to return: the average if there is one."""
        return self.params if self.average is None else self.average


class Given(NamedTuple):
    """Arrays that all rows share."""

    rest: Any
    """The network's state without its parameters."""
    common: Any
    """Arrays of the signals."""


@dataclass(frozen=True)
class Stack:
    """The compiled functions of a stack.

    Args:
        graphdef: the network.
        task: what the rows are fitted to.
        optimizer: its update needs the gradient, its state and the parameters of one network.
        schedule: factor on the update; see `recipes.Schedule`.
        steps: number of steps after which a row ends, for the schedule.
        average: whether the result of a row is the average of its parameters; see `fit`.
        per_tile: number of rows whose steps are computed together.
        mesh: devices over which the rows are divided, along its axis `signals`.
    """

    graphdef: nnx.GraphDef
    task: Task
    optimizer: optax.GradientTransformation
    schedule: Schedule
    steps: int
    average: bool
    per_tile: int
    mesh: Mesh

    def begin(self, params: Any, key: Array, data: Any) -> Rows:
        """Rows at step 0 with these parameters."""
        moments = jax.vmap(self.optimizer.init)(params)
        average = jax.tree.map(jnp.copy, params) if self.average else None
        return Rows(params, moments, average, jnp.zeros(len(key), jnp.int32), key, data)

    def replaced(self, rows: Rows, fresh: Rows, where: Array) -> Rows:
        """The rows, with fresh ones where a mask is true."""
        choose = lambda new, old: jnp.where(where.reshape(-1, *[1] * (old.ndim - 1)), new, old)
        return jax.tree.map(choose, fresh, rows)

    def advance(self, rows: Rows, given: Given, count: Array) -> tuple[Rows, Float[Array, "rows"]]:
        """All rows after some more steps, and the mean squared error of each result; see `Task.error`."""
        part = PartitionSpec(AXIS)
        sharded = jax.shard_map(
            self._advance,
            mesh=self.mesh,
            in_specs=(part, PartitionSpec(), PartitionSpec()),
            out_specs=part,
            check_vma=False,
        )
        return sharded(rows, given, count)

    def _advance(self, rows: Rows, given: Given, count: Array) -> tuple[Rows, Float[Array, "rows"]]:
        def tile(rows: Rows) -> tuple[Rows, Array]:
            step = jax.vmap(self._step, in_axes=(0, None))
            rows = jax.lax.fori_loop(0, count, lambda _, rows: step(rows, given), rows)
            return rows, jax.vmap(self._error, in_axes=(0, None))(rows, given)

        # A tile takes all steps before the next one, so its parameters stay in the cache too.
        cut = lambda x: x.reshape(-1, self.per_tile, *x.shape[1:])
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), jax.lax.map(tile, jax.tree.map(cut, rows)))

    def _step(self, row: Rows, given: Given) -> Rows:
        batch = self.task.sample(given.common, row.data, jax.random.fold_in(row.key, row.step), row.step)
        gradient = self._gradient(row, given, batch)
        updates, moments = self.optimizer.update(gradient, row.moments, row.params)
        share = row.step.astype(jnp.float32) / self.steps
        factor = factor_on_rate(self.schedule, share, row.step)
        params = optax.apply_updates(row.params, jax.tree.map(lambda u: factor * u, updates))
        average = None if row.average is None else averaged(row.average, params, row.step)
        return row._replace(params=params, moments=moments, average=average, step=row.step + 1)

    def _gradient(self, row: Rows, given: Given, batch: Batch) -> Any:
        def loss(params: Any, batch: Batch, masks: Any) -> Array:
            terms = self.task.objective(self._network(params, given), batch)
            return jnp.sum(jnp.stack([jnp.sum(masks[len(term)] * term) for term in terms.values()]))

        if self.task.points <= TILE:
            masks = {n: jnp.full(n, 1 / n, jnp.float32) for n in {len(leaf) for leaf in jax.tree.leaves(batch)}}
            return jax.grad(loss)(row.params, batch, masks)
        zero = jax.tree.map(jnp.zeros_like, row.params)
        return sum_over_tiles(jax.grad(loss), zero, row.params, batch, TILE)

    def _error(self, row: Rows, given: Given) -> Array:
        return self.task.error(self._network(row.result, given), given.common, row.data)

    def _network(self, params: Any, given: Given) -> Any:
        return nnx.merge(self.graphdef, params, given.rest)


def rows_per_tile(points: int, width: int) -> int:
    """Number of rows of this many points whose layers fit into a core's cache: a power of two."""
    return 2 ** max(0, int(VALUES / (points * width)).bit_length() - 1)


@partial(jax.jit, static_argnames="make")
def initial(make: Callable[[nnx.Rngs], nnx.Module], keys: Array) -> Any:
    """Initial parameters of a network for each key."""
    return jax.vmap(lambda key: nnx.state(make(nnx.Rngs(key)), nnx.Param))(keys)


def over(mesh: Mesh) -> NamedSharding:
    """Rows divided over the devices of a mesh."""
    return NamedSharding(mesh, PartitionSpec(AXIS))
