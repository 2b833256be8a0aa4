"""Atomic writing: a file is written completely or not at all."""

import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from siren_jax.errors import InputError


@contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[str]:
    """The name of a new file next to a path. It replaces the path at the end of the context, or is removed on an error.

    Raises:
        InputError: the file exists and `overwrite` is false, or the directory cannot be written.
    """
    path = os.fspath(path)
    if os.path.lexists(path) and not overwrite:
        raise InputError(f"{path!r} exists; choose another name, or allow overwriting it.")
    temporary = f"{_stem(path)}{secrets.token_hex(4)}.partial"
    try:
        open(temporary, "xb").close()
        yield temporary
        _sync(temporary, os.O_RDWR)  # Windows does not sync a file that is open for reading only
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise InputError(f"{path!r} cannot be written: {error.strerror or error}.") from None
        raise
    with suppress(OSError):  # so that the name survives a power cut too; some file systems cannot do this
        _sync(os.path.dirname(path) or ".", os.O_RDONLY)


def write_atomically(path: str | os.PathLike[str], write_to: Callable[[IO[bytes]], Any], *, overwrite: bool) -> None:
    """Writes a file with a function of the open file, as in `replacing`."""
    with replacing(path, overwrite=overwrite) as temporary, open(temporary, "wb") as file:
        write_to(file)


def check_space(path: str | os.PathLike[str], needed: int) -> None:
    """Refuses a path whose disk has less free space than this number of bytes.

    A file system that does not report its size is not checked.
    """
    path = os.fspath(path)
    try:
        disk = shutil.disk_usage(os.path.dirname(path) or ".")
    except OSError as error:
        raise InputError(f"{path!r} cannot be written: {error.strerror}.") from None
    if disk.total and disk.free < needed:
        raise InputError(
            f"{path!r} may take {needed:,} bytes, but {disk.free:,} are free; make room, or choose another disk."
        )


def clear_leftovers(path: str) -> None:
    """Removes the partial files that killed processes have left. No process may be writing the file now.

    Args:
        path: path of the file, or `folder/*` for every file in a folder.
    """
    folder, name = os.path.split(path)
    stem = ".*." if name == "*" else glob.escape(os.path.basename(_stem(path)))
    for left in glob.glob(os.path.join(glob.escape(folder), f"{stem}{'?' * 8}.partial")):
        with suppress(OSError):
            os.unlink(left)


def _stem(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(
        folder, f".{name[:40]}."
    )  # the name may already have the greatest length that the system allows


def _sync(path: str, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
