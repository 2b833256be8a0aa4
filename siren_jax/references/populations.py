"""Predators and their prey: the equations of Lotka and Volterra."""

import functools

import numpy as np
from jaxtyping import Float, Float64
from numpy import ndarray

from siren_jax.errors import InputError

LAST = 10.0


def lotka_volterra(points: Float[ndarray, "n 1"]) -> Float64[ndarray, "n 2"]:
    """Numbers of prey x and predators y in hundreds, at points `(t,)`.

    x' = 2x - 4xy,    y' = 2xy - 1.06y,    x(0) = 1,    y(0) = 0.15,    0 ≤ t ≤ 10: about two periods.

    Lotka 1925 and Volterra 1926, with the constants of the example of DeepXDE (Lu et al. 2021). The method is
    Runge-Kutta of the eighth order, DOP853; the error is below 1e-11.

    Args:
        points: `(t,)`.

    Raises:
        InputError: a time is outside [0, 10].

    >>> lotka_volterra(np.zeros((1, 1))).tolist()
    [[1.0, 0.15]]
    """
    t = np.asarray(points, np.float64)[:, 0]
    if not np.all((t >= 0) & (t <= LAST)):
        raise InputError(f"the solution is known for 0 ≤ t ≤ {LAST:g}, but t goes from {t.min():g} to {t.max():g}.")
    return _lotka_volterra()(t).T


@functools.cache
def _lotka_volterra(*, step: float = 0.02):
    import scipy.integrate

    def rate(t: float, numbers: ndarray) -> ndarray:
        x, y = numbers
        return np.array([2 * x - 4 * x * y, 2 * x * y - 1.06 * y])

    # Between steps the solution is interpolated with the seventh order, so they are shorter than the method needs.
    run = scipy.integrate.solve_ivp(
        rate, (0, LAST), [1.0, 0.15], method="DOP853", rtol=1e-13, atol=1e-15, max_step=step, dense_output=True
    )
    return run.sol
