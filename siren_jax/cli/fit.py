"""`siren-jax fit`: a picture, a sound, a video or a shape becomes a SIREN."""

import importlib.resources
import json
import math
import os
import sys
from dataclasses import dataclass
from typing import Annotated, Literal

import jax
import tyro
from flax import nnx

from siren_jax.cli.options import optional
from siren_jax.cli.picture import Picture
from siren_jax.cli.session import Session
from siren_jax.cli.shape import Scan
from siren_jax.cli.sound import Recording
from siren_jax.cli.subject import Subject
from siren_jax.cli.video import Clip
from siren_jax.errors import InputError
from siren_jax.fit import fit
from siren_jax.network import SIREN, ReLUMLP
from siren_jax.recipes import (
    PAPER,
    PAPER_SHAPE,
    PAPER_SOUND,
    PAPER_VIDEO,
    TARGETS,
    TUNED,
    TUNED_SHAPE,
    TUNED_VIDEO,
    Recipe,
    constant,
    cosine_decay,
)
from siren_jax.signals import PixelDataset, kind_of, load_image, load_sound, load_surface, load_video
from siren_jax.signals.scan import SAMPLES
from siren_jax.storage import LIMITS, MAX_OMEGA, Network

SCHEDULES = {"cosine": cosine_decay, "constant": constant}
OF_SHAPES = ("samples", "target_chamfer")  # options that say nothing about other kinds
WIDTHS = {"video": 1024}  # as in the paper; of other kinds 256
MAX_WEIGHTS = 2**28  # 1 GiB of float32, of which Adam and the last good state keep four


