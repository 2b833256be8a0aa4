"""How far a fit has come: the log of its chunks, the budget that bounds them, and Ctrl-C."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from flax import nnx
from numpy import ndarray

CHUNK_SECONDS = 0.5


class Progress(NamedTuple):
    """What `watch` is told between two chunks."""

    step: int
    """Steps taken."""
    seconds: float
    """Time spent on them, without compilation."""
    spent: float
    """Share of the budget that is spent, 0 to 1."""
    seconds_per_step: float
    """In the last chunk."""
    terms: dict[str, float]
    """Mean of the loss and of every term over the steps of the last chunk."""
    network: Callable[[], nnx.Module]
    """A copy of the network as it is now; made when called."""


class Log:
    """What happened so far, chunk by chunk."""

    def __init__(self, names: tuple[str, ...]):
        self.names = names
        self.steps, self.seconds = 0, 0.0
        self.rates: list[float] = []
        self._rows: list[ndarray] = []
        self._ends: list[ndarray] = []

    def add(self, rows: ndarray, elapsed: float) -> None:
        """A chunk: a row of loss and terms for each of its steps, and the seconds it took."""
        each = elapsed / max(1, len(rows))
        self._rows.append(rows)
        self._ends.append(self.seconds + each * np.arange(1, len(rows) + 1))
        self.rates.append(each)
        self.steps += len(rows)
        self.seconds += elapsed

    def progress(self, budget: "Budget", network: Callable[[], nnx.Module]) -> Progress:
        means = dict(zip(self.names, self._rows[-1].mean(axis=0).tolist(), strict=True))
        return Progress(self.steps, self.seconds, budget.share(self), self.rates[-1], means, network)

    def history(self) -> dict[str, ndarray]:
        columns = np.concatenate(self._rows).T
        return {**dict(zip(self.names, columns, strict=True)), "seconds": np.concatenate(self._ends)}


@dataclass(frozen=True)
class Budget:
    """Steps, seconds or both; whichever ends first."""

    steps: int | None
    seconds: float | None
    longest: ClassVar[int] = 1024
    """Steps of a chunk at most."""

    def __post_init__(self) -> None:
        if self.steps is None and self.seconds is None:
            raise ValueError("fit needs a budget: steps, seconds or both.")
        if (self.steps is not None and self.steps < 1) or (self.seconds is not None and not self.seconds > 0):
            raise ValueError(f"a budget must be positive, but got steps={self.steps}, seconds={self.seconds}.")

    def length(self, log: Log) -> int:
        """Steps of the next chunk: one to begin with, then about half a second, and no further than the budget."""
        time_left = CHUNK_SECONDS if self.seconds is None else min(CHUNK_SECONDS, self.seconds - log.seconds)
        length = int(time_left / log.rates[-1]) if log.rates else 1
        steps_left = self.longest if self.steps is None else self.steps - log.steps
        return max(1, min(length, steps_left, self.longest))

    def clock(self, log: Log) -> tuple[float, int, float]:
        """Share spent at a step, that step, and the share that each further one spends.

        With a number of steps it does not depend on the time, nor on where chunks begin: a fit is repeatable.
        """
        if self.steps is not None:
            return 0.0, 0, 1 / self.steps
        assert self.seconds is not None
        return log.seconds / self.seconds, log.steps, (log.rates[-1] if log.rates else 0.0) / self.seconds

    def share(self, log: Log) -> float:
        """Share of the budget that is spent."""
        by_steps = log.steps / self.steps if self.steps else 0.0
        by_seconds = log.seconds / self.seconds if self.seconds else 0.0
        return min(1.0, max(by_steps, by_seconds))

    def reached(self, log: Log) -> str:
        """Which budget is spent, or nothing."""
        if self.steps is not None and log.steps >= self.steps:
            return "steps"
        if self.seconds is not None and log.seconds + log.rates[-1] / 2 >= self.seconds:
            return "seconds"
        return ""


@contextmanager
def interrupts() -> Iterator[Callable[[], bool]]:
    """Turns the first Ctrl-C into a flag that is read between chunks; a second one raises as ever."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    event = threading.Event()
    previous = signal.getsignal(signal.SIGINT)

    def heed(number, frame):
        event.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, heed)
    try:
        yield event.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
