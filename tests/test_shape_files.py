"""Files of polygons, as many programs write them, are the shapes that they are, or are refused."""

import warnings

import numpy as np
import pytest

from siren_jax import InputError, load_surface
from siren_jax.formats.file_kind import kind_of
from siren_jax.formats.ply import read_ply
from siren_jax.formats.polygons import Polygons, triangles
from siren_jax.shapes import Mesh, encode_mesh
from siren_jax.shapes.mesh_files import read_geometry
from siren_jax.shapes.placement import place

# A prism over an L: two hollow hexagons, a side of two triangles, five sides of squares. Area 14, volume 3.
HEXAGON = np.array([[2, 0], [2, 1], [1, 1], [1, 2], [0, 2], [0, 0]])
VERTICES = np.array([[*corner, z] for z in (0, 1) for corner in HEXAGON], float)
SIDES = [[i, (i + 1) % 6, (i + 1) % 6 + 6, i + 6] for i in range(6)]
FACES = [[5, 4, 3, 2, 1, 0], [6, 7, 8, 9, 10, 11], SIDES[0][:3], [0, 7, 6], *SIDES[1:]]
NAMES = {"f4": "float", "f8": "double", "u1": "uchar", "u2": "ushort", "i2": "int16", "i4": "int", "u4": "uint32"}


def ply(order="<", vertex="f4", count="u1", index="u4", name="vertex_indices", line="\n", last="vertex") -> bytes:
    """The prism: colours and texture at vertices, a list of numbers and a flag behind each face, two loose edges."""
    form = {"<": "binary_little_endian 1.0", ">": "binary_big_endian 1.0", "": "ascii 1.0"}[order]
    header = ["ply", f"format {form}", "comment Created in Blender, Ångström, end_header", "obj_info none"]
    lines = {"vertex": ["element vertex 12"], "face": [f"element face {len(FACES)}"], "edge": ["element edge 2"]}
    lines["vertex"] += [f"property {NAMES[vertex]} {axis}" for axis in "xyz"]
    lines["vertex"] += ["property uchar red", "property float s"]
    lines["face"] += [f"property list {NAMES[count]} {NAMES[index]} {name}", "property list uchar float texcoord"]
    lines["face"] += ["property uchar flag"]
    lines["edge"] += ["property int vertex1", "property int vertex2"]
    rows: dict[str, list[list[tuple]]] = {
        "vertex": [[*((x, vertex) for x in place), (7, "u1"), (0.5, "f4")] for place in VERTICES],
        "face": [
            [(len(f), count), *((i, index) for i in f), (2 * len(f), "u1"), *[(0.25, "f4")] * (2 * len(f)), (1, "u1")]
            for f in FACES
        ],
        "edge": [[(0, "i4"), (1, "i4")]] * 2,
    }
    elements = sorted(rows, key=lambda element: element == last)
    head = line.join([*header, *(text for element in elements for text in lines[element]), "end_header", ""])
    if not order:
        body = "".join(" ".join(str(x) for x, _ in row) + line for e in elements for row in rows[e]).encode()
    else:
        body = b"".join(np.array(x, order + kind).tobytes() for e in elements for row in rows[e] for x, kind in row)
    return head.encode() + body


def obj(blocks=False, face="{}", colour="", relative=False) -> bytes:
    """The prism; relative numbers count from all of the vertices, or from those of a block with a single face."""
    vertex = "v {:g} {:g} {:g}" + colour
    lines = ["# saved to C:\\shapes\\", "mtllib none.mtl", "o prism", "vt 0 0", "vn 0 0 1", "g first"]
    if not blocks:
        lines += [vertex.format(*place) for place in VERTICES]
    for f in FACES:
        lines += [vertex.format(*VERTICES[i]) for i in f] * blocks + ["usemtl none", "s off"]
        numbers = range(-len(f), 0) if blocks else [i - 12 if relative else i + 1 for i in f]
        lines += ["f " + " \\\n\t".join(face.format(i) for i in numbers) + "  # end"]
    return "\n".join(lines).encode()


def off(head="OFF\n# corners of an L\n{} {} 0\n", vertex="", face="") -> bytes:
    rows = [" ".join(map(str, place)) + vertex for place in VERTICES]
    rows += [" ".join(map(str, [len(f), *f])) + face for f in FACES]
    return (head.format(len(VERTICES), len(FACES)) + "\n".join(rows)).encode()


