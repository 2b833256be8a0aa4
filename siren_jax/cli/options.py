"""Options that several commands have: the network, its training, the output, and how signals are read."""

import math
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from siren_jax._types import SignalName
from siren_jax.cli.defaults import by_kind, by_recipe
from siren_jax.cli.helptext import documented, optional
from siren_jax.errors import InputError
from siren_jax.fields.tiles import AXIS
from siren_jax.files.set_file import PART, SUFFIX
from siren_jax.files.siren_file import MAX_OMEGA, Network
from siren_jax.fitting.recipes import Recipe, constant, cosine_decay, inverse_root
from siren_jax.networks.relu import ReLUMLP
from siren_jax.sets.signals import Signals
from siren_jax.sets.writer import MANIFEST
from siren_jax.subjects.procedure import DEPTH, OMEGA, check_sizes, make_network
from siren_jax.subjects.start import read_start, started
from siren_jax.subjects.subject import Subject

SCHEDULES = {"cosine": cosine_decay, "inverse-root": inverse_root, "constant": constant}
VIRTUAL = 64  # most devices that a CPU is divided into


@dataclass(frozen=True)
@documented
class Training:
    """The network and its training. The defaults come from the recipe for the kind of signal."""

    model: Literal["siren", "relu"] = "siren"
    """Type of the network: a sine network (siren), or a ReLU network as a baseline (relu)."""
    width: Annotated[int | None, optional("N", by_kind(lambda kind: kind.width))] = None
    """Number of units per hidden layer. More units represent finer detail and take longer."""
    depth: Annotated[int | None, optional("N", f"{DEPTH}; each equation has its own")] = None
    """Number of hidden layers after the first one."""
    first_omega: Annotated[
        str | None, optional("auto|OMEGA", by_recipe(lambda recipe: recipe.first_omega or "auto"))
    ] = None
    """Frequency factor of the first layer. A higher value represents finer detail. `auto` measures the frequencies of
    the signal; it is not available for shapes and equations, and its value is too high for videos."""
    omega: float = OMEGA
    """Frequency factor of the layers after the first one."""
    start: Annotated[str | None, optional("photos|FILE", "random weights")] = None
    """Initial weights: `photos` for those that were learned from photographs, a file of `siren-jax learn
    --start-only`, or any other `.siren` file with as many coordinates, such as an earlier fit. The network has the
    width, the depth and the omegas of the start; the first omega of a learned start is that of the signal."""
    weight_scale: Annotated[float | None, optional("FACTOR", by_recipe(lambda recipe: recipe.weight_scale))] = None
    """Factor on the initial weights of the sine layers after the first one. A higher value learns detail sooner."""
    steps: Annotated[
        int | None, optional("N", f"{by_recipe(lambda recipe: recipe.steps)}; no limit with --seconds")
    ] = None
    """Stop after this many steps. If this is the only limit, the same --seed gives the same result to the last bit."""
    seconds: Annotated[float | None, optional("S", "no limit")] = None
    """Stop after this many seconds of fitting, not counting compilation."""
    target_psnr: Annotated[float | None, optional("DB", "none")] = None
    """Stop as soon as the PSNR over all pixels, or over 65,536 pixels of a video, reaches this many dB. --steps and
    --seconds then limit the fit; without them, the fit gives up after ten times the default number of steps."""
    batch_size: Annotated[
        str | None,
        optional("N|full", by_recipe(lambda recipe: recipe.batch_size or "full", "each equation has its own")),
    ] = None
    """Number of points per step, at most that of the signal. `full` uses the whole signal in every step."""
    learning_rate: Annotated[float | None, optional("RATE", by_recipe(lambda recipe: recipe.learning_rate))] = None
    """Learning rate of Adam. The default is lowered for networks wider than 256. In the first layer, the rate is at
    most 0.015 / first omega. --recipe paper does neither."""
    schedule: Annotated[
        Literal["cosine", "inverse-root", "constant"] | None,
        optional(
            "{cosine,inverse-root,constant}",
            f"{by_recipe(lambda recipe: recipe.schedule, equations='')}; inverse-root with a target",
        ),
    ] = None
    """Decay of the learning rate. `cosine` decays to zero at the end of the budget. `inverse-root` decays as 1/√step,
    and the result is the average of the weights over the last tenth of the steps, so that it is good at any step: for a
    target, or to stop with Ctrl-C. `constant` does not decay, for comparisons with the paper; at the tuned rate, the
    network then stays noisy, so give a lower --learning-rate."""
    seed: int = 0
    """Seed of the initial weights and of every batch."""
    skip_nonfinite: int = 0
    """Number of consecutive steps with an infinite or NaN loss or gradient that are skipped: they change nothing and
    are counted. One more ends the fit."""
    devices: Annotated[int | None, optional("N", "one device, without the code for several")] = None
    """Divide the points of every step among the first N devices: GPUs, or virtual devices on a CPU. 1, 2, 4 and 8
    devices give the same result except for rounding. Every device has a copy of the signal. One device uses all cores
    of a CPU, so there this option is for trials."""

    def check(self, depth: int = DEPTH) -> None:
        """Refuses invalid settings before any file is read. The depth is that of the network, unless one is given."""
        positive = ("steps", "seconds", "target_psnr", "learning_rate", "omega", "weight_scale")
        check_positive(self, positive)
        if self.first_omega not in (None, "auto") and not 0 < number(self.first_omega) < MAX_OMEGA:
            raise InputError(
                f"--first-omega takes a positive number below {MAX_OMEGA:g} or 'auto', but is {self.first_omega!r}."
            )
        if not self.omega < MAX_OMEGA:
            raise InputError(f"--omega takes a number below {MAX_OMEGA:g}, but is {self.omega:g}.")
        if self.model == "relu" and (self.first_omega or self.weight_scale):
            raise InputError("--first-omega and --weight-scale apply to sine networks only; leave them out.")
        if self.start is not None:
            self._check_start()
        if self.skip_nonfinite < 0:
            raise InputError(f"--skip-nonfinite takes a number of steps, 0 for none, but is {self.skip_nonfinite}.")
        check_seed(self.seed)
        self.sizes(1, depth)
        self.mesh()

    def _check_start(self) -> None:
        own = {"model": "siren", "width": None, "depth": None, "omega": OMEGA, "weight_scale": None}
        if given := [name for name, default in own.items() if getattr(self, name) != default]:
            raise InputError(f"a start has its own network; leave out --{given[0].replace('_', '-')}, or --start.")

    def mesh(self) -> Mesh | None:
        """The devices that share the points of a step; None without --devices. Refuses more than there are."""
        return None if self.devices is None else mesh_of(self.devices, AXIS)

    def sizes(self, width: int, depth: int = DEPTH) -> tuple[int, int]:
        """Width and depth: of the start, else of the options, else the arguments. Refuses invalid sizes."""
        if self.start is not None:
            network = read_start(self.start).network
            return network.width, network.depth
        width = width if self.width is None else self.width
        depth = depth if self.depth is None else self.depth
        check_sizes(width, depth)
        return width, depth

    def recipe(self, base: Recipe) -> Recipe:
        """A recipe with the settings that the options replace."""
        given = {
            "learning_rate": self.learning_rate,
            "schedule": SCHEDULES.get(self.schedule or ""),
            "weight_scale": self.weight_scale,
        }
        recipe = base._replace(**{name: value for name, value in given.items() if value is not None})
        if self.learning_rate is not None:
            recipe = recipe._replace(for_width=None)
        if self.first_omega is None:
            return recipe
        return recipe._replace(first_omega=None if self.first_omega == "auto" else float(self.first_omega))

    def batch(self, points: int, recipe: Recipe) -> int:
        """Number of points per step."""
        if self.batch_size is None:
            return min(recipe.batch_size or points, points)
        if self.batch_size == "full":
            return points
        if not self.batch_size.isdecimal():
            raise InputError(f"--batch-size takes a number of samples or 'full', but is {self.batch_size!r}.")
        return int(self.batch_size)

    def network(self, subject: Subject, recipe: Recipe, width: int, depth: int) -> tuple[Network, str]:
        """The initial network, and the source of its first omega."""
        key = jax.random.key(self.seed)
        if self.model == "relu":
            return ReLUMLP(*subject.features, width=width, depth=depth, rngs=nnx.Rngs(key)), "none"
        if self.start is None:
            network, reason = make_network(subject, recipe, width, depth, self.omega, key)
        else:
            network, reason = started(read_start(self.start), subject, recipe, keep_omega=self.first_omega is None)
        if recipe.first_omega is None and reason != "start":
            print(f"omega {network.first_omega:.4g}: {reason}", file=sys.stderr)
        elif self.first_omega:
            reason = "option"
        return network, reason


