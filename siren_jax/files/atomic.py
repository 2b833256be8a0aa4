"""Files that are written whole or not at all."""

import glob
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from siren_jax.errors import InputError


@contextmanager
def replacing(path: str | os.PathLike[str], *, overwrite: bool) -> Iterator[str]:
    """The name of a new file beside a path, which takes its place at the end; without one where there is an error.

    Raises:
        InputError: there is a file and it is not to be overwritten, or the directory cannot be written.
    """
    path = os.fspath(path)
    if os.path.lexists(path) and not overwrite:
        raise InputError(f"{path!r} exists; choose another name, or allow it to be overwritten.")
    temporary = f"{_stem(path)}{secrets.token_hex(4)}.partial"
    try:
        open(temporary, "xb").close()
        yield temporary
        _sync(temporary, os.O_RDWR)  # Windows refuses to sync what is open for reading alone
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise InputError(f"{path!r} cannot be written: {error.strerror or error}.") from None
        raise
    with suppress(OSError):  # for the name to outlast a power cut too; some file systems cannot
        _sync(os.path.dirname(path) or ".", os.O_RDONLY)


def write_atomically(path: str | os.PathLike[str], write_to: Callable[[IO[bytes]], Any], *, overwrite: bool) -> None:
    """Writes a file by a function of the open file; otherwise as `replacing`."""
    with replacing(path, overwrite=overwrite) as temporary, open(temporary, "wb") as file:
        write_to(file)


def clear_leftovers(path: str) -> None:
    """Removes what killed processes have left of a file that they were writing; none may be writing it now.

    Args:
        path: the file; a folder and "*" for every file in it.
    """
    folder, name = os.path.split(path)
    stem = ".*." if name == "*" else glob.escape(os.path.basename(_stem(path)))
    for left in glob.glob(os.path.join(glob.escape(folder), f"{stem}{'?' * 8}.partial")):
        with suppress(OSError):
            os.unlink(left)


def _stem(path: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f".{name[:40]}.")  # a name may be as long as the system allows


def _sync(path: str, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
