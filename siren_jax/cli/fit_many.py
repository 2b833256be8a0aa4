"""`siren-jax fit-many`: fits a network to every signal of a folder, and writes them as one set."""

import json
import math
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import numpy as np
import tyro
from flax import nnx

from siren_jax._types import SetPrecision, SignalName, Target
from siren_jax.cli.console import Line, duration, printable, status
from siren_jax.cli.helptext import documented, optional
from siren_jax.cli.options import check_positive, check_seed, check_set, mesh_of, number
from siren_jax.cli.training import EXITS
from siren_jax.errors import InputError
from siren_jax.files.header import as_json
from siren_jax.files.set_file import any_shard
from siren_jax.files.siren_file import MAX_OMEGA, Network
from siren_jax.fitting.progress import StoppedBy
from siren_jax.fitting.recipes import Recipe
from siren_jax.networks.layers import count_parameters
from siren_jax.networks.relu import ReLUMLP
from siren_jax.networks.siren import SIREN
from siren_jax.sets.field_set import FieldSet
from siren_jax.sets.joint_descent import SetProgress, Share, fit_many
from siren_jax.sets.overview import worst, write_figures, write_metrics
from siren_jax.sets.signals import Signals
from siren_jax.sets.stack import AXIS
from siren_jax.subjects.subject import Measure

WORST = 10  # entries in the table
SMALL = 1024  # samples of a signal up to which the default network is 32 x 1
OPENING = ("target", "size", "downsample", "between", "keep_alpha", "samples", "flip_normals")
TARGETS = ("psnr", "snr", "chamfer")


