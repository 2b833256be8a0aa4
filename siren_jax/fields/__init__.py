"""Functions of coordinates: derivatives (operators, one_pass), tiles of many points (tiles), grids (coordinates)."""

from siren_jax.fields.coordinates import Frame as Frame
from siren_jax.fields.coordinates import Grid as Grid
from siren_jax.fields.coordinates import generate_coordinates as generate_coordinates
from siren_jax.fields.operators import curl as curl
from siren_jax.fields.operators import derivative as derivative
from siren_jax.fields.operators import divergence as divergence
from siren_jax.fields.operators import gradient as gradient
from siren_jax.fields.operators import hessian as hessian
from siren_jax.fields.operators import jacobian as jacobian
from siren_jax.fields.operators import laplacian as laplacian
from siren_jax.fields.operators import second_derivatives as second_derivatives
