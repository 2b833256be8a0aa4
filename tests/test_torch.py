"""A network from PyTorch is the same function with the same derivatives, and goes back; other files are refused."""

import functools
import itertools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

import siren_jax.torch
from siren_jax import SIREN, Frame, InputError, ReLUMLP, jacobian, laplacian

torch = pytest.importorskip(
    "torch", reason="PyTorch is the other side of the comparison; it comes with the torch extra"
)
safetensors = pytest.importorskip("safetensors.torch")
D, C, WIDTH = 2, 3, 32


class Sine(torch.nn.Module):
    def __init__(self, omega=30.0):
        super().__init__()
        self.omega = omega

    def forward(self, x):
        return torch.sin(self.omega * x)


class Layer(torch.nn.Linear):
    def __init__(self, n, m, end, use_bias):
        super().__init__(n, m, bias=use_bias)
        self.end = end

    def forward(self, x):
        return self.end(super().forward(x))


class Wrapped(torch.nn.Module):
    def __init__(self, **parts):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        for part in self.children():
            x = part(x)
        return x


def sizes(depth):
    return itertools.pairwise([D, *[WIDTH] * (depth + 1), C])


def paper(depth=2, end=torch.nn.Identity):
    """A network in a network: pairs of a linear layer and its sine, of which the last may be alone."""
    ends = [Sine()] * (depth + 1) + [end()]
    pairs = [torch.nn.Sequential(torch.nn.Linear(n, m), end) for (n, m), end in zip(sizes(depth), ends, strict=True)]
    return Wrapped(net=Wrapped(net=torch.nn.Sequential(*pairs)))


def pip(depth=2, end=torch.nn.Identity, first_omega=30.0, omega=1.0, use_bias=True):
    """A list of layers that have weight and bias themselves, and a last one."""
    ends = [Sine(first_omega), *[Sine(omega)] * depth, end()]
    *layers, last = [Layer(n, m, end, use_bias) for (n, m), end in zip(sizes(depth), ends, strict=True)]
    return Wrapped(layers=torch.nn.Sequential(*layers), last_layer=last)


def tutorial(depth=2, first_omega=30.0, omega=30.0, sine=False):
    """Sine layers that have a linear one, and a linear one, or a sine layer, at the end."""
    linears = [torch.nn.Linear(n, m) for n, m in sizes(depth)]
    omegas = [first_omega, *[omega] * (depth + sine)]
    layers = [Wrapped(linear=linear, sine=Sine(omega)) for linear, omega in zip(linears, omegas, strict=False)]
    return Wrapped(net=torch.nn.Sequential(*layers, *linears[len(layers) :]))


MODULES = {
    "paper": (paper, {}),
    "paper, sine": (functools.partial(paper, end=Sine), {"outermost": "sine"}),
    "paper, one layer": (functools.partial(paper, depth=0), {}),
    "pip": (pip, {}),
    "pip, sigmoid": (functools.partial(pip, end=torch.nn.Sigmoid), {"outermost": "sigmoid"}),
    "pip, tanh": (functools.partial(pip, end=torch.nn.Tanh, use_bias=False), {"outermost": "tanh"}),
    "pip, omegas": (functools.partial(pip, first_omega=50.0, omega=20.0), {"first_omega": 50.0, "omega": 20.0}),
    "tutorial": (tutorial, {}),
    "tutorial, sine": (functools.partial(tutorial, sine=True), {}),
    "tutorial, omegas": (functools.partial(tutorial, first_omega=9.0, omega=4.0), {"first_omega": 9.0, "omega": 4.0}),
}
EVERY = pytest.mark.parametrize("case", MODULES)


def made(case):
    """The module with the weights of a SIREN as it begins, and how it is read."""
    torch.manual_seed(0)
    make, settings = MODULES[case]
    module, omega = make(), settings.get("omega", 1.0 if "pip" in case else 30.0)
    for name, parameter in module.named_parameters():
        if name.endswith("weight") and parameter.shape[1] == WIDTH:
            torch.nn.init.uniform_(parameter, -((6 / WIDTH) ** 0.5) / omega, (6 / WIDTH) ** 0.5 / omega)
    return module, settings


