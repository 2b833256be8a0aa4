"""Files of meshes and point clouds: PLY, OBJ, STL and XYZ."""

import os
import warnings
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.signals.files import check_file
from siren_jax.signals.mesh import Mesh

MAX_BYTES = 2**29  # of a file; reading text takes some ten times as much
READ = (".ply", ".obj", ".stl", ".xyz")
WRITTEN = (".ply", ".obj", ".stl")


class Geometry(NamedTuple):
    """What a file holds, unchecked."""

    vertices: Float[ndarray, "v 3"]
    faces: Int[ndarray, "f 3"] | None
    normals: Float[ndarray, "v 3"] | None
    """Of the vertices, where the file has them."""


def read_geometry(path: str) -> Geometry:
    """The numbers in a file. A PLY is known by its first bytes, others by their names.

    Raises:
        InputError: the file is missing, damaged, of another kind, too large, or needs the extra `shape`.
    """
    check_file(path, "a mesh or a point cloud")
    if (size := os.path.getsize(path)) > MAX_BYTES:
        raise InputError(f"{path!r} has {size:,} bytes; up to {MAX_BYTES:,} are read. Thin it out first.")
    with open(path, "rb") as file:
        start = file.read(16)
        suffix = ".ply" if start.startswith(b"ply") else os.path.splitext(path)[1].lower()
        if suffix not in READ:
            raise InputError(f"{path!r} is not a shape that can be read: {', '.join(READ)} are.")
        file.seek(0)
        geometry = _read_xyz(path) if suffix == ".xyz" else _read_with_trimesh(path, file, suffix)
    if geometry is None or geometry.vertices.shape[1:] != (3,) or not len(geometry.vertices):
        raise InputError(
            f"{path!r} holds no points in space: it is damaged, cut short or no {suffix[1:].upper()} file."
        )
    return geometry


