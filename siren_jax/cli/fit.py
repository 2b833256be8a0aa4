"""`siren-jax fit`: a picture, a sound, a video or a shape becomes a SIREN."""

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

# Options of some kinds of signals; "integral_weight" is of targets, "recipe", "seed" and "rate" are no such options.
OPENING = set.union(*(kind.open_options for kind in SIGNALS.values())) - {"integral_weight", "recipe", "seed", "rate"}


@dataclass(frozen=True)
@documented
class Fit:
    """Fit a network to a picture's values, gradient or Laplacian, to a sound, a video or a shape; write the network,
    the reconstruction and figures."""

    file: Annotated[tyro.conf.Positional[str | None], optional("[FILE]", "scikit-image's photograph camera")] = None
    """The signal. Pictures: grey, RGB, RGBA or more channels, 8, 16 or 32 bits or floats, in all formats of Pillow,
    TIFF, FITS, NPY and, with an extra, HEIC. Sounds: WAV, FLAC, OGG, MP3, M4A and others. Videos: MP4, GIF and all that
    FFmpeg reads, up to 1 GiB of frames, of which memory holds three times as much. Shapes: PLY, OBJ, STL, OFF, GLB, 3MF
    or XYZ, a mesh or a point cloud."""
    target: Target = "values"
    """What the network is fitted to, of a picture. `mixed` is all three, weighted by --weights."""
    weights: Annotated[
        tuple[float, float, float] | None,
        optional("VALUE GRADIENT LAPLACIAN", " ".join(f"{weight:g}" for weight in MIXED)),
    ] = None
    """Weights of the three terms of `--target mixed`. Errors of gradient and Laplacian are relative to their mean
    square in the picture."""
    integral_weight: Annotated[
        float | None,
        optional("W", f"{TUNED['gradient'].integral_weight:g}, or {PAPER.integral_weight:g} with --recipe paper"),
    ] = None
    """Weight of the integral form of `--target gradient` and `laplacian`, which fixes the broad tones. 0 is the paper's
    loss."""
    recipe: RecipeName = "tuned"
    """How the network begins and learns: `tuned` for quality within a short budget, `paper` as in the paper: Adam at a
    constant rate, on the whole signal at every step. --first-omega, --weight-scale, --batch-size, --learning-rate,
    --schedule and --integral-weight replace parts of it."""
    target_snr: Annotated[float | None, optional("DB", "none")] = None
    """Stop as soon as the SNR of the sound reaches this many dB. --steps and --seconds limit the fit, as with
    --target-psnr."""
    target_chamfer: Annotated[float | None, optional("PERCENT", "none")] = None
    """Stop as soon as the Chamfer distance of the shape is no larger than this many percent of its box's diagonal.
    --steps and --seconds limit the fit, as with --target-psnr."""
    downsample: int = 1
    """Divide both sides of a picture or a video, or the samples a second of a sound, by this whole number before the
    fit, with a filter against aliasing."""
    size: Annotated[int | None, optional("N", "the file's own")] = None
    """Resize a picture or a video before the fit so that its longer side has N pixels, with a filter against
    aliasing."""
    between: Annotated[tuple[float, float] | None, optional("START STOP", "all of it")] = None
    """Fit only this part of a sound or a video, in seconds."""
    keep_alpha: bool = False
    """Keep the transparency of a picture as a last channel. By default the picture is laid over white."""
    values: Annotated[
        tuple[float, float] | None,
        optional("LOW HIGH", "those of 8 or 16 bits; for floats 0 and 1, or the least and the greatest value"),
    ] = None
    """Numbers of a picture's file that stand for black and white. The network then gives the file's own numbers, as it
    does for floats and 32 bits."""
    no_data: Annotated[float | None, optional("NUMBER", "the one in the file's header")] = None
    """Number of a picture's file that stands for no value. The fit leaves such pixels out, and those that are NaN."""
    samples: Annotated[int | None, optional("N", f"{SAMPLES}")] = None
    """Number of points to draw from a mesh."""
    flip_normals: bool = False
    """Turn all normals of a shape around, which exchanges inside and outside. The command has corrected them before."""
    training: tyro.conf.OmitArgPrefixes[Training] = field(default_factory=Training)
    output: tyro.conf.OmitArgPrefixes[Output] = field(default_factory=Output)

    def run(self) -> int:
        self._check()
        path = self.file
        if path is None:  # not through skimage.data.camera(), which imports for a second
            path = str(importlib.resources.files("skimage") / "data" / "camera.png")
        name, kind = os.path.splitext(os.path.basename(path))[0], kind_of_source(path)
        self.training.sizes(kind.width)
        self._refuse_others(kind)
        if self.weights is not None and self.target != "mixed":
            raise InputError("--weights is of --target mixed; leave it out with others.")
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
        """The target of a measure."""
        return getattr(self if hasattr(self, f"target_{measure}") else self.training, f"target_{measure}")

    def _options(self, kind: SignalKind) -> set[str]:
        """The command's options that `kind.open` takes: all but the rate, which a file has itself."""
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
            raise InputError("--integral-weight is of --target gradient and laplacian; leave it out with others.")
        if self.downsample < 1:
            raise InputError(f"--downsample takes a whole number from 1 on, but is {self.downsample}.")
        check_values(self.values, self.no_data)
        weights = (*(self.weights or MIXED), self.integral_weight or 0.0)
        if not all(0 <= w < math.inf for w in weights) or not any(weights[:3]):
            raise InputError(
                f"weights are finite, not negative and not all zero, but are {' '.join(map(str, weights))}."
            )
