"""Where the results of a joint fit go: shards, in memory or in a folder, from which a later process continues."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from numpy import ndarray

from siren_jax._types import SetPrecision
from siren_jax.errors import InputError
from siren_jax.files import set_file, siren_file
from siren_jax.files.atomic import clear_leftovers, write_atomically
from siren_jax.files.set_file import PART, SUFFIX, TEXTS, Shard

MANIFEST = "names.json"
LOCK = ".lock-part-"  # begins the names of the files that processes lock
ENTRIES = 256  # of a shard


class Result(NamedTuple):
    """The end of the fit of one signal, as an entry of a shard."""

    number: int
    texts: Mapping[str, str | None]
    columns: Mapping[str, Any]
    arrays: Mapping[str, ndarray]
    """Parameters in the precision of the set."""


@dataclass
class Writer:
    """Gathers results in shards, and keeps each shard that is complete.

    A shard has the signals of one group whose numbers lie in one block of 256. Results of shards that are not complete
    are written to files of their own, so that a kill loses at most 256 results.

    Args:
        folder: where shards are written, or None to keep them in memory.
        header: what all shards share.
        precision: precision of the parameters.
        shared: parameters that all entries share, in float32.
        shards: complete shards of an earlier process.
        results: results of an earlier process in shards that are not complete, by number.
        parts: numbers of these results by the paths of their files.
    """

    folder: str | None
    header: Mapping[str, Any]
    precision: SetPrecision
    shared: Mapping[str, ndarray]
    shards: list[Shard]
    results: dict[int, Result]
    parts: dict[str, set[int]]
    """Numbers of the results in every file of a shard that is not complete."""
    _open: list[list[int]] = field(default_factory=list)
    """Numbers of the signals of every shard that is not complete; the last may get more."""
    _unsaved: int = 0

    def started(self, number: int) -> None:
        """Tells that a signal will be fitted, or was by an earlier process; those of a group in ascending order."""
        if not self._open or self._open[-1][0] // ENTRIES != number // ENTRIES:
            self._open.append([])
            self._settle()
        self._open[-1].append(number)

    def ended(
        self,
        number: int,
        texts: Mapping[str, str | None],
        columns: Mapping[str, Any],
        parameters: Mapping[str, ndarray],
    ) -> None:
        """Keeps the result of a signal, from its parameters in float32."""
        arrays = siren_file.at_precision(parameters, self.precision)
        self.results[number] = Result(number, texts, columns, arrays)
        self._unsaved += 1
        self._settle()
        if self.folder is not None and self._unsaved >= ENTRIES:
            self._save_parts(self.folder)

    def finish(self, *, partly: bool = False) -> None:
        """Completes the shards of a group.

        Args:
            partly: whether signals may lack in shards, because the fit was ended early.
        """
        for numbers in list(self._open):
            if complete := [number for number in numbers if number in self.results]:
                assert partly or complete == numbers
                self._write(numbers)
        self._open.clear()

    def finish_others(self) -> None:
        """Writes the results of an earlier process whose signals are gone."""
        for number in sorted(self.results):
            self.started(number)
        self.finish()

    def pause(self) -> None:
        """Keeps all results so far, for a later process."""
        if self.folder is not None:
            self._save_parts(self.folder)

    def _settle(self) -> None:
        """Writes the shards that are complete: all but the last, which may get more signals."""
        for numbers in self._open[:-1]:
            if all(number in self.results for number in numbers):
                self._write(numbers)

    def _write(self, numbers: list[int]) -> None:
        self._open.remove(numbers)
        shard = self._shard([self.results.pop(number) for number in numbers if number in self.results])
        if self.folder is not None:
            path = self._path(numbers, SUFFIX)
            shard.write(path)
            shard = set_file.read(path)
            for part in [part for part, members in self.parts.items() if not members & self.results.keys()]:
                del self.parts[part]
                with suppress(FileNotFoundError):
                    os.remove(part)
        self.shards.append(shard)

    def _save_parts(self, folder: str) -> None:
        for numbers in self._open:
            path = self._path(numbers, PART)
            # Those of an earlier process stay in the file that is replaced, also if they have not been read again yet.
            if ended := sorted(self.results.keys() & {*numbers, *self.parts.get(path, ())}):
                self._shard([self.results[number] for number in ended]).write(path, overwrite=True)
                self.parts[path] = set(ended)
        self._unsaved = 0

    def _path(self, numbers: Sequence[int], suffix: str) -> str:
        assert self.folder is not None
        return os.path.join(self.folder, f"{numbers[0]:08d}{suffix}")

    def _shard(self, results: Sequence[Result]) -> Shard:
        columns = {"number": np.array([result.number for result in results], np.int64)}
        for name in results[0].columns:
            columns[name] = np.array([result.columns[name] for result in results], set_file.dtype_of(name))
        texts = {name: [result.texts[name] for result in results] for name in TEXTS}
        arrays = {name: np.stack([result.arrays[name] for result in results]) for name in results[0].arrays}
        return Shard(self.header, texts, columns, arrays={**arrays, **self.shared})


@contextmanager
def claimed(folder: str, part: tuple[int, int]) -> Iterator[None]:
    """Keeps a folder, which is made if need be, for this process alone, or for its part of the signals.

    If there is no result in the folder at the end, it contains no set: the numbers of the names are removed. Processes
    of parts leave them, because the others use them.

    Raises:
        InputError: the folder cannot be written, or another process uses it.
    """
    with _locked(folder, part):
        try:
            yield
        finally:
            with suppress(OSError):
                if part[1] == 1 and not has_results(folder):
                    os.remove(os.path.join(folder, MANIFEST))


def has_results(folder: str) -> bool:
    """Whether a folder contains results of signals, in shards that are complete or not."""
    return any(name.endswith((SUFFIX, PART)) for name in os.listdir(folder))


def _locked(folder: str, part: tuple[int, int]) -> FileLock:
    try:
        os.makedirs(folder, exist_ok=True)
        own = f"{LOCK}{part[0]}-of-{part[1]}"
        others = [name for name in os.listdir(folder) if name.startswith(LOCK) and name != own]
        for name in others if part[1] == 1 else [name for name in others if name == f"{LOCK}0-of-1"]:
            FileLock(os.path.join(folder, name), thread_local=False).acquire(timeout=0).__exit__(None, None, None)
        lock = FileLock(os.path.join(folder, own), thread_local=False)
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(
            f"another process is writing the set {folder!r}; wait for it, or choose another folder."
        ) from None
    except OSError as error:
        raise InputError(f"the folder {folder!r} cannot be written: {error.strerror}.") from None
    return lock


def begun(
    folder: str, header: Mapping[str, Any], part: tuple[int, int]
) -> tuple[list[Shard], dict[int, Result], dict[str, set[int]]]:
    """The complete shards of a folder, the results in other shards by number, and the numbers in each of their files.

    Of the results, those of this part alone.

    Raises:
        InputError: the folder contains another set.
    """
    if part[1] == 1:
        clear_leftovers(os.path.join(folder, "*"))
    shards = set_file.shards(folder) if any(name.endswith(SUFFIX) for name in os.listdir(folder)) else []
    finished = {int(number) for shard in shards for number in shard.columns["number"]}
    results: dict[int, Result] = {}
    parts: dict[str, set[int]] = {}
    for name in sorted(os.listdir(folder)):
        stem, suffix = os.path.splitext(name)
        if suffix == PART and stem.isdecimal() and belongs(int(stem), part):
            path = os.path.join(folder, name)
            shard = set_file.read(path)
            _check_same(folder, shard, header)
            left = {result.number: result for result in _results(shard) if result.number not in finished}
            results.update(left)
            parts[path] = set(left)
            if not left:  # the shard was completed, and its process killed
                os.remove(path)
                del parts[path]
    if shards:
        _check_same(folder, shards[0], header)
    return shards, results, parts


def belongs(number: int, part: tuple[int, int]) -> bool:
    """Whether a signal is of part i of n: its block has a number k with k mod n = i."""
    return number // ENTRIES % part[1] == part[0]


def _check_same(folder: str, shard: Shard, header: Mapping[str, Any]) -> None:
    old, new = dict(shard.header), json.loads(json.dumps(header))
    old, new = ({**header.pop("record"), **header} for header in (old, new))
    if other := [name for name in {**old, **new} if old.get(name) != new.get(name)]:
        name = other[0]
        raise InputError(
            f"{folder!r} contains a set that was made in another way: {name} is {old.get(name)} there, but "
            f"{new.get(name)} now. Repeat the settings of that set to continue it, or choose another folder."
        )


def _results(shard: Shard) -> list[Result]:
    arrays = shard.stored(slice(None))
    found = []
    for row, number in enumerate(shard.columns["number"]):
        texts = {name: shard.texts[name][row] for name in TEXTS}
        columns = {name: column[row] for name, column in shard.columns.items() if name != "number"}
        found.append(Result(int(number), texts, columns, {name: array[row] for name, array in arrays.items()}))
    return found


def numbered(folder: str | None, names: Sequence[str]) -> dict[str, int]:
    """The number of every name. Names that the folder does not know yet get the next numbers; without a folder, all do.

    Raises:
        InputError: the folder has shards, but no numbers, or they cannot be read.
    """
    if folder is None:
        return {name: number for number, name in enumerate(names)}
    path = os.path.join(folder, MANIFEST)
    with FileLock(os.path.join(folder, ".lock-names"), thread_local=False):  # parts may begin at the same time
        return _numbered(folder, path, names)


def _numbered(folder: str, path: str, names: Sequence[str]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    if os.path.exists(path):
        try:
            with open(path, encoding="utf-8") as file:
                known = json.load(file)
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path!r} cannot be read: {error}.") from None
        listed = isinstance(known, list) and all(isinstance(name, str) for name in known)
        if not listed or len(set(known)) < len(known):
            raise InputError(f"{path!r} cannot be read: it needs a list of different names.")
        numbers = {name: number for number, name in enumerate(known)}
    elif has_results(folder):
        raise InputError(
            f"{folder!r} has shards, but no {MANIFEST} with the numbers of their signals, so it cannot be continued; "
            "choose another folder."
        )
    if new := [name for name in names if name not in numbers]:
        numbers.update({name: len(numbers) + i for i, name in enumerate(new)})
        text = json.dumps(list(numbers))
        write_atomically(path, lambda file: file.write(text.encode()), overwrite=True)
    return numbers
