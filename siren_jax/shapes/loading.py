"""Shape files as surfaces: meshes and point clouds, cleaned, with normals that point outwards."""

import os
import warnings

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.shapes.mesh import Mesh
from siren_jax.shapes.mesh_files import Geometry, read_geometry
from siren_jax.shapes.orientation import (
    agreeing_triangles,
    disagreement,
    estimated_normals,
    faces_inwards,
    outward_parts,
)
from siren_jax.shapes.surface import Surface, check_extent

SAMPLES = 250_000  # points drawn from a mesh; the largest scan of the authors has as many
MAX_POINTS = 2**20  # largest number of points of a cloud; larger clouds are subsampled
MIN_POINTS = 32
LARGEST = 1e18  # largest coordinate: squares and cubes stay finite
RANDOM = 0.25  # share of neighbours with opposite normals, above which signs are ignored; ½ if they are random
ACROSS = 0.7  # median cosine to the estimated normals, above which those of the file are kept; ½ if they are random
INWARDS = (
    "{} inwards, as in a room seen from inside: the shape is the space around it. If that is wrong, turn them with "
    "flip_normals=True."
)
THIN = 1e-14  # smallest area of a triangle divided by its longest edge squared; rounding errors are smaller


def load_surface(
    path: str | os.PathLike[str], *, samples: int = SAMPLES, seed: int = 0, flip_normals: bool = False
) -> Surface:
    """The surface in a file with a mesh or a point cloud: PLY, OBJ, STL, OFF, GLB, 3MF, XYZ.

    From a mesh, points are drawn evenly over its area, with the normals of its triangles. Vertices that are NaN,
    triangles without area, duplicate triangles and closed parts with inward normals are corrected, with a warning that
    gives their number. In a cloud, normals that are missing or zero are estimated, and normals with random signs are
    turned or estimated, with a warning. Inward normals of a cloud or an open mesh are kept, because a room seen from
    inside has them.

    Args:
        path: path of the file. GLB needs the extra `shape`.
        samples: number of points to draw from a mesh.
        seed: seed for drawing them.
        flip_normals: whether to turn all normals at the end, which exchanges inside and outside.

    Raises:
        InputError: the file is missing, damaged, of another kind or too large; it has no usable points or triangles, or
            lies in one plane; or the extra is not installed.
    """
    path = os.fspath(path)
    if not 1 <= samples <= 2**24:
        raise InputError(f"samples must be 1 to {2**24:,} points of a mesh, but got {samples:,}.")
    geometry = read_geometry(path)
    if not len(geometry.faces):
        surface = _cloud(path, geometry, seed)
        return surface._replace(normals=-surface.normals) if flip_normals else surface
    mesh = _clean(path, geometry)
    check_extent(mesh.vertices, repr(path))
    mesh = _outwards(path, mesh)
    if flip_normals:
        mesh = mesh._replace(faces=mesh.faces[:, ::-1])
    points, face = mesh.sample(samples, seed=seed)
    return Surface(points, mesh.face_normals[face], mesh)


def _cloud(path: str, geometry: Geometry, seed: int) -> Surface:
    points, normals = geometry.vertices, geometry.normals
    points, normals = _finite_points(path, points, normals)
    if len(points) < MIN_POINTS:
        raise InputError(
            f"{path!r} has {len(points)} points and no triangles; a cloud of at least {MIN_POINTS} points, or a mesh, "
            "is needed."
        )
    if len(points) > MAX_POINTS:
        warnings.warn(f"{path!r} has {len(points):,} points: {MAX_POINTS:,} of them are used.", stacklevel=3)
        taken = np.sort(np.random.default_rng(seed).choice(len(points), MAX_POINTS, replace=False))
        points, normals = points[taken], None if normals is None else normals[taken]
    check_extent(points, repr(path))
    if len(np.unique(points, axis=0)) < MIN_POINTS:
        raise InputError(f"{path!r} has fewer than {MIN_POINTS} points in different places, and no triangles.")
    if normals is None:
        warnings.warn(
            f"{path!r} is a cloud of points without normals: they are estimated, and turned outwards.", stacklevel=3
        )
        points = np.unique(points, axis=0)
        points = points[np.random.default_rng(seed).permutation(len(points))]
        return Surface(points, estimated_normals(points))
    return Surface(points, _agreeing(path, points, normals))


