"""How the panels of a figure are arranged, so that very wide and very tall pictures can be read."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.figure import Figure

LONG, THIN = 9.0, 0.7  # inches of an elongated picture at most, and of its shorter side at least
MOST = 16.0  # inches of all panels of elongated pictures
AROUND = (1.5, 0.55)  # inches beside and above a panel, for its bar of colours and its title


def is_elongated(shape: tuple[int, ...]) -> bool:
    """Whether a picture of so many rows and columns is shown in strips.

    >>> is_elongated((500, 10000)), is_elongated((256, 256))
    (True, False)
    """
    return max(shape) > 2.5 * min(shape)


def wrapped(name: str, axis: Any) -> str:
    """A panel's name in lines as long as the panel is wide, about."""
    return textwrap.fill(name, max(10, int(10 * axis.get_position().width * axis.figure.get_figwidth())))


def arranged(
    shape: tuple[int, int], count: int, *, columns: int, side: float, title: str
) -> tuple[Figure, list[Any], str]:
    """A figure, its axes without ticks, and the aspect of what they show.

    Panels of elongated pictures lie along their shorter side; very thin ones are drawn thicker than they are, which the
    title says.

    Args:
        shape: rows and columns of every picture.
        count: panels.
        columns: panels in a row, where the pictures are not elongated.
        side: inches of a picture's width, likewise.
        title: one line above.
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
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle(title)
    axes = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    return figure, axes, aspect