@dataclass(frozen=True)
@documented
class FitMany:
    """Fit a network to every picture, sound, video or shape of a folder, each until it is as good as asked, and write
    them as one set."""

    folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FOLDER")]
    """Folder of the signals, which is searched with its sub-folders. They are of one kind."""
    out: Annotated[str, tyro.conf.arg(metavar="SET")]
    """Folder in which the set is written."""
    psnr: Annotated[float | None, optional("DB", "none")] = None
    """Fit each picture or video until its PSNR reaches this many dB."""
    snr: Annotated[float | None, optional("DB", "none")] = None
    """Fit each sound until its SNR reaches this many dB."""
    chamfer: Annotated[float | None, optional("PERCENT", "none")] = None
    """Fit each shape until its Chamfer distance is no larger than this many percent of its box's diagonal."""
    steps: Annotated[int | None, optional("N", "those of the recipe")] = None
    """Number of steps at which the fit of a signal ends. The recipe has 500 for pictures and videos, 2,000 for sounds
    and 400 for shapes; with a quality, four times as many, except for sounds."""
    minutes: Annotated[float | None, optional("M", "no limit")] = None
    """Alone, each signal gets as many steps as all of them need in this time. With a quality or --steps, the command
    ends after this time, and --resume continues."""
    labels: Annotated[str | None, optional("folder|FILE", "none")] = None
    """Labels of the signals: `folder` for the name of each file's sub-folder, or a CSV file with rows of a name and a
    label."""
    kind: Annotated[SignalName | None, optional("KIND", "that of the files")] = None
    """Kind of the signals: image, sound, video or shape."""
    model: Literal["siren", "relu"] = "siren"
    """Type of the networks: sine networks (siren), or ReLU networks as a baseline (relu)."""
    width: Annotated[int | None, optional("N", f"32 for signals of up to {SMALL:,} samples, 64 for others")] = None
    """Number of units per hidden layer."""
    depth: Annotated[int | None, optional("N", "1 for signals of that size, 2 for others, 3 for shapes")] = None
    """Number of hidden layers after the first one."""
    first_omega: Annotated[
        str | None, optional("auto|OMEGA", "auto for sounds, 10 for shapes, 20 for others, 30 with a depth above 1")
    ] = None
    """Frequency factor of the first layer. `auto` measures the frequencies of each signal."""
    share: Share = "none"
    """What all networks share: nothing (none), the initial weights (start), a first layer that is not fitted (first),
    or all layers but the last two (trunk). Common layers are evaluated once for pictures of one size, and stored
    once."""
    restarts: int = 0
    """Number of further fits, from other initial weights, of a signal that has missed the quality; the best one
    counts."""
    batch_size: Annotated[int | None, optional("N", "all samples up to 4,096, 2,048 of others, 512 of shapes")] = None
    """Number of points per step of a signal."""
    learning_rate: Annotated[float | None, optional("RATE", "that of the recipe")] = None
    """Learning rate of Adam."""
    seed: int = 0
    """Seed of the initial weights and of every batch."""
    precision: SetPrecision = "float32"
    """Precision of the weights in the set."""
    target: Target = "values"
    """Quantity of the pictures that the networks are fitted to: values, gradient, laplacian or mixed."""
    size: Annotated[int | None, optional("N", "the file's own")] = None
    """Resize each picture or video so that its longer side has N pixels, with an anti-aliasing filter."""
    downsample: int = 1
    """Divide both sides of a picture or a video, or the samples per second of a sound, by this whole number."""
    between: Annotated[tuple[float, float] | None, optional("START STOP", "all of it")] = None
    """Fit only this part of each sound or video, in seconds. Those that end before STOP are left out."""
    keep_alpha: bool = False
    """Fit the transparency of pictures as the last channel. By default, they are composited over white."""
    samples: Annotated[int | None, optional("N", "20,000")] = None
    """Number of points to draw from each mesh."""
    flip_normals: bool = False
    """Reverse all normals of the shapes."""
    rows: Annotated[int | None, optional("N", "64 for each device, 8 for shapes")] = None
    """Number of signals that are fitted at once. The result does not depend on it."""
    devices: Annotated[int | None, optional("N", "all GPUs, or one virtual device for each core")] = None
    """Number of devices. The result does not depend on it."""
    part: Annotated[tuple[int, int] | None, optional("I N", "0 1")] = None
    """Fit part I of N, from 0, for N processes on one or several machines that write into one folder."""
    strict: bool = False
    """End with an error at a signal that cannot be read, instead of leaving it out."""
    resume: bool = False
    """Continue the set in the folder, or add signals that are new."""
    no_figures: bool = False
    """Write no histogram and no contact sheet."""
    json: bool = False
    """Print the counts and qualities as one JSON object on the last line of the output."""

    def run(self) -> int:
        self._check()
        mesh = mesh_of(self.devices, AXIS)
        options = {name: getattr(self, name) for name in OPENING if getattr(self, name) != self._default(name)}
        signals = Signals(self.folder, kind=self.kind, labels=self.labels, **options)
        measure, quality = signals.kind.measure, getattr(self, signals.kind.measure.name)
        for name in TARGETS:
            if name != measure.name and getattr(self, name) is not None:
                raise InputError(f"--{name} does not apply to {signals.kind.noun}; leave it out.")
        with status("looking at the signals"):
            make, network = self._network(signals)
        recipe = signals.kind.recipe_of_many(network.depth)
        if self.learning_rate is not None:
            recipe = recipe._replace(learning_rate=self.learning_rate, for_width=None)
        own_omega = self.model == "siren" and self._omega(recipe) == "auto"
        if own_omega and self.share in ("first", "trunk"):
            raise InputError(f"--share {self.share} needs one omega for all signals; give --first-omega as a number.")
        self._tell_before(signals, network, quality, mesh.size)
        reporter = SetReporter(measure, quality)
        try:
            with reporter:
                fields = fit_many(
                    signals,
                    make,
                    key=jax.random.key(self.seed),
                    quality=quality,
                    steps=self.steps,
                    seconds=None if self.minutes is None else 60 * self.minutes,
                    recipe=recipe,
                    batch_size=self.batch_size,
                    share=self.share,
                    own_omega=own_omega,
                    restarts=self.restarts,
                    rows=self.rows,
                    mesh=mesh,
                    part=self.part,
                    out=self.out,
                    precision=self.precision,
                    strict=self.strict,
                    watch=reporter.update,
                )
        except InputError as error:
            if reporter.stopped_by is None:
                raise
            print(f"siren-jax: {error}", file=sys.stderr)  # interrupted before the first shard
        else:
            self._tell_after(signals, fields, measure, quality, reporter)
        return EXITS.get(reporter.stopped_by or "", 0)

    def _default(self, name: str) -> Any:
        return self.__dataclass_fields__[name].default

    def _check(self) -> None:
        """Refuses invalid settings, before anything is read."""
        positive = (*TARGETS, "steps", "minutes", "width", "batch_size", "learning_rate", "rows", "devices", "size")
        check_positive(self, (*positive, "samples"))
        omega = self.first_omega
        if omega not in (None, "auto") and not 0 < number(omega) < MAX_OMEGA:
            raise InputError(f"--first-omega takes a positive number below {MAX_OMEGA:g} or 'auto', but is {omega!r}.")
        if self.model == "relu" and omega is not None:
            raise InputError("--first-omega applies to sine networks only; leave it out.")
        check_seed(self.seed)
        check_set(self.out, resume=self.resume, part=self.part is not None)

    def _omega(self, recipe: Recipe) -> float | str:
        return self.first_omega or recipe.first_omega or "auto"

    def _network(self, signals: Signals) -> tuple[Any, Network]:
        """A function that makes the initial network of a signal, and one of them: by default as in an earlier set."""
        features, shapes = signals.survey
        small = bool(shapes) and float(np.median([math.prod(shape) for shape in shapes])) <= SMALL
        usual = (32, 1) if small else (64, 2) if shapes else (64, 3)
        if (earlier := any_shard(self.out)) is not None:
            known = earlier.header["network"]
            features, usual = (known["in_features"], known["out_features"]), (known["width"], known["depth"])
        width, depth = self.width or usual[0], usual[1] if self.depth is None else self.depth
        recipe = signals.kind.recipe_of_many(depth)
        omega = self._omega(recipe)
        first = 30.0 if omega == "auto" else float(omega)

        def make(rngs: nnx.Rngs) -> Network:
            if self.model == "relu":
                return ReLUMLP(*features, width=width, depth=depth, rngs=rngs)
            scale = recipe.weight_scale
            return SIREN(*features, width=width, depth=depth, first_omega=first, weight_scale=scale, rngs=rngs)

        return make, make(nnx.Rngs(0))

    def _tell_before(self, signals: Signals, network: Network, quality: float | None, devices: int) -> None:
        features, shapes = signals.survey
        sizes = Counter(" x ".join(map(str, shape)) for shape in shapes)
        most = sizes.most_common(1)[0] if sizes else None
        about = f"{len(signals):,} {signals.kind.plural}"
        if most is not None:
            about += f" of {most[0]} samples" if len(sizes) == 1 else f" of many sizes, such as {most[0]} samples"
            about += f" and up to {features[1]} channels" if features[1] > 1 else ""
        labels = len({label for label in signals.labels if label is not None})
        about += f", {labels:,} labels" if labels else ""
        size = f"{network.width} x {network.depth} units, {count_parameters(network):,} parameters each"
        until = "" if quality is None else f", until {signals.kind.measure.tell(quality)}"
        print(f"{about}\n{size}{until}; {devices} device{'s' * (devices > 1)}", file=sys.stderr, flush=True)

    def _tell_after(
        self, signals: Signals, fields: FieldSet, measure: Measure, quality: float | None, reporter: "SetReporter"
    ) -> None:
        counts = Counter(fields.status)
        left = len(set(signals.names) - set(fields.names) - set(reporter.skipped))
        with status("writing the table and the figures"):
            paths = [write_metrics(self.out, fields, measure)]
            if not self.no_figures:
                paths += write_figures(self.out, signals, fields, measure, quality)
        order = worst(fields, measure)[:WORST]
        names = [printable(fields.names[number]) for number in order]
        wide = max(map(len, names))
        print(f"{'the worst':{wide}}  {measure.label} ({measure.unit})  steps  status")
        for name, entry in zip(names, order, strict=True):
            found = f"{fields.quality[entry]:.{measure.decimals + 1}f}"
            print(f"{name:{wide}}  {found:>{len(measure.label) + len(measure.unit) + 3}}  {fields.steps[entry]:5}  "
                  f"{fields.status[entry]}")  # fmt: skip
        finite = fields.quality[np.isfinite(fields.quality)]
        median = float(np.median(finite)) if len(finite) else None
        reached = "" if quality is None else f"{counts['reached']:,} of {len(fields):,} reach {measure.tell(quality)}; "
        print(f"{reached}median {measure.tell(median, further=1)} after {fields.steps.mean():.0f} steps on average, "
              f"in {duration(reporter.seconds)}")  # fmt: skip
        for path in (self.out, *paths):
            print(f"  {printable(path)}")
        if left and self.part is None:
            print(f"siren-jax: {left:,} signals are left; --resume continues.", file=sys.stderr)
        if self.json:
            summary = {"signals": len(signals), "entries": len(fields), "left": left, "status": dict(counts),
                       measure.name: {"median": median, "worst": float(fields.quality[order[0]])},
                       "skipped": reporter.skipped, "seconds": reporter.seconds}  # fmt: skip
            print(json.dumps(as_json("the summary", summary)))


