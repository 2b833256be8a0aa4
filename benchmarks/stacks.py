"""Steps of many small sine networks at once in plain JAX and in PyTorch: the peers of `fit_many`.

Every peer takes full-batch steps of Adam at a constant rate on pictures of one size, with a network for each picture. A
call takes `count` steps and returns the loss of every picture before the first of them. Losses are mean squared errors
of values in [-1, 1].
"""

import importlib.util
import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float
from numpy import ndarray

from siren_jax import SIREN
from siren_jax.fields.coordinates import generate_coordinates

Step = Callable[[], ndarray]


class Problem(NamedTuple):
    """Pictures, and the initial networks that all peers start from."""

    points: Float[ndarray, "n 2"]
    values: Float[ndarray, "b n 1"]
    layers: Sequence[tuple[ndarray, ndarray]]
    """Kernels `(b, inputs, outputs)` and biases `(b, outputs)`."""
    omegas: Sequence[float]
    """Omega of every layer except the last, which is linear."""

    def first(self, count: int) -> "Problem":
        return self._replace(values=self.values[:count], layers=[(w[:count], b[:count]) for w, b in self.layers])


def problem(pictures: Float[ndarray, "b h w"], make: Callable[[nnx.Rngs], SIREN], key: jax.Array) -> Problem:
    """Pictures of 8 bits with the initial networks of `fit_many`."""

    def layers(key: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
        network = make(nnx.Rngs(key))
        linears = [*(layer.linear for layer in network.layers), network.output]
        return [(linear.kernel[...], linear.bias[...]) for linear in linears]

    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(pictures), dtype=jnp.uint32))
    points = np.asarray(generate_coordinates(pictures.shape[1:]))
    values = (pictures.reshape(len(pictures), -1, 1) / 127.5 - 1).astype(np.float32)
    omegas = [layer.omega for layer in make(nnx.Rngs(0)).layers]
    return Problem(points, values, jax.device_get(jax.jit(jax.vmap(layers))(keys)), omegas)


def plain_jax(given: Problem, rate: float, *, count: int, divided: bool = False) -> Step:
    """`jax.vmap` of a network with `jnp.sin`, and all steps of a call in one `scan`.

    Args:
        given: the pictures.
        rate: rate of Adam.
        count: number of steps in a call.
        divided: whether the pictures are divided over all devices.
    """
    optimizer = optax.adam(rate)

    def loss(layers, points, values):
        *hidden, (kernel, bias) = layers
        x = points
        for omega, (w, b) in zip(given.omegas, hidden, strict=True):
            x = jnp.sin(omega * (jnp.matmul(x, w, precision="highest") + b))
        return jnp.mean((jnp.matmul(x, kernel, precision="highest") + bias - values) ** 2)

    def take(layers, moments, points, values):
        def step(state, _):
            layers, moments = state
            found, slope = jax.vmap(jax.value_and_grad(loss), in_axes=(0, None, 0))(layers, points, values)
            updates, moments = optimizer.update(slope, moments)
            return (optax.apply_updates(layers, updates), moments), found

        (layers, moments), losses = jax.lax.scan(step, (layers, moments), length=count)
        return layers, moments, losses[0]

    devices = jax.devices() if divided else jax.devices()[:1]
    mesh = Mesh(np.array(devices), ("pictures",))
    own, common = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (("pictures",), ()))
    layers, values = jax.device_put((list(given.layers), given.values), own)
    points = jax.device_put(given.points, common)
    moments = jax.tree.map(lambda x: jax.device_put(x, own if x.ndim else common), optimizer.init(layers))
    compiled = jax.jit(take, donate_argnums=(0, 1)).lower(layers, moments, points, values).compile()

    def call() -> ndarray:
        nonlocal layers, moments
        layers, moments, losses = compiled(layers, moments, points, values)
        return np.asarray(losses)  # waits for the end of the program

    return call


def torch_batched(given: Problem, rate: float, *, count: int, compiled: bool = False) -> Step:
    """`torch.baddbmm` over a leading axis of networks, and the fused Adam of PyTorch."""
    import torch

    from benchmarks.torch_siren import device

    torch.set_num_threads(os.cpu_count() or 1)
    tensor = lambda array: torch.tensor(array, device=device())
    points = tensor(np.broadcast_to(given.points, (len(given.values), *given.points.shape)).copy())
    values = tensor(given.values)
    layers = [(tensor(w).requires_grad_(), tensor(b[:, None]).requires_grad_()) for w, b in given.layers]
    parameters = [parameter for layer in layers for parameter in layer]
    optimizer = torch.optim.Adam(parameters, lr=rate, fused=True)

    def each(points, values, *parameters):
        x = points
        for omega, w, b in zip(given.omegas, parameters[:-2:2], parameters[1:-2:2], strict=True):
            x = torch.sin(omega * torch.baddbmm(b, x, w))
        return ((torch.baddbmm(parameters[-1], x, parameters[-2]) - values) ** 2).mean(dim=(1, 2))

    run = torch.compile(each, dynamic=False) if compiled else each  # kernels for each number of pictures

    def call() -> ndarray:
        kept = []
        for _ in range(count):
            losses = run(points, values, *parameters)
            optimizer.zero_grad()
            losses.sum().backward()  # a network's gradient is that of its own loss
            optimizer.step()
            kept.append(losses.detach())
        if device() == "cuda":
            torch.cuda.synchronize()
        return kept[0].cpu().numpy()

    return call


def divided_jax(given: Problem, rate: float, *, count: int) -> Step:
    return plain_jax(given, rate, count=count, divided=True)


def torch_compile(given: Problem, rate: float, *, count: int) -> Step:
    return torch_batched(given, rate, count=count, compiled=True)


PEERS: dict[str, Callable[..., Step]] = {"plain JAX": plain_jax, "plain JAX, divided over devices": divided_jax}
if importlib.util.find_spec("torch"):
    PEERS |= {"PyTorch": torch_batched, "torch.compile": torch_compile}
