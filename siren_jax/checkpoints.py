"""Checkpoints of a fit: arrays in a directory, written while the fit goes on, each whole or not at all.

`DIRECTORY/fit.json` says what is fitted, `DIRECTORY/1234/` is what step 1,234 begins with. Orbax writes them in threads
of its own and gives a checkpoint its name once it is complete, so a process may be killed at any moment.
"""

import glob
import json
import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from types import TracebackType
from typing import Any, NamedTuple

from filelock import FileLock, Timeout
from numpy import ndarray

from siren_jax.atomic import clear_leftovers, write_atomically
from siren_jax.checkpoint_file import as_one_file
from siren_jax.errors import InputError

BEGUN = "fit.json"
UNFINISHED = ".orbax-checkpoint-tmp"
DECIDING = ("siren-jax", "jax", "jaxlib", "flax", "optax")  # packages whose version decides the last bits
SHARE = 0.01  # of the time of a fit that goes into holding it up for checkpoints, at most


class Checkpoint(NamedTuple):
    """What a step begins with."""

    step: int
    arrays: dict[str, ndarray]
    """By name."""
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
        self._manager, self._next, self._warned = None, time.monotonic() + every, False
        self._lock = FileLock(os.path.join(self.directory, ".lock"), thread_local=False)
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
        steps = sorted(self.steps())
        while steps:
            step = steps.pop()
            try:
                found: Any = self._opened().restore(step, args=as_one_file().Restore())
            except Exception as error:  # whatever a damaged file makes a reader say
                instead = f"that of step {steps[-1]:,} is taken" if steps else "the fit begins anew"
                _warn(f"the checkpoint of step {step:,} cannot be read, and {instead}", error)
                self._shut()
                path = os.path.join(self.directory, str(step))
                shutil.rmtree(f"{path}.unreadable", ignore_errors=True)
                os.rename(path, f"{path}.unreadable")  # it would be the newest, and bar those that are older
            else:
                arrays, self.notes = found
                return Checkpoint(step, arrays, self.notes)
        return None

    def offer(self, step: int, make: Callable[[], dict[str, ndarray]]) -> None:
        """Keeps the arrays that `make` makes if it is time for it; returns before they are written.

        What cannot be written is told once, and tried again the next time.
        """
        if time.monotonic() < self._next or (self._manager is not None and self._manager.is_saving_in_progress()):
            return
        held = self._save(step, make(), wait=False)
        self._next = time.monotonic() + max(self.every, held / SHARE)

    def save(self, step: int, arrays: dict[str, ndarray]) -> None:
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

    def _save(self, step: int, arrays: dict[str, ndarray], *, wait: bool) -> float:
        """Seconds for which a fit was held up, without those of opening."""
        from safetensors.numpy import save as encoded

        # Here and not in Orbax's thread: malloc keeps what threads that come and go have taken.
        parts = as_one_file().Save(encoded(arrays, metadata={"notes": json.dumps(self.notes)}))
        for attempt in range(2 if wait else 1):  # the first may tell of an earlier write that failed
            try:
                if self._mark() != self._marked:
                    self._shut()
                    self._claim(ours=True)  # somebody has removed the directory, and may have made it anew
                manager = self._opened()
                began = time.monotonic()
                if step not in self.steps() and not manager.save(step, args=parts):
                    raise OSError("there is one of a later step")
                if wait:
                    manager.wait_until_finished()
                return time.monotonic() - began
            except Exception as error:  # a full disk, a directory that is gone: the fit goes on
                manager, self._manager = self._manager, None
                if manager is not None:
                    with suppress(Exception):  # the same one
                        manager.close()
                for entry in glob.glob(os.path.join(glob.escape(self.directory), f"*{UNFINISHED}")):
                    shutil.rmtree(entry, ignore_errors=True)  # results may need the room
                if attempt == wait:
                    self._told_once("a checkpoint could not be written, and the fit goes on without", error)
        return 0.0

    def _told_once(self, what: str, error: Exception) -> None:
        if not self._warned:
            _warn(what, error)
        self._warned = True

    def _opened(self):
        if self._manager is None:
            import orbax.checkpoint as ocp

            # A directory that cannot be made is told at once; a thread that waits for it would do so for minutes.
            at_once = ocp.AsyncOptions(create_directories_asynchronously=False)
            options = ocp.CheckpointManagerOptions(
                max_to_keep=self._keep, cleanup_tmp_directories=True, async_options=at_once
            )
            self._manager = ocp.CheckpointManager(self.directory, options=options)
        return self._manager

    def _claim(self, *, overwrite: bool = False, ours: bool = False) -> None:
        """Makes the directory, and makes it that of this fit alone."""
        self._lock.release()
        if os.path.islink(self._lock.lock_file):
            raise InputError(f"{self._lock.lock_file!r} is a link, which is not followed; remove it first.")
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
        clear_leftovers(path)
        if overwrite and os.path.lexists(path):
            self._clear(path)
        try:
            with open(path, encoding="utf-8") as file:
                content = json.load(file)
            begun, versions = dict(content["fit"]), dict(content["versions"])
        except FileNotFoundError:
            if (steps := self.steps()) and not ours:
                raise InputError(
                    f"{self.directory!r} holds a folder {steps[0]}, but no {BEGUN} that says of which fit; choose "
                    "another directory, or remove the folder."
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
                shutil.rmtree(os.path.join(self.directory, str(step)))
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
