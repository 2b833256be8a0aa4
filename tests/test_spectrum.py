"""The frequencies of a signal, and the omega that is chosen for them."""

import numpy as np
import pytest

from siren_jax.signals import Frame, rms_frequency, spectral_omega


def wave(shape: tuple[int, ...], periods: tuple[int, ...], phase: float = 0.3) -> np.ndarray:
    """A plane wave with whole numbers of periods on the array, one channel."""
    angle = sum(2 * np.pi * p * i / n for p, i, n in zip(periods, np.indices(shape), shape, strict=True))
    return np.cos(angle + phase)[..., None]


def difference(periods: int, n: int, spacing: float) -> float:
    """What differences between neighbours make of a wave's frequency: 2 sin(kh/2)/h."""
    return 2 * np.sin(np.pi * periods / n) / spacing


@pytest.mark.parametrize(("shape", "periods"), [((512,), (7,)), ((256, 512), (5, 11)), ((64, 64, 64), (3, 0, 2))])
def test_frequency_of_a_plane_wave_is_its_wave_number(shape, periods):
    frame = Frame(shape)
    expected = np.linalg.norm([difference(p, n, frame.spacing) for p, n in zip(periods, shape, strict=True)])
    # The n - 1 differences leave out the one around the border: a relative error below 1/n along each axis.
    assert rms_frequency(wave(shape, periods), frame) == pytest.approx(expected, rel=2 / min(shape))


def test_frequency_of_a_sum_is_the_mean_square_weighed_by_power():
    n, frame = 4096, Frame((4096,))
    squares = [difference(p, n, frame.spacing) ** 2 for p in (20, 90)]
    mixed = 3 * wave((n,), (20,)) + wave((n,), (90,))
    assert rms_frequency(mixed, frame) == pytest.approx(np.sqrt((9 * squares[0] + squares[1]) / 10), rel=1e-2)


def test_frequency_depends_neither_on_offset_nor_scale_nor_copies_of_a_channel():
    signal, frame = wave((32, 48), (3, 5)), Frame((32, 48))
    k = rms_frequency(signal, frame)
    assert rms_frequency(5 - 2 * signal, frame) == pytest.approx(k)
    assert rms_frequency(np.concatenate([signal, signal + 1], axis=-1), frame) == pytest.approx(k)


@pytest.mark.parametrize("shape", [(1,), (5, 5), (1, 9)])
def test_a_constant_has_no_frequency_and_the_least_omega(shape):
    assert rms_frequency(np.ones((*shape, 2)), Frame(shape)) == 0
    assert spectral_omega(np.ones((*shape, 2)), Frame(shape)).omega == 1


def test_omega_follows_the_signal_where_it_is_sampled_finely():
    omegas = [spectral_omega(wave((44100,), (periods,)), Frame((44100,))).omega for periods in (100, 200)]
    assert omegas[1] / omegas[0] == pytest.approx(2, rel=0.1)  # two digits each


def test_omega_follows_the_sampling_where_the_signal_varies_up_to_it():
    noise = np.random.default_rng(0).normal(size=(256, 256, 1))
    whole, part = spectral_omega(noise, Frame((256, 256))), spectral_omega(noise[::2, ::2], Frame((128, 128)))
    assert (part.omega, whole.omega) == (18, 45)  # 0.09 π·64, and 2·4**0.15 times as much
    assert "0.09 times the sampling's Nyquist" in part.reason
