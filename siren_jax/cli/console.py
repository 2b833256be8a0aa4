"""Terminal output, such as the progress of a fit: a live line on a terminal, plain lines in a file."""

import errno
import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

from siren_jax.errors import InputError
from siren_jax.subjects.subject import PSNR, Measure

PLAIN_SECONDS = 5.0
ARGUMENT = re.compile(r"""(?<![^\s(])([a-z_]+)=(True|\([^()]*\)|"[^"]*"|-?[\w.+-]*\w)?""")  # not within a path


class Line:
    """A context manager that shows a line of progress on standard error: a bar on a terminal, else a line at times."""

    def __init__(self):
        self._bar = None
        if sys.stderr.isatty():
            columns = (BarColumn(bar_width=20), TaskProgressColumn(), TextColumn("{task.description}"))
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("compiling", total=1.0)
        self._last = -PLAIN_SECONDS

    def __enter__(self) -> "Line":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, share: float, text: str) -> None:
        """Shows the share that is done, and the state as text."""
        if self._bar is not None:
            self._bar.update(self._task, completed=min(share, 1.0), description=text)
        elif time.monotonic() - self._last >= PLAIN_SECONDS:
            self._last = time.monotonic()
            self.tell(text)

    def tell(self, text: str) -> None:
        """Prints a line that stays."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)


class Reporter(Line):
    """A context manager whose `update` shows the progress of a fit on standard error."""

    def __init__(self, measure: Measure = PSNR):
        super().__init__()
        self._measure = measure

    def update(
        self, done: float, step: int, loss: float, quality: float, steps_per_second: float, seconds_left: float | None
    ) -> None:
        """Shows the spent share of the budget and the state of the fit."""
        state = f"step {step:,}  loss {loss:.3g}  {self._measure.tell(quality)}"
        left = "" if seconds_left is None else f"  {duration(seconds_left)} left"
        self.show(done, f"{state}  {steps_per_second:.3g} steps/s{left}")


def status(doing: str) -> AbstractContextManager[Any]:
    """A context manager that shows the current activity on a terminal."""
    return Console(stderr=True).status(doing) if sys.stderr.isatty() else nullcontext()


def as_options(text: str, command: Any) -> str:
    """A message of the library, with Python arguments rewritten as options of the command.

    `values=(0, 9)` becomes `--values 0 9`, `no_data=-1` becomes `--no-data=-1` and `overwrite=True` `--overwrite`.
    """
    groups = (command, *(getattr(command, name, None) for name in ("training", "output", "opening")))
    names = {name for group in groups if group is not None for name in vars(group)}

    def option(found: re.Match[str]) -> str:
        name, value = found[1], found[2] or ""
        if name not in names:
            return found[0]
        value = {"": "", "True": ""}.get(value, f"={value}")
        if value.startswith(("=(", '="')):
            value = " " + value[2:-1].replace(",", "")
        return f"--{name.replace('_', '-')}{value}"

    return ARGUMENT.sub(option, text)


def printable(value: Any) -> str:
    """The value as text without control or unprintable characters: names and records are untrusted."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(value))


class Lasting:
    """A standard stream that outlasts its terminal or pipe: once that is closed, further output is discarded."""

    def __init__(self, stream: IO[str]):
        self._stream = stream

    def write(self, text: str) -> int:
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except OSError as error:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())  # also discards the rest of the buffer
            os.close(nowhere)
            if error.errno not in (errno.EPIPE, errno.EIO):  # such as a full disk
                raise InputError(f"standard output cannot be written: {error.strerror}.") from None


def duration(seconds: float) -> str:
    """A time as text, such as `3 min 07 s`."""
    minutes, seconds = divmod(max(0, round(seconds)), 60)
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
