"""Outside its training range, a SIREN resembles noise that neither grows nor fades; ReLU grows, tanh becomes constant.

Claim about the networks of Sitzmann et al. 2020: periodic activations do not make a SIREN periodic. The frequencies of
its first layer have no common period, so it is an almost periodic function: far from its training range, it neither
grows nor fades, and does not repeat what it has learned. A ReLU network becomes linear, a tanh network constant.

Result: std and bandwidth of a SIREN are the same from the first window of width 2 outside to the fourth. However, they
are not those of the signal: the std is a third of the signal's, and the bandwidth half of it. The function outside does
not continue the signal. A possible explanation, which is not tested: the fit aligns the phases of the units on [-1, 1];
elsewhere the phases are random.

Five networks of each kind learn one row of the camera picture, 512 pixels. Expected for SIREN / ReLU / tanh: 54 / 22 /
22 dB inside; std of 0.55 inside and, in the fourth window outside, 0.17 / 0.17 / 0.006, where the root mean square is
0.24 / 2.9 / 0.27. In a SIREN, the stretch outside that is most similar to the row has a correlation of 0.61 with it
(mean of five); a repetition would have 1.

Four minutes on two CPU cores:  python -m experiments.outside_the_range
"""

import dataclasses
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import skimage.data
from flax import nnx
from matplotlib.figure import Figure
from numpy import ndarray

from experiments.activation_spectra import MEAN, bandwidth, measured_power
from experiments.baselines import TanhMLP
from experiments.run import Settings, make_folder, run, save_numbers
from siren_jax import SIREN, InputError, ReLUMLP, SampleDataset, fit, supervise
from siren_jax.metrics import psnr
from siren_jax.plot import COLORS

FINE = 4  # evaluations between neighbouring samples


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    out: Path = Path("out/experiments/outside_the_range")  # folder of the figures and of numbers.json
    width: int = 256  # units of a hidden layer
    depth: int = 3  # hidden layers after the first
    omega: float = 30.0  # omega of every layer
    steps: int = 1000  # steps for each network
    windows: int = 4  # number of windows of width 2 on either side of the training range [-1, 1]
    seeds: int = 5  # number of networks of each kind; the numbers are their means


QUICK = Config(width=128, steps=500, seeds=2, quick=True)
SMOKE = Config(width=64, depth=1, steps=20, windows=2, seeds=1, smoke=True)


def describe(values: ndarray, samples: int) -> dict[str, list[float]]:
    """Std, root mean square and bandwidth of the windows at each distance, averaged over both sides.

    The training range comes first.
    """
    parts = values.reshape(-1, samples)
    middle = len(parts) // 2
    rows = {
        "std": parts.std(axis=1),
        "rms": np.sqrt(np.mean(parts**2, axis=1)),
        "bandwidth": np.array([bandwidth(measured_power(part[:, None])) for part in parts]),
    }
    return {key: [float(row[[middle - k, middle + k]].mean()) for k in range(middle + 1)] for key, row in rows.items()}


def likeness(values: ndarray, samples: int) -> float:
    """Largest correlation of the training range with any stretch of its length outside; 1 for a repetition."""
    before, after = (len(values) - samples) // 2, (len(values) + samples) // 2
    inside = values[before:after] - values[before:after].mean()
    greatest = 0.0
    for side in (values[:before], values[after:]):
        std = np.lib.stride_tricks.sliding_window_view(side, samples).std(axis=1)
        covariance = np.abs(np.correlate(side, inside, "valid")) / samples
        greatest = max(greatest, float(np.max(covariance / np.maximum(std * inside.std(), 1e-9))))
    return greatest


