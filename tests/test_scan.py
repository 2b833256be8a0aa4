"""Files of shapes give the surface that they hold, put right what they can, and say what they cannot."""

import os
import sys
import warnings

import numpy as np
import pytest

from experiments.solids import SOLIDS, sample
from siren_jax import InputError, load_surface
from siren_jax.formats.file_kind import kind_of
from siren_jax.shapes import Mesh, encode_mesh
from siren_jax.shapes.level_set import extract

SUFFIXES = (".ply", ".obj", ".stl")
HEADER = "ply\nformat ascii 1.0\nelement vertex {}\n" + "".join(f"property float {axis}\n" for axis in "xyz")
FACES = "element face {}\nproperty list uchar int vertex_indices\nend_header\n"


@pytest.fixture(scope="module")
def ball() -> Mesh:
    """A sphere of the radius 0.8 in other units: 8 about (100, 20, -3)."""
    mesh = extract(SOLIDS["sphere"].distance, resolution=16)
    return Mesh(10 * mesh.vertices.astype(np.float64) + np.array([100, 20, -3]), mesh.faces)


def written(path, mesh: Mesh) -> str:
    with open(path, "wb") as file:
        encode_mesh(file, mesh, path.suffix)
    return str(path)


def text(path, content: str) -> str:
    path.write_text(content)
    return str(path)


def triangles_of(mesh: Mesh) -> np.ndarray:
    """Corners of all triangles, each beginning with its least, in order."""
    rounded = np.round(mesh.corners, 3)
    turned = [np.roll(t, -min(range(3), key=lambda i: tuple(t[i])), axis=0) for t in rounded]
    return np.array(sorted(turned, key=lambda t: t.ravel().tolist()))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_mesh_comes_back_from_its_file(suffix, ball, tmp_path):
    path = written(tmp_path / f"a{suffix}", ball)
    assert kind_of(path) == "shape"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        surface = load_surface(path, samples=2000)
    assert surface.mesh.is_closed  # an STL too, whose triangles have corners of their own
    assert np.allclose(triangles_of(surface.mesh), triangles_of(ball), atol=2e-3)
    assert surface.points.shape == surface.normals.shape == (2000, 3)
    assert np.sum(surface.normals * (surface.points - [100, 20, -3]), axis=1).min() > 7  # a radius of 8
    assert np.isclose(surface.diagonal, 16 * np.sqrt(3), rtol=1e-3)


def test_a_ply_is_known_by_its_content(ball, tmp_path):
    path = written(tmp_path / "a.ply", ball)
    os.rename(path, tmp_path / "scan.dat")
    assert kind_of(tmp_path / "scan.dat") == "shape"
    assert load_surface(tmp_path / "scan.dat", samples=10).mesh.is_closed


def test_a_ply_far_from_the_origin_keeps_its_shape(ball, tmp_path):
    far = Mesh(ball.vertices + 5e6, ball.faces)
    surface = load_surface(written(tmp_path / "a.ply", far), samples=10)
    assert np.isclose(surface.mesh.volume, ball.volume, rtol=1e-6)  # float32 would keep no more than halves


def test_a_cloud_with_normals_is_taken_as_it_is(tmp_path):
    truth = sample(SOLIDS["torus"], 200)
    np.savetxt(tmp_path / "a.xyz", np.hstack([truth.points, 3 * truth.normals]), header="x y z nx ny nz")
    with pytest.warns(UserWarning, match="a") as caught:
        load_surface(tmp_path / "a.xyz")  # normals of the length 3 could be colours
    said = [str(w.message) for w in caught]
    assert "6 numbers per line: x y z are used" in said[0]
    assert "without normals" in said[1]
    np.savetxt(tmp_path / "b.xyz", np.hstack([truth.points, truth.normals]), delimiter=",")
    surface = load_surface(tmp_path / "b.xyz")
    assert np.allclose(surface.points, truth.points)
    assert np.allclose(surface.normals, truth.normals)
    assert surface.mesh is None


def test_a_cloud_without_normals_gets_estimated_ones_said(tmp_path):
    truth = sample(SOLIDS["sphere"], 500)
    np.savetxt(tmp_path / "a.xyz", np.repeat(truth.points, 2, axis=0))  # twice each, as scans have
    with pytest.warns(UserWarning, match="a cloud of points without normals: they are estimated"):
        surface = load_surface(tmp_path / "a.xyz")
    assert len(surface.points) == 500
    assert np.sum(surface.normals * surface.points, axis=1).min() > 0.8 * 0.95


def test_a_ply_cloud_has_its_normals(tmp_path):
    truth = sample(SOLIDS["sphere"], 64)
    rows = "\n".join(" ".join(f"{v:.7f}" for v in row) for row in np.hstack([truth.points, -truth.normals]))
    axes = "".join(f"property float n{axis}\n" for axis in "xyz")
    path = text(tmp_path / "a.ply", HEADER.format(64) + axes + "end_header\n" + rows + "\n")
    with pytest.warns(UserWarning, match="point inwards, as in a room seen from inside"):
        surface = load_surface(path)
    assert np.allclose(surface.normals, -truth.normals, atol=1e-5)


