"""Measuring and publishing of benchmarks: interleaved peers, medians, one JSON file each."""

import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from siren_jax.fields.tiles import points_per_tile

RESULTS = Path(__file__).parent / "results"
PICTURES = Path(__file__).parent.parent / "docs" / "images"


def interleaved(candidates: Mapping[str, Callable[[], object]], *, rounds: int, warm: bool = False) -> dict[str, float]:
    """Median seconds per call of each candidate. Candidates take turns, so that a busy machine slows all of them alike.

    Args:
        candidates: functions that wait for their result.
        rounds: number of timed calls of every candidate.
        warm: whether all candidates have been called before; otherwise each is called once first to compile it.
    """
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for call in () if warm else candidates.values():
        call()
    for _ in range(rounds):
        for name, call in candidates.items():
            began = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began)
    return {name: float(np.median(times)) for name, times in seconds.items()}


def matrix_product() -> tuple[Callable[[], object], float]:
    """A function for several float32 products of eight tiles with 256 columns and a 256 x 256 matrix, and its FLOPs."""
    rows, times = 8 * points_per_tile(), 8
    a, b = jnp.ones((rows, 256)), jnp.full((256, 256), 0.01)
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision="highest"))

    def call() -> None:
        for _ in range(times):
            product(a, b).block_until_ready()

    call()
    return call, times * 2 * rows * 256 * 256


def machine() -> dict[str, object]:
    """Description of the machine and the versions that a result was measured with."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if os.path.exists("/proc/cpuinfo") else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    device = {} if jax.default_backend() == "cpu" else {"device": jax.devices()[0].device_kind}
    versions = {"python": platform.python_version(), "jax": jax.__version__}
    return {"processor": model, "cores": os.cpu_count(), **device, **versions}


def of_device(name: str) -> str:
    """The name of a result, followed by the device unless it is the CPU."""
    return name if jax.default_backend() == "cpu" else f"{name}_{jax.default_backend()}"


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Rows as a Markdown table; a missing entry is a dash."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    lines = [columns, ["---"] * len(columns), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def publish(name: str, rows: Sequence[Mapping[str, object]], config: Any, **more: object) -> None:
    """Prints the table and writes it with its settings to `results/NAME.json`, or on a GPU to `NAME_gpu.json`."""
    print(table(rows))
    RESULTS.mkdir(exist_ok=True)
    content = {"machine": machine(), "settings": dataclasses.asdict(config), **more, "rows": list(rows)}
    (RESULTS / f"{of_device(name)}.json").write_text(json.dumps(content, indent=1) + "\n")


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
