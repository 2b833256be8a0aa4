"""The `.sirens` set: a folder of safetensors files, the shards, whose arrays have the entries as leading axis.

Each shard is complete by itself: the JSON header that all shards of a set share, the names of its entries, their
columns, and their parameters. An entry is read by slices, without the rest of its shard. `docs/file-format.md` is the
specification.
"""

import glob
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import nnx
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.files import siren_file
from siren_jax.files.atomic import write_atomically
from siren_jax.files.header import parse

FORMAT_VERSION = 1
MAX_HEADER = 2**22  # bytes: names and labels of a shard's entries
MAX_ENTRIES = 2**14  # of a shard
MAX_TEXT = 2**12  # characters of a name, a label or a status; NumPy gives every text the room of the longest one
SUFFIX, PART = ".shard", ".part"  # of complete shards and of others
# Columns of an entry, with their types in safetensors.
COLUMNS = {"number": "I64", "quality": "F64", "steps": "I64", "range": "F64", "shape": "I64"}
OPTIONAL = {"rate": "F64", "placement": "F64"}
KINDS = {"rate": ("sound", "video"), "placement": ("shape",)}  # that have an optional column
TEXTS = ("names", "labels", "status")


@dataclass(frozen=True)
class Shard:
    """Some entries of a set."""

    header: Mapping[str, Any]
    """What all shards of a set share: the network, the kind and how the set was made."""
    texts: Mapping[str, Sequence[str | None]]
    """`names`, `labels` and `status` of the entries."""
    columns: Mapping[str, ndarray]
    """Columns of the entries, see `COLUMNS`."""
    path: str | None = None
    """Where the parameters are, or None if they are in memory."""
    arrays: Mapping[str, ndarray] | None = None
    """Parameters by name in the precision of the set: with a leading axis of entries, or shared by all entries."""

    def __len__(self) -> int:
        return len(self.texts["names"])

    @property
    def shared(self) -> list[str]:
        """Names of the parameters that all entries share."""
        return self.header.get("shared", [])

    def parameters(self, rows: Any) -> dict[str, ndarray]:
        """Own parameters of an entry, or of several, in float32.

        Raises:
            InputError: the file was removed or changed, or its parameters are not finite.
        """
        return self._in_float32(self.stored(rows))

    def common(self) -> dict[str, ndarray]:
        """Parameters that all entries share, in float32; errors as for `parameters`."""
        return self._in_float32(self._arrays(self._is_shared, slice(None))) if self.shared else {}

    def stored(self, rows: Any) -> dict[str, ndarray]:
        """Own parameters of an entry, or of several, in the precision of the set."""
        return self._arrays(lambda name: not self._is_shared(name), rows)

    def _is_shared(self, name: str) -> bool:
        return name.removesuffix(".scale") in self.shared

    def _in_float32(self, arrays: Mapping[str, ndarray]) -> dict[str, ndarray]:
        names = [name for name in arrays if not name.endswith(".scale")]
        with np.errstate(over="ignore", invalid="ignore"):  # of a damaged scale
            found = {name: _restored(name, arrays) for name in names}
        if bad := [name for name, array in found.items() if not np.isfinite(array).all()]:
            raise InputError(f"{self.path!r} is damaged: {bad[0]} contains values that are not finite.")
        return found

    def _arrays(self, wanted: Callable[[str], bool], rows: Any) -> dict[str, ndarray]:
        """Rows of all arrays with a wanted name."""
        if self.arrays is not None:
            return {name: array[rows] for name, array in self.arrays.items() if wanted(name)}
        from safetensors import SafetensorError, safe_open

        assert self.path is not None
        try:
            with safe_open(self.path, framework="numpy") as file:
                names = [n for n in file.keys() if not n.startswith("entry.") and wanted(n)]  # noqa: SIM118
                return {name: file.get_slice(name)[rows] for name in names}
        except (SafetensorError, OSError) as error:
            raise InputError(f"the shard {self.path!r} cannot be read: {error}.") from None

    def write(self, path: str, *, overwrite: bool = False) -> None:
        """Writes the shard, completely or not at all.

        Raises:
            InputError: the file exists or cannot be written, or its names and labels are too long.
        """
        from safetensors.numpy import save

        assert self.arrays is not None
        _check_texts(repr(path), self.texts)
        text = json.dumps({**self.header, "entries": self.texts}, allow_nan=False)
        columns = {f"entry.{name}": np.ascontiguousarray(column) for name, column in self.columns.items()}
        data = save({**self.arrays, **columns}, metadata={"sirens": text})
        _check_length(path, data)
        write_atomically(path, lambda file: file.write(data), overwrite=overwrite)


