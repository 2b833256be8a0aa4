"""A SIREN solves the Helmholtz equation around one source, two, and one behind a lens; tanh and ReLU do not.

Claim (Sitzmann et al. 2020, Section 4.3 and supplement): with a perfectly matched layer around the square, a SIREN
matches a principled solver, at k = 20; networks of tanh and ReLU "fail entirely to converge".

The references: Hankel's function for the even medium, a sparse finite-difference solve with the same layer for the
lens. Errors are over the square without the layer.

python -m experiments.helmholtz
"""

import dataclasses
from pathlib import Path

from experiments import solving
from experiments.run import run
from siren_jax import InputError
from siren_jax.equations.catalogue import CASES


@dataclasses.dataclass(frozen=True)
class Config(solving.Config):
    out: Path = Path("out/experiments/helmholtz")  # folder of the figures and of numbers.json
    cases: tuple[str, ...] = ("helmholtz", "helmholtz-pair", "helmholtz-lens")  # of the catalogue


QUICK = Config(share=0.05, width=128, quick=True)
SMOKE = Config(share=0.002, width=16, networks=("siren",), cases=("helmholtz-lens",), smoke=True)


def main(config: Config) -> dict[str, dict[str, dict[str, float]]]:
    """Fits all networks to every case; writes a figure of each and `numbers.json`; errors in percent."""
    if unknown := set(config.cases) - set(Config.cases):
        raise InputError(f"cases are {', '.join(Config.cases)}, but got {', '.join(unknown)}; correct the settings.")
    return solving.compare({name: CASES[name]() for name in config.cases}, config)


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
