"""The products of all pairs of rows of a Jacobian are JJᵀ, whichever way they are formed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.flatten_util import ravel_pytree

from siren_jax import SIREN, ReLUMLP, laplacian
from siren_jax.fitting import gram_matrix as module
from siren_jax.fitting.gram_matrix import Rows, inner_products, pairs_of_rows


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def rows_of(network, count=30):
    """Rows of an equation with two residuals at a point, and of a condition, and the parameters."""
    graphdef, params, rest = nnx.split(network, nnx.Param, ...)
    field = lambda params: nnx.merge(graphdef, params, rest)
    inside = lambda params, x: laplacian(field(params))(x) + field(params)(x) ** 2
    rim = lambda params, x: field(params)(x)[:1]
    x, y = jnp.split(jax.random.uniform(jax.random.key(0), (2 * count, 2)), [count])
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)
    return [Rows(inside, x), Rows(rim, y[: count // 3])], params


def square(rows, params):
    """JJᵀ from the whole Jacobian."""
    flat, unravel = ravel_pytree(params)
    whole = lambda flat: jnp.concatenate(
        [jax.vmap(each.at, (None, 0))(unravel(flat), each.points).ravel() for each in rows]
    )
    jacobian = np.asarray(jax.jacrev(whole)(flat))
    return jacobian @ jacobian.T


NETWORKS = {
    "siren": lambda: SIREN(2, 2, width=40, depth=2, first_omega=5.0, rngs=nnx.Rngs(0)),
    "periodic and graded": lambda: SIREN(
        2, 2, width=40, depth=2, first_omega=7.0, periodic={0: 2.0}, graded={1: (0.5, 0.1)}, rngs=nnx.Rngs(0)
    ),
    "relu": lambda: ReLUMLP(2, 2, width=40, depth=2, rngs=nnx.Rngs(0)),
    "another": lambda: nnx.Sequential(
        nnx.Linear(2, 40, rngs=nnx.Rngs(0)),
        jnp.tanh,
        nnx.LayerNorm(40, rngs=nnx.Rngs(1)),
        nnx.Linear(40, 2, rngs=nnx.Rngs(2)),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_they_are_those_of_the_whole_jacobian(name, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 3000)  # several blocks of columns
    monkeypatch.setattr(module, "STRIP", 3000)
    monkeypatch.setattr(module, "CACHED", 20000)
    rows, params = rows_of(NETWORKS[name]())
    exact = square(rows, params)
    without = [[0] * len(jax.tree.leaves(params))] * 2
    for pairs in (pairs_of_rows(rows, params), without):
        found = jax.jit(lambda params, pairs=pairs: inner_products(rows, params, pairs))(params)
        assert np.abs(found - exact).max() < 1e-12 * np.abs(exact).max()


def test_a_row_has_a_pair_for_the_value_and_each_derivative():
    # For the hidden layers: the value, two first derivatives and the Laplacian. The rim needs the value alone.
    rows, params = rows_of(NETWORKS["siren"]())
    shapes = [leaf.shape for leaf in jax.tree.leaves(params)]
    expected = [[many if shape == (40, 40) else 0 for shape in shapes] for many in (4, 1)]
    assert np.array_equal(pairs_of_rows(rows, params), expected)


def test_rows_that_are_zero_or_of_a_lower_rank_are_exact():
    # Without the Laplacian in half of the domain, and without anything in a corner.
    graphdef, params, rest = nnx.split(NETWORKS["siren"](), nnx.Param, ...)
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)

    def at(params, x):
        u = nnx.merge(graphdef, params, rest)
        return jnp.where(x[0] < 0.5, laplacian(u)(x), u(x)) * jnp.where(jnp.all(x < 0.3), 0, 1)

    rows = [Rows(at, jax.random.uniform(jax.random.key(0), (40, 2)))]
    exact = square(rows, params)
    found = inner_products(rows, params, pairs_of_rows(rows, params))
    assert np.sum(np.diagonal(exact) == 0) > 1
    assert np.abs(found - exact).max() < 1e-12 * np.abs(exact).max()
