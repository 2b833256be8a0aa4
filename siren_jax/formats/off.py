"""OFF files: vertices and polygons as text; colours are left out."""

import re

import numpy as np

from siren_jax.formats.polygons import Polygons


def read_off(data: bytes) -> Polygons:
    """Vertices, their normals if the file has them, and faces of an OFF file.

    Raises:
        ValueError: the reason why it cannot be read.
    """
    text = re.sub("#[^\r\n]*", "", data.decode("utf-8", errors="replace")).lstrip("\ufeff \t\r\n")
    head = re.match(r"(ST)?C?(N)?OFF\b(?!\s*BINARY)", text)
    if head is None:
        raise ValueError("it does not begin with OFF, or is binary or of another dimension")
    lines = [line for line in map(str.strip, re.split("\r\n|\n|\r", text[head.end() :])) if line]
    try:
        rows, polygons = map(int, lines[0].split()[:2])
    except (IndexError, ValueError):
        raise ValueError("it has no line with its numbers of vertices and faces") from None
    faces = [line.split() for line in lines[1 + rows : 1 + rows + polygons]]
    if min(rows, polygons) < 0 or len(lines) < 1 + rows + polygons:
        raise ValueError(f"it ends before the last of its {rows:,} vertices and {polygons:,} faces")
    try:
        columns = range(6 if head[2] else 3)
        numbers = np.loadtxt(lines[1 : 1 + rows], usecols=columns, ndmin=2) if rows else np.zeros((0, len(columns)))
        sizes = np.array([int(face[0]) for face in faces], int)
        faces = [face[1 : 1 + size] for face, size in zip(faces, sizes.tolist(), strict=True)]
        corners = np.array([corner for face in faces for corner in face], np.int64)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"a line is not a vertex or face: {str(error).splitlines()[0].rstrip('.')}") from None
    if sizes.min(initial=0) < 0 or len(corners) != sizes.sum():
        raise ValueError("it has faces with fewer vertices than they declare")
    return Polygons(numbers[:, :3], sizes, corners, numbers[:, 3:] if head[2] else None)
