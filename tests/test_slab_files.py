"""Solutions in slabs of time as files: the same values and derivatives in the problem's own time, and damaged files."""

import json
import math
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from siren_jax import InputError, jacobian, laplacian, load, random_features
from siren_jax.cli import main
from siren_jax.equations import Interval, Problem, equation, in_slabs, initial, load_slabs, march
from siren_jax.equations.slab_files import WHOLE
from siren_jax.equations.slabs import Slabs

RING = Interval(-1, 1).during(1, 3)
EDGES = [1.0, 1.2, 1.7, 3.0]
POINTS = np.random.default_rng(0).uniform((1, -1), (3, 1), (60, 2))


def exact(x):
    return np.exp(-0.1 * np.pi**2 * (x[..., :1] - 1)) * np.sin(np.pi * x[..., 1:])


@pytest.fixture(scope="module")
def slabs():
    residual = lambda u, x: jacobian(u)(x)[:, 0] - 0.1 * laplacian(u, weights=(0, 1))(x)
    problem = Problem(
        [
            equation(residual, RING, points=300, sampler="sobol"),
            initial(lambda x: jnp.sin(math.pi * x[1]), RING, points=50, weight=10.0, sampler="sobol"),
        ]
    )
    sines = random_features(2, 1, width=80, frequencies=[2.0, 7.0], periodic={1: 2.0}, rngs=nnx.Rngs(0))
    return march(problem, sines, EDGES, key=jax.random.key(0)).network


@pytest.fixture(scope="module")
def file(slabs, tmp_path_factory):
    path = tmp_path_factory.mktemp("slabs") / "heat.slabs.zip"
    in_slabs(slabs, RING, record={"axes": ["t", "x"]}).save(path)
    return path


def test_a_file_has_the_values_of_the_slabs_at_all_times(slabs, file):
    found = load_slabs(file)
    assert found.edges == tuple(EDGES)
    with jax.enable_x64(True):
        values = np.asarray(slabs(jnp.asarray(POINTS)))
    np.testing.assert_allclose(found(POINTS), values, atol=1e-11)  # of rounded phases, times coefficients of up to 1e4
    np.testing.assert_allclose(found(POINTS), exact(POINTS), atol=1e-7)
    assert np.array_equal(found(POINTS.reshape(3, 20, 2)), found(POINTS).reshape(3, 20, 1))


def test_the_field_of_a_time_has_derivatives_in_the_problems_own_time(file):
    found, x = load_slabs(file), np.array([1.5, 0.3])
    slope = np.asarray(found.field_at(1.5).gradient(x))[0]
    decay, (wave,) = -0.1 * np.pi**2, exact(x)
    assert slope == pytest.approx([decay * wave, np.pi * wave / np.tan(0.3 * np.pi)], rel=1e-5)
    assert [found.field_at(t) for t in (1.0, 1.2, 1.21, 3.0)] == [found.fields[k] for k in (0, 0, 1, 2)]


def test_the_whole_time_is_rendered_at_the_centres_of_cells(file):
    found = load_slabs(file)
    t, x = np.meshgrid([1.25, 1.75, 2.25, 2.75], [-0.5, 0.5], indexing="ij")
    np.testing.assert_allclose(found.render((4, 2)), exact(np.stack([t, x], axis=-1)), atol=1e-6)
    assert found.render().shape == (200, 200, 1)
    assert found.record == {"axes": ["t", "x"]}


def test_every_slab_is_a_file_of_its_own(file, tmp_path):
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path)
    later = load(tmp_path / "0001.siren")
    assert (later.frame.low, later.frame.high) == ((1.2, -1.0), (1.7, 1.0))
    np.testing.assert_allclose(later(np.array([1.5, 0.3])), exact(np.array([1.5, 0.3])), atol=1e-7)


def test_a_file_depends_on_the_solution_and_not_on_the_clock(file):
    with zipfile.ZipFile(file) as archive:
        about = {(entry.date_time, entry.external_attr >> 16) for entry in archive.infolist()}
    assert about == {((1980, 1, 1, 0, 0, 0), 0o644)}  # the earliest time, and files that can be read


def test_a_solution_of_time_alone_is_saved_too(tmp_path):
    time = Interval(0, 2)
    residual = lambda u, t: jacobian(u)(t)[:, 0] + u(t)
    problem = Problem([equation(residual, time, points=60, sampler="sobol"), initial(1.0, time, points=1)])
    sines = random_features(1, 1, width=20, frequencies=2.0, rngs=nnx.Rngs(0))
    in_slabs(march(problem, sines, 2, key=jax.random.key(0)).network, time).save(tmp_path / "u.slabs.zip")
    t = np.linspace(0, 2, 31)[:, None]
    np.testing.assert_allclose(load_slabs(tmp_path / "u.slabs.zip")(t), np.exp(-t), atol=1e-9)


def changed(file, path, **entries):
    """A copy of an archive with other contents of some entries, or without them."""
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            if (content := entries.get(name.split(".")[0], old.read(name))) is not None:
                new.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"solution": None}, f"damaged: .*{WHOLE}"),
        ({"solution": "{"}, "is not a solution in slabs, or is damaged"),
        ({"solution": json.dumps({"frame": 3, "record": {}})}, "is not a solution in slabs, or is damaged"),
        ({"0001": None}, "a slab of time is missing"),
        ({"0001": b"nothing"}, "is not a .siren file"),
        ({"0000": None, "0001": None, "0002": None}, "it has 0 slabs"),
    ],
)
def test_damaged_files_are_refused(entries, message, file, tmp_path):
    with pytest.raises(InputError, match=message):
        load_slabs(changed(file, tmp_path / "u.slabs.zip", **entries))


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "u.txt").write_text("u")
    with pytest.raises(InputError, match="is not a solution in slabs"):
        load_slabs(tmp_path / "u.txt")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_slabs(tmp_path / "none.slabs.zip")


def test_the_command_says_how_slabs_are_opened(file, tmp_path, capsys):
    assert main(["render", str(file), "--out", str(tmp_path / "u.png")]) == 2
    assert "load_slabs opens in Python. Unpack it" in capsys.readouterr().err


def test_networks_without_a_file_are_refused():
    linear = nnx.Linear(1, 1, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match="saved if their networks are SIRENs"):
        in_slabs(Slabs([linear], [0.0, 1.0], "gauss-newton"), Interval(0, 1))
