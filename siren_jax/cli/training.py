"""Options of a fit that every command with one shares: the network, how it learns, and where the results go."""

import hashlib
import json
import math
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import jax
from flax import nnx

from siren_jax.cli.console import status
from siren_jax.cli.memory import check_memory
from siren_jax.cli.options import optional
from siren_jax.cli.session import Session
from siren_jax.cli.subject import Subject
from siren_jax.errors import InputError
from siren_jax.fit import Fit, fit
from siren_jax.network import SIREN, ReLUMLP
from siren_jax.progress import Progress
from siren_jax.recipes import Recipe, constant, cosine_decay
from siren_jax.storage import LIMITS, MAX_OMEGA, Network

SCHEDULES = {"cosine": cosine_decay, "constant": constant}
DEPTH = 3
EXITS = {"non-finite": 1, "interrupt": 130, "terminate": 143}
# Options that may change when a fit is resumed.
RESUMABLE = ("steps", "seconds", "refine", "target_psnr", "target_snr", "target_chamfer", "target_error")
MAX_WEIGHTS = 2**28  # 1 GiB of float32, of which Adam and the last good state keep four


@dataclass(frozen=True)
class Training:
    """The network and how it learns; what is left out comes from the recipe."""

    model: Literal["siren", "relu"] = "siren"
    """The network: sines, or the ReLU baseline."""
    width: Annotated[int | None, optional("N", "256; of videos 1024, of equations 64 to 256")] = None
    """Units of a hidden layer."""
    depth: Annotated[int | None, optional("N", "3; of some equations 2")] = None
    """Hidden layers after the first."""
    omega: Annotated[
        str | None,
        optional(
            "auto|OMEGA",
            "auto for values of pictures and sounds, of equations 3 to 20, else 30; "
            "with --recipe paper 30, of sounds 3000",
        ),
    ] = None
    """Frequency factor of the first layer: higher for finer detail. `auto` goes by the signal's own frequencies."""
    hidden_omega: float = 30.0
    """Frequency factor of the layers after the first."""
    weight_scale: Annotated[
        float | None, optional("FACTOR", "2 for values of pictures and sounds, else 1; 1 with --recipe paper")
    ] = None
    """Factor on the initial weights of the sine layers after the first."""
    steps: Annotated[
        int | None,
        optional(
            "N",
            "2000 for values, 4000 for sounds and videos, 500 to 1500 for equations, else 1000; none with --seconds",
        ),
    ] = None
    """Stop after so many steps. Repeatable to the last bit from the seed."""
    seconds: Annotated[float | None, optional("S", "no limit")] = None
    """Stop after so many seconds of fitting, compilation not counted."""
    target_psnr: Annotated[float | None, optional("DB", "none")] = None
    """Stop as soon as the PSNR over all pixels, or 65,536 of a video's, reaches so many dB."""
    batch_size: Annotated[
        str | None, optional("N|full", "1024 to 4096; all if there are fewer or with --recipe paper")
    ] = None
    """Points of a step, or `full` for the whole signal."""
    learning_rate: Annotated[
        float | None,
        optional("RATE", "0.00025 for values, 0.001 for equations, else 0.0003; 0.0001 with --recipe paper"),
    ] = None
    """Of Adam. Unless given, for up to 256 units a layer and lower for more. In the first layer at most 0.015 / omega,
    but with --recipe paper."""
    schedule: Annotated[
        Literal["cosine", "constant"] | None, optional("{cosine,constant}", "cosine, or constant with --recipe paper")
    ] = None
    """Of the learning rate: to zero over the budget along a cosine, or constant."""
    seed: int = 0
    """Of the initial weights and of every batch."""
    skip_nonfinite: int = 0
    """Steps in a row whose loss or gradient may be not finite; they change nothing, and are counted. One more stops."""

    def check(self) -> None:
        """Refuses settings that cannot be meant, before anything is read."""
        positive = ("steps", "seconds", "target_psnr", "learning_rate", "hidden_omega", "weight_scale")
        check_positive(self, positive)
        if self.omega not in (None, "auto") and not 0 < number(self.omega) < MAX_OMEGA:
            raise InputError(f"--omega takes a positive number below {MAX_OMEGA:g} or 'auto', but is {self.omega!r}.")
        if not self.hidden_omega < MAX_OMEGA:
            raise InputError(f"--hidden-omega takes a number below {MAX_OMEGA:g}, but is {self.hidden_omega:g}.")
        if self.model == "relu" and (self.omega or self.weight_scale):
            raise InputError("--omega and --weight-scale are of sine networks; leave them out with --model relu.")
        if self.skip_nonfinite < 0:
            raise InputError(f"--skip-nonfinite takes a number of steps, 0 for none, but is {self.skip_nonfinite}.")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed takes a whole number from 0 to {2**32 - 1}, but is {self.seed}.")
        self.sizes(1)

    def sizes(self, width: int, depth: int = DEPTH) -> tuple[int, int]:
        """Width and depth, those given where they were left out; refuses networks that cannot be."""
        width = width if self.width is None else self.width
        depth = depth if self.depth is None else self.depth
        for name, value, least in (("width", width, 1), ("depth", depth, 0)):
            if not least <= value <= LIMITS[name]:
                raise InputError(f"--{name} takes a whole number from {least} to {LIMITS[name]}, but is {value}.")
        if depth * width**2 > MAX_WEIGHTS:
            raise InputError(f"--width {width} and --depth {depth} make over {MAX_WEIGHTS:,} weights; take less.")
        return width, depth

    def recipe(self, base: Recipe) -> Recipe:
        """A recipe with what the options replace."""
        given = {
            "learning_rate": self.learning_rate,
            "schedule": SCHEDULES.get(self.schedule or ""),
            "weight_scale": self.weight_scale,
        }
        recipe = base._replace(**{name: value for name, value in given.items() if value is not None})
        if self.learning_rate is not None:
            recipe = recipe._replace(for_width=None)
        if self.omega is None:
            return recipe
        return recipe._replace(first_omega=None if self.omega == "auto" else float(self.omega))

    def batch(self, points: int, recipe: Recipe) -> int:
        """Points of a step."""
        if self.batch_size is None:
            return min(recipe.batch_size or points, points)
        if self.batch_size == "full":
            return points
        if not self.batch_size.isdecimal():
            raise InputError(f"--batch-size takes a number of samples or 'full', but is {self.batch_size!r}.")
        return int(self.batch_size)

    def network(self, subject: Subject, recipe: Recipe, width: int, depth: int) -> tuple[Network, str]:
        """The network, and where its first omega comes from."""
        rngs = nnx.Rngs(self.seed)
        if self.model == "relu":
            return ReLUMLP(*subject.features, width=width, depth=depth, rngs=rngs), "none"
        first_omega, reason = recipe.first_omega, "option" if self.omega else "recipe"
        if first_omega is None:
            first_omega, reason = subject.choose_omega()
            print(f"omega {first_omega:.4g}: {reason}", file=sys.stderr)
        network = SIREN(
            *subject.features,
            width=width,
            depth=depth,
            first_omega=first_omega,
            omega=self.hidden_omega,
            weight_scale=recipe.weight_scale,
            rngs=rngs,
        )
        return network, reason


