"""Many networks fitted at once: each signal ends by itself, and the next one takes its row."""

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.sharding import Mesh
from numpy import ndarray

from siren_jax._types import Precision
from siren_jax.errors import InputError
from siren_jax.files import siren_file
from siren_jax.files.header import as_json
from siren_jax.files.set_file import FORMAT_VERSION, parameters_of
from siren_jax.files.siren_file import Network
from siren_jax.fitting.progress import interrupts
from siren_jax.fitting.recipes import TUNED_SET, Recipe, cosine_decay, until_a_target
from siren_jax.fitting.resume import fingerprint
from siren_jax.sets.field_set import FieldSet
from siren_jax.sets.optimizer import adam
from siren_jax.sets.reader import Reader, Samples
from siren_jax.sets.signals import Entry, Signals
from siren_jax.sets.stack import AXIS, Given, Rows, Stack, Task, initial, over, rows_per_tile
from siren_jax.sets.writer import Result, Writer, begun

SHRINK = 4  # a stack gets smaller once it needs so many times fewer rows; each size is compiled
LOOK = 25  # steps between two looks at the errors
ROWS = 64  # rows for each device
PATIENCE = 10  # multiple of the recipe's steps after which a target is given up


class SetProgress(NamedTuple):
    """The argument of `watch`: the state of a joint fit between two looks."""

    done: int
    """Number of signals whose fit has ended, with those of an earlier process."""
    reached: int
    """Number of them that have reached the quality; all, if none is asked for."""
    skipped: dict[str, str]
    """Signals that could not be read, with the reason."""
    total: int
    seconds: float
    """Time since the fit began."""
    quality: tuple[float, float]
    """Lowest and mean quality of the signals of this process that have ended."""


def fit_many(
    signals: Signals,
    network: Callable[[nnx.Rngs], Network],
    *,
    key: Array,
    quality: int | float | None = None,
    steps: int | None = None,
    recipe: Recipe = TUNED_SET,
    batch_size: int | None = None,
    share: str = "none",
    rows: int | None = None,
    mesh: Mesh | None = None,
    out: str | os.PathLike[str] | None = None,
    precision: Precision = "float32",
    strict: bool = False,
    watch: Callable[[SetProgress], Any] | None = None,
) -> FieldSet:
    """A network fitted to the values of every signal: pictures, sounds or videos.

        digits = siren_jax.Signals("digits", labels="folder")
        make = lambda rngs: siren_jax.SIREN(2, 1, width=32, depth=1, first_omega=20.0, rngs=rngs)
        fields = siren_jax.fit_many(digits, make, key=jax.random.key(0), quality=40)

    The networks are rows of stacked arrays, and one compiled program takes the steps of all rows. A signal that reaches
    its quality leaves, and the next one takes its row. Its result depends on its samples, its key and the settings,
    not on other signals, rows or devices: bit for bit on one kind of machine.

    Args:
        signals: the signals. One that cannot be read is left out, with a warning.
        network: makes the initial network from random streams; all are of one size.
        key: signal i draws with `jax.random.fold_in(key, i)`.
        quality: PSNR, or SNR of sounds, in dB over all samples, at which the fit of a signal ends. A signal that has
            not reached it after `steps` keeps its network, with the status "steps".
        steps: number of steps at which the fit of a signal ends; by default those of the recipe, or ten times as many
            with a quality.
        recipe: rate and `b2` of Adam, schedule and steps, see `recipes.TUNED_SET`. With a quality, a cosine decay
            becomes `inverse_root`.
        batch_size: number of samples in a step of one signal; by default all samples of signals of one shape up to
            4,096, and 2,048 others.
        share: "none" for an initial network of its own for each signal, or "start" for a common one.
        rows: number of signals that are fitted at once; by default 64 for each device.
        mesh: devices over which the rows are divided, along an axis named "signals"; by default all of this process.
        out: folder in which the set is written while it is made, in shards of 256. An unfinished set is continued, and
            signals that are new are added; the result is the same as without the interruption.
        precision: precision of the weights, as for `NeuralField.save`.
        strict: whether a signal that cannot be read is an error.
        watch: called with `SetProgress` about every 25 steps; a true result ends the fit.

    Returns:
        The set, also after Ctrl-C or `watch`, then with the signals of complete shards only.

    Raises:
        InputError: a setting is invalid; the network has other coordinates or channels than the signals; the folder
            contains another set; all signals are damaged, or one with `strict`.
    """
    if precision not in siren_file.PRECISIONS:
        raise InputError(f"a precision is one of {', '.join(siren_file.PRECISIONS)}, but is {precision!r}.")
    settings = _settings(signals, network, key, quality, steps, recipe, batch_size, share, rows, mesh)
    header = _header(signals, settings, precision)
    folder = None if out is None else os.fspath(out)
    shards, numbers = begun(folder, header, signals.names)
    writer = Writer(folder, header, precision, shards)
    finished = {str(name) for shard in shards for name in shard.texts["names"]}
    left = [(numbers[entry.name], entry) for entry in signals if entry.name not in finished]
    reader = Reader(signals, settings.example, settings.batch_size, strict)
    tally = _Tally(len(signals), reader, [str(word) for shard in shards for word in shard.texts["status"]])
    ended = False
    with interrupts() as interrupted:
        stopped = lambda: bool(interrupted() or (watch is not None and watch(tally.progress())))
        while left and not ended:
            group = _Group(settings, left, reader, writer, tally)
            ended = group.run(stopped)
            left = group.others
            if not ended or out is None:
                writer.finish(partly=ended)
    for name, reason in reader.skipped.items():
        warnings.warn(f"{name!r} was left out: {reason}", stacklevel=2)
    if not writer.shards:
        reasons = [f"{name!r}: {reason}" for name, reason in reader.skipped.items()]
        raise InputError(
            f"no signal was fitted; {reasons[0] if reasons else 'the fit was ended before the first shard.'}"
        )
    return FieldSet(writer.shards)


