"""Distillation: a network fitted to the values of another field."""

from typing import Any

import numpy as np
from flax import nnx
from jax import Array

from siren_jax._types import Field
from siren_jax.equations.domains import Domain
from siren_jax.equations.problem import Problem
from siren_jax.equations.terms import equation
from siren_jax.fields.precision import cast, is_double
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

    If the field or the network has float64 parameters, L-BFGS computes in float64 and the fitted network is float64.

    Args:
        field: a field with the coordinates and channels of the network.
        network: initial network; it is not changed. The network of the `Ansatz` is a good start.
        domain: domain of the points.
        key: random key of the points, 4,096 per step.
        steps: number of steps of Adam.
        refined: number of steps of L-BFGS after Adam.
        **more: other arguments of `Problem.fit`, such as `optimizer`.
    """
    double = is_double((field, network))
    first = _problem(_single(field), domain).fit(_single(network), key=key, steps=steps, **more)
    if first.stopped_by != "steps":
        return first
    later = _problem(field, domain).refine(first.network, key=key, steps=refined, double=double)
    return first.followed_by(later)


def _problem(field: Field, domain: Domain) -> Problem:
    return Problem([equation(lambda u, x: u(x) - field(x), domain, name="value", sampler="sobol")])


def _single(field: Any) -> Any:
    """A field with its float64 parameters in float32."""
    return cast(field, np.float32) if is_double(field) else field
