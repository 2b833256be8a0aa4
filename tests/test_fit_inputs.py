"""`fit` takes the optimizers, frozen layers and precisions that programs bring, or refuses them in a sentence."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from flax import nnx

from siren_jax import (
    SIREN,
    Frame,
    InputError,
    NeuralField,
    PixelDataset,
    SampleDataset,
    fit,
    gradient,
    laplacian,
    load,
    supervise,
)
from siren_jax.equations import Box, Disk, Interval
from siren_jax.equations.sampling import draws
from siren_jax.fitting.recipes import TUNED_SHAPE
from siren_jax.fitting.refinement import refine
from siren_jax.signals.incomplete import IncompletePicture

KEY = jax.random.key(0)
SGD = optax.sgd(0.1)
VALUE = supervise("value")


def siren():
    return SIREN(1, 1, width=16, depth=1, first_omega=5.0, omega=5.0, rngs=nnx.Rngs(0))


def fixed(key, step):
    points = jnp.linspace(-1, 1, 32)[:, None]
    return {"coordinates": points, "value": jnp.sin(3 * points)}


def parameters(network):
    return jax.tree.leaves(nnx.state(network, nnx.Param))


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (optax.lbfgs(), r"is missing 3 required .*'value_fn'; siren_jax\.refine is L-BFGS"),
        (optax.masked(optax.lbfgs(), True), r"siren_jax\.refine is L-BFGS"),
        (optax.polyak_sgd(), r"is missing 1 required .*'value'"),
        (optax.chain(SGD, optax.scale_by_backtracking_linesearch(5)), r"is missing 3 required"),
        (optax.chain(SGD, optax.contrib.reduce_on_plateau()), r"is missing 1 required .*'value'"),
        (optax.contrib.sam(SGD, SGD), r"keeps parameters of its own \(SAMState\)"),
        (optax.contrib.sam(SGD, SGD, opaque_mode=True), r"this one fails: grad_fn must be provided"),
        (optax.contrib.schedule_free_sgd(), r"keeps parameters of its own \(ScheduleFreeState\)"),
        (
            optax.partition({"a": SGD}, {"kernel": "a", "bias": "a"}),
            r"trees made from nnx\.state\(network, nnx\.Param\)",
        ),
        (optax.sgd, r"such as optax\.adam\(1e-3\), but this is of the type function"),
        (1e-3, r"but this is of the type float"),
    ],
)
def test_an_optimizer_that_fit_cannot_use_is_refused(optimizer, message):
    with pytest.raises(InputError, match=message):
        fit(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), VALUE, fixed, key=KEY, steps=1, optimizer=optimizer)


FROZEN = optax.set_to_zero()


def first_is_frozen(params):
    label = lambda path, _: "frozen" if "['layers'][0]" in jax.tree_util.keystr(path) else "learned"
    return jax.tree_util.tree_map_with_path(label, params)


@pytest.mark.slow
@pytest.mark.parametrize("labelled", [first_is_frozen, first_is_frozen(nnx.state(siren(), nnx.Param))])
@pytest.mark.parametrize("way", ["partition", "multi_transform", "masked"])
def test_a_frozen_layer_keeps_its_bits(way, labelled):
    tuned = TUNED_SHAPE._replace(first_omega=5.0).optimizer(siren())  # clipped, and slower in the first layer
    if way == "masked":
        labels = labelled(nnx.state(siren(), nnx.Param)) if callable(labelled) else labelled
        optimizer = optax.chain(tuned, optax.masked(FROZEN, jax.tree.map(lambda label: label == "frozen", labels)))
    else:
        optimizer = getattr(optax, way)({"frozen": FROZEN, "learned": tuned}, labelled)
    fitted = fit(siren(), VALUE, fixed, key=KEY, steps=3, optimizer=optimizer)
    same = [np.array_equal(a, b) for a, b in zip(parameters(fitted.network), parameters(siren()), strict=True)]
    assert same == [True, True, False, False, False, False]


def test_weights_that_are_no_parameters_keep_their_bits():
    network = siren()
    linear = network.layers[0].linear
    linear.kernel, linear.bias = nnx.Variable(linear.kernel[...]), nnx.Variable(linear.bias[...])
    fitted = fit(network, VALUE, fixed, key=KEY, steps=3).network
    assert np.array_equal(fitted.layers[0].linear.kernel[...], linear.kernel[...])
    assert not np.array_equal(fitted.output.kernel[...], network.output.kernel[...])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_weights_of_sixteen_bits_are_evaluated_in_the_precision_of_the_points_and_not_learned(dtype, tmp_path):
    network = jax.tree.map(lambda leaf: leaf.astype(dtype), siren())
    same = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), network)
    points = jnp.linspace(-1, 1, 5)[:, None]
    for of in (lambda n: n, gradient, laplacian):
        found, wanted = (jax.vmap(of(n))(points) for n in (network, same))
        assert found.dtype == jnp.float32
        np.testing.assert_array_equal(found, wanted)
    field, plain = (NeuralField(n, Frame((5,)), kind="sound", rate=8000.0) for n in (network, same))
    np.testing.assert_array_equal(field.render(), plain.render())
    field.save(tmp_path / "a.siren")
    np.testing.assert_array_equal(load(tmp_path / "a.siren").render(), plain.render())
    with pytest.raises(InputError, match=rf"needs weights in float32 or float64, but .* is {jnp.dtype(dtype)}; cast"):
        fit(network, VALUE, fixed, key=KEY, steps=1)
    with pytest.raises(InputError, match="needs weights in float32 or float64"):
        refine(network, VALUE, fixed(KEY, 0), steps=1)


def as_float64(key, step):
    """What a user's own arrays are under `JAX_ENABLE_X64`."""
    points = np.linspace(-1, 1, 32)[:, None]
    return {"coordinates": jnp.asarray(points), "value": jnp.asarray(np.sin(points))}


