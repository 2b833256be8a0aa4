"""Problems: terms combined into an objective and a sampler, with which `fit` makes a network their solution."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.tree_util import Partial

from siren_jax._types import Batch, Field, Objective, RefinementMethod
from siren_jax.equations.jumps import doubts_about_jumps
from siren_jax.equations.terms import AtPoint, Term
from siren_jax.equations.tracing import decisions_refused, refuse_indices_beyond
from siren_jax.equations.units import doubts_about_units
from siren_jax.errors import InputError
from siren_jax.fields.one_pass import in_one_pass
from siren_jax.fields.tiles import map_over_tiles
from siren_jax.fitting.descent import fit
from siren_jax.fitting.gauss_newton import residual_count
from siren_jax.fitting.objectives import SumOfSquares
from siren_jax.fitting.refinement import in_double, refine
from siren_jax.fitting.result import Fit

TINY = 1e-30  # in a denominator
OTHER = 2**31 - 1  # a step that no fit reaches


class Problem:
    """The equation and its conditions: `problem.fit(network, key=key, steps=2000)` makes the network their solution.

    Args:
        terms: made by `equation`, `dirichlet`, `initial` and so on.

    Raises:
        InputError: there is no term, or two have the same name.

    >>> from siren_jax import laplacian
    >>> from siren_jax.equations import Interval, dirichlet, equation
    >>> line = Problem([equation(lambda u, x: laplacian(u)(x), Interval(0, 1)), dirichlet(0.0, Interval(0, 1))])
    >>> batch = line.sample(jax.random.key(0), 0)
    >>> {name: float(term.max()) for name, term in line.objective(lambda x: 0 * x, batch).items()}
    {'equation': 0.0, 'dirichlet': 0.0}
    """

    def __init__(self, terms: Sequence[Term]):
        names = [term.name for term in terms]
        if not terms or len(set(names)) < len(names):
            raise InputError(f"a problem has one or more terms, each with a name of its own, name=…, but got {names}.")
        self.terms = tuple(terms)
        self.objective = _objective(self.terms)
        self._warned: set[str] = set()
        self.sample = Partial(_sample, {term.name: _as_partial(term.draw) for term in terms})

    @property
    def weights(self) -> dict[str, Any]:
        """Weights of the terms, by name."""
        return {term.name: term.weight for term in self.terms}

    def fit(
        self, network: nnx.Module, *, key: Array, steps: int | None = None, seconds: float | None = None, **more: Any
    ) -> Fit:
        """`siren_jax.fit` of the problem, with its weights unless `weights` are given.

        Args:
            network: maps coordinates of the domain to the unknowns; it is not changed.
            key: random key of the points.
            steps: number of steps. A budget of steps or seconds is required.
            seconds: longest time, without compilation.
            **more: other arguments of `siren_jax.fit`, such as `optimizer` and `watch`.
        """
        self._warn(network)
        settings = {"weights": self.weights, **more}
        return fit(network, self.objective, self.sample, key=key, steps=steps, seconds=seconds, **settings)

    def refine(
        self,
        network: nnx.Module,
        *,
        key: Array,
        batches: int = 2,
        steps: int | None = None,
        seconds: float | None = None,
        method: RefinementMethod = "lbfgs",
        fresh: bool = False,
        **more: Any,
    ) -> Fit:
        """`siren_jax.refine` on `fixed` points, with the problem's weights unless `weights` are given.

        Args:
            network: initial network; it is not changed.
            key: as in `fixed`.
            batches: as in `fixed`.
            steps: largest number of steps. A budget of steps or seconds is required.
            seconds: longest time, without compilation.
            method: "lbfgs"; "gauss-newton" for small networks, up to a few thousand parameters, or for up to 8,000
                residuals; "broyden" for small networks; or "last-layer" for `random_features` and `fourier_features`.
            fresh: with "gauss-newton", whether every step has new points, those of its own `batches`. A network with
                more parameters than residuals overfits fixed points.
            **more: other arguments of `siren_jax.refine`, such as `double`, with which the points are in float64 too,
                and `watch`.

        Raises:
            InputError: "gauss-newton" or "last-layer", and a term has power=1; `fresh` with another method.
        """
        self._warn(network, units=method != "last-layer")  # features may be in any unit
        settings = {"weights": self.weights, "method": method, **more}
        double = in_double(method, more.get("double"))
        objective, batch = self.fixed(key, batches, double=double)
        if fresh:
            settings["draw"] = lambda step: self.fixed(jax.random.fold_in(key, step), batches, double=double)[1]
        if method in ("gauss-newton", "last-layer"):
            objective = SumOfSquares(self.residuals, self._values)
        return refine(network, objective, batch, steps=steps, seconds=seconds, **settings)

    def _warn(self, network: nnx.Module, *, units: bool = True) -> None:
        """Warns of units and coefficients with which no fit of this problem can succeed; once of each."""
        batch = jax.eval_shape(self.sample, jax.random.key(0), 0)
        points = max((math.prod(leaf.shape[:-1]) for leaf in jax.tree.leaves(batch)), default=1)
        about_units = doubts_about_units(network, self.terms, points) if units else ()
        for text in (*about_units, *doubts_about_jumps(network, self.terms)):
            if text not in self._warned:
                self._warned.add(text)
                warnings.warn(text, stacklevel=3)

    def residuals(self, field: Field, batch: Batch) -> dict[str, Array]:
        """The residuals of the terms at points of `fixed`, as `SumOfSquares` and `refine(method="gauss-newton")` use
        them: `(n, r)` or `(n,)` for each term.

        Raises:
            InputError: a term has power=1.
        """
        if absolute := [term.name for term in self.terms if term.power == 1]:
            raise InputError(
                f"the terms {absolute} are absolute values of residuals (power=1), but Gauss-Newton minimises squares; "
                "use power=2, or method='broyden' or 'lbfgs'."
            )
        return {term.name: jax.vmap(residual_at(term), (None, 0))(field, batch[term.name]) for term in self.terms}

    def residual_count(self, field: Field, batches: int = 1) -> int:
        """Number of residuals at the points of `fixed`, as real numbers; it decides how Gauss-Newton computes.

        Args:
            field: any field with the channels of the unknowns, and with their coefficients. It is not evaluated.
            batches: as in `fixed`.

        Raises:
            InputError: a term has power=1.
        """
        batch = jax.eval_shape(lambda key: self.fixed(key, batches)[1], jax.random.key(0))
        return residual_count(jax.eval_shape(lambda batch: self.residuals(field, batch), batch))

    def _values(self, field: Field, batch: Batch) -> Array:
        """The unknowns at the points of the largest term."""
        return map_over_tiles(field, max((batch[term.name][0] for term in self.terms), key=len))

    def fixed(self, key: Array, batches: int = 1, *, double: bool = False) -> tuple[Objective, Batch]:
        """An objective and a batch for `refine`: the points of several batches, including all candidates.

        Args:
            key: may be the key of `fit`; the points differ from those of the fit.
            batches: number of batches.
            double: whether the points are in float64. They are the same, but on the boundary to 1e-16 instead of 1e-7.

        Raises:
            InputError: `batches` is less than 1.
        """
        if batches < 1:
            raise InputError(f"fixed points need at least one batch, but got batches={batches}.")
        plain = [replace(term, candidates=1) for term in self.terms]
        batch = {}
        with jax.enable_x64(True) if double else nullcontext():
            share = np.float64(1) if double else 1.0
            keys = jax.random.split(jax.random.fold_in(key, OTHER), batches)
            samples = [self.sample(k, OTHER, share) for k in keys]
            for term in self.terms:
                arrays = [
                    jnp.concatenate(leaves) for leaves in zip(*(sample[term.name] for sample in samples), strict=True)
                ]
                if term.candidates > 1:
                    arrays = [leaf.reshape(-1, *leaf.shape[2:]) for leaf in arrays[:-1]]  # without the noise
                batch[term.name] = tuple(arrays)
        return _objective(plain), batch


def _objective(terms: Sequence[Term]) -> Partial:
    """Objective of the terms. Equations that share a residual are evaluated together, compiled once and run as one
    batch."""
    groups: dict[Any, list[Term]] = {}
    for term in terms:
        alike = term.residual if isinstance(term.residual, AtPoint) else term.name
        groups.setdefault((alike, term.power, term.candidates), []).append(term)
    scores = [([term.name for term in group], jax.vmap(_score(group[0]), (None, 0))) for group in groups.values()]

    def objective(field: Field, batch: Mapping[str, tuple[Array, ...]]) -> dict[str, Array]:
        found = {}
        for names, score in scores:
            together = [jnp.concatenate(leaves) for leaves in zip(*(batch[name] for name in names), strict=True)]
            ends = np.cumsum([len(batch[name][0]) for name in names])[:-1]
            found |= dict(zip(names, jnp.split(score(field, tuple(together)), ends), strict=True))
        return {term.name: found[term.name] for term in terms}

    return Partial(objective)


def residual_at(term: Term) -> Callable[[Field, Any], Array]:
    """A term's residual at a point, as a function of a field and the term's arrays that checks it."""
    evaluate = in_one_pass(term.residual)

    def residual(field: Field, at: tuple[Array, ...]) -> Array:
        with decisions_refused(f"the residual of {term.name!r}"):
            return _numbers(term.name, evaluate(field, *at))

    return residual


def _score(term: Term) -> Callable[[Field, Any], Array]:
    """The absolute value of a term's residual at a point, or its square, summed over components, as a function."""
    residual = residual_at(term)

    def size(field: Field, at: tuple[Array, ...]) -> Array:
        size = jnp.abs(residual(field, at))  # also for complex numbers
        return jnp.sum(size**2 if term.power == 2 else size)

    def score(field: Field, at: tuple[Array, ...]) -> Array:
        refuse_indices_beyond(f"the residual of {term.name!r}", lambda at: size(field, at), at)
        return size(field, at)

    def choose(field: Field, at: tuple[Array, ...]) -> Array:
        *places, noise = at
        each = jax.lax.stop_gradient(jax.vmap(size, (None, 0))(field, tuple(places)))
        likelihood = 1 + each / (jnp.mean(each) + TINY)
        best = jnp.argmax(jnp.log(likelihood) + noise)  # Gumbel's trick: `best` has this probability
        return score(field, tuple(place[best] for place in places))

    return score if term.candidates == 1 else choose


def _numbers(name: str, residual: Any) -> Array:
    """A residual as an array with at most one axis."""
    try:
        found = jnp.asarray(residual)
    except (TypeError, ValueError):
        raise InputError(
            f"the residual of {name!r} is {type(residual).__name__}; it should be an array, one number for each "
            "equation. Combine several with jnp.stack."
        ) from None
    if found.ndim > 1:
        raise InputError(
            f"the residual of {name!r} has the shape {found.shape} at a point; it should be one number for each "
            "equation. Take a channel of a Jacobian, or sum over its axes."
        )
    if not found.size or not jnp.issubdtype(found.dtype, jnp.inexact):
        raise InputError(
            f"the residual of {name!r} is {found.dtype}{found.shape} at a point, which cannot be minimised. "
            "Correct it: a slice may be empty, or a comparison may be in the place of a difference."
        )
    return found


def _sample(draws: Mapping[str, Partial], key: Array, step: Array | int, share: Any = 1.0) -> Batch:
    keys = jax.random.split(key, len(draws))
    return {name: draw(key, share) for (name, draw), key in zip(draws.items(), keys, strict=True)}


def _as_partial(draw: Callable[..., Any]) -> Partial:
    return draw if isinstance(draw, Partial) else Partial(draw)