@dataclass(frozen=True)
@documented
class Output:
    """Directory and contents of the output."""

    out: Annotated[str | None, optional("DIR", "out/NAME")] = None
    """Directory of the results."""
    overwrite: bool = False
    """Replace the results of an earlier fit in the directory."""
    resume: Annotated[str | None, optional("DIR", "none")] = None
    """Continue the interrupted fit in this directory. All settings must be the same, except --steps, --seconds,
    --refine, --skip-nonfinite, --devices and --target-... To add a target to a fit that began without one, also give
    --schedule cosine, the schedule that it began with."""
    checkpoint_every: float = 30.0
    """Seconds between checkpoints, from which --resume continues. The interval grows if checkpoints would take more
    than 1 % of the time."""
    no_figures: bool = False
    """Write only the signal, the network and the metrics, without comparison.png, curve.png and the picture for
    TensorBoard. Saves about a second per fit."""
    live: bool = False
    """Open a page in the browser that shows the function and the learning curve while the fit runs, every second. Only
    this computer can open its address. The page takes time from a fit on the same processor."""
    preview_every: Annotated[int | None, optional("N", "never")] = None
    """Write the comparison figure to OUT/preview every N steps during the fit."""
    tensorboard: bool = False
    """Write scalars, pictures and histograms of the weights to OUT/tensorboard; needs the extra `tensorboard`."""
    json: bool = False
    """Print the metrics as one JSON object on the last line of the output."""

    def check(self) -> None:
        """Refuses invalid settings."""
        check_positive(self, ("preview_every", "checkpoint_every"))
        if self.preview_every is not None and self.no_figures:
            raise InputError("--preview-every writes figures; leave out --no-figures, or --preview-every.")
        if self.resume == "":
            raise InputError("--resume takes the directory of a fit, but is empty.")
        if self.resume is not None and (self.out is not None or self.overwrite):
            raise InputError("--resume continues in its own directory; leave out --out and --overwrite.")

    def directory(self, name: str) -> str:
        """Directory for the results of a signal with this name."""
        return self.resume or self.out or os.path.join("out", name)


