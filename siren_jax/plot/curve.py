"""Figures of the loss and the quality of a fit against steps."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy import ndarray

from siren_jax.plot.colors import COLORS


def learning_curve(
    history: Mapping[str, ndarray],
    quality: Sequence[tuple[int, float]] = (),
    *,
    title: str = "",
    label: str = "PSNR (dB)",
    logarithmic: bool = False,
) -> Figure:
    """Terms of the loss against steps on a logarithmic scale, and the quality where it was measured.

    Args:
        history: as `fit` returns it.
        quality: pairs of a step and the quality there.
        title: title of the figure, one line.
        label: name of the quality, with its unit.
        logarithmic: whether the quality has a logarithmic scale.
    """
    figure = Figure(figsize=(7, 6 if quality else 3.5), layout="constrained")
    axes = figure.subplots(2 if quality else 1, 1, sharex=True, squeeze=False)[:, 0]
    terms = [name for name in history if name not in ("loss", "seconds")]
    shown = terms if len(terms) == 1 else ["loss", *terms]
    for name, color in zip(shown, COLORS, strict=False):
        values = np.asarray(history[name], np.float64)
        axes[0].plot(np.arange(1, len(values) + 1), values, color=color, alpha=0.35, linewidth=0.7)
        axes[0].plot(*_smoothed(values), color=color, label=name)
    axes[0].set_yscale("log")
    axes[0].set_ylabel("mean over the batch")
    axes[0].legend()
    if quality:
        axes[1].plot(*np.array(quality).T, color=COLORS[0], marker="." if len(quality) < 60 else "")
        axes[1].set(ylabel=label, yscale="log" if logarithmic else "linear")
    for axis in axes:
        axis.grid(alpha=0.3)
    axes[-1].set_xlabel("step")
    figure.suptitle(title)
    return figure


def _smoothed(values: Float[ndarray, "n"]) -> tuple[ndarray, ndarray]:
    """Geometric means over windows of a fiftieth of the curve, at the windows' centres."""
    window = max(1, len(values) // 50)
    whole = len(values) // window * window
    logs = np.log(np.maximum(values[:whole], 1e-30)).reshape(-1, window)
    return np.arange(len(logs)) * window + (window + 1) / 2, np.exp(logs.mean(axis=1))
