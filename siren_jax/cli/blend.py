"""`siren-jax blend`: combines two pictures into one, without a seam."""

import os
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import tyro
from jaxtyping import Float
from numpy import ndarray

from siren_jax._types import Mode
from siren_jax.cli.helptext import documented, optional
from siren_jax.cli.options import Output, Training, check_positive
from siren_jax.cli.training import train
from siren_jax.errors import InputError
from siren_jax.fitting.recipes import TUNED
from siren_jax.signals import Composite, load_mask, read_image
from siren_jax.subjects.composite import Composition

MAX_PIXELS = 2**20  # the direct solve of this many takes 20 s and 1 GB


@dataclass(frozen=True)
@documented
class Blend:
    """Insert a picture into another one without a seam, or mix the two: fit a network to the desired differences
    between neighbouring pixels (Poisson image editing)."""

    foreground: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="A")]
    """Foreground: the picture to insert. Without --mask, the background is unchanged where this picture is
    transparent."""
    background: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="B")]
    """Background: the picture to insert into, of the same size."""
    mask: Annotated[str | None, optional("M", "the transparency of A, or everything")] = None
    """Mask: a picture of the same size, white where the background may change and black where it stays unchanged."""
    mode: Annotated[Mode | None, optional("{mean,max,paste}", "paste, or max without mask")] = None
    """Differences between neighbouring pixels within the mask: those of A (`paste`), the larger of those of A and
    B (`max`), so that B shows through where A is flat, or their mean (`mean`)."""
    size: Annotated[int | None, optional("N", "the files' own")] = None
    """Resize all pictures before the fit so that the longer side has N pixels, with a filter against aliasing."""
    training: tyro.conf.OmitArgPrefixes[Training] = field(default_factory=Training)
    output: tyro.conf.OmitArgPrefixes[Output] = field(default_factory=Output)

    def run(self) -> int:
        self.training.check()
        self.output.check()
        check_positive(self, ("size",))
        front, back = self._pictures()
        free = self._free(front)
        if front.shape[-1] == 4:
            front = front[..., :3]
        channels = max(front.shape[-1], back.shape[-1])
        front, back = (np.repeat(p, channels // p.shape[-1], axis=-1) for p in (front, back))
        mode = self.mode or ("max" if free is None else "paste")
        composite = Composite(front, back, free, mode=mode, value_range=(0.0, 1.0))
        name = "-".join(os.path.splitext(os.path.basename(path))[0] for path in (self.foreground, self.background))
        subject = Composition(composite)
        recipe, target = self.training.recipe(TUNED["values"]), self.training.target_psnr
        files = {"foreground": self.foreground, "background": self.background}
        if self.mask is not None:
            files["mask"] = self.mask
        return train(self, files, subject, name, recipe, {"mode": mode}, target=target)

    def _pictures(self) -> tuple[Float[ndarray, "h w a"], Float[ndarray, "h w b"]]:
        front = read_image(self.foreground, keep_alpha=self.mask is None, size=self.size).brightness
        back = read_image(self.background, size=self.size).brightness
        if front.shape[-1] == 2:  # grey with transparency
            front = np.repeat(front, (3, 1), axis=-1)
        for path, picture in ((self.foreground, front), (self.background, back)):
            if picture.shape[-1] not in (1, 3, 4):
                raise InputError(f"{path!r} has {picture.shape[-1]} channels; only grey and RGB pictures are blended.")
        if front.shape[:2] != back.shape[:2]:
            raise InputError(
                f"{self.foreground!r} has {front.shape[0]} x {front.shape[1]} pixels and {self.background!r} has "
                f"{back.shape[0]} x {back.shape[1]}; give A the size of B, with its content where it should be in B."
            )
        if back.shape[0] * back.shape[1] > MAX_PIXELS:
            raise InputError(
                f"{back.shape[0]} x {back.shape[1]} pixels are too many to blend; the limit is {MAX_PIXELS:,}. "
                "Resize them with --size."
            )
        return front, back

    def _free(self, front: Float[ndarray, "h w c"]) -> ndarray | None:
        """Mask of the pixels where the background may change; None for all pixels."""
        if self.mask is not None:
            free = load_mask(self.mask, size=self.size)
            if free.shape != front.shape[:2]:
                raise InputError(
                    f"the mask {self.mask!r} has {free.shape[0]} x {free.shape[1]} pixels, but the pictures have "
                    f"{front.shape[0]} x {front.shape[1]}."
                )
            return free
        return front[..., 3] > 0.5 if front.shape[-1] == 4 and front[..., 3].min() <= 0.5 else None