def encode_mesh(file: IO[bytes], mesh: Mesh, suffix: str) -> None:
    """Writes a mesh in the format of a suffix: ".ply" (binary), ".obj" (text), ".stl" (binary, float32).

    A PLY has float32 vertices unless that would move them by more than a millionth of the mesh.
    """
    if suffix == ".stl":
        record = np.zeros(len(mesh.faces), [("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
        record["normal"], record["corners"] = mesh.face_normals, mesh.corners
        file.write(b"siren_jax".ljust(80) + np.uint32(len(mesh.faces)).tobytes())
        file.write(record.data)
    elif suffix == ".obj":
        np.savetxt(file, mesh.vertices, fmt="v %.9g %.9g %.9g")
        np.savetxt(file, mesh.faces + 1, fmt="f %d %d %d")
    else:
        moved = np.abs(mesh.vertices - mesh.vertices.astype(np.float32)).max(initial=0)
        size = np.abs(mesh.vertices - mesh.vertices[:1]).max(initial=0)
        kind = ("float", "<f4") if moved <= 1e-6 * size else ("double", "<f8")
        axes = "".join(f"property {kind[0]} {axis}\n" for axis in "xyz")
        file.write(
            f"ply\nformat binary_little_endian 1.0\ncomment siren_jax\nelement vertex {len(mesh.vertices)}\n{axes}"
            f"element face {len(mesh.faces)}\nproperty list uchar int vertex_indices\nend_header\n".encode()
        )
        file.write(mesh.vertices.astype(kind[1]).data)
        record = np.empty(len(mesh.faces), [("count", "u1"), ("corners", "<i4", 3)])
        record["count"], record["corners"] = 3, mesh.faces
        file.write(record.data)


def _read_xyz(path: str) -> Geometry | None:
    """Lines of x y z, or x y z nx ny nz, between spaces or commas; further columns are left out, said."""
    try:
        with open(path, encoding="utf-8") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that there is nothing in it: the caller says so
            rows = np.loadtxt((line.replace(",", " ") for line in file), comments=("#", "//"), ndmin=2)
    except ValueError as error:
        text = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"{path!r} is not lines of x y z or x y z nx ny nz: {text}.") from None
    if not rows.size:
        return None
    if rows.shape[1] < 3:
        raise InputError(f"{path!r} has {rows.shape[1]} numbers a line; x y z, or x y z nx ny nz, are needed.")
    normals = rows[:, 3:6] if rows.shape[1] >= 6 else None
    if normals is not None:
        length = np.linalg.norm(normals, axis=1)
        if not np.nanmedian(np.abs(length - 1)) < 0.1:
            normals = None  # colours
    if rows.shape[1] > (3 if normals is None else 6):
        kept = "x y z" if normals is None else "x y z nx ny nz"
        warnings.warn(f"{path!r} has {rows.shape[1]} numbers a line: {kept} are taken.", stacklevel=4)
    return Geometry(rows[:, :3], None, normals)


def _read_with_trimesh(path: str, file: IO[bytes], suffix: str) -> Geometry | None:
    try:
        from trimesh.exchange import obj, ply, stl
    except ImportError:
        name = os.path.basename(path)
        raise InputError(f"{name!r} needs the extra: pip install 'siren-jax[shape]'. XYZ does not.") from None
    if suffix == ".stl":
        _check_stl(path, file)
    try:
        if suffix == ".ply":
            loaded: Any = ply.load_ply(file, fix_texture=False)
        elif suffix == ".obj":
            loaded = obj.load_obj(file, skip_materials=True, maintain_order=True)
        else:
            loaded = stl.load_stl(file)
        geometry = _joined(list(loaded["geometry"].values()) if "geometry" in loaded else [loaded])
    except Exception as error:  # whatever the parsers trip over, or return
        if isinstance(error, MemoryError):
            raise
        mixed = "; or it is binary and mixes triangles and larger polygons: triangulate it" * (suffix == ".ply")
        raise InputError(f"{path!r} is damaged, cut short or no {suffix[1:].upper()} file{mixed}.") from None
    if suffix == ".ply":
        _check_ply(path, loaded)
    return geometry


def _joined(parts: list[dict[str, Any]]) -> Geometry | None:
    """Parts of a file as one; None if there are no vertices."""
    from trimesh.geometry import triangulate_quads

    parts = [part for part in parts if part.get("vertices") is not None]
    if not parts:
        return None
    offsets = np.cumsum([0] + [len(part["vertices"]) for part in parts])
    faces = [
        triangulate_quads(part["faces"]).reshape(-1, 3) + offset
        for part, offset in zip(parts, offsets, strict=False)
        if part.get("faces") is not None
    ]
    normals = [part["vertex_normals"] for part in parts if part.get("vertex_normals") is not None]
    return Geometry(
        np.concatenate([np.asarray(part["vertices"], np.float64) for part in parts]),
        np.concatenate(faces) if faces else None,
        np.concatenate(normals).astype(np.float64) if len(normals) == len(parts) else None,
    )


def _check_ply(path: str, loaded: dict[str, Any]) -> None:
    """Refuses a text file that ends before its header says: the parser takes what is there."""
    elements = loaded.get("metadata", {}).get("_ply_raw", {})
    promised = elements.get("vertex", {}).get("length", 0)
    vertices = loaded.get("vertices")
    if vertices is not None and len(vertices) < promised:
        raise InputError(f"{path!r} is cut short: {len(vertices):,} of {promised:,} vertices are there.")
    if elements.get("face", {}).get("length", 0) and loaded.get("faces") is None:
        raise InputError(f"{path!r} is cut short or damaged: its faces cannot be read.")


def _check_stl(path: str, file: IO[bytes]) -> None:
    """Refuses a file that is neither a whole binary STL nor a whole text."""
    size = os.path.getsize(path)
    start = file.read(84)
    promised = 84 + 50 * int.from_bytes(start[80:84], "little")
    text = start.lstrip().startswith(b"solid") and size != promised
    file.seek(max(0, size - 1024))
    whole = b"endsolid" in file.read() if text else len(start) == 84 and size >= promised
    file.seek(0)
    if not whole:
        bytes_ = "" if text or len(start) < 84 else f": {promised:,} bytes are promised, {size:,} are there"
        raise InputError(f"{path!r} is cut short or not an STL file{bytes_}.")
