"""A picture with missing pixels as the subject of a fit."""

from collections.abc import Callable
from typing import Any

from flax import nnx
from jax.tree_util import Partial
from numpy import ndarray

from siren_jax import metrics
from siren_jax.fitting.objectives import supervise, with_prior
from siren_jax.neural_field import NeuralField
from siren_jax.signals import IncompletePicture, OmegaChoice, choose_omega
from siren_jax.subjects.estimate import ESTIMATED, Estimate
from siren_jax.subjects.picture import warn_of_nothing, write_picture
from siren_jax.subjects.subject import PSNR, Sampled

PRIORS = {"tv": "total_variation", "hessian": "hessian"}


class Gaps(Sampled):
    """A picture with missing pixels; see `Subject`.

    Args:
        picture: the picture and its known pixels.
        prior: "tv", "hessian" or "none".
        weight: weight of the prior.
        judged_everywhere: whether the quality includes the unknown pixels, whose true values the picture also contains;
            pixels that are NaN are left out.
    """

    measure = PSNR
    files = ("reconstruction.png",)

    def __init__(self, picture: IncompletePicture, prior: str, weight: float, *, judged_everywhere: bool):
        self.dataset = self._picture = picture
        self._everywhere = judged_everywhere
        self.note = "all pixels" if judged_everywhere else "known pixels"
        plain = supervise("value")
        self.objective = plain if prior == "none" else with_prior(plain, PRIORS[prior])
        self.weights = {} if prior == "none" else {"prior": weight}
        whole = IncompletePicture(picture.signal, value_range=picture.value_range)
        self._judged = whole.known if judged_everywhere else picture.known
        self._estimate = Estimate(whole if judged_everywhere else picture, ESTIMATED)

    def choose_omega(self) -> OmegaChoice:
        known = float(self._picture.known.mean())
        omega, reason = choose_omega(self._picture.filled(), self.dataset.frame)
        # A random share p of the samples resolves frequencies that are lower by the factor √p.
        text = f"√{known:.3g} times {reason}; {100 * known:.3g} % of the pixels are known"
        return OmegaChoice(float(f"{omega * known**0.5:.2g}"), text)

    def sampler(self, batch_size: int) -> Partial:
        return self.dataset.sampler(batch_size)

    def field(self, network: nnx.Module, record: dict[str, Any]) -> NeuralField:
        return NeuralField(network, self.dataset.frame, self.dataset.value_range, "image", record=record)  # pyright: ignore

    def estimate(self, network: nnx.Module) -> float:
        return metrics.psnr(self._estimate(network), self._estimate.truth)

    def quality(self, network: nnx.Module) -> float:
        return self._psnr(self.field(network, {}).render(), self._judged)

    def figure(self, network: nnx.Module, title: str):
        from siren_jax import plot  # imports Matplotlib, which takes longer than a first step

        prediction = self.field(network, {}).render()
        truth = self.dataset.signal if self._everywhere else None
        given = self.dataset.signal, self._picture.known
        return plot.inpainting(*given, prediction, truth, title=title, value_range=self.dataset.value_range)

    def write(self, network: nnx.Module, path: Callable[[str], str], *, overwrite: bool) -> dict[str, Any]:
        picture, known = self.field(network, {}).render(), self._picture.known
        write_picture(path(self.files[0]), picture, "value", self.dataset.value_range, overwrite=overwrite)
        warn_of_nothing(picture[self._judged], self.dataset.signal[self._judged])
        quality = {"psnr": self._psnr(picture, self._judged), "psnr_known": self._psnr(picture, known)}
        if (missing := self._judged & ~known).any():
            quality["psnr_missing"] = self._psnr(picture, missing)
        return quality

    def _psnr(self, picture: ndarray, where: ndarray) -> float:
        low, high = self.dataset.value_range
        return metrics.psnr(picture[where], self.dataset.signal[where], data_range=high - low)
