"""Time and memory of a training step: ours, plain JAX, PyTorch as in the authors' tutorial, and `torch.compile`.

Peers take turns, and a row has the median of several rounds. All start from the same weights, and their losses are
compared before anything is timed. "share %" is the time of the step's matrix products, at the rate of a matrix product
that is measured in the same rounds, divided by the time of our step. Peak memory is measured in a separate process.

`python -m benchmarks.step`: 45 minutes on two cores; `--sizes 128 --rounds 5 --no-memory`: 5 minutes.
"""

import json
import subprocess
import sys
from dataclasses import dataclass

import jax
import matplotlib.pyplot as plt
import numpy as np
import tyro

from benchmarks.measure import PICTURES, RESULTS, interleaved, matrix_product, of_device, publish
from benchmarks.peers import PEERS, TARGETS, dataset, network

# The largest picture of a peer: a larger one needs over 16 GiB or a minute per step.
LARGEST = {
    "plain JAX": {"values": 512, "gradient": 256, "laplacian": 128, "mixed": 128},
    "PyTorch": {"values": 512, "gradient": 256, "laplacian": 256, "mixed": 256},
    "torch.compile": {"values": 512},
}
STREAMS = {"values": 1, "gradient": 2, "laplacian": 4, "mixed": 4}
"""Matrix products in a layer's forward pass: reverse mode for the gradient, [h; J; ℓ] for the Laplacian."""


@dataclass(frozen=True)
class Config:
    sizes: tuple[int, ...] = (64, 128, 256, 512, 1024)
    """Pixels along each side."""
    targets: tuple[str, ...] = tuple(TARGETS)
    rounds: int = 7
    """Rounds of every peer; at most three from 256 pixels on."""
    count: int = 1
    """Steps per call, between two readings of the loss; `fit` takes those of half a second. On a GPU, a call costs
    about 2 ms."""
    memory: bool = True
    """Whether to measure the peak memory."""
    update: bool = False
    """Whether to keep the rows of the previous run that this run does not measure, if its `count` was the same."""


def main(config: Config) -> list[dict]:
    rows = []
    on_gpu = jax.default_backend() != "cpu"
    for size in config.sizes:
        data = dataset(size)
        for target in config.targets:
            peers = [p for p in PEERS if p == "ours" or size <= LARGEST[p].get(target, 0)]
            steps = {peer: PEERS[peer](data, target, count=config.count) for peer in peers}
            check_equality(steps)
            rounds = config.rounds if size < 256 else min(3, config.rounds)
            product, flops = matrix_product()
            seconds = interleaved({**steps, "product": product}, rounds=rounds, warm=True)
            rate = flops / seconds.pop("product")
            seconds = {peer: each / config.count for peer, each in seconds.items()}
            row: dict[str, object] = {"target": target, "size": size}
            row |= {f"{peer} s": seconds[peer] for peer in peers}
            row |= {f"ours / {peer}": seconds[peer] / seconds["ours"] for peer in peers[1:]}
            row["GFLOP/s of a product"] = round(rate / 1e9)
            row["s of the products"] = arithmetic(target, size) / rate
            row["share %"] = round(100 * row["s of the products"] / seconds["ours"])
            if config.memory and not on_gpu:  # the memory of a GPU is not measured
                row |= {f"{peer} MiB": peak_memory(peer, target, size) for peer in peers}
            rows.append(row)
            print(row, flush=True)
    if config.update:
        anew = {(row["target"], row["size"]) for row in rows}
        earlier = json.loads((RESULTS / f"{of_device('step')}.json").read_text())
        if earlier["settings"].get("count", 1) == config.count:
            rows += [row for row in earlier["rows"] if (row["target"], row["size"]) not in anew]
        rows.sort(key=lambda row: (row["size"], list(TARGETS).index(row["target"])))
    publish("step", rows, config)
    draw(rows)
    return rows


def check_equality(steps: dict) -> None:
    """Checks that two losses of all peers agree: the same weights, the same loss, the same update."""
    losses = {peer: [step() for _ in range(2)] for peer, step in steps.items()}
    for peer, values in losses.items():
        np.testing.assert_allclose(values, losses["ours"], rtol=1e-3, err_msg=f"{peer} computes something else")


def arithmetic(target: str, size: int) -> float:
    """FLOPs of a step: one product per layer forwards and two backwards, for every stream."""
    net = network()
    return 3 * 2 * net.depth * net.width**2 * STREAMS[target] * size**2


def peak_memory(peer: str, target: str, size: int) -> int:
    command = [sys.executable, "-m", "benchmarks.peers", peer, target, str(size)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def draw(rows: list[dict]) -> None:
    colours = {"ours": "#0072B2", "plain JAX": "#E69F00", "PyTorch": "#D55E00", "torch.compile": "#CC79A7"}
    markers = {"ours": "o", "plain JAX": "s", "PyTorch": "^", "torch.compile": "v"}
    targets = list(dict.fromkeys(row["target"] for row in rows))
    figure, axes = plt.subplots(1, len(targets), figsize=(3.2 * len(targets), 3.4), sharey=True, layout="constrained")
    axes = np.atleast_1d(axes)
    for axis, target in zip(axes, targets, strict=True):
        for peer, colour in colours.items():
            points = [(r["size"], r[f"{peer} s"]) for r in rows if r["target"] == target and f"{peer} s" in r]
            if points:
                axis.loglog(*zip(*points, strict=True), marker=markers[peer], color=colour, label=peer)
        alone = [(r["size"], r["s of the products"]) for r in rows if r["target"] == target]
        axis.loglog(*zip(*alone, strict=True), color="grey", linestyle="--", label="products alone")
        sizes = sorted({row["size"] for row in rows})
        axis.set_xticks(sizes, [f"{size}²" for size in sizes])
        axis.minorticks_off()
        axis.set_title(target)
        axis.set_xlabel("pixels")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("seconds a training step")
    axes[-1].legend(*axes[0].get_legend_handles_labels(), loc="lower right")
    figure.savefig(PICTURES / f"{of_device('benchmark_step')}.png", dpi=120)


if __name__ == "__main__":
    main(tyro.cli(Config))
