"""A collection of signals of one kind, from a folder, a list or an array. Each is read when it is needed."""

import csv
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np
from jax import Array
from numpy import ndarray

from siren_jax._types import SignalName
from siren_jax.errors import InputError
from siren_jax.files.set_file import MAX_TEXT
from siren_jax.subjects.kinds import SIGNALS, SignalKind, kind_of_source
from siren_jax.subjects.one_call import Options
from siren_jax.subjects.subject import Sampled, Subject

SURVEYED = 64
SAMPLES = 20_000  # points of a mesh: those of many shapes are in memory
SEPARATOR = "::"  # between the path of a set and the name of an entry
Labels = str | os.PathLike[str] | Sequence[str | int] | Mapping[str, str | int] | None
"""Labels of signals: "folder", the path of a CSV file, one for each signal, or by name."""


@dataclass(frozen=True, eq=False)
class Entry:
    """A signal of a collection that has not been read."""

    name: str
    label: str | None
    source: str | ndarray
    """Path of its file, or its array."""
    _open: Callable[[str | ndarray], Subject]

    def read(self) -> Subject:
        """The signal.

        Raises:
            InputError: the file is damaged or of another kind, or the array cannot be a signal.
        """
        return self._open(self.source)


class Survey(NamedTuple):
    """What the first look at some signals of a collection has found."""

    features: tuple[int, int]
    """Number of coordinates, and the largest number of channels."""
    shapes: list[tuple[int, ...]]
    """Numbers of samples along each axis, of every signal that has samples on a grid."""


