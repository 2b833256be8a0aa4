"""The version of this package, and a version of jaxlib that computes wrong numbers."""

import os
import warnings

__version__ = "0.1.0"

WRONG = "0.10.2"  # of jaxlib, jax-ml/jax#39103
REMEDY = "--xla_cpu_experimental_ynn_fusion_type="


def warn_of_wrong_numbers(jaxlib: str) -> None:
    """Warns of a jaxlib that returns wrong numbers without a word, unless `XLA_FLAGS` has what mends it.

    On a CPU: sums over small arrays under `jax.vmap`, over more than 32,768 points in float32 or 16,384 in float64.

    Args:
        jaxlib: its version.
    """
    if jaxlib == WRONG and not any(flag == REMEDY for flag in os.environ.get("XLA_FLAGS", "").split()):
        warnings.warn(
            f"jaxlib {WRONG} computes wrong numbers on CPUs; install another version, "
            f"or set the environment variable XLA_FLAGS to {REMEDY}",
            stacklevel=3,
        )
