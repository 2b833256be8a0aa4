"""One training step in four implementations: ours, plain JAX, PyTorch eager and `torch.compile`.

All take the same full-batch Adam step (at the paper's rate of 1e-4) on the same picture from the same weights. A
function without arguments takes `count` steps and returns the loss before the first one. `python -m benchmarks.peers
PEER TARGET SIZE` takes two steps and prints the process's peak memory in MiB (on Linux).
"""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import skimage.data
from flax import nnx

from siren_jax import SIREN, PixelDataset, supervise
from siren_jax.fields.tiles import points_per_tile
from siren_jax.fitting.recipes import constant
from siren_jax.fitting.step import Given, Span, Steps, Term, initial_state
from siren_jax.signals import shrink

Step = Callable[[], float]

TARGETS = {
    "values": ("value",),
    "gradient": ("gradient",),
    "laplacian": ("laplacian",),
    "mixed": ("value", "gradient", "laplacian"),
}
RATE = 1e-4


def dataset(size: int) -> PixelDataset:
    return PixelDataset(shrink(skimage.data.camera()[..., None] / 255, size=size))


def network(width: int = 256, depth: int = 3) -> SIREN:
    return SIREN(2, 1, width=width, depth=depth, rngs=nnx.Rngs(0))


def ours(data: PixelDataset, target: str, net: SIREN | None = None, *, count: int = 1) -> Step:
    """The step of `siren_jax.fit`."""
    quantities = TARGETS[target]
    graphdef, params, rest = nnx.split(net or network(), nnx.Param, ...)
    optimizer = optax.adam(RATE)
    terms = tuple(Term(name, len(data)) for name in quantities)
    steps = Steps(graphdef, optimizer, constant, terms, points_per_tile(), count)
    objective = supervise(*quantities, mean_square=data.mean_square)
    given = Given(rest, objective, data.sampler(quantities=quantities), jax.random.key(0), jnp.ones(len(quantities)))
    span = Span(jnp.int32(0), jnp.int32(count), jnp.float32(0), jnp.int32(0), jnp.float32(0))
    state = initial_state(params, optimizer, len(terms))
    take = jax.jit(steps, donate_argnums=0).lower(state, given, span).compile()

    def step() -> float:
        nonlocal state
        state, log, _ = take(state, given, span)
        return float(log[0, 0])

    return step


def plain_jax(data: PixelDataset, target: str, *, count: int = 1) -> Step:
    """The step in plain JAX: `jax.grad` and `jax.hessian` under `vmap`, `jnp.sin`, and no tiles."""
    net = network()
    omegas = [layer.omega for layer in net.layers]
    linears = [*(layer.linear for layer in net.layers), net.output]
    params = [(jnp.copy(linear.kernel[...]), jnp.copy(linear.bias[...])) for linear in linears]

    def field(params, x):
        *hidden, (kernel, bias) = params
        for omega, (w, b) in zip(omegas, hidden, strict=True):
            x = jnp.sin(omega * (jnp.matmul(x, w, precision="highest") + b))
        return (jnp.matmul(x, kernel, precision="highest") + bias)[0]

    derivatives = {
        "value": lambda f, x: f(x),
        "gradient": lambda f, x: jax.grad(f)(x),
        "laplacian": lambda f, x: jnp.trace(jax.hessian(f)(x)),
    }
    batch = {q: jnp.asarray(getattr(data, q)) for q in ("coordinates", *TARGETS[target])}
    scale = {"value": 1.0, **data.mean_square}

    def loss(params, batch):
        total = 0.0
        for q in TARGETS[target]:
            prediction = jax.vmap(lambda x, q=q: derivatives[q](lambda x: field(params, x), x))(batch["coordinates"])
            error = (prediction - batch[q].reshape(prediction.shape)) ** 2
            total += jnp.sum(error) / len(error) / scale[q]
        return total

    optimizer = optax.adam(RATE)

    @jax.jit
    def update(params, moments, batch):
        value, slope = jax.value_and_grad(loss)(params, batch)
        updates, moments = optimizer.update(slope, moments)
        return optax.apply_updates(params, updates), moments, value

    moments = optimizer.init(params)

    def step() -> float:
        nonlocal params, moments
        values = []
        for _ in range(count):
            params, moments, value = update(params, moments, batch)
            values.append(value)
        jax.block_until_ready(params)
        return float(values[0])

    return step


def torch_eager(data: PixelDataset, target: str, *, count: int = 1, compiled: bool = False) -> Step:
    """The step of the tutorial's loop in PyTorch."""
    import torch

    from benchmarks.torch_siren import Siren, device, terms

    model = Siren(network()).to(device())
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    batch = {q: torch.tensor(getattr(data, q), device=device()) for q in ("coordinates", *TARGETS[target])}
    scale = {"value": 1.0, **data.mean_square}
    run = torch.compile(model) if compiled else model

    def step() -> float:
        losses = []
        for _ in range(count):
            loss = sum(term / scale[name] for name, term in terms(run, batch, target).items())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        if device() == "cuda":
            torch.cuda.synchronize()
        return losses[0].item()

    return step


def torch_compile(data: PixelDataset, target: str, *, count: int = 1) -> Step:
    """The step of the tutorial's loop with a compiled network. PyTorch cannot compile its double backward."""
    return torch_eager(data, target, count=count, compiled=True)


PEERS: dict[str, Callable[..., Step]] = {"ours": ours, "plain JAX": plain_jax}
if importlib.util.find_spec("torch"):
    PEERS |= {"PyTorch": torch_eager, "torch.compile": torch_compile}

if __name__ == "__main__":
    peer, target, size = sys.argv[1:]
    step = PEERS[peer](dataset(int(size)), target)
    step(), step()
    # Not getrusage: a child process starts with the peak of its parent.
    status = Path("/proc/self/status").read_text()
    print(next(int(line.split()[1]) // 1024 for line in status.splitlines() if line.startswith("VmHWM")))
