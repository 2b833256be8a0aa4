"""`siren-jax render`: a `.siren` file as a picture, a sound, a video, a mesh or an array, at any resolution."""

import math
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import tyro

from siren_jax.cli.console import printable, status
from siren_jax.cli.options import optional
from siren_jax.equations.as_field import moment_of
from siren_jax.errors import InputError
from siren_jax.fields import Grid
from siren_jax.files.atomic import replacing
from siren_jax.neural_field import NeuralField, load
from siren_jax.shapes.level_set import check_resolution
from siren_jax.subjects.cells import render_cells
from siren_jax.subjects.moments import Timeline, timeline
from siren_jax.subjects.picture import write_picture
from siren_jax.subjects.shape import RESOLUTION, write_mesh, write_view
from siren_jax.subjects.solution import write_solution
from siren_jax.subjects.sound import excerpt, write_sound
from siren_jax.subjects.video import as_bytes, write_video

MAX_PICTURE = 2**28  # values of a PNG, which is made in memory; an NPY is not
MAX_SIDE = 2**24
MAX_FRAMES = 2**20
MAX_GIF = 2**30  # pixels of all frames, which are kept in memory
FORMATS = {
    "image": (".png", ".npy"),
    "sound": (".wav", ".flac", ".ogg", ".npy"),
    "video": (".mp4", ".gif", ".png", ".npy"),
    "shape": (".ply", ".obj", ".stl", ".png", ".npy"),
    "solution": (".png", ".npy"),
}
# Options that apply to some kinds of signals only.
OPTIONS = {
    "image": {"shape", "scale", "region"},
    "sound": {"rate", "between"},
    "video": {"shape", "scale", "region", "rate", "between", "at"},
    "shape": {"resolution", "view"},
    "solution": {"shape", "scale", "at"},
}


