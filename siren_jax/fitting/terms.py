"""The terms of an objective: their points, their weights, and a message about non-finite ones."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy import ndarray

from siren_jax._types import Batch
from siren_jax.errors import InputError
from siren_jax.fitting.recipes import Schedule

Weight = float | Schedule
"""Factor on a term, a constant or a function of the spent share of the budget."""
RESERVED = {"loss", "seconds"}


def points_of_terms(
    terms_of: Callable[[Any, Batch], dict[str, Array]], params: Any, batch_of: Callable[[], Batch]
) -> dict[str, int]:
    """The number of points of each term, in the objective's order; checks the results of the user's functions.

    Args:
        terms_of: `(params, batch) -> terms`.
        params: parameters of the network.
        batch_of: draws a batch. Both functions are traced, not run.

    Raises:
        InputError: an array of the batch lacks an axis of points, or a term lacks a value at each point or has a
            reserved name.
    """
    batch = jax.eval_shape(batch_of)
    shapes = [x.shape for x in jax.tree.leaves(batch)]
    if not shapes or not all(shape and shape[0] for shape in shapes):
        raise InputError(f"every array of a batch needs a leading axis of points, but the shapes are {shapes}.")
    lengths = sorted({shape[0] for shape in shapes})
    names: list[str] = []

    def evaluate(params: Any, batch: Batch) -> dict[str, Array]:
        terms = terms_of(params, batch)
        names.extend(terms)  # in the objective's order, which a pytree of shapes does not keep
        return terms

    terms = jax.eval_shape(evaluate, params, batch)
    for name, value in terms.items():
        if value.ndim != 1 or value.shape[0] not in lengths:
            raise InputError(
                f"the term {name!r} needs one value for each of the {' or '.join(map(str, lengths))} points, but has "
                f"the shape {value.shape}."
            )
    if reserved := RESERVED & set(terms):
        raise InputError(f"a term cannot have the name {min(reserved)!r}, which the history uses; rename the term.")
    return {name: terms[name].shape[0] for name in names}


def check_weights(weights: Mapping[str, Weight], names: Iterable[str]) -> None:
    """Raises an `InputError` if there is a weight for an unknown term."""
    if unknown := set(weights) - set(names):
        raise InputError(f"there are weights for {sorted(unknown)}, but the objective has the terms {sorted(names)}.")


def final_weights(names: Iterable[str], weights: Mapping[str, Weight]) -> dict[str, float]:
    """The weight of every term at the end of the budget; 1 if none is given."""
    given = {name: weights.get(name, 1.0) for name in names}
    return {name: float(w(jnp.float32(1)) if callable(w) else w) for name, w in given.items()}


def describe_nonfinite(step: int, names: Iterable[str], row: ndarray, gradients: Iterable[Any]) -> str:
    """A sentence that names the non-finite values of a step.

    Args:
        step: number of the step.
        names: names of the terms.
        row: values of the loss and the terms.
        gradients: gradient of each term. It is iterated only if loss and terms are finite, so it may be lazy.
    """
    names = tuple(names)
    bad = [f"term {name!r} is {value}" for name, value in zip(names, row[1:], strict=True) if not np.isfinite(value)]
    if not bad and not np.isfinite(row[0]):
        bad = [f"the loss is {row[0]}"]
    if not bad:
        sound = [all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient)) for gradient in gradients]
        of = [f"term {name!r}" for name, fine in zip(names, sound, strict=True) if not fine]
        bad = [f"the gradient of {' and '.join(of) or 'the loss'} is not finite"]
    return f"at step {step} {', '.join(bad)}"
