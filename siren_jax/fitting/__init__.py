"""Fits: losses (objectives), settings (recipes), the compiled step, descent (`fit`), refinement and checkpoints."""

from siren_jax.fitting.checkpoints import Checkpoints as Checkpoints
from siren_jax.fitting.descent import fit as fit
from siren_jax.fitting.objectives import signed_distance as signed_distance
from siren_jax.fitting.objectives import supervise as supervise
from siren_jax.fitting.objectives import with_prior as with_prior
from siren_jax.fitting.progress import Progress as Progress
from siren_jax.fitting.refinement import refine as refine
from siren_jax.fitting.result import Fit as Fit
