"""`siren-jax render`: writes a signal as a picture, a sound, a video, a mesh or an array, at any resolution."""

import os
import sys
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import tyro
from numpy import ndarray

from siren_jax._types import Quantity
from siren_jax.cli.console import printable, status
from siren_jax.cli.helptext import documented, optional
from siren_jax.cli.options import check_seed, number
from siren_jax.cli.sources import load_field, split
from siren_jax.errors import InputError
from siren_jax.neural_field import NeuralField
from siren_jax.sets.base import load_base
from siren_jax.subjects.kinds import KINDS, Kind
from siren_jax.subjects.shape import RESOLUTION

ALL = set.union(*(kind.render_options for kind in KINDS.values()))  # options that at least one kind has


@dataclass(frozen=True)
@documented
class Render:
    """Sample the signal in a .siren file or a set, or a part of it, at any resolution, and write a picture, a sound, a
    video, a mesh, a figure or an array."""

    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """The .siren file, or an entry of a set as SET::NAME. Of a base, the signal of --code."""
    out: Annotated[str, tyro.conf.arg(metavar="PNG|WAV|MP4|PLY|NPY")]
    """File to write; its suffix decides the format. Pictures: 8-bit PNG, rendered in memory, or float32 NPY in true
    units, (h, w, c), or (h, w, c, 2) for a gradient. Sounds: 16-bit WAV, FLAC or OGG, or NPY (n, c). Videos: MP4, GIF
    or NPY (t, h, w, c), or a PNG of one frame. Shapes: a mesh as PLY, OBJ or STL, a PNG of it, or its signed distance
    as NPY (n, n, n, 1) over the cube, all in the units of the original. Solutions of equations: PNG with axes, or
    NPY."""
    shape: Annotated[tuple[int, int] | None, optional("H W", "that of the original or of the region")] = None
    """Height and width of a picture, a video or a solution."""
    scale: Annotated[float | None, optional("S", "1")] = None
    """Factor on the default height and width, instead of --shape. On a grid coarser than the original, each pixel of a
    picture or a video is the mean over its cell."""
    of: Quantity = "value"
    """Quantity to render; derivatives are available for pictures only. In a PNG, values are clipped to their range, and
    derivatives are scaled to their 99.5th percentile."""
    region: Annotated[tuple[float, float, float, float] | None, optional("R0 C0 R1 C1", "all of it")] = None
    """Part of a picture or a video: first row, first column, last row, last column (exclusive), in pixels of the
    original."""
    rate: Annotated[float | None, optional("HZ", "that of the original")] = None
    """Samples per second of a sound, or frames per second of a video."""
    between: Annotated[tuple[float, float] | None, optional("START STOP", "all of it")] = None
    """Part of a sound or a video, in seconds."""
    at: Annotated[float | None, optional("SECONDS", "none")] = None
    """Time of one frame of a video, possibly between frames, or of one moment of a solution, for a PNG or an NPY
    (1, h, w, c)."""
    resolution: Annotated[int | None, optional("N", f"{RESOLUTION}")] = None
    """Number of cells along each side of the cube in which the surface of a shape is extracted; a multiple of 8."""
    view: Annotated[tuple[float, float] | None, optional("AZIMUTH ELEVATION", "-60 25")] = None
    """Direction from which a PNG shows a shape, in degrees. The z axis points up."""
    code: Annotated[str | None, optional("NPY|random|NUMBERS", "zeros")] = None
    """Code of the signal of a base: an .npy file with one code, `random` for one from the prior, or numbers such as
    0,0.5,-1. Write `--code=-1,0` if the first number is negative."""
    seed: Annotated[int | None, optional("N", "0")] = None
    """Seed of `--code random`."""
    overwrite: bool = False
    """Replace the file if it exists."""

    def run(self) -> int:
        suffix = os.path.splitext(self.out)[1].lower()
        known = sorted({suffix for kind in KINDS.values() for suffix in kind.formats})
        if suffix not in known:
            raise InputError(f"--out ends in one of {', '.join(known)}, but is {self.out!r}.")
        if os.path.exists(self.out) and not self.overwrite:
            raise InputError(f"{self.out!r} exists; choose another name, or allow it to be replaced with --overwrite.")
        field = self._field()
        kind = self._check(field, suffix)
        if field.record.get("target") in ("gradient", "laplacian") and self.of == "value":
            print(
                f"siren-jax: {printable(self.file)} was fitted to a {field.record['target']}, which does not "
                f"determine {_left_open(field)}: the picture may be lighter or darker than the original. In the fit's "
                "reconstruction.png, this was taken from the original; in an .npy, add the difference from known "
                "values.",
                file=sys.stderr,
            )
        with status(f"rendering {self.out}"):
            options = {name: getattr(self, name) for name in kind.render_options}
            what, how = kind.render(field, self.out, overwrite=self.overwrite, **options)
        print(f"{what} of {printable(self.file)} {how}: {printable(self.out)}")
        return 0

    def _field(self) -> NeuralField:
        """The signal of the file or, with --code, of this code of a base."""
        if self.seed is not None:
            if self.code != "random":
                raise InputError("--seed applies to --code random only; leave it out.")
            check_seed(self.seed)
        if self.code is None:
            return load_field(self.file)
        if split(self.file) is not None:
            raise InputError(f"--code applies to a base from siren-jax learn, but {self.file!r} is a set or its entry.")
        base = load_base(self.file)
        if self.code == "random":
            return base.field(np.random.default_rng(self.seed or 0).standard_normal(base.latent))
        return base.field(_code(self.code))

    def _check(self, field: NeuralField, suffix: str) -> Kind:
        """The kind of the signal; refuses formats and options of another kind."""
        if field.kind not in KINDS:
            raise InputError(
                f"{self.file!r} contains the kind {field.kind!r}; only {', '.join(KINDS)} can be rendered."
            )
        kind = KINDS[field.kind]
        if suffix not in kind.formats:
            raise InputError(
                f"{self.file!r} contains the kind {kind.name!r}, which is written as {', '.join(kind.formats)}."
            )
        for name in sorted(ALL - kind.render_options):
            if getattr(self, name) != self.__dataclass_fields__[name].default:
                raise InputError(f"--{name} does not apply to the kind {kind.name!r} of {self.file!r}; leave it out.")
        return kind


def _left_open(field: NeuralField) -> str:
    """The part of the values that the fitted derivative does not determine."""
    return "its mean and a slope" if field.record.get("alignment") == "mean and plane" else "its mean"


def _code(text: str) -> ndarray:
    """The code in an .npy file, or of numbers with commas."""
    if not text.lower().endswith(".npy"):
        found = np.array([number(part) for part in text.split(",")])
        if np.isnan(found).any():
            raise InputError(f"--code takes an .npy file, random or numbers such as 0,0.5,-1, but is {text!r}.")
        return found
    try:
        found = np.load(text, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"the code {text!r} cannot be read: {error}.") from None
    if not isinstance(found, ndarray) or found.dtype.kind not in "fiu":
        raise InputError(f"{text!r} contains no array of real numbers, which a code is.")
    return found.astype(np.float64)
