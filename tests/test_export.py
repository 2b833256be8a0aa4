"""The same programs lower for CPU, CUDA and TPU, with two sines a unit and products at full precision."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax import export

from siren_jax import SIREN, PixelDataset, curl, divergence, gradient, hessian, jacobian, laplacian, supervise
from siren_jax.fitting.recipes import cosine_decay
from siren_jax.fitting.step import Given, Span, Steps, Term, initial_state

PLATFORMS = ("cpu", "cuda", "tpu")
DEPTH = 2
TARGETS = [
    ("value",),
    ("gradient", "gradient_integral"),
    ("laplacian", "laplacian_integral"),
    ("value", "gradient", "laplacian"),
]


def exported_step(quantities: tuple[str, ...], platforms: tuple[str, ...] = PLATFORMS) -> export.Exported:
    """The training step as `fit` compiles it: ragged tiles, drawing, optimiser and guard included."""
    data = PixelDataset(np.arange(12 * 9 * 3, dtype=np.uint8).reshape(12, 9, 3))
    graphdef, params, rest = nnx.split(SIREN(2, 3, width=16, depth=DEPTH, rngs=nnx.Rngs(0)), nnx.Param, ...)
    optimizer = optax.adam(1e-3)
    terms = tuple(Term(name, 50) for name in quantities)
    steps = Steps(graphdef, optimizer, cosine_decay, terms, 16, 8)
    objective = supervise(*quantities, mean_square=data.mean_square)
    given = Given(
        rest, objective, data.sampler(50, quantities=quantities), jax.random.key(0), jnp.ones(len(quantities))
    )
    span = Span(jnp.int32(0), jnp.int32(3), jnp.float32(0), jnp.int32(0), jnp.float32(0.1))
    return export.export(jax.jit(steps), platforms=platforms)(initial_state(params, optimizer, len(terms)), given, span)


@pytest.mark.slow
@pytest.mark.parametrize("quantities", TARGETS, ids="-".join)
def test_training_step_lowers_for_every_platform(quantities):
    assert exported_step(quantities).platforms == PLATFORMS


@pytest.mark.parametrize("quantities", TARGETS, ids="-".join)
def test_every_product_has_full_precision(quantities):
    products = re.findall(r"stablehlo\.dot_general.*", exported_step(quantities, ("cuda",)).mlir_module())
    assert products
    assert all("precision = [HIGHEST, HIGHEST]" in product for product in products)


@pytest.mark.parametrize("quantities", [("value",), ("gradient",), ("laplacian",), ("value", "gradient", "laplacian")])
def test_training_step_evaluates_two_sines_a_unit(quantities):
    # A sine and a cosine a layer, backward pass included.
    program = exported_step(quantities, ("cpu",)).mlir_module()
    assert len(re.findall(r"call @_evaluated\w*\(", program)) == 2 * (DEPTH + 1)
    # Without the barrier XLA would evaluate them again in every fusion that uses them.
    assert len(re.findall(r"call @_kept\w*\(", program)) >= DEPTH + 1


@pytest.mark.parametrize("operator", [gradient, jacobian, hessian, laplacian, divergence, curl])
def test_operator_lowers_for_every_platform(operator):
    network = SIREN(2, 1 if operator is gradient else 2, width=16, depth=1, rngs=nnx.Rngs(0))
    exported = export.export(jax.jit(jax.vmap(operator(network))), platforms=PLATFORMS)(jnp.ones((5, 2)))
    assert exported.platforms == PLATFORMS
