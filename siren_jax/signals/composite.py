"""Composites of two pictures: Poisson image editing."""

from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float
from numpy import ndarray

from siren_jax._types import Mode
from siren_jax.errors import InputError
from siren_jax.fields.coordinates import Frame
from siren_jax.signals.poisson import differences, divergence_of, solve_poisson
from siren_jax.signals.random_walks import walks
from siren_jax.signals.ranges import normalized, restored, value_range_of
from siren_jax.signals.samples import draw_strata, numbered_coordinates, strata

MODES = ("mean", "max", "paste")


class Composite:
    """A composite: wanted differences between neighbouring pixels where it is free, the background's values elsewhere.

    The composite u minimises Σ |u_q - u_p - v_pq|² over all pairs of neighbours with at least one free pixel. So at
    free pixels Lu = div v, a Poisson equation with the background on its border (Perez, Gangnet and Blake 2003;
    Sitzmann et al. 2020, Section 4.1, without a border). The mode takes the wanted differences v from both pictures:

    - `mean`: the mean of their differences;
    - `max`: for each pair, the difference that is longer over all channels, so that structure of both pictures shows;
    - `paste`: the differences of the foreground.

    If every pixel is free, differences leave the mean of the composite open; it is then the mean of both pictures.

    Args:
        foreground: `(h, w, c)`.
        background: a picture of the same shape and units.
        free: pixels that may differ from the background; by default all.
        mode: one of `MODES`.
        value_range: the interval that becomes [-1, 1]; by default as `value_range_of` finds it for the background.

    Raises:
        InputError: pictures or mask of different shapes, values that are not finite, no free pixel, an unknown mode,
            `paste` without known pixels.

    >>> step, flat = np.array([[[0.0], [1.0], [1.0]]]), np.zeros((1, 3, 1))
    >>> Composite(step, flat, np.array([[False, True, True]]), mode="paste").solution().ravel().tolist()
    [0.0, 1.0, 1.0]
    """

    def __init__(
        self,
        foreground: ndarray,
        background: ndarray,
        free: ndarray | None = None,
        *,
        mode: Mode = "max",
        value_range: tuple[float, float] | None = None,
    ):
        if foreground.ndim != 3 or foreground.shape != background.shape:
            raise InputError(
                f"both pictures have one shape (h, w, c), but these are {foreground.shape} and {background.shape}."
            )
        if not (np.isfinite(foreground).all() and np.isfinite(background).all()):
            raise InputError("a picture holds values that are NaN or infinite; replace them first.")
        self.free = np.ones(background.shape[:2], bool) if free is None else np.asarray(free, bool)
        if self.free.shape != background.shape[:2]:
            raise InputError(
                f"the mask has a value for each of {background.shape[0]} x {background.shape[1]} pixels, but its shape "
                f"is {self.free.shape}."
            )
        if not self.free.any():
            raise InputError("the mask leaves no pixel free, so nothing would change; is it the wrong way round?")
        if mode not in MODES:
            raise InputError(f"a mode is one of {', '.join(MODES)}, but this is {mode!r}.")
        if mode == "paste" and self.free.all():
            raise InputError(
                "paste keeps the background outside a mask; with no pixel outside, nothing of it is left. Take another "
                "mode: max or mean."
            )
        self.foreground, self.background = foreground, background
        self.value_range = value_range or value_range_of(background)
        self.frame = Frame(background.shape[:2])
        self._front, self._back = (
            normalized(np.asarray(p, np.float64), self.value_range) for p in (foreground, background)
        )
        self._mode = mode

    def solution(self) -> Float[ndarray, "h w c"]:
        """The composite in the background's units, by a sparse direct solve; see `solve_poisson`."""
        scaled = self._guide + solve_poisson(self._rest, self.free, self._back - self._guide)
        return restored(scaled, self.value_range)

    def sampler(self, batch_size: int) -> Partial:
        """A pure function `sample(key, step)` that draws `coordinates` and `value`, for `supervise("value")`.

        The share of free pixels in a batch is their share of the picture, but a quarter to three quarters if there are
        known pixels too. Both kinds are spread evenly. The value of a free pixel is a mean over random walks, see
        `signals.walks`, so that the expectation of a squared error is least at the composite.
        """
        if batch_size < 4:
            raise InputError(f"a batch of a composite has at least 4 points, but {batch_size} were asked for.")
        pixels = [p for p in (np.flatnonzero(self.free), np.flatnonzero(~self.free)) if len(p)]
        counts = [batch_size]
        if len(pixels) == 2:
            walked = round(batch_size * float(np.clip(self.free.mean(), 0.25, 0.75)))
            counts = [walked, batch_size - walked]
        edges = [strata(len(p), k) for p, k in zip(pixels, counts, strict=True)]
        pictures = [p.reshape(self.free.size, -1).astype(np.float32) for p in (self._guide, self._back)]
        arrays = pixels, edges, pictures, np.array(self.free.shape)
        walk = walks(self._rest, self.free, self._back - self._guide)
        return Partial(_draw, walk, *jax.tree.map(jnp.asarray, arrays))

    @cached_property
    def _guide(self) -> Float[ndarray, "h w c"]:
        """A picture that differs from the composite in broad tones only, so that the rest varies little."""
        return self._front if self._mode == "paste" else (self._front + self._back) / 2

    @cached_property
    def _rest(self) -> Float[ndarray, "h w c"]:
        """Source of the equation for the rest: the divergence of the wanted differences minus the guide's."""
        front, back, guide = map(differences, (self._front, self._back, self._guide))
        if self._mode != "max":
            return np.zeros_like(self._guide)  # the wanted differences are the guide's own
        rows, columns = (
            np.where(_length(f) > _length(b), f, b) - g for f, b, g in zip(front, back, guide, strict=True)
        )
        return divergence_of((rows, columns))


def _length(vectors: Float[ndarray, "h w c"]) -> Float[ndarray, "h w 1"]:
    return np.linalg.norm(vectors, axis=-1, keepdims=True)


def _draw(
    walk: Partial,
    pixels: list[Array],
    edges: list[Array],
    pictures: list[Array],
    shape: Array,
    key: Array,
    step: Array | int,
) -> dict[str, Array]:
    del step  # every step draws alike; the key differs
    for_walks, *for_pixels = jax.random.split(key, 1 + len(pixels))
    free, *known = [p[draw_strata(e, k)] for p, e, k in zip(pixels, edges, for_pixels, strict=True)]
    guide, back = pictures
    found = guide[free] + walk(for_walks, jnp.stack([free // shape[1], free % shape[1]], axis=-1))
    return {
        "coordinates": numbered_coordinates(jnp.concatenate([free, *known]), shape),
        "value": jnp.concatenate([found, *(back[k] for k in known)]),
    }
