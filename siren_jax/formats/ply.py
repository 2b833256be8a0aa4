"""PLY files: text or binary, with elements in any order and lists of any length."""

import re
import struct
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from siren_jax.formats.polygons import Polygons

FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4"}
TYPES |= {"double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"}
TYPES |= {"int64": "i8", "uint64": "u8", "float32": "f4", "float64": "f8"}
CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q", "f4": "f", "f8": "d"}


class Property(NamedTuple):
    """A property of each row: a number, or a list of numbers after their count."""

    name: str
    kind: str
    counted: str | None
    """Type of a list's count; None for a number."""


class Element(NamedTuple):
    """Rows with the same properties: vertices, faces, edges."""

    name: str
    rows: int
    properties: list[Property]


class Table(NamedTuple):
    """The values of an element by the names of its properties."""

    numbers: dict[str, ndarray]
    lists: dict[str, tuple[Int[ndarray, "n"], ndarray]]
    """Lengths of the lists, and all their values one after another."""


def read_ply(data: bytes) -> Polygons:
    """Vertices, their normals if the file has them, and faces of a PLY file.

    Raises:
        ValueError: the reason why it cannot be read.
    """
    ending = re.match(rb"ply[ \t]*(\r\n|\n|\r)", data)
    if ending is None:
        raise ValueError("it does not begin with a line 'ply'")
    header = re.search(rb"[\r\n]end_header[ \t]*" + ending[1], data)
    if header is None:
        raise ValueError("its header has no end")
    order, elements = _parse_header(data[: header.start()].decode("latin-1"))
    body, at = (data, header.end()) if order else (_numbers(data[header.end() :]), 0)
    tables = {}
    for element in elements:
        tables[element.name], at = _read_rows(body, at, element)
    if body[at:].strip(b"\0\r\n\t "):
        raise ValueError(f"{len(body) - at:,} bytes follow its last element")
    if "tristrips" in tables:
        raise ValueError("its triangles are in strips; save it with separate faces")
    vertex = tables.get("vertex", Table({}, {})).numbers
    if not {"x", "y", "z"} <= set(vertex):
        raise ValueError("it has no vertices with x, y and z")
    faces = tables.get("face", Table({}, {})).lists
    sizes, corners = next(
        (faces[name] for name in ("vertex_indices", "vertex_index") if name in faces), (np.zeros(0, int),) * 2
    )
    if not sizes.sum() and (named := next((e for e in elements if e.name == "face" and e.rows), None)):
        raise ValueError(f"its {named.rows:,} faces have no list of vertex_indices")
    if np.any(corners != np.floor(corners)):
        raise ValueError("its faces have vertex numbers that are not integers")
    return Polygons(_columns(vertex, "xyz"), sizes, corners.astype(np.int64), _normals(vertex))


def _normals(vertex: dict[str, ndarray]) -> Float[ndarray, "v 3"] | None:
    return _columns(vertex, ("nx", "ny", "nz")) if {"nx", "ny", "nz"} <= set(vertex) else None


def _columns(table: dict[str, ndarray], names) -> Float[ndarray, "v 3"]:
    return np.stack([table[name] for name in names], axis=1).astype(np.float64)


def _parse_header(text: str) -> tuple[str, list[Element]]:
    """Byte order, empty for text, and the elements, with NumPy types."""
    order, elements = None, []
    for line in re.split("\r\n|\n|\r", text)[1:]:
        match line.split():
            case ["format", name, _] if name in FORMATS:
                order = FORMATS[name]
            case ["element", name, rows] if rows.isdecimal():
                elements.append(Element(name, int(rows), []))
            case ["property", "list", count, kind, name] if elements and count in TYPES and kind in TYPES:
                elements[-1].properties.append(Property(name, TYPES[kind], TYPES[count]))
            case ["property", kind, name] if elements and kind in TYPES:
                elements[-1].properties.append(Property(name, TYPES[kind], None))
            case [] | ["comment" | "obj_info", *_]:
                pass
            case _:
                raise ValueError(f"its header has the line {line[:60]!r}")
    if order is None:
        raise ValueError("its header names no format")
    for element in elements:  # all numbers of a text become float64
        element.properties[:] = [
            Property(p.name, order + p.kind if order else "<f8", p.counted and (order + p.counted if order else "<f8"))
            for p in element.properties
        ]
    return order, elements


