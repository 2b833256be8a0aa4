"""Problems of PINNacle with time in one dimension: Burgers and waves. Hao et al. 2023, Appendix B."""

import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from jax import Array

from experiments.pinnacle_record import Benchmark, Recipe, path_in
from siren_jax import jacobian, laplacian, references, second_derivatives
from siren_jax._types import Field
from siren_jax.equations import Interval, Problem, dirichlet, equation, initial

PI = math.pi
EVEN: dict[str, Any] = {"sampler": "sobol"}


def burgers_1d(folder: Path | None) -> Benchmark:
    """u_t + u·u_x = ν·u_xx with ν = 0.01/π, u(0, x) = -sin πx, u(t, ±1) = 0.

    A shock of the width 2ν forms at x = 0, where points are denser and residuals count less.
    """
    line, width = Interval(-1, 1).during(0, 1), 0.005
    shock = {1: (0.0, width)}

    def residual(u: Field, x: Array) -> Array:
        (slope,), (second,) = jacobian(u)(x), second_derivatives(u)(x)
        return (slope[0] + u(x)[0] * slope[1] - 0.01 / PI * second[1]) * jnp.hypot(x[1], width)

    terms = [
        equation(residual, line, points=2048, graded=shock, **EVEN),
        initial(lambda x: -jnp.sin(PI * x[1]), line, points=256, weight=100.0, graded=shock, **EVEN),
        dirichlet(0.0, line, points=64, weight=100.0, **EVEN),
    ]
    quick = {"width": 400}
    recipe = Recipe((8.0, 11.0), width=700, method="last-layer", slabs=10, refined=10, graded=shock, quick=quick)
    table, truth = path_in(folder, "burgers1d.dat"), lambda points: references.burgers(points)[:, None]
    return Benchmark("Burgers 1d-C", Problem(terms), line, ("u",), recipe, table=table, truth=truth)


def wave_1d(folder: Path | None) -> Benchmark:
    """u_tt = 4·u_xx between two ends at rest, from rest: sin πx·cos 2πt + sin 4πx·cos 8πt / 2."""
    line = Interval(0, 1).during(0, 1)

    def exact(x: Array) -> Array:
        t, x = x
        return (jnp.sin(PI * x) * jnp.cos(2 * PI * t) + jnp.sin(4 * PI * x) * jnp.cos(8 * PI * t) / 2)[None]

    terms = [
        equation(lambda u, x: laplacian(u, weights=(1, -4))(x) / 100, line, points=4096, **EVEN),
        initial(exact, line, points=256, weight=100.0, **EVEN),
        initial(None, line, velocity=0.0, points=256, **EVEN),
        dirichlet(0.0, line, points=256, weight=100.0, **EVEN),
    ]
    recipe = Recipe((30.0, 15.0), width=600, method="last-layer", refined=2)
    return Benchmark("Wave 1d-C", Problem(terms), line, ("u",), recipe, exact=exact)
