"""The catalogue of named problems: equations of the paper and common benchmarks, each with an independent solution."""

import functools
import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float
from numpy import ndarray

from siren_jax import references
from siren_jax._types import Field
from siren_jax.equations.case import Case, Direct, by_sines, by_slabs
from siren_jax.equations.conditions import boundary, dirichlet, initial, neumann
from siren_jax.equations.domains import Box, Disk, Interval
from siren_jax.equations.evolution import EVOLUTION
from siren_jax.equations.problem import Problem
from siren_jax.equations.stationary import STATIONARY
from siren_jax.equations.terms import Term, equation, known
from siren_jax.equations.unknowns import Ansatz, ComplexField
from siren_jax.errors import InputError
from siren_jax.fields.operators import gradient, jacobian, laplacian, second_derivatives
from siren_jax.networks.features import Block, fourier_features
from siren_jax.networks.siren import SIREN
from siren_jax.networks.windows import Beyond, Gaussian

NEAR_A_SOURCE = {0.04: 0.002, 0.12: 0.02, 0.3: 0.1}
"""Radius of a disk around a source: weight of the equation in it, about its share of the square's area."""
WINDOWS = 0.15, 0.07, 0.03, 0.015
"""Widths of the windows around a source, whose own width is 0.01."""
LENS = (0.0, 0.25), 0.07
"""Place and width of the lens."""
GRID = 128
"""Points along an axis where the initial values of plane waves are required."""


def poisson() -> Case:
    """Δu = f in a square, with u given on its rim."""
    square = Box((-1, -1), (1, 1))
    exact = lambda x: jnp.sin(math.pi * x[0]) * jnp.sin(2 * math.pi * x[1]) + x[0] * x[1]
    force = lambda x: -5 * math.pi**2 * jnp.sin(math.pi * x[0]) * jnp.sin(2 * math.pi * x[1])
    return Case(
        about="Poisson's equation in a square, with a solution in closed form",
        problem=Problem(
            [
                equation(lambda u, x: laplacian(u)(x) - force(x), square, points=2048, sampler="sobol"),
                dirichlet(exact, square, points=512, weight=1000.0),
            ]
        ),
        domain=square,
        channels=("u",),
        truth=lambda p: (np.sin(np.pi * p[:, 0]) * np.sin(2 * np.pi * p[:, 1]) + p[:, 0] * p[:, 1])[:, None],
        first_omega=5.0,
        width=64,
        depth=2,
        steps=1000,
        refined=1500,
        direct=by_sines(square, 1, 400, 8.0),
    )


def eikonal() -> Case:
    """|∇u| = 1 outside two disks, u = 0 and ∂u/∂n = -1 on them: the distance from the nearer one.

    Many functions have a slope of 1 almost everywhere. The distance is the limit of solutions of |∇u| = 1 + εΔu, with
    outflow at the rim, as the viscosity ε vanishes (Crandall and Lions 1983). So a fit begins with a large viscosity.
    """
    disks = Disk((-0.4, -0.3), 0.3), Disk((0.4, 0.35), 0.2)
    room = Box((-1, -1), (1, 1)) - disks[0] - disks[1]
    on_rim = lambda x: jnp.max(jnp.abs(x)) > 0.99
    on_disks = lambda x: ~on_rim(x)

    def viscous(viscosity: float) -> Callable[[Field, Array], Array]:
        return lambda u, x: jnp.linalg.norm(gradient(u)(x)) - 1 - viscosity * laplacian(u)(x)[0]

    def truth(points: Float[ndarray, "n d"]) -> Float[ndarray, "n c"]:
        each = [np.linalg.norm(points - disk.centre, axis=1) - disk.radius for disk in disks]
        return np.min(each, axis=0)[:, None]

    return Case(
        about="the eikonal equation: the distance from the nearer of two disks",
        problem=Problem(
            [
                equation(viscous(0.2), room, points=2048, name="viscous", weight=lambda share: 1 - _late(share)),
                equation(viscous(0.002), room, points=2048, weight=_late),
                dirichlet(0.0, room, where=on_disks, points=512, weight=100.0),
                neumann(-1.0, room, where=on_disks, points=512),
                boundary(
                    lambda u, x, normal: jnp.minimum(jnp.sum(gradient(u)(x) * normal), 0.0),
                    room,
                    where=on_rim,
                    points=512,
                    name="outflow",
                    weight=10.0,
                ),
            ]
        ),
        domain=room,
        channels=("distance",),
        truth=truth,
        first_omega=3.0,
        width=64,
        depth=2,
        steps=1000,
        refined=1000,
        judged=lambda points: truth(points)[:, 0] > 0,
    )


