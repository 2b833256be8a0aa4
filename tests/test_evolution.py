"""Evolution equations of the catalogue: each one's terms vanish on its independent solution, and only there."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.tree_util import Partial

from siren_jax.equations.comparison import Comparison
from siren_jax.equations.evolution import EVOLUTION

PLACES = {
    "kdv": (0.3, 0.2),
    "kuramoto-sivashinsky": (0.5, 0.3),
    "schroedinger": (0.6, 0.1),
    "breather": (0.6, 0.7),
    "gray-scott": (0.2, 0.4),
    "heat-3d": (0.3, 0.2, 0.4, 0.3),
    "predator-prey": (2.0,),
}
SPACING = {"schroedinger": 0.02}  # its kinks spread as short waves with small slopes and large second derivatives
EVERY = pytest.mark.parametrize("name", EVOLUTION)


def polynomial(truth, place, spacing):
    """The polynomial of degree six in each coordinate through the values of a solution around a place."""
    nodes, d = np.arange(-3, 4), len(place)
    grid = np.array(list(itertools.product(nodes, repeat=d)))
    values = truth(np.array(place) + spacing * grid).reshape(*[7] * d, -1)
    for axis in range(d):
        values = np.moveaxis(np.tensordot(np.linalg.inv(np.vander(nodes, increasing=True)), values, (1, axis)), 0, axis)

    def field(x):
        found = jnp.asarray(values)
        for z in (x - jnp.array(place)) / spacing:
            found = functools.reduce(lambda total, row, z=z: total * z + row, found[::-1])
        return found

    return field


def terms_of(case, *names):
    problems = [case.problem, *([case.direct.problem] if case.direct and case.direct.problem else [])]
    return [term for problem in problems for term in problem.terms if term.name in names]


@EVERY
@pytest.mark.usefixtures("float64")
def test_the_reference_satisfies_the_equation(name):
    case, x = EVOLUTION[name](), jnp.array(PLACES[name])
    term = terms_of(case, "equation")[-1]  # that of the slabs, if there is another one
    field = polynomial(case.truth, PLACES[name], SPACING.get(name, 4e-3))
    other = lambda y: field(y) * (1 + y[0])
    residuals = jax.jit(lambda x: [jnp.abs(term.residual(u, x, None)).max() for u in (field, other)])
    missing, size = map(float, residuals(x))
    assert missing < 1e-3 * size
    assert size > 1e-3


@EVERY
@pytest.mark.usefixtures("float64")
def test_the_reference_satisfies_start_and_ends(name):
    case = EVOLUTION[name]()
    for term in terms_of(case, "initial", "dirichlet"):
        batch = [leaf[:20] for leaf in term.draw(jax.random.key(0), np.float64(0.5))]
        values = jnp.asarray(case.truth(np.asarray(batch[0])))
        errors = jax.vmap(lambda value, *at, term=term: term.residual(lambda x: value, *at))(values, *batch)
        assert float(jnp.abs(errors).max()) < (2e-6 if name == "schroedinger" else 1e-9)


@pytest.mark.parametrize("name", ["schroedinger", "gray-scott"])
@pytest.mark.usefixtures("float64")
def test_on_a_grid_all_sines_of_a_case_are_orthogonal_at_each_time(name):
    case = EVOLUTION[name]()
    length = case.domain.high[1] - case.domain.low[1]
    first = case.direct.network(case.direct.width, nnx.Rngs(0)).layers[0]
    most = round(float(jnp.abs(first.omega * first.linear.kernel[...][1]).max()) * length / (2 * np.pi))
    for term in case.direct.problem.terms:
        points, _ = map(np.asarray, term.draw(jax.random.key(0), np.float64(0)))
        assert np.all((points >= case.domain.low) & (points <= case.domain.high))
        for time in np.unique(points[:, 0]):
            x = points[points[:, 0] == time, 1]
            # Products of two sines of up to `most` periods have up to twice as many, and a mean of zero.
            phases = 2 * np.pi / length * np.outer(1 + np.arange(2 * most), x)
            assert np.abs(np.exp(1j * phases).mean(axis=1)).max() < 1e-10


@pytest.mark.parametrize("name", [name for name in EVOLUTION if terms_of(EVOLUTION[name](), "periodic")])
def test_the_reference_has_the_period_of_the_case(name):
    case = EVOLUTION[name]()
    low, high = np.array(case.domain.low), np.array(case.domain.high)
    points = np.random.default_rng(0).uniform(low, high, (20, 2))
    later = points + np.array([0.0, high[1] - low[1]])
    np.testing.assert_allclose(case.truth(later), case.truth(points), atol=1e-9)


def test_a_solution_in_time_and_space_is_shown_in_the_middle():
    case = EVOLUTION["heat-3d"]()
    warm = Partial(lambda x: jnp.prod(jnp.sin(jnp.pi * x[1:]))[None])
    rows, where, moment = Comparison(case).panels({"network": warm})
    (_, reference), (_, found), _ = rows["temperature"]
    assert (reference.shape, moment) == ((200, 200), "t = 0.75, z = 0.5")
    assert where == {"extent": (0.0, 1.0, 0.0, 1.0), "axes": ("y", "x")}
    y, x = np.meshgrid(*[(np.arange(200) + 0.5) / 200] * 2, indexing="ij")
    expected = np.sin(np.pi * y) * np.sin(np.pi * x)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # The sine of the length 1/2 along z is zero in the middle.
    np.testing.assert_allclose(reference, np.exp(-0.15 * np.pi**2 * 0.75) * expected, atol=1e-6)
