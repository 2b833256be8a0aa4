"""Checkpoints of a fit: arrays in a directory, written while the fit goes on, each whole or not at all.

`DIRECTORY/fit.json` says what is fitted, `DIRECTORY/1234/` is what step 1,234 begins with. Orbax writes them in threads
of its own and gives a checkpoint its name once it is complete, so a process may be killed at any moment.
"""

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
        if keep < 1:
            raise InputError(f"at least one checkpoint is kept, but got keep={keep}.")
        self.directory, self.every, self._keep = os.path.abspath(directory), every, keep
        self.notes: dict[str, Any] = {}
        """JSON values that are kept with every checkpoint; `latest` brings them back."""
        self._config = json.loads(json.dumps(dict(config or {})))
        self._manager, self._next, self._warned = None, time.monotonic() + every, False
        self._lock = FileLock(os.path.join(self.directory, ".lock"))
        self._claim(overwrite=overwrite)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def steps(self) -> list[int]:
        """What the checkpoints begin with that are kept."""
        with os.scandir(self.directory) as entries:
            return [int(e.name) for e in entries if e.name.isdecimal() and e.is_dir(follow_symlinks=False)]

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that can be read, if there is one; those that cannot are renamed."""
        for step in sorted(self.steps(), reverse=True):
            import orbax.checkpoint as ocp

            parts = {"arrays": ocp.args.StandardRestore(), "notes": ocp.args.JsonRestore()}
            try:
                kept = self._opened().restore(step, args=ocp.args.Composite(**parts))
            except Exception as error:  # whatever a damaged file makes a reader say
                _warn(f"the checkpoint of step {step:,} cannot be read, and is passed over", error)
                self._shut()
                path = os.path.join(self.directory, str(step))
                shutil.rmtree(f"{path}.unreadable", ignore_errors=True)
                os.rename(path, f"{path}.unreadable")  # it would be the newest, and bar those that are older
                continue
            self.notes = dict(kept["notes"])
            return Checkpoint(step, kept["arrays"], self.notes)
        return None

    def offer(self, step: int, make: Callable[[], dict[str, Any]]) -> None:
        """Keeps the arrays that `make` copies if it is time for it; returns before they are written.

        What cannot be written is told once, and tried again the next time.
        """
        if time.monotonic() < self._next or (self._manager is not None and self._manager.is_saving_in_progress()):
            return
        held = self._save(step, make(), wait=False)
        self._next = time.monotonic() + max(self.every, held / SHARE)

    def save(self, step: int, arrays: dict[str, Any]) -> None:
        """Keeps arrays, and returns once they are written."""
        self._save(step, arrays, wait=True)

    def close(self) -> None:
        """Waits for what is being written, and leaves the directory to others."""
        self._shut()
        self._lock.release()

    def _shut(self) -> None:
        manager, self._manager = self._manager, None
        try:
            if manager is not None:
                manager.close()
        except Exception as error:  # of the last write, in the background
            self._told_once("the last checkpoint could not be written", error)

    def _save(self, step: int, arrays: dict[str, Any], *, wait: bool) -> float:
        """Seconds for which a fit was held up, without those of opening."""
        import orbax.checkpoint as ocp

        notes = json.loads(json.dumps(self.notes))
        parts = {"arrays": ocp.args.StandardSave(arrays), "notes": ocp.args.JsonSave(notes)}
        for attempt in range(2 if wait else 1):  # the first may tell of an earlier write that failed
            try:
                if not os.path.exists(os.path.join(self.directory, BEGUN)):
                    self._shut()
                    self._claim(ours=True)  # somebody has removed it, and Orbax may have made it anew
                manager = self._opened()
                began = time.monotonic()
                if step not in manager.all_steps() and not manager.save(step, args=ocp.args.Composite(**parts)):
                    raise OSError("there is one of a later step")
                if wait:
                    manager.wait_until_finished()
                return time.monotonic() - began
            except Exception as error:  # a full disk, a directory that is gone: the fit goes on
                self._manager = None
                if attempt == wait:
                    self._told_once("a checkpoint could not be written, and the fit goes on without", error)
        return 0.0

    def _told_once(self, what: str, error: Exception) -> None:
        if not self._warned:
            _warn(what, error)
        self._warned = True

    def _opened(self):
        import orbax.checkpoint as ocp

        if self._manager is None:
            options = ocp.CheckpointManagerOptions(max_to_keep=self._keep, cleanup_tmp_directories=True)
            self._manager = ocp.CheckpointManager(self.directory, options=options)
        return self._manager

    def _claim(self, *, overwrite: bool = False, ours: bool = False) -> None:
        """Makes the directory, and makes it that of this fit alone."""
        self._lock.release()
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

    def _begin(self, overwrite: bool, ours: bool) -> None:
        """Writes what is fitted, or compares it with what was."""
        path = os.path.join(self.directory, BEGUN)
        if overwrite and os.path.lexists(path):
            try:
                os.unlink(path)
                for step in self.steps():
                    shutil.rmtree(os.path.join(self.directory, str(step)))
            except OSError as error:
                raise InputError(f"{self.directory!r} cannot be cleared: {error.strerror}.") from None
        try:
            with open(path, encoding="utf-8") as file:
                begun = json.load(file)
        except FileNotFoundError:
            if (steps := self.steps()) and not ours:
                raise InputError(
                    f"{self.directory!r} holds a folder {steps[0]}, but no {BEGUN} that says of which fit; choose "
                    "another directory, or remove the folder."
                ) from None
            text = json.dumps(self._config, indent=2) + "\n"
            write_atomically(path, lambda file: file.write(text.encode()), overwrite=False)
            return
        except (OSError, ValueError):
            raise InputError(f"{path!r} is damaged; begin anew in another directory, or overwrite this one.") from None
        for name in sorted({*begun, *self._config}):
            if begun.get(name) != self._config.get(name):
                raise InputError(
                    f"{self.directory!r} holds another fit: {name} was {_told(begun.get(name))} and is now "
                    f"{_told(self._config.get(name))}. Begin as then, or choose another directory."
                )


def _warn(what: str, error: Exception) -> None:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    warnings.warn(f"{what}: {reason}", stacklevel=4)


def _told(value: Any) -> str:
    return "not given" if value is None else repr(value)
