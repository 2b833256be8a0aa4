"""Tables of COMSOL: values of one or more unknowns at nodes, at one moment or at several."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from siren_jax import InputError


class Samples(NamedTuple):
    """Values at points of space and, if the table has times, of time."""

    points: Float[ndarray, "n d"]
    """In the order of this library: (t, y, x), (t, x) or (y, x); a table has x first."""
    values: Float[ndarray, "n c"]
    """The unknowns in the order of the table."""


def read(path: Path) -> Samples:
    """The samples of a table without those that are NaN.

    Lines that begin with % describe the table, and the last of them names its columns: coordinates, then unknowns, as
    `u` or as `u @ t=0.1`, separated by at least two spaces.

    Raises:
        InputError: there is no such file, or its columns are not as described.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as a table of COMSOL: {error}.") from None
    described = [line[1:].strip() for line in text.splitlines() if line.startswith("%")]
    columns = re.split(r"\s{2,}", described[-1]) if described else []
    dimensions = [int(line.split(":")[1]) for line in described if re.fullmatch(r"Dimension:\s+\d+", line)]
    rows = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("%")]
    if len(dimensions) != 1 or not rows or {len(row) for row in rows} != {len(columns)}:
        raise InputError(
            f"{path} is not a table of COMSOL: it needs a line '% Dimension: 2' and a last line with % that names as "
            "many columns as there are numbers in a row."
        )
    try:
        table = np.array(rows, float)
    except ValueError as error:
        raise InputError(f"{path} has a row that is not made of numbers: {error}.") from None
    (d,) = dimensions
    names = [name.split("@")[0].strip() for name in columns[d:]]
    found = [re.search(r"@ t=(\S+)", name) for name in columns[d:]]
    moments = [float(match[1]) if match else None for match in found]
    unknowns, times = list(dict.fromkeys(names)), list(dict.fromkeys(moments))
    places = {where: column for column, where in enumerate(zip(moments, names, strict=True), start=d)}
    if len(places) != len(unknowns) * len(times) or len(places) != len(columns) - d:
        raise InputError(f"{path} does not have each of its unknowns once at each of its times.")
    points, values = [], []
    for time in times:
        space = table[:, :d][:, ::-1]
        points.append(space if time is None else np.column_stack([np.full(len(table), time), space]))
        values.append(table[:, [places[time, unknown] for unknown in unknowns]])
    where, what = np.concatenate(points), np.concatenate(values)
    known = np.isfinite(what).all(axis=1)
    return Samples(where[known], what[known])
