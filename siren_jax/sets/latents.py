"""A space of signals: one latent network for all of them, and a code for each, learned as an auto-decoder.

Park et al. 2019, "DeepSDF", Section 4: codes are parameters of a fit, and nothing encodes. Here the codes begin as the
scores of a principal component analysis, so the network first learns what these numbers mean, and a few Gauss-Newton
steps refine all codes now and then.
"""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jaxtyping import Float
from numpy import ndarray

from siren_jax._types import StoppedBy
from siren_jax.errors import InputError
from siren_jax.fields.coordinates import generate_coordinates
from siren_jax.fitting.progress import interrupts
from siren_jax.fitting.recipes import cosine_decay
from siren_jax.networks.latent import LatentSIREN
from siren_jax.sets.base import CORRELATED, Base
from siren_jax.sets.codes import Codes, encode
from siren_jax.sets.sampled import SampledSignal, by_shape, held_apart, learnable, stacked
from siren_jax.sets.signals import Signals
from siren_jax.signals.samples import numbered_coordinates

STEPS = 4000
SIGNALS = 32  # in a step
POINTS = 256  # of a signal in a step; all have about as many signals and points as fit into a core's cache
RATE, B2 = 3e-4, 0.99  # of Adam at width 64 and below; at 1e-3, training on digits ends at the mean of all digits
FOR_WIDTH = 64
REFINED = (0.4, 0.8)  # shares of the steps after which all codes are refined
REFINING = 3  # Gauss-Newton steps
CHUNK = 50  # steps between two looks
RANK = 1e-5  # share of the largest singular value below which float32 rounding is all that signals differ in


class LearnProgress(NamedTuple):
    """The argument of `watch`: the state of `learn` between two chunks of steps."""

    step: int
    steps: int
    error: float
    """Mean squared error of the values in [-1, 1] over the last chunk."""
    seconds: float
    """Time since the first step, without compilation of the first chunk."""
    stopped_by: StoppedBy | None
    """The signal that ends the training now, if one has come; see `Fit.stopped_by`."""


def learn(
    signals: Signals,
    *,
    key: Array,
    latent: int = 64,
    scaled: bool = False,
    width: int = 64,
    depth: int = 3,
    first_omega: int | float = 20.0,
    steps: int = STEPS,
    held_out: float = 0.1,
    strict: bool = False,
    watch: Callable[[LearnProgress], Any] | None = None,
) -> Base:
    """A space that contains the signals: a network, and a code for each of them.

        digits = siren_jax.Signals("digits")
        base = siren_jax.learn(digits, latent=64, key=jax.random.key(0))
        fields = base.encode(siren_jax.Signals("other digits"))

    The codes of the signals have mean 0 and covariance I at the end, so that is the prior for others. The quality on
    signals that are held out is in the base's record, with that of a principal component analysis of as many numbers.

    Args:
        signals: pictures, sounds or videos. All samples are in memory, as float32.
        key: random key of the weights, the batches and the choice of signals that are held out.
        latent: numbers of a code.
        scaled: whether the code also scales what the units of the network receive.
        width, depth, first_omega: as for `SIREN`.
        steps: number of steps, each with 32 signals and up to 256 points of each.
        held_out: share of the signals that are not learned from, and measure the quality.
        strict: whether a signal that cannot be read is an error.
        watch: called with `LearnProgress` after every 50 steps; a true result ends the training, as Ctrl-C does.

    Raises:
        InputError: a setting is invalid; there are no more signals to learn from than numbers of a code; none is held
            out; signals have other numbers of channels, or more samples than fit into memory.
    """
    if latent < 1 or steps < 1:
        raise InputError(f"latent and steps must be at least 1, but are {latent} and {steps}.")
    if not 0 < held_out < 1:
        raise InputError(f"held_out is a share between 0 and 1, but is {held_out}; it measures the quality.")
    samples = learnable(signals, strict=strict)
    of_split, of_weights, of_steps = jax.random.split(key, 3)
    train, test = held_apart(samples, held_out, of_split)
    shapes = [signal.shape for signal in samples]
    usual = max(set(shapes), key=shapes.count)
    size = samples[0].value[0].size * math.prod(usual)
    if min(len(train), size) <= latent:
        raise InputError(
            f"codes of {latent} numbers need more than {latent} signals to learn from, with more than {latent} values "
            f"each, but there are {len(train)} with {size}; take a smaller latent."
        )
    on_grid = _on_grid(train, usual)
    components = Components.of(on_grid, latent)
    scores = components.scores(on_grid)
    of_pca = np.mean(components.residual(_on_grid(test, usual)) ** 2, axis=1)
    del on_grid  # as large as all signals
    sizes = {"latent": latent, "scaled": scaled, "width": width, "depth": depth, "first_omega": float(first_omega)}
    network = LatentSIREN(len(usual), samples[0].value.shape[1], **sizes, rngs=nnx.Rngs(of_weights))
    codes = (scores / np.sqrt(np.mean(scores**2))).astype(np.float32)
    training = _Training(network, train, codes, of_steps)
    began = time.perf_counter()
    training.run(steps, watch)
    seconds = time.perf_counter() - began

    network, noise = training.finished()
    errors = np.concatenate([_encoded(network, alike, noise).error for alike in by_shape(test).values()])
    figures = {
        "signals": len(train),
        "held_out": len(test),
        "psnr": _mean_psnr(errors),
        "psnr_of_mean": _mean_psnr(np.mean(errors)),
        "seconds": seconds,
        "pca_psnr": _mean_psnr(of_pca),
        "pca_psnr_of_mean": _mean_psnr(np.mean(of_pca)),
    }
    about = samples[0].about
    low, high = about.value_range
    return Base(network, usual, (low, high), signals.kind.name, about.rate, noise, figures)


