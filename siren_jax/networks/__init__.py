"""Networks of coordinates: layers and their sine, siren and relu, initializers, exact rescaling of a network."""

from siren_jax.networks.layers import SineLayer as SineLayer
from siren_jax.networks.relu import ReLUMLP as ReLUMLP
from siren_jax.networks.siren import SIREN as SIREN
