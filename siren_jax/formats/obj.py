"""Wavefront OBJ files: vertices and polygons as text; materials, textures and groups are left out."""

import io
import re
from collections.abc import Iterator

import numpy as np

from siren_jax.formats.polygons import Polygons

FREE_FORM = ("curv", "curv2", "surf")


def read_obj(data: bytes) -> Polygons:
    """Vertices and faces of an OBJ file; without faces, its points, with normals if each point has one.

    Raises:
        ValueError: the reason why it cannot be read.
    """
    vertices, normals, faces, before, free = [], [], [], [], False
    for line in _lines(data):
        key, _, rest = line.partition(" ")
        if key == "v":
            vertices.append(rest)
        elif key in ("f", "fo"):
            faces.append(rest)
            before.append(len(vertices))
        elif key == "vn":
            normals.append(rest)
        else:
            free |= key in FREE_FORM
    if free:
        raise ValueError("it has free-form curves or surfaces; save it as polygons")
    places = _rows(vertices, "vertices")
    if not faces:
        known = len(normals) == len(vertices) and len(normals) > 0
        return Polygons(places, np.zeros(0, int), np.zeros(0, int), _rows(normals, "normals") if known else None)
    faces = [re.sub(r"/\S*", "", face).split() for face in faces]  # v, v/vt, v//vn or v/vt/vn
    sizes = np.array([len(face) for face in faces])
    try:
        corners = np.array([corner for face in faces for corner in face], np.int64)
    except (ValueError, OverflowError):
        raise ValueError("it has faces whose vertices are not whole numbers") from None
    if not corners.all():
        raise ValueError("it has faces with a vertex 0, but the first one is 1")
    # Negative numbers count back from the last vertex before the face.
    return Polygons(places, sizes, np.where(corners < 0, corners + np.repeat(before, sizes), corners - 1))


def _lines(data: bytes) -> Iterator[str]:
    """Lines without comments, with spaces instead of tabs; a backslash at the end of a line continues it."""
    begun = ""
    for line in io.TextIOWrapper(io.BytesIO(data), "utf-8", errors="replace"):
        line = begun + line.partition("#")[0].strip().replace("\t", " ")
        begun = line[:-1] + " " if line.endswith("\\") else ""
        if not begun:
            yield line


def _rows(lines: list[str], what: str) -> np.ndarray:
    try:
        return np.loadtxt(lines, usecols=(0, 1, 2), ndmin=2) if lines else np.zeros((0, 3))
    except ValueError as error:
        raise ValueError(f"its lines of {what} are not x y z: {str(error).splitlines()[0].rstrip('.')}") from None
