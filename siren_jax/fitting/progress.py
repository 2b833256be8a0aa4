"""How far a fit has come: the log of its steps, the budget that bounds them, and Ctrl-C."""

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
KNOTS = 4096  # times that a log has at most: of half an hour of chunks all, of a day every 64th
LOOK, FIRST_LOOK = 1 / 16, 8
INTERRUPTIONS: dict[str, StoppedBy] = {"SIGINT": "interrupt", "SIGTERM": "terminate", "SIGHUP": "hangup"}


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
    """What happened so far: a row of the loss and the terms for every step, and when some of them ended."""

    def __init__(self, names: tuple[str, ...], *, dtype: DTypeLike = np.float32):
        self.names = names
        self.steps, self.seconds, self.rate = 0, 0.0, 0.0
        self.chunks = 0
        """Of this process."""
        self._rows = np.empty((0, len(names)), dtype)  # with room for more
        self._knots, self._count = np.zeros((KNOTS, 2)), 0
        self._chunk = slice(0)

    def add(self, rows: ndarray, elapsed: float) -> None:
        """A chunk: a row of loss and terms for each of its steps, and the seconds it took."""
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
        """What an earlier process had of it."""
        self._rows = rows.astype(self._rows.dtype, copy=False)
        self._count = len(clock)
        self._knots[: self._count] = clock
        self.steps, self.seconds = len(rows), float(clock[-1, 1]) if len(clock) else 0.0
        self.rate = float(self._rates()[-1]) if len(clock) else 0.0

    def rows(self, since: int = 0) -> ndarray:
        """Loss and terms of the steps from one on; they stay as they are when others follow."""
        return self._rows[since : self.steps]

    def clock(self) -> Float[ndarray, "knots 2"]:
        """Steps, and the seconds after so many, at the end of each chunk, or of every second, fourth, … if there are
        many."""
        return self._knots[: self._count].copy()

    def progress(self, budget: "Budget", network: Callable[[], nnx.Module]) -> Progress:
        rows = self._rows[self._chunk]
        sound = rows[np.isfinite(rows).all(axis=1)]  # without steps that were skipped
        means = dict(zip(self.names, (sound if len(sound) else rows).mean(axis=0).tolist(), strict=True))
        return Progress(self.steps, self.seconds, budget.share(self), self.rate, means, network)

    def history(self) -> dict[str, ndarray]:
        steps, seconds = np.vstack([np.zeros((1, 2)), self.clock()]).T
        ends = np.interp(np.arange(1, self.steps + 1), steps, seconds)
        return {**dict(zip(self.names, self.rows().T, strict=True)), "seconds": ends}

    def seconds_per_step(self) -> float:
        """Median over the chunks."""
        return float(np.median(self._rates())) if self._count else 0.0

    def _rates(self) -> ndarray:
        """Seconds of a step between two knots."""
        steps, seconds = np.diff(self.clock(), axis=0, prepend=0.0).T
        return seconds / np.maximum(1, steps)


def _with_room(array: ndarray, length: int) -> ndarray:
    """A copy at the beginning of a longer array, of which the system gives only what is written."""
    longer = np.empty((length, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


@dataclass(frozen=True)
class Budget:
    """Steps, seconds or both; whichever ends first."""

    steps: int | None
    seconds: float | None
    longest: ClassVar[int] = 1024
    """Steps of a chunk at most."""

    def __post_init__(self) -> None:
        if self.steps is None and self.seconds is None:
            raise InputError("fit needs a budget: steps, seconds or both.")
        if (self.steps is not None and self.steps < 1) or (self.seconds is not None and not self.seconds > 0):
            raise InputError(f"a budget must be positive, but got steps={self.steps}, seconds={self.seconds}.")

    def check(self, log: Log) -> None:
        """Refuses a budget that an earlier process has exceeded.

        Raises:
            InputError: more steps are taken than it has.
        """
        if self.steps is not None and log.steps > self.steps:
            raise InputError(
                f"{log.steps} steps are taken already, but the budget is {self.steps}; give as many or more."
            )

    def length(self, log: Log, until: int | None = None) -> int:
        """Steps of the next chunk: one to begin with, then about half a second, and no further than the budget.

        Args:
            log: of the steps taken.
            until: a step that the chunk does not go beyond.
        """
        time_left = CHUNK_SECONDS if self.seconds is None else min(CHUNK_SECONDS, self.seconds - log.seconds)
        length = int(time_left / log.rate) if log.chunks and log.rate else 1
        steps_left = self.longest if self.steps is None else self.steps - log.steps
        to_look = self.longest if until is None else until - log.steps
        return max(1, min(length, steps_left, to_look, self.longest))

    def clock(self, log: Log) -> tuple[float, int, float]:
        """Share spent at a step, that step, and the share that each further one spends.

        With a number of steps it does not depend on the time, nor on where chunks begin: a fit is repeatable.
        """
        if self.steps is not None:
            return 0.0, 0, 1 / self.steps
        assert self.seconds is not None
        return log.seconds / self.seconds, log.steps, log.rate / self.seconds

    def share(self, log: Log) -> float:
        """Share of the budget that is spent."""
        by_steps = log.steps / self.steps if self.steps else 0.0
        by_seconds = log.seconds / self.seconds if self.seconds else 0.0
        return min(1.0, max(by_steps, by_seconds))

    def reached(self, log: Log) -> StoppedBy | None:
        """Which budget is spent, if one is."""
        if self.steps is not None and log.steps >= self.steps:
            return "steps"
        if self.seconds is not None and log.seconds + log.rate / 2 >= self.seconds:
            return "seconds"
        return None


def next_look(step: int, share: float = LOOK) -> int:
    """The first step after this one at which a fit is compared with its target, whatever the clock says.

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
    """Turns the first Ctrl-C, SIGTERM or SIGHUP into a word, read between chunks.

    A second one does what it always does. What is ignored stays so, SIGHUP under `nohup` for instance.
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
