"""A start: initial weights, learned from signals, from which fits of others like them are sooner good.

Reptile, Nichol et al. 2018, "On First-Order Meta-Learning Algorithms", Algorithm 1: fit a signal for a few steps, move
the start part of the way to the result, and go on with another signal. Tancik et al. 2021, "Learned Initializations",
use it for coordinate networks.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from siren_jax._types import StoppedBy
from siren_jax.errors import InputError
from siren_jax.fields.coordinates import Frame
from siren_jax.fitting.progress import interrupts
from siren_jax.fitting.recipes import Recipe, inverse_root
from siren_jax.metrics import psnr
from siren_jax.networks.siren import SIREN
from siren_jax.neural_field import NeuralField
from siren_jax.sets.sampled import SampledSignal, held_apart, learnable
from siren_jax.sets.signals import Signals
from siren_jax.signals import choose_omega
from siren_jax.signals.samples import numbered_coordinates
from siren_jax.subjects.start import LEARNED

ROUNDS = 400
STEPS = 64  # of a fit in a round
POINTS = 1024  # of a step
WAY = 0.2  # share of the way that the start moves in the first round; it falls to 0
JUDGED = 16  # most held-out signals that are fitted


class StartProgress(NamedTuple):
    """The argument of `watch`: the state of `learn_start` after a round."""

    round: int
    rounds: int
    error: float
    """Mean squared error of the values in [-1, 1] in the last step of the round's fit."""
    seconds: float
    """Time since the first round, without compilation."""
    stopped_by: StoppedBy | None
    """The signal that ends the learning now, if one has come; see `Fit.stopped_by`."""


def learn_start(
    signals: Signals,
    *,
    key: Array,
    width: int = 256,
    depth: int = 3,
    rounds: int = ROUNDS,
    held_out: float = 0.1,
    strict: bool = False,
    watch: Callable[[StartProgress], Any] | None = None,
) -> NeuralField:
    """Initial weights for fits of signals like these: a field, which about is their mean.

        start = siren_jax.learn_start(siren_jax.Signals("faces"), key=jax.random.key(0))
        siren_jax.open("another face.png").fit(start=start, seconds=10)

    Its record has the mean PSNR after 64 steps on signals that are held out, from this start and from random weights.

    Args:
        signals: pictures, sounds or videos. All samples are in memory, as float32.
        key: random key of the initial weights, the batches and the choice of signals that are held out.
        width, depth: as for `SIREN`. Fits from this start have the same.
        rounds: number of rounds, each a fit of one signal by 64 steps on 1,024 samples.
        held_out: share of the signals that are not learned from, and measure the quality.
        strict: whether a signal that cannot be read is an error.
        watch: called with `StartProgress` after every round; a true result ends the learning, as Ctrl-C does.

    Raises:
        InputError: a setting is invalid; there is only one signal; signals have other numbers of channels, or more
            samples than fit into memory.
    """
    if rounds < 1:
        raise InputError(f"rounds must be at least 1, but is {rounds}.")
    if not 0 < held_out < 1:
        raise InputError(f"held_out is a share between 0 and 1, but is {held_out}; it measures the quality.")
    samples = learnable(signals, strict=strict)
    if len(samples) < 2:
        raise InputError("a start is learned from at least two signals, one of them held out, but there is one.")
    of_split, of_weights, of_steps, of_judging = jax.random.split(key, 4)
    train, test = held_apart(samples, held_out, of_split)
    recipe = signals.kind.recipe("tuned", "values")
    omega = {signal.entry.name: recipe.first_omega or _omega(signal) for signal in samples}
    usual = math.exp(np.mean(np.log(list(omega.values()))))
    sizes = {"width": width, "depth": depth, "first_omega": usual, "weight_scale": recipe.weight_scale}
    network = SIREN(len(samples[0].shape), samples[0].value.shape[1], **sizes, rngs=nnx.Rngs(of_weights))
    rounded = _Round(network, recipe, {name: own / usual for name, own in omega.items()})
    random = start = nnx.state(network, nnx.Param)
    draw = np.random.default_rng(np.asarray(jax.random.key_data(of_steps)))
    began, after = time.perf_counter(), 0
    with interrupts() as interrupted:
        for number in range(rounds):
            signal = train[draw.integers(len(train))]
            end, error = rounded.fit(start, signal, draw)
            way = WAY * (1 - number / rounds)
            start = jax.tree.map(lambda a, b, way=way: a + way * (b - a), start, end)
            if not np.isfinite(error):
                raise InputError(f"in round {number + 1} the error of {signal.entry.name!r} is {error}; leave it out.")
            began = time.perf_counter() if number == 0 else began
            after, stopped_by = number + 1, interrupted()
            progress = StartProgress(after, rounds, error, time.perf_counter() - began, stopped_by)
            if (watch is not None and watch(progress)) or stopped_by is not None:
                break
    seconds = time.perf_counter() - began
    judge = lambda weights: rounded.quality(weights, test[:JUDGED], of_judging)
    figures = {
        "signals": len(train),
        "held_out": len(test),
        "judged": min(len(test), JUDGED),
        "rounds": after,
        "psnr": judge(start),
        "psnr_of_random": judge(random),
        "seconds": seconds,
    }
    nnx.update(network, start)
    about, shapes = samples[0].about, [signal.shape for signal in samples]
    frame = Frame(max(set(shapes), key=shapes.count))
    record = {LEARNED: figures}
    return NeuralField(network, frame, about.value_range, kind=signals.kind.name, rate=about.rate, record=record)


