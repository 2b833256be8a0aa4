"""The problems of PINNacle: closed forms solve them, tables are read as they are meant, and errors are PINNacle's."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import comsol, pinnacle
from experiments.pinnacle_flows import steady_flow
from experiments.pinnacle_in_time import UnitBall
from experiments.pinnacle_published import PUBLISHED
from experiments.pinnacle_record import Recipe, new_network, relative_error
from siren_jax import InputError, jacobian, laplacian

pytestmark = pytest.mark.slow

TABLE = """% Model:              a.mph
% Dimension:          2
% Expressions:        4
% X         Y         u (m/s) @ t=0   p (Pa) @ t=0    u (m/s) @ t=0.5  p (Pa) @ t=0.5
1           2           3               4               5               6
7           8           9               10              11              12
1           0           NaN             0               1E-3            -2
"""


@pytest.fixture
def points_of_an_inverse_problem(tmp_path):
    np.savetxt(tmp_path / "heatinv_points.dat", np.random.default_rng(0).uniform([-1, -1, 0], 1, (40, 3)))
    return tmp_path


@pytest.mark.parametrize("name", [*pinnacle.CLOSED, "heat-inverse"])
def test_a_closed_form_solves_its_problem(name, points_of_an_inverse_problem, key):
    benchmark = pinnacle.PROBLEMS[name](points_of_an_inverse_problem)
    assert benchmark.exact is not None
    _, batch = benchmark.problem.fixed(key, double=True)
    with jax.enable_x64(True):
        batch = {term: tuple(array[:64] for array in arrays) for term, arrays in batch.items()}
        found = {term: np.asarray(r) for term, r in benchmark.problem.residuals(benchmark.exact, batch).items()}
    for term, residual in found.items():
        if term == "measured":  # with noise of a standard deviation of 0.1, within five standard errors
            assert abs(np.std(residual) - 0.1) < 5 * 0.1 / np.sqrt(2 * residual.size)
        else:
            assert np.abs(residual).max() < 1e-10  # rounding of derivatives of up to 1e4


def test_the_source_of_pinnacles_inverse_problem_is_not_that_of_its_closed_form(key):
    exact = pinnacle.PROBLEMS["poisson-inverse"](None).exact
    sine, cosine = (lambda x: jnp.sin(jnp.pi * x)), (lambda x: jnp.cos(jnp.pi * x))

    def residual(x, sign):
        (u, a), slope = exact(x), jacobian(exact)(x)
        across = jnp.sum((2 * x + sign) * cosine(x) * sine(x[::-1]))
        source = 2 * jnp.pi**2 * u * a + 2 * jnp.pi * across * a**2
        return jnp.sum(slope[0] * slope[1]) + a * laplacian(exact)(x)[0] + source

    with jax.enable_x64(True):
        points = jax.random.uniform(key, (200, 2), jnp.float64)
        assert np.abs(jax.vmap(lambda x: residual(x, -1))(points)).max() < 1e-12
        assert np.abs(jax.vmap(lambda x: residual(x, 1))(points)).max() > 1


def test_flow_between_walls_is_a_steady_flow():
    between = lambda x: jnp.stack([0 * x[0], x[0] * (1 - x[0]), -2 * 0.01 * x[1]])  # Poiseuille's, along x
    assert np.allclose(steady_flow(0.01)(between, jnp.array([0.3, 0.7])), 0, atol=1e-7)
    around = lambda x: jnp.stack([x[1], -x[0], jnp.sum(x**2) / 2])  # rigid rotation; the pressure holds it together
    assert np.allclose(steady_flow(0.01)(around, jnp.array([0.3, 0.7])), 0, atol=1e-6)


def test_a_table_is_read_with_time_first_and_x_last(tmp_path):
    path = tmp_path / "a.dat"
    path.write_text(TABLE, encoding="utf-8")
    samples = comsol.read(path)
    assert samples.points.tolist() == [[0, 2, 1], [0, 8, 7], [0.5, 2, 1], [0.5, 8, 7], [0.5, 0, 1]]
    assert samples.values.tolist() == [[3, 4], [9, 10], [5, 6], [11, 12], [0.001, -2]]
    path.write_text(TABLE.replace(" @ t=0.5", " @ t=0"), encoding="utf-8")
    with pytest.raises(InputError, match="once at each of its times"):
        comsol.read(path)


@pytest.mark.parametrize(
    "text",
    ["", "1 2 3\n", "% Dimension:  2\n% X  Y  u\n1 2\n", "% Dimension:  2\n% X  Y  u\n1 2 three\n", "% X  u\n1 2\n"],
)
def test_what_is_no_table_is_refused_by_name(text, tmp_path):
    (tmp_path / "b.dat").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"b\.dat"):
        comsol.read(tmp_path / "b.dat")


def test_a_missing_reference_is_named_before_anything_is_solved(tmp_path):
    config = dataclasses.replace(pinnacle.SMOKE, only=("burgers-1d",), out=tmp_path / "out")
    with pytest.raises(InputError, match=r"burgers1d\.dat .* --references"):
        pinnacle.main(config)
    with pytest.raises(InputError, match=r"burgers1d\.dat .* is not in"):
        pinnacle.main(dataclasses.replace(config, references=tmp_path))
    with pytest.raises(InputError, match=r"only takes names among .*, but got burger"):
        pinnacle.main(dataclasses.replace(config, only=("burger",)))
    assert not (tmp_path / "out").exists()


def test_an_error_is_relative_over_all_unknowns_together():
    points = np.random.default_rng(0).normal(size=(50, 2))
    reference = comsol.Samples(points, points * [3, 4])
    field = jax.tree_util.Partial(lambda x: x * jnp.array([3.0, 4.4]))
    values = np.sum(points**2, axis=0)
    expected = np.sqrt(0.4**2 * values[1] / (9 * values[0] + 16 * values[1]))
    assert np.isclose(relative_error(field, reference), expected, rtol=1e-5)


def test_closed_forms_are_compared_on_about_as_many_points_as_pinnacles():
    for name in pinnacle.CLOSED:
        benchmark = pinnacle.PROBLEMS[name](None)
        points = benchmark.reference().points
        wanted = 2500 if points.shape[1] == 2 else 20_000
        assert wanted <= len(points) < 1.7 * wanted
        assert jax.vmap(benchmark.domain.encloses)(jnp.asarray(points, jnp.float32)).all()


def test_each_coordinate_has_a_first_omega_of_its_own():
    network = new_network(Recipe(frequencies=(2.0, 30.0), width=400), 1, seed=0)
    layer = network.layers[0]
    reach = layer.omega * np.abs(layer.linear.kernel[...]).max(axis=1)
    assert np.allclose(reach, [1, 15], rtol=0.02)  # uniform up to omega/d; the largest of 400


def test_points_of_a_ball_are_even_in_it_and_normals_point_outwards(key):
    ball = UnitBall(5)
    inside, rim = ball.interior().sample(key, 4000), ball.boundary().sample(key, 4000)
    squares = np.sum(inside.x**2, axis=1)
    assert squares.max() <= 1 + 1e-6
    assert abs(squares.mean() - 5 / 7) < 5 * squares.std() / np.sqrt(4000)  # E|x|² = d/(d + 2)
    assert np.allclose(np.linalg.norm(rim.normal, axis=1), 1, atol=1e-6)
    assert np.array_equal(rim.x, rim.normal)
    assert np.abs(rim.x.mean(axis=0)).max() < 5 / np.sqrt(5 * 4000)


def test_published_errors_are_of_problems_that_are_here():
    assert set(PUBLISHED) == set(pinnacle.PROBLEMS) - {"two-cylinders"}
