"""A long fit of the command: what its process holds in memory, minute by minute.

With a checkpoint every 5 s and a preview every so many steps, so that these have their chance to leak.

`python -m benchmarks.soak`: an hour on one core.
"""

import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from benchmarks.measure import publish

OPENING = 5  # samples, while all is done for the first time, that say nothing of a leak


@dataclass(frozen=True)
class Config:
    seconds: float = 3600.0
    """Of fitting."""
    every: float = 60.0
    """Seconds between two looks at the memory."""
    size: int = 256
    """Pixels of a side."""
    preview_every: int = 5000
    """Steps."""


def main(config: Config) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        options = {
            "size": config.size,
            "seconds": config.seconds,
            "schedule": "constant",
            "checkpoint-every": 5,
            "preview-every": config.preview_every,
            "out": out,
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        command = [sys.executable, "-c", "from siren_jax.cli import run; run()", "fit", *words]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        began, rows = time.monotonic(), []
        while process.poll() is None:
            time.sleep(config.every)
            if (mib := resident(process.pid)) is not None:
                previews = len(list(out.glob("preview/*.png")))
                rows.append({"s": round(time.monotonic() - began), "resident MiB": mib, "previews": previews})
        if process.returncode:
            sys.exit(f"the fit ended with the exit code {process.returncode}.")
    steady = [(row["s"] / 3600, row["resident MiB"]) for row in rows[OPENING:]]
    slope = float(np.polyfit(*np.array(steady).T, 1)[0])
    spread = max(mib for _, mib in steady) - min(mib for _, mib in steady)
    print(f"{slope:+.1f} MiB an hour after the first {OPENING} samples, {spread:.1f} MiB between lowest and highest")
    publish("soak", rows, config, **{"MiB an hour": slope, "MiB between lowest and highest": spread})
    return rows


def resident(process: int) -> float | None:
    """MiB of memory that a process holds; None once it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("VmRSS:")]
    return int(found[0]) / 1024 if found else None


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
