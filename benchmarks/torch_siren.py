"""The network and losses of the other benchmarks in PyTorch, in the form of the authors' tutorial.

Derivatives with respect to the coordinates come from an autograd graph that is kept for the gradient with respect to
the parameters. The whole picture is one batch.
"""

import jax
import torch
from flax import nnx
from torch import Tensor, nn

from siren_jax import SIREN


def device() -> str:
    """The device of JAX's steps. If PyTorch was built without CUDA, it raises an error on a GPU."""
    return "cpu" if jax.default_backend() == "cpu" else "cuda"


class SineLayer(nn.Module):
    def __init__(self, in_features: int, out_features: int, omega: float):
        super().__init__()
        self.omega = omega
        self.linear = nn.Linear(in_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.omega * self.linear(x))


class Siren(nn.Module):
    def __init__(self, network: SIREN):
        """Copies the weights of one of our networks."""
        super().__init__()
        layers = [SineLayer(*layer.linear.kernel[...].shape, layer.omega) for layer in network.layers]
        output = nn.Linear(network.width, network.out_features)
        for theirs, ours in zip([*(layer.linear for layer in layers), output], _linears(network), strict=True):
            theirs.load_state_dict({"weight": _tensor(ours.kernel).T, "bias": _tensor(ours.bias)})
        self.net = nn.Sequential(*layers, output)

    def forward(self, coordinates: Tensor) -> tuple[Tensor, Tensor]:
        coordinates = coordinates.clone().detach().requires_grad_(True)
        return self.net(coordinates), coordinates


def gradient(y: Tensor, x: Tensor) -> Tensor:
    return torch.autograd.grad(y, [x], grad_outputs=torch.ones_like(y), create_graph=True)[0]


def laplacian(y: Tensor, x: Tensor) -> Tensor:
    slope = gradient(y, x)
    return sum(gradient(slope[..., i : i + 1], x)[..., i : i + 1] for i in range(x.shape[-1]))


def terms(model: nn.Module, batch: dict[str, Tensor], target: str) -> dict[str, Tensor]:
    """The mean squared errors of one channel, as in `siren_jax.supervise` without integral forms."""
    y, x = model(batch["coordinates"])
    errors = {}
    if target in ("values", "mixed"):
        errors["value"] = ((y - batch["value"]) ** 2).mean()
    if target in ("gradient", "mixed"):
        errors["gradient"] = ((gradient(y, x) - batch["gradient"][:, 0]) ** 2).sum(-1).mean()
    if target in ("laplacian", "mixed"):
        errors["laplacian"] = ((laplacian(y, x) - batch["laplacian"]) ** 2).mean()
    return errors


def _linears(network: SIREN) -> list[nnx.Linear]:
    return [*(layer.linear for layer in network.layers), network.output]


def _tensor(parameter) -> Tensor:
    return torch.tensor(parameter[...].tolist())
