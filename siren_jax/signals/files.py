"""Files of signals: is there one, and what does it hold?"""

import os

from siren_jax.errors import InputError

KINDS = ("image", "sound")
# (offset, bytes): the kind of file that they are found in.
_SIGNATURES = (
    (0, b"fLaC", "sound"),
    (0, b"OggS", "sound"),
    (0, b"ID3", "sound"),
    (8, b"WAVE", "sound"),
    (8, b"AIF", "sound"),
)
_SUFFIXES: dict[str, str] = dict.fromkeys((".wav", ".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".mp3"), "sound")


def check_file(path: str, needed: str) -> None:
    """Raises an InputError where there is no file, or nothing in it.

    Args:
        path: of the file.
        needed: what it should be: "a picture file".
    """
    if not os.path.exists(path):
        raise InputError(f"there is no file {path!r}.")
    if os.path.isdir(path):
        raise InputError(f"{path!r} is a directory; {needed} is needed.")
    if os.path.getsize(path) == 0:
        raise InputError(f"{path!r} is empty; {needed} is needed.")


def kind_of(path: str | os.PathLike[str]) -> str:
    """The kind of signal in a file, by its first bytes, and by its name where they do not tell.

    "image" is what is left when it is nothing else.

    Raises:
        InputError: there is no such file, or nothing in it.
    """
    path = os.fspath(path)
    check_file(path, "a file of a picture or a sound")
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError as error:
        raise InputError(f"{path!r} cannot be read: {error.strerror}.") from None
    for offset, signature, kind in _SIGNATURES:
        if start[offset:].startswith(signature):
            return kind
    return _SUFFIXES.get(os.path.splitext(path)[1].lower(), "image")