Area = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class Render:
    """Sample a .siren file at any resolution, all of it or a part, and write a picture, a sound, a video, a mesh, a
    figure or an array."""

    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """The .siren file."""
    out: Annotated[str, tyro.conf.arg(metavar="PNG|WAV|MP4|PLY|NPY")]
    """File to write. A picture: a PNG of 8 bits, made in memory, or an NPY of float32 in true units, (h, w, c) or
    (h, w, c, 2). A sound: WAV, FLAC or OGG of 16 bits, or an NPY (n, c). A video: MP4 or GIF, an NPY (t, h, w, c), or
    a PNG of one frame. A shape: a mesh as PLY, OBJ or STL, a PNG of it, or its signed distance as an NPY (n, n, n, 1)
    over the cube, all in the units of the original. A solution of an equation: a PNG with axes, or an NPY."""
    shape: Annotated[tuple[int, int] | None, optional("H W", "that of the original or of the region")] = None
    """Height and width of a picture, a video or a solution."""
    scale: Annotated[float | None, optional("S", "1")] = None
    """Factor on the default height and width, instead of --shape. On a grid coarser than the original, each pixel of a
    picture or a video is the mean over its cell."""
    of: Literal["value", "gradient", "laplacian"] = "value"
    """What to render; of a sound or a video the value alone. In a PNG values are clipped to their range, and
    derivatives scaled to their 99.5th percentile."""
    region: Annotated[tuple[float, float, float, float] | None, optional("R0 C0 R1 C1", "all of it")] = None
    """Part of the picture: first row and column, last row and column (exclusive), in pixels of the original."""
    rate: Annotated[float | None, optional("HZ", "that of the original")] = None
    """Samples a second of a sound, frames a second of a video."""
    between: Annotated[tuple[float, float] | None, optional("START STOP", "all of it")] = None
    """Part of a sound or a video, in seconds."""
    at: Annotated[float | None, optional("SECONDS", "none")] = None
    """One frame of a video, at any time, or one moment of a solution; as a PNG, or an NPY (1, h, w, c)."""
    resolution: Annotated[int | None, optional("N", "256")] = None
    """Cells along each side of the cube that a shape is looked for in, a multiple of 8."""
    view: Annotated[tuple[float, float] | None, optional("AZIMUTH ELEVATION", "-60 25")] = None
    """Where a shape is seen from in a PNG, in degrees; its z axis is up."""
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
        if field.record.get("target") in ("gradient", "laplacian") and self.of == "value":
            print(
                f"siren-jax: {printable(self.file)} was fitted to a {field.record['target']}, which leaves open "
                f"{_left_open(field)}: the picture may be lighter or darker than its original. The fit's own "
                "reconstruction.png took that from the original; in an .npy, add the difference from what is known.",
                file=sys.stderr,
            )
        with status(f"rendering {self.out}"):
            written = self._write(field, suffix)
        print(f"{written}: {printable(self.out)}")
        return 0

    def _write(self, field: NeuralField, suffix: str) -> str:
        """Writes the file, and returns a description of its contents."""
        if field.kind == "sound":
            sound = excerpt(field, self.between, self.rate)
            write_sound(self.out, sound, overwrite=self.overwrite)
            return f"{sound.seconds:.4g} s of {self.file} at {sound.rate} Hz"
        if field.kind == "shape":
            return self._write_shape(field, suffix)
        if field.kind == "solution":
            return self._write_solution(field, suffix)
        area = self._area(field)
        sides = self._sides([stop - start for start, stop in area])
        moments = self._moments(field, suffix, sides) if field.kind == "video" else None
        shape, region = (sides, area) if moments is None else ((moments.count, *sides), (moments.region, *area))
        if suffix == ".npy":
            self._write_array(field, shape, region)
        elif suffix == ".png":
            self._write_picture(field, shape, region)
        elif moments is not None:
            self._write_video(field, moments, sides, area)
        return f"{self.of} of {self.file} at {' x '.join(map(str, shape))}"

    def _check(self, field: NeuralField, suffix: str) -> None:
        """Refuses formats and options of another kind of signal."""
        kind = field.kind
        if kind not in FORMATS:
            raise InputError(f"{self.file!r} holds the kind {kind!r}; {', '.join(FORMATS)} are rendered.")
        if suffix not in FORMATS[kind]:
            raise InputError(f"{self.file!r} holds the kind {kind!r}, written as {', '.join(FORMATS[kind])}.")
        if kind != "image" and self.of != "value":
            raise InputError(f"--of {self.of} is of pictures; of a {kind} only the value is rendered.")
        for name in sorted(set.union(*OPTIONS.values()) - OPTIONS[kind]):
            if getattr(self, name) is not None:
                raise InputError(f"--{name} does not apply to the kind {kind!r} that {self.file!r} holds.")
        if kind == "video" and suffix == ".png" and self.at is None:
            raise InputError("a PNG holds one frame of a video: tell which with --at, in seconds.")
        if self.at is not None and suffix not in (".png", ".npy"):
            raise InputError(f"--at takes one frame, written as .png or .npy, but --out is {self.out!r}.")

    def _write_shape(self, field: NeuralField, suffix: str) -> str:
        resolution = RESOLUTION if self.resolution is None else self.resolution
        check_resolution(resolution)
        if self.view is not None and (suffix != ".png" or not np.isfinite(self.view).all()):
            raise InputError("--view takes two angles in degrees, for a .png.")
        if suffix == ".npy":
            self._write_array(field, (resolution,) * 3, None)
            return f"signed distance of {self.file} at {' x '.join([str(resolution)] * 3)}"
        mesh = field.mesh(resolution)
        if not len(mesh.faces):
            raise InputError(f"{self.file!r} has no surface: its field has one sign throughout the cube.")
        if suffix == ".png":
            write_view(self.out, mesh, self.view, overwrite=self.overwrite)
        else:
            write_mesh(self.out, mesh, overwrite=self.overwrite)
        return f"surface of {self.file} at resolution {resolution}, {len(mesh.faces):,} triangles"

    def _write_solution(self, field: NeuralField, suffix: str) -> str:
        """Writes an NPY or a figure with axes: over an interval a curve, in a plane with time one moment."""
        frame = field.frame
        assert isinstance(frame, Grid)
        axes = len(frame.low)
        if axes > 3:
            raise InputError(
                f"solutions of up to three coordinates are drawn, but {self.file!r} has {axes}; "
                "in Python, siren_jax.load(file).render() has its values."
            )
        if axes == 1 and self.shape is not None:
            raise InputError(f"--shape is of two sides, but {self.file!r} has one coordinate; give --scale.")
        own, timed = frame.shape, axes == 3
        region: tuple[tuple[float, float], ...] | None = None
        if self.at is not None:
            if not timed:
                raise InputError(f"--at takes a moment of a solution in time and the plane; {self.file!r} is none.")
            if not frame.low[0] <= self.at <= frame.high[0]:
                raise InputError(f"--at takes a time from {frame.low[0]:g} to {frame.high[0]:g}, but is {self.at:g}.")
            own = moment_of(frame, self.at).shape
            first = (self.at - frame.low[0]) / (frame.high[0] - frame.low[0]) * frame.shape[0] - 0.5
            region = ((first, first + 1), *((0.0, float(n)) for n in frame.shape[1:]))
        elif timed and suffix == ".png":
            raise InputError("a PNG holds one moment of a solution in time: tell which with --at.")
        sides = self._scaled(own) if axes == 1 else self._sides(own[-2:])
        shape = (*own[:-2], *sides)
        if suffix == ".npy":
            self._write_array(field, shape, region)
        else:
            self._check_memory(field, sides)
            values = field.render(shape, region=region).reshape(*sides, -1)
            write_solution(self.out, field, values, self.at, overwrite=self.overwrite)
        return f"solution of {self.file} at {' x '.join(map(str, shape))}"

    def _moments(self, field: NeuralField, suffix: str, sides: tuple[int, int]) -> Timeline:
        """The requested frames of a video."""
        if self.at is None:
            moments = timeline(field, self.between, self.rate)
            if moments.count > MAX_FRAMES:
                raise InputError(f"{moments.count:,} frames are too many; up to {MAX_FRAMES:,} are written.")
            if suffix == ".gif" and moments.count * math.prod(sides) > MAX_GIF:
                raise InputError(f"{moments.count:,} frames of {sides[0]} x {sides[1]} are too large for a GIF.")
            return moments
        if self.between is not None or self.rate is not None:
            raise InputError("--at takes one frame; leave out --between and --rate.")
        whole = timeline(field, None, None)
        last = (whole.count - 1) / whole.own
        if not 0 <= self.at <= last + 0.5 / whole.own:
            raise InputError(f"--at takes a time from 0 to {last:g} s, that of the last frame, but is {self.at:g}.")
        return replace(whole, count=1, first=self.at * whole.own)

    def _write_picture(self, field: NeuralField, shape: tuple[int, ...], region) -> None:
        self._check_memory(field, shape[-2:])
        values = render_cells(field, shape, of=self.of, region=region)
        values = values[0] if field.kind == "video" else values
        write_picture(self.out, values, self.of, field.value_range, overwrite=self.overwrite)

    def _write_video(self, field: NeuralField, moments: Timeline, sides: tuple[int, int], area: Area) -> None:
        self._check_memory(field, sides)
        frame_at = lambda number: render_cells(field, (1, *sides), region=((number, number + 1), *area))[0]
        frames = (as_bytes(frame_at(number), field.value_range) for number in moments.indices)
        write_video(self.out, frames, moments.rate, overwrite=self.overwrite)

    def _check_memory(self, field: NeuralField, sides: Sequence[int]) -> None:
        if math.prod(field.rendered_shape(tuple(sides), self.of)) > MAX_PICTURE:
            raise InputError(f"{' x '.join(map(str, sides))} pixels are too many to be held in memory; write an .npy.")

    def _area(self, field: NeuralField) -> Area:
        """The requested rows and columns."""
        h, w = field.frame.shape[-2:]
        r0, c0, r1, c1 = (0.0, 0.0, float(h), float(w)) if self.region is None else self.region
        return (r0, r1), (c0, c1)

    def _sides(self, own: Sequence[int | float]) -> tuple[int, int]:
        """Height and width to write, from the signal's own."""
        if self.shape is not None and self.scale is not None:
            raise InputError("--shape and --scale exclude each other; give one.")
        if self.shape is not None:
            if min(self.shape) < 1 or max(self.shape) > MAX_SIDE:
                raise InputError(
                    f"--shape takes two numbers from 1 to {MAX_SIDE}, but is {self.shape[0]} {self.shape[1]}."
                )
            return self.shape
        h, w = self._scaled(own)
        return h, w

    def _scaled(self, sides: Sequence[int | float]) -> list[int]:
        """Samples along the sides, by --scale."""
        scale = 1.0 if self.scale is None else self.scale
        if not 0 < scale < np.inf:
            raise InputError(f"--scale takes a positive number, but is {scale:g}.")
        if not all(0 < side * scale < MAX_SIDE for side in sides):
            raise InputError(
                f"--region and --scale ask for {' x '.join(f'{side * scale:g}' for side in sides)} samples."
            )
        return [max(1, round(side * scale)) for side in sides]

    def _write_array(self, field: NeuralField, shape: tuple[int, ...], region) -> None:
        """Writes an array straight to the disk: memory does not grow with the shape."""
        full = field.rendered_shape(shape, self.of)
        directory = os.path.dirname(self.out) or "."
        try:
            free = shutil.disk_usage(directory).free
            if 4 * math.prod(full) > free:
                raise InputError(f"{self.out!r} would take {4 * math.prod(full):,} bytes; {free:,} are free.")
        except OSError as error:
            raise InputError(f"{self.out!r} cannot be written: {error.strerror}.") from None
        with replacing(self.out, overwrite=self.overwrite) as temporary:
            array = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=full)
            if field.kind in ("image", "video"):
                render_cells(field, shape, of=self.of, region=region, out=array)
            else:
                field.render(shape, of=self.of, region=region, out=array)
            array.flush()


def _left_open(field: NeuralField) -> str:
    """What the derivative that a network was fitted to leaves open."""
    return "its mean and a slope" if field.record.get("alignment") == "mean and plane" else "its mean"
