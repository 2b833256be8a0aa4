"""A network of a code is the SIREN that the code makes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from siren_jax import InputError, LatentSIREN

X = jax.random.uniform(jax.random.key(0), (7, 2), minval=-1)


@pytest.fixture(params=[False, True], ids=["shifts", "scales"])
def network(request):
    made = LatentSIREN(
        2, 3, latent=4, scaled=request.param, width=8, depth=2, first_omega=5.0, omega=3.0, rngs=nnx.Rngs(1)
    )
    for i, shift in enumerate(made.shifts):  # of a size that is far from linear
        shift[...] = jax.random.normal(jax.random.key(i), shift.shape) / 3
    for i, scale in enumerate(made.scales if request.param else ()):
        scale[...] = jax.random.normal(jax.random.key(9 + i), scale.shape) / 5
    return made


def test_a_code_makes_a_siren(network):
    code = jax.random.normal(jax.random.key(5), (4,))
    np.testing.assert_allclose(network.at(code)(X), network.value(X, code), atol=1e-5)
    network.code[...] = code
    np.testing.assert_allclose(network(X), network.value(X, code), atol=0)
    assert not np.allclose(network.value(X, code), network.value(X, jnp.zeros(4)), atol=0.1)


def test_the_derivative_by_the_code_is_that_of_autodiff(network):
    with jax.enable_x64(True):
        graphdef, state = nnx.split(network)
        doubled = nnx.merge(graphdef, jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), state))
        x, code = jnp.asarray(X, jnp.float64), jnp.array([0.3, -1.0, 0.5, 2.0])
        value, jacobian = doubled.value_and_jacobian(x, code)
        np.testing.assert_allclose(value, doubled.value(x, code), rtol=1e-12)
        np.testing.assert_allclose(jacobian, jax.jacfwd(doubled.value, argnums=1)(x, code), atol=1e-10)


def test_standardised_codes_make_the_same_functions(network):
    codes = jax.random.normal(jax.random.key(2), (50, 4)) @ jax.random.normal(jax.random.key(3), (4, 4)) / 4 + 0.5
    changed, fresh = network.standardised(codes)
    np.testing.assert_allclose(np.mean(fresh, axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.cov(fresh.T, bias=True), np.eye(4), atol=1e-4)
    for old, new in zip(codes[:5], fresh[:5], strict=True):
        np.testing.assert_allclose(changed.value(X, new), network.value(X, old), atol=2e-4)


def test_a_code_needs_a_number():
    with pytest.raises(InputError, match="at least 1 number, but got 0"):
        LatentSIREN(2, 1, latent=0, rngs=nnx.Rngs(0))
