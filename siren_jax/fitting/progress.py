"""Progress of a fit: the log of its steps, the budget that limits them, and Ctrl-C."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from flax import nnx
from jaxtyping import Float
from numpy import ndarray
from numpy.typing import DTypeLike

from siren_jax._types import StoppedBy
from siren_jax.errors import InputError

CHUNK_SECONDS = 0.5
KNOTS = 4096  # most times that a log stores: one per chunk in half an hour, one in 64 chunks in a day
LOOK, FIRST_LOOK = 1 / 16, 8
INTERRUPTIONS: dict[str, StoppedBy] = {"SIGINT": "interrupt", "SIGTERM": "terminate", "SIGHUP": "hangup"}


class Progress(NamedTuple):
    """The argument of `watch` and `until`: the state of a fit between two chunks."""

    step: int
    """Number of steps taken so far."""
    seconds: float
    """Time spent on the steps, without compilation."""
    share: float
    """Spent share of the budget, 0 to 1."""
    seconds_per_step: float
    """Time of a step in the last chunk."""
    terms: dict[str, float]
    """Mean of the loss and of every term over the steps of the last chunk."""
    network: Callable[[], nnx.Module]
    """Function that makes a copy of the current network."""
    message: str = ""
    """Lines that say which slabs of time `march` has halved since the last call, and why."""


class Log:
    """The steps of a fit so far: a row with the loss and the terms for every step, and the times at some of them."""

    def __init__(self, names: tuple[str, ...], *, dtype: DTypeLike = np.float32):
        self.names = names
        self.steps, self.seconds, self.rate = 0, 0.0, 0.0
        self.chunks = 0
        """Number of chunks in this process."""
        self._rows = np.empty((0, len(names)), dtype)  # may be longer than `steps`
        self._knots, self._count = np.zeros((KNOTS, 2)), 0
        self._chunk = slice(0)

    def add(self, rows: ndarray, elapsed: float) -> None:
        """Adds a chunk: a row of loss and terms for each of its steps, and its time in seconds."""
        self._chunk = slice(self.steps, self.steps + len(rows))
        if self._chunk.stop > len(self._rows):
            self._rows = _with_room(self.rows(), 2 * self._chunk.stop)
        self._rows[self._chunk] = rows
        self.rate = elapsed / max(1, len(rows))
        self.chunks += 1
        self.steps += len(rows)
        self.seconds += elapsed
        if self._count == KNOTS:
            self._count = KNOTS // 2
            self._knots[: self._count] = self._knots[1::2].copy()
        self._knots[self._count] = self.steps, self.seconds
        self._count += 1

    def restore(self, rows: ndarray, clock: ndarray) -> None:
        """Sets the rows and the times to those of an earlier process."""
        self._rows = rows.astype(self._rows.dtype, copy=False)
        self._count = len(clock)
        self._knots[: self._count] = clock
        self.steps, self.seconds = len(rows), float(clock[-1, 1]) if len(clock) else 0.0
        self.rate = float(self._rates()[-1]) if len(clock) else 0.0

    def rows(self, since: int = 0) -> ndarray:
        """Loss and terms of the steps from `since` on. Adding later steps does not change this array."""
        return self._rows[since : self.steps]

    def clock(self) -> Float[ndarray, "knots 2"]:
        """Pairs of a number of steps and the seconds they took, at the end of every chunk.

        A long log keeps only every second, fourth, … chunk.
        """
        return self._knots[: self._count].copy()

    def progress(self, budget: "Budget", network: Callable[[], nnx.Module]) -> Progress:
        rows = self._rows[self._chunk]
        sound = rows[np.isfinite(rows).all(axis=1)]  # without skipped steps
        means = dict(zip(self.names, (sound if len(sound) else rows).mean(axis=0).tolist(), strict=True))
        return Progress(self.steps, self.seconds, budget.share(self), self.rate, means, network)

    def history(self) -> dict[str, ndarray]:
        steps, seconds = np.vstack([np.zeros((1, 2)), self.clock()]).T
        ends = np.interp(np.arange(1, self.steps + 1), steps, seconds)
        return {**dict(zip(self.names, self.rows().T, strict=True)), "seconds": ends}

    def seconds_per_step(self) -> float:
        """Median time of a step over the chunks."""
        return float(np.median(self._rates())) if self._count else 0.0

    def _rates(self) -> ndarray:
        """Seconds per step between two knots."""
        steps, seconds = np.diff(self.clock(), axis=0, prepend=0.0).T
        return seconds / np.maximum(1, steps)


def _with_room(array: ndarray, length: int) -> ndarray:
    """A copy at the beginning of a longer array. The system allocates memory only for the part that is written."""
    longer = np.empty((length, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


@dataclass(frozen=True)
class Budget:
    """A limit on steps, seconds or both; the first one that is reached ends the fit."""

    steps: int | None
    seconds: float | None
    longest: ClassVar[int] = 1024
    """Largest number of steps in a chunk."""

    def __post_init__(self) -> None:
        if self.steps is None and self.seconds is None:
            raise InputError("a fit needs a budget: steps, seconds or both.")
        if (self.steps is not None and self.steps < 1) or (self.seconds is not None and not self.seconds > 0):
            raise InputError(f"a budget must be positive, but got steps={self.steps}, seconds={self.seconds}.")

    def check(self, log: Log) -> None:
        """Checks that the steps of an earlier process are within the budget.

        Raises:
            InputError: the log has more steps than the budget.
        """
        if self.steps is not None and log.steps > self.steps:
            raise InputError(
                f"{log.steps} steps are already done, but the budget is {self.steps}; give at least {log.steps} steps."
            )

    def length(self, log: Log, until: int | None = None) -> int:
        """Steps of the next chunk: one at first, then about half a second, within the budget.

        Args:
            log: log of the completed steps.
            until: step at which the chunk ends at the latest.
        """
        time_left = CHUNK_SECONDS if self.seconds is None else min(CHUNK_SECONDS, self.seconds - log.seconds)
        length = int(time_left / log.rate) if log.chunks and log.rate else 1
        steps_left = self.longest if self.steps is None else self.steps - log.steps
        to_look = self.longest if until is None else until - log.steps
        return max(1, min(length, steps_left, to_look, self.longest))

    def clock(self, log: Log) -> tuple[float, int, float]:
        """Share of the budget spent at some step, the number of that step, and the share of each later step.

        If the budget has steps, the share depends neither on the time nor on the chunks: a fit is repeatable.
        """
        if self.steps is not None:
            return 0.0, 0, 1 / self.steps
        assert self.seconds is not None
        return log.seconds / self.seconds, log.steps, log.rate / self.seconds

    def share(self, log: Log) -> float:
        """Spent share of the budget, 0 to 1."""
        by_steps = log.steps / self.steps if self.steps else 0.0
        by_seconds = log.seconds / self.seconds if self.seconds else 0.0
        return min(1.0, max(by_steps, by_seconds))

    def reached(self, log: Log) -> StoppedBy | None:
        """The limit that is reached, "steps" or "seconds", or else None."""
        if self.steps is not None and log.steps >= self.steps:
            return "steps"
        if self.seconds is not None and log.seconds + log.rate / 2 >= self.seconds:
            return "seconds"
        return None


def next_look(step: int, share: float = LOOK) -> int:
    """The first step after this one at which `until` is called; it does not depend on the clock.

    >>> looks = [next_look(0)]
    >>> while len(looks) < 20:
    ...     looks.append(next_look(looks[-1]))
    >>> looks[:3], looks[-3:]
    ([8, 16, 24], [144, 153, 162])
    """
    look = 0
    while look <= step:
        look += max(FIRST_LOOK, int(look * share))
    return look


@contextmanager
def interrupts() -> Iterator[Callable[[], StoppedBy | None]]:
    """Converts the first Ctrl-C, SIGTERM or SIGHUP into a word that the fit reads between chunks.

    A second signal has its usual effect. Signals that the process ignores stay ignored, such as SIGHUP under `nohup`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    words = {getattr(signal, name): word for name, word in INTERRUPTIONS.items() if hasattr(signal, name)}
    found = {number: signal.getsignal(number) for number in words}
    previous = {number: handler for number, handler in found.items() if handler not in (None, signal.SIG_IGN)}
    came = []

    def heed(number, frame):
        came.append(words[number])
        restore()

    def restore():
        for number, handler in previous.items():
            signal.signal(number, handler)

    for number in previous:
        signal.signal(number, heed)
    try:
        yield lambda: came[0] if came else None
    finally:
        restore()
