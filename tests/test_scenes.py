"""Files of scenes, GLB and 3MF, have each object where they put it, or are refused."""

import itertools
import json
import struct
import zipfile

import numpy as np
import pytest

from siren_jax import InputError, load_surface
from siren_jax.formats.file_kind import kind_of
from siren_jax.formats.polygons import Polygons, triangles

CORNERS = np.array(list(itertools.product((0, 1), repeat=3)), float)
CUBE = triangles(
    Polygons(CORNERS, np.full(6, 4), np.array([0, 1, 3, 2, 4, 6, 7, 5, 0, 4, 5, 1, 2, 3, 7, 6, 0, 2, 6, 4, 1, 5, 7, 3]))
)[0]


def xml(resources: str, build: str) -> str:
    spaces = ["core/2015/02", "production/2015/06"]
    first, second = (f"http://schemas.microsoft.com/3dmanufacturing/{space}" for space in spaces)
    return (
        f'<?xml version="1.0"?><model unit="millimeter" xmlns="{first}" xmlns:p="{second}"><resources>{resources}'
        f"</resources><build>{build}</build></model>"
    )


def cube_xml(number: int, size: float, kind: str = "model") -> str:
    vertices = "".join('<vertex x="{}" y="{}" z="{}"/>'.format(*(size * corner)) for corner in CORNERS)
    faces = "".join('<triangle v1="{}" v2="{}" v3="{}"/>'.format(*face) for face in CUBE)
    mesh = f"<mesh><vertices>{vertices}</vertices><triangles>{faces}</triangles></mesh>"
    return f'<object id="{number}" type="{kind}">{mesh}</object>'


def three_mf(path, root: str, **others: str) -> str:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("3D/3dmodel.model", root)
        for name, text in others.items():
            archive.writestr(f"3D/Objects/{name}.model", text)
    return str(path)


def test_the_objects_of_a_3mf_are_where_their_transforms_put_them(tmp_path):
    # As slicers write it: an object of two parts, which are in another file beside one that is a modifier.
    parts = cube_xml(1, 1) + cube_xml(2, 2) + cube_xml(4, 9, "other")
    component = '<component p:path="/3D/Objects/a.model" objectid="{}" transform="{}"/>'
    shift, mirror = "1 0 0 0 1 0 0 0 1 5 0 0", "0 2 0 -2 0 0 0 0 -2 0 0 0"
    assembly = "".join(component.format(*one) for one in ((1, shift), (2, mirror), (4, shift)))
    root = xml(
        f'<object id="3" type="model"><components>{assembly}</components></object>',
        '<item objectid="3" transform="2 0 0 0 2 0 0 0 2 100 0 0"/><item objectid="3"/>',
    )
    path = three_mf(tmp_path / "a.3mf", root, a=xml(parts, ""))
    assert kind_of(path) == "shape"
    mesh = load_surface(path, samples=10).mesh
    # Cubes of 1, 4, and of 2, 8; a row vector times the matrix: x becomes 2y, y becomes -2x.
    assert mesh.is_closed
    assert mesh.count_parts() == 4
    assert mesh.volume == pytest.approx(1 + 64 + 8 + 512)
    assert np.allclose(mesh.vertices.min(axis=0), [-4, 0, -8])
    assert np.allclose(mesh.vertices.max(axis=0), [112, 8, 2])


@pytest.mark.parametrize(
    ("resources", "build", "message"),
    [
        ('<object id="1"><components><component objectid="1"/></components></object>', 1, "or contain themselves"),
        (cube_xml(1, 1), 2, "its object 2 is missing"),
        (cube_xml(1, 1).replace('v2="7"', 'v2="8"'), 1, "vertices that it does not have"),
        (cube_xml(1, 1).replace('x="0.0"', ""), 1, "its XML lacks 'x'"),
        ("<", 1, "its XML is broken"),
        (cube_xml(1, 1, "support"), 1, "no points in space"),
    ],
)
def test_a_3mf_that_names_what_it_does_not_have_is_refused(resources, build, message, tmp_path):
    path = three_mf(tmp_path / "a.3mf", xml(resources, f'<item objectid="{build}"/>'))
    with pytest.raises(InputError, match=message):
        load_surface(path)


def glb(changed=lambda header: header) -> bytes:
    """A cube, once as it is and once mirrored, thrice as large and elsewhere."""
    places, numbers = CORNERS.astype("<f4").tobytes(), CUBE.astype("<u2").tobytes()
    header = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0, 1]}],
        "nodes": [{"mesh": 0}, {"scale": [-3, 3, 3], "children": [2]}, {"translation": [-4, 0, 0], "mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1}]}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 8, "type": "VEC3", "min": [0] * 3, "max": [1] * 3},
            {"bufferView": 1, "componentType": 5123, "count": 36, "type": "SCALAR"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": len(places)},
            {"buffer": 0, "byteOffset": len(places), "byteLength": len(numbers)},
        ],
        "buffers": [{"byteLength": len(places) + len(numbers)}],
    }
    text = json.dumps(changed(header)).encode()
    text += b" " * (-len(text) % 4)
    chunks = [
        struct.pack("<II", len(data), kind) + data
        for data, kind in ((text, 0x4E4F534A), (places + numbers, 0x004E4942))
    ]
    return struct.pack("<4sII", b"glTF", 2, 12 + sum(map(len, chunks))) + b"".join(chunks)


def test_the_meshes_of_a_glb_are_where_their_nodes_put_them(tmp_path):
    pytest.importorskip("trimesh", reason="GLB needs the extra `shape`")
    (tmp_path / "a.bin").write_bytes(glb())  # known by its first bytes
    assert kind_of(tmp_path / "a.bin") == "shape"
    mesh = load_surface(tmp_path / "a.bin", samples=10).mesh
    assert mesh.is_closed
    assert mesh.volume == pytest.approx(1 + 27)
    assert np.allclose([mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)], [[0, 0, 0], [12, 3, 3]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"extensionsRequired": ["KHR_draco_mesh_compression"]},
            "it needs KHR_draco_mesh_compression; save it without",
        ),
        ({"nodes": [{"mesh": 0, "extensions": {"EXT_mesh_gpu_instancing": {}}}]}, "EXT_mesh_gpu_instancing"),
        ({"meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 6}]}]}, "fans of triangles"),
        ({"accessors": [{"normalized": True}]}, "quantized"),
        ({"meshes": [{"primitives": [{}]}]}, "its header is broken"),
        ({"buffers": [], "bufferViews": []}, "buffers do not match"),
    ],
)
def test_a_glb_that_would_be_read_otherwise_than_meant_is_refused(change, message, tmp_path):
    pytest.importorskip("trimesh", reason="GLB needs the extra `shape`")
    (tmp_path / "a.glb").write_bytes(glb(lambda header: header | change))
    with pytest.raises(InputError, match=message):
        load_surface(tmp_path / "a.glb")
