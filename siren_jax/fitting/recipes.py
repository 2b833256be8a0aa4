"""Recipes: how a network begins and how a fit proceeds, apart from what is fitted.

`docs/performance.md` describes `TUNED`, and `docs/tried.md` compares it with its neighbours (`benchmarks/recipe.py`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

Schedule = Callable[..., Array]
"""Factor on the learning rate, a function of the share of the budget that is spent, 0 to 1. If it has an argument
`step`, it receives the number of the step as well, from 0."""

FLAT = 25  # steps before the rate of `inverse_root` falls

TARGETS = {
    "values": ("value",),
    "gradient": ("gradient", "gradient_integral"),
    "laplacian": ("laplacian", "laplacian_integral"),
    "mixed": ("value", "gradient", "laplacian"),
}
"""Quantities that a fit to each target is supervised on; see `supervise`."""


def cosine_decay(progress: Array) -> Array:
    """Factor on the learning rate: (1 + cos πp)/2, from one at the start of the budget to zero at its end.

    >>> cosine_decay(jnp.float32(0.0)).item(), round(cosine_decay(jnp.float32(1.0)).item(), 6)
    (1.0, 0.0)
    """
    return 0.5 * (1 + jnp.cos(jnp.pi * progress))


def constant(progress: Array) -> Array:
    """Factor one throughout."""
    return jnp.ones_like(progress)


def inverse_root(progress: Array, step: Array) -> Array:
    """Factor on the learning rate: min(1, √(25/(k + 1))) at step k = 0, 1, …, whatever the budget.

    With an average of the weights (`fit(average=True)`) the network is at any step about as good as that of a cosine
    decay whose budget ends there, so a fit may end when a target is reached. The weights themselves stay noisy.

    >>> inverse_root(jnp.float32(0.3), jnp.int32([24, 99])).tolist()
    [1.0, 0.5]
    """
    del progress
    return jnp.minimum(1.0, jnp.sqrt(FLAT / (step + 1)))


class Recipe(NamedTuple):
    """Settings of a network and of `fit`.

    >>> PAPER.learning_rate, TUNED["values"].weight_scale
    (0.0001, 2.0)
    """

    learning_rate: float
    """Of Adam, for networks of up to `for_width` units a layer."""
    b2: float
    """Adam's memory of squared gradients."""
    phase_limit: float | None
    """Largest omega·rate of the first layer, in radians; None for no limit. See `optimizer`."""
    batch_size: int | None
    """Points of a step; None for all."""
    steps: int
    """The budget where none is given."""
    schedule: Schedule
    """Of the learning rate, over the budget."""
    first_omega: float | None
    """Of the first layer; None to choose it for the signal with `choose_omega`."""
    weight_scale: float
    """Of the sine layers after the first."""
    integral_weight: float
    """Of the integral form of a derivative target; see `signals.integrals`."""
    clip: float | None = None
    """Largest length of the whole gradient; a longer one is scaled down to it."""
    for_width: int | None = 256
    """Wider networks learn at learning_rate·for_width / width; None for one rate for all."""

    @property
    def average(self) -> bool:
        """Whether the schedule needs the average of the weights; see `fit`."""
        return self.schedule is inverse_root

    def rate(self, network: Any = None) -> float:
        """The learning rate for a network.

        A step of Adam moves every weight by about the rate, so a unit that sums over twice as many moves twice as far:
        a video at width 512 and a rate of 3e-4 stays at 19.7 dB, and at 1e-4 it learns.
        """
        width = getattr(network, "width", None)
        if self.for_width is None or width is None:
            return self.learning_rate
        return self.learning_rate * min(1.0, self.for_width / width)

    def optimizer(self, network: Any = None) -> optax.GradientTransformation:
        """Adam at the network's rate, slower in the first layer of a sine network where its omega is high.

        A step turns the phases of the first layer by omega times the rate: at omega 2,400 and a rate of 5e-4 by more
        than a radian, and the fit collapses. So the first layer's rate is at most `phase_limit / first_omega`.

        Args:
            network: a SIREN or another; by default one that is not wide and has no sines.
        """
        rate, first_omega = self.rate(network), getattr(network, "first_omega", None)
        adam = optax.adam(rate, b2=self.b2)
        if self.clip is not None:
            adam = optax.chain(optax.clip_by_global_norm(self.clip), adam)
        first = getattr(network, "first_layer", None)
        if self.phase_limit is None or first_omega is None or first is None:
            return adam
        factor = float(min(1.0, self.phase_limit / (rate * first_omega)))
        return optax.chain(adam, optax.stateless(lambda updates, params: _scaled(updates, first, factor)))


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
"""Sitzmann et al. 2020, supplement: the whole signal at every step; theirs took 10,000 steps."""

PAPER_SOUND = PAPER._replace(first_omega=3000.0)
"""The same, for seven seconds at 44.1 kHz; theirs took 9,000 steps."""

PAPER_VIDEO = PAPER._replace(batch_size=165_000)
"""The same, on 0.38 % of the pixels of 250 frames of 272 x 640; theirs took 100,000 steps."""

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
"""For each target. On values 6 to 30 times sooner to the same quality than the paper's."""

TUNED_SOUND = _VALUES._replace(steps=4000)
"""On the values of sounds, of which seconds have as many samples as a large picture has pixels."""

TUNED_VIDEO = _VALUES._replace(steps=4000, batch_size=4096, weight_scale=1.0, first_omega=60.0)
"""On the values of videos. On 62 frames of the paper's clip at half resolution, with width 256 and 15 million points in
all, omega 20 reaches 32.6 dB, 30 33.2, 45 33.9 with 2,048 points a step, and 60 34.3 with 4,096; 1,024 points a step
29.9, a rate of 4e-4 29.0. Twice the initial weights have learned less after 80 s on the whole clip, and the omega that
`choose_omega` has for its three axes, 160, learns nothing."""

TUNED_INPAINTING = _VALUES._replace(batch_size=1024)
"""On known pixels and as many points of a prior."""

PAPER_SHAPE = PAPER._replace(batch_size=1400, clip=1.0)
"""The same, on 1,400 points of the surface and as many off it, with the gradient clipped; theirs took 50,000 steps,
with up to 250,000 points."""

TUNED_SHAPE = _VALUES._replace(steps=1500, batch_size=1024, weight_scale=1.0, first_omega=30.0, clip=1.0)
"""On signed distances. Twice the rate, half the omega, of the first layer or of all, and four times the weight of the
eikonal term gained nothing on the torus and the knot of `experiments/shape_fit.py`."""

SHAPE_WEIGHTS = {
    "paper": {"on": 3e3, "off": 1e2, "normal": 1e2, "eikonal": 5e1, "far": 0.0},
    "tuned": {"on": 3e3, "off": 1e2, "normal": 1e2, "eikonal": 5e1, "far": 5e2},
}
"""Of the terms of `objectives.signed_distance`, for either recipe. Sitzmann et al. 2020, supplement."""


def until_a_target(recipe: Recipe) -> Recipe:
    """The recipe of a fit that ends when a target is reached, and not after a number of steps that is known before."""
    return recipe._replace(schedule=inverse_root)


def _scaled(updates: Any, part: tuple[str | int, ...], factor: float) -> Any:
    """The updates, those of a part times a factor; of a network within another one too."""

    def scale(path: tuple, leaf: Array) -> Array:
        keys = tuple(getattr(entry, "key", getattr(entry, "idx", None)) for entry in path)
        there = any(keys[start : start + len(part)] == part for start in range(len(keys)))
        return factor * leaf if there else leaf

    return jax.tree_util.tree_map_with_path(scale, updates)