def _restored(name: str, arrays: Mapping[str, ndarray]) -> ndarray:
    array, scale = arrays[name].astype(np.float32), arrays.get(f"{name}.scale")
    return array if scale is None else array * np.expand_dims(scale, -2)


def shards(folder: str | os.PathLike[str]) -> list[Shard]:
    """All shards of a set, in the order of their files.

    Raises:
        InputError: there is no set, a shard is damaged, or shards are of different sets.
    """
    folder = os.fspath(folder)
    if not os.path.isdir(folder):
        raise InputError(f"there is no set {folder!r}.")
    paths = sorted(glob.glob(os.path.join(glob.escape(folder), f"*{SUFFIX}")))
    if not paths:
        raise InputError(f"{folder!r} is not a set: it has no files {'*' + SUFFIX!r}.")
    found = [read(path) for path in paths]
    first = found[0].header
    for path, shard in zip(paths, found, strict=True):
        if different := [n for n in {**first, **shard.header} if first.get(n) != shard.header.get(n)]:
            raise InputError(f"{paths[0]!r} and {path!r} are of different sets: {different[0]} differs.")
    for word in ("name", "number"):
        every = (shard.texts["names"] if word == "name" else shard.columns["number"].tolist() for shard in found)
        if (twice := _repeated(value for values in every for value in values)) is not None:
            raise InputError(f"two entries of {folder!r} have the {word} {twice!r}; a shard was copied or renamed.")
    return found


def _repeated(values: Iterable[Any]) -> Any:
    """A value that occurs more than once, or None."""
    value, count = Counter(values).most_common(1)[0]
    return value if count > 1 else None


def any_shard(folder: str) -> Shard | None:
    """A shard of a folder, complete or not, or None if there is none."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    found = [name for suffix in (SUFFIX, PART) for name in names if name.endswith(suffix)]
    return read(os.path.join(folder, found[0])) if found else None


def read(path: str) -> Shard:
    """A shard without its parameters, after all checks of its header.

    Raises:
        InputError: the file is truncated, of another kind or version, or contradicts itself.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with open(path, "rb") as file:
            _check_length(path, file.read(8))
        with safe_open(path, framework="numpy") as file:
            header, texts = _header(path, (file.metadata() or {}).get("sirens"))
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
            wanted = _wanted(header, len(texts["names"]))
            if found != wanted:
                name = sorted(found.items() ^ wanted.items())[0][0]
                raise InputError(
                    f"{path!r} contradicts itself: according to its header {name} is {wanted.get(name, 'absent')}, but "
                    f"the file has {found.get(name, 'none')}."
                )
            columns = {n[6:]: file.get_tensor(n) for n in found if n.startswith("entry.")}
    except OSError as error:
        raise InputError(f"{path!r} cannot be read: {error.strerror}.") from None
    except SafetensorError as error:
        raise InputError(
            f"{path!r} is not a shard of a set, or is truncated: {error}. If it is deleted, the command that wrote the "
            "set makes it again with --resume."
        ) from None
    return Shard(header, texts, columns, path=path)


