"""Training for equal times without compilation: of completers by Adam, and of a space by `learn`.

On CPUs, time is that of the process on all cores, so other work on the machine does not favour a method.
"""

import dataclasses
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jaxtyping import UInt8
from numpy import ndarray

from experiments.completers import Completer, Sizes
from siren_jax import InputError, Signals, generate_coordinates, learn
from siren_jax.fitting.recipes import cosine_decay
from siren_jax.sets import Base, LearnProgress

PROBED, CHUNK = 250, 50  # steps of a short run of `learn`, and steps between two looks at it


def clock() -> float:
    """Seconds of this process: on CPUs the sum over all cores, otherwise those that pass."""
    return time.process_time() if jax.default_backend() == "cpu" else time.perf_counter()


@dataclasses.dataclass(frozen=True)
class Training(Sizes):
    """Settings of the training."""

    minutes: float = 2.0  # training of each method, on CPUs the sum over all cores
    known: tuple[int, ...] = (6, 16, 32)  # known pixels of a test picture
    context: tuple[int, int] | None = None  # fewest and most known pixels in training; by default those of the tests
    batch: int = 32  # pictures in a step
    points: int = 256  # pixels of a picture in a step, if it has more


def trained(
    completer: Completer, train: UInt8[ndarray, "n h w c"], rate: float, training: Training
) -> tuple[Completer, dict[str, Any]]:
    """A completer after the minutes, with the number of its steps."""
    n, h, w, c = train.shape
    low, high = training.context or (min(training.known), max(training.known))
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
        at = jax.random.permutation(of_points, h * w)[: training.points]
        return completer.loss(places[at], code, picture.reshape(-1, c)[at], training)

    @partial(jax.jit, donate_argnums=(0, 1))
    def step(params, moments, values: Array, key: Array, share: Array):
        of_batch, of_each = jax.random.split(key)
        batch = values[jax.random.randint(of_batch, (training.batch,), 0, n)]
        keys = jax.random.split(of_each, training.batch)
        mean = lambda params: jnp.mean(jax.vmap(loss, (None, 0, 0))(params, batch, keys))
        error, gradient = jax.value_and_grad(mean)(params)
        updates, moments = optimizer.update(gradient, moments, params)
        updates = jax.tree.map(lambda update: cosine_decay(share) * update, updates)
        return optax.apply_updates(params, updates), moments, error

    steps, began, seconds = 0, clock(), 0.0
    while seconds < 60 * training.minutes:
        share = jnp.float32(seconds / (60 * training.minutes))
        params, moments, error = step(params, moments, values, jax.random.key(training.seed + steps), share)
        if not np.isfinite(float(error)):
            raise InputError(f"at step {steps} the loss is {error}; take a lower rate.")
        began = began if steps else clock()  # the first step compiles
        steps, seconds = steps + 1, clock() - began
    return nnx.merge(graphdef, params), {"steps": steps, "seconds": seconds}


def learned(train: UInt8[ndarray, "n h w c"], training: Training) -> tuple[Base, dict[str, Any]]:
    """A space of `learn` after the minutes. A short run shows how many steps they allow, for the decay of the rate."""
    sizes = {name: getattr(training, name) for name in ("latent", "width", "depth", "first_omega")}
    begin = partial(learn, Signals(train), key=jax.random.key(training.seed), **sizes)
    looks: list[tuple[int, float]] = []

    def late(progress: LearnProgress, limit: float) -> bool:
        looks.append((progress.step, clock()))
        return looks[-1][1] - looks[0][1] > limit  # the chunk before the first look compiles

    begin(steps=PROBED, watch=partial(late, limit=np.inf))
    _, _, steps_alone, with_refinement = np.diff([seconds for _, seconds in looks])  # the first refinement compiles
    limit = 60 * training.minutes
    chunks = max(1, int((limit - 2 * (with_refinement - steps_alone)) / steps_alone))
    looks.clear()
    base = begin(steps=chunks * CHUNK, watch=partial(late, limit=limit))
    return base, {"steps": looks[-1][0], "seconds": looks[-1][1] - looks[0][1]}
