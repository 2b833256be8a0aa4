"""Signals: files and arrays as points with values, in the conventions of `docs/conventions.md`."""

from siren_jax.signals.files import kind_of as kind_of
from siren_jax.signals.grid import Frame as Frame
from siren_jax.signals.grid import generate_coordinates as generate_coordinates
from siren_jax.signals.image import load_image as load_image
from siren_jax.signals.image import shrink as shrink
from siren_jax.signals.mesh import Mesh as Mesh
from siren_jax.signals.nearest import Agreement as Agreement
from siren_jax.signals.nearest import Reference as Reference
from siren_jax.signals.nearest import occupancy as occupancy
from siren_jax.signals.pixels import PixelDataset as PixelDataset
from siren_jax.signals.placement import Placement as Placement
from siren_jax.signals.samples import SampleDataset as SampleDataset
from siren_jax.signals.scan import load_surface as load_surface
from siren_jax.signals.shape_files import encode_mesh as encode_mesh
from siren_jax.signals.sound import Sound as Sound
from siren_jax.signals.sound import encode_sound as encode_sound
from siren_jax.signals.sound import load_sound as load_sound
from siren_jax.signals.sound import resample as resample
from siren_jax.signals.spectrum import OmegaChoice as OmegaChoice
from siren_jax.signals.spectrum import bandwidth as bandwidth
from siren_jax.signals.spectrum import choose_omega as choose_omega
from siren_jax.signals.surface import Surface as Surface
from siren_jax.signals.surface import SurfaceDataset as SurfaceDataset
from siren_jax.signals.video import Video as Video
from siren_jax.signals.video import encode_video as encode_video
from siren_jax.signals.video import load_video as load_video
