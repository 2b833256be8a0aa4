"""Many networks fitted at once: each signal ends by itself, and the next one takes its row."""

import math
import os
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args

import jax
import numpy as np
from flax import nnx
from jax import Array
from jax.sharding import Mesh

from siren_jax._types import SetPrecision
from siren_jax.errors import InputError
from siren_jax.fields.precision import is_double
from siren_jax.files import set_file, siren_file
from siren_jax.files.header import as_json
from siren_jax.files.set_file import FORMAT_VERSION, parameters_of
from siren_jax.files.siren_file import Network
from siren_jax.fitting.progress import StoppedBy, interrupts
from siren_jax.fitting.recipes import Recipe, cosine_decay, until_a_target
from siren_jax.fitting.resume import fingerprint
from siren_jax.networks.siren import SIREN
from siren_jax.sets.field_set import FieldSet
from siren_jax.sets.group import Group, Settings, Tally
from siren_jax.sets.reader import Reader
from siren_jax.sets.signals import Signals
from siren_jax.sets.stack import AXIS, divided
from siren_jax.sets.writer import ENTRIES, Writer, begun, belongs, claimed, has_results, numbered

MOST = 100  # multiple of the recipe's steps that a time may become
Share = Literal["none", "start", "first", "trunk"]


class SetProgress(NamedTuple):
    """The argument of `watch`: the state of a joint fit between two looks."""

    done: int
    """Number of signals whose fit has ended, with those of an earlier process."""
    reached: int
    """Number of them that have reached the quality; all, if none is asked for."""
    skipped: dict[str, str]
    """Signals that could not be read, with the reason."""
    total: int
    """Number of signals that can be read, as far as is known."""
    steps: int
    """Number of steps at which the fit of a signal ends."""
    seconds: float
    """Time since the fit began."""
    seconds_left: float
    """Estimate from the signals that have ended in this process; until then, the longest possible time, or NaN while
    the speed is not known."""
    speed: float
    """Steps of single signals in a second."""
    stopped_by: StoppedBy | None
    """Why the fit ends now, if it ends early: "seconds" or a signal; see `Fit.stopped_by`."""
    quality: tuple[float, float]
    """Worst and mean quality of the signals of this process that have ended."""


