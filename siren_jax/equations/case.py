"""Cases of the catalogue: a problem with a name, settings that solve it, and an independent solution."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flax import nnx
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax.equations.domains import Domain
from siren_jax.equations.problem import Problem
from siren_jax.equations.unknowns import Ansatz


@dataclass(frozen=True)
class Features:
    """Random features whose last layer is the solution of a case, by least squares."""

    width: int
    """Number of sines."""
    frequencies: float | tuple[float, ...]
    """Largest frequency of every coordinate, or of each."""
    graded: Mapping[int, Sequence[Any]] = field(default_factory=dict)
    """As for `random_features`."""
    batches: int = 1
    """Number of batches whose points are used."""


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
    learning_rate: float
    steps: int
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
    periodic: Mapping[int, float] = field(default_factory=dict)
    """Periods of the solution by coordinate: the network is made periodic in these coordinates."""
    features: Features | None = None
    """Random features that solve the case without training, in the place of a network that is trained."""
