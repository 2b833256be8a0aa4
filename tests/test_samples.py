"""A signal with any number of axes is points with values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from siren_jax import Frame, InputError, SampleDataset

STEP = jnp.int32(0)
SHAPES = pytest.mark.parametrize("shape", [(11,), (5, 8), (4, 3, 6), (1, 7), (1,)])


def bytes_of(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@SHAPES
def test_a_batch_of_all_samples_is_the_whole_signal_in_order(shape, key):
    dataset = SampleDataset(bytes_of(*shape, 2))
    batch = jax.jit(dataset.sampler())(key, STEP)
    assert len(dataset) == np.prod(shape)
    # The sampler computes both in float32, the dataset in float64: the same but for float32's last bit or two.
    assert np.allclose(batch["coordinates"], dataset.coordinates, rtol=0, atol=1.2e-7)
    assert np.allclose(batch["value"], dataset.value, rtol=0, atol=2.4e-7)


@SHAPES
def test_drawn_samples_keep_their_coordinates(shape, key):
    signal = Frame(shape).coordinates(np.moveaxis(np.indices(shape), 0, -1))  # each sample's value is where it lies
    sample = SampleDataset(signal, value_range=(-1.0, 1.0)).sampler(max(1, int(np.prod(shape)) // 3))
    for k in jax.random.split(key, 5):
        batch = sample(k, STEP)
        assert np.allclose(batch["value"], batch["coordinates"], atol=1e-7)


def test_bytes_stay_bytes_until_they_are_drawn():
    dataset = SampleDataset(bytes_of(4, 5, 6, 3))
    assert max(leaf.nbytes for leaf in jax.tree.leaves(dataset.sampler(7))) == 4 * 5 * 6 * 3


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int64, np.float64, bool])
def test_ends_of_the_range_become_minus_one_and_one(dtype, key):
    ends = (0, 1) if dtype is bool else (-1.0, 1.0) if dtype is np.float64 else (0, 65535)
    if dtype is np.int16:
        ends = (-32768, 32767)
    dataset = SampleDataset(np.array(ends, dtype)[:, None])
    assert np.array_equal(dataset.value, [[-1], [1]])
    assert np.allclose(dataset.sampler()(key, STEP)["value"], [[-1], [1]], atol=1e-6)


def test_an_index_names_the_sample_along_each_axis():
    item = SampleDataset(bytes_of(4, 3, 6, 2))[1 * 18 + 2 * 6 + 5]
    assert item["indices"].tolist() == [1, 2, 5]
    assert item["value"].shape == (2,)


@pytest.mark.parametrize(
    ("signal", "message"),
    [
        (np.zeros(5), r"shape \(\*shape, channels\)"),
        (np.zeros((0, 1)), "at least one sample"),
        (np.array([["a"]]), "real numbers"),
        (np.array([[1.0], [np.nan]]), "1 of the 2 values are NaN"),
    ],
    ids=["no channels", "empty", "text", "nan"],
)
def test_what_is_no_signal_is_refused(signal, message):
    with pytest.raises(InputError, match=message):
        SampleDataset(signal)
