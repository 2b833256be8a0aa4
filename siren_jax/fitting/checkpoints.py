"""Checkpoints of a fit: arrays in a directory, written while the fit goes on, each whole or not at all.

`DIRECTORY/fit.json` says what is fitted, `DIRECTORY/1234.safetensors` is what step 1,234 begins with, and
`DIRECTORY/log` has a row for every step. A checkpoint gets its name once it is complete and the rows before it are
written, so a process may be killed at any moment. Rows are appended: what a checkpoint writes does not grow with the
fit.
"""

import json
import os
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.files.atomic import clear_leftovers, write_atomically

BEGUN = "fit.json"
LOG = "log"
SUFFIX = ".safetensors"
DECIDING = ("siren-jax", "jax", "jaxlib", "flax", "optax")  # packages whose version decides the last bits
SHARE = 0.01  # of the time of a fit that goes into holding it up for checkpoints, at most


class Checkpoint(NamedTuple):
    """What a step begins with."""

    step: int
    arrays: dict[str, ndarray]
    """By name."""
    rows: ndarray
    """Of the log, `(steps, columns)`."""
    notes: dict[str, Any]
    """JSON values."""


class Checkpoints:
    """Checkpoints of one fit in one directory; see `fit`. The same call again continues what the directory holds.

    A context, which at its end leaves the directory to others.

    Args:
        directory: made if it is not there.
        config: JSON values by name that say what is fitted and how. A directory that was begun with others is refused.
        every: seconds between two checkpoints; more where holding up the fit for one takes over a hundredth of that.
        keep: how many are kept, the newest ones.
        overwrite: whether to forget what the directory holds.

    Raises:
        InputError: the directory cannot be written, is in use by another process, or holds another fit; `config` holds
            no JSON values.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        config: Mapping[str, Any] | None = None,
        every: float = 30.0,
        keep: int = 2,
        overwrite: bool = False,
    ):
        if keep < 1:
            raise InputError(f"at least one checkpoint is kept, but got keep={keep}.")
        self.directory, self.every, self._keep = os.path.abspath(directory), every, keep
        self.notes: dict[str, Any] = {}
        """JSON values that are kept with every checkpoint; `latest` brings them back."""
        self._config = {name: _as_json(name, value) for name, value in (config or {}).items()}
        self._next, self._warned = time.monotonic() + every, False
        self._logged = 0  # rows of the log's file that are this fit's
        self._lock = FileLock(os.path.join(self.directory, ".lock"), thread_local=False)
        self._claim(overwrite=overwrite)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def steps(self) -> list[int]:
        """What the checkpoints that are kept begin with, the lowest first."""
        names = [os.path.splitext(name) for name in os.listdir(self.directory)]
        return sorted(int(stem) for stem, suffix in names if suffix == SUFFIX and stem.isdecimal())

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that can be read, if there is one; those that cannot are renamed."""
        steps = self.steps()
        while steps:
            step = steps.pop()
            try:
                found = self._read(step)
            except Exception as error:  # whatever a damaged file makes a reader say
                instead = f"that of step {steps[-1]:,} is taken" if steps else "the fit begins anew"
                _warn(f"the checkpoint of step {step:,} cannot be read, and {instead}", error)
                os.replace(self._path(step), f"{self._path(step)}.unreadable")
            else:
                self.notes, self._logged = found.notes, len(found.rows)
                return found
        return None

    def offer(self, step: int, make: Callable[[], dict[str, ndarray]], rows: Callable[[int], ndarray]) -> None:
        """Keeps the arrays that `make` makes if it is time for it.

        A checkpoint that cannot be written is reported once; the next one is tried again.

        Args:
            step: the step that begins with them.
            make: returns the arrays; called if it is time.
            rows: returns the log's rows from a step on, `(rows, columns)`.
        """
        if time.monotonic() >= self._next:
            began = time.monotonic()
            self.save(step, make(), rows)
            ended = time.monotonic()
            self._next = ended + max(self.every, (ended - began) / SHARE)

    def save(self, step: int, arrays: dict[str, ndarray], rows: Callable[[int], ndarray]) -> None:
        """Keeps arrays and the log's rows now, otherwise as `offer`."""
        try:
            if self._mark() != self._marked:
                self._claim(ours=True)  # somebody has removed the directory, and may have made it anew
                self._logged = 0
            if step not in (kept := self.steps()):
                self._write(step, arrays, rows)
                for old in [*kept, step][: -self._keep]:
                    os.unlink(self._path(old))
        except (InputError, OSError) as error:  # a full disk, a directory that is gone: the fit goes on
            if not self._warned:
                _warn("a checkpoint could not be written, and the fit goes on without", error)
            self._warned = True

    def close(self) -> None:
        """Leaves the directory to others."""
        self._lock.release()

    def _write(self, step: int, arrays: dict[str, ndarray], rows: Callable[[int], ndarray]) -> None:
        from safetensors.numpy import save as encoded

        later, path = rows(self._logged), os.path.join(self.directory, LOG)
        before = self._logged * later.itemsize * later.shape[1]
        table = [self._logged + len(later), later.shape[1], later.dtype.str]
        data = encoded(arrays, metadata={"notes": json.dumps(self.notes), "log": json.dumps(table)})
        try:
            with open(path, "ab") as file:
                file.truncate(before)  # an earlier process may have written more
                file.write(later.tobytes())
                file.flush()
                os.fsync(file.fileno())
            write_atomically(self._path(step), lambda file: file.write(data), overwrite=True)
        except (InputError, OSError):
            with suppress(OSError):
                os.truncate(path, before)  # results may need the room
            raise
        self._logged += len(later)

    def _read(self, step: int) -> Checkpoint:
        from safetensors import safe_open

        with safe_open(self._path(step), framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            notes, (count, columns, dtype) = (json.loads(file.metadata()[name]) for name in ("notes", "log"))
        rows = np.fromfile(os.path.join(self.directory, LOG), np.dtype(dtype), count * columns)
        return Checkpoint(step, arrays, rows.reshape(count, columns), notes)

    def _path(self, step: int) -> str:
        return os.path.join(self.directory, f"{step}{SUFFIX}")

    def _claim(self, *, overwrite: bool = False, ours: bool = False) -> None:
        """Makes the directory, and makes it that of this fit alone."""
        self._lock.release()
        for path in (self._lock.lock_file, os.path.join(self.directory, LOG)):
            if os.path.islink(path):
                raise InputError(f"{path!r} is a link, which is not followed; remove it first.")
        try:
            os.makedirs(self.directory, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout:
            raise InputError(
                f"another fit writes to {self.directory!r}; wait for it, or choose another directory."
            ) from None
        except OSError as error:
            raise InputError(f"the directory {self.directory!r} cannot be written: {error.strerror}.") from None
        try:
            self._begin(overwrite, ours)
        except BaseException:
            self._lock.release()
            raise
        self._marked = self._mark()

    def _mark(self) -> tuple[int, int] | None:
        """What tells our `fit.json` from that of another process, if there is one."""
        with suppress(OSError):
            found = os.stat(os.path.join(self.directory, BEGUN))
            return found.st_ino, found.st_mtime_ns
        return None

    def _begin(self, overwrite: bool, ours: bool) -> None:
        """Writes what is fitted, or compares it with what was."""
        path = os.path.join(self.directory, BEGUN)
        clear_leftovers(os.path.join(self.directory, "*"))
        if overwrite and os.path.lexists(path):
            self._clear(path)
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
            begun, versions = dict(content["fit"]), dict(content["versions"])
        except FileNotFoundError:
            if (steps := self.steps()) and not ours:
                raise InputError(
                    f"{self.directory!r} holds {steps[0]}{SUFFIX}, but no {BEGUN} that says of which fit; choose "
                    "another directory, or remove the file."
                ) from None
            text = json.dumps({"fit": self._config, "versions": _versions()}, indent=2) + "\n"
            write_atomically(path, lambda file: file.write(text.encode()), overwrite=False)
            return
        except (OSError, ValueError, TypeError, KeyError):
            raise InputError(f"{path!r} is damaged; begin anew in another directory, or overwrite this one.") from None
        self._compare(begun, versions)

    def _clear(self, path: str) -> None:
        try:
            for step in self.steps():
                os.unlink(self._path(step))
            os.unlink(path)  # last: without it the rest would be another's
        except OSError as error:
            raise InputError(f"{self.directory!r} cannot be cleared: {error.strerror}.") from None

    def _compare(self, begun: dict[str, Any], versions: dict[str, str]) -> None:
        """Refuses another fit than the one that was begun, and tells of other versions."""
        for name in sorted({*begun, *self._config}):
            if begun.get(name) != self._config.get(name):
                raise InputError(
                    f"{self.directory!r} holds another fit: {name} was {_told(begun.get(name))} and is now "
                    f"{_told(self._config.get(name))}. Begin as then, or choose another directory."
                )
        now = _versions()
        if changed := [f"{name} {versions.get(name)}" for name in DECIDING if versions.get(name) != now.get(name)]:
            _warn("the last bits may differ from those of one process", f"it was begun with {', '.join(changed)}")


def _as_json(name: str, value: Any) -> Any:
    """The value as it is read again."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        raise InputError(
            f"config holds JSON values, but {name} is {value!r}; give it as a string, a finite number or a list."
        ) from None


def _versions() -> dict[str, str]:
    found = {}
    for name in DECIDING:
        with suppress(PackageNotFoundError):  # siren_jax may run from its sources
            found[name] = version(name)
    return found


def _warn(what: str, why: object) -> None:
    reason = (str(why).splitlines() or [type(why).__name__])[0]
    warnings.warn(f"{what}: {reason}", stacklevel=4)


def _told(value: Any) -> str:
    return "not given" if value is None else repr(value)