def _late(share: Array) -> Array:
    """A weight that rises from 0 to 1 between the shares 0.3 and 0.8 of a fit."""
    return jnp.clip((share - 0.3) / 0.5, 0, 1)


def helmholtz(
    *,
    wavenumber: float = 20.0,
    sources: tuple[tuple[float, float], ...] = ((0.0, 0.0),),
    lens: bool = False,
) -> Case:
    """Δu + k²m·u = -f in a square whose rim absorbs: a perfectly matched layer in its outer 0.5.

    Sitzmann et al. 2020, Section 4.3 and supplement. u is complex, in two channels; f is a narrow Gaussian.

    Args:
        wavenumber: k.
        sources: positions of the sources.
        lens: whether m has the lens of `slowness_squared`; otherwise m is 1.
    """
    square, variance = Box((-1, -1), (1, 1)), 1e-4

    def source(x: Array) -> Array:
        squares = jnp.stack([jnp.sum((x - jnp.array(place)) ** 2) for place in sources])
        return jnp.sum(jnp.exp(-squares / (2 * variance))) / (2 * math.pi * variance)

    def residual(u: Field, x: Array) -> Array:
        v = ComplexField(u)
        e, e_slope = absorbing_layer(x)
        ratio = jnp.stack([e[1] / e[0], e[0] / e[1]])
        # ∂_i (r_i ∂_i u) = r_i ∂_i² u + ∂_i r_i ∂_i u, and ∂_i r_i = -r_i e_i'/e_i
        flow = jnp.sum(ratio * second_derivatives(v)(x) - ratio * e_slope / e * jacobian(v)(x))
        m = slowness_squared(x) if lens else 1.0
        return (flow + e[0] * e[1] * wavenumber**2 * m * v(x)[0] + source(x)) / wavenumber**2

    def truth(points: Float[ndarray, "n d"]) -> Float[ndarray, "n c"]:
        solve = _through_the_lens(wavenumber, sources, variance) if lens else None
        total = solve(points) if solve else _without_lens(points, wavenumber, sources, variance)
        return np.stack([total.real, total.imag], axis=1)

    # Points must resolve the source: a network of high frequencies would satisfy the equation at sparse points alone.
    terms = [equation(residual, square, points=2048, sampler="sobol")]
    for number, place in enumerate(sources):
        for radius, weight in NEAR_A_SOURCE.items():
            name = f"source {number}, within {radius}"
            terms += [equation(residual, Disk(place, radius), points=512, weight=weight, name=name, sampler="sobol")]
    # The second derivative of the layer's profile jumps at its edge, and with it the third derivative of the solution.
    blocks = [Block(230, 30.0, Beyond(axis, -0.5, 0.5, power=3, unit=0.5)) for axis in (0, 1)]
    blocks += [Block(150, 4.5 / width, Gaussian(place, width)) for place in sources for width in WINDOWS]
    blocks += [Block(250, 50.0, Gaussian(LENS[0], 2 * LENS[1]))] * lens
    return Case(
        about=f"the Helmholtz equation at k = {wavenumber:g}{', a lens' * lens}",
        problem=Problem(terms),
        domain=square,
        channels=("real part", "imaginary part"),
        truth=truth,
        first_omega=20.0,
        width=80,
        depth=2,
        steps=500,
        refined=3000,
        batches=4,
        direct=by_sines(square, 2, 1000, 40.0, batches=2, steps=1, blocks=blocks),
        judged=lambda points: np.abs(points).max(axis=1) < 0.5,
    )


def absorbing_layer(x: Float[Array, "d"]) -> tuple[Array, Array]:
    """e_i = 1 + i·5·(l_i/0.5)² with the depth l_i in the outer 0.5 of the square, and its slope along x_i.

    The layer of `references.absorbing_layer`. Sitzmann et al. 2020, supplement, conjugated: outgoing waves are
    exp(ikr - iωt).
    """
    depth = jnp.maximum(jnp.abs(x) - 0.5, 0)
    return 1 + 20j * depth**2, 40j * depth * jnp.sign(x)


