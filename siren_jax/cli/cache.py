"""Cache of compiled programs on disk: repeating a fit in another process compiles nothing."""

import logging
import os
import sys
from pathlib import Path

import jax

MAX_BYTES = 2**28  # the least recently used programs are deleted; a program takes about 1 MB


def keep_compiled_programs() -> None:
    """Makes JAX keep compiled programs in the user's cache directory.

    A directory set with JAX_COMPILATION_CACHE_DIR is used instead, and its size limit is not changed. If the user's
    directory cannot be written, nothing is cached. JAX_ENABLE_COMPILATION_CACHE=false turns the cache off.
    """
    if not jax.config.jax_compilation_cache_dir:  # pyright: ignore[reportAttributeAccessIssue]
        try:
            directory = _cache_directory()
            directory.mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError):  # RuntimeError: there is no home directory
            return
        if not os.access(directory, os.W_OK):
            return
        jax.config.update("jax_compilation_cache_dir", str(directory))
        jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    _silence_the_loader()


def _silence_the_loader() -> None:
    """Turns off XLA's messages below fatal errors, unless JAX_LOGGING_LEVEL or TF_CPP_MIN_LOG_LEVEL sets their level.

    On some processors with AVX-512, XLA takes two preferences of its compiler for features that the processor lacks. It
    writes two long lines on standard error for every program from the cache, and then runs the program
    (openxla/xla#44565). Failures are still raised as exceptions.
    """
    of_jax = jax.config.jax_logging_level  # pyright: ignore[reportAttributeAccessIssue]
    if of_jax not in (None, "NOTSET") or os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") != "1":  # JAX itself sets 1
        return
    jax.config.update("jax_logging_level", "CRITICAL")
    for name in ("jax", "jaxlib"):
        logging.getLogger(name).setLevel(logging.WARNING)  # warnings in Python, such as that of a GPU without its JAX


def _cache_directory() -> Path:
    """Directory of the cache on this system."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "siren-jax"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "siren-jax"
