"""`in_one_pass` changes nothing but the cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from siren_jax import SIREN, curl, divergence, gradient, hessian, jacobian, laplacian, second_derivatives
from siren_jax.equations import ComplexField
from siren_jax.fields.one_pass import in_one_pass

FUNCTIONS = {
    "value": lambda u, x: u(x),
    "value and Laplacian": lambda u, x: laplacian(u)(x) + 9 * u(x),
    "wave": lambda u, x: laplacian(u, weights=(1, -4))(x),
    "Burgers": lambda u, x: jacobian(u)(x)[:, 0] + u(x) * jacobian(u)(x)[:, 1] - second_derivatives(u)(x)[:, 1],
    "two sums": lambda u, x: laplacian(u)(x) * laplacian(u, weights=(0.5, -2))(x),
    "divergence and curl": lambda u, x: divergence(u)(x) * curl(u)(x) + divergence(lambda x: 2 * u(x))(x),
    "mixed": lambda u, x: hessian(u)(x)[:, 0, 1] + u(x),
    "third": lambda u, x: laplacian(lambda x: jacobian(u)(x)[:, 0])(x) + jacobian(u)(x)[:, 1],
    "elsewhere": lambda u, x: u(x) - u(-x) + laplacian(u)(x) - laplacian(u)(x / 2),
    "by hand": lambda u, x: jax.grad(lambda x: u(x)[0])(x) * u(x),
    "a channel": lambda u, x: gradient(lambda x: u(x)[:1])(x) + jacobian(u)(x)[0],
    "complex": lambda u, x: jnp.abs(laplacian(ComplexField(u))(x) + (3 + 1j) * ComplexField(u)(x)),
    "along a direction": lambda u, x: jacobian(u)(x) @ jnp.array([0.6, 0.8]),
}


def network(c=2):
    return SIREN(2, c, width=12, depth=1, omega=5.0, first_omega=5.0, rngs=nnx.Rngs(0))


def products(function, *args):
    """Matrix products in the program of a function."""
    return str(jax.make_jaxpr(function)(*args)).count("dot_general")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_and_parameter_gradients_stay_the_same(name, key, float64):
    graphdef, params = nnx.split(float64(network()))
    points = jax.random.uniform(key, (5, 2), jnp.float64, minval=-1)

    def loss(function):
        def total(params):
            field = nnx.merge(graphdef, params)
            return jnp.sum(jax.vmap(lambda x: function(field, x))(points) ** 2)

        return jax.jit(jax.value_and_grad(total))(params)

    results = (jax.tree.leaves(loss(f)) for f in (in_one_pass(FUNCTIONS[name]), FUNCTIONS[name]))
    for ours, plain in zip(*results, strict=True):
        assert np.abs(ours - plain).max() <= 1e-11 * (1 + np.abs(plain).max())  # float64: rounding only


@pytest.mark.parametrize(
    ("name", "pass_"),
    [
        ("value", lambda u, x: u(x)),
        ("value and Laplacian", lambda u, x: u.derivatives(x, ((1.0, 1.0),))),
        ("complex", lambda u, x: u.derivatives(x, ((1.0, 1.0),))),
        ("wave", lambda u, x: u.derivatives(x, ((1.0, -4.0),))),
        ("Burgers", lambda u, x: u.derivatives(x, ((1.0, 0.0), (0.0, 1.0)))),
        ("two sums", lambda u, x: u.derivatives(x, ((1.0, 1.0), (0.5, -2.0)))),
    ],
)
def test_the_network_is_evaluated_once(name, pass_):
    u, x = network(), jnp.ones(2)
    once = products(lambda x: pass_(u, x), x)
    assert products(lambda x: in_one_pass(FUNCTIONS[name])(u, x), x) == once
    if name not in ("value", "wave"):
        assert products(lambda x: FUNCTIONS[name](u, x), x) > once


def test_any_other_field_is_passed_on():
    field = lambda x: 3 * x
    assert in_one_pass(lambda u, x: u is field)(field, jnp.ones(2))
