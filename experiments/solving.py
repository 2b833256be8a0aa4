"""Common parts of the experiments on differential equations: networks of one size, compared with a reference."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from experiments import baselines
from experiments.run import Settings, make_folder, save_numbers
from siren_jax import Fit, InputError
from siren_jax.equations.case import Case
from siren_jax.equations.comparison import Comparison
from siren_jax.plot import solution


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    out: Path = Path("out/experiments/solving")  # folder of the figures and of numbers.json
    networks: tuple[str, ...] = baselines.KINDS  # networks for the first case; other cases use the first network only
    width: int | None = None  # units of a hidden layer; the default is that of the equation
    depth: int | None = None  # hidden layers after the first; the default is that of the equation
    share: float = 1.0  # share of the equation's number of steps; lower it for a shorter run
    seed: int = 0  # seed of weights and points


def compare(cases: Mapping[str, Case], config: Config) -> dict[str, dict[str, dict[str, float]]]:
    """Fits all networks to the first case, and the first network to the others; returns errors in percent.

    Writes a figure of each case and `numbers.json`.
    """
    if not 0 < config.share <= 1 or (config.width is not None and config.width < 1):
        raise InputError("share must be above 0 and at most 1, and width at least 1; correct the settings.")
    if not set(config.networks) <= set(baselines.KINDS) or not config.networks:
        raise InputError(f"networks are {', '.join(baselines.KINDS)}, but got {', '.join(config.networks) or 'none'}.")
    make_folder(config)
    numbers = {}
    for number, (title, case) in enumerate(cases.items()):
        comparison, fitted, numbers[title] = Comparison(case), {}, {}
        for name in config.networks if number == 0 else config.networks[:1]:
            result = solve(case, name, config)
            error = comparison.error(result.network)  # pyright: ignore[reportArgumentType]
            fitted[name] = result.network
            numbers[title][name] = {"error": error, "seconds": result.seconds, "steps": float(result.steps)}
            print(f"{title:20} {name:6} {error:8.3g} %  {result.steps} steps, {result.seconds:.0f} s", flush=True)
        rows, where, moment = comparison.panels(fitted)
        errors = [f"{name} {number['error']:.3g} %" for name, number in numbers[title].items()]
        figure = solution(rows, **where, title=", ".join(filter(None, (case.about, moment, *errors))))
        figure.savefig(config.out / f"{title}.png", dpi=80)
    save_numbers(config, numbers)
    return numbers


def solve(case: Case, name: str, config: Config) -> Fit:
    """The fit of a network of a given kind to a case: Adam on fresh points, then L-BFGS on fixed ones."""
    plain = baselines.network(
        name,
        len(case.domain.low),
        len(case.channels),
        width=config.width or case.width,
        depth=case.depth if config.depth is None else config.depth,
        first_omega=case.first_omega,
        seed=config.seed,
    )
    network = case.ansatz(plain) if case.ansatz else plain
    problem, key = case.problem, jax.random.key(config.seed)
    first = problem.fit(
        network,
        key=key,
        steps=int(np.ceil(config.share * case.steps)),
        optimizer=baselines.optimizer(name, network, case.learning_rate),
    )
    steps = round(config.share * case.refined)
    if not steps:
        return first
    return first.followed_by(problem.refine(first.network, key=key, batches=case.batches, steps=steps))
