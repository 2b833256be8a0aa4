"""Digits as networks: a classifier that sees only the weights, compared with pixels and their principal components.

Not in the paper. Every digit gets a small SIREN with `fit_many`. Logistic regression and a small MLP of scikit-learn
learn the label from its parameters, for each way in which the networks may share layers or a start, see `fit_many`. The
same classifiers learn the label from the pixels and from principal components of the training pixels ("PCA 16"), which
are also a code of a digit with a PSNR. All inputs are standardised. The regularisation of each classifier is chosen on
a fifth of the training digits, and the accuracy is that on the test digits. The fit of a digit sees neither labels nor
other digits.

Expected: networks that share nothing are classified hardly better than by chance, because equal functions have their
units in another order. With a common start, most labels are found. The pixels remain better, and principal components
need fewer numbers.

`python -m experiments.neural_dataset`: the 1,797 digits of 8 x 8 pixels that scikit-learn brings, in five minutes on
two CPU cores. With `--digits digits.npz --width 32 --first-omega 20` for those of `experiments/digits.py`. It needs
scikit-learn, which is in the extra `dev`.
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy import ndarray

from experiments.classifiers import CLASSIFIERS, accuracies, principal
from experiments.digits import labelled, require_scikit_learn
from experiments.run import Settings, make_folder, run, save_numbers
from siren_jax import SIREN, InputError, Signals, fit_many
from siren_jax.plot import COLORS
from siren_jax.sets.joint_descent import Share


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    out: Path = Path("out/experiments/neural_dataset")  # folder of the figure and of numbers.json
    digits: str | None = None  # .npz file of other digits, see experiments/digits.py
    count: int = 10_000  # number of digits, if there are as many
    quality: float = 40.0  # PSNR in dB at which the fit of a digit ends
    shares: tuple[Share, ...] = ("none", "start", "first", "trunk")  # what the networks have in common, see `fit_many`
    width: int = 16  # units of a hidden layer
    depth: int = 2  # hidden layers after the first
    first_omega: float = 10.0  # omega of the first layer
    components: tuple[int, ...] = (16, 32, 64)  # numbers of principal components, if there are more pixels
    hidden: int = 64  # units of the MLP
    train: float = 0.8  # share of the digits for training
    seed: int = 0  # seed of weights, split and classifiers


QUICK = Config(count=600, quick=True)
SMOKE = Config(count=60, quality=15.0, width=4, depth=1, components=(4,), hidden=4, smoke=True)


def main(config: Config) -> dict[str, dict[str, float]]:
    """For every code of the digits: numbers per digit, mean PSNR of the test digits, and accuracies."""
    if not config.shares or min(config.width, config.depth, config.hidden, *config.components) < 1:
        raise InputError("width, depth, hidden and components must be at least 1, and shares not empty.")
    require_scikit_learn()
    make_folder(config)
    images, labels = labelled(config.digits, config.count)
    signals = Signals(images, labels=labels.tolist())
    train, test = (
        np.array([int(name) for name in part.names]) for part in signals.split(config.train, seed=config.seed)
    )
    print(
        f"{len(train):,} digits of {images.shape[1]} x {images.shape[2]} pixels for training, {len(test):,} for tests"
    )

    numbers, pixels = {}, images.reshape(len(images), -1).astype(np.float64)
    print(f"{'code':24} {'numbers':>7} {'PSNR':>7} {'logistic':>9} {'MLP':>6}", flush=True)

    def judge(name: str, code: Float[ndarray, "n k"], psnr: Float[ndarray, "n"] | None) -> None:
        row = {"numbers": code.shape[1]} | ({} if psnr is None else {"psnr": float(psnr[test].mean())})
        numbers[name] = row | accuracies(code, labels, train, test, hidden=config.hidden, seed=config.seed)
        decibels = "exact" if psnr is None else f"{row['psnr']:.1f} dB"
        found = [f"{100 * numbers[name][each]:.1f} %" for each in CLASSIFIERS]
        print(f"{name:24} {row['numbers']:7} {decibels:>7} {found[0]:>9} {found[1]:>6}", flush=True)

    judge("pixels", pixels, None)
    for count in config.components:
        if count < min(pixels.shape[1], len(train)):
            judge(f"PCA {count}", *principal(pixels, train, count))
    sizes = {"width": config.width, "depth": config.depth, "first_omega": config.first_omega}
    for share in config.shares:
        fields = fit_many(
            signals,
            lambda rngs: SIREN(2, 1, **sizes, weight_scale=2.0, rngs=rngs),
            key=jax.random.key(config.seed),
            quality=config.quality,
            share=share,
        )
        judge(f"networks, {share}", fields.arrays()[0], fields.quality)
    draw(numbers, config)
    save_numbers(config, numbers)
    return numbers


def draw(numbers: dict[str, dict[str, float]], config: Config) -> None:
    """Draws the accuracies of both classifiers, with a row for each code."""
    figure = Figure(figsize=(8, 1.6 + 0.5 * len(numbers)), layout="constrained")
    axis = figure.subplots()
    rows = np.arange(len(numbers))
    axis.hlines(rows, 0, 100, color="0.9", zorder=0)
    styles = {"logistic": {"marker": "o"}, "mlp": {"marker": "s", "markersize": 11, "fillstyle": "none", "mew": 2}}
    for each, color in zip(CLASSIFIERS, COLORS, strict=False):
        found = [100 * row[each] for row in numbers.values()]
        axis.plot(found, rows, color=color, label=CLASSIFIERS[each], linestyle="", **styles[each])
    axis.axvline(10, color="0.4", linestyle=":", label="chance")
    quality = lambda row: f"mean PSNR {row['psnr']:.0f} dB" if "psnr" in row else "exact"
    axis.set_yticks(rows, [f"{name}\n{row['numbers']:,} numbers, {quality(row)}" for name, row in numbers.items()])
    axis.set(
        xlim=(0, 102),
        ylim=(len(rows) - 0.5, -0.5),
        xlabel="test digits with the right label, %",
        title="The label of a digit from its code",
    )
    figure.legend(loc="outside lower center", ncols=3)
    figure.savefig(config.out / "neural_dataset.png", dpi=110)


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
