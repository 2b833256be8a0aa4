"""Evolution equations whose solutions are periodic in space: Fourier series, and exponential steps in time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Inexact
from numpy import ndarray

from siren_jax.errors import InputError

NODES = 10  # saved times from which a moment is interpolated
CIRCLE = 32  # points on the circle of a contour integral


@dataclass(frozen=True)
class Evolution:
    """Real Fourier series in space, at equidistant times.

    u(t, x) = Re Σ_k c_k(t)·exp(ik·x). In time the coefficients are interpolated by polynomials through the ten nearest
    saved times.
    """

    stop: float
    """Last time; the first is 0."""
    waves: tuple[Float[ndarray, "_"], ...]
    """Wavenumbers along each coordinate of space."""
    series: Inexact[ndarray, "t c *modes"]
    """c_k of every field at the saved times."""

    def __call__(self, points: Float[ndarray, "n d"]) -> Float64[ndarray, "n c"]:
        """Values of all fields at points `(t, x_1, …)`.

        Raises:
            InputError: a time is outside the time span.
        """
        times, moment = np.unique(np.asarray(points[:, 0], np.float64), return_inverse=True)
        if not np.all((times >= 0) & (times <= self.stop)):
            raise InputError(
                f"the solution is known for 0 ≤ t ≤ {self.stop:g}, but t goes from {times.min():g} to {times.max():g}."
            )
        found = np.empty((len(points), self.series.shape[1]))
        order = np.argsort(moment, kind="stable")
        parts = np.split(order, np.searchsorted(moment[order], np.arange(1, len(times))))
        for time, part in zip(times, parts, strict=True):
            for few in np.array_split(part, max(1, len(part) // 4096)):  # bounds the memory
                found[few] = self._sums(self.at(time), points[few, 1:])
        return found

    def at(self, time: float) -> Inexact[ndarray, "c *modes"]:
        """c_k of every field at a time."""
        place = time / self.stop * (len(self.series) - 1)
        first = int(np.clip(np.ceil(place) - NODES // 2, 0, len(self.series) - NODES))
        distance = place - first - np.arange(NODES)
        others = ~np.eye(NODES, dtype=bool)
        node = np.arange(NODES)
        weights = [np.prod(distance[other] / (i - node[other])) for i, other in enumerate(others)]  # Lagrange's
        return np.tensordot(weights, self.series[first : first + NODES], axes=1)

    def _sums(self, modes: Inexact[ndarray, "c *modes"], x: Float[ndarray, "n d"]) -> Float64[ndarray, "n c"]:
        last = np.exp(1j * np.outer(x[:, -1], self.waves[-1]))
        if len(self.waves) == 1:
            return np.real(last @ modes.T)
        each, place = np.unique(x[:, 0], return_inverse=True)  # points on a grid have few
        rows = np.tensordot(np.exp(1j * np.outer(each, self.waves[0])), modes, axes=(1, 1))
        return np.real(np.einsum("ncl,nl->nc", rows[place], last))


def evolve(
    start: Float[ndarray, "c *grid"],
    linear: Callable[..., ndarray],
    nonlinear: Callable[..., ndarray],
    *,
    length: float,
    stop: float,
    steps: int,
    saved: int,
) -> Evolution:
    """Solution of u_t = L·u + N(u) for real fields with a period in every coordinate of space.

    The method is the exponential Runge-Kutta method of the fourth order of Cox and Matthews 2002, whose linear part is
    exact, with coefficients by contour integrals as in Kassam and Trefethen 2005. One run with `steps` and one with
    twice as many are extrapolated to the fifth order.

    Args:
        start: values at the grid -length/2 + length·i/n, along one or two coordinates.
        linear: L as a function of the wavenumbers along each coordinate, which broadcast: `(c, *modes)`.
        nonlinear: N as a function of the modes and the wavenumbers; `np.fft.irfftn` gives the values.
        length: period of every coordinate.
        stop: last time; the first is 0.
        steps: number of steps of the coarser run.
        saved: number of saved times after the first, a divisor of `steps`.
    """
    grid = start.shape[1:]
    axes = [np.fft.fftfreq(n, 1 / n) for n in grid[:-1]] + [np.arange(grid[-1] // 2 + 1.0)]
    waves = tuple(2 * np.pi / length * axis for axis in axes)
    mesh = np.meshgrid(*waves, indexing="ij")
    # The highest wave is zero at all points in one of its phases, so its derivatives are unknown.
    resolved = np.all([np.abs(k) < np.pi * n / length * (1 - 1e-9) for k, n in zip(mesh, grid, strict=True)], axis=0)
    modes = resolved * np.fft.rfftn(start, axes=range(1, start.ndim))
    rate = linear(*mesh) + np.zeros(modes.shape)

    def run(steps: int) -> ndarray:
        step = stop / steps
        z = step * rate[..., None] + np.exp(2j * np.pi * (np.arange(CIRCLE) + 0.5) / CIRCLE)
        mean = lambda values: resolved * step * values.mean(axis=-1)
        half = mean((np.exp(z / 2) - 1) / z)
        first = mean((-4 - z + np.exp(z) * (4 - 3 * z + z**2)) / z**3)
        middle = mean((2 + z + np.exp(z) * (z - 2)) / z**3)
        last = mean((-4 - 3 * z - z**2 + np.exp(z) * (4 - z)) / z**3)
        whole_decay, decay = np.exp(step * rate), np.exp(step * rate / 2)
        change = lambda v: nonlinear(v, *mesh)
        v, series = modes, [modes]
        for number in range(1, steps + 1):
            n_v = change(v)
            a = decay * v + half * n_v
            n_a = change(a)
            n_b = change(decay * v + half * n_a)
            n_c = change(decay * a + half * (2 * n_b - n_v))
            v = whole_decay * v + first * n_v + 2 * middle * (n_a + n_b) + last * n_c
            if number % (steps // saved) == 0:
                series.append(v)
        return np.stack(series)

    series = (16 * run(2 * steps) - run(steps)) / 15
    # Re Σ over the half of the waves: all but the constants along the last coordinate stand for two.
    series *= np.where(waves[-1] > 0, 2, 1) / np.prod(grid)
    for axis, k in enumerate(waves):  # the grid begins at -length/2, the series at 0
        series *= np.exp(0.5j * length * k).reshape([-1 if i == axis else 1 for i in range(len(grid))])
    return Evolution(stop, waves, series)