def _agreeing(path: str, points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
    """Normals of a cloud, corrected where they are unknown (zero) or have signs that cannot be right."""
    unknown = np.all(normals == 0, axis=1)
    if disagreement(points[~unknown], normals[~unknown]) > RANDOM:
        estimated = estimated_normals(points)
        cosine = np.sum(estimated * normals, axis=1)
        usable = bool(np.median(np.abs(cosine[~unknown])) > ACROSS)
        what = "they are turned to agree, and to point" if usable else "they are replaced by estimates that point"
        warnings.warn(
            f"the normals of {path!r} point to opposite sides at neighbouring points: {what} outwards.", stacklevel=4
        )
        turned = normals * np.where(cosine < 0, -1.0, 1.0)[:, None]
        return np.where(unknown[:, None], estimated, turned) if usable else estimated
    if count := int(np.sum(unknown)):
        warnings.warn(
            f"{count:,} of {len(points):,} points of {path!r} have no normals: they are estimated.", stacklevel=4
        )
        return np.where(unknown[:, None], estimated_normals(points, normals), normals)
    if faces_inwards(points, normals):
        warnings.warn(INWARDS.format(f"the normals of {path!r} point"), stacklevel=4)
    return normals


def _finite_points(
    path: str, points: Float[ndarray, "n 3"], normals: Float[ndarray, "n 3"] | None
) -> tuple[ndarray, ndarray | None]:
    """The points with finite coordinates, and their normals, of length 1 or, if unknown, 0."""
    usable = _usable(points)
    if dropped := int(np.sum(~usable)):
        _warn_or_refuse(path, dropped, len(points), "points have no finite position")
    points, normals = points[usable], None if normals is None else normals[usable]
    if normals is not None:
        with np.errstate(invalid="ignore", over="ignore"):
            length = np.linalg.norm(normals, axis=1)
            known = np.isfinite(length) & (length > 0)
            normals = np.where(known[:, None], normals / np.where(known, length, 1)[:, None], 0)
        if not known.any():
            warnings.warn(f"the normals of {path!r} are all zero or not finite.", stacklevel=4)
            normals = None
    return points, normals


def _clean(path: str, geometry: Geometry) -> Mesh:
    """The mesh of valid triangles, with equal vertices merged and unused ones removed."""
    vertices, faces = geometry.vertices, geometry.faces
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
    return _compact(_without_doubles(path, Mesh(mesh.vertices, mesh.faces[~thin])))


def _compact(mesh: Mesh) -> Mesh:
    """The mesh without vertices that no triangle uses."""
    used, faces = np.unique(mesh.faces, return_inverse=True)
    return Mesh(mesh.vertices[used], faces.reshape(-1, 3))


def _without_doubles(path: str, mesh: Mesh) -> Mesh:
    """The mesh without duplicate triangles, and with one of two back to back, as in a sheet without thickness."""
    least = np.argmin(mesh.faces, axis=1)[:, None]
    faces = np.take_along_axis(mesh.faces, (least + np.arange(3)) % 3, axis=1)
    _, first, place = np.unique(np.sort(faces, axis=1), axis=0, return_index=True, return_inverse=True)
    kept = first[place.reshape(-1)]  # for each triangle, the first one with its corners
    double = kept != np.arange(len(faces))
    back = int(np.sum(np.any(faces != faces[kept], axis=1)))
    if same := int(double.sum()) - back:
        warnings.warn(
            f"{same:,} of {len(faces):,} triangles of {path!r} are duplicates: one copy is kept.", stacklevel=4
        )
    if back:
        warnings.warn(
            f"{2 * back:,} of {len(faces):,} triangles of {path!r} lie back to back, like a sheet without thickness: "
            "one side is kept.",
            stacklevel=4,
        )
    return mesh._replace(faces=mesh.faces[~double])


def _outwards(path: str, mesh: Mesh) -> Mesh:
    """The mesh with consistently oriented triangles, which face outwards if it is closed."""
    if not mesh.is_closed:
        mesh, turned = agreeing_triangles(mesh)
        if turned:
            warnings.warn(
                f"{turned:,} triangles of {path!r} have the wrong orientation: they are turned.", stacklevel=4
            )
    if mesh.is_closed:
        mesh, turned = outward_parts(mesh)
        if turned:
            some = "" if turned == len(mesh.faces) else f"of {turned:,} of {len(mesh.faces):,} triangles "
            warnings.warn(
                f"the normals {some}of {path!r} point inwards: they are turned. flip_normals=True turns all of them, "
                "as for a room seen from inside.",
                stacklevel=4,
            )
        return mesh
    rims, branches = mesh.rims
    counts = [f"{rims:,} edges have one triangle"] * (rims > 0) + [f"{branches:,} have more than two"] * (branches > 0)
    warnings.warn(
        f"{path!r} is not closed ({' and '.join(counts) or 'its two sides are not separate'}): it has no inside, and "
        "the distance is positive on the side that the nearest normal points to.",
        stacklevel=4,
    )
    if faces_inwards(mesh.corners.mean(axis=1), mesh.vector_areas):
        warnings.warn(INWARDS.format(f"the triangles of {path!r} face"), stacklevel=4)
    return mesh


def _usable(points: Float[ndarray, "n 3"]) -> Bool[ndarray, "n"]:
    return np.all(np.abs(points) <= LARGEST, axis=1)  # false for NaN


def _warn_or_refuse(path: str, dropped: int, total: int, what: str) -> None:
    found = f"{dropped:,} of {total:,} {what}"
    if dropped == total:
        raise InputError(f"{path!r} cannot be used: {found}.")
    warnings.warn(f"{found}: they are left out of {path!r}.", stacklevel=5)
