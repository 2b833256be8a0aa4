"""The first omega of a network for a signal: from its spectrum, and for a sound from a race of a few on parts of it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float
from numpy import ndarray

from siren_jax._types import Batch, Field
from siren_jax.fit import fit
from siren_jax.network import SIREN
from siren_jax.recipes import TUNED, scale_first_layer
from siren_jax.signals import Frame, OmegaChoice, spectral_omega
from siren_jax.tiles import points_per_tile

RECIPE = TUNED["values"]
FACTORS = (0.42, 0.6, 0.85, 1.2)
"""Omegas of a race, over that of the spectrum."""
WINDOWS = 4
WINDOW = 8192
"""Samples of a window."""
BATCH_SIZE = 1024
PASSES = 25
"""How often a race sees every sample."""
THINNED = 1.75
"""Best omega for all samples over that for every second one: from five sounds, see `docs/performance.md`."""


def choose_omega(values: Float[ndarray, "*shape c"], frame: Frame, *, seed: int = 0) -> OmegaChoice:
    """First omega of a SIREN for a signal, and why.

    Photographs are much alike, and their sampling says enough: `spectral_omega`. Sounds are not, and a race decides
    between four omegas around the spectrum's: some 20 seconds on two cores, whatever the sound's length; one of
    fewer than 1,024 samples is not worth it.

    Args:
        values: of all samples, in [-1, 1].
        frame: their grid.
        seed: of the race.
    """
    choice = spectral_omega(values, frame)
    if len(frame.shape) > 1 or choice.omega == 1 or len(values) < BATCH_SIZE:
        return choice
    return race_omegas(values, np.array(FACTORS) * choice.omega, seed=seed)


def race_omegas(values: Float[ndarray, "n c"], omegas: Float[ndarray, "k"], *, seed: int = 0) -> OmegaChoice:
    """The first omega with which SIRENs best predict every second sample of a sound from the others, and why.

    For each omega and each of four windows of 8,192 samples a network is trained, all side by side in one compiled
    step. The squared errors on the samples that were held out decide, between omegas by a parabola; since twice the
    samples bear a higher omega, the answer is 1.75 times what is best for half of them.

    Args:
        values: of all samples, in [-1, 1].
        omegas: rising.
        seed: of the networks and of the batches.
    """
    windows = _windows(values)
    length = windows.shape[1]
    points = Frame((length,)).coordinates(np.arange(length)[:, None])
    entrants = omegas * length / len(values) / THINNED  # a window has coordinates of its own
    batch_size = min(BATCH_SIZE, len(points[::2]))
    fitted = fit(
        _networks(jnp.asarray(entrants), windows, seed),
        _squared_error,
        Partial(_draw, jnp.asarray(points[::2]), jnp.asarray(windows[:, ::2]), jnp.arange(batch_size)),
        key=jax.random.key(seed),
        steps=round(PASSES * len(points[::2]) / batch_size),
        optimizer=_adam(jnp.asarray(entrants)),
        schedule=RECIPE.schedule,
        tile=points_per_tile() // (len(windows) * len(entrants)),
    )
    errors = jax.jit(_errors)(fitted.network, jnp.asarray(points[1::2]), jnp.asarray(windows[:, 1::2]))
    omega = _lowest(np.log(omegas), np.log(np.mean(np.asarray(errors) ** 2, axis=(0, 2, 3))))
    raced = ", ".join(f"{omega:.4g}" for omega in omegas)
    return OmegaChoice(float(f"{omega:.2g}"), f"by a race of {raced}, judged on samples held out")


def _windows(values: ndarray) -> Float[ndarray, "w length c"]:
    """Windows at even distances; the whole of a short sound."""
    length = min(WINDOW, len(values))
    starts = sorted({int(start) for start in np.linspace(0, len(values) - length, 2 * WINDOWS + 1)[1::2]})
    return np.stack([values[start : start + length] for start in starts]).astype(np.float32)


def _networks(omegas: Array, windows: ndarray, seed: int) -> SIREN:
    """A SIREN whose parameters have two leading axes, for windows and omegas; one draw for each window.

    Its first omega is one, and its first layer holds omega·W and omega·b.
    """
    c = windows.shape[-1]

    def network(key: Array) -> SIREN:
        return SIREN(1, c, first_omega=1.0, weight_scale=RECIPE.weight_scale, rngs=nnx.Rngs(params=key))

    def draw(key: Array) -> Any:
        return jax.vmap(scale_first_layer, in_axes=(None, 0))(nnx.state(network(key)), omegas)

    graphdef = nnx.graphdef(network(jax.random.key(seed)))
    return nnx.merge(graphdef, jax.vmap(draw)(jax.random.split(jax.random.key(seed), len(windows))))


def _adam(omegas: Array) -> optax.GradientTransformation:
    """The recipe's for every network: what is omega times as large takes steps omega times as large."""
    assert RECIPE.phase_limit is not None
    factors = jnp.minimum(omegas, RECIPE.phase_limit / RECIPE.learning_rate)
    scale = jax.vmap(jax.vmap(scale_first_layer), in_axes=(0, None))
    return optax.chain(
        optax.adam(RECIPE.learning_rate, b2=RECIPE.b2), optax.stateless(lambda updates, _: scale(updates, factors))
    )


def _errors(networks: SIREN, points: Float[Array, "n 1"], targets: Float[Array, "w n c"]) -> Float[Array, "w k n c"]:
    graphdef, state = nnx.split(networks)
    return jax.vmap(jax.vmap(lambda state: nnx.merge(graphdef, state)(points)))(state) - targets[:, None]


def _squared_error(networks: Field, batch: Batch) -> dict[str, Float[Array, "n"]]:
    """The sum over the networks: each one's gradient is its own."""
    assert isinstance(networks, SIREN)
    errors = _errors(networks, batch["coordinates"], jnp.moveaxis(batch["value"], 0, 1))
    return {"value": jnp.sum(jnp.mean(errors**2, axis=-1), axis=(0, 1))}


def _draw(points: Array, targets: Array, batch: Array, key: Array, step: Array) -> Batch:
    del step
    index = jax.random.randint(key, batch.shape, 0, len(points))
    return {"coordinates": points[index], "value": jnp.moveaxis(targets[:, index], 0, 1)}


def _lowest(x: ndarray, y: ndarray) -> float:
    """exp of where the parabola through the lowest y and its neighbours is lowest; of its x at an end."""
    i = int(np.argmin(y))
    if not 0 < i < len(x) - 1:
        return float(np.exp(x[i]))
    a, b, _ = np.polyfit(x[i - 1 : i + 2], y[i - 1 : i + 2], 2)
    return float(np.exp(-b / (2 * a)))
