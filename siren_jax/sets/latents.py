"""A space of signals: one latent network for all of them, and a code for each, learned as an auto-decoder.

Park et al. 2019, "DeepSDF", Section 4: codes are parameters of a fit, and nothing encodes. Here the codes begin as the
scores of a principal component analysis, so the network first learns what these numbers mean, and a few Gauss-Newton
steps refine all codes now and then.
"""

import time
import warnings
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
from siren_jax.sets.base import CORRELATED, Base, Samples, read_samples, stacked
from siren_jax.sets.codes import encode
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
MOST = 2**30  # samples times channels of all signals, which are in memory as float32


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
    samples = read_samples(signals, signals.survey.features[1], signals.kind, strict=strict)
    for name, reason in samples.skipped.items():
        warnings.warn(f"{name!r} was left out: {reason}", stacklevel=2)
    if not samples.values:
        raise InputError("a space is learned from pictures, sounds or videos, but none of the signals could be read.")
    if (total := sum(value.size for value in samples.values)) > MOST:
        raise InputError(f"all signals together have {total:,} values, but {MOST:,} fit; take size=, or fewer signals.")
    if any(known is not None for known in samples.known):
        raise InputError("a space is learned from complete pictures, but some have unknown pixels; leave them out.")
    of_split, of_weights, of_steps = jax.random.split(key, 3)
    order = np.asarray(jax.random.permutation(of_split, len(samples.values)))
    count = max(1, round(held_out * len(order)))
    test, train = np.sort(order[:count]).tolist(), np.sort(order[count:]).tolist()
    usual = max(set(samples.shapes), key=samples.shapes.count)
    on_grid = np.stack([_on_grid(samples, i, usual) for i in range(len(samples.values))]).reshape(len(order), -1)
    if min(len(train), on_grid.shape[1]) <= latent:
        raise InputError(
            f"codes of {latent} numbers need more than {latent} signals to learn from, with more than {latent} values "
            f"each, but there are {len(train)} with {on_grid.shape[1]}; take a smaller latent."
        )
    components = Components.of(on_grid[train], latent)
    channels = samples.values[0].shape[1]
    sizes = {"latent": latent, "scaled": scaled, "width": width, "depth": depth, "first_omega": float(first_omega)}
    network = LatentSIREN(len(usual), channels, **sizes, rngs=nnx.Rngs(of_weights))
    training = _Training(network, [samples.values[i] for i in train], [samples.shapes[i] for i in train], of_steps)
    scores = components.scores(on_grid[train])
    training.codes = (scores / np.sqrt(np.mean(scores**2))).astype(np.float32)
    began = time.perf_counter()
    training.run(steps, watch)
    seconds = time.perf_counter() - began

    network, noise = training.finished()
    tests = [[i for i in test if samples.shapes[i] == shape] for shape in set(samples.shapes)]
    errors = np.concatenate([_errors(network, samples, some, noise) for some in tests if some])
    figures = {"signals": len(train), "held_out": len(test), "psnr": _mean_psnr(errors)}
    figures |= {"psnr_of_mean": _mean_psnr(np.mean(errors)), "seconds": seconds}
    of_pca = np.mean(components.residual(on_grid[test]) ** 2, axis=1)
    figures |= {"pca_psnr": _mean_psnr(of_pca), "pca_psnr_of_mean": _mean_psnr(np.mean(of_pca))}
    low, high = samples.about[0].value_range
    return Base(network, usual, (low, high), signals.kind.name, samples.about[0].rate, noise, figures)


def _errors(network: LatentSIREN, samples: Samples, some: Sequence[int], noise: float) -> Float[ndarray, "n"]:
    """Mean squared errors of signals of one shape after their encoding."""
    points = generate_coordinates(samples.shapes[some[0]])
    return encode(network, points, *stacked(samples, some), noise=CORRELATED * noise).error


def _mean_psnr(errors: Any) -> float:
    """Mean PSNR in dB for mean squared errors of values in [-1, 1]."""
    return float(np.mean(10 * np.log10(4 / np.maximum(errors, np.finfo(np.float32).tiny))))


def _on_grid(samples: Samples, i: int, shape: tuple[int, ...]) -> Float[ndarray, "*shape c"]:
    """The values of a signal on a grid of this shape over its extent, by linear interpolation."""
    own = samples.shapes[i]
    values = samples.values[i].reshape(*own, -1)
    if own == shape:
        return values
    from scipy.ndimage import map_coordinates

    along = [(np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(shape, own, strict=True)]
    places = np.meshgrid(*along, indexing="ij")
    return np.stack(
        [map_coordinates(channel, places, order=1, mode="nearest") for channel in np.moveaxis(values, -1, 0)], -1
    )


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

    def __init__(self, network: LatentSIREN, values: Sequence[ndarray], shapes: Sequence[tuple[int, ...]], key: Array):
        self.network, self._values, self._shapes, self._key = network, values, np.array(shapes, np.int32), key
        self.codes: Float[ndarray, "b k"] = np.zeros((len(values), network.latent), np.float32)
        self._flat = np.concatenate(values)
        self._first = np.concatenate([[0], np.cumsum([len(value) for value in values])[:-1]])
        self._points = min(POINTS, *(len(value) for value in values))
        self._random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
        rate = RATE * min(1.0, FOR_WIDTH / network.width)
        self._optimizer = optax.adam(rate, b2=B2)

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
        for shape in {tuple(shape) for shape in self._shapes.tolist()}:
            some = np.flatnonzero((self._shapes == shape).all(axis=1))
            values = np.stack([self._values[i] for i in some.tolist()])
            found = encode(
                self.network,
                generate_coordinates(shape),
                values,
                noise=CORRELATED * noise,
                steps=REFINING,
                start=self.codes[some],
            )
            self.codes[some] = found.code

    def finished(self) -> tuple[LatentSIREN, float]:
        """The network for codes of mean 0 and covariance I, and the variance of the noise."""
        network, codes = self.network.standardised(jnp.asarray(self.codes))
        self.network = network
        return network, self._error(codes)

    def _error(self, codes: Array) -> float:
        """Mean squared error on a sample of the signals, with these codes."""
        batch = jax.tree.map(lambda leaf: leaf[0], self._batches(1, min(len(self._values), 8 * SIGNALS)))
        return float(_mean_error(self.network, codes, batch))

    def _batches(self, steps: int, count: int = SIGNALS) -> _Batch:
        count = min(count, len(self._values))
        signal = np.stack([self._random.permutation(len(self._values))[:count] for _ in range(steps)])
        length = np.array([len(value) for value in self._values])[signal][..., None]
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
