"""Cost of checkpoints: the same fit without checkpoints, and with one every few seconds.

The cost is in processor seconds of all threads, because it is far below the variation of the wall-clock time on a busy
machine.

`python -m benchmarks.checkpoints`: 6 minutes on two cores.
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
    """Pixels along each side."""
    steps: int = 1200
    every: tuple[float, ...] = (30.0, 5.0, 1.0)
    """Seconds between two checkpoints."""
    rounds: int = 3


def main(config: Config) -> list[dict]:
    seconds: dict[float | None, list[float]] = {every: [] for every in (None, *config.every)}
    for _ in range(config.rounds):
        for every, times in seconds.items():
            times.append(fitted(config, every))
    medians = {every: float(np.median(times)) for every, times in seconds.items()}
    plain = medians[None]
    rows: list[dict[str, object]] = [{"seconds between checkpoints": None, "processor s": plain}]
    for every in config.every:
        cost = 100 * (medians[every] / plain - 1)
        rows.append({"seconds between checkpoints": every, "processor s": medians[every], "cost %": cost})
    publish("checkpoints", rows, config)
    return rows


def fitted(config: Config, every: float | None) -> float:
    """Processor seconds for a fit, including compilation and all checkpoints."""
    data = dataset(config.size)
    with tempfile.TemporaryDirectory() as folder:
        keeping = nullcontext() if every is None else Checkpoints(folder, every=every)
        with keeping as checkpoints:
            began = time.process_time()
            fit(
                network(),
                supervise("value"),
                data.sampler(min(2048, len(data))),
                key=jax.random.key(0),
                steps=config.steps,
                checkpoints=checkpoints,
            )
            return time.process_time() - began


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
