"""A fitted signal: a network with the grid and the values it stands for, evaluated anywhere and kept in a file."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float
from numpy import ndarray

from siren_jax import operators, storage
from siren_jax.errors import InputError
from siren_jax.level_set import extract
from siren_jax.signals.grid import Frame, Grid
from siren_jax.signals.mesh import Mesh
from siren_jax.signals.placement import Placement
from siren_jax.tiles import map_over_tiles

BLOCK = 65536  # points that a render holds at a time
RENDERED = ("value", "gradient", "laplacian")
MAX_SAMPLES = 2**31  # of a header's frame
AXES = {"sound": 1, "image": 2, "video": 3, "shape": 3}
LARGEST = 1e18  # of a placement, a box and a rate


@dataclass(frozen=True, eq=False)  # a field is hashable, for jax.jit, by its identity
class NeuralField:
    """A signal as a continuous function of coordinates, in the signal's own values.

    `field(points)` gives the values at points of shape `(d,)` or `(..., d)`; a neural field is itself a field, so that
    the operators of this library and `jax.vmap`, `jax.grad` and `jax.jit` apply to it.

    Args:
        network: maps coordinates to values in [-1, 1].
        frame: the grid that the signal was sampled on; of a shape a grid over the cube [-1, 1]³; of the solution of an
            equation one over the box of its domain, in whose coordinates its points are.
        value_range: the values that [-1, 1] stands for; of a shape its signed distances in the file's units.
        kind: of the signal: "image", "sound", "video", "shape" or "solution".
        rate: of a sound, samples a second; of a video, frames.
        record: how it was made; kept in the file.
        placement: of a shape, what its coordinates are in the file's units.
    """

    network: storage.Network
    frame: Frame | Grid
    value_range: tuple[float, float] = (-1.0, 1.0)
    kind: str = "image"
    rate: float | None = None
    record: Mapping[str, Any] = field(default_factory=dict)
    placement: Placement | None = None

    def __call__(self, points: Float[Array | ndarray, "... d"]) -> Float[Array, "... c"]:
        """Values at points, in the signal's own range; not clipped."""
        low, high = self.value_range
        return low + (self.network(jnp.asarray(points)) + 1) * ((high - low) / 2)

    def gradient(self, points: Float[Array | ndarray, "... d"]) -> Float[Array, "... c d"]:
        """Gradient of every channel at points, in value per coordinate."""
        return _over_points(operators.jacobian(self), points)

    def laplacian(self, points: Float[Array | ndarray, "... d"]) -> Float[Array, "... c"]:
        """Laplacian of every channel at points, in value per coordinate²."""
        half = (self.value_range[1] - self.value_range[0]) / 2
        return half * _over_points(operators.laplacian(self.network), points)

    def render(
        self,
        shape: tuple[int, ...] | None = None,
        *,
        of: str = "value",
        region: tuple[tuple[float, float], ...] | None = None,
        out: ndarray | None = None,
    ) -> ndarray:
        """The signal sampled on a grid of any resolution, over all of it or a part, at the centres of the grid's cells.

        A grid coarser than the original aliases; average a finer one, as `siren-jax render` does. Memory is that of the
        result and of a block of 65,536 points.

        Args:
            shape: samples along each axis; by default the original's, or one for each of the original's samples in the
                region.
            of: "value" `(*shape, c)`, "gradient" `(*shape, c, d)` or "laplacian" `(*shape, c)`, derivatives as in the
                methods.
            region: for each axis its start and stop in samples of the original, fractions allowed; sample i covers [i,
                i + 1]. By default all of it. May reach beyond the original, where the network extrapolates.
            out: contiguous array of the result's shape to write to; a memory map, for example.

        Raises:
            InputError: a quantity that is not known, an empty region or shape, an `out` of another shape or layout.
        """
        if of not in RENDERED:
            raise InputError(f"{of!r} cannot be rendered; choose one of {', '.join(RENDERED)}.")
        d = len(self.frame.shape)
        region = tuple((0, n) for n in self.frame.shape) if region is None else region
        if len(region) != d or not all(np.isfinite([a, b]).all() and a < b for a, b in region):
            raise InputError(f"a region has a start before a stop for each of {d} axes, but is {region}.")
        shape = tuple(max(1, round(b - a)) for a, b in region) if shape is None else tuple(shape)
        if len(shape) != d or min(shape) < 1:
            raise InputError(f"a shape has at least one sample along each of {d} axes, but is {shape}.")
        start, length = np.array(region).T[0], np.diff(np.array(region, np.float64), axis=1)[:, 0]

        full = self.rendered_shape(shape, of)
        if out is not None and (out.shape != full or not out.flags.c_contiguous):
            raise InputError(f"out must be a contiguous array of the shape {full}, but has the shape {out.shape}.")
        result = np.empty(full, np.float32) if out is None else out
        flat = result.reshape(-1, *result.shape[d:])
        graphdef, state = nnx.split(self.network)
        count = int(np.prod(shape))
        block = min(BLOCK, count)
        scale = (self.value_range[1] - self.value_range[0]) / 2
        for first in range(0, count, block):
            number = np.arange(first, first + block)  # past the end in the last block: one compiled size
            cell = np.stack(np.unravel_index(np.minimum(number, count - 1), shape), axis=-1)
            points = self.frame.coordinates(start + (cell + 0.5) * length / np.array(shape) - 0.5)
            values = scale * np.asarray(_evaluate(graphdef, state, points, of))
            flat[first : first + block] = (values + scale + self.value_range[0] if of == "value" else values)[
                : count - first
            ]
        return result

    def rendered_shape(self, shape: tuple[int, ...], of: str) -> tuple[int, ...]:
        """Shape of what `render` returns for a grid."""
        return (*shape, self.network.out_features, *([self.network.in_features] if of == "gradient" else []))

    def mesh(self, resolution: int = 256) -> Mesh:
        """The surface of a shape, where its signed distance is zero, as triangles in the units of its file.

        Args:
            resolution: cells along each side of the cube, a multiple of 8; see `level_set.extract` for the memory.

        Raises:
            InputError: this is no shape, or another resolution.
        """
        if self.placement is None:
            raise InputError(f"a shape has a surface, but this is a signal of the kind {self.kind!r}.")
        graphdef, state = nnx.split(self.network)
        mesh = extract(lambda points: np.asarray(_evaluate(graphdef, state, points, "value")), resolution=resolution)
        return Mesh(self.placement.units(mesh.vertices), mesh.faces)

    def save(self, path: str | os.PathLike[str], *, precision: str = "float32", overwrite: bool = False) -> None:
        """Writes a `.siren` file, whole or not at all.

        Args:
            path: the file.
            precision: of the weights after the first layer: "float32", "float16" or "bfloat16" for half of the size,
                "int8" for a quarter. The network that `load` gives is float32 again.
            overwrite: replace a file that exists.

        Raises:
            InputError: the file exists, or cannot be written, or another precision.
        """
        header = {
            "kind": self.kind,
            "frame": asdict(self.frame),
            "value_range": list(self.value_range),
            **({} if self.rate is None else {"rate": self.rate}),
            **({} if self.placement is None else {"placement": asdict(self.placement)}),
            "record": dict(self.record),
        }
        storage.write(path, self.network, header, precision=precision, overwrite=overwrite)


