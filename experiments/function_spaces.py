"""Pictures completed from a few pixels: an encoder makes a code of them, and a hypernetwork a SIREN of the code.

Claim (Sitzmann et al. 2020, Section 4.4): set or convolutional encoders with a hypernetwork learn a space of SIRENs,
and complete pictures from known pixels at least as well as a Conditional Neural Process (CNP; Garnelo et al. 2018).
Beside them: the space of `siren_jax.learn` after the same time, where Gauss-Newton steps find the codes; nearest pixels
and biharmonic inpainting, which learn nothing. Errors are mean squares over test pictures, for values from 0 to 1.

Expected: both encoders with a hypernetwork have lower errors than the CNP, from a few known pixels slightly, from many
by half. From few known pixels, they are far better than biharmonic inpainting, from many of 28 x 28 pixels worse: their
pictures need not agree with the known pixels. After equal times, the mean of `learn` is better than both on digits of
28 x 28 pixels; on those of 8 x 8 pixels it is about as good from 6 known pixels, and the encoders are better from more.

Sizes and times are far smaller than the paper's, which has photographs of faces of 32 x 32 pixels. The authors' code
has `--width 256 --depth 3 --first-omega 30 --latent 256 --units 256 --hidden 1 --filters 128 --window 3 --channels 256
--blocks 4 --kernel 5 --batch 100 --points 1024 --rate 5e-5 --conv-rate 5e-5 --weight-weight 100 --context 10 200
--known 10 100 1000`.

`python -m experiments.function_spaces`: the 1,797 digits of 8 x 8 pixels that scikit-learn brings, in ten minutes of
processor time. With `--data digits.npz --known 10 100 300 --latent 64 --first-omega 20` for those of
`experiments/digits.py`; other collections are in `experiments/small_pictures.py`.
"""

import dataclasses
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from numpy import ndarray

from experiments.completers import Completer, completers
from experiments.equal_time import Training, learned, trained
from experiments.known_pixels import Tests, biharmonic, errors, nearest, split
from experiments.run import Settings, make_folder, run, save_numbers
from experiments.small_pictures import read
from siren_jax import InputError
from siren_jax.plot.missing_pixels import MISSING


@dataclasses.dataclass(frozen=True)
class Config(Training, Settings):
    out: Path = Path("out/experiments/function_spaces")  # folder of the figure and of numbers.json
    data: str = "digits"  # "digits", "faces", "photographs", or an .npz file, see experiments/digits.py
    count: int = 10_000  # number of pictures, if there are as many
    tests: int = 50  # number of them for tests, at most a tenth


QUICK = Config(minutes=0.3, tests=20, quick=True)
SMOKE = Config(
    data="faces",
    count=40,
    tests=2,
    minutes=1e-3,
    known=(20, 60),
    latent=4,
    width=8,
    depth=0,
    units=8,
    cnp_units=8,
    smoke=True,
)


def main(config: Config) -> dict[str, dict[str, float]]:
    """For each method: mean squared errors over all and over unknown pixels, for each number of known pixels."""
    if min(config.width, config.units, config.latent, config.batch, config.points, config.tests) < 1:
        raise InputError("width, units, latent, batch, points and tests must be at least 1; correct the settings.")
    pictures = read(config.data)[: config.count]
    count, h, w, _ = pictures.shape
    if not config.known or not 1 <= min(config.known) <= max(*config.known, *(config.context or (1,))) < h * w:
        raise InputError(f"known and context must be numbers of pixels from 1 to {h * w - 1}; correct the settings.")
    if config.latent >= min(0.8 * count, pictures[0].size):
        raise InputError(
            f"latent must be less than the {pictures[0].size} numbers of a picture and 0.8 times the {count} pictures, "
            f"but is {config.latent}; correct the settings."
        )
    make_folder(config)
    train, tests = split(pictures, config.tests, config.known, seed=config.seed)
    print(f"{len(train):,} pictures of {h} x {w} pixels for training, {len(tests.truth)} for tests")
    print(
        f"{'squared error x 1,000, all / unknown':36}" + "".join(f"{f'{n} known':>16}" for n in config.known),
        flush=True,
    )
    numbers, shown = {}, {}
    for name, completed, about in methods(config, train, tests):
        numbers[name], shown[name], cells = dict(about), completed, ""
        for n, (over_all, over_unknown) in zip(config.known, errors(completed, tests), strict=True):
            numbers[name] |= {f"mse_{n}": over_all, f"unknown_mse_{n}": over_unknown}
            cells += f"{f'{1e3 * over_all:.1f} / {1e3 * over_unknown:.1f}':>16}"
        steps = f"   {about['steps']:,} steps in {about['seconds']:.0f} s" if about else ""
        print(f"{name:36}{cells}{steps}", flush=True)
    draw(tests, shown, config)
    save_numbers(config, numbers)
    return numbers


def methods(
    config: Config, train: UInt8[ndarray, "n h w c"], tests: Tests
) -> Iterator[tuple[str, Float[ndarray, "k m h w c"], dict[str, Any]]]:
    """Name of each method, its completions for each number of known pixels, and its steps and seconds."""
    truth, pixels, unknown = tests
    yield "nearest pixel", nearest(tests), {}
    yield "biharmonic", biharmonic(tests), {}
    for name, (completer, rate) in completers(config, truth.shape[1:]).items():
        completer, about = trained(completer, train, rate, config)
        complete = jax.jit(jax.vmap(Completer.picture, (None, 0, 0, None)))
        yield name, np.stack([complete(completer, 2 * truth - 1, pixels, n) for n in config.known]) / 2 + 0.5, about
    base, about = learned(train, config)
    complete = lambda picture, away: base.complete(picture, ~away, key=jax.random.key(config.seed))
    found = [[complete(*pair) for pair in zip(truth, row, strict=True)] for row in unknown]
    yield "learn, most likely", np.array([[one.field.render() for one in row] for row in found]), about
    yield "learn, mean", np.array([[one.mean for one in row] for row in found]), about


def draw(tests: Tests, shown: dict[str, Float[ndarray, "k m h w c"]], config: Config) -> None:
    """Draws up to three test pictures: the known pixels, the completions, and the truth."""
    rows = [(i, row) for i in range(min(3, len(tests.truth))) for row in range(len(config.known))]
    figure = Figure(figsize=(1.3 * (len(shown) + 2), 1.35 * len(rows) + 0.5), layout="constrained")
    colour = lambda picture: np.clip(np.broadcast_to(picture, (*picture.shape[:2], 3)), 0, 1)
    for axes, (i, row) in zip(figure.subplots(len(rows), len(shown) + 2), rows, strict=True):
        truth = colour(tests.truth[i])
        panels = {"known": np.where(tests.unknown[row, i][..., None], MISSING, truth)}
        panels |= {name: colour(completed[row, i]) for name, completed in shown.items()} | {"truth": truth}
        for axis, (name, panel) in zip(axes, panels.items(), strict=True):
            axis.imshow(panel, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            if (i, row) == rows[0]:
                axis.set_title("\n".join(textwrap.wrap(name, 14)), fontsize=9)
        axes[0].set_ylabel(f"{config.known[row]} pixels", fontsize=9)
    figure.savefig(config.out / "function_spaces.png", dpi=110)


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
