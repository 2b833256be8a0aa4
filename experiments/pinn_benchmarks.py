"""A SIREN on three standard equations for physics-informed networks: Burgers, Allen-Cahn, and Kovasznay flow.

This experiment is not in the paper. Published relative L2 errors of networks without data are 6.7e-4 for Burgers'
equation (Raissi et al. 2019), and for the Allen-Cahn equation 5.0e-1 with a plain network and 5.4e-5 after long
training (Wang et al. 2023, an expert's guide).

The references are the Cole-Hopf transform, a spectral scheme in time, and a closed form.

python -m experiments.pinn_benchmarks
"""

import dataclasses
from functools import partial
from pathlib import Path

from experiments import solving
from experiments.run import run
from siren_jax import InputError
from siren_jax.equations.catalogue import CASES, burgers


@dataclasses.dataclass(frozen=True)
class Config(solving.Config):
    out: Path = Path("out/experiments/pinn_benchmarks")  # folder of the figures and of numbers.json
    cases: tuple[str, ...] = ("burgers", "allen-cahn", "kovasznay")  # cases of the catalogue
    networks: tuple[str, ...] = ("siren", "tanh")  # networks for the first case; other cases use the first network only


QUICK = Config(share=0.1, networks=("siren",), quick=True)
SMOKE = Config(share=0.0001, width=16, depth=1, networks=("siren",), cases=("kovasznay",), smoke=True)


def main(config: Config) -> dict[str, dict[str, dict[str, float]]]:
    """Fits the networks; writes a figure of each case and `numbers.json`; returns errors in percent."""
    if unknown := set(config.cases) - set(Config.cases):
        raise InputError(f"cases must be among {', '.join(Config.cases)}, but got {', '.join(unknown)}.")
    makers = {**CASES, "burgers": partial(burgers, graded=False)}
    return solving.compare({name: makers[name]() for name in config.cases}, config)


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
