"""The command `siren-jax`: `fit`, `fit-many`, `learn`, `encode`, `complete`, `blend`, `inpaint`, `solve`, `render`,
`view`, `convert`, `export` and `info`."""

import io
import os
import sys
import warnings
from collections.abc import Sequence

import tyro

from siren_jax._versions import __version__
from siren_jax.cli.blend import Blend
from siren_jax.cli.cache import keep_compiled_programs
from siren_jax.cli.complete import Complete
from siren_jax.cli.console import Lasting, as_options
from siren_jax.cli.convert import Convert
from siren_jax.cli.encode import Encode
from siren_jax.cli.export import Export
from siren_jax.cli.fit import Fit
from siren_jax.cli.fit_many import FitMany
from siren_jax.cli.info import Info
from siren_jax.cli.inpaint import Inpaint
from siren_jax.cli.learn import Learn
from siren_jax.cli.render import Render
from siren_jax.cli.solve import Solve
from siren_jax.cli.view import View
from siren_jax.errors import InputError

ABOUT = (
    "Turn pictures, sounds, videos, shapes and solutions of differential equations into SIRENs: small sine networks "
    "that are the signals. `siren-jax --version` prints the version."
)

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code.

    0: success; 1: the fit stopped at a non-finite value, or a slab of time is not solved; 2: the input or an argument
    cannot be used; 129: the terminal was closed; 130: Ctrl-C; 143: SIGTERM. The results so far are written, except with
    2, after a second signal, or if a signal arrives before the first step, between two phases or while results are
    being written. In the cases of a signal, `--resume` continues a fit or a set; `learn` keeps what it has learned.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if list(arguments) == ["--version"]:
        print(f"siren-jax {__version__}")
        return 0
    command = tyro.cli(
        Fit  # pyright: ignore
        | FitMany
        | Learn
        | Encode
        | Complete
        | Blend
        | Inpaint
        | Solve
        | Render
        | View
        | Convert
        | Export
        | Info,
        prog="siren-jax",
        description=ABOUT,
        args=arguments,
        config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    tell = lambda message: print(f"siren-jax: {as_options(message, command)}", file=sys.stderr)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.filterwarnings("ignore", "Glyph .* missing")  # Matplotlib draws a box instead
            warnings.showwarning = lambda message, *_, **__: tell(str(message))
            code = command.run()
            sys.stdout.flush()
            return code
    except InputError as error:
        tell(str(error))
        return 2
    except KeyboardInterrupt:
        print("siren-jax: interrupted.", file=sys.stderr)
        return INTERRUPTED


def run() -> None:
    """Entry point of the console script."""
    keep_compiled_programs()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a Windows console may lack characters such as √
    sys.stdout, sys.stderr = Lasting(sys.stdout), Lasting(sys.stderr)
    try:
        code = main()
    finally:
        sys.stdout.flush()  # at exit, a closed pipe, as in `| head`, would cause a traceback
    if code == INTERRUPTED:
        sys.stderr.flush()
        os._exit(code)  # while threads of JAX still compute, Python's own exit can end in a segmentation fault
    sys.exit(code)
