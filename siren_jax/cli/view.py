"""`siren-jax view`: shows signals in a browser, or writes them as one HTML page."""

import os
import sys
import tempfile
import warnings
from dataclasses import dataclass
from typing import Annotated

import tyro

from siren_jax import viewer
from siren_jax._types import Precision
from siren_jax.cli.browser import opened
from siren_jax.cli.console import printable
from siren_jax.cli.helptext import documented, optional
from siren_jax.cli.precision_cost import agreement
from siren_jax.cli.sources import load_field, title
from siren_jax.errors import InputError
from siren_jax.files.atomic import write_atomically
from siren_jax.neural_field import NeuralField, load
from siren_jax.signals import load_image
from siren_jax.viewer.server import Server


@dataclass(frozen=True)
@documented
class View:
    """Show the signals in .siren files and sets in a browser, which evaluates them itself: zoom without end,
    derivatives, time and sound. Serves one page on this computer until Ctrl-C, or writes it as a file that needs no
    server."""

    files: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="FILE ...")]
    """The .siren files, or entries of sets as SET::NAME; several make one page with a chooser."""
    out: Annotated[str | None, optional("HTML", "none")] = None
    """Write the page to this file instead of serving it. It works from disk, as an attachment and on any web server."""
    precision: Annotated[Precision | None, optional("float32|float16|bfloat16|int8|float64", "float16")] = None
    """Precision of the weights in the page. The command prints its size, and the PSNR against the file."""
    original: Annotated[str | None, optional("PICTURE", "none")] = None
    """Picture from which the file was fitted; its pixels can be shown over the function."""
    port: Annotated[int | None, optional("N", "a free one")] = None
    """Port on which the page is served."""
    no_browser: bool = False
    """Do not open a browser; print the address only."""
    overwrite: bool = False
    """Replace the file of --out if it exists."""

    def run(self) -> int:
        self._check()
        precision = self.precision or "float16"
        entries = []
        for path in self.files:
            field = load_field(path)
            name = printable(title(path, field))
            entries.append(viewer.entry(field, name, field.still(), precision=precision, original=self._pixels(field)))
            if precision != "float32":
                print(f"{printable(path)} in {precision}: {_cost(field, precision)}", file=sys.stderr)
        page = viewer.page(entries).encode()
        if self.out is not None:
            write_atomically(self.out, lambda file: file.write(page), overwrite=self.overwrite)
            print(f"{len(page):,} bytes: {printable(self.out)}")
            return 0
        with Server(page, self.port or 0) as server:
            print(f"{server.address}  (until Ctrl-C)", flush=True)
            if not self.no_browser and not opened(server.address):
                warnings.warn("there is no browser to open; open the address in one.", stacklevel=2)
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print(file=sys.stderr)
        return 0

    def _check(self) -> None:
        if not self.files:
            raise InputError("view takes at least one .siren file or entry of a set.")
        if self.port is not None and not 1 <= self.port <= 65535:
            raise InputError(f"--port takes a number from 1 to 65535, but is {self.port}.")
        if self.out is not None:
            if self.port is not None or self.no_browser:
                raise InputError("--port and --no-browser serve a page, and --out writes it; leave one out.")
            if not self.out.lower().endswith((".html", ".htm")):
                raise InputError(f"--out ends in .html, but is {self.out!r}.")
            if os.path.lexists(self.out) and not self.overwrite:
                raise InputError(f"{self.out!r} exists; choose another name, or use --overwrite.")
        if self.original is not None and len(self.files) > 1:
            raise InputError("--original applies to a single file; leave it out.")

    def _pixels(self, field: NeuralField):
        if self.original is None:
            return None
        picture = load_image(self.original)
        if field.kind == "image" and picture.shape[:2] != field.frame.shape:
            picture = load_image(self.original, size=max(field.frame.shape))  # as `fit --size` does
        return picture


def _cost(field: NeuralField, precision: Precision) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a.siren")
        field.save(path, precision=precision)
        return agreement(load(path), field)
