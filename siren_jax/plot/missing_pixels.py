"""Figures of inpainted and completed pictures."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from numpy import ndarray

from siren_jax.plot.layout import arranged, wrapped

SIDE = 3.2  # width of a picture in inches
MISSING = np.array([0.84, 0.37, 0.0])  # Okabe and Ito's vermilion


def inpainting(
    image: Float[ndarray, "h w c"],
    known: Bool[ndarray, "h w"],
    prediction: Float[ndarray, "h w c"],
    truth: Float[ndarray, "h w c"] | None = None,
    *,
    title: str = "",
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """The known pixels of a picture and a network's prediction, with the truth and the error if the truth is given.

    Args:
        image: values of the pixels.
        known: mask of the known pixels; the others are shown in one colour.
        prediction: the picture by a network.
        truth: the whole picture; pixels that are NaN are also shown in this colour.
        title: title of the figure, one line.
        value_range: values shown as black and white.
    """
    h, w = known.shape
    low, high = value_range
    image, prediction = ((values - low) / (high - low) for values in (image, prediction))
    panels = {_known(known): _coloured(image, known), "prediction": prediction}
    if truth is not None:
        truth = (truth - low) / (high - low)
        panels["ground truth"] = _coloured(truth)
    count = len(panels) + (truth is not None)
    figure, axes, aspect = arranged((h, w), count, columns=count, side=SIDE, title=title)
    for axis, (name, picture) in zip(axes, panels.items(), strict=False):
        _show(axis, name, picture, aspect)
    if truth is not None:
        error = np.abs(prediction - truth).mean(axis=-1)
        bound = max(1 / 255, float(np.nanpercentile(error, 99.5)))
        colours = matplotlib.colormaps["magma"].with_extremes(bad=tuple(MISSING))
        shown = axes[-1].imshow(error, cmap=colours, vmin=0, vmax=bound, interpolation="nearest", aspect=aspect)
        axes[-1].set_title(wrapped("error", axes[-1]))
        figure.colorbar(shown, ax=axes[-1], label="mean |error|, of the range", shrink=0.9)
        if not np.isfinite(error).all():
            for axis in axes[-2:]:
                axis.set_xlabel("orange: no value")
    return figure


def completion(
    image: Float[ndarray, "h w c"],
    known: Bool[ndarray, "h w"],
    pictures: Mapping[str, Float[ndarray, "h w c"]],
    deviation: Float[ndarray, "h w"],
    truth: Float[ndarray, "h w c"] | None = None,
    *,
    title: str = "",
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """The known pixels of a picture, what the whole may be, how uncertain it is and, if it is given, the truth.

    Args:
        image: values of the pixels.
        known: mask of the known pixels; the others are shown in one colour.
        pictures: whole pictures by name, such as the mean of the possible ones.
        deviation: standard deviation of the possible pictures, in the units of the values.
        truth: the whole picture; pixels that are NaN are also shown in this colour.
        title: title of the figure, one line.
        value_range: values shown as black and white.
    """
    h, w = known.shape
    low, high = value_range
    scaled = lambda values: (values - low) / (high - low)
    panels = {_known(known): _coloured(scaled(image), known), **{name: scaled(p) for name, p in pictures.items()}}
    count = len(panels) + 1 + (truth is not None)
    figure, axes, aspect = arranged((h, w), count, columns=count, side=SIDE, title=title)
    for axis, (name, picture) in zip(axes, panels.items(), strict=False):
        _show(axis, name, picture, aspect)
    axes[0].set_xlabel("orange: unknown")
    _show_deviation(figure, axes[len(panels)], deviation, aspect)
    if truth is not None:
        _show(axes[-1], "ground truth", _coloured(scaled(truth)), aspect)
    return figure


def uncertainty(deviation: Float[ndarray, "h w"], *, title: str = "") -> Figure:
    """The standard deviation at each pixel, with a colour bar in the units of the values.

    Args:
        deviation: standard deviation.
        title: title of the figure, one line.
    """
    h, w = deviation.shape
    figure, (axis,), aspect = arranged((h, w), 1, columns=1, side=2 * SIDE, title=title)
    _show_deviation(figure, axis, deviation, aspect)
    return figure


def _known(known: Bool[ndarray, "h w"]) -> str:
    return f"known: {100 * known.mean():.3g} % of the pixels"


def _coloured(image: Float[ndarray, "h w c"], known: Bool[ndarray, "h w"] | None = None) -> Float[ndarray, "h w 3"]:
    """The brightness in colours, with unknown pixels, by default those that are NaN, in one of its own."""
    shown = np.broadcast_to(image if image.shape[-1] == 3 else image[..., :1], (*image.shape[:2], 3)).copy()
    shown[~np.isfinite(image).all(axis=-1) if known is None else ~known] = MISSING
    return shown


def _show(axis: Any, name: str, picture: Float[ndarray, "h w c"], aspect: str) -> None:
    shown = np.clip(picture, 0, 1)
    shown = shown if shown.shape[-1] == 3 else shown[..., 0]
    axis.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect=aspect)
    axis.set_title(wrapped(name, axis))


def _show_deviation(figure: Figure, axis: Any, deviation: Float[ndarray, "h w"], aspect: str) -> None:
    bound = float(deviation.max())
    shown = axis.imshow(deviation, cmap="viridis", vmin=0, vmax=bound, interpolation="nearest", aspect=aspect)
    axis.set_title(wrapped("standard deviation", axis))
    figure.colorbar(shown, ax=axis, label="in the units of the values", shrink=0.9)
