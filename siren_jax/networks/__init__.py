"""Coordinate networks: SIREN and ReLU networks, layers, the fast sine, initializers, and exact rescaling."""

from siren_jax.networks.latent import LatentSIREN as LatentSIREN
from siren_jax.networks.layers import SineLayer as SineLayer
from siren_jax.networks.relu import ReLUMLP as ReLUMLP
from siren_jax.networks.siren import SIREN as SIREN
