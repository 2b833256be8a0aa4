"""`siren-jax inpaint`: fills in the missing pixels of a picture."""

import os
import sys
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import tyro
from jaxtyping import Bool
from numpy import ndarray

from siren_jax.cli.console import as_options
from siren_jax.cli.helptext import documented, optional
from siren_jax.cli.options import Output, Training, check_positive, check_values, number
from siren_jax.cli.sources import missing_pixels
from siren_jax.cli.training import train
from siren_jax.errors import InputError
from siren_jax.fitting.recipes import TUNED_INPAINTING
from siren_jax.signals import Image, IncompletePicture, read_image
from siren_jax.subjects.inpainting import Gaps

WEIGHTS = {"tv": 1e-3, "hessian": 1e-5, "none": 0.0}


@dataclass(frozen=True)
@documented
class Inpaint:
    """Fill in the missing pixels of a picture: fit a network to the known ones, with a smoothness prior between
    them."""

    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="IMAGE")]
    """Picture with missing pixels."""
    mask: Annotated[str | None, optional("M", "pixels without a value")] = None
    """Mask: a picture of the same size, white where pixels are missing and black where they are known."""
    keep: Annotated[str | None, optional("PERCENT", "none")] = None
    """Instead of a mask, keep this share of the pixels, such as 10%, drawn at random with --seed. Measures how well the
    other pixels are reconstructed."""
    prior: Literal["tv", "hessian", "none"] = "tv"
    """Prior between the known pixels: small total variation, for flat areas with edges (tv); a small Hessian, for
    smooth shading (hessian); or no prior (none)."""
    prior_weight: Annotated[float | None, optional("W", "0.001 for tv, 0.00001 for hessian")] = None
    """Weight of the prior, for values and coordinates from -1 to 1."""
    values: Annotated[
        tuple[float, float] | None,
        optional("LOW HIGH", "the range of 8 or 16 bits; for floats 0 and 1, or the least and the greatest value"),
    ] = None
    """Numbers in the file that mean black and white."""
    no_data: Annotated[float | None, optional("NUMBER", "the one in the file's header")] = None
    """Number in the file that marks pixels without a value. These pixels and those that are NaN are missing."""
    size: Annotated[int | None, optional("N", "the file's own")] = None
    """Resize picture and mask before the fit so that the longer side has N pixels, with an anti-aliasing filter."""
    training: tyro.conf.OmitArgPrefixes[Training] = field(default_factory=Training)
    output: tyro.conf.OmitArgPrefixes[Output] = field(default_factory=Output)

    def run(self) -> int:
        self.training.check()
        self.output.check()
        if self.mask is not None and self.keep is not None:
            raise InputError("--mask and --keep exclude each other; give one.")
        check_values(self.values, self.no_data)
        weight = WEIGHTS[self.prior] if self.prior_weight is None else self.prior_weight
        if not 0 <= weight < np.inf:
            raise InputError(f"--prior-weight takes a number that is not negative, but is {weight:g}.")
        check_positive(self, ("size",))
        kept = None if self.keep is None else _share(self.keep)
        no_data = () if self.no_data is None else (self.no_data,)
        image = read_image(self.file, size=self.size, value_range=self.values, no_data=no_data)
        for note in image.notes:
            print(as_options(note, self), file=sys.stderr)
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
                    f"every pixel of {self.file!r} has a value; choose the missing ones with --mask or --keep."
                )
            return known
        return known & ~missing_pixels(self.mask, known.shape, size=self.size)


def _share(text: str) -> float:
    """A percentage as a number between 0 and 1."""
    share = number(text.removesuffix("%")) / 100
    if not 0 < share < 1:
        raise InputError(f"--keep takes a percentage above 0 and below 100, such as 10%, but is {text!r}.")
    return share
