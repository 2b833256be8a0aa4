"""Options of a fit that every command with one shares: the network, how it learns, and where the results go."""

import json
import math
import os
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import jax
from flax import nnx

from siren_jax.cli.options import optional
from siren_jax.cli.session import Session
from siren_jax.cli.subject import Subject
from siren_jax.errors import InputError
from siren_jax.fit import fit
from siren_jax.network import SIREN
from siren_jax.recipes import Recipe
from siren_jax.storage import LIMITS, MAX_OMEGA

MAX_WEIGHTS = 2**28  # 1 GiB of float32, of which Adam and the last good state keep four
LEAST_BATCH = 16  # points


@dataclass(frozen=True)
class Training:
    """The network and how it learns."""

    width: int = 256
    """Units of a hidden layer."""
    depth: int = 3
    """Hidden layers after the first."""
    omega: Annotated[str, optional("auto|OMEGA", "auto")] = "auto"
    """Frequency factor of the first layer: higher for finer detail. `auto` goes by the picture's own frequencies."""
    steps: Annotated[int | None, optional("N", "2000; no limit with --seconds")] = None
    """Stop after so many steps. Repeatable to the last bit from the seed."""
    seconds: Annotated[float | None, optional("S", "no limit")] = None
    """Stop after so many seconds of fitting, compilation not counted."""
    target_psnr: Annotated[float | None, optional("DB", "none")] = None
    """Stop as soon as the PSNR over all pixels reaches so many dB."""
    batch_size: Annotated[int | None, optional("N", "2048")] = None
    """Points of a step."""
    learning_rate: Annotated[float | None, optional("RATE", "0.00025")] = None
    """Of Adam at the start; to zero over the budget along a cosine."""
    seed: int = 0
    """Of the initial weights and of every batch."""

    def check(self) -> None:
        """Refuses settings that cannot be meant, before anything is read."""
        for name in ("steps", "seconds", "target_psnr", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"--{name.replace('_', '-')} takes a positive number, but is {value:g}.")
        if self.omega != "auto" and not 0 < number(self.omega) < MAX_OMEGA:
            raise InputError(f"--omega takes a positive number below {MAX_OMEGA:g} or 'auto', but is {self.omega!r}.")
        if self.batch_size is not None and self.batch_size < LEAST_BATCH:
            raise InputError(f"--batch-size takes at least {LEAST_BATCH} points, but is {self.batch_size}.")
        for name, least in (("width", 1), ("depth", 0)):
            if not least <= (value := getattr(self, name)) <= LIMITS[name]:
                raise InputError(f"--{name} takes a whole number from {least} to {LIMITS[name]}, but is {value}.")
        if self.depth * self.width**2 > MAX_WEIGHTS:
            raise InputError(f"--width {self.width} and --depth {self.depth} make over {MAX_WEIGHTS:,} weights.")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed takes a whole number from 0 to {2**32 - 1}, but is {self.seed}.")

    def recipe(self, base: Recipe) -> Recipe:
        """A recipe with what the options replace."""
        given = {"learning_rate": self.learning_rate, "batch_size": self.batch_size, "steps": self.steps}
        return base._replace(**{name: value for name, value in given.items() if value is not None})

    def network(self, subject: Subject, recipe: Recipe) -> tuple[SIREN, str]:
        """A network for a subject, and where its first omega comes from."""
        if self.omega == "auto":
            first_omega, reason = subject.choose_omega()
            print(f"omega {first_omega:.4g}: {reason}", file=sys.stderr)
        else:
            first_omega, reason = float(self.omega), "option"
        network = SIREN(
            *subject.features,
            width=self.width,
            depth=self.depth,
            first_omega=first_omega,
            weight_scale=recipe.weight_scale,
            rngs=nnx.Rngs(self.seed),
        )
        return network, reason


@dataclass(frozen=True)
class Output:
    """Where the results go."""

    out: Annotated[str | None, optional("DIR", "out/NAME")] = None
    """Directory to write to."""
    overwrite: bool = False
    """Replace what an earlier fit left in the directory."""
    preview_every: Annotated[int | None, optional("N", "never")] = None
    """Write the figure during the fit too, each time so many steps have passed."""
    tensorboard: bool = False
    """Log scalars, pictures and histograms of the weights to OUT/tensorboard; needs the extra `tensorboard`."""
    json: bool = False
    """Print the metrics as one JSON object, the last line of the output."""


def train(
    subject: Subject,
    name: str,
    base: Recipe,
    training: Training,
    output: Output,
    record: dict[str, Any],
) -> int:
    """Fits a network to a subject, writes and tells what came of it; the command's exit code.

    Args:
        subject: what is fitted.
        name: of the `.siren` file and, unless `output` has one, of the directory.
        base: the recipe, of which the options replace parts.
        training: options.
        output: options.
        record: what the `.siren` file keeps of how it was made, beside what holds for every fit.
    """
    recipe = training.recipe(base)
    session = Session(
        output.out or os.path.join("out", name),
        name,
        subject,
        target=training.target_psnr,
        preview_every=output.preview_every,
        tensorboard=output.tensorboard,
        overwrite=output.overwrite,
    )
    network, omega_from = training.network(subject, recipe)
    with session.reporter:
        fitted = fit(
            network,
            subject.objective,
            subject.sampler(min(recipe.batch_size or subject.points, max(LEAST_BATCH, subject.points))),
            key=jax.random.key(training.seed),
            steps=recipe.steps if training.seconds is None else training.steps,
            seconds=training.seconds,
            optimizer=recipe.optimizer(network.first_omega),
            schedule=recipe.schedule,
            weights=subject.weights,
            watch=session.watch,
        )
    about = {"omega_from": omega_from, "learning_rate": recipe.learning_rate, "seed": training.seed}
    summary = session.finish(fitted, {**record, **about})
    tell(subject, summary, fitted.message)
    if output.json:
        print(json.dumps(summary))
    return {"non-finite": 1, "interrupt": 130}.get(fitted.stopped_by, 0)


def tell(subject: Subject, summary: dict[str, Any], message: str) -> None:
    """Says how a fit ended and what was written."""
    if message:
        print(f"siren-jax: stopped {message}; the last good network was written.", file=sys.stderr)
    elif summary["stopped_by"] == "interrupt":
        print("siren-jax: interrupted; what was learned was written.", file=sys.stderr)
    quality = subject.measure.tell(summary[subject.measure.name], further=1)
    note = f" ({subject.note})" if subject.note else ""
    print(f"{quality}{note} after {summary['steps']:,} steps in {summary['seconds']:.1f} s")
    for path in summary["files"]:
        print(f"  {path}")


def number(text: str) -> float:
    """The text as a number, NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
