"""A network from PyTorch is the same function with the same derivatives, and goes back; code is not run."""

import functools
import itertools

import jax
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file

from siren_jax import SIREN, InputError, jacobian, laplacian
from siren_jax.files import pytorch

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


def coin(depth=2):
    """Sine layers that have a linear one, and a last one that has a linear one too."""
    linears = [torch.nn.Linear(n, m) for n, m in sizes(depth)]
    layers = [Wrapped(linear=linear, sine=Sine()) for linear in linears[:-1]]
    return Wrapped(net=torch.nn.Sequential(*layers), last_layer=Wrapped(linear=linears[-1]))


MODULES = {
    "coin": (coin, {}),
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
    network = pytorch.load(module.state_dict(), **settings)
    # Both round in float32, at phases up to 50: 1e-7 of a phase is 1e-5 of a derivative at most.
    assert_same(ours(network, points), value_jacobian_laplacian(module, points), 1e-5)


@EVERY
def test_in_float64_they_differ_by_rounding_alone(case, key, float64):
    module, settings = made(case)
    points = jax.random.uniform(key, (100, D), minval=-1)
    network = pytorch.load(module.double().state_dict(), **settings)
    assert_same(ours(network, points), value_jacobian_laplacian(module.double(), points), 1e-12)


@EVERY
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_saved_loads_strictly_into_the_module_and_is_the_same_function(case, suffix, tmp_path, key):
    module, settings = made(case)
    network = pytorch.load(module.state_dict(), **settings)
    omegas = {name: value for name, value in settings.items() if name != "outermost"}
    path = tmp_path / f"a{suffix}"
    pytorch.save(network, path, layout=case.split(",")[0], **omegas)
    state = torch.load(path, weights_only=True) if suffix == ".pth" else load_file(path)
    assert set(module.state_dict()) <= set(state)
    for name, parameter in module.state_dict().items():
        assert torch.equal(torch.as_tensor(state[name]), parameter)  # nothing to rescale: the same bits
    assert all(not np.any(np.asarray(state[name])) for name in set(state) - set(module.state_dict()))  # absent biases


@pytest.mark.parametrize(("layout", "make"), [("paper", paper), ("pip", pip), ("tutorial", tutorial)])
def test_a_network_of_other_omegas_becomes_one_of_the_module_s(layout, make, tmp_path, key):
    network = SIREN(D, C, width=WIDTH, depth=2, first_omega=43.0, omega=12.0, use_bias=False, rngs=nnx.Rngs(0))
    pytorch.save(network, tmp_path / "a.pth", layout=layout)
    module = make()
    module.load_state_dict(torch.load(tmp_path / "a.pth", weights_only=True), strict=True)
    points = jax.random.uniform(key, (100, D), minval=-1)
    assert_same(ours(network, points), value_jacobian_laplacian(module, points), 1e-5)
    again = pytorch.load(tmp_path / "a.pth")
    assert_same(ours(again, points), ours(network, points), 1e-5)


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.ones(8, 2).to_sparse(), "of the type Tensor; a dense array"),
        (torch.ones(1).expand(2**20, 2**20), "has 1,099,511,6[0-9,]+ weights"),
        (torch.ones(8, 2, device="meta"), "of the type Tensor; a dense array"),
    ],
)
def test_tensors_without_numbers_are_refused(tensor, message):
    with pytest.raises(InputError, match=message):
        pytorch.load({**paper().state_dict(), "net.net.0.0.weight": tensor})


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_tensors_of_other_types_are_read_as_float32(dtype, suffix, tmp_path):
    tensors = {name: tensor.to(dtype) for name, tensor in paper(depth=1).state_dict().items()}
    write = torch.save if suffix == ".pth" else safetensors.save_file
    write(tensors, tmp_path / f"a{suffix}")
    network = pytorch.load(tmp_path / f"a{suffix}")
    kernel = network.output.kernel[...]
    assert kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel, tensors["net.net.2.0.weight"].float().numpy().T)


class Code:
    def __reduce__(self):
        return print, ("this must not run",)


def test_code_in_a_file_is_refused_and_not_run(tmp_path, capsys):
    torch.save({"net.net.0.0.weight": Code()}, tmp_path / "a.pth")
    with pytest.raises(
        InputError, match=r"contains other objects than tensors, with which pickle could run code; write it with"
    ):
        pytorch.load(tmp_path / "a.pth")
    assert "must not" not in capsys.readouterr().out


def test_a_damaged_pth_file_is_refused(tmp_path):
    path = tmp_path / "a.pth"
    pytorch.save(pytorch.load(paper().state_dict()), path)
    data = path.read_bytes()
    for content in (b"", b"hello", data[:100], data[:-50]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            pytorch.load(path)
