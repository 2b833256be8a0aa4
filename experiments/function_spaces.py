"""Pictures completed from a few pixels: an encoder makes a code of them, and a hypernetwork a SIREN of the code.

Claim (Sitzmann et al. 2020, Section 4.4): set or convolutional encoders with a hypernetwork learn a space of SIRENs,
and complete pictures from known pixels at least as well as a Conditional Neural Process (CNP; Garnelo et al. 2018).
Beside them: the space of `siren_jax.learn` after the same time, where Gauss-Newton steps find the codes; nearest pixels
and biharmonic inpainting, which learn nothing. Errors are mean squares over test pictures, for values from 0 to 1.

Expected: both encoders with a hypernetwork have lower errors than the CNP, from a few known pixels slightly, from many
by half. From few known pixels, they are far better than biharmonic inpainting, from many of 28 x 28 pixels worse: their
pictures need not agree with the known pixels. On digits of 28 x 28 pixels the mean of `learn` was better than both, but
after 1.8 times their time; after equal times on 8 x 8 pixels, only from 6 known pixels, and the set encoder from more.

Sizes and times are far smaller than the paper's, which has photographs of faces of 32 x 32 pixels. The authors' code
has `--width 256 --depth 3 --first-omega 30 --latent 256 --units 256 --hidden 1 --filters 128 --window 3 --channels 256
--blocks 4 --kernel 5 --batch 100 --points 1024 --rate 5e-5 --conv-rate 5e-5 --weight-weight 100 --context 10 200
--known 10 100 1000`.

`python -m experiments.function_spaces`: the 1,797 digits of 8 x 8 pixels that scikit-learn brings, in ten minutes on
two CPU cores. With `--data digits.npz --known 10 100 300 --latent 64 --first-omega 20` for those of
`experiments/digits.py`; other collections are in `experiments/small_pictures.py`.
"""

import dataclasses
import textwrap
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import skimage.data
import skimage.restoration
from flax import nnx
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Bool, Float, Int, UInt8
from matplotlib.figure import Figure
from numpy import ndarray

from experiments.baselines import NeuralProcessDecoder
from experiments.run import Settings, make_folder, run, save_numbers
from experiments.small_pictures import read
from siren_jax import (
    SIREN,
    ConvolutionalEncoder,
    Hypernetwork,
    InputError,
    SetEncoder,
    Signals,
    generate_coordinates,
    learn,
)
from siren_jax.fitting.recipes import cosine_decay
from siren_jax.plot.missing_pixels import MISSING
from siren_jax.sets import Base, LearnProgress
from siren_jax.signals import IncompletePicture

PROBED, CHUNK = 250, 50  # steps of a short run of `learn`, and steps between two looks at it


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    out: Path = Path("out/experiments/function_spaces")  # folder of the figure and of numbers.json
    data: str = "digits"  # "digits", "faces", "photographs", or an .npz file, see experiments/digits.py
    count: int = 10_000  # number of pictures, if there are as many
    tests: int = 50  # number of them for tests, at most a tenth
    minutes: float = 2.0  # training of each method, without compilation
    known: tuple[int, ...] = (6, 16, 32)  # known pixels of a test picture
    context: tuple[int, int] | None = None  # fewest and most known pixels in training; by default those of the tests
    latent: int = 32  # numbers of a code
    width: int = 64  # units of a hidden layer of the SIREN
    depth: int = 2  # hidden layers after the first
    first_omega: float = 10.0  # omega of the first layer
    units: int = 64  # units of a layer of set encoder and hypernetwork
    cnp_units: int = 128  # units of a layer of the CNP, and numbers of its code
    hidden: int = 0  # ReLU layers of the hypernetwork after the first
    filters: int = 16  # filters of the first layer of the convolutional encoder
    window: int = 5  # pixels along each side of these filters
    channels: int = 32  # channels of its later layers
    blocks: int = 2  # residual blocks
    kernel: int = 3  # pixels along each side of their filters
    batch: int = 32  # pictures in a step
    points: int = 256  # pixels of a picture in a step, if it has more
    rate: float = 2e-4  # learning rate of set encoder and hypernetwork; all rates decay
    conv_rate: float = 5e-4  # learning rate of convolutional encoder and hypernetwork
    cnp_rate: float = 3e-3  # learning rate of the CNP
    code_weight: float = 0.1  # weight of the mean squared number of a code
    weight_weight: float = 0.1  # weight of the mean squared parameter of the SIREN; its first layer dominates if narrow
    seed: int = 0  # seed of split, known pixels, weights and batches


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


class Tests(NamedTuple):
    """Test pictures; values are from 0 to 1."""

    truth: Float[ndarray, "m h w c"]
    pixels: Int[ndarray, "m n"]
    """Numbers of pixels in the order in which they become known."""
    unknown: Bool[ndarray, "k m h w"]
    """For each number of known pixels, where a picture is unknown."""


