"""A neural field as a signal of a page: its file, and pictures that are seen before the function is."""

import io
import math
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from siren_jax._types import Precision
from siren_jax.errors import InputError
from siren_jax.viewer.html import Entry

LARGEST = {"in_features": 4, "out_features": 4, "width": 1024, "depth": 50}  # as in web/siren_file.js
WIDE = 512  # units from which a video has frames in its page, because a browser is slow to evaluate them
FRAMES, SIDE = 24, 96  # number of these frames, and their longer side in pixels


@runtime_checkable
class Showable(Protocol):
    """A `NeuralField`."""

    @property
    def network(self) -> Any: ...
    @property
    def frame(self) -> Any: ...
    @property
    def kind(self) -> str: ...
    @property
    def value_range(self) -> tuple[float, float]: ...
    def to_bytes(self, *, precision: Precision | None) -> bytes: ...
    def render(self, shape: tuple[int, ...]) -> ndarray: ...


def entry(
    field: Showable,
    name: str,
    still: bytes | None,
    *,
    precision: Precision = "float16",
    original: Float[ndarray, "h w c"] | None = None,
) -> Entry:
    """A field as a signal of a page.

    Args:
        field: a `NeuralField`.
        name: what the page calls it.
        still: the field's `still()`, which is seen until the function is.
        precision: as for `NeuralField.page`.
        original: as for `NeuralField.page`.

    Raises:
        InputError: the network is too large for a page, or the original has another size.
    """
    bare = bare_entry(field, name, precision=precision)
    pixels = None
    if original is not None:
        shape = field.frame.shape
        if field.kind != "image" or original.ndim != 3 or original.shape[:2] != shape:
            raise InputError(
                f"the original of a {field.kind} of {' × '.join(map(str, shape))} samples is a picture of this size, "
                f"of the shape (h, w, c), but has the shape {original.shape}."
            )
        pixels = _encoded(_shades(original, field.value_range), "PNG")
    frames = _frames(field) if field.kind == "video" and field.network.width >= WIDE else None
    return replace(bare, poster=_poster(still), original=pixels, frames=frames)


def bare_entry(field: Showable, name: str, *, precision: Precision = "float16") -> Entry:
    """A field as a signal of a page, without the pictures that are seen before the function is.

    Raises:
        InputError: the network is too large for a page.
    """
    for size, most in LARGEST.items():
        if (found := getattr(field.network, size)) > most:
            raise InputError(f"a page shows networks with {size} up to {most:,}, but this one has {found:,}.")
    return Entry(name, field.to_bytes(precision=precision))


def _poster(still: bytes | None) -> bytes | None:
    from PIL import Image

    return None if still is None else _encoded(np.asarray(Image.open(io.BytesIO(still)).convert("RGB")), "WEBP")


def _frames(field: Showable) -> tuple[bytes, int]:
    """Frames of a video, small, one below another."""
    total, *sides = field.frame.shape
    count, scale = min(FRAMES, total), min(1.0, SIDE / max(sides))
    shape = count, *(max(1, math.floor(scale * n)) for n in sides)
    frames = field.render(shape)
    return _encoded(_shades(frames.reshape(-1, *frames.shape[2:]), field.value_range), "JPEG"), count


def _shades(values: Float[ndarray, "h w c"], value_range: tuple[float, float]) -> ndarray:
    low, high = value_range
    shades = np.round(np.clip((values - low) / (high - low), 0, 1) * 255)
    shades = np.nan_to_num(shades).astype(np.uint8)
    return shades[..., 0] if shades.shape[-1] < 3 else shades[..., :3]


def _encoded(shades: ndarray, kind: str) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(shades).save(file, format=kind, quality=80)
    return file.getvalue()
