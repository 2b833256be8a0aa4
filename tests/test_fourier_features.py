"""Networks with given frequencies: their sines, the equation that they satisfy, and what is refused."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from siren_jax import InputError, fourier_features, laplacian, space_time_frequencies
from siren_jax.equations.catalogue import CASES, GRID, plane_waves


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


SPACE_TIME = pytest.mark.parametrize(
    ("period", "highest", "counts"), [(2.0, 6.3, (3, 1)), (10.0, 9.0, (7, 2)), (0.5, 90, (1, 4))]
)


@SPACE_TIME
@pytest.mark.parametrize("waves", [None, lambda k: k**2])
def test_no_frequency_is_there_twice_or_its_opposite_and_none_is_zero(period, highest, counts, waves):
    rows = space_time_frequencies(period, highest, 4.0, counts, waves=waves)
    assert len(np.unique(np.concatenate([rows, -rows]), axis=0)) == 2 * len(rows)  # (0, 0) is its own opposite


@SPACE_TIME
def test_frequencies_in_space_are_all_whole_numbers_of_periods_up_to_the_highest(period, highest, counts):
    omega, k = space_time_frequencies(period, highest, 4.0, counts).T
    numbers, each = np.unique(np.round(k * period / (2 * np.pi), 9), return_counts=True)
    assert np.array_equal(numbers[numbers > 0], 1 + np.arange(int(highest * period / (2 * np.pi))))
    assert np.all(np.abs(omega) < 4)
    assert each[-1] == counts[1]


def test_fast_free_waves_are_added_in_both_directions():
    slow, every = (space_time_frequencies(2.0, 40.0, 4.0, (3, 3), waves=w) for w in (None, lambda k: k**2 / 100))
    added = {tuple(row) for row in every} - {tuple(row) for row in slow}
    k = np.pi * np.arange(1, 13)
    fast = k[k**2 / 100 > 4]
    assert added == {(sign * each**2 / 100, each) for each in fast for sign in (1, -1)}


@pytest.mark.parametrize(("speed", "waves"), [(0.5, None), (2.0, lambda k: 2 * k / math.pi)])
def test_a_last_layer_fits_a_travelling_wave_over_one_slab_and_is_periodic(speed, waves):
    rows = space_time_frequencies(2.0, 38.0, 4.0, (12, 4), waves=waves)
    network = fourier_features(rows, 1, periodic={1: 2.0}, rngs=nnx.Rngs(0))
    sines = jax.vmap(network.layers[0])
    wave = lambda x: np.exp(np.sin(np.pi * x[:, 1] - speed * x[:, 0]))
    points, others = np.random.default_rng(0).uniform([0, -1], [1, 1], (2, 1500, 2))
    columns = lambda x: np.concatenate([np.asarray(sines(jnp.asarray(x))), np.ones((len(x), 1))], axis=1)
    last = np.linalg.lstsq(columns(points), wave(points), rcond=1e-13)[0]
    # j periods have the amplitude 2·I_j(1), Bessel's, about 2^(1-j)/j!. Frequencies beside ±speed·j represent the turn
    # by speed·j radians as n nodes of a polynomial do: about (speed·j/4)^n/n!, with n = 12 - 2j/3 of them.
    assert np.abs(columns(others) @ last - wave(others)).max() < 1e-8
    assert np.abs((columns(others) - columns(others + np.array([0.0, 2.0]))) @ last).max() < 1e-9  # rounding


@pytest.mark.parametrize("period", [2.0, 10.0, 0.3])
def test_given_frequencies_are_exactly_periodic(period):
    rows = space_time_frequencies(period, 40 * math.pi / period, 4.0, (5, 2))
    network = with_random_last_layer(fourier_features(rows, 2, periodic={1: period}, rngs=nnx.Rngs(0)))
    points = jax.random.uniform(jax.random.key(2), (50, 2))
    values = jax.vmap(network)
    far = values(points + jnp.array([0.0, 3 * period]))
    assert jnp.allclose(values(points), far, rtol=0, atol=1e-10)  # of float64; frequencies of float32 would give 1e-5


@pytest.mark.parametrize(
    "given",
    [
        (0.0, 9.0, 4.0, (3, 1)),
        (2.0, 3.1, 4.0, (3, 1)),
        (2.0, math.inf, 4.0, (3, 1)),
        (2.0, 9.0, -4.0, (3, 1)),
        (2.0, 9.0, 4.0, (3, 0)),
        (math.nan, 9.0, 4.0, (3, 1)),
    ],
)
def test_frequencies_that_are_not_positive_or_below_one_period_are_refused(given):
    with pytest.raises(
        InputError, match=r"a highest frequency of at least 2π/period, .* but got [^.]*(\.\d+[^.]*)*\.$"
    ):
        space_time_frequencies(*given)


@pytest.mark.parametrize("name", ["kdv", "gray-scott", "schroedinger", "breather"])
def test_a_width_of_a_case_in_periodic_slabs_is_about_that_of_its_network(name):
    direct = CASES[name]().direct
    for share in (0.5, 1.0, 1.5):
        width = round(share * direct.width)
        network = direct.network(width, nnx.Rngs(0))
        assert network.width == (width if share == 1 else pytest.approx(width, rel=0.15))  # counts are rounded
