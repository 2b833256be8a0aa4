"""Which recipe? Pictures of several sizes are fitted from several beginnings and judged on and between their pixels.

A recipe may not buy PSNR on the pixels with rubbish between them, so every fit reports the PSNR half a pixel away and
the relative error of the gradient as well; see `pictures.py`. All see every pixel equally often,
"paper" in few steps on the whole picture.

`python -m benchmarks.recipe`: an hour on two cores; `--pictures camera --sizes 128`: 5 minutes.
"""

from dataclasses import dataclass

import jax
import tyro
from flax import nnx

from benchmarks.measure import publish
from benchmarks.pictures import Picture, judge, load_picture
from siren_jax import SIREN, NeuralField, choose_omega, fit, recipes, supervise
from siren_jax.recipes import PAPER, Recipe

TUNED = recipes.TUNED["values"]
SHORT_PAPER = PAPER._replace(learning_rate=1e-3, batch_size=TUNED.batch_size, schedule=TUNED.schedule)
CANDIDATES: dict[str, Recipe] = {
    "tuned": TUNED,
    "paper": PAPER,
    "paper's weights": SHORT_PAPER,
    "paper's weights, omega 60": SHORT_PAPER._replace(first_omega=60.0),
    "weights x 1.5": TUNED._replace(weight_scale=1.5),
    "weights x 2.5": TUNED._replace(weight_scale=2.5),
    "rate 1e-3": TUNED._replace(learning_rate=1e-3),
    "rate 2.5e-4": TUNED._replace(learning_rate=2.5e-4),
    "b2 0.999": TUNED._replace(b2=0.999),
    "2,048 points": TUNED._replace(batch_size=2048),
    "8,192 points": TUNED._replace(batch_size=8192),
    "omega x 1.5": TUNED,
    "omega / 1.5": TUNED,
}
OMEGA_FACTOR = {"omega x 1.5": 1.5, "omega / 1.5": 1 / 1.5}


@dataclass(frozen=True)
class Config:
    pictures: tuple[str, ...] = ("camera", "coffee", "brick", "cell")
    sizes: tuple[int, ...] = (128, 256)
    """Pixels of the longer side."""
    passes: tuple[float, ...] = (12.0, 50.0)
    """How often a fit sees every pixel."""
    recipes: tuple[str, ...] = tuple(CANDIDATES)
    seed: int = 0


def main(config: Config) -> list[dict]:
    rows = []
    for size in config.sizes:
        for name in config.pictures:
            picture = load_picture(name, size)
            for passes in config.passes:
                for recipe in config.recipes:
                    row = {"picture": name, "size": size, "passes": passes, "recipe": recipe}
                    rows.append(row | fitted(picture, recipe, passes, config.seed))
                    print(rows[-1], flush=True)
    publish("recipe", rows, config)
    return rows


def fitted(picture: Picture, name: str, passes: float, seed: int) -> dict[str, float]:
    data, recipe = picture.dataset, CANDIDATES[name]
    omega = recipe.first_omega or choose_omega(data.grid("value"), data.frame).omega
    omega *= OMEGA_FACTOR.get(name, 1.0)
    batch = min(recipe.batch_size or len(data), len(data))
    network = SIREN(2, data.channels, first_omega=omega, weight_scale=recipe.weight_scale, rngs=nnx.Rngs(seed))
    result = fit(
        network,
        supervise("value"),
        data.sampler(batch),
        key=jax.random.key(seed),
        steps=max(1, round(passes * len(data) / batch)),
        optimizer=recipe.optimizer(omega),
        schedule=recipe.schedule,
    )
    quality = judge(NeuralField(result.network, data.frame, data.value_range), picture)
    return {"omega": omega, "steps": result.steps, **quality, "seconds": result.seconds}


if __name__ == "__main__":
    main(tyro.cli(Config))
