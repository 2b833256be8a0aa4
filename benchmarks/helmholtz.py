"""Time of a training step on the Helmholtz equation with its absorbing layer: ours, autodiff, PyTorch.

All take the same Adam steps on the same points from the same weights of a 256 x 3 network, and their losses are
compared before anything is timed. "autodiff" is our step with derivatives by JAX's automatic differentiation instead of
one forward pass.

`python -m benchmarks.helmholtz`: 3 minutes on two cores.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from flax import nnx
from numpy import ndarray

from benchmarks.measure import interleaved, publish
from siren_jax import SIREN
from siren_jax.equations import Problem, known
from siren_jax.equations.catalogue import helmholtz
from siren_jax.fields.tiles import points_per_tile
from siren_jax.fitting.recipes import constant
from siren_jax.fitting.step import Given, Span, Steps, Term, initial_state

RATE, WAVENUMBER, VARIANCE = 1e-4, 20.0, 1e-4


@dataclass(frozen=True)
class Config:
    points: tuple[int, ...] = (1024, 4096, 16384)
    """Points per step."""
    rounds: int = 7
    """Rounds of every peer."""


def main(config: Config) -> list[dict]:
    rows = []
    for count in config.points:
        points = np.random.default_rng(0).uniform(-1, 1, (count, 2)).astype(np.float32)
        steps = {name: peer(points) for name, peer in PEERS.items()}
        first = {name: step() for name, step in steps.items()}
        assert np.allclose(list(first.values()), first["ours"], rtol=1e-3), first
        seconds = interleaved(steps, rounds=config.rounds, warm=True)
        row: dict[str, object] = {"points": count, **{f"{name} s": s for name, s in seconds.items()}}
        rows.append(row | {f"ours / {name}": s / seconds["ours"] for name, s in seconds.items() if name != "ours"})
    publish("helmholtz", rows, config)
    return rows


def network() -> SIREN:
    return SIREN(2, 2, rngs=nnx.Rngs(0))


def ours(points: ndarray, *, autodiff: bool = False) -> Callable[[], float]:
    """The step of `siren_jax.fit`."""
    term = helmholtz(wavenumber=WAVENUMBER).problem.terms[0]
    hidden = (lambda u: lambda x: u(x)) if autodiff else (lambda u: u)  # a plain function has no derivatives of its own
    problem = Problem([known(lambda u, x: term.residual(hidden(u), x, None), points, power=1)])
    graphdef, params, rest = nnx.split(network(), nnx.Param, ...)
    optimizer = optax.adam(RATE)
    steps = Steps(graphdef, optimizer, constant, (Term("known", len(points)),), points_per_tile(), 1)
    given = Given(rest, problem.objective, problem.sample, jax.random.key(0), jnp.ones(1))
    span = Span(jnp.int32(0), jnp.int32(1), jnp.float32(0), jnp.int32(0), jnp.float32(0))
    state = initial_state(params, optimizer, 1)
    take = jax.jit(steps, donate_argnums=0).lower(state, given, span).compile()

    def step() -> float:
        nonlocal state
        state, log, _ = take(state, given, span)
        return float(log[0, 0])

    return step


def torch_eager(points: ndarray) -> Callable[[], float]:
    """The step in PyTorch with gradients of gradients, channel by channel, as in the authors' code."""
    import torch

    from benchmarks.torch_siren import Siren, device, gradient

    model = Siren(network()).to(device())
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    given = torch.tensor(points, device=device())
    depth = (given.abs() - 0.5).clamp(min=0)
    e, e_slope = 1 + 20j * depth**2, 40j * depth * given.sign()
    ratio = torch.stack([e[:, 1] / e[:, 0], e[:, 0] / e[:, 1]], dim=1)
    source = torch.exp(-(given**2).sum(1) / (2 * VARIANCE)) / (2 * torch.pi * VARIANCE)

    def step() -> float:
        y, x = model(given)
        slopes = [gradient(y[:, k], x) for k in range(2)]
        seconds = [torch.stack([gradient(slope[:, i], x)[:, i] for i in range(2)], dim=1) for slope in slopes]
        value, slope, second = (part[0] + 1j * part[1] for part in ((y[:, 0], y[:, 1]), slopes, seconds))
        flow = (ratio * second - ratio * e_slope / e * slope).sum(1)
        loss = ((flow + e[:, 0] * e[:, 1] * WAVENUMBER**2 * value + source) / WAVENUMBER**2).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


PEERS: dict[str, Callable[[ndarray], Callable[[], float]]] = {
    "ours": ours,
    "autodiff": lambda points: ours(points, autodiff=True),
}
if importlib.util.find_spec("torch"):
    PEERS["PyTorch"] = torch_eager

if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
