"""Files of meshes and point clouds: PLY, OBJ, OFF, STL, GLB, 3MF and XYZ."""

import io
import os
import warnings
from collections.abc import Callable
from typing import IO, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.formats.file_kind import check_file
from siren_jax.formats.glb import read_glb
from siren_jax.formats.obj import read_obj
from siren_jax.formats.off import read_off
from siren_jax.formats.ply import read_ply
from siren_jax.formats.polygons import Polygons, triangles
from siren_jax.formats.three_mf import read_3mf
from siren_jax.shapes.mesh import Mesh

MAX_BYTES = 2**29  # largest size of a file; reading text takes about ten times as much memory
WRITTEN = (".ply", ".obj", ".stl")
KNOWN = {b"ply": ".ply", b"glTF": ".glb", b"OFF": ".off"}  # first bytes that identify a format under any name
COARSE = 1e-5  # spacing of float32 numbers, as a share of the shape's size, above which it is visible


class Geometry(NamedTuple):
    """The shape in a file, with polygons divided into triangles; it is not checked further."""

    vertices: Float[ndarray, "v 3"]
    faces: Int[ndarray, "f 3"]
    normals: Float[ndarray, "v 3"] | None
    """Normals of the vertices, if the file has them."""


def read_geometry(path: str) -> Geometry:
    """The shape in a file. PLY, GLB and OFF are recognised by their first bytes, other formats by the name.

    Raises:
        InputError: the file is missing, damaged, of another kind, too large, or needs the extra `shape`.
    """
    check_file(path, "a mesh or a point cloud")
    if (size := os.path.getsize(path)) > MAX_BYTES:
        raise InputError(f"{path!r} has {size:,} bytes; up to {MAX_BYTES:,} are accepted. Simplify it first.")
    with open(path, "rb") as file:
        start = file.read(4)
        named = os.path.splitext(path)[1].lower()
        suffix = next((KNOWN[first] for first in KNOWN if start.startswith(first)), named)
        if suffix not in READERS:
            raise InputError(
                f"{path!r} is not a file of a known shape format ({', '.join(READERS)}). Save it as PLY with Blender, "
                "MeshLab, FreeCAD or CloudCompare."
            )
        file.seek(0)
        data = file.read()
        try:
            polygons = READERS[suffix](data)
            if not len(polygons.vertices):
                raise ValueError("it contains no points in space")
            _check_corners(polygons)
            faces, crossing = triangles(polygons)
        except ImportError:
            raise InputError(
                f"{os.path.basename(path)!r} needs the extra shape: pip install 'siren-jax[shape]'. PLY, OBJ, STL, "
                "OFF, 3MF and XYZ do not need it."
            ) from None
        except (ValueError, OverflowError) as error:
            raise InputError(
                f"{path!r} is damaged, truncated or not in the format {suffix[1:].upper()}: {error}."
            ) from None
    if crossing:
        warnings.warn(
            f"{crossing:,} of {len(polygons.sizes):,} polygons of {path!r} cross themselves: their triangles overlap.",
            stacklevel=3,
        )
    _check_steps(path, polygons.vertices)
    return Geometry(polygons.vertices, faces, polygons.normals)


def _check_corners(polygons: Polygons) -> None:
    low, high = polygons.corners.min(initial=0), polygons.corners.max(initial=0)
    if low < 0 or high >= len(polygons.vertices):
        raise ValueError(
            f"its polygons refer to vertices {low} to {high}, but it has vertices 0 to {len(polygons.vertices) - 1}"
        )


def _check_steps(path: str, vertices: Float[ndarray, "v 3"]) -> None:
    """Warns if vertices far from the origin were saved as float32, which loses all detail finer than its steps."""
    finite = vertices[np.isfinite(vertices).all(axis=1)]
    with np.errstate(over="ignore"):
        if not len(finite) or not np.array_equal(finite, finite.astype(np.float32)):
            return
    step, size = float(np.spacing(np.float32(np.abs(finite).max()))), float(np.ptp(finite, axis=0).max())
    if size > 0 and step > COARSE * size and np.any(finite % (2 * step)):  # whole numbers may be meant
        warnings.warn(
            f"the coordinates of {path!r} are float32 numbers. At their distance from the origin the spacing is "
            f"{step:.2g}, for a shape {size:.4g} long: finer detail was lost when it was saved. Save it with doubles, "
            "or moved to the origin.",
            stacklevel=4,
        )


