"""A set as the arrays that other learners take, in an NPZ or an HDF5 file."""

import json
import math
import os
import zipfile
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.files.atomic import check_space, replacing
from siren_jax.sets.field_set import FieldSet

BLOCK = 2**22  # numbers that are in memory at once


def export(
    fields: FieldSet, path: str | os.PathLike[str], *, to: Literal["npz", "hdf5"], overwrite: bool = False
) -> None:
    """Writes a set as arrays with the entries as first axis, completely or not at all.

    `X` (n, dims) float32 are the own parameters as in `FieldSet.arrays`, `parameters/NAME` (n, *shape) each of them,
    and `shared/NAME` the parameters that all entries share. `y`, `names` and `status` are strings; a missing label is
    "". `quality`, `steps`, `shapes` (n, d), `value_ranges` (n, 2) and, for sounds and videos, `rates` are numbers.
    `header` is the JSON text of `FieldSet.header`, with the omegas. The memory is that of a block of parameters and of
    the other columns.

    Args:
        fields: the set.
        path: path of the file.
        to: "npz", which NumPy reads without pickles, or "hdf5", which needs the extra `hdf5`.
        overwrite: whether to replace an existing file.

    Raises:
        InputError: the file exists or cannot be written, a shard is damaged, or the extra is not installed.
    """
    write = {"npz": _write_npz, "hdf5": _write_hdf5}[to]
    if to == "hdf5":  # HDF5 ends the process with a segmentation fault if the disk is full
        check_space(path, 2 * 4 * len(fields) * sum(map(math.prod, fields.own.values())))
    with replacing(path, overwrite=overwrite) as temporary:
        write(fields, temporary)


def _write_npz(fields: FieldSet, path: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:

        def member(name: str):
            # Without the time of day, so that a set always gives the same bytes.
            return archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)

        for name, column in _columns(fields).items():
            with member(name) as file:
                np.lib.format.write_array(file, column, allow_pickle=False)
        for name, (places, shape) in _parameters(fields).items():
            with member(name) as file:  # a member is written in one piece, so every array reads the set again
                described = {"descr": "<f4", "fortran_order": False, "shape": (len(fields), *shape)}
                np.lib.format.write_array_header_1_0(file, described)
                for _, block in _blocks(fields):
                    file.write(block[:, places].astype("<f4").tobytes())


def _write_hdf5(fields: FieldSet, path: str) -> None:
    try:
        import h5py
    except ImportError:
        raise InputError("to=\"hdf5\" needs the extra: pip install 'siren-jax[hdf5]'.") from None

    with h5py.File(path, "w") as file:
        for name, column in _columns(fields).items():
            if column.dtype.kind == "U":
                texts = np.frompyfunc(_as_utf8, 1, 1)(column)
                file.create_dataset(name, data=texts, dtype=h5py.string_dtype())
            else:
                file.create_dataset(name, data=column)
        arrays = _parameters(fields)
        kept = {name: file.create_dataset(name, (len(fields), *shape), "<f4") for name, (_, shape) in arrays.items()}
        for first, block in _blocks(fields):
            for name, (places, shape) in arrays.items():
                kept[name][first : first + len(block)] = block[:, places].reshape(-1, *shape)


def _as_utf8(text: str) -> str:
    """The text, with half surrogate pairs, as in file names of unknown encoding, as backslash escapes."""
    return str(text).encode(errors="backslashreplace").decode()


def _columns(fields: FieldSet) -> dict[str, ndarray]:
    """What is small: everything but the parameters."""
    columns: dict[str, Any] = {
        "y": ["" if label is None else label for label in fields.labels],
        "names": fields.names,
        "status": fields.status,
        "quality": fields.quality,
        "steps": fields.steps,
        "shapes": fields.shapes,
        "value_ranges": fields.value_ranges,
        "header": json.dumps(fields.header),
    }
    if fields.rates is not None:
        columns["rates"] = fields.rates
    columns |= {f"shared/{name}": array for name, array in fields.shared.items()}
    return {name: np.asarray(column) for name, column in columns.items()}


def _parameters(fields: FieldSet) -> dict[str, tuple[slice, tuple[int, ...]]]:
    """`X` and every parameter: its columns in `FieldSet.arrays`, and its shape."""
    places, start = {}, 0
    for name, shape in fields.own.items():
        stop = start + math.prod(shape)
        places[f"parameters/{name}"] = slice(start, stop), shape
        start = stop
    return {"X": (slice(0, start), (start,)), **places}


def _blocks(fields: FieldSet) -> Iterator[tuple[int, ndarray]]:
    """The parameters of consecutive entries, with the place of the first one."""
    dims = sum(map(math.prod, fields.own.values()))
    rows = min(max(1, BLOCK // dims), 4096)
    for first in range(0, len(fields), rows):
        yield first, fields[first : first + rows].arrays()[0]
