"""Many networks of one architecture as rows of stacked arrays, and the compiled steps that all rows take together.

A row depends on no other row: the same signal, key and settings give the same bits in any row, in any stack and on any
number of devices.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, Int

from siren_jax._types import Batch, Field
from siren_jax.fields.tiles import sum_over_tiles
from siren_jax.fitting.recipes import Schedule
from siren_jax.fitting.step import averaged, factor_on_rate
from siren_jax.fitting.terms import points_of_terms
from siren_jax.sets.tasks import Task

AXIS = "signals"  # name of the mesh's axis over which rows are divided
TILE = 4096  # points of a row whose gradient is computed at once
VALUES = 2**17  # values of a layer in a tile of rows, 0.5 MiB: layer, sine and gradient stay in a core's cache


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
    """The network's state without the parameters of the rows: of the layers that all rows share, for instance."""
    common: Any
    """Arrays of the task."""


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
        moved = row._replace(params=params, moments=moments, average=average, step=row.step + 1)
        return jax.tree.map(partial(jnp.where, row.step < self.steps), moved, row)

    def _gradient(self, row: Rows, given: Given, batch: Batch) -> Any:
        weights, objective = dict(self.task.weights), self.task.objective(row.data)
        terms_of = lambda params, batch: objective(self._field(params, given), batch)
        points = points_of_terms(terms_of, row.params, lambda: batch)

        def loss(params: Any, batch: Batch, masks: Any) -> Array:
            terms = terms_of(params, batch)
            sums = [weights.get(name, 1.0) * jnp.sum(masks[n] * terms[name]) for name, n in points.items()]
            return jnp.sum(jnp.stack(sums))

        if self.task.points <= TILE:
            masks = {n: jnp.full(n, 1 / n, jnp.float32) for n in {len(leaf) for leaf in jax.tree.leaves(batch)}}
            return jax.grad(loss)(row.params, batch, masks)
        zero = jax.tree.map(jnp.zeros_like, row.params)
        return sum_over_tiles(jax.grad(loss), zero, row.params, batch, TILE)

    def _error(self, row: Rows, given: Given) -> Array:
        return self.task.error(self._field(row.result, given), given.common, row.data)

    def _field(self, params: Any, given: Given) -> Field:
        return self.task.field(nnx.merge(self.graphdef, params, given.rest))


def rows_per_tile(points: int, width: int) -> int:
    """Number of rows of this many points whose layers fit into a core's cache: a power of two."""
    return 2 ** max(0, int(VALUES / (points * width)).bit_length() - 1)


@partial(jax.jit, static_argnames=("make", "layers"))
def initial(make: Callable[[nnx.Rngs], nnx.Module], keys: Array, layers: int) -> Any:
    """Initial parameters of a network for each key, without those of its first layers."""
    return jax.vmap(lambda key: divided(make(nnx.Rngs(key)), layers)[1])(keys)


def divided(network: nnx.Module, layers: int) -> tuple[nnx.GraphDef, Any, Any]:
    """A network's graph, its parameters after its first layers, and the rest of its state."""

    later = lambda path, _: path[0] != "layers" or path[1] >= layers
    graphdef, own, rest = nnx.split(network, nnx.All(nnx.Param, later), ...)
    return graphdef, own, rest


def over(mesh: Mesh) -> NamedSharding:
    """Rows divided over the devices of a mesh."""
    return NamedSharding(mesh, PartitionSpec(AXIS))
