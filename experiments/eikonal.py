"""A SIREN solves the eikonal equation: the distance from two disks, given its slope and its values on their rims.

Claim (Sitzmann et al. 2020, Section 4.2 and supplement): a SIREN can be fitted to signed distances, the solutions of
|∇u| = 1. Here the shape is two disks. Their distance is known in closed form, and is not smooth on a ridge between
them.

python -m experiments.eikonal
"""

import dataclasses
from pathlib import Path

from experiments import solving
from experiments.run import run
from siren_jax.equations.catalogue import eikonal


@dataclasses.dataclass(frozen=True)
class Config(solving.Config):
    out: Path = Path("out/experiments/eikonal")  # folder of the figures and of numbers.json


QUICK = Config(share=0.6, networks=("siren", "tanh"), quick=True)
SMOKE = Config(share=0.0001, width=16, depth=1, networks=("siren",), smoke=True)


def main(config: Config) -> dict[str, dict[str, dict[str, float]]]:
    """Fits all networks; writes a figure and `numbers.json`; returns errors in percent."""
    return solving.compare({"eikonal": eikonal()}, config)


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
