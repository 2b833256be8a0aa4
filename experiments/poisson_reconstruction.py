"""A SIREN recovers a picture from its gradient or its Laplacian: the solution of a Poisson equation.

Claim (Sitzmann et al. 2020, Section 4.1): supervised on derivatives alone, a SIREN recovers the picture. Here the
derivatives are in true units, so the contrast is right without a factor, and colour is fitted like grey.

The truth is a sparse direct solve of the same equation on pixels by SciPy. For the gradient, which is Sobel's over 8
pixels, it is the picture whose differences between neighbours are nearest to the means of their gradients; for the
Laplacian, it is the picture itself. The network and the solve are also compared with the picture: the PSNR of the solve
shows the loss from Sobel's smoothing. Means are aligned; the contrast is the slope of the network's values over the
truth.

Expected on the 256 x 256 camera, compared with the solve: gradient 46.9 dB and contrast 1.002, Laplacian 35.2 dB and
0.988. Compared with the picture, the fit to the gradient has 32.9 dB and its solve 31.7 dB. On the astronaut, in
colour: 43.4 dB and 1.002, 32.4 dB and 0.980; compared with the picture, 31.5 dB and 30.3 dB.

Half an hour on two CPU cores:  python -m experiments.poisson_reconstruction
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import skimage.data
from flax import nnx
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy import ndarray

from experiments.run import Settings, make_folder, run, save_numbers
from siren_jax import SIREN, InputError, NeuralField, PixelDataset, fit, supervise
from siren_jax.fitting.recipes import TARGETS, TUNED
from siren_jax.metrics import aligned, contrast, psnr
from siren_jax.signals import shrink
from siren_jax.signals.poisson import divergence_of, solve_poisson


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    out: Path = Path("out/experiments/poisson_reconstruction")  # folder of the figures and of numbers.json
    pictures: tuple[str, ...] = ("camera", "astronaut")  # camera is grey, astronaut in colour
    size: int = 256  # pixels along each side of the pictures
    width: int = 256  # units of a hidden layer
    depth: int = 3  # hidden layers after the first
    steps: tuple[int, int] = (1000, 500)  # steps from the gradient and from the Laplacian
    batch_size: int = 4096  # pixels per step
    seed: int = 0  # seed of weights and batches


QUICK = Config(size=128, width=128, steps=(500, 250), batch_size=2048, quick=True)
SMOKE = Config(pictures=("camera",), size=24, width=32, depth=1, steps=(5, 5), batch_size=256, smoke=True)
PICTURES = {"camera": skimage.data.camera, "astronaut": skimage.data.astronaut}


def solve(dataset: PixelDataset, target: str) -> Float[ndarray, "h w c"]:
    """The picture of mean zero, for values in [-1, 1], that the target determines on pixels."""
    spacing = dataset.frame.spacing
    if target == "laplacian":
        return solve_poisson(dataset.grid("laplacian").astype(np.float64) * spacing**2)
    g = dataset.grid("gradient").astype(np.float64) * spacing
    return solve_poisson(divergence_of(((g[1:, ..., 0] + g[:-1, ..., 0]) / 2, (g[:, 1:, :, 1] + g[:, :-1, :, 1]) / 2)))


def main(config: Config) -> dict[str, dict[str, float]]:
    """Fits the pictures to both targets; writes a figure and `numbers.json`; returns the numbers of every fit."""
    if min(config.width, *config.steps) < 1:
        raise InputError("width and steps must be at least 1; correct the settings.")
    if unknown := set(config.pictures) - set(PICTURES):
        raise InputError(f"pictures must be among {', '.join(PICTURES)}, but got {', '.join(sorted(unknown))}.")
    make_folder(config)
    rows, numbers = {}, {}
    for picture in config.pictures:
        image = np.atleast_3d(PICTURES[picture]()) / 255
        dataset = PixelDataset(shrink(image.astype(np.float32), size=config.size), value_range=(0.0, 1.0))
        for target, steps in zip(("gradient", "laplacian"), config.steps, strict=True):
            recipe, quantities = TUNED[target], TARGETS[target]
            network = SIREN(2, dataset.channels, width=config.width, depth=config.depth, rngs=nnx.Rngs(config.seed))
            result = fit(
                network,
                supervise(*quantities, mean_square=dataset.mean_square),
                dataset.sampler(min(config.batch_size, len(dataset)), quantities=quantities),
                key=jax.random.key(config.seed),
                steps=steps,
                optimizer=recipe.optimizer(network),
            )
            truth = solve(dataset, target).reshape(len(dataset), -1)
            values = NeuralField(result.network, dataset.frame).render().reshape(truth.shape)  # pyright: ignore
            found, solved = (aligned(v, dataset.value, dataset.coordinates, degree=0) for v in (values, truth))
            name = f"{picture}, {target}"
            numbers[name] = {
                "psnr_of_solve": psnr(found, solved),
                "contrast_of_solve": contrast(values, truth),
                "psnr_of_picture": psnr(found, dataset.value),
                "contrast_of_picture": contrast(values, dataset.value),
                "solve_psnr_of_picture": psnr(solved, dataset.value),
                "seconds": result.seconds,
            }
            rows[name] = [v.reshape(*dataset.shape, -1) for v in (dataset.value, solved, found)]
            print(f"{name:22}", "  ".join(f"{key} {value:.4g}" for key, value in numbers[name].items()), flush=True)
    draw(rows, numbers, config.out / "poisson_reconstruction.png")
    save_numbers(config, numbers)
    return numbers


def draw(rows: dict[str, list[ndarray]], numbers: dict[str, dict[str, float]], path: Path) -> None:
    """Draws for each fit the picture, the direct solve, the network, and the difference of the last two."""
    figure = Figure(figsize=(11.5, 2.7 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), 4, squeeze=False)
    for row, (name, (picture, solved, found)) in zip(axes, rows.items(), strict=True):
        for axis, values in zip(row, (picture, solved, found), strict=False):
            shown = np.clip((values + 1) / 2, 0, 1)
            axis.imshow(shown if shown.shape[-1] == 3 else shown[..., 0], cmap="gray", vmin=0, vmax=1)
        error = np.abs(found - solved).mean(axis=-1) / 2
        shown = row[3].imshow(error, cmap="magma", vmin=0, vmax=max(1 / 255, float(np.percentile(error, 99.5))))
        figure.colorbar(shown, ax=row[3], shrink=0.9, label="mean |error|, of 1")
        row[0].set_ylabel(name)
        row[2].set_xlabel(f"{numbers[name]['psnr_of_solve']:.1f} dB to the solve")
        row[1].set_xlabel(f"{numbers[name]['solve_psnr_of_picture']:.3g} dB to the picture")
    for axis, title in zip(axes[0], ("picture", "direct solve", "SIREN", "SIREN against solve"), strict=True):
        axis.set_title(title)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
    figure.suptitle("Pictures from their gradient and from their Laplacian (means aligned)")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