def fit_many(
    signals: Signals,
    network: Callable[[nnx.Rngs], Network],
    *,
    key: Array,
    quality: int | float | None = None,
    steps: int | None = None,
    seconds: int | float | None = None,
    recipe: Recipe | None = None,
    batch_size: int | None = None,
    share: Share = "none",
    own_omega: bool = False,
    restarts: int = 0,
    rows: int | None = None,
    mesh: Mesh | None = None,
    part: tuple[int, int] | None = None,
    out: str | os.PathLike[str] | None = None,
    precision: SetPrecision = "float32",
    strict: bool = False,
    watch: Callable[[SetProgress], Any] | None = None,
) -> FieldSet:
    """A network fitted to every signal.

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
        quality: PSNR, or SNR of sounds, in dB over all samples, or Chamfer distance of shapes in percent of the
            diagonal, at which the fit of a signal ends. A signal that has not reached it after `steps` keeps its
            network, with the status "steps".
        steps: number of steps at which the fit of a signal ends; by default those of the recipe, with a quality
            `recipe.patience` times as many.
        seconds: with a quality or steps, the time at which the whole fit ends like after Ctrl-C. Alone, as many steps
            for each signal as all of them need in this time, from a measurement of the speed.
        recipe: rate and `b2` of Adam, schedule and steps; by default `recipes.TUNED_SET`, `TUNED_SET_DEEP` for a depth
            above 1, `TUNED_SET_SOUND` or `TUNED_SET_SHAPE`. With a quality and a patience above 1, a cosine decay
            becomes `inverse_root`.
        batch_size: number of samples in a step of one signal; by default all samples of signals of one shape up to
            4,096, and 2,048 others; 512 for shapes, derivatives and pictures with unknown pixels.
        share: "none" for an initial network of its own for each signal; "start" for a common one, made with `key`;
            "first" for a common first layer that is not fitted, or "trunk" for as many common layers as all but the
            last before the linear one. On one grid, common layers are evaluated once for all signals.
        own_omega: whether the initial first layer of each signal is scaled to the omega that `choose_omega` finds.
        restarts: number of further fits, from other initial networks, for a signal that has missed the quality. The
            best one counts. Only with `share="none"`.
        rows: number of signals that are fitted at once; by default 64 for each device, and 8 of shapes, derivatives and
            pictures with unknown pixels. It is rounded to whole tiles of rows; see `stack.rows_per_tile`.
        mesh: devices over which the rows are divided, along an axis named "signals"; by default all of this process.
        part: numbers (i, n): this process fits part i of n, counted from 0; all write into one folder. By default
            `jax.process_index()` of `jax.process_count()`. Processes need no connection.
        out: folder in which the set is written while it is made, in shards of up to 256. An unfinished set is
            continued, and signals that are new are added; the result is the same as without the interruption.
        precision: precision of the weights, as for `NeuralField.save` but without "float64". Qualities are those in
            float32.
        strict: whether a signal that cannot be read is an error.
        watch: called with `SetProgress` about every 25 steps; a true result ends the fit.

    Returns:
        The set; of several processes, each returns its own part and what was complete when it began. After Ctrl-C or
        `watch`, the set has the signals of complete shards if there is a folder, and all that have ended otherwise.

    Raises:
        InputError: a setting is invalid; the network has other coordinates or channels than the signals; the folder
            contains another set, or is in use; all signals are damaged, or one with `strict`.
    """
    if precision not in siren_file.OF_SETS:
        raise InputError(f"the precision of a set is one of {', '.join(siren_file.OF_SETS)}, but is {precision!r}.")
    part = (jax.process_index(), jax.process_count()) if part is None else part
    _check(quality, steps, seconds, batch_size, restarts, rows, part, out)
    settings = _settings(signals, network, key, quality, steps, recipe, share, restarts, rows, mesh, own_omega)
    folder, began = None if out is None else os.fspath(out), time.perf_counter()
    with ExitStack() as held:
        if folder is not None:
            held.enter_context(claimed(folder, part))
        earlier = {} if folder is None else _record(folder)
        reader = Reader(
            signals,
            settings.start,
            batch_size=batch_size,
            layers=settings.layers,
            own_omega=own_omega,
            strict=strict,
            usual=earlier.get("usual_shape"),
        )
        if seconds is not None and quality is None and steps is None:
            limit = earlier.get("steps") or _steps_within(seconds, settings, signals, reader)
            settings = replace(settings, steps=limit)
            seconds = None
        header = _header(signals, settings, batch_size, share, own_omega, precision, reader.usual)
        shards, results, parts = ([], {}, {}) if folder is None else begun(folder, header, part)
        numbers = numbered(folder, signals.names)
        own = [(numbers[entry.name], entry) for entry in signals if belongs(numbers[entry.name], part)]
        ended_as = {n: word for s in shards for n, word in zip(s.texts["names"], s.texts["status"], strict=True)}
        if not own:
            raise InputError(
                f"part {part} has no signals: there are {len(signals):,}, in blocks of {ENTRIES}; use fewer parts."
            )
        left = sorted((pair for pair in own if pair[1].name not in ended_as), key=lambda pair: pair[0])
        ended_as |= {result.texts["names"]: result.texts["status"] for result in results.values()}
        known = [ended_as[entry.name] for _, entry in own if entry.name in ended_as]
        done = "steps" if quality is None else "reached"
        tally = Tally(len(known), known.count(done), len(own))
        shared = siren_file.at_precision(_shared(settings), precision)
        writer = Writer(folder, header, precision, shared, shards, results, parts)
        ended = False
        with interrupts() as interrupted:

            def stopped() -> bool:
                passed = time.perf_counter() - began
                word = interrupted() or ("seconds" if seconds is not None and passed > seconds else None)
                asked = watch is not None and watch(_progress(tally, len(known), settings, reader, passed, word))
                return bool(word or asked)

            try:
                while left and not ended:
                    group = Group(settings, left, reader, writer, tally)
                    ended = group.run(stopped)
                    left = group.others
                    if not ended or folder is None:
                        writer.finish(partly=ended)
                if not ended:
                    writer.finish_others()
            finally:
                writer.pause()  # nothing that has ended is lost, whatever has happened
    if watch is not None and not ended:
        watch(_progress(tally, len(known), settings, reader, time.perf_counter() - began, None))
    for name, reason in reader.skipped.items():
        warnings.warn(f"{name!r} was left out: {reason}", stacklevel=2)
    if not writer.shards:
        reasons = [f"no signal was fitted; {name!r}: {reason}" for name, reason in reader.skipped.items()]
        kept = f"; the results so far are kept in {folder!r}, where the fit can be continued"
        kept = kept if folder is not None and has_results(folder) else ""
        raise InputError(reasons[0] if reasons else f"the fit was ended before the first shard was complete{kept}.")
    return FieldSet(writer.shards)


