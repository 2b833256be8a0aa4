"""Collections of small pictures of one size, from packages and files, for experiments on spaces of signals."""

import numpy as np
import skimage.data
from jaxtyping import UInt8
from numpy import ndarray

from experiments import digits

FACES = 100  # the first pictures of scikit-image's; others are no faces
PHOTOGRAPHS = (skimage.data.astronaut, skimage.data.coffee, skimage.data.chelsea, skimage.data.rocket)


def read(name: str) -> UInt8[ndarray, "n h w c"]:
    """The pictures of a collection.

    Args:
        name: "digits": 1,797 digits of 8 x 8 pixels from scikit-learn. "faces": 100 faces of 25 x 25 pixels, and
            "photographs": 858 parts of 32 x 32 pixels of photographs in colour, from scikit-image. Else the path of an
            `.npz` file of digits, see `experiments/digits.py`.

    Raises:
        InputError: scikit-learn is missing, or the file cannot be read.
    """
    if name == "digits":
        return digits.bundled().images[..., None]
    if name == "faces":
        return np.rint(255 * skimage.data.lfw_subset()[:FACES]).astype(np.uint8)[..., None]
    if name == "photographs":
        return np.concatenate([parts(photograph(), 32) for photograph in PHOTOGRAPHS])
    return digits.read(name).images[..., None]


def parts(picture: UInt8[ndarray, "h w c"], side: int) -> UInt8[ndarray, "n side side c"]:
    """The squares that a picture consists of, from its upper left corner on."""
    rows, columns = (n // side for n in picture.shape[:2])
    whole = picture[: rows * side, : columns * side].reshape(rows, side, columns, side, -1)
    return whole.swapaxes(1, 2).reshape(rows * columns, side, side, -1)
