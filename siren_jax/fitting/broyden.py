"""The self-scaled Broyden method: a quasi-Newton method with a dense matrix, for small networks and any loss.

Its matrix H approximates the inverse of the Hessian matrix, and a step goes along -Hg for the gradient g. A step s that
changes the gradient by y updates H to

    (H - Hy yᵀH / yᵀHy + φ·v vᵀ) / τ + s sᵀ / yᵀs  with  v = √(yᵀHy)·(s / yᵀs - Hy / yᵀHy),

a matrix that maps y to s and stays positive definite. The scale τ and the member φ of Broyden's family (1 for BFGS,
0 for DFP) are those of Al-Baali 1998, as Urbán, Stefanou and Pons 2025 ("Unveiling the optimization process of physics
informed neural networks", Eqs. 13-23) and Kiyani et al. 2025 ("Optimizing the optimizer for physics-informed neural
networks and Kolmogorov-Arnold networks") use them for differential equations: the method SSBroyden2 of their code.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

EVALUATIONS = 20  # of a line search, as in `optax.lbfgs`


class State(NamedTuple):
    """State of the optimizer."""

    inverse: Float[Array, "p p"]
    """The matrix H."""
    fresh: Array
    """Whether the matrix is the identity, whose factor is not yet chosen."""
    search: Any
    """State of the line search, which has the value and the gradient after the step."""


def self_scaled_broyden() -> optax.GradientTransformationExtraArgs:
    """The self-scaled Broyden method with a line search for the strong Wolfe conditions, as an Optax optimizer.

    A step takes about ten operations for each of the P² entries of its matrix, in addition to the evaluations of the
    line search. The first step follows the gradient, and so does a step after one that could not lower the loss.
    """
    line_search = optax.scale_by_zoom_linesearch(EVALUATIONS, initial_guess_strategy="one")

    def init(params: Any) -> State:
        flat, _ = ravel_pytree(params)
        return State(jnp.eye(len(flat), dtype=flat.dtype), jnp.array(True), line_search.init(params))

    def update(updates: Any, state: Any, params: Any = None, **search: Any) -> tuple[Any, Any]:
        """The updates and the next state; `search` is what the line search needs: `value`, `grad` and `value_fn`."""
        before, unravel = ravel_pytree(updates)
        # A first step has the length 1 at most, as that of `optax.lbfgs`.
        factor = jnp.where(state.fresh, 1 / jnp.maximum(1, jnp.linalg.norm(before)), 1)
        direction = -factor * (state.inverse @ before)
        updates, searched = line_search.update(unravel(direction), state.search, params, **search)
        length, after = optax.tree.get(searched, "learning_rate"), ravel_pytree(optax.tree.get(searched, "grad"))[0]
        step = length * direction
        inverse, fresh = next_inverse(factor * state.inverse, step, after - before, -length * (before @ step))
        return updates, State(inverse, fresh, searched)

    return optax.GradientTransformationExtraArgs(init, update)


def next_inverse(
    inverse: Float[Array, "p p"], step: Float[Array, "p"], change: Float[Array, "p"], bend: Array
) -> tuple[Float[Array, "p p"], Array]:
    """The matrix H after a step, and whether it is a fresh one, the identity.

    A step along which the slope does not grow, yᵀs ≤ 0, leaves H as it is. H begins anew if a line search has found no
    step, or if rounding has made H indefinite.

    Args:
        inverse: the matrix H before the step, symmetric and positive definite.
        step: the step s.
        change: the change y of the gradient.
        bend: sᵀH⁻¹s. For a step s = -αHg this is -α·sᵀg.
    """
    image = inverse @ change
    ys, yhy = change @ step, change @ image
    intact = (yhy > 0) & (bend > 0)
    used = intact & (ys > 0)
    ys, yhy, bend = (jnp.where(used, value, 1) for value in (ys, yhy, bend))
    scale, member = scale_and_member(yhy / ys, bend / ys, len(step))
    turn = step / ys - image / yhy
    outer = lambda vector: jnp.outer(vector, vector)
    later = (inverse - outer(image) / yhy + member * yhy * outer(turn)) / scale + outer(step) / ys
    return jnp.where(used, later, jnp.where(intact, inverse, jnp.eye(len(step), dtype=step.dtype))), ~intact


def scale_and_member(h: Array, b: Array, count: int) -> tuple[Array, Array]:
    """The scale τ and the member φ of an update.

    Args:
        h: yᵀHy / yᵀs.
        b: sᵀH⁻¹s / yᵀs.
        count: number of parameters.
    """
    a = jnp.maximum(b * h - 1, jnp.finfo(h.dtype).eps)  # not negative, by Cauchy and Schwarz
    least = jnp.minimum(1, h / (1 + a) / (1 + jnp.sqrt(a / (1 + a))))
    # In the update of H⁻¹ the member is θ: 0 for BFGS, 1 for DFP.
    theta = jnp.maximum((least - 1) / a, jnp.minimum(1 / least, (1 - b) / b))
    growth = 1 + a * theta  # factor on the determinant
    root = growth ** (-1 / max(count - 1, 1))
    shrunk = jnp.minimum(1, 1 / b)
    above = shrunk * jnp.minimum(root, 1 / jnp.where(theta > 0, theta, 1))
    scale = jnp.where(theta > 0, above, jnp.minimum(shrunk * root, growth))
    return scale, (1 - theta) / growth
