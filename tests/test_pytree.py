"""A neural field is a PyTree of its parameters: what JAX makes of it are fields again, and nothing else is lost."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from siren_jax import SIREN, Frame, NeuralField, ReLUMLP, laplacian, load
from siren_jax.equations import Ansatz
from siren_jax.fields import Grid
from siren_jax.shapes import Placement

POINTS = jnp.linspace(-0.9, 0.9, 10).reshape(5, 2)


def make(seed=0, network=SIREN, record=None, **options):
    layers = network(2, 3, width=8, depth=1, rngs=nnx.Rngs(seed))
    return NeuralField(layers, Frame((6, 10)), (0.0, 255.0), record=record or {"psnr": 30.0 + seed}, **options)


@pytest.mark.parametrize("network", [SIREN, ReLUMLP])
def test_a_compiled_function_of_a_field_is_the_field(network):
    field = make(network=network)
    compiled = jax.jit(lambda f, x: f(x))(field, POINTS)
    np.testing.assert_allclose(compiled, field(POINTS), atol=2e-4)  # float32 at values near 255: 3e-5, and sine's 2e-7
    bent = jax.jit(lambda f, x: f.laplacian(x))(field, POINTS)
    np.testing.assert_allclose(bent, field.laplacian(POINTS), rtol=1e-4, atol=1e-5 * float(jnp.abs(bent).max()))


def test_the_leaves_are_the_parameters_by_name():
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(make())]
    assert len(paths) == 6
    assert all(path.startswith(".network.") for path in paths)
    assert ".network.layers[0].linear.kernel.value" in paths


def test_the_gradient_by_the_parameters_is_the_slope_along_them():
    with jax.enable_x64(True):
        field = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), make())
        loss = lambda f: jnp.mean(f(POINTS.astype(jnp.float64)) ** 2)
        slope = jax.grad(loss)(field)
        assert isinstance(slope, NeuralField)
        along = jax.tree.map(lambda leaf: jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)).reshape(leaf.shape), field)
        moved = lambda h: loss(jax.tree.map(lambda leaf, way: leaf + h * way, field, along))
        expected = (moved(1e-6) - moved(-1e-6)) / 2e-6
        products = jax.tree.map(lambda a, b: jnp.sum(a * b), slope, along)
        # A central difference in float64: h² and 1e-16/h, each below 1e-8 of the value.
        assert sum(jax.tree.leaves(products)) == pytest.approx(float(expected), rel=1e-6)


def test_an_optimizer_takes_fields_as_parameters():
    field, optimizer = make(), optax.adam(1e-3)
    loss = lambda f: jnp.mean((f(POINTS) - 100.0) ** 2)
    state = optimizer.init(field)

    @jax.jit
    def step(field, state):
        updates, state = optimizer.update(jax.grad(loss)(field), state)
        return optax.apply_updates(field, updates), state

    before = loss(field)
    for _ in range(20):
        field, state = step(field, state)
    assert loss(field) < before
    assert field.value_range == (0.0, 255.0)


@pytest.mark.slow
def test_stacked_fields_are_evaluated_as_one_by_one():
    fields = [make(seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *fields)
    together = jax.vmap(lambda f, x: f(x), in_axes=(0, None))(stacked, POINTS)
    np.testing.assert_allclose(together, jnp.stack([f(POINTS) for f in fields]), atol=2e-4)  # as above
    curved = jax.vmap(lambda f: laplacian(f)(POINTS[0]))(stacked)
    one_by_one = jnp.stack([laplacian(f)(POINTS[0]) for f in fields])
    np.testing.assert_allclose(curved, one_by_one, rtol=1e-3, atol=1e-4 * float(jnp.abs(one_by_one).max()))


def test_fields_that_differ_in_parameters_and_record_share_one_program():
    traces = []

    @jax.jit
    def evaluate(f, x):
        traces.append(f.record)
        return f(x)

    for seed in range(3):
        evaluate(make(seed, record={"psnr": float(seed), "notes": [{"a": [1, 2]}]}), POINTS)
    assert traces == [{}]
    evaluate(dataclasses.replace(make(), value_range=(0.0, 1.0)), POINTS)
    assert len(traces) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"frame": Frame((6, 11))},
        {"value_range": (0.0, 1.0)},
        {"kind": "heights"},
        {"kind": "solution", "frame": Grid((6, 10), (0.0, 0.0), (1.0, 2.0))},
        {"network": SIREN(2, 3, width=8, depth=1, omega=20.0, rngs=nnx.Rngs(0))},
    ],
)
def test_all_but_parameters_and_record_is_structure(change):
    one, same, other = (jax.tree.structure(f) for f in (make(0), make(1), dataclasses.replace(make(0), **change)))
    assert one == same
    assert hash(one) == hash(same)
    assert one != other


@pytest.mark.parametrize("kind", ["image", "sound", "video", "shape", "solution"])
def test_a_field_that_was_taken_apart_is_saved_to_the_same_bits(kind, tmp_path):
    d = {"sound": 1, "image": 2, "video": 3, "shape": 3, "solution": 2}[kind]
    options = {
        "sound": {"rate": 8000},
        "video": {"rate": 25.0},
        "shape": {"placement": Placement((0.0, 1.0, 2.0), 4.0), "value_range": (-4.0, 4.0)},
        "solution": {"frame": Grid((4, 8), (0.0, -3.0), (1.0, 5.0))},
    }.get(kind, {})
    network = SIREN(d, 1, width=4, depth=0, rngs=nnx.Rngs(0))
    field = NeuralField(**{"network": network, "frame": Frame((8,) * d), "kind": kind, "record": {"a": [1]}} | options)
    leaves, structure = jax.tree.flatten(field)
    again = jax.tree.unflatten(structure, leaves)
    assert again.record == {}  # of other parameters
    dataclasses.replace(again, record=field.record).save(tmp_path / "a.siren")
    field.save(tmp_path / "b.siren")
    assert (tmp_path / "a.siren").read_bytes() == (tmp_path / "b.siren").read_bytes()
    kept = load(tmp_path / "a.siren")
    assert jax.tree.structure(kept) == structure
    assert kept.record == {"a": [1]}


def test_placeholders_make_a_field_without_a_check():
    field = make()
    structure = jax.tree.structure(field)
    for leaf in (None, object(), jax.ShapeDtypeStruct((3,), jnp.float32), "word"):
        made = jax.tree.unflatten(structure, [leaf] * structure.num_leaves)
        assert isinstance(made, NeuralField)
        assert len(repr(made).splitlines()) == 3
    shapes = jax.eval_shape(lambda f: f, field)
    assert jax.tree.leaves(shapes)[0].shape == (8,)
    assert jax.eval_shape(lambda f, x: f(x), field, POINTS).shape == (5, 3)


def test_a_field_is_still_a_function_to_transformations(tmp_path):
    field = make()
    np.testing.assert_allclose(jax.jit(field)(POINTS), field(POINTS), atol=2e-4)  # as above
    partly = jax.jit(lambda call, x: call(x))(jax.tree_util.Partial(field), POINTS)
    np.testing.assert_allclose(partly, field(POINTS), atol=2e-4)
    assert {field: 1}[field] == 1


def test_the_offset_of_an_unknown_may_be_a_field_whose_parameters_are_not_fitted():
    field = NeuralField(SIREN(2, 1, width=8, depth=1, rngs=nnx.Rngs(0)), Frame((6, 10)))
    u = Ansatz(SIREN(2, 1, width=4, depth=0, rngs=nnx.Rngs(1)), offset=field, factor=lambda x: x[0])
    x = jnp.array([0.0, 0.3])
    np.testing.assert_allclose(u(x), field(x), rtol=1e-6)
    assert len(jax.tree.leaves(u)) == len(jax.tree.leaves(u.network))
