"""What a command reads: a `.siren` file, an entry of a set as SET::NAME, or a mask."""

import difflib
import os
import re

from jaxtyping import Bool
from numpy import ndarray

from siren_jax.equations.slab_files import SUFFIX
from siren_jax.errors import InputError
from siren_jax.neural_field import NeuralField, load
from siren_jax.sets.field_set import FieldSet, load_set
from siren_jax.sets.signals import SEPARATOR
from siren_jax.signals import load_mask

NUMBER = re.compile("0|[1-9][0-9]{0,17}")
COMPARED = 20_000  # names, in a second


def split(path: str) -> tuple[str, str] | None:
    """The folder of a set and the name of an entry in SET::NAME; None if the path is that of a file.

    The name is empty if the path is that of a set. A file that exists is a file, whatever its name.
    """
    if os.path.isfile(path):
        return None
    if os.path.isdir(path):
        return path, ""
    places = [found.start() for found in re.finditer(f"(?={SEPARATOR})", path)]
    if not places:
        return None
    at = ([place for place in places if os.path.isdir(path[:place])] or places)[-1]
    return path[:at], path[at + len(SEPARATOR) :]


def load_field(path: str) -> NeuralField:
    """The signal in a `.siren` file or at SET::NAME. Of a set, only this entry is read.

    Raises:
        InputError: the file or the set cannot be read, or the set has no such entry; the file has slabs of time.
    """
    if path.endswith(SUFFIX) and os.path.isfile(path):
        raise InputError(
            f"{path!r} is a solution in slabs of time, which siren_jax.equations.load_slabs opens in Python. Unpack it "
            "and give the .siren file of one slab."
        )
    address = split(path)
    return load(path) if address is None else entry(load_set(address[0]), *address)


def entry(fields: FieldSet, folder: str, name: str) -> NeuralField:
    """The field of a name or, if no name in the set is a number, of a number.

    Raises:
        InputError: there is no such entry.
    """
    names = fields.names
    if not name:
        raise InputError(
            f"{folder!r} is a set; name one of its {len(names):,} entries as SET::NAME, the first is "
            f"{folder + SEPARATOR + names[0]!r}."
        )
    if name in names:
        return fields[names.index(name)]
    # Where names are numbers, the missing one may be of a signal that was left out, and its place another signal's.
    if NUMBER.fullmatch(name) and not any(map(NUMBER.fullmatch, names)):
        if int(name) < len(names):
            return fields[int(name)]
        hint = f"its {len(names):,} entries have the numbers from 0 on"
    elif close := difflib.get_close_matches(name, names[:COMPARED]):
        hint = f"similar names are {', '.join(map(repr, close))}"
    else:
        hint = f"the first of {len(names):,} is {names[0]!r}"
    raise InputError(f"the set {folder!r} has no entry {name!r}; {hint}.")


def title(path: str, field: NeuralField) -> str:
    """The name of an entry, or that of a file without its suffix."""
    return os.path.splitext(os.path.basename(path))[0] if split(path) is None else str(field.record["name"])


def missing_pixels(path: str, shape: tuple[int, ...], *, size: int | None) -> Bool[ndarray, "h w"]:
    """The pixels that a mask marks as missing: those where it is white.

    Args:
        path: the mask, a picture.
        shape: height and width of the picture.
        size: longer side in pixels after resizing.

    Raises:
        InputError: the mask cannot be read, has another size, or no white pixel.
    """
    missing = load_mask(path, size=size)
    if missing.shape != shape:
        raise InputError(
            f"the mask {path!r} has {missing.shape[0]} x {missing.shape[1]} pixels, but the picture has "
            f"{shape[0]} x {shape[1]}."
        )
    if not missing.any():
        raise InputError(f"the mask {path!r} has no white pixel, so nothing is missing.")
    return missing