@dataclass(frozen=True)
class Output:
    """Where the results go."""

    out: Annotated[str | None, optional("DIR", "out/NAME")] = None
    """Directory to write to."""
    overwrite: bool = False
    """Replace what an earlier fit left in the directory."""
    resume: Annotated[str | None, optional("DIR", "none")] = None
    """Continue the fit that was interrupted in this directory. All else as it was, but for --steps, --seconds and
    --target-..."""
    checkpoint_every: float = 30.0
    """Seconds between checkpoints, which --resume begins with; less often where writing them would hold up the fit."""
    preview_every: Annotated[int | None, optional("N", "never")] = None
    """Write the figure during the fit too, each time so many steps have passed."""
    tensorboard: bool = False
    """Log scalars, pictures and histograms of the weights to OUT/tensorboard; needs the extra `tensorboard`."""
    json: bool = False
    """Print the metrics as one JSON object, the last line of the output."""

    def check(self) -> None:
        """Refuses settings that cannot be meant."""
        check_positive(self, ("preview_every", "checkpoint_every"))
        if self.resume is not None and (self.out is not None or self.overwrite):
            raise InputError("--resume continues in its own directory; leave out --out and --overwrite.")

    def directory(self, name: str) -> str:
        """Where a fit of so named a signal goes."""
        return self.resume or self.out or os.path.join("out", name)


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
    unknown: Callable[[Network], nnx.Module] = lambda network: network,
    then: Callable[[Fit, Callable[[Progress], Any]], Fit] | None = None,
    kept: Callable[[Fit], Fit] | None = None,
) -> int:
    """Fits a network to a subject, writes and tells what came of it; the command's exit code.

    Args:
        command: with its options.
        files: those of its options that are files, by name, and where they are.
        subject: what is fitted.
        name: of the `.siren` file and, unless `output` has one, of the directory.
        recipe: with what the options replaced.
        record: what the `.siren` file keeps of how it was made, beside what holds for every fit.
        width: units of a hidden layer, unless the options have another number.
        depth: hidden layers after the first, likewise.
        target: of the subject's measure, at which the fit stops.
        unknown: what is fitted, made of the network.
        then: a second phase, of the fit so far and what it shall be watched with.
        kept: the fit of a network that a file can hold, where the unknown is none.
    """
    training, output = command.training, command.output
    sizes = training.sizes(width, depth)
    check_memory(subject, *sizes)
    sample = subject.sampler(training.batch(subject.points, recipe))
    network, omega_from = training.network(subject, recipe, *sizes)
    session = Session(
        output.directory(name),
        name,
        subject,
        target=target,
        preview_every=output.preview_every,
        tensorboard=output.tensorboard,
        overwrite=output.overwrite,
        resume=output.resume is not None,
        config=description(command, files),
        checkpoint_every=output.checkpoint_every,
    )
    with session:
        with session.reporter:
            fitted = fit(
                unknown(network),
                subject.objective,
                sample,
                key=jax.random.key(training.seed),
                steps=recipe.steps if training.steps is None and training.seconds is None else training.steps,
                seconds=training.seconds,
                optimizer=recipe.optimizer(network),
                schedule=recipe.schedule,
                weights=subject.weights,
                skip=training.skip_nonfinite,
                watch=session.watch,
                checkpoints=session.checkpoints,
            )
            if then is not None and fitted.stopped_by in ("steps", "seconds"):
                before = fitted.steps
                later = then(fitted, lambda progress: session.watch(progress._replace(step=before + progress.step)))
                fitted = fitted.followed_by(later)
        about = {"omega_from": omega_from, "learning_rate": recipe.rate(network), "seed": training.seed}
        with status("measuring the result and writing it"):
            if kept is not None:
                fitted = kept(fitted)
            summary = session.finish(fitted, {**record, **about})
    tell(subject, summary, fitted)
    if output.json:
        print(json.dumps(summary))
    return EXITS.get(fitted.stopped_by, 0)


