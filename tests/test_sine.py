"""`sine` and `cosine` are sine and cosine, to a bound, in value, derivatives and on every platform."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from siren_jax.networks.fast_sine import cosine, sine, sine_and_cosine

PAIRS = pytest.mark.parametrize(("ours", "exact"), [(sine, np.sin), (cosine, np.cos)], ids=["sine", "cosine"])
TINIEST = np.finfo(np.float32).tiny  # the least normal float32


def error(ours, exact, x):
    return np.abs(np.asarray(ours(jnp.asarray(x)), np.float64) - exact(x.astype(np.float64)))


@PAIRS
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_error_is_below_2e_7_up_to_1000(ours, exact, transform):
    x = np.linspace(-1000, 1000, 2_000_001, dtype=np.float32)
    assert error(transform(ours), exact, x).max() < 2e-7


@PAIRS
@pytest.mark.parametrize(("limit", "bound"), [(1.0, 1.2e-7), (2.5e4, 2e-7)])
def test_error_is_bounded_at_every_magnitude(ours, exact, limit, bound):
    x = np.geomspace(1e-30, limit, 1_000_000, dtype=np.float32)
    assert error(ours, exact, np.concatenate([-x, x])).max() < bound


@PAIRS
def test_error_is_below_2e_7_next_to_every_zero_and_extremum_up_to_25_000(ours, exact):
    nearest = (np.arange(-15_900, 15_900) * (np.pi / 2)).astype(np.float32)
    x = np.concatenate([np.nextafter(nearest, np.float32(-np.inf)), nearest, np.nextafter(nearest, np.float32(np.inf))])
    assert error(ours, exact, x).max() < 2e-7


@PAIRS
def test_without_fused_multiply_adds_the_error_grows_to_that_of_rounding_the_argument(ours, exact):
    x = np.linspace(-1e6, 1e6, 2_000_001, dtype=np.float32)
    with jax.disable_jit():  # every operation by itself
        errors = error(ours, exact, x)
    assert errors[np.abs(x) <= 2e5].max() < 2.5e-6
    # The worst is 0.50019 of the distance to the next float32, at 1e6: half of that is rounding.
    assert np.all(errors <= np.maximum(2.5e-6, 0.501 * np.abs(np.spacing(x))))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other compilers do not fuse them")
@PAIRS
def test_fused_multiply_adds_extend_the_bound_to_1e6(ours, exact):
    # Under jit XLA fuses the reduction, and its products are exact. The worst of all float32 is 2.02e-7, at 885120.25.
    x = np.linspace(-1e6, 1e6, 2_000_001, dtype=np.float32)
    as_for_users = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
    assert error(jax.jit(ours, compiler_options=as_for_users), exact, x).max() < 2.1e-7


@pytest.mark.parametrize("ours", [sine, cosine])
@pytest.mark.parametrize(("limit", "bound"), [(1e7, 1 + 2e-7), (3.4e38, 1.001)])
def test_no_finite_argument_leaves_the_unit_interval(ours, limit, bound):
    x = jnp.asarray(np.geomspace(1, limit, 1_000_000, dtype=np.float32))
    assert jnp.abs(ours(jnp.concatenate([-x, x]))).max() <= bound


def test_zero_keeps_its_sign():
    zero = jnp.array([0.0, -0.0])
    assert np.array_equal(np.signbit(sine(zero)), [False, True])
    assert np.array_equal(cosine(zero), [1, 1])


def test_subnormals_stay_subnormal_and_keep_their_sign():
    x = jnp.asarray(np.geomspace(1e-45, TINIEST, 1000, dtype=np.float32))
    y = np.asarray(sine(jnp.concatenate([x, -x])))
    assert np.abs(y).max() <= TINIEST  # a CPU that flushes subnormals gives zeros
    assert np.array_equal(np.signbit(y), [False] * 1000 + [True] * 1000)


@pytest.mark.parametrize("ours", [sine, cosine])
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_infinity_and_nan_give_nan(ours, transform):
    assert np.all(np.isnan(transform(ours)(jnp.array([jnp.inf, -jnp.inf, jnp.nan]))))


@pytest.mark.parametrize("order", range(6))
def test_nth_derivative_is_sine_shifted_by_n_quarter_turns(order):
    derivative = sine
    for _ in range(order):
        derivative = jax.grad(derivative)
    x = np.linspace(-100, 100, 10_001, dtype=np.float32)
    assert error(jax.jit(jax.vmap(derivative)), lambda x: np.sin(x + order * np.pi / 2), x).max() < 2e-7


def test_cosine_is_the_derivative_of_sine_and_minus_sine_that_of_cosine():
    x = jnp.linspace(-100, 100, 1001)
    assert np.array_equal(jax.vmap(jax.grad(sine))(x), cosine(x))
    assert np.array_equal(jax.vmap(jax.grad(cosine))(x), -sine(x))


def test_batched_hessian_of_a_sum_of_sines_is_diagonal(key):
    x = 30 * jax.random.normal(key, (5, 3))
    hessians = jax.jit(jax.vmap(jax.hessian(lambda x: jnp.sum(sine(x)))))(x)
    assert np.array_equal(hessians, -sine(x)[..., None] * jnp.eye(3))


@PAIRS
@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_error_in_float64_is_below_5e_16_up_to_a_million(ours, exact, transform, float64):
    nearest = np.arange(-600_000, 600_000, 7) * (np.pi / 2)  # zeros and extrema
    x = np.concatenate([np.linspace(-1e6, 1e6, 1_000_001), np.linspace(-5, 5, 100_001), nearest])
    # Of ours, 4e-16, and of NumPy's, 1e-16.
    assert error(transform(ours), exact, x).max() < 5e-16


def test_float64_near_zero_is_exact_to_its_last_digits(float64):
    x = np.geomspace(1e-300, 1, 100_001)
    assert np.abs(np.asarray(sine(jnp.asarray(x))) / np.sin(x) - 1).max() < 5e-16
    assert np.array_equal(np.signbit(sine(jnp.array([0.0, -0.0]))), [False, True])


@PAIRS
def test_float64_arguments_of_any_size_are_in_the_unit_interval_or_nan(ours, exact, float64):
    x = np.geomspace(1, 1e308, 100_001)
    assert jnp.abs(ours(jnp.concatenate([-x, x]))).max() <= 1 + 1e-15
    assert np.all(np.isnan(ours(jnp.array([jnp.inf, -jnp.inf, jnp.nan]))))


@pytest.mark.parametrize("order", range(4))
def test_nth_derivative_in_float64_is_sine_shifted_by_n_quarter_turns(order, float64):
    derivative = sine
    for _ in range(order):
        derivative = jax.grad(derivative)
    # The shifted argument is itself rounded, by 1e-16 times 100.
    x = np.linspace(-100, 100, 10_001)
    assert error(jax.jit(jax.vmap(derivative)), lambda x: np.sin(x + order * np.pi / 2), x).max() < 2e-14


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_dtype_is_kept(dtype, float64):
    assert sine(jnp.ones(3, dtype)).dtype == jax.grad(sine)(jnp.ones((), dtype)).dtype == dtype


@PAIRS
def test_float32_is_as_accurate_where_float64_is_enabled(ours, exact, float64):
    x = np.linspace(-1000, 1000, 100_001, dtype=np.float32)
    assert error(jax.jit(ours), exact, x).max() < 2e-7


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize(("platform", "kept"), [("cpu", True), ("cuda", False), ("tpu", False)])
def test_only_a_cpu_keeps_the_pair(platform, kept, dtype, float64):
    program = export.export(jax.jit(sine_and_cosine), platforms=[platform])(jnp.ones(4, dtype)).mlir_module()
    assert ("stablehlo.optimization_barrier" in program) == kept
    assert not re.search(r"stablehlo\.(sine|cosine)", program)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_native_functions_are_kept_everywhere(platform):
    program = export.export(jax.jit(sine_and_cosine), platforms=[platform])(jnp.ones(4, jnp.bfloat16)).mlir_module()
    assert "stablehlo.optimization_barrier" in program
    assert len(re.findall(r"stablehlo\.(sine|cosine)", program)) == 2


def test_the_pair_is_both_and_so_are_its_derivatives():
    x = jnp.linspace(-100, 100, 1001)
    (s, c), (ds, dc) = jax.jit(lambda x: jax.jvp(sine_and_cosine, (x,), (jnp.ones_like(x),)))(x)
    for pair, expected in zip((s, c, ds, dc), (sine(x), cosine(x), cosine(x), -sine(x)), strict=True):
        assert jnp.allclose(pair, expected, atol=2e-7)  # fused differently
