"""Growth of a training step's time and memory with the number of pixels, the width and the depth.

The time per pixel should not depend on the number of pixels, and memory should grow only by the picture's own arrays.

`python -m benchmarks.scaling`: 25 minutes on two cores.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import matplotlib.pyplot as plt
import numpy as np
import tyro

from benchmarks.measure import PICTURES, interleaved, of_device, publish
from benchmarks.peers import TARGETS, Step, dataset, network, ours
from benchmarks.step import peak_memory


@dataclass(frozen=True)
class Config:
    sizes: tuple[int, ...] = (128, 256, 512, 1024)
    """Pixels along each side, at width 256 and depth 3."""
    widths: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Widths, at 128² pixels and depth 3."""
    depths: tuple[int, ...] = (1, 2, 3, 5, 8)
    """Depths, at 128² pixels and width 256."""
    targets: tuple[Literal["values", "gradient", "laplacian"], ...] = ("values", "gradient", "laplacian")
    rounds: int = 3


def main(config: Config) -> list[dict]:
    rows = []
    for target in config.targets:
        # Small pictures take up to eight steps per call, so that all calls take a similar time.
        repeats = {size: min(8, (max(config.sizes) // size) ** 2) for size in config.sizes}
        calls = {str(size): repeated(ours(dataset(size), target), repeats[size]) for size in config.sizes}
        seconds = interleaved(calls, rounds=config.rounds)
        for size in config.sizes:
            time = seconds[str(size)] / repeats[size]
            memory = peak_memory("ours", target, size)
            rows.append(
                {"target": target, "pixels": size**2, "s": time, "µs a pixel": 1e6 * time / size**2, "MiB": memory}
            )
            print(rows[-1], flush=True)
    data = dataset(128)
    for name, values in (("width", config.widths), ("depth", config.depths)):
        nets = {f"{target}, {v}": ours(data, target, network(**{name: v})) for target in config.targets for v in values}
        for key, time in interleaved(nets, rounds=config.rounds).items():
            target, value = key.split(", ")
            rows.append({"target": target, name: int(value), "s": time})
    publish("scaling", rows, config)
    draw(rows)
    return rows


def repeated(step: Step, times: int) -> Callable[[], object]:
    return lambda: [step() for _ in range(times)]


def draw(rows: list[dict]) -> None:
    styles = {"values": ("#0072B2", "o"), "gradient": ("#E69F00", "s"), "laplacian": ("#009E73", "^")}
    panels = [("pixels", "s"), ("pixels", "MiB"), ("width", "s"), ("depth", "s")]
    figure, axes = plt.subplots(1, len(panels), figsize=(3.2 * len(panels), 3.4), layout="constrained")
    for axis, (x, y) in zip(axes, panels, strict=True):
        for target in [target for target in TARGETS if any(row["target"] == target for row in rows)]:
            points = np.array([(r[x], r[y]) for r in rows if r["target"] == target and x in r and y in r])
            color, marker = styles[target]
            axis.loglog(*points.T, marker=marker, color=color, label=target)
        ticks = sorted({row[x] for row in rows if x in row})
        axis.set_xticks(ticks, [f"{round(t**0.5)}²" if x == "pixels" else str(t) for t in ticks])
        axis.minorticks_off()
        axis.set_xlabel(x)
        axis.set_ylabel({"s": "seconds a step", "MiB": "peak memory, MiB"}[y])
        axis.grid(alpha=0.3)
    axes[1].set_yscale("linear")
    axes[1].set_ylim(0, 1536)
    axes[0].legend()
    figure.savefig(PICTURES / f"{of_device('benchmark_scaling')}.png", dpi=120)


if __name__ == "__main__":
    main(tyro.cli(Config))
