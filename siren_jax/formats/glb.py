"""GLB files (binary glTF): triangles and points of a scene, read by trimesh."""

import json
import struct
import warnings
from typing import Any

import numpy as np
from numpy import ndarray

from siren_jax.formats.polygons import Polygons, joined

# Extensions that do not change the shape.
UNSEEN = ("KHR_materials", "KHR_texture", "EXT_texture", "KHR_lights", "KHR_animation", "KHR_xmp")
FAN = 6  # mode of a primitive that is a fan of triangles


def read_glb(data: bytes) -> Polygons:
    """Meshes and points of a GLB file's scene, each placed by its node.

    Raises:
        ValueError: the reason why it cannot be read.
        ImportError: trimesh is missing.
    """
    import trimesh

    check_header(data)
    try:
        loaded = trimesh.load_scene(trimesh.util.wrap_as_stream(data), file_type="glb", skip_materials=True)
        parts: list[tuple[ndarray, ndarray]] = []
        for node in loaded.graph.nodes_geometry:
            matrix, name = loaded.graph.get(node)
            shape: Any = loaded.geometry[name]
            if isinstance(shape, trimesh.Trimesh | trimesh.PointCloud):
                vertices = np.asarray(shape.vertices, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
                faces = np.asarray(getattr(shape, "faces", np.zeros((0, 3))), np.int64)
                parts.append((vertices, faces[:, :: -1 if np.linalg.det(matrix[:3, :3]) < 0 else 1]))
    except MemoryError:
        raise
    except Exception:  # the parser may raise any error
        raise ValueError("its buffers do not match its header") from None
    return joined(parts)


def check_header(data: bytes) -> None:
    """Checks for content that trimesh would misread: compressed, quantized or instanced meshes, and fans of triangles.

    Raises:
        ValueError: the file has such content, or its header is damaged; the message is the reason.
    """
    try:
        magic, version, whole, length = struct.unpack_from("<4sIII", data)
        header = json.loads(data[20 : 20 + length])
        accessors = header.get("accessors", [])
        needed = [*header.get("extensionsRequired", [])]
        needed += [name for node in header.get("nodes", []) for name in node.get("extensions", {})]
        primitives = [primitive for mesh in header.get("meshes", []) for primitive in mesh["primitives"]]
        places = [accessors[one["attributes"]["POSITION"]] for one in primitives]
        modes = [one.get("mode", 4) for one in primitives]
    except (struct.error, ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise ValueError("its header is broken") from None
    if magic != b"glTF" or version != 2:
        raise ValueError("only version 2 of glTF can be read")
    if whole > len(data):
        raise ValueError(f"its header declares {whole:,} bytes, but it has {len(data):,}")
    if extensions := sorted({name for name in needed if not name.startswith(UNSEEN)}):
        raise ValueError(f"it needs {', '.join(extensions)}; save it without compression and instances")
    if any(one.get("normalized") or "sparse" in one for one in places) or FAN in modes:
        raise ValueError("it has quantized or sparse positions or fans of triangles; save it with plain triangles")
    if header.get("skins"):
        warnings.warn("the GLB file has a skeleton: its meshes are read without it.", stacklevel=5)
