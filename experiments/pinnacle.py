"""SIRENs on the problems of PINNacle, a benchmark of physics-informed networks, in a minute each on two CPU cores.

Linear problems are solved with random features, whose last layer is a linear least-squares problem; others by
Gauss-Newton steps of a small SIREN, or of the last layer in one slab of time after another. `--seconds` does not limit
slabs: they take as long as their recipe needs.

This experiment is not in the paper. PINNacle (Hao et al. 2023, arXiv 2306.08827) has 22 problems. Those here have a
solution in closed form, or a table of a solution by finite elements, which `--references` names the folder of: the
folder `ref` of PINNacle's repository. Without it, problems in closed form are solved alone. The error is that of
PINNacle, |u - reference| / |reference| over all points and unknowns. Where a better solution than the table is known,
"true error" is that of the network, and "table error" that of the table.

python -m experiments.pinnacle --references DIR
"""

import dataclasses
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments import pinnacle_flows, pinnacle_heat, pinnacle_in_time, pinnacle_long_heat, pinnacle_stationary
from experiments.pinnacle_published import PUBLISHED
from experiments.pinnacle_record import distance, new_network, relative_error, solve
from experiments.run import Settings, make_folder, run, save_numbers
from siren_jax import InputError

PROBLEMS = {
    "burgers-1d": pinnacle_in_time.burgers_1d,
    "poisson-2d": pinnacle_stationary.poisson_2d,
    "poisson-2d-holes": pinnacle_stationary.poisson_2d_holes,
    "poisson-nd": pinnacle_stationary.poisson_nd,
    "heat-2d-scales": pinnacle_heat.heat_2d_scales,
    "heat-2d-long": pinnacle_long_heat.heat_2d_long,
    "heat-nd": pinnacle_heat.heat_nd,
    "wave-1d": pinnacle_in_time.wave_1d,
    "cavity": pinnacle_flows.lid_driven_cavity,
    "back-step": pinnacle_flows.back_step,
    "two-cylinders": pinnacle_flows.two_cylinders,
    "poisson-inverse": pinnacle_stationary.poisson_inverse,
    "heat-inverse": pinnacle_heat.heat_inverse,
}
COLUMNS = "error", "published", "ratio", "true error", "table error", "seconds", "steps"
CLOSED = ("poisson-nd", "heat-2d-scales", "heat-nd", "wave-1d", "poisson-inverse")  # problems that need no file


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    out: Path = Path("out/experiments/pinnacle")  # folder of the figure and of numbers.json
    references: Path | None = None  # folder of PINNacle's tables, such as burgers1d.dat
    only: tuple[str, ...] = ()  # names of problems; by default all, or without references those in closed form
    seconds: float = 60.0  # time of steps for each problem, without compilation; slabs of time take their own
    width: int | None = None  # units of a hidden layer, or sines; the default is that of the problem's recipe
    depth: int | None = None  # hidden layers after the first; the default is that of the problem's recipe
    seed: int = 0  # seed of weights and points


QUICK = Config(seconds=5.0, quick=True)
SMOKE = Config(seconds=0.01, only=("wave-1d", "poisson-inverse"), width=8, depth=1, smoke=True)


def main(config: Config) -> dict[str, dict[str, float]]:
    """Solves the problems; writes a figure and `numbers.json`; returns relative errors."""
    names = config.only or tuple(PROBLEMS if config.references else CLOSED)
    if unknown := set(names) - set(PROBLEMS):
        raise InputError(f"only takes names among {', '.join(PROBLEMS)}, but got {', '.join(sorted(unknown))}.")
    if not config.seconds > 0:
        raise InputError(f"seconds must be above 0, but got {config.seconds}.")
    benchmarks = {name: PROBLEMS[name](config.references) for name in names}
    sizes = {"width": config.width, "depth": config.depth}
    sizes = {name: size for name, size in sizes.items() if size is not None}
    recipes = {}
    for name, benchmark in benchmarks.items():
        quick = benchmark.recipe.quick if config.quick else {}
        recipes[name] = dataclasses.replace(benchmark.recipe, **{**quick, **sizes})
    references = {}
    for name, benchmark in benchmarks.items():  # bad files and sizes are found before anything is written
        references[name] = benchmark.reference()
        new_network(recipes[name], len(benchmark.channels), config.seed)
    make_folder(config)
    numbers: dict[str, dict[str, float]] = {}
    print(" " * 16, *(f"{title:>11}" for title in COLUMNS), flush=True)
    for name, benchmark in benchmarks.items():
        fit, reference = solve(benchmark, recipes[name], seconds=config.seconds, seed=config.seed), references[name]
        row = {"error": relative_error(fit.network, reference), "seconds": fit.seconds, "steps": float(fit.steps)}
        if name in PUBLISHED:
            published = PUBLISHED[name].error
            row |= {"published": published, "ratio": row["error"] / published}
        if benchmark.truth:
            true = reference._replace(values=benchmark.truth(reference.points))
            row |= {"true error": relative_error(fit.network, true), "table error": distance(reference.values, true)}
        numbers[name] = row
        print(f"{name:16}", *(f"{row[title]:11.3g}" if title in row else f"{'-':>11}" for title in COLUMNS), flush=True)
        save_numbers(config, numbers)
    figure(numbers).savefig(config.out / "pinnacle.png", dpi=100)
    return numbers


def figure(numbers: dict[str, dict[str, float]]) -> Figure:
    """Our errors and the published ones, on a logarithmic axis."""
    drawn = Figure(figsize=(7, 1.2 + 0.35 * len(numbers)), layout="constrained")
    axis, rows = drawn.subplots(), np.arange(len(numbers))
    axis.plot([row["error"] for row in numbers.values()], rows, "o", label="SIREN")
    axis.plot([row.get("published", np.nan) for row in numbers.values()], rows, "x", label="best of PINNacle's methods")
    axis.set(xscale="log", xlabel="relative L2 error", yticks=rows, yticklabels=list(numbers))
    axis.invert_yaxis()
    axis.grid(alpha=0.3)
    axis.legend()
    return drawn


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
