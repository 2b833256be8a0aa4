"""The signals of one group, on their way through the rows of a stack."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.sharding import Mesh
from numpy import ndarray

from siren_jax.files.set_file import parameters_of
from siren_jax.files.siren_file import Network
from siren_jax.fitting.recipes import Recipe
from siren_jax.sets.optimizer import adam
from siren_jax.sets.reader import Reader, Samples
from siren_jax.sets.signals import Entry
from siren_jax.sets.stack import Given, Rows, Stack, divided, initial, over, rows_per_tile
from siren_jax.sets.tasks import BySubject, Task
from siren_jax.sets.writer import Writer
from siren_jax.subjects.subject import Measure

SHRINK = 4  # a stack gets smaller once it needs so many times fewer rows; each size is compiled
LOOK = 25  # steps between two looks at the errors; more if these take longer than the steps
JUDGED = 200  # steps between two qualities that subjects measure
ROWS = 64  # rows for each device
ROWS_OF_SUBJECTS = 8  # the same, if subjects measure the quality: each keeps its signal


@dataclass(frozen=True)
class Settings:
    """What decides the result of a signal, and how many are fitted at once."""

    network: Callable[[nnx.Rngs], Network]
    start: Network
    """The network of the common key, for the layers that all signals share."""
    layers: int
    """Number of layers that all signals share."""
    key: Array
    common_start: bool
    measure: Measure
    quality: float | None
    steps: int
    restarts: int
    recipe: Recipe
    rows: int | None
    mesh: Mesh


@dataclass
class Tally:
    """Counts of a joint fit."""

    done: int
    """Number of signals whose fit has ended."""
    reached: int
    total: int
    worst: float = math.nan
    mean: float = math.nan
    """Worst and mean of the finite qualities of signals that have ended in this process."""
    _finite: int = 0
    speed: float = math.nan
    """Steps of single signals in a second, lately."""

    def add(self, quality: float, measure: Measure, *, reached: bool) -> None:
        self.done += 1
        self.reached += reached
        if math.isfinite(quality):
            self._finite += 1
            self.worst = quality if self._finite == 1 or measure.reaches(self.worst, quality) else self.worst
            self.mean = quality if self._finite == 1 else self.mean + (quality - self.mean) / self._finite


class Group:
    """The signals of the group of the first one that can be read.

    Args:
        settings: settings of the joint fit.
        left: signals that have not been fitted, with their numbers, in ascending order.
        reader: reads them.
        writer: gets the results.
        tally: counts them.
    """

    def __init__(
        self, settings: Settings, left: Sequence[tuple[int, Entry]], reader: Reader, writer: Writer, tally: Tally
    ):
        self.others: list[tuple[int, Entry]] = []
        """Signals of other groups, once `run` has ended."""
        self._settings, self._reader, self._writer, self._tally = settings, reader, writer, tally
        self._task: Task | None = None
        self._again: list[Samples] = []
        """Signals that have missed the quality and are fitted once more."""
        self._best: dict[int, tuple[float, int, dict[str, ndarray]]] = {}
        """Quality, steps and parameters of their best fit."""
        self._members = self._read(left)
        self._next = next(self._members, None)
        if self._task is not None:
            self._build(self._task, len(left))

    def _read(self, left: Sequence[tuple[int, Entry]]) -> Iterator[Samples]:
        for number, entry in left:
            if (samples := self._reader.read(number, entry)) is None:
                continue
            self._task = self._task or samples.task
            if samples.task != self._task:
                self.others.append((number, entry))
                continue
            self._writer.started(number)
            if number not in self._writer.results:
                yield samples

    def _build(self, task: Task, most: int) -> None:
        settings = self._settings
        looks = math.ceil(task.judged / (3 * LOOK * task.points))  # a step has a pass back, of twice the work
        self._count = min(LOOK * looks, settings.steps)
        per_tile = rows_per_tile(task.points, settings.start.width)
        self._unit = per_tile * settings.mesh.size
        self._graphdef, _, rest = divided(settings.start, settings.layers)
        self._given = Given(rest, task.common(settings.start))
        self._stack = Stack(
            self._graphdef,
            task,
            adam(settings.recipe, settings.start),
            settings.recipe.schedule,
            settings.steps,
            settings.recipe.average,
            per_tile,
            settings.mesh,
        )
        self._begin = jax.jit(self._stack.begin)
        self._replaced = jax.jit(self._stack.replaced, donate_argnums=0)
        self._advance = jax.jit(self._stack.advance, donate_argnums=0)
        usual = ROWS_OF_SUBJECTS if isinstance(task, BySubject) else ROWS
        rows = min(settings.rows or usual * settings.mesh.size, most)
        self._owners: list[Samples | None] = [None] * (max(1, rows // self._unit) * self._unit)

    @property
    def empty(self) -> bool:
        """Whether no signal can be read."""
        return self._task is None

    def seconds_of_a_step(self) -> tuple[int, float]:
        """Number of rows, and seconds of a step of all of them. The group cannot be run after that."""
        rows, count = self._filled(None), self._count
        assert rows is not None
        rows, _ = jax.block_until_ready(self._advance(rows, self._given, count))  # compiles
        began = time.perf_counter()
        jax.block_until_ready(self._advance(rows, self._given, count))
        return len(self._owners), (time.perf_counter() - began) / count

    def run(self, stopped: Callable[[], bool]) -> bool:
        """Fits all signals of the group; returns whether `stopped` has ended it."""
        if self._task is None:
            return False
        rows, compiled = None, 0
        while True:
            rows = self._filled(rows)
            if rows is None or not any(self._owners):
                return False
            began, busy = time.perf_counter(), sum(owner is not None for owner in self._owners)
            count = self._count
            rows, errors = self._advance(rows, self._given, count)
            errors = np.asarray(errors, np.float64)
            if len(self._owners) == compiled:  # the first steps of a stack were compiled
                self._tally.speed = busy * count / (time.perf_counter() - began)
            compiled = len(self._owners)
            self._look(rows, errors)
            if stopped():
                return True

    def _filled(self, rows: Rows | None) -> Rows | None:
        """Rows without a signal get the next ones; there are fewer rows once no signal is left."""
        owners = self._owners
        came: dict[int, Samples] = {}
        for place, owner in enumerate(owners):
            if owner is None and (fresh := self._take()) is not None:
                came[place] = fresh
        if came:
            self._owners = [came.get(place, owner) for place, owner in enumerate(owners)]
            fresh = self._fresh(came, len(owners))
            where = jnp.asarray([place in came for place in range(len(owners))])
            return fresh if rows is None else self._replaced(rows, fresh, where)
        alive = [place for place, owner in enumerate(owners) if owner is not None]
        fewer = math.ceil(len(alive) / self._unit) * self._unit
        if rows is None or not alive or SHRINK * fewer > len(owners):
            return rows
        kept = (alive + [place for place, owner in enumerate(owners) if owner is None])[:fewer]
        self._owners = [owners[place] for place in kept]
        return jax.device_put(_at(rows, np.array(kept)), over(self._settings.mesh))

    def _take(self) -> Samples | None:
        if self._again:
            return self._again.pop(0)
        taken, self._next = self._next, None if self._next is None else next(self._members, None)
        return taken

    def _fresh(self, came: Mapping[int, Samples], count: int) -> Rows:
        """As many rows, of which those that get a signal are at its step 0."""
        settings = self._settings
        some = next(iter(came.values()))
        order = [came.get(place, some) for place in range(count)]
        data = jax.tree.map(lambda *each: np.stack(each), *(samples.data for samples in order))
        number, attempt = (jnp.array([getattr(s, name) for s in order], jnp.uint32) for name in ("number", "attempt"))
        keys = _keys(settings.key, number, attempt)
        common = jnp.broadcast_to(settings.key, (count,))
        params = initial(settings.network, common if settings.common_start else keys, settings.layers)
        if some.omega is not None:
            factor = jnp.array([s.omega for s in order], jnp.float32) / settings.start.first_omega  # pyright: ignore
            params = _first_layer_times(factor, params)
        return jax.device_put(self._begin(params, keys, data), over(settings.mesh))

    def _look(self, rows: Rows, errors: ndarray) -> None:
        """Hands over the signals whose fit has ended; their rows have no owner then."""
        settings, steps = self._settings, np.asarray(rows.step)
        ending: dict[int, tuple[Samples, str, float]] = {}
        for place, owner in enumerate(self._owners):
            if owner is None:
                continue
            at_limit = bool(steps[place] >= settings.steps)
            due = at_limit or owner.peak is not None or (settings.quality is not None and steps[place] % JUDGED == 0)
            quality = -math.inf
            if not math.isfinite(errors[place]):
                quality = math.nan
            elif owner.peak is not None:
                quality = owner.quality(float(errors[place]))
            elif due:
                assert owner.judge is not None
                quality = owner.judge(self._network(rows, place))
                if math.isnan(quality):  # of finite weights: a shape without a surface
                    quality = math.inf if settings.measure.less_is_better else -math.inf
            if math.isnan(quality):
                ending[place] = owner, "non-finite", quality
            elif due and settings.quality is not None and settings.measure.reaches(quality, settings.quality):
                ending[place] = owner, "reached", quality
            elif at_limit:
                ending[place] = owner, "steps", quality
        if not ending:
            return
        taken = parameters_of(jax.device_get(rows.result))  # of all rows: a choice would be compiled for every number
        for place, (owner, status, quality) in ending.items():
            self._owners[place] = None
            parameters = {name: array[place] for name, array in taken.items()}
            if status == "non-finite":  # a set has finite weights only
                parameters = {name: np.zeros_like(array) for name, array in parameters.items()}
            self._end(owner, status, quality, int(steps[place]), parameters)

    def _end(self, owner: Samples, status: str, quality: float, steps: int, parameters: dict[str, ndarray]) -> None:
        settings = self._settings
        missed = status == "non-finite" or (status == "steps" and settings.quality is not None)
        known = self._best.pop(owner.number, None)
        if missed and known is not None and not _better(settings.measure, quality, known[0]):
            quality, steps, parameters = known
            status = "non-finite" if math.isnan(quality) else "steps"
        if missed and owner.attempt < settings.restarts:
            self._best[owner.number] = quality, steps, parameters
            self._again.append(owner._replace(attempt=owner.attempt + 1))
            return
        about = owner.about
        columns = {"quality": quality, "steps": steps, "range": about.value_range, "shape": about.frame.shape}
        if about.rate is not None:
            columns["rate"] = about.rate
        if about.placement is not None:
            columns["placement"] = (*about.placement.centre, about.placement.scale)
        texts = {"names": owner.name, "labels": owner.label, "status": status}
        self._writer.ended(owner.number, texts, columns, parameters)
        self._tally.add(quality, settings.measure, reached=not missed)

    def _network(self, rows: Rows, place: int) -> Network:
        params = jax.tree.map(lambda x: jnp.asarray(x[place]), jax.device_get(rows.result))
        return nnx.merge(self._graphdef, params, self._given.rest)


def _better(measure: Measure, quality: float, known: float) -> bool:
    return not math.isnan(quality) and (math.isnan(known) or measure.reaches(quality, known))


@jax.jit
def _at(rows: Rows, places: ndarray) -> Rows:
    return jax.tree.map(lambda x: x[places], rows)


@jax.jit
def _keys(key: Array, number: Array, attempt: Array) -> Array:
    """Keys of signals: `fold_in(key, number)`, and another one for every further attempt."""

    def of(number: Array, attempt: Array) -> Array:
        own = jax.random.fold_in(key, number)
        return jax.lax.cond(attempt == 0, lambda: own, lambda: jax.random.fold_in(own, attempt))

    return jax.vmap(of)(number, attempt)


@jax.jit
def _first_layer_times(factor: Array, params: Any) -> Any:
    """Parameters of rows with those of the first layer multiplied by a factor for each row."""

    def scaled(path: tuple[Any, ...], leaf: Array) -> Array:
        first = [getattr(part, "key", None) for part in path[:2]] == ["layers", 0]
        return leaf * factor.reshape(-1, *[1] * (leaf.ndim - 1)) if first else leaf

    return jax.tree_util.tree_map_with_path(scaled, params)
