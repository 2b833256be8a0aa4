"""Recipes give what they say to a fit."""

import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx

from siren_jax import SIREN, ReLUMLP, recipes

TARGETS = pytest.mark.parametrize("recipe", recipes.TUNED.values(), ids=recipes.TUNED)


def first_update(optimizer: optax.GradientTransformation, network: nnx.Module) -> nnx.State:
    params = nnx.state(network, nnx.Param)
    return optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)[0]


@TARGETS
@pytest.mark.parametrize("omega", [5.0, 30.0, 2400.0])
def test_first_layer_turns_its_phase_by_no_more_than_the_limit(recipe, omega):
    network = SIREN(1, 1, width=4, depth=1, first_omega=omega, rngs=nnx.Rngs(0))
    update = first_update(recipe.optimizer(network), network)
    # The first update of Adam is the rate itself, whatever the gradient.
    first = min(recipe.learning_rate, recipe.phase_limit / omega)
    assert jnp.allclose(update["layers"][0]["linear"]["kernel"][...], -first, rtol=1e-5)
    assert jnp.allclose(update["layers"][0]["linear"]["bias"][...], -first, rtol=1e-5)
    assert jnp.allclose(update["layers"][1]["linear"]["kernel"][...], -recipe.learning_rate, rtol=1e-5)
    assert jnp.allclose(update["output"]["kernel"][...], -recipe.learning_rate, rtol=1e-5)


@pytest.mark.parametrize(
    ("recipe", "network"),
    [
        (recipes.PAPER, SIREN(1, 1, width=4, first_omega=3000.0, rngs=nnx.Rngs(0))),
        (recipes.TUNED["values"], ReLUMLP(2, 1, width=4, rngs=nnx.Rngs(0))),
    ],
    ids=["paper", "relu"],
)
def test_without_a_limit_every_weight_moves_alike(recipe, network):
    update = first_update(recipe.optimizer(network), network)
    assert all(jnp.allclose(leaf, -recipe.learning_rate, rtol=1e-5) for leaf in jax.tree.leaves(update))


def test_wide_networks_learn_slower():
    rate = recipes.TUNED["values"].learning_rate
    wide = ReLUMLP(2, 1, width=512, depth=0, rngs=nnx.Rngs(0))
    update = first_update(recipes.TUNED["values"].optimizer(wide), wide)
    assert all(jnp.allclose(leaf, -rate / 2, rtol=1e-5) for leaf in jax.tree.leaves(update))
    assert recipes.PAPER.rate(wide) == recipes.PAPER.learning_rate
