"""3MF files: the objects of a 3D print at their places."""

import io
import zipfile
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from siren_jax.formats.polygons import Polygons, joined

MAX_BYTES = 2**30  # largest size of a file after unpacking
MAX_VERTICES = 2**26
MAX_PARTS = 2**12  # largest number of placed objects, including objects that consist of others
SKIPPED = ("support", "solidsupport", "other")  # types of objects that do not belong to the shape


class Part(NamedTuple):
    """A placed object. Its points, as row vectors, are multiplied by the first three rows and shifted by the last."""

    model: str
    name: str
    matrix: Float[ndarray, "4 3"]


class Body(NamedTuple):
    """An object: its triangles, and other objects that are parts of it."""

    kind: str
    vertices: Float[ndarray, "v 3"]
    faces: Int[ndarray, "f 3"]
    parts: list[Part]


class Model(NamedTuple):
    """One XML file of the archive."""

    bodies: dict[str, Body]
    items: list[Part]


def read_3mf(data: bytes) -> Polygons:
    """Triangles of all printed objects, in the file's units and in one coordinate system.

    Raises:
        ValueError: the reason why it cannot be read.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise ValueError(f"it has over {MAX_BYTES:,} bytes after unpacking")
            names = {name.lower(): name for name in archive.namelist() if name.lower().endswith(".model")}
            models = {name: _read_model(archive.read(names[name]), name) for name in names}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise ValueError(f"it is not a complete archive: {error}") from None
    except ElementTree.ParseError as error:
        raise ValueError(f"its XML is broken: {error}") from None
    except (KeyError, IndexError) as error:
        raise ValueError(f"its XML lacks {error}") from None
    return joined(_placed(models, [item for model in models.values() for item in model.items]))


def _placed(models: dict[str, Model], parts: list[Part]) -> list[tuple[ndarray, ndarray]]:
    """Vertices and triangles of objects and of all their parts."""
    placed, count, left = [], 0, parts[::-1]
    for _ in range(MAX_PARTS):
        if not left or count > MAX_VERTICES:
            break
        part = left.pop()
        body = models[part.model].bodies.get(part.name) if part.model in models else None
        if body is None:
            raise ValueError(f"its object {part.name} is missing")
        if body.kind in SKIPPED:
            continue
        count += len(body.vertices)
        turn, shift = part.matrix[:3], part.matrix[3]
        if len(body.faces):
            placed.append((body.vertices @ turn + shift, body.faces[:, :: -1 if np.linalg.det(turn) < 0 else 1]))
        for one in body.parts:
            left.append(one._replace(matrix=one.matrix @ turn + np.pad(shift[None], ((3, 0), (0, 0)))))
    if left:
        raise ValueError("its objects have too many parts, or contain themselves")
    return placed


def _read_model(text: bytes, model: str) -> Model:
    bodies, items = {}, []
    for _, node in ElementTree.iterparse(io.BytesIO(text)):
        tag = _tag(node)
        if tag == "object":
            vertices = [[float(one.attrib[axis]) for axis in "xyz"] for one in node.iter() if _tag(one) == "vertex"]
            faces = [[int(one.attrib[f"v{i}"]) for i in (1, 2, 3)] for one in node.iter() if _tag(one) == "triangle"]
            if min(map(min, faces), default=0) < 0 or max(map(max, faces), default=-1) >= len(vertices):
                raise ValueError("its triangles refer to vertices that it does not have")
            parts = [_part(one, model) for one in node.iter() if _tag(one) == "component"]
            arrays = np.array(vertices, float).reshape(-1, 3), np.array(faces, int).reshape(-1, 3)
            bodies[node.attrib["id"]] = Body(node.get("type", "model"), *arrays, parts)
            node.clear()
        elif tag == "item":
            items.append(_part(node, model))
    return Model(bodies, items)


def _part(node: ElementTree.Element, model: str) -> Part:
    """The object that a node refers to, in another file of the archive if the node has a path."""
    path = next((value for name, value in node.attrib.items() if name.endswith("}path")), None)
    matrix = np.array(node.get("transform", "1 0 0 0 1 0 0 0 1 0 0 0").split(), float)
    if len(matrix) != 12:
        raise ValueError(f"it has a transform of {len(matrix)} numbers instead of 12")
    return Part(model if path is None else path.lstrip("/").lower(), node.attrib["objectid"], matrix.reshape(4, 3))


def _tag(node: ElementTree.Element) -> str:
    return node.tag.rpartition("}")[2]
