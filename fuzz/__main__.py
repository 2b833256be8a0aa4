"""Coverage-guided fuzzing of one target: `python -m fuzz siren --seconds 60`. Needs atheris (the extra `fuzz`).

It ends with an error at the first input that crashes, takes half a minute or takes over a gigabyte, and saves this
input and the corpus in out/fuzz/TARGET.
"""

import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import atheris
import tyro

with atheris.instrument_imports(include=["siren_jax", "trimesh", "PIL", "safetensors", "soundfile", "scipy.io"]):
    from fuzz.targets import TARGETS
    from siren_jax import InputError


@dataclass(frozen=True)
class Config:
    target: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="|".join(TARGETS))]
    """Name of the target."""
    seconds: int = 60
    """Duration in seconds."""
    seed: int = 1
    """Seed of the mutations; 0 for another one in each run."""


def main(config: Config) -> None:
    if config.target not in TARGETS:
        sys.exit(f"{config.target!r} is not a target; the targets are {', '.join(TARGETS)}.")
    target, folder = TARGETS[config.target], Path("out/fuzz") / config.target
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds()):
        (folder / "corpus" / f"seed{number}").write_bytes(seed)
    warnings.simplefilter("ignore")

    def run(data: bytes) -> None:
        with suppress(InputError):
            target.run(data)

    options = {
        "max_total_time": config.seconds,
        "seed": config.seed,
        "timeout": 30,  # the largest picture takes 1 s, or 10 s on a busy machine
        "rss_limit_mb": 1024,
        "max_len": 4096,
        "artifact_prefix": f"{folder}/",
        "print_final_stats": 1,
    }
    arguments = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([sys.argv[0], *arguments, str(folder / "corpus")], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