@dataclass(frozen=True)
@documented
class Opening:
    """How the signals are read."""

    kind: Annotated[SignalName | None, optional("KIND", "that of the files")] = None
    """Kind of the signals: image, sound or video."""
    size: Annotated[int | None, optional("N", "the file's own")] = None
    """Resize each picture or video so that its longer side has N pixels, with an anti-aliasing filter."""
    downsample: int = 1
    """Divide both sides of a picture or a video, or the samples per second of a sound, by this whole number."""
    between: Annotated[tuple[float, float] | None, optional("START STOP", "all of it")] = None
    """Read only this part of each sound or video, in seconds. Those that end before STOP are left out."""
    keep_alpha: bool = False
    """Read the transparency of pictures as the last channel. By default, they are composited over white."""

    def check(self) -> None:
        """Refuses invalid settings before any file is read."""
        check_positive(self, ("size", "downsample"))

    def signals(self, source: str | list[str], labels: str | None = None) -> Signals:
        """The signals of a folder or of some files."""
        names = ("size", "downsample", "between", "keep_alpha")
        given = {name: getattr(self, name) for name in names if getattr(self, name) != getattr(Opening, name)}
        return Signals(source, kind=self.kind, labels=labels, **given)


def mesh_of(count: int | None, axis: str) -> Mesh:
    """A mesh of this many devices. Without a number, all GPUs or one virtual device for each core of the CPU.

    A CPU is divided into virtual devices if JAX has not been used before.

    Raises:
        InputError: there are fewer.
    """
    if count is not None and count < 1:
        raise InputError(f"--devices takes a number of devices, at least 1, but is {count}.")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(RuntimeError):  # JAX has been used
        jax.config.update("jax_num_cpu_devices", min(count or cores, VIRTUAL))
    there = jax.local_devices()
    if count is not None and len(there) < count:
        raise InputError(
            f"--devices is {count}, but the number of devices here is {len(there)} ({there[0].device_kind}); give at "
            "most that."
        )
    return Mesh(np.array(there[:count]), (axis,))


