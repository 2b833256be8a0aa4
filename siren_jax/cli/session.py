"""Output of one fit on the command line: what is shown and written while it runs and when it ends."""

import math
import os
import shutil
import sys
import tempfile
import time
import warnings
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any

from flax import nnx

from siren_jax.cli.browser import opened
from siren_jax.cli.console import Reporter, duration, printable
from siren_jax.cli.live import Live
from siren_jax.cli.memory import give_back_memory, peak_memory
from siren_jax.cli.tensorboard import TensorBoard
from siren_jax.errors import InputError
from siren_jax.files.atomic import clear_leftovers
from siren_jax.fitting.checkpoints import Checkpoints
from siren_jax.fitting.progress import Progress
from siren_jax.fitting.result import Fit
from siren_jax.subjects.procedure import (
    METRICS,
    kept_network,
    names_of_files,
    remove_figures,
    write_figure,
    write_metrics,
    write_result,
)
from siren_jax.subjects.subject import Subject

CHECKPOINTS = "checkpoints"
SECOND = os.path.join(CHECKPOINTS, "second")
PREVIEWS = "preview"
TIDY_EVERY = 60.0  # seconds between two returns of free memory to the system
CURVE = 1024  # most points of the quality curve; beyond that, every other point is dropped
FORESEEN = 0.02  # share of the budget after which the remaining time is shown


