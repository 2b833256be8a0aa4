"""Comparison of a field with the independent solution of a case, on a grid that training does not see."""

import math
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from siren_jax._types import Field
from siren_jax.equations.as_field import grid_over, moment_of
from siren_jax.equations.case import Case
from siren_jax.fields.coordinates import Grid
from siren_jax.fields.precision import is_double
from siren_jax.fields.tiles import evaluate

SKETCHED = 4096  # points for a quick estimate of the error
LATE = 0.75  # share of the time span at which a solution in space is shown


class Comparison:
    """A case and its reference on a grid over the domain's box.

    Args:
        case: a case of the catalogue.
    """

    def __init__(self, case: Case):
        self.case = case
        self.grid = grid_over(case.domain)
        self._points = _centres(self.grid)
        self._judged = case.judged(self._points)
        chosen = np.random.default_rng(0).permutation(np.flatnonzero(self._judged))[:SKETCHED]
        self._sketch, self._sketched = self._points[chosen], case.truth(self._points[chosen])

    @cached_property
    def truth(self) -> Float[ndarray, "n c"]:
        """The reference at every cell."""
        return self.case.truth(self._points)

    def error(self, field: Field, *, until: float = math.inf) -> float:
        """Relative L2 error over all unknowns where the case is judged, in percent.

        Args:
            field: the field.
            until: the first coordinate, a time, up to which the field is a solution.
        """
        judged = self._judged & (self._points[:, 0] <= until)
        return _relative(_evaluated(field, self._points)[judged], self.truth[judged])

    def sketch(self, field: Field) -> float:
        """The error at some of the cells: a quick estimate."""
        return _relative(_evaluated(field, self._sketch), self._sketched)

    def panels(
        self, fields: dict[str, Field], *, until: float = math.inf
    ) -> tuple[dict[str, list[tuple[str, ndarray]]], dict[str, Any], str]:
        """Rows, extent and axes for `plot.solution`, and the part that they show of a solution of more coordinates: one
        moment in time, and the middle of space along all but the last two coordinates.

        A row for each unknown: first the reference, then every field with its error. References and errors are NaN
        where the case is not judged, and all is NaN outside of the domain. Fields and errors are NaN beyond `until`.
        """
        low, high, shape, moment = self.grid.low, self.grid.high, self.grid.shape, ""
        points, judged, truth = self._points, self._judged, self.truth
        if len(low) > 2:
            fixed = [a + share * (b - a) for a, b, share in zip(low[:-2], high[:-2], (LATE, 0.5, 0.5), strict=False)]
            moment = ", ".join(f"{axis} = {at:.3g}" for axis, at in zip(self.case.axes, fixed, strict=False))
            plane = moment_of(self.grid, *fixed)
            shape, points = plane.shape[-2:], _centres(plane)
            judged, truth = self.case.judged(points), self.case.truth(points)
        truth = np.where(judged[:, None], truth, np.nan).reshape(*shape, -1)
        inside = np.asarray(jax.vmap(self.case.domain.contains)(jnp.asarray(points, jnp.float32)))[:, None]
        inside = inside & (points[:, :1] <= until)
        shown = lambda field: np.where(inside, _evaluated(field, points), np.nan).reshape(truth.shape)
        found = {name: shown(field) for name, field in fields.items()}
        rows = {}
        for number, unknown in enumerate(self.case.channels):
            rows[unknown] = [("reference", truth[..., number])]
            for name, values in found.items():
                error = np.abs(values - truth)[..., number]
                rows[unknown] += [(name, values[..., number]), (f"error of {name}", error)]
        extent = tuple(end for ends in zip(low[-2:], high[-2:], strict=True) for end in ends)
        where = {"extent": extent, "axes": self.case.axes[-2:]}
        return rows, where, moment


def _centres(grid: Grid) -> Float[ndarray, "n d"]:
    """Centres of the cells, rounded to float32 for fields in float32, as float64 for the reference."""
    return grid.coordinates(np.indices(grid.shape).reshape(len(grid.shape), -1).T).astype(np.float64)


def _relative(found: ndarray, truth: ndarray) -> float:
    return float(100 * np.linalg.norm(found - truth) / np.linalg.norm(truth))


def _evaluated(field: Field, points: ndarray) -> ndarray:
    # Rounding such points again changes nothing, and jax_enable_x64 does not widen a field in float32.
    return np.asarray(evaluate(field, points if is_double(field) else points.astype(np.float32)), np.float64)
