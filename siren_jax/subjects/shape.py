"""A shape as the subject of a fit, and as a file."""

import os
import warnings
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.tree_util import Partial

from siren_jax._types import RecipeName
from siren_jax.errors import InputError
from siren_jax.fields import Frame
from siren_jax.fields.operators import gradient
from siren_jax.fields.tiles import map_over_tiles
from siren_jax.files.atomic import write_atomically
from siren_jax.fitting.objectives import signed_distance
from siren_jax.fitting.recipes import SHAPE_WEIGHTS
from siren_jax.metrics import intersection_over_union
from siren_jax.neural_field import NeuralField
from siren_jax.shapes import Mesh, Reference, Surface, SurfaceDataset, encode_mesh, load_surface, occupancy
from siren_jax.shapes.level_set import check_resolution
from siren_jax.shapes.loading import SAMPLES
from siren_jax.signals import OmegaChoice
from siren_jax.subjects.rendering import dimensions, write_array
from siren_jax.subjects.subject import CHAMFER

RESOLUTION = 256  # resolution of the written mesh
SHOWN, JUDGED, ESTIMATED = 160, 128, 64  # resolutions for the figure, the target and the estimate
ESTIMATE_POINTS = 4096
OCCUPIED = 96  # cells per side for the intersection over union
PIXELS = 1024  # side of a rendered picture
SLOPES = 16384  # points at which the gradient is measured


