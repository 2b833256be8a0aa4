"""What a person sees of a set that was fitted: a table, a histogram, and truths beside their functions."""

import csv
import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.files.atomic import write_atomically
from siren_jax.neural_field import NeuralField
from siren_jax.sets.field_set import FieldSet
from siren_jax.sets.signals import Signals
from siren_jax.signals.ranges import restored
from siren_jax.subjects.procedure import write_figure
from siren_jax.subjects.shape import Scan
from siren_jax.subjects.subject import Measure, Sampled, Subject

METRICS, HISTOGRAM, SHEET = "metrics.csv", "quality.png", "contact_sheet.png"
SHOWN = {"shape": 8}  # entries in a contact sheet; drawing a surface takes a second
SIDE = 160  # pixels of a drawn surface


def worst(fields: FieldSet, measure: Measure) -> ndarray:
    """Numbers of the entries, the worst first; those without a quality before all others."""
    quality = -fields.quality if measure.less_is_better else fields.quality
    return np.argsort(np.where(np.isnan(quality), -np.inf, quality), kind="stable")


def write_metrics(folder: str, fields: FieldSet, measure: Measure, distances: ndarray | None = None) -> str:
    """Writes a row for every entry as a CSV file; returns its path.

    Args:
        folder: folder of the set.
        fields: the set.
        measure: measure of the quality.
        distances: with codes, `(n,)`, see `Base.distances`. They replace the status and the number of steps.
    """
    label = ["" if label is None else label for label in fields.labels]
    quality = [f"{value:.6g}" for value in fields.quality]
    columns: dict[str, Sequence[Any]] = {"name": fields.names, "label": label}
    if distances is None:
        columns |= {"status": fields.status, measure.name: quality, "steps": fields.steps.tolist()}
    else:
        columns |= {measure.name: quality, "distance": [f"{distance:.6g}" for distance in distances]}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    path = os.path.join(folder, METRICS)
    # File names of unknown encoding have half surrogate pairs, which UTF-8 cannot contain.
    data = text.getvalue().encode(errors="backslashreplace")
    write_atomically(path, lambda file: file.write(data), overwrite=True)
    return path


def write_figures(folder: str, signals: Signals, fields: FieldSet, measure: Measure, target: float | None) -> list[str]:
    """Writes a histogram of the qualities and a contact sheet, half of it the worst entries; returns their paths."""
    from siren_jax import plot  # imports Matplotlib

    title = f"{len(fields):,} {signals.kind.plural}"
    label = f"{measure.label} ({measure.unit})"
    histogram = plot.qualities(fields.quality, label=label, target=target, title=title)
    known = set(signals.names)
    order = [number for number in worst(fields, measure).tolist() if fields.names[number] in known]
    count = SHOWN.get(signals.kind.name, 24)
    some = np.unique(np.linspace(0, len(order) - 1, min(len(order), count // 2)).astype(int))
    numbers = list(dict.fromkeys([*order[: count // 2], *(order[place] for place in some)]))
    rows = [_pair(signals, fields, number, measure) for number in numbers]
    found = {HISTOGRAM: histogram}
    if rows := [row for row in rows if row is not None]:
        found[SHEET] = plot.pairs(*zip(*rows, strict=True), title=f"{title}, the worst first")  # pyright: ignore
    paths = [os.path.join(folder, name) for name in found]
    for path, figure in zip(paths, found.values(), strict=True):
        write_figure(path, figure, overwrite=True)
    return paths


def _pair(signals: Signals, fields: FieldSet, number: int, measure: Measure) -> tuple[ndarray, ndarray, str] | None:
    """A truth, its function and their heading; None if the signal cannot be read any more."""
    name, field = fields.names[number], fields[number]
    try:
        truth = _truth(signals[name].read())
    except InputError:
        return None
    name = name.encode(errors="backslashreplace").decode()  # Matplotlib cannot draw half surrogate pairs
    short = name if len(name) <= 24 else f"…{name[-23:]}"
    heading = f"{short}\n{measure.tell(float(fields.quality[number]))}".replace("$", r"\$")
    return truth, _function(field), heading


def _truth(subject: Subject) -> ndarray:
    if isinstance(subject, Scan):
        return subject.picture(SIDE)
    assert isinstance(subject, Sampled)
    data = subject.dataset
    return _as_shown(restored(data.value, data.value_range).reshape(*data.shape, -1), data.value_range)


def _function(field: NeuralField) -> ndarray:
    if field.kind == "shape":
        from siren_jax import plot

        mesh = field.mesh(64)
        if not len(mesh.faces):
            return np.ones((SIDE, SIDE, 3))
        return plot.shaded(mesh.vertices, mesh.faces, mesh.vertex_normals, side=SIDE)
    return _as_shown(field.render(), field.value_range)


def _as_shown(values: ndarray, value_range: tuple[float, float]) -> ndarray:
    """A sound `(n, c)`, a picture `(h, w, c)` or the middle frame of a video, in [0, 1]."""
    low, high = value_range
    values = (values - low) / (high - low)
    return values[len(values) // 2] if values.ndim == 4 else values
