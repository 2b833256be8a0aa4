"""`siren-jax complete`: the most likely picture in a base given some of its pixels, and what else it may be."""

import dataclasses
import json
import os
from dataclasses import dataclass
from typing import Annotated

import jax
import numpy as np
import tyro
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax import metrics
from siren_jax.cli.console import printable, status
from siren_jax.cli.helptext import documented, optional
from siren_jax.cli.options import check_files, check_positive, check_seed
from siren_jax.cli.sources import missing_pixels
from siren_jax.errors import InputError
from siren_jax.files.atomic import check_space
from siren_jax.files.header import as_json
from siren_jax.networks.layers import count_parameters
from siren_jax.sets.base import SAMPLES, Base, Completion, load_base, other_channels
from siren_jax.sets.reader import with_channels
from siren_jax.signals import Image, IncompletePicture, read_image
from siren_jax.signals.ranges import normalized, restored
from siren_jax.subjects.kinds import SIGNALS
from siren_jax.subjects.picture import write_picture
from siren_jax.subjects.procedure import write_figure

MEAN, LIKELY, DEVIATION, COMPARISON = "completion.png", "most_likely.png", "deviation.png", "comparison.png"
SIREN = "most_likely.siren"
MOST = 2**28  # values of all samples, which are in memory as float32
BIHARMONIC = 2**18  # most pixels that are also inpainted
FIGURES = 2**22  # bytes of both figures and the headers of all files, at most


