"""Runs all experiments one after the other, each in `out/experiments/NAME`. A failure does not stop the others.

python -m experiments           # hours
python -m experiments --quick   # minutes
"""

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from experiments.run import names

OUT = Path("out/experiments")


@dataclass(frozen=True)
class Config:
    quick: bool = False  # use the settings that take one to three minutes each
    smoke: bool = False  # use the tiny settings of the tests


def run_all(commands: Mapping[str, Sequence[str]]) -> bool:
    """Runs the commands; prints the minutes of each and the folder of its figures. True if all succeeded."""
    report, failed = [], []
    for name, command in commands.items():
        print(f"\n== {name}", flush=True)
        began = time.monotonic()
        code = subprocess.run(command).returncode
        minutes = (time.monotonic() - began) / 60
        failed += [name] * (code != 0)
        report.append(f"{name:24}{minutes:7.1f} min   {'FAILED' if code else OUT / name}")
    print("", *report, sep="\n", flush=True)
    if failed:
        print(f"\n{len(failed)} of {len(commands)} failed: {', '.join(failed)}", file=sys.stderr)
    return not failed


if __name__ == "__main__":
    config = tyro.cli(Config, description=__doc__)
    flags = ["--overwrite", *["--quick"] * config.quick, *["--smoke"] * config.smoke]
    commands = {name: [sys.executable, "-m", f"experiments.{name}", *flags] for name in names()}
    sys.exit(not run_all(commands))
