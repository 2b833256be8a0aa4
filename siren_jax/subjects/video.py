"""A video as the subject of a fit, and as a file."""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from flax import nnx
from jax.tree_util import Partial
from jaxtyping import Float, UInt8
from numpy import ndarray

from siren_jax import metrics
from siren_jax.errors import InputError
from siren_jax.files.atomic import write_atomically
from siren_jax.files.header import valid_rate
from siren_jax.fitting.objectives import supervise
from siren_jax.neural_field import NeuralField
from siren_jax.signals import SampleDataset, Video, encode_video, load_video
from siren_jax.signals.video import MAX_BYTES, writes_mp4
from siren_jax.subjects.cells import render_cells
from siren_jax.subjects.estimate import ESTIMATED, Estimate
from siren_jax.subjects.moments import Timeline, timeline
from siren_jax.subjects.picture import write_picture
from siren_jax.subjects.rendering import area_of, check_room, dimensions, sides_of, write_array
from siren_jax.subjects.subject import PSNR, Sampled

JUDGED = 65536  # pixels of the PSNR that a target is compared with: a whole video takes minutes
SHOWN = 5  # frames of a contact sheet
MAX_FRAMES = 2**20
MAX_GIF = 2**30  # pixels of all frames, which are kept in memory


class Clip(Sampled):
    """The pixels of a video; see `Subject`."""

    measure = PSNR
    note = ""

    def __init__(self, video: Video):
        self._video, self.rate = video, video.rate
        self.dataset = SampleDataset(video.frames)
        self.files = ("reconstruction.mp4" if writes_mp4() else "reconstruction.gif",)
        self.objective, self.weights = supervise("value"), {}
        self._estimate = Estimate(self.dataset, ESTIMATED)
        self._judge = Estimate(self.dataset, JUDGED)

    @property
    def memory(self) -> int:
        return 3 * self._video.frames.nbytes  # the decoded frames, the array and the fit's copy

    def sampler(self, batch_size: int) -> Partial:
        return self.dataset.sampler(batch_size)

    def field(self, network: nnx.Module, record: dict[str, Any]) -> NeuralField:
        data = self.dataset
        return NeuralField(network, data.frame, data.value_range, "video", self._video.rate, record)  # pyright: ignore

    def estimate(self, network: nnx.Module) -> float:
        return metrics.psnr(self._estimate(network), self._estimate.truth)

    def quality(self, network: nnx.Module) -> float:
        return metrics.psnr(self._judge(network), self._judge.truth)

    def figure(self, network: nnx.Module, title: str):
        from siren_jax import plot  # imports Matplotlib, which takes longer than a first step

        frames, field = self._video.frames, self.field(network, {})
        numbers = np.unique(np.linspace(0, len(frames) - 1, SHOWN).round().astype(int))
        prediction = np.stack([as_bytes(frame_at(field, float(number)), field.value_range) for number in numbers])
        return plot.contact_sheet(frames[numbers], prediction, numbers / self._video.rate, title=title)

    def write(self, network: nnx.Module, path: Callable[[str], str], *, overwrite: bool) -> dict[str, Any]:
        field = self.field(network, {})
        low, high = field.value_range
        each = []

        def frames() -> Iterator[UInt8[ndarray, "h w c"]]:
            for number, truth in enumerate(self._video.frames):
                frame = frame_at(field, float(number))
                each.append(metrics.psnr(frame, truth, data_range=high - low))
                yield as_bytes(frame, field.value_range)

        write_video(path(self.files[0]), frames(), self._video.rate, overwrite=overwrite)
        pooled = float(-10 * np.log10(np.mean(10 ** (-np.array(each) / 10))))
        return {"psnr": pooled, "mean_psnr_of_frames": float(np.mean(each)), "least_psnr_of_frames": min(each)}


def open_video(
    source: str | ndarray,
    *,
    rate: int | float | None = None,
    downsample: int = 1,
    size: int | None = None,
    between: tuple[int | float, int | float] | None = None,
) -> Clip:
    """The video in a file, or an array `(t, h, w)` or `(t, h, w, c)` with its rate, as the subject of a fit.

    Args:
        source: path of a file, or an array of bytes.
        rate: frames per second of an array.
        downsample: whole number by which both sides of a file's frames are divided, with anti-aliasing.
        size: longer side in pixels of a file's frames after resizing, with anti-aliasing.
        between: start and stop of the part of a file to fit, in seconds.

    Raises:
        InputError: as for `load_video`; an array has no rate, or another shape or type.
    """
    if not isinstance(source, ndarray):
        if rate is not None:
            raise InputError("a file contains its rate; give rate= for an array only.")
        return Clip(load_video(source, downsample=downsample, size=size, between=between))
    if rate is None or not valid_rate("video", rate):
        raise InputError(f"an array of a video needs its rate, frames a second, but has {rate}.")
    if downsample != 1 or size is not None or between is not None:
        raise InputError("downsample, size and between apply to files only; cut and resize an array beforehand.")
    grey = source.ndim == 3 or (source.ndim == 4 and source.shape[-1] == 1)
    if not (grey or (source.ndim == 4 and source.shape[-1] == 3)) or len(source) < 2 or source.dtype != np.uint8:
        raise InputError(
            f"a video is an array (t, h, w), (t, h, w, 1) or (t, h, w, 3) of bytes with at least 2 frames, but this "
            f"one has the shape {source.shape} and the type {source.dtype}."
        )
    if source.nbytes > MAX_BYTES:
        raise InputError(f"a video has up to {MAX_BYTES:,} bytes, but this array has {source.nbytes:,}.")
    return Clip(Video(source[..., None] if source.ndim == 3 else source, float(rate)))


