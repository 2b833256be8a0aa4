"""`siren-jax inpaint`: a picture from some of its pixels."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import tyro
from flax import nnx
from jax.tree_util import Partial
from jaxtyping import Bool
from numpy import ndarray

from siren_jax import metrics
from siren_jax.cli.estimate import Estimate
from siren_jax.cli.options import Output, Training, check_positive, check_values, number, optional
from siren_jax.cli.picture import warn_of_nothing, write_picture
from siren_jax.cli.subject import PSNR, Sampled
from siren_jax.cli.training import train
from siren_jax.errors import InputError
from siren_jax.neural_field import NeuralField
from siren_jax.objectives import supervise, with_prior
from siren_jax.recipes import TUNED_INPAINTING
from siren_jax.signals import Image, IncompletePicture, OmegaChoice, choose_omega, load_mask, read_image

ESTIMATED = 4096  # pixels of the PSNR that is shown between chunks
PRIORS = {"tv": "total_variation", "hessian": "hessian"}
WEIGHTS = {"tv": 1e-3, "hessian": 1e-5, "none": 0.0}


@dataclass(frozen=True)
class Inpaint:
    """Fill in what a picture lacks: fit a network to its known pixels, and to a prior between them."""

    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="IMAGE")]
    """The picture."""
    mask: Annotated[str | None, optional("M", "where the picture has no value")] = None
    """Picture of the same size: white where pixels are missing, black where they are known."""
    keep: Annotated[str | None, optional("PERCENT", "none")] = None
    """Instead of a mask: keep so many pixels, drawn by the seed, to see how well the others are found: 10%."""
    prior: Literal["tv", "hessian", "none"] = "tv"
    """What is likely between known pixels: little total variation, as of flat pieces with edges, or a small Hessian, as
    of smooth shading."""
    prior_weight: Annotated[float | None, optional("W", "0.001 for tv, 0.00001 for hessian")] = None
    """Of the prior, values from -1 to 1 and coordinates from -1 to 1."""
    values: Annotated[
        tuple[float, float] | None, optional("LOW HIGH", "those of 8 or 16 bits; of floats 0 1, or least to greatest")
    ] = None
    """Numbers of the file that stand for black and white."""
    no_data: Annotated[float | None, optional("NUMBER", "what the file says")] = None
    """Number of the file that stands for no value; such pixels are missing, as are those that are NaN."""
    size: Annotated[int | None, optional("N", "as it is")] = None
    """Resize picture and mask first so that the longer side has so many pixels, with anti-aliasing."""
    training: tyro.conf.OmitArgPrefixes[Training] = field(default_factory=Training)
    output: tyro.conf.OmitArgPrefixes[Output] = field(default_factory=Output)

    def run(self) -> int:
        self.training.check()
        self.output.check()
        if self.mask is not None and self.keep is not None:
            raise InputError("tell which pixels are known: either by --mask or by --keep.")
        check_values(self.values, self.no_data)
        weight = WEIGHTS[self.prior] if self.prior_weight is None else self.prior_weight
        if not 0 <= weight < np.inf:
            raise InputError(f"--prior-weight takes a number that is not negative, but is {weight:g}.")
        check_positive(self, ("size",))
        kept = None if self.keep is None else _share(self.keep)
        no_data = () if self.no_data is None else (self.no_data,)
        image = read_image(self.file, size=self.size, value_range=self.values, no_data=no_data)
        for note in image.notes:
            print(note, file=sys.stderr)
        known = self._known(image, kept)
        picture = IncompletePicture(image.values, known, value_range=image.value_range)
        name = os.path.splitext(os.path.basename(self.file))[0]
        subject = Gaps(picture, self.prior if weight else "none", weight, judged_everywhere=kept is not None)
        record = {"prior": self.prior, "prior_weight": weight, "known": float(known.mean())}
        recipe, target = self.training.recipe(TUNED_INPAINTING), self.training.target_psnr
        files = {"file": self.file, **({} if self.mask is None else {"mask": self.mask})}
        return train(self, files, subject, name, recipe, record, target=target)

    def _known(self, image: Image, kept: float | None) -> Bool[ndarray, "h w"]:
        known = image.known
        if kept is not None:
            order = np.random.default_rng(self.training.seed).permutation(known.size).reshape(known.shape)
            return known & (order < max(1, round(kept * known.size)))
        if self.mask is None:
            if known.all():
                raise InputError(
                    f"every pixel of {self.file!r} has a value: tell which ones are known by --mask or by --keep."
                )
            return known
        missing = load_mask(self.mask, size=self.size)
        if missing.shape != known.shape:
            raise InputError(
                f"the mask {self.mask!r} has {missing.shape[0]} x {missing.shape[1]} pixels, but the picture has "
                f"{known.shape[0]} x {known.shape[1]}."
            )
        if not missing.any():
            raise InputError(f"the mask {self.mask!r} has no white pixel, so nothing is missing.")
        return known & ~missing


def _share(text: str) -> float:
    """A percentage as a number between 0 and 1."""
    share = number(text.removesuffix("%")) / 100
    if not 0 < share < 1:
        raise InputError(f"--keep takes a percentage above 0 and below 100, such as 10%, but is {text!r}.")
    return share


class Gaps(Sampled):
    """A picture with missing pixels; see `Subject`.

    Args:
        picture: the picture and its known pixels.
        prior: "tv", "hessian" or "none".
        weight: of the prior.
        judged_everywhere: whether the picture has the truth at unknown pixels, too, except where it is NaN.
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
        # Random samples, a share p of all, resolve frequencies lower by √p.
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
        return metrics.psnr(picture[where], self.dataset.signal[where], value_range=high - low)
