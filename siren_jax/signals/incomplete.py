"""Pictures of which only some pixels are known."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.signals.pixels import PixelDataset
from siren_jax.signals.samples import draw_strata, numbered_coordinates, strata


class IncompletePicture(PixelDataset):
    """A picture of which only some pixels are known: batches have known pixels, and points anywhere for a prior.

    Args:
        image: `(h, w)` or `(h, w, c)`; values at unknown pixels serve for comparison alone, and may be NaN.
        known: `(h, w)`, true where a pixel is known; by default where all channels are finite.
        value_range: as for `PixelDataset`; by default found from the known pixels.

    Raises:
        InputError: as for `PixelDataset`; a mask of another size, or without a known pixel.

    >>> picture = IncompletePicture(np.array([[0.0, 1.0], [1.0, 1.0]]), np.array([[1, 0], [1, 0]]))
    >>> sorted(picture.sampler(2)(jax.random.key(0), 0)["value"].ravel().tolist()), picture.filled().ravel().tolist()
    ([-1.0, 1.0], [0.0, 0.0, 1.0, 1.0])
    """

    def __init__(self, image: ndarray, known: ndarray | None = None, *, value_range: tuple[float, float] | None = None):
        self._mask = known
        super().__init__(image, value_range=value_range)

    def _known(self, signal: ndarray) -> ndarray:
        finite = np.all(np.isfinite(signal), axis=-1)
        self.known: Bool[ndarray, "h w"] = finite if self._mask is None else np.asarray(self._mask, bool)
        if self.known.shape != finite.shape:
            raise InputError(
                f"the mask has a value for each of {finite.shape[0]} x {finite.shape[1]} pixels, but its shape is "
                f"{self.known.shape}."
            )
        if not self.known.any():
            raise InputError("no pixel is known, so there is nothing to go by; is the mask the wrong way round?")
        return signal[self.known]

    def sampler(self, batch_size: int | None = None, *, quantities: tuple[str, ...] = ("value",)) -> Partial:
        """A pure function `sample(key, step)` that draws `coordinates` and `value` of known pixels, spread evenly, and
        as many points `anywhere` `(n, 2)`, uniform over the whole picture.

        Args:
            batch_size: points of each kind; by default as many as there are known pixels. If more, some come twice.
            quantities: only "value": derivatives need neighbours, which may be unknown.

        Raises:
            InputError: no points, or other quantities.
        """
        if quantities != ("value",):
            raise InputError(f"an incomplete picture supervises values alone, but got {quantities}.")
        pixels = np.flatnonzero(self.known)
        n = len(pixels) if batch_size is None else batch_size
        if n < 1:
            raise InputError(f"a batch has at least one point, but {batch_size} were asked for.")
        known = pixels, strata(len(pixels), n), self.value[pixels]
        return Partial(_draw, *map(jnp.asarray, (*known, self.shape, np.array(self.frame.extent, np.float32))))

    def filled(self) -> Float[ndarray, "h w c"]:
        """The picture with the values of the nearest known pixel at every unknown one."""
        import scipy.ndimage

        nearest = scipy.ndimage.distance_transform_edt(~self.known, return_distances=False, return_indices=True)
        return self.signal[tuple(np.asarray(nearest))]


def _draw(
    pixels: Array, edges: Array, values: Array, shape: Array, extent: Array, key: Array, step: Array | int
) -> dict[str, Array]:
    del step  # every step draws alike; the key differs
    for_pixels, for_points = jax.random.split(key)
    number = draw_strata(edges, for_pixels)
    anywhere = jax.random.uniform(for_points, (len(number), 2), jnp.float32, minval=-1) * extent
    return {"coordinates": numbered_coordinates(pixels[number], shape), "value": values[number], "anywhere": anywhere}