def _header(path: str, text: str | None) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    if text is None:
        raise InputError(f"{path!r} is a safetensors file, but not a shard of a set: it has no header named 'sirens'.")
    try:
        header = parse(text)
        texts = {name: header["entries"][name] for name in TEXTS}
        version = header["format"]
        del header["entries"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError(f"the header of {path!r} is not JSON with the fields format and entries.") from None
    if type(version) is not int or version != FORMAT_VERSION:
        raise InputError(f"{path!r} has the format version {version!r}; this siren_jax reads version {FORMAT_VERSION}.")
    _check_texts(repr(path), texts)
    # The description of the network has the rules of a .siren file.
    siren_file.checked_header(repr(path), json.dumps({**header, "format": siren_file.FORMAT_VERSION}))
    if header["precision"] not in siren_file.OF_SETS:
        raise InputError(
            f"the header of {path!r} names the precision {header['precision']!r}, but the weights of a set have one of "
            f"{', '.join(siren_file.OF_SETS)}."
        )
    if not all(isinstance(header.get(name), of) for name, of in (("kind", str), ("measure", str), ("record", dict))):
        raise InputError(f"the header of {path!r} has no kind, no measure or no record.")
    parameters = siren_file.stored_arrays(header["network"], "float32")
    if (weights := sum(math.prod(shape) for _, shape in parameters.values())) > siren_file.MAX_WEIGHTS:
        raise InputError(f"{path!r} has {weights:,} weights an entry; up to {siren_file.MAX_WEIGHTS:,} are accepted.")
    shared = header.get("shared", [])
    known = isinstance(shared, list) and all(isinstance(name, str) and name in parameters for name in shared)
    if not known or not len(shared) == len(set(shared)) < len(parameters):
        raise InputError(
            f"the header of {path!r} needs different parameters of the network as shared ones, and not all of them, "
            f"but has {shared!r:.200}."
        )
    return header, texts


def _check_texts(owner: str, texts: Mapping[str, Any]) -> None:
    """Checks the names, the labels and the status of the entries of a shard."""
    names = texts["names"]
    count = len(names) if isinstance(names, list) else 0
    text = lambda value: isinstance(value, str) and len(value) <= MAX_TEXT
    sound = 1 <= count <= MAX_ENTRIES and all(
        isinstance(column, list)
        and len(column) == count
        and all(text(value) or (value is None and name == "labels") for value in column)
        for name, column in texts.items()
    )
    if not sound or len(set(names)) < count:
        raise InputError(
            f"{owner} needs 1 to {MAX_ENTRIES:,} entries with different names, a label and a status each, of up to "
            f"{MAX_TEXT:,} characters."
        )


def _check_length(path: str, data: bytes) -> None:
    """Checks the length of the safetensors header of a file that begins with these bytes."""
    if (length := int.from_bytes(data[:8], "little")) > MAX_HEADER:
        raise InputError(f"{path!r} is not a shard: its header has {length:,} bytes of {MAX_HEADER:,}.")


def _wanted(header: Mapping[str, Any], count: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Types and shapes of the arrays of a shard."""
    axes = header["network"]["in_features"]
    further = {"range": (2,), "shape": (axes,), "placement": (4,)}
    columns = {**COLUMNS, **{name: of for name, of in OPTIONAL.items() if header["kind"] in KINDS[name]}}
    wanted: dict[str, tuple[str, tuple[int, ...]]] = {}
    wanted |= {f"entry.{name}": (kind, (count, *further.get(name, ()))) for name, kind in columns.items()}
    shared = header.get("shared", [])
    for name, (kind, shape) in siren_file.stored_arrays(header["network"], header["precision"]).items():
        wanted[name] = (kind, shape if name.removesuffix(".scale") in shared else (count, *shape))
    return wanted


def dtype_of(column: str) -> type:
    """NumPy type of a column."""
    return {"I64": np.int64, "F64": np.float64}[{**COLUMNS, **OPTIONAL}[column]]


def parameters_of(state: Any) -> dict[str, ndarray]:
    """Parameters by name, as in a `.siren` file, from the state of one network or of many."""
    return {".".join(map(str, name)): np.asarray(leaf[...]) for name, leaf in nnx.to_flat_state(state)}
