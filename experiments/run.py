"""Common parts of all experiments: settings from the command line, an output folder, and numbers in a file.

A file in this folder that defines `SMOKE` is an experiment.
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
    """Settings that all experiments have."""

    out: Path  # folder of the figures and of numbers.json
    overwrite: bool = False  # replace the files of an earlier run
    quick: bool = False  # use default settings that take one to three minutes
    smoke: bool = False  # use the tiny default settings of the tests


S = TypeVar("S", bound=Settings)


def names() -> list[str]:
    """Names of all experiments in this folder."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(file.stem for file in files if "\nSMOKE = " in file.read_text(encoding="utf-8"))


def run(main: Callable[[S], Any], *, full: S, quick: S, smoke: S, about: str | None) -> None:
    """Runs an experiment with the settings of the command line; an invalid setting ends it with a short message."""
    start = smoke if "--smoke" in sys.argv else quick if "--quick" in sys.argv else full
    try:
        main(tyro.cli(type(full), default=start, description=about))
    except (InputError, OSError) as error:
        sys.exit(f"{full.out.name}: {error}")


def make_folder(config: Settings) -> None:
    """Creates the folder of an experiment. An existing folder is an error unless `overwrite` is set."""
    if config.out.exists() and not config.overwrite:
        raise InputError(
            f"{config.out} exists already; add --overwrite to replace its files, or choose another folder with --out."
        )
    config.out.mkdir(parents=True, exist_ok=True)


def save_numbers(config: Settings, numbers: Mapping[str, Any], **more: Any) -> None:
    """Writes `numbers.json` with the settings, the numbers, and any further values."""
    record = {"config": dataclasses.asdict(config), "numbers": numbers, **more}
    (config.out / "numbers.json").write_text(json.dumps(record, indent=1, default=str), encoding="utf-8")
