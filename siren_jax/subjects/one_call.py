"""A file or an array opened and fitted in one call, with the recipe, omega and measure of `siren-jax fit`."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict, Unpack

import jax
import numpy as np
from jax import Array
from jax.sharding import Mesh
from numpy import ndarray

from siren_jax._types import RecipeName, SignalName, Target
from siren_jax.errors import InputError
from siren_jax.files.siren_file import MAX_OMEGA
from siren_jax.fitting.checkpoints import Checkpoints
from siren_jax.fitting.progress import Progress
from siren_jax.fitting.recipes import Recipe
from siren_jax.fitting.result import Fit
from siren_jax.neural_field import NeuralField
from siren_jax.subjects.kinds import SignalKind, kind_of_source
from siren_jax.subjects.procedure import (
    DEPTH,
    METRICS,
    OMEGA,
    check_sizes,
    fit_subject,
    kept_network,
    make_network,
    names_of_files,
    plan,
    remove_figures,
    write_metrics,
    write_result,
)
from siren_jax.subjects.start import read_start, started
from siren_jax.subjects.subject import Subject


class Options(TypedDict, total=False):
    """Options of `open`; `SignalKind.open_options` has those of a kind."""

    target: Target
    weights: tuple[float, float, float]
    integral_weight: float
    keep_alpha: bool
    downsample: int
    size: int
    values: tuple[float, float]
    no_data: float
    rate: int | float
    between: tuple[float, float]
    samples: int
    seed: int
    flip_normals: bool


@dataclass(frozen=True, eq=False)
class Signal:
    """A signal that can be fitted; made by `siren_jax.open`."""

    subject: Subject
    """What is fitted, how its quality is measured, and which files are written."""
    kind: SignalKind
    recipe: Recipe
    """Settings of a fit."""
    name: str
    """Stem of the `.siren` file."""
    record: dict[str, Any] = field(default_factory=dict)
    """Entries of the `.siren` file's record on how the signal was opened."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on how the signal was read, for example which numbers mean black and white."""
        return self.subject.notes

    def __repr__(self) -> str:
        return "\n".join([f"Signal({self.name!r}, {self.kind.noun}, {self.subject.points:,} points)", *self.notes])

    def fit(
        self,
        *,
        key: Array | None = None,
        steps: int | None = None,
        seconds: int | float | None = None,
        quality: int | float | None = None,
        start: str | os.PathLike[str] | NeuralField | None = None,
        width: int | None = None,
        depth: int | None = None,
        first_omega: int | float | None = None,
        omega: int | float | None = None,
        batch_size: int | None = None,
        watch: Callable[[Progress], Any] | None = None,
        checkpoints: Checkpoints | None = None,
        mesh: Mesh | None = None,
    ) -> "FittedSignal":
        """A SIREN fitted to the signal.

        The same settings and seed as those of `siren-jax fit` give the same bits.

        Args:
            key: random key of the initial weights and the batches; by default `jax.random.key(0)`.
            steps: number of steps at which the fit stops; by default that of the recipe, unless `seconds` is given.
            seconds: time at which the fit stops, without compilation.
            quality: value of the kind's measure at which the fit stops: PSNR or SNR in dB, or Chamfer distance in
                percent of the diagonal. Without a budget, the fit gives up after ten times the steps of the recipe.
            start: initial weights instead of random ones: "photos" for those that the package has for pictures, a path
                of a `.siren` file, for example from `learn_start`, or a field. Its width, depth and omegas are those of
                the fit, but a learned start takes the first omega that the recipe has or chooses.
            width: number of units per hidden layer; by default 256, or 1024 for a video.
            depth: number of hidden layers after the first; by default 3.
            first_omega: omega of the first layer; by default that of the recipe, or chosen for the signal.
            omega: omega of the later layers; by default 30.
            batch_size: number of points per step; by default that of the recipe.
            watch: as for `siren_jax.fit`.
            checkpoints: as for `siren_jax.fit`.
            mesh: as for `siren_jax.fit`.

        Raises:
            InputError: a size or an omega is out of range; the start cannot be read, has another number of coordinates
                or comes with a size; otherwise as for `siren_jax.fit`.
        """
        for name, value in (("first_omega", first_omega), ("omega", omega)):
            if value is not None and not 0 < value < MAX_OMEGA:
                raise InputError(f"{name} is a positive number below {MAX_OMEGA:g}, but is {value}.")
        if batch_size is not None and batch_size < 1:
            raise InputError(f"batch_size is a number of points, at least 1, but is {batch_size}.")
        key = jax.random.key(0) if key is None else key
        subject, recipe = self.subject, self.recipe
        if first_omega is not None:
            recipe = recipe._replace(first_omega=first_omega)
        recipe, limit = plan(recipe, steps, seconds, quality)
        if start is None:
            sizes = self.kind.width if width is None else width, DEPTH if depth is None else depth
            check_sizes(*sizes)
            network, reason = make_network(subject, recipe, *sizes, OMEGA if omega is None else omega, key)
        else:
            given = {"width": width, "depth": depth, "omega": omega}
            if refused := [name for name, value in given.items() if value is not None]:
                raise InputError(f"a start has its own {refused[0]}; leave out {refused[0]}=.")
            network, reason = started(read_start(start), subject, recipe, keep_omega=first_omega is None)
        reason = reason if first_omega is None else "option"
        measure = subject.measure

        def reached(progress: Progress) -> bool:
            assert quality is not None
            network = progress.network()
            near = measure.reaches(subject.estimate(network), quality)
            return near and measure.reaches(subject.quality(network), quality)

        fitted = fit_subject(
            subject,
            network,
            recipe,
            subject.sampler(min(batch_size or recipe.batch_size or subject.points, subject.points)),
            key=key,
            steps=limit,
            seconds=seconds,
            until=None if quality is None else reached,
            watch=watch,
            checkpoints=checkpoints,
            mesh=mesh,
        )
        made = {"omega_from": reason, "learning_rate": recipe.rate(network)}
        if start is not None:
            made["start"] = "a field" if isinstance(start, NeuralField) else os.fspath(start)
        return FittedSignal(self, fitted, {**self.record, **made})


