"""Normals that are missing or disagree are put right and said; what has no inside says so."""

import re
import warnings

import numpy as np
import pytest
from flax import nnx

from experiments.solids import SOLIDS, sample
from siren_jax import SIREN, InputError, NeuralField, load_surface
from siren_jax.fields import Frame
from siren_jax.shapes import Mesh, Surface, SurfaceDataset, encode_mesh
from siren_jax.shapes.level_set import extract
from siren_jax.shapes.orientation import winding
from siren_jax.subjects.shape import OCCUPIED, Scan

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module", params=["box", "torus"])
def truth(request) -> Surface:
    surface = sample(SOLIDS[request.param], 1500)
    return Surface(surface.points.astype(np.float32).astype(float), surface.normals)


def saved(path, points, normals) -> str:
    """A PLY of Gaussian splats: positions, normals and what a renderer needs behind them."""
    others = ["f_dc_0", "opacity", "scale_0", "rot_0"]
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    header += [f"property float {name}" for name in ["x", "y", "z", "nx", "ny", "nz", *others]]
    rows = np.hstack([points, normals, RANDOM.normal(size=(len(points), len(others)))])
    path.write_bytes("\n".join([*header, "end_header\n"]).encode() + rows.astype("<f4").tobytes())
    return str(path)


def written(path, mesh: Mesh) -> str:
    with open(path, "wb") as file:
        encode_mesh(file, mesh, path.suffix)
    return str(path)


def told(path, **options) -> tuple[Surface, str]:
    """The surface in a file, and what was said of it."""
    options.setdefault("samples", 200)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        surface = load_surface(path, **options)
    return surface, " ".join(str(one.message) for one in caught).replace(repr(str(path)), "FILE")


def cosines(surface: Surface, truth: Surface) -> np.ndarray:
    """Between the normals at the same places; the points of one may be in another order."""
    true = dict(zip(map(tuple, truth.points.tolist()), truth.normals, strict=True))
    assert np.allclose(np.linalg.norm(surface.normals, axis=1), 1)
    return np.sum(surface.normals * [true[tuple(point)] for point in surface.points.tolist()], axis=1)


@pytest.mark.parametrize("nothing", [0.0, np.nan])
@pytest.mark.parametrize("which", ["all", "every second", "below"])
def test_normals_that_are_zero_are_estimated_said(which, nothing, truth, tmp_path):
    n = len(truth.points)
    missing = {"all": np.ones(n, bool), "every second": np.arange(n) % 2 == 0, "below": truth.points[:, 2] < 0}[which]
    path = saved(tmp_path / "a.ply", truth.points, np.where(missing[:, None], nothing, truth.normals))
    surface, said = told(path)
    some = f"{missing.sum():,} of 1,500 points of FILE have no normals: they are estimated."
    assert ("the normals of FILE are all zero" if which == "all" else some) in said
    cosine = cosines(surface, truth)
    assert cosine.min() > 0  # beside an edge of the box the plane through the neighbours lies askew, by 45 degrees
    assert cosine.mean() > 0.95
    if which != "all":
        assert cosine[~missing].min() > 1 - 1e-6  # those that are there stay


def test_normals_of_random_sign_are_turned_outwards_said(truth, tmp_path):
    signs = RANDOM.choice([-1, 1], len(truth.points))[:, None]
    surface, said = told(saved(tmp_path / "a.ply", truth.points, signs * truth.normals))
    assert "point to opposite sides at neighbouring points: they are turned to agree" in said
    assert cosines(surface, truth).min() > 1 - 1e-6


def test_normals_that_are_not_those_of_the_surface_are_estimated_said(truth, tmp_path):
    surface, said = told(saved(tmp_path / "a.ply", truth.points, RANDOM.normal(size=truth.points.shape)))
    assert "they are replaced by estimates" in said
    assert cosines(surface, truth).min() > 0


def test_normals_that_are_right_but_for_noise_stay_as_they_are(truth, tmp_path):
    noisy = truth.normals + 0.3 * RANDOM.normal(size=truth.normals.shape)
    surface, said = told(saved(tmp_path / "a.ply", truth.points, noisy))
    assert said == ""
    assert np.allclose(surface.normals, noisy / np.linalg.norm(noisy, axis=1)[:, None], atol=1e-6)


