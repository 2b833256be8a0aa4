"""Coordinate networks: SIREN and ReLU networks, networks of codes, encoders, the fast sine, initializers, rescaling."""

from siren_jax.networks.encoders import ConvolutionalEncoder as ConvolutionalEncoder
from siren_jax.networks.encoders import SetEncoder as SetEncoder
from siren_jax.networks.features import fourier_features as fourier_features
from siren_jax.networks.features import random_features as random_features
from siren_jax.networks.features import space_time_frequencies as space_time_frequencies
from siren_jax.networks.hypernetwork import Hypernetwork as Hypernetwork
from siren_jax.networks.latent import LatentSIREN as LatentSIREN
from siren_jax.networks.layers import SineLayer as SineLayer
from siren_jax.networks.relu import ReLUMLP as ReLUMLP
from siren_jax.networks.siren import SIREN as SIREN
