"""A SIREN on three equations that the field measures itself by: Burgers', Allen and Cahn's, and Kovasznay's flow.

Not in the paper. Published relative L2 errors of networks without data: Burgers' 6.7e-4 (Raissi et al. 2019); Allen and
Cahn's 5.0e-1 of a plain one, 5.4e-5 after long training (Wang et al. 2023, an expert's guide).

The references: Cole and Hopf's transform, a spectral scheme in time, and a closed form.

python -m experiments.pinn_benchmarks
"""

import dataclasses
from pathlib import Path

from experiments import solving
from experiments.run import run
from siren_jax import InputError
from siren_jax.equations.catalogue import CASES


@dataclasses.dataclass(frozen=True)
class Config(solving.Config):
    out: Path = Path("out/experiments/pinn_benchmarks")  # folder of the figures and of numbers.json
    cases: tuple[str, ...] = ("burgers", "allen-cahn", "kovasznay")  # of the catalogue
    networks: tuple[str, ...] = ("siren", "tanh")  # those of the first case; the others are of the first alone


QUICK = Config(share=0.1, networks=("siren",), quick=True)
SMOKE = Config(share=0.0001, width=16, networks=("siren",), cases=("kovasznay",), smoke=True)


def main(config: Config) -> dict[str, dict[str, dict[str, float]]]:
    """Fits the networks; writes a figure of each case and `numbers.json`; errors in percent."""
    if unknown := set(config.cases) - set(Config.cases):
        raise InputError(f"cases are {', '.join(Config.cases)}, but got {', '.join(unknown)}; correct the settings.")
    return solving.compare({name: CASES[name]() for name in config.cases}, config)


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
