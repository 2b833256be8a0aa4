"""What every experiment does around its claim: settings from the command line, a folder, and numbers in a file.

A file of this folder that has a `SMOKE` setting is an experiment.
"""

import dataclasses
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import tyro

from siren_jax import InputError


@dataclasses.dataclass(frozen=True)
class Settings:
    """Those that all experiments have."""

    out: Path  # folder of the figures and of numbers.json
    overwrite: bool = False  # replace the files of an earlier run
    quick: bool = False  # start from the settings of a minute or three
    smoke: bool = False  # start from the tiny settings that the tests run


S = TypeVar("S", bound=Settings)


def names() -> list[str]:
    """Every experiment of this folder."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if "\nSMOKE = " in file.read_text(encoding="utf-8"))


def run(main: Callable[[S], Any], *, full: S, quick: S, smoke: S, about: str | None) -> None:
    """Runs an experiment with the command line's settings; a mistake in them ends it with one line."""
    start = smoke if "--smoke" in sys.argv else quick if "--quick" in sys.argv else full
    try:
        main(tyro.cli(type(full), default=start, description=about))
    except (InputError, OSError) as error:
        sys.exit(f"{full.out.name}: {error}")


def make_folder(config: Settings) -> None:
    """The folder of an experiment, before its first file; an earlier run's is left alone unless asked."""
    if config.out.exists() and not config.overwrite:
        raise InputError(
            f"{config.out} exists already; add --overwrite to replace its files, or name another folder with --out."
        )
    config.out.mkdir(parents=True, exist_ok=True)


def save_numbers(config: Settings, numbers: Mapping[str, Any], **more: Any) -> None:
    """Writes `numbers.json`: the settings, the numbers, and whatever else is worth keeping."""
    record = {"config": dataclasses.asdict(config), "numbers": numbers, **more}
    (config.out / "numbers.json").write_text(json.dumps(record, indent=1, default=str), encoding="utf-8")
