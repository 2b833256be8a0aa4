"""`siren-jax fit`: a picture, a sound, a video or a shape becomes a SIREN."""

import importlib.resources
import math
import os
import sys
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from siren_jax.cli.options import Output, Training, check_positive, check_values, optional
from siren_jax.cli.training import train
from siren_jax.errors import InputError
from siren_jax.fitting.recipes import (
    PAPER,
    PAPER_SHAPE,
    PAPER_SOUND,
    PAPER_VIDEO,
    TARGETS,
    TUNED,
    TUNED_SHAPE,
    TUNED_SOUND,
    TUNED_VIDEO,
    Recipe,
)
from siren_jax.formats.file_kind import kind_of
from siren_jax.shapes import load_surface
from siren_jax.shapes.loading import SAMPLES
from siren_jax.signals import IncompletePicture, PixelDataset, load_sound, load_video, read_image
from siren_jax.subjects.picture import Picture
from siren_jax.subjects.shape import Scan
from siren_jax.subjects.sound import Recording
from siren_jax.subjects.subject import Subject
from siren_jax.subjects.video import Clip

OF_PICTURES = ("target", "keep_alpha", "values", "no_data")
OF_SHAPES = ("samples", "target_chamfer", "flip_normals")  # options that do not apply to other kinds
WIDTHS = {"video": 1024}  # as in the paper; 256 for other kinds


@dataclass(frozen=True)
class Fit:
    """Fit a network to a picture's values, gradient or Laplacian, to a sound, a video or a shape; write the network,
    the reconstruction and figures."""

    file: Annotated[tyro.conf.Positional[str | None], optional("[FILE]", "scikit-image's photograph camera")] = None
    """Picture: grey, RGB or RGBA, 8 or 16 bits. Sound: WAV, FLAC or OGG, any channels and rate. Video: MP4, GIF
    and what else FFmpeg reads, up to 1 GiB of frames, which memory holds three times. Shape: PLY, OBJ, STL, OFF,
    GLB, 3MF or XYZ, a mesh or a cloud of points."""
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
    target_snr: Annotated[float | None, optional("DB", "none")] = None
    """Stop as soon as the SNR of the sound reaches this many dB; see --target-psnr."""
    target_chamfer: Annotated[float | None, optional("PERCENT", "none")] = None
    """Stop as soon as the Chamfer distance of the shape is no larger than this many percent of its box's diagonal; see
    --target-psnr."""
    downsample: int = 1
    """Divide both sides, or the samples a second, by this whole number first, with anti-aliasing."""
    size: Annotated[int | None, optional("N", "as it is")] = None
    """Resize a picture or a video first so that the longer side has so many pixels, with anti-aliasing."""
    between: Annotated[tuple[float, float] | None, optional("START STOP", "all of it")] = None
    """Part of a sound or a video, in seconds."""
    keep_alpha: bool = False
    """Keep transparency as a fourth channel. Otherwise the picture is laid over white."""
    values: Annotated[
        tuple[float, float] | None, optional("LOW HIGH", "those of 8 or 16 bits; of floats 0 1, or least to greatest")
    ] = None
    """Numbers of a picture's file that stand for black and white. The network then answers in the file's own numbers,
    as it does for floats and 32 bits."""
    no_data: Annotated[float | None, optional("NUMBER", "what the file says")] = None
    """Number of a picture's file that stands for no value; such pixels are left out, as are those that are NaN."""
    samples: Annotated[int | None, optional("N", f"{SAMPLES}")] = None
    """Points that are drawn from a mesh."""
    flip_normals: bool = False
    """Turn all normals of a shape, which exchanges inside and outside, after the command has put them right."""
    training: tyro.conf.OmitArgPrefixes[Training] = field(default_factory=Training)
    output: tyro.conf.OmitArgPrefixes[Output] = field(default_factory=Output)

    def run(self) -> int:
        self._check()
        path = self.file
        if path is None:  # not through skimage.data.camera(), which imports for a second
            path = str(importlib.resources.files("skimage") / "data" / "camera.png")
        name, kind = os.path.splitext(os.path.basename(path))[0], kind_of(path)
        width = WIDTHS.get(kind, 256)
        self.training.sizes(width)
        recipe = self._recipe(kind)
        subject = self._load(path, kind, recipe)
        targets = {
            "psnr": self.training.target_psnr,
            "snr": self.target_snr,
            "chamfer": self.target_chamfer,
        }
        record = {"target": self.target, "recipe": self.recipe}
        return train(
            self,
            {"file": path},
            subject,
            name,
            recipe,
            record,
            width=width,
            target=targets[subject.measure.name],
        )

    def _recipe(self, kind: str) -> Recipe:
        """The recipe for a kind of signal, with the values that the options replace."""
        recipe = {"sound": TUNED_SOUND, "video": TUNED_VIDEO, "shape": TUNED_SHAPE}.get(kind, TUNED[self.target])
        if self.recipe == "paper":
            recipe = {"sound": PAPER_SOUND, "video": PAPER_VIDEO, "shape": PAPER_SHAPE}.get(kind, PAPER)
        if self.integral_weight is not None:
            recipe = recipe._replace(integral_weight=self.integral_weight)
        return self.training.recipe(recipe)

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
        weights = (*self.weights, self.integral_weight or 0.0)
        if not all(0 <= w < math.inf for w in weights) or not any(self.weights):
            raise InputError(
                f"weights are finite, not negative and not all zero, but are {' '.join(map(str, weights))}."
            )

    def _load(self, path: str, kind: str, recipe: Recipe) -> Subject:
        if kind == "sound":
            self._refuse_with("a sound", ("size", "target_psnr", *OF_PICTURES, *OF_SHAPES))
            return Recording(load_sound(path, downsample=self.downsample, between=self.between))
        if kind == "video":
            self._refuse_with("a video", ("target_snr", *OF_PICTURES, *OF_SHAPES))
            return Clip(load_video(path, downsample=self.downsample, size=self.size, between=self.between))
        if kind == "shape":
            others = ("weights", "downsample", "size", "between", "target_psnr", "target_snr")
            self._refuse_with("a shape", (*others, *OF_PICTURES))
            surface = load_surface(
                path, samples=self.samples or SAMPLES, seed=self.training.seed, flip_normals=self.flip_normals
            )
            return Scan(surface, self.recipe)
        self._refuse_with("a picture", ("target_snr", "between", *OF_SHAPES))
        image = read_image(
            path,
            keep_alpha=self.keep_alpha,
            downsample=self.downsample,
            size=self.size,
            value_range=self.values,
            no_data=() if self.no_data is None else (self.no_data,),
        )
        for note in image.notes:
            print(note, file=sys.stderr)
        complete = bool(image.known.all())
        if not complete and self.target != "values":
            raise InputError(
                f"{path!r} has pixels without a value, beside which its derivatives are not known: fit --target "
                "values, or fill them in first with siren-jax inpaint."
            )
        dataset = (PixelDataset if complete else IncompletePicture)(image.values, value_range=image.value_range)
        weights = dict(zip(TARGETS["mixed"], self.weights, strict=True)) if self.target == "mixed" else {}
        return Picture(dataset, self.target, weights, recipe.integral_weight)

    def _refuse_with(self, signal: str, names: tuple[str, ...]) -> None:
        """Refuses options that do not apply to a kind of signal."""
        for name in names:
            options = self.training if hasattr(self.training, name) else self
            if getattr(options, name) != options.__dataclass_fields__[name].default:
                raise InputError(f"--{name.replace('_', '-')} does not apply to {signal}; leave it out.")
