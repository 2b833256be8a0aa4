"""The fit of a command, from its options to the report at its end."""

import hashlib
import json
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import jax
from flax import nnx

from siren_jax.cli.console import printable, status
from siren_jax.cli.memory import check_memory
from siren_jax.cli.options import Output, Training
from siren_jax.cli.session import Session
from siren_jax.files.siren_file import Network
from siren_jax.fitting.checkpoints import Checkpoints
from siren_jax.fitting.progress import INTERRUPTIONS, Progress
from siren_jax.fitting.recipes import Recipe
from siren_jax.fitting.result import Fit, no_fit
from siren_jax.subjects.procedure import DEPTH, GIVE_UP, fit_subject, plan
from siren_jax.subjects.start import PACKAGED
from siren_jax.subjects.subject import Subject

EXITS = {"non-finite": 1, "unsolved": 1, "hangup": 129, "interrupt": 130, "terminate": 143}
GAVE_UP = ("steps", "seconds", "converged")
# Options that may change when a fit is resumed.
RESUMABLE = (
    "steps",
    "seconds",
    "skip_nonfinite",
    "devices",
    "refine",
    "schedule",  # its resolved value is compared
    "target_psnr",
    "target_snr",
    "target_chamfer",
    "target_error",
)


@runtime_checkable
class Command(Protocol):
    """A command that fits a network."""

    @property
    def training(self) -> Training: ...

    @property
    def output(self) -> Output: ...


def train(
    command: Command,
    files: Mapping[str, str],
    subject: Subject,
    name: str,
    recipe: Recipe,
    record: dict[str, Any],
    *,
    width: int = 256,
    depth: int = DEPTH,
    target: float | None = None,
    patience: int = GIVE_UP,
    unknown: Callable[[Network], nnx.Module] = lambda network: network,
    then: Callable[[Fit, Callable[[Progress], Any], Checkpoints | None], Fit] | None = None,
    kept: Callable[[Fit], Fit] | None = None,
    memory: int = 0,
    untrained: Network | None = None,
) -> int:
    """Fits a network to a subject, writes and reports the result; returns the command's exit code.

    Args:
        command: the command, with its options.
        files: paths of the files among its options, by the options' names.
        subject: the signal.
        name: stem of the `.siren` file, and default name of the directory.
        recipe: the recipe, with the values that the options replace.
        record: entries of the `.siren` file's record, in addition to those of every fit.
        width: default number of units per hidden layer.
        depth: default number of hidden layers after the first.
        target: value of the subject's measure at which the fit stops.
        patience: multiple of the recipe's steps after which the fit gives up a target, if the options have no budget.
        unknown: makes the fitted unknown from the network.
        then: second phase, called with the first fit, a `watch` callback and its checkpoints.
        kept: replaces the fit's network by one that a file can contain, if the unknown is not one.
        memory: bytes that the second phase takes for its method.
        untrained: network with which the second phase begins at once, in the place of one that is trained first.
    """
    training, output = command.training, command.output
    if training.start is not None and training.start not in PACKAGED:
        files = {**files, "start": training.start}
    recipe, limit = plan(
        recipe,
        training.steps,
        training.seconds,
        target,
        patience=patience,
        keep_schedule=training.schedule is not None,
    )
    sizes = (untrained.width, untrained.depth) if untrained else training.sizes(width, depth)
    check_memory(subject, *sizes, second=memory)
    sample = subject.sampler(training.batch(subject.points, recipe))
    network, omega_from = (untrained, "recipe") if untrained else training.network(subject, recipe, *sizes)
    session = Session(
        output.directory(name),
        name,
        subject,
        target=target,
        figures=not output.no_figures,
        preview_every=output.preview_every,
        tensorboard=output.tensorboard,
        overwrite=output.overwrite,
        resume=output.resume is not None,
        config={**description(command, files), **resolved(recipe, network)},
        checkpoint_every=output.checkpoint_every,
    )
    with session:
        if output.live and kept is not None:
            warnings.warn(
                "a page cannot show a function that satisfies conditions by construction; the fit goes on without a "
                "page.",
                stacklevel=2,
            )
        elif output.live:
            session.show_live(unknown(network))
        with session.reporter:
            fitted = (
                no_fit(unknown(network))
                if untrained
                else fit_subject(
                    subject,
                    network,
                    recipe,
                    sample,
                    unknown=unknown(network),
                    key=jax.random.key(training.seed),
                    steps=limit,
                    seconds=training.seconds,
                    skip=training.skip_nonfinite,
                    until=None if target is None else session.reached,
                    watch=session.watch,
                    checkpoints=session.checkpoints,
                    mesh=training.mesh(),
                )
            )
            if then is not None and fitted.stopped_by in ("steps", "seconds"):
                before = fitted.steps
                store = session.begin_second(before)

                def watch(progress: Progress, place: str = "") -> bool:
                    progress = progress._replace(step=before + progress.step)
                    if place:  # a march through slabs, whose quality is known at its end
                        session.show(progress, place)
                        return False
                    session.watch(progress)
                    return target is not None and session.reached(progress)

                fitted = fitted.followed_by(then(fitted, watch, store))
        about = {"omega_from": omega_from, "learning_rate": recipe.rate(network), "seed": training.seed}
        if untrained:
            del about["learning_rate"]
        if training.start is not None:
            about["start"] = training.start
        with status("measuring the result and writing it"):
            if kept is not None:
                fitted = kept(fitted)
            summary = session.finish(fitted, {**record, **about})
    tell(subject, summary, fitted, target, more="--refine" if untrained else "--steps")
    if output.json:
        print(json.dumps(summary))
    return EXITS.get(fitted.stopped_by, 0)


