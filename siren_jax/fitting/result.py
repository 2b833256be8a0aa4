"""The result of a fit."""

import math
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import numpy as np
from flax import nnx
from numpy import ndarray

from siren_jax._types import StoppedBy

N = TypeVar("N", bound=nnx.Module)
"""Type of the network: a fit returns a network of the type it received."""


@dataclass(frozen=True)
class Fit(Generic[N]):
    """The result of `fit` or `refine`: the network, and numbers about the fit."""

    network: N
    """The fitted network. The given network is unchanged."""
    history: dict[str, ndarray]
    """Values for every step: `loss`, every term (unweighted means over the batch, before the step), and `seconds` at
    the end of the step. A history of `refine` has no terms."""
    best: N
    """The network with the lowest running loss, a moving average over about ten steps; useful if the loss may jump.
    It is meaningless if the weights of the terms change during the fit."""
    best_step: int
    """Number of steps after which `best` was the network."""
    final_over_best: float
    """Final running loss divided by the lowest one; 1 if the final one is the lowest."""
    stopped_by: StoppedBy
    """Reason for the end: "steps", "seconds", "watch" (or `until`), "interrupt" (Ctrl-C), "terminate" (SIGTERM),
    "hangup" (SIGHUP), "non-finite" or, after `refine`, "converged". After `march`, also "unsolved"."""
    compile_seconds: float
    seconds_per_step: float
    """Median time of a step over the chunks."""
    weights: dict[str, float]
    """Final weight of every term, for a second phase: the given weight, or the final value of its schedule, times the
    balance."""
    skipped: int = 0
    """Number of steps with a non-finite loss or gradient; these steps changed nothing."""
    message: str = ""
    """After "non-finite": the step and the term. After the method "last-layer": that the residuals do not determine the
    solution, or that conjugate gradients have not reached it."""

    loss: float = math.nan
    """Loss of `network` after Gauss-Newton steps, which compute it; else NaN. The history ends before the last step."""

    @property
    def steps(self) -> int:
        return len(self.history["loss"])

    @property
    def seconds(self) -> float:
        """Time spent on steps, without compilation."""
        return float(self.history["seconds"][-1]) if self.steps else 0.0

    def followed_by(self, later: "Fit[N]") -> "Fit[N]":
        """This fit and a second phase as one fit, with the columns of the history that both have."""
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


def no_fit(network: N) -> Fit[N]:
    """The result of no step at all, which a later phase follows."""
    history = {"loss": np.empty(0), "seconds": np.empty(0)}
    return Fit(
        network=network,
        history=history,
        best=network,
        best_step=0,
        final_over_best=1.0,
        stopped_by="steps",
        compile_seconds=0.0,
        seconds_per_step=0.0,
        weights={},
    )
