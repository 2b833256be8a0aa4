"""Memory of the process of a long fit with the command, minute by minute, until the fit ends.

The fit writes a checkpoint every 5 s and frequent previews, so that leaks in these would be visible too.

`python -m benchmarks.soak`: an hour on one core.
"""

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from benchmarks.measure import publish


@dataclass(frozen=True)
class Config:
    seconds: float = 3600.0
    """Seconds of fitting."""
    every: float = 60.0
    """Seconds between two measurements of the memory."""
    size: int = 256
    """Pixels along each side."""
    width: int = 256
    """Units of a hidden layer."""
    preview_every: int = 5000
    """Steps between two previews."""


def main(config: Config) -> list[dict]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        options = {
            "size": config.size,
            "width": config.width,
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
            held = memory(process.pid)
            if held and not list(out.glob("*.siren")):  # after that, results are drawn and written
                previews = len(list(out.glob("preview/*.png")))
                rows.append({"s": round(time.monotonic() - began), **held, "previews": previews})
        if process.returncode:
            sys.exit(f"the fit ended with the exit code {process.returncode}.")
        steps = json.loads((out / "metrics.json").read_text())["steps"]
    figures = {"steps": steps, **summary(rows)}
    print(figures)
    publish("soak", rows, config, **figures)
    return rows


def summary(rows: list[dict]) -> dict[str, float]:
    """Medians of the first and the last ten looks after the first preview, for which Matplotlib is imported."""
    first = next((number for number, row in enumerate(rows) if row["previews"]), 0)
    own = [row["own MiB"] for row in rows[first:]]
    return {
        "minutes after the first preview": (rows[-1]["s"] - rows[first]["s"]) / 60,
        "MiB at first": float(np.median(own[:10])),
        "MiB at last": float(np.median(own[-10:])),
    }


def memory(process: int) -> dict[str, float]:
    """MiB in a process's memory: its own, and pages of files that the system may drop; empty once it has ended."""
    names = {"RssAnon:": "own MiB", "RssFile:": "of files MiB"}
    try:
        lines = [line.split() for line in Path(f"/proc/{process}/status").read_text().splitlines()]
    except OSError:
        return {}
    return {names[words[0]]: int(words[1]) / 1024 for words in lines if words[0] in names}


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