def render_video(
    field: NeuralField,
    path: str,
    *,
    shape: tuple[int, int] | None = None,
    scale: float | None = None,
    region: tuple[float, float, float, float] | None = None,
    rate: float | None = None,
    between: tuple[float, float] | None = None,
    at: float | None = None,
    overwrite: bool = False,
) -> tuple[str, str]:
    """Writes a video as an MP4, a GIF or an NPY, or one frame as a PNG or an NPY; returns what was written, in words.

    Args:
        field: the video.
        path: ends in `.mp4`, `.gif`, `.npy` or `.png`.
        shape: height and width; by default those of the original or of the region.
        scale: factor on the default height and width, instead of a shape.
        region: part of the frames: first row and column, last row and column (exclusive), in pixels.
        rate: frames per second; by default those of the original.
        between: start and stop of the part to write, in seconds.
        at: the time of one frame, in seconds.
        overwrite: whether to replace an existing file.
    """
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".png" and at is None:
        raise InputError("a PNG shows one frame of a video; give its time with at=, in seconds.")
    if at is not None and suffix not in (".png", ".npy"):
        raise InputError(f"at= takes one frame, written as .png or .npy, but the file is {path!r}.")
    area = area_of(field, region)
    sides = sides_of([stop - start for start, stop in area], shape, scale)
    moments = _moments(field, between, rate, at)
    if suffix == ".gif" and moments.count * math.prod(sides) > MAX_GIF:
        raise InputError(f"{moments.count:,} frames of {sides[0]} x {sides[1]} are too large for a GIF.")
    full = (moments.count, *sides)
    if suffix == ".npy":
        write_array(field, path, full, (moments.region, *area), overwrite=overwrite)
    else:
        check_room(field, sides)
        rendered = lambda number: render_cells(field, (1, *sides), region=((number, number + 1), *area))[0]
        if suffix == ".png":
            write_picture(path, rendered(next(moments.indices)), "value", field.value_range, overwrite=overwrite)
        else:
            frames = (as_bytes(rendered(number), field.value_range) for number in moments.indices)
            write_video(path, frames, moments.rate, overwrite=overwrite)
    return "value", f"at {dimensions(full)}"


def _moments(field: NeuralField, between: tuple[float, float] | None, rate: float | None, at: float | None) -> Timeline:
    """Moments of the requested frames."""
    if at is None:
        moments = timeline(field, between, rate)
        if moments.count > MAX_FRAMES:
            raise InputError(f"{moments.count:,} frames are too many; up to {MAX_FRAMES:,} are written.")
        return moments
    if between is not None or rate is not None:
        raise InputError("at= takes one frame; leave out between= and rate=.")
    whole = timeline(field, None, None)
    last = (whole.count - 1) / whole.own
    if not 0 <= at <= last + 0.5 / whole.own:
        raise InputError(f"at= takes a time from 0 to {last:g} s, that of the last frame, but is {at:g}.")
    return replace(whole, count=1, first=at * whole.own)


def frame_at(field: NeuralField, number: float) -> Float[ndarray, "h w c"]:
    """A frame of a video by its number in the original, fractions allowed."""
    h, w = field.frame.shape[1:]
    return field.render((1, h, w), region=((number, number + 1), (0.0, float(h)), (0.0, float(w))))[0]


def as_bytes(values: Float[ndarray, "..."], value_range: tuple[float, float]) -> UInt8[ndarray, "..."]:
    """Values as 8 bits, clipped to their range."""
    low, high = value_range
    return np.round(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def write_video(path: str, frames: Iterator[UInt8[ndarray, "h w c"]], rate: float, *, overwrite: bool) -> None:
    """Writes a video in the format of the path's suffix."""
    suffix = os.path.splitext(path)[1].lower()
    write_atomically(path, lambda file: encode_video(file, frames, rate, suffix), overwrite=overwrite)
