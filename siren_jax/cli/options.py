"""Options of a fit that every command with one shares: the network, how it learns, and where the results go."""

import math
import os
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import jax
import tyro
from flax import nnx

from siren_jax.errors import InputError
from siren_jax.files.siren_file import LIMITS, MAX_OMEGA, Network
from siren_jax.fitting.recipes import Recipe, constant, cosine_decay, inverse_root
from siren_jax.networks.relu import ReLUMLP
from siren_jax.subjects.one_call import make_network
from siren_jax.subjects.subject import Subject

SCHEDULES = {"cosine": cosine_decay, "inverse-root": inverse_root, "constant": constant}
DEPTH = 3
MAX_WEIGHTS = 2**28  # 1 GiB of float32, of which a fit keeps ten, see `memory`


def optional(metavar: str, default: str):
    """How the help shows an option that may be left out."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


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
    """Stop as soon as the PSNR over all pixels, or 65,536 of a video's, reaches this many dB. --steps and --seconds
    then limit the fit; without them it gives up after ten times the usual number of steps."""
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
        Literal["cosine", "inverse-root", "constant"] | None,
        optional("{cosine,inverse-root,constant}", "cosine; inverse-root with a target, constant with --recipe paper"),
    ] = None
    """How the learning rate falls. `cosine`: to zero at the end of the budget. `inverse-root`: as 1/√step, with the
    average of the weights over the last tenth of the steps as the result: good at any step, for a target or Ctrl-C.
    `constant`: not at all, for comparisons with the paper; the tuned rate then leaves the network noisy, so give a
    lower --learning-rate."""
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
        key = jax.random.key(self.seed)
        if self.model == "relu":
            return ReLUMLP(*subject.features, width=width, depth=depth, rngs=nnx.Rngs(key)), "none"
        network, reason = make_network(subject, recipe, width, depth, self.hidden_omega, key)
        if recipe.first_omega is None:
            print(f"omega {network.first_omega:.4g}: {reason}", file=sys.stderr)
        elif self.omega:
            reason = "option"
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
    --target-... A target added to a fit that began without one also needs --schedule cosine, as it began."""
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
        if self.resume == "":
            raise InputError("--resume takes the directory of a fit, but is empty.")
        if self.resume is not None and (self.out is not None or self.overwrite):
            raise InputError("--resume continues in its own directory; leave out --out and --overwrite.")

    def directory(self, name: str) -> str:
        """Where a fit of so named a signal goes."""
        return self.resume or self.out or os.path.join("out", name)


def check_positive(options: Any, names: tuple[str, ...]) -> None:
    """Refuses options that are given and not positive numbers."""
    for name in names:
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name.replace('_', '-')} takes a positive number, but is {value:g}.")


def check_values(values: tuple[float, float] | None, no_data: float | None) -> None:
    """Refuses --values and --no-data that cannot be meant."""
    if values is not None and not -math.inf < values[0] < values[1] < math.inf:
        raise InputError(f"--values takes two numbers, the lower one first, but is {values[0]:g} {values[1]:g}.")
    if no_data is not None and math.isnan(no_data):
        raise InputError("--no-data takes a number; pixels that are NaN are left out without it.")


def number(text: str) -> float:
    """The text as a number, NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
