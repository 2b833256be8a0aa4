"""The frequencies of a signal, and the omega that is chosen for them."""

import math

import numpy as np
import pytest

from siren_jax import InputError, choose_omega
from siren_jax.fields import Frame
from siren_jax.signals import bandwidth


def wave(shape: tuple[int, ...], periods: tuple[int, ...], phase: float = 0.3) -> np.ndarray:
    """A plane wave with whole numbers of periods on the array, one channel."""
    angle = sum(2 * np.pi * p * i / n for p, i, n in zip(periods, np.indices(shape), shape, strict=True))
    return np.cos(angle + phase)[..., None]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(*shape, 1))


@pytest.mark.parametrize(("shape", "periods"), [((512,), (57,)), ((256, 512), (25, 31)), ((64, 64, 64), (9, 0, 5))])
def test_bandwidth_of_a_plane_wave_is_its_wave_number(shape, periods):
    frame = Frame(shape)
    steps = [2 * np.pi / (n * frame.spacing) for n in shape]  # between the frequencies of the transform
    expected = np.linalg.norm([p * step for p, step in zip(periods, steps, strict=True)])
    # The Hann window spreads a wave over two steps to each side.
    assert expected - 0.01 <= bandwidth(wave(shape, periods), frame) <= expected + 2 * np.linalg.norm(steps)


@pytest.mark.parametrize(("amplitude", "counts"), [(0.02, True), (0.005, False)])
def test_bandwidth_leaves_out_a_ten_thousandth_of_the_power(amplitude, counts):
    mixed = wave((4096,), (100,)) + amplitude * wave((4096,), (1500,))  # 4e-4 or 2.5e-5 of the power
    assert (bandwidth(mixed, Frame((4096,))) > 1000 * np.pi) == counts


def test_bandwidth_depends_neither_on_offset_nor_scale_nor_copies_of_a_channel():
    signal, frame = wave((32, 48), (3, 5)) + 0.1 * noise(32, 48), Frame((32, 48))
    k = bandwidth(signal, frame)
    assert bandwidth(5 - 2 * signal, frame) == k
    assert bandwidth(np.concatenate([signal, signal + 1], axis=-1), frame) == k


@pytest.mark.parametrize("shape", [(1,), (5, 5), (1, 9), (301, 299)])
def test_a_constant_has_no_frequency_and_the_least_omega(shape):
    constant = np.full((*shape, 2), 0.1, np.float32)
    assert bandwidth(constant, Frame(shape)) == 0
    assert choose_omega(constant, Frame(shape)).omega == 1


def test_integers_are_analysed_as_the_numbers_that_they_are():
    signal = np.round(30000 * wave((1000,), (70,)))
    assert choose_omega(signal.astype(np.int16), Frame((1000,))) == choose_omega(signal, Frame((1000,)))


def test_a_large_array_is_analysed_in_its_middle():
    signal = noise(2**20 + 50)
    whole = bandwidth(signal, Frame((2**20 + 50,)))
    assert bandwidth(np.where(np.arange(2**20 + 50)[:, None] < 25, 1e6, signal), Frame((2**20 + 50,))) == whole


@pytest.mark.parametrize("scale", [1, 2])
def test_omega_rises_with_the_bandwidth_to_the_power_of_two_thirds(scale):
    n = 44100
    frequency = bandwidth(wave((n,), (1000 * scale,)), Frame((n,)))
    expected = 0.045 * (np.pi * n / 2) ** (1 / 3) * frequency ** (2 / 3) * (n / 128**2) ** 0.1
    assert choose_omega(wave((n,), (1000 * scale,)), Frame((n,))).omega == pytest.approx(expected, rel=0.05)  # 2 digits


def test_omega_follows_the_sampling_where_the_signal_varies_up_to_it():
    whole, part = noise(256, 256), noise(256, 256)[::2, ::2]
    ratio = choose_omega(whole, Frame((256, 256))).omega / choose_omega(part, Frame((128, 128))).omega
    assert ratio == pytest.approx(2 * 4**0.1, rel=0.05)  # two digits each


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.zeros(9), r"One channel is values\[..., None\]"),
        (np.zeros((4, 1)), "on the grid"),
        (np.full((9, 1), math.nan), "must be finite"),
    ],
)
def test_a_signal_that_cannot_be_analysed_is_refused(values, told):
    with pytest.raises(InputError, match=told):
        choose_omega(values, Frame((9,)))
