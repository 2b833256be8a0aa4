"""A composite of two pictures as the subject of a fit."""

from collections.abc import Callable
from typing import Any

from flax import nnx
from jax.tree_util import Partial

from siren_jax import metrics
from siren_jax.fitting.objectives import supervise
from siren_jax.neural_field import NeuralField
from siren_jax.signals import Composite, PixelDataset
from siren_jax.subjects.estimate import ESTIMATED, Estimate
from siren_jax.subjects.picture import write_picture
from siren_jax.subjects.subject import PSNR, Sampled


class Composition(Sampled):
    """A composite of two pictures; see `Subject`."""

    measure = PSNR
    note = "against the direct solve"
    files = ("composite.png",)

    def __init__(self, composite: Composite):
        self._composite = composite
        self.dataset = PixelDataset(composite.solution(), value_range=composite.value_range)
        self.objective, self.weights = supervise("value"), {}
        self._estimate = Estimate(self.dataset, ESTIMATED)

    def sampler(self, batch_size: int) -> Partial:
        return self._composite.sampler(batch_size)

    def field(self, network: nnx.Module, record: dict[str, Any]) -> NeuralField:
        return NeuralField(network, self.dataset.frame, self.dataset.value_range, "image", record=record)  # pyright: ignore

    def estimate(self, network: nnx.Module) -> float:
        return metrics.psnr(self._estimate(network), self._estimate.truth)

    def quality(self, network: nnx.Module) -> float:
        return metrics.psnr(self.field(network, {}).render(), self.dataset.signal, data_range=1.0)

    def figure(self, network: nnx.Module, title: str):
        from siren_jax import plot  # imports Matplotlib, which takes longer than a first step

        composite = self._composite
        return plot.composition(
            composite.foreground,
            composite.background,
            composite.free,
            self.field(network, {}).render(),
            self.dataset.signal,
            title=title,
        )

    def write(self, network: nnx.Module, path: Callable[[str], str], *, overwrite: bool) -> dict[str, Any]:
        picture, truth, free = self.field(network, {}).render(), self.dataset.signal, self._composite.free
        write_picture(path(self.files[0]), picture, "value", self.dataset.value_range, overwrite=overwrite)
        quality = {"psnr": metrics.psnr(picture, truth, data_range=1.0)}
        for name, where in (("psnr_changed", free), ("psnr_kept", ~free)):
            if where.any():
                quality[name] = metrics.psnr(picture[where], truth[where], data_range=1.0)
        return quality
