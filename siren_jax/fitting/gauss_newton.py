"""Gauss-Newton steps with Levenberg's damping, for a loss that is a sum of squares.

The loss is |r(θ)|², with the vector r of all residuals, each times the root of its weight. With the Jacobian J of r, a
step v minimises |Jv + r|² + λ|v|². The valleys of such losses are curved, so the step follows the curve to second
order: θ + v + a with (JᵀJ + λI) a = -½ Jᵀr'', where r'' is the second derivative of r along v. This is the geodesic
acceleration of Transtrum and Sethna 2012. A step that does not lower the loss is rejected, and the damping λ grows;
after a good step it shrinks, see Nielsen 1999.

A last layer is nearly linear in its parameters, and its factorization takes most of the time, so it is used for several
steps: the simplified Newton method, Deuflhard 2011, Section 2.1.

A step comes from one of three forms of the same equation, see `Form`:

- "squares", for small networks: the normal equations (JᵀJ + λI) v = -Jᵀr, which are fast to form. Their condition is
  the square of that of J.
- "triangle", for a last layer: a QR factorization of J, whose condition is already near the limit of float64.
- "products", for wide networks: v = -Jᵀ(JJᵀ + λI)⁻¹r, whose matrix has an entry for each pair of residuals instead of
  parameters. The two are equal by the identity of Woodbury; Guzmán-Cordero et al. 2025, Section 3.
"""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Float
from numpy import ndarray

from siren_jax._types import Batch, StoppedBy
from siren_jax.fields.tiles import sum_over_tiles, triangle_over_tiles
from siren_jax.fitting.devices import Devices
from siren_jax.fitting.gram_matrix import Rows, inner_products, pairs_of_rows
from siren_jax.fitting.host_loop import converged
from siren_jax.fitting.progress import Log
from siren_jax.fitting.terms import describe_nonfinite

TILE = 512  # points whose rows of J are in memory at once, for the normal equations
ROWS = 2**25  # for QR, rows of J in memory at once, times its columns: 256 MiB
START = 0.1  # initial damping, in units of the mean of the diagonal of JᵀJ
LEAST = 1e-30  # smallest damping, in the same units: its root is the rounding error of J
BEND = 0.5  # longest second-order part of a step, in units of the first-order part
SHRINK = 1 / 3  # least factor on the damping after a good step
DOUBLING = 1e-3  # the same for a last layer: Newton's method doubles the digits in a step
# A step ends the fit if it should lower the loss by less than CLOSE of it, or if it is hardly damped and leaves more
# than LEFT of the loss: what is left is rounding, or beyond the network. A flow at a Reynolds number of 400 has steps
# that leave half, and are far from the end. A step of a last layer is the last one if another would leave that much,
# by its linear model before the step and by Newton's decrement after it.
CLOSE = 1e-9
LEFT = 0.75
HARDLY = 1e-24  # damping that changes a step less than rounding does
NEGLIGIBLE = 1e-16  # share of the loss: a step that leaves less of it has found eight digits of the residuals
GAIN = 0.25  # share of the loss that a correction leaves at most if another one follows
CORRECTIONS = 10  # most corrections of a step

State = tuple[Any, Array, Array, Array]
"""Parameters, their loss, the damping in units of the mean of the diagonal of JᵀJ, and its next growth."""

Form = Literal["squares", "triangle", "products"]
"""The matrix of a step, for the Jacobian A with the residuals as its last column: AᵀA, R of the QR factorization of A,
or JJᵀ with the residuals as its last column."""


def initial_state(params: Any, dtype: Any, damping: float | None = None) -> State:
    """The state before the first step, whose loss is not yet known."""
    damping = START if damping is None else damping
    return params, jnp.array(jnp.inf, dtype), jnp.array(damping, dtype), jnp.array(2, dtype)


