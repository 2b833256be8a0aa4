"""The fit of a subject, from its budget to its files, for the command and for `siren_jax.open(...).fit`."""

import json
import math
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from flax import nnx
from jax import Array
from jax.sharding import Mesh

from siren_jax.equations.slabs import Slabs
from siren_jax.errors import InputError
from siren_jax.files.atomic import write_atomically
from siren_jax.files.header import as_json
from siren_jax.files.siren_file import LIMITS, MAX_WEIGHTS, Network
from siren_jax.fitting.checkpoints import Checkpoints
from siren_jax.fitting.descent import Sample, fit
from siren_jax.fitting.progress import Progress
from siren_jax.fitting.recipes import Recipe, cosine_decay, until_a_target
from siren_jax.fitting.result import Fit
from siren_jax.networks.layers import count_parameters
from siren_jax.networks.siren import SIREN
from siren_jax.subjects.subject import Subject

COMPARISON, CURVE, METRICS = "comparison.png", "curve.png", "metrics.json"
DEPTH, OMEGA = 3, 30.0  # of a network
WORSE = 1.26  # 1 dB of squared error: largest ratio of the final loss to the lowest
GIVE_UP = 10  # multiple of the recipe's steps after which a target that is not reached is given up


def check_sizes(width: int, depth: int) -> None:
    """Refuses networks that a `.siren` file cannot contain."""
    for name, value, least in (("width", width, 1), ("depth", depth, 0)):
        if not least <= value <= LIMITS[name]:
            raise InputError(f"{name}= takes a whole number from {least} to {LIMITS[name]}, but is {value}.")
    if depth * width**2 > MAX_WEIGHTS:
        raise InputError(f"width={width} and depth={depth} make over {MAX_WEIGHTS:,} weights; make one smaller.")


def make_network(
    subject: Subject, recipe: Recipe, width: int, depth: int, omega: float, key: Array
) -> tuple[SIREN, str]:
    """The initial SIREN of a fit, and the source of its first omega."""
    first_omega, reason = recipe.first_omega, "recipe"
    if first_omega is None:
        first_omega, reason = subject.choose_omega()
    network = SIREN(
        *subject.features,
        width=width,
        depth=depth,
        first_omega=first_omega,
        omega=omega,
        weight_scale=recipe.weight_scale,
        rngs=nnx.Rngs(key),
    )
    return network, reason


def plan(
    recipe: Recipe,
    steps: int | None,
    seconds: float | None,
    target: float | None,
    *,
    patience: int = GIVE_UP,
    keep_schedule: bool = False,
) -> tuple[Recipe, int | None]:
    """The recipe with a schedule that suits its budget, and the number of steps at which a fit ends.

    Args:
        recipe: settings of the fit.
        steps: budget of steps, if given.
        seconds: budget of time, if given.
        target: quality at which the fit ends, if given.
        patience: multiple of the recipe's steps after which a target is given up if there is no budget.
        keep_schedule: whether to keep the schedule of the recipe also with a target.
    """
    if target is not None and not keep_schedule and recipe.schedule is cosine_decay:
        recipe = until_a_target(recipe)
    if steps is None and seconds is None:
        steps = recipe.steps * (1 if target is None else patience)
    return recipe, steps


def kept_network(subject: Subject, fitted: Fit) -> tuple[Any, int]:
    """The network to keep, and its step: the last one, or the best one if the loss has jumped."""
    if subject.comparable_losses and fitted.final_over_best > WORSE and fitted.stopped_by != "watch":
        return fitted.best, fitted.best_step
    return fitted.network, fitted.steps


def fit_subject(
    subject: Subject,
    network: Network,
    recipe: Recipe,
    sample: Sample,
    *,
    unknown: nnx.Module | None = None,
    key: Array,
    steps: int | None,
    seconds: int | float | None,
    skip: int = 0,
    until: Callable[[Progress], bool] | None,
    watch: Callable[[Progress], Any] | None,
    checkpoints: Checkpoints | None,
    mesh: Mesh | None = None,
) -> Fit:
    """A fit of a network to a subject with the settings of a recipe; see `fit`.

    Args:
        subject: the signal.
        network: the network, which decides the learning rates.
        recipe: optimizer, schedule and average.
        sample: draws the batches, see `Subject.sampler`.
        unknown: function made from the network that is fitted in its place, if any.
        key, steps, seconds, skip, until, watch, checkpoints, mesh: as for `fit`.
    """
    return fit(
        network if unknown is None else unknown,
        subject.objective,
        sample,
        key=key,
        steps=steps,
        seconds=seconds,
        optimizer=recipe.optimizer(network),
        schedule=recipe.schedule,
        weights=subject.weights,
        skip=skip,
        average=recipe.average,
        until=until,
        look=subject.measure.look,
        watch=watch,
        reuse=True,
        checkpoints=checkpoints,
        mesh=mesh,
    )


