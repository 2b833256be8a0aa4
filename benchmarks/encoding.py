"""Time and quality of the codes of signals: Gauss-Newton steps, and gradient descent as a peer.

A space is learned from digits, and codes of held-out digits are found by all methods with the same network, objective F
(see `siren_jax/sets/codes.py`) and start, which is the code 0 or that of the linearised network. Gradient descent is
plain or Adam, each with the rate that is best on other digits, constant or with cosine decay, for its start and number
of steps. Plain gradient descent at the code 0 is the encoding of Dupont et al. 2022, "From data to functa", whose
network is trained for few of these steps; ours is not.

Methods take turns. Milliseconds are without compilation, and without the start for all but the first row.

`python -m benchmarks.encoding`: scikit-learn's digits of 8 x 8 pixels. `--digits digits.npz --latent 64 --width 64
--steps 4000`: 3,000 of those of `experiments/digits.py`. Its minutes were not measured alone.
"""

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from jax import Array
from jaxtyping import Float
from numpy import ndarray

from benchmarks.measure import interleaved, publish
from experiments.digits import labelled
from siren_jax import Base, Signals, generate_coordinates, learn
from siren_jax.fitting.recipes import constant, cosine_decay
from siren_jax.networks.latent import LatentSIREN
from siren_jax.sets.codes import AT_ONCE, encode

OPTIMIZERS = {"gradient descent": optax.identity(), "Adam": optax.scale_by_adam()}
RATES = {
    "gradient descent": tuple(2.0**k for k in range(-14, -1)),  # of a sum over all pixels
    "Adam": tuple(2.0**k for k in range(-8, 1)),
}
DECAYS = {"constant": constant, "cosine": cosine_decay}


class Rate(NamedTuple):
    """A rate of gradient descent, and the name of its decay."""

    rate: float
    decay: str

    def rates(self, steps: int) -> Float[Array, "steps"]:
        return self.rate * DECAYS[self.decay](jnp.arange(steps) / steps)


@dataclass(frozen=True)
class Config:
    digits: str | None = None
    """File of digits, see `experiments/digits.py`. The default is scikit-learn's."""
    count: int = 3000
    """Number of digits that the space is learned from, if there are as many beside the others."""
    tests: int = 1000
    """Number of other digits, whose codes are found; at most a third of all."""
    timed: int = 128
    """Number of them with which time is measured."""
    latent: int = 16
    width: int = 32
    steps: int = 2000
    """Steps of learning."""
    newton: tuple[int, ...] = (2, 5, 10)
    """Numbers of Gauss-Newton steps."""
    descent: tuple[int, ...] = (10, 50)
    """Numbers of steps of gradient descent."""
    tuned: int = 32
    """Number of digits of the training with which its rates are chosen."""
    rounds: int = 3


def main(config: Config) -> list[dict]:
    images, _ = labelled(config.digits, config.count + config.tests)
    tests, train = np.split(images, [min(config.tests, len(images) // 3)])
    sizes = {"latent": config.latent, "width": config.width, "steps": config.steps}
    base = learn(Signals(train), key=jax.random.key(0), **sizes)
    print(f"{base!r} after {base.figures['seconds']:.0f} s", flush=True)
    points = generate_coordinates(images.shape[1:])
    values, tuning = scaled(tests), scaled(train[: config.tuned])
    newton = lambda values, **given: encode(base.network, points, values, noise=base.prior, **given).code
    rows: list[dict] = []
    calls: dict[str, Callable[[], object]] = {}

    def add(method: str, start: str, steps: int, call: Callable[[slice], ndarray], **more: object) -> None:
        psnr = quality(base, points, values, call(slice(None)))
        of_mean = float(-10 * np.log10(np.mean(10 ** (-psnr / 10))))
        qualities = {"mean PSNR": float(psnr.mean()), "PSNR of mean": of_mean}
        rows.append({"method": method, "start": start, "steps": steps, **qualities, **more})
        calls[str(len(calls))] = partial(call, slice(config.timed))
        print(rows[-1], flush=True)

    linear = partial(newton, steps=0)
    zero = lambda values: np.zeros((len(values), config.latent), np.float32)
    add("none", "linearised", 0, lambda part: linear(values[part]))
    for name, start in (("linearised", linear), ("0", zero)):
        begin = start(values)
        for steps in config.newton:
            down = lambda part, steps=steps, begin=begin: newton(values[part], steps=steps, start=begin[part])
            add("Gauss-Newton", name, steps, down)
        for method, steps in itertools.product(OPTIMIZERS, config.descent):
            chosen = best(base, points, tuning, start(tuning), method, steps)
            found = partial(descent, base, points, rates=chosen.rates(steps), method=method)
            down = lambda part, found=found, begin=begin: found(values[part], begin[part])
            add(method, name, steps, down, **chosen._asdict())
    seconds = interleaved(calls, rounds=config.rounds)
    for row, each in zip(rows, seconds.values(), strict=True):
        row["ms a digit"] = 1000 * each / len(values[: config.timed])
    named = None if config.digits is None else os.path.basename(config.digits)  # not this machine's folders
    publish("encoding", rows, replace(config, digits=named), learned=dict(base.figures))
    return rows


def best(base: Base, points: ndarray, values: ndarray, start: ndarray, method: str, steps: int) -> Rate:
    """The rate and decay of a method with the best mean PSNR of these signals."""

    def psnr(rate: Rate) -> float:
        codes = descent(base, points, values, start, rate.rates(steps), method)
        return float(np.nan_to_num(quality(base, points, values, codes).mean(), nan=-np.inf))

    return max((Rate(*pair) for pair in itertools.product(RATES[method], DECAYS)), key=psnr)


def scaled(images: ndarray) -> Float[ndarray, "b n 1"]:
    """Values in [-1, 1], as `learn` scales those of 8 bits."""
    return (images.reshape(len(images), -1, 1) / 127.5 - 1).astype(np.float32)


def quality(
    base: Base, points: Float[ndarray, "n 2"], values: Float[ndarray, "b n 1"], codes: Float[ndarray, "b k"]
) -> Float[ndarray, "b"]:
    """PSNR of each signal in dB."""
    error = encode(base.network, points, values, noise=base.prior, steps=0, start=codes).error
    return 10 * np.log10(4 / error)


def descent(
    base: Base,
    points: Float[ndarray, "n 2"],
    values: Float[ndarray, "b n 1"],
    start: Float[ndarray, "b k"],
    rates: Float[Array, "steps"],
    method: str,
) -> Float[ndarray, "b k"]:
    """Codes after steps of gradient descent with these rates."""
    arrays = map(jnp.asarray, (points, values, start))
    return np.asarray(_descent(base.network, *arrays, rates, jnp.float32(base.prior), method))


@partial(jax.jit, static_argnames="method")
def _descent(
    network: LatentSIREN, points: Array, values: Array, start: Array, rates: Array, noise: Array, method: str
) -> Array:
    optimizer = OPTIMIZERS[method]

    def of_one(y: Array, begin: Array) -> Array:
        objective = lambda code: jnp.sum((y - network.value(points, code)) ** 2) + noise * jnp.sum(code**2)

        def step(state: tuple[Array, optax.OptState], rate: Array) -> tuple[tuple[Array, optax.OptState], None]:
            code, moments = state
            update, moments = optimizer.update(jax.grad(objective)(code), moments)
            return (code - rate * update, moments), None

        return jax.lax.scan(step, (begin, optimizer.init(begin)), rates)[0][0]

    return jax.lax.map(lambda row: of_one(*row), (values, start), batch_size=AT_ONCE)


if __name__ == "__main__":
    main(tyro.cli(Config))
