"""A wide network as the solution of Poisson's equation: Gauss-Newton on new points in each step, and L-BFGS.

Errors against processor seconds of the steps, without compilation. The square's problem is that of `siren-jax solve
poisson`, that of the cube in five dimensions is PINNacle's; the SIREN has 128 × 3 units and 50,000 parameters.

`OPENBLAS_NUM_THREADS=1 python -m benchmarks.wide_networks`: six minutes on a core of its own.
"""

import math
import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from flax import nnx

from benchmarks.measure import publish
from siren_jax import SIREN, Progress, laplacian
from siren_jax._types import RefinementMethod
from siren_jax.equations import Box, Problem, dirichlet, equation
from siren_jax.fields.tiles import evaluate

SQUARE = lambda x: jnp.sin(math.pi * x[0]) * jnp.sin(2 * math.pi * x[1]) + x[0] * x[1]
FORCE = lambda x: -5 * math.pi**2 * jnp.sin(math.pi * x[0]) * jnp.sin(2 * math.pi * x[1])
CUBE = lambda x: jnp.sum(jnp.sin(math.pi / 2 * x))
CASES: dict[str, Any] = {
    "square": (Box((-1, -1), (1, 1)), SQUARE, FORCE, 1000.0, 3.0, (2048, 512)),
    "cube": (Box((0,) * 5, (1,) * 5), CUBE, lambda x: -((math.pi / 2) ** 2) * CUBE(x), 100.0, 2.0, (4096, 2048)),
}
"""Domain, solution, its Laplacian, weight of the rim, omega, and points inside and on the rim for L-BFGS."""


@dataclass(frozen=True)
class Config:
    width: int = 128
    depth: int = 3
    seconds: float = 40.0
    """Processor seconds of the steps of each method."""
    points: tuple[int, int] = (512, 256)
    """Points inside and on the rim in a step of Gauss-Newton."""


def main(config: Config) -> list[dict]:
    rows: list[dict] = []
    methods: tuple[RefinementMethod, ...] = ("gauss-newton", "lbfgs")
    for case in CASES:
        for method in methods:
            rows += [{"problem": case, "method": method, **row} for row in errors(case, method, config)]
    publish("wide_networks", rows, config)
    return rows


def errors(case: str, method: RefinementMethod, config: Config) -> list[dict[str, float]]:
    """Relative errors, at each doubling of the processor seconds and at the end."""
    box, exact, source, weight, omega, many = CASES[case]
    inside, rim = config.points if method == "gauss-newton" else many
    even = partial(dict, sampler="sobol")
    residual = lambda u, x: laplacian(u)(x) - source(x)
    problem = Problem(
        [
            equation(residual, box, **even(points=inside)),
            dirichlet(exact, box, **even(points=rim, weight=weight)),
        ]
    )
    sizes: dict[str, Any] = {"width": config.width, "depth": config.depth, "first_omega": omega, "omega": 1.0}
    network = SIREN(len(box.low), 1, **sizes, rngs=nnx.Rngs(0))
    points = box.interior().sample(jax.random.key(99), 2000).x
    truth = jax.vmap(exact)(points)[:, None]
    rows, began, due = [], time.process_time(), 5.0

    def watch(progress: Progress) -> bool:
        nonlocal began, due
        now = time.process_time()
        if progress.step == 1:  # compilation ends here
            began = now
        spent = now - began
        if ended := spent >= config.seconds or spent >= due:
            due *= 2
            found = evaluate(progress.network(), points)
            error = float(jnp.linalg.norm(found - truth) / jnp.linalg.norm(truth))
            rows.append({"steps": progress.step, "processor s": spent, "error": error})
        began += time.process_time() - now
        return ended and spent >= config.seconds

    more = {"fresh": True} if method == "gauss-newton" else {}
    problem.refine(network, key=jax.random.key(0), batches=1, steps=10**6, method=method, watch=watch, **more)
    return rows


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
