"""The solution of an equation as a neural field: a network and the box it was solved in, to render and to save."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import nnx

from siren_jax.equations.domains import Domain
from siren_jax.equations.unknowns import Scaled, WithCoefficients
from siren_jax.errors import InputError
from siren_jax.fields.coordinates import Grid
from siren_jax.fields.precision import precision_of
from siren_jax.networks.changes import with_points
from siren_jax.networks.relu import ReLUMLP
from siren_jax.networks.siren import SIREN
from siren_jax.neural_field import NeuralField

CELLS = {1: 1024, 2: 200, 3: 64}  # along the longest side of the grid, by the number of coordinates
MORE = 16  # for more coordinates
FEWEST = 16  # along any other side


def solution(network: nnx.Module, domain: Domain, *, record: Mapping[str, Any] | None = None) -> NeuralField:
    """A network that solves an equation in a domain, as a neural field: `solution(network, domain).save("u.siren")`.

    Its `render()` is on a grid over the domain's box, including any hole: 1,024 cells in one dimension, 200 along the
    longest side in two, 64 in three.

    Args:
        network: a SIREN or a ReLUMLP; a SIREN that is `Scaled`, which becomes a plain one; or one of them
            `WithCoefficients`, whose numbers go into the record.
        domain: where the equation holds.
        record: JSON values saved in the file; "axes" and "channels" may name the coordinates and the unknowns.

    Raises:
        InputError: the network is of another kind, or has another number of coordinates than the domain.

    >>> from siren_jax.equations import Interval
    >>> u = WithCoefficients(SIREN(2, 1, width=8, rngs=nnx.Rngs(0)), speed=2.0)
    >>> field = solution(u, Interval(0, 1).during(0, 4))
    >>> field.render().shape, field.record
    ((200, 50, 1), {'coefficients': {'speed': 2.0}})
    """
    record = dict(record or {})
    if isinstance(network, WithCoefficients):
        with precision_of(network):
            record["coefficients"] = {name: float(network[name]) for name in network.coefficients}
        network = network.network
    if isinstance(network, Scaled) and type(network.network) is SIREN:
        centre, half = np.array(network.centre), np.array(network.half)
        network = with_points(network.network, 1 / half, -centre / half)
    if type(network) not in (SIREN, ReLUMLP):
        raise InputError(
            f"a solution is saved as a SIREN or a ReLUMLP, but this network is of {type(network)}; evaluate it as it "
            "is, or save a SIREN that `distil` has fitted to its values."
        )
    assert isinstance(network, SIREN | ReLUMLP)
    if network.in_features != len(domain.low):
        raise InputError(
            f"the network takes {network.in_features} coordinates, but the domain has {len(domain.low)}; "
            "give the domain it was fitted in."
        )
    return NeuralField(network, grid_over(domain), kind="solution", record=record)


def grid_over(domain: Domain) -> Grid:
    """A grid over a domain's box, with cells about as long as wide."""
    return Grid(_cells(domain.low, domain.high), domain.low, domain.high)


def moment_of(grid: Grid, *fixed: float) -> Grid:
    """A grid at fixed values of its first coordinates, such as one moment in time, as fine as one over the others."""
    low, high = grid.low[len(fixed) :], grid.high[len(fixed) :]
    return Grid((*[1] * len(fixed), *_cells(low, high)), (*fixed, *low), (*fixed, *high))


def _cells(low: tuple[float, ...], high: tuple[float, ...]) -> tuple[int, ...]:
    size = np.array(high) - np.array(low)
    cells = CELLS.get(len(size), MORE)
    return tuple(max(FEWEST, round(cells * s / size.max())) for s in size)
