"""Signals as sine networks: a JAX implementation of SIREN (Sitzmann et al. 2020)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jaxlib.version import __version__ as _jaxlib

from siren_jax import metrics as metrics
from siren_jax._versions import __version__ as __version__
from siren_jax._versions import warn_of_wrong_numbers
from siren_jax.errors import InputError as InputError
from siren_jax.fields import Frame as Frame
from siren_jax.fields import generate_coordinates as generate_coordinates
from siren_jax.fields.operators import curl as curl
from siren_jax.fields.operators import derivative as derivative
from siren_jax.fields.operators import divergence as divergence
from siren_jax.fields.operators import gradient as gradient
from siren_jax.fields.operators import hessian as hessian
from siren_jax.fields.operators import jacobian as jacobian
from siren_jax.fields.operators import laplacian as laplacian
from siren_jax.fields.operators import second_derivatives as second_derivatives
from siren_jax.files import pytorch as pytorch
from siren_jax.fitting import recipes as recipes
from siren_jax.fitting.checkpoints import Checkpoints as Checkpoints
from siren_jax.fitting.descent import fit as fit
from siren_jax.fitting.objectives import SumOfSquares as SumOfSquares
from siren_jax.fitting.objectives import signed_distance as signed_distance
from siren_jax.fitting.objectives import supervise as supervise
from siren_jax.fitting.objectives import with_prior as with_prior
from siren_jax.fitting.progress import Progress as Progress
from siren_jax.fitting.refinement import refine as refine
from siren_jax.fitting.result import Fit as Fit
from siren_jax.networks import initializers as initializers
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
from siren_jax.neural_field import NeuralField as NeuralField
from siren_jax.neural_field import load as load
from siren_jax.shapes import Surface as Surface
from siren_jax.shapes import SurfaceDataset as SurfaceDataset
from siren_jax.shapes import load_surface as load_surface
from siren_jax.signals import PixelDataset as PixelDataset
from siren_jax.signals import SampleDataset as SampleDataset
from siren_jax.signals import choose_omega as choose_omega
from siren_jax.signals import load_image as load_image
from siren_jax.signals import load_sound as load_sound
from siren_jax.signals import load_video as load_video

if TYPE_CHECKING:
    from siren_jax import equations as equations
    from siren_jax import plot as plot
    from siren_jax import references as references
    from siren_jax.sets import Base as Base
    from siren_jax.sets import FieldSet as FieldSet
    from siren_jax.sets import Signals as Signals
    from siren_jax.sets import fit_many as fit_many
    from siren_jax.sets import learn as learn
    from siren_jax.sets import learn_start as learn_start
    from siren_jax.sets import load_base as load_base
    from siren_jax.sets import load_set as load_set
    from siren_jax.subjects.one_call import FittedSignal as FittedSignal
    from siren_jax.subjects.one_call import Signal as Signal
    from siren_jax.subjects.one_call import open as open

__all__ = [  # without `open`: a star import must not hide Python's own
    "SIREN",
    "Checkpoints",
    "ConvolutionalEncoder",
    "FieldSet",
    "Fit",
    "FittedSignal",
    "Frame",
    "Hypernetwork",
    "InputError",
    "LatentSIREN",
    "NeuralField",
    "PixelDataset",
    "Progress",
    "ReLUMLP",
    "SampleDataset",
    "SetEncoder",
    "Signal",
    "Signals",
    "SineLayer",
    "SumOfSquares",
    "Surface",
    "SurfaceDataset",
    "choose_omega",
    "curl",
    "derivative",
    "divergence",
    "equations",
    "fit",
    "fit_many",
    "fourier_features",
    "generate_coordinates",
    "gradient",
    "hessian",
    "initializers",
    "jacobian",
    "laplacian",
    "learn",
    "learn_start",
    "load",
    "load_base",
    "load_image",
    "load_set",
    "load_sound",
    "load_surface",
    "load_video",
    "metrics",
    "plot",
    "pytorch",
    "random_features",
    "recipes",
    "references",
    "refine",
    "second_derivatives",
    "signed_distance",
    "space_time_frequencies",
    "supervise",
    "with_prior",
]

PACKAGES = ("equations", "plot", "references")
LAZY = {
    **dict.fromkeys(("FittedSignal", "Signal", "open"), "siren_jax.subjects.one_call"),
    **dict.fromkeys(
        ("Base", "FieldSet", "Signals", "fit_many", "learn", "learn_start", "load_base", "load_set"), "siren_jax.sets"
    ),
}

warn_of_wrong_numbers(_jaxlib)


def __dir__() -> list[str]:
    return sorted([*globals(), *PACKAGES, *LAZY])


def __getattr__(name: str) -> Any:
    """What takes long to import, imported at its first use."""
    if name in PACKAGES:
        return import_module(f"siren_jax.{name}")
    if name in LAZY:
        return getattr(import_module(LAZY[name]), name)
    raise AttributeError(f"module 'siren_jax' has no attribute {name!r}")
