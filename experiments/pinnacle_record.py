"""What a problem of PINNacle consists of: its statement, its reference, and a recipe that solves it.

Coordinates are in the order of this library, time first: PINNacle's (x, y, t) is (t, y, x), and a flow (u, v, p) is
(velocity along y, velocity along x, pressure).
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jaxtyping import Float
from numpy import ndarray

from experiments import comsol
from siren_jax import SIREN, Fit, InputError, random_features
from siren_jax._types import RefinementMethod
from siren_jax.equations import Box, Domain, Marched, Problem, SpaceTime, march
from siren_jax.fields.precision import is_double
from siren_jax.fields.tiles import evaluate

FEW, MANY = 2500, 20_000  # points at which PINNacle compares closed forms: with two coordinates, and with more


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Network and steps that solve a problem."""

    frequencies: tuple[float, ...]  # for each coordinate: about the highest frequency along it, in radians per unit
    width: int = 24  # units of a hidden layer, or sines of "last-layer"
    depth: int = 2  # hidden layers after the first
    omega: float = 1.0  # omega of the hidden layers
    steps: int = 0  # steps of Adam before the refinement; they take at most half of the time
    learning_rate: float = 2e-3  # of Adam
    method: RefinementMethod = "gauss-newton"  # of the refinement; "last-layer" takes random features
    refined: int | None = None  # largest number of steps of the refinement; one solves a linear problem
    batches: int = 1  # batches whose points the refinement uses
    slabs: int | Sequence[float] = 0  # of `march`, which takes `refined` steps in each; frequencies are per slab
    periodic: Mapping[int, float] | None = None  # period of a coordinate, as `random_features` takes it
    graded: Mapping[int, Any] | None = None  # places where a coordinate is dense, as `random_features` takes them
    made: Callable[["Recipe", int], nnx.Module] | None = None  # network of a recipe and a seed, instead of the usual
    quick: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # other values of these fields with --quick


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """A problem, what its solution is compared with, and how it is solved."""

    case: str  # name in PINNacle's tables
    problem: Problem
    domain: Domain
    channels: tuple[str, ...]  # names of the unknowns
    recipe: Recipe
    exact: Callable[[Float[Array, "d"]], Array] | None = None  # the solution in closed form, or else
    table: Path | None = None  # the table of a solution by finite elements
    columns: tuple[int, ...] = (0,)  # column of each channel among the unknowns of the table
    truth: Callable[[Float[ndarray, "n d"]], Float[ndarray, "n c"]] | None = None  # a better solution than the table

    def reference(self) -> comsol.Samples:
        """Points and values that the solution is compared with.

        They are those of the table. A closed form is evaluated on a grid inside of the domain, of about as many points
        as PINNacle's, or at random points if the domain is no box.

        Raises:
            InputError: the table cannot be read.
        """
        if self.exact is None:
            assert self.table is not None
            samples = comsol.read(self.table)
            return samples._replace(values=samples.values[:, list(self.columns)])
        points = _inner_points(self.domain)
        with jax.enable_x64(True):
            return comsol.Samples(points, np.asarray(jax.vmap(self.exact)(jnp.asarray(points))))


def path_in(folder: Path | None, name: str) -> Path:
    """Path of a file among the references.

    Raises:
        InputError: there is no folder, or the file is not in it.
    """
    if folder is None:
        raise InputError(f"the problem needs {name} of PINNacle; give its folder with --references.")
    if not (folder / name).is_file():
        raise InputError(f"the problem needs {name} of PINNacle, which is not in {folder}; correct --references.")
    return folder / name


def relative_error(network: Callable[..., Array], reference: comsol.Samples) -> float:
    """The `distance` of a network's values from a reference."""
    double = is_double(network)
    with jax.enable_x64(double):
        values = evaluate(network, reference.points if double else reference.points.astype(np.float32))
    return distance(np.asarray(values, np.float64), reference)


def distance(values: Float[ndarray, "n c"], reference: comsol.Samples) -> float:
    """|u - reference| / |reference| over all points and unknowns together, as PINNacle measures."""
    return float(np.linalg.norm(values - reference.values) / np.linalg.norm(reference.values))


def solve(benchmark: Benchmark, recipe: Recipe, *, seconds: float, seed: int = 0) -> Fit | Marched:
    """The fit of a new network to a problem, in seconds of steps, to which compilation does not count.

    A march over slabs takes as long as its recipe needs, whatever the seconds are.
    """
    problem, key = benchmark.problem, jax.random.key(seed)
    network = new_network(recipe, len(benchmark.channels), seed)
    if recipe.slabs:
        steps = 20 if recipe.refined is None else recipe.refined
        each = {"steps": steps, "batches": recipe.batches, "tolerance": math.inf}  # no slab is halved
        return march(problem, network, recipe.slabs, key=key, **each)
    settings: dict[str, Any] = {"key": key, "batches": recipe.batches, "method": recipe.method, "steps": recipe.refined}
    if not recipe.steps:
        return problem.refine(network, seconds=seconds, **settings)
    adam: Any = optax.adam(recipe.learning_rate)
    first = problem.fit(network, key=key, steps=recipe.steps, seconds=seconds / 2, optimizer=adam)
    return first.followed_by(problem.refine(first.network, seconds=seconds - first.seconds, **settings))


def new_network(recipe: Recipe, channels: int, seed: int) -> nnx.Module:
    """A SIREN whose first layer has an omega of its own along each coordinate, or random features."""
    if recipe.made:
        return recipe.made(recipe, seed)
    if recipe.method == "last-layer":
        return features(recipe, channels, seed)
    most = max(recipe.frequencies)
    sizes: dict[str, Any] = {"width": recipe.width, "depth": recipe.depth, "omega": recipe.omega}
    sizes["graded"] = recipe.graded
    network = SIREN(len(recipe.frequencies), channels, first_omega=most, rngs=nnx.Rngs(seed), **sizes)
    kernel = network.layers[0].linear.kernel
    kernel[...] = kernel[...] * (jnp.asarray(recipe.frequencies, jnp.float32) / most)[:, None]
    return network


def features(recipe: Recipe, channels: int, seed: int) -> SIREN:
    """Random features of a recipe."""
    settings: dict[str, Any] = {"periodic": recipe.periodic, "graded": recipe.graded, "rngs": nnx.Rngs(seed)}
    frequencies = recipe.frequencies
    return random_features(len(frequencies), channels, width=recipe.width, frequencies=frequencies, **settings)


def _inner_points(domain: Domain) -> Float[ndarray, "n d"]:
    low, high = np.array(domain.low), np.array(domain.high)
    count = FEW if len(low) == 2 else MANY
    if not isinstance(domain.space if isinstance(domain, SpaceTime) else domain, Box):
        return np.asarray(domain.interior().sample(jax.random.key(0), count).x, np.float64)
    density = (count / np.prod(high - low)) ** (1 / len(low))
    counts = np.ceil(density * (high - low) - 1e-9).astype(int)  # rounding must not add a point
    axes = [np.linspace(a, b, n + 2)[1:-1] for a, b, n in zip(low, high, counts, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(low))
