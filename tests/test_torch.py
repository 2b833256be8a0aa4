"""State dicts are found by their names, say what is wrong with them, and go back; no PyTorch is needed for that."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from siren_jax import SIREN, Frame, InputError, ReLUMLP
from siren_jax.files import pytorch
from siren_jax.networks import changes


def state(*shapes, prefix="", name="net.net.{}.0"):
    """A state dict with weights of the given shapes."""
    random = np.random.default_rng(0)
    return {f"{prefix}{name.format(i)}.weight": random.uniform(-1, 1, shape) for i, shape in enumerate(shapes)}


PLAIN = state((8, 2), (8, 8), (1, 8))


@pytest.mark.parametrize(
    ("hidden", "last", "omega", "end"),
    [
        ("net.net.{}.0", "net.net.2.0", 30, lambda y: y),
        ("layers.{}", "last_layer", 1, lambda y: y),
        ("net.{}", "last_layer", 1, lambda y: y),
        ("net.{}.linear", "net.2", 30, lambda y: y),
        ("net.{}.linear", "net.2.linear", 30, lambda y: np.sin(30 * y)),
        ("net.{}.linear", "last_layer.linear", 30, lambda y: y),
    ],
)
def test_each_layout_is_equation_5_with_its_own_omegas(hidden, last, omega, end, tmp_path, float64):
    random = np.random.default_rng(0)
    shapes, names = [(8, 2), (8, 8), (1, 8)], [hidden.format(0), hidden.format(1), last]
    layers = [(random.uniform(-0.1, 0.1, shape), random.uniform(-0.1, 0.1, shape[0])) for shape in shapes]
    parts = {
        f"{name}.{part}": array
        for name, layer in zip(names, layers, strict=True)
        for part, array in zip(("weight", "bias"), layer, strict=True)
    }
    (v, a), (w, b), (u, c) = layers
    x = random.uniform(-1, 1, (5, 2))
    expected = end(np.sin(omega * (np.sin(30 * (x @ v.T + a)) @ w.T + b)) @ u.T + c)
    network = pytorch.load(parts)
    np.testing.assert_allclose(network(jnp.asarray(x)), expected, rtol=1e-12, atol=1e-12)  # float64: rounding only
    layouts = {"net.net.2.0": "paper", "last_layer": "pip", "last_layer.linear": "coin"}
    layout = layouts.get(last, "tutorial")
    pytorch.save(network, tmp_path / "a.safetensors", layout=layout)
    again = load_file(tmp_path / "a.safetensors")
    newest = {name.replace("net.", "layers.", 1) if layout == "pip" else name: array for name, array in parts.items()}
    assert again.keys() == newest.keys()
    assert all(np.array_equal(again[name], newest[name]) for name in again)  # nothing to rescale: the same bits


@pytest.mark.parametrize("place", ["inside", "outside"])
@pytest.mark.parametrize(
    ("hidden", "last", "settings"),
    [
        ("net.net.{}.0", "net.net.2.0", {}),
        ("layers.{}", "last_layer", {"omega": 20.0, "first_omega": 50.0}),
        ("net.{}.linear", "net.2", {"omega": 1.0}),  # hidden layers without an omega, or with it in the weights
        ("net.{}.linear", "net.2.linear", {"omega": 7.0}),
        ("net.{}.linear", "last_layer.linear", {}),
    ],
)
def test_biases_inside_or_outside_of_omega_are_the_same_function(hidden, last, settings, place, float64):
    random = np.random.default_rng(0)
    names, shapes = [hidden.format(0), hidden.format(1), last], [(8, 2), (8, 8), (1, 8)]
    weights = [random.uniform(-0.1, 0.1, shape) for shape in shapes]
    biases = [random.uniform(-np.pi, np.pi, shape[0]) for shape in shapes]
    parts = {f"{name}.weight": w for name, w in zip(names, weights, strict=True)}
    parts |= {f"{name}.bias": b for name, b in zip(names, biases, strict=True)}
    outside, omegas = place == "outside", (settings.get("first_omega", 30.0), settings.get("omega", 30.0))
    layer = lambda h, w, b, omega: np.sin(omega * (h @ w.T) + b if outside else omega * (h @ w.T + b))
    x = h = random.uniform(-1, 1, (5, 2))
    for w, b, omega in zip(weights, biases, omegas, strict=False):
        h = layer(h, w, b, omega)
    sine = last == "net.2.linear"
    expected = layer(h, weights[2], biases[2], omegas[1]) if sine else h @ weights[2].T + biases[2]
    network = pytorch.load(parts, bias_outside=outside, **settings)
    np.testing.assert_allclose(network(jnp.asarray(x)), expected, rtol=1e-11, atol=1e-11)  # phases of 100 in float64


def test_omegas_and_biases_that_are_unusual_are_doubted():
    network = SIREN(2, 1, width=64, depth=2, weight_scale=2.0, rngs=nnx.Rngs(0))
    parts = {}
    for i, linear in enumerate([*(layer.linear for layer in network.layers), network.output]):
        parts[f"net.net.{i}.0.weight"], parts[f"net.net.{i}.0.bias"] = linear.kernel[...].T, linear.bias[...]
    read = lambda omega, scale=1.0: pytorch.doubts(
        pytorch.load({name: scale * np.asarray(part) for name, part in parts.items()}, omega=omega)
    )
    assert read(30.0) == []
    (low,) = read(1.0)
    assert "standard deviation of about 0.0" in low
    assert any("standard deviation of about 6" in doubt for doubt in read(30.0, 30.0))  # omega is in the weights
    for i in (1, 2):
        parts[f"net.net.{i}.0.bias"] = np.random.default_rng(i).uniform(-np.pi, np.pi, 64)
    (outside,) = read(30.0)
    assert "may not multiply them by omega" in outside


@pytest.mark.parametrize(
    ("layout", "outermost"),
    [("paper", "linear"), ("paper", "sine"), ("pip", "linear"), ("pip", "sine"), ("pip", "tanh"), ("tutorial", "sine")],
)
def test_omegas_are_exchanged_for_those_of_the_layout(layout, outermost, tmp_path, key):
    settings = dict(width=8, depth=1, first_omega=43.0, omega=12.0, outermost=outermost)
    network, x = SIREN(2, 3, **settings, rngs=nnx.Rngs(0)), jax.random.uniform(key, (20, 2), minval=-1)
    pytorch.save(network, tmp_path / "a.safetensors", layout=layout)
    again = pytorch.load(tmp_path / "a.safetensors", outermost=outermost)
    assert (again.first_omega, again.omega) == (30.0, 1.0 if layout == "pip" else 30.0)
    np.testing.assert_allclose(again(x), network(x), atol=2e-5)  # float32 at phases up to 43


@pytest.mark.parametrize(
    "source",
    [
        state((8, 2), (8, 8), (1, 8), prefix="module."),
        state((8, 2), (8, 8), (1, 8), name="net.{}.0"),
        {"epoch": 3, "optimizer_state_dict": {"state": {}}, "model_state_dict": PLAIN},
        {"model": {"state_dict": PLAIN}},
        state((8, 2), (8, 8), (1, 8), prefix="_orig_mod.module."),
        state((8, 2), (8, 8), (1, 8), prefix="module._orig_mod."),
        state((8, 2), (8, 8), (1, 8), name="net._orig_mod.net.{}.module.0"),
        {"state_dict": state((8, 2), (8, 8), (1, 8), prefix="model."), "hyper_parameters": {"omega": 30}},
        dict(reversed(PLAIN.items())),
        {**PLAIN, "grid": np.zeros((4, 2))},
    ],
    ids=[
        "DataParallel",
        "FCBlock",
        "checkpoint",
        "nested",
        "compiled outside",
        "compiled inside",
        "compiled parts",
        "Lightning",
        "other order",
        "points",
    ],
)
def test_a_state_dict_is_found_in_its_wrapping(source):
    points = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (5, 2)), np.float32)
    found, plain = pytorch.load(source), pytorch.load(PLAIN)
    np.testing.assert_array_equal(found(points), plain(points))
    assert not found.use_bias


def test_more_than_ten_layers_are_taken_in_the_order_of_their_numbers():
    source = state((3, 2), *[(3, 3)] * 11, (1, 3))
    network = pytorch.load(source)
    for i, layer in enumerate(network.layers):
        np.testing.assert_array_equal(layer.linear.kernel[...], np.float32(source[f"net.net.{i}.0.weight"].T))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "a state dict of weights and biases is needed"),
        ({"epoch": 3, "loss": 0.1}, "this contains 'epoch', 'loss'; save model.state_dict"),
        ({**PLAIN, "norm.running_mean": np.zeros(3)}, "a state dict of weights and biases is needed"),
        (
            state((8, 2), (1, 8), name="blocks.{}.dense"),
            "but these are 'blocks.0.dense', 'blocks.1.dense'; rename them",
        ),
        ({**PLAIN, **state((8, 2), (8, 8), prefix="modulator.")}, "but these are 'modulator.net.net.0.0'"),
        (
            {f"{name}.{key}": value for name in ("model", "ema_model") for key, value in PLAIN.items()},
            "but these are 'ema_model.net.net.0.0'",
        ),
        (state((8, 2)), "a SIREN with layers named"),
        (state((8, 2), (16, 8), (1, 16)), r"'net.net.1.0.weight' needs the shape \(8, 8\) .* but has \(16, 8\)"),
        (state((8, 2), (8, 8), (1, 7)), r"'net.net.2.0.weight' needs the shape \(1, 8\) .* but has \(1, 7\)"),
        (state((8,), (1, 8)), r"has the shape \(8,\); \(units, coordinates\) is needed"),
        (state((8, 65), (1, 8)), "in_features = 65; up to 64"),
        ({**PLAIN, "net.net.0.0.bias": np.zeros(7)}, r"'net.net.0.0.bias' needs the shape \(8,\)"),
        ({**PLAIN, "net.net.0.0.weight": np.full((8, 2), np.nan)}, "not finite"),
        ({**PLAIN, "net.net.0.0.weight": "abc"}, "is of the type str; a dense array of numbers"),
        (
            {**PLAIN, "net.net.0.0.weight": np.broadcast_to(1.0, (2**20, 2**20))},
            "has 1,099,511,6[0-9,]+ weights",
        ),
    ],
)
def test_what_is_no_siren_is_refused_with_what_is_wrong(source, message):
    with pytest.raises(InputError, match=message):
        pytorch.load(source)


def test_a_checkpoint_within_itself_is_refused():
    source = {}
    source["model"] = source
    with pytest.raises(InputError, match="this contains 'model'"):
        pytorch.load(source)


@pytest.mark.parametrize("settings", [{"omega": 0.0}, {"first_omega": float("nan")}, {"outermost": "relu"}])
def test_settings_that_no_network_has_are_refused(settings):
    with pytest.raises(InputError, match=r"an omega is a number above 0|outermost is one of"):
        pytorch.load(PLAIN, **settings)


def test_a_damaged_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    pytorch.save(pytorch.load(PLAIN), path)
    data = path.read_bytes()
    for content in (b"", b"hello", data[:100], data[:-50]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="truncated"):
            pytorch.load(path)


def test_files_that_cannot_be_are_refused(tmp_path):
    network = pytorch.load(PLAIN)
    for act in (pytorch.load, functools.partial(pytorch.save, network)):
        with pytest.raises(InputError, match=r"ends in one of \.pth, \.pt, \.safetensors"):
            act(tmp_path / "a.onnx")
    with pytest.raises(InputError, match="there is no file"):
        pytorch.load(tmp_path / "a.pth")
    (tmp_path / "a.safetensors").write_bytes(b"mine")
    with pytest.raises(InputError, match="exists"):
        pytorch.save(network, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match="a SIREN is needed"):
        pytorch.save(ReLUMLP(2, 1, width=4, depth=0, rngs=nnx.Rngs(0)), tmp_path / "b.pth")
    assert (tmp_path / "a.safetensors").read_bytes() == b"mine"


@pytest.mark.parametrize(("outermost", "layout"), [("tanh", "paper"), ("sigmoid", "tutorial"), ("linear", "colab")])
def test_a_layout_whose_modules_end_otherwise_is_refused(outermost, layout, tmp_path):
    network = SIREN(2, 1, width=4, depth=0, outermost=outermost, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match=rf"ends in '{outermost}' cannot be written in the layout '{layout}'"):
        pytorch.save(network, tmp_path / "a.pth", layout=layout)


def test_without_pytorch_pth_is_refused_with_its_extra_and_safetensors_works(tmp_path, monkeypatch):
    network = pytorch.load(PLAIN)
    monkeypatch.setitem(sys.modules, "torch", None)
    pytorch.save(network, tmp_path / "a.safetensors")
    assert pytorch.load(tmp_path / "a.safetensors").width == 8
    (tmp_path / "a.pth").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"pip install 'siren-jax\[torch\]'"):
        pytorch.load(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("grid", "of_axis"),
    [
        ("ends", lambda n: np.linspace(-1, 1, n)),
        ("edges", lambda n: 2 * np.arange(n) / n - 1),
        ("centres", lambda n: (2 * np.arange(n) + 1 - n) / 9),
        ("rows", lambda n, rows: 2 * np.arange(n) / (rows - 1) - 1),
    ],
)
@pytest.mark.parametrize("shape", [(6, 9), (9, 4), (9, 9)])
def test_a_grid_is_the_frame_s_scaled_and_shifted(grid, of_axis, shape):
    along = [of_axis(n, shape[0]) if grid == "rows" else of_axis(n) for n in shape]
    theirs = 100 * np.stack(np.meshgrid(*along, indexing="ij"), -1)
    scale, shift = pytorch.points_of(grid, shape, 100.0)
    points = Frame(shape).coordinates(np.stack(np.indices(shape), -1))
    np.testing.assert_allclose(
        scale * points + shift, theirs, atol=1e-4
    )  # coordinates in float32: 6e-8 of 100 a few times


@pytest.mark.parametrize("arguments", [("ends", (1, 4)), ("middle", (4, 4)), ("ends", (4, 4), 0.0)])
def test_grids_that_cannot_be_are_refused(arguments):
    with pytest.raises(InputError, match=r"two samples|a grid is one of|a positive number"):
        pytorch.points_of(*arguments)


def test_other_points_go_into_the_first_layer(key, float64):
    network = float64(SIREN(2, 3, width=8, depth=1, rngs=nnx.Rngs(0)))
    scale, shift, x = np.array([1.5, 0.7]), np.array([0.1, -0.2]), jax.random.uniform(key, (7, 2), minval=-1)
    changed = changes.with_points(network, scale, shift)
    np.testing.assert_allclose(changed(x), network(scale * x + shift), rtol=1e-12)  # float64: rounding only


@pytest.mark.parametrize(
    ("outermost", "values"),
    [("linear", (0.0, 1.0)), ("linear", (-3.0, 5.0)), ("sigmoid", (0.0, 1.0)), ("tanh", (-1.0, 1.0))],
)
def test_other_values_go_into_the_last_layer(outermost, values, key, float64):
    network = float64(SIREN(2, 3, width=8, depth=1, outermost=outermost, rngs=nnx.Rngs(0)))
    x, (low, high) = jax.random.uniform(key, (7, 2), minval=-1), values
    changed = changes.with_values(network, *values)
    np.testing.assert_allclose(
        low + (changed(x) + 1) * (high - low) / 2, network(x), rtol=1e-12
    )  # float64: rounding only


def test_points_and_values_that_a_network_cannot_take_are_refused():
    odd = SIREN(2, 1, width=4, depth=0, use_bias=False, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match="without biases cannot be shifted"):
        changes.with_points(odd, np.ones(2), np.ones(2))
    with pytest.raises(InputError, match="without biases cannot be shifted"):
        changes.with_values(odd, 0.0, 1.0)
    with pytest.raises(InputError, match="from a lower to a higher"):
        changes.with_values(odd, 1.0, 1.0)
    bounded = SIREN(2, 1, width=4, depth=0, outermost="tanh", rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match="ends in 'tanh' does not take the values 0 to 1"):
        changes.with_values(bounded, 0.0, 1.0)