def check_positive(options: Any, names: tuple[str, ...]) -> None:
    """Refuses options that are given and not positive numbers."""
    for name in names:
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name.replace('_', '-')} takes a positive number, but is {value:g}.")


def check_seed(seed: int) -> None:
    """Refuses a seed that random keys do not take."""
    if not 0 <= seed < 2**32:
        raise InputError(f"--seed takes a whole number from 0 to {2**32 - 1}, but is {seed}.")


def check_set(folder: str, *, resume: bool, part: bool = False) -> None:
    """Refuses a folder that contains a set, unless it is resumed, and one without a set, if it is.

    Args:
        folder: where a set is to be written.
        resume: whether to continue the set.
        part: whether this process writes a part of it, which may have been begun by others.
    """
    there = os.path.isdir(folder) and any(name.endswith((SUFFIX, PART, MANIFEST)) for name in os.listdir(folder))
    if there and not resume and not part:
        raise InputError(f"{folder!r} contains a set; continue it or add to it with --resume, or choose another --out.")
    if resume and not there:
        raise InputError(f"there is no set to resume in {folder!r}; leave out --resume.")
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise InputError(f"--out is a folder, but {folder!r} is a file.")


def check_files(folder: str, names: Sequence[str], *, overwrite: bool) -> None:
    """Refuses files that exist in a folder or cannot be written there, before anything is computed."""
    if folders := [name for name in names if os.path.isdir(os.path.join(folder, name))]:
        raise InputError(f"{os.path.join(folder, folders[0])!r} is a folder, where a file is to be written.")
    if not overwrite and (there := [name for name in names if os.path.lexists(os.path.join(folder, name))]):
        path = os.path.join(folder, there[0])
        raise InputError(f"{path!r} exists; choose another --out, or allow it to be replaced with --overwrite.")
    try:
        if os.path.exists(folder or "."):
            tempfile.TemporaryFile(dir=folder or ".").close()
    except OSError as error:
        raise InputError(f"{os.path.join(folder, names[0])!r} cannot be written: {error.strerror}.") from None


def check_values(values: tuple[float, float] | None, no_data: float | None) -> None:
    """Refuses invalid --values and --no-data."""
    if values is not None and not -math.inf < values[0] < values[1] < math.inf:
        raise InputError(f"--values takes two numbers, the lower one first, but is {values[0]:g} {values[1]:g}.")
    if no_data is not None and math.isnan(no_data):
        raise InputError("--no-data takes a number; pixels that are NaN are left out without it.")


def number(text: str) -> float:
    """The text as a number; NaN if it is not one."""
    try:
        return float(text)
    except ValueError:
        return math.nan