def _omega(signal: SampledSignal) -> float:
    return choose_omega(signal.value.reshape(*signal.shape, -1), Frame(signal.shape)).omega


class _Round:
    """Fits of single signals, compiled once for all.

    Args:
        network: has the usual omega.
        recipe: settings of the fits.
        factors: omega of each signal, by its name, over the usual one. It is a factor on the weights of the first
            layer: sin(r·omega·(Wx + b)) = sin(omega·(rWx + rb)).
    """

    def __init__(self, network: SIREN, recipe: Recipe, factors: Mapping[str, float]):
        self._graphdef, self._factors = nnx.graphdef(network), factors
        optimizer = recipe.optimizer(network)

        def error(params: Any, factor: Array, x: Array, value: Array) -> Array:
            return jnp.mean((self._field(params, factor)(x) - value) ** 2)

        @jax.jit
        def fitted(params: Any, factor: Array, number: Array, value: Array, shape: Array) -> tuple[Any, Array]:
            def step(state: Any, given: tuple[Array, Array, Array]) -> tuple[Any, Array]:
                (params, moments), (step, number, value) = state, given
                x = numbered_coordinates(number, shape)
                loss, gradient = jax.value_and_grad(error)(params, factor, x, value)
                updates, moments = optimizer.update(gradient, moments, params)
                updates = jax.tree.map(lambda update: inverse_root(step, step) * update, updates)
                return (optax.apply_updates(params, updates), moments), loss

            start = params, optimizer.init(params)
            (params, _), losses = jax.lax.scan(step, start, (jnp.arange(STEPS), number, value))
            return params, losses[-1]

        self._fitted = fitted

    def _field(self, params: Any, factor: Array | float) -> SIREN:
        network = nnx.merge(self._graphdef, params)
        first = network.layers[0].linear
        first.kernel[...] = factor * first.kernel[...]
        first.bias[...] = factor * first.bias[...]
        return network

    def fit(self, start: Any, signal: SampledSignal, random: np.random.Generator) -> tuple[Any, float]:
        """The weights after a fit of the signal, and the error in its last step."""
        number = random.integers(len(signal.value), size=(STEPS, POINTS))
        given = number.astype(np.int32), signal.value[number], np.array(signal.shape, np.int32)
        factor = jnp.float32(self._factors[signal.entry.name])
        end, error = self._fitted(start, factor, *map(jnp.asarray, given))
        return end, float(error)

    def quality(self, start: Any, signals: Sequence[SampledSignal], key: Array) -> float:
        """Mean PSNR in dB over all samples, each signal after a fit."""
        found = []
        for signal in signals:
            random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
            end, _ = self.fit(start, signal, random)
            field = NeuralField(self._field(end, self._factors[signal.entry.name]), signal.about.frame)
            found.append(psnr(field.render(), signal.value.reshape(*signal.shape, -1), data_range=2.0))
        return float(np.mean(found))
