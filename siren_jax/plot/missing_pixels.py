"""Figures of inpainted pictures."""

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
    given = np.broadcast_to(image if image.shape[-1] == 3 else image[..., :1], (h, w, 3)).copy()
    given[~known] = MISSING
    panels = {f"known: {100 * known.mean():.3g} % of the pixels": given, "prediction": prediction}
    if truth is not None:
        truth = (truth - low) / (high - low)
        whole = np.broadcast_to(truth if truth.shape[-1] == 3 else truth[..., :1], (h, w, 3)).copy()
        whole[~np.isfinite(truth).all(axis=-1)] = MISSING
        panels["ground truth"] = whole
    count = len(panels) + (truth is not None)
    figure, axes, aspect = arranged((h, w), count, columns=count, side=SIDE, title=title)
    for axis, (name, picture) in zip(axes, panels.items(), strict=False):
        shown = np.clip(picture, 0, 1)
        shown = shown if shown.shape[-1] == 3 else shown[..., 0]
        axis.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect=aspect)
        axis.set_title(wrapped(name, axis))
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
