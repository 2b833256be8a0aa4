"""The host's side of a fit with any method: chunks of steps until a budget, a target or a signal ends it.

Between chunks of about half a second, the host reads the clock, calls `until` and `watch`, checks for Ctrl-C and saves
a checkpoint if one is due.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

from flax import nnx
from numpy import ndarray

from siren_jax._types import StoppedBy
from siren_jax.fitting.devices import Devices
from siren_jax.fitting.progress import LOOK, Budget, Log, Progress, next_look
from siren_jax.fitting.resume import Keeper

PATIENCE = 10  # steps without a lower loss after which a fit on a fixed batch has converged


@runtime_checkable
class Method(Protocol):
    """A method of descent: takes a chunk of steps, and gives the network and the state after it."""

    def take(self, steps: int) -> tuple[ndarray, StoppedBy | None]:
        """Takes steps; returns a row of the log for each, and the reason if it took fewer than requested.

        The reason is "non-finite" or "converged".
        """
        ...

    def network(self) -> Callable[[], nnx.Module]:
        """A function that makes a copy of the current network."""
        ...

    def state(self) -> Any:
        """A pytree of all arrays that the method needs to continue."""
        ...


def run(
    method: Method,
    log: Log,
    budget: Budget,
    interrupted: Callable[[], StoppedBy | None],
    keeper: Keeper,
    devices: Devices,
    *,
    converged: StoppedBy | None = None,
    until: Callable[[Progress], Any] | None = None,
    look: float = LOOK,
    watch: Callable[[Progress], Any] | None = None,
) -> StoppedBy:
    """Takes chunks of steps until the fit ends; returns the reason, see `Fit.stopped_by`.

    Args:
        method: takes the steps.
        log: receives a row for each step.
        budget: steps, seconds or both.
        interrupted: the function from `interrupts`.
        keeper: saves the method's state.
        devices: the devices of the fit. Several processes have the clock of the first one, and all end as soon as one
            of them has a reason.
        converged: if given, no step is taken, and this is the reason.
        until: called with `Progress` at fixed steps and at the end of the budget; a true result ends the fit.
        look: share of the completed steps after which `until` is called again.
        watch: called with `Progress` between chunks; a true result ends the fit.
    """
    stopped_by = converged or budget.reached(log)
    while stopped_by is None:
        looked_at = None if until is None else next_look(log.steps, look)
        length = budget.length(log, looked_at)
        began = time.perf_counter()
        rows, stopped_by = method.take(length)
        log.add(rows, float(devices.of_first(time.perf_counter() - began)))
        if stopped_by == "non-finite":
            return stopped_by
        stopped_by = stopped_by or budget.reached(log)
        progress = log.progress(budget, method.network())
        if until is not None and (log.steps == looked_at or stopped_by) and until(progress):
            stopped_by = "watch"
        if watch is not None and watch(progress):
            stopped_by = stopped_by or "watch"
        stopped_by = devices.agreed(interrupted() or stopped_by)
        if stopped_by is None:
            keeper.offer(method.state)
    keeper.save(method.state)
    return stopped_by


def converged(losses: Sequence[float]) -> StoppedBy | None:
    """The word "converged" if the last `PATIENCE` steps have not lowered the loss, else None."""
    return "converged" if len(losses) > PATIENCE and losses[-1] >= losses[-1 - PATIENCE] else None
