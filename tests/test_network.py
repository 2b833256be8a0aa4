"""Networks are Equation 5 of the paper, begin as it says, and know their own derivatives."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from siren_jax import SIREN, ReLUMLP, SineLayer, initializers
from siren_jax.networks.layers import count_parameters

NETWORKS = pytest.mark.parametrize("kind", [SIREN, ReLUMLP])


def siren(d, c, seed=0, **settings):
    """Small, and with frequencies that differ between the first layer and the later ones."""
    settings = dict(width=16, depth=2, first_omega=7.0, omega=5.0) | settings
    with jax.enable_x64(False):  # the weights are float32 either way; drawing them compiles once
        return SIREN(d, c, **settings, rngs=nnx.Rngs(seed))


def kernels_and_biases(network):
    for layer in [*network.layers, network.output]:
        linear = getattr(layer, "linear", layer)
        yield np.asarray(linear.kernel[...], np.float64), np.asarray(linear.bias[...], np.float64)


@NETWORKS
@pytest.mark.parametrize(("d", "c", "width", "depth"), [(2, 1, 256, 3), (1, 3, 8, 0), (3, 4, 5, 1)])
def test_number_of_parameters(kind, d, c, width, depth):
    expected = (d * width + width) + depth * (width**2 + width) + (width * c + c)
    network = nnx.eval_shape(lambda: kind(d, c, width=width, depth=depth, rngs=nnx.Rngs(0)))
    assert count_parameters(network) == expected


def test_number_of_parameters_without_biases():
    assert count_parameters(siren(2, 3, width=8, depth=2, use_bias=False)) == 2 * 8 + 2 * 8**2 + 8 * 3


@NETWORKS
@pytest.mark.parametrize(("d", "c"), [(1, 1), (2, 3), (3, 2), (4, 1)])
@pytest.mark.parametrize("batch", [(), (5,), (4, 5), (0,)])
def test_points_become_values_and_batches_batches(kind, d, c, batch):
    network = nnx.eval_shape(lambda: kind(d, c, width=8, depth=1, rngs=nnx.Rngs(0)))
    values = jax.eval_shape(lambda network, points: network(points), network, jnp.zeros((*batch, d)))
    assert values.shape == (*batch, c)


@NETWORKS
def test_a_batch_is_its_points_one_by_one(kind, key, float64):
    network = kind(2, 3, width=16, depth=2, rngs=nnx.Rngs(0))
    points = jax.random.uniform(key, (7, 2), minval=-1)
    one_by_one = jax.lax.map(network, points)
    assert np.allclose(network(points), one_by_one, rtol=1e-12, atol=1e-12)  # float64: rounding only


def test_siren_is_equation_5(key, float64):
    network, points = siren(2, 3), jax.random.uniform(key, (7, 2), minval=-1)
    *hidden, (kernel, bias) = kernels_and_biases(network)
    h = np.asarray(points)
    for omega, (w, b) in zip([7.0, 5.0, 5.0], hidden, strict=True):
        h = np.sin(omega * (h @ w + b))
    assert np.allclose(network(points), h @ kernel + bias, rtol=1e-12, atol=1e-12)  # float64: rounding only


@pytest.mark.parametrize(
    ("outermost", "g"),
    [("sine", lambda y: np.sin(5 * y)), ("sigmoid", lambda y: 1 / (1 + np.exp(-y))), ("tanh", np.tanh)],
)
def test_an_outermost_function_follows_the_same_network(outermost, g, key, float64):
    points = jax.random.uniform(key, (7, 2), minval=-1)
    values = siren(2, 3, outermost=outermost)(points)
    assert np.allclose(values, g(siren(2, 3)(points)), rtol=1e-12, atol=1e-12)  # float64: rounding only


def test_another_outermost_function_is_refused():
    with pytest.raises(ValueError, match="one of linear, sine, sigmoid, tanh, but is 'relu'"):
        siren(2, 3, outermost="relu")


def test_relu_network_is_an_alternation_of_affine_maps_and_relu(key, float64):
    network, points = ReLUMLP(2, 3, width=16, depth=2, rngs=nnx.Rngs(0)), jax.random.uniform(key, (7, 2), minval=-1)
    h = np.asarray(points)
    for i, linear in enumerate(network.layers):
        h = np.maximum(h, 0) if i else h
        h = h @ np.asarray(linear.kernel[...], np.float64) + np.asarray(linear.bias[...], np.float64)
    assert np.allclose(network(points), h, rtol=1e-12, atol=1e-12)  # float64: rounding only


def test_activations_end_in_the_output_and_each_is_the_next_ones_input(key):
    network, points = siren(2, 3), jax.random.uniform(key, (7, 2), minval=-1)
    activations = network.activations(points)
    assert np.array_equal(activations[-1].after, network(points))
    x = points
    for layer, (before, after) in zip(network.layers, activations[:-1], strict=True):
        assert np.array_equal(before, layer.omega * layer.linear(x))
        assert np.allclose(after, np.sin(before), atol=2e-7)  # the bound on `sine`
        x = after


@NETWORKS
def test_a_kernel_initializer_reaches_every_layer(kind):
    network = kind(2, 3, width=8, depth=2, kernel_init=initializers.ones, rngs=nnx.Rngs(0))
    kernels = [leaf for leaf in jax.tree.leaves(nnx.state(network, nnx.Param)) if leaf.ndim == 2]
    assert len(kernels) == 4
    assert all(np.all(kernel == 1) for kernel in kernels)


def test_every_layer_draws_from_its_range():
    hidden = math.sqrt(6 / 256) / 20
    kernel_bounds = [1 / 2, hidden, hidden, hidden]
    bias_bounds = [1 / math.sqrt(2), 1 / 16, 1 / 16, 1 / 16]
    network = siren(2, 1, width=256, first_omega=30.0, omega=20.0)
    for (kernel, bias), *bounds in zip(kernels_and_biases(network), kernel_bounds, bias_bounds, strict=True):
        for w, bound in zip((kernel, bias), bounds, strict=True):
            # The largest of N falls below (1 - 10/N)·bound with probability exp(-10); the bound is rounded to float32.
            assert bound * (1 - 10 / w.size) < np.abs(w).max() <= bound * (1 + 2e-7)


def test_no_two_layers_share_their_draws():
    _, (second, _), (third, _), _ = kernels_and_biases(siren(2, 1))
    assert not np.any(second == third)


@pytest.mark.parametrize("use_bias", [True, False])
def test_hidden_preactivations_begin_with_the_variance_of_the_recursion(use_bias):
    # For z = omega·(Wh + b) with W ~ U(±√(6/n)/omega) and b ~ U(±1/√n): var z = 2·E h² + omega²/3n. After a first layer
    # that spans many periods E h² = 1/2; from then on z is normal, and E sin² z = (1 - exp(-2 var z))/2.
    # The fixed points are 1.47² with biases and 0.89² without, at width 256.
    width, depth, omega, seeds = 256, 3, 30.0, 12
    from_bias = omega**2 / (3 * width) if use_bias else 0.0
    expected = [1 + from_bias]
    for _ in range(depth - 1):
        expected.append(1 - math.exp(-2 * expected[-1]) + from_bias)

    points = jax.random.uniform(jax.random.key(0), (512, 2), minval=-1)
    variances = jax.jit(lambda network: [jnp.mean(before**2) for before, _ in network.activations(points)[1:-1]])
    settings = dict(width=width, depth=depth, first_omega=omega, omega=omega, use_bias=use_bias)
    measured = [variances(siren(2, 1, seed, **settings)) for seed in range(seeds)]
    standard_error = np.std(measured, axis=0, ddof=1) / math.sqrt(seeds)
    assert np.all(np.abs(np.mean(measured, axis=0) - expected) < 4 * standard_error)
    assert np.all(standard_error < 0.03 * np.array(expected))  # sharp enough to tell 1.47 from 1.0


def test_without_biases_the_network_is_odd_and_with_them_it_is_not(key):
    points = jax.random.uniform(key, (7, 2), minval=-1)
    odd, general = siren(2, 1, use_bias=False), siren(2, 1)
    assert np.array_equal(odd(-points), -odd(points))
    assert np.abs(general(-points) + general(points)).max() > 0.1


def by_autodiff(field, x):
    return field(x), jax.jacfwd(field)(x), jnp.trace(jax.hessian(field)(x), axis1=-2, axis2=-1)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
@pytest.mark.parametrize("c", [1, 2, 3])
def test_one_pass_derivatives_are_those_of_autodiff(d, c, key, float64):
    network, x = siren(d, c, depth=1), jax.random.uniform(key, (d,), minval=-1)
    exact = jax.jit(functools.partial(by_autodiff, network))(x)
    for ours, exact_ in zip(jax.jit(network.value_jacobian_laplacian)(x), exact, strict=True):
        assert ours.shape == exact_.shape
        assert np.allclose(ours, exact_, rtol=1e-11, atol=1e-11)  # float64: rounding only


@pytest.mark.parametrize(("d", "c"), [(1, 2), (2, 3), (4, 1)])
def test_parameter_gradients_of_one_pass_derivatives_are_those_of_autodiff(d, c, key, float64):
    graphdef, params = nnx.split(float64(siren(d, c, depth=1)))
    x, *scales = (
        jax.random.normal(k, shape)
        for k, shape in zip(jax.random.split(key, 4), [(d,), (c,), (c, d), (c,)], strict=True)
    )

    def gradient(derivatives):
        def loss(params):
            return sum(jnp.sum(a * y) for a, y in zip(scales, derivatives(nnx.merge(graphdef, params), x), strict=True))

        return jax.tree.leaves(jax.jit(jax.grad(loss))(params))

    for ours, exact in zip(gradient(SIREN.value_jacobian_laplacian), gradient(by_autodiff), strict=True):
        assert np.abs(ours - exact).max() < 1e-11 * np.abs(exact).max()  # float64: rounding only


@pytest.mark.parametrize(
    "settings",
    [{"use_bias": False}, {"depth": 0}, {"outermost": "sine"}, {"outermost": "sigmoid"}, {"outermost": "tanh"}],
    ids=str,
)
def test_one_pass_derivatives_of_other_shapes_of_network(settings, key, float64):
    network, points = siren(2, 3, **settings), jax.random.uniform(key, (6, 2), minval=-1)
    exact = jax.jit(jax.vmap(functools.partial(by_autodiff, network)))(points)
    for ours, exact_ in zip(jax.jit(network.value_jacobian_laplacian)(points), exact, strict=True):
        assert np.allclose(ours, exact_, rtol=1e-11, atol=1e-11)  # float64: rounding only


@pytest.mark.parametrize("batch", [(5,), (3, 5)])
def test_one_pass_derivatives_keep_the_axes_of_a_batch(batch):
    network = nnx.eval_shape(lambda: siren(3, 2))
    value, jacobian, laplacian = jax.eval_shape(SIREN.value_jacobian_laplacian, network, jnp.zeros((*batch, 3)))
    assert (value.shape, jacobian.shape, laplacian.shape) == ((*batch, 2), (*batch, 2, 3), (*batch, 2))


def test_every_matrix_product_of_a_training_step_has_full_precision():
    graphdef, params = nnx.split(siren(2, 1))

    def loss(params, points):
        return sum(jnp.sum(y**2) for y in nnx.merge(graphdef, params).value_jacobian_laplacian(points))

    program = jax.jit(jax.grad(loss)).lower(params, jnp.zeros((8, 2))).as_text()
    products = [line for line in program.splitlines() if "stablehlo.dot_general" in line]
    assert products
    assert all("precision = [HIGHEST, HIGHEST]" in line for line in products)


def test_a_sine_layer_is_a_sine_of_an_affine_map(key):
    layer, x = SineLayer(3, 4, omega=2.0, rngs=nnx.Rngs(0)), jax.random.normal(key, (5, 3))
    affine = x @ layer.linear.kernel[...] + layer.linear.bias[...]
    assert np.allclose(layer(x), jnp.sin(2 * affine), atol=1e-6)  # float32 rounding


@NETWORKS
@pytest.mark.parametrize("sizes", [(0, 1, 8, 1), (2, 0, 8, 1), (2, 1, 0, 1), (2, 1, 8, -1)])
def test_impossible_sizes_are_refused(kind, sizes):
    d, c, width, depth = sizes
    with pytest.raises(ValueError, match=f"got {d} inputs, {c} outputs, width {width}, depth {depth}"):
        kind(d, c, width=width, depth=depth, rngs=nnx.Rngs(0))


@NETWORKS
@pytest.mark.parametrize("shape", [(3,), (1,), (2, 5)])
def test_points_with_other_than_d_coordinates_are_refused(kind, shape):
    network = kind(2, 1, width=8, depth=0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"takes points of shape \(2,\) or \(\.\.\., 2\)"):
        network(jnp.zeros(shape))
    if kind is SIREN:
        with pytest.raises(ValueError, match="takes points"):
            network.value_jacobian_laplacian(jnp.zeros(shape))
