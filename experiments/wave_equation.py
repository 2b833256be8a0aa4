"""A SIREN solves the wave equation from a pulse at rest; tanh does not. Should time grow as it learns?

Claim (Sitzmann et al. 2020, Section 4.3): the residual, the pulse and its rest at the start are enough for a SIREN;
a tanh network fails. The reference is the closed form in the whole plane; the ring has not come to the rim at the end.

The paper lets the span of time grow over its steps of Adam. Here a second SIREN is fitted so; L-BFGS has all of it.

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
    growing: bool = True  # whether a network is fitted to a growing span of time as well


QUICK = Config(share=0.3, width=64, networks=("siren", "tanh"), growing=False, quick=True)
SMOKE = Config(share=0.0001, width=16, networks=("siren",), growing=False, smoke=True)


def main(config: Config) -> dict[str, dict[str, dict[str, float]]]:
    """Fits all networks; writes figures and `numbers.json`; errors in percent."""
    growing = {"growing": wave(growing=0.5)} if config.growing else {}
    return solving.compare({"wave": wave(), **growing}, config)


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
