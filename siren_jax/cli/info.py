"""`siren-jax info`: what a `.siren` file contains."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from siren_jax.cli.console import printable
from siren_jax.cli.helptext import documented
from siren_jax.files.siren_file import read
from siren_jax.networks.layers import count_parameters
from siren_jax.networks.siren import SIREN
from siren_jax.neural_field import load
from siren_jax.subjects.kinds import describe


@dataclass(frozen=True)
@documented
class Info:
    """Print what a .siren file contains."""

    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """The .siren file."""

    def run(self) -> int:
        field = load(self.file)
        network = field.network
        rows = describe(field)
        rows["network"] = f"{type(network).__name__}, {network.in_features} -> {network.out_features}"
        rows["layers"] = f"{network.depth + 1} of {network.width} units"
        if isinstance(network, SIREN):
            rows["omega"] = f"{network.first_omega:g} in the first layer, {network.omega:g} after"
            if network.outermost != "linear":
                rows["outermost"] = network.outermost
        rows["parameters"] = f"{count_parameters(network):,}"
        rows["precision"] = read(self.file)[1]["precision"]
        rows |= {name: _shown(value) for name, value in field.record.items()}
        rows = {printable(name): printable(value) for name, value in rows.items()}
        wide = max(map(len, rows))
        for name, value in rows.items():
            print(f"{name:{wide}} {value}")
        return 0


def _shown(value: object) -> object:
    return "not finite" if value is None else f"{value:.4g}" if isinstance(value, float) else value
