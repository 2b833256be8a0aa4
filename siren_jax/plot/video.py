"""Figures of videos."""

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from numpy import ndarray

SIDE = 3.0  # width of a frame in inches


def contact_sheet(
    truth: UInt8[ndarray, "t h w c"],
    prediction: UInt8[ndarray, "t h w c"],
    times: Float[ndarray, "t"],
    *,
    title: str = "",
) -> Figure:
    """Frames of a video, those of its prediction below them, and the error.

    Args:
        truth: some frames; one channel or three.
        prediction: the same frames by a network.
        times: time of each frame in seconds.
        title: title of the figure, one line.
    """
    error = np.abs(prediction.astype(np.int16) - truth).mean(axis=-1)
    bound = max(1.0, float(np.percentile(error, 99.5)))
    h, w = truth.shape[1:3]
    height = SIDE * float(np.clip(h / w, 0.3, 3))
    figure = Figure(figsize=(len(truth) * (SIDE + 0.1) + 1, 3 * (height + 0.1) + 0.7), layout="constrained")
    axes = figure.subplots(3, len(truth), squeeze=False)
    for column, time in enumerate(times):
        for row, frames in enumerate((truth, prediction)):
            frame = frames[column]
            shown = frame[..., 0] if frame.shape[-1] == 1 else frame
            axes[row, column].imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        axes[2, column].imshow(error[column], cmap="magma", vmin=0, vmax=bound, interpolation="nearest")
        axes[0, column].set_title(f"{time:.2f} s")
    for row, name in enumerate(("ground truth", "prediction", "error")):
        axes[row, 0].set_ylabel(name)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.colorbar(axes[2, 0].images[0], ax=list(axes[2]), label="mean |error|, of 255", shrink=0.9)
    figure.suptitle(title)
    return figure