def names_of_files(subject: Subject, name: str) -> tuple[str, ...]:
    """Names of the files that `write_result` and `write_metrics` write, the file of the network last."""
    return (COMPARISON, CURVE, *subject.files, METRICS, f"{name}{subject.suffix}")


def remove_figures(directory: str | os.PathLike[str]) -> None:
    """Removes the figures of an earlier fit, which a fit without figures does not replace."""
    for name in (COMPARISON, CURVE):
        with suppress(OSError):
            os.remove(os.path.join(directory, name))


@dataclass(frozen=True)
class Result:
    """The written results of a fit."""

    network: Any
    """The network that was kept."""
    step: int
    """Number of steps after which it was the network of the fit."""
    metrics: dict[str, Any]
    """The quality first, then how the fit went."""
    comparison: Any | None
    """Truth and prediction side by side, a Matplotlib figure; None without figures."""


def write_result(
    subject: Subject,
    fitted: Fit,
    name: str,
    record: dict[str, Any],
    path: Callable[[str], str],
    *,
    heading: str,
    curve: Sequence[tuple[int, float]] = (),
    figures: bool = True,
    overwrite: bool,
) -> Result:
    """Writes the network, the signal and the figures.

    Args:
        subject: the signal.
        fitted: what `fit_subject` returned.
        name: stem of the `.siren` file.
        record: entries of the `.siren` file's record that say how it was made.
        path: adds the directory to a file name.
        heading: title of the figures, in Matplotlib's syntax.
        curve: pairs of a step and the quality there, measured during the fit.
        figures: whether to draw the figures.
        overwrite: whether to replace existing files.
    """
    network, step = kept_network(subject, fitted)
    made = {**record, "steps": step}
    file = path(f"{name}{subject.suffix}")
    subject.field(network, made).save(file, overwrite=overwrite)  # before anything else that may fail
    quality = subject.write(network, path, overwrite=overwrite)
    subject.field(network, {**made, **quality}).save(file, overwrite=True)
    comparison = None
    if figures:
        found = quality[subject.measure.name]
        title = f"{heading}: {subject.measure.tell(found)}{_note(subject)} after {step:,} steps"
        comparison = subject.figure(network, title)
        write_figure(path(COMPARISON), comparison, overwrite=overwrite)
        known = [(at, value) for at, value in curve if at < step]
        learning_curve = _learning_curve(subject, fitted, [*known, (step, found)], title)
        write_figure(path(CURVE), learning_curve, overwrite=overwrite)
    metrics = {
        **quality,
        "loss": float(fitted.history["loss"][-1]) if fitted.steps and math.isnan(fitted.loss) else fitted.loss,
        "steps": fitted.steps,
        "kept_step": step,
        "skipped": fitted.skipped,
        "seconds": fitted.seconds,
        "compile_seconds": fitted.compile_seconds,
        "seconds_per_step": fitted.seconds_per_step,
        "parameters": network.parameters if isinstance(network, Slabs) else count_parameters(network),
        "stopped_by": fitted.stopped_by,
    }
    return Result(network, step, metrics, comparison)


def _learning_curve(subject: Subject, fitted: Fit, curve: Sequence[tuple[int, float]], title: str) -> Any:
    from siren_jax import plot  # imports Matplotlib, which takes longer than a first step

    measure = subject.measure
    label = f"{measure.label} ({measure.unit}){_note(subject)}"
    return plot.learning_curve(fitted.history, curve, title=title, label=label, logarithmic=measure.less_is_better)


def _note(subject: Subject) -> str:
    return f" ({subject.note})" if subject.note else ""


def write_figure(path: str, figure: Any, *, overwrite: bool) -> None:
    """Writes a Matplotlib figure as a PNG."""
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=100), overwrite=overwrite)


def write_metrics(path: str, metrics: dict[str, Any], record: dict[str, Any], *, overwrite: bool) -> dict[str, Any]:
    """Writes the metrics of a fit and how it was made as JSON; returns the metrics as JSON values."""
    metrics = as_json("the metrics", metrics)
    text = json.dumps({**metrics, "record": as_json("the record", record)}, indent=2, allow_nan=False) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()), overwrite=overwrite)
    return metrics
