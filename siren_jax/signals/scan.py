"""Files of shapes as surfaces: cleaned, closed or not, with normals that point outwards."""

import os
import warnings

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.signals.mesh import Mesh
from siren_jax.signals.orientation import agreeing_triangles, estimated_normals, outwardness
from siren_jax.signals.shape_files import Geometry, read_geometry
from siren_jax.signals.surface import Surface, check_extent

SAMPLES = 250_000  # points drawn from a mesh, as many as the authors' scans have at most
MAX_POINTS = 2**20  # of a cloud; of larger ones so many are taken
MIN_POINTS = 32
LARGEST = 1e18  # of a coordinate: squares and cubes stay finite
THIN = 1e-14  # least area of a triangle, of its longest edge squared, where rounding begins


def load_surface(path: str | os.PathLike[str], *, samples: int = SAMPLES, seed: int = 0) -> Surface:
    """A mesh or a point cloud from a file: PLY, OBJ, STL, XYZ.

    Of a mesh points are drawn evenly over its area, with the normals of its triangles. Vertices that are NaN, triangles
    without area and normals that point inwards are put right, each with a warning that says how many. Points without
    normals get estimated ones, with a warning.

    Args:
        path: the file. All but XYZ need the extra `shape`.
        samples: points to draw from a mesh.
        seed: of the drawing.

    Raises:
        InputError: the file is missing, damaged, of another kind or too large; nothing usable is left of it, or it lies
            in one plane; or it needs the extra.
    """
    path = os.fspath(path)
    if not 1 <= samples <= 2**24:
        raise InputError(f"a mesh gives 1 to {2**24:,} points, but {samples:,} were asked for.")
    geometry = read_geometry(path)
    if geometry.faces is None or not len(geometry.faces):
        return _cloud(path, geometry, seed)
    mesh = _clean(path, geometry)
    check_extent(mesh.vertices, repr(path))
    mesh = _outwards(path, mesh)
    points, face = mesh.sample(samples, seed=seed)
    return Surface(points, mesh.face_normals[face], mesh)


def _cloud(path: str, geometry: Geometry, seed: int) -> Surface:
    points, normals = geometry.vertices, geometry.normals
    points, normals = _finite_points(path, points, normals)
    if len(points) < MIN_POINTS:
        raise InputError(
            f"{path!r} holds {len(points)} points and no triangles; a cloud of at least {MIN_POINTS} points, or a "
            "mesh, is needed."
        )
    if len(points) > MAX_POINTS:
        warnings.warn(f"{path!r} has {len(points):,} points: {MAX_POINTS:,} of them are taken.", stacklevel=3)
        taken = np.sort(np.random.default_rng(seed).choice(len(points), MAX_POINTS, replace=False))
        points, normals = points[taken], None if normals is None else normals[taken]
    check_extent(points, repr(path))
    if normals is None:
        warnings.warn(
            f"{path!r} is a cloud of points without normals: they are estimated, and turned outwards.", stacklevel=3
        )
        points = np.unique(points, axis=0)
        points = points[np.random.default_rng(seed).permutation(len(points))]
        return Surface(points, estimated_normals(points))
    if outwardness(points, normals)[0] < 0:
        warnings.warn(
            f"the normals of {path!r} seem to point inwards; inside and outside come out exchanged. If that is wrong, "
            "turn them round in the file.",
            stacklevel=3,
        )
    return Surface(points, normals)


def _finite_points(
    path: str, points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"] | None
) -> tuple[ndarray, ndarray | None]:
    """The points, and unit normals, that are numbers."""
    usable = _usable(points)
    if normals is not None:
        with np.errstate(invalid="ignore", over="ignore"):
            length = np.linalg.norm(normals, axis=1)
            if not np.any(length > 0):  # written without being known
                normals = None
            else:
                usable &= (length > 0) & np.isfinite(length)
                normals = normals / np.where(length > 0, length, 1)[:, None]
    if dropped := int(np.sum(~usable)):
        what = "no finite position" if normals is None else "no finite position or normal"
        _warn_or_refuse(path, dropped, len(points), "points have " + what)
    return points[usable], None if normals is None else normals[usable]


def _clean(path: str, geometry: Geometry) -> Mesh:
    """The triangles that are some, with vertices in the same place joined and others left out."""
    vertices, faces = geometry.vertices, geometry.faces
    assert faces is not None
    if faces.min() < 0 or faces.max() >= len(vertices):
        raise InputError(
            f"{path!r} is damaged: its triangles name vertices {faces.min()} to {faces.max()}, but it has those from 0 "
            f"to {len(vertices) - 1}."
        )
    usable = _usable(vertices)[faces].all(axis=1)
    if dropped := int(np.sum(~usable)):
        _warn_or_refuse(path, dropped, len(faces), "triangles have vertices that are not finite")
    mesh = _compact(Mesh(vertices, faces[usable]))
    joined, place = np.unique(mesh.vertices + 0.0, axis=0, return_inverse=True)  # -0.0 becomes 0.0
    mesh = Mesh(joined, place.reshape(-1)[mesh.faces])
    a, b, c = np.moveaxis(mesh.corners, 1, 0)
    longest = np.max([np.sum((p - q) ** 2, axis=1) for p, q in ((a, b), (b, c), (c, a))], axis=0)
    thin = np.linalg.norm(mesh.vector_areas, axis=1) <= THIN * longest
    if dropped := int(np.sum(thin)):
        _warn_or_refuse(path, dropped, len(thin), "triangles have no area")
    return _compact(Mesh(mesh.vertices, mesh.faces[~thin]))


def _compact(mesh: Mesh) -> Mesh:
    """Without vertices that no triangle has."""
    used, faces = np.unique(mesh.faces, return_inverse=True)
    return Mesh(mesh.vertices[used], faces.reshape(-1, 3))


def _outwards(path: str, mesh: Mesh) -> Mesh:
    """The mesh with triangles that agree on the outside, if it has one."""
    if not mesh.is_closed:
        mesh, turned = agreeing_triangles(mesh)
        if turned:
            warnings.warn(f"{turned:,} triangles of {path!r} ran the wrong way round: they are turned.", stacklevel=4)
    if not mesh.is_closed:
        warnings.warn(
            f"{path!r} is not closed: {mesh.open_edges:,} edges have no second triangle. What is inside is clear near "
            "the surface only.",
            stacklevel=4,
        )
    if mesh.volume >= 0:
        return mesh
    if not mesh.is_closed:
        warnings.warn(
            f"the triangles of {path!r} seem to face inwards; inside and outside come out exchanged. If that is wrong, "
            "turn them round in the file.",
            stacklevel=4,
        )
        return mesh
    warnings.warn(f"the normals of {path!r} point inwards: they are turned.", stacklevel=4)
    return Mesh(mesh.vertices, mesh.faces[:, ::-1])


def _usable(points: Float[ndarray, "n 3"]) -> Bool[ndarray, "n"]:
    return np.all(np.abs(points) <= LARGEST, axis=1)  # NaN is not


def _warn_or_refuse(path: str, dropped: int, total: int, what: str) -> None:
    found = f"{dropped:,} of {total:,} {what}"
    if dropped == total:
        raise InputError(f"{path!r} cannot be used: {found}.")
    warnings.warn(f"{found}: they are left out of {path!r}.", stacklevel=5)
