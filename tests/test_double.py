"""Solutions in float64, from `refine` to the file: they have more digits than float32 can represent."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from siren_jax import SIREN, InputError, NeuralField, fit, laplacian, load, supervise
from siren_jax.cli import main
from siren_jax.equations import Ansatz, Ball, Box, Disk, Interval, Problem, dirichlet, distil, equation, known, solution
from siren_jax.equations.unknowns import WithCoefficients
from siren_jax.fields import Grid
from siren_jax.fields.precision import cast
from siren_jax.files import pytorch

LINE = Interval(0, 1)
X = np.linspace(0, 1, 201)[:, None]
KEY = jax.random.key(0)
ROUNDING = 1e-14  # of float64 at values of one, after a few operations; float32 has 6e-8


@pytest.fixture(scope="module")
def refined():
    """sin(πx), the solution of u″ = -π² sin πx with u = 0 at both ends, from two sines with other frequencies."""
    force = lambda x: -(math.pi**2) * jnp.sin(math.pi * x[0])
    terms = [
        equation(lambda u, x: laplacian(u)(x) - force(x), LINE, points=64, sampler="sobol"),
        dirichlet(0.0, LINE, points=8),
    ]
    network = SIREN(1, 1, width=2, depth=0, first_omega=3.0, rngs=nnx.Rngs(0))
    found = {}
    for double in (False, True):
        fitted = Problem(terms).refine(network, key=KEY, batches=1, steps=300, double=double)
        found[double] = solution(fitted.network, LINE)
    return found


def sirens(seed=0):
    """A SIREN of random weights in float64, and itself as a field in a box."""
    network = SIREN(2, 3, width=8, depth=1, first_omega=2.0, omega=2.0, outermost="tanh", rngs=nnx.Rngs(seed))
    return NeuralField(cast(network, np.float64), Grid((6, 5), (0.0, 0.0), (1.2, 1.0)), kind="solution")


def largest(error):
    return float(np.abs(np.asarray(error)).max())


def test_a_refined_solution_is_exact_to_the_rounding_of_float64(refined):
    exact = np.sin(np.pi * X)
    assert refined[True](X).dtype == np.float64
    assert largest(np.asarray(refined[True](X)) - exact) < ROUNDING
    assert largest(np.asarray(refined[False](X)) - exact) > 6e-8


def test_derivatives_of_a_refined_solution_are_those_of_the_sine(refined):
    slope, bend = np.asarray(refined[True].gradient(X))[:, 0], np.asarray(refined[True].laplacian(X))
    assert largest(slope - np.pi * np.cos(np.pi * X)) < 10 * ROUNDING
    assert largest(bend + np.pi**2 * np.sin(np.pi * X)) < 100 * ROUNDING


def test_a_file_has_all_digits_of_a_refined_solution(refined, tmp_path):
    refined[True].save(tmp_path / "a.siren")
    read = load(tmp_path / "a.siren")
    one, other = ((f.network.output.kernel[...], f(X), f.render()) for f in (read, refined[True]))
    for a, b in zip(one, other, strict=True):
        assert a.dtype == b.dtype == np.float64
        np.testing.assert_array_equal(a, b)


def test_a_rendering_has_the_values_at_the_centres_of_cells_in_float64(refined):
    centres = (np.arange(60) + 0.5) / 60
    found = refined[True].render((60,))
    assert found.dtype == np.float64
    assert largest(found[:, 0] - np.sin(np.pi * centres)) < ROUNDING
    assert largest(refined[True].render((60,), of="laplacian")[:, 0] + np.pi**2 * np.sin(np.pi * centres)) < 1e-12


def test_derivatives_are_differences_of_values():
    field, h = sirens(), 2e-3
    points = np.random.default_rng(0).uniform(0.1, 0.9, (7, 2))
    values = lambda moved: np.asarray(field(moved))
    slopes, bend = [], 0.0
    for step in h * np.eye(2):
        a, b, c, d = (values(points + k * step) for k in (1, 2, -1, -2))
        slopes.append((8 * (a - c) - (b - d)) / (12 * h))
        bend = bend + (16 * (a + c) - (b + d) - 30 * values(points)) / (12 * h**2)
    # The formulas are exact to h⁴ times fifth and sixth derivatives over 30 and 90, and to 1e-16 / h and / h².
    assert largest(np.asarray(field.gradient(points)) - np.stack(slopes, axis=-1)) < 1e-10
    assert largest(np.asarray(field.laplacian(points)) - bend) < 1e-9


def test_a_field_in_float64_is_so_in_functions_of_jax_and_leaves_the_mode_as_it_is():
    field, points = sirens(), np.random.default_rng(0).uniform(0, 1, (7, 2))
    plain = np.asarray(field(points))
    with jax.enable_x64(True):
        for function in (jax.vmap(field), jax.jit(field), lambda x: jax.jit(lambda f, x: f(x))(field, x)):
            assert largest(np.asarray(function(points)) - plain) < ROUNDING
    assert (jnp.ones(1) / 3).dtype == jnp.float32
    assert field(points.astype(np.float32)).dtype == np.float64


def test_a_float64_network_is_fitted_in_float64_or_not_at_all():
    network, batch = sirens().network, lambda key, step: {"coordinates": jnp.zeros((4, 2)), "value": jnp.ones((4, 3))}
    settings = {"key": KEY, "steps": 1}
    with pytest.raises(InputError, match=r"is float64, but JAX computes in float32 here; call fit inside of `with jax"):
        fit(network, supervise("value"), batch, **settings)
    with jax.enable_x64(True):
        assert fit(network, supervise("value"), batch, **settings).network.output.bias[...].dtype == np.float64


def test_a_solution_in_float64_is_distilled_in_float64():
    network = SIREN(1, 1, width=2, depth=0, first_omega=3.0, rngs=nnx.Rngs(0))
    unknown = cast(Ansatz(network, offset=lambda x: x[0], factor=lambda x: x[0] * 0 + 1), np.float64)
    # The offset of a line is not in the network, so this is an approximation; its precision is what is tested.
    assert distil(unknown, network, LINE, key=KEY, steps=2, refined=3).network.output.bias[...].dtype == np.float64


def test_coefficients_in_the_record_have_all_digits():
    unknown = cast(WithCoefficients(SIREN(1, 1, width=2, rngs=nnx.Rngs(0)), speed=0.0), np.float64)
    with jax.enable_x64(True):
        unknown.coefficients["speed"][...] = jnp.asarray(1 / 3)
    assert solution(unknown, LINE).record["coefficients"]["speed"] == 1 / 3


@pytest.mark.parametrize("layout", ["paper", "pip"])
def test_a_state_dict_has_all_digits(layout, tmp_path):
    network = cast(SIREN(2, 1, width=3, depth=1, rngs=nnx.Rngs(0)), np.float64)
    pytorch.save(network, tmp_path / "a.safetensors", layout=layout)
    arrays = list(load_file(tmp_path / "a.safetensors").values())
    assert {array.dtype for array in arrays} == {np.dtype("float64")}
    points = np.random.default_rng(0).uniform(-1, 1, (5, 2))
    with jax.enable_x64(True):
        again = pytorch.load(tmp_path / "a.safetensors")
        assert largest(again(jnp.asarray(points)) - network(jnp.asarray(points))) < ROUNDING


def test_the_command_converts_between_both_precisions(refined, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    refined[True].save("a.siren")
    assert main(["convert", "a.siren", "same.siren"]) == 0
    assert "no difference" in capsys.readouterr().out
    assert main(["convert", "a.siren", "small.siren", "--precision", "float32"]) == 0
    assert "PSNR 1" in capsys.readouterr().out  # above 100 dB
    assert main(["convert", "small.siren", "wide.siren", "--precision", "float64"]) == 0
    capsys.readouterr()
    found = {}
    for name in ("a", "same", "small", "wide"):
        assert main(["info", f"{name}.siren"]) == 0
        found[name] = next(line.split()[1] for line in capsys.readouterr().out.splitlines() if "precision" in line)
    assert found == {"a": "float64", "same": "float64", "small": "float32", "wide": "float64"}
    assert main(["convert", "a.siren", "a.safetensors"]) == 0
    assert {array.dtype for array in load_file("a.safetensors").values()} == {np.dtype("float64")}
    assert main(["render", "a.siren", "--out", "u.npy"]) == 0
    np.testing.assert_array_equal(np.load("u.npy"), refined[True].render())


@pytest.mark.slow
def test_the_command_solves_in_float64(tmp_path, capsys):
    quick = ["solve", "poisson", "--width", "8", "--depth", "0", "--steps", "5", "--no-figures", "--double"]
    assert main([*quick, "--refine", "5", "--out", str(tmp_path / "out")]) == 0
    field, found = load(tmp_path / "out" / "poisson.siren"), np.load(tmp_path / "out" / "solution.npy")
    assert field.dtype == found.dtype == np.float64
    np.testing.assert_array_equal(field.render(), found)
    capsys.readouterr()
    assert main([*quick, "--refine", "0", "--out", str(tmp_path / "other")]) == 2
    assert "--double applies to the steps of --refine" in capsys.readouterr().err


DOMAINS = {
    "box": Box((0.1, -0.2), (0.3, 0.7)),
    "disk": Disk((0.1, 0.2), 0.7),
    "ball": Ball((0.1, 0.2, 0.3), 0.7),
    "time": Interval(0.1, 0.7).during(0.1, 0.2),
    "difference": Box((0.1, 0.1), (0.9, 0.9)) - Disk((0.5, 0.5), 0.3),
}


@pytest.mark.parametrize("name", DOMAINS)
def test_fixed_points_in_float64_are_those_of_float32_without_their_rounding(name):
    domain = DOMAINS[name]
    value = lambda u, x: u(x)
    problem = Problem([equation(value, domain, points=50, candidates=2), dirichlet(0.0, domain, points=50)])
    (_, single), (_, double) = (problem.fixed(KEY, 2, double=double) for double in (False, True))
    for one, other in zip(jax.tree.leaves(single), jax.tree.leaves(double), strict=True):
        assert (one.dtype, other.dtype) == (np.float32, np.float64)
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_points_on_a_boundary_are_on_it_to_the_rounding_of_float64():
    circle, box = ((DOMAINS[name], dirichlet(0.0, DOMAINS[name], points=200)) for name in ("disk", "box"))
    on_circle, on_box = (
        np.asarray(Problem([term]).fixed(KEY, double=True)[1]["dirichlet"][0]) for _, term in (circle, box)
    )
    assert largest(np.linalg.norm(on_circle - circle[0].centre, axis=1) - 0.7) < 1e-15
    ends = np.abs(np.stack([on_box - box[0].low, on_box - box[0].high]))
    assert np.all(ends.min(axis=(0, 2)) == 0)


def test_measurements_in_float64_keep_their_digits():
    points, values = np.random.default_rng(0).uniform(-1, 1, (2, 20, 1))
    problem = Problem([known(lambda u, x, value: u(x) - value, points, values)])
    found = problem.fixed(KEY, double=True)[1]["known"]
    for one, other in zip(found, (points, values), strict=True):
        np.testing.assert_array_equal(one, other)
