"""Figures from arrays. Every function returns a Matplotlib `Figure` of its own; none needs a display or touches
`pyplot`."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy import ndarray

ROWS = ("value", "gradient", "laplacian")
# Okabe and Ito's palette, told apart in every form of colour blindness.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_SYMBOLS = {"value": "f", "gradient": "|∇f|", "laplacian": "Δf"}
_LABELS = {"value": "value", "gradient": "|∇f|, value / coordinate", "laplacian": "Δf, value / coordinate²"}


def comparison(
    truth: Mapping[str, ndarray],
    prediction: Mapping[str, ndarray],
    *,
    title: str = "",
    value_range: tuple[float, float] = (0, 1),
) -> Figure:
    """Value, length of the gradient and Laplacian, ground truth beside prediction, each panel with its own scale.

    Args:
        truth: `value` `(h, w, c)`, `gradient` `(h, w, c, 2)` and `laplacian` `(h, w, c)`.
        prediction: the same of a network.
        title: one line above.
        value_range: values shown as black and white.
    """
    return panels({"ground truth": truth, "prediction": prediction}, title=title, value_range=value_range)


def panels(
    columns: Mapping[str, Mapping[str, ndarray]],
    *,
    title: str = "",
    value_range: tuple[float, float] = (0, 1),
    side: float = 3.6,
) -> Figure:
    """Any number of named columns of value, length of the gradient and Laplacian; see `comparison`.

    Args:
        columns: fields by name.
        title: one line above.
        value_range: values shown as black and white.
        side: width of a picture, in inches.
    """
    h, w = next(iter(columns.values()))["value"].shape[:2]
    height = side * float(np.clip(h / w, 0.3, 3))
    figure = Figure(figsize=(len(columns) * (side + 1), 3 * (height + 0.1) + 0.7), layout="constrained")
    axes = figure.subplots(3, len(columns), squeeze=False)
    for column, (name, fields) in enumerate(columns.items()):
        for row, quantity in enumerate(ROWS):
            _panel(figure, axes[row, column], quantity, fields[quantity], value_range)
        axes[0, column].set_title(name)
    for row, quantity in enumerate(ROWS):
        axes[row, 0].set_ylabel(_SYMBOLS[quantity], fontsize="x-large")
    figure.suptitle(title)
    return figure


def learning_curve(
    history: Mapping[str, ndarray], psnr: Sequence[tuple[int, float]] = (), *, title: str = "", psnr_label: str = "PSNR"
) -> Figure:
    """Terms of the loss against steps on a logarithmic scale, and PSNR where it was measured.

    Args:
        history: as `fit` returns it.
        psnr: pairs of a step and decibels.
        title: one line above.
        psnr_label: what the decibels are of.
    """
    figure = Figure(figsize=(7, 6 if psnr else 3.5), layout="constrained")
    axes = figure.subplots(2 if psnr else 1, 1, sharex=True, squeeze=False)[:, 0]
    terms = [name for name in history if name not in ("loss", "seconds")]
    shown = terms if len(terms) == 1 else ["loss", *terms]
    for name, color in zip(shown, COLORS, strict=False):
        values = np.asarray(history[name], np.float64)
        axes[0].plot(np.arange(1, len(values) + 1), values, color=color, alpha=0.35, linewidth=0.7)
        axes[0].plot(*_smoothed(values), color=color, label=name)
    axes[0].set_yscale("log")
    axes[0].set_ylabel("mean over the batch")
    axes[0].legend()
    if psnr:
        axes[1].plot(*np.array(psnr).T, color=COLORS[0], marker="." if len(psnr) < 60 else "")
        axes[1].set_ylabel(f"{psnr_label} (dB)")
    for axis in axes:
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("step")
    figure.suptitle(title)
    return figure


def as_picture(quantity: str, values: ndarray, value_range: tuple[float, float]) -> tuple[ndarray, float, float, str]:
    """What is shown of a quantity: an array `(h, w)` or `(h, w, 3 or 4)`, the ends of its scale and the colour map.

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


def _panel(figure: Figure, axis, quantity: str, values: ndarray, value_range: tuple[float, float]) -> None:
    shown, low, high, colours = as_picture(quantity, values, value_range)
    picture = axis.imshow(shown, vmin=low, vmax=high, cmap=colours, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    if shown.ndim == 2:
        figure.colorbar(picture, ax=axis, label=_LABELS[quantity], shrink=0.9)
    if quantity != "value" and not np.any(values):
        axis.text(0.5, 0.5, "exactly zero", transform=axis.transAxes, ha="center", va="center", fontsize="large")


def _bound(values: Float[ndarray, "h w"]) -> float:
    finite = np.abs(values[np.isfinite(values)])
    bound = float(np.percentile(finite, 99.5)) if finite.size else 0.0
    return bound or float(finite.max(initial=0.0)) or 1.0


def _smoothed(values: Float[ndarray, "n"]) -> tuple[ndarray, ndarray]:
    """Geometric means over windows of a fiftieth of the curve, at the windows' centres."""
    window = max(1, len(values) // 50)
    whole = len(values) // window * window
    logs = np.log(np.maximum(values[:whole], 1e-30)).reshape(-1, window)
    return np.arange(len(logs)) * window + (window + 1) / 2, np.exp(logs.mean(axis=1))
