"""A SIREN solves the Helmholtz equation with one source, two sources, and a source behind a lens; tanh and ReLU do not.

Claim (Sitzmann et al. 2020, Section 4.3 and supplement): with a perfectly matched layer around the square, a SIREN
matches a principled solver, at k = 20; networks of tanh and ReLU "fail entirely to converge".

Networks with tanh and ReLU are fitted to the case of one source. The references are Hankel's function for the
homogeneous medium, and a sparse finite-difference solve with the same layer for the lens. Errors are over the square
without the layer.

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
    cases: tuple[str, ...] = ("helmholtz", "helmholtz-pair", "helmholtz-lens")  # cases of the catalogue
    wavenumber: float = 20.0  # k, in radians per unit of length; the square reaches from -1 to 1


QUICK = Config(
    share=0.2,
    networks=("siren", "tanh"),
    cases=("helmholtz", "helmholtz-lens"),
    wavenumber=8.0,
    width=48,
    quick=True,
)
SMOKE = Config(share=0.0001, width=16, depth=1, networks=("siren",), cases=("helmholtz-lens",), smoke=True)


def main(config: Config) -> dict[str, dict[str, dict[str, float]]]:
    """Fits the networks; writes a figure of each case and `numbers.json`; returns errors in percent."""
    if unknown := set(config.cases) - set(Config.cases):
        raise InputError(f"cases must be among {', '.join(Config.cases)}, but got {', '.join(unknown)}.")
    return solving.compare({name: CASES[name](wavenumber=config.wavenumber) for name in config.cases}, config)


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
