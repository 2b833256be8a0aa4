"""What all tests share: a key, double precision, and annotations that are checked at every call."""

import gc

import jax
import jax.numpy as jnp
import matplotlib
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

matplotlib.use("Agg")
install_import_hook("siren_jax", "beartype.beartype")  # before any test imports the package

# The same examples in every run; no deadline, because the first example compiles.
settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=30)
settings.load_profile("fixed")

gc.set_threshold(100_000, 50, 100)  # looking for garbage among the objects of compiled programs is a sixth of the time


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture
def float64():
    """Double precision for one test; called, it casts the arrays of a tree, a network for instance."""
    with jax.enable_x64(True):
        yield lambda tree: jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)
