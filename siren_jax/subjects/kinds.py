"""Kinds of signals: a table with one row per kind, for everything that differs. A new kind needs a row and a module."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy import ndarray

from siren_jax._types import RecipeName, SignalName
from siren_jax.errors import InputError
from siren_jax.fields import Grid
from siren_jax.fitting import recipes
from siren_jax.fitting.recipes import Recipe
from siren_jax.formats.file_kind import kind_of
from siren_jax.neural_field import NeuralField
from siren_jax.subjects.picture import open_picture, render_picture
from siren_jax.subjects.shape import open_shape, render_shape
from siren_jax.subjects.solution import render_solution
from siren_jax.subjects.sound import open_sound, render_sound
from siren_jax.subjects.subject import CHAMFER, PSNR, SNR, Measure, Subject
from siren_jax.subjects.video import open_video, render_video


@dataclass(frozen=True)
class Kind:
    """A kind of signal that `.siren` files contain."""

    name: str
    """Name in `.siren` files."""
    noun: str
    """Noun with its article, for messages: "a picture"."""
    formats: tuple[str, ...]
    """Suffixes of the files that `render` writes."""
    render: Callable[..., tuple[str, str]]
    """`(field, path, *, overwrite, ...)`: writes a signal in one of the formats; its other options are keywords."""
    describe: Callable[[NeuralField], dict[str, object]]
    """Properties of samples and values that `siren-jax info` prints, by name."""

    @property
    def plural(self) -> str:
        return f"{self.noun.split()[1]}s"

    @property
    def render_options(self) -> set[str]:
        return _options(self.render) - {"overwrite"}


@dataclass(frozen=True)
class SignalKind(Kind):
    """A kind of signal that comes in files and is fitted to samples."""

    open: Callable[..., Subject]
    """`(source, ...)`: a file or an array as the subject of a fit; its options are keywords."""
    measure: Measure
    """Measure of the quality."""
    tuned: Mapping[str, Recipe]
    """Tuned recipe for each target; the target is "values" if there is only one."""
    paper: Recipe
    """Recipe of the paper."""
    width: int = 256
    """Default number of units per hidden layer."""
    many: tuple[Recipe, Recipe] = (recipes.TUNED_SET, recipes.TUNED_SET_DEEP)
    """Recipes for fitting many signals at once, with networks of a depth up to 1 and deeper ones."""
    usual_shape: tuple[int, ...] | None = None
    """Default number of samples along each axis, for a state dict."""

    @property
    def open_options(self) -> set[str]:
        return _options(self.open)

    def recipe(self, name: RecipeName = "tuned", target: str = "values") -> Recipe:
        """The recipe for a target: "tuned" or "paper"."""
        return self.paper if name == "paper" else self.tuned[target]

    def recipe_of_many(self, depth: int) -> Recipe:
        """The recipe for fitting many signals at once, with networks of this depth."""
        return self.many[depth > 1]


def _options(function: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    return {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def _samples(field: NeuralField) -> dict[str, object]:
    low, high = field.value_range
    rows: dict[str, object] = {
        "samples": " x ".join(map(str, field.frame.shape)),
        "channels": field.network.out_features,
        "values": f"{low:.7g} to {high:.7g}",
    }
    if field.rate is not None:
        rows["rate"] = f"{field.rate:.6g} a second, {field.frame.shape[0] / field.rate:.4g} s"
    return rows


def _cube(field: NeuralField) -> dict[str, object]:
    place = field.placement
    assert place is not None
    cube = " x ".join(f"{c - place.scale:.6g} to {c + place.scale:.6g}" for c in place.centre)
    return {"cube": cube, "values": "signed distance, negative inside"}


def _domain(field: NeuralField) -> dict[str, object]:
    assert isinstance(field.frame, Grid)
    ends = zip(field.frame.low, field.frame.high, strict=True)
    domain = " x ".join(f"{low:g} to {high:g}" for low, high in ends)
    return {"domain": domain, "unknowns": field.network.out_features}


SIGNALS = {
    kind.name: kind
    for kind in (
        SignalKind(
            "image",
            "a picture",
            (".png", ".npy"),
            render_picture,
            _samples,
            open_picture,
            PSNR,
            recipes.TUNED,
            recipes.PAPER,
            usual_shape=(256, 256),
        ),
        SignalKind(
            "sound",
            "a sound",
            (".wav", ".flac", ".ogg", ".npy"),
            render_sound,
            _samples,
            open_sound,
            SNR,
            {"values": recipes.TUNED_SOUND},
            recipes.PAPER_SOUND,
            many=(recipes.TUNED_SET_SOUND, recipes.TUNED_SET_SOUND),
        ),
        SignalKind(
            "video",
            "a video",
            (".mp4", ".gif", ".png", ".npy"),
            render_video,
            _samples,
            open_video,
            PSNR,
            {"values": recipes.TUNED_VIDEO},
            recipes.PAPER_VIDEO,
            width=1024,  # as in the paper
        ),
        SignalKind(
            "shape",
            "a shape",
            (".ply", ".obj", ".stl", ".png", ".npy"),
            render_shape,
            _cube,
            open_shape,
            CHAMFER,
            {"values": recipes.TUNED_SHAPE},
            recipes.PAPER_SHAPE,
            many=(recipes.TUNED_SET_SHAPE, recipes.TUNED_SET_SHAPE),
            usual_shape=(256, 256, 256),
        ),
    )
}
KINDS: dict[str, Kind] = {
    **SIGNALS,
    "solution": Kind("solution", "a solution", (".png", ".npy"), render_solution, _domain),
}


def describe(field: NeuralField) -> dict[str, object]:
    """The kind of a signal, its samples and its values, by name. An unknown kind is described like a picture."""
    kind = KINDS.get(field.kind, KINDS["image"])
    return {"kind": field.kind, **kind.describe(field)}


def kind_of_source(
    source: str | ndarray, kind: SignalName | None = None, rate: int | float | None = None
) -> SignalKind:
    """The kind of the signal in a file or an array.

    Args:
        source: path of a file, whose content decides, or an array: with a rate a sound `(n,)` or `(n, c)` or a video
            `(t, h, w)` or `(t, h, w, c)`, else a picture `(h, w)` or `(h, w, c)`.
        kind: "image", "sound", "video" or "shape"; by default found as above.
        rate: samples or frames per second of an array.

    Raises:
        InputError: the source has none of these kinds.
    """
    name: str | None = kind
    if name is None:
        if isinstance(source, ndarray):
            timed, still = {1: "sound", 2: "sound", 3: "video", 4: "video"}, {2: "image", 3: "image"}
            name = (still if rate is None else timed).get(source.ndim)
        else:
            name = kind_of(source)
    if name not in SIGNALS:
        found = f"an array of the shape {source.shape}" if isinstance(source, ndarray) else repr(source)
        raise InputError(
            f"{found} is none of {', '.join(SIGNALS)}. An array of a sound or a video needs its rate; kind= gives "
            "the kind explicitly."
        )
    return SIGNALS[name]
