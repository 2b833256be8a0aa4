"""Recipes: settings of networks and of fits, independent of the signal.

`docs/performance.md` describes `TUNED`, and `docs/tried.md` compares it with its neighbours (`benchmarks/recipe.py`).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

Schedule = Callable[..., Array]
"""Factor on the learning rate, as a function of the spent share of the budget, 0 to 1. A schedule with an argument
`step` also receives the number of the step, from 0."""

FLAT = 25  # steps before the rate of `inverse_root` decreases

TARGETS = {
    "values": ("value",),
    "gradient": ("gradient", "gradient_integral"),
    "laplacian": ("laplacian", "laplacian_integral"),
    "mixed": ("value", "gradient", "laplacian"),
}
"""Quantities that are supervised in a fit to each target; see `supervise`."""


def cosine_decay(share: Array) -> Array:
    """Factor on the learning rate: (1 + cos πs)/2, from 1 at the start of the budget to 0 at its end.

    >>> cosine_decay(jnp.float32(0.0)).item(), round(cosine_decay(jnp.float32(1.0)).item(), 6)
    (1.0, 0.0)
    """
    return 0.5 * (1 + jnp.cos(jnp.pi * share))


def constant(share: Array) -> Array:
    """Factor on the learning rate: 1 at every step."""
    return jnp.ones_like(share)


def inverse_root(share: Array, step: Array) -> Array:
    """Factor on the learning rate: min(1, √(25/(k + 1))) at step k = 0, 1, …, whatever the budget.

    With the average of the weights (`fit(average=True)`), the network at any step is about as good as after a cosine
    decay whose budget ends there, so a fit may end when a target is reached. The weights themselves stay noisy.

    >>> inverse_root(jnp.float32(0.3), jnp.int32([24, 99])).tolist()
    [1.0, 0.5]
    """
    del share
    return jnp.minimum(1.0, jnp.sqrt(FLAT / (step + 1)))


class Recipe(NamedTuple):
    """Settings of a network and of `fit`.

    >>> PAPER.learning_rate, TUNED["values"].weight_scale
    (0.0001, 2.0)
    """

    learning_rate: float
    """Learning rate of Adam, for networks of up to `for_width` units per layer."""
    b2: float
    """Decay rate of Adam's mean of squared gradients."""
    phase_limit: float | None
    """Largest omega·rate of the first layer, in radians; None for no limit. See `optimizer`."""
    batch_size: int | None
    """Number of points per step; None for all points."""
    steps: int
    """Number of steps if no budget is given."""
    schedule: Schedule
    """Factor on the learning rate over the budget."""
    first_omega: float | None
    """Omega of the first layer; None to choose it for the signal with `choose_omega`."""
    weight_scale: float
    """Factor on the initial weights of the sine layers after the first."""
    integral_weight: float
    """Weight of the integral form of a derivative target; see `signals.integrals`."""
    clip: float | None = None
    """Largest norm of the whole gradient; a longer gradient is scaled down to it."""
    for_width: int | None = 256
    """Width above which the learning rate is learning_rate·for_width / width; None for one rate at all widths."""
    patience: int = 4
    """Multiple of `steps` after which `fit_many` gives up a quality. At 1, it keeps the schedule, so a signal reaches
    its quality near the end of its steps or not at all."""

    @property
    def average(self) -> bool:
        """Whether the schedule needs the average of the weights; see `fit`."""
        return self.schedule is inverse_root

    def rate(self, network: Any = None) -> float:
        """The learning rate for a network.

        A step of Adam changes every weight by about the rate, so a unit with twice as many inputs changes twice as
        much: a video at width 512 stays at 19.7 dB with a rate of 3e-4, and is learned with 1e-4.
        """
        width = getattr(network, "width", None)
        if self.for_width is None or width is None:
            return float(self.learning_rate)
        return float(self.learning_rate * min(1.0, self.for_width / width))

    def optimizer(self, network: Any = None) -> optax.GradientTransformation:
        """Adam at the network's rate, with a lower rate in a first sine layer of high omega.

        A step changes the phases of the first layer by omega times the rate. At omega 2,400 and a rate of 5e-4 that is
        more than a radian, and the fit collapses. The first layer's rate is therefore at most
        `phase_limit / first_omega`.

        Args:
            network: the network to optimise; without one, the rate is that of a narrow network without sines.
        """
        rate, first_omega = self.rate(network), getattr(network, "first_omega", None)
        first = getattr(network, "first_layer", None)
        settings = rate, float(self.b2), None if self.clip is None else float(self.clip)
        if self.phase_limit is None or first_omega is None or first is None:
            return _adam(*settings)
        return _adam(*settings, first, min(1.0, float(self.phase_limit / (rate * first_omega))))


PAPER = Recipe(
    learning_rate=1e-4,
    b2=0.999,
    phase_limit=None,
    batch_size=None,
    steps=1000,
    schedule=constant,
    first_omega=30.0,
    weight_scale=1.0,
    integral_weight=0.0,
    for_width=None,
)
"""Recipe of Sitzmann et al. 2020, supplement, with the whole signal at every step. The paper takes 10,000 steps."""

PAPER_SOUND = PAPER._replace(first_omega=3000.0)
"""Recipe of the paper for seven seconds of sound at 44.1 kHz. The paper takes 9,000 steps."""

PAPER_VIDEO = PAPER._replace(batch_size=165_000)
"""Recipe of the paper for a video: 0.38 % of the pixels of 250 frames of 272 x 640 at every step. The paper takes
100,000 steps."""

_VALUES = Recipe(
    learning_rate=2.5e-4,
    b2=0.99,
    phase_limit=0.015,
    batch_size=2048,
    steps=2000,
    schedule=cosine_decay,
    first_omega=None,
    weight_scale=2.0,
    integral_weight=1.0,
)
_DERIVATIVES = _VALUES._replace(
    learning_rate=3e-4, b2=0.999, batch_size=4096, steps=1000, weight_scale=1.0, first_omega=30.0
)

