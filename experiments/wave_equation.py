"""A SIREN solves the wave equation for a pulse that is initially at rest; tanh does not. Should the time span grow?

Claim (Sitzmann et al. 2020, Section 4.3): the residual, the initial pulse and its initial velocity of zero are enough
for a SIREN; a tanh network fails. The reference is the closed form in the whole plane; at the end, the ring has not
reached the boundary.

In the paper, the time span grows during the steps of Adam. Here a second SIREN is fitted in this way; L-BFGS uses the
whole span.

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
    growing: bool = True  # whether a second network is fitted to a growing time span


QUICK = Config(share=0.3, width=64, networks=("siren", "tanh"), growing=False, quick=True)
SMOKE = Config(share=0.0001, width=16, depth=1, networks=("siren",), growing=False, smoke=True)


def main(config: Config) -> dict[str, dict[str, dict[str, float]]]:
    """Fits all networks; writes figures and `numbers.json`; returns errors in percent."""
    growing = {"growing": wave(growing=0.5)} if config.growing else {}
    return solving.compare({"wave": wave(), **growing}, config)


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
