"""Figures of sets of signals."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy import ndarray

from siren_jax.plot.colors import COLORS

PAIRS = 6  # pairs in a row of a contact sheet
BINS = 40


def pairs(truth: Sequence[ndarray], prediction: Sequence[ndarray], names: Sequence[str], *, title: str = "") -> Figure:
    """Signals, each beside its prediction: pictures `(h, w, c)` with colours in [0, 1], or sounds `(n, c)`.

    Args:
        truth: the signals.
        prediction: the predictions of the same shapes, or pictures of any.
        names: a heading for each pair, of one or two lines.
        title: title of the figure, one line.
    """
    sound = truth[0].ndim == 2
    columns = min(PAIRS if not sound else 3, len(truth))
    rows = -(-len(truth) // columns)
    figure = Figure(figsize=(columns * (2.3 if not sound else 4.4), rows * (1.75 if not sound else 1.7) + 0.6))
    grid = figure.add_gridspec(
        rows, columns, left=0.01, right=0.99, bottom=0.01, top=1 - 0.75 / (rows * 1.75 + 0.6), wspace=0.08, hspace=0.5
    )
    for place, (true, found, name) in enumerate(zip(truth, prediction, names, strict=True)):
        cell = grid[divmod(place, columns)]
        if sound:
            axis = figure.add_subplot(cell)
            axis.plot(np.linspace(0, 1, len(true)), true.mean(axis=1), color="0.6", linewidth=1.2)
            axis.plot(np.linspace(0, 1, len(found)), found.mean(axis=1), color=COLORS[1], linewidth=0.5)
            axis.set_title(name, fontsize=7)
            axis.set(xticks=[], yticks=[])
            continue
        inner = cell.subgridspec(1, 2, wspace=0.03)
        for at, picture in enumerate((true, found)):
            axis = figure.add_subplot(inner[at])
            shown = picture[..., 0] if picture.shape[-1] < 3 else picture
            axis.imshow(np.clip(shown, 0, 1), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if at == 0:
                axis.set_title(name, fontsize=7, loc="left")
    what = "grey: truth, orange: function" if sound else "in each pair: truth, function"
    figure.suptitle(f"{title}; {what}" if title else what, fontsize=10)
    return figure


def qualities(values: ndarray, *, label: str, target: float | None = None, title: str = "") -> Figure:
    """A histogram of the qualities of a set.

    Args:
        values: quality of every entry, `(n,)`; values that are not finite are left out.
        label: the measure with its unit.
        target: quality that was asked for.
        title: title of the figure, one line.
    """
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axis = figure.subplots()
    finite = values[np.isfinite(values)]
    span = finite if target is None else np.append(finite, target)  # or the bins of a few entries would be hairlines
    axis.hist(finite, bins=np.histogram_bin_edges(span, BINS).tolist(), color=COLORS[0])
    if target is not None:
        axis.axvline(target, color=COLORS[1], linestyle="--", label="target")
        axis.legend()
    axis.set(xlabel=label, ylabel="entries")
    axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(title)
    return figure
