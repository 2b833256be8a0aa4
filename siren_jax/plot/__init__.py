"""Figures from arrays. Every function returns its own Matplotlib `Figure`; none needs a display or uses
`pyplot`."""

from siren_jax.plot.colors import COLORS as COLORS
from siren_jax.plot.composite import composition as composition
from siren_jax.plot.curve import learning_curve as learning_curve
from siren_jax.plot.layout import is_elongated as is_elongated
from siren_jax.plot.missing_pixels import completion as completion
from siren_jax.plot.missing_pixels import inpainting as inpainting
from siren_jax.plot.missing_pixels import uncertainty as uncertainty
from siren_jax.plot.picture import as_picture as as_picture
from siren_jax.plot.picture import comparison as comparison
from siren_jax.plot.picture import panels as panels
from siren_jax.plot.sets import pairs as pairs
from siren_jax.plot.sets import qualities as qualities
from siren_jax.plot.shape import VIEWS as VIEWS
from siren_jax.plot.shape import shaded as shaded
from siren_jax.plot.shape import shape_comparison as shape_comparison
from siren_jax.plot.solutions import solution as solution
from siren_jax.plot.sound import sound_comparison as sound_comparison
from siren_jax.plot.sound import waveform as waveform
from siren_jax.plot.video import contact_sheet as contact_sheet
