"""Checkpoints of a fit: arrays in a directory, written while the fit goes on, each whole or not at all.

`DIRECTORY/fit.json` says what is fitted, `DIRECTORY/1234/` is what step 1,234 begins with. Orbax writes them in threads
of its own and gives a checkpoint its name once it is complete, so a process may be killed at any moment.
"""

import contextlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple

from filelock import FileLock, Timeout

from siren_jax.errors import InputError
from siren_jax.storage import write_atomically

BEGUN = "fit.json"
SHARE = 0.01  # of the time of a fit that goes into holding it up for checkpoints, at most


class Checkpoint(NamedTuple):
    """What a step begins with."""

    step: int
    arrays: dict[str, Any]
    """NumPy arrays, or lists of them, by name."""
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
        InputError: the directory cannot be written, is in use by another process, or holds another fit.
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
        self.directory, self.every, self._keep = os.path.abspath(directory), every, keep
        self.notes: dict[str, Any] = {}
        """JSON values that are kept with every checkpoint; `latest` brings them back."""
        self._manager, self._next, self._warned = None, time.monotonic() + every, False
        self._lock = FileLock(os.path.join(self.directory, ".lock"))
        try:
            os.makedirs(self.directory, exist_ok=True)
            self._lock.acquire(blocking=False)
        except Timeout:
            raise InputError(
                f"another fit writes to {os.fspath(directory)!r}; wait for it, or choose another directory."
            ) from None
        except OSError as error:
            raise InputError(f"the directory {os.fspath(directory)!r} cannot be written: {error.strerror}.") from None
        try:
            if overwrite:
                self._forget()
            self._begin(json.loads(json.dumps(dict(config or {}))))
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def steps(self) -> list[int]:
        """What the checkpoints begin with that are kept."""
        return [int(name) for name in os.listdir(self.directory) if name.isdecimal()]

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that can be read, if there is one."""
        for step in sorted(self.steps(), reverse=True):
            import orbax.checkpoint as ocp

            parts = {"arrays": ocp.args.StandardRestore(), "notes": ocp.args.JsonRestore()}
            try:
                kept = self._opened().restore(step, args=ocp.args.Composite(**parts))
            except Exception as error:  # whatever a damaged file makes a reader say
                _warn(f"the checkpoint of step {step:,} cannot be read, and is passed over", error)
                continue
            self.notes = dict(kept["notes"])
            return Checkpoint(step, kept["arrays"], self.notes)
        return None

    def offer(self, step: int, make: Callable[[], dict[str, Any]]) -> None:
        """Keeps the arrays that `make` copies if it is time for it; returns before they are written.

        What cannot be written is told once, and tried again the next time.
        """
        began = time.monotonic()
        if began < self._next or (self._manager is not None and self._manager.is_saving_in_progress()):
            return
        self._save(step, make(), wait=False)
        ended = time.monotonic()
        self._next = ended + max(self.every, (ended - began) / SHARE)

    def save(self, step: int, arrays: dict[str, Any]) -> None:
        """Keeps arrays, and returns once they are written."""
        self._save(step, arrays, wait=True)

    def close(self) -> None:
        """Waits for what is being written, and leaves the directory to others."""
        if self._manager is not None:
            self._manager.close()
            self._manager = None
        self._lock.release()

    def _save(self, step: int, arrays: dict[str, Any], *, wait: bool) -> None:
        import orbax.checkpoint as ocp

        parts = {
            "arrays": ocp.args.StandardSave(arrays),
            "notes": ocp.args.JsonSave(json.loads(json.dumps(self.notes))),
        }
        try:
            manager = self._opened()
            if step not in manager.all_steps():
                manager.save(step, args=ocp.args.Composite(**parts))
            if wait:
                manager.wait_until_finished()
        except Exception as error:  # a full disk, a directory that is gone: the fit goes on
            self._manager = None
            if not self._warned:
                _warn(f"no checkpoint could be written at step {step:,}, and the fit goes on without", error)
            self._warned = True

    def _opened(self):
        import orbax.checkpoint as ocp

        if self._manager is None:
            options = ocp.CheckpointManagerOptions(max_to_keep=self._keep, cleanup_tmp_directories=True)
            self._manager = ocp.CheckpointManager(self.directory, options=options)
        return self._manager

    def _begin(self, config: dict[str, Any]) -> None:
        """Writes what is fitted, or compares it with what was."""
        path = os.path.join(self.directory, BEGUN)
        try:
            with open(path, encoding="utf-8") as file:
                begun = json.load(file)
        except FileNotFoundError:
            text = json.dumps(config, indent=2) + "\n"
            write_atomically(path, lambda file: file.write(text.encode()), overwrite=False)
            return
        except (OSError, ValueError):
            raise InputError(f"{path!r} is damaged; begin anew in another directory, or overwrite this one.") from None
        for name in sorted({*begun, *config}):
            if begun.get(name) != config.get(name):
                raise InputError(
                    f"{self.directory!r} holds another fit: {name} was {_told(begun.get(name))} and is now "
                    f"{_told(config.get(name))}. Begin as then, or choose another directory."
                )

    def _forget(self) -> None:
        for step in self.steps():
            shutil.rmtree(os.path.join(self.directory, str(step)))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.directory, BEGUN))


def _warn(what: str, error: Exception) -> None:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    warnings.warn(f"{what}: {reason}", stacklevel=4)


def _told(value: Any) -> str:
    return "not given" if value is None else repr(value)
