"""Poisson's equation on pixels: the picture whose differences between neighbours are nearest to wanted ones."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

Differences = tuple[Float[ndarray, "h1 w c"], Float[ndarray, "h w1 c"]]
"""Differences from each pixel to the next one along the rows' and the columns' axis."""


def differences(picture: Float[ndarray, "h w c"]) -> Differences:
    """Differences from each pixel to the next one, along both axes.

    >>> [d.ravel().tolist() for d in differences(np.array([[[1.0], [4.0]], [[2.0], [2.0]]]))]
    [[1.0, -2.0], [3.0, 0.0]]
    """
    return np.diff(picture, axis=0), np.diff(picture, axis=1)


def divergence_of(wanted: Differences) -> Float[ndarray, "h w c"]:
    """Divergence at each pixel, the differences that leave it minus those that arrive: their sum over its two to four
    neighbours."""
    rows, columns = (np.pad(v, [(int(i == axis),) * 2 for i in range(3)]) for axis, v in enumerate(wanted))
    return np.diff(rows, axis=0) + np.diff(columns, axis=1)


def solve_poisson(
    source: Float[ndarray, "h w c"],
    free: Bool[ndarray, "h w"] | None = None,
    known: Float[ndarray, "h w c"] | None = None,
) -> Float[ndarray, "h w c"]:
    """The picture u with Lu = source at free pixels and known values elsewhere, by a sparse direct solve.

    L sums the differences to a pixel's neighbours. With the source `divergence_of(v)`, u minimises Σ |u_q - u_p -
    v_pq|² over all pairs of neighbours with at least one free pixel. A million free pixels take some 20 s and a
    gigabyte.

    Args:
        source: Lu at free pixels; values elsewhere are not read.
        free: where u is solved for; by default at all pixels, and u has the mean zero.
        known: u at the other pixels.

    >>> picture = np.array([[[1.0], [4.0]], [[2.0], [5.0]]])
    >>> solve_poisson(divergence_of(differences(picture))).round(6).ravel().tolist()
    [-2.0, 1.0, -1.0, 2.0]
    """
    import scipy.sparse.linalg

    shape, c = source.shape[:2], source.shape[2]
    unknown = np.ones(shape, bool) if free is None or free.all() else free.copy()
    solution = np.zeros(source.shape) if known is None else np.where(unknown[..., None], 0.0, known)
    solution = solution.reshape(-1, c)
    if everywhere := bool(unknown.all()):
        unknown[0, 0] = False  # any value of one pixel will do
    unknown = unknown.ravel()
    system = _second_difference(*shape)[unknown]
    right = source.reshape(-1, c)[unknown] - system @ solution
    if unknown.any():
        solution[unknown] = scipy.sparse.linalg.splu(system[:, unknown].tocsc(), permc_spec="MMD_AT_PLUS_A").solve(
            right
        )
    return (solution - solution.mean(axis=0) if everywhere else solution).reshape(source.shape)


def _second_difference(h: int, w: int):
    """L as a sparse matrix on flattened pictures."""
    import scipy.sparse

    along = []
    for n in (h, w):
        identity = scipy.sparse.csr_array(scipy.sparse.eye_array(n))
        step = identity[1:] - identity[:-1]
        along.append(-(step.T @ step))
    return scipy.sparse.csr_array(scipy.sparse.kronsum(along[1], along[0]))