WRITTEN = {
    "Blender.ply": ply(),
    "text.ply": ply(order=""),
    "text of lines as in Windows.ply": ply(order="", line="\r\n"),
    "binary with a header as in Windows.ply": ply(line="\r\n"),
    "of an old Macintosh.ply": ply(line="\r"),
    "big-endian doubles.ply": ply(order=">", vertex="f8", count="i4", index="i4", name="vertex_index"),
    "short counts.ply": ply(count="u2", index="i2"),
    "faces last.ply": ply(last="face"),
    "text, edges last.ply": ply(order="", last="edge"),
    "plain.obj": obj(),
    "texture and normals.obj": obj(face="{}/1/1"),
    "normals.obj": obj(face="{}//1"),
    "colours.obj": obj(colour=" 0.5 0.5 0.5"),
    "relative.obj": obj(relative=True, face="{}/-1"),
    "relative blocks.obj": obj(blocks=True, face="{}//-1"),
    "plain.off": off(),
    "colours.off": off("COFF {} {} 0\n", " 255 0 0 255", " 1 1 1"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_polygons_of_any_size_are_the_shape_that_they_are(name, tmp_path):
    (tmp_path / name).write_bytes(WRITTEN[name])
    assert kind_of(tmp_path / name) == "shape"
    mesh = load_surface(tmp_path / name, samples=10).mesh
    assert mesh.is_closed
    assert np.array_equal(mesh.vertices, sorted(VERTICES.tolist()))
    assert np.linalg.norm(mesh.vector_areas, axis=1).sum() == pytest.approx(14)  # more if triangles overlapped
    assert mesh.volume == pytest.approx(3)


def area(polygon: np.ndarray) -> float:
    """Of a polygon in a plane, by its corners alone (Gauss)."""
    return float(np.linalg.norm(np.cross(polygon, np.roll(polygon, -1, axis=0)).sum(axis=0)) / 2)


TURN = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
STAR = np.stack([np.cos(np.arange(60) * np.pi / 30), np.sin(np.arange(60) * np.pi / 30)], axis=1)
STAR[::2] *= 0.4
ALONG = np.linspace(0, 5 * np.pi, 40)
SPIRAL = np.concatenate(
    [(ALONG + 2) * [np.cos(ALONG), np.sin(ALONG)], ((ALONG + 4) * [np.cos(ALONG), np.sin(ALONG)])[:, ::-1]], axis=1
).T
HOLED = [[0, 0], [3, 0], [3, 3], [0, 3], [0, 0], [1, 1], [1, 2], [2, 2], [2, 1], [1, 1]]  # a hole, cut open to it
HALVES = [[0, 0], [1, 0], [2, 0], [3, 0], [2, 1], [1, 2], [0, 3], [0, 2], [0, 1]]  # a triangle with points on its sides
PLANE = {"L": HEXAGON, "star": STAR, "spiral": SPIRAL, "with a hole": HOLED, "points on sides": HALVES}
PLANE["arrow"] = [[0, 0], [2, 2], [0, 1], [-2, 2]]


@pytest.mark.parametrize("name", PLANE)
def test_the_triangles_of_a_polygon_are_its_area_wherever_it_begins(name):
    corners = np.pad(np.array(PLANE[name], float), ((0, 0), (0, 1))) @ TURN + 3
    n = len(corners)
    for first in range(0, n, max(1, n // 8)):
        found, crossing = triangles(Polygons(corners, np.array([n]), np.roll(np.arange(n), first)))
        areas = Mesh(corners, found).vector_areas
        assert (found.shape, crossing) == ((n - 2, 3), 0)
        assert np.linalg.norm(areas, axis=1).sum() == pytest.approx(area(corners), rel=1e-9)
        assert np.linalg.norm(areas, axis=1).min() > 1e-6 * area(corners)  # one without area would open the surface
        sides = {tuple(side) for t in found.tolist() for side in zip(t, [*t[1:], t[0]], strict=True)}
        assert {((first + i) % n, (first + i + 1) % n) for i in range(n)} <= sides


def test_faces_of_one_and_two_corners_are_triangles_without_area_and_crossing_ones_are_counted():
    bow = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 0], [0, 2.0, 0]])
    found, crossing = triangles(Polygons(bow, np.array([4, 1, 0, 2, 3]), np.array([0, 1, 2, 3, 3, 0, 1, 0, 1, 2])))
    assert sorted(map(tuple, found.tolist()))[:2] == [(0, 1, 1), (0, 1, 2)]
    assert (len(found), crossing) == (5, 1)


def test_a_scan_in_lists_of_one_length_and_of_many_is_read_alike():
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 4\nproperty list uchar int near\n"
    header += "".join(f"property float {axis}\n" for axis in "xyz") + "property list int float more\nend_header\n"

    def file(lengths):
        rows = [
            bytes([n]) + np.arange(n, dtype="<i4").tobytes() + np.array([i, 2, 3], "<f4").tobytes() + b"\0\0\0\0"
            for i, n in enumerate(lengths)
        ]
        return header.encode() + b"".join(rows)

    alike, unlike = read_ply(file([2, 2, 2, 2])), read_ply(file([2, 0, 3, 1]))
    assert np.array_equal(alike.vertices, [[i, 2, 3] for i in range(4)])
    assert np.array_equal(alike.vertices, unlike.vertices)


@pytest.mark.parametrize("name", ["Blender.ply", "big-endian doubles.ply", "text.ply"])
def test_a_mixed_ply_that_is_cut_short_is_refused_at_every_length(name, tmp_path):
    data = WRITTEN[name].rstrip()
    for length in range(4, len(data) - 2, 7):
        (tmp_path / "a.ply").write_bytes(data[:length])
        with pytest.raises(InputError, match="truncated"):
            read_geometry(str(tmp_path / "a.ply"))


def swapped(name: str, old: bytes, new: bytes) -> bytes:
    assert old in WRITTEN[name]
    return WRITTEN[name].replace(old, new)


@pytest.mark.parametrize(
    ("suffix", "data", "message"),
    [
        (".ply", ply() + b"abc", "3 bytes follow its last element"),
        (".ply", ply(name="corners"), "faces have no list of vertex_indices"),
        (".ply", swapped("Blender.ply", b"float x", b"half x"), "its header has the line 'property half x'"),
        (".ply", swapped("Blender.ply", b"float x", b"float q"), "no vertices with x, y and z"),
        (".ply", swapped("text.ply", b"\n6 5 4", b"\n6 5 4.5"), "not integers"),
        (".ply", swapped("text.ply", b"\n6 5 4", b"\n6 5 four"), "words that are not numbers"),
        (".ply", swapped("text.ply", b"\n6 5 4", b"\n-6 5 4"), "a list of -6.0 numbers"),
        (".ply", swapped("text.ply", b"\n6 5 4", b"\nnan 5 4"), "a list of nan numbers"),
        (".obj", obj().replace(b"f 1", b"f 0"), "a vertex 0"),
        (".obj", obj().replace(b"f 1", b"f 99"), "refer to vertices 0 to 98"),
        (".obj", obj().replace(b"f 1", b"f -99"), "refer to vertices -"),
        (".obj", obj().replace(b"f 1", b"f one"), "not whole numbers"),
        (".obj", obj().replace(b"v 2 0 0", b"v 2,5 0 0"), "lines of vertices are not x y z"),
        (".obj", b"v 0 0 0\ncstype bspline\nsurf 0 1 0 1 1\n", "free-form"),
        (".off", b"OFF BINARY\n12", "binary"),
        (".off", b"4OFF\n1 1 1", "another dimension"),
        (".off", off()[:-30], "ends before"),
        (".off", off().replace(b"\n6 5", b"\n9 5"), "fewer vertices"),
        (".3mf", b"PK no", "not a complete archive"),
        (".gltf", b"{}", "Save it as PLY with Blender"),
        (".step", b"ISO-10303-21;", "not a file of a known shape format"),
        (".fbx", b"Kaydara FBX Binary  ", "not a file of a known shape format"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(suffix, data, message, tmp_path):
    (tmp_path / f"a{suffix}").write_bytes(data)
    assert kind_of(tmp_path / f"a{suffix}") == "shape"
    with pytest.raises(InputError, match=message) as raised:
        load_surface(tmp_path / f"a{suffix}")
    assert "\n" not in str(raised.value)


FAR = np.array([500_000.0, 5_400_000.0, 300.0])  # a place in UTM, in metres


@pytest.mark.parametrize("suffix", [".ply", ".obj"])
@pytest.mark.parametrize("size", [0.1, 100.0, 100_000.0])
def test_millimetres_are_kept_in_world_coordinates(suffix, size, tmp_path):
    mesh = Mesh(FAR + size * VERTICES / 3, triangles(Polygons(VERTICES, np.array([6]), np.arange(6, 12)))[0])
    with open(tmp_path / f"a{suffix}", "wb") as file:
        encode_mesh(file, mesh, suffix)
    assert np.abs(read_geometry(str(tmp_path / f"a{suffix}")).vertices - mesh.vertices).max() < min(1e-3, 1e-6 * size)
    placement = place(mesh.vertices)
    again = placement.units(placement.coordinates(mesh.vertices))
    assert np.abs(again - mesh.vertices).max() < 2**-24 * size  # float32 in a cube that the shape fills, not in metres


def test_an_stl_says_what_it_loses_of_world_coordinates_or_is_refused(tmp_path):
    faces = np.array([[0, 1, 2], [0, 2, 3]])
    with open(tmp_path / "a.stl", "wb") as file:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            encode_mesh(file, Mesh(VERTICES, faces), ".stl")
        with pytest.warns(UserWarning, match=r"move vertices this far from the origin by up to 0\.2, of 20,000"):
            encode_mesh(file, Mesh(FAR + 10_000.3 * VERTICES, faces), ".stl")
        with pytest.raises(InputError, match="write a PLY or an OBJ instead"):
            encode_mesh(file, Mesh(FAR + 1.3 * VERTICES, faces), ".stl")


def test_coordinates_that_were_saved_too_coarsely_are_said(tmp_path):
    rows = np.float32(FAR + 100 * np.random.default_rng(0).random((40, 3)))  # half a metre apart
    np.savetxt(tmp_path / "a.xyz", rows)
    with pytest.warns(UserWarning, match=r"are float32 numbers\. .* the spacing is 0\.5,"):
        read_geometry(str(tmp_path / "a.xyz"))
    np.savetxt(tmp_path / "b.xyz", np.round(rows))  # whole numbers may be meant
    read_geometry(str(tmp_path / "b.xyz"))
