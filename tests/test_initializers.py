"""Initializers draw from the ranges that the paper and PyTorch state.

Of N draws from U(±b) none leaves the interval, and the largest falls below (1 - t)·b with probability
(1 - t)^N < exp(-tN): t = 20/N makes that 2e-9.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from siren_jax import initializers

SHAPE = (100, 400)
N = SHAPE[0] * SHAPE[1]
BOUNDS = {
    "symmetric_uniform": (initializers.symmetric_uniform(0.3), 0.3),
    "siren_first": (initializers.siren_first(), 1 / 100),
    "siren_hidden": (initializers.siren_hidden(30.0), math.sqrt(6 / 100) / 30),
    "siren_hidden, omega 1": (initializers.siren_hidden(1.0), math.sqrt(6 / 100)),
    "siren_bias": (initializers.siren_bias(49), 1 / 7),
    "pytorch_default": (initializers.pytorch_default(), 1 / 10),
    "scaled": (initializers.scaled(initializers.siren_first(), 2.5), 2.5 / 100),
}
EVERY = {name: init for name, (init, _) in BOUNDS.items()} | {
    "identity": initializers.identity(),
    "ones": initializers.ones,
    "xavier_normal": initializers.xavier_normal,
}
UNIFORM = pytest.mark.parametrize(("init", "bound"), BOUNDS.values(), ids=BOUNDS)


@UNIFORM
def test_draws_fill_the_stated_range(init, bound, key):
    largest = jnp.max(jnp.abs(init(key, SHAPE, jnp.float32))).item()
    assert bound * (1 - 20 / N) < largest <= bound * (1 + 2e-7)  # the bound is rounded to float32


@UNIFORM
def test_draws_have_the_moments_of_a_uniform_distribution(init, bound, key):
    w = np.asarray(init(key, SHAPE, jnp.float32), np.float64) / bound
    # Of w ~ U(±1): var w = 1/3 and var w² = 1/5 - 1/9. Five standard errors.
    assert abs(w.mean()) < 5 * math.sqrt(1 / 3 / N)
    assert abs(np.mean(w**2) - 1 / 3) < 5 * math.sqrt((1 / 5 - 1 / 9) / N)


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (5, 2), (1, 4)])
def test_identity_copies_the_input_and_fills_up_with_zeros(shape, key):
    n = min(shape)
    kernel = initializers.identity()(key, shape, jnp.float32)
    x = jnp.arange(1.0, shape[0] + 1)
    assert np.array_equal(x @ kernel, [*x[:n], *[0] * (shape[1] - n)])


def test_xavier_normal_has_variance_two_over_the_sum_of_fans_and_is_not_truncated(key):
    w = np.asarray(initializers.xavier_normal(key, SHAPE, jnp.float32), np.float64) / math.sqrt(2 / (100 + 400))
    assert abs(np.mean(w**2) - 1) < 5 * math.sqrt(2 / N)  # var w² = 2; five standard errors
    # A normal variable is beyond 3 with probability 0.0027, Flax's truncated one never. Five standard errors.
    assert abs(np.mean(np.abs(w) > 3) - 0.0027) < 5 * math.sqrt(0.0027 / N)


def test_ones_are_ones(key):
    assert np.array_equal(initializers.ones(key, SHAPE, jnp.float32), np.ones(SHAPE))


@pytest.mark.parametrize("name", EVERY)
def test_scaled_multiplies_every_weight(name, key):
    scaled = initializers.scaled(EVERY[name], 4.0)  # a power of two: exact
    assert np.array_equal(scaled(key, SHAPE, jnp.float32), 4 * EVERY[name](key, SHAPE, jnp.float32))


@pytest.mark.parametrize("init", EVERY.values(), ids=EVERY)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_every_initializer_has_the_contract_of_jax(init, dtype, key):
    kernel = init(key, SHAPE, dtype)
    assert (kernel.shape, kernel.dtype) == (SHAPE, dtype)
    assert np.array_equal(kernel, init(key, SHAPE, dtype))


@UNIFORM
def test_another_key_draws_other_weights(init, bound):
    one, other = (init(jax.random.key(seed), SHAPE, jnp.float32) for seed in (0, 1))
    assert np.mean(one == other) < 1e-3  # float32 has 2^23 steps in the range: 5e-7 on average
