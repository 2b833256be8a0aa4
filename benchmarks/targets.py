"""Steps until a fit reaches a target, compared with the best fixed budget, and its quality between the pixels then.

The best fixed budget is the smallest number of steps whose fit, with cosine decay of its rate, ends at the target. It
is interpolated between fits with several budgets, linearly over the logarithm of the steps. One run gives the result
for several targets: a fit with a target ends where it first reaches it.

`python -m benchmarks.targets`: 15 minutes on two idle cores; less with `--reuse`, which takes the fixed budgets from
the recorded results.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
import tyro
from flax import nnx

from benchmarks import measure
from benchmarks.measure import of_device, publish
from benchmarks.pictures import load_picture
from experiments.solids import SOLIDS, sample
from experiments.sounds import RATE, SYNTHESISED
from siren_jax import SIREN, NeuralField, fit
from siren_jax.equations.catalogue import CASES
from siren_jax.fitting.progress import Progress
from siren_jax.fitting.recipes import TUNED, TUNED_SHAPE, TUNED_SOUND, Recipe, until_a_target
from siren_jax.metrics import psnr
from siren_jax.signals import Sound
from siren_jax.subjects.picture import Picture
from siren_jax.subjects.shape import Scan
from siren_jax.subjects.solution import Solution
from siren_jax.subjects.sound import Recording
from siren_jax.subjects.subject import Subject

LEVELS = {
    "psnr": (30.0, 35.0, 40.0, 45.0, 50.0),
    "snr": (10.0, 20.0, 30.0),
    "chamfer": (1.0, 0.5, 0.4),
    "error": (10.0, 3.0, 1.0),
}


@dataclass(frozen=True)
class Config:
    pictures: tuple[str, ...] = ("camera", "camera:256", "astronaut", "coffee", "chelsea", "moon", "brick", "gravel")
    """Pictures of scikit-image; a number after the name is the pixels along the longer side."""
    size: int = 128
    """Pixels along the longer side of pictures without a number."""
    others: tuple[str, ...] = ("voice", "torus", "poisson", "burgers")
    """Sounds of one second, shapes, equations."""
    budgets: tuple[int, ...] = (50, 100, 200, 400)
    """Steps of the fits without a target; a fit with a target takes at most twice the last of them."""
    reuse: bool = False
    """Whether to take the fixed budgets from the recorded results."""
    width: int = 256
    """Width of the networks for pictures, sounds and shapes."""


class Trial(NamedTuple):
    """A subject with its recipe, and a function for the quality between the samples (None: it is unknown)."""

    subject: Subject
    recipe: Recipe
    between: Callable[[nnx.Module], float | None] = lambda network: None
    sizes: tuple[int, int] = (256, 3)


def main(config: Config) -> list[dict]:
    path = measure.RESULTS / f"{of_device('targets')}.json"
    budgets = json.loads(path.read_text())["budgets"] if config.reuse and path.exists() else {}
    rows = []
    for name in (*config.pictures, *config.others):
        trial = trial_of(name, config)
        levels = LEVELS[trial.subject.measure.name]
        budgets[name] = budgets.get(name) or fixed(trial, levels, config)
        reached = with_target(trial, levels, 2 * config.budgets[-1])
        rows += compared(name, levels, budgets[name], reached, trial.subject.measure.less_is_better)
    publish("targets", rows, config, budgets=budgets)
    return rows


def compared(
    name: str, levels, ends, reached: dict[float, tuple[int, float | None]], less: bool
) -> list[dict[str, object]]:
    """A row for each target, with None for values that no fit has reached."""
    rows = []
    for level in levels:
        best, between = needed(ends, level, less)
        steps, own = reached.get(level, (None, None))
        row = {"subject": name, "target": level, "best budget": best, "with a target": steps}
        row["steps / best"] = steps / best if steps and best else None
        row |= {"between, best budget": between, "between, with a target": own}
        rows.append({key: None if value != value else value for key, value in row.items()})  # NaN: unknown
    return rows


def fixed(trial: Trial, levels: tuple[float, ...], config: Config) -> list[tuple[int, float, float | None]]:
    """Steps, quality, and quality between the samples of fits with a budget, until one has reached every target."""
    ends = []
    for steps in config.budgets:
        network = fitted(trial, trial.recipe, steps).network
        ends.append((steps, trial.subject.quality(network), trial.between(network)))
        print(trial.subject.measure.name, ends[-1], flush=True)
        if trial.subject.measure.reaches(ends[-1][1], levels[-1]):
            break
    return ends


def with_target(trial: Trial, levels: tuple[float, ...], steps: int) -> dict[float, tuple[int, float | None]]:
    """The step at which a fit with a target ends, and its quality between the samples, for every level reached."""
    reached: dict[float, tuple[int, float | None]] = {}

    def until(progress: Progress) -> bool:
        network, subject = progress.network(), trial.subject
        reaches = lambda measured, level: subject.measure.reaches(measured(network), level)
        for level in levels[len(reached) :]:  # like the command: all samples, once some are good enough
            if not (reaches(subject.estimate, level) and reaches(subject.quality, level)):
                break
            reached[level] = progress.step, trial.between(network)
        return len(reached) == len(levels)

    fitted(trial, until_a_target(trial.recipe), steps, until=until, look=trial.subject.measure.look)
    return reached


def fitted(trial: Trial, recipe: Recipe, steps: int, **options):
    subject, (width, depth) = trial.subject, trial.sizes
    omega = subject.choose_omega().omega if recipe.first_omega is None else recipe.first_omega
    rngs, scale = nnx.Rngs(0), recipe.weight_scale
    net = SIREN(*subject.features, width=width, depth=depth, first_omega=omega, weight_scale=scale, rngs=rngs)
    return fit(
        net,
        subject.objective,
        subject.sampler(min(recipe.batch_size or subject.points, subject.points)),
        key=jax.random.key(0),
        steps=steps,
        optimizer=recipe.optimizer(net),
        schedule=recipe.schedule,
        average=recipe.average,
        weights=subject.weights,
        **options,
    )


def needed(ends: list[tuple[int, float, float | None]], level: float, less: bool) -> tuple[float | None, float | None]:
    """Steps of the smallest budget that reaches a target, and its quality between the samples; or None for both."""
    sign = -1 if less else 1
    steps, quality, between = np.array(ends, float).T
    for i in np.flatnonzero(sign * quality >= sign * level)[:1]:
        if i == 0:
            break  # a smaller budget may do as well
        share = (level - quality[i - 1]) / (quality[i] - quality[i - 1])
        found = np.exp(np.log(steps[i - 1]) + share * np.log(steps[i] / steps[i - 1]))
        return float(found), float(between[i - 1] + share * (between[i] - between[i - 1]))
    return None, None


def trial_of(name: str, config: Config) -> Trial:
    """The subject with a given name, as in the command."""
    sizes = config.width, 3
    if name in SYNTHESISED:
        sound = Sound(SYNTHESISED[name](np.arange(RATE) / RATE)[:, None].astype(np.float32), RATE)
        return Trial(Recording(sound), TUNED_SOUND, sizes=sizes)
    if name in SOLIDS:
        return Trial(Scan(sample(SOLIDS[name], 20_000), "tuned"), TUNED_SHAPE, sizes=sizes)
    if name in CASES:
        case = CASES[name]()
        recipe = TUNED["values"]._replace(
            learning_rate=case.learning_rate, first_omega=case.first_omega, weight_scale=1.0
        )
        return Trial(Solution(case), recipe, sizes=(case.width, case.depth))
    name, _, size = name.partition(":")
    picture = load_picture(name, int(size or config.size))
    h, w = picture.pixels.shape[:2]

    def between(network: nnx.Module) -> float:
        field = NeuralField(network, picture.dataset.frame, (0.0, 1.0))  # pyright: ignore[reportArgumentType]
        middle = field.render((h - 1, w - 1), region=((0.5, h - 0.5), (0.5, w - 0.5)))
        return psnr(middle, picture.between, data_range=1.0)

    return Trial(Picture(picture.dataset, "values", {}, 1.0), TUNED["values"], between, sizes)


if __name__ == "__main__":
    main(tyro.cli(Config))
