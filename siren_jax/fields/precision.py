"""Evaluation in the precision of the parameters, whatever the caller's precision is.

Outside `jax.enable_x64(True)`, JAX keeps a float64 array, but rounds it to float32 in every operation.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def is_double(tree: Any) -> bool:
    """Whether a pytree, such as a network, has float64 arrays.

    >>> is_double({"kernel": np.zeros(2)}), is_double({"kernel": np.zeros(2, np.float32)})
    (True, False)
    """
    return any(getattr(leaf, "dtype", None) == np.float64 for leaf in jax.tree.leaves(tree))


@contextmanager
def precision_of(tree: Any) -> Iterator[Callable[[Any], Array]]:
    """A context in which functions with these parameters are evaluated, and a function that makes arrays of points.

    With float64 parameters, the context is that of `jax.enable_x64(True)`, and points become float64. Otherwise, both
    are as the caller has them.

    >>> with precision_of({"kernel": np.zeros(2)}) as array:
    ...     print(array(np.ones(2, np.float32)).dtype)
    float64
    """
    if not is_double(tree):
        yield jnp.asarray
        return
    with jax.enable_x64(True):
        yield lambda points: jnp.asarray(points, jnp.float64)


def cast(tree: Any, dtype: Any) -> Any:
    """A pytree whose real and complex arrays have the precision of a real dtype; other leaves are unchanged."""
    with jax.enable_x64(jnp.dtype(dtype) == np.float64):
        return jax.tree.map(lambda leaf: _cast(leaf, dtype), tree)


def _cast(leaf: Any, dtype: Any) -> Array:
    leaf = jnp.asarray(leaf)
    if jnp.issubdtype(leaf.dtype, jnp.complexfloating):
        return leaf.astype(jnp.result_type(dtype, jnp.complex64))
    return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf
