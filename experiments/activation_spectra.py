"""Spectra of a SIREN's activations and gradients at initialization, layer by layer.

Claim (Sitzmann et al. 2020, Section 3.2 and supplement 1): with the paper's weights, the frequencies of the activations
grow slowly with depth, gradients neither vanish nor explode, and a shift of the inputs by 1000 changes nothing.

Theory, for many units and biases as in the authors' code: before the sine, a layer is a normal process with the
covariance R(τ) between points at the distance τ. For weights of variance gain/(n·omega²), with gain 2 for the paper,

    R' = gain·S + omega²/(3n),   S = exp(−R(0))·sinh R,   S = sin(omega·τ)/(2·omega·τ) after the first layer,

and the gradient with respect to a value before the sine has the covariance G = gain·G'·exp(−R(0))·cosh R. Hence the
slopes of the activations and the backpropagated gradient grow by √(1 + exp(−2·R(0))) per layer.

Result: theory and measurement agree in every layer. Ten layers of the paper's width of 2048 widen the spectrum from
4.5 to 16.5 cycles per coordinate, and the gradient grows by 1.06 per layer on its way back; shifted inputs give the
same. PyTorch's default weights multiply frequencies and gradients by omega/√6 = 12 per layer: white noise from the
third hidden layer on, and a gradient of 7e8. Without omega, they divide the gradient by √3 per layer, and nothing
oscillates.

Caveats: a growth of 1.06 per layer is slow but compounds, and 50 layers reach 200 cycles. The biases, which multiply
omega, leave more than half of the last layer's power in the units' means over [-1, 1], and five sixths at width 256.
The distribution of gradients before the sine is more peaked than a normal one, because they are products with cos z.

A bandwidth is the frequency below which 95 % of the power lies, under a Hann window over [-1, 1], without the means.

Expected, last layer of `paper`: bandwidth 16.5. Six minutes on two CPU cores:  python -m experiments.activation_spectra
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.figure import Figure
from numpy import ndarray
from scipy import stats

from experiments.run import Settings, make_folder, run, save_numbers
from siren_jax import SIREN, InputError, initializers
from siren_jax.networks.fast_sine import sine
from siren_jax.plot import COLORS

TILE = 256  # points evaluated at once: values and gradients of 51 layers of 2048 units stay below a gigabyte
SHOWN = 6  # number of layers in a figure
FAINTEST = -60  # lowest level in a figure, in decibels
MEAN = 2  # number of bins that a constant occupies in the spectrum under a Hann window


CASES = ("paper", "paper_shifted", "paper_unbiased", "paper_deep", "default", "default_omega_1")


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    out: Path = Path("out/experiments/activation_spectra")  # folder of the figures and of numbers.json
    cases: tuple[str, ...] = CASES  # cases to run
    width: int = 2048  # units of every layer, as in the paper
    depth: int = 10  # hidden layers after the first, as in the paper
    deep: int = 50  # hidden layers of the case paper_deep
    points: int = 2**14  # number of inputs, equally spaced in [-1, 1); as many as in the paper
    units: int = 64  # units of each layer whose spectra are averaged
    shift: float = 1000.0  # shift of the inputs in the case paper_shifted
    omega: float = 30.0  # omega of every layer
    seed: int = 0  # seed of the weights


QUICK = Config(width=1024, deep=30, points=2**12, quick=True)
SMOKE = Config(cases=("paper", "paper_shifted", "default"), width=256, depth=2, points=2**10, smoke=True)


class Layer(NamedTuple):
    """Values of one layer at all points: activations after the sine and gradients before it for some units, and the
    mean squared gradient of all units."""

    activation: ndarray
    gradient: ndarray
    squared_gradient: ndarray


def evaluate(network: SIREN, points: jax.Array, units: int) -> list[Layer]:
    """Activations of every sine layer, and gradients of the output from one pass of reverse mode."""

    @nnx.jit
    def evaluated(network: SIREN, tile: jax.Array) -> list[tuple[jax.Array, jax.Array, jax.Array]]:
        def output(shifts: list[jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
            h, activations = tile, []
            for layer, shift in zip(network.layers, shifts, strict=True):
                h = sine(layer.activation(h).before + shift)
                activations.append(h)
            return network.output(h).sum(), activations  # the output at a point depends only on its own values

        nothing = [jnp.zeros((len(tile), network.width))] * (network.depth + 1)
        gradients, activations = jax.grad(output, has_aux=True)(nothing)
        pairs = zip(activations, gradients, strict=True)
        return [(h[:, :units], g[:, :units], jnp.mean(g**2, axis=1)) for h, g in pairs]

    parts = [jax.device_get(evaluated(network, points[i : i + TILE])) for i in range(0, len(points), TILE)]
    return [Layer(*map(np.concatenate, zip(*layer, strict=True))) for layer in zip(*parts, strict=True)]


def window(n: int) -> ndarray:
    """Periodic Hann window of mean square 1. In a spectrum, a constant occupies only the bins 0 and 1."""
    return np.sqrt(8 / 3) * np.sin(np.pi * np.arange(n) / n) ** 2


def power(amplitudes: ndarray, n: int) -> ndarray:
    """Mean square in every bin of a real signal's spectrum, from the squared amplitudes; the sum is the total power."""
    folded = np.full(n // 2 + 1, 2.0)
    folded[0] = folded[-1] = 1.0
    return folded * amplitudes / n**2


def measured_power(values: ndarray) -> ndarray:
    """Power spectrum of signals of shape `(points, units)`, averaged over the units."""
    n = len(values)
    return power(np.mean(np.abs(np.fft.rfft(window(n)[:, None] * values, axis=0)) ** 2, axis=1), n)


def expected_power(covariance: ndarray) -> ndarray:
    """Expectation of `measured_power` for stationary signals with this covariance at the lags 0, 1, 2 …"""
    n = len(covariance)
    overlap = np.fft.irfft(np.abs(np.fft.rfft(window(n), 2 * n)) ** 2)[:n]
    return power(2 * np.fft.rfft(covariance * overlap, 2 * n).real[::2] - covariance[0] * overlap[0], n)


def covariances(lags: ndarray, gain: float, depth: int, width: int, omega: float) -> tuple[list[ndarray], list]:
    """Covariances of the activations and of the gradients, first layer first, in the limit of many units."""
    activations = [np.sinc(omega * lags / np.pi) / 2]
    factors = activations.copy()  # E cos z cos z'; equal to E sin z sin z' for the uniform phases of the first layer
    for _ in range(depth):
        r = gain * activations[-1] + omega**2 / (3 * width)
        rising, falling = np.exp(r - r[0]) / 2, np.exp(-r - r[0]) / 2
        activations.append(rising - falling)
        factors.append(rising + falling)
    gradients = [np.full_like(lags, gain / (width * omega**2))]  # the output layer's weights
    for i, factor in enumerate(reversed(factors)):
        gradients.append(factor * gradients[-1] * (gain if i else 1))
    return activations, gradients[:0:-1]


def bandwidth(spectrum: ndarray) -> float:
    """Cycles per coordinate below which 95 % of the power lies, without the mean; the bins are half a cycle apart."""
    below = np.cumsum(spectrum[MEAN:])
    return float(np.searchsorted(below, 0.95 * below[-1]) + MEAN) / 2


def describe(activation: ndarray, gradient: ndarray) -> dict[str, float]:
    """Numbers for a layer's two spectra; `varying` is the share of the activations' power beyond the means."""
    frequency = np.arange(len(activation)) / 2
    return {
        "bandwidth": bandwidth(activation),
        "centroid": float(frequency[MEAN:] @ activation[MEAN:] / activation[MEAN:].sum()),
        "varying": float(activation[MEAN:].sum() / activation.sum()),
        "gradient_bandwidth": bandwidth(gradient),
    }


def draw(name: str, layers: list[Layer], spectra: list[tuple], expected: list[tuple], path: Path) -> None:
    """Draws a row for some layers: the histogram of the gradients, and the spectra of activations and gradients."""
    shown = np.unique(np.linspace(0, len(layers) - 1, SHOWN).round().astype(int))
    figure = Figure(figsize=(11, 1.9 * len(shown) + 1), layout="constrained")
    axes = figure.subplots(len(shown), 3, squeeze=False, sharex="col")
    highest = 1.0
    for row, i in zip(axes, shown, strict=True):
        std = float(np.sqrt(layers[i].squared_gradient.mean()))
        x = np.linspace(-4, 4, 201)
        bins = {"bins": 80, "range": (-4, 4), "density": True}
        row[0].hist(layers[i].gradient.ravel() / std, **bins, color=COLORS[5], label="gradients, measured")
        row[0].plot(x, stats.norm.pdf(x), "k--", linewidth=1, label="N(0, 1)")
        row[0].set(ylabel=f"layer {i}\ndensity", xlim=(-4, 4))
        row[0].text(0.03, 0.93, f"std {std:.2g}", transform=row[0].transAxes, va="top", fontsize=9)
        for k, axis in enumerate(row[1:]):
            loudest = spectra[i][k][MEAN:].max()
            frequency = np.arange(len(spectra[i][k]))[MEAN:] / 2
            curves = [("spectrum, measured", spectra[i][k], {"color": COLORS[0]})]
            if expected:
                curves.append(("theory for many units", expected[i][k], {"color": COLORS[1], "linestyle": "--"}))
            for label, spectrum, style in curves:
                decibels = 10 * np.log10(np.maximum(spectrum[MEAN:] / loudest, 1e-12))
                axis.semilogx(frequency, decibels, label=label, **style)
                highest = max(highest, frequency[decibels > FAINTEST][-1])
            edge = bandwidth(spectra[i][k])
            axis.axvline(edge, color="0.4", linewidth=1, linestyle=":")
            axis.set(ylim=(FAINTEST, 12), ylabel="dB")
            style = {"ha": "right", "va": "top", "fontsize": 9, "bbox": {"color": "white", "pad": 1}}
            axis.text(0.97, 0.94, f"95 % below {edge:g}", transform=axis.transAxes, **style)
            axis.grid(alpha=0.3)
    titles = ("gradients before the sine / their std", "spectrum of activations", "spectrum of gradients")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    for axis in axes[-1, 1:]:
        axis.set(xlabel="cycles / coordinate", xlim=(1, 1.1 * highest))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    more_handles, more_labels = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles + more_handles, labels + more_labels, loc="outside lower center", ncols=4)
    figure.suptitle(f"A SIREN at initialization: {name.replace('_', ' ')}")
    figure.savefig(path, dpi=100)


def draw_growth(numbers: dict[str, dict[str, list[float]]], path: Path) -> None:
    """Draws bandwidth, varying share and gradient of every case, layer by layer."""
    figure = Figure(figsize=(14, 5), layout="constrained")
    titles = {
        "bandwidth": "95 % bandwidth [cycles / coordinate]",
        "varying": "share of the power that varies with x",
        "gradient_std": "std of the gradient before the sine",
    }
    axes = figure.subplots(1, 3)
    for axis, (key, title) in zip(axes, titles.items(), strict=True):
        for (name, rows), color, marker in zip(numbers.items(), COLORS, "osv^DX", strict=False):
            style = {"color": color, "fillstyle": "none", "markersize": 6, "linestyle": "none"}
            axis.plot(rows[key], marker=marker, label=name, **style)
            theory = f"expected_{key}" in rows
            axis.plot(rows[f"expected_{key}" if theory else key], color=color, linestyle="-" if theory else ":")
        axis.set_xscale("symlog", linthresh=10, linscale=3)
        axis.set(title=title, xlabel="layer", xticks=(ticks := [0, 2, 4, 6, 8, 10, 20, 50]), xticklabels=ticks)
        axis.set(xlim=(-0.5, max(len(rows[key]) for rows in numbers.values())))
        if key != "varying":
            axis.set_yscale("log")
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6)
    figure.suptitle(
        "Activations and gradients of a SIREN at initialization. Marks: measured; lines: theory; dotted: no theory"
    )
    figure.savefig(path, dpi=100)


