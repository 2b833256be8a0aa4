"""`siren-jax export`: writes a set as arrays for other learners."""

import os
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from siren_jax.cli.console import printable, status
from siren_jax.cli.helptext import documented
from siren_jax.errors import InputError
from siren_jax.sets import array_files
from siren_jax.sets.field_set import load_set

SUFFIXES = {"npz": (".npz",), "hdf5": (".h5", ".hdf5")}


@dataclass(frozen=True)
@documented
class Export:
    """Write the parameters, labels and qualities of all entries of a set as arrays, for any program that learns from
    arrays."""

    folder: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SET")]
    """The folder of the set."""
    out: Annotated[str, tyro.conf.arg(metavar="FILE")]
    """File to write: .npz, or .h5 or .hdf5. Its arrays have the entries as first axis: X (n, parameters) in float32,
    each parameter with its shape as parameters/NAME, y (labels), names, status, quality, steps, shapes and
    value_ranges. The text header is the JSON header of the set, with the omegas."""
    to: Literal["npz", "hdf5"] = "npz"
    """Format. NumPy reads npz without pickles. hdf5 needs the extra hdf5."""
    overwrite: bool = False
    """Replace the file if it exists."""

    def run(self) -> int:
        if not self.out.lower().endswith(SUFFIXES[self.to]):
            raise InputError(
                f"--out ends in {' or '.join(SUFFIXES[self.to])} with --to {self.to}, but is {self.out!r}."
            )
        fields = load_set(self.folder)
        with status(f"writing {self.out}"):
            array_files.export(fields, self.out, to=self.to, overwrite=self.overwrite)
        print(f"{len(fields):,} entries, {os.path.getsize(self.out):,} bytes: {printable(self.out)}")
        return 0
