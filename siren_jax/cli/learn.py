"""`siren-jax learn`: learns a space of signals from a folder, and writes it as a base; or only a start for fits."""

import json
import os
import sys
from dataclasses import dataclass, field
from typing import Annotated, Any

import jax
import numpy as np
import tyro
from flax import nnx

from siren_jax.cli.console import Line, duration, printable, status
from siren_jax.cli.helptext import documented, optional
from siren_jax.cli.options import Opening, check_files, check_positive, check_seed
from siren_jax.cli.training import EXITS
from siren_jax.errors import InputError
from siren_jax.files.atomic import check_space
from siren_jax.files.header import as_json
from siren_jax.files.siren_file import MAX_LATENT, MAX_OMEGA
from siren_jax.fitting.progress import StoppedBy
from siren_jax.networks.latent import LatentSIREN
from siren_jax.networks.layers import count_parameters
from siren_jax.networks.siren import SIREN
from siren_jax.neural_field import NeuralField
from siren_jax.sets.base import Base
from siren_jax.sets.latents import STEPS, LearnProgress, learn
from siren_jax.sets.signals import Signals
from siren_jax.sets.starts import ROUNDS, StartProgress, learn_start
from siren_jax.sets.starts import STEPS as ROUND
from siren_jax.subjects.kinds import SIGNALS
from siren_jax.subjects.procedure import check_sizes
from siren_jax.subjects.start import LEARNED

HEADER = 2**16  # bytes of a base besides its parameters, at most


@dataclass(frozen=True)
@documented
class Learn:
    """Learn one network for all pictures, sounds or videos of a folder, and a code of a few numbers for each: a base,
    which encodes other signals and completes them. With --start-only, learn initial weights for `siren-jax fit
    --start`."""

    folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FOLDER")]
    """Folder of the signals, which is searched with its sub-folders. They are of one kind and are all in memory."""
    out: Annotated[str, tyro.conf.arg(metavar="BASE")]
    """File to write, such as `digits.siren`."""
    start_only: bool = False
    """Learn only initial weights, from which a fit of another such signal is sooner good. Two signals are enough.
    --latent, --scaled and --first-omega do not apply."""
    latent: int = 64
    """How many numbers a code has. There must be more signals to learn from than that."""
    scaled: bool = False
    """Let the code also scale what the units of the network receive. By default, it shifts their phases only."""
    width: Annotated[int | None, optional("N", "64, or 256 with --start-only")] = None
    """Number of units per hidden layer."""
    depth: int = 3
    """Number of hidden layers after the first one."""
    first_omega: float = 20.0
    """Frequency factor of the first layer. A higher value represents finer detail."""
    steps: Annotated[int | None, optional("N", f"{STEPS}, or {ROUNDS * ROUND} with --start-only")] = None
    """Number of steps, each with 32 signals and up to 256 points of each. With --start-only, each step has 1024 points
    of one signal, and each signal 64 steps in a row."""
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
        size = f"{self._width} x {self.depth} units" + ("" if self.start_only else f", codes of {self.latent} numbers")
        print(f"{len(signals):,} {signals.kind.plural}, {size}", file=sys.stderr, flush=True)
        self._check_space(signals)
        settings = {
            "key": jax.random.key(self.seed),
            "width": self._width,
            "depth": self.depth,
            "held_out": self.held_out,
            "strict": self.strict,
        }
        reporter = LearnReporter()
        with reporter:
            if self.start_only:
                rounds = ROUNDS if self.steps is None else -(-self.steps // ROUND)
                learned = learn_start(signals, rounds=rounds, watch=reporter.update_start, **settings)
            else:
                of_codes = {"latent": self.latent, "scaled": self.scaled, "first_omega": self.first_omega}
                steps = STEPS if self.steps is None else self.steps
                learned = learn(signals, steps=steps, watch=reporter.update, **of_codes, **settings)
        try:
            learned.save(self.out, overwrite=self.overwrite)
        except InputError as error:
            raise InputError(
                f"{error} What was learned is lost; run the command again once the file can be written."
            ) from None
        summary = _tell(learned) if isinstance(learned, Base) else _tell_start(learned)
        steps = f"{reporter.step:,} of {reporter.steps:,}" if reporter.stopped_by else f"{reporter.step:,}"
        learned_from = f"learned from {summary['signals']:,} {signals.kind.plural}"
        print(f"{learned_from} in {steps} steps and {duration(summary['seconds'])}")
        size = os.path.getsize(self.out)
        print(f"{size:,} bytes: {printable(self.out)}")
        if self.json:
            how = {"steps": reporter.step, "bytes": size, "stopped_by": reporter.stopped_by or "steps"}
            print(json.dumps(as_json("the summary", {**summary, **how})))
        return EXITS.get(reporter.stopped_by or "", 0)

    @property
    def _width(self) -> int:
        return (256 if self.start_only else 64) if self.width is None else self.width

    def _check_space(self, signals: Signals) -> None:
        features, sizes = signals.survey.features, {"width": self._width, "depth": self.depth, "rngs": nnx.Rngs(0)}
        of_codes = {"latent": self.latent, "scaled": self.scaled}
        network = SIREN(*features, **sizes) if self.start_only else LatentSIREN(*features, **of_codes, **sizes)
        check_space(self.out, 4 * count_parameters(network) + HEADER)

    def _check(self) -> None:
        """Refuses invalid settings and an existing file, before anything is read."""
        check_positive(self, ("latent", "width", "steps", "first_omega"))
        check_sizes(self._width, self.depth)
        if self.start_only:
            for name in ("latent", "scaled", "first_omega"):
                if getattr(self, name) != self.__dataclass_fields__[name].default:
                    raise InputError(f"--{name.replace('_', '-')} does not apply to --start-only; leave it out.")
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


def _tell(base: Base) -> dict[str, Any]:
    """Prints the quality of a base; returns what there is to say of it."""
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
    return {**figures, "latent": base.latent, "noise": base.noise}


def _tell_start(start: NeuralField) -> dict[str, Any]:
    """The same of a start."""
    figures = start.record[LEARNED]
    judged = f"held-out {SIGNALS[start.kind].plural}: {figures['judged']:,}, each after {ROUND} steps"
    rows = {"start": "psnr", "random weights": "psnr_of_random"}
    wide = max(map(len, (judged, *rows)))
    print(f"{judged:{wide}}  mean PSNR (dB)")
    for name, key in rows.items():
        print(f"{name:{wide}}  {figures[key]:14.2f}")
    return figures


class LearnReporter(Line):
    """A context manager whose `update` shows the progress of the training on standard error."""

    def __init__(self):
        super().__init__()
        self.step = self.steps = 0
        self.stopped_by: StoppedBy | None = None
        self._first: int | None = None  # step from which the seconds count

    def update_start(self, progress: StartProgress) -> None:
        """The same for a start."""
        steps = progress.round * ROUND, progress.rounds * ROUND
        self.update(LearnProgress(*steps, progress.error, progress.seconds, progress.stopped_by))

    def update(self, progress: LearnProgress) -> None:
        """Shows the step, the PSNR of the running error, and the time that is left."""
        self.step, self.steps, self.stopped_by = progress.step, progress.steps, progress.stopped_by
        self._first = progress.step if self._first is None else self._first
        text = f"step {progress.step:,}  PSNR {10 * np.log10(4 / max(progress.error, 1e-30)):.1f} dB"
        if progress.step > self._first:
            left = (progress.steps - progress.step) * progress.seconds / (progress.step - self._first)
            text += f"  {duration(left)} left"
        self.show(progress.step / progress.steps, text)
