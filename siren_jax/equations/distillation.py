"""Distillation: a network that takes the place of another field."""

from typing import Any

from flax import nnx
from jax import Array

from siren_jax._types import Field
from siren_jax.equations.domains import Domain
from siren_jax.equations.problem import Problem
from siren_jax.equations.terms import equation
from siren_jax.fitting.result import Fit


def distil(
    field: Field,
    network: nnx.Module,
    domain: Domain,
    *,
    key: Array,
    steps: int = 1000,
    refined: int = 2000,
    **more: Any,
) -> Fit:
    """A network fitted to the values of a field in a domain: a plain SIREN, for a file, in place of an `Ansatz`.

    Args:
        field: a field with the coordinates and channels of the network.
        network: where to begin; unchanged. The network of the `Ansatz` is a good start.
        domain: where the values are wanted.
        key: source of the points, 4,096 in a step.
        steps: of Adam.
        refined: steps of L-BFGS after Adam.
        **more: as in `Problem.fit`: `optimizer` and so on.
    """
    problem = Problem([equation(lambda u, x: u(x) - field(x), domain, name="value", sampler="sobol")])
    first = problem.fit(network, key=key, steps=steps, **more)
    if first.stopped_by != "steps":
        return first
    return first.followed_by(problem.refine(first.network, key=key, steps=refined))
