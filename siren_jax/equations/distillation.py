"""Distillation: a network fitted to the values of another field."""

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
        network: initial network; it is not changed. The network of the `Ansatz` is a good start.
        domain: domain of the points.
        key: random key of the points, 4,096 per step.
        steps: number of steps of Adam.
        refined: number of steps of L-BFGS after Adam.
        **more: other arguments of `Problem.fit`, such as `optimizer`.
    """
    problem = Problem([equation(lambda u, x: u(x) - field(x), domain, name="value", sampler="sobol")])
    first = problem.fit(network, key=key, steps=steps, **more)
    if first.stopped_by != "steps":
        return first
    return first.followed_by(problem.refine(first.network, key=key, steps=refined))