def test_normals_that_point_inwards_are_turned_said(ball, tmp_path):
    path = written(tmp_path / "a.ply", Mesh(ball.vertices, ball.faces[:, ::-1]))
    with pytest.warns(UserWarning, match="point inwards: they are turned"):
        surface = load_surface(path, samples=100)
    assert surface.mesh.volume > 0
    assert np.sum(surface.normals * (surface.points - [100, 20, -3]), axis=1).min() > 7


def test_triangles_without_area_or_with_bad_vertices_are_left_out_said(ball, tmp_path):
    vertices = np.concatenate([ball.vertices, [[np.nan, 0, 0], [1e30, 0, 0]]])
    n = len(ball.vertices)
    faces = np.concatenate([ball.faces, [[0, 0, 1], [0, 1, n], [2, n + 1, 3], [4, 4, 4]]])
    path = written(tmp_path / "a.obj", Mesh(vertices, faces))
    with pytest.warns(UserWarning, match="left out") as caught:
        surface = load_surface(path, samples=100)
    messages = [str(w.message) for w in caught]
    assert (
        f"2 of {len(faces):,} triangles have vertices that are not finite: they are left out of {path!r}." in messages
    )
    assert f"2 of {len(faces) - 2:,} triangles have no area: they are left out of {path!r}." in messages
    assert np.allclose(triangles_of(surface.mesh), triangles_of(ball), atol=2e-3)


def test_a_mesh_with_a_hole_and_turned_triangles_is_taken_said(ball, tmp_path):
    faces = ball.faces[5:].copy()
    faces[50:60] = faces[50:60, ::-1]
    path = written(tmp_path / "a.ply", Mesh(ball.vertices, faces))
    with pytest.warns(UserWarning, match="a") as caught:
        surface = load_surface(path, samples=5000)
    said = [str(w.message) for w in caught]
    assert said[0].startswith("10 triangles of")
    assert "is not closed" in said[1]
    assert np.sum(surface.normals * (surface.points - [100, 20, -3]), axis=1).min() > 7


