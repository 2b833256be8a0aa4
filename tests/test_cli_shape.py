"""The command turns a mesh or a cloud into a signed distance, and that into a mesh again."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from experiments.solids import SOLIDS, sample
from siren_jax import load, load_surface
from siren_jax.cli import main
from siren_jax.shapes import Mesh, encode_mesh
from siren_jax.shapes.level_set import extract
from siren_jax.subjects.kinds import SIGNALS

pytestmark = pytest.mark.slow

CENTRE = np.array([100.0, 20.0, -3.0])
SMALL = ["--width", "48", "--depth", "1", "--first-omega", "5", "--omega", "10", "--batch-size", "256"]
SMALL += ["--learning-rate", "2e-3"]


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """Meshes and figures of fewer triangles than users get."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "RESOLUTION": 64,
            "SHOWN": 32,
            "JUDGED": 64,
            "ESTIMATED": 32,
            "ESTIMATE_POINTS": 1000,
            "PIXELS": 256,
        }.items():
            patch.setattr(f"siren_jax.subjects.shape.{name}", value)
        patch.setattr("siren_jax.plot.shape.SIDE", 64)
        yield


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A sphere of the radius 8 about a point far from the origin."""
    path = tmp_path_factory.mktemp("scan") / "my ball.ply"
    mesh = extract(SOLIDS["sphere"].distance, resolution=24)
    with open(path, "wb") as file:
        encode_mesh(file, Mesh(10 * mesh.vertices.astype(np.float64) + CENTRE, mesh.faces), ".ply")
    return path


@pytest.fixture(scope="module")
def fitted(scan, tmp_path_factory):
    """A good fit's `.siren` file; not to be changed."""
    out = tmp_path_factory.mktemp("fitted")
    assert main(["fit", str(scan), *SMALL, "--steps", "150", "--out", str(out)]) == 0
    return out / "my ball.siren"


def refused(arguments, capsys) -> str:
    assert main(arguments) == 2
    return capsys.readouterr().err


def test_a_mesh_is_fitted_and_everything_is_written(fitted):
    out = fitted.parent
    files = ["comparison.png", "curve.png", "metrics.json", "my ball.siren", "reconstruction.ply"]
    assert sorted(os.listdir(out)) == ["checkpoints", *files]
    numbers = json.loads((out / "metrics.json").read_text())
    assert sorted(numbers["files"]) == sorted(str(out / name) for name in files)
    assert numbers["chamfer"] < 0.5  # the figure that a full fit has to reach, of the diagonal
    assert numbers["chamfer"] == pytest.approx((numbers["to_truth"] + numbers["from_truth"]) / 2)
    assert numbers["iou"] > 0.95
    assert numbers["normal_consistency"] > 0.98
    assert (numbers["pieces"], numbers["closed"]) == (1, True)
    assert 0.5 < numbers["gradient_mean"] < 1.2
    field = load(fitted)
    assert (field.kind, field.network.in_features, field.network.out_features) == ("shape", 3, 1)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".stl"])
def test_it_is_rendered_to_a_mesh_in_the_units_of_its_file(suffix, fitted, tmp_path):
    path = tmp_path / f"a{suffix}"
    assert main(["render", str(fitted), "--resolution", "48", "--out", str(path)]) == 0
    mesh = load_surface(path, samples=10).mesh
    assert mesh.is_closed
    radius = np.linalg.norm(mesh.vertices - CENTRE, axis=1)
    assert np.allclose(radius, 8, atol=0.2)  # that of the fit
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 8**3, rel=0.03)


def test_the_resolution_is_that_of_the_mesh(fitted, tmp_path):
    sizes = []
    for resolution in ("32", "64"):
        assert (
            main(["render", str(fitted), "--resolution", resolution, "--out", str(tmp_path / f"{resolution}.ply")]) == 0
        )
        sizes.append(len(load_surface(tmp_path / f"{resolution}.ply", samples=10).mesh.faces))
    assert sizes[1] / sizes[0] == pytest.approx(4, rel=0.05)  # an area