@dataclass(frozen=True)
class _Settings:
    """What decides the result of a signal, and how many are fitted at once."""

    network: Callable[[nnx.Rngs], Network]
    example: Network
    key: Array
    quality: int | float | None
    steps: int
    recipe: Recipe
    batch_size: int | None
    share: str
    rows: int
    mesh: Mesh


def _settings(
    signals: Signals,
    network: Callable[[nnx.Rngs], Network],
    key: Array,
    quality: int | float | None,
    steps: int | None,
    recipe: Recipe,
    batch_size: int | None,
    share: str,
    rows: int | None,
    mesh: Mesh | None,
) -> _Settings:
    if steps is not None and steps < 1:
        raise InputError(f"steps must be at least 1, but is {steps}.")
    if quality is not None and not math.isfinite(quality):
        raise InputError(f"quality must be a finite number of dB, but is {quality}.")
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size must be at least 1, but is {batch_size}.")
    if rows is not None and rows < 1:
        raise InputError(f"rows must be at least 1, but is {rows}.")
    if share not in ("none", "start"):
        raise InputError(f"share is 'none' or 'start', but is {share!r}.")
    if signals.kind.name == "shape":
        raise InputError("fit_many fits values: pictures, sounds and videos; fit a shape with siren_jax.open.")
    mesh = Mesh(np.array(jax.local_devices()), (AXIS,)) if mesh is None else mesh
    if mesh.axis_names != (AXIS,):
        raise InputError(f"a mesh for fit_many has one axis named {AXIS!r}, but this one has {mesh.axis_names}.")
    if quality is not None and recipe.schedule is cosine_decay:
        recipe = until_a_target(recipe)
    limit = steps or recipe.steps * (1 if quality is None else PATIENCE)
    rows = rows or ROWS * mesh.size
    return _Settings(network, network(nnx.Rngs(0)), key, quality, limit, recipe, batch_size, share, rows, mesh)


def _header(signals: Signals, settings: _Settings, precision: Precision) -> dict[str, Any]:
    """What all shards of the set share."""
    record = {
        "quality": settings.quality,
        "steps": settings.steps,
        "batch_size": settings.batch_size,
        "share": settings.share,
        "start": fingerprint(nnx.state(settings.example)).tobytes().hex()[:16],  # code cannot be compared, weights can
        "key": jax.random.key_data(settings.key).tolist(),
        "recipe": {**settings.recipe._asdict(), "schedule": settings.recipe.schedule.__name__},
    }
    return {
        "format": FORMAT_VERSION,
        "network": siren_file.architecture_of(settings.example),
        "precision": precision,
        "kind": signals.kind.name,
        "measure": signals.kind.measure.name,
        "record": as_json("record", record),
    }


class _Tally:
    """Counts of a joint fit."""

    def __init__(self, total: int, reader: Reader, earlier: list[str]):
        self._total, self._reader = total, reader
        self._done, self._reached = len(earlier), sum(word != "non-finite" for word in earlier)
        self._qualities: list[float] = []
        self._began = time.perf_counter()

    def add(self, quality: float, *, reached: bool) -> None:
        self._done += 1
        self._reached += reached
        self._qualities.append(quality)

    def progress(self) -> SetProgress:
        qualities = self._qualities or [math.nan]
        return SetProgress(
            self._done,
            self._reached,
            dict(self._reader.skipped),
            self._total - len(self._reader.skipped),
            time.perf_counter() - self._began,
            (min(qualities), float(np.mean(qualities))),
        )


