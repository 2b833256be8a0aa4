"""Seconds from the shell to the first step: imports, then `siren-jax fit` with an empty and with a filled cache.

Each command runs in its own process, and the commands take turns. The first step ends when the command reports its
first progress.

`python -m benchmarks.startup`: 12 minutes.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
import tyro

from benchmarks.measure import publish
from benchmarks.pictures import load_picture

COMMAND = str(Path(sys.executable).with_name("siren-jax"))


@dataclass(frozen=True)
class Config:
    rounds: int = 5
    size: int = 256
    """Pixels along each side of the picture."""
    targets: tuple[str, ...] = ("values", "gradient", "laplacian")


def main(config: Config) -> list[dict]:
    imports = {
        f"python -c {code!r}": [sys.executable, "-c", code]
        for code in ("pass", "import jax", "import jax, flax.nnx, optax", "import siren_jax")
    }
    imports["siren-jax --help"] = [COMMAND, "--help"]
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        photo = os.path.join(folder, "photo.png")
        picture = load_picture("camera", config.size).pixels[..., 0]
        PIL.Image.fromarray(np.round(255 * picture).astype(np.uint8)).save(photo)
        for round in range(config.rounds + 1):
            for name, command in imports.items():
                record(seconds, name, run(command, os.environ), warm_up=round == 0)
            for target in config.targets:
                cold, filled = (os.path.join(folder, name) for name in (f"{target}{round}", target))
                fit = [COMMAND, "fit", photo, "--target", target, "--steps", "1", "--overwrite"]
                fit += ["--out", os.path.join(folder, "out")]
                for name, cache in (
                    (f"first step, {target}, cold", cold),
                    (f"first step, {target}, from cache", filled),
                ):
                    time_taken = run(fit, {**os.environ, "JAX_COMPILATION_CACHE_DIR": cache}, until="step")
                    record(seconds, name, time_taken, warm_up=round == 0)
    rows = [{"what": name, "seconds": float(np.median(times))} for name, times in seconds.items()]
    publish("startup", rows, config)
    return rows


def record(seconds: dict[str, list[float]], name: str, time_taken: float, *, warm_up: bool) -> None:
    if not warm_up:  # the warm-up reads files from the disk and fills the cache
        seconds.setdefault(name, []).append(time_taken)


def run(command: list[str], environment, until: str | None = None) -> float:
    """Seconds until the process ends, or until a line of its standard error begins with the word `until`."""
    began = time.perf_counter()
    with subprocess.Popen(
        command, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if until is not None and line.startswith(until):
                taken = time.perf_counter() - began
                process.stderr.read()  # the rest of the command must neither block nor run during the next one
                return taken
    if process.returncode or until is not None:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode} before its time was measured")
    return time.perf_counter() - began


if __name__ == "__main__":
    main(tyro.cli(Config))
