"""Differential equations: a SIREN as the solution.

A problem consists of terms, the equation and its conditions, each a residual of a field at points of a domain:

    square = Box((-1, -1), (1, 1))
    problem = Problem([
        equation(lambda u, x: laplacian(u)(x) + source(x), square),
        dirichlet(0.0, square, weight=100.0),
    ])
    solution = problem.fit(network, key=key, steps=2000).network
"""

from siren_jax.equations.as_field import solution as solution
from siren_jax.equations.conditions import boundary as boundary
from siren_jax.equations.conditions import dirichlet as dirichlet
from siren_jax.equations.conditions import initial as initial
from siren_jax.equations.conditions import neumann as neumann
from siren_jax.equations.conditions import periodic as periodic
from siren_jax.equations.conditions import robin as robin
from siren_jax.equations.distillation import distil as distil
from siren_jax.equations.domains import Ball as Ball
from siren_jax.equations.domains import Box as Box
from siren_jax.equations.domains import Difference as Difference
from siren_jax.equations.domains import Disk as Disk
from siren_jax.equations.domains import Domain as Domain
from siren_jax.equations.domains import Interval as Interval
from siren_jax.equations.domains import SpaceTime as SpaceTime
from siren_jax.equations.integrals import integral as integral
from siren_jax.equations.integrals import quadrature as quadrature
from siren_jax.equations.marching import Marched as Marched
from siren_jax.equations.marching import march as march
from siren_jax.equations.problem import Problem as Problem
from siren_jax.equations.regions import Region as Region
from siren_jax.equations.slab_files import SolutionInSlabs as SolutionInSlabs
from siren_jax.equations.slab_files import in_slabs as in_slabs
from siren_jax.equations.slab_files import load_slabs as load_slabs
from siren_jax.equations.slabs import Slabs as Slabs
from siren_jax.equations.terms import Term as Term
from siren_jax.equations.terms import equation as equation
from siren_jax.equations.terms import known as known
from siren_jax.equations.unknowns import Ansatz as Ansatz
from siren_jax.equations.unknowns import ComplexField as ComplexField
from siren_jax.equations.unknowns import Scaled as Scaled
from siren_jax.equations.unknowns import WithCoefficients as WithCoefficients
