"""Quality of `choose_omega`: every signal is fitted with a grid of first omegas and with the chosen one.

All fits use the tuned recipe with the same number of steps, and are judged where no network was trained: half way
between pixels or samples. The chosen omega should never be more than 1 dB below the best one of the grid.

`python -m benchmarks.omega`: an hour and a half on two cores; `--wav FILE` adds sounds.
"""

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import tyro
from flax import nnx
from jax.tree_util import Partial
from numpy import ndarray

from benchmarks.measure import publish
from benchmarks.pictures import NAMES, load_picture
from benchmarks.sounds import SYNTHESISED, read, synthesise
from siren_jax import SIREN, NeuralField, choose_omega, fit, recipes, supervise
from siren_jax.fields import Frame
from siren_jax.metrics import psnr
from siren_jax.signals import bandwidth

RECIPE = recipes.TUNED["values"]
BATCH_SIZE = 4096


@dataclass(frozen=True)
class Config:
    pictures: tuple[str, ...] = NAMES
    sizes: tuple[int, ...] = (128, 256, 500)
    """Pixels along the longer side."""
    picture_omegas: tuple[float, ...] = (10, 14, 20, 28, 40)
    """Omegas of the grid for 128 pixels; for other sizes they are scaled in proportion."""
    sounds: tuple[str, ...] = tuple(SYNTHESISED)
    wav: tuple[str, ...] = ()
    """Further sound files."""
    sound_omegas: tuple[float, ...] = (850, 1200, 1700, 2400, 3400, 4800)
    passes: float = 25.0
    """Number of times that a fit sees every pixel or sample."""
    grid_from: str | None = None
    """Path of the results of an earlier run with the same passes and recipe. Its fits of the grids are used instead of
    new ones, because they do not depend on the choice of omega."""


class Signal(NamedTuple):
    name: str
    sample: Partial
    seen: ndarray
    between: ndarray
    omegas: tuple[float, ...]


def signals(config: Config) -> Iterator[Signal]:
    for size, name in itertools.product(config.sizes, config.pictures):
        try:
            picture = load_picture(name, size)
        except ValueError as error:
            print(error)
            continue
        sample = picture.dataset.sampler(min(BATCH_SIZE, len(picture.dataset)))
        omegas = tuple(round(omega * size / 128, 1) for omega in config.picture_omegas)
        yield Signal(f"{name} {size}", sample, 2 * picture.pixels - 1, 2 * picture.between - 1, omegas)
    for sound in [*(synthesise(name) for name in config.sounds), *(read(path) for path in config.wav)]:
        yield Signal(sound.name, sound.sampler(BATCH_SIZE), sound.samples, sound.between, config.sound_omegas)


def main(config: Config) -> list[dict]:
    earlier = json.loads(Path(config.grid_from).read_text())["rows"] if config.grid_from else []
    known = {row["signal"]: {float(omega): db for omega, db in row["grid"].items()} for row in earlier}
    rows = []
    for signal in signals(config):
        rows.append(compare(signal, config.passes, known.get(signal.name, {})))
        print(rows[-1], flush=True)
    publish("omega", rows, config)
    return rows


def compare(signal: Signal, passes: float, known: Mapping[float, float]) -> dict:
    """Held-out PSNR of every omega of the grid and of the chosen one."""
    frame = Frame(signal.seen.shape[:-1])
    chosen = choose_omega(signal.seen, frame).omega
    n = math.prod(frame.shape)
    steps = round(passes * n / min(BATCH_SIZE, n))
    grid = {omega: known[omega] if omega in known else held_out(signal, frame, omega, steps) for omega in signal.omegas}
    best, achieved = max(grid, key=lambda omega: grid[omega]), held_out(signal, frame, chosen, steps)
    return {
        "signal": signal.name,
        "bandwidth": bandwidth(signal.seen, frame),
        "best omega": best,
        "dB": grid[best],
        "chosen omega": chosen,
        "dB chosen": achieved,
        "below best": grid[best] - achieved,
        "grid": {str(omega): db for omega, db in grid.items()},
    }


def held_out(signal: Signal, frame: Frame, omega: float, steps: int) -> float:
    d, c = len(frame.shape), signal.between.shape[-1]
    network = SIREN(d, c, first_omega=omega, weight_scale=RECIPE.weight_scale, rngs=nnx.Rngs(0))
    fitted = fit(
        network,
        supervise("value"),
        signal.sample,
        key=jax.random.key(0),
        steps=steps,
        optimizer=RECIPE.optimizer(network),
        schedule=RECIPE.schedule,
    )
    region = tuple((0.5, n - 0.5) for n in frame.shape)
    field = NeuralField(fitted.network, frame, kind="image" if d == 2 else "signal")
    return psnr(field.render(tuple(n - 1 for n in frame.shape), region=region), signal.between)


if __name__ == "__main__":
    main(tyro.cli(Config))
