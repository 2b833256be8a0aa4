"""Distribution of a SIREN's activations at initialization, layer by layer, for four initializations.

Claim (Sitzmann et al. 2020, Section 3.2 and supplement 1): with hidden weights W ~ U(±√(6/n)/omega), every hidden layer
is N(0, 1) before the sine, and has the arcsine density 1/(π√(1 − y²)) after it, at any depth and for inputs shifted by
1000.

Result: hidden layers are normal and settle within two layers, also with 50 layers and with a shift of 1000. Their std
is not 1 in general. Var sin z = (1 − exp(−2σ²))/2 for z ~ N(0, σ²), and the biases of the authors' code add their own
variance, so σ² = 1 − exp(−2σ²) + omega²/(3n): the std σ is 1.008 at the paper's width of 2048, 1.469 at 256, and 0.893
at every width without biases. The distances of sin z from the arcsine law are 0.042, 0.004 and 0.065. The first layer,
with std 20, is not meant to be normal.

After the sine alone, the PyTorch default seems better, 0.003 from arcsine, because its std of 12 wraps around many
periods. But an error grows by omega/√6 = 12 per layer: after six layers, float32's rounding has replaced the function.
With the paper's weights it grows by √(1 + exp(−2σ²)) = 1.06: including each layer's own rounding, 35-fold in 50 layers,
to 2e-5. A shift of 1000 does not change the statistics. It costs the rounding of the inputs, an error of 1e-3.

Distances are Kolmogorov–Smirnov (KS) distances: to N(0, 1), for the claim; to the normal distribution of the measured
mean and std, for the shape alone; and to the arcsine law. Pooled values share their weights, so this is not a
significance test, and 0.01 is noise.

Expected, last layer of `paper`: std 1.01, KS 0.01, 0.003 and 0.044. About six minutes on two CPU cores.
"""

import dataclasses
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
from flax import nnx
from scipy import stats

from experiments.run import Settings, make_folder, run, save_numbers
from siren_jax import SIREN, InputError, initializers

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TILE = 512  # points evaluated at once: all layers of 2048 units stay well below a gigabyte


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    out: Path = Path("out/experiments/activation_statistics")  # folder of the figures and of numbers.json
    width: int = 2048  # units of every layer, as in the paper
    depth: int = 10  # hidden layers after the first, as in the paper
    deep: int = 50  # hidden layers of the case paper_deep
    points: int = 2**14  # number of inputs, drawn from U(-1, 1); as many as in the paper
    samples: int = 2**17  # number of values drawn at random from all units and points of a layer
    shift: float = 1000.0  # shift of the inputs in the case paper_shifted
    omega: float = 30.0  # omega of every layer
    seed: int = 0  # seed of weights, inputs and samples
    tensorboard: bool = False  # also write the histograms for TensorBoard, with the layer as the step


QUICK = Config(width=512, deep=20, points=2**12, quick=True)
SMOKE = Config(width=256, depth=2, deep=4, points=2**10, samples=2**15, smoke=True)


def settled_std(width: int, omega: float, *, use_bias: bool) -> float:
    """The fixed point σ of σ² = 1 − exp(−2σ²) + omega²/(3n); the last term is for biases only."""
    variance = 1.0
    for _ in range(100):  # near the fixed point, the map contracts by 0.41 or less
        variance = 1 - np.exp(-2 * variance) + use_bias * omega**2 / (3 * width)
    return float(np.sqrt(variance))


def sample_layers(network: SIREN, points: jax.Array, config: Config) -> list[np.ndarray]:
    """Values of every sine layer before (row 0) and after the sine (row 1), drawn from all units and points."""
    tiles = jnp.array_split(points, -(-len(points) // TILE))
    keys = jax.random.split(jax.random.key(config.seed + 1), len(tiles))

    @nnx.jit
    def sampled(network: SIREN, tile: jax.Array, key: jax.Array) -> list[jax.Array]:
        i = jax.random.randint(key, (-(-config.samples // len(tiles)),), 0, len(tile) * config.width)
        return [jnp.stack([a.before.ravel()[i], a.after.ravel()[i]]) for a in network.activations(tile)[:-1]]

    parts = [jax.device_get(sampled(network, tile, key)) for tile, key in zip(tiles, keys, strict=True)]
    return [np.concatenate(layer, axis=1) for layer in zip(*parts, strict=True)]


def float32_error(network: SIREN, points: jax.Array, shift: float) -> list[float]:
    """Root mean square difference of float32 and float64 after each sine, including the rounding of the input."""
    single = [np.asarray(a.after) for a in network.activations(points + jnp.float32(shift))[:-1]]
    with jax.enable_x64():
        double = [np.asarray(a.after) for a in network.activations(jnp.asarray(points, jnp.float64) + shift)[:-1]]
    return [float(np.sqrt(np.mean((a - b) ** 2))) for a, b in zip(single, double, strict=True)]


def describe(before: np.ndarray, after: np.ndarray) -> dict[str, float]:
    """Mean and std before the sine, and the KS distances from the distributions in the paper."""
    mean, std = before.mean(dtype=float).item(), before.std(dtype=float).item()
    laws = {
        "ks_standard_normal": (before, stats.norm()),
        "ks_fitted_normal": (before, stats.norm(mean, std)),
        "ks_arcsine": (after, stats.arcsine(-1, 2)),
    }
    distances = {name: stats.kstest(x, law.cdf, method="asymp")[0].item() for name, (x, law) in laws.items()}
    return {"mean": mean, "std": std} | distances


def draw(name: str, layers: list[np.ndarray], rows: list[dict[str, float]], path: Path) -> None:
    """Draws two histograms for each layer, before and after the sine; at most eleven layers."""
    shown = np.unique(np.linspace(0, len(layers) - 1, 11).round().astype(int))
    figure, axes = plt.subplots(len(shown), 2, figsize=(9, 1.5 * len(shown) + 1), layout="constrained", squeeze=False)
    for (left, right), i in zip(axes, shown, strict=True):
        (before, after), row = layers[i], rows[i]
        limit = max(np.quantile(np.abs(before), 0.999), 1e-3)
        for axis, values, edge, tallest in ((left, before, limit, np.inf), (right, after, 1.0, 4.0)):
            kind = {"histtype": "stepfilled", "color": "#56B4E9", "label": "measured"}
            height = axis.hist(values, 100, range=(-edge, edge), density=True, **kind)[0].max()
            # N(0, 1) is shown in full if it is as wide as the data; otherwise it is a spike.
            axis.set(xlim=(-edge, edge), ylim=(0, min(1.15 * max(height, 0.4 * (edge < 10)), tallest)))
        x, y = np.linspace(-limit, limit, 401), np.linspace(-0.999, 0.999, 401)
        left.plot(x, stats.norm.pdf(x), color="#D55E00", label="the paper's law: N(0, 1), arcsine")
        left.plot(x, stats.norm.pdf(x, row["mean"], row["std"]), "k--", label="normal of the measured mean and std")
        right.plot(y, stats.arcsine.pdf(y, -1, 2), color="#D55E00")
        right.set_xticks([-1, -0.5, 0, 0.5, 1])
        left.set_ylabel(f"layer {i}\ndensity")
        normal = (
            f"std {row['std']:.3g}\nKS N(0, 1) {row['ks_standard_normal']:.3f}\nKS fitted {row['ks_fitted_normal']:.3f}"
        )
        for axis, text, at in ((left, normal, "left"), (right, f"KS arcsine {row['ks_arcsine']:.3f}", "center")):
            style = {"ha": at, "va": "top", "fontsize": 8, "bbox": {"color": "white", "alpha": 0.8, "pad": 1}}
            axis.text(0.02 if at == "left" else 0.5, 0.93, text, transform=axis.transAxes, **style)
    axes[0, 0].set_title("before the sine")
    axes[0, 1].set_title("after the sine")
    axes[-1, 0].set_xlabel("omega·(Wh + b) [radians]")
    axes[-1, 1].set_xlabel("sin(omega·(Wh + b))")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8)
    figure.suptitle(f"Activations of a SIREN at initialization: {name}")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def tensorboard_writer(folder: Path):
    try:
        from tensorboardX import SummaryWriter
    except ImportError:
        raise InputError("--tensorboard needs tensorboardX: pip install 'siren-jax[tensorboard]'.") from None
    shutil.rmtree(folder, ignore_errors=True)  # TensorBoard would overlay the events of two runs
    return SummaryWriter(str(folder))


def main(config: Config) -> dict[str, dict[str, list[float]]]:
    """Runs all cases; returns lists over the sine layers of each, first layer first."""
    if min(config.width, config.depth, config.deep, config.points, config.samples) < 1:
        raise InputError("width, depth, deep, points and samples must be at least 1; give positive numbers.")
    make_folder(config)
    writer = tensorboard_writer(config.out / "tensorboard") if config.tensorboard else None

    cases = {  # weights (None: the paper's), hidden layers, shift, biases
        "ones": (initializers.ones, config.depth, 0.0, True),
        "identity": (initializers.identity(), config.depth, 0.0, True),
        "default": (initializers.pytorch_default(), config.depth, 0.0, True),
        "paper": (None, config.depth, 0.0, True),
        "paper_unbiased": (None, config.depth, 0.0, False),
        "paper_shifted": (None, config.depth, config.shift, True),
        "paper_deep": (None, config.deep, 0.0, True),
    }
    points = jax.random.uniform(jax.random.key(config.seed), (config.points, 1), jnp.float32, -1, 1)
    numbers = {}
    print(f"{'case':15} layer        std  settled  KS N(0,1)  KS fitted KS arcsine  float32 error")
    for name, (kernel_init, depth, shift, use_bias) in cases.items():
        network = SIREN(
            1,
            1,
            width=config.width,
            depth=depth,
            first_omega=config.omega,
            omega=config.omega,
            use_bias=use_bias,
            kernel_init=kernel_init,
            rngs=nnx.Rngs(config.seed),
        )
        layers = sample_layers(network, points + jnp.float32(shift), config)
        rows = [describe(*layer) for layer in layers]
        errors = float32_error(network, points[:256], shift)
        numbers[name] = {key: [row[key] for row in rows] for key in rows[0]} | {"float32_error": errors}
        settled = f"{settled_std(config.width, config.omega, use_bias=use_bias):.3f}" if kernel_init is None else "-"
        for i in sorted({0, 1, depth}):
            _, std, normal, fitted, arcsine = rows[i].values()
            print(f"{name:15}{i:6}{std:11.4g}{settled:>9}{normal:11.3f}{fitted:11.3f}{arcsine:11.3f}{errors[i]:15.1e}")
        draw(name, layers, rows, config.out / f"{name}.png")
        if writer:
            for i, (before, after) in enumerate(layers):
                writer.add_histogram(f"{name}/before the sine", before, i)
                writer.add_histogram(f"{name}/after the sine", after, i)
    if writer:
        writer.close()
    save_numbers(config, numbers)
    return numbers


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