class Session:
    """The outputs of one fit in one directory, and its progress on the terminal.

    A context manager: at its end, other processes may use the directory.

    Args:
        directory: created if it does not exist.
        name: stem of the `.siren` file.
        subject: the signal.
        target: value of the subject's measure at which `reached` returns true.
        figures: whether to draw figures at the end of the fit.
        preview_every: steps between figures during the fit.
        tensorboard: whether to log for TensorBoard.
        overwrite: whether to replace the results of an earlier fit in the directory.
        resume: whether to continue an earlier fit in the directory.
        config: the inputs and settings of the fit.
        checkpoint_every: seconds between checkpoints.

    Raises:
        InputError: the directory cannot be written, is in use, contains an earlier fit, or has no fit to resume.
    """

    def __init__(
        self,
        directory: str,
        name: str,
        subject: Subject,
        *,
        target: float | None,
        figures: bool,
        preview_every: int | None,
        tensorboard: bool,
        overwrite: bool,
        resume: bool,
        config: dict[str, Any],
        checkpoint_every: float,
    ):
        self._directory, self._name, self._overwrite = directory, name, overwrite or resume
        self._subject, self._target, self._figures, self._preview_every = subject, target, figures, preview_every
        self._names = names_of_files(subject, name)
        if tensorboard:
            TensorBoard.check()
        folders = (PREVIEWS,) * bool(preview_every) + ("tensorboard",) * tensorboard
        self._files = [os.path.join(directory, folder) for folder in folders]
        self._check(folders, resume)
        self._config, self._checkpoint_every, self._stores = config, checkpoint_every, ExitStack()
        self.checkpoints = self._store(CHECKPOINTS, overwrite=overwrite)
        self._make(folders, resume)
        self._overwrite = True  # from here on the directory is this fit's
        begun = max(self.checkpoints.steps(), default=0)
        if resume:
            print(f"continuing at step {begun:,}", file=sys.stderr)
        self._tensorboard = TensorBoard(os.path.join(directory, "tensorboard")) if tensorboard else None
        self._previewed = begun // preview_every if preview_every else 0
        self._rest_until, self._tidy_at = -math.inf, 0.0
        self._live: Live | None = None
        self.reporter = Reporter(subject.measure)

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stores.close()

    def show_live(self, network: nnx.Module) -> None:
        """Opens a page that shows the fit while it runs, from this network on. Without a page, the fit goes on."""
        try:
            self._live = self._stores.enter_context(Live(printable(self._name), self._subject, network))
        except InputError as error:
            warnings.warn(f"{error} The fit goes on without a page.", stacklevel=2)
            return
        print(f"{self._live.address}  (while the fit runs)", file=sys.stderr, flush=True)
        if not opened(self._live.address):
            warnings.warn("there is no browser to open; open the address in one.", stacklevel=2)

    def begin_second(self, steps: int) -> Checkpoints | None:
        """Checkpoints of a second phase, which begins after `steps` of the first; None if they cannot be written."""
        try:
            later = self._store(os.path.join(SECOND, str(steps)))
        except InputError as error:  # a full disk must not lose the first phase
            warnings.warn(f"the second phase is fitted without checkpoints: {error}", stacklevel=2)
            return None
        if kept := later.steps():
            print(f"continuing at step {steps + max(kept):,}", file=sys.stderr)
        later.notes.update(self.checkpoints.notes)
        self.checkpoints = later
        return later

    def _store(self, folder: str, *, overwrite: bool = False) -> Checkpoints:
        where = os.path.join(self._directory, folder)
        if os.path.islink(where):
            raise InputError(f"{where!r} is a link, which is not followed; remove it first.")
        store = Checkpoints(where, config=self._config, every=self._checkpoint_every, overwrite=overwrite)
        return self._stores.enter_context(store)

    @property
    def _curve(self) -> list[list[int | float]]:
        """Pairs of a step and the quality there, including those before an interruption."""
        return self.checkpoints.notes.setdefault("curve", [])

    @property
    def _heading(self) -> str:
        """The name as a title for Matplotlib: dollar signs are escaped, as they would begin mathematics."""
        return printable(self._name).replace("$", r"\$")

    def reached(self, progress: Progress) -> bool:
        """Whether the target is reached, first by the subject's estimate and then by its quality."""
        assert self._target is not None
        network, reaches = progress.network(), self._subject.measure.reaches
        known = self._curve and self._curve[-1][0] == progress.step
        estimate = self._curve[-1][1] if known else self._measure(network, progress.step)
        return reaches(estimate, self._target) and reaches(self._subject.quality(network), self._target)

    def watch(self, progress: Progress) -> None:
        """Shows and logs the state of a fit."""
        network = progress.network()
        fresh = self._estimate(network, progress.step)
        estimate = self._curve[-1][1]
        foreseen = progress.share > FORESEEN and self._target is None
        left = progress.seconds * (1 / progress.share - 1) if foreseen else None
        self.reporter.update(
            progress.share, progress.step, progress.terms["loss"], estimate, 1 / progress.seconds_per_step, left
        )
        if self._live is not None:
            self._live.update(network, progress.step, list(self._curve), self._subject.measure.tell(estimate), left)
        if self._tensorboard is not None and fresh:
            self._tensorboard.scalars({**progress.terms, self._subject.measure.name: estimate}, progress.step)
        if self._preview_every and progress.step // self._preview_every > self._previewed:
            self._previewed = progress.step // self._preview_every
            try:
                self._preview(network, progress.step)
            except (InputError, OSError) as error:  # does not end the fit
                warnings.warn(f"a preview could not be written: {error}", stacklevel=2)
            self._tidy_at = 0.0  # a figure takes ten MiB
        if time.monotonic() >= self._tidy_at:
            give_back_memory()
            self._tidy_at = time.monotonic() + TIDY_EVERY

    def show(self, progress: Progress, place: str) -> None:
        """Shows the place where a march through slabs of time is, its loss, and which slabs were halved."""
        for line in progress.message.splitlines():
            self.reporter.tell(line)
        left = progress.seconds * (1 / progress.share - 1)
        self.reporter.show(progress.share, f"{place}  loss {progress.terms['loss']:.3g}  {duration(left)} left")

    def _estimate(self, network: nnx.Module, step: int) -> bool:
        """Whether the quality at this step is known. It is measured here, in up to a twentieth of the time."""
        if self._curve and self._curve[-1][0] == step:
            return True
        if time.monotonic() < self._rest_until:
            return False
        self._measure(network, step)
        return True

    def _measure(self, network: nnx.Module, step: int) -> float:
        """Estimates the quality, and adds it to the curve."""
        began = time.monotonic()
        self._curve.append([step, self._subject.estimate(network)])
        if len(self._curve) > CURVE:
            del self._curve[::2]
        ended = time.monotonic()
        if sum(map(math.isfinite, (quality for _, quality in self._curve))) > 1:  # the first measurement compiles
            self._rest_until = ended + 19 * (ended - began)
        return self._curve[-1][1]

    def finish(self, fitted: Fit, record: dict[str, Any]) -> dict[str, Any]:
        """Writes the network, the signal, the figures and the metrics; returns the metrics.

        Args:
            fitted: what `fit` returned.
            record: entries of the `.siren` file's record that say how it was made.
        """
        os.makedirs(self._directory, exist_ok=True)  # it may have been removed
        curve = [(int(step), quality) for step, quality in self._curve]
        if self._live is not None:
            estimate = self._subject.measure.tell(curve[-1][1] if curve else None)
            self._live.update(*kept_network(self._subject, fitted), curve, estimate, None)
        result = write_result(
            self._subject,
            fitted,
            self._name,
            record,
            self._path,
            heading=self._heading,
            curve=curve,
            figures=self._figures,
            overwrite=self._overwrite,
        )
        if self._live is not None:
            found = result.metrics[self._subject.measure.name]
            self._live.end(self._subject.measure.tell(found, further=1), found)
        if not self._figures:
            remove_figures(self._directory)
        if self._tensorboard is not None:
            if result.comparison is not None:
                self._tensorboard.figure("comparison", result.comparison, result.step)
            self._tensorboard.weights(result.network, result.step)
            self._tensorboard.close()
        path = self._path(METRICS)
        metrics = {**result.metrics, "peak_rss_mb": peak_memory(), "files": self._files}
        return write_metrics(path, metrics, record, overwrite=self._overwrite)

    def _check(self, folders: tuple[str, ...], resume: bool) -> None:
        """Refuses, before the fit, a directory that contains an earlier one or cannot be written."""
        at = lambda name: os.path.join(self._directory, name)
        there = [name for name in (*self._names, *folders) if os.path.lexists(at(name))]
        if there and not self._overwrite:
            raise InputError(
                f"{self._directory!r} already contains {there[0]}; choose another --out, or use --overwrite."
            )
        begun = os.path.isdir(at(CHECKPOINTS))
        if resume and not begun:
            raise InputError(f"there is no fit to resume in {self._directory!r}; start one with --out.")
        if begun and not self._overwrite:
            raise InputError(
                f"{self._directory!r} contains an unfinished fit; continue it with --resume, choose another --out, or "
                "use --overwrite."
            )
        for name in (*folders, CHECKPOINTS, SECOND):
            if os.path.islink(at(name)):
                raise InputError(f"{at(name)!r} is a link, which is not followed; remove it first.")
        for name in self._names:
            if os.path.isdir(at(name)) and not os.path.islink(at(name)):
                raise InputError(f"{at(name)!r} is a directory, where a file is to be written; remove it first.")
        try:
            os.makedirs(self._directory, exist_ok=True)
            tempfile.TemporaryFile(dir=self._directory).close()
            with suppress(FileNotFoundError):
                os.lstat(at(self._names[-1]))  # its name may be too long
        except OSError as error:
            raise InputError(f"{at(self._names[-1])!r} cannot be written: {error.strerror}.") from None

    def _make(self, folders: tuple[str, ...], resume: bool) -> None:
        """Makes the folders, empty unless a fit is resumed: old contents would mix with those of this fit."""
        for name in self._names:
            clear_leftovers(os.path.join(self._directory, name))
        try:
            for folder in () if resume else (*folders, SECOND):
                shutil.rmtree(os.path.join(self._directory, folder), ignore_errors=True)
            for folder in folders:
                os.makedirs(os.path.join(self._directory, folder), exist_ok=True)
        except OSError as error:
            raise InputError(f"the output directory {self._directory!r} cannot be written: {error.strerror}.") from None

    def _path(self, name: str) -> str:
        path = os.path.join(self._directory, name)
        self._files.append(path)
        return path

    def _preview(self, network: nnx.Module, step: int) -> None:
        note = f", {self._subject.note}" if self._subject.note else ""
        figure = self._subject.figure(network, f"{self._heading}: step {step:,}{note}")
        path = os.path.join(self._directory, PREVIEWS, f"step_{step:07}.png")
        write_figure(path, figure, overwrite=self._overwrite)
        if self._tensorboard is not None:
            self._tensorboard.figure("comparison", figure, step)
            self._tensorboard.weights(network, step)
