"""One fit on the command line: what is shown and written while it runs and when it ends."""

import json
import math
import os
import resource
import shutil
import sys
import tempfile
from typing import Any

import jax
import numpy as np
from flax import nnx

from siren_jax import metrics
from siren_jax.cli.console import Reporter
from siren_jax.cli.render import write_picture
from siren_jax.cli.tensorboard import TensorBoard
from siren_jax.errors import InputError
from siren_jax.fit import Fit
from siren_jax.network import count_parameters
from siren_jax.neural_field import RENDERED, NeuralField
from siren_jax.progress import Progress
from siren_jax.signals import PixelDataset
from siren_jax.storage import write_atomically

ESTIMATED = 4096  # pixels of the PSNR that is shown between chunks
ALIGNMENTS = {None: "none", 0: "mean", 1: "mean and plane"}


class Session:
    """The outputs of one fit in one directory, and its progress on the terminal.

    Args:
        directory: made if it is not there.
        name: stem of the `.siren` file.
        dataset: the picture.
        alignment: degree of the polynomial that is taken from the truth before a PSNR, see `metrics.aligned`; None for
            none.
        target_psnr: `watch` answers true once the PSNR over all pixels reaches it.
        preview_every: steps between figures during the fit.
        tensorboard: whether to log for TensorBoard.
        overwrite: replace what an earlier fit left in the directory.

    Raises:
        InputError: the directory cannot be written, or holds an earlier fit.
    """

    def __init__(
        self,
        directory: str,
        name: str,
        dataset: PixelDataset,
        *,
        alignment: int | None,
        target_psnr: float | None,
        preview_every: int | None,
        tensorboard: bool,
        overwrite: bool,
    ):
        self._directory, self._name, self._overwrite = directory, name, overwrite
        self._dataset, self._alignment = dataset, alignment
        self._target_psnr, self._preview_every = target_psnr, preview_every
        self._files: list[str] = []
        if tensorboard:
            TensorBoard.check()
        self._prepare(("preview",) * bool(preview_every) + ("tensorboard",) * tensorboard)
        self._tensorboard = TensorBoard(os.path.join(directory, "tensorboard")) if tensorboard else None
        self._previewed = 0
        self._subset = np.sort(np.random.default_rng(0).permutation(len(dataset))[:ESTIMATED])
        self._curve: list[tuple[int, float]] = []
        self.reporter = Reporter()

    def watch(self, progress: Progress) -> bool:
        """Shows and logs the state of a fit; true once the target PSNR is reached."""
        network = progress.network()
        values = _evaluate(network, self._dataset.coordinates[self._subset])
        estimate = self._psnr(np.asarray(values), self._subset)
        self._curve.append((progress.step, estimate))
        left = progress.seconds * (1 / progress.spent - 1) if progress.spent else math.inf
        self.reporter.update(
            progress.spent, progress.step, progress.terms["loss"], estimate, 1 / progress.seconds_per_step, left
        )
        if self._tensorboard is not None:
            self._tensorboard.scalars({**progress.terms, "psnr": estimate}, progress.step)
        if self._preview_every and progress.step // self._preview_every > self._previewed:
            self._previewed = progress.step // self._preview_every
            self._preview(network, progress.step)
        if self._target_psnr is None or estimate < self._target_psnr:
            return False
        return self._psnr(self._values(network)) >= self._target_psnr

    def finish(self, fitted: Fit, record: dict[str, Any]) -> dict[str, Any]:
        """Writes the network, the pictures and the metrics; the metrics, for the command's last line.

        Args:
            fitted: what `fit` returned.
            record: what the `.siren` file keeps of how it was made.
        """
        from siren_jax import plot

        values = self._values(fitted.network)
        psnr, alignment = self._psnr(values), ALIGNMENTS[self._alignment]
        loss = float(fitted.history["loss"][-1]) if fitted.steps else math.nan
        summary = {
            "psnr": psnr,
            "alignment": alignment,
            "contrast": metrics.contrast(values, self._dataset.value),
            "loss": loss,
            "steps": fitted.steps,
            "seconds": fitted.seconds,
            "compile_seconds": fitted.compile_seconds,
            "seconds_per_step": fitted.seconds_per_step,
            "parameters": count_parameters(fitted.network),
            "stopped_by": fitted.stopped_by,
        }
        field = self._field(fitted.network, {**record, "psnr": psnr, "alignment": alignment, "steps": fitted.steps})
        field.save(self._path(f"{self._name}.siren"), overwrite=self._overwrite)
        label = "PSNR" if self._alignment is None else f"PSNR, {alignment} aligned"
        title = f"{self._name}: {label} {psnr:.1f} dB after {fitted.steps:,} steps"
        comparison = self._comparison(field, title)
        self._write_figure("comparison.png", comparison)
        self._write_figure("curve.png", plot.learning_curve(fitted.history, self._curve, title=title, psnr_label=label))
        picture = self._grid(self._aligned(values)).astype(np.float32)
        write_picture(self._path("reconstruction.png"), picture, "value", field, overwrite=self._overwrite)
        if self._tensorboard is not None:
            self._tensorboard.figure("comparison", comparison, fitted.steps)
            self._tensorboard.weights(fitted.network, fitted.steps)
            self._tensorboard.close()
        summary["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
            2**20 if sys.platform == "darwin" else 2**10
        )
        path = self._path("metrics.json")
        summary["files"] = self._files
        summary = {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in summary.items()}
        text = json.dumps({**summary, "record": record}, indent=2) + "\n"
        write_atomically(path, lambda file: file.write(text.encode()), overwrite=self._overwrite)
        return summary

    def _prepare(self, folders: tuple[str, ...]) -> None:
        """Makes the directory and its folders; refuses what cannot be written before hours of fitting, not after."""
        files = ("comparison.png", "curve.png", "reconstruction.png", "metrics.json", f"{self._name}.siren")
        there = [name for name in (*files, *folders) if os.path.lexists(os.path.join(self._directory, name))]
        if there and not self._overwrite:
            raise InputError(
                f"{self._directory!r} already holds {there[0]}; choose another --out, or allow --overwrite."
            )
        try:
            os.makedirs(self._directory, exist_ok=True)
            tempfile.TemporaryFile(dir=self._directory).close()
            for folder in folders:  # those of an earlier fit would mix with this one's
                shutil.rmtree(os.path.join(self._directory, folder), ignore_errors=True)
                os.makedirs(os.path.join(self._directory, folder), exist_ok=True)
        except OSError as error:
            raise InputError(f"the output directory {self._directory!r} cannot be written: {error.strerror}.") from None

    def _path(self, name: str) -> str:
        path = os.path.join(self._directory, name)
        self._files.append(path)
        return path

    def _field(self, network: nnx.Module, record: dict[str, Any]) -> NeuralField:
        return NeuralField(network, self._dataset.frame, self._dataset.value_range, "image", record)  # pyright: ignore

    def _values(self, network: nnx.Module) -> np.ndarray:
        """The network at every pixel, `(n, c)` in [-1, 1]."""
        field = NeuralField(network, self._dataset.frame)  # pyright: ignore
        return field.render().reshape(len(self._dataset), -1)

    def _aligned(self, values: np.ndarray, index: np.ndarray | slice = slice(None)) -> np.ndarray:
        if self._alignment is None or not np.isfinite(values).all():
            return values
        truth, points = self._dataset.value[index], self._dataset.coordinates[index]
        return metrics.aligned(values, truth, points, degree=self._alignment)

    def _psnr(self, values: np.ndarray, index: np.ndarray | slice = slice(None)) -> float:
        return metrics.psnr(self._aligned(values, index), self._dataset.value[index])

    def _grid(self, values: np.ndarray) -> np.ndarray:
        """Values at every pixel, from [-1, 1] to the picture's own range and shape."""
        low, high = self._dataset.value_range
        return (values.reshape(*self._dataset.shape, -1) + 1) * ((high - low) / 2) + low

    def _comparison(self, field: NeuralField, title: str):
        from siren_jax import plot  # imports Matplotlib, which takes longer than a first step

        prediction = {quantity: field.render(of=quantity) for quantity in RENDERED}
        values = self._values(field.network)
        prediction["value"] = self._grid(self._aligned(values))
        return plot.comparison(self._dataset.grids(), prediction, title=title, value_range=self._dataset.value_range)

    def _preview(self, network: nnx.Module, step: int) -> None:
        aligned = "" if self._alignment is None else f", {ALIGNMENTS[self._alignment]} aligned"
        figure = self._comparison(self._field(network, {}), f"{self._name}: step {step:,}{aligned}")
        self._write_figure(os.path.join("preview", f"step_{step:07}.png"), figure)
        if self._tensorboard is not None:
            self._tensorboard.figure("comparison", figure, step)
            self._tensorboard.weights(network, step)

    def _write_figure(self, name: str, figure) -> None:
        write_atomically(
            self._path(name), lambda file: figure.savefig(file, format="png", dpi=100), overwrite=self._overwrite
        )


# Eagerly it would take twice as long, a tenth of a chunk.
_evaluate = jax.jit(lambda network, points: network(points))
