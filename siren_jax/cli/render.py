"""`siren-jax render`: a `.siren` file as a picture, a sound or an array, at any resolution."""

import math
import os
import shutil
import tempfile
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import tyro

from siren_jax.cli.options import optional
from siren_jax.cli.picture import write_picture
from siren_jax.cli.sound import excerpt, write_sound
from siren_jax.errors import InputError
from siren_jax.neural_field import NeuralField, load
from siren_jax.storage import umask

MAX_PICTURE = 2**28  # values of a PNG, which is made in memory; an NPY is not
MAX_SIDE = 2**24
FORMATS = {"image": (".png", ".npy"), "sound": (".wav", ".flac", ".ogg", ".npy")}
# Options that say something about a kind of signal alone.
OPTIONS = {"image": ("shape", "scale", "region"), "sound": ("rate", "between")}


@dataclass(frozen=True)
class Render:
    """Sample a .siren file at any resolution, all of it or a part, and write a picture, a sound or an array."""

    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """The .siren file."""
    out: Annotated[str, tyro.conf.arg(metavar="PNG|WAV|NPY")]
    """File to write. A picture: a PNG of 8 bits, made in memory, or an NPY of float32 in true units, (h, w, c) or
    (h, w, c, 2). A sound: WAV, FLAC or OGG of 16 bits, or an NPY (n, c)."""
    shape: Annotated[tuple[int, int] | None, optional("H W", "that of the original or of the region")] = None
    """Height and width of a picture."""
    scale: Annotated[float | None, optional("S", "1")] = None
    """Factor on the default height and width, instead of --shape."""
    of: Literal["value", "gradient", "laplacian"] = "value"
    """What to render; of a sound the value alone. In a PNG values are clipped to their range, and derivatives scaled to
    their 99.5th percentile."""
    region: Annotated[tuple[float, float, float, float] | None, optional("R0 C0 R1 C1", "all of it")] = None
    """Part of the picture: first row and column, last row and column (exclusive), in pixels of the original."""
    rate: Annotated[int | None, optional("HZ", "that of the original")] = None
    """Samples a second of a sound."""
    between: Annotated[tuple[float, float] | None, optional("START STOP", "all of it")] = None
    """Part of a sound, in seconds."""
    overwrite: bool = False
    """Replace the file if it exists."""

    def run(self) -> int:
        suffix = os.path.splitext(self.out)[1].lower()
        known = sorted({suffix for formats in FORMATS.values() for suffix in formats})
        if suffix not in known:
            raise InputError(f"--out ends in one of {', '.join(known)}, but is {self.out!r}.")
        if os.path.exists(self.out) and not self.overwrite:
            raise InputError(f"{self.out!r} exists; choose another name, or allow it to be replaced with --overwrite.")
        field = load(self.file)
        self._check(field, suffix)
        if field.kind == "sound":
            sound = excerpt(field, self.between, self.rate)
            write_sound(self.out, sound, overwrite=self.overwrite)
            print(f"{sound.seconds:.4g} s of {self.file} at {sound.rate} Hz: {self.out}")
        else:
            h, w = self._write_picture(field, suffix)
            print(f"{self.of} of {self.file} at {h} x {w}: {self.out}")
        return 0

    def _check(self, field: NeuralField, suffix: str) -> None:
        """Refuses formats and options of another kind of signal."""
        if field.kind not in FORMATS:
            raise InputError(f"{self.file!r} holds the kind {field.kind!r}; {' and '.join(FORMATS)} are rendered.")
        if suffix not in FORMATS[field.kind]:
            raise InputError(
                f"{self.file!r} holds the kind {field.kind!r}, written as {', '.join(FORMATS[field.kind])}."
            )
        if field.kind == "sound" and self.of != "value":
            raise InputError(f"--of {self.of} is of pictures; of a sound only the value is rendered.")
        for kind, names in OPTIONS.items():
            given = [name for name in names if getattr(self, name) is not None]
            if given and kind != field.kind:
                raise InputError(f"--{given[0]} does not apply to the kind {field.kind!r} that {self.file!r} holds.")

    def _write_picture(self, field: NeuralField, suffix: str) -> tuple[int, int]:
        region = None
        if self.region is not None:
            r0, c0, r1, c1 = self.region
            region = ((r0, r1), (c0, c1))
        shape = self._shape(field, region)
        if suffix == ".npy":
            self._write_array(field, shape, region)
            return shape
        if math.prod(field.rendered_shape(shape, self.of)) > MAX_PICTURE:
            raise InputError(f"a PNG of {shape[0]} x {shape[1]} is too large to be held in memory; write an .npy.")
        values = field.render(shape, of=self.of, region=region)
        write_picture(self.out, values, self.of, field.value_range, overwrite=self.overwrite)
        return shape

    def _shape(self, field: NeuralField, region) -> tuple[int, int]:
        if self.shape is not None and self.scale is not None:
            raise InputError("--shape and --scale exclude each other; give one.")
        if self.shape is not None:
            if min(self.shape) < 1 or max(self.shape) > MAX_SIDE:
                raise InputError(
                    f"--shape takes two numbers from 1 to {MAX_SIDE}, but is {self.shape[0]} {self.shape[1]}."
                )
            return self.shape
        scale = 1.0 if self.scale is None else self.scale
        if not 0 < scale < np.inf:
            raise InputError(f"--scale takes a positive number, but is {scale:g}.")
        sides = field.frame.shape if region is None else [stop - start for start, stop in region]
        if not all(0 < side * scale < MAX_SIDE for side in sides):
            raise InputError(
                f"--region and --scale ask for {' x '.join(f'{side * scale:g}' for side in sides)} samples."
            )
        h, w = (max(1, round(side * scale)) for side in sides)
        return h, w

    def _write_array(self, field: NeuralField, shape: tuple[int, int], region) -> None:
        """Straight to the disk: memory does not grow with the shape."""
        full = field.rendered_shape(shape, self.of)
        directory = os.path.dirname(self.out) or "."
        try:
            free = shutil.disk_usage(directory).free
            if 4 * math.prod(full) > free:
                raise InputError(f"{self.out!r} would take {4 * math.prod(full):,} bytes; {free:,} are free.")
            descriptor, partial = tempfile.mkstemp(dir=directory, prefix=".", suffix=".partial")
            os.close(descriptor)
        except OSError as error:
            raise InputError(f"{self.out!r} cannot be written: {error.strerror}.") from None
        try:
            array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=full)
            field.render(shape, of=self.of, region=region, out=array)
            array.flush()
            os.chmod(partial, 0o666 & ~umask())
            os.replace(partial, self.out)
        except OSError as error:
            raise InputError(f"{self.out!r} cannot be written: {error.strerror}.") from None
        finally:
            if os.path.exists(partial):
                os.unlink(partial)