@dataclass(frozen=True, eq=False)
class FittedSignal:
    """A fitted signal, with its quality, figure and files."""

    signal: Signal
    fit: Fit
    record: dict[str, Any]
    """Entries of the `.siren` file's record on how it was made."""

    def __repr__(self) -> str:
        return f"FittedSignal({self.signal.name!r}, {self.signal.kind.noun}, {self.fit.steps:,} steps)"

    @property
    def field(self) -> NeuralField:
        """The fitted signal as a function of coordinates."""
        network, step = kept_network(self.signal.subject, self.fit)
        return self.signal.subject.field(network, {**self.record, "steps": step})

    def quality(self) -> float:
        """PSNR or SNR in dB, or Chamfer distance in percent of the diagonal.

        Measured over all samples, or, for a video or a shape, over as many as take a second or two; `write` returns
        the exact value.
        """
        return self.signal.subject.quality(kept_network(self.signal.subject, self.fit)[0])

    def figure(self) -> Any:
        """Truth and fit side by side, a Matplotlib figure."""
        return self.signal.subject.figure(kept_network(self.signal.subject, self.fit)[0], self._heading)

    def write(
        self, directory: str | os.PathLike[str], *, figures: bool = True, overwrite: bool = False
    ) -> dict[str, Any]:
        """Writes `NAME.siren`, the reconstruction, `comparison.png`, `curve.png` and `metrics.json`.

        Returns the metrics: the quality first, then how the fit went.

        Args:
            directory: created if it does not exist.
            figures: whether to write the figures, `comparison.png` and `curve.png`.
            overwrite: whether to replace existing files.

        Raises:
            InputError: a file exists or cannot be written.
        """
        signal, path = self.signal, lambda name: str(Path(directory) / name)
        names = names_of_files(signal.subject, signal.name)
        if there := [name for name in names if os.path.lexists(path(name)) and not overwrite]:
            raise InputError(f"{path(there[0])!r} exists; choose another directory, or allow overwrite=True.")
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError as error:
            raise InputError(f"the directory {os.fspath(directory)!r} cannot be made: {error.strerror}.") from None
        result = write_result(
            signal.subject,
            self.fit,
            signal.name,
            self.record,
            path,
            heading=self._heading,
            figures=figures,
            overwrite=overwrite,
        )
        if not figures:
            remove_figures(directory)
        return write_metrics(path(METRICS), result.metrics, self.record, overwrite=overwrite)

    @property
    def _heading(self) -> str:
        return self.signal.name.replace("$", r"\$")  # dollars begin mathematics in Matplotlib


def open(
    source: str | os.PathLike[str] | ndarray | Array,
    *,
    kind: SignalName | None = None,
    recipe: RecipeName = "tuned",
    name: str | None = None,
    **options: Unpack[Options],
) -> Signal:
    """A picture, sound, video or shape, from a file or an array, ready to be fitted.

        photo = siren_jax.open("photo.png", size=256).fit(seconds=60)
        photo.write("out/photo")
        photo.field.render((1024, 1024))

    Args:
        source: path of a file, whose content decides the kind, or an array: with a rate a sound `(n,)` or `(n, c)` or a
            video `(t, h, w)` or `(t, h, w, c)`, else a picture `(h, w)` or `(h, w, c)`.
        kind: "image", "sound", "video" or "shape"; by default found as above.
        recipe: "tuned" for quality within a short budget, or "paper".
        name: stem of the `.siren` file; by default that of the source.
        options: options of the kind. A picture has `target`, `weights`, `integral_weight`, `keep_alpha`, `downsample`,
            `size`, `values` and `no_data`; a sound has `rate`, `downsample` and `between`; a video has `rate`,
            `downsample`, `size` and `between`; a shape has `samples`, `seed` and `flip_normals`. They have the meaning
            of the options of `siren-jax fit`; `rate` is that of an array.

    Raises:
        InputError: the file cannot be read, an option does not apply to the kind, or a value is invalid.
    """
    source = np.asarray(source) if isinstance(source, ndarray | Array) else os.fspath(source)
    row = kind_of_source(source, kind, options.get("rate"))
    if recipe not in ("tuned", "paper"):
        raise InputError(f"a recipe is 'tuned' or 'paper', but is {recipe!r}.")
    given: dict[str, Any] = {**options}
    if unknown := sorted(set(given) - row.open_options):
        raise InputError(f"{unknown[0]} does not apply to {row.noun}; it has {', '.join(sorted(row.open_options))}.")
    target = given.get("target", "values")
    if not isinstance(target, str) or target not in row.tuned:
        raise InputError(f"target is one of {', '.join(row.tuned)}, but is {target!r}.")
    settings = row.recipe(recipe, target)
    if "integral_weight" in row.open_options:
        settings = settings._replace(integral_weight=given.setdefault("integral_weight", settings.integral_weight))
    if "recipe" in row.open_options:
        given["recipe"] = recipe
    subject = row.open(source, **given)
    name = name or ("signal" if isinstance(source, ndarray) else Path(source).stem)
    return Signal(subject, row, settings, name, {"target": target, "recipe": recipe})
