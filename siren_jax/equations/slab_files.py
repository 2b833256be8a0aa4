"""Solutions in slabs of time as one file: an archive with a `.siren` file for each slab, and what opens it again."""

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from siren_jax.equations.as_field import grid_over, solution
from siren_jax.equations.domains import Domain, Interval, SpaceTime
from siren_jax.equations.slabs import Slabs
from siren_jax.errors import InputError
from siren_jax.fields.coordinates import Grid
from siren_jax.fields.tiles import evaluate
from siren_jax.files import header
from siren_jax.files.atomic import write_atomically
from siren_jax.networks.changes import with_points
from siren_jax.networks.siren import SIREN
from siren_jax.neural_field import NeuralField, load

SUFFIX = ".slabs.zip"
WHOLE = "solution.json"  # the entry of an archive that describes the whole time
BLOCK = 4096  # points that are evaluated at once
MOST, LARGEST = 10_000, 2**30  # slabs of an archive, bytes of an entry


@dataclass(frozen=True, eq=False)
class SolutionInSlabs:
    """The solution of an equation as a neural field for each slab of time, made by `in_slabs` and `load_slabs`.

    Args:
        fields: the fields, whose boxes adjoin each other in time, their first coordinate.
        frame: a grid over the whole time.
        record: description of how the solution was made.
    """

    fields: tuple[NeuralField, ...]
    frame: Grid
    record: Mapping[str, Any]

    @property
    def edges(self) -> tuple[float, ...]:
        """Times of the slabs' ends, from the start on."""
        boxes = [_box(field) for field in self.fields]
        return (*(box.low[0] for box in boxes), boxes[-1].high[0])

    def field_at(self, time: float) -> NeuralField:
        """The field of the slab that contains a time; it has derivatives as every `NeuralField`.

        Args:
            time: in the unit of the first coordinate. At an end of two slabs, the field is that of the earlier one.
        """
        return self.fields[int(np.searchsorted(self.edges[1:-1], time))]

    def __call__(self, points: Float[Any, "... d"]) -> Float[ndarray, "... c"]:
        """Values at points, each by the network of its slab, in float64.

        Before the first slab and after the last one, the values are those of their networks' continuations.
        """
        x = np.asarray(points, np.float64)
        flat = x.reshape(-1, x.shape[-1])
        values = np.empty((len(flat), self.fields[0].network.out_features))
        slab = np.searchsorted(self.edges[1:-1], flat[:, 0])
        for number in np.unique(slab):
            among = np.flatnonzero(slab == number)
            for first in range(0, len(among), BLOCK):
                block = among[first : first + BLOCK]
                filled = flat[np.resize(block, BLOCK)]  # of one size, which is compiled once for all slabs
                values[block] = np.asarray(evaluate(self.fields[number].network, filled))[: len(block)]
        return values.reshape(*x.shape[:-1], -1)

    def render(self, shape: tuple[int, ...] | None = None) -> Float[ndarray, "*shape c"]:
        """Values at the centres of the cells of a grid over the whole time.

        Args:
            shape: number of cells along each coordinate; by default that of the frame.
        """
        grid = self.frame if shape is None else Grid(tuple(shape), self.frame.low, self.frame.high)
        return self(grid.coordinates(np.moveaxis(np.indices(grid.shape), 0, -1), np.float64))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Writes a ZIP archive with a `.siren` file for each slab, completely or not at all.

        Args:
            path: path of the file, such as `u.slabs.zip`.
            overwrite: whether to replace an existing file.

        Raises:
            InputError: the file exists or cannot be written, or JSON cannot represent the record.
        """
        whole = {"frame": header.as_json("frame", vars(self.frame)), "record": header.as_json("record", self.record)}
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w") as archive:
            archive.writestr(_entry(WHOLE), json.dumps(whole))
            for number, field in enumerate(self.fields):
                archive.writestr(_entry(f"{number:04}.siren"), field.to_bytes())
        write_atomically(path, lambda file: file.write(data.getvalue()), overwrite=overwrite)


def in_slabs(slabs: Slabs, domain: Domain, *, record: Mapping[str, Any] | None = None) -> SolutionInSlabs:
    """The result of `march` as neural fields in the problem's own time: `in_slabs(marched.network, domain).save(…)`.

    Args:
        slabs: the solution, of networks that are SIRENs.
        domain: where the equation holds, for the whole time. If the solution ends earlier, so does its box.
        record: JSON values saved in the file; "axes" and "channels" may name the coordinates and the unknowns.

    Raises:
        InputError: the networks are not SIRENs, or the domain has another number of coordinates.
    """
    if type(slabs.network) is not SIREN:
        raise InputError(f"slabs are saved if their networks are SIRENs, but these are of {type(slabs.network)}.")
    record, fields = dict(record or {}), []
    for number, (low, high) in enumerate(pairwise(slabs.edges)):
        scale, shift = np.ones(len(domain.low)), np.zeros(len(domain.low))
        scale[0], shift[0] = 1 / (high - low), -low / (high - low)
        with jax.enable_x64(True):
            network = slabs.network_of(number)
            assert isinstance(network, SIREN)
            moved = with_points(network, scale, shift)
        fields.append(solution(moved, _during(domain, low, high), record=record))
    frame = grid_over(_during(domain, slabs.edges[0], slabs.edges[-1]))
    return SolutionInSlabs(tuple(fields), frame, record)


def load_slabs(path: str | os.PathLike[str]) -> SolutionInSlabs:
    """The solution in a file that `SolutionInSlabs.save` or `siren-jax solve` has written.

    Raises:
        InputError: the file is missing, damaged or of another kind.
    """
    name = os.fspath(path)
    try:
        with zipfile.ZipFile(name) as archive, tempfile.TemporaryDirectory() as folder:
            entries = sorted(entry for entry in archive.namelist() if entry.endswith(".siren"))
            whole = json.loads(_read(archive, WHOLE))
            frame, record = whole["frame"], dict(whole["record"])
            low, high = tuple(map(float, frame["low"])), tuple(map(float, frame["high"]))
            grid = Grid(tuple(map(int, frame["shape"])), low, high)
            if not entries or len(entries) > MOST:
                raise ValueError(f"it has {len(entries):,} slabs")
            fields = []
            for number, entry in enumerate(entries):
                file = os.path.join(folder, f"{number}.siren")  # whatever the entry's own name is
                with open(file, "wb") as copy:
                    copy.write(_read(archive, entry))
                try:
                    fields.append(load(file))
                except InputError as error:
                    raise ValueError(str(error).replace(repr(file), repr(entry))) from None
                os.unlink(file)
    except OSError as error:
        raise InputError(f"{name!r} cannot be read: {error.strerror or error}.") from None
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{name!r} is not a solution in slabs, or is damaged: {str(error).rstrip('.')}.") from None
    boxes = [field.frame for field in fields]
    if not all(isinstance(box, Grid) and len(box.low) == len(low) for box in boxes):
        raise InputError(f"{name!r} is damaged: an entry is not the solution of an equation.")
    if any(a.high[0] != b.low[0] for a, b in pairwise(boxes)):
        raise InputError(f"{name!r} is damaged: a slab of time is missing.")
    return SolutionInSlabs(tuple(fields), grid, record)


def _entry(name: str) -> zipfile.ZipInfo:
    """An entry without a time of its own, with which equal solutions would have different files."""
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o644 << 16
    return entry


def _read(archive: zipfile.ZipFile, entry: str) -> bytes:
    if archive.getinfo(entry).file_size > LARGEST:
        raise ValueError(f"{entry} is too large")
    return archive.read(entry)


def _box(field: NeuralField) -> Grid:
    assert isinstance(field.frame, Grid)
    return field.frame


def _during(domain: Domain, low: float, high: float) -> Domain:
    """The part of a domain, with time or of time alone, between two times."""
    if isinstance(domain, SpaceTime):
        return SpaceTime(domain.space, low, high)
    if isinstance(domain, Interval):
        return Interval(low, high)
    raise InputError(f"slabs of time need a domain with time, or an interval of time alone, but got {domain!r}.")
