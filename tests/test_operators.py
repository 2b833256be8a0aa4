"""Operators are the differential operators: closed forms, and the identities of vector calculus, in float64.

Identities hold for every field: each runs on a closed-form wave and on a SIREN, which takes the one-pass derivatives,
ending in its linear layer or in tanh.
"""

import functools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from siren_jax import SIREN, curl, derivative, divergence, gradient, hessian, jacobian, laplacian
from siren_jax.fields.operators import second_derivatives, value_jacobian, value_jacobian_laplacian

pytestmark = pytest.mark.usefixtures("float64")
DIMENSIONS = pytest.mark.parametrize("d", [1, 2, 3, 4])
KINDS = pytest.mark.parametrize("kind", ["wave", "linear", "tanh"])
EVERY = [
    gradient,
    jacobian,
    hessian,
    divergence,
    laplacian,
    second_derivatives,
    curl,
    value_jacobian,
    value_jacobian_laplacian,
    lambda field: derivative(field, 0),
]


@functools.cache
def field_of(kind, d, c):
    if kind != "wave":
        with jax.enable_x64(False):  # the weights are float32 either way; drawing them compiles once
            return SIREN(d, c, width=8, depth=1, first_omega=2.0, omega=2.0, outermost=kind, rngs=nnx.Rngs(0))
    directions, phases = np.random.default_rng(0).normal(size=(2, c, d))
    return lambda x: jnp.sin(directions @ x + phases[:, 0])


def point(d):
    return jnp.asarray(np.random.default_rng(1).uniform(-1, 1, d))


def equal(x, *pairs):
    """Whether the fields of each pair are equal at x, in float64 but for rounding."""
    values = jax.jit(lambda x: [(one(x), other(x)) for one, other in pairs])(x)
    return all(a.shape == b.shape and np.allclose(a, b, rtol=1e-10, atol=1e-10) for a, b in values)


def trace(function):
    return lambda x: jnp.trace(function(x), axis1=-2, axis2=-1)


def zero(x):
    return jnp.zeros_like(x)


@DIMENSIONS
def test_plane_wave_is_an_eigenfunction_of_every_operator(d):
    k = np.random.default_rng(0).normal(size=d)
    wave = lambda x: jnp.sin(k @ x)[None]
    assert equal(
        point(d),
        (gradient(wave), lambda x: k * jnp.cos(k @ x)),
        (jacobian(wave), lambda x: k[None] * jnp.cos(k @ x)),
        (hessian(wave), lambda x: -np.outer(k, k)[None] * jnp.sin(k @ x)),
        (laplacian(wave), lambda x: -(k @ k) * wave(x)),
        (laplacian(laplacian(wave)), lambda x: (k @ k) ** 2 * wave(x)),
    )


@DIMENSIONS
def test_quadratic_form_has_a_linear_gradient_and_a_constant_hessian(d):
    a, (b,) = np.random.default_rng(0).normal(size=(d, d)), np.random.default_rng(1).normal(size=(1, d))
    form = lambda x: (x @ a @ x + b @ x)[None]
    assert equal(
        point(d),
        (gradient(form), lambda x: (a + a.T) @ x + b),
        (hessian(form), lambda x: (a + a.T)[None]),
        (laplacian(form), lambda x: np.array([2 * np.trace(a)])),
    )


@KINDS
def test_a_derivative_is_a_column_of_the_jacobian_and_repeats(kind):
    f = field_of(kind, 2, 2)
    along = lambda f: derivative(f, 1)
    assert equal(
        point(2),
        (along(f), lambda x: jacobian(f)(x)[:, 1]),
        (along(along(f)), lambda x: second_derivatives(f)(x)[:, 1]),
        (along(along(along(f))), along(laplacian(f, weights=(0, 1)))),
        (along(along(along(along(f)))), laplacian(laplacian(f, weights=(0, 1)), weights=(0, 1))),
    )


