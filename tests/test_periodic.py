"""A periodic network has its period exactly, with all derivatives: initially, after every fit, and from every file."""

import itertools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save

import siren_jax
from siren_jax import (
    SIREN,
    Frame,
    Hypernetwork,
    InputError,
    NeuralField,
    Signals,
    SineLayer,
    SumOfSquares,
    fit,
    fit_many,
    gradient,
    jacobian,
    laplacian,
    load,
    load_set,
    refine,
    supervise,
)
from siren_jax.cli import main
from siren_jax.fields.precision import cast
from siren_jax.files import pytorch, siren_file
from siren_jax.networks import changes, initializers
from siren_jax.subjects.start import read_start, started

PERIOD, OMEGA = 0.7, 40.0
SMALL = {"width": 24, "depth": 1, "first_omega": OMEGA}
POINTS = np.random.default_rng(0).uniform(-1, 1, (60, 2)).astype(np.float32)


def network(d=2, *, periodic=None, seed=0, **settings):
    return SIREN(d, 1, periodic=periodic or {1: PERIOD}, rngs=nnx.Rngs(seed), **(SMALL | settings))


def counts(siren, axis=1):
    """The numbers of periods of the units, as they are stored."""
    kernel = np.asarray(siren.layers[0].linear.kernel[...], np.float64)
    return kernel[axis] * siren.first_omega * siren.periodic[axis] / (2 * math.pi)


def rows(siren):
    return np.asarray(siren.layers[0].linear.kernel[...])[[p is not None for p in siren.periodic]]


def derivatives(u):
    """u, its gradient, its Laplacian and ∂³u/∂x_0²∂x_1 + …, as functions of points."""
    single = lambda x: u(x)[0]
    third = lambda x: jnp.einsum("ijk->", jax.hessian(jax.grad(single))(x))
    return [jax.vmap(f) for f in (u, gradient(u), laplacian(u), third)]


def aperiodicity(siren, dtype, points=POINTS):
    """|f(x + P·e) - f(x)| / |f|, for the periodic axes and for each f of `derivatives`; the largest of all."""
    with jax.enable_x64(dtype == np.float64):
        x, found = jnp.asarray(points, dtype), []
        for axis, period in enumerate(siren.periodic):
            if period is not None:
                moved = x.at[:, axis].add(period)
                for f in derivatives(siren):
                    found.append(jnp.linalg.norm(f(moved) - f(x)) / jnp.linalg.norm(f(x)))
    return max(map(float, found))


# Phases up to 40·1.7 radians round to 68·2^-24 or 68·2^-53; 20 times as much for the sums of units and layers.
ROUNDING = {np.float32: 20 * 68 * 2.0**-24, np.float64: 20 * 68 * 2.0**-53}
PRECISIONS = pytest.mark.parametrize("dtype", ROUNDING)


@PRECISIONS
@pytest.mark.parametrize("periodic", [{0: 0.5}, {1: PERIOD}, {0: 1, 1: 0.5}])
def test_a_network_and_its_derivatives_are_periodic_to_rounding(periodic, dtype):
    siren = network(periodic=periodic, seed=1, depth=2)
    assert aperiodicity(cast(siren, dtype), dtype) < ROUNDING[dtype]


@PRECISIONS
def test_a_network_is_periodic_whatever_its_weights_are(dtype, key):
    siren = cast(network(), dtype)
    with jax.enable_x64(dtype == np.float64):
        kernel = siren.layers[0].linear.kernel
        kernel[...] = kernel[...] + 0.1 * jax.random.normal(key, kernel.shape, kernel.dtype)
    assert aperiodicity(siren, dtype) < ROUNDING[dtype]


def test_a_float64_copy_of_a_float32_network_has_the_period_of_float64():
    assert aperiodicity(cast(network(), np.float64), np.float64) < ROUNDING[np.float64]


