"""Poisson's equation on pixels, its random walks, and composites of pictures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from siren_jax import InputError
from siren_jax.signals import Composite
from siren_jax.signals.poisson import differences, divergence_of, solve_poisson
from siren_jax.signals.random_walks import walks

RANDOM = np.random.default_rng(3)
H, W = 9, 12
DISK = np.hypot(*(np.indices((24, 30)) - np.array([11, 14])[:, None, None])) < 9
AT_THE_BORDER = np.indices((24, 30)).sum(0) < 26  # a corner: three sides of the picture are free


def picture(*shape: int) -> np.ndarray:
    return RANDOM.uniform(size=(*shape, 2))


# Solve


@pytest.mark.parametrize("shape", [(H, W), (1, 7), (7, 1), (1, 1)])
def test_the_differences_of_a_picture_give_it_back_up_to_its_mean(shape):
    p = picture(*shape)
    np.testing.assert_allclose(
        solve_poisson(divergence_of(differences(p))), p - p.mean(axis=(0, 1)), rtol=0, atol=1e-12
    )


def test_a_harmonic_picture_is_found_from_its_border():
    row, column = np.indices((H, W))
    harmonic = (row**2 - column**2 + 0.0)[..., None]  # second differences 2 and -2
    free = np.pad(np.ones((H - 2, W - 2), bool), 1)
    solution = solve_poisson(np.zeros_like(harmonic), free, harmonic)
    np.testing.assert_allclose(solution, harmonic, rtol=0, atol=1e-11)


def test_the_solution_is_the_least_squares_picture_of_differences_that_contradict_each_other():
    rows, columns = RANDOM.normal(size=(H - 1, W, 1)), RANDOM.normal(size=(H, W - 1, 1))
    free, known = RANDOM.uniform(size=(H, W)) < 0.6, picture(H, W)[..., :1]
    number = np.arange(H * W).reshape(H, W)
    pairs = np.concatenate(
        [
            np.stack([number[:-1], number[1:]], -1).reshape(-1, 2),
            np.stack([number[:, :-1], number[:, 1:]], -1).reshape(-1, 2),
        ]
    )
    wanted = np.concatenate([rows.ravel(), columns.ravel()])
    matrix = np.zeros((len(pairs), H * W))
    matrix[np.arange(len(pairs)), pairs[:, 1]], matrix[np.arange(len(pairs)), pairs[:, 0]] = 1, -1
    touching = free.ravel()[pairs].any(axis=1)
    right = wanted - matrix[:, ~free.ravel()] @ known[~free].ravel()
    expected = known.copy()
    expected[free] = np.linalg.lstsq(matrix[touching][:, free.ravel()], right[touching])[0][:, None]
    np.testing.assert_allclose(solve_poisson(divergence_of((rows, columns)), free, known), expected, atol=1e-10)


# Walks


@pytest.mark.parametrize("free", [DISK, AT_THE_BORDER, np.ones_like(DISK)], ids=["disk", "border", "everywhere"])
def test_walks_bring_home_the_solution_on_average(free):
    p = picture(*free.shape)
    source = divergence_of(differences(picture(*free.shape)))
    solution = solve_poisson(source, free, p)
    draw = walks(source, free, p)
    start = np.argwhere(free)[:: free.sum() // 12]
    drawn = np.stack([jax.jit(draw)(jax.random.key(k), jnp.asarray(start)) for k in range(100)])
    margin = drawn.std(axis=0) / np.sqrt(len(drawn))
    # Five standard errors, and half a hundredth for walkers that have not arrived and jumps that have not mixed.
    assert np.all(np.abs(drawn.mean(axis=0) - solution[tuple(start.T)]) < 5 * margin + 5e-3)
    assert np.max(margin) < 0.05  # else the test could not fail


# Composite


def test_what_is_pasted_takes_up_the_level_of_the_background():
    back = picture(24, 30)
    composite = Composite(back + 0.3, back, DISK, mode="paste")
    np.testing.assert_allclose(composite.solution(), back, atol=1e-12)


@pytest.mark.parametrize("mode", ["mean", "max", "paste"])
def test_the_background_stays_outside_the_mask(mode):
    front, back = picture(24, 30), picture(24, 30)
    solution = Composite(front, back, DISK, mode=mode).solution()
    np.testing.assert_allclose(solution[~DISK], back[~DISK], atol=1e-12)
    assert np.abs(solution[DISK] - back[DISK]).mean() > 0.05


def test_the_mean_of_differences_everywhere_is_the_mean_picture():
    front, back = picture(H, W), picture(H, W)
    np.testing.assert_allclose(Composite(front, back, mode="mean").solution(), (front + back) / 2, atol=1e-12)


def test_the_greater_difference_does_not_ask_which_picture_is_in_front():
    front, back = picture(H, W), picture(H, W)
    one, other = (
        Composite(a, b, mode="max", value_range=(0.0, 1.0)).solution() for a, b in ((front, back), (back, front))
    )
    np.testing.assert_allclose(one, other, atol=1e-12)


def test_the_greater_difference_shows_the_structure_of_both():
    left, right = np.zeros((2, 8, 16, 1))
    left[2:5, 2:5] = right[3:6, 10:13] = 1.0
    solution = Composite(left, right, mode="max").solution()
    np.testing.assert_allclose(solution - solution[0, 0], left + right, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("free", [DISK, None], ids=["disk", "everywhere"])
def test_batches_of_a_composite_have_its_pixels_as_their_mean(free):
    composite = Composite(picture(24, 30), picture(24, 30), free, mode="max", value_range=(0.0, 1.0))
    sample = jax.jit(composite.sampler(600))
    total, count, square = np.zeros((3, 24, 30, 2))
    for k in range(40):
        batch = sample(jax.random.key(k), 0)
        index = tuple(np.round(composite.frame.indices(np.asarray(batch["coordinates"]))).astype(int).T)
        for table, values in ((total, batch["value"]), (square, batch["value"] ** 2), (count, 1.0)):
            np.add.at(table, index, np.asarray(values))
    assert np.all(count >= 5)
    mean = total / count
    margin = np.sqrt(np.maximum(square / count - mean**2, 0) / count)
    error = np.abs(mean - (2 * composite.solution() - 1))
    assert np.mean(error < 3 * margin + 0.01) > 0.98  # of few draws, so the margin is one itself
    if free is not None:
        np.testing.assert_allclose(mean[~DISK], 2 * composite.background[~DISK] - 1, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"foreground": np.zeros((3, 4, 1))}, "one shape"),
        ({"free": np.ones((3, 4))}, "3, 4"),
        ({"free": np.zeros((H, W))}, "no pixel free"),
        ({"mode": "over"}, "mean, max, paste"),
        ({"mode": "paste", "free": None}, "nothing of it is left"),
        ({"foreground": np.full((H, W, 2), np.nan)}, "NaN"),
    ],
)
def test_what_cannot_be_blended_is_refused(change, message):
    given = {"foreground": picture(H, W), "background": picture(H, W), "free": np.eye(H, W), "mode": "max"} | change
    with pytest.raises(InputError, match=message):
        Composite(given["foreground"], given["background"], given["free"], mode=given["mode"])


def test_a_batch_too_small_for_both_sides_is_refused():
    with pytest.raises(InputError, match="at least 4 points"):
        Composite(picture(H, W), picture(H, W), np.eye(H, W)).sampler(3)
