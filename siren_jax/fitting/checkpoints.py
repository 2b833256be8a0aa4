"""Checkpoints of a fit: arrays in a directory, written while the fit runs, each one completely or not at all.

`DIRECTORY/fit.json` describes the fit, `DIRECTORY/1234.safetensors` contains the state before step 1,234, and
`DIRECTORY/log` has a row for every step. A checkpoint gets its final name once it is complete and the earlier rows are
written, so the process may be killed at any moment. Rows are appended: the amount written per checkpoint does not grow
with the number of steps.
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
SHARE = 0.01  # largest share of a fit's time that is spent on checkpoints


class Checkpoint(NamedTuple):
    """The state of a fit before a step."""

    step: int
    arrays: dict[str, ndarray]
    """Arrays by name."""
    rows: ndarray
    """Rows of the log, `(steps, columns)`."""
    notes: dict[str, Any]
    """JSON values by name."""


class Checkpoints:
    """Checkpoints of one fit in one directory; see `fit`. Repeating the call continues the fit in the directory.

    A context manager: at its end, other processes may use the directory.

    Args:
        directory: created if it does not exist.
        config: JSON values by name that describe the fit. A directory that was started with other values is refused.
        every: seconds between two checkpoints. The interval grows if checkpoints would take more than 1 % of the time.
        keep: number of checkpoints to keep, the newest ones.
        overwrite: whether to delete a fit that the directory contains.

    Raises:
        InputError: the directory cannot be written, is in use by another process, or contains another fit; a value of
            `config` is not a JSON value.
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
            raise InputError(f"keep must be at least 1, but got keep={keep}.")
        self.directory, self.every, self._keep = os.path.abspath(directory), every, keep
        self.notes: dict[str, Any] = {}
        """JSON values that are saved with every checkpoint; `latest` restores them."""
        self._config = {name: _as_json(name, value) for name, value in (config or {}).items()}
        self._next, self._warned = time.monotonic() + every, False
        self._logged = 0  # rows of the log's file that belong to this fit
        self._lock = FileLock(os.path.join(self.directory, ".lock"), thread_local=False)
        self._claim(overwrite=overwrite)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def steps(self) -> list[int]:
        """Steps of the checkpoints in the directory, in ascending order."""
        names = [os.path.splitext(name) for name in os.listdir(self.directory)]
        return sorted(int(stem) for stem, suffix in names if suffix == SUFFIX and stem.isdecimal())

    def latest(self) -> Checkpoint | None:
        """The newest readable checkpoint, or None. Newer files that cannot be read are renamed to `*.unreadable`."""
        steps = self.steps()
        while steps:
            step = steps.pop()
            try:
                found = self._read(step)
            except Exception as error:  # a damaged file may raise any error in the reader
                instead = f"continues from step {steps[-1]:,}" if steps else "starts from the beginning"
                _warn(f"the checkpoint of step {step:,} cannot be read, and the fit {instead}", error)
                os.replace(self._path(step), f"{self._path(step)}.unreadable")
            else:
                self.notes, self._logged = found.notes, len(found.rows)
                return found
        return None

    def offer(self, step: int, make: Callable[[], dict[str, ndarray]], rows: Callable[[int], ndarray]) -> None:
        """Saves the arrays that `make` returns if a checkpoint is due.

        A first failure to write gives a warning, and later checkpoints are still tried.

        Args:
            step: the step that starts from these arrays.
            make: returns the arrays; called only if a checkpoint is due.
            rows: returns the log's rows from a given step on, `(rows, columns)`.
        """
        if time.monotonic() >= self._next:
            began = time.monotonic()
            self.save(step, make(), rows)
            ended = time.monotonic()
            self._next = ended + max(self.every, (ended - began) / SHARE)

    def save(self, step: int, arrays: dict[str, ndarray], rows: Callable[[int], ndarray]) -> None:
        """Saves arrays and the log's rows at once. Failures are handled as in `offer`."""
        try:
            if self._mark() != self._marked:
                self._claim(ours=True)  # somebody has removed the directory, and may have created it again
                self._logged = 0
            if step not in (kept := self.steps()):
                self._write(step, arrays, rows)
                for old in [*kept, step][: -self._keep]:
                    os.unlink(self._path(old))
        except (InputError, OSError) as error:  # a full disk or a missing directory does not end the fit
            if not self._warned:
                _warn("a checkpoint could not be written, and the fit continues without it", error)
            self._warned = True

    def close(self) -> None:
        """Releases the directory, so that other processes may use it."""
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
                os.truncate(path, before)  # results may need the space
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
        """Creates the directory and reserves it for this fit."""
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
        """Inode and time of `fit.json`, which differ if another process has written it; None if there is no file."""
        with suppress(OSError):
            found = os.stat(os.path.join(self.directory, BEGUN))
            return found.st_ino, found.st_mtime_ns
        return None

    def _begin(self, overwrite: bool, ours: bool) -> None:
        """Writes the description of the fit, or compares it with the one in the directory."""
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
                    f"{self.directory!r} contains {steps[0]}{SUFFIX}, but no {BEGUN} that describes the fit; choose "
                    "another directory, or remove the file."
                ) from None
            text = json.dumps({"fit": self._config, "versions": _versions()}, indent=2) + "\n"
            write_atomically(path, lambda file: file.write(text.encode()), overwrite=False)
            return
        except (OSError, ValueError, TypeError, KeyError):
            raise InputError(f"{path!r} is damaged; start again in another directory, or overwrite this one.") from None
        self._compare(begun, versions)

    def _clear(self, path: str) -> None:
        try:
            for step in self.steps():
                os.unlink(self._path(step))
            os.unlink(path)  # last: without it, the other files would belong to an unknown fit
        except OSError as error:
            raise InputError(f"{self.directory!r} cannot be cleared: {error.strerror}.") from None

    def _compare(self, begun: dict[str, Any], versions: dict[str, str]) -> None:
        """Raises an error for another fit than the one in the directory, and warns of other package versions."""
        for name in sorted({*begun, *self._config}):
            if begun.get(name) != self._config.get(name):
                raise InputError(
                    f"{self.directory!r} contains another fit: {name} was {_told(begun.get(name))} and is now "
                    f"{_told(self._config.get(name))}. Use the earlier value, or choose another directory."
                )
        now = _versions()
        if changed := [f"{name} {versions.get(name)}" for name in DECIDING if versions.get(name) != now.get(name)]:
            _warn(
                "the last bits may differ from those of an uninterrupted fit",
                f"the fit was started with {', '.join(changed)}",
            )


def _as_json(name: str, value: Any) -> Any:
    """The value after a round trip through JSON."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        raise InputError(
            f"config needs JSON values, but {name} is {value!r}; give it as a string, a finite number or a list."
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