def test_derivatives_from_one_pass_are_those_of_autodiff():
    with jax.enable_x64(True):
        siren = cast(network(depth=2), np.float64)
        plain = lambda x: siren(x)  # no SIREN, so the operators differentiate it
        x = jnp.asarray(POINTS, jnp.float64)
        value, slope, curvature = siren.value_jacobian_laplacian(x)
        for one, f in zip((value, slope, curvature), (plain, jacobian(plain), laplacian(plain)), strict=True):
            other = jax.vmap(f)(x)
            assert jnp.linalg.norm(one - other) < 1e-12 * jnp.linalg.norm(other)  # float64: rounding only


def test_initial_frequencies_are_the_usual_ones_rounded_to_whole_numbers():
    settings = SMALL | {"width": 500}
    siren, usual = network(**settings), SIREN(2, 1, **settings, rngs=nnx.Rngs(0))
    drawn = np.asarray(usual.layers[0].linear.kernel[1]) * OMEGA * PERIOD / (2 * math.pi)
    assert np.ptp(np.round(drawn)) == 4  # -2 to 2
    np.testing.assert_allclose(counts(siren), np.round(drawn), atol=1e-6)
    usual.layers[0].linear.kernel[1] = siren.layers[0].linear.kernel[1]
    for one, other in zip(*(jax.tree.leaves(nnx.state(each)) for each in (siren, usual)), strict=True):
        np.testing.assert_array_equal(one, other)  # all other parameters


def test_without_other_inputs_no_unit_is_constant_and_with_them_some_depend_on_these_alone():
    lowest = 2 * 2 * math.pi / PERIOD * (1 + 1e-9)  # 2πd/P
    settings = {"first_omega": lowest, "width": 300}
    alone, both = network(1, periodic={0: PERIOD}, **settings), network(periodic={0: PERIOD, 1: PERIOD}, **settings)
    assert np.all(np.abs(counts(alone, 0)) > 0.99)
    assert np.all(np.maximum(np.abs(counts(both, 0)), np.abs(counts(both))) > 0.99)
    with_time = counts(network(**settings))
    assert 100 < np.sum(np.abs(with_time) < 0.01) < 200  # half of them, within 6 standard deviations


@pytest.mark.parametrize("seed", range(20))
def test_the_narrowest_network_depends_on_each_periodic_coordinate(seed):
    siren = network(periodic={0: 1, 1: PERIOD}, width=2, seed=seed, kernel_init=initializers.symmetric_uniform(1e-3))
    for axis in (0, 1):
        assert np.abs(counts(siren, axis)).max() == pytest.approx(1, abs=1e-6)


def test_a_fourier_mode_of_the_period_is_two_units_of_its_frequency():
    with jax.enable_x64(True):
        siren = cast(network(1, periodic={0: PERIOD}, width=64, depth=0), np.float64)
        x = jnp.linspace(0, 3 * PERIOD, 200)[:, None]
        for m, phase in itertools.product((1, 2, 3), (0.0, 0.4)):
            mode = jnp.sin(2 * math.pi * m * x / PERIOD + phase)
            units = jnp.asarray(np.flatnonzero(np.abs(np.round(counts(siren, 0))) == m)[:2])
            basis = siren.layers[0](x)[:, units]
            weights = jnp.linalg.lstsq(basis, mode)[0]
            assert jnp.abs(basis @ weights - mode).max() < 1e-11  # rounding, times the condition of two phases


def target(x):
    return jnp.sin(2 * math.pi * x[:, 1:] / PERIOD) * jnp.exp(x[:, :1])


BATCH = {"coordinates": jnp.asarray(POINTS), "value": target(jnp.asarray(POINTS))}


def by_adam(siren):
    recipe = siren_jax.recipes.TUNED["values"]
    settings = {"optimizer": recipe.optimizer(siren), "schedule": recipe.schedule, "average": True}
    return fit(siren, supervise("value"), lambda key, step: BATCH, key=jax.random.key(0), steps=20, **settings)