@dataclass(frozen=True)
@documented
class Complete:
    """Complete a picture from some of its pixels: find the most likely picture in a base, and samples of what else it
    may be."""

    base: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="BASE")]
    """The base, a .siren file that `siren-jax learn` has made of pictures."""
    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="IMAGE")]
    """The picture. It has as many channels as the pictures of the base; a grey one becomes colour if need be."""
    out: Annotated[str, tyro.conf.arg(metavar="DIR")]
    """Directory of the results."""
    pixels: Annotated[int | None, optional("N", "none")] = None
    """Give this number of pixels, drawn at random with --seed. Measures how well the others are completed."""
    mask: Annotated[str | None, optional("MASK", "none")] = None
    """Instead of a number, a mask: a picture of the same size, white where pixels are missing and black where they are
    known."""
    size: Annotated[int | None, optional("N", "the file's own")] = None
    """Resize picture and mask so that the longer side has N pixels, with an anti-aliasing filter."""
    samples: int = SAMPLES
    """Number of possible pictures, from which the mean and the standard deviation are computed."""
    seed: int = 0
    """Seed of the samples and of the choice of pixels."""
    overwrite: bool = False
    """Replace earlier results in the directory."""
    json: bool = False
    """Print the qualities as one JSON object on the last line of the output."""

    def run(self) -> int:
        self._check()
        base = load_base(self.base)
        if base.kind != "image":
            raise InputError(
                f"{self.base!r} is a base of {SIGNALS[base.kind].plural}, but siren-jax complete takes pictures; in "
                "Python, load_base(...).complete takes arrays of every kind."
            )
        image = self._image(base)
        known = self._known(image)
        picture = IncompletePicture(image.values, known, value_range=image.value_range)  # refuses a mask of all pixels
        h, w, c = image.values.shape
        if (values := (self.samples + 1) * h * w * c) > MOST:
            raise InputError(
                f"{self.samples} samples of {h} x {w} pixels have {values:,} values, but {MOST:,} fit; use --size."
            )
        try:
            os.makedirs(self.out, exist_ok=True)
        except OSError as error:
            raise InputError(f"the directory {self.out!r} cannot be made: {error.strerror}.") from None
        # With some results and not all of them, the next try would need --overwrite.
        check_space(os.path.join(self.out, ""), 4 * (count_parameters(base.network) + h * w * c) + FIGURES)
        with status("completing the picture"):
            # Values are scaled by the picture's own range, as in an encoding.
            own = dataclasses.replace(base, value_range=image.value_range)
            found = own.complete(picture.signal, known, key=jax.random.key(self.seed), samples=self.samples)
            quality = {} if self.pixels is None else self._quality(picture, image.known & ~known, found)
        with status("writing the results"):
            self._write(picture, image, found, quality)
        self._tell(known, quality)
        return 0

    def _check(self) -> None:
        """Refuses invalid settings and existing results, before anything is read."""
        if (self.pixels is None) == (self.mask is None):
            raise InputError("give the known pixels by one of --pixels and --mask.")
        check_positive(self, ("pixels", "size"))
        if self.samples < 2:
            raise InputError(f"--samples takes a whole number from 2 on, but is {self.samples}.")
        check_seed(self.seed)
        check_files(self.out, (MEAN, LIKELY, DEVIATION, COMPARISON, SIREN), overwrite=self.overwrite)

    def _image(self, base: Base) -> Image:
        """The picture with as many channels as those of the base."""
        channels = base.network.out_features
        image = read_image(self.file, keep_alpha=channels in (2, 4), size=self.size)
        values, shape = image.values, image.values.shape[:2]
        scaled = normalized(values.reshape(-1, values.shape[-1]), image.value_range)
        try:
            scaled = with_channels(scaled, channels, base.kind)
        except InputError:
            raise other_channels(base, f"{self.file!r} has", values.shape[-1]) from None
        values = restored(scaled, image.value_range).reshape(*shape, channels).astype(np.float32)
        return dataclasses.replace(image, values=values)

    def _known(self, image: Image) -> Bool[ndarray, "h w"]:
        if self.mask is not None:
            return image.known & ~missing_pixels(self.mask, image.known.shape, size=self.size)
        assert self.pixels is not None
        there = np.flatnonzero(image.known)
        if self.pixels >= len(there):
            raise InputError(
                f"--pixels takes a number below that of the picture's pixels, {len(there):,}, but is {self.pixels:,}."
            )
        known = np.zeros(image.known.shape, bool)
        known.flat[np.random.default_rng(self.seed).choice(there, self.pixels, replace=False)] = True
        return known

    def _quality(
        self, picture: IncompletePicture, unknown: Bool[ndarray, "h w"], found: Completion
    ) -> dict[str, float]:
        """PSNR over the unknown pixels, by method."""
        pictures = {"mean": found.mean, "most likely": found.field.render(), "nearest neighbour": picture.filled()}
        if unknown.size <= BIHARMONIC:
            from skimage.restoration import inpaint_biharmonic

            filled = np.where(picture.known[..., None], picture.signal, 0)
            pictures["biharmonic"] = inpaint_biharmonic(filled, ~picture.known, channel_axis=-1)
        low, high = picture.value_range
        truth = picture.signal[unknown]
        return {name: metrics.psnr(values[unknown], truth, data_range=high - low) for name, values in pictures.items()}

    def _write(self, picture: IncompletePicture, image: Image, found: Completion, quality: dict[str, float]) -> None:
        from siren_jax import plot  # imports Matplotlib, which takes a second

        path = lambda name: os.path.join(self.out, name)
        known = picture.known
        record = {**found.field.record, "known": float(known.mean()), "seed": self.seed}
        record |= {"psnr_missing": quality["most likely"]} if quality else {}
        dataclasses.replace(found.field, record=record).save(path(SIREN), overwrite=self.overwrite)
        likely = found.field.render()
        for name, values in ((MEAN, found.mean), (LIKELY, likely)):
            write_picture(path(name), values, "value", image.value_range, overwrite=self.overwrite)
        deviation = np.sqrt(np.mean(found.deviation**2, axis=-1))
        title = f"{os.path.basename(self.file)}: {np.count_nonzero(known):,} of {known.size:,} pixels are known"
        title = title.replace("$", r"\$")  # dollars begin mathematics in Matplotlib
        write_figure(path(DEVIATION), plot.uncertainty(deviation, title=title), overwrite=self.overwrite)
        names = {"mean": found.mean, "most likely": likely}
        pictures = {
            f"{name}, PSNR {quality[name]:.1f} dB" if quality else name: self._opaque(values, image.value_range)
            for name, values in names.items()
        }
        truth = image.values if quality else None
        figure = plot.completion(
            self._opaque(image.values, image.value_range),
            known,
            pictures,
            deviation,
            None if truth is None else self._opaque(truth, image.value_range),
            title=title + ("; PSNR over the others" if quality else ""),
            value_range=image.value_range,
        )
        write_figure(path(COMPARISON), figure, overwrite=self.overwrite)

    def _opaque(self, values: Float[ndarray, "h w c"], value_range: tuple[float, float]) -> Float[ndarray, "h w c"]:
        """A picture over white, if its last channel is transparency."""
        if values.shape[-1] not in (2, 4):
            return values
        low, high = value_range
        alpha = (values[..., -1:] - low) / (high - low)
        return alpha * values[..., :-1] + (1 - alpha) * high

    def _tell(self, known: Bool[ndarray, "h w"], quality: dict[str, float]) -> None:
        count = int(np.count_nonzero(known))
        print(f"{count:,} of {known.size:,} pixels are known; {self.samples} samples of the others")
        if quality:
            wide = max(map(len, quality))
            print(f"{'':{wide}}  PSNR over the unknown pixels (dB)")
            for name, psnr in quality.items():
                print(f"{name:{wide}}  {psnr:33.2f}")
        for name in (MEAN, LIKELY, DEVIATION, COMPARISON, SIREN):
            print(f"  {printable(os.path.join(self.out, name))}")
        if self.json:
            psnr = {name.replace(" ", "_"): value for name, value in quality.items()}
            summary = {"known": count, "pixels": known.size, "samples": self.samples, "psnr": psnr}
            print(json.dumps(as_json("the summary", summary)))
