"""Cases of the catalogue that evolve in time: waves, fronts, reactions, heat, and populations."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Complex128, Float
from numpy import ndarray

from siren_jax import references
from siren_jax._types import Field
from siren_jax.equations.case import Case, by_periodic_slabs, by_sines, by_slabs
from siren_jax.equations.conditions import dirichlet, initial, periodic
from siren_jax.equations.domains import Box, Interval
from siren_jax.equations.problem import Problem
from siren_jax.equations.terms import Term, equation
from siren_jax.equations.unknowns import ComplexField
from siren_jax.fields.operators import derivative, jacobian, laplacian
from siren_jax.fields.precision import is_double


def korteweg_de_vries() -> Case:
    """u_t + u·u_x + 0.022²·u_xxx = 0, u(0, x) = cos πx, with period 2. Zabusky and Kruskal 1965."""
    line = Interval(-1, 1).during(0, 1)

    def residual(u: Field, x: Array) -> Array:
        (slope,), third = jacobian(u)(x), derivative(_along_x(u), 1)(x)[0]
        return (slope[0] + u(x)[0] * slope[1] + 0.022**2 * third) / 10

    start = lambda x: jnp.cos(math.pi * x[1])
    on_a_grid = Problem(
        [
            _on_grid(equation(residual, line), times=17, places=240),
            _on_grid(initial(start, line, weight=100.0), times=1, places=240),
        ]
    )
    return Case(
        about="the Korteweg-de Vries equation: a wave that breaks into solitons",
        problem=Problem(
            [
                equation(residual, line, points=2048, sampler="sobol"),
                initial(start, line, points=256, weight=100.0, sampler="sobol"),
                periodic(line, 1, derivatives=2, weight=1.0),
            ]
        ),
        domain=line,
        channels=("u",),
        truth=lambda points: references.korteweg_de_vries(points)[:, None],
        first_omega=8.0,
        width=32,
        depth=2,
        steps=1000,
        refined=1500,
        direct=by_periodic_slabs(1, 2.0, 350.0, 7.0, (14, 3), 16, problem=on_a_grid),
        axes=("t", "x"),
    )


def kuramoto_sivashinsky() -> Case:
    """u_t + 5·u·u_x + 0.5·u_xx + 0.005·u_xxxx = 0, u(0, x) = -sin πx, with period 2.

    The regular benchmark of Wang, Sankaran and Perdikaris 2022. Long waves grow, short ones decay.
    """
    line = Interval(-1, 1).during(0, 1)

    def residual(u: Field, x: Array) -> Array:
        (slope,), second = jacobian(u)(x), _along_x(u)
        fourth = derivative(derivative(second, 1), 1)
        terms = slope[0] + 5 * u(x)[0] * slope[1] + 0.5 * second(x)[0] + 0.005 * fourth(x)[0]
        return terms / 100

    return Case(
        about="the Kuramoto-Sivashinsky equation: an unstable flame front",
        problem=Problem(
            [
                equation(residual, line, points=2048, sampler="sobol"),
                initial(lambda x: -jnp.sin(math.pi * x[1]), line, points=256, weight=100.0, sampler="sobol"),
                periodic(line, 1, derivatives=3, weight=1e-4),
            ]
        ),
        domain=line,
        channels=("u",),
        truth=lambda points: references.kuramoto_sivashinsky(points)[:, None],
        first_omega=8.0,
        width=32,
        depth=2,
        steps=1000,
        refined=1500,
        direct=by_slabs(line, 1, 650, (5.0, 85.0), 40, periodic={1: 2.0}, needless=("periodic",)),
        axes=("t", "x"),
    )


def schroedinger() -> Case:
    """i·h_t + h_xx/2 + |h|²·h = 0, h(0, x) = 2/cosh x, with period 10. Raissi et al. 2019.

    At x = ±5 the start has a kink, which the equation keeps: no smooth network is exact. `breather` has none.
    """
    line, slabs = Interval(-5, 5).during(0, math.pi / 2), 24
    length = math.pi / 2 / slabs
    start = lambda x: 2 / jnp.cosh(x[1]) + 0j
    gridded = [
        _on_grid(equation(_schroedinger, line), times=16, places=128),
        _on_grid(initial(start, line, weight=1e4), times=1, places=160),
    ]

    return Case(
        about="the nonlinear Schrödinger equation, from 2/cosh x with period 10",
        problem=Problem(
            [
                equation(_schroedinger, line, points=2048, sampler="sobol"),
                initial(start, line, points=256, weight=10.0, sampler="sobol"),
                periodic(line, 1, weight=10.0),
            ]
        ),
        domain=line,
        channels=("real part", "imaginary part"),
        truth=lambda points: _parts(references.schroedinger(points)),
        first_omega=3.0,
        width=32,
        depth=2,
        steps=1000,
        refined=1500,
        # The kinks are waves that travel freely: their spectrum falls slowly, and they turn with k²/2.
        direct=by_periodic_slabs(
            *(2, 10.0, 35.5, 5.0, (10, 3), slabs), waves=lambda k: k**2 / 2 * length, problem=Problem(gridded)
        ),
        axes=("t", "x"),
    )


def breather() -> Case:
    """i·h_t + h_xx/2 + |h|²·h = 0, h(0, x) = 2/cosh x, on the whole line. Satsuma and Yajima 1974.

    It is solved for |x| < 5, with the values of the closed form at the ends.
    """
    line = Interval(-5, 5).during(0, math.pi / 2)

    def exact(x: Array) -> Array:
        t, x = x[0], x[1]
        numerator = jnp.cosh(3 * x) + 3 * jnp.exp(4j * t) * jnp.cosh(x)
        return 4 * jnp.exp(0.5j * t) * numerator / (jnp.cosh(4 * x) + 4 * jnp.cosh(2 * x) + 3 * jnp.cos(4 * t))

    terms = [
        equation(_schroedinger, line, points=3200, sampler="sobol"),
        initial(exact, line, points=256, weight=1e4, sampler="sobol"),
        dirichlet(exact, line, points=256, weight=1e3, sampler="sobol"),
    ]

    return Case(
        about="the nonlinear Schrödinger equation on a line: two solitons bound to each other",
        problem=Problem(
            [
                equation(_schroedinger, line, points=2048, sampler="sobol"),
                initial(exact, line, points=256, weight=10.0, sampler="sobol"),
                dirichlet(exact, line, points=128, weight=10.0),
            ]
        ),
        domain=line,
        channels=("real part", "imaginary part"),
        truth=lambda points: _parts(references.breather(points)),
        first_omega=3.0,
        width=32,
        depth=2,
        steps=1000,
        refined=1500,
        direct=by_periodic_slabs(2, 12.0, 37.8, 4.0, (8, 3), 16, problem=Problem(terms)),  # smooth between the ends
        axes=("t", "x"),
    )


def _schroedinger(u: Field, x: Array) -> Array:
    h = ComplexField(u)
    value = h(x)[0]
    return 1j * jacobian(h)(x)[0, 0] + 0.5 * _along_x(h)(x)[0] + (value.real**2 + value.imag**2) * value


def _parts(h: Complex128[ndarray, "n"]) -> Float[ndarray, "n 2"]:
    return np.stack([np.real(h), np.imag(h)], axis=1)


def gray_scott() -> Case:
    """u_t = 0.2·u_xx + 40·(1 - u) - 1000·u·v², v_t = 0.1·v_xx - 100·v + 1000·u·v², with period 2.

    The constants of the benchmark of Wang et al. 2024 (PirateNets) in two dimensions, here in one, up to t = 1/2.
    """
    line = Interval(-1, 1).during(0, 0.5)
    pulse = lambda x: sum(jnp.exp(-10 * (x + image) ** 2) for image in (-2, 0, 2))
    start = lambda x: jnp.stack([1 - pulse(x[1] + 0.05), pulse(x[1] - 0.05)])

    def residual(w: Field, x: Array) -> Array:
        (u, v), rate, (u_second, v_second) = w(x), jacobian(w)(x)[:, 0], _along_x(w)(x)
        eaten = 1000 * u * v**2
        u_change = 0.2 * u_second + 40 * (1 - u) - eaten
        v_change = 0.1 * v_second - 100 * v + eaten
        return (rate - jnp.stack([u_change, v_change])) / 100

    gridded = [
        _on_grid(equation(residual, line), times=20, places=128),
        _on_grid(initial(start, line, weight=100.0), times=1, places=128),
    ]
    ends = (0.0, 0.002, 0.004, 0.007, 0.01, 0.014, 0.02, 0.03, 0.04, 0.06, 0.08)  # the pulse is eaten within 0.01
    later = (0.12, 0.16, 0.2, 0.26, 0.32, 0.38, 0.44, 0.5)

    return Case(
        about="the equations of Gray and Scott: a pulse that divides",
        problem=Problem(
            [
                equation(residual, line, points=2048, candidates=2),  # most changes at the start
                initial(start, line, points=256, weight=100.0, sampler="sobol"),
                periodic(line, 1, weight=1.0),
            ]
        ),
        domain=line,
        channels=("substrate", "activator"),
        truth=references.gray_scott,
        first_omega=8.0,
        width=32,
        depth=2,
        steps=1000,
        refined=1500,
        direct=by_periodic_slabs(2, 2.0, 176.0, 4.5, (10, 4), (*ends, *later), problem=Problem(gridded)),
        axes=("t", "x"),
    )


def _on_grid(term: Term, *, times: int, places: int) -> Term:
    """The term at equidistant places along x, the same number at each of some times, shifted from one to the next.

    The sines of the network are orthogonal at such points. So the part of the residual that they cannot represent, of
    shorter waves, does not disturb the others: with Sobol points it does, unless there are many more of them.
    """
    assert term.domain is not None
    (start, low), (stop, high) = term.domain.low, term.domain.high
    time = start if times == 1 else start + (stop - start) * (np.arange(times) + 0.5) / times
    shift = 0.618 * np.arange(times) % 1  # the golden ratio
    place = low + (high - low) * (np.arange(places) + shift[:, None]) / places
    points = np.stack(np.broadcast_arrays(np.reshape(time, (-1, 1)), place), axis=-1).reshape(-1, 2)

    def draw(points: Any, key: Array, share: Any) -> tuple[Array, Array]:
        points = jnp.asarray(points, jnp.float64 if is_double(share) else jnp.float32)
        return points, jnp.zeros_like(points)

    return replace(term, draw=Partial(draw, points))


def heat() -> Case:
    """u_t = Δu/20 in a cube whose rim is at zero, from two sines of different wavelength."""
    cube = Box((0, 0, 0), (1, 1, 1)).during(0, 1)
    amplitudes, diffusivity = {(1, 1, 1): 1.0, (2, 1, 2): 0.5}, 0.05

    def start(x: Array) -> Array:
        sines = [a * jnp.prod(jnp.sin(math.pi * jnp.array(m) * x[1:])) for m, a in amplitudes.items()]
        return jnp.sum(jnp.stack(sines))

    def residual(u: Field, x: Array) -> Array:
        return jacobian(u)(x)[:, 0] - diffusivity * laplacian(u, weights=(0, 1, 1, 1))(x)

    return Case(
        about="the heat equation in a cube, with a solution in closed form",
        problem=Problem(
            [
                equation(residual, cube, points=2048, sampler="sobol"),
                initial(start, cube, points=1024, weight=10.0, sampler="sobol"),
                dirichlet(0.0, cube, points=1024, weight=10.0, sampler="sobol"),
            ]
        ),
        domain=cube,
        channels=("temperature",),
        truth=lambda points: references.cooling(points, amplitudes=amplitudes, diffusivity=diffusivity)[:, None],
        first_omega=3.0,
        width=32,
        depth=2,
        steps=1000,
        refined=500,
        direct=by_sines(cube, 1, 3000, (2.0, 6.0, 4.0, 6.0), batches=2),
        axes=("t", "z", "y", "x"),
    )


def predator_prey() -> Case:
    """x' = 2x - 4xy, y' = 2xy - 1.06y, x(0) = 1, y(0) = 0.15: two periods of Lotka's and Volterra's equations.

    The constants are those of an example of DeepXDE, Lu et al. 2021, in hundreds of animals.
    """
    time = Interval(0, 10)

    def residual(u: Field, t: Array) -> Array:
        (prey, predators), rate = u(t), jacobian(u)(t)[:, 0]
        met = prey * predators
        return rate - jnp.stack([2 * prey - 4 * met, 2 * met - 1.06 * predators])

    return Case(
        about="the equations of Lotka and Volterra: predators and their prey",
        problem=Problem(
            [
                equation(residual, time, points=512, sampler="sobol", growing=0.7),
                initial(lambda t: jnp.array([1.0, 0.15]), time, points=1, weight=10.0),
            ]
        ),
        domain=time,
        channels=("prey", "predators"),
        truth=references.lotka_volterra,
        first_omega=3.0,
        learning_rate=2e-3,
        width=24,
        depth=2,
        steps=3000,
        refined=1500,
        direct=by_slabs(time, 2, 40, 5.0, 20),
        axes=("t",),
    )


def _along_x(u: Field) -> Field:
    """u_xx for every channel of a field of (t, x)."""
    return laplacian(u, weights=(0, 1))


EVOLUTION: dict[str, Callable[..., Case]] = {
    "kdv": korteweg_de_vries,
    "kuramoto-sivashinsky": kuramoto_sivashinsky,
    "schroedinger": schroedinger,
    "breather": breather,
    "gray-scott": gray_scott,
    "heat-3d": heat,
    "predator-prey": predator_prey,
}
"""Cases of this module by the name that `siren-jax solve` takes."""
