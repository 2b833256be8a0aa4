"""`siren-jax fit`: fits a SIREN to a picture, a sound, a video or a shape."""

import importlib.resources
import math
import os
import sys
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from siren_jax._types import RecipeName, Target
from siren_jax.cli.console import as_options
from siren_jax.cli.helptext import documented, optional
from siren_jax.cli.options import Output, Training, check_positive, check_values
from siren_jax.cli.training import train
from siren_jax.errors import InputError
from siren_jax.fitting.recipes import PAPER, TUNED
from siren_jax.shapes.loading import SAMPLES
from siren_jax.subjects.kinds import SIGNALS, SignalKind, kind_of_source
from siren_jax.subjects.picture import MIXED

# Options that only some kinds of signals have. "integral_weight" is checked with the target, "recipe" and "seed" are
# options of all kinds, and the command has no "rate".
OPENING = set.union(*(kind.open_options for kind in SIGNALS.values())) - {"integral_weight", "recipe", "seed", "rate"}


@dataclass(frozen=True)
@documented
class Fit:
    """Fit a network to a picture's values, gradient or Laplacian, to a sound, a video or a shape; write the network,
    the reconstruction and figures."""

    file: Annotated[tyro.conf.Positional[str | None], optional("[FILE]", "scikit-image's photograph camera")] = None
    """File of the signal. Pictures: grey, RGB, RGBA or more channels, 8, 16 or 32 bits or floats, as TIFF, FITS, NPY,
    in every format that Pillow reads and, with the extra `heif`, HEIC. Sounds: WAV, FLAC, OGG, MP3, M4A and others.
    Videos: MP4, GIF and every format that FFmpeg reads, up to 1 GiB of decoded frames; the fit needs three times that
    memory. Shapes: a mesh or a point cloud as PLY, OBJ, STL, OFF, GLB, 3MF or XYZ."""
    target: Target = "values"
    """Quantity of a picture that the network is fitted to. `mixed` fits values, gradient and Laplacian, weighted by
    --weights."""
    weights: Annotated[
        tuple[float, float, float] | None,
        optional("VALUE GRADIENT LAPLACIAN", " ".join(f"{weight:g}" for weight in MIXED)),
    ] = None
    """Weights of values, gradient and Laplacian in `--target mixed`. Squared errors of the gradient and of the
    Laplacian are divided by their mean square in the picture."""
    integral_weight: Annotated[
        float | None,
        optional("W", f"{TUNED['gradient'].integral_weight:g}, or {PAPER.integral_weight:g} with --recipe paper"),
    ] = None
    """Weight of the integral form in `--target gradient` and `--target laplacian`, which determines large-scale tones.
    0 gives the paper's loss."""
    recipe: RecipeName = "tuned"
    """Settings of the network and of the fit: `tuned` for quality within a short budget, or `paper` for those of the
    paper: Adam at a constant rate, with a whole picture or sound in every step. --first-omega, --weight-scale,
    --batch-size, --learning-rate, --schedule and --integral-weight replace single settings."""
    target_snr: Annotated[float | None, optional("DB", "none")] = None
    """Stop as soon as the SNR of the sound reaches this many dB. --steps and --seconds then limit the fit; without
    them, the fit gives up after ten times the default number of steps."""
    target_chamfer: Annotated[float | None, optional("PERCENT", "none")] = None
    """Stop as soon as the Chamfer distance of the shape is no larger than this many percent of its box's diagonal.
    --steps and --seconds then limit the fit; without them, the fit gives up after ten times the default number of
    steps."""
    downsample: int = 1
    """Divide both sides of a picture or a video, or the samples per second of a sound, by this whole number before
    the fit, with an anti-aliasing filter."""
    size: Annotated[int | None, optional("N", "the file's own")] = None
    """Resize a picture or a video before the fit so that its longer side has N pixels, with an anti-aliasing
    filter."""
    between: Annotated[tuple[float, float] | None, optional("START STOP", "all of it")] = None
    """Fit only this part of a sound or a video, in seconds."""
    keep_alpha: bool = False
    """Fit the transparency of a picture as its last channel. By default, the picture is composited over white."""
    values: Annotated[
        tuple[float, float] | None,
        optional("LOW HIGH", "the range of 8 or 16 bits; for floats 0 and 1, or the least and the greatest value"),
    ] = None
    """Numbers in a picture's file that mean black and white. The field then returns the file's own numbers, as it also
    does for floats and 32 bits."""
    no_data: Annotated[float | None, optional("NUMBER", "the one in the file's header")] = None
    """Number in a picture's file that marks pixels without a value. The fit leaves out these pixels and those that are
    NaN."""
    samples: Annotated[int | None, optional("N", f"{SAMPLES}")] = None
    """Number of points to draw from a mesh."""
    flip_normals: bool = False
    """Reverse all normals of a shape, after their orientation is corrected: exchanges inside and outside."""
    training: tyro.conf.OmitArgPrefixes[Training] = field(default_factory=Training)
    output: tyro.conf.OmitArgPrefixes[Output] = field(default_factory=Output)

    def run(self) -> int:
        self._check()
        path = self.file
        if path is None:  # skimage.data.camera() takes a second to import
            path = str(importlib.resources.files("skimage") / "data" / "camera.png")
        name, kind = os.path.splitext(os.path.basename(path))[0], kind_of_source(path)
        self.training.sizes(kind.width)
        self._refuse_others(kind)
        if self.weights is not None and self.target != "mixed":
            raise InputError("--weights applies to --target mixed only; leave it out.")
        recipe = kind.recipe(self.recipe, self.target)
        if self.integral_weight is not None:
            recipe = recipe._replace(integral_weight=self.integral_weight)
        recipe = self.training.recipe(recipe)
        own = {"recipe": self.recipe, "seed": self.training.seed, "integral_weight": recipe.integral_weight}
        options = {option: own[option] if option in own else getattr(self, option) for option in self._options(kind)}
        subject = kind.open(path, **options)
        for note in subject.notes:
            print(as_options(note, self), file=sys.stderr)
        record = {"target": self.target, "recipe": self.recipe}
        target = self._target(kind.measure.name)
        return train(self, {"file": path}, subject, name, recipe, record, width=kind.width, target=target)

    def _target(self, measure: str) -> float | None:
        """The value of the option `--target-MEASURE`."""
        return getattr(self if hasattr(self, f"target_{measure}") else self.training, f"target_{measure}")

    def _options(self, kind: SignalKind) -> set[str]:
        """Options of the command that `kind.open` takes: all but the rate, which a file contains."""
        return kind.open_options - {"rate"}

    def _refuse_others(self, kind: SignalKind) -> None:
        """Refuses options that do not apply to a kind of signal."""
        targets = {f"target_{row.measure.name}" for row in SIGNALS.values()}
        for name in sorted(OPENING | targets):
            if name in self._options(kind) or name == f"target_{kind.measure.name}":
                continue
            options = self.training if hasattr(self.training, name) else self
            if getattr(options, name) != options.__dataclass_fields__[name].default:
                raise InputError(f"--{name.replace('_', '-')} does not apply to {kind.noun}; leave it out.")

    def _check(self) -> None:
        """Refuses invalid settings, before anything is read."""
        self.training.check()
        self.output.check()
        check_positive(self, ("target_snr", "target_chamfer", "samples", "size"))
        if self.integral_weight is not None and self.target not in ("gradient", "laplacian"):
            raise InputError("--integral-weight applies to --target gradient and laplacian only; leave it out.")
        if self.downsample < 1:
            raise InputError(f"--downsample takes a whole number from 1 on, but is {self.downsample}.")
        check_values(self.values, self.no_data)
        weights = (*(self.weights or MIXED), self.integral_weight or 0.0)
        if not all(0 <= w < math.inf for w in weights) or not any(weights[:3]):
            raise InputError(
                f"weights are finite, not negative and not all zero, but are {' '.join(map(str, weights))}."
            )
