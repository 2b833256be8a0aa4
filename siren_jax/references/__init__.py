"""References: solutions of differential equations in float64, computed without networks."""

from siren_jax.references.cavity import lid_driven_cavity as lid_driven_cavity
from siren_jax.references.cole_hopf import burgers as burgers
from siren_jax.references.dispersive import breather as breather
from siren_jax.references.dispersive import korteweg_de_vries as korteweg_de_vries
from siren_jax.references.dispersive import schroedinger as schroedinger
from siren_jax.references.flame_fronts import kuramoto_sivashinsky as kuramoto_sivashinsky
from siren_jax.references.heat import cooling as cooling
from siren_jax.references.helmholtz import absorbing_layer as absorbing_layer
from siren_jax.references.helmholtz import free_space as free_space
from siren_jax.references.helmholtz import solve_helmholtz as solve_helmholtz
from siren_jax.references.l_shape import l_shaped_membrane as l_shaped_membrane
from siren_jax.references.navier_stokes import kovasznay as kovasznay
from siren_jax.references.plate import clamped_plate as clamped_plate
from siren_jax.references.populations import lotka_volterra as lotka_volterra
from siren_jax.references.reaction_diffusion import allen_cahn as allen_cahn
from siren_jax.references.reaction_diffusion import gray_scott as gray_scott
from siren_jax.references.two_materials import spot_in_two_materials as spot_in_two_materials
from siren_jax.references.wave import gaussian_pulse_in_the_plane as gaussian_pulse_in_the_plane
from siren_jax.references.wave import leapfrog as leapfrog
