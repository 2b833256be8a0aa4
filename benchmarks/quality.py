"""Seconds until a SIREN reaches a given PSNR: our tuned recipe compared with the tutorial's recipe in PyTorch.

Our recipe is fitted with several budgets, because its schedule ends with the budget. A PSNR counts as reached when the
first of these fits reaches it on all pixels. The tutorial's recipe (Adam at 1e-4, the whole picture at every step)
gives the same PSNR at the same step in PyTorch and in our implementation, which is checked on the first steps. Its PSNR
is therefore computed with our steps, and its seconds are the number of steps times the median time of PyTorch steps,
which are timed before each of our fits. Compilation, 2 to 5 s for ours, and the computation of the PSNR are not
counted.

`python -m benchmarks.quality`: 13 minutes on two cores.
"""

from dataclasses import dataclass

import jax
import matplotlib.pyplot as plt
import numpy as np
import tyro
from flax import nnx

from benchmarks.measure import PICTURES, interleaved, of_device, publish
from benchmarks.peers import ours, torch_eager
from benchmarks.pictures import judge, load_picture
from siren_jax import SIREN, NeuralField, PixelDataset, choose_omega, fit, recipes, supervise
from siren_jax.metrics import psnr

LEVELS = (30, 35, 40, 45, 50)


@dataclass(frozen=True)
class Config:
    picture: str = "camera"
    """Name of a grey picture."""
    size: int = 256
    budgets: tuple[float, ...] = (5, 10, 20, 40)
    """Seconds of each fit with our recipe."""
    tutorial_steps: int = 700
    torch_rounds: int = 5
    """Number of PyTorch steps that are timed before each fit."""


def main(config: Config) -> list[dict]:
    picture = load_picture(config.picture, config.size)
    data = picture.dataset
    steps = {"ours": ours(data, "values"), "PyTorch": torch_eager(data, "values")}
    losses = {peer: [step() for _ in range(3)] for peer, step in steps.items()}
    np.testing.assert_allclose(losses["ours"], losses["PyTorch"], rtol=1e-3)
    tutorial = tutorial_curve(data, config.tutorial_steps)
    fits, summary, times = {}, {}, []
    for budget in config.budgets:
        times.append(interleaved(steps, rounds=config.torch_rounds, warm=True))
        fits[budget], field = our_curve(data, budget)
        summary[budget] = judge(field, picture)
        print(budget, summary[budget], flush=True)
    seconds = {peer: float(np.median([time[peer] for time in times])) for peer in steps}
    rows = []
    for level in LEVELS:
        needed = first(tutorial, level)
        ours_needed = min((t for curve in fits.values() if (t := first(curve, level)) is not None), default=None)
        row: dict[str, object] = {"dB": level, "ours s": ours_needed, "tutorial steps": needed}
        row["PyTorch s"] = None if needed is None else needed * seconds["PyTorch"]
        if needed is not None and ours_needed is not None:
            row["PyTorch / ours"] = needed * seconds["PyTorch"] / ours_needed
        rows.append(row)
    publish("quality", rows, config, step_seconds=seconds, budgets=summary)
    draw(tutorial, fits, seconds["PyTorch"])
    return rows


def tutorial_curve(data: PixelDataset, steps: int) -> list[tuple[float, float]]:
    """(step, PSNR) of the tutorial's recipe: the loss of a step is the mean squared error over all pixels before it."""
    step = ours(data, "values")
    return [(number, 10 * np.log10(4 / step())) for number in range(steps)]


def our_curve(data: PixelDataset, budget: float) -> tuple[list[tuple[float, float]], NeuralField]:
    """(seconds, PSNR on all pixels) of the tuned recipe, and the field at the end."""
    recipe = recipes.TUNED["values"]
    omega = choose_omega(data.grid("value"), data.frame).omega
    net = SIREN(2, data.channels, first_omega=omega, weight_scale=recipe.weight_scale, rngs=nnx.Rngs(0))
    curve = []

    def watch(progress) -> bool:
        values = NeuralField(progress.network(), data.frame).render()
        curve.append((progress.seconds, psnr(values.reshape(len(data), -1), data.value)))
        return False

    fitted = fit(
        net,
        supervise("value"),
        data.sampler(min(recipe.batch_size or len(data), len(data))),
        key=jax.random.key(0),
        seconds=budget,
        optimizer=recipe.optimizer(net),
        schedule=recipe.schedule,
        watch=watch,
    )
    return curve, NeuralField(fitted.network, data.frame, data.value_range)


def first(curve: list[tuple[float, float]], level: float) -> float | None:
    return next((x for x, value in curve if value >= level), None)


def draw(tutorial, fits: dict, torch_step: float) -> None:
    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    x, y = np.array(tutorial).T
    axis.semilogx(np.maximum(1, x) * torch_step, y, color="#D55E00", label="the tutorial's recipe in PyTorch")
    for budget, curve in fits.items():
        label = "ours, one curve a budget" if budget == min(fits) else None
        axis.semilogx(*np.array(curve).T, color="#0072B2", linewidth=1, label=label)
        axis.plot(*curve[-1], marker="o", color="#0072B2", markersize=4)
    axis.set_xlabel("seconds of fitting")
    axis.set_ylabel("PSNR, dB")
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(PICTURES / f"{of_device('benchmark_quality')}.png", dpi=120)


if __name__ == "__main__":
    main(tyro.cli(Config))
