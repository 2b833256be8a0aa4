"""The same weights give the same function, gradient and Laplacian as PyTorch's double backward."""

import jax
import numpy as np
import pytest
from flax import nnx

from siren_jax import SIREN, gradient, laplacian

torch = pytest.importorskip(
    "torch", reason="PyTorch is the other side of the comparison; it comes with the torch extra"
)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_value_gradient_and_laplacian_are_those_of_pytorch(d, key):
    network = SIREN(d, 1, width=64, depth=2, rngs=nnx.Rngs(0))
    points = jax.random.uniform(key, (200, d), minval=-1)

    tensor = lambda array: torch.from_numpy(np.array(array))
    x = tensor(points).requires_grad_()
    h = x
    for layer in network.layers:
        h = torch.sin(layer.omega * (h @ tensor(layer.linear.kernel[...]) + tensor(layer.linear.bias[...])))
    y = h @ tensor(network.output.kernel[...]) + tensor(network.output.bias[...])
    (first,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    second = sum(torch.autograd.grad(first[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(d))

    everything = jax.vmap(lambda x: (network(x)[0], gradient(network)(x), laplacian(network)(x)[0]))
    ours = jax.jit(everything)(points)
    for one, other in zip(ours, (y[:, 0], first, second), strict=True):
        other = other.detach().numpy()
        assert one.shape == other.shape
        # Both round in float32, at phases up to 30·√d: 1e-7 of a phase is 1e-5 of a derivative at most.
        assert np.linalg.norm(one - other) < 1e-5 * np.linalg.norm(other)
