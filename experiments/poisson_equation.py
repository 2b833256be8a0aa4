"""A SIREN solves Poisson's equation; a ReLU network, which has no Laplacian, only fits the boundary values.

Claim (Sitzmann et al. 2020, Section 4.1): a SIREN that is supervised on its Laplacian recovers the function. Here the
Laplacian inside a square and the values on its boundary are given; the solution is known in closed form.

python -m experiments.poisson_equation
"""

import dataclasses
from pathlib import Path

from experiments import solving
from experiments.run import run
from siren_jax.equations.catalogue import poisson


@dataclasses.dataclass(frozen=True)
class Config(solving.Config):
    out: Path = Path("out/experiments/poisson_equation")  # folder of the figures and of numbers.json


QUICK = Config(share=0.3, width=64, quick=True)
SMOKE = Config(share=0.002, width=16, depth=1, networks=("siren",), smoke=True)


def main(config: Config) -> dict[str, dict[str, dict[str, float]]]:
    """Fits all networks; writes a figure and `numbers.json`; returns errors in percent."""
    return solving.compare({"poisson": poisson()}, config)


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
