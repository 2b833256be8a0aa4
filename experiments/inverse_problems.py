"""Inpainting, denoising and super-resolution with a SIREN, compared with classical methods.

Claim (Sitzmann et al. 2020, supplement): a SIREN with a prior on its derivatives, at fresh random points in every
step, fills in a picture from 10 % of its pixels; a picture fitted through the footprints of its pixels can be sampled
on a finer grid. In addition, early stopping denoises: a SIREN learns broad tones before noise, and held-out pixels show
when to stop.

Every result is compared with those of established libraries, which take seconds: biharmonic inpainting and
total-variation denoising of scikit-image, and bicubic interpolation of Pillow. PSNR and SSIM are over the whole
picture.

python -m experiments.inverse_problems
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import skimage.data
import skimage.metrics
import skimage.restoration
from flax import nnx
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy import ndarray
from PIL import Image

from experiments.run import Settings, make_folder, run, save_numbers
from siren_jax import SIREN, Frame, InputError, NeuralField, fit, supervise, with_prior
from siren_jax.fitting.progress import Progress
from siren_jax.fitting.recipes import TUNED_INPAINTING
from siren_jax.metrics import psnr
from siren_jax.plot import COLORS
from siren_jax.signals import IncompletePicture, choose_omega, shrink
from siren_jax.signals.integrals import footprints


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    out: Path = Path("out/experiments/inverse_problems")  # folder of the figures and of numbers.json
    size: int = 256  # pixels along each side of the picture
    keep: float = 0.1  # share of the pixels that are kept, for inpainting
    noise: float = 0.1  # standard deviation of the noise for values from 0 to 1, for denoising
    held_out: float = 0.05  # share of the noisy pixels that are held out for early stopping
    factor: int = 4  # factor of super-resolution along each side
    width: int = 256  # units of a hidden layer
    depth: int = 3  # hidden layers after the first
    steps: int = 1500  # steps of a fit
    batch_size: int = 1024  # pixels per step
    seed: int = 0  # seed of weights, batches, kept pixels and noise


QUICK = Config(size=128, width=128, steps=600, quick=True)
SMOKE = Config(size=32, width=32, depth=1, steps=10, batch_size=256, smoke=True)
PRIORS = {"no prior": 0.0, "total_variation": 1e-3, "hessian": 1e-5}  # weights of the priors


class Case(NamedTuple):
    """The given picture of a problem, and the result of each method; values are from 0 to 1."""

    given: ndarray
    results: dict[str, ndarray]


def main(config: Config) -> dict[str, dict[str, dict[str, float]]]:
    """Solves the three problems; writes a figure of each and `numbers.json`; returns PSNR and SSIM of every method."""
    if min(config.width, config.steps, config.factor, config.size // 16) < 1:
        raise InputError("width, steps and factor must be at least 1 and size at least 16; correct the settings.")
    if not (0 < config.keep < 1 and 0 < config.held_out < 1 and config.noise >= 0):
        raise InputError("keep and held_out must be between 0 and 1, and noise at least 0; correct the settings.")
    make_folder(config)
    image = shrink(skimage.data.camera()[..., None] / np.float32(255), size=config.size)
    numbers = {}
    for problem in (inpainting, denoising, super_resolution):
        name = problem.__name__
        case = problem(config, image)
        numbers[name] = {
            method: {
                "psnr": psnr(result, image, data_range=1.0),
                "ssim": ssim(result[..., 0], image[..., 0]),
            }
            for method, result in case.results.items()
        }
        for method, quality in numbers[name].items():
            print(f"{name:17} {method:24} {quality['psnr']:6.2f} dB  SSIM {quality['ssim']:.3f}", flush=True)
        draw(case, image, numbers[name], config.out / f"{name}.png")
    save_numbers(config, numbers)
    return numbers


def ssim(picture: Float[ndarray, "h w"], truth: Float[ndarray, "h w"]) -> float:
    return float(np.asarray(skimage.metrics.structural_similarity(picture, truth, data_range=1.0)))


def inpainting(config: Config, image: Float[ndarray, "h w 1"]) -> Case:
    """Inpainting from some of the pixels, without a prior and with each prior."""
    known = np.random.default_rng(config.seed).uniform(size=image.shape[:2]) < config.keep
    picture = IncompletePicture(image, known, value_range=(0.0, 1.0))
    omega = choose_omega(picture.filled(), picture.frame).omega * np.sqrt(config.keep)
    results = {}
    for prior, weight in PRIORS.items():
        plain = supervise("value")
        objective, weights = (with_prior(plain, prior), {"prior": weight}) if weight else (plain, {})
        results[f"SIREN, {prior.replace('_', ' ')}"] = learn(
            config, objective, picture.sampler(config.batch_size), omega, picture.frame, weights=weights
        )
    masked = np.where(known, image[..., 0], 0)
    results["biharmonic"] = skimage.restoration.inpaint_biharmonic(masked, ~known)[..., None]
    return Case(np.where(known, image[..., 0], np.nan)[..., None], results)


def denoising(config: Config, image: Float[ndarray, "h w 1"]) -> Case:
    """Denoising: the network that is best on held-out noisy pixels, and the last one."""
    random = np.random.default_rng(config.seed)
    noisy = image + config.noise * random.normal(size=image.shape)
    picture = IncompletePicture(noisy, random.uniform(size=image.shape[:2]) > config.held_out, value_range=(0.0, 1.0))
    omega = choose_omega(skimage.restoration.denoise_tv_chambolle(noisy, config.noise), picture.frame).omega
    best = Best(picture)
    last = learn(config, supervise("value"), picture.sampler(config.batch_size), omega, picture.frame, watch=best)
    results = {"SIREN, stopped early": best.rendered, "SIREN, last": last}
    results["total variation"] = skimage.restoration.denoise_tv_chambolle(noisy, config.noise)
    return Case(noisy, {"given": noisy, **results})


def super_resolution(config: Config, image: Float[ndarray, "h w 1"]) -> Case:
    """Super-resolution from pixels that are means over their footprints, fitted as points and as means."""
    h, w = image.shape[:2]
    large = Image.fromarray(image[..., 0])
    small = large.resize((w // config.factor, h // config.factor), Image.Resampling.BILINEAR)
    values = np.asarray(small, np.float32)[..., None]
    frame = Frame(values.shape[:2])
    omega = choose_omega(values, frame).omega
    picture = IncompletePicture(values, np.ones(frame.shape), value_range=(0.0, 1.0))
    as_points = picture.sampler(config.batch_size)
    results = {"SIREN, points": learn(config, supervise("value"), as_points, omega, frame, finer=(h, w))}
    for count in (1, 4):
        sample = Partial(_draw_footprints, footprints(2 * values - 1, frame, count), np.zeros(config.batch_size))
        name = f"SIREN, footprint of {count}"
        results[name] = learn(config, supervise("footprint"), sample, omega, frame, finer=(h, w))
    for name, method in (("bicubic", Image.Resampling.BICUBIC), ("nearest", Image.Resampling.NEAREST)):
        results[name] = np.asarray(small.resize((w, h), method))[..., None]
    return Case(values, results)


def learn(
    config: Config, objective, sample, omega: float, frame: Frame, *, finer=None, weights=None, watch=None
) -> Float[ndarray, "h w 1"]:
    """The picture of a network that is fitted with the recipe; values are from 0 to 1."""
    recipe = TUNED_INPAINTING
    network = SIREN(
        2,
        1,
        width=config.width,
        depth=config.depth,
        first_omega=omega,
        weight_scale=recipe.weight_scale,
        rngs=nnx.Rngs(config.seed),
    )
    result = fit(
        network,
        objective,
        sample,
        key=jax.random.key(config.seed),
        steps=config.steps,
        optimizer=recipe.optimizer(network),
        weights=weights,
        watch=watch,
    )
    return NeuralField(result.network, frame, (0.0, 1.0)).render(finer)  # pyright: ignore


class Best:
    """A function for `watch` that stores the picture of the network with the lowest error on held-out pixels."""

    def __init__(self, picture: IncompletePicture):
        self._picture, self._least = picture, np.inf
        self.rendered = np.zeros(0)

    def __call__(self, progress: Progress) -> None:
        rendered = NeuralField(progress.network(), self._picture.frame, (0.0, 1.0)).render()  # pyright: ignore
        error = np.mean((rendered - self._picture.signal)[~self._picture.known] ** 2)
        if error < self._least:
            self._least, self.rendered = error, rendered


def _draw_footprints(draw: Partial, each: Array, key: Array, step: Array) -> dict[str, dict[str, Array]]:
    del step
    return {"footprint": draw(key, len(each))}


def draw(case: Case, image: ndarray, numbers: dict[str, dict[str, float]], path: Path) -> None:
    """Draws the given picture, the picture of each method, and the truth."""
    panels = {"given": case.given, **case.results, "ground truth": image}
    figure = Figure(figsize=(2.9 * len(panels), 3.7), layout="constrained")
    for axis, (name, picture) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axis.imshow(picture[..., 0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_facecolor(COLORS[1])  # visible where no pixel is known
        quality = f"\n{numbers[name]['psnr']:.1f} dB, SSIM {numbers[name]['ssim']:.2f}" if name in numbers else "\n"
        axis.set(xticks=[], yticks=[], title=name + quality)
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