class _Group:
    """The signals of one group, on their way through the rows of a stack."""

    def __init__(
        self, settings: _Settings, left: Sequence[tuple[int, Entry]], reader: Reader, writer: Writer, tally: _Tally
    ):
        self.others: list[tuple[int, Entry]] = []
        """Signals of other groups, once `run` has ended."""
        self._settings, self._reader, self._writer, self._tally = settings, reader, writer, tally
        self._task: Task | None = None
        self._members = self._read(left)
        self._next = next(self._members, None)

    def _read(self, left: Sequence[tuple[int, Entry]]) -> Iterator[Samples]:
        """The signals of the group of the first one that can be read."""
        for number, entry in left:
            if (samples := self._reader.read(number, entry)) is None:
                continue
            task = self._reader.task(samples)
            self._task = self._task or task
            if task == self._task:
                self._writer.started(number)
                yield samples
            else:
                self.others.append((number, entry))

    def run(self, stopped: Callable[[], bool]) -> bool:
        """Fits all signals of the group; returns whether `stopped` has ended it."""
        if self._task is None:
            return False
        settings = self._settings
        per_tile = rows_per_tile(self._task.points, settings.example.width)
        self._unit = per_tile * settings.mesh.size
        graphdef, _, rest = nnx.split(settings.example, nnx.Param, ...)
        self._stack = Stack(
            graphdef,
            self._task,
            adam(settings.recipe, settings.example),
            settings.recipe.schedule,
            settings.steps,
            settings.recipe.average,
            per_tile,
            settings.mesh,
        )
        self._replaced = jax.jit(self._stack.replaced, donate_argnums=0)
        advance = jax.jit(self._stack.advance, donate_argnums=0)
        given = Given(rest, self._task.common)
        owners: list[Samples | None] = [None] * (max(1, settings.rows // self._unit) * self._unit)
        rows = None
        while True:
            rows, owners = self._filled(rows, owners)
            if rows is None or not any(owners):
                return False
            rows, errors = advance(rows, given, min(LOOK, settings.steps))
            owners = self._looked(rows, owners, np.asarray(errors, np.float64))
            if stopped():
                return True

    def _filled(self, rows: Rows | None, owners: list[Samples | None]) -> tuple[Rows | None, list[Samples | None]]:
        """Rows without a signal get the next ones; there are fewer rows once no signal is left."""
        came: dict[int, Samples] = {}
        for place, owner in enumerate(owners):
            if owner is None and self._next is not None:
                came[place] = self._next
                self._next = next(self._members, None)
        if came:
            owners = [came.get(place, owner) for place, owner in enumerate(owners)]
            fresh = self._fresh(came, len(owners))
            where = jnp.asarray([place in came for place in range(len(owners))])
            return fresh if rows is None else self._replaced(rows, fresh, where), owners
        alive = [place for place, owner in enumerate(owners) if owner is not None]
        fewer = math.ceil(len(alive) / self._unit) * self._unit
        if rows is None or not alive or SHRINK * fewer > len(owners):
            return rows, owners
        kept = (alive + [place for place, owner in enumerate(owners) if owner is None])[:fewer]
        rows = jax.device_put(jax.tree.map(lambda x: x[np.array(kept)], rows), over(self._settings.mesh))
        return rows, [owners[place] for place in kept]

    def _fresh(self, came: Mapping[int, Samples], count: int) -> Rows:
        """As many rows, of which those that get a signal are at its step 0."""
        settings, task = self._settings, self._task
        assert task is not None
        some = next(iter(came.values()))
        order = [came.get(place, some) for place in range(count)]
        data = jax.tree.map(lambda *each: np.stack(each), *(task.data(s.value, s.shape) for s in order))
        keys = _keys(settings.key, jnp.array([s.number for s in order], jnp.uint32))
        params = initial(settings.network, keys if settings.share == "none" else _repeated(settings.key, count))
        return jax.device_put(self._stack.begin(params, keys, data), over(settings.mesh))

    def _looked(self, rows: Rows, owners: list[Samples | None], errors: ndarray) -> list[Samples | None]:
        """Hands over the signals whose fit has ended; returns the owners of the rows without them."""
        target, limit, steps = self._settings.quality, self._settings.steps, np.asarray(rows.step)
        ending: dict[int, tuple[Samples, str, float]] = {}
        for place, owner in enumerate(owners):
            if owner is None:
                continue
            quality = owner.quality(float(errors[place]))
            if math.isnan(quality):
                ending[place] = owner, "non-finite", quality
            elif target is not None and quality >= target:
                ending[place] = owner, "reached", quality
            elif steps[place] >= limit:
                ending[place] = owner, "steps", quality
        if not ending:
            return owners
        places = np.array(list(ending))
        taken = parameters_of(jax.device_get(jax.tree.map(lambda x: x[places], rows.result)))
        for at, (place, (owner, status, quality)) in enumerate(ending.items()):
            parameters = {name: array[at] for name, array in taken.items()}
            if status == "non-finite":  # a set has finite weights only
                parameters = {name: np.zeros_like(array) for name, array in parameters.items()}
            further = {} if owner.rate is None else {"rate": owner.rate}
            self._writer.ended(
                Result(
                    owner.number,
                    owner.name,
                    owner.label,
                    status,
                    quality,
                    int(steps[place]),
                    owner.value_range,
                    owner.shape,
                    further,
                    parameters,
                )
            )
            self._tally.add(quality, reached=status == "reached" or (target is None and status == "steps"))
        return [None if place in ending else owner for place, owner in enumerate(owners)]


@jax.jit
def _keys(key: Array, numbers: Array) -> Array:
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)


def _repeated(key: Array, count: int) -> Array:
    return jnp.broadcast_to(key, (count,))
