"""What a fit ends with."""

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from flax import nnx
from numpy import ndarray

from siren_jax._types import StoppedBy

N = TypeVar("N", bound=nnx.Module)
"""The network of a fit, which keeps its type."""


@dataclass(frozen=True)
class Fit(Generic[N]):
    """The result of `fit` or `refine`: the network, and how it came about."""

    network: N
    """The fitted network; the one that was given is unchanged."""
    history: dict[str, ndarray]
    """For every step: `loss`, every term (unweighted means over the batch, before the step), and `seconds` at its
    end. `refine` has no terms."""
    best: N
    """The network where the running loss, a moving average over about ten steps, was lowest; for losses that may jump.
    It says nothing where weights change with the steps."""
    best_step: int
    """The step after which `best` was the network."""
    final_over_best: float
    """Final running loss divided by the lowest one; 1 if the final one is the lowest."""
    stopped_by: StoppedBy
    """"steps", "seconds", "watch" (or `until`), "interrupt" (Ctrl-C), "terminate" (SIGTERM), "hangup" (SIGHUP),
    "non-finite", or of `refine` "converged"."""
    compile_seconds: float
    seconds_per_step: float
    """Median over chunks."""
    weights: dict[str, float]
    """The weight of every term at the end, for a second phase: those given, schedules at their end, times the balance
    that was found."""
    skipped: int = 0
    """Number of steps whose loss or gradient was not finite, and which changed nothing."""
    message: str = ""
    """For "non-finite": in which step and in which term."""

    @property
    def steps(self) -> int:
        return len(self.history["loss"])

    @property
    def seconds(self) -> float:
        """Time spent on steps, without compilation."""
        return float(self.history["seconds"][-1]) if self.steps else 0.0

    def followed_by(self, later: "Fit[N]") -> "Fit[N]":
        """This fit and a second phase as one; the history has the columns that both have."""
        offset = {"seconds": self.seconds}
        history = {
            name: np.concatenate([column, later.history[name] + offset.get(name, 0.0)])
            for name, column in self.history.items()
            if name in later.history
        }
        compile_seconds = self.compile_seconds + later.compile_seconds
        return replace(
            later,
            history=history,
            compile_seconds=compile_seconds,
            best_step=self.steps + later.best_step,
            skipped=self.skipped + later.skipped,
        )
