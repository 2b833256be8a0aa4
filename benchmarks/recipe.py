"""Comparison of recipes: pictures of several sizes are fitted with the tuned recipe and its neighbours.

A high PSNR on the pixels may come with artefacts between them, so every fit also reports the PSNR half a pixel away and
the relative error of the gradient; see `pictures.py`. All fits see every pixel equally often. The exception is "paper",
for values: the authors' recipe runs until it reaches the final PSNR of "tuned" on the pixels.

`python -m benchmarks.recipe`: an hour on two cores; two or three with `--target gradient` or `--target laplacian`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import jax
import tyro
from flax import nnx

from benchmarks.measure import publish
from benchmarks.pictures import Picture, judge, load_picture
from siren_jax import SIREN, NeuralField, choose_omega, fit, supervise
from siren_jax.fitting.recipes import PAPER, TARGETS, TUNED, Recipe


@dataclass(frozen=True)
class Config:
    target: Literal["values", "gradient", "laplacian"] = "values"
    pictures: tuple[str, ...] = ("camera", "coffee", "brick", "cell")
    budgets: tuple[tuple[int, float], ...] = ((128, 12.0), (128, 50.0), (256, 12.0))
    """Pixels along the longer side, and the number of times that a fit sees each pixel."""
    neighbours: tuple[str, ...] = ()
    """Names of the neighbours to run; by default all."""
    paper_size: int = 128
    """Largest side of a picture for the paper's recipe."""
    paper_steps: int = 2000
    """Largest number of steps for the paper's recipe."""
    seed: int = 0


def neighbours(tuned: Recipe) -> dict[str, tuple[Recipe, float]]:
    """Recipes that differ from the tuned one in one setting, and a factor on their omega."""
    rate, batch = tuned.learning_rate, tuned.batch_size or 4096
    changes = {
        "rate x 2": {"learning_rate": 2 * rate},
        "rate / 2": {"learning_rate": rate / 2},
        "weights x 1": {"weight_scale": 1.0},
        "weights x 1.5": {"weight_scale": 1.5},
        "weights x 2": {"weight_scale": 2.0},
        "weights x 2.5": {"weight_scale": 2.5},
        "b2 0.99": {"b2": 0.99},
        "b2 0.999": {"b2": 0.999},
        "batch x 2": {"batch_size": 2 * batch},
        "batch / 2": {"batch_size": batch // 2},
    }
    recipes = {name: tuned._replace(**change) for name, change in changes.items()}
    different = {name: (recipe, 1.0) for name, recipe in recipes.items() if recipe != tuned}
    return {**different, "omega x 1.4": (tuned, 1.4), "omega / 1.4": (tuned, 1 / 1.4)}


def main(config: Config) -> list[dict]:
    rows = []
    for size, passes in config.budgets:
        for picture in (load_picture(name, size) for name in config.pictures):
            for recipe, result in compared(picture, passes, config):
                rows.append({"picture": picture.name, "size": size, "passes": passes, "recipe": recipe} | result)
                print(rows[-1], flush=True)
    publish(f"recipe_{config.target}", rows, config)
    return rows


def compared(picture: Picture, passes: float, config: Config) -> Iterator[tuple[str, dict[str, float]]]:
    """Names and results of the tuned recipe, its neighbours and the paper's recipe."""
    tuned, pixels = TUNED[config.target], len(picture.dataset)
    result = fitted(picture, tuned, config, passes * pixels)
    yield "tuned", result
    others = neighbours(tuned)
    for name in config.neighbours or others:
        recipe, omega_factor = others[name]
        yield name, fitted(picture, recipe, config, passes * pixels, omega_factor=omega_factor)
    if config.target == "values" and max(picture.pixels.shape) <= config.paper_size:
        yield "paper", fitted(picture, PAPER, config, config.paper_steps * pixels, until=result["pixels"])


def fitted(
    picture: Picture,
    recipe: Recipe,
    config: Config,
    points: float,
    *,
    omega_factor: float = 1.0,
    until: float = math.inf,
) -> dict[str, float]:
    """Quality of a fit that ends after drawing `points` points, or at `until` dB on the pixels."""
    data, quantities = picture.dataset, TARGETS[config.target]
    omega = omega_factor * (recipe.first_omega or choose_omega(data.grid("value"), data.frame).omega)
    batch = min(recipe.batch_size or len(data), len(data))
    network = SIREN(2, data.channels, first_omega=omega, weight_scale=recipe.weight_scale, rngs=nnx.Rngs(config.seed))
    result = fit(
        network,
        supervise(*quantities, mean_square=None if config.target == "values" else data.mean_square),
        data.sampler(batch, quantities=quantities),
        key=jax.random.key(config.seed),
        steps=max(1, round(points / batch)),
        optimizer=recipe.optimizer(network),
        schedule=recipe.schedule,
        watch=lambda progress: progress.terms.get("value", math.inf) < 4 * 10 ** (-until / 10),
    )
    field = NeuralField(result.network, data.frame, data.value_range)
    quality = judge(field, picture, up_to_a_constant=config.target != "values")
    return {"omega": omega, "steps": result.steps, **quality, "seconds": result.seconds}


if __name__ == "__main__":
    main(tyro.cli(Config))