class Scan:
    """A surface, fitted as the zero level set of a signed distance; see `Subject`.

    Args:
        surface: points with normals.
        recipe: a key of `recipes.SHAPE_WEIGHTS`.
    """

    measure = CHAMFER
    comparable_losses = True
    suffix = ".siren"
    note = ""
    notes = ()
    files = ("reconstruction.ply",)
    features = (3, 1)
    memory = 2**30  # for the extracted mesh and its figure

    def __init__(self, surface: Surface, recipe: RecipeName):
        self._surface = surface
        self._dataset = SurfaceDataset(surface)
        self.points = len(self._dataset)
        self.objective, self.weights = signed_distance, SHAPE_WEIGHTS[recipe]
        truth = surface if surface.mesh is None else surface.mesh
        self._truth, self._sketch = Reference(truth), Reference(truth, count=ESTIMATE_POINTS)

    def choose_omega(self) -> OmegaChoice:
        raise InputError(
            "an omega is chosen only for samples on a grid; for a shape give first_omega= as a number, or leave it out."
        )

    def sampler(self, batch_size: int) -> Partial:
        return self._dataset.sampler(batch_size)

    def distance_sampler(self, batch_size: int) -> Partial:
        """Draws points with their signed distance; see `SurfaceDataset.distance_sampler`."""
        return self._dataset.distance_sampler(batch_size)

    def field(self, network: nnx.Module, record: dict[str, Any]) -> NeuralField:
        place = self._dataset.placement
        frame, values = Frame((RESOLUTION,) * 3), (-place.scale, place.scale)
        return NeuralField(network, frame, values, "shape", record=record, placement=place)  # pyright: ignore

    def estimate(self, network: nnx.Module) -> float:
        return self._chamfer(network, ESTIMATED, self._sketch)

    def quality(self, network: nnx.Module) -> float:
        return self._chamfer(network, JUDGED, self._truth)

    def figure(self, network: nnx.Module, title: str):
        from siren_jax import plot  # imports Matplotlib, which takes longer than a first step

        mesh = self.field(network, {}).mesh(SHOWN)
        error = self._truth.distance(mesh.vertices) * 100 / self._surface.diagonal
        prediction = mesh.vertices, mesh.faces, mesh.vertex_normals
        return plot.shape_comparison(self._drawn, prediction, error, title=title)

    def picture(self, side: int) -> np.ndarray:
        """The surface from one side, colours `(side, side, 3)` in [0, 1]."""
        from siren_jax import plot

        return plot.shaded(*self._drawn, side=side)

    @property
    def _drawn(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Vertices, triangles and vertex normals; or points, None and their normals."""
        true = self._surface.mesh
        if true is None:
            return self._surface.points, None, self._surface.normals
        return true.vertices, true.faces, true.vertex_normals

    def write(self, network: nnx.Module, path: Callable[[str], str], *, overwrite: bool) -> dict[str, Any]:
        field = self.field(network, {})
        mesh = field.mesh(RESOLUTION)
        write_mesh(path(self.files[0]), mesh, overwrite=overwrite)
        percent = 100 / self._surface.diagonal
        found = self._truth.agreement(mesh)
        slope = gradient_lengths(network)
        parts, true = mesh.count_parts(), self._surface.mesh
        if not parts:
            warnings.warn("the network has no surface yet; fit it for longer.", stacklevel=2)
        if true is not None and parts > true.count_parts():
            warnings.warn(f"the fitted surface has {parts} pieces, the file {true.count_parts()}.", stacklevel=2)
        return {
            "chamfer": found.chamfer * percent,
            "to_truth": found.to_truth * percent,
            "from_truth": found.from_truth * percent,
            "normal_consistency": found.normal_consistency,
            **self._overlap(field),
            "gradient_mean": float(slope.mean()),
            "gradient_std": float(slope.std()),
            "pieces": parts,
            "closed": mesh.is_closed,
            "triangles": len(mesh.faces),
        }

    def _chamfer(self, network: nnx.Module, resolution: int, truth: Reference) -> float:
        return truth.agreement(self.field(network, {}).mesh(resolution)).chamfer * 100 / self._surface.diagonal

    def _overlap(self, field: NeuralField) -> dict[str, float]:
        """Intersection over union of the insides, if the file's mesh is closed."""
        true = self._surface.mesh
        if true is None or not true.is_closed:
            return {}
        inside = occupancy(Mesh(self._dataset.placement.coordinates(true.vertices), true.faces), OCCUPIED)
        inside ^= true.volume < 0  # normals point inwards: the shape is the outside
        return {"iou": intersection_over_union(field.render((OCCUPIED,) * 3)[..., 0] < 0, inside)}


def gradient_lengths(network: nnx.Module) -> np.ndarray:
    """|∇f| at random points of the cube; 1 for a signed distance."""
    points = jax.random.uniform(jax.random.key(0), (SLOPES, 3), np.float32, minval=-1.0)
    return np.linalg.norm(np.asarray(_gradients(network, points)), axis=1)


_gradients = jax.jit(lambda network, points: map_over_tiles(gradient(network), points))


def open_shape(
    source: str | np.ndarray,
    *,
    recipe: RecipeName = "tuned",
    samples: int | None = None,
    seed: int = 0,
    flip_normals: bool = False,
) -> Scan:
    """The shape in a file of a mesh or a point cloud, as the subject of a fit.

    Args:
        source: path of the file.
        recipe: a key of `recipes.SHAPE_WEIGHTS`.
        samples: number of points to draw from a mesh; by default 250,000.
        seed: seed of these points.
        flip_normals: whether to reverse all normals, which exchanges inside and outside.

    Raises:
        InputError: as for `load_surface`.
    """
    if isinstance(source, np.ndarray):
        raise InputError(
            "a shape is opened from a file; in Python, SurfaceDataset takes a Surface of points and normals."
        )
    surface = load_surface(source, samples=samples or SAMPLES, seed=seed, flip_normals=flip_normals)
    return Scan(surface, recipe)


def render_shape(
    field: NeuralField,
    path: str,
    *,
    resolution: int | None = None,
    view: tuple[float, float] | None = None,
    overwrite: bool = False,
) -> tuple[str, str]:
    """Writes a shape as a mesh, a PNG of it or an NPY of its signed distance; returns what was written, in words.

    Args:
        field: the shape.
        path: ends in `.ply`, `.obj`, `.stl`, `.png` or `.npy`.
        resolution: cells along each side of the cube, a multiple of 8; by default 256.
        view: azimuth and elevation of a PNG, in degrees.
        overwrite: whether to replace an existing file.
    """
    suffix = os.path.splitext(path)[1].lower()
    resolution = RESOLUTION if resolution is None else resolution
    check_resolution(resolution)
    if view is not None and (suffix != ".png" or not np.isfinite(view).all()):
        raise InputError("view= takes two angles in degrees, for a .png.")
    if suffix == ".npy":
        cube = (resolution,) * 3
        write_array(field, path, cube, None, overwrite=overwrite)
        return "signed distance", f"at {dimensions(cube)}"
    mesh = field.mesh(resolution)
    if not len(mesh.faces):
        raise InputError("this shape has no surface: its field has one sign throughout the cube.")
    if suffix == ".png":
        write_view(path, mesh, view, overwrite=overwrite)
    else:
        write_mesh(path, mesh, overwrite=overwrite)
    return "surface", f"at resolution {resolution}, {len(mesh.faces):,} triangles"


def write_mesh(path: str, mesh: Mesh, *, overwrite: bool) -> None:
    """Writes a mesh in the format of the path's suffix."""
    suffix = os.path.splitext(path)[1].lower()
    write_atomically(path, lambda file: encode_mesh(file, mesh, suffix), overwrite=overwrite)


def write_view(path: str, mesh: Mesh, view: tuple[float, float] | None, *, overwrite: bool) -> None:
    """Writes a PNG of a mesh, seen from an azimuth and an elevation in degrees."""
    from PIL import Image

    from siren_jax import plot

    view = plot.VIEWS[0] if view is None else view
    pixels = plot.shaded(mesh.vertices, mesh.faces, mesh.vertex_normals, view=view, side=PIXELS)
    picture = Image.fromarray(np.round(pixels * 255).astype(np.uint8))
    write_atomically(path, lambda file: picture.save(file, format="PNG"), overwrite=overwrite)
