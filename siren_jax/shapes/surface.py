"""Surfaces as points with normals, and batches for fitting their signed distance."""

from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.shapes.mesh import Mesh, unit
from siren_jax.shapes.placement import Placement, place
from siren_jax.signals.samples import draw_strata, strata

AROUND = 2**16  # number of points in the cube from which batches draw
COARSE = 20_000  # points of the surface for measuring distances; a search among more points would take a minute
NEAR = 0.03  # distance from the surface of the points near it, in coordinates
FLAT = 1e-6  # smallest thickness of a shape, as a share of its length


class Surface(NamedTuple):
    """Points of a surface with outward unit normals, in the units of their file."""

    points: Float[ndarray, "n 3"]
    normals: Float[ndarray, "n 3"]
    mesh: Mesh | None = None
    """The mesh from which the points were drawn, or None."""

    @property
    def diagonal(self) -> float:
        """Diagonal of the box around the surface, the reference length for distances."""
        points = self.points if self.mesh is None else self.mesh.vertices
        return float(np.linalg.norm(np.ptp(points, axis=0)))


class SurfaceDataset:
    """A surface in the cube [-1, 1]³, for a network that learns its signed distance.

    The box around the surface is centred in the cube, with its longest side from -0.9 to 0.9. `len(dataset)` is the
    number of points n.

    - `coordinates` `(n, 3)`: coordinates of the points, see `Placement`;
    - `normals` `(n, 3)`: outward normals.

    Args:
        surface: points with normals of any length except zero.

    Raises:
        InputError: an array has another shape, there are no points, values are not finite, or all points lie in one
            plane.
    """

    def __init__(self, surface: Surface):
        points, normals = np.asarray(surface.points, np.float64), np.asarray(surface.normals, np.float64)
        if points.ndim != 2 or points.shape[1:] != (3,) or normals.shape != points.shape or not len(points):
            raise InputError(
                f"a surface needs points and normals of the same shape (n, 3), but they have the shapes {points.shape} "
                f"and {normals.shape}."
            )
        if not (np.isfinite(points).all() and np.isfinite(normals).all()):
            raise InputError("a surface needs finite points and normals, but some are NaN or infinite.")
        check_extent(points, "the surface")
        self.surface = surface
        self.placement: Placement = place(points if surface.mesh is None else np.asarray(surface.mesh.vertices))
        self.coordinates = self.placement.coordinates(points)
        self.normals = unit(normals).astype(np.float32)

    def __len__(self) -> int:
        return len(self.coordinates)

    def sampler(self, batch_size: int | None = None) -> Partial:
        """A pure function `sample(key, step)` that draws a batch for `objectives.signed_distance`.

        Each element has a point `on` the surface with its `normal`, and a point `off` it with its signed `distance`
        from the nearest point of the surface. Points `on` the surface occur at most once in a batch; points `off` it
        are uniform in the cube (Sitzmann et al. 2020, Section 4.2).

        Args:
            batch_size: number of points on the surface; by default all.

        Raises:
            InputError: the batch size is below 1 or above the number of points.
        """
        batch_size = len(self) if batch_size is None else batch_size
        if not 1 <= batch_size <= len(self):
            raise InputError(f"batch_size must be 1 to {len(self)}, the points of the surface, but is {batch_size}.")
        arrays = self.coordinates, self.normals, *self._around, strata(len(self), batch_size)
        return Partial(_draw, *map(jnp.asarray, arrays))

    def distance_sampler(self, batch_size: int) -> Partial:
        """A pure function `sample(key, step)` that draws points and their signed distance, for `supervise("value")`.

        Two of three points lie near the surface, about 0.03 away from it, and the others anywhere in the cube. A
        network that is fitted to these values needs neither normals nor the derivatives of `signed_distance`, so its
        steps take a fraction of the time.

        Args:
            batch_size: number of points.

        Raises:
            InputError: the batch size is below 1.
        """
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, but is {batch_size}.")
        random = np.random.default_rng(0)
        some = random.integers(0, len(self), AROUND // 2)
        away = np.clip(random.normal(scale=NEAR, size=(len(some), 1)), -0.1, 0.1)  # 0.1 beyond the box: in the cube
        near = self.coordinates[some] + away * self.normals[some]
        points = np.concatenate([near, random.uniform(-1, 1, (AROUND // 4, 3))]).astype(np.float32)
        distance, ahead = self._distance(points)
        # Near the surface, the nearest sample is farther than the surface, which is about as far as the sample's plane.
        distance = np.where(distance < NEAR, np.abs(ahead), distance) * np.where(ahead < 0, -1, 1)
        # Points near it were made from points on it, so their distance is known, unless another part is nearer.
        made = np.append(away[:, 0], np.full(AROUND // 4, np.inf))
        distance = np.where(np.abs(distance) < np.abs(made), distance, made).astype(np.float32)[:, None]
        arrays = points, distance, strata(len(points), batch_size)
        return Partial(_draw_distances, *map(jnp.asarray, arrays))

    @cached_property
    def _around(self) -> tuple[Float[ndarray, "m 3"], Float[ndarray, "m"]]:
        """Points spread over the cube and their distance from the nearest of 20,000 points, negative behind its normal.

        Signs are right except at a few points near sharp edges or where the shape is thinner than the sampling.
        """
        off = np.random.default_rng(0).uniform(-1, 1, (AROUND, 3)).astype(np.float32)
        distance, ahead = self._distance(off)
        return off, np.where(ahead < 0, -distance, distance).astype(np.float32)

    def _distance(self, off: Float[ndarray, "m 3"]) -> tuple[Float[ndarray, "m"], Float[ndarray, "m"]]:
        """Distance of points from the nearest of 20,000 of the surface, and how far they are ahead of its plane."""
        import scipy.spatial

        some = np.arange(0, len(self), max(1, len(self) // COARSE))
        points, normals = self.coordinates[some], self.normals[some]
        distance, nearest = scipy.spatial.KDTree(points).query(off)
        return distance, np.sum((off - points[nearest]) * normals[nearest], axis=1)


def check_extent(points: Float[ndarray, "n 3"], name: str) -> None:
    """Raises an `InputError` if the points cannot surround a volume: all at one place, on one line or in one plane."""
    centred = points - points.mean(axis=0)
    largest = np.abs(centred).max()
    if not largest > 0:
        raise InputError(f"all {len(points)} points of {name} are the same; a surface around a volume is needed.")
    centred = centred / largest  # so that squares neither overflow nor underflow
    spread = np.sqrt(np.maximum(np.linalg.eigvalsh(centred.T @ centred / len(centred)), 0))
    if spread[0] <= FLAT * spread[2]:
        where = "on one line" if spread[1] <= FLAT * spread[2] else "in one plane"
        raise InputError(f"all points of {name} lie {where}; a surface around a volume is needed.")


def _draw(
    points: Array, normals: Array, off: Array, distance: Array, edges: Array, key: Array, step: Array | int
) -> dict[str, Array]:
    del step  # all steps draw in the same way, with different keys
    for_on, for_off = jax.random.split(key)
    index = draw_strata(edges, for_on)
    other = jax.random.randint(for_off, index.shape, 0, len(off), jnp.int32)
    return {"on": points[index], "normal": normals[index], "off": off[other], "distance": distance[other]}


def _draw_distances(points: Array, distance: Array, edges: Array, key: Array, step: Array | int) -> dict[str, Array]:
    del step  # all steps draw in the same way, with different keys
    index = draw_strata(edges, key)
    return {"coordinates": points[index], "value": distance[index]}
