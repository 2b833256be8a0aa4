"""A video as the subject of a fit, and as a file."""

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from flax import nnx
from jax.tree_util import Partial
from jaxtyping import Float, UInt8
from numpy import ndarray

from siren_jax import metrics
from siren_jax.files.atomic import write_atomically
from siren_jax.fitting.objectives import supervise
from siren_jax.neural_field import NeuralField
from siren_jax.signals import SampleDataset, Video, encode_video
from siren_jax.signals.video import writes_mp4
from siren_jax.subjects.estimate import ESTIMATED, Estimate
from siren_jax.subjects.subject import PSNR, Sampled

JUDGED = 65536  # pixels of the PSNR that a target is compared with: a whole video takes minutes
SHOWN = 5  # frames of a contact sheet


class Clip(Sampled):
    """The pixels of a video; see `Subject`."""

    measure = PSNR
    note = ""

    def __init__(self, video: Video):
        self._video = video
        self.dataset = SampleDataset(video.frames)
        self.files = ("reconstruction.mp4" if writes_mp4() else "reconstruction.gif",)
        self.objective, self.weights = supervise("value"), {}
        self._estimate = Estimate(self.dataset, ESTIMATED)
        self._judge = Estimate(self.dataset, JUDGED)

    @property
    def memory(self) -> int:
        return 3 * self._video.frames.nbytes  # what was decoded, the array, the fit's copy

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


def frame_at(
    field: NeuralField,
    number: float,
    sides: tuple[int, int] | None = None,
    area: tuple[tuple[float, float], tuple[float, float]] | None = None,
) -> Float[ndarray, "h w c"]:
    """A frame of a video by its number in the original, fractions allowed; with other sides or as a part if given."""
    h, w = map(float, field.frame.shape[1:])
    return field.render(
        (1, *(sides or field.frame.shape[1:])), region=((number, number + 1), *(area or ((0.0, h), (0.0, w))))
    )[0]


def as_bytes(values: Float[ndarray, "..."], value_range: tuple[float, float]) -> UInt8[ndarray, "..."]:
    """Values as 8 bits, clipped to their range."""
    low, high = value_range
    return np.round(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def write_video(path: str, frames: Iterator[UInt8[ndarray, "h w c"]], rate: float, *, overwrite: bool) -> None:
    """Writes a video in the format of the path's suffix."""
    suffix = os.path.splitext(path)[1].lower()
    write_atomically(path, lambda file: encode_video(file, frames, rate, suffix), overwrite=overwrite)
