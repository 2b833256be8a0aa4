"""Hypernetworks make the SIREN that they are given, changed by a code; encoders see known samples alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from siren_jax import SIREN, ConvolutionalEncoder, Hypernetwork, InputError, SetEncoder
from siren_jax.networks.initializers import scaled, siren_first

X = jax.random.uniform(jax.random.key(0), (7, 2), minval=-1)


def hypernetwork(siren=None, latent=4, width=16, **options):
    siren = siren or SIREN(2, 3, width=8, depth=1, rngs=nnx.Rngs(0))
    return Hypernetwork(siren, latent=latent, width=width, rngs=nnx.Rngs(1), **options)


def unit_code(k):
    """A code whose numbers have the mean square 1."""
    code = jax.random.normal(jax.random.key(2), (k,))
    return code / jnp.sqrt(jnp.mean(code**2))


def tensors(network):
    return jax.tree.leaves(nnx.state(network, nnx.Param))


@pytest.mark.parametrize("options", [{}, {"depth": 1}, {"kernel_init": scaled(jax.nn.initializers.he_normal(), 0.01)}])
def test_the_code_zero_makes_the_given_siren(options):
    siren = SIREN(2, 3, width=8, depth=1, outermost="tanh", rngs=nnx.Rngs(0))
    made = hypernetwork(siren, **options)
    assert jnp.array_equal(made.value(X, jnp.zeros(4)), siren(X))
    assert not jnp.allclose(made.value(X, unit_code(4)), siren(X), atol=1e-4)


@pytest.mark.parametrize("spread", [0.1, 0.5])
def test_made_weights_have_the_variance_of_a_sirens_times_one_plus_the_squared_spread(spread):
    n, units, omega = 96, 256, 30.0
    siren = SIREN(2, 1, width=n, depth=1, omega=omega, rngs=nnx.Rngs(0))
    made = hypernetwork(siren, latent=32, width=units, spread=spread).at(unit_code(32))
    for layer, bound in ((made.layers[0], 1 / 2), (made.layers[1], np.sqrt(6 / n) / omega)):
        kernel = np.asarray(layer.linear.kernel[...], np.float64)
        variance = np.mean(kernel**2) / (bound**2 / 3)
        # Relative variances of: a mean of squares of uniform numbers, 4/5 of each; |h|² over the ReLU units, 5 of each;
        # of normal numbers, 2 of each; and the mean product of uniform and normal numbers.
        count, share = kernel.size, spread**2
        error = np.sqrt((0.8 + 2 * share**2 + 4 * share) / count + 5 * share**2 / units)
        assert abs(variance - (1 + share)) < 4 * error
        assert 4 * error < share or spread < 0.5 or layer is made.layers[0]  # sees the difference that it claims


def test_the_ranges_of_the_authors_code_are_within_reach():
    siren = SIREN(2, 3, width=64, depth=1, kernel_init=siren_first(), rngs=nnx.Rngs(0))
    last = scaled(jax.nn.initializers.he_normal(), 0.01)
    made = hypernetwork(siren, latent=32, width=256, kernel_init=last).at(unit_code(32))
    for one, other in ((made.layers[0], siren.layers[0]), (made.layers[1], siren.layers[1])):
        kernel = other.linear.kernel[...]
        assert jnp.max(jnp.abs(kernel)) <= 1 / len(kernel)
        # The variance of Ah is 1e-4·2/n·|h|² = 2e-4 for any layer, with the relative errors of |h|² and of a sample.
        change = np.asarray(one.linear.kernel[...] - kernel)
        assert abs(np.mean(change**2) / 2e-4 - 1) < 4 * np.sqrt(5 / 256 + 2 / change.size)


def test_codes_make_sirens_one_by_one_or_together():
    made, codes = hypernetwork(), jax.random.normal(jax.random.key(3), (5, 4))
    sirens = jax.vmap(made.at)(codes)
    assert isinstance(sirens, SIREN)
    together = jax.vmap(lambda siren: siren(X))(sirens)
    np.testing.assert_allclose(jax.vmap(made.value, (None, 0))(X, codes), together, atol=1e-6)
    for code, values in zip(codes, together, strict=True):
        np.testing.assert_allclose(made.at(code)(X), values, atol=1e-6)  # rounding of another order of sums


def test_a_change_of_the_last_layers_is_a_change_of_the_parameters_by_its_product():
    made, code = hypernetwork(), unit_code(4)
    before = tensors(made.at(code))
    made.siren.output.bias[...] += 2.0
    after = tensors(made.at(code))
    moved = [float(jnp.max(jnp.abs(b - a))) for a, b in zip(before, after, strict=True)]
    assert sorted(moved) == pytest.approx([0] * (len(moved) - 1) + [2])


def test_a_hypernetwork_is_a_tree_of_its_parameters_without_arrays_too():
    shapes = nnx.eval_shape(lambda: hypernetwork())
    assert jax.tree.structure(nnx.state(shapes)) == jax.tree.structure(nnx.state(hypernetwork()))


@pytest.mark.parametrize("activation", ["sine", "relu"])
class TestSetEncoder:
    @pytest.fixture
    def encoder(self, activation):
        return SetEncoder(2, 3, latent=4, width=8, depth=1, activation=activation, rngs=nnx.Rngs(0))

    @pytest.fixture
    def values(self):
        return jax.random.uniform(jax.random.key(1), (7, 3), minval=-1)

    def test_the_order_of_points_changes_nothing(self, encoder, values):
        order = jax.random.permutation(jax.random.key(2), 7)
        code = encoder(X, values)
        np.testing.assert_allclose(encoder(X[order], values[order]), code, atol=1e-6)
        assert not jnp.allclose(encoder(X, values[order]), code, atol=1e-3)  # which value is where matters

    def test_unknown_values_do_not_matter(self, encoder, values):
        known = jnp.arange(7) < 4
        code = encoder(X[:4], values[:4])
        for unknown in (0.0, 9.0, jnp.nan):
            changed = jnp.where(known[:, None], values, unknown)
            np.testing.assert_allclose(encoder(X, changed, known), code, atol=1e-6)
            slope = jax.grad(lambda encoder, v=changed: jnp.sum(encoder(X, v, known) ** 2))(encoder)
            assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(slope))

    def test_a_code_is_the_mean_of_the_codes_of_single_points(self, encoder, values):
        single = jnp.stack([encoder(X[i : i + 1], values[i : i + 1]) for i in range(7)])
        np.testing.assert_allclose(encoder(X, values), single.mean(axis=0), atol=1e-6)

    def test_nothing_known_makes_the_code_zero(self, encoder, values):
        assert not jnp.any(encoder(X, values, jnp.zeros(7, bool)))


@pytest.fixture
def convolutional():
    return ConvolutionalEncoder(2, latent=4, filters=3, window=3, width=6, blocks=1, kernel=3, rngs=nnx.Rngs(0))


def picture_and_mask(h=6, w=5, c=2):
    of_values, of_mask = jax.random.split(jax.random.key(4))
    return jax.random.uniform(of_values, (h, w, c), minval=-1), jax.random.uniform(of_mask, (h, w)) < 0.3


def test_the_values_of_unknown_pixels_do_not_matter(convolutional):
    picture, known = picture_and_mask()
    code = convolutional(picture, known)
    for unknown in (0.0, 9.0, jnp.nan):
        changed = jnp.where(known[..., None], picture, unknown)
        assert jnp.array_equal(convolutional(changed, known), code)
        slope = jax.grad(lambda encoder, p=changed: jnp.sum(encoder(p, known) ** 2))(convolutional)
        assert all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(slope))
    assert not jnp.allclose(convolutional(-picture, known), code, atol=1e-3)
    assert not jnp.allclose(convolutional(picture, known | True), code, atol=1e-3)


def test_a_normalized_convolution_is_the_weighted_mean_of_known_neighbours(convolutional):
    picture, known = picture_and_mask()
    values, density = convolutional.normalized_convolution(picture, known)
    weights = np.abs(np.asarray(convolutional.filters[...], np.float64))[:, :, 0]
    for row, column in np.ndindex(known.shape):
        near = [
            (weights[i, j], picture[row + i - 1, column + j - 1])
            for i, j in np.ndindex(3, 3)
            if 0 <= row + i - 1 < 6 and 0 <= column + j - 1 < 5 and known[row + i - 1, column + j - 1]
        ]
        total = sum((w for w, _ in near), np.zeros(3))
        mean = sum((w * np.asarray(y)[:, None] for w, y in near), np.zeros((2, 3))) / np.where(total > 0, total, 1)
        np.testing.assert_allclose(density[row, column], total, atol=1e-6)
        np.testing.assert_allclose(values[row, column], mean, atol=1e-5)


def test_a_constant_picture_stays_constant_however_few_pixels_are_known(convolutional):
    _, known = picture_and_mask()
    values, density = convolutional.normalized_convolution(jnp.full((6, 5, 2), 0.7), known)
    seen = jnp.broadcast_to((density > 1e-3)[:, :, None], values.shape)
    assert seen.any()
    assert not seen.all()
    np.testing.assert_allclose(values[seen], 0.7, rtol=1e-5)


def test_learned_weights_of_pixels_begin_as_their_mean(convolutional):
    sizes = dict(latent=4, filters=3, window=3, width=6, blocks=1, kernel=3)
    weighted = ConvolutionalEncoder(2, **sizes, shape=(6, 5), rngs=nnx.Rngs(0))
    np.testing.assert_allclose(weighted(*picture_and_mask()), convolutional(*picture_and_mask()), atol=1e-6)
    assert convolutional(*picture_and_mask(9, 4)).shape == (4,)
    with pytest.raises(InputError, match=r"shape \(6, 5, 2\).*\(9, 4, 2\)"):
        weighted(*picture_and_mask(9, 4))


def test_everything_that_a_set_passes_through_learns():
    encoder = SetEncoder(2, 3, latent=4, width=8, depth=1, rngs=nnx.Rngs(0))
    values = jax.random.uniform(jax.random.key(1), (7, 3), minval=-1)

    def error(pair):
        encoder, made = pair
        return jnp.mean((made.value(X, encoder(X, values)) - values) ** 2)

    slopes = jax.grad(error)((encoder, hypernetwork()))
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(slopes))


def test_wrong_sizes_are_refused(convolutional):
    siren = SIREN(2, 1, width=4, depth=0, rngs=nnx.Rngs(0))
    for sizes in ({"latent": 0}, {"width": 0}, {"depth": -1}):
        with pytest.raises(InputError, match="a hypernetwork needs"):
            Hypernetwork(siren, **sizes, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match=r"has the shape \(4,\), but this array has \(2, 4\)"):
        hypernetwork().at(jnp.zeros((2, 4)))
    with pytest.raises(InputError, match="'sine' or 'relu', but is 'tanh'"):
        SetEncoder(2, 1, activation="tanh", rngs=nnx.Rngs(0))  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="at least 1 coordinate"):
        SetEncoder(2, 1, latent=0, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match=r"shape \(7, 1\), but these have \(7, 3\)"):
        SetEncoder(2, 1, latent=2, width=4, rngs=nnx.Rngs(0))(X, jnp.zeros((7, 3)))
    with pytest.raises(InputError, match="positive sizes"):
        ConvolutionalEncoder(1, window=0, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match=r"\(h, w, 2\)"):
        convolutional(jnp.zeros((4, 4, 1)), jnp.zeros((4, 4), bool))
