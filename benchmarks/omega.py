"""Does `choose_omega` choose well? Every signal is fitted with a grid of first omegas and with the chosen one.

All fits are the tuned recipe's with the same number of steps, and are judged where no network was trained: half way
between pixels or samples. The aim: never more than 1 dB below the best of the grid.

`python -m benchmarks.omega`: an hour on two cores; `--wav FILE` adds sounds.
"""

from dataclasses import dataclass

import jax
import numpy as np
import tyro
from flax import nnx
from jax.tree_util import Partial
from numpy import ndarray

from benchmarks.measure import publish
from benchmarks.pictures import NAMES, load_picture
from benchmarks.sounds import SYNTHESISED, read, synthesise
from siren_jax import SIREN, NeuralField, choose_omega, fit, recipes, supervise
from siren_jax.metrics import psnr
from siren_jax.signals import Frame, rms_frequency

RECIPE = recipes.TUNED["values"]
BATCH_SIZE = 4096


@dataclass(frozen=True)
class Config:
    pictures: tuple[str, ...] = NAMES
    sizes: tuple[int, ...] = (128, 256)
    """Pixels of the longer side."""
    picture_omegas: tuple[float, ...] = (10, 14, 20, 28, 40, 56, 80, 113)
    sounds: tuple[str, ...] = tuple(SYNTHESISED)
    wav: tuple[str, ...] = ()
    """Sound files besides."""
    sound_omegas: tuple[float, ...] = (300, 600, 850, 1200, 1700, 2400, 3400, 4800)
    passes: float = 25.0
    """How often a fit sees every pixel or sample."""


def main(config: Config) -> list[dict]:
    rows = []
    for size in config.sizes:
        for name in config.pictures:
            try:
                picture = load_picture(name, size)
            except ValueError as error:
                print(error)
                continue
            sample = picture.dataset.sampler(min(BATCH_SIZE, len(picture.dataset)))
            grids = (2 * picture.pixels - 1, 2 * picture.between - 1)
            rows.append({"signal": f"{name} {size}"} | compare(sample, *grids, config.picture_omegas, config.passes))
            print(rows[-1], flush=True)
    for sound in [*(synthesise(name) for name in config.sounds), *(read(path) for path in config.wav)]:
        sample = sound.sampler(BATCH_SIZE)
        omegas = config.sound_omegas
        rows.append({"signal": sound.name} | compare(sample, sound.samples, sound.between, omegas, config.passes))
        print(rows[-1], flush=True)
    publish("omega", rows, config)
    return rows


def compare(sample: Partial, seen: ndarray, between: ndarray, omegas: tuple[float, ...], passes: float) -> dict:
    """Held-out PSNR of every omega of the grid and of the chosen one."""
    frame = Frame(seen.shape[:-1])
    chosen = choose_omega(seen, frame).omega
    steps = max(1, round(passes * np.prod(frame.shape) / len(jax.eval_shape(sample, jax.random.key(0), 0)["value"])))
    result = {omega: held_out(sample, frame, between, omega, steps) for omega in (*omegas, chosen)}
    best = max(omegas, key=lambda omega: result[omega])
    return {
        "rms frequency": rms_frequency(seen, frame),
        "best omega": best,
        "dB": result[best],
        "chosen omega": chosen,
        "dB chosen": result[chosen],
        "below best": result[best] - result[chosen],
        "grid": {str(omega): result[omega] for omega in omegas},
    }


def held_out(sample: Partial, frame: Frame, between: ndarray, omega: float, steps: int) -> float:
    d, c = len(frame.shape), between.shape[-1]
    network = SIREN(d, c, first_omega=omega, weight_scale=RECIPE.weight_scale, rngs=nnx.Rngs(0))
    fitted = fit(
        network,
        supervise("value"),
        sample,
        key=jax.random.key(0),
        steps=steps,
        optimizer=RECIPE.optimizer(omega),
        schedule=RECIPE.schedule,
    )
    region = tuple((0.5, n - 0.5) for n in frame.shape)
    rendered = NeuralField(fitted.network, frame).render(tuple(n - 1 for n in frame.shape), region=region)
    return psnr(rendered, between)


if __name__ == "__main__":
    main(tyro.cli(Config))
