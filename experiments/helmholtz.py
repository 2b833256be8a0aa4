"""A SIREN solves the Helmholtz equation around one source, two, and one behind a lens; tanh and ReLU do not.

Claim (Sitzmann et al. 2020, Section 4.3 and supplement): with a perfectly matched layer around the square, a SIREN
matches a principled solver, at k = 20; networks of tanh and ReLU "fail entirely to converge".

tanh and ReLU are fitted to the one source. The references: Hankel's function for the even medium, a sparse
finite-difference solve with the same layer for the lens. Errors are over the square without the layer.

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
    wavenumber: float = 20.0  # k, in radians for each unit of the square from -1 to 1


QUICK = Config(
    share=0.2,
    networks=("siren", "tanh"),
    cases=("helmholtz", "helmholtz-lens"),
    wavenumber=8.0,
    width=48,
    quick=True,
)
SMOKE = Config(share=0.0001, width=16, networks=("siren",), cases=("helmholtz-lens",), smoke=True)


def main(config: Config) -> dict[str, dict[str, dict[str, float]]]:
    """Fits the networks; writes a figure of each case and `numbers.json`; errors in percent."""
    if unknown := set(config.cases) - set(Config.cases):
        raise InputError(f"cases are {', '.join(Config.cases)}, but got {', '.join(unknown)}; correct the settings.")
    return solving.compare({name: CASES[name](wavenumber=config.wavenumber) for name in config.cases}, config)


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
