"""`siren-jax learn`: learns a space of signals from a folder, and writes it as a base."""

import json
import os
import sys
from dataclasses import dataclass, field
from typing import Annotated

import jax
import numpy as np
import tyro
from flax import nnx

from siren_jax.cli.console import Line, duration, printable, status
from siren_jax.cli.helptext import documented
from siren_jax.cli.options import Opening, check_files, check_positive, check_seed
from siren_jax.cli.training import EXITS
from siren_jax.errors import InputError
from siren_jax.files.atomic import check_space
from siren_jax.files.header import as_json
from siren_jax.files.siren_file import MAX_LATENT, MAX_OMEGA
from siren_jax.fitting.progress import StoppedBy
from siren_jax.networks.latent import LatentSIREN
from siren_jax.networks.layers import count_parameters
from siren_jax.sets.base import Base
from siren_jax.sets.latents import STEPS, LearnProgress, learn
from siren_jax.subjects.kinds import SIGNALS
from siren_jax.subjects.procedure import check_sizes

HEADER = 2**16  # bytes of a base besides its parameters, at most


@dataclass(frozen=True)
@documented
class Learn:
    """Learn one network for all pictures, sounds or videos of a folder, and a code of a few numbers for each: a base,
    which encodes other signals and completes them."""

    folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FOLDER")]
    """Folder of the signals, which is searched with its sub-folders. They are of one kind and are all in memory."""
    out: Annotated[str, tyro.conf.arg(metavar="BASE")]
    """File to write, such as `digits.siren`."""
    latent: int = 64
    """How many numbers a code has. There must be more signals to learn from than that."""
    scaled: bool = False
    """Let the code also scale what the units of the network receive. By default, it shifts their phases only."""
    width: int = 64
    """Number of units per hidden layer."""
    depth: int = 3
    """Number of hidden layers after the first one."""
    first_omega: float = 20.0
    """Frequency factor of the first layer. A higher value represents finer detail."""
    steps: int = STEPS
    """Number of steps, each with 32 signals and up to 256 points of each."""
    held_out: float = 0.1
    """Share of the signals that are not learned from. The quality is measured on them."""
    seed: int = 0
    """Seed of the initial weights, of every batch and of the choice of the held-out signals."""
    opening: tyro.conf.OmitArgPrefixes[Opening] = field(default_factory=Opening)
    strict: bool = False
    """End with an error at a signal that cannot be read, instead of leaving it out."""
    overwrite: bool = False
    """Replace the file if it exists."""
    json: bool = False
    """Print the qualities as one JSON object on the last line of the output."""

    def run(self) -> int:
        self._check()
        signals = self.opening.signals(self.folder)
        with status("looking at the signals"):
            shapes = signals.survey.shapes
        if not shapes:
            raise InputError(f"a base is learned from pictures, sounds or videos, but these are {signals.kind.plural}.")
        size = f"codes of {self.latent} numbers, {self.width} x {self.depth} units"
        print(f"{len(signals):,} {signals.kind.plural}, {size}", file=sys.stderr, flush=True)
        sizes = {"latent": self.latent, "scaled": self.scaled, "width": self.width, "depth": self.depth}
        network = LatentSIREN(*signals.survey.features, **sizes, rngs=nnx.Rngs(0))
        check_space(self.out, 4 * count_parameters(network) + HEADER)
        reporter = LearnReporter()
        with reporter:
            base = learn(
                signals,
                key=jax.random.key(self.seed),
                latent=self.latent,
                scaled=self.scaled,
                width=self.width,
                depth=self.depth,
                first_omega=self.first_omega,
                steps=self.steps,
                held_out=self.held_out,
                strict=self.strict,
                watch=reporter.update,
            )
        try:
            base.save(self.out, overwrite=self.overwrite)
        except InputError as error:
            raise InputError(
                f"{error} What was learned is lost; run the command again once the file can be written."
            ) from None
        self._tell(base, reporter)
        return EXITS.get(reporter.stopped_by or "", 0)

    def _check(self) -> None:
        """Refuses invalid settings and an existing file, before anything is read."""
        check_positive(self, ("latent", "width", "steps", "first_omega"))
        check_sizes(self.width, self.depth)
        if self.latent > MAX_LATENT:
            raise InputError(f"--latent takes up to {MAX_LATENT:,} numbers, but is {self.latent}.")
        if not self.first_omega < MAX_OMEGA:
            raise InputError(f"--first-omega takes a number below {MAX_OMEGA:g}, but is {self.first_omega:g}.")
        if not 0 < self.held_out < 1:
            raise InputError(f"--held-out takes a share between 0 and 1, but is {self.held_out:g}.")
        check_seed(self.seed)
        self.opening.check()
        folder, name = os.path.split(self.out)
        if not name:
            raise InputError(f"--out takes the name of a file, but is {self.out!r}.")
        if folder and not os.path.isdir(folder):
            raise InputError(f"there is no folder {folder!r} for --out.")
        check_files(folder, [name], overwrite=self.overwrite)

    def _tell(self, base: Base, reporter: "LearnReporter") -> None:
        figures, signals = base.figures, SIGNALS[base.kind].plural
        rows = {"base": ("psnr", "psnr_of_mean"), f"PCA of {base.latent} numbers": ("pca_psnr", "pca_psnr_of_mean")}
        title = f"{figures['held_out']:,} held-out {signals}"
        wide = max(map(len, (title, *rows)))
        print(f"{title:{wide}}  mean PSNR (dB)  PSNR of the mean squared error (dB)")
        for name, (mean, of_mean) in rows.items():
            print(f"{name:{wide}}  {figures[mean]:14.2f}  {figures[of_mean]:35.2f}")
        if figures["psnr"] <= figures["pca_psnr"]:
            print(
                "siren-jax: the base is not better than PCA on signals that it has not seen; give more --steps, more "
                "signals or another --first-omega.",
                file=sys.stderr,
            )
        size = os.path.getsize(self.out)
        steps = (
            f"{reporter.step:,} steps" if reporter.stopped_by is None else f"{reporter.step:,} of {self.steps:,} steps"
        )
        print(f"learned from {figures['signals']:,} {signals} in {steps} and {duration(figures['seconds'])}")
        print(f"{size:,} bytes: {printable(self.out)}")
        if self.json:
            summary = {**figures, "latent": base.latent, "noise": base.noise, "steps": reporter.step, "bytes": size,
                       "stopped_by": reporter.stopped_by or "steps"}  # fmt: skip
            print(json.dumps(as_json("the summary", summary)))


class LearnReporter(Line):
    """A context manager whose `update` shows the progress of the training on standard error."""

    def __init__(self):
        super().__init__()
        self.step = 0
        self.stopped_by: StoppedBy | None = None
        self._first: int | None = None  # step from which the seconds count

    def update(self, progress: LearnProgress) -> None:
        """Shows the step, the PSNR of the running error, and the time that is left."""
        self.step, self.stopped_by = progress.step, progress.stopped_by
        self._first = progress.step if self._first is None else self._first
        text = f"step {progress.step:,}  PSNR {10 * np.log10(4 / max(progress.error, 1e-30)):.1f} dB"
        if progress.step > self._first:
            left = (progress.steps - progress.step) * progress.seconds / (progress.step - self._first)
            text += f"  {duration(left)} left"
        self.show(progress.step / progress.steps, text)
