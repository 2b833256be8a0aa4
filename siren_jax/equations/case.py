"""Cases of the catalogue: a problem with a name, settings that solve it, and an independent solution."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax._types import RefinementMethod
from siren_jax.equations.domains import Domain
from siren_jax.equations.problem import Problem
from siren_jax.equations.unknowns import Ansatz
from siren_jax.networks.features import fourier_features, random_features, space_time_frequencies
from siren_jax.networks.siren import SIREN

NEWTON = 30  # most steps of random features; a linear equation needs one or two
IN_A_SLAB = 12  # most steps in a slab of time; four if the slab is as short as it should be


@dataclass(frozen=True)
class Direct:
    """An untrained network, and the method of `refine` that solves a case from it, without Adam before it."""

    network: Callable[[int, nnx.Rngs], SIREN]
    """Makes the network of a width."""
    width: int
    method: RefinementMethod
    steps: int
    """Largest number of steps."""
    batches: int = 1
    """Number of batches whose points are used."""
    needless: tuple[str, ...] = ()
    """Terms that hold by construction of the network."""
    problem: Problem | None = None
    """The problem, if it is another one than that of the training."""
    slabs: int | tuple[float, ...] | None = None
    """For time marching: the number of slabs of time, or the times of their ends."""


def by_sines(
    domain: Domain,
    channels: int,
    width: int,
    frequencies: float | Sequence[float],
    *,
    batches: int = 1,
    steps: int = NEWTON,
    **more: Any,
) -> Direct:
    """The solution of a case by the last layer of `random_features`, to which further arguments are given."""

    def network(width: int, rngs: nnx.Rngs) -> SIREN:
        return random_features(len(domain.low), channels, width=width, frequencies=frequencies, rngs=rngs, **more)

    return Direct(network, width, "last-layer", steps, batches)


def by_small_network(
    domain: Domain,
    channels: int,
    width: int,
    depth: int,
    first_omega: float,
    steps: int,
    *,
    batches: int = 1,
    needless: tuple[str, ...] = (),
    **more: Any,
) -> Direct:
    """The solution of a case by Gauss-Newton on a small SIREN, to which further arguments are given."""

    def network(width: int, rngs: nnx.Rngs) -> SIREN:
        sizes = {"width": width, "depth": depth, "first_omega": first_omega, "omega": 1.0}
        return SIREN(len(domain.low), channels, **sizes, rngs=rngs, **more)

    return Direct(network, width, "gauss-newton", steps, batches, needless)


def by_slabs(
    domain: Domain,
    channels: int,
    width: int,
    frequencies: float | Sequence[float],
    slabs: int | Sequence[float],
    *,
    batches: int = 1,
    needless: tuple[str, ...] = (),
    problem: Problem | None = None,
    **more: Any,
) -> Direct:
    """The solution of a case by `march`, with `random_features` to which further arguments are given.

    Their first frequency is in radians per slab. The case's problem, or the given one, has an `initial` term.
    """
    sines = by_sines(domain, channels, width, frequencies, **more).network
    return Direct(sines, width, "last-layer", IN_A_SLAB, batches, needless, problem, _ends(slabs))


def by_periodic_slabs(
    channels: int,
    period: float,
    highest: float,
    fastest: float,
    counts: tuple[int, int],
    slabs: int | Sequence[float],
    *,
    waves: Callable[[float], float] | None = None,
    needless: tuple[str, ...] = (),
    problem: Problem | None = None,
) -> Direct:
    """The solution of a case of time and one periodic coordinate by `march`, with `fourier_features` of
    `space_time_frequencies`. Another width has as many times more or fewer frequencies in time, beside free waves."""
    usual, slow = (2 * len(space_time_frequencies(period, highest, fastest, counts, waves=w)) for w in (waves, None))

    def network(width: int, rngs: nnx.Rngs) -> SIREN:
        share = max(1, width - (usual - slow)) / slow
        first, last = (share * count for count in counts)
        rows = space_time_frequencies(period, highest, fastest, (first, last), waves=waves)
        return fourier_features(rows, channels, periodic={1: period}, rngs=rngs)

    return Direct(network, usual, "last-layer", IN_A_SLAB, 1, needless, problem, _ends(slabs))


def _ends(slabs: int | Sequence[float]) -> int | tuple[float, ...]:
    return slabs if isinstance(slabs, int) else tuple(map(float, slabs))


@dataclass(frozen=True)
class Case:
    """A problem, with settings that solve it and an independent solution."""

    about: str
    """Description, in one line."""
    problem: Problem
    domain: Domain
    channels: tuple[str, ...]
    """Names of the unknowns."""
    truth: Callable[[Float[ndarray, "n d"]], Float[ndarray, "n c"]]
    """An independent solution."""
    first_omega: float
    """Omega of the network's first layer, in radians for each unit of the coordinates."""
    steps: int
    learning_rate: float = 1e-3
    width: int = 128
    depth: int = 3
    refined: int = 0
    """Steps of L-BFGS after `steps` of Adam."""
    batches: int = 2
    """Number of batches whose points L-BFGS uses."""
    axes: tuple[str, ...] = ("y", "x")
    """Names of the coordinates."""
    judged: Callable[[Float[ndarray, "n d"]], Bool[ndarray, "n"]] = lambda points: np.ones(len(points), bool)
    """Mask of the points where the solution is compared with the truth."""
    ansatz: Callable[[nnx.Module], Ansatz] | None = None
    """Makes the unknown from a network; by default the unknown is the network itself."""
    direct: Direct | None = None
    """A way without Adam, if there is a better one."""