def test_it_is_rendered_to_a_picture_without_a_display(fitted, tmp_path):
    path = tmp_path / "a.png"
    assert main(["render", str(fitted), "--resolution", "32", "--view", "0", "90", "--out", str(path)]) == 0
    picture = np.asarray(Image.open(path), np.float64)
    drawn = (picture < 255).any(axis=2)
    # A disc that reaches nearly to the edges, 1/1.03 of them, and is brighter where it faces the light, upper left.
    assert drawn.mean() == pytest.approx(np.pi / 4 / 1.03**2, rel=0.02)
    h, w = picture.shape[:2]
    assert picture[h // 4, w // 4].mean() > picture[3 * h // 4, 3 * w // 4].mean() + 20


def test_an_array_has_the_signed_distance_in_the_units_of_the_file(fitted, tmp_path):
    assert main(["render", str(fitted), "--resolution", "32", "--out", str(tmp_path / "a.npy")]) == 0
    values, field = np.load(tmp_path / "a.npy"), load(fitted)
    assert values.shape == (32, 32, 32, 1)
    centres = (2 * np.arange(32) + 1) / 32 - 1
    for index in ((0, 0, 0), (16, 16, 16), (3, 20, 31)):
        point = centres[list(index)].astype(np.float32)
        assert values[index][0] == pytest.approx(float(field(point)[0]), abs=1e-4)
    near = np.abs(values[..., 0]) < 1  # where the loss holds the field
    points = CENTRE + field.placement.scale * np.stack(np.meshgrid(*[centres] * 3, indexing="ij"), axis=-1)
    assert np.allclose(values[near, 0], np.linalg.norm(points[near] - CENTRE, axis=1) - 8, atol=0.4)


def test_info_tells_where_a_shape_lies(fitted, capsys):
    assert main(["info", str(fitted)]) == 0
    text = capsys.readouterr().out
    assert "shape" in text
    assert "91.11" in text  # 100 - 8 / 0.9


def test_a_cloud_is_fitted_and_a_target_ends_it(tmp_path, capsys):
    cloud = sample(SOLIDS["sphere"], 400)
    np.savetxt(tmp_path / "a.xyz", np.hstack([cloud.points, cloud.normals]))
    arguments = [
        "fit",
        str(tmp_path / "a.xyz"),
        *SMALL,
        "--steps",
        "4000",
        "--target-chamfer",
        "2",
        "--no-figures",
        "--json",
    ]
    assert main([*arguments, "--out", str(tmp_path / "a")]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["stopped_by"] == "watch"
    assert summary["chamfer"] < 2.2  # at another resolution
    assert "iou" not in summary  # a cloud has no inside


def test_the_recipe_of_the_paper_begins_with_its_settings():
    recipe = SIGNALS["shape"].recipe("paper")
    assert (recipe.first_omega, recipe.learning_rate, recipe.clip, recipe.batch_size) == (30, 1e-4, 1, 1400)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "gradient"], "--target does not apply to a shape"),
        (["--size", "64"], "--size does not apply to a shape"),
        (["--weights", "1", "1", "1"], "--weights does not apply to a shape"),
        (["--target-psnr", "30"], "--target-psnr does not apply to a shape"),
        (["--first-omega", "auto"], "for a shape give --first-omega as a number"),
        (["--batch-size", "999999"], "batch_size must be 1 to 250000, the points"),
        (["--samples", "0"], "--samples takes a positive number"),
        (["--target-chamfer", "0"], "--target-chamfer takes a positive number"),
    ],
)
def test_what_a_shape_cannot_have_is_refused(arguments, message, scan, tmp_path, capsys):
    assert message in refused(["fit", str(scan), *arguments, "--out", str(tmp_path / "a")], capsys)
    assert not (tmp_path / "a").exists()


def test_a_network_without_a_surface_says_so(scan, tmp_path, capsys):
    flat = ["--model", "relu", "--width", "4", "--depth", "0", "--steps", "1", "--learning-rate", "1e-9"]
    # With this seed the function begins below -0.1 everywhere.
    assert main(["fit", str(scan), *flat, "--seed", "2", "--out", str(tmp_path / "a")]) == 0
    assert "no surface yet" in capsys.readouterr().err


def test_options_of_shapes_are_refused_for_pictures(tmp_path, capsys):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    message = refused(["fit", str(tmp_path / "a.png"), "--target-chamfer", "1"], capsys)
    assert "--target-chamfer does not apply to a picture" in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "a.wav"], "written as .ply, .obj, .stl, .png, .npy"),
        (["--out", "a.ply", "--resolution", "100"], "a multiple of 8"),
        (["--out", "a.npy", "--resolution", "-8"], "a multiple of 8"),
        (["--out", "a.ply", "--scale", "2"], "--scale does not apply"),
        (["--out", "a.ply", "--view", "0", "0"], "--view takes two angles"),
        (["--out", "a.png", "--view", "nan", "0"], "--view takes two angles"),
        (["--out", "a.ply", "--of", "gradient"], "--of does not apply"),
    ],
)
def test_what_cannot_be_rendered_is_refused(arguments, message, fitted, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert message in refused(["render", str(fitted), *arguments], capsys)
    assert not os.listdir(tmp_path)
