"""Distillation: a network fitted to the values of another field."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from flax import nnx
from jax import Array

from siren_jax._types import Field
from siren_jax.equations.domains import Domain
from siren_jax.equations.problem import Problem
from siren_jax.equations.terms import equation, known
from siren_jax.fields.precision import cast, is_double
from siren_jax.fields.tiles import evaluate
from siren_jax.fitting.result import Fit

POINTS = 3  # of the least squares, for each unit of the last layer
DEFAULT = 1000  # units of a network that does not say how many it has
SMALL = 4096  # points for a small network


def distil(
    field: Field,
    network: nnx.Module,
    domain: Domain,
    *,
    key: Array,
    steps: int = 1000,
    refined: int = 2000,
    method: Literal["adam", "last-layer", "gauss-newton"] = "adam",
    points: int | None = None,
    graded: Mapping[int, Any] | None = None,
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
        method: "adam", followed by L-BFGS; "last-layer", the least squares of the last layer of `random_features` in
            float64, in one step, for which `steps` and `refined` have no meaning; or "gauss-newton" for a small
            network, with `refined` steps in float64.
        points: number of points of the last two methods; the default is three for each parameter of the last layer, and
            4,096 for Gauss-Newton.
        graded: coordinates with more points near some places, as in `equation`, for the last two methods.
        **more: other arguments of `Problem.fit`, such as `optimizer`; for the least squares, of `refine`.
    """
    if method == "last-layer":
        return _by_least_squares(field, network, domain, key, points, graded, **more)
    if method == "gauss-newton":
        problem = _problem(field, domain, points=points or SMALL, graded=graded)
        return problem.refine(network, key=key, batches=1, steps=refined, method=method, **more)
    double = is_double((field, network))
    first = _problem(_single(field), domain).fit(_single(network), key=key, steps=steps, **more)
    if first.stopped_by != "steps":
        return first
    later = _problem(field, domain).refine(first.network, key=key, steps=refined, double=double)
    return first.followed_by(later)


def _problem(field: Field, domain: Domain, **settings: Any) -> Problem:
    return Problem([equation(lambda u, x: u(x) - field(x), domain, name="value", sampler="sobol", **settings)])


def _by_least_squares(
    field: Field,
    network: nnx.Module,
    domain: Domain,
    key: Array,
    points: int | None,
    graded: Mapping[int, Any] | None,
    **more: Any,
) -> Fit:
    """The last layer that has the values of the field at points, each evaluated once."""
    count = points or POINTS * (getattr(network, "width", None) or DEFAULT)
    drawn = _problem(field, domain, points=count, graded=graded).fixed(key, double=True)[1]["value"][0]
    values = evaluate(field, drawn)
    problem = Problem([known(lambda u, x, value: u(x) - value, drawn, values, name="value")])
    return problem.refine(network, key=key, steps=2, method="last-layer", **more)


def _single(field: Any) -> Any:
    """A field with its float64 parameters in float32."""
    return cast(field, np.float32) if is_double(field) else field
