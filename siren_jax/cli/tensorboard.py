"""Scalars, pictures and histograms of a fit for TensorBoard."""

import importlib.util
from collections.abc import Mapping

import jax
import numpy as np
from flax import nnx

from siren_jax.errors import InputError


class TensorBoard:
    """An event file in a directory."""

    def __init__(self, directory: str):
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(directory)

    @staticmethod
    def check() -> None:
        """Raises an InputError if the extra is not installed."""
        if importlib.util.find_spec("tensorboardX") is None:
            raise InputError("--tensorboard needs the extra: pip install 'siren-jax[tensorboard]'.")

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def figure(self, name: str, figure, step: int) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        self._writer.add_image(name, np.asarray(canvas.buffer_rgba())[..., :3], step, dataformats="HWC")

    def weights(self, network: nnx.Module, step: int) -> None:
        for path, value in jax.tree.leaves_with_path(nnx.state(network, nnx.Param)):
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            self._writer.add_histogram(name, np.asarray(value), step)

    def close(self) -> None:
        self._writer.close()
