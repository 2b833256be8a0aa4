"""Memory of a fit: an estimate before it begins, and its return to the system while it runs."""

import ctypes
import gc
import math
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from siren_jax.errors import InputError
from siren_jax.subjects.subject import Subject

PROGRAM = 600 * 2**20  # JAX, compiled programs, a tile's activations and the figures
# Copies of the weights: Adam's moments, the last good and the best weights, their average, the gradient, and results
# of a step.
COPIES = 10
GROUPS = Path("/proc/self/cgroup")
LIMITS = Path("/sys/fs/cgroup")


def check_memory(subject: Subject, width: int, depth: int, *, second: int = 0) -> None:
    """Refuses a fit that needs more memory than the machine has.

    Args:
        subject: the signal.
        width: units of a hidden layer of its network.
        depth: hidden layers after the first.
        second: bytes that the method of a second phase takes, instead of Adam.

    Raises:
        InputError: the estimate exceeds the memory of the machine.
    """
    needed = PROGRAM + max(COPIES * 4 * depth * width**2, second) + subject.memory
    if needed > (there := memory_of_machine()):
        raise InputError(
            f"this fit would take about {needed / 2**30:.3g} GiB of memory, and the machine has {there / 2**30:.3g}; "
            "make the signal smaller with --size, --downsample or --between, or the network with --width."
        )


def give_back_memory() -> None:
    """Returns free memory to the system.

    Figures contain reference cycles, which Python collects only occasionally. glibc keeps free memory between blocks
    that live longer: over 100 MiB after a fit is compiled, and more with every figure and checkpoint.
    """
    gc.collect()
    with suppress(OSError, TypeError, AttributeError):  # another system, another C library
        ctypes.CDLL(None).malloc_trim(0)


def memory_of_machine() -> float:
    """Bytes of memory that the machine has and this process may use; infinite if the system does not report it."""
    physical = math.inf
    with suppress(AttributeError, ValueError, OSError):  # Windows
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return float(min([physical, *group_limits(GROUPS, LIMITS)]))


def peak_memory() -> float | None:
    """Peak memory of this process so far, in MiB; None if the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)


def group_limits(groups: Path, limits: Path) -> Iterator[int]:
    """Memory limits in bytes of this process's control groups on Linux and of their parents, version 1 or 2.

    Args:
        groups: the file that lists the groups.
        limits: the folder with their limits.
    """
    with suppress(OSError):  # another system
        for line in groups.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers not in ("", "memory"):
                continue
            folder, name = (limits / "memory", "memory.limit_in_bytes") if controllers else (limits, "memory.max")
            inner = folder / group.lstrip("/")
            for around in (inner, *inner.parents):
                with suppress(OSError, ValueError):  # not mounted here, or "max"
                    yield int((around / name).read_text())