def _numbers(text: bytes) -> bytes:
    """The numbers of a text as float64 bytes, which are then read like a binary file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)
            return np.fromstring(text.decode("latin-1"), np.float64, sep=" ").tobytes()
    except (DeprecationWarning, ValueError):
        raise ValueError("its text has words that are not numbers after the header") from None


def _read_rows(body: bytes, at: int, element: Element) -> tuple[Table, int]:
    """The rows of an element that begin at byte `at`, and the byte where they end."""
    properties = element.properties
    least = sum(np.dtype(p.counted or p.kind).itemsize for p in properties)
    if element.rows * least > len(body) - at:
        raise ValueError(f"it ends before the last of the {element.rows:,} rows of its element {element.name!r}")
    return _alike(body, at, element) or _unlike(body, at, element)


def _alike(body: bytes, at: int, element: Element) -> tuple[Table, int] | None:
    """The rows of an element whose lists have the same lengths in every row; None if some differ."""
    fields, position = [], at
    for i, (_, kind, count) in enumerate(element.properties):
        length = 1
        if count is not None:
            some = np.frombuffer(body, count, 1, position) if position + 8 <= len(body) and element.rows else [0]
            if not 0 <= some[0] <= len(body):
                return None
            length = int(some[0])
            fields.append((f"count{i}", count))
            position += np.dtype(count).itemsize
        fields.append((f"value{i}", kind) if count is None else (f"value{i}", kind, (length,)))
        position += length * np.dtype(kind).itemsize
    layout = np.dtype(fields)
    if element.rows * layout.itemsize > len(body) - at:
        return None
    rows = np.frombuffer(body, layout, element.rows, at)
    numbers, lists = {}, {}
    for i, (name, _, count) in enumerate(element.properties):
        values = rows[f"value{i}"]
        if count is None:
            numbers.setdefault(name, values)
            continue
        if np.any(rows[f"count{i}"] != values.shape[1]):
            return None
        lists.setdefault(name, (np.full(element.rows, values.shape[1]), values.reshape(-1)))
    return Table(numbers, lists), at + element.rows * layout.itemsize


def _unlike(body: bytes, at: int, element: Element) -> tuple[Table, int]:
    """The rows of an element whose lists differ in length, found row by row; then each property is read at once."""
    groups: list[list[Property]] = [[]]  # numbers, and the list after them
    for one in element.properties:
        groups[-1].append(one)
        if one.counted is not None:
            groups.append([])
    try:
        places = np.fromiter(_walk(body, at, element.rows, groups), np.int64)
    except struct.error:
        raise ValueError(
            f"it ends before the last of the {element.rows:,} rows of its element {element.name!r}"
        ) from None
    end, places = int(places[-1]), places[:-1].reshape(element.rows, len(groups))
    if end > len(body):
        raise ValueError(f"it ends before the last of the {element.rows:,} rows of its element {element.name!r}")
    stops = np.append(places.ravel()[1:], end).reshape(places.shape)
    array, numbers, lists = np.frombuffer(body, np.uint8), {}, {}
    for group, start, stop in zip(groups, places.T, stops.T, strict=True):
        for name, kind, count in group:
            if count is None:
                size = np.dtype(kind).itemsize
                numbers.setdefault(name, array[start[:, None] + np.arange(size)].view(kind)[:, 0])
                start = start + size
                continue
            start = start + np.dtype(count).itemsize
            edges = np.zeros(len(array) + 1, np.int8)  # 1 where a list begins, -1 where it ends
            edges[start] += 1
            edges[stop] -= 1
            values = array[np.cumsum(edges, dtype=np.int8)[:-1].view(bool)].view(kind)
            lists.setdefault(name, ((stop - start) // np.dtype(kind).itemsize, values))
    return Table(numbers, lists), end


def _walk(body: bytes, at: int, rows: int, groups: list[list[Property]]) -> Iterator[int]:
    """The byte at which each group of each row begins, and the byte where the last row ends."""
    steps = []
    for group in groups:
        lead = sum(np.dtype(p.kind).itemsize for p in group if p.counted is None)
        reader, size = None, 0
        if group and (counted := group[-1].counted):
            reader, size = struct.Struct(counted[0] + CODES[counted[1:]]), np.dtype(group[-1].kind).itemsize
        steps.append((lead, reader, size))
    for _ in range(rows):
        for lead, reader, size in steps:
            yield at
            at += lead
            if reader is not None:
                length = reader.unpack_from(body, at)[0]
                if not 0 <= length <= len(body):
                    raise ValueError(f"it has a list of {length} numbers")
                at += reader.size + int(length) * size
    yield at