@settings(max_examples=10)
@given(st.lists(st.tuples(st.integers(-4, 4), st.integers(0, 3)), min_size=1, max_size=3))
def test_derivatives_of_monomials_are_exact_at_whole_numbers(coordinates_and_powers):
    x, powers = np.array(coordinates_and_powers).T

    def monomial(x, powers):
        return functools.reduce(operator.mul, [x[i] ** int(p) for i, p in enumerate(powers)], 1.0)

    def derivative(i, n):
        lowered = powers - n * (np.arange(len(x)) == i)
        return np.prod(powers[i] - np.arange(n)) * monomial(x, lowered) if lowered[i] >= 0 else 0

    with jax.enable_x64(True):
        field = lambda x: jnp.asarray(monomial(x, powers))[None]
        ours = jax.jit(lambda x: (gradient(field)(x), laplacian(field)(x)))(x.astype(np.float64))
    assert ours[0].tolist() == [derivative(i, 1) for i in range(len(x))]
    assert ours[1].item() == sum(derivative(i, 2) for i in range(len(x)))


@pytest.mark.parametrize("d", [1, 2])
@pytest.mark.parametrize("act", [gradient, jacobian, hessian, laplacian, second_derivatives])
@KINDS
def test_operators_on_complex_fields_act_on_both_parts(kind, act, d):
    f, g = field_of(kind, d, 1), lambda x: jnp.exp(x[:1]) * x[-1]
    assert equal(point(d), (act(lambda x: f(x) + 1j * g(x)), lambda x: act(f)(x) + 1j * act(g)(x)))


@DIMENSIONS
@KINDS
def test_divergence_of_the_gradient_is_the_laplacian_is_the_trace_of_the_hessian(kind, d):
    f = field_of(kind, d, 1)
    assert equal(point(d), (divergence(gradient(f)), laplacian(f)), (trace(hessian(f)), laplacian(f)))


@pytest.mark.parametrize("d", [1, 3])
@KINDS
def test_channels_do_not_mix(kind, d):
    f = field_of(kind, d, 3)

    def one_by_one(act):
        return lambda x: jnp.concatenate([act(lambda x, k=k: f(x)[k : k + 1])(x) for k in range(3)])

    assert equal(point(d), *((act(f), one_by_one(act)) for act in (jacobian, hessian, laplacian)))


@pytest.mark.parametrize("d", [1, 3])
@KINDS
def test_second_derivatives_and_weighted_laplacians_are_of_the_hessians_diagonal(kind, d):
    f, weights = field_of(kind, d, 2), [1.0, -2.5, 0.0][:d]
    diagonal = lambda x: jnp.diagonal(hessian(f)(x), axis1=1, axis2=2)
    assert equal(
        point(d),
        (second_derivatives(f), diagonal),
        (laplacian(f, weights=weights), lambda x: diagonal(x) @ jnp.array(weights)),
    )


def test_a_laplacian_needs_a_weight_for_each_coordinate():
    with pytest.raises(ValueError, match="a weight for each of 2 coordinates, but got 3"):
        laplacian(lambda x: x, weights=(1, 1, 1))(jnp.ones(2))


@KINDS
def test_curl_of_a_gradient_vanishes(kind):
    assert equal(point(2), (curl(gradient(field_of(kind, 2, 1))), lambda x: jnp.zeros(1)))
    assert equal(point(3), (curl(gradient(field_of(kind, 3, 1))), zero))


@KINDS
def test_divergence_of_a_curl_vanishes(kind):
    assert equal(point(3), (divergence(curl(field_of(kind, 3, 3))), lambda x: jnp.zeros(1)))


@KINDS
def test_in_the_plane_curl_is_the_divergence_of_the_field_turned_by_a_quarter(kind):
    f = field_of(kind, 2, 2)
    assert equal(point(2), (curl(f), divergence(lambda x: jnp.stack([f(x)[1], -f(x)[0]]))))


@KINDS
def test_curl_of_the_curl_is_gradient_of_divergence_minus_laplacian(kind):
    f = field_of(kind, 3, 3)
    assert equal(point(3), (curl(curl(f)), lambda x: gradient(divergence(f))(x) - laplacian(f)(x)))


def test_curl_of_a_rotation_is_twice_its_angular_velocity():
    spin = np.array([1.0, -2.0, 3.0])
    assert equal(point(3), (curl(lambda x: jnp.cross(spin, x)), lambda x: 2 * spin))


@pytest.mark.parametrize("d", [1, 2, 3])
@KINDS
def test_product_rules(kind, d):
    f, g, v = field_of(kind, d, 1), lambda x: jnp.exp(x.sum())[None], field_of(kind, d, d)
    mixed = lambda x: 2 * gradient(f)(x) @ gradient(g)(x)
    assert equal(
        point(d),
        (laplacian(lambda x: f(x) * g(x)), lambda x: f(x) * laplacian(g)(x) + mixed(x) + g(x) * laplacian(f)(x)),
        (divergence(lambda x: g(x) * v(x)), lambda x: g(x) * divergence(v)(x) + gradient(g)(x) @ v(x)),
    )


