"""What checkpoints cost: the same fit without, and with one every so many seconds.

`python -m benchmarks.checkpoints`: 10 minutes on two cores.
"""

import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass

import jax
import numpy as np
import tyro

from benchmarks.measure import publish
from benchmarks.peers import dataset, network
from siren_jax import Checkpoints, fit, supervise


@dataclass(frozen=True)
class Config:
    size: int = 256
    """Pixels of a side."""
    steps: int = 2000
    every: tuple[float, ...] = (30.0, 5.0, 1.0)
    """Seconds."""
    rounds: int = 3


def main(config: Config) -> list[dict]:
    seconds: dict[float | None, list[float]] = {every: [] for every in (None, *config.every)}
    for _ in range(config.rounds):
        for every, times in seconds.items():
            times.append(fitted(config, every))
    medians = {every: float(np.median(times)) for every, times in seconds.items()}
    plain = medians[None]
    rows: list[dict[str, object]] = [{"seconds between checkpoints": None, "fit s": plain}]
    for every in config.every:
        cost = 100 * (medians[every] / plain - 1)
        rows.append({"seconds between checkpoints": every, "fit s": medians[every], "cost %": cost})
    publish("checkpoints", rows, config)
    return rows


def fitted(config: Config, every: float | None) -> float:
    """Seconds of a fit with checkpoints, the last one included, without compilation."""
    data = dataset(config.size)
    with tempfile.TemporaryDirectory() as folder:
        keeping = nullcontext() if every is None else Checkpoints(folder, every=every)
        with keeping as checkpoints:
            began = time.perf_counter()
            result = fit(
                network(),
                supervise("value"),
                data.sampler(2048),
                key=jax.random.key(0),
                steps=config.steps,
                checkpoints=checkpoints,
            )
            return time.perf_counter() - began - result.compile_seconds


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
