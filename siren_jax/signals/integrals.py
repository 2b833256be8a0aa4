"""Integral forms of gradient and Laplacian targets: averages over all scales, for which a network needs values alone.

A squared error weighs a frequency k by |k|² in a gradient and by |k|⁴ in a Laplacian: with targets at points alone, an
optimiser works on the finest detail, and the low frequencies drift. Averaged over a length h, the same equations are
exact statements about values,

    ∫_a^b ∇f·ds = f(b) - f(a)                                along a segment, and
    ∫ K_h(x - y) Δf(y) dy = Σ_i f(x + h e_i) + f(x - h e_i) - 2d f(x)   with K̂_h(k) = Σ_i 4 sin²(h k_i/2) / |k|²,

and weigh frequencies below 1/h alike. The right-hand sides cost two and 2d + 1 values of the network, and no
derivative. The left-hand sides are known from the target alone. Beyond its border the signal continues by reflection,
as in SciPy's filters; for a Laplacian this fixes the harmonic part, up to a constant.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float
from numpy import ndarray

from siren_jax.fields.coordinates import Frame


def segments(gradient: Float[ndarray, "*shape c d"], frame: Frame) -> Partial:
    """A pure function `draw(key, n)`: n segments along the axes, their lengths log-uniform from one sample to the
    longest axis.

    It returns `points` `(n, 2, d)`, both ends, and `target` `(n, c)`, the integral of the gradient between them by the
    trapezoidal rule.
    """
    primitives = []
    for axis in range(len(frame.shape)):
        g = np.moveaxis(gradient[..., axis].astype(np.float64), axis, 0)
        steps = (g[1:] + g[:-1]) / 2 * frame.spacing
        primitive = np.concatenate([np.zeros_like(g[:1]), np.cumsum(steps, axis=0)])
        primitives.append(np.moveaxis(primitive, 0, axis))
    return Partial(_draw_segments, jnp.asarray(np.stack(primitives), jnp.float32), jnp.float32(frame.spacing))


def stencils(laplacian: Float[ndarray, "*shape c"], frame: Frame) -> Partial:
    """A pure function `draw(key, n)`: n stencils x ± h e_i and x, with h a power of two samples up to half of the
    longest axis.

    It returns `points` `(n, 2d + 1, d)`, the centre last, and `target` `(n, c)`, the convolution of the Laplacian with
    K_h.
    """
    d = len(frame.shape)
    mirrored = np.asarray(laplacian, np.float64) * frame.spacing**2
    for axis in range(d):
        mirrored = np.concatenate([mirrored, np.flip(mirrored, axis)], axis)
    wave = np.meshgrid(*(2 * np.pi * np.fft.fftfreq(2 * n) for n in frame.shape), indexing="ij")
    square = sum(k**2 for k in wave)
    transform = np.fft.fftn(mirrored, axes=range(d))
    reach = 2 ** np.arange(max(1, int(np.log2(max(frame.shape)))))
    targets = []
    for h in reach:
        kernel = np.divide(
            sum(4 * np.sin(h * k / 2) ** 2 for k in wave), square, out=np.zeros_like(square), where=square > 0
        )
        kernel.flat[0] = h**2  # the limit at k = 0
        smoothed = np.fft.ifftn(transform * kernel[..., None], axes=range(d)).real
        targets.append(smoothed[tuple(slice(n) for n in frame.shape)])
    arrays = jnp.asarray(np.stack(targets), jnp.float32), jnp.asarray(reach, jnp.int32), jnp.float32(frame.spacing)
    return Partial(_draw_stencils, *arrays)


def footprints(values: Float[ndarray, "*shape c"], frame: Frame, points: int = 4) -> Partial:
    """A pure function `draw(key, n)`: n samples, each as a mean over its footprint, for samples that are averages.

    The footprint is a triangular kernel, which reaches to the neighbours' centres. Linear interpolation with
    anti-aliasing makes such samples when it shrinks a signal, and a camera's are similar. The function returns `points`
    `(n, k, d)`, drawn from the kernel, and `target` `(n, c)`, the value. With one point, as in the paper's code, the
    squared error also penalises variation of the field within a footprint; with k points, 1/k as much.
    """
    arrays = jnp.asarray(values, jnp.float32), jnp.zeros(points, jnp.float32), jnp.float32(frame.spacing)
    return Partial(_draw_footprints, *arrays)


def _draw_footprints(values: Array, each: Array, spacing: Array, key: Array, n: int) -> dict[str, Array]:
    *shape, _ = values.shape
    size, d = jnp.array(shape), len(shape)
    for_centre, for_points = jax.random.split(key)
    centre = jax.random.randint(for_centre, (n, d), 0, size, jnp.int32)
    one, other = jax.random.uniform(
        for_points, (2, n, len(each), d), each.dtype
    )  # their difference has a triangular distribution
    return {"points": _coordinates(centre[:, None] + one - other, size, spacing), "target": values[tuple(centre.T)]}


def _draw_segments(primitives: Array, spacing: Array, key: Array, n: int) -> dict[str, Array]:
    d, *shape, _ = primitives.shape
    size = jnp.array(shape)
    for_axis, for_centre, for_length = jax.random.split(key, 3)
    axis = jax.random.randint(for_axis, (n,), 0, d, jnp.int32)
    along = jax.nn.one_hot(axis, d, dtype=jnp.int32)
    logarithm = jax.random.uniform(for_length, (n, 1), jnp.float32, maxval=np.log(max(shape)))
    length = jnp.exp(logarithm).astype(jnp.int32)
    a = jnp.clip(jax.random.randint(for_centre, (n, d), 0, size, jnp.int32) - length // 2 * along, 0, size - 1)
    b = jnp.clip(a + length * along, 0, size - 1)
    target = primitives[axis, *b.T] - primitives[axis, *a.T]
    return {"points": _coordinates(jnp.stack([a, b], axis=1), size, spacing), "target": target}


def _draw_stencils(targets: Array, reach: Array, spacing: Array, key: Array, n: int) -> dict[str, Array]:
    _, *shape, _ = targets.shape
    size, d = jnp.array(shape), len(shape)
    for_scale, for_centre = jax.random.split(key)
    scale = jax.random.randint(for_scale, (n,), 0, len(reach), jnp.int32)
    centre = jax.random.randint(for_centre, (n, d), 0, size, jnp.int32)
    arms = jnp.concatenate([jnp.eye(d, dtype=jnp.int32), -jnp.eye(d, dtype=jnp.int32), jnp.zeros((1, d), jnp.int32)])
    points = jnp.mod(centre[:, None] + reach[scale, None, None] * arms, 2 * size)
    points = jnp.where(points < size, points, 2 * size - 1 - points)  # reflected at the border
    return {"points": _coordinates(points, size, spacing), "target": targets[scale, *centre.T]}


def _coordinates(indices: Array, size: Array, spacing: Array) -> Array:
    """`Frame.coordinates`, traced."""
    return (indices.astype(spacing.dtype) + 0.5 - size.astype(spacing.dtype) / 2) * spacing