class Signals(Sequence[Entry]):
    """Signals of one kind. Slices and `split` give collections too.

        signals = siren_jax.Signals("digits", labels="folder")
        train, test = signals.split(0.8)

    Args:
        source: a folder, which is searched with its sub-folders; a list of paths or of arrays; or an array whose first
            axis is the signals: pictures `(N, h, w)` or `(N, h, w, c)` or, with `rate`, sounds `(N, n)` or `(N, n, c)`.
        kind: kind of the signals; by default that of the first file or array that has one.
        labels: "folder" for the name of each file's sub-folder; a CSV file with a row `name,label` for each signal; a
            list with one for each signal; or a mapping from names.
        names: names of arrays; by default their numbers.
        options: options of `siren_jax.open` for the kind, such as `size` or `rate`. By default, 20,000 points are drawn
            from a mesh.

    Raises:
        InputError: there is no signal; the folder has signals of several kinds; names are not unique; a signal has no
            label; an option does not apply to the kind.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Sequence[Any] | ndarray | Array,
        *,
        kind: SignalName | None = None,
        labels: Labels = None,
        names: Sequence[str] | None = None,
        **options: Unpack[Options],
    ):
        if isinstance(source, str | os.PathLike):
            root = os.fspath(source)
            sources: list[str | ndarray] = list(_files(root))
            found = [Path(os.path.relpath(path, root)).as_posix() for path in map(str, sources)]
        else:
            sources = [_plain(each) for each in source]
            found = [Path(s).name if isinstance(s, str) else f"{i:05d}" for i, s in enumerate(sources)]
        if names is not None and len(names) != len(sources):
            raise InputError(f"there are {len(sources):,} signals, but {len(names):,} names.")
        found = found if names is None else list(map(str, names))
        if not sources:
            where = f" in {source!r}" if isinstance(source, str | os.PathLike) else ""
            raise InputError(f"there are no signals{where}.")
        _check_names(found)
        self.kind = _kind(sources, found, kind, options.get("rate"))
        if unknown := sorted(set(options) - self.kind.open_options):
            raise InputError(f"{unknown[0]}= does not apply to {self.kind.noun}; leave it out.")
        if "samples" in self.kind.open_options:
            options.setdefault("samples", SAMPLES)
        given = _labels(labels, found)
        self.options: dict[str, Any] = dict(options)
        """Options of `siren_jax.open` that were given."""
        opened = lambda source: self.kind.open(source, **options)
        self._entries = [Entry(*row, opened) for row in zip(found, given, sources, strict=True)]

    @property
    def names(self) -> list[str]:
        return [entry.name for entry in self._entries]

    @property
    def labels(self) -> list[str | None]:
        return [entry.label for entry in self._entries]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: Any) -> Any:
        """The entry of a number or a name; the collection of a slice or an array of numbers."""
        if isinstance(index, str):
            names = self.names
            if index not in names:
                raise InputError(f"there is no signal {str(index)!r}.")
            return self._entries[names.index(index)]
        if isinstance(index, int | np.integer):
            return self._entries[index]
        return self._part(np.arange(len(self))[index])

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def split(self, share: float, *, seed: int = 0) -> "tuple[Signals, Signals]":
        """Two collections without common signals, drawn at random: this share of each label, and the rest.

        Raises:
            InputError: the share is not between 0 and 1.
        """
        if not 0 < share < 1:
            raise InputError(f"a share lies between 0 and 1, but is {share}.")
        order = np.random.default_rng(seed).permutation(len(self))
        labels = np.array([str(label) for label in self.labels])
        first = []
        for label in sorted(set(labels)):
            own = order[labels[order] == label]
            first.extend(own[: round(share * len(own))])
        return self._part(np.sort(np.array(first, int))), self._part(np.setdiff1d(np.arange(len(self)), first))

    @cached_property
    def survey(self) -> Survey:
        """A survey of up to 64 signals that are spread over the collection; of one, if they are shapes.

        Raises:
            InputError: none of them can be read.
        """
        features: list[tuple[int, int]] = []
        shapes: list[tuple[int, ...]] = []
        reasons: list[str] = []
        for place in np.unique(np.linspace(0, len(self) - 1, min(SURVEYED, len(self))).astype(int)):
            try:
                subject = self[int(place)].read()
            except InputError as error:
                reasons.append(f"{self[int(place)].name!r}: {error}")
                continue
            features.append(subject.features)
            if not isinstance(subject, Sampled):
                break
            shapes.append(subject.dataset.shape)
        if not features:
            raise InputError(f"there are no {self.kind.plural} that can be read; {reasons[0]}")
        return Survey((features[0][0], max(channels for _, channels in features)), shapes)

    def __repr__(self) -> str:
        labelled = sorted({label for label in self.labels if label is not None})
        labels = f", {len(labelled)} labels" if labelled else ""
        return f"Signals({len(self):,} {self.kind.plural}{labels})"

    def _part(self, numbers: ndarray) -> "Signals":
        part = object.__new__(Signals)
        part.kind, part.options, part._entries = self.kind, self.options, [self._entries[number] for number in numbers]
        return part


def _files(root: str) -> Iterator[str]:
    """All files of a folder that may be signals, in the order of their names."""
    if not os.path.isdir(root):
        raise InputError(f"there is no folder {root!r}.")

    def refuse(error: OSError) -> None:
        raise InputError(f"the folder {error.filename!r} cannot be read: {error.strerror}.") from None

    for folder, inner, names in os.walk(root, onerror=refuse):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        if any(name.endswith((".shard", ".part")) for name in names):  # a set
            inner.clear()
            continue
        for name in sorted(names):
            if not name.startswith(".") and not name.lower().endswith((".csv", ".txt", ".md", ".json", ".html")):
                yield os.path.join(folder, name)


def _plain(source: Any) -> str | ndarray:
    return str(os.fspath(source)) if isinstance(source, str | os.PathLike) else np.asarray(source)


def _check_names(names: Sequence[str]) -> None:
    seen: set[str] = set()
    _check_length("name", names)
    for name in names:
        if SEPARATOR in name or not name:
            raise InputError(f"a signal cannot have the name {name!r}; it needs a name without {SEPARATOR!r}.")
        if name in seen:
            raise InputError(f"two signals have the name {name!r}; give a folder, or names=.")
        seen.add(name)


def _check_length(word: str, texts: Sequence[str]) -> None:
    """Refuses texts that a set cannot contain, before anything is fitted."""
    if long := [text for text in texts if len(text) > MAX_TEXT]:
        raise InputError(f"a {word} has up to {MAX_TEXT:,} characters, but {long[0][:40]!r}… has {len(long[0]):,}.")


def _kind(
    sources: Sequence[str | ndarray], names: Sequence[str], kind: SignalName | None, rate: int | float | None
) -> SignalKind:
    """The common kind of all sources. A source that has none, such as an empty file, does not count."""
    if kind is not None:
        return kind_of_source(sources[0], kind, rate)
    found: dict[str, str] = {}  # kind -> the first signal of it
    error = None
    for source, name in zip(sources, names, strict=True):
        try:
            found.setdefault(kind_of_source(source, rate=rate).name, name)
        except InputError as reason:
            error = error or reason
    if len(found) > 1:
        pairs = ", ".join(f"{name!r} is {SIGNALS[kind].noun}" for kind, name in found.items())
        raise InputError(f"a collection has signals of one kind, but {pairs}; choose with kind=, or separate them.")
    if not found:
        raise InputError(f"there are no signals that can be read; the first: {error}")
    return SIGNALS[next(iter(found))]


def _labels(labels: Labels, names: Sequence[str]) -> list[str | None]:
    """The label of every name."""
    if labels is None:
        return [None] * len(names)
    if isinstance(labels, str) and labels == "folder":
        by_name: Mapping[str, Any] = {name: os.path.dirname(name) for name in names if "/" in name}
    elif isinstance(labels, str | os.PathLike):
        by_name = _table(os.fspath(labels))
    elif isinstance(labels, Mapping):
        by_name = labels
    else:
        if len(labels) != len(names):
            raise InputError(f"there are {len(names):,} signals, but {len(labels):,} labels.")
        by_name = dict(zip(names, labels, strict=True))
    if missing := [name for name in names if name not in by_name]:
        raise InputError(f"{len(missing):,} of {len(names):,} signals have no label; the first is {missing[0]!r}.")
    found = [str(by_name[name]) for name in names]
    _check_length("label", found)
    return [*found]


def _table(path: str) -> dict[str, str]:
    """Labels by name from a CSV file; a first row of names that no signal has is a heading."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"the labels in {path!r} cannot be read: {reason}.") from None
    if bad := [row for row in rows if len(row) < 2]:
        raise InputError(f"{path!r} needs rows of a name and a label, but has {','.join(bad[0])!r}.")
    return {row[0]: row[1] for row in rows}
