"""Networks with given frequencies: their sines, the equation that they satisfy, and what is refused."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from siren_jax import InputError, fourier_features, laplacian
from siren_jax.equations.catalogue import GRID, plane_waves


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def with_random_last_layer(network):
    kernel = network.output.kernel
    kernel[...] = jax.random.normal(jax.random.key(1), kernel[...].shape, jnp.float32)
    return network


def test_the_units_are_the_sine_and_the_cosine_of_each_frequency():
    frequencies = np.array([[3.0, -40.0], [0.0, 0.5], [7.0, 7.0]])
    network = fourier_features(frequencies, 2, rngs=nnx.Rngs(0))
    points = jax.random.uniform(jax.random.key(0), (20, 2), minval=-1)
    angles = points @ frequencies.T
    expected = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=1)
    assert jnp.allclose(network.layers[0](points), expected, atol=5e-6)  # phases of up to 43 in float32
    assert np.all(np.asarray(network(points)) == 0)
    assert network(points).shape == (20, 2)


def test_frequencies_on_the_cone_satisfy_the_wave_equation():
    k = jax.random.normal(jax.random.key(0), (30, 2)) * 20
    omega = jnp.linalg.norm(k, axis=1, keepdims=True) * jnp.where(jnp.arange(30) % 2, 1, -1)[:, None]
    network = with_random_last_layer(fourier_features(np.concatenate([omega, k], axis=1), 1, rngs=nnx.Rngs(0)))
    points = jax.random.uniform(jax.random.key(2), (50, 3), minval=-1)
    box, space = (jax.vmap(laplacian(network, weights=row))(points) for row in ((1, -1, -1), (0, 1, 1)))
    assert jnp.linalg.norm(box) < 1e-6 * jnp.linalg.norm(space)  # frequencies are rounded to float32


def test_plane_waves_have_period_2_and_satisfy_the_wave_equation():
    network = with_random_last_layer(plane_waves(200, nnx.Rngs(0)))
    assert network.width == 200
    points = jax.random.uniform(jax.random.key(2), (50, 3), minval=-1)
    assert jnp.allclose(network(points), network(points + jnp.array([0, 2, -2])), atol=1e-4)  # in float32, of 200 sines
    box, space = (jax.vmap(laplacian(network, weights=row))(points) for row in ((1, -1, -1), (0, 1, 1)))
    assert jnp.linalg.norm(box) < 1e-6 * jnp.linalg.norm(space)


@pytest.mark.parametrize("width", [100, 1000, 5000])
def test_plane_waves_are_those_of_the_smallest_wave_numbers(width):
    network = plane_waves(width, nnx.Rngs(0))
    first = network.layers[0]
    angles = np.asarray(first.omega * first.linear.kernel[...])[:, : width // 2].T
    assert len(np.unique(np.concatenate([angles, -angles]), axis=0)) == width  # each wave goes there and back
    k = np.round(angles[: width // 4, 1:] / math.pi)
    both = np.concatenate([k, -k])
    assert len(np.unique(both, axis=0)) == width // 2  # no wave is there twice, and none is constant
    assert np.all(np.abs(both).max(axis=1) > 0)
    # Gauss's circle problem: a disk of radius r has πr² points of the lattice but for about its circumference.
    radius = np.hypot(*k.T).max()
    assert abs(math.pi * radius**2 - width / 2) < 2 * math.pi * radius


def test_what_the_grid_of_the_wave_does_not_determine_is_refused():
    for width in (1, 4 * GRID**2):
        with pytest.raises(InputError, match=r"a width of 4 to about 25,736 sines, four for each k, but got"):
            plane_waves(width, nnx.Rngs(0))


@pytest.mark.parametrize(
    "frequencies", [[], [[]], 3.0, [1.0, 2.0], [[math.nan, 1.0]], [[math.inf]], [["a"]], [[1.0], [1.0, 2.0]]]
)
def test_what_is_no_array_of_frequencies_is_refused(frequencies):
    with pytest.raises(InputError, match=r"rows of finite numbers, one for each coordinate, \(n, d\), but got"):
        fourier_features(frequencies, 1, rngs=nnx.Rngs(0))


def test_a_frequency_of_zero_alone_is_a_constant():
    assert fourier_features([[0.0]], 1, rngs=nnx.Rngs(0)).layers[0](jnp.ones(1)).tolist() == pytest.approx([0, 1])