PICTURE = PixelDataset(np.random.default_rng(0).uniform(size=(9, 6, 1)))
DRAWN = {
    "values": PICTURE.sampler(16),
    "whole numbers": SampleDataset(np.arange(54, dtype=np.uint8).reshape(9, 6, 1)).sampler(16),
    "integrals": PICTURE.sampler(16, quantities=("gradient", "gradient_integral", "laplacian_integral")),
    "known pixels": IncompletePicture(PICTURE.signal, PICTURE.signal[..., 0] > 0.5).sampler(16),
    "box": draws(Box((0, 0), (1, 2)).boundary(), 16, "sobol"),
    "disk": draws(Disk((0, 0), 2).interior(), 16, "uniform", candidates=2),
    "time": draws(Interval(0, 1).during(0, 2).boundary(), 16, "uniform"),
}


@pytest.mark.parametrize("kind", DRAWN)
def test_points_are_the_same_where_double_precision_is_enabled(kind):
    with jax.enable_x64(True):
        found = jax.jit(DRAWN[kind])(KEY, 0)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(jax.jit(DRAWN[kind])(KEY, 0)), strict=True):
        assert one.dtype == other.dtype == jnp.float32
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("batch", [PICTURE.sampler(16), as_float64])
def test_a_float32_network_is_fitted_in_float32_where_double_precision_is_enabled(batch):
    d = batch(KEY, 0)["coordinates"].shape[1]

    def fitted():
        network = SIREN(d, 1, width=8, depth=1, first_omega=np.float64(5), weight_scale=np.float64(2), rngs=nnx.Rngs(0))
        return fit(network, VALUE, batch, key=KEY, steps=3, optimizer=SGD, weights={"value": np.float64(1.5)})

    plain = fitted()
    with jax.enable_x64(True):
        assert as_float64(KEY, 0)["value"].dtype == jnp.float64
        wide = fitted()
    assert all(leaf.dtype == jnp.float32 for leaf in parameters(wide.network))
    for one, other in zip(parameters(wide.network), parameters(plain.network), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)  # float32; compiled for other loop counters