def value_jacobian_laplacian(module, points):
    """By double backward, channel by channel."""
    x = torch.from_numpy(np.array(points)).requires_grad_()
    y = module(x)
    slopes = [torch.autograd.grad(y[:, k].sum(), x, create_graph=True)[0] for k in range(C)]
    second = [
        sum(torch.autograd.grad(slope[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(D)) for slope in slopes
    ]
    return [part.detach().numpy() for part in (y, torch.stack(slopes, 1), torch.stack(second, 1))]


def ours(network, points):
    return jax.jit(jax.vmap(lambda x: (network(x), jacobian(network)(x), laplacian(network)(x))))(points)


def assert_same(one, other, tolerance):
    for a, b in zip(one, other, strict=True):
        assert a.shape == b.shape
        assert np.linalg.norm(a - b) < tolerance * np.linalg.norm(b)


@EVERY
def test_value_gradient_and_laplacian_are_those_of_the_module(case, key):
    module, settings = made(case)
    points = jax.random.uniform(key, (100, D), minval=-1)
    network = siren_jax.torch.load(module.state_dict(), **settings)
    # Both round in float32, at phases up to 50: 1e-7 of a phase is 1e-5 of a derivative at most.
    assert_same(ours(network, points), value_jacobian_laplacian(module, points), 1e-5)


@EVERY
def test_in_float64_they_differ_by_rounding_alone(case, key, float64):
    module, settings = made(case)
    points = jax.random.uniform(key, (100, D), minval=-1)
    network = siren_jax.torch.load(module.double().state_dict(), **settings)
    assert_same(ours(network, points), value_jacobian_laplacian(module.double(), points), 1e-12)


@EVERY
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_saved_loads_strictly_into_the_module_and_is_the_same_function(case, suffix, tmp_path, key):
    module, settings = made(case)
    network = siren_jax.torch.load(module.state_dict(), **settings)
    omegas = {name: value for name, value in settings.items() if name != "outermost"}
    path = tmp_path / f"a{suffix}"
    siren_jax.torch.save(network, path, layout=case.split(",")[0], **omegas)
    state = torch.load(path, weights_only=True) if suffix == ".pth" else load_file(path)
    assert set(module.state_dict()) <= set(state)
    for name, parameter in module.state_dict().items():
        assert torch.equal(torch.as_tensor(state[name]), parameter)  # nothing to rescale: the same bits
    assert all(not np.any(np.asarray(state[name])) for name in set(state) - set(module.state_dict()))  # absent biases


@pytest.mark.parametrize(("layout", "make"), [("paper", paper), ("pip", pip), ("tutorial", tutorial)])
def test_a_network_of_other_omegas_becomes_one_of_the_module_s(layout, make, tmp_path, key):
    network = SIREN(D, C, width=WIDTH, depth=2, first_omega=43.0, omega=12.0, use_bias=False, rngs=nnx.Rngs(0))
    siren_jax.torch.save(network, tmp_path / "a.pth", layout=layout)
    module = make()
    module.load_state_dict(torch.load(tmp_path / "a.pth", weights_only=True), strict=True)
    points = jax.random.uniform(key, (100, D), minval=-1)
    assert_same(ours(network, points), value_jacobian_laplacian(module, points), 1e-5)
    again = siren_jax.torch.load(tmp_path / "a.pth")
    assert_same(ours(again, points), ours(network, points), 1e-5)


def state(*shapes, prefix="", name="net.net.{}.0"):
    """A state dict with weights of the given shapes."""
    random = np.random.default_rng(0)
    return {f"{prefix}{name.format(i)}.weight": random.uniform(-1, 1, shape) for i, shape in enumerate(shapes)}


PLAIN = state((8, 2), (8, 8), (1, 8))


@pytest.mark.parametrize(
    "source",
    [
        state((8, 2), (8, 8), (1, 8), prefix="module."),
        state((8, 2), (8, 8), (1, 8), name="net.{}.0"),
        {"epoch": 3, "optimizer_state_dict": {"state": {}}, "model_state_dict": PLAIN},
        {"model": {"state_dict": PLAIN}},
        dict(reversed(PLAIN.items())),
        {**PLAIN, "grid": np.zeros((4, 2))},
        {name: torch.from_numpy(array).requires_grad_() for name, array in PLAIN.items()},
    ],
    ids=["DataParallel", "FCBlock", "checkpoint", "nested", "other order", "points", "tensors"],
)
def test_a_state_dict_is_found_in_its_wrapping(source):
    points = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (5, 2)), np.float32)
    found, plain = siren_jax.torch.load(source), siren_jax.torch.load(PLAIN)
    np.testing.assert_array_equal(found(points), plain(points))
    assert not found.use_bias