def encode_mesh(file: IO[bytes], mesh: Mesh, suffix: str) -> None:
    """Writes a mesh in the format of a suffix: ".ply" (binary), ".obj" (text), ".stl" (binary, float32).

    In a PLY or an OBJ, vertices are exact to 1e-7 of the mesh's size: far from the origin, a PLY has doubles and an OBJ
    has more digits.

    Raises:
        InputError: an STL is so far from the origin that float32 moves its vertices by over 1/1000 of its size.
    """
    size = np.abs(mesh.vertices - mesh.vertices[:1]).max(initial=0)
    moved = np.abs(mesh.vertices - mesh.vertices.astype(np.float32)).max(initial=0)
    if suffix == ".stl":
        _check_moved(moved, size)
        record = np.zeros(len(mesh.faces), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
        record["normal"], record["corners"] = mesh.face_normals, mesh.corners
        file.write(b"siren_jax".ljust(80) + np.uint32(len(mesh.faces)).tobytes())
        file.write(record.data)
    elif suffix == ".obj":
        farther = np.abs(mesh.vertices).max(initial=0) / (size or 1)
        digits = min(17, 9 + int(np.ceil(np.log10(max(1.0, farther)))))
        np.savetxt(file, mesh.vertices, fmt=" ".join(["v", *[f"%.{digits}g"] * 3]))
        np.savetxt(file, mesh.faces + 1, fmt="f %d %d %d")
    else:
        kind = ("float", "<f4") if moved <= 1e-7 * size else ("double", "<f8")
        axes = "".join(f"property {kind[0]} {axis}\n" for axis in "xyz")
        file.write(
            f"ply\nformat binary_little_endian 1.0\ncomment siren_jax\nelement vertex {len(mesh.vertices)}\n{axes}"
            f"element face {len(mesh.faces)}\nproperty list uchar int vertex_indices\nend_header\n".encode()
        )
        file.write(mesh.vertices.astype(kind[1]).data)
        record = np.empty(len(mesh.faces), [("count", "u1"), ("corners", "<i4", 3)])
        record["count"], record["corners"] = 3, mesh.faces
        file.write(record.data)


def _check_moved(moved: float, size: float) -> None:
    """Warns if the float32 numbers of an STL lose detail, or raises an `InputError` if they lose too much."""
    if moved <= 1e-6 * size:
        return
    what = f"STL has float32 numbers, which move vertices this far from the origin by up to {moved:.2g}, of {size:,.6g}"
    if moved > 1e-3 * size:
        raise InputError(f"{what}; write a PLY or an OBJ instead.")
    warnings.warn(f"{what}; a PLY or an OBJ is exact.", stacklevel=3)


def _read_stl(data: bytes) -> Polygons:
    """Triangles of an STL file, binary or text. Its normals are ignored, because they follow from the triangles."""
    promised = 84 + 50 * int.from_bytes(data[80:84], "little")
    if data.lstrip()[:5].lower() == b"solid" and len(data) != promised:
        if b"endsolid" not in data[-1024:].lower():
            raise ValueError("its text has no end")
        text = io.TextIOWrapper(io.BytesIO(data), "utf-8", errors="replace")
        lines = [line for line in text if line.lstrip()[:6].lower() == "vertex"]
        vertices = np.loadtxt(lines, usecols=(1, 2, 3), ndmin=2) if lines else np.zeros((0, 3))
        if len(vertices) % 3:
            raise ValueError(f"it has {len(vertices):,} vertices, which is not a multiple of three")
    else:
        if len(data) < 84:
            raise ValueError("its header has no end")
        if len(data) < promised or data[promised:].strip(b"\0\r\n "):
            raise ValueError(f"its header declares {promised:,} bytes, but it has {len(data):,}")
        record = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
        vertices = np.frombuffer(data, record, (promised - 84) // 50, 84)["corners"].reshape(-1, 3).astype(np.float64)
    return Polygons(vertices, np.full(len(vertices) // 3, 3), np.arange(len(vertices)))


def _read_xyz(data: bytes) -> Polygons:
    """Points from lines of x y z, or x y z nx ny nz, with spaces or commas; warns if it ignores further columns."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about empty data, which the caller reports
            lines = (line.replace(",", " ") for line in io.TextIOWrapper(io.BytesIO(data), "utf-8"))
            rows = np.loadtxt(lines, comments=("#", "//"), ndmin=2)
    except ValueError as error:
        raise ValueError(
            f"its lines are not x y z or x y z nx ny nz: {str(error).splitlines()[0].rstrip('.')}"
        ) from None
    if not rows.size:
        rows = np.zeros((0, 3))
    if rows.shape[1] < 3:
        raise ValueError(f"it has {rows.shape[1]} numbers per line; x y z, or x y z nx ny nz, are needed")
    normals = rows[:, 3:6] if rows.shape[1] >= 6 else None
    if normals is not None:
        length = np.linalg.norm(normals, axis=1)
        known = length[length > 0]
        if not len(known) or not np.median(np.abs(known - 1)) < 0.1:
            normals = None  # these columns are colours
    if rows.shape[1] > (3 if normals is None else 6):
        kept = "x y z" if normals is None else "x y z nx ny nz"
        warnings.warn(f"an XYZ file has {rows.shape[1]} numbers per line: {kept} are used.", stacklevel=5)
    return Polygons(rows[:, :3], np.zeros(0, int), np.zeros(0, int), normals)


READERS: dict[str, Callable[[bytes], Polygons]] = {
    ".ply": read_ply,
    ".obj": read_obj,
    ".stl": _read_stl,
    ".off": read_off,
    ".glb": read_glb,
    ".3mf": read_3mf,
    ".xyz": _read_xyz,
}