@dataclass(frozen=True)
class Fit:
    """Fit a network to a picture's values, gradient or Laplacian, to a sound, a video or a shape; write the network,
    the reconstruction and figures."""

    file: Annotated[tyro.conf.Positional[str | None], optional("[FILE]", "scikit-image's photograph camera")] = None
    """Picture: grey, RGB or RGBA, 8 or 16 bits. Sound: WAV, FLAC or OGG, any channels and rate. Video: MP4, GIF
    and what else FFmpeg reads. Shape: PLY, OBJ, STL or XYZ, a mesh or a cloud of points."""
    target: Literal["values", "gradient", "laplacian", "mixed"] = "values"
    """What the network is trained on, of a picture. `mixed` is all three, weighed by --weights."""
    weights: Annotated[tuple[float, float, float], tyro.conf.arg(metavar="VALUE GRADIENT LAPLACIAN")] = (1.0, 0.1, 0.01)
    """Of the terms of `mixed`. Gradient and Laplacian errors are relative to the target's mean square."""
    integral_weight: Annotated[float | None, optional("W", "1, or 0 with --recipe paper")] = None
    """Of the integral form of `gradient` and `laplacian`, which pins the broad tones. 0 is the paper's loss."""
    recipe: Literal["tuned", "paper"] = "tuned"
    """How the network begins and learns: `tuned` for quality within a short budget, or as in the paper: Adam 1e-4,
    constant, on the whole signal at every step. --omega, --weight-scale, --batch-size, --learning-rate, --schedule and
    --integral-weight replace its parts."""
    model: Literal["siren", "relu"] = "siren"
    """The network: sines, or the ReLU baseline."""
    width: Annotated[int | None, optional("N", "256, of videos 1024")] = None
    """Units of a hidden layer."""
    depth: int = 3
    """Hidden layers after the first."""
    omega: Annotated[
        str | None,
        optional(
            "auto|OMEGA", "auto for values of pictures and sounds, else 30; with --recipe paper 30, of sounds 3000"
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
        int | None, optional("N", "2000 for values, 4000 for a video, else 1000; no limit with --seconds")
    ] = None
    """Stop after so many steps. Repeatable to the last bit from the seed."""
    seconds: Annotated[float | None, optional("S", "no limit")] = None
    """Stop after so many seconds of fitting, compilation not counted."""
    target_psnr: Annotated[float | None, optional("DB", "none")] = None
    """Stop as soon as the PSNR over all pixels, or 65,536 of a video's, reaches so many dB."""
    target_snr: Annotated[float | None, optional("DB", "none")] = None
    """Likewise, the SNR of a sound."""
    target_chamfer: Annotated[float | None, optional("PERCENT", "none")] = None
    """Likewise, the Chamfer distance of a shape, as soon as it is as small, in percent of its box's diagonal."""
    batch_size: Annotated[
        str | None, optional("N|full", "2048 for values, else 4096; all if there are fewer or with --recipe paper")
    ] = None
    """Pixels or samples of a step, or `full` for the whole signal."""
    learning_rate: Annotated[
        float | None, optional("RATE", "0.00025 for values, else 0.0003; 0.0001 with --recipe paper")
    ] = None
    """Of Adam. In the first layer at most 0.015 / omega, but with --recipe paper."""
    schedule: Annotated[
        Literal["cosine", "constant"] | None, optional("{cosine,constant}", "cosine, or constant with --recipe paper")
    ] = None
    """Of the learning rate: to zero over the budget along a cosine, or constant."""
    downsample: int = 1
    """Divide both sides, or the samples a second, by this whole number first, with anti-aliasing."""
    size: Annotated[int | None, optional("N", "as it is")] = None
    """Resize a picture or a video first so that the longer side has so many pixels, with anti-aliasing."""
    between: Annotated[tuple[float, float] | None, optional("START STOP", "all of it")] = None
    """Part of a sound or a video, in seconds."""
    keep_alpha: bool = False
    """Keep transparency as a fourth channel. Otherwise the picture is laid over white."""
    samples: Annotated[int | None, optional("N", f"{SAMPLES}")] = None
    """Points that are drawn from a mesh."""
    seed: int = 0
    """Of the initial weights and of every batch."""
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

    def run(self) -> int:
        self._check()
        path = self.file
        if path is None:  # not through skimage.data.camera(), which imports for a second
            path = str(importlib.resources.files("skimage") / "data" / "camera.png")
        name, kind = os.path.splitext(os.path.basename(path))[0], kind_of(path)
        self._check_size(self._width(kind))
        recipe = self._recipe(kind)
        subject = self._load(path, kind, recipe)
        sample = subject.sampler(self._batch_size(subject.points, recipe))
        session = Session(
            self.out or os.path.join("out", name),
            name,
            subject,
            target=getattr(self, f"target_{subject.measure.name}"),
            preview_every=self.preview_every,
            tensorboard=self.tensorboard,
            overwrite=self.overwrite,
        )
        network, omega_from = self._network(subject, recipe, self._width(kind))
        with session.reporter:
            fitted = fit(
                network,
                subject.objective,
                sample,
                key=jax.random.key(self.seed),
                steps=recipe.steps if self.steps is None and self.seconds is None else self.steps,
                seconds=self.seconds,
                optimizer=recipe.optimizer(getattr(network, "first_omega", None)),
                schedule=recipe.schedule,
                weights=subject.weights,
                watch=session.watch,
            )
        record = {
            "target": self.target,
            "recipe": self.recipe,
            "omega_from": omega_from,
            "learning_rate": recipe.learning_rate,
            "seed": self.seed,
        }
        summary = session.finish(fitted, record)
        self._tell(subject, summary, fitted.message)
        return {"non-finite": 1, "interrupt": 130}.get(fitted.stopped_by, 0)

    def _recipe(self, kind: str) -> Recipe:
        """The recipe for a kind of signal, with what the options replace."""
        recipe = {"video": TUNED_VIDEO, "shape": TUNED_SHAPE}.get(kind, TUNED[self.target])
        if self.recipe == "paper":
            recipe = {"sound": PAPER_SOUND, "video": PAPER_VIDEO, "shape": PAPER_SHAPE}.get(kind, PAPER)
        given = {
            "learning_rate": self.learning_rate,
            "schedule": SCHEDULES.get(self.schedule or ""),
            "weight_scale": self.weight_scale,
            "integral_weight": self.integral_weight,
        }
        recipe = recipe._replace(**{name: value for name, value in given.items() if value is not None})
        if self.omega is None:
            return recipe
        return recipe._replace(first_omega=None if self.omega == "auto" else float(self.omega))

    def _check(self) -> None:
        """Refuses settings that cannot be meant, before anything is read."""
        for name in (
            "steps",
            "seconds",
            "target_psnr",
            "target_snr",
            "target_chamfer",
            "samples",
            "learning_rate",
            "hidden_omega",
            "weight_scale",
            "preview_every",
            "size",
        ):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"--{name.replace('_', '-')} takes a positive number, but is {value:g}.")
        if self.omega not in (None, "auto") and not 0 < _number(self.omega) < MAX_OMEGA:
            raise InputError(f"--omega takes a positive number below {MAX_OMEGA:g} or 'auto', but is {self.omega!r}.")
        if not self.hidden_omega < MAX_OMEGA:
            raise InputError(f"--hidden-omega takes a number below {MAX_OMEGA:g}, but is {self.hidden_omega:g}.")
        if self.model == "relu" and (self.omega or self.weight_scale):
            raise InputError("--omega and --weight-scale are of sine networks; leave them out with --model relu.")
        if self.integral_weight is not None and self.target not in ("gradient", "laplacian"):
            raise InputError("--integral-weight is of --target gradient and laplacian; leave it out with others.")
        if self.downsample < 1:
            raise InputError(f"--downsample takes a whole number from 1 on, but is {self.downsample}.")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"--seed takes a whole number from 0 to {2**32 - 1}, but is {self.seed}.")
        weights = (*self.weights, self.integral_weight or 0.0)
        if not all(0 <= w < math.inf for w in weights) or not any(self.weights):
            raise InputError(
                f"weights are finite, not negative and not all zero, but are {' '.join(map(str, weights))}."
            )

    def _width(self, kind: str) -> int:
        return WIDTHS.get(kind, 256) if self.width is None else self.width

    def _check_size(self, width: int) -> None:
        """Refuses networks that cannot be."""
        for name, value, least in (("width", width, 1), ("depth", self.depth, 0)):
            if not least <= value <= LIMITS[name]:
                raise InputError(f"--{name} takes a whole number from {least} to {LIMITS[name]}, but is {value}.")
        if self.depth * width**2 > MAX_WEIGHTS:
            raise InputError(f"--width {width} and --depth {self.depth} make over {MAX_WEIGHTS:,} weights; take less.")

    def _load(self, path: str, kind: str, recipe: Recipe) -> Subject:
        if kind == "sound":
            self._refuse_with("a sound", ("target", "size", "keep_alpha", "target_psnr", *OF_SHAPES))
            return Recording(load_sound(path, downsample=self.downsample, between=self.between))
        if kind == "video":
            self._refuse_with("a video", ("target", "keep_alpha", "target_snr", *OF_SHAPES))
            return Clip(load_video(path, downsample=self.downsample, size=self.size, between=self.between))
        if kind == "shape":
            others = ("target", "weights", "downsample", "size", "between", "keep_alpha", "target_psnr", "target_snr")
            self._refuse_with("a shape", others)
            return Scan(load_surface(path, samples=self.samples or SAMPLES, seed=self.seed), self.recipe)
        self._refuse_with("a picture", ("target_snr", "between", *OF_SHAPES))
        values = load_image(path, keep_alpha=self.keep_alpha, downsample=self.downsample, size=self.size)
        weights = dict(zip(TARGETS["mixed"], self.weights, strict=True)) if self.target == "mixed" else {}
        return Picture(PixelDataset(values), self.target, weights, recipe.integral_weight)

    def _refuse_with(self, signal: str, names: tuple[str, ...]) -> None:
        """Refuses options that say nothing about a kind of signal."""
        for name in names:
            if getattr(self, name) != Fit.__dataclass_fields__[name].default:
                raise InputError(f"--{name.replace('_', '-')} does not apply to {signal}; leave it out.")

    def _batch_size(self, samples: int, recipe: Recipe) -> int:
        if self.batch_size is None:
            return min(recipe.batch_size or samples, samples)
        if self.batch_size == "full":
            return samples
        if not self.batch_size.isdecimal():
            raise InputError(f"--batch-size takes a number of samples or 'full', but is {self.batch_size!r}.")
        return int(self.batch_size)

    def _network(self, subject: Subject, recipe: Recipe, width: int) -> tuple[Network, str]:
        """The network, and where its first omega comes from."""
        rngs = nnx.Rngs(self.seed)
        if self.model == "relu":
            return ReLUMLP(*subject.features, width=width, depth=self.depth, rngs=rngs), "none"
        first_omega, reason = recipe.first_omega, "option" if self.omega else f"recipe {self.recipe}"
        if first_omega is None:
            first_omega, reason = subject.choose_omega()
            print(f"omega {first_omega:.4g}: {reason}", file=sys.stderr)
        network = SIREN(
            *subject.features,
            width=width,
            depth=self.depth,
            first_omega=first_omega,
            omega=self.hidden_omega,
            weight_scale=recipe.weight_scale,
            rngs=rngs,
        )
        return network, reason

    def _tell(self, subject: Subject, summary: dict, message: str) -> None:
        if message:
            print(f"siren-jax: stopped {message}; the last good network was written.", file=sys.stderr)
        elif summary["stopped_by"] == "interrupt":
            print("siren-jax: interrupted; what was learned was written.", file=sys.stderr)
        quality = subject.measure.tell(summary[subject.measure.name], further=1)
        note = f" ({subject.note})" if subject.note else ""
        print(f"{quality}{note} after {summary['steps']:,} steps in {summary['seconds']:.1f} s")
        for path in summary["files"]:
            print(f"  {path}")
        if self.json:
            print(json.dumps(summary))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