def description(command: Any, files: Mapping[str, str]) -> dict[str, Any]:
    """The inputs and options of a fit that must be the same when it is resumed."""
    options = {**vars(command), **vars(command.training)}
    left_out = {*RESUMABLE, "training", "output", *files}
    named = {f"--{name.replace('_', '-')}": value for name, value in options.items() if name not in left_out}
    return {**named, **{f"the contents of {name.upper()}": _digest(path) for name, path in files.items()}}


def resolved(recipe: Recipe, network: Network) -> dict[str, Any]:
    """All settings of the recipe, including defaults, which another version of this library may change."""
    numbers = {**recipe._asdict(), "schedule": recipe.schedule.__name__, "steps": None}
    numbers["first_omega"] = getattr(network, "first_omega", None)
    return {f"the recipe's {name}": value for name, value in numbers.items()}


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def tell(
    subject: Subject, summary: dict[str, Any], fitted: Fit, target: float | None, *, more: str = "--steps"
) -> None:
    """Prints how a fit ended and what was written; `more` is the option with the number of its steps."""
    measure, found = subject.measure, summary[subject.measure.name]
    if fitted.stopped_by == "non-finite":
        print(f"siren-jax: stopped {fitted.message}; the last good network was written.", file=sys.stderr)
    elif fitted.stopped_by in INTERRUPTIONS.values():
        print("siren-jax: interrupted; the results so far were written, --resume continues.", file=sys.stderr)
    if fitted.skipped:
        print(f"siren-jax: {fitted.skipped:,} steps that were not finite were skipped.", file=sys.stderr)
    if summary["kept_step"] < fitted.steps:
        print(
            f"siren-jax: at the end the loss was {fitted.final_over_best:.3g} times that of step {fitted.best_step:,}; "
            "the network of that step was written.",
            file=sys.stderr,
        )
    if target is not None and fitted.stopped_by in GAVE_UP and (found is None or not measure.reaches(found, target)):
        print(
            f"siren-jax: the target, {measure.tell(target)}, is not reached after {fitted.steps:,} steps; give more "
            f"{more}, or a larger --width.",
            file=sys.stderr,
        )
    quality = measure.tell(found, further=1)
    note = f" ({subject.note})" if subject.note else ""
    print(f"{quality}{note} after {summary['steps']:,} steps in {summary['seconds']:.1f} s")
    for path in summary["files"]:
        print(f"  {printable(path)}")