def _check(
    quality: int | float | None,
    steps: int | None,
    seconds: int | float | None,
    batch_size: int | None,
    restarts: int,
    rows: int | None,
    part: tuple[int, int],
    out: str | os.PathLike[str] | None,
) -> None:
    for name, number in (("steps", steps), ("batch_size", batch_size), ("rows", rows)):
        if number is not None and number < 1:
            raise InputError(f"{name} must be at least 1, but is {number}.")
    if quality is not None and not math.isfinite(quality):
        raise InputError(f"quality must be a finite number, but is {quality}.")
    if seconds is not None and not 0 < seconds < math.inf:
        raise InputError(f"seconds must be a positive number, but is {seconds}.")
    if restarts < 0:
        raise InputError(f"restarts must not be negative, but is {restarts}.")
    if not 0 <= part[0] < part[1]:
        raise InputError(f"a part is (i, n) with 0 <= i < n, but is {part}.")
    if part[1] > 1 and seconds is not None and quality is None and steps is None:
        raise InputError("several processes measure different speeds, so seconds= needs steps= or quality= beside it.")
    if part[1] > 1 and out is None:
        raise InputError("several processes need out=, the folder into which all of them write.")


def _settings(
    signals: Signals,
    network: Callable[[nnx.Rngs], Network],
    key: Array,
    quality: int | float | None,
    steps: int | None,
    recipe: Recipe | None,
    share: str,
    restarts: int,
    rows: int | None,
    mesh: Mesh | None,
    own_omega: bool,
) -> Settings:
    if share not in get_args(Share):
        raise InputError(f"share is one of {', '.join(get_args(Share))}, but is {share!r}.")
    start = network(nnx.Rngs(key))
    if is_double(start):
        raise InputError("fit_many fits networks in float32, but this one is in float64; fit its signals one by one.")
    recipe = signals.kind.recipe_of_many(start.depth) if recipe is None else recipe
    layers = {"first": 1, "trunk": start.depth}.get(share, 0)
    if share == "trunk" and start.depth < 1:
        raise InputError('share="trunk" needs a network with a depth of at least 1.')
    if own_omega and (layers or not isinstance(start, SIREN)):
        raise InputError("own_omega=True needs SIRENs with first layers of their own.")
    if own_omega and isinstance(start, SIREN) and start.periodic:
        raise InputError("own_omega=True would change the whole numbers of periods of a periodic SIREN; leave it out.")
    if own_omega and isinstance(start, SIREN) and start.graded:
        raise InputError(
            "own_omega=True chooses a frequency per unit of a coordinate, and that of a graded coordinate depends on "
            "the place; leave it out."
        )
    if restarts and share != "none":
        raise InputError(f"restarts start from other networks, so they do not go with share={share!r}.")
    if own_omega and not signals.survey.shapes:
        raise InputError(f"an omega is chosen for samples on a grid, not for {signals.kind.noun}; leave out own_omega.")
    mesh = Mesh(np.array(jax.local_devices()), (AXIS,)) if mesh is None else mesh
    if mesh.axis_names != (AXIS,):
        raise InputError(f"a mesh for fit_many has one axis named {AXIS!r}, but this one has {mesh.axis_names}.")
    limit = steps or recipe.steps * (1 if quality is None else recipe.patience)
    if quality is not None and recipe.patience > 1 and recipe.schedule is cosine_decay:
        recipe = until_a_target(recipe)
    target, common = None if quality is None else float(quality), share != "none"
    measure = signals.kind.measure
    return Settings(network, start, layers, key, common, measure, target, limit, restarts, recipe, rows, mesh)