def test_the_same_seed_draws_the_same_points(ball, tmp_path):
    path = written(tmp_path / "a.ply", ball)
    a, b, c = (load_surface(path, samples=50, seed=seed).points for seed in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_objects_of_an_obj_are_one_surface(tmp_path):
    one = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"
    two = "v 5 0 0\nv 6 0 0\nv 5 1 0\nv 5 0 1\nf 5 7 6\nf 5 6 8\nf 5 8 7\nf 6 7 8\n"
    surface = load_surface(text(tmp_path / "a.obj", f"mtllib none.mtl\no a\n{one}usemtl b\no b\n{two}"), samples=10)
    assert (surface.mesh.count_parts(), surface.mesh.is_closed) == (2, True)
    assert np.isclose(surface.mesh.volume, 1 / 3)


QUADS = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
CUBES = (QUADS.tolist(), [[0, 1, 3], [0, 3, 2], *QUADS[1:].tolist()])  # a face as two triangles, the others as squares


@pytest.mark.parametrize("faces", CUBES, ids=["squares", "squares and triangles"])
@pytest.mark.parametrize("suffix", [".ply", ".obj"])
def test_a_cube_of_squares_has_its_volume(suffix, faces, tmp_path):
    corners = "\n".join(f"{i >> 2} {i >> 1 & 1} {i & 1}" for i in range(8))
    if suffix == ".ply":
        rows = "\n".join(" ".join(map(str, [len(face), *face])) for face in faces)
        content = HEADER.format(8) + FACES.format(len(faces)) + corners + "\n" + rows + "\n"
    else:
        rows = "\n".join(" ".join(["f", *(str(i + 1) for i in face)]) for face in faces)
        content = "v " + corners.replace("\n", "\nv ") + "\n" + rows + "\n"
    surface = load_surface(text(tmp_path / f"a{suffix}", content), samples=10)
    assert surface.mesh.is_closed
    assert np.isclose(surface.mesh.volume, 1)


TETRAHEDRON = "0 0 0\n1 0 0\n0 1 0\n0 0 1\n3 0 2 1\n3 0 1 3\n3 0 3 2\n3 1 2 3\n"
TETRAHEDRON_FACES = [[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]
CLOUD = "\n".join(f"{i} {i * i % 7} {i * i * i % 11}" for i in range(40))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.ply", "", "is empty"),
        ("a.ply", "ply\n", "damaged, truncated or not in the format PLY"),
        ("a.ply", "hello", "damaged, truncated or not in the format PLY"),
        ("a.obj", "hello\n", "contains no points"),
        ("a.obj", "v 1 2 3\nv 4 5", "damaged, truncated or not in the format OBJ: its lines of vertices are not x y z"),
        ("a.stl", "hello", "truncated or not in the format STL: its header has no end"),
        (
            "a.stl",
            "solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\n",
            "truncated or not in the format STL: its text has no end",
        ),
        ("a.stl", "x" * 80 + "\0\0\0\0", "contains no points"),
        ("a.stl", "solid\nvertex 0 0 0\nvertex 1 0 0\nendsolid", "2 vertices, which is not a multiple of three"),
        ("a.stl", "solid\nvertex 0 0\nendsolid", "truncated or not in the format STL: invalid column"),
        ("a.stl", "x" * 80 + "\1\0\0\0abc", "declares 134 bytes, but it has 87"),
        ("a.xyz", "# nothing\n", "contains no points"),
        ("a.xyz", "1 2\n3 4\n", "2 numbers per line"),
        ("a.xyz", "1 2 3\n4 5\n", "lines are not x y z"),
        ("a.xyz", "one two three\n", "lines are not x y z"),
        ("a.xyz", "1 2 3\n4 5 6\n7 8 10\n", "has 3 points and no triangles"),
        ("a.xyz", "1 2 3\n" * 40, "are the same"),
        ("a.xyz", "nan 2 3\n" * 40, "40 of 40 points have no finite position"),
        ("a.xyz", "\n".join(f"{i} {i * i} 0" for i in range(40)), "in one plane"),
        ("a.txt", CLOUD, "not a file of a known shape format"),
        ("a.ply", HEADER.format(4) + FACES.format(4) + TETRAHEDRON[:10], "truncated"),
        ("a.ply", HEADER.format(10**11) + FACES.format(4) + TETRAHEDRON, "truncated"),
        (
            "a.ply",
            HEADER.format(4) + FACES.format(1) + TETRAHEDRON[:24] + "3 0 1 9\n",
            "vertices 0 to 9, but it has vertices 0 to 3",
        ),
        ("a.ply", HEADER.format(4) + FACES.format(1) + TETRAHEDRON[:24] + "3 0 1 1\n", "1 of 1 triangles have no area"),
        ("a.ply", HEADER.format(4) + FACES.format(1) + TETRAHEDRON[:32], "in one plane"),
        ("a.ply", HEADER.format(4) + "end_header\n" + TETRAHEDRON[:24], "4 points and no triangles"),
    ],
)
def test_what_cannot_be_a_surface_is_refused_in_one_sentence(name, content, message, tmp_path):
    path = text(tmp_path / name, content)
    with pytest.raises(InputError, match=message) as raised:
        load_surface(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("suffix", [".ply", ".stl"])
def test_a_binary_file_that_is_cut_short_is_refused_at_every_length(suffix, ball, tmp_path):
    path = written(tmp_path / f"a{suffix}", ball)
    data = (tmp_path / f"a{suffix}").read_bytes()
    for length in range(0, len(data), len(data) // 17):
        (tmp_path / f"a{suffix}").write_bytes(data[:length])
        with pytest.raises(InputError):
            load_surface(path)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    with open(tmp_path / "a.ply", "wb") as file:
        file.write(b"ply\n")
        file.truncate(2**30)  # takes no room on the disk
    with pytest.raises(InputError, match=r"1,073,741,824 bytes; up to"):
        load_surface(tmp_path / "a.ply")


def test_without_trimesh_the_extra_is_named(ball, tmp_path, monkeypatch):
    for module in {"trimesh", *(name for name in sys.modules if name.startswith("trimesh."))}:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=r"siren-jax\[shape\]"):
        load_surface(text(tmp_path / "a.glb", "glTF"))
    for suffix in SUFFIXES:  # these need nothing
        assert load_surface(written(tmp_path / f"a{suffix}", ball), samples=10).mesh.is_closed


def test_a_text_stl_is_read_whatever_its_case_and_normals(tmp_path):
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]])
    facets = ["  FACET NORMAL nan 0 0\n  outer loop\n{}{}{} endloop\n endfacet" for _ in range(4)]
    vertices = [" Vertex\t{} {} {}\n".format(*corner) for corner in corners]
    rows = [facet.format(*(vertices[i] for i in face)) for facet, face in zip(facets, TETRAHEDRON_FACES, strict=True)]
    mesh = load_surface(text(tmp_path / "a.stl", "\n".join(["SOLID a", *rows, "ENDSOLID a", ""])), samples=10).mesh
    assert mesh.is_closed
    assert mesh.volume == pytest.approx(1 / 6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_mesh_without_triangles_can_be_written_but_is_no_surface(suffix, tmp_path):
    path = written(tmp_path / f"a{suffix}", Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64)))
    with pytest.raises(InputError):
        load_surface(path)


@pytest.mark.parametrize("samples", [0, 2**30])
def test_as_many_samples_as_cannot_be_are_refused(samples):
    with pytest.raises(InputError, match="samples must be 1 to"):
        load_surface("none.ply", samples=samples)
