"""A picture as the subject of a fit, and as a file."""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flax import nnx
from jax.tree_util import Partial
from numpy import ndarray

from siren_jax import metrics
from siren_jax._types import Quantity, Target
from siren_jax.errors import InputError
from siren_jax.files.atomic import write_atomically
from siren_jax.fitting.objectives import supervise
from siren_jax.fitting.recipes import TARGETS
from siren_jax.neural_field import NeuralField
from siren_jax.signals import IncompletePicture, OmegaChoice, PixelDataset, choose_omega, read_image, used_range
from siren_jax.signals.ranges import restored
from siren_jax.subjects.cells import render_cells
from siren_jax.subjects.estimate import ESTIMATED, Estimate
from siren_jax.subjects.rendering import area_of, check_room, dimensions, sides_of, write_array
from siren_jax.subjects.subject import PSNR, Sampled

BYTES_OF_INTEGRAL = (
    830  # per pixel and channel, measured as in `subject`: the Fourier transform of the mirrored Laplacian
)
MIXED = (1.0, 0.1, 0.01)  # weights of value, gradient and Laplacian
SHOWN = 512  # longest side of a picture in a figure, whose panels have some 360 pixels; a larger one is subsampled
DARK = 0.25  # share of the range in use below which a PSNR over the whole range is too favourable
NOTHING = 0.9  # squared error, in units of the picture's variance, from which a network has learned nothing
ALIGNMENTS = {None: "none", 0: "mean", 1: "mean and plane"}


