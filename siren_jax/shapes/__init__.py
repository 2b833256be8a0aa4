"""Shapes: meshes and point clouds with normals, distances to them, and surfaces as level sets of signed distances."""

from siren_jax.shapes.distance import Agreement as Agreement
from siren_jax.shapes.distance import Reference as Reference
from siren_jax.shapes.distance import occupancy as occupancy
from siren_jax.shapes.loading import load_surface as load_surface
from siren_jax.shapes.mesh import Mesh as Mesh
from siren_jax.shapes.mesh_files import encode_mesh as encode_mesh
from siren_jax.shapes.placement import Placement as Placement
from siren_jax.shapes.surface import Surface as Surface
from siren_jax.shapes.surface import SurfaceDataset as SurfaceDataset
