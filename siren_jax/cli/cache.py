"""The cache of compiled programs, kept between runs: the same fit again compiles nothing."""

import os
import sys
from pathlib import Path

import jax

MAX_BYTES = 2**28  # the least recently used programs go first; one takes about 1 MB


def keep_compiled_programs() -> None:
    """Makes JAX keep compiled programs in the user's cache directory.

    A directory set with JAX_COMPILATION_CACHE_DIR is used as it is. If the user's cannot be written, nothing is kept.
    JAX_ENABLE_COMPILATION_CACHE=false turns the cache off.
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


def _cache_directory() -> Path:
    """The directory for caches on this system."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "siren-jax"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "siren-jax"