class Picture(Sampled):
    """The pixels of a picture; see `Subject`.

    Before a PSNR, what the target does not determine is taken from the truth, see `metrics.aligned`: the mean, and for
    a Laplacian without its integral form also a plane. Unknown pixels are left out.

    Args:
        dataset: the picture, an `IncompletePicture` if pixels are unknown.
        target: a key of `recipes.TARGETS`.
        weights: weights of the terms; by default 1.
        integral_weight: weight of the integral form of a derivative; zero leaves this form out.
        notes: sentences on how the picture was read.
    """

    measure = PSNR
    files = ("reconstruction.png",)

    def __init__(
        self,
        dataset: PixelDataset,
        target: Target,
        weights: Mapping[str, float],
        integral_weight: float,
        *,
        notes: tuple[str, ...] = (),
    ):
        self.notes = notes
        self.dataset = self._pixels = dataset
        self._known = dataset.known if isinstance(dataset, IncompletePicture) else np.ones(dataset.shape, bool)
        self._used = share_in_use(dataset.signal.reshape(-1, dataset.channels)[self._flat], dataset.value_range)
        integrals = [q for q in TARGETS[target] if q.endswith("integral")]
        self._quantities = tuple(q for q in TARGETS[target] if integral_weight or q not in integrals)
        self.weights = {**weights, **(dict.fromkeys(integrals, integral_weight) if integral_weight else {})}
        self.objective = supervise(*self._quantities, mean_square=None if target == "values" else dataset.mean_square)
        self._alignment = {"gradient": 0, "laplacian": 0 if integral_weight else 1}.get(target)
        self.note = self._note()
        self._estimate = Estimate(dataset, ESTIMATED)

    @property
    def points(self) -> int:
        return int(np.count_nonzero(self._known))

    def choose_omega(self) -> OmegaChoice:
        dataset = self.dataset
        whole = dataset.filled() if isinstance(dataset, IncompletePicture) else dataset.signal
        return choose_omega(whole, dataset.frame)

    @property
    def memory(self) -> int:
        return super().memory + BYTES_OF_INTEGRAL * self.dataset.signal.size * (
            "laplacian_integral" in self._quantities
        )

    def sampler(self, batch_size: int) -> Partial:
        return self._pixels.sampler(batch_size, quantities=self._quantities)

    def field(self, network: nnx.Module, record: dict[str, Any]) -> NeuralField:
        return NeuralField(network, self.dataset.frame, self.dataset.value_range, "image", record=record)  # pyright: ignore

    def estimate(self, network: nnx.Module) -> float:
        truth, points = self._estimate.truth, self._estimate.points
        return metrics.psnr(self._aligned(self._estimate(network), truth, points), truth)

    def quality(self, network: nnx.Module) -> float:
        return metrics.psnr(self._aligned(self._values(network))[self._flat], self._truth)

    def figure(self, network: nnx.Module, title: str):
        from siren_jax import plot  # imports Matplotlib, which takes longer than a first step

        field = self.field(network, {})
        most = 2 * SHOWN if plot.is_elongated(self.dataset.shape) else SHOWN  # their panels are twice as long
        every = max(1, max(self.dataset.shape) // most)
        shape = tuple(-(-n // every) for n in self.dataset.shape)
        region = tuple(((1 - every) / 2, (1 - every) / 2 + n * every) for n in shape)  # the centres of cells are pixels
        prediction = {of: field.render(shape, of=of, region=region) for of in ("gradient", "laplacian")}
        some = lambda name: self.dataset.grid(name)[::every, ::every].reshape(math.prod(shape), -1)
        values = NeuralField(network, self.dataset.frame).render(shape, region=region)  # pyright: ignore
        aligned = self._aligned(values.reshape(math.prod(shape), -1), some("value"), some("coordinates"))
        prediction["value"] = self._grid(aligned, shape)
        known = self._known[::every, ::every]
        truth = {of: grid[::every, ::every] for of, grid in self._pixels.grids().items()}
        for grid in (*truth.values(), *prediction.values()):
            grid[~known] = np.nan  # there is nothing to compare
        return plot.comparison(truth, prediction, title=title, value_range=self.dataset.value_range)

    def write(self, network: nnx.Module, path: Callable[[str], str], *, overwrite: bool) -> dict[str, Any]:
        values = self._values(network)
        aligned = self._aligned(values)
        picture = self._grid(aligned, self.dataset.shape).astype(np.float32)
        write_picture(path(self.files[0]), picture, "value", self.dataset.value_range, overwrite=overwrite)
        contrast = metrics.contrast(values[self._flat], self._truth)
        warn_of_nothing(aligned[self._flat], self._truth)
        quality = {"psnr": metrics.psnr(aligned[self._flat], self._truth)}
        if self._used:
            quality["psnr_used"] = metrics.psnr(aligned[self._flat], self._truth, data_range=2 * self._used)
            quality["share_in_use"] = self._used
            self.note = self._note(quality["psnr_used"])
        if not self._known.all():
            quality["unknown_pixels"] = int(np.count_nonzero(~self._known))
        return quality | {"alignment": ALIGNMENTS[self._alignment], "contrast": contrast}

    @property
    def _flat(self) -> ndarray | slice:
        """Index of the known pixels in arrays `(n, c)`."""
        return slice(None) if self._known.all() else self._known.ravel()

    @property
    def _truth(self) -> ndarray:
        """Values of the known pixels, in [-1, 1]."""
        return self.dataset.value[self._flat]

    def _note(self, used: float | None = None) -> str:
        """Notes on the PSNR, including the PSNR over the range in use once it is known."""
        notes = [] if self._alignment is None else [f"{ALIGNMENTS[self._alignment]} aligned"]
        if 0 < self._used < DARK:
            share = f"{100 * self._used:.2g} % of the range"
            notes.append(f"{share} is in use" if used is None else f"{used:.2f} dB over the {share} in use")
        return ", ".join(notes)

    def _values(self, network: nnx.Module) -> ndarray:
        """The network's values at every pixel, `(n, c)` in [-1, 1]."""
        field = NeuralField(network, self.dataset.frame)  # pyright: ignore
        return field.render().reshape(len(self.dataset), -1)

    def _aligned(self, values: ndarray, truth: ndarray | None = None, points: ndarray | None = None) -> ndarray:
        """Values at points, by default at every pixel, with what the target does not determine taken from the truth."""
        if self._alignment is None or not np.isfinite(values).all():
            return values
        truth = self.dataset.value if truth is None else truth
        points = self.dataset.coordinates if points is None else points
        assert self._known.all()  # with unknown pixels, only values can be fitted
        return metrics.aligned(values, truth, points, degree=self._alignment)

    def _grid(self, values: ndarray, shape: tuple[int, ...]) -> ndarray:
        """Values at the pixels of a grid, scaled from [-1, 1] to the picture's own range."""
        return restored(values.reshape(*shape, -1), self.dataset.value_range)


def share_in_use(values: ndarray, value_range: tuple[float, float]) -> float:
    """Share of the range that the values use, see `signals.used_range`; zero if they are all the same."""
    least, greatest = used_range(values)
    return (greatest - least) / (value_range[1] - value_range[0])


def warn_of_nothing(values: ndarray, truth: ndarray) -> None:
    """Warns if a network has learned next to nothing of its picture; both arrays are `(n, c)`."""
    variance = float(np.var(truth, axis=0, dtype=np.float64).mean())
    error = float(np.mean(np.square(values - truth, dtype=np.float64)))
    if variance > 0 and error >= NOTHING * variance:
        warnings.warn(
            f"the network has learned next to nothing of the picture: its squared error is {error / variance:.2g} "
            "times that of one even tone. More steps, another learning rate or another first omega may help.",
            stacklevel=2,
        )


def open_picture(
    source: str | ndarray,
    *,
    target: Target = "values",
    weights: tuple[float, float, float] | None = None,
    integral_weight: float = 1.0,
    keep_alpha: bool = False,
    downsample: int = 1,
    size: int | None = None,
    values: tuple[float, float] | None = None,
    no_data: float | None = None,
) -> Picture:
    """The picture in a file, or an array `(h, w)` or `(h, w, c)`, as the subject of a fit.

    Args:
        source: path of a file, or an array, whose type and values determine black and white; see `read_image`.
        target: what the network is fitted to: "values", "gradient", "laplacian" or "mixed".
        weights: weights of value, gradient and Laplacian in "mixed"; by default `MIXED`.
        integral_weight: weight of the integral form of a gradient or Laplacian; zero leaves this form out.
        keep_alpha: whether to fit transparency as a channel instead of compositing the picture over white.
        downsample: whole number by which both sides are divided, with anti-aliasing.
        size: longer side in pixels after resizing, with anti-aliasing.
        values: numbers in the file that mean black and white.
        no_data: number in the file that marks pixels without a value. These pixels and those that are NaN are left out.

    Raises:
        InputError: as for `read_image`; the target has derivatives, but some pixels have no value.
    """
    if weights is not None and target != "mixed":
        raise InputError('weights= applies to target="mixed" only; leave it out.')
    weights = MIXED if weights is None else weights
    if len(weights) != 3 or not all(0 <= w < math.inf for w in (*weights, integral_weight)) or not any(weights):
        raise InputError(
            f"weights are three numbers, finite, not negative and not all zero, but are {weights}, and the integral "
            f"weight {integral_weight}."
        )
    image = read_image(
        source,
        keep_alpha=keep_alpha,
        downsample=downsample,
        size=size,
        value_range=values,
        no_data=() if no_data is None else (no_data,),
    )
    complete = bool(image.known.all())
    if not complete and target != "values":
        name = "the picture" if isinstance(source, ndarray) else repr(source)
        count = int(np.count_nonzero(~image.known))
        raise InputError(
            f"{name} has {count:,} pixels without a value, next to which its derivatives are unknown: fit "
            'target="values", or fill them in first with siren-jax inpaint.'
        )
    dataset = (PixelDataset if complete else IncompletePicture)(image.values, value_range=image.value_range)
    mixed = dict(zip(TARGETS["mixed"], weights, strict=True)) if target == "mixed" else {}
    return Picture(dataset, target, mixed, integral_weight, notes=image.notes)


def render_picture(
    field: NeuralField,
    path: str,
    *,
    of: Quantity = "value",
    shape: tuple[int, int] | None = None,
    scale: float | None = None,
    region: tuple[float, float, float, float] | None = None,
    overwrite: bool = False,
) -> tuple[str, str]:
    """Writes a picture as a PNG or an NPY at any resolution; returns what was written and at which size, in words.

    Args:
        field: the picture.
        path: ends in `.png` (8 bits) or `.npy` (float32, in true units).
        of: "value", "gradient" or "laplacian".
        shape: height and width; by default those of the original or of the region.
        scale: factor on the default height and width, instead of a shape.
        region: part of the picture: first row and column, last row and column (exclusive), in pixels.
        overwrite: whether to replace an existing file.
    """
    area = area_of(field, region)
    sides = sides_of([stop - start for start, stop in area], shape, scale)
    if path.lower().endswith(".npy"):
        write_array(field, path, sides, area, of=of, overwrite=overwrite)
    else:
        check_room(field, sides, of)
        values = render_cells(field, sides, of=of, region=area)
        write_picture(path, values, of, field.value_range, overwrite=overwrite)
    return of, f"at {dimensions(sides)}"


def write_picture(
    path: str, values: ndarray, of: Quantity, value_range: tuple[float, float], *, overwrite: bool
) -> None:
    """Writes a rendered quantity as a PNG of 8 bits."""
    import matplotlib
    from PIL import Image

    from siren_jax.plot import as_picture

    shown, low, high, colours = as_picture(of, values, value_range)
    scaled = np.clip((shown - low) / (high - low), 0, 1)
    if of == "laplacian":
        scaled = matplotlib.colormaps[colours](scaled)[..., :3]
    picture = Image.fromarray(np.round(scaled * 255).astype(np.uint8))
    write_atomically(path, lambda file: picture.save(file, format="PNG"), overwrite=overwrite)
