"""Walks on boxes: the solution of a Poisson problem on pixels as an average over random walks.

Let L sum the differences between a pixel and its four neighbours, and let Lw = r at the free pixels and w be known at
the others. In a box of free pixels that reaches h pixels to each side of x,

    w(x) = Σ_y P_h(y - x) w(y) - Σ_z G_h(z - x) r(z),    y on the box's edge, z inside,

with Green's function G_h of the box and the probability P_h that a random walk from its centre leaves it at y. A walker
jumps to such a y, again and again until it meets a known pixel, and adds up the second sum on its way; the total is
w(x) on average. Each jump takes the largest box that fits, so that some ten to thirty jumps are enough.

The same on balls is the walk on spheres (Muller 1956); Nam, Berner and Anandkumar 2024 train networks on it.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Bool, Float, Int
from numpy import ndarray

BOUNDED = 48, 16  # jumps, walkers: five of 1,000 from the middle of a disk of 70 pixels have not arrived
UNBOUNDED = 8, 64  # without known pixels: after 8 jumps over half the picture 0.2 % of the slowest wave is left
QUANTILES = 4096  # of P_h, from which points of the edge are drawn


def walks(rest: Float[ndarray, "h w c"], free: Bool[ndarray, "h w"], known: Float[ndarray, "h w c"]) -> Partial:
    """A pure function `draw(key, start)`: for the indices of free pixels `(n, 2)`, means over walkers from each pixel
    `(n, c)`, whose expectation is w there.

    If no pixel is known, w is the solution of mean zero. Beyond its border the picture continues by reflection.
    Walkers that have not arrived in time are left out; the error of the mean is then below the walkers' own scatter.

    Args:
        rest: r at free pixels.
        free: where w is not known.
        known: w where it is known.
    """
    room = _room(free)
    sizes = sorted({round(2 ** (e / 2)) for e in range(2 * int(room.max()).bit_length())})
    sizes = [h for h in sizes if h <= room.max()]
    level = np.searchsorted(sizes, room, side="right")  # 0 where known
    sourced = bool(rest.any())  # without a source there is nothing to collect
    collected = np.zeros((*free.shape, rest.shape[-1] if sourced else 0), np.float32)
    transform = np.fft.rfft2(_mirrored(rest), axes=(0, 1))
    table = [np.zeros((QUANTILES, 2), np.int32)]
    for number, h in enumerate(sizes, start=1):
        green = _green(h)
        table.append(_edge_quantiles(green))
        if sourced and (here := level == number).any():
            collected[here] = -_convolved(transform, green, rest.shape[:2])[here]
    worth = (np.zeros_like(known) if free.all() else np.where(free[..., None], np.nan, known)).astype(np.float32)
    jumps, walkers = UNBOUNDED if free.all() else BOUNDED
    first = np.arange(0, QUANTILES, QUANTILES // walkers)  # spread evenly over the first edge
    return Partial(_draw, *map(jnp.asarray, (collected, level, np.stack(table), worth, jumps, first)))


def _draw(
    collected: Array,
    level: Array,
    table: Array,
    worth: Array,
    jumps: Array,
    first: Array,
    key: Array,
    start: Int[Array, "n 2"],
) -> Float[Array, "n c"]:
    """Means over walkers. `worth` is the value of arriving at a pixel, NaN where a walker may not stay."""
    size = jnp.array(level.shape)

    def jump(number: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        at, total = state
        here = at[..., 0], at[..., 1]
        bits = jax.random.bits(jax.random.fold_in(key, number), at.shape[:-1], jnp.uint16)
        quantile = bits.astype(jnp.int32) % QUANTILES
        quantile = jnp.where(number == 0, first + quantile[:, :1] // len(first), quantile)
        to = jnp.mod(at + table[level[here], quantile], 2 * size)
        return jnp.where(to < size, to, 2 * size - 1 - to), total + collected[here]

    at = jnp.repeat(start[:, None], len(first), axis=1)
    total = jnp.zeros((*at.shape[:2], collected.shape[-1]), collected.dtype)
    end, total = jax.lax.fori_loop(0, jumps, jump, (at, total))
    brought = worth[end[..., 0], end[..., 1]] + (total if total.shape[-1] else 0)
    return jnp.nan_to_num(jnp.nanmean(brought, axis=1))


def _room(free: Bool[ndarray, "h w"]) -> Int[ndarray, "h w"]:
    """Size h of the largest box around each pixel with free pixels inside; those on its edge may be known."""
    import scipy.ndimage

    h, w = free.shape
    if free.all():
        return np.full((h, w), max(1, max(h, w) // 2))
    padded = np.pad(free, ((h, h), (w, w)), mode="symmetric")
    return np.asarray(scipy.ndimage.distance_transform_cdt(padded, "chessboard"))[h:-h, w:-w]


def _green(h: int) -> Float[ndarray, "k k"]:
    """G_h: -LG is one at the centre and zero elsewhere, and G zero on the box's edge; k = 2h - 1."""
    along = np.pi / (2 * h) * np.arange(1, 2 * h)
    sines = np.sin(np.outer(along, np.arange(1, 2 * h))) / np.sqrt(h)  # eigenvectors of the second difference
    eigenvalue = 2 - 2 * np.cos(along)
    centre = sines[:, h - 1]
    return sines @ (np.outer(centre, centre) / (eigenvalue[:, None] + eigenvalue)) @ sines


def _edge_quantiles(green: Float[ndarray, "k k"]) -> Int[ndarray, "q 2"]:
    """Quantiles of P_h along the edge of the box, as offsets from its centre."""
    h = (len(green) + 1) // 2
    side, far = np.arange(1 - h, h), np.full(len(green), h)
    chance = np.concatenate([green[0], green[:, -1], green[-1, ::-1], green[::-1, 0]])  # one step outward
    edge = np.concatenate(
        [np.stack(pair, axis=1) for pair in ((-far, side), (side, far), (far, -side), (-side, -far))]
    ).astype(np.int32)
    part = (np.arange(QUANTILES) + 0.5) / QUANTILES
    return edge[np.minimum(np.searchsorted(np.cumsum(chance), part), len(edge) - 1)]


def _mirrored(values: Float[ndarray, "h w c"]) -> Float[ndarray, "h2 w2 c"]:
    """One period of the picture continued by reflection."""
    for axis in (0, 1):
        values = np.concatenate([values, np.flip(values, axis)], axis)
    return values


def _convolved(transform: ndarray, kernel: Float[ndarray, "k k"], shape: tuple[int, int]) -> Float[ndarray, "h w c"]:
    """The convolution of a picture, given its transform, with a centred kernel, on the first quarter of its period."""
    period = tuple(2 * n for n in shape)
    wrapped = np.zeros(period)
    reach = np.arange(len(kernel)) - len(kernel) // 2
    np.add.at(wrapped, np.ix_(reach % period[0], reach % period[1]), kernel)
    product = transform * np.fft.rfft2(wrapped)[..., None]
    return np.fft.irfft2(product, s=period, axes=(0, 1))[: shape[0], : shape[1]]