def slowness_squared(x: Float[Array | ndarray, "... d"]) -> Array:
    """m of the lens: from 1 up to 2.25 in a smooth spot, where waves are slower by a factor of up to 1.5."""
    place, width = LENS
    return 1 + 1.25 * jnp.exp(-jnp.sum((x - jnp.array(place)) ** 2, axis=-1) / (2 * width**2))


@functools.cache
def _through_the_lens(wavenumber: float, sources: tuple[tuple[float, float], ...], variance: float):
    """The field with the lens, as a function of points: u = v + w, v without the lens and w by finite differences."""
    from scipy.interpolate import RegularGridInterpolator

    axis = np.linspace(-1, 1, 257)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    m = np.asarray(slowness_squared(points), np.float64)
    free = _without_lens(points.reshape(-1, 2), wavenumber, sources, variance)
    scattered = references.solve_helmholtz(m, wavenumber**2 * (m - 1) * free.reshape(m.shape), wavenumber=wavenumber)
    interpolated = RegularGridInterpolator((axis, axis), scattered, method="cubic")
    return lambda points: _without_lens(points, wavenumber, sources, variance) + interpolated(points)


def _without_lens(points: ndarray, wavenumber: float, sources: tuple[tuple[float, float], ...], variance: float):
    each = [references.free_space(points, wavenumber=wavenumber, variance=variance, source=at) for at in sources]
    return np.sum(each, axis=0)