METHODS = {
    "Adam": (np.float32, by_adam),
    "L-BFGS": (np.float32, lambda siren: refine(siren, supervise("value"), BATCH, steps=20)),
    "L-BFGS in float64": (np.float64, lambda siren: refine(siren, supervise("value"), BATCH, steps=20, double=True)),
    "Gauss-Newton": (
        np.float64,
        lambda siren: refine(
            siren,
            SumOfSquares(lambda u, batch: {"value": jax.vmap(u)(batch["coordinates"]) - batch["value"]}),
            BATCH,
            steps=20,
            method="gauss-newton",
        ),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_fit_changes_all_weights_but_the_frequencies(method):
    dtype, fitted = METHODS[method]
    siren = network()
    found = fitted(siren)
    assert found.history["loss"][-1] < found.history["loss"][0]
    assert rows(found.network).dtype == dtype
    np.testing.assert_array_equal(rows(found.network), rows(siren))
    for before, after in zip(*(jax.tree.leaves(nnx.state(each)) for each in (siren, found.network)), strict=True):
        assert np.any(np.asarray(before) != np.asarray(after))
    assert aperiodicity(found.network, dtype) < ROUNDING[dtype]


def test_frequencies_have_no_gradient():
    siren = network()
    graphdef, params = nnx.split(siren)
    for order in range(4):
        loss = lambda params, order=order: jnp.sum(derivatives(nnx.merge(graphdef, params))[order](POINTS) ** 2)
        slope = nnx.merge(graphdef, jax.grad(loss)(params)).layers[0].linear.kernel[...]
        assert np.all(np.asarray(slope[1]) == 0)
        assert np.all(np.asarray(slope[0]) != 0)


@pytest.mark.parametrize(
    ("periodic", "words"),
    [
        ({2: 1.0}, "coordinates from 0 to 1 and their periods, but got 2"),
        ({-1: 1.0}, "coordinates from 0 to 1 and their periods, but got -1"),
        ({0: 0.0}, "period of coordinate 0 is a positive number, .* but is 0.0"),
        ({0: -1.0}, "but is -1.0"),
        ({0: math.inf}, "but is inf"),
        ({0: math.nan}, "but is nan"),
        (
            {1: 0.1},
            r"first_omega = 40 is too low for the period 0.1 of coordinate 1: .* first_omega of 125\.664 or more",
        ),
    ],
)
def test_periods_that_no_network_can_have_are_refused(periodic, words):
    with pytest.raises(InputError, match=words):
        network(periodic=periodic)


def test_the_first_omega_that_the_message_names_is_enough():
    with pytest.raises(InputError, match=r"first_omega of 12\.567 or more"):
        network(periodic={0: 1.0}, first_omega=12.0)
    network(periodic={0: 1.0}, first_omega=12.567)


@pytest.mark.parametrize("use_bias", [True, False])
def test_a_layer_alone_is_periodic_too(use_bias, key):
    layer = SineLayer(3, 8, omega=9.0, is_first=True, use_bias=use_bias, periodic={2: 4}, rngs=nnx.Rngs(0))
    x = jax.random.uniform(key, (10, 3), minval=-1)
    # Phases up to 9·5 radians in float32.
    np.testing.assert_allclose(layer(x.at[:, 2].add(4.0)), layer(x), atol=20 * 45 * 2.0**-24)


@pytest.mark.parametrize("precision", siren_file.PRECISIONS)
def test_a_file_of_every_precision_keeps_the_periods(precision, tmp_path):
    field = NeuralField(network(outermost="tanh"), Frame((6, 10)), (0.0, 2.0))
    field.save(tmp_path / "a.siren", precision=precision)
    found = load(tmp_path / "a.siren").network
    dtype = np.float64 if precision == "float64" else np.float32
    assert found.periodic == (None, PERIOD)
    np.testing.assert_array_equal(rows(found), rows(field.network))
    assert aperiodicity(found, dtype) < ROUNDING[dtype]
    load(tmp_path / "a.siren").save(tmp_path / "b.siren", precision=precision)
    assert (tmp_path / "a.siren").read_bytes() == (tmp_path / "b.siren").read_bytes()


def test_a_file_is_read_whose_first_omega_is_too_low_for_new_networks(tmp_path):
    low = network(periodic={1: 0.01}, kernel_init=initializers.symmetric_uniform(30.0))
    field = NeuralField(low, Frame((6, 10)))
    field.save(tmp_path / "a.siren")
    np.testing.assert_array_equal(load(tmp_path / "a.siren").render(), field.render())


def test_a_network_without_periods_is_written_without_the_entry(tmp_path):
    plain = SIREN(2, 1, **SMALL, periodic={}, rngs=nnx.Rngs(0))
    assert plain.periodic == ()
    assert "periodic" not in siren_file.architecture_of(plain)
    assert siren_file.architecture_of(network())["periodic"] == [None, PERIOD]


REFUSED = [
    *(None, {}, {"1": 0.7}, "ab", 0.7, [], [0.7], [None, 0.7, None], [None, None], [0, 0.7], [-1.0, None]),
    *([True, None], ["1", None], [[1.0], None], [1e-19, None], [1e19, None], [10**400, None], [1e-300, 1e300]),
]


def with_periodic(periodic, **changes):
    field = NeuralField(network(), Frame((6, 10)))
    data = field.to_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["siren"])
    header["network"] |= {"periodic": periodic}
    header |= changes
    arrays = {".".join(map(str, n)): np.asarray(leaf[...]) for n, leaf in nnx.to_flat_state(nnx.state(network()))}
    return save(arrays, metadata={"siren": json.dumps(header)})


@pytest.mark.parametrize("periodic", REFUSED, ids=str)
def test_a_header_with_other_periods_is_refused(periodic, tmp_path):
    (tmp_path / "a.siren").write_bytes(with_periodic(periodic))
    with pytest.raises(InputError, match=r"has periodic = .*a list of 2 is accepted"):
        load(tmp_path / "a.siren")


def test_only_version_2_and_a_siren_have_periods(tmp_path):
    (tmp_path / "a.siren").write_bytes(with_periodic([None, 0.7]))
    assert load(tmp_path / "a.siren").network.periodic == (None, 0.7)
    (tmp_path / "a.siren").write_bytes(with_periodic([None, 0.7], format=1))
    with pytest.raises(InputError, match="does not describe a network"):
        load(tmp_path / "a.siren")


@PRECISIONS
def test_stretched_coordinates_have_stretched_periods(dtype):
    siren = cast(network(periodic={0: 1.0, 1: PERIOD}), dtype)
    scale, shift = np.array([2.5, 0.1]), np.array([0.3, -0.2])
    found = changes.with_points(siren, scale, shift)
    assert found.periodic == pytest.approx((0.4, 10 * PERIOD))
    assert siren.periodic == (1.0, PERIOD)
    with jax.enable_x64(dtype == np.float64):
        expected = siren(jnp.asarray(scale * POINTS + shift, dtype))
        np.testing.assert_allclose(found(jnp.asarray(POINTS, dtype)), expected, atol=200 * ROUNDING[dtype])
    # Moved by a period of 7, coordinates reach 8.
    assert aperiodicity(found, dtype) < 5 * ROUNDING[dtype]


def test_a_state_dict_has_the_whole_numbers_of_periods(tmp_path):
    siren = cast(network(), np.float64)
    siren.layers[0].linear.kernel = nnx.Param(jnp.asarray(np.asarray(siren.layers[0].linear.kernel) * (1 + 1e-3)))
    pytorch.save(siren, tmp_path / "a.safetensors", first_omega=7.0)
    state = load_file(tmp_path / "a.safetensors")
    found = state["net.net.0.0.weight"][:, 1] * 7.0 * PERIOD / (2 * math.pi)
    np.testing.assert_allclose(found, np.round(found), atol=1e-12)
    np.testing.assert_array_equal(np.round(found), np.round(counts(siren)))
    h = np.asarray(POINTS, np.float64)
    for i, omega in ((0, 7.0), (1, 30.0)):
        h = np.sin(omega * (h @ state[f"net.net.{i}.0.weight"].T + state[f"net.net.{i}.0.bias"]))
    with jax.enable_x64(True):
        expected = siren(jnp.asarray(POINTS, jnp.float64))
    np.testing.assert_allclose(h @ state["net.net.2.0.weight"].T + state["net.net.2.0.bias"], expected, atol=1e-12)


def test_a_module_of_pytorch_computes_the_same_function(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is the other side of the comparison")
    siren = network()
    pytorch.save(siren, tmp_path / "a.safetensors")
    state = {name: torch.from_numpy(array) for name, array in load_file(tmp_path / "a.safetensors").items()}
    h = torch.from_numpy(POINTS)
    for i in (0, 1):
        h = torch.sin(30.0 * torch.nn.functional.linear(h, *(state[f"net.net.{i}.0.{n}"] for n in ("weight", "bias"))))
    y = torch.nn.functional.linear(h, state["net.net.2.0.weight"], state["net.net.2.0.bias"])
    np.testing.assert_allclose(y.numpy(), siren(jnp.asarray(POINTS)), atol=ROUNDING[np.float32])


@pytest.mark.slow
def test_many_fits_keep_the_periods_of_their_network(tmp_path):
    y, x = np.mgrid[:8, :8] / 8
    waves = np.array([np.sin(2 * math.pi * (x + shift)) * y for shift in (0.1, 0.6)], np.float32)
    make = lambda rngs: SIREN(2, 1, width=8, depth=1, first_omega=8.0, periodic={1: 2.0}, rngs=rngs)
    signals = Signals(waves, values=(-1.0, 1.0))
    fit_many(signals, make, key=jax.random.key(0), steps=20, out=tmp_path / "set")
    for field in load_set(tmp_path / "set"):
        np.testing.assert_allclose(counts(field.network), np.round(counts(field.network)), atol=1e-6)
        assert aperiodicity(field.network, np.float32) < ROUNDING[np.float32]
    with pytest.raises(InputError, match="own_omega=True would change the whole numbers of periods"):
        fit_many(signals, make, key=jax.random.key(0), steps=20, own_omega=True)


def test_a_fit_that_starts_from_a_periodic_field_keeps_its_periods_and_first_omega():
    start = read_start(NeuralField(network(periodic={1: 2.0}), Frame((8, 8))))
    picture = siren_jax.open(np.random.default_rng(0).integers(0, 255, (8, 8, 1), np.uint8)).subject
    recipe = siren_jax.recipes.TUNED["values"]
    found, _ = started(start, picture, recipe)
    assert found.periodic == (None, 2.0)
    np.testing.assert_array_equal(rows(found), rows(start.network))
    with pytest.raises(InputError, match="first_omega 40; 5 would change"):
        started(start, picture, recipe._replace(first_omega=5.0), keep_omega=False)


def test_a_hypernetwork_of_a_periodic_network_is_refused():
    with pytest.raises(InputError, match="give a SIREN without periodic"):
        Hypernetwork(network(), rngs=nnx.Rngs(0))


def test_the_periods_are_shown(tmp_path, capsys):
    field = NeuralField(network(periodic={0: 2, 1: PERIOD}), Frame((6, 10)))
    assert "period 2 in coordinate 0 and 0.7 in coordinate 1" in repr(field)
    field.save(tmp_path / "a.siren")
    assert main(["info", str(tmp_path / "a.siren")]) == 0
    assert "periodic   period 2 in coordinate 0 and 0.7 in coordinate 1" in capsys.readouterr().out