def test_more_than_ten_layers_are_taken_in_the_order_of_their_numbers():
    source = state((3, 2), *[(3, 3)] * 11, (1, 3))
    network = siren_jax.torch.load(source)
    for i, layer in enumerate(network.layers):
        np.testing.assert_array_equal(layer.linear.kernel[...], np.float32(source[f"net.net.{i}.0.weight"].T))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_tensors_of_other_types_are_read_as_float32(dtype, suffix, tmp_path):
    tensors = {name: torch.from_numpy(array).to(dtype) for name, array in PLAIN.items()}
    write = torch.save if suffix == ".pth" else safetensors.save_file
    write(tensors, tmp_path / f"a{suffix}")
    network = siren_jax.torch.load(tmp_path / f"a{suffix}")
    kernel = network.output.kernel[...]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, tensors["net.net.2.0.weight"].float().numpy().T)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({}, "a state dict of weights and biases is needed"),
        ({"epoch": 3, "loss": 0.1}, "this holds 'epoch', 'loss'; save model.state_dict"),
        ({**PLAIN, "norm.running_mean": np.zeros(3)}, "a state dict of weights and biases is needed"),
        (state((8, 2), (1, 8), name="blocks.{}.dense"), "but these are blocks.0.dense, blocks.1.dense; rename them"),
        (state((8, 2)), "a SIREN with layers named"),
        (state((8, 2), (16, 8), (1, 16)), r"net.net.1.0.weight has the shape \(8, 8\) .* but has \(16, 8\)"),
        (state((8, 2), (8, 8), (1, 7)), r"net.net.2.0.weight has the shape \(1, 8\) .* but has \(1, 7\)"),
        (state((8,), (1, 8)), r"has the shape \(8,\); \(units, coordinates\) is needed"),
        (state((8, 65), (1, 8)), "in_features = 65; up to 64"),
        ({**PLAIN, "net.net.0.0.bias": np.zeros(7)}, r"net.net.0.0.bias has the shape \(8,\)"),
        ({**PLAIN, "net.net.0.0.weight": np.full((8, 2), np.nan)}, "not finite"),
        ({**PLAIN, "net.net.0.0.weight": "abc"}, "of the type str; a dense array of numbers"),
        ({**PLAIN, "net.net.0.0.weight": torch.ones(8, 2).to_sparse()}, "of the type Tensor; a dense array"),
        ({**PLAIN, "net.net.0.0.weight": torch.ones(1).expand(2**20, 2**20)}, "1,099,511,627,776 values"),
    ],
)
def test_what_is_no_siren_is_refused_with_what_is_wrong(source, message):
    with pytest.raises(InputError, match=message):
        siren_jax.torch.load(source)


def test_a_checkpoint_within_itself_is_refused():
    source = {}
    source["model"] = source
    with pytest.raises(InputError, match="this holds 'model'"):
        siren_jax.torch.load(source)


@pytest.mark.parametrize("settings", [{"omega": 0.0}, {"first_omega": float("nan")}, {"outermost": "relu"}])
def test_settings_that_no_network_has_are_refused(settings):
    with pytest.raises(InputError, match=r"an omega is a number above 0|outermost is one of"):
        siren_jax.torch.load(PLAIN, **settings)


class Code:
    def __reduce__(self):
        return print, ("this must not run",)


def test_code_in_a_file_is_refused_and_not_run(tmp_path, capsys):
    torch.save({"net.net.0.0.weight": Code()}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=r"holds more than tensors, of which pickle might run code; write it with"):
        siren_jax.torch.load(tmp_path / "a.pth")
    assert "must not" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_damaged_file_is_refused(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    siren_jax.torch.save(siren_jax.torch.load(PLAIN), path)
    data = path.read_bytes()
    for content in (b"", b"hello", data[:100], data[:-50]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"damaged|truncated"):
            siren_jax.torch.load(path)


def test_files_that_cannot_be_are_refused(tmp_path):
    network = siren_jax.torch.load(PLAIN)
    for act in (siren_jax.torch.load, functools.partial(siren_jax.torch.save, network)):
        with pytest.raises(InputError, match=r"ends in one of \.pth, \.pt, \.safetensors"):
            act(tmp_path / "a.onnx")
    with pytest.raises(InputError, match="there is no file"):
        siren_jax.torch.load(tmp_path / "a.pth")
    (tmp_path / "a.pth").write_bytes(b"mine")
    with pytest.raises(InputError, match="exists"):
        siren_jax.torch.save(network, tmp_path / "a.pth")
    with pytest.raises(InputError, match="a SIREN is needed"):
        siren_jax.torch.save(ReLUMLP(2, 1, width=4, depth=0, rngs=nnx.Rngs(0)), tmp_path / "b.pth")
    assert (tmp_path / "a.pth").read_bytes() == b"mine"


@pytest.mark.parametrize(("outermost", "layout"), [("tanh", "paper"), ("sigmoid", "tutorial"), ("linear", "colab")])
def test_a_layout_whose_modules_end_otherwise_is_refused(outermost, layout, tmp_path):
    network = SIREN(2, 1, width=4, depth=0, outermost=outermost, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match=rf"ends in '{outermost}' cannot be written in the layout '{layout}'"):
        siren_jax.torch.save(network, tmp_path / "a.pth", layout=layout)


def test_without_pytorch_pth_is_refused_with_its_extra_and_safetensors_works(tmp_path, monkeypatch):
    network = siren_jax.torch.load(PLAIN)
    monkeypatch.setitem(sys.modules, "torch", None)
    siren_jax.torch.save(network, tmp_path / "a.safetensors")
    assert siren_jax.torch.load(tmp_path / "a.safetensors").width == 8
    (tmp_path / "a.pth").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"pip install 'siren-jax\[torch\]'"):
        siren_jax.torch.load(tmp_path / "a.pth")