def _encoded(network: LatentSIREN, signals: Sequence[SampledSignal], noise: float, **settings: Any) -> Codes:
    """Codes of signals of one shape."""
    points = generate_coordinates(signals[0].shape)
    return encode(network, points, *stacked(signals), noise=CORRELATED * noise, **settings)


def _mean_psnr(errors: Any) -> float:
    """Mean PSNR in dB for mean squared errors of values in [-1, 1]."""
    return float(np.mean(10 * np.log10(4 / np.maximum(errors, np.finfo(np.float32).tiny))))


def _on_grid(signals: Sequence[SampledSignal], shape: tuple[int, ...]) -> Float[ndarray, "b values"]:
    """The values of signals on a grid of this shape over their extent, by linear interpolation."""
    return np.stack([_resampled(signal, shape).ravel() for signal in signals])


def _resampled(signal: SampledSignal, shape: tuple[int, ...]) -> ndarray:
    if signal.shape == shape:
        return signal.value
    from scipy.ndimage import map_coordinates

    along = [(np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(shape, signal.shape, strict=True)]
    places = np.meshgrid(*along, indexing="ij")
    channels = signal.value.T.reshape(-1, *signal.shape)
    return np.stack([map_coordinates(channel, places, order=1, mode="nearest") for channel in channels], axis=-1)


class Components(NamedTuple):
    """A principal component analysis."""

    mean: Float[ndarray, "n"]
    axes: Float[ndarray, "k n"]

    @classmethod
    def of(cls, rows: Float[ndarray, "b n"], count: int) -> "Components":
        """The first components of some rows.

        Raises:
            InputError: the rows differ in fewer directions.
        """
        from scipy.sparse.linalg import svds

        mean = rows.mean(axis=0)
        centred = rows - mean
        rank = 0
        if np.ptp(rows, axis=0).any():
            _, strength, axes = svds(centred, k=count, v0=np.ones(min(rows.shape)))
            rank = int(np.sum(strength > RANK * strength.max()))
            if rank == count:
                return cls(mean, np.asarray(axes))
        raise InputError(
            f"codes of {count} numbers need signals that differ in as many ways, but these differ in {rank}; take a "
            "smaller latent, or more signals."
        )

    def scores(self, rows: Float[ndarray, "b n"]) -> Float[ndarray, "b k"]:
        return (rows - self.mean) @ self.axes.T

    def residual(self, rows: Float[ndarray, "b n"]) -> Float[ndarray, "b n"]:
        return rows - self.mean - self.scores(rows) @ self.axes


class _Batch(NamedTuple):
    """Some steps' signals and points."""

    signal: Array
    number: Array
    value: Array
    shape: Array


class _Training:
    """Network and codes on their way."""

    def __init__(
        self, network: LatentSIREN, signals: Sequence[SampledSignal], codes: Float[ndarray, "b k"], key: Array
    ):
        self.network, self.codes, self._signals = network, codes, signals
        self._flat = np.concatenate([signal.value for signal in signals])
        self._length = np.array([len(signal.value) for signal in signals])
        self._first = np.cumsum(self._length) - self._length
        self._shapes = np.array([signal.shape for signal in signals], np.int32)
        self._points = min(POINTS, int(self._length.max()))
        self._random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        self._optimizer = optax.adam(RATE * min(1.0, FOR_WIDTH / network.width), b2=B2)

    def run(self, steps: int, watch: Callable[[LearnProgress], Any] | None) -> None:
        refined = {int(share * steps) // CHUNK * CHUNK for share in REFINED} - {0}
        moments = None
        step, began = 0, time.perf_counter()
        with interrupts() as interrupted:
            while step < steps:
                if step in refined:
                    self.refine()
                    moments = None  # of the maps before
                graphdef, params, code = nnx.split(self.network, _weights, ...)
                moments = self._optimizer.init(params) if moments is None else moments
                count = min(CHUNK, steps - step)
                batches = self._batches(count)
                share = jnp.arange(step, step + count) / steps
                params, moments, error = _steps(
                    graphdef, self._optimizer, params, code, moments, jnp.asarray(self.codes), batches, share
                )
                self.network = nnx.merge(graphdef, params, code)
                step += count
                error = float(error)
                if not np.isfinite(error):
                    raise InputError(f"at step {step} the error is {error}; take a lower first_omega.")
                began = time.perf_counter() if step == count else began
                progress = LearnProgress(step, steps, error, time.perf_counter() - began, interrupted())
                if (watch is not None and watch(progress)) or progress.stopped_by is not None:
                    return

    def refine(self) -> None:
        """Standardises the codes, and improves them by some Gauss-Newton steps."""
        self.network, codes = self.network.standardised(jnp.asarray(self.codes))
        noise = self._error(codes)
        self.codes = np.array(codes)
        number_of = {id(signal): number for number, signal in enumerate(self._signals)}
        for alike in by_shape(self._signals).values():
            some = [number_of[id(signal)] for signal in alike]
            self.codes[some] = _encoded(self.network, alike, noise, steps=REFINING, start=self.codes[some]).code

    def finished(self) -> tuple[LatentSIREN, float]:
        """The network for codes of mean 0 and covariance I, and the variance of the noise."""
        network, codes = self.network.standardised(jnp.asarray(self.codes))
        self.network = network
        return network, self._error(codes)

    def _error(self, codes: Array) -> float:
        """Mean squared error on a sample of the signals, with these codes."""
        batch = jax.tree.map(lambda leaf: leaf[0], self._batches(1, 8 * SIGNALS))
        return float(_mean_error(self.network, codes, batch))

    def _batches(self, steps: int, count: int = SIGNALS) -> _Batch:
        every = len(self._signals)
        signal = np.stack([self._random.permutation(every)[: min(count, every)] for _ in range(steps)])
        length = self._length[signal][..., None]
        edges = np.arange(self._points + 1) * length // self._points
        offset = self._random.random(edges[..., 1:].shape) * np.diff(edges)
        number = edges[..., :-1] + offset.astype(np.int64)
        value = self._flat[self._first[signal][..., None] + number]
        return _Batch(*map(jnp.asarray, (signal, number.astype(np.int32), value, self._shapes[signal])))


def _weights(path: Any, _: Any) -> bool:
    """Whether a parameter is learned by descent: all but the network's own code."""
    return path[0] != "code"


@partial(jax.jit, static_argnames=("graphdef", "optimizer"), donate_argnames=("params", "moments"))
def _steps(
    graphdef: nnx.GraphDef,
    optimizer: optax.GradientTransformation,
    params: Any,
    code: Any,
    moments: Any,
    codes: Array,
    batches: _Batch,
    share: Array,
) -> tuple[Any, Any, Array]:
    """The parameters after some steps, the optimizer's state, and the mean error."""

    def step(state: tuple[Any, Any], given: tuple[_Batch, Array]) -> tuple[tuple[Any, Any], Array]:
        params, moments = state
        batch, share = given
        loss = lambda params: _mean_error(nnx.merge(graphdef, params, code), codes, batch)
        error, gradient = jax.value_and_grad(loss)(params)
        updates, moments = optimizer.update(gradient, moments, params)
        params = optax.apply_updates(params, jax.tree.map(lambda update: cosine_decay(share) * update, updates))
        return (params, moments), error

    (params, moments), errors = jax.lax.scan(step, (params, moments), (batches, share))
    return params, moments, jnp.mean(errors)


def _mean_error(network: LatentSIREN, codes: Array, batch: _Batch) -> Array:
    points = jax.vmap(numbered_coordinates)(batch.number, batch.shape)
    return jnp.mean((jax.vmap(network.value)(points, codes[batch.signal]) - batch.value) ** 2)
