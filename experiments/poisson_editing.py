"""A SIREN blends two pictures without a seam: it is fitted to the wanted differences between neighbouring pixels.

Claim (Sitzmann et al. 2020, Section 4.1): a SIREN supervised on the mean of two pictures' gradients is a seamless
composite of both. This mean determines, up to a constant, the mean of the two pictures ("mean" below). The useful forms
of Poisson editing have a mask with the background's values around it, and a choice of gradients: those of the
foreground ("paste"), or the larger of each pair ("max").

The truth is a sparse direct solve by SciPy, which the fit does not see. The seam is the mean absolute error of the
differences across the mask's outline: 0.02 for "paste", compared with 0.27 for a plain cut.

With 256 pixels along the longer side: paste 39.7, max 39.8, mean 46.9 dB. With --quick, 128: 35.8, 38.6, 41.4 dB.

python -m experiments.poisson_editing
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import skimage.data
from flax import nnx
from jaxtyping import Bool, Float
from numpy import ndarray

from experiments.run import Settings, make_folder, run, save_numbers
from siren_jax import SIREN, InputError, NeuralField, fit, supervise
from siren_jax._types import Mode
from siren_jax.fitting.recipes import TUNED
from siren_jax.metrics import psnr
from siren_jax.plot import composition
from siren_jax.signals import Composite, choose_omega, shrink


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    out: Path = Path("out/experiments/poisson_editing")  # folder of the figures and of numbers.json
    modes: tuple[Mode, ...] = ("paste", "max", "mean")  # choices of the wanted differences
    size: int = 256  # pixels along the longer side of the pictures
    width: int = 256  # units of a hidden layer
    depth: int = 3  # hidden layers after the first
    steps: int = 3000  # steps for each composite
    batch_size: int = 2048  # pixels per step
    seed: int = 0  # seed of the batches


QUICK = Config(size=128, width=128, steps=800, quick=True)
SMOKE = Config(modes=("paste",), size=32, width=32, depth=1, steps=5, batch_size=512, smoke=True)


def main(config: Config) -> dict[str, dict[str, float]]:
    """Fits the composites; writes a figure of each and `numbers.json`; returns the numbers of every composite."""
    if min(config.size // 16, config.width, config.steps) < 1:
        raise InputError("width and steps must be at least 1 and size at least 16; correct the settings.")
    shown = examples(config.size)
    if unknown := set(config.modes) - set(shown):
        raise InputError(f"modes must be among {', '.join(shown)}, but got {', '.join(sorted(unknown))}.")
    make_folder(config)
    numbers, recipe = {}, TUNED["values"]
    for mode in config.modes:
        front, back, free = shown[mode]
        composite = Composite(front, back, free, mode=mode, value_range=(0.0, 1.0))
        omega = choose_omega((front + back) / 2, composite.frame).omega
        network = SIREN(
            2,
            3,
            width=config.width,
            depth=config.depth,
            first_omega=omega,
            weight_scale=recipe.weight_scale,
            rngs=nnx.Rngs(0),
        )
        result = fit(
            network,
            supervise("value"),
            composite.sampler(config.batch_size),
            key=jax.random.key(config.seed),
            steps=config.steps,
            optimizer=recipe.optimizer(network),
        )
        found = NeuralField(result.network, composite.frame, (0.0, 1.0)).render()  # pyright: ignore
        solved, free = composite.solution(), composite.free
        numbers[mode] = {"psnr": psnr(found, solved, data_range=1.0), "omega": omega, "seconds": result.seconds}
        if not free.all():
            numbers[mode] |= {
                "psnr_changed": psnr(found[free], solved[free], data_range=1.0),
                "psnr_kept": psnr(found[~free], back[~free], data_range=1.0),
                "seam": seam(found - solved, free),
                "seam_of_a_cut": seam(np.where(free[..., None], front, back) - solved, free),
            }
        print(f"{mode:6}", "  ".join(f"{key} {value:.4g}" for key, value in numbers[mode].items()), flush=True)
        title = f"{mode}: {numbers[mode]['psnr']:.1f} dB against the direct solve"
        figure = composition(front, back, free, found, solved, title=title)
        figure.savefig(config.out / f"{mode}.png", dpi=100)
    save_numbers(config, numbers)
    return numbers


def examples(size: int) -> dict[str, tuple[ndarray, ndarray, Bool[ndarray, "h w"] | None]]:
    """Foreground, background and mask for each mode."""
    astronaut, cat, stars, rocket = (
        load() / np.float32(255)
        for load in (skimage.data.astronaut, skimage.data.chelsea, skimage.data.hubble_deep_field, skimage.data.rocket)
    )
    portrait = shrink(astronaut, size=size)
    face = shrink(cat, size=round(0.63 * size))
    top, left = round(0.016 * size), round(0.137 * size)  # the cat's face over the astronaut's
    front = np.full_like(portrait, 0.5)
    front[top : top + face.shape[0], left : left + face.shape[1]] = face
    row, column = np.indices((size, size)) / size
    oval = ((row - 0.227) / 0.17) ** 2 + ((column - 0.4375) / 0.155) ** 2 < 1
    launch = shrink(rocket, size=size)
    night = shrink(stars[100:613, 100:868], size=size)[: len(launch)]
    sky = np.indices(launch.shape[:2])[0] < 0.6 * len(launch)
    return {
        "paste": (front, portrait, oval),
        "max": (night, launch[: len(night)], sky[: len(night)]),
        "mean": (shrink(stars[:872, :872], size=size), portrait, None),
    }


def seam(error: Float[ndarray, "h w c"], free: Bool[ndarray, "h w"]) -> float:
    """Mean absolute difference of the error between neighbours, of which one is free and the other is not."""
    across = [np.abs(np.diff(error, axis=axis))[np.diff(free, axis=axis)] for axis in (0, 1)]
    return float(np.concatenate(across).mean())


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