def load(path: str | os.PathLike[str]) -> NeuralField:
    """The fitted signal in a `.siren` file.

    Raises:
        InputError: the file is missing, truncated, of another kind or version, or contradicts itself.
    """
    network, header = storage.read(path)
    if not _valid(header, network):
        raise InputError(
            f"the header of {os.fspath(path)!r} lacks a valid kind, frame, value_range, rate or placement for its "
            "network."
        )
    low, high = header["value_range"]
    return NeuralField(
        network,
        _frame(header["frame"]),
        (float(low), float(high)),
        kind=header["kind"],
        rate=float(header["rate"]) if "rate" in header else None,
        record=header.get("record", {}),
        placement=_placement(header["placement"]) if "placement" in header else None,
    )


def _valid(header: Mapping[str, Any], network: storage.Network) -> bool:
    """Whether the fields of a header, beside its network, are what `save` writes."""
    try:
        shape, (low, high) = header["frame"]["shape"], header["value_range"]
        return (
            len(shape) == network.in_features == AXES.get(header["kind"], network.in_features)
            and all(type(n) is int and 1 <= n <= MAX_SAMPLES for n in shape)
            and all(type(value) in (int, float) for value in (low, high))
            and 0 < float(high) - float(low) < np.inf
            and isinstance(header["kind"], str)
            and valid_rate(header["kind"], header.get("rate"))
            and _valid_placement(header, network)
            and _valid_box(header)
            and isinstance(header.get("record", {}), dict)
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return False


def valid_rate(kind: str, rate: Any) -> bool:
    """Whether a signal of this kind has such a rate; of others than sounds and videos none."""
    if kind in ("sound", "video"):
        return type(rate) in (int, float) and 0 < rate <= LARGEST and (kind == "video" or rate == int(rate))
    return rate is None


def _valid_placement(header: Mapping[str, Any], network: storage.Network) -> bool:
    if header["kind"] != "shape":
        return "placement" not in header
    given = header["placement"]
    numbers = [*given["centre"], given["scale"]]
    return (
        network.out_features == 1
        and len(numbers) == 4
        and all(type(number) in (int, float) and abs(number) <= LARGEST for number in numbers)
        and given["scale"] > 0
        and header["value_range"] == [-given["scale"], given["scale"]]
    )


def _valid_box(header: Mapping[str, Any]) -> bool:
    frame = header["frame"]
    if header["kind"] != "solution":
        return "low" not in frame
    ends = [frame["low"], frame["high"]]
    return (
        all(len(end) == len(frame["shape"]) for end in ends)
        and all(type(x) in (int, float) and abs(x) <= LARGEST for end in ends for x in end)
        and all(low < high for low, high in zip(*ends, strict=True))
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
    """`function` of one point at points of shape `(..., d)`."""
    points = jnp.asarray(points)
    values = jax.vmap(function)(points.reshape(-1, points.shape[-1]))
    return values.reshape(*points.shape[:-1], *values.shape[1:])


@partial(jax.jit, static_argnames=("graphdef", "of"))
def _evaluate(graphdef, state, points, of: str) -> Array:
    network = nnx.merge(graphdef, state)
    function = {"value": network, "gradient": operators.jacobian(network), "laplacian": operators.laplacian(network)}[
        of
    ]
    return map_over_tiles(function, points)
