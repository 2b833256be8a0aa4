"""Figures of pictures that were filled in."""

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from numpy import ndarray

from siren_jax.plot.layout import arranged, wrapped

SIDE = 3.2  # inches of a picture
MISSING = np.array([0.84, 0.37, 0.0])  # Okabe and Ito's vermilion


def inpainting(
    image: Float[ndarray, "h w c"],
    known: Bool[ndarray, "h w"],
    prediction: Float[ndarray, "h w c"],
    truth: Float[ndarray, "h w c"] | None = None,
    *,
    title: str = "",
) -> Figure:
    """What was known of a picture and what a network made of it, beside the truth if there is one.

    Args:
        image: values in [0, 1].
        known: where they were known; other pixels are shown in one colour.
        prediction: the picture by a network.
        truth: all of the picture.
        title: one line above.
    """
    h, w = known.shape
    given = np.broadcast_to(image if image.shape[-1] == 3 else image[..., :1], (h, w, 3)).copy()
    given[~known] = MISSING
    panels = {f"known: {100 * known.mean():.3g} % of the pixels": given, "prediction": prediction}
    if truth is not None:
        panels["ground truth"] = truth
    count = len(panels) + (truth is not None)
    figure, axes, aspect = arranged((h, w), count, columns=count, side=SIDE, title=title)
    for axis, (name, picture) in zip(axes, panels.items(), strict=False):
        shown = np.clip(picture, 0, 1)
        shown = shown if shown.shape[-1] == 3 else shown[..., 0]
        axis.imshow(shown, cmap="gray", vmin=0, vmax=1, interpolation="nearest", aspect=aspect)
        axis.set_title(wrapped(name, axis))
    if truth is not None:
        error = np.abs(prediction - truth).mean(axis=-1)
        bound = max(1 / 255, float(np.percentile(error, 99.5)))
        shown = axes[-1].imshow(error, cmap="magma", vmin=0, vmax=bound, interpolation="nearest", aspect=aspect)
        axes[-1].set_title(wrapped("error", axes[-1]))
        figure.colorbar(shown, ax=axes[-1], label="mean |error|, of 1", shrink=0.9)
    return figure