@pytest.mark.parametrize(
    ("grid", "of_axis"),
    [
        ("ends", lambda n: np.linspace(-1, 1, n)),
        ("edges", lambda n: 2 * np.arange(n) / n - 1),
        ("centres", lambda n: (2 * np.arange(n) + 1 - n) / 9),
    ],
)
@pytest.mark.parametrize("shape", [(6, 9), (9, 4), (9, 9)])
def test_a_grid_is_the_frame_s_scaled_and_shifted(grid, of_axis, shape):
    theirs = 100 * np.stack(np.meshgrid(*map(of_axis, shape), indexing="ij"), -1)
    scale, shift = siren_jax.torch.points_of(grid, shape, 100.0)
    points = Frame(shape).coordinates(np.stack(np.indices(shape), -1))
    np.testing.assert_allclose(
        scale * points + shift, theirs, atol=1e-4
    )  # coordinates in float32: 6e-8 of 100 a few times


@pytest.mark.parametrize("arguments", [("ends", (1, 4)), ("middle", (4, 4)), ("ends", (4, 4), 0.0)])
def test_grids_that_cannot_be_are_refused(arguments):
    with pytest.raises(InputError, match=r"two samples|a grid is one of|a positive number"):
        siren_jax.torch.points_of(*arguments)


def test_other_points_go_into_the_first_layer(key, float64):
    network = float64(SIREN(2, 3, width=8, depth=1, rngs=nnx.Rngs(0)))
    scale, shift, x = np.array([1.5, 0.7]), np.array([0.1, -0.2]), jax.random.uniform(key, (7, 2), minval=-1)
    changed = siren_jax.torch.with_points(network, scale, shift)
    np.testing.assert_allclose(changed(x), network(scale * x + shift), rtol=1e-12)  # float64: rounding only


@pytest.mark.parametrize(
    ("outermost", "values"),
    [("linear", (0.0, 1.0)), ("linear", (-3.0, 5.0)), ("sigmoid", (0.0, 1.0)), ("tanh", (-1.0, 1.0))],
)
def test_other_values_go_into_the_last_layer(outermost, values, key, float64):
    network = float64(SIREN(2, 3, width=8, depth=1, outermost=outermost, rngs=nnx.Rngs(0)))
    x, (low, high) = jax.random.uniform(key, (7, 2), minval=-1), values
    changed = siren_jax.torch.with_values(network, *values)
    np.testing.assert_allclose(
        low + (changed(x) + 1) * (high - low) / 2, network(x), rtol=1e-12
    )  # float64: rounding only


def test_points_and_values_that_a_network_cannot_take_are_refused():
    odd = SIREN(2, 1, width=4, depth=0, use_bias=False, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match="without biases cannot be shifted"):
        siren_jax.torch.with_points(odd, np.ones(2), np.ones(2))
    with pytest.raises(InputError, match="without biases cannot be shifted"):
        siren_jax.torch.with_values(odd, 0.0, 1.0)
    with pytest.raises(InputError, match="from a lower to a higher"):
        siren_jax.torch.with_values(odd, 1.0, 1.0)
    bounded = SIREN(2, 1, width=4, depth=0, outermost="tanh", rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match="ends in 'tanh' does not take the values 0 to 1"):
        siren_jax.torch.with_values(bounded, 0.0, 1.0)