def wave(*, growing: float | None = None) -> Case:
    """u_tt = Δu from a Gaussian pulse at rest. Sitzmann et al. 2020, Section 4.3.

    Without training, the network is a sum of plane waves sin(k·x ± |k|t) and cos(k·x ± |k|t), which satisfies the
    equation whatever its last layer is. The waves have period 2: before the end, the ring reaches neither the rim nor
    the rings of other periods. So only the initial values and velocities are required. They are at the points of a
    grid, where waves with different k are orthogonal, so that conjugate gradients need a few steps.

    Args:
        growing: share of Adam's steps during which the time span grows; by default the span is whole from the start.
    """
    variance, last = 5e-4, 0.4
    square = Box((-1, -1), (1, 1)).during(0, last)
    near, core = Disk((0, 0), last + 0.12).during(0, last), Disk((0, 0), 0.12).during(0, last)
    start = lambda x: jnp.exp(-jnp.sum(x[1:] ** 2) / (2 * variance))
    residual = lambda u, x: laplacian(u, weights=(1, -1, -1))(x) / 100  # about as large as u, so that fits are stable
    terms = [dirichlet(0.0, square, points=512, sampler="sobol")]
    # The ring, and at first the pulse, have most of the detail, so they get most of the points.
    for place, name, points, weight in (
        (square, "equation", 1024, 4.0),
        (near, "equation near the ring", 4096, 1.0),
        (core, "equation near the pulse", 1024, 0.1),
    ):
        terms.append(
            equation(residual, place, points=points, weight=weight, name=name, sampler="sobol", growing=growing)
        )
    for place, name, weight in ((square, "", 10.0), (core, " near the pulse", 1.0)):
        settings = {"points": 512, "sampler": "sobol"}
        velocity = {"velocity": 0.0, "weight": weight * variance}  # u_t is of the size of u over the pulse's width
        terms += [
            initial(start, place, name=f"initial{name}", weight=weight, **settings),
            initial(None, place, name=f"initial velocity{name}", **velocity, **settings),
        ]
    axis = np.linspace(-1, 1, GRID, endpoint=False)
    at = np.stack(np.meshgrid(0.0, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    at_start = [
        known(lambda u, x: u(x) - start(x), at, name="initial"),
        known(lambda u, x: jacobian(u)(x)[:, 0], at, name="initial velocity", weight=variance),
    ]
    return Case(
        about="the wave equation in the plane: a ring from a pulse, until t = 0.4",
        problem=Problem(terms),
        domain=square,
        channels=("u",),
        truth=lambda points: references.gaussian_pulse_in_the_plane(points, variance=variance)[:, None],
        first_omega=15.0,
        width=96,
        depth=2,
        steps=1000,
        refined=1500,
        direct=Direct(plane_waves, 25_000, "last-layer", 10, problem=Problem(at_start)),
        axes=("t", "y", "x"),
    )


def plane_waves(width: int, rngs: nnx.Rngs) -> SIREN:
    """Waves of speed 1 in the plane with period 2: those with the smallest k = π(i, j), four sines for each ±k.

    Raises:
        InputError: there is none, or the values at the points of the grid of `wave` do not determine them.
    """
    n = math.ceil(math.sqrt(width / 6)) + 1  # more than the radius of a half disk of width/4 points
    i, j = np.meshgrid(np.arange(n + 1), np.arange(-n, n + 1), indexing="ij")
    half = np.stack([i, j], axis=-1)[(i > 0) | (j > 0)]
    k = half[np.argsort(np.hypot(*half.T), kind="stable")][: round(width / 4)]
    if not len(k) or 2 * np.abs(k).max() >= GRID:
        raise InputError(
            f"plane waves take a width of 4 to about {math.pi / 2 * GRID**2:,.0f} sines, four for each k, but got "
            f"{width:,}."
        )
    omega = np.pi * np.hypot(*k.T)[:, None]
    frequencies = [np.concatenate([sign * omega, np.pi * k], axis=1) for sign in (1, -1)]
    return fourier_features(np.concatenate(frequencies), 1, rngs=rngs)


def burgers(*, graded: bool = True) -> Case:
    """u_t + u·u_x = ν·u_xx with ν = 0.01/π, u(0, x) = -sin πx, u(t, ±1) = 0. Raissi et al. 2019.

    Args:
        graded: whether points are denser and residuals count less near the shock at x = 0, whose width is 2ν, and
            sines in a graded coordinate solve the case, in slabs of time; else a large network in x.
    """
    line, width = Interval(-1, 1).during(0, 1), 0.01
    shock = {1: (0.0, width)} if graded else None

    def residual(u: Field, x: Array) -> Array:
        (slope,), (second,) = jacobian(u)(x), laplacian(u, weights=(0, 1))(x)
        size = jnp.hypot(x[1], width) if graded else 1.0
        return (slope[0] + u(x)[0] * slope[1] - 0.01 / math.pi * second) * size

    start = lambda x: -jnp.sin(math.pi * x[1])
    if graded:
        terms = [
            equation(residual, line, points=2048, sampler="sobol", graded=shock),
            initial(start, line, points=256, weight=10.0, sampler="sobol", graded=shock),
            dirichlet(0.0, line, points=64, weight=10.0, sampler="sobol"),
        ]
    else:
        terms = [
            equation(residual, line, points=2048, candidates=2),
            initial(start, line, points=256, weight=100.0),
            dirichlet(0.0, line, points=128, weight=100.0),
        ]

    return Case(
        about="Burgers' equation: a sine steepens into a shock",
        problem=Problem(terms),
        domain=line,
        channels=("u",),
        truth=lambda points: references.burgers(points)[:, None],
        first_omega=5.0,
        width=64,
        steps=1000,
        refined=2500,
        direct=by_slabs(line, 1, 700, (8.0, 11.0), 10, graded=shock) if graded else None,
        batches=4,
        axes=("t", "x"),
    )


def allen_cahn() -> Case:
    """u_t = 10⁻⁴·u_xx + 5u - 5u³, u(0, x) = x²·cos πx, with period 2. Raissi et al. 2019.

    By symmetry the problem is solved in half a period, with mirror conditions at its ends. Where u is near zero,
    an error at the time t grows e^(5 - 5t)-fold until t = 1, so later residuals count less. The start has a slope at
    x = 1, where the solution has none; near this conflict residuals count less, too. In the training, the start holds
    by construction, because its errors would grow most. Slabs of time do without: only the first of them, which are
    short, see the conflict.
    """
    line, sharp = Interval(0, 1).during(0, 1), {1: [(0.5, 0.02), (1.0, 0.02)]}
    sharper = {1: [(0.0, 0.03), (0.5, 0.02), (1.0, 0.003)]}
    ends = (0.0, *0.001 * 2.0 ** np.arange(6), 0.06, *np.linspace(0.1, 1, 19))
    start = lambda x: x[1] ** 2 * jnp.cos(math.pi * x[1])

    def trust(x: Array) -> Array:
        return jnp.exp(-5 * x[0]) * jnp.minimum(jnp.hypot(x[0], 1 - x[1]) / 0.1, 1)

    def early(x: Array) -> Array:
        return jnp.minimum(jnp.hypot(x[0] / 0.001, (1 - x[1]) / 0.003), 1)

    def residual(u: Field, x: Array) -> Array:
        value, slope, (second,) = u(x)[0], jacobian(u)(x)[0], laplacian(u, weights=(0, 1))(x)
        return slope[0] - 1e-4 * second - 5 * value + 5 * value**3

    def in_a_slab(u: Field, x: Array) -> Array:
        near = jnp.min(jnp.stack([jnp.hypot(x[1] - place, width) for place, width in sharper[1]]))
        return residual(u, x) * early(x) * jnp.sqrt(near)  # points are about as dense as 1/near

    def mirrors(weight: float, trusted: Callable[[Array], Array]) -> Term:
        slope = lambda u, x, normal: jacobian(u)(x)[0, 1] * trusted(x)
        return boundary(slope, line, points=128, name="mirrors", weight=weight, sampler="sobol")

    marched = Problem(
        [
            equation(in_a_slab, line, points=2048, sampler="sobol", graded=sharper),
            initial(start, line, points=512, weight=10.0, sampler="sobol", graded=sharper),
            mirrors(0.01, early),
        ]
    )
    return Case(
        about="Allen and Cahn's equation: phases that separate",
        problem=Problem(
            [
                equation(lambda u, x: residual(u, x) * trust(x), line, points=2048, sampler="sobol", graded=sharp),
                mirrors(0.1, trust),
            ]
        ),
        domain=line,
        channels=("u",),
        truth=lambda points: references.allen_cahn(points)[:, None],
        first_omega=5.0,
        width=64,
        steps=1500,
        refined=4500,
        direct=by_slabs(line, 1, 700, (3.0, 9.0), ends, problem=marched, graded=sharper),
        batches=4,
        axes=("t", "x"),
        ansatz=lambda network: Ansatz(network, offset=start, factor=lambda x: x[0]),
    )


def kovasznay() -> Case:
    """(v·∇)v = -∇p + Δv/Re, ∇·v = 0 at Re = 40: the flow behind a grid. Kovasznay 1948."""
    box, reynolds = Box((-0.5, -0.5), (1.5, 1.0)), 40.0
    decay = reynolds / 2 - math.sqrt(reynolds**2 / 4 + 4 * math.pi**2)

    def exact(x: Array) -> Array:
        fall, angle = jnp.exp(decay * x[1]), 2 * math.pi * x[0]
        return jnp.stack([decay / (2 * math.pi) * fall * jnp.sin(angle), 1 - fall * jnp.cos(angle), (1 - fall**2) / 2])

    def residual(u: Field, x: Array) -> Array:
        v, slope, curvature = u(x)[:2], jacobian(u)(x), laplacian(u)(x)[:2]
        momentum = slope[:2] @ v + slope[2] - curvature / reynolds
        return jnp.append(momentum, slope[0, 0] + slope[1, 1])

    return Case(
        about="Kovasznay's stationary flow behind a grid, Re = 40: two velocities and the pressure",
        problem=Problem(
            [
                equation(residual, box, points=2048, sampler="sobol"),
                dirichlet(exact, box, points=512, weight=100.0),
            ]
        ),
        domain=box,
        channels=("velocity along y", "velocity along x", "pressure"),
        truth=lambda points: references.kovasznay(points),
        first_omega=4.0,
        width=64,
        depth=2,
        steps=1000,
        refined=1000,
        direct=by_sines(box, 3, 300, (9.0, 6.0)),
    )


CASES: dict[str, Callable[..., Case]] = {
    "poisson": poisson,
    "eikonal": eikonal,
    "helmholtz": helmholtz,
    "helmholtz-pair": functools.partial(helmholtz, sources=((-0.2, -0.2), (0.2, 0.2))),
    "helmholtz-lens": functools.partial(helmholtz, sources=((0.0, -0.25),), lens=True),
    "wave": wave,
    "burgers": burgers,
    "allen-cahn": allen_cahn,
    "kovasznay": kovasznay,
    **STATIONARY,
    **EVOLUTION,
}
"""Cases by the name that `siren-jax solve` takes."""
