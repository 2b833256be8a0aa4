"""Figures of composites of two pictures."""

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from numpy import ndarray

from siren_jax.plot.layout import arranged, wrapped

SIDE = 3.2  # width of a picture in inches


def composition(
    foreground: Float[ndarray, "h w c"],
    background: Float[ndarray, "h w c"],
    free: Bool[ndarray, "h w"],
    prediction: Float[ndarray, "h w c"],
    solution: Float[ndarray, "h w c"],
    *,
    title: str = "",
) -> Figure:
    """Both pictures, the foreground faded outside the mask; a plain paste or mean; the composites by a network and by a
    direct solve; and the difference of these.

    Args:
        foreground: values in [0, 1].
        background: values in [0, 1].
        free: where the composite may differ from the background.
        prediction: the composite by a network.
        solution: the composite by a direct solve.
        title: title of the figure, one line.
    """
    h, w = free.shape
    error = np.abs(prediction - solution).mean(axis=-1)
    plain = foreground.copy()
    if not free.all():
        plain[~free] = 0.5 * plain[~free] + 0.5 * plain.mean()
    copied = np.where(free[..., None], foreground, background) if not free.all() else (foreground + background) / 2
    panels = {
        "foreground, within its mask" if not free.all() else "foreground": plain,
        "background": background,
        "cut and pasted" if not free.all() else "mean of both": copied,
        "network": prediction,
        "direct solve": solution,
    }
    figure, axes, aspect = arranged((h, w), 6, columns=3, side=SIDE, title=title)
    for axis, (name, picture) in zip(axes, panels.items(), strict=False):
        shown = np.clip(picture, 0, 1)
        axis.imshow(shown[..., 0] if shown.shape[-1] == 1 else shown, cmap="gray", vmin=0, vmax=1, aspect=aspect)
        axis.set_title(wrapped(name, axis))
    bound = max(1 / 255, float(np.percentile(error, 99.5)))
    shown = axes[-1].imshow(error, cmap="magma", vmin=0, vmax=bound, interpolation="nearest", aspect=aspect)
    axes[-1].set_title(wrapped("network against direct solve", axes[-1]))
    figure.colorbar(shown, ax=axes[-1], label="mean |error|, of 1", shrink=0.9)
    return figure