class SetReporter(Line):
    """A context manager whose `update` shows the progress of a joint fit on standard error."""

    def __init__(self, measure: Measure, quality: float | None):
        super().__init__()
        self._measure, self._quality = measure, quality
        self.skipped: dict[str, str] = {}
        self.seconds = 0.0
        self.stopped_by: StoppedBy | None = None
        self._foreseen = False

    def update(self, progress: SetProgress) -> None:
        """Shows how many signals are done, their quality, and the time that is left."""
        self.skipped, self.seconds, self.stopped_by = progress.skipped, progress.seconds, progress.stopped_by
        if not self._foreseen and progress.speed > 0 and progress.done < progress.total:
            self._foreseen = True
            self.tell(self._forecast(progress))
        parts = [f"{progress.done:,} of {progress.total:,}"]
        if progress.skipped:
            parts.append(f"{len(progress.skipped):,} left out")
        if self._quality is not None and progress.reached < progress.done:
            parts.append(f"{progress.done - progress.reached:,} missed it")
        if not math.isnan(progress.quality[1]):
            parts.append(f"worst {self._measure.tell(progress.quality[0])}, mean {progress.quality[1]:.1f}")
        if not math.isnan(progress.seconds_left):
            parts.append(f"{duration(progress.seconds_left)} left")
        self.show(progress.done / max(1, progress.total), "  ".join(parts))

    def _forecast(self, progress: SetProgress) -> str:
        left = progress.total - progress.done
        longest = duration(left * progress.steps / progress.speed)
        rate = f"{progress.speed:,.0f} steps/s over all signals"
        if self._quality is None:
            return f"{left:,} signals of {progress.steps:,} steps at {rate}: about {longest}"
        return f"{left:,} signals of up to {progress.steps:,} steps at {rate}: at most {longest}"