class Completer(nnx.Module):
    """An encoder of known pixels, and a decoder of their code."""

    def __init__(self, encoder: SetEncoder | ConvolutionalEncoder, decoder: Hypernetwork | NeuralProcessDecoder):
        self.encoder, self.decoder = encoder, decoder

    def code(self, picture: Float[Array, "h w c"], pixels: Int[Array, "m"], count: Array) -> Float[Array, "k"]:
        """The code of the first pixels, as many as `count`."""
        h, w, c = picture.shape
        known = jnp.arange(len(pixels)) < count
        if isinstance(self.encoder, SetEncoder):
            places = jnp.asarray(generate_coordinates((h, w)))
            return self.encoder(places[pixels], picture.reshape(-1, c)[pixels], known)
        return self.encoder(picture, jnp.zeros(h * w, bool).at[pixels].set(known).reshape(h, w))

    def picture(self, picture: Float[Array, "h w c"], pixels: Int[Array, "m"], count: Array) -> Float[Array, "h w c"]:
        """The completed picture, for values from -1 to 1."""
        places = jnp.asarray(generate_coordinates(picture.shape[:2]))
        return self.decoder.value(places, self.code(picture, pixels, count)).reshape(picture.shape)

    def loss(self, x: Float[Array, "n d"], code: Float[Array, "k"], y: Float[Array, "n c"], config: Config) -> Array:
        if isinstance(self.decoder, NeuralProcessDecoder):
            return self.decoder.surprise(x, code, y)
        siren = self.decoder.at(code)
        weights, _ = ravel_pytree(nnx.state(siren, nnx.Param))
        priors = config.code_weight * jnp.mean(code**2) + config.weight_weight * jnp.mean(weights**2)
        return jnp.mean((siren(x) - y) ** 2) + priors


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
    random = np.random.default_rng(config.seed)
    order, held_out = random.permutation(count), max(1, min(config.tests, count // 10))
    truth, train = pictures[order[:held_out]] / np.float32(255), pictures[order[held_out:]]
    pixels = np.stack([random.permutation(h * w)[: max(config.known)] for _ in truth])
    unknown = np.ones((len(config.known), len(truth), h * w), bool)
    for row, n in enumerate(config.known):
        np.put_along_axis(unknown[row], pixels[:, :n], False, axis=1)
    tests = Tests(truth, pixels, unknown.reshape(*unknown.shape[:2], h, w))

    print(f"{len(train):,} pictures of {h} x {w} pixels for training, {len(truth)} for tests")
    print(
        f"{'squared error x 1,000, all / unknown':36}" + "".join(f"{f'{n} known':>16}" for n in config.known),
        flush=True,
    )
    numbers, shown = {}, {}
    for name, completed, about in methods(config, train, tests):
        square = np.mean((np.clip(completed, 0, 1) - truth) ** 2, axis=-1)
        errors = [(rows.mean(), rows[away].mean()) for rows, away in zip(square, tests.unknown, strict=True)]
        numbers[name], shown[name] = dict(about), completed
        for n, (over_all, over_unknown) in zip(config.known, errors, strict=True):
            numbers[name] |= {f"mse_{n}": float(over_all), f"unknown_mse_{n}": float(over_unknown)}
        cells = [f"{1e3 * over_all:.1f} / {1e3 * over_unknown:.1f}" for over_all, over_unknown in errors]
        steps = f"   {about['steps']:,} steps in {about['seconds']:.0f} s" if about else ""
        print(f"{name:36}" + "".join(f"{cell:>16}" for cell in cells) + steps, flush=True)
    draw(tests, shown, config)
    save_numbers(config, numbers)
    return numbers


def methods(
    config: Config, train: UInt8[ndarray, "n h w c"], tests: Tests
) -> Iterator[tuple[str, Float[ndarray, "k m h w c"], dict[str, Any]]]:
    """Name of each method, its completions for each number of known pixels, and its steps and seconds."""
    truth, pixels, unknown = tests
    each = lambda complete: [[complete(*pair) for pair in zip(truth, row, strict=True)] for row in unknown]
    nearest = each(lambda image, away: IncompletePicture(image, ~away, value_range=(0.0, 1.0)).filled())
    yield "nearest pixel", np.array(nearest), {}
    biharmonic = partial(skimage.restoration.inpaint_biharmonic, channel_axis=-1)
    yield "biharmonic", np.array(each(lambda image, away: biharmonic(np.where(away[..., None], 0, image), away))), {}
    for name, (completer, rate) in completers(config, truth.shape[1:]).items():
        completer, about = trained(completer, train, rate, config)
        complete = jax.jit(jax.vmap(Completer.picture, (None, 0, 0, None)))
        yield name, np.stack([complete(completer, 2 * truth - 1, pixels, n) for n in config.known]) / 2 + 0.5, about
    base, about = learned(train, config)
    found = each(lambda image, away: base.complete(image, ~away, key=jax.random.key(config.seed)))
    yield "learn, most likely", np.array([[one.field.render() for one in row] for row in found]), about
    yield "learn, mean", np.array([[one.mean for one in row] for row in found]), about


def completers(config: Config, shape: tuple[int, int, int]) -> dict[str, tuple[Completer, float]]:
    """What is trained for pictures of this shape, and the learning rate of each."""
    rngs, c = nnx.Rngs(config.seed), shape[-1]
    siren = lambda: SIREN(2, c, width=config.width, depth=config.depth, first_omega=config.first_omega, rngs=rngs)
    sizes = {"latent": config.latent, "width": config.units, "rngs": rngs}
    hypernetwork = lambda: Hypernetwork(siren(), depth=config.hidden, **sizes)
    convolutions = {name: getattr(config, name) for name in ("latent", "filters", "window", "blocks", "kernel")}
    convolutions |= {"width": config.channels, "shape": shape[:2], "rngs": rngs}
    of_cnp = {"latent": config.cnp_units, "width": config.cnp_units, "rngs": rngs}
    process = Completer(SetEncoder(2, c, activation="relu", **of_cnp), NeuralProcessDecoder(c, **of_cnp))
    return {
        "CNP": (process, config.cnp_rate),
        "set encoder": (Completer(SetEncoder(2, c, **sizes), hypernetwork()), config.rate),
        "convolutional encoder": (Completer(ConvolutionalEncoder(c, **convolutions), hypernetwork()), config.conv_rate),
    }


def trained(
    completer: Completer, train: UInt8[ndarray, "n h w c"], rate: float, config: Config
) -> tuple[Completer, dict[str, Any]]:
    """A completer after the minutes, with the number of its steps."""
    n, h, w, c = train.shape
    low, high = config.context or (min(config.known), max(config.known))
    values, places = jnp.asarray(train, jnp.float32) / 127.5 - 1, jnp.asarray(generate_coordinates((h, w)))
    graphdef, params = nnx.split(completer)
    optimizer = optax.adam(rate, b2=0.99)
    moments = optimizer.init(params)

    def loss(params, picture: Array, key: Array) -> Array:
        """The loss of a picture with a random number of random known pixels."""
        completer = nnx.merge(graphdef, params)
        of_pixels, of_count, of_points = jax.random.split(key, 3)
        pixels = jax.random.permutation(of_pixels, h * w)[:high]
        code = completer.code(picture, pixels, jax.random.randint(of_count, (), low, high + 1))
        at = jax.random.permutation(of_points, h * w)[: config.points]
        return completer.loss(places[at], code, picture.reshape(-1, c)[at], config)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, moments, values: Array, key: Array, share: Array):
        of_batch, of_each = jax.random.split(key)
        batch = values[jax.random.randint(of_batch, (config.batch,), 0, n)]
        keys = jax.random.split(of_each, config.batch)
        mean = lambda params: jnp.mean(jax.vmap(loss, (None, 0, 0))(params, batch, keys))
        error, gradient = jax.value_and_grad(mean)(params)
        updates, moments = optimizer.update(gradient, moments, params)
        updates = jax.tree.map(lambda update: cosine_decay(share) * update, updates)
        return optax.apply_updates(params, updates), moments, error

    steps, began, seconds = 0, time.perf_counter(), 0.0
    while seconds < 60 * config.minutes:
        share = jnp.float32(seconds / (60 * config.minutes))
        params, moments, error = step(params, moments, values, jax.random.key(config.seed + steps), share)
        if not np.isfinite(float(error)):
            raise InputError(f"at step {steps} the loss is {error}; take a lower rate.")
        began = began if steps else time.perf_counter()  # the first step compiles
        steps, seconds = steps + 1, time.perf_counter() - began
    return nnx.merge(graphdef, params), {"steps": steps, "seconds": seconds}


def learned(train: UInt8[ndarray, "n h w c"], config: Config) -> tuple[Base, dict[str, Any]]:
    """A space of `learn` after the minutes. A short run shows how many steps they allow, for the decay of the rate."""
    sizes = {name: getattr(config, name) for name in ("latent", "width", "depth", "first_omega")}
    begin = partial(learn, Signals(train), key=jax.random.key(config.seed), **sizes)
    looks: list[LearnProgress] = []
    begin(steps=PROBED, watch=looks.append)
    _, _, steps_alone, with_refinement = np.diff([look.seconds for look in looks])  # the first refinement compiles
    fixed = 2 * (with_refinement - steps_alone)
    limit = 60 * config.minutes
    chunks = max(1, int((limit - fixed) / steps_alone))

    def late(progress: LearnProgress) -> bool:
        looks.append(progress)
        return progress.seconds > limit

    base = begin(steps=chunks * CHUNK, watch=late)
    return base, {"steps": looks[-1].step, "seconds": looks[-1].seconds}


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