def _record(folder: str) -> dict[str, Any]:
    """Settings of an earlier process in the folder that come from the signals or the machine, if there are any."""
    shard = set_file.any_shard(folder)
    record = {} if shard is None else shard.header["record"]
    found: dict[str, Any] = {}
    if isinstance(record.get("steps"), int) and record["steps"] > 0:
        found["steps"] = record["steps"]
    shape = record.get("usual_shape")
    if isinstance(shape, list) and all(isinstance(n, int) for n in shape):
        found["usual_shape"] = tuple(shape)
    return found


def _steps_within(seconds: int | float, settings: Settings, signals: Signals, reader: Reader) -> int:
    """Steps of each signal that all signals can take in this time, from the time of some steps of the first ones."""
    began = time.perf_counter()
    writer = Writer(None, {}, "float32", {}, [], {}, {})
    trial = Group(settings, list(enumerate(signals)), reader, writer, Tally(0, 0, 0))
    most = MOST * settings.recipe.steps
    if trial.empty:
        return most
    rows, for_a_step = trial.seconds_of_a_step()
    left = max(0.0, seconds - (time.perf_counter() - began))
    return max(1, min(int(left / (for_a_step * math.ceil(len(signals) / rows))), most))


def _shared(settings: Settings) -> dict[str, np.ndarray]:
    """Parameters that all signals share, by name."""
    own = parameters_of(divided(settings.start, settings.layers)[1])
    every = parameters_of(nnx.state(settings.start, nnx.Param))
    return {name: array for name, array in every.items() if name not in own}


def _header(
    signals: Signals,
    settings: Settings,
    batch_size: int | None,
    share: str,
    own_omega: bool,
    precision: SetPrecision,
    usual: tuple[int, ...],
) -> dict[str, Any]:
    """What all shards of the set share."""
    record = {
        **signals.options,
        "quality": settings.quality,
        "steps": settings.steps,
        "restarts": settings.restarts,
        "batch_size": batch_size,
        "share": share,
        "own_omega": own_omega,
        "usual_shape": list(usual),
        "start": fingerprint(nnx.state(settings.start)).tobytes().hex()[:16],  # code cannot be compared, weights can
        "key": jax.random.key_data(settings.key).tolist(),
        "recipe": {**settings.recipe._asdict(), "schedule": settings.recipe.schedule.__name__},
    }
    shared = {"shared": sorted(_shared(settings))} if settings.layers else {}
    return {
        "format": FORMAT_VERSION,
        "network": siren_file.architecture_of(settings.start),
        "precision": precision,
        "kind": signals.kind.name,
        "measure": signals.kind.measure.name,
        **shared,
        "record": as_json("record", record),
    }


def _progress(
    tally: Tally, before: int, settings: Settings, reader: Reader, seconds: float, word: StoppedBy | None
) -> SetProgress:
    total = tally.total - len(reader.skipped)
    left, new = total - tally.done, tally.done - before
    longest = left * settings.steps / tally.speed if left else 0.0
    left = max(0, left)
    return SetProgress(
        tally.done,
        tally.reached,
        dict(reader.skipped),
        total,
        settings.steps,
        seconds,
        seconds * left / new if new else longest,
        tally.speed,
        word,
        (tally.worst, tally.mean),
    )