@pytest.mark.parametrize("d", [2, 3])
@KINDS
def test_laplacian_is_invariant_under_rotation(kind, d):
    f, rotation = field_of(kind, d, 2), np.linalg.qr(np.random.default_rng(2).normal(size=(d, d)))[0]
    assert equal(point(d), (laplacian(lambda x: f(rotation @ x)), lambda x: laplacian(f)(rotation @ x)))


def test_a_siren_and_the_same_function_without_its_methods_have_the_same_derivatives():
    siren = field_of("tanh", 2, 3)
    generic = lambda x: siren(x)
    bilaplacian = lambda f: laplacian(laplacian(f))
    assert equal(point(2), *((act(siren), act(generic)) for act in (jacobian, hessian, laplacian, bilaplacian)))


@pytest.mark.parametrize("c", [1, 3])
@KINDS
def test_joint_evaluation_is_separate_evaluation(kind, c):
    f = field_of(kind, 2, c)
    part = lambda joint, i: lambda x: joint(f)(x)[i]
    separate = [f, jacobian(f), laplacian(f)]
    assert equal(point(2), *((part(value_jacobian_laplacian, i), separate[i]) for i in range(3)))
    assert equal(point(2), *((part(value_jacobian, i), separate[i]) for i in range(2)))


@pytest.mark.parametrize("act", [jacobian, hessian, divergence, laplacian, curl])
@KINDS
def test_a_batch_is_its_points_one_by_one(kind, act):
    f, points = field_of(kind, 2, 2), jnp.asarray(np.random.default_rng(3).uniform(-1, 1, (3, 2)))
    assert equal(points, (jax.vmap(act(f)), lambda points: jnp.stack([act(f)(x) for x in points])))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("act", EVERY)
@KINDS
def test_results_have_the_dtype_of_the_point(kind, act, dtype):
    x = jnp.zeros(2, dtype)
    field = field_of(kind, 2, 1 if act is gradient else 2)
    follows = field if kind != "wave" else lambda x: field(x).astype(x.dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(jax.eval_shape(act(follows), x))} == {jnp.dtype(dtype)}


def test_gradient_takes_a_field_without_a_channel_axis():
    assert gradient(lambda x: jnp.sum(x**2))(jnp.ones(3)).tolist() == [2, 2, 2]


@KINDS
def test_gradient_refuses_several_channels(kind):
    with pytest.raises(ValueError, match=r"one output channel, but this field returns 3\. Use jacobian\(field\)"):
        gradient(field_of(kind, 2, 3))(jnp.zeros(2))


@pytest.mark.parametrize("act", [gradient, jacobian, hessian, divergence, laplacian])
@pytest.mark.parametrize("shape", [(), (5, 2)])
@KINDS
def test_operators_refuse_what_is_not_one_point(kind, act, shape):
    with pytest.raises(ValueError, match=rf"{act.__name__} acts on one point .* jax\.vmap\({act.__name__}\(field\)\)"):
        act(field_of(kind, 2, 1))(jnp.zeros(shape))


@pytest.mark.parametrize(("act", "d", "c"), [(divergence, 2, 3), (divergence, 3, 1), (curl, 2, 3), (curl, 3, 2)])
@KINDS
def test_operators_on_vector_fields_refuse_others(kind, act, d, c):
    message = rf"{act.__name__} needs a vector field.* maps {d} coordinates to values of the shape \({c},\)"
    with pytest.raises(ValueError, match=message):
        act(field_of(kind, d, c))(jnp.zeros(d))


@pytest.mark.parametrize("shape", [(), (1,), (4,), (5, 2)])
def test_curl_refuses_other_than_two_and_three_dimensions(shape):
    with pytest.raises(ValueError, match=r"curl is defined at points of shape \(2,\) or \(3,\)"):
        curl(lambda x: x)(jnp.zeros(shape))


def test_weights_that_are_computed_are_refused(key):
    with pytest.raises(ValueError, match="Multiply second_derivatives"):
        jax.jit(lambda c: laplacian(lambda x: x, weights=(1, -c))(jnp.ones(2)))(1.0)
