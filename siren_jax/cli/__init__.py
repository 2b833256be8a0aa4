"""The command `siren-jax`: `fit`, `blend`, `inpaint`, `render` and `info`."""

import sys
import warnings
from collections.abc import Sequence

import tyro

from siren_jax.cli.blend import Blend
from siren_jax.cli.cache import keep_compiled_programs
from siren_jax.cli.fit import Fit
from siren_jax.cli.info import Info
from siren_jax.cli.inpaint import Inpaint
from siren_jax.cli.render import Render
from siren_jax.errors import InputError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code.

    0: done; 1: the fit stopped at a value that is not finite; 2: the input or an argument cannot be used; 130: Ctrl-C.
    After 0, 1 and a first Ctrl-C what was learned is written; after 2 nothing is.
    """
    command = tyro.cli(
        Fit | Blend | Inpaint | Render | Info,  # pyright: ignore[reportArgumentType]
        prog="siren-jax",
        description="Turn pictures, sounds, videos and shapes into SIRENs: small sine networks that are the signals.",
        args=arguments,
        config=(tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", UserWarning)
            warnings.showwarning = lambda message, *_, **__: print(f"siren-jax: {message}", file=sys.stderr)
            return command.run()
    except InputError as error:
        print(f"siren-jax: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("siren-jax: interrupted.", file=sys.stderr)
        return 130


def run() -> None:
    """Entry point of the console script."""
    keep_compiled_programs()
    sys.exit(main())
