"""Which recipe? Pictures of several sizes are fitted with the tuned recipe and its neighbours, for several budgets.

A recipe may not buy PSNR on the pixels with rubbish between them, so every fit reports the PSNR half a pixel away and
the relative error of the gradient as well; see `pictures.py`. All see every pixel equally often. "paper" is the
exception, on values: the authors' recipe, for as many steps as it needs to the PSNR on the pixels that "tuned" has.

`python -m benchmarks.recipe`: an hour on two cores; two or three with `--target gradient` or `--target laplacian`.
"""

import math
from dataclasses import dataclass
from typing import Literal

import jax
import tyro
from flax import nnx

from benchmarks.measure import publish
from benchmarks.pictures import Picture, judge, load_picture
from siren_jax import SIREN, NeuralField, choose_omega, fit, recipes, supervise
from siren_jax.recipes import PAPER, Recipe

QUANTITIES = {
    "values": ("value",),
    "gradient": ("gradient", "gradient_integral"),
    "laplacian": ("laplacian", "laplacian_integral"),
}


@dataclass(frozen=True)
class Config:
    target: Literal["values", "gradient", "laplacian"] = "values"
    pictures: tuple[str, ...] = ("camera", "coffee", "brick", "cell")
    budgets: tuple[tuple[int, float], ...] = ((128, 12.0), (128, 50.0), (256, 12.0))
    """Pixels of the longer side, and how often a fit sees each."""
    recipes: tuple[str, ...] = ()
    """All, if none are named."""
    paper_steps: int = 3000
    """The most of the paper's recipe."""
    seed: int = 0


def candidates(tuned: Recipe) -> dict[str, tuple[Recipe, float]]:
    """Recipes, and a factor on their omega."""
    rate = tuned.learning_rate
    changes = {
        "tuned": {},
        "rate x 2": {"learning_rate": 2 * rate},
        "rate / 2": {"learning_rate": rate / 2},
        "weights x 1": {"weight_scale": 1.0},
        "weights x 1.5": {"weight_scale": 1.5},
        "weights x 2": {"weight_scale": 2.0},
        "weights x 2.5": {"weight_scale": 2.5},
        "b2 0.99": {"b2": 0.99},
        "b2 0.999": {"b2": 0.999},
        "2,048 points": {"batch_size": 2048},
        "8,192 points": {"batch_size": 8192},
    }
    neighbours = {name: tuned._replace(**change) for name, change in changes.items()}
    different = {name: (r, 1.0) for name, r in neighbours.items() if name == "tuned" or r != tuned}
    return {**different, "omega x 1.4": (tuned, 1.4), "omega / 1.4": (tuned, 1 / 1.4), "paper": (PAPER, 1.0)}


def main(config: Config) -> list[dict]:
    chosen = candidates(recipes.TUNED[config.target])
    chosen = {name: chosen[name] for name in config.recipes or chosen if config.target == "values" or name != "paper"}
    rows = []
    for size, passes in config.budgets:
        for picture in (load_picture(name, size) for name in config.pictures):
            reached = math.inf
            for name, (recipe, factor) in chosen.items():
                aim = reached if name == "paper" else math.inf
                row = fitted(picture, recipe, factor, passes, config, aim)
                reached = row["pixels"] if name == "tuned" else reached
                rows.append({"picture": picture.name, "size": size, "passes": passes, "recipe": name} | row)
                print(rows[-1], flush=True)
    publish(f"recipe_{config.target}", rows, config)
    return rows


def fitted(
    picture: Picture, recipe: Recipe, factor: float, passes: float, config: Config, aim: float
) -> dict[str, float]:
    """Quality of a fit that ends with its passes, or as soon as it has so many dB on the pixels."""
    data, quantities = picture.dataset, QUANTITIES[config.target]
    omega = factor * (recipe.first_omega or choose_omega(data.grid("value"), data.frame).omega)
    batch = min(recipe.batch_size or len(data), len(data))
    network = SIREN(2, data.channels, first_omega=omega, weight_scale=recipe.weight_scale, rngs=nnx.Rngs(config.seed))
    result = fit(
        network,
        supervise(*quantities, mean_square=None if config.target == "values" else data.mean_square),
        data.sampler(batch, quantities=quantities),
        key=jax.random.key(config.seed),
        steps=config.paper_steps if recipe is PAPER else max(1, round(passes * len(data) / batch)),
        optimizer=recipe.optimizer(omega),
        schedule=recipe.schedule,
        watch=lambda progress: progress.terms.get("value", math.inf) < 4 * 10 ** (-aim / 10),
    )
    field = NeuralField(result.network, data.frame, data.value_range)
    quality = judge(field, picture, up_to_a_constant=config.target != "values")
    return {"omega": omega, "steps": result.steps, **quality, "seconds": result.seconds}


if __name__ == "__main__":
    main(tyro.cli(Config))
