"""`supervise` gives squared errors, one term a quantity, each a value at every point."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from siren_jax import SIREN, PixelDataset, supervise
from siren_jax.fitting.objectives import INTEGRALS, QUANTITIES

POINTS = jnp.array([[0.0, 0.0], [1.0, 2.0], [-3.0, 1.0]])
SUBSETS = [names for n in (1, 2, 3) for names in itertools.combinations(QUANTITIES, n)]
FIELDS = {
    "polynomial": lambda x: jnp.stack([x[0] ** 2 + x[1], x[0] * x[1] ** 2]),
    "siren": SIREN(2, 2, width=8, depth=1, first_omega=2.0, omega=2.0, rngs=nnx.Rngs(0)),
}


def batch_of_zeros(n=3, c=2, d=2):
    return {
        "coordinates": POINTS,
        "value": jnp.zeros((n, c)),
        "gradient": jnp.zeros((n, c, d)),
        "laplacian": jnp.zeros((n, c)),
    }


# Of (x² + y, xy²): value, gradient (2x, 1; y², 2xy) and Laplacian (2, 2x). Squares, the mean over the two channels.
@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        ("value", [0, (3**2 + 4**2) / 2, (10**2 + 3**2) / 2]),
        ("gradient", [1 / 2, (2**2 + 1 + 4**2 + 4**2) / 2, (6**2 + 1 + 1 + 6**2) / 2]),
        ("laplacian", [2**2 / 2, (2**2 + 2**2) / 2, (2**2 + 6**2) / 2]),
    ],
)
def test_a_term_is_the_squared_length_of_the_error_averaged_over_channels(quantity, expected):
    terms = jax.jit(lambda batch: supervise(quantity)(FIELDS["polynomial"], batch))(batch_of_zeros())
    assert {name: term.tolist() for name, term in terms.items()} == {quantity: expected}


@pytest.mark.parametrize("quantities", SUBSETS, ids="+".join)
@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_quantities_together_are_the_quantities_one_by_one(field, quantities):
    together, alone = jax.jit(
        lambda batch: (
            supervise(*quantities)(field, batch),
            {q: supervise(q)(field, batch)[q] for q in quantities},
        )
    )(batch_of_zeros())
    assert set(together) == set(quantities)
    for q in quantities:
        assert together[q].shape == (3,)
        assert np.allclose(together[q], alone[q], rtol=1e-5)  # float32; the passes round differently


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_the_error_of_the_exact_target_is_zero(quantity):
    exact = {"value": [[3.0, 4.0]], "gradient": [[[2.0, 1.0], [4.0, 4.0]]], "laplacian": [[2.0, 2.0]]}
    batch = {"coordinates": POINTS[1:2], quantity: jnp.array(exact[quantity])}
    assert supervise(quantity)(FIELDS["polynomial"], batch)[quantity].tolist() == [0]


def test_the_mean_square_of_an_image_makes_the_error_of_zero_one():
    dataset = PixelDataset(np.random.default_rng(0).random((6, 9, 3)))
    objective = supervise("gradient", "laplacian", mean_square=dataset.mean_square)
    for term in objective(lambda x: jnp.zeros(3), jax.tree.map(jnp.asarray, dataset[:])).values():
        assert abs(term.mean() - 1) < 1e-5  # float32 sums


def test_normalisation_divides_one_term_alone_and_never_by_zero():
    arguments = FIELDS["polynomial"], batch_of_zeros()
    plain = supervise("value", "laplacian")(*arguments)
    scaled = supervise("value", "laplacian", mean_square={"laplacian": 4.0, "value": 0.0})(*arguments)
    assert np.array_equal(scaled["value"], plain["value"])
    assert np.array_equal(scaled["laplacian"], plain["laplacian"] / 4)


def test_integral_forms_compare_differences_and_means_of_values():
    f = lambda x: jnp.sum(x**2)[None]
    ends = jnp.array([[[1.0, 0.0], [3.0, 0.0]]])
    stencil = 2 * jnp.array([[[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0], [0.0, 0.0]]])
    batch = {
        "gradient_integral": {"points": ends, "target": jnp.array([[5.0]])},
        "laplacian_integral": {"points": stencil, "target": jnp.array([[13.0]])},
        "footprint": {"points": stencil, "target": jnp.array([[0.2]])},
    }
    terms = supervise(*INTEGRALS)(f, batch)
    assert terms["gradient_integral"].tolist() == [(3**2 - 1**2 - 5) ** 2]
    assert terms["laplacian_integral"].tolist() == [(4 * 2**2 - 13) ** 2]
    assert terms["footprint"].item() == pytest.approx((4 * 2**2 / 5 - 0.2) ** 2)


@pytest.mark.parametrize(("quantity", "shape"), [("value", (3,)), ("gradient", (3, 2)), ("laplacian", (3, 1))])
def test_a_target_of_another_shape_is_refused(quantity, shape):
    batch = batch_of_zeros() | {quantity: jnp.zeros(shape)}
    with pytest.raises(ValueError, match=r"the field returns the shape .* but the target has the shape \(3"):
        supervise(quantity)(FIELDS["polynomial"], batch)


@pytest.mark.parametrize("quantities", [(), ("values",), ("value", "curl")])
def test_unknown_quantities_are_refused(quantities):
    with pytest.raises(ValueError, match="supervise takes one or more of value, gradient, laplacian"):
        supervise(*quantities)