def draw(x: ndarray, values: dict[str, list[ndarray]], samples: int, numbers: dict, path: Path) -> None:
    """Draws a row for each kind: one network's values, spectra inside and outside, and the size at every distance."""
    figure = Figure(figsize=(14, 8), layout="constrained")
    rows = figure.subplots(len(values), 3, width_ratios=(2.2, 1, 1), sharex="col")
    for row, (name, runs) in zip(rows, values.items(), strict=True):
        row[0].axvspan(-1, 1, color="0.85", label="training range")
        row[0].plot(x, runs[0], color=COLORS[0], linewidth=0.6)
        row[0].set(ylabel=f"{name}\nvalue", xlim=(x[0], x[-1]))
        parts = np.concatenate([run.reshape(-1, samples) for run in runs]).T
        inside = np.arange(parts.shape[1]) % (parts.shape[1] // len(runs)) == parts.shape[1] // len(runs) // 2
        for label, chosen, color, style in (("inside", inside, COLORS[0], "-"), ("outside", ~inside, COLORS[1], "--")):
            spectrum = measured_power(parts[:, chosen])[MEAN:]
            frequency = (np.arange(len(spectrum)) + MEAN) / 2
            row[1].loglog(frequency, np.maximum(spectrum, 1e-12), style, color=color, label=label)
        row[1].set(ylabel="power", xlim=(1, 256), ylim=(1e-9, 2))
        for key, color, marker in (("std", COLORS[0], "o-"), ("rms", COLORS[1], "s--")):
            row[2].semilogy(numbers[name][key], marker, color=color, label={"rms": "root mean square"}.get(key, key))
        row[2].set(ylabel="value", xticks=range(len(numbers[name]["std"])), ylim=(3e-3, 20))
        for axis in row:
            axis.grid(alpha=0.3)
    rows[0, 0].legend(loc="upper right")
    rows[0, 1].legend()
    rows[0, 2].legend(loc="upper right")
    rows[0, 0].set_title("one network")
    rows[0, 1].set_title("spectrum in windows of width 2")
    rows[0, 2].set_title("size, mean of all networks")
    for axis, label in zip(rows[-1], ("x", "cycles / coordinate", "windows from the training range"), strict=True):
        axis.set_xlabel(label)
    figure.suptitle("Trained on [-1, 1], a row of a picture: what follows outside")
    figure.savefig(path, dpi=100)


def main(config: Config) -> dict[str, dict]:
    """Fits all networks; returns means over the seeds, as lists over the distances, with the training range first."""
    if min(config.width, config.steps, config.windows, config.seeds) < 1:
        raise InputError("width, steps, windows and seeds must be at least 1; correct the settings.")
    make_folder(config)
    dataset = SampleDataset(skimage.data.camera()[256, :, None])
    samples, windows = FINE * len(dataset), 2 * config.windows + 1
    x = (np.arange(windows * samples) + 0.5) * 2 / samples - windows
    points = jnp.concatenate([dataset.coordinates, jnp.asarray(x, jnp.float32)[:, None]])
    kinds = {
        "siren": partial(SIREN, first_omega=config.omega, omega=config.omega),
        "relu": ReLUMLP,
        "tanh": TanhMLP,
    }
    values, numbers = {}, {}
    for name, kind in kinds.items():
        runs, rows = [], []
        for seed in range(config.seeds):
            network = fit(
                kind(1, 1, width=config.width, depth=config.depth, rngs=nnx.Rngs(seed)),
                supervise("value"),
                dataset.sampler(len(dataset)),
                key=jax.random.key(seed),
                steps=config.steps,
            ).network
            fitted, outside = np.split(np.asarray(_evaluate(network, points)), [len(dataset)])
            runs.append(outside[:, 0])
            quality = {"psnr": psnr(fitted, dataset.value), "likeness": likeness(runs[-1], samples)}
            rows.append(describe(runs[-1], samples) | quality)
        values[name] = runs
        numbers[name] = {key: np.mean([row[key] for row in rows], axis=0).tolist() for key in rows[0]}
        for key, value in numbers[name].items():
            print(f"{name:6} {key:10}", np.array2string(np.array(value), precision=3), flush=True)
    draw(x, values, samples, numbers, config.out / "outside_the_range.png")
    save_numbers(config, numbers)
    return numbers


_evaluate = jax.jit(lambda network, points: network(points))

if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
