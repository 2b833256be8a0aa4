"""The version of this package, and a warning of a version of jaxlib that computes wrong numbers."""

import os
import warnings

__version__ = "0.1.0"

WRONG = "0.10.2"  # version of jaxlib, jax-ml/jax#39103
REMEDY = "--xla_cpu_experimental_ynn_fusion_type="


def warn_of_wrong_numbers(jaxlib: str) -> None:
    """Warns of a jaxlib that silently returns wrong numbers, unless `XLA_FLAGS` has the option that prevents it.

    Affected are sums over small arrays under `jax.vmap` on a CPU, over more than 32,768 points in float32 or 16,384 in
    float64.

    Args:
        jaxlib: version of jaxlib.
    """
    if jaxlib == WRONG and not any(flag == REMEDY for flag in os.environ.get("XLA_FLAGS", "").split()):
        warnings.warn(
            f"jaxlib {WRONG} computes wrong numbers on CPUs; install another version, "
            f"or set the environment variable XLA_FLAGS to {REMEDY}",
            stacklevel=3,
        )