@pytest.mark.parametrize("thickness", [0.2, 0.002])
def test_the_two_sides_of_a_thin_sheet_disagree_rightly(thickness, tmp_path):
    flat, side = RANDOM.uniform(-1, 1, (3000, 2)), RANDOM.choice([-1, 1], 3000)
    points = np.column_stack([flat, 0.2 * flat[:, 0] ** 2 + side * thickness / 2])
    normals = side[:, None] * np.column_stack([-0.4 * flat[:, 0], np.zeros(3000), np.ones(3000)])
    assert told(saved(tmp_path / "a.ply", points, normals))[1] == ""


def test_a_room_seen_from_inside_is_kept_said_and_can_be_turned(truth, tmp_path):
    path = saved(tmp_path / "a.ply", truth.points, -truth.normals)
    surface, said = told(path)
    assert "point inwards, as in a room seen from inside: the shape is the space around it" in said
    assert "turn them with flip_normals=True" in said
    assert cosines(surface, truth).max() < -1 + 1e-6
    assert cosines(told(path, flip_normals=True)[0], truth).min() > 1 - 1e-6


def test_a_closed_mesh_that_faces_inwards_is_turned_said_and_can_be_turned_back(tmp_path, monkeypatch):
    ball = extract(SOLIDS["sphere"].distance, resolution=16)
    path = written(tmp_path / "a.ply", ball._replace(faces=ball.faces[:, ::-1]))
    assert told(path)[0].mesh.volume == pytest.approx(ball.volume)
    room, said = told(path, flip_normals=True)
    assert "point inwards: they are turned. flip_normals=True turns all of them, as for a room" in said
    assert room.mesh.volume == pytest.approx(-ball.volume)
    assert np.sum(room.normals * room.points, axis=1).max() < 0
    # A field that is negative outside has the overlap 1 with this room.
    scan = Scan(room, "tuned")
    inside = -SOLIDS["sphere"].distance(Frame((OCCUPIED,) * 3).coordinates(_cells()) * scan._dataset.placement.scale)
    monkeypatch.setattr(NeuralField, "render", lambda field, shape: inside.reshape(*shape, 1))
    assert scan._overlap(scan.field(SIREN(3, 1, width=4, depth=0, rngs=nnx.Rngs(0)), {}))["iou"] > 0.9


def _cells() -> np.ndarray:
    return np.indices((OCCUPIED,) * 3).reshape(3, -1).T


def test_each_part_of_a_closed_mesh_faces_outwards_and_cavities_inwards(tmp_path):
    ball = extract(SOLIDS["sphere"].distance, resolution=16)

    def together(*parts):
        """Balls at x of a radius, turned or not."""
        vertices = [radius * ball.vertices + np.array([x, 0, 0]) for x, radius, _ in parts]
        faces = [ball.faces[:, ::turn] + i * len(ball.vertices) for i, (_, _, turn) in enumerate(parts)]
        return Mesh(np.concatenate(vertices), np.concatenate(faces))

    n, volume = len(ball.faces), ball.volume
    mesh, said = together((0, 1, 1), (5, 2, -1)), f"of {n:,} of {2 * n:,} triangles of FILE point inwards"
    for parts, total, words in [
        (together((0, 1, 1), (5, 2, -1)), 1 + 8, said),
        (together((0, 1, -1), (5, 2, 1)), 1 + 8, said),
        (together((0, 1, -1), (5, 2, -1)), 1 + 8, "the normals of FILE point inwards"),
        (together((0, 1, 1), (0, 0.5, -1)), 1 - 1 / 8, ""),
        (together((0, 1, -1), (0, 0.5, 1)), 1 - 1 / 8, "the normals of FILE point inwards"),
    ]:
        mesh, said = told(written(tmp_path / "a.ply", parts))
        assert mesh.mesh.volume == pytest.approx(total * volume, rel=1e-5)
        assert words in said if words else said == ""


def test_closed_triangles_wind_once_around_what_is_inside():
    ring = extract(SOLIDS["torus"].distance, resolution=24).corners
    for point, times in (([0.6, 0, 0], 1), ([0, 0.5, 0.1], 1), ([0, 0, 0], 0), ([0, 0, 2], 0)):
        assert winding(ring, np.array(point, float)) == pytest.approx(times, abs=1e-6)


GRID = np.stack(np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9), indexing="ij"), axis=-1).reshape(-1, 2)
CELLS = (np.arange(8)[:, None] * 9 + np.arange(8)).ravel()[:, None] + np.array([[0, 9, 10], [0, 10, 1]])[:, None]
SHEETS = CELLS.reshape(-1, 3)  # a relief of 128 triangles that faces up
RELIEF = np.column_stack([GRID, 0.3 * np.cos(2 * GRID[:, 0])])


def test_a_relief_has_no_inside_and_its_normals_stay(tmp_path):
    for faces, up in ((SHEETS, 1), (SHEETS[:, ::-1], -1)):
        surface, said = told(written(tmp_path / "a.ply", Mesh(RELIEF, faces)))
        assert said.startswith("FILE is not closed (32 edges have one triangle): it has no inside, and the distance")
        assert "inwards" not in said
        assert np.all(up * surface.normals[:, 2] > 0)


def test_edges_of_three_triangles_are_told_from_open_ones(tmp_path):
    ball = extract(SOLIDS["sphere"].distance, resolution=16)
    fin = np.concatenate([ball.vertices, [[2.0, 0, 0]]])
    mesh = Mesh(fin, np.concatenate([ball.faces, [[*ball.faces[0, :2], len(ball.vertices)]]]))
    assert mesh.rims == (2, 1)
    assert (
        "FILE is not closed (2 edges have one triangle and 1 have more than two)"
        in told(written(tmp_path / "a.ply", mesh))[1]
    )


def test_triangles_that_are_there_twice_are_left_out_said(tmp_path):
    ball = extract(SOLIDS["sphere"].distance, resolution=16)
    twice = np.concatenate([ball.faces, np.roll(ball.faces[:7], 1, axis=1)])
    surface, said = told(written(tmp_path / "a.ply", ball._replace(faces=twice)))
    assert said == f"7 of {len(twice):,} triangles of FILE are duplicates: one copy is kept."
    assert surface.mesh.is_closed


def test_a_sheet_of_two_sides_without_thickness_keeps_one_said(tmp_path):
    both = np.concatenate([SHEETS, SHEETS[:, ::-1]])
    surface, said = told(written(tmp_path / "a.ply", Mesh(RELIEF, both)))
    assert "256 of 256 triangles of FILE lie back to back, like a sheet without thickness: one side is kept." in said
    assert "is not closed" in said
    assert len(surface.mesh.faces) == 128
    assert np.all(surface.normals[:, 2] > 0)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.repeat(RANDOM.random((9, 3)), 9, axis=0), "fewer than 32 points in different places"),
        (np.full((40, 3), np.inf), "40 of 40 points have no finite position"),
        (RANDOM.random((2, 3)), "has 2 points and no triangles"),
        (np.outer(RANDOM.random(40), [1, 2, 3]), "on one line"),
    ],
)
def test_clouds_that_are_no_surface_are_refused(points, message, tmp_path):
    with pytest.raises(InputError, match=re.escape(message)):
        load_surface(saved(tmp_path / "a.ply", points, np.ones_like(points)))


@pytest.mark.parametrize("factor", [1e-6, 1e3, 1e9])
def test_units_do_not_matter(factor, tmp_path):
    mesh, cloud = extract(SOLIDS["torus"].distance, resolution=16), sample(SOLIDS["torus"], 500)

    def read(size: float) -> list[SurfaceDataset]:
        np.savetxt(tmp_path / "a.xyz", size * cloud.points)
        paths = tmp_path / "a.xyz", written(tmp_path / "a.ply", Mesh(size * mesh.vertices, mesh.faces))
        return [SurfaceDataset(told(path)[0]) for path in paths]

    for one, other in zip(read(1.0), read(factor), strict=True):
        assert np.allclose(one.coordinates, other.coordinates, atol=1e-6)  # float32 of a cube
        assert np.allclose(one.normals, other.normals, atol=1e-4)
