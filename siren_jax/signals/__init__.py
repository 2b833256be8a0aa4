"""Signals: files and arrays as points with values, in the conventions of `docs/conventions.md`."""

from siren_jax.signals.grid import Frame as Frame
from siren_jax.signals.grid import generate_coordinates as generate_coordinates
from siren_jax.signals.image import load_image as load_image
from siren_jax.signals.image import shrink as shrink
from siren_jax.signals.pixels import PixelDataset as PixelDataset
from siren_jax.signals.spectrum import OmegaChoice as OmegaChoice
from siren_jax.signals.spectrum import bandwidth as bandwidth
from siren_jax.signals.spectrum import choose_omega as choose_omega