TUNED = {"values": _VALUES, "gradient": _DERIVATIVES, "laplacian": _DERIVATIVES, "mixed": _DERIVATIVES}
"""Default recipe for each target. For values, it reaches the quality of the paper's recipe in 1/6 to 1/30 of the
time."""

TUNED_SOUND = _VALUES._replace(steps=4000)
"""Default recipe for the values of sounds. A few seconds have as many samples as a large picture has pixels."""

TUNED_VIDEO = _VALUES._replace(steps=4000, batch_size=4096, weight_scale=1.0, first_omega=60.0)
"""Default recipe for the values of videos. It was chosen on 62 frames of the paper's clip at half resolution, with
width 256 and 15 million points in total. With 2,048 points per step, omega 20 reaches 32.6 dB, omega 30 33.2 dB and
omega 45 33.9 dB; omega 60 with 4,096 points per step reaches 34.3 dB. 1,024 points per step reach 29.9 dB, and a rate
of 4e-4 29.0 dB. On the whole clip, twice the initial weights give a lower PSNR after 80 s, and with the omega that
`choose_omega` returns for the clip, 160, the network learns nothing."""

TUNED_INPAINTING = _VALUES._replace(batch_size=1024)
"""Default recipe for inpainting, with `batch_size` known pixels and as many points of a prior per step."""

TUNED_SET = _VALUES._replace(learning_rate=1.2e-2, b2=0.95, phase_limit=None, steps=500, first_omega=20.0, for_width=32)
"""Default recipe for the values of many small signals, in networks of some 32 units per layer and a depth of 1. It was
chosen on 64 digits of 28 x 28 pixels with width 32: 40 dB after 91 steps on average and 125 at most. A rate of 6e-3
takes 138 and 275, 2.4e-2 takes 186 and 275; 3e-3 with b2 = 0.99 takes 341 on average."""

TUNED_SET_DEEP = TUNED_SET._replace(learning_rate=6e-3, first_omega=30.0)
"""The same for deeper networks: on 16 emoji of 64 x 64 pixels with 64 x 2 units, 35 dB after 128 steps on average.
Twice the rate leaves a quarter of them below after 500 steps, and so does omega 20 one of them."""

TUNED_SET_SOUND = TUNED_SET_DEEP._replace(steps=2000, first_omega=None, weight_scale=1.0, patience=1)
"""The same for sounds, each with the omega of `choose_omega`. For 16 prompts of 0.8 to 2 seconds at 8 kHz in 64 x 2
units, the mean SNR is 40.3 dB after 2,000 steps and 31.7 dB after 1,000; 14 and 11 of them have 30 dB. Half the rate
reaches 24.5 dB. With `inverse_root`, only 5 of 16 have 30 dB after 4,000 steps."""

TUNED_SET_SHAPE = TUNED_SET_DEEP._replace(
    learning_rate=1e-3, b2=0.99, steps=400, weight_scale=1.0, first_omega=10.0, for_width=64
)
"""The same for the signed distances of shapes: on 8 shapes with 64 x 3 units and 512 points per step, a Chamfer
distance of 0.37 % of the diagonal after 200 steps. At a rate of 4e-3, no surface is left."""

PAPER_SHAPE = PAPER._replace(batch_size=1400, clip=1.0)
"""Recipe of the paper for a shape, with 1,400 points on the surface and as many off it, and a clipped gradient. The
paper takes 50,000 steps, with up to 250,000 points."""

TUNED_SHAPE = _VALUES._replace(steps=1500, batch_size=1024, weight_scale=1.0, first_omega=30.0, clip=1.0)
"""Default recipe for signed distances. On the torus and the knot of `experiments/shape_fit.py`, three changes gained
nothing: twice the rate; half the omega of the first layer or of all layers; four times the weight of the eikonal
term."""

SHAPE_WEIGHTS = {
    "paper": {"on": 3e3, "off": 1e2, "normal": 1e2, "eikonal": 5e1, "far": 0.0},
    "tuned": {"on": 3e3, "off": 1e2, "normal": 1e2, "eikonal": 5e1, "far": 5e2},
}
"""Weights of the terms of `objectives.signed_distance` for each recipe. Sitzmann et al. 2020, supplement."""


@functools.lru_cache  # the same object for the same numbers, so that `fit` finds its compiled steps again
def _adam(
    rate: float, b2: float, clip: float | None, first: tuple[str | int, ...] = (), factor: float = 1.0
) -> optax.GradientTransformation:
    """Adam after clipping, with the updates of the part `first` multiplied by a factor."""
    parts: list[optax.GradientTransformation] = [optax.adam(rate, b2=b2)]
    if clip is not None:
        parts.insert(0, optax.clip_by_global_norm(clip))
    if first:
        parts.append(optax.stateless(lambda updates, params: _scaled(updates, first, factor)))
    return optax.chain(*parts)


def until_a_target(recipe: Recipe) -> Recipe:
    """The recipe for a fit that ends when a target is reached: its schedule does not depend on the number of steps."""
    return recipe._replace(schedule=inverse_root)


def _scaled(updates: Any, part: tuple[str | int, ...], factor: float) -> Any:
    """The updates, with those of one part multiplied by a factor, also where the network is part of a larger one."""

    def scale(path: tuple, leaf: Array) -> Array:
        keys = tuple(getattr(entry, "key", getattr(entry, "idx", None)) for entry in path)
        there = any(keys[start : start + len(part)] == part for start in range(len(keys)))
        return factor * leaf if there else leaf

    return jax.tree_util.tree_map_with_path(scale, updates)
