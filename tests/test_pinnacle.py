"""The problems of PINNacle: closed forms solve them, tables are read as they are meant, and errors are PINNacle's."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import comsol, pinnacle
from experiments.pinnacle_flows import steady_flow
from experiments.pinnacle_heat import OfSquares, StillSecond, UnitBall
from experiments.pinnacle_long_heat import ProductsOfSines, tables
from experiments.pinnacle_published import PUBLISHED
from experiments.pinnacle_record import Recipe, new_network, relative_error, solve
from siren_jax import SIREN, InputError, jacobian, laplacian
from siren_jax.equations import Marched

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


@pytest.fixture
def points_of_the_long_heat(tmp_path):
    (tmp_path / "heat_longtime.dat").touch()
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


def random_siren(channels):
    return SIREN(3, channels, width=8, depth=1, first_omega=2.0, rngs=nnx.Rngs(0))


def random_products():
    network = ProductsOfSines(*np.random.default_rng(0).uniform(-3, 3, (2, 3, 10)))
    network.output.kernel[...] = jnp.ones((10, 1))
    return network


@pytest.mark.parametrize(
    "network",
    [OfSquares(random_siren(2)), StillSecond(random_siren(2)), random_products()],
    ids=lambda n: type(n).__name__,
)
def test_networks_with_symmetries_know_their_derivatives(network, key):
    points, weights = jax.random.normal(key, (5, 3)), ((1.0, -2.0, 3.0), (0.0, 1.0, 0.0))
    for x, value in zip(points, network(points), strict=True):
        found, slope, sums = network.derivatives(x, weights)
        curvatures = jnp.diagonal(jax.hessian(network)(x), axis1=1, axis2=2)
        assert jnp.allclose(found, value, atol=1e-5)
        assert jnp.allclose(slope, jax.jacobian(network)(x), rtol=1e-4, atol=1e-4)  # float32
        assert jnp.allclose(jnp.stack(sums, axis=1), curvatures @ jnp.array(weights).T, rtol=1e-3, atol=1e-3)


def test_an_unknown_of_squares_is_even_and_a_still_one_has_no_time(key):
    x = jax.random.normal(key, (3,))
    even, still = OfSquares(random_siren(2)), StillSecond(random_siren(2))
    assert jnp.array_equal(even(x), even(x * jnp.array([1, -1, 1])))
    assert still(x)[1] == still(x.at[0].set(7))[1]
    assert still(x)[0] != still(x.at[0].set(7))[0]


def test_products_of_the_long_heat_have_its_symmetries(points_of_the_long_heat):
    benchmark = pinnacle.PROBLEMS["heat-2d-long"](points_of_the_long_heat)
    network = new_network(dataclasses.replace(benchmark.recipe, width=30), 1, seed=0)
    network.output.kernel[...] = jnp.ones((30, 1))
    t, y, x = 0.3, 0.2, 0.11
    value = network(jnp.array([t, y, x]))
    assert value != 0
    for sign, mirrored in ((-1, [t, -y, x]), (-1, [t, y, -x]), (1, [t, y, 1 / 4 - x])):
        assert jnp.allclose(network(jnp.array(mirrored)), sign * value, atol=1e-4)


def test_tables_of_the_long_heat_converge():
    coarse, fine, finer = (tables(grid=(n, n // 4), steps=n // 16, stop=1)[-1] for n in (48, 96, 192))
    first, second = np.abs(fine[::2, ::2] - coarse).max(), np.abs(finer[::2, ::2] - fine).max()
    assert second < first / 16  # Runge-Kutta steps of fourth order


def test_a_recipe_with_slabs_marches():
    benchmark = pinnacle.PROBLEMS["wave-1d"](None)
    recipe = Recipe((4.0, 15.0), width=60, method="last-layer", slabs=2, refined=1)
    marched = solve(benchmark, recipe, seconds=1)
    assert isinstance(marched, Marched)
    assert marched.steps == 2
    assert np.isfinite(relative_error(marched.network, benchmark.reference()))
