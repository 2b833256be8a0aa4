"""Where the results of a joint fit go: shards, in memory or in a folder, from which a later process continues."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from siren_jax._types import Precision
from siren_jax.errors import InputError
from siren_jax.files import set_file
from siren_jax.files.atomic import clear_leftovers, write_atomically
from siren_jax.files.set_file import SUFFIX, Shard

MANIFEST = "names.json"
ENTRIES = 256  # of a shard


class Result(NamedTuple):
    """The end of the fit of one signal."""

    number: int
    name: str
    label: str | None
    status: str
    quality: float
    steps: int
    value_range: tuple[float, float]
    shape: tuple[int, ...]
    further: Mapping[str, Any]
    """Columns that only some sets have; see `set_file.OPTIONAL`."""
    parameters: Mapping[str, ndarray]


@dataclass
class Writer:
    """Gathers results in shards of consecutive signals of a group, and keeps each shard that is complete.

    Args:
        folder: where shards are written, or None to keep them in memory.
        header: what all shards share.
        precision: precision of the parameters.
    """

    folder: str | None
    header: Mapping[str, Any]
    precision: Precision = "float32"
    shards: list[Shard] = field(default_factory=list)
    _open: list[list[int]] = field(default_factory=list)
    """Numbers of the signals of every shard that is not complete."""
    _results: dict[int, Result] = field(default_factory=dict)

    def started(self, number: int) -> None:
        """Tells that a signal will be fitted. The signals of a group come in order."""
        if not self._open or len(self._open[-1]) == ENTRIES:
            self._open.append([])
        self._open[-1].append(number)

    def ended(self, result: Result) -> None:
        """Keeps the result of a signal, and writes its shard if that is now full and complete."""
        self._results[result.number] = result
        for numbers in [n for n in self._open if len(n) == ENTRIES and result.number in n]:
            if all(number in self._results for number in numbers):
                self._write(numbers)

    def finish(self, *, partly: bool = False) -> None:
        """Writes the last shard of a group.

        Args:
            partly: whether signals may lack in shards, because the fit was ended early.
        """
        for numbers in list(self._open):
            if complete := [number for number in numbers if number in self._results]:
                assert partly or complete == numbers
                self._write(numbers)
        self._open.clear()

    def _write(self, numbers: list[int]) -> None:
        self._open.remove(numbers)
        shard = self._shard([self._results.pop(number) for number in numbers if number in self._results])
        if self.folder is not None:
            path = os.path.join(self.folder, f"{numbers[0]:08d}{SUFFIX}")
            shard.write(path)
            shard = set_file.read(path)
        self.shards.append(shard)

    def _shard(self, results: Sequence[Result]) -> Shard:
        arrays = {name: np.stack([result.parameters[name] for result in results]) for name in results[0].parameters}
        columns = {
            "number": np.array([result.number for result in results], np.int64),
            "quality": np.array([result.quality for result in results], np.float64),
            "steps": np.array([result.steps for result in results], np.int64),
            "range": np.array([result.value_range for result in results], np.float64),
            "shape": np.array([result.shape for result in results], np.int64),
        }
        for name in results[0].further:
            columns[name] = np.array([result.further[name] for result in results], np.float64)
        texts = {
            "names": [result.name for result in results],
            "labels": [result.label for result in results],
            "status": [result.status for result in results],
        }
        return Shard(self.header, texts, columns, arrays=set_file.stored(arrays, self.precision))


def begun(folder: str | None, header: Mapping[str, Any], names: Sequence[str]) -> tuple[list[Shard], dict[str, int]]:
    """The complete shards of a folder, which is made if need be, and the number of every name.

    Names that the folder does not know yet get the next numbers; without a folder, all do.

    Raises:
        InputError: the folder contains another set, or cannot be written.
    """
    if folder is None:
        return [], {name: number for number, name in enumerate(names)}
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise InputError(f"the folder {folder!r} cannot be made: {error.strerror}.") from None
    clear_leftovers(os.path.join(folder, "*"))
    shards = set_file.shards(folder) if any(name.endswith(SUFFIX) for name in os.listdir(folder)) else []
    plain = json.loads(json.dumps(header))
    if shards and (other := [name for name in plain if shards[0].header.get(name) != plain[name]]):
        raise InputError(
            f"{folder!r} contains a set that was made in another way: {other[0]} differs. Repeat the settings of that "
            "set to continue it, or choose another folder."
        )
    path = os.path.join(folder, MANIFEST)
    numbers: dict[str, int] = {}
    if os.path.exists(path):
        try:
            with open(path, encoding="utf-8") as file:
                numbers = {str(name): number for number, name in enumerate(json.load(file))}
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"{path!r} cannot be read: {error}.") from None
    elif shards:
        raise InputError(f"{folder!r} has shards, but no {MANIFEST}, so it cannot be continued.")
    if new := [name for name in names if name not in numbers]:
        numbers.update({name: len(numbers) + i for i, name in enumerate(new)})
        text = json.dumps(list(numbers))
        write_atomically(path, lambda file: file.write(text.encode()), overwrite=True)
    return shards, numbers
