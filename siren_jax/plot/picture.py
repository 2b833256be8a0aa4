"""Figures of pictures and their derivatives."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy import ndarray

from siren_jax.plot.colors import COLORS
from siren_jax.plot.layout import LONG, arranged, is_elongated

ROWS = ("value", "gradient", "laplacian")
_SYMBOLS = {"value": "f", "gradient": "|∇f|", "laplacian": "Δf"}
NO_VALUE = COLORS[2]  # green, which no colour map here has
_LABELS = {"value": "value", "gradient": "|∇f|, value / coordinate", "laplacian": "Δf, value / coordinate²"}


def comparison(
    truth: Mapping[str, ndarray],
    prediction: Mapping[str, ndarray],
    *,
    title: str = "",
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Figure:
    """Value, length of the gradient and Laplacian, ground truth beside prediction, each panel with its own scale.

    Pixels that are NaN are green, and the panel says so.

    Args:
        truth: `value` `(h, w, c)`, `gradient` `(h, w, c, 2)` and `laplacian` `(h, w, c)`.
        prediction: the same quantities, computed with a network.
        title: title of the figure, one line.
        value_range: values shown as black and white.
    """
    return panels({"ground truth": truth, "prediction": prediction}, title=title, value_range=value_range)


def panels(
    columns: Mapping[str, Mapping[str, ndarray]],
    *,
    title: str = "",
    value_range: tuple[float, float] = (0.0, 1.0),
    side: float = 3.6,
) -> Figure:
    """Any number of named columns of value, length of the gradient and Laplacian; see `comparison`.

    Panels of very wide pictures lie below each other, those of very tall pictures side by side.

    Args:
        columns: fields by name.
        title: title of the figure, one line.
        value_range: values shown as black and white.
        side: width of a picture that is not elongated, in inches.
    """
    h, w = next(iter(columns.values()))["value"].shape[:2]
    if is_elongated((h, w)):
        return _strips(columns, (h, w), title, value_range)
    figure = Figure(figsize=(len(columns) * (side + 1), 3 * (side * h / w + 0.1) + 0.7), layout="constrained")
    axes = figure.subplots(3, len(columns), squeeze=False)
    for column, (name, fields) in enumerate(columns.items()):
        for row, quantity in enumerate(ROWS):
            shown = _panel(axes[row, column], quantity, fields[quantity], value_range)
            if shown is not None:
                figure.colorbar(shown, ax=axes[row, column], label=_LABELS[quantity], shrink=0.9)
        axes[0, column].set_title(name)
    for row, quantity in enumerate(ROWS):
        axes[row, 0].set_ylabel(_SYMBOLS[quantity], fontsize="x-large")
    figure.suptitle(title)
    return figure


def _strips(
    columns: Mapping[str, Mapping[str, ndarray]], shape: tuple[int, int], title: str, value_range: tuple[float, float]
) -> Figure:
    """Panels of an elongated picture."""
    wide = shape[1] > shape[0]
    count = len(ROWS) * len(columns)
    figure, axes, aspect = arranged(shape, count, columns=count, side=LONG, title=title)
    panels = [(quantity, name, fields) for quantity in ROWS for name, fields in columns.items()]
    for axis, (quantity, name, fields) in zip(axes, panels, strict=True):
        shown = _panel(axis, quantity, fields[quantity], value_range, aspect)
        axis.set_title(f"{name}: {_LABELS[quantity]}" if wide else f"{name}\n{_SYMBOLS[quantity]}", fontsize="medium")
        if shown is not None:
            ends = [shown.norm.vmin, shown.norm.vmax] if wide else None
            style = {"aspect": 8, "pad": 0.01, "fraction": 0.03} if wide else {"aspect": 60, "pad": 0.1}
            figure.colorbar(shown, ax=axis, ticks=ends, format="%.3g", **style)
    return figure


def as_picture(quantity: str, values: ndarray, value_range: tuple[float, float]) -> tuple[ndarray, float, float, str]:
    """A quantity as a picture: an array `(h, w)` or `(h, w, 3 or 4)`, the ends of its scale and its colour map.

    Values are clipped to their range. The gradient is shown as its length and, like the Laplacian, as the mean over
    channels, up to the 99.5th percentile; the Laplacian's scale is symmetric about zero.
    """
    low, high = value_range
    if quantity == "value":
        shown = np.clip((values - low) / (high - low), 0, 1)
        if shown.shape[-1] in (3, 4):
            return shown, 0.0, 1.0, "gray"
        return low + shown.mean(axis=-1) * (high - low), low, high, "gray"
    if quantity == "gradient":
        length = np.linalg.norm(values, axis=-1).mean(axis=-1)
        return length, 0.0, _bound(length), "gray"
    curvature = values.mean(axis=-1)
    return curvature, -_bound(curvature), _bound(curvature), "RdBu_r"


def _panel(
    axis: Any, quantity: str, values: ndarray, value_range: tuple[float, float], aspect: str = "equal"
) -> AxesImage | None:
    """Draws a quantity; returns its image if the image needs a colour bar."""
    shown, low, high, colours = as_picture(quantity, values, value_range)
    unknown = ~np.isfinite(values).reshape(*values.shape[:2], -1).all(axis=-1)
    if shown.ndim == 3:
        shown[unknown] = to_rgba(NO_VALUE)[: shown.shape[-1]]
    colours = matplotlib.colormaps[colours].with_extremes(bad=NO_VALUE)
    picture = axis.imshow(shown, vmin=low, vmax=high, cmap=colours, interpolation="nearest", aspect=aspect)
    if unknown.any():
        axis.set_xlabel("green: no value")
    axis.set(xticks=[], yticks=[])
    if quantity != "value" and not np.any(values):
        axis.text(
            0.5, 0.5, "exactly zero", transform=axis.transAxes, ha="center", va="center", fontsize="large", color="0.5"
        )
    return picture if shown.ndim == 2 else None


def _bound(values: Float[ndarray, "h w"]) -> float:
    finite = np.abs(values[np.isfinite(values)])
    bound = float(np.percentile(finite, 99.5)) if finite.size else 0.0
    return bound or float(finite.max(initial=0.0)) or 1.0