def main(config: Config) -> dict[str, dict[str, list[float]]]:
    """Runs all cases; returns lists over the sine layers of each, first layer first."""
    if min(config.width, config.depth, config.deep, config.units) < 1 or config.points < 64 or config.points % 2:
        raise InputError("width, depth, deep and units must be at least 1, points even and at least 64; correct them.")
    if unknown := set(config.cases) - set(CASES):
        raise InputError(f"there are no cases {sorted(unknown)}; choose from {', '.join(CASES)}.")
    make_folder(config)
    default = initializers.pytorch_default()
    settings = {  # weights (None: the paper's), omega, hidden layers, shift, biases, gain (None: no theory)
        "paper": (None, config.omega, config.depth, 0.0, True, 2.0),
        "paper_shifted": (None, config.omega, config.depth, config.shift, True, 2.0),
        "paper_unbiased": (None, config.omega, config.depth, 0.0, False, None),
        "paper_deep": (None, config.omega, config.deep, 0.0, True, 2.0),
        "default": (default, config.omega, config.depth, 0.0, True, config.omega**2 / 3),
        "default_omega_1": (default, 1.0, config.depth, 0.0, True, None),
    }
    x = np.arange(config.points) * (2 / config.points)
    numbers = {}
    print(f"{'case':16} layer  bandwidth (theory)  varying  gradient std (theory)  bandwidth")
    for name in config.cases:
        kernel_init, omega, depth, shift, use_bias, gain = settings[name]
        network = SIREN(
            1,
            1,
            width=config.width,
            depth=depth,
            first_omega=omega,
            omega=omega,
            use_bias=use_bias,
            kernel_init=kernel_init,
            rngs=nnx.Rngs(config.seed),
        )
        layers = evaluate(network, jnp.asarray(x - 1 + shift, jnp.float32)[:, None], config.units)
        spectra = [(measured_power(layer.activation), measured_power(layer.gradient)) for layer in layers]
        rows = [describe(*pair) for pair in spectra]
        numbers[name] = {key: [row[key] for row in rows] for key in rows[0]}
        numbers[name]["gradient_std"] = [float(np.sqrt(layer.squared_gradient.mean())) for layer in layers]
        expected = []
        if gain:
            pairs = list(zip(*covariances(x, gain, depth, config.width, omega), strict=True))
            expected = [tuple(map(expected_power, pair)) for pair in pairs]
            rows = [describe(*pair) for pair in expected]
            numbers[name] |= {f"expected_{key}": [row[key] for row in rows] for key in rows[0]}
            numbers[name]["expected_gradient_std"] = [float(np.sqrt(gradient[0])) for _, gradient in pairs]
        for i in sorted({0, 1, depth // 2, depth}):
            row = {key: values[i] for key, values in numbers[name].items()}
            theory = row.get("expected_bandwidth", np.nan), row.get("expected_gradient_std", np.nan)
            print(
                f"{name:16}{i:6}{row['bandwidth']:11.1f} {f'({theory[0]:.1f})':8}{row['varying']:9.3f}"
                f"{row['gradient_std']:14.2e} {f'({theory[1]:.2e})':10}{row['gradient_bandwidth']:9.1f}"
            )
        draw(name, layers, spectra, expected, config.out / f"{name}.png")
    draw_growth(numbers, config.out / "by_layer.png")
    save_numbers(config, numbers)
    return numbers


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