def description(command: Any, files: Mapping[str, str]) -> dict[str, Any]:
    """What a fit is of and how it proceeds: what a resumed one must have as it was."""
    options = {**vars(command), **vars(command.training)}
    left_out = {*RESUMABLE, "training", "output", *files}
    named = {f"--{name.replace('_', '-')}": value for name, value in options.items() if name not in left_out}
    return {**named, **{f"the contents of {name.upper()}": _digest(path) for name, path in files.items()}}


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def tell(subject: Subject, summary: dict[str, Any], fitted: Fit) -> None:
    """Says how a fit ended and what was written."""
    if fitted.message:
        print(f"siren-jax: stopped {fitted.message}; the last good network was written.", file=sys.stderr)
    elif fitted.stopped_by in ("interrupt", "terminate"):
        print("siren-jax: interrupted; what was learned was written, --resume continues.", file=sys.stderr)
    if fitted.skipped:
        print(f"siren-jax: {fitted.skipped:,} steps that were not finite were skipped.", file=sys.stderr)
    if summary["kept_step"] < fitted.steps:
        print(
            f"siren-jax: at the end the loss was {fitted.worse:.3g} times that of step {fitted.best_step:,}; the "
            "network of that step was written.",
            file=sys.stderr,
        )
    quality = subject.measure.tell(summary[subject.measure.name], further=1)
    note = f" ({subject.note})" if subject.note else ""
    print(f"{quality}{note} after {summary['steps']:,} steps in {summary['seconds']:.1f} s")
    for path in summary["files"]:
        print(f"  {path}")


def check_positive(options: Any, names: tuple[str, ...]) -> None:
    """Refuses options that are given and not positive numbers."""
    for name in names:
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name.replace('_', '-')} takes a positive number, but is {value:g}.")


def number(text: str) -> float:
    """The text as a number, NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
