"""A SIREN solves the wave equation from a pulse at rest, the time growing as it learns; tanh does not.

Claim (Sitzmann et al. 2020, Section 4.3): the residual, the pulse and its rest at the start are enough for a SIREN;
a tanh network fails. The reference is the closed form in the whole plane; the ring has not come to the rim at the end.

python -m experiments.wave_equation
"""

import dataclasses
from pathlib import Path

from experiments import solving
from experiments.run import run
from siren_jax.equations.catalogue import wave


@dataclasses.dataclass(frozen=True)
class Config(solving.Config):
    out: Path = Path("out/experiments/wave_equation")  # folder of the figures and of numbers.json


QUICK = Config(share=0.05, width=128, quick=True)
SMOKE = Config(share=0.002, width=16, networks=("siren",), smoke=True)


def main(config: Config) -> dict[str, dict[str, dict[str, float]]]:
    """Fits all networks; writes a figure and `numbers.json`; errors in percent."""
    return solving.compare({"wave": wave()}, config)


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
