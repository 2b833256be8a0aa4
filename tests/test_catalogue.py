"""Problems with a name: each one's independent solution satisfies its equation."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from siren_jax import laplacian
from siren_jax.equations import Interval, Problem, equation
from siren_jax.equations.case import Case
from siren_jax.equations.catalogue import CASES
from siren_jax.equations.comparison import Comparison
from siren_jax.equations.evolution import EVOLUTION
from siren_jax.equations.stationary import STATIONARY
from siren_jax.plot import solution

PLACES = {
    "poisson": (0.3, 0.2),
    "eikonal": (0.95, 0.35),
    "helmholtz": (0.25, 0.125),
    "helmholtz-pair": (0.25, 0.125),
    "helmholtz-lens": (0.0625, 0.3125),
    "wave": (0.2, 0.1, 0.18),
    "burgers": (0.2, 0.3),
    "allen-cahn": (0.3, 0.6),
    "kovasznay": (0.2, 0.3),
    "l-shape": (-0.4, -0.3),
    "two-materials": (0.1, 0.9),
    "plate": (0.7, -1.1),
    "cavity": (0.6, 0.4),
    "cavity-400": (0.6, 0.4),
    "cavity-1000": (0.6, 0.4),
}
SPACING = {"helmholtz-lens": 1 / 128}  # that of the grid of its reference


def around(truth, place, spacing, factor=1.0):
    """The quadratic with the solution's central differences at a place; a factor on the value and along one axis."""
    x, steps = np.array(place), spacing * np.eye(len(place))
    at = truth(np.concatenate([x[None], x + steps, x - steps]))
    value, above, below = at[0], at[1 : 1 + len(x)], at[1 + len(x) :]
    slope, second = (above - below) / (2 * spacing), (above - 2 * value + below) / spacing**2
    slope[0], second[0] = factor * slope[0], factor * second[0]
    value, slope, second, x = (jnp.asarray(array, jnp.float32) for array in (factor * value, slope, second, x))
    return lambda y: value + (y - x) @ slope + 0.5 * (y - x) ** 2 @ second


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in EVOLUTION])
def test_the_reference_satisfies_the_equation(name):
    case, x = CASES[name](), jnp.array(PLACES[name])
    residual = next(term.residual for term in case.problem.terms if term.name == "equation")
    truth, other = (around(case.truth, PLACES[name], SPACING.get(name, 2e-3), factor) for factor in (1.0, 1.1))
    size = float(np.abs(residual(other, x, None)).max())
    assert float(np.abs(residual(truth, x, None)).max()) < size / 20
    assert size > 1e-4


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * name.startswith("cavity-")) for name in STATIONARY]
)
def test_the_reference_satisfies_the_conditions(name):
    case = STATIONARY[name]()
    for term in case.problem.terms:
        if term.name == "equation":
            continue
        for x, *more in zip(*(leaf[:2] for leaf in term.draw(jax.random.key(0), 1.0)), strict=True):
            truth = around(case.truth, x, 1e-3)
            assert np.abs(term.residual(truth, x, *more)).max() < 1e-4  # of float32 numbers, differentiated


def test_the_page_of_the_command_lists_every_equation():
    page = (Path(__file__).parent.parent / "docs" / "commands" / "solve.md").read_text()
    assert re.findall(r"^\| `([^`]+)` \|", page, re.MULTILINE) == list(CASES)


def test_a_solution_on_an_interval_is_drawn_as_a_curve():
    line = Interval(-1, 3)
    case = Case(
        about="a parabola",
        problem=Problem([equation(lambda u, x: laplacian(u)(x) - 2, line)]),
        domain=line,
        channels=("u",),
        truth=lambda points: points**2,
        first_omega=1.0,
        learning_rate=1e-3,
        steps=1,
        axes=("x",),
    )
    rows, where, moment = Comparison(case).panels({"field": Partial(lambda x: x**2 + 1)})
    figure = solution(rows, **where, title=moment)
    reference, found, error = (axis.lines[0] for axis in figure.axes)
    assert np.allclose(reference.get_ydata(), reference.get_xdata() ** 2, atol=1e-6)  # float32
    assert np.allclose(found.get_ydata(), reference.get_xdata() ** 2 + 1, atol=1e-6)
    assert np.allclose(error.get_ydata(), 1, atol=1e-6)
    assert where == {"extent": (-1.0, 3.0), "axes": ("x",)}


def test_a_hole_of_the_domain_is_left_out_of_every_panel():
    rows, _, _ = Comparison(CASES["l-shape"]()).panels({"network": Partial(lambda x: jnp.ones(1))})
    hole = np.zeros((200, 200), bool)
    hole[100:, 100:] = True
    for _, values in rows["u"]:
        assert np.array_equal(np.isnan(values), hole)
