"""The layout of a figure's panels, so that very wide and very tall pictures can be read."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

LONG, THIN = 9.0, 0.7  # largest longer side and least shorter side of an elongated picture, in inches
MOST = 16.0  # largest size of all panels of elongated pictures together, in inches
ABOVE = 0.1  # inches above and below a row; with Matplotlib's 0.04, a panel's title seems a part of the figure's
AROUND = (1.5, 0.55)  # inches beside and above a panel, for its colour bar and its title


def is_elongated(shape: tuple[int, ...]) -> bool:
    """Whether a picture of this many rows and columns is shown in strips.

    >>> is_elongated((500, 10000)), is_elongated((256, 256))
    (True, False)
    """
    return max(shape) > 2.5 * min(shape)


def wrapped(name: str, axis: Any) -> str:
    """A panel's name, wrapped to about the width of the panel."""
    return textwrap.fill(name, max(10, int(10 * axis.get_position().width * axis.figure.get_figwidth())))


def arranged(
    shape: tuple[int, int], count: int, *, columns: int, side: float, title: str
) -> tuple[Figure, list[Any], str]:
    """A figure, its axes without ticks, and the aspect of the pictures in them.

    Panels of wide pictures lie below each other, those of tall pictures side by side. Very thin pictures are drawn
    thicker than they are, and the title says so.

    Args:
        shape: rows and columns of every picture.
        count: number of panels.
        columns: number of panels in a row, if the pictures are not elongated.
        side: width of a picture in inches, if it is not elongated.
        title: title of the figure, one line.
    """
    h, w = shape
    width, height, aspect = side, side * h / w, "equal"
    if is_elongated(shape):
        columns = 1 if w > h else count
        room = MOST / count - AROUND[1 if w > h else 0]  # for the shorter side
        inch = min(LONG / max(shape), room / min(shape))
        width, height = inch * w, inch * h
        if min(width, height) < THIN:
            width, height, aspect = max(width, THIN), max(height, THIN), "auto"
            title += f"; {'heights' if w > h else 'widths'} exaggerated"
    rows = -(-count // columns)
    size = (columns * (width + AROUND[0]), rows * (height + AROUND[1]) + 0.7)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=ABOVE))
    figure.suptitle(title)
    axes = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    return figure, axes, aspect
