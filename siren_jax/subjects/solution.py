"""The solution of a differential equation as the subject of a fit, and as a file."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.tree_util import Partial
from numpy import ndarray

from siren_jax.equations.as_field import moment_of, solution
from siren_jax.equations.case import Case
from siren_jax.equations.comparison import Comparison
from siren_jax.equations.slab_files import SUFFIX, in_slabs
from siren_jax.equations.slabs import Slabs
from siren_jax.errors import InputError
from siren_jax.fields import Grid
from siren_jax.files.atomic import write_atomically
from siren_jax.files.header import names
from siren_jax.neural_field import NeuralField
from siren_jax.signals import OmegaChoice
from siren_jax.subjects.rendering import check_room, dimensions, scaled, sides_of, write_array
from siren_jax.subjects.subject import Measure


class Solution:
    """The solution of an equation; see `Subject`. Its error is measured against an independent solution.

    Args:
        case: a case of the catalogue.
        marches: whether its network is one of `march`, `Slabs`.
    """

    measure = Measure("error", "relative L2 error", "%", decimals=3, less_is_better=True)
    comparable_losses = False  # time spans and weights may change during a fit
    memory = 2**30  # for the reference and the batches
    note = ""
    notes = ()
    files = ("solution.npy",)

    def __init__(self, case: Case, *, marches: bool = False):
        self._case, self.suffix = case, SUFFIX if marches else ".siren"
        self._comparison = Comparison(case)
        self.objective, self.weights = case.problem.objective, case.problem.weights
        self.features = (len(case.domain.low), len(case.channels))
        batch = jax.eval_shape(case.problem.sample, jax.random.key(0), 0)
        self.points = max(leaf.shape[0] for leaf in jax.tree.leaves(batch))

    def choose_omega(self) -> OmegaChoice:
        raise InputError(
            "an omega is chosen only for a signal that is known; for an equation give first_omega= as a number, or "
            "leave it out."
        )

    def sampler(self, batch_size: int) -> Partial:
        del batch_size  # each term has its own number of points
        return self._case.problem.sample

    def field(self, network: nnx.Module, record: dict[str, Any]) -> Any:
        """The network as a solution, to be saved: a `NeuralField`, or a `SolutionInSlabs`."""
        names = {"axes": list(self._case.axes), "channels": list(self._case.channels)}
        made = in_slabs if isinstance(network, Slabs) else solution
        return made(network, self._case.domain, record={**record, **names})  # pyright: ignore[reportArgumentType]

    def estimate(self, network: nnx.Module) -> float:
        return self._comparison.sketch(network)  # pyright: ignore[reportArgumentType]

    def quality(self, network: nnx.Module) -> float:
        return self._comparison.error(network, until=_end(network))  # pyright: ignore[reportArgumentType]

    def figure(self, network: nnx.Module, title: str):
        from siren_jax import plot  # imports Matplotlib, which takes longer than a first step

        fields: dict[str, Any] = {"network": network}
        rows, where, moment = self._comparison.panels(fields, until=_end(network))
        return plot.solution(rows, **where, title=f"{title}, {moment}" if moment else title)

    def write(self, network: nnx.Module, path: Callable[[str], str], *, overwrite: bool) -> dict[str, Any]:
        found = self.field(network, {}).render()
        write_atomically(path(self.files[0]), lambda file: np.save(file, found), overwrite=overwrite)
        return {"error": self.quality(network)}


def _end(network: nnx.Module) -> float:
    """The time until which a network is a solution: that of the last slab, if it is in slabs of time."""
    return network.edges[-1] if isinstance(network, Slabs) else math.inf


def render_solution(
    field: NeuralField,
    path: str,
    *,
    shape: tuple[int, int] | None = None,
    scale: float | None = None,
    at: float | None = None,
    overwrite: bool = False,
) -> tuple[str, str]:
    """Writes a solution as an NPY, or as a PNG with axes: a curve on an interval, or one moment in time and the plane.

    Args:
        field: the solution of an equation.
        path: ends in `.png` or `.npy`.
        shape: height and width; by default those of a grid that is fine enough for a figure.
        scale: factor on the default height and width, instead of a shape.
        at: the moment, for a solution in time and the plane.
        overwrite: whether to replace an existing file.

    Returns:
        What was written, and at which size, in words.
    """
    frame = field.frame
    assert isinstance(frame, Grid)
    axes, figure = len(frame.low), path.lower().endswith(".png")
    if axes > 3:
        raise InputError(
            f"solutions of up to three coordinates are drawn, but this one has {axes}; in Python, "
            "siren_jax.load(file).render() has its values."
        )
    if axes == 1 and shape is not None:
        raise InputError("shape= takes two sides, but this solution has one coordinate; give scale= instead.")
    own, region = frame.shape, None
    if at is not None:
        if axes != 3:
            raise InputError("at= applies to a solution in time and the plane only; leave it out.")
        if not frame.low[0] <= at <= frame.high[0]:
            raise InputError(f"at= takes a time from {frame.low[0]:g} to {frame.high[0]:g}, but is {at:g}.")
        own = moment_of(frame, at).shape
        first = (at - frame.low[0]) / (frame.high[0] - frame.low[0]) * frame.shape[0] - 0.5
        region = ((first, first + 1), *((0.0, float(n)) for n in frame.shape[1:]))
    elif axes == 3 and figure:
        raise InputError("a PNG shows one moment of a solution in time; give the time with at=.")
    sides = scaled(own, scale) if axes == 1 else sides_of(own[-2:], shape, scale)
    full = (*own[:-2], *sides)
    if figure:
        check_room(field, sides)
        values = field.render(full, region=region).reshape(*sides, -1)
        write_solution(path, field, values, at, overwrite=overwrite)
    else:
        write_array(field, path, full, region, overwrite=overwrite)
    return "solution", f"at {dimensions(full)}"


def write_solution(path: str, field: NeuralField, values: ndarray, at: float | None, *, overwrite: bool) -> None:
    """Writes a PNG with axes and a panel for each unknown.

    Args:
        path: the file.
        field: a solution, whose record may name its coordinates and unknowns.
        values: `(h, w, c)` over its last two coordinates, or `(n, c)` over its only one.
        at: the time, if the solution has one more coordinate.
        overwrite: whether to replace an existing file.
    """
    from siren_jax import plot

    frame = field.frame
    assert isinstance(frame, Grid)
    count = field.network.out_features
    channels = names(field.record.get("channels"), [f"u{i}" for i in range(count)])
    axes = names(field.record.get("axes"), [f"x{i}" for i in range(len(frame.shape))])
    rows = {name: [("", values[..., i])] for i, name in enumerate(channels)}
    extent = tuple(end for ends in zip(frame.low[-2:], frame.high[-2:], strict=True) for end in ends)
    title = "" if at is None else f"{axes[0]} = {at:g}"
    figure = plot.solution(rows, extent, axes[-2:], title=title)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=150), overwrite=overwrite)
