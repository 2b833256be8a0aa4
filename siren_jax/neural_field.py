"""A fitted signal: a network with the signal's grid and range of values, evaluated at any point and saved in a file."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float
from numpy import ndarray

from siren_jax import display, viewer
from siren_jax._types import Precision, Quantity
from siren_jax.errors import InputError
from siren_jax.fields import operators
from siren_jax.fields.coordinates import Frame, Grid
from siren_jax.fields.precision import is_double, precision_of
from siren_jax.fields.tiles import map_over_tiles
from siren_jax.files import header, siren_file
from siren_jax.files.atomic import write_atomically
from siren_jax.shapes.level_set import extract
from siren_jax.shapes.mesh import Mesh
from siren_jax.shapes.placement import Placement
from siren_jax.signals.ranges import restored

BLOCK = 65536  # points that are rendered at once
if TYPE_CHECKING:
    Number = float
    Range = tuple[float, float]
else:  # at run time `header.check` reports wrong values in more detail than a type checker
    Number = Range = Any
RENDERED = ("value", "gradient", "laplacian")


@dataclass(frozen=True, eq=False)  # a field is hashable, for jax.jit, by its identity
class NeuralField:
    """A signal as a continuous function of coordinates, in the units of the signal's values.

    `field(points)` returns the values at points of shape `(d,)` or `(..., d)`. A neural field is a field, so the
    operators of this library and `jax.vmap`, `jax.grad` and `jax.jit` apply to it.

    It is also a PyTree, so it can be an argument and a result of `jax.jit`, `jax.vmap`, `jax.grad` and `jax.tree.map`:
    the leaves are the parameters of the network, and everything else is static. A field that these functions return has
    an empty record, because the record describes other parameters; `dataclasses.replace(field, record=...)` gives it
    one. Fields that differ only in their parameters or records share one compiled program.

    A field with float64 parameters, such as the solution that `refine(double=True)` finds, computes its values and
    derivatives in float64, without `jax_enable_x64`. JAX rounds them to float32 in any operation outside of
    `with jax.enable_x64(True):`, where `jax.jit` and `jax.grad` of this field belong too; NumPy does not.

    A notebook shows a small picture of the field and the three lines of its `repr`.

    Args:
        network: maps coordinates to values in [-1, 1].
        frame: the grid on which the signal was sampled. A shape has a grid over the cube [-1, 1]³. The solution of an
            equation has a grid over the box of its domain, and its points have the coordinates of the domain.
        value_range: the values of the signal for the network's values -1 and 1. For a shape, they are signed distances
            in the file's units.
        kind: kind of the signal: "image", "sound", "video", "shape" or "solution".
        rate: samples per second of a sound, or frames per second of a video; None for other kinds.
        record: description of how the signal was made, which is saved in the file.
        placement: map from the coordinates of a shape to the file's units; None for other kinds.

    Raises:
        InputError: the arguments contradict one another, or one that the kind needs is missing; see `header.check`.
    """

    network: siren_file.Network
    frame: Frame | Grid
    value_range: Range = (-1.0, 1.0)
    kind: str = "image"
    rate: Number | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    placement: Placement | None = None

    def __post_init__(self) -> None:
        plain = lambda number: number.item() if isinstance(number, np.generic) else number  # as in JSON
        object.__setattr__(self, "value_range", tuple(map(plain, self.value_range)))
        object.__setattr__(self, "rate", plain(self.rate))
        header.check("a neural field", self.description(), self.network.in_features, self.network.out_features)

    def __call__(self, points: Float[Array | ndarray, "... d"]) -> Float[Array, "... c"]:
        """Values at points, in the units of the signal; they are not clipped."""
        with precision_of(self.network) as array:
            return restored(self.network(array(points)), self.value_range)

    def gradient(self, points: Float[Array | ndarray, "... d"]) -> Float[Array, "... c d"]:
        """Gradient of every channel at points, in value per coordinate."""
        with precision_of(self.network) as array:
            return _over_points(operators.jacobian(self), array(points))

    def laplacian(self, points: Float[Array | ndarray, "... d"]) -> Float[Array, "... c"]:
        """Laplacian of every channel at points, in value per coordinate²."""
        half = (self.value_range[1] - self.value_range[0]) / 2
        with precision_of(self.network) as array:
            return half * _over_points(operators.laplacian(self.network), array(points))

    def render(
        self,
        shape: tuple[int, ...] | None = None,
        *,
        of: Quantity = "value",
        region: tuple[tuple[float, float], ...] | None = None,
        out: ndarray | None = None,
    ) -> ndarray:
        """The signal, or a region of it, sampled at the cell centres of a grid of any resolution.

        A grid coarser than the original has aliasing; average a finer grid instead, as `siren-jax render` does. The
        memory is that of the result and of a block of 65,536 points.

        Args:
            shape: number of samples along each axis; the default is one for each sample of the original in the region.
            of: "value" `(*shape, c)`, "gradient" `(*shape, c, d)` or "laplacian" `(*shape, c)`; derivatives have the
                units of the methods `gradient` and `laplacian`.
            region: start and stop for each axis, in samples of the original, where sample i covers [i, i + 1];
                fractions are allowed. The default is the whole signal. A region may extend beyond the original, where
                the network extrapolates.
            out: contiguous array of the result's shape to write to, such as a memory map.

        Raises:
            InputError: the quantity is unknown, the region or the shape is empty, or `out` has another shape or layout.
        """
        if of not in RENDERED:
            raise InputError(f"{of!r} cannot be rendered; choose one of {', '.join(RENDERED)}.")
        d = len(self.frame.shape)
        region = tuple((0, n) for n in self.frame.shape) if region is None else region
        if len(region) != d or not all(np.isfinite([a, b]).all() and a < b for a, b in region):
            raise InputError(f"a region needs a start before a stop for each of {d} axes, but is {region}.")
        shape = tuple(max(1, round(b - a)) for a, b in region) if shape is None else tuple(shape)
        if len(shape) != d or min(shape) < 1:
            raise InputError(f"a shape needs at least one sample along each of {d} axes, but is {shape}.")
        start, length = np.array(region).T[0], np.diff(np.array(region, np.float64), axis=1)[:, 0]

        full = self.rendered_shape(shape, of)
        if out is not None and (out.shape != full or not out.flags.c_contiguous):
            raise InputError(f"out must be a contiguous array of the shape {full}, but has the shape {out.shape}.")
        result = np.empty(full, self.dtype) if out is None else out
        flat = result.reshape(-1, *result.shape[d:])
        graphdef, state = nnx.split(self.network)
        count = int(np.prod(shape))
        block = min(BLOCK, count)
        scale = (self.value_range[1] - self.value_range[0]) / 2
        for first in range(0, count, block):
            number = np.arange(first, first + block)  # the last block exceeds the end, so that one size is compiled
            cell = np.stack(np.unravel_index(np.minimum(number, count - 1), shape), axis=-1)
            points = self.frame.coordinates(start + (cell + 0.5) * length / np.array(shape) - 0.5, self.dtype)
            values = scale * np.asarray(_evaluate(graphdef, state, points, of))
            flat[first : first + block] = (values + scale + self.value_range[0] if of == "value" else values)[
                : count - first
            ]
        return result

    @property
    def dtype(self) -> np.dtype:
        """The dtype of rendered values: float64 if the network has parameters in float64, otherwise float32."""
        return np.dtype(np.float64 if is_double(self.network) else np.float32)

    def rendered_shape(self, shape: tuple[int, ...], of: Quantity) -> tuple[int, ...]:
        """Shape of the result of `render` for a grid."""
        return (*shape, self.network.out_features, *([self.network.in_features] if of == "gradient" else []))

    def mesh(self, resolution: int = 256) -> Mesh:
        """The surface of a shape, on which its signed distance is zero, as triangles in the units of its file.

        Args:
            resolution: cells along each side of the cube, a multiple of 8; see `level_set.extract` for the memory.

        Raises:
            InputError: the signal is not a shape, or the resolution is invalid.
        """
        if self.placement is None:
            raise InputError(f"only a shape has a surface, but this is a signal of the kind {self.kind!r}.")
        graphdef, state = nnx.split(self.network)
        mesh = extract(lambda points: np.asarray(_evaluate(graphdef, state, points, "value")), resolution=resolution)
        return Mesh(self.placement.units(mesh.vertices), mesh.faces)

    def save(
        self, path: str | os.PathLike[str], *, precision: Precision | None = None, overwrite: bool = False
    ) -> None:
        """Writes a `.siren` file, completely or not at all.

        Args:
            path: path of the file.
            precision: precision of the weights after the first layer: "float32", "float16" or "bfloat16" for half the
                size, or "int8" for a quarter, from which `load` returns a float32 network; or "float64" for all digits
                of all parameters, from which it returns a float64 network. The default is "float64" for a float64
                network, otherwise "float32".
            overwrite: whether to replace an existing file.

        Raises:
            InputError: the file exists or cannot be written, the precision is unknown, or JSON cannot represent the
                record.
        """
        data = self.to_bytes(precision=precision)
        write_atomically(path, lambda file: file.write(data), overwrite=overwrite)

    def to_bytes(self, *, precision: Precision | None = None) -> bytes:
        """The bytes of the `.siren` file that `save` writes, for a database or a web page.

        Args:
            precision: as for `save`.

        Raises:
            InputError: the precision is unknown, or JSON cannot represent the record.
        """
        described = self.description() | {"record": header.as_json("record", self.record)}
        return siren_file.encoded(self.network, described, precision=precision)

    def page(
        self,
        *,
        name: str = "signal",
        precision: Precision = "float16",
        original: Float[ndarray, "h w c"] | None = None,
    ) -> str:
        """A self-contained HTML page in which a browser evaluates the field: see `docs/viewer.md`.

        Args:
            name: title of the page.
            precision: precision of the weights in the page, as for `save`.
            original: pixels from which a picture was fitted, in the units of its values, to be shown over the function.

        Raises:
            InputError: the network is too large for a page, or the original has another size.
        """
        return viewer.page([viewer.entry(self, name, self.still(), precision=precision, original=original)])

    def still(self) -> bytes | None:
        """A small picture of the field as a PNG: at most about 300 pixels. None if the signal has none."""
        return display.still(self.network, self.description(), self.record, self.render)

    def __repr__(self) -> str:
        return display.text(self.network, self.description(), self.record)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What Jupyter shows, by MIME type: `repr`, and a picture and the live page if it can be evaluated."""
        del include, exclude  # Jupyter selects by itself
        picture = page = None
        # Traced or stacked parameters, unknown kinds, damaged values, large networks: an error would hide the text.
        with suppress(Exception):
            picture = self.still()
            page = viewer.page([viewer.entry(self, self.kind, picture)])
        return display.bundle(repr(self), picture, page)

    def description(self) -> dict[str, Any]:
        """The file's description of the signal, without the record."""
        described = {"kind": self.kind, "frame": header.as_json("frame", asdict(self.frame))}
        described["value_range"] = list(self.value_range)
        if self.rate is not None:
            described["rate"] = self.rate
        if self.placement is not None:
            described["placement"] = header.as_json("placement", asdict(self.placement))
        return described


