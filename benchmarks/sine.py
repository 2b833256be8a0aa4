"""Time of our sine compared with `jnp.sin`, `jnp.exp` and PyTorch, and the largest errors of the sines.

`python -m benchmarks.sine`: 20 seconds. `--double` compares them in float64.
"""

import importlib.util
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from benchmarks.measure import interleaved, publish
from siren_jax.networks.fast_sine import cosine, sine, sine_and_cosine


@dataclass(frozen=True)
class Config:
    elements: int = 2**19
    """Number of elements of an array; the default is 2 MiB, the activations of a tile."""
    rounds: int = 21
    double: bool = False
    """Whether the numbers are float64."""


def main(config: Config) -> list[dict]:
    with jax.enable_x64(config.double):
        return compared(config)


def compared(config: Config) -> list[dict]:
    x = jax.random.uniform(jax.random.key(0), (config.elements,), minval=-100, maxval=100)
    functions = {
        "sine": jax.jit(sine),
        "cosine": jax.jit(cosine),
        "sine_and_cosine": jax.jit(sine_and_cosine),
        "jnp.sin": jax.jit(jnp.sin),
        "jnp.exp": jax.jit(jnp.exp),
    }
    calls = {name: lambda f=f: jax.block_until_ready(f(x)) for name, f in functions.items()}
    if importlib.util.find_spec("torch"):
        import torch

        tensor = torch.tensor(np.asarray(x))
        calls["torch.sin"] = lambda: torch.sin(tensor)
    seconds = interleaved(calls, rounds=config.rounds)
    points = np.linspace(-1000, 1000, 2_000_001, dtype=x.dtype)
    exact = {"sine": np.sin, "cosine": np.cos, "jnp.sin": np.sin}
    rows = []
    for name, time in seconds.items():
        row: dict[str, object] = {"function": name, "ns an element": 1e9 * time / config.elements}
        if name in exact:
            error = np.asarray(functions[name](points), np.longdouble) - exact[name](points.astype(np.longdouble))
            row["largest error, |x| ≤ 1000"] = float(np.abs(error).max())
        rows.append(row)
    publish("sine", rows, config)
    return rows


if __name__ == "__main__":
    main(tyro.cli(Config))
