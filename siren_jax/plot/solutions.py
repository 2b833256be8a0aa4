"""Figures of solutions of differential equations."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy import ndarray

WIDTH = 3.6  # width of a panel in inches
SLIGHT = 0.05  # share of the largest |value| up to which values of the other sign may be errors


def solution(
    rows: Mapping[str, Sequence[tuple[str, Float[ndarray, "..."]]]],
    extent: tuple[float, ...],
    axes: Sequence[str],
    *,
    title: str = "",
) -> Figure:
    """Fields over a rectangle, or over an interval as curves; a row for each unknown.

    Panels whose name begins with "error" have a scale of their own from zero. The others of a row share a scale, that
    of the panel "reference" if there is one. It is symmetric about zero if values of both signs occur, beyond the
    share `SLIGHT`. Cells that are not finite are grey.

    Args:
        rows: for each unknown its panels: a name, and values `(h, w)` whose first axis is drawn upwards, or `(n,)`.
        extent: least and greatest coordinate along the first axis, then along the second if there is one.
        axes: names of the coordinates; time, "t", has a scale of its own.
        title: title of the figure, one line.
    """
    (bottom, top), (left, right) = extent[:2], extent[-2:]
    count = max(map(len, rows.values()))
    aspect = "auto" if "t" in axes else "equal"
    height = float(np.clip(0.85 * WIDTH * (top - bottom) / (right - left), 0.6 * WIDTH, WIDTH))
    figure = Figure(
        figsize=(count * (WIDTH + 0.7), len(rows) * (height + 0.5) + 0.4), layout="compressed"
    )  # colour bars as high as their panels
    grid = figure.subplots(len(rows), count, squeeze=False)
    for line, (unknown, panels) in zip(grid, rows.items(), strict=True):
        fields = {name: values for name, values in panels if not name.startswith("error")}
        low, high, colors = _scale([fields["reference"]] if "reference" in fields else list(fields.values()))
        for axis, (name, values) in zip(line, panels, strict=False):
            style = {"cmap": colors, "vmin": low, "vmax": high}
            if name.startswith("error"):
                style = {"cmap": "magma", "vmin": 0.0, "vmax": float(np.nanmax(values)) or 1.0}
            axis.set(title=f"{unknown}, {name}" if name else unknown, xlabel=axes[-1])
            if len(axes) == 1:
                axis.plot(left + (np.arange(len(values)) + 0.5) * (right - left) / len(values), values)
                axis.set_ylim(style["vmin"], style["vmax"])
                continue
            axis.set_facecolor("0.7")
            shown = axis.imshow(values, extent=(left, right, bottom, top), origin="lower", aspect=aspect, **style)
            axis.set_ylabel(axes[0])
            figure.colorbar(shown, ax=axis)
    figure.suptitle(title)
    return figure


def _scale(fields: Sequence[ndarray]) -> tuple[float, float, str]:
    low, high = min(float(np.nanmin(f)) for f in fields), max(float(np.nanmax(f)) for f in fields)
    most = max(-low, high)
    if min(-low, high) > SLIGHT * most:
        return -most, most, "RdBu_r"
    return low, high, "viridis"