STATIC = ("frame", "value_range", "kind", "rate", "placement")


def _flatten(field: NeuralField) -> tuple[tuple[tuple[Any, Any]], tuple[Any, ...]]:
    return ((jax.tree_util.GetAttrKey("network"), field.network),), tuple(getattr(field, name) for name in STATIC)


def _unflatten(static: tuple[Any, ...], children: Iterable[Any]) -> NeuralField:
    """A field without any check, because JAX also makes fields of tracers, shapes and placeholders."""
    (network,) = children
    field = object.__new__(NeuralField)
    for name, value in {"network": network, "record": {}, **dict(zip(STATIC, static, strict=True))}.items():
        object.__setattr__(field, name, value)
    return field


jax.tree_util.register_pytree_with_keys(NeuralField, _flatten, _unflatten)


def load(path: str | os.PathLike[str]) -> NeuralField:
    """The fitted signal in a `.siren` file.

    Raises:
        InputError: the file is missing, truncated or of another kind or version, or contradicts itself.
    """
    stored, found = siren_file.read(path)
    network = siren_file.plain(repr(os.fspath(path)), stored)
    header.check(f"the header of {os.fspath(path)!r}", found, network.in_features, network.out_features)
    low, high = found["value_range"]
    return NeuralField(
        network,
        _frame(found["frame"]),
        (float(low), float(high)),
        kind=found["kind"],
        rate=float(found["rate"]) if found.get("rate") is not None else None,
        record=found.get("record", {}),
        placement=_placement(found["placement"]) if found["kind"] == "shape" else None,
    )


def _frame(given: Mapping[str, Any]) -> Frame | Grid:
    shape = tuple(given["shape"])
    if "low" not in given:
        return Frame(shape)
    return Grid(shape, tuple(map(float, given["low"])), tuple(map(float, given["high"])))


def _placement(given: Mapping[str, Any]) -> Placement:
    x, y, z = map(float, given["centre"])
    return Placement((x, y, z), float(given["scale"]))


def _over_points(function, points) -> Array:
    """Values of a function of one point at points of shape `(..., d)`."""
    values = jax.vmap(function)(points.reshape(-1, points.shape[-1]))
    return values.reshape(*points.shape[:-1], *values.shape[1:])


def _evaluate(graphdef, state, points, of: Quantity) -> Array:
    with precision_of(state) as array:
        return _evaluate_at(graphdef, state, array(points), of)


@partial(jax.jit, static_argnames=("graphdef", "of"))
def _evaluate_at(graphdef, state, points, of: Quantity) -> Array:
    network = nnx.merge(graphdef, state)
    function = {"value": network, "gradient": operators.jacobian(network), "laplacian": operators.laplacian(network)}[
        of
    ]
    return map_over_tiles(function, points)
