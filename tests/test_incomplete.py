"""Pictures of which some pixels are known, and priors between them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from siren_jax import InputError, supervise, with_prior
from siren_jax.signals import IncompletePicture

H, W = 6, 9
IMAGE = np.random.default_rng(0).uniform(size=(H, W, 2))
KNOWN = np.random.default_rng(1).uniform(size=(H, W)) < 0.4


def prior_of(field, prior: str, x) -> float:
    batch = {"coordinates": jnp.zeros((1, 2)), "value": field(jnp.zeros(2))[None], "anywhere": jnp.asarray(x)[None]}
    return with_prior(supervise("value"), prior)(field, batch)["prior"].item()


# Priors


def test_the_total_variation_of_planes_is_the_length_of_their_slopes():
    slopes = jnp.array([[3.0, 4.0], [0.0, 12.0]])
    assert prior_of(lambda x: slopes @ x, "total_variation", [0.3, -0.2]) == pytest.approx(13, rel=1e-6)
    assert prior_of(lambda x: slopes @ x, "hessian", [0.3, -0.2]) < 1e-5


def test_the_length_of_a_hessian_counts_mixed_derivatives_twice():
    field = lambda x: jnp.stack([x[0] ** 2 + 3 * x[0] * x[1], 2 * x[1] ** 2])
    assert prior_of(field, "hessian", [0.1, 0.7]) == pytest.approx(np.sqrt(2**2 + 2 * 3**2 + 4**2), rel=1e-6)


@pytest.mark.parametrize("prior", ["total_variation", "hessian"])
def test_a_constant_field_has_a_finite_gradient_of_its_prior(prior):
    slope = jax.grad(lambda a: prior_gradient(a, prior))(0.0)
    assert np.isfinite(slope)


def prior_gradient(a, prior: str):
    field = lambda x: (a * jnp.sum(x**2))[None]
    batch = {"coordinates": jnp.zeros((1, 2)), "value": jnp.zeros((1, 1)), "anywhere": jnp.ones((1, 2))}
    return with_prior(supervise("value"), prior)(field, batch)["prior"].sum()


def test_a_prior_leaves_the_other_terms_alone():
    batch = {"coordinates": jnp.ones((3, 2)), "value": jnp.zeros((3, 1)), "anywhere": jnp.zeros((3, 2))}
    field = lambda x: 2 * x[:1]
    assert with_prior(supervise("value"), "hessian")(field, batch)["value"].tolist() == [4, 4, 4]


def test_an_unknown_prior_is_refused():
    with pytest.raises(ValueError, match="total_variation, hessian"):
        with_prior(supervise("value"), "sparse")


# Pictures


@pytest.mark.parametrize("size", [None, 7, 50])
def test_batches_hold_known_pixels_alone(size):
    picture = IncompletePicture(IMAGE, KNOWN)
    sample, seen = jax.jit(picture.sampler(size)), set()
    for k in range(40):
        batch = sample(jax.random.key(k), 0)
        assert batch["value"].shape == (size or KNOWN.sum(), 2)
        row, column = np.round(picture.frame.indices(np.asarray(batch["coordinates"]))).astype(int).T
        assert KNOWN[row, column].all()
        np.testing.assert_allclose(batch["value"], 2 * IMAGE[row, column] - 1, atol=1e-6)
        seen |= set(zip(row.tolist(), column.tolist(), strict=True))
    assert len(seen) == KNOWN.sum()


def test_points_of_a_prior_are_uniform_over_the_picture():
    points = np.asarray(IncompletePicture(IMAGE, KNOWN).sampler(40_000)(jax.random.key(0), 0)["anywhere"])
    extent = np.array([H / W, 1.0])
    assert np.all(np.abs(points) <= extent)
    # A uniform law on [-e, e] has the variance e²/3; its estimate's standard error is e²·√(4/45 / n).
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=5 * (extent / np.sqrt(3 * 40_000)).max())
    np.testing.assert_allclose(points.var(axis=0) / extent**2, 1 / 3, atol=5 * np.sqrt(4 / 45 / 40_000))


def test_gaps_are_filled_with_the_nearest_known_value():
    filled = IncompletePicture(IMAGE, KNOWN).filled()
    known = np.argwhere(KNOWN)
    for pixel in np.ndindex(H, W):
        distance = np.linalg.norm(known - pixel, axis=1)
        nearest = known[distance == distance.min()]
        assert any(np.array_equal(filled[pixel], IMAGE[tuple(n)]) for n in nearest)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IncompletePicture(IMAGE, KNOWN[1:]), "6 x 9"),
        (lambda: IncompletePicture(IMAGE, np.zeros((H, W))), "no pixel is known"),
        (lambda: IncompletePicture(IMAGE, KNOWN).sampler(0), "at least one point"),
        (lambda: IncompletePicture(IMAGE, KNOWN).sampler(3, quantities=("gradient",)), "values alone"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
