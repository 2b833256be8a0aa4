"""Signals: files and arrays as points with values, by the conventions of `docs/conventions.md`."""

from siren_jax.signals.composite import Composite as Composite
from siren_jax.signals.image import Image as Image
from siren_jax.signals.image import load_image as load_image
from siren_jax.signals.image import load_mask as load_mask
from siren_jax.signals.image import read_image as read_image
from siren_jax.signals.image import shrink as shrink
from siren_jax.signals.incomplete import IncompletePicture as IncompletePicture
from siren_jax.signals.pixels import PixelDataset as PixelDataset
from siren_jax.signals.ranges import used_range as used_range
from siren_jax.signals.ranges import value_range_of as value_range_of
from siren_jax.signals.samples import SampleDataset as SampleDataset
from siren_jax.signals.sound import Sound as Sound
from siren_jax.signals.sound import encode_sound as encode_sound
from siren_jax.signals.sound import load_sound as load_sound
from siren_jax.signals.sound import resample as resample
from siren_jax.signals.spectrum import OmegaChoice as OmegaChoice
from siren_jax.signals.spectrum import bandwidth as bandwidth
from siren_jax.signals.spectrum import choose_omega as choose_omega
from siren_jax.signals.video import Video as Video
from siren_jax.signals.video import encode_video as encode_video
from siren_jax.signals.video import load_video as load_video