class GaussNewton:
    """The `Method` that takes damped Gauss-Newton steps. A rejected step counts as a step.

    Args:
        residuals_of: `(params, batch) -> {term: residuals at each point}`, of any shape at a point, real or complex.
        terms: number of points and weight of each term.
        state: from `initial_state`, or of an earlier process.
        batch: all points; with `draw`, those of the first step.
        merged: makes a network of parameters.
        log: the steps so far, as rows of the loss before the step and the damping.
        tile: number of points whose rows of J are in memory at once.
        devices: devices that share the tiles.
        form: which equation gives the steps.
        first: initial parameters, of this process or an earlier one.
        draw: if given, `draw(step)` are the points of a step, of the shapes of `batch`. A step is judged by its own
            points. The losses of several steps are not comparable, and no number of them ends the fit.
        undamped: a damping that is as good as none, so that the end of the fit does not wait for a smaller one.
    """

    def __init__(
        self,
        residuals_of: Callable[[Any, Batch], Mapping[str, Array]],
        terms: Mapping[str, tuple[int, float]],
        state: State,
        batch: Batch,
        merged: Callable[[Any], nnx.Module],
        log: Log,
        tile: int | None,
        devices: Devices,
        form: Form,
        first: Any,
        draw: Callable[[Any], Batch] | None = None,
        undamped: float = HARDLY,
    ):
        self._residuals_of, self._terms, self._devices = residuals_of, terms, devices
        self._form: Form = form
        self._undamped = undamped
        self._tile = tile or (_points_per_tile(residuals_of, state[0], batch) if form == "triangle" else TILE)
        self._merged, self._local, self._draw = merged, devices.local, draw
        self._damping, self._dtype = float(state[2]), state[2].dtype
        self._pairs = pairs_of_rows(self._rows(self._local(batch)), first) if form == "products" else ()
        self._matrix_of = self._compiled(self._formed, state[0], batch)
        self._begin(state, batch, log)
        formed = jax.eval_shape(devices.everywhere(self._formed), state[0], batch)
        matrix = jax.ShapeDtypeStruct(formed.shape, formed.dtype, sharding=self._matrix_of.output_shardings)
        self._take = self._compiled(self._step, state, matrix, batch)

    def again(self, params: Any, batch: Batch, log: Log) -> "GaussNewton":
        """The method with its compiled programs for other parameters and another batch, with the initial damping.

        Args:
            params: parameters of the shapes of the first ones.
            batch: a batch of the shapes of the first one.
            log: an empty log.
        """
        other = copy.copy(self)
        other._begin(initial_state(params, self._state[1].dtype, self._damping), batch, log)
        return other

    def _begin(self, state: State, batch: Batch, log: Log) -> None:
        self._losses: list[float] = log.rows()[:, 0].tolist()
        self._batch = batch if self._draw is None else self._draw(len(self._losses))
        self.message = ""
        """Which value was not finite, and in which step."""
        self._state, self._formed_matrix = state, None

    @property
    def _matrix(self) -> Array:
        """The matrix of the next step, or of the last one if no other follows."""
        if self._formed_matrix is None:
            self._formed_matrix = self._matrix_of(self._state[0], self._batch)
        return self._formed_matrix

    def _loss_now(self) -> Array:
        """The loss that belongs to the matrix."""
        return self._matrix[-1, -1] if self._form == "squares" else jnp.sum(self._matrix[:, -1] ** 2)

    def take(self, steps: int) -> tuple[ndarray, StoppedBy | None]:
        rows, stopped_by = [], None
        if not jnp.isfinite(self._state[1]):  # not known yet
            self._state = (self._state[0], self._loss_now(), *self._state[2:])
        if not _finite(self._state[1], self._matrix):
            stopped_by, self.message = "non-finite", self._describe(self._state[0])
        while stopped_by is None and len(rows) < steps:
            state, better, close = self._take(self._state, self._matrix, self._batch)
            if self._draw is not None:
                self._batch = self._draw(len(self._losses) + 1)
            if self._draw is not None or (better and not close):
                found = self._matrix_of(state[0], self._batch)
                if not _finite(found):
                    stopped_by, self.message = "non-finite", self._describe(state[0])
                    break
                self._formed_matrix = found
            rows.append((float(self._state[1]), float(self._state[2])))
            self._losses.append(rows[-1][0])
            if self._draw is not None:
                state = (state[0], self._loss_now(), *state[2:])
            self._state, stopped_by = state, "converged" if close else self.converged()
        return np.array(rows).reshape(-1, 2), stopped_by

    def network(self) -> Callable[[], nnx.Module]:
        params = self._state[0]
        return lambda: self._merged(self._local(params))

    def state(self) -> State:
        return self._local(self._state)

    def loss(self) -> float:
        """The loss of the network."""
        return float(self._state[1])

    def converged(self) -> StoppedBy | None:
        return converged(self._losses) if self._draw is None else None

    def unseen(self, damping: float) -> Any:
        """Two sets of parameters: random ones, and the part of them that hardly changes a residual. The form of the
        steps is "triangle".

        The second one is λ(JᵀJ + λI)⁻¹ of the first one.
        """
        params, unravel = ravel_pytree(self._state[0])
        added = damping * _trace(self._matrix, self._form) / params.size
        random = jax.random.normal(jax.random.key(0), params.shape, params.dtype)
        _, solve, _ = _by_triangle(self._matrix, added)
        return unravel(random), unravel(added * solve(random))

    def _compiled(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return jax.jit(self._devices.everywhere(function)).lower(*arguments).compile()

    def _step(self, state: State, matrix: Array, batch: Batch) -> tuple[State, Array, Array]:
        """The next state, whether the step has lowered the loss, and whether there is little left to lower."""
        tree, loss, damping, growth = state
        params, unravel = ravel_pytree(tree)
        trace = _trace(matrix, self._form)
        added = damping * trace / params.size
        if self._form == "products":
            solve, expected = _by_products(matrix, added)
            pulled = lambda vector: ravel_pytree(self._pulled(tree, vector, batch))[0]
            first = -pulled(solve(matrix[:, -1]))
            second = -pulled(solve(self._bent(tree, unravel(first), batch))) / 2
        else:
            first, solve, expected = (_by_triangle if self._form == "triangle" else _by_squares)(matrix, added)
            second = -solve(self._bend(unravel, params, first, batch)) / 2
        longest = BEND * jnp.linalg.norm(first)
        moved = params + first + second * longest / jnp.maximum(longest, jnp.linalg.norm(second))
        if self._form == "triangle":
            moved, later, decrement = self._corrected(unravel, params, moved, solve, batch)
            left = jnp.sum((matrix[:, -1] + matrix[:, :-1] @ first) ** 2)  # of a linear problem
            done = (decrement <= (1 - LEFT) * later) & (left >= LEFT * later)
            rounding = jnp.finfo(params.dtype).eps ** 2 * trace * (moved @ moved)  # of Jθ
            done |= (jnp.minimum(later, loss) <= rounding) | (later <= NEGLIGIBLE * loss)
        else:
            later = self._loss(unravel(moved), batch)
            done = later >= LEFT * loss
        better = later < loss  # not if it is NaN, as after a step that was too long
        quality = jnp.clip((loss - later) / expected, 0, 1)
        shrunk = damping * jnp.maximum(DOUBLING if self._form == "triangle" else SHRINK, 1 - (2 * quality - 1) ** 3)
        chosen = partial(jnp.where, better)
        return (
            (
                unravel(chosen(moved, params)),
                chosen(later, loss),
                chosen(jnp.maximum(shrunk, LEAST), damping * growth),
                chosen(2.0, 2 * growth).astype(growth.dtype),
            ),
            better,
            (expected <= CLOSE * loss) | ((damping <= self._undamped) & done),
        )

    def _corrected(
        self,
        unravel: Callable[[Array], Any],
        params: Array,
        moved: Array,
        solve: Callable[[Array], Array],
        batch: Batch,
    ) -> tuple[Array, Array, Array]:
        """The moved parameters after corrections, their loss, and by how much another step should lower it.

        A correction is -(JᵀJ + λI)⁻¹Jᵀr, with J before the step and r at the parameters so far. With J there too,
        rᵀJ(JᵀJ + λI)⁻¹Jᵀr is what a step lowers the loss of a linear problem by, the square of Newton's decrement.
        """

        def of_tile(both: tuple[Array, Array], batch: Batch, masks: Mapping[int, Array]) -> tuple[Array, Array]:
            vector = lambda params: self._vector(unravel(params), batch, masks)
            found = vector(both[1])
            return jnp.sum(found**2), jax.vjp(vector, both[0])[1](found)[0]

        zero = self._zeros(params), jnp.zeros_like(params)

        def correct(now: tuple[Array, ...]) -> tuple[Array, ...]:
            best, least, tried, _, last, _, count = now
            both = jnp.where(last, tried, params), tried  # the last pass is that of the decrement
            found, pulled = sum_over_tiles(of_tile, zero, both, batch, self._tile, self._devices.mesh)
            goes_on = (found < GAIN * least) & (count < CORRECTIONS)
            best = jnp.where(found < least, tried, best)
            tried = jnp.where(goes_on, tried - solve(pulled), best)
            return best, jnp.fmin(found, least), tried, pulled, ~goes_on, last, count + 1

        # One loop for all passes, because each would be compiled on its own.
        no, infinite = jnp.array(False), jnp.full_like(zero[0], jnp.inf)
        start = moved, infinite, moved, params, no, no, jnp.array(0)
        moved, later, _, slope, *_ = jax.lax.while_loop(lambda now: ~now[5], correct, start)
        return moved, later, slope @ solve(slope)

    def _vector(
        self, params: Any, batch: Batch, masks: Mapping[int, Array], among: Sequence[str] | None = None
    ) -> Array:
        """Residuals of a tile, each times the root of its share of the loss."""
        residuals = self._residuals_of(params, batch)
        return jnp.concatenate(
            [(real_rows(residuals[name]) * self._roots(name, masks)[:, None]).ravel() for name in among or self._terms]
        )

    def _roots(self, name: str, masks: Mapping[int, Array]) -> Float[Array, "n"]:
        count, weight = self._terms[name]
        return jnp.sqrt(weight * masks[count])

    def _loss(self, params: Any, batch: Batch) -> Array:
        of = lambda params, batch, masks: jnp.sum(self._vector(params, batch, masks) ** 2)
        return sum_over_tiles(of, self._zeros(params), params, batch, self._tile, self._devices.mesh)

    def _formed(self, params: Any, batch: Batch) -> Float[Array, "rows columns"]:
        """The matrix of a step."""
        if self._form == "products":
            terms = self._rows(batch)
            residuals = jnp.concatenate([_mapped(partial(each.at, params), each.points) for each in terms])
            return jnp.concatenate([inner_products(terms, params, self._pairs), residuals[:, None]], axis=1)
        flat, unravel = ravel_pytree(params)

        def rows(flat: Array, batch: Batch, masks: Mapping[int, Array]) -> Array:
            parts = [self._jacobian(unravel, flat, batch, name, self._roots(name, masks)) for name in self._terms]
            residuals, rows = (jnp.concatenate(each) for each in zip(*parts, strict=True))
            return jnp.concatenate([rows, residuals[:, None]], axis=1)

        def square(flat: Array, batch: Batch, masks: Mapping[int, Array]) -> Array:
            found = rows(flat, batch, masks)
            return found.T @ found

        width, mesh = flat.size + 1, self._devices.mesh
        if self._form == "triangle":
            return triangle_over_tiles(rows, width, flat, batch, self._tile, mesh)
        return sum_over_tiles(square, self._zeros(params, width, width), flat, batch, self._tile, mesh)

    def _jacobian(
        self, unravel: Callable[[Array], Any], flat: Array, batch: Batch, name: str, roots: Float[Array, "n"]
    ) -> tuple[Array, Array]:
        """Residuals of a term in a tile, and a row of J for each: at every point by backward passes of its own."""

        def residual(flat: Array, point: Any) -> tuple[Array, Array]:
            found = self._at_point(name, unravel(flat), point)
            return found, found

        points = self._points(batch, roots)
        rows, residuals = jax.vmap(jax.jacrev(residual, has_aux=True), (None, 0))(flat, points)
        return residuals.ravel(), rows.reshape(-1, len(flat))

    def _at_point(self, name: str, params: Any, point: Any) -> Float[Array, "r"]:
        """Residuals of a term at a point of `_points`, each times the root of its share of the loss."""
        batch, root = point
        return root * real_rows(self._residuals_of(params, jax.tree.map(lambda leaf: leaf[None], batch))[name])[0]

    def _points(self, batch: Batch, roots: Float[Array, "n"]) -> Any:
        """The points of a term, and the roots of their shares of the loss.

        The arrays of other terms are not used, but must have the same length.
        """
        of_term = lambda leaf: (
            leaf if len(leaf) == len(roots) else jnp.broadcast_to(leaf[:1], (len(roots), *leaf.shape[1:]))
        )
        return jax.tree.map(of_term, batch), roots

    def _rows(self, batch: Batch) -> list[Rows]:
        """The residuals of each term at all points."""
        rows = []
        for name, (count, _) in self._terms.items():
            roots = self._roots(name, {count: jnp.full(count, 1 / count, self._dtype)})
            rows.append(Rows(partial(self._at_point, name), self._points(batch, roots)))
        return rows

    def _pulled(self, params: Any, vector: Float[Array, "n"], batch: Batch) -> Any:
        """Jᵀ times a vector."""
        sizes = [jax.eval_shape(jax.vmap(each.at, (None, 0)), params, each.points) for each in self._rows(batch)]
        ends = np.cumsum([size.size for size in sizes])[:-1]
        parts = [part.reshape(size.shape) for part, size in zip(jnp.split(vector, ends), sizes, strict=True)]

        def of_tile(params: Any, both: Batch, masks: Mapping[int, Array]) -> Any:
            of = lambda params: self._vector(params, both["points"], masks)
            return jax.vjp(of, params)[1](jnp.concatenate([part.ravel() for part in both["parts"]]))[0]

        zero, both = jax.tree.map(jnp.zeros_like, params), {"points": batch, "parts": parts}
        return sum_over_tiles(of_tile, zero, params, both, self._tile, self._devices.mesh)

    def _bent(self, params: Any, direction: Any, batch: Batch) -> Float[Array, "n"]:
        """The second derivative of all residuals along a direction."""

        def of(each: Rows) -> Callable[[Any], Array]:
            def at(point: Any) -> Array:
                slope = lambda params: jax.jvp(lambda params: each.at(params, point), (params,), (direction,))[1]
                return jax.jvp(slope, (params,), (direction,))[1]

            return at

        return jnp.concatenate([_mapped(of(each), each.points) for each in self._rows(batch)])

    def _bend(self, unravel: Callable[[Array], Any], params: Array, direction: Array, batch: Batch) -> Array:
        """Jᵀr'', with the second derivative of r along a direction."""

        def of_tile(both: tuple[Array, Array], batch: Batch, masks: Mapping[int, Array]) -> Array:
            params, direction = both
            vector = lambda params: self._vector(unravel(params), batch, masks)
            slope = lambda params: jax.jvp(vector, (params,), (direction,))[1]
            second = jax.jvp(slope, (params,), (direction,))[1]
            return jax.vjp(vector, params)[1](second)[0]

        return sum_over_tiles(
            of_tile, jnp.zeros_like(params), (params, direction), batch, self._tile, self._devices.mesh
        )

    def _describe(self, params: Any) -> str:
        def each(name: str) -> tuple[Array, Any]:
            def of_tile(params: Any, batch: Batch, masks: Mapping[int, Array]) -> tuple[Array, Any]:
                own = lambda params: jnp.sum(self._vector(params, batch, masks, (name,)) ** 2)
                return jax.value_and_grad(own)(params)

            zero = self._zeros(params), jax.tree.map(jnp.zeros_like, params)
            of = lambda params, batch: sum_over_tiles(of_tile, zero, params, batch, self._tile, self._devices.mesh)
            return jax.jit(self._devices.everywhere(of))(params, self._batch)

        found = [each(name) for name in self._terms]
        values = np.array([value for value, _ in found])
        row = np.array([values.sum(), *values])
        return describe_nonfinite(len(self._losses), self._terms, row, (gradient for _, gradient in found))

    def _zeros(self, params: Any, *shape: int) -> Array:
        return jnp.zeros(shape, jax.tree.leaves(params)[0].dtype)


def real_rows(residuals: Array) -> Float[Array, "n r"]:
    """Residuals as real numbers, one row at each point; a complex residual as its real and imaginary parts."""
    flat = residuals.reshape(len(residuals), -1)
    return jnp.concatenate([flat.real, flat.imag], axis=1) if jnp.iscomplexobj(flat) else flat


def residual_count(residuals: Mapping[str, Any]) -> int:
    """Number of residuals as real numbers, of arrays of them or their shapes."""
    return sum(leaf.size * (2 if jnp.issubdtype(leaf.dtype, jnp.complexfloating) else 1) for leaf in residuals.values())


def _mapped(function: Callable[[Any], Array], points: Any) -> Float[Array, "n"]:
    """Numbers of a function at each point, in one vector."""
    return jax.lax.map(function, points, batch_size=TILE).ravel()


def _trace(matrix: Array, form: Form) -> Array:
    """Sum of the diagonal of JᵀJ, which is that of JJᵀ."""
    if form == "triangle":
        return jnp.sum(matrix[:, :-1] ** 2)
    return jnp.trace(matrix[:, :-1])  # of AᵀA: without its last row, too


def _by_squares(matrix: Array, added: Array) -> tuple[Array, Callable[[Array], Array], Array]:
    """The step v, the function (JᵀJ + λI)⁻¹, and |r|² - |r + Jv|², from AᵀA and λ."""
    square, gradient = matrix[:-1, :-1], matrix[:-1, -1]
    damped = square + added * jnp.eye(len(square), dtype=square.dtype)
    solve = partial(jax.scipy.linalg.cho_solve, jax.scipy.linalg.cho_factor(damped, lower=True))
    first = -solve(gradient)
    return first, solve, added * first @ first - gradient @ first


def _by_triangle(matrix: Array, added: Array) -> tuple[Array, Callable[[Array], Array], Array]:
    """The same from R of A = QR."""
    count = len(matrix) - 1
    below = jnp.sqrt(added) * jnp.eye(count, count + 1, dtype=matrix.dtype)
    damped = jnp.linalg.qr(jnp.concatenate([matrix, below]), mode="r")[:count]
    back = partial(jax.scipy.linalg.solve_triangular, damped[:, :-1])
    first = -back(damped[:, -1])
    left = matrix[:, -1] + matrix[:, :-1] @ first
    return first, lambda right: back(back(right, trans=1)), jnp.sum(matrix[:, -1] ** 2) - jnp.sum(left**2)


def _by_products(matrix: Array, added: Array) -> tuple[Callable[[Array], Array], Array]:
    """The function (JJᵀ + λI)⁻¹, and |r|² - |r + Jv|²."""
    square, residuals = matrix[:, :-1], matrix[:, -1]
    damped = square + added * jnp.eye(len(square), dtype=square.dtype)
    solve = partial(jax.scipy.linalg.cho_solve, jax.scipy.linalg.cho_factor(damped, lower=True))
    found = solve(residuals)  # r + Jv is λ times this
    return solve, found @ (square @ (residuals + added * found))


def _points_per_tile(residuals_of: Callable[[Any, Batch], Mapping[str, Array]], params: Any, batch: Batch) -> int:
    """Number of points of a tile whose rows of J take up to `ROWS` numbers, but are at least twice as many as columns.

    With fewer rows, factorizing a tile costs more than forming it.
    """
    found = jax.eval_shape(residuals_of, params, batch)
    points = sum({len(leaf) for leaf in jax.tree.leaves(batch)})
    rows = residual_count(found)
    columns = sum(leaf.size for leaf in jax.tree.leaves(params))
    return max(TILE, math.ceil(max(ROWS / columns, 2 * columns) * points / rows))


def _finite(*arrays: Array) -> bool:
    return all(bool(jnp.isfinite(array).all()) for array in arrays)
