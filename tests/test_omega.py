"""The race of a few first omegas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.tree_util import Partial

from siren_jax import SIREN, choose_omega, fit, omega, supervise
from siren_jax.signals import Frame, spectral_omega


def tone(n: int, frequency: float) -> np.ndarray:
    return np.sin(frequency * Frame((n,)).coordinates(np.arange(n)[:, None])).astype(np.float32)


@pytest.fixture
def small_race(monkeypatch):
    monkeypatch.setattr(omega, "WINDOW", 512)
    monkeypatch.setattr(omega, "BATCH_SIZE", 64)


def test_each_network_of_a_race_is_trained_as_it_would_be_alone():
    windows, omegas = np.stack([tone(512, 40), tone(512, 90)]), jnp.array([10.0, 300.0])
    points = jnp.asarray(Frame((512,)).coordinates(np.arange(512)[:, None]))
    sample = Partial(omega._draw, points, jnp.asarray(windows), jnp.arange(64))
    settings = {"key": jax.random.key(3), "steps": 5, "schedule": omega.RECIPE.schedule}
    networks = omega._networks(omegas, windows, 0)
    together = fit(networks, omega._squared_error, sample, optimizer=omega._adam(omegas), **settings).network
    errors = omega._errors(together, points, jnp.asarray(windows))
    for i, key in enumerate(jax.random.split(jax.random.key(0), 2)):

        def one(*arguments, i=i):
            batch = sample(*arguments)
            return {"coordinates": batch["coordinates"], "value": batch["value"][:, i]}

        entrant, optimizer = float(omegas[i]), omega.RECIPE.optimizer(float(omegas[i]))
        network = SIREN(1, 1, first_omega=entrant, weight_scale=2.0, rngs=nnx.Rngs(params=key))
        alone = fit(network, supervise("value"), one, optimizer=optimizer, **settings).network(points)
        # Adam's epsilon, 1e-8, weighs omega times as much beside gradients that are omega times smaller: 3e-6 at least.
        apart, moved = errors[i, i] + windows[i] - alone, alone - network(points)
        assert jnp.linalg.norm(apart) < 0.01 * jnp.linalg.norm(moved)


@pytest.mark.usefixtures("small_race")
def test_a_race_prefers_the_omega_that_predicts_between_samples():
    chosen = omega.race_omegas(tone(2048, 200), np.array([2.0, 150.0, 3000.0]))
    assert 50 < chosen.omega < 1000
    assert "2, 150, 3000" in chosen.reason


def test_the_lowest_of_a_parabola_is_its_vertex():
    x = np.log([1.0, 2.0, 4.0, 8.0])
    assert omega._lowest(x, (x - np.log(3)) ** 2) == pytest.approx(3)
    assert omega._lowest(x, -x) == pytest.approx(8)


@pytest.mark.parametrize("shape", [(16, 16), (1, 40), (1000,)])
def test_pictures_and_short_sounds_do_not_race(shape):
    noise = np.random.default_rng(0).normal(size=(*shape, 1))
    assert choose_omega(noise, Frame(shape)) == spectral_omega(noise, Frame(shape))


def test_windows_lie_within_a_sound_at_even_distances():
    starts = omega._windows(np.arange(100000.0)[:, None])[:, 0, 0]
    assert np.ptp(np.diff(starts)) <= 1
    assert starts[0] == pytest.approx(100000 - omega.WINDOW - starts[-1], abs=1)
    assert omega._windows(np.zeros((5000, 2))).shape == (1, 5000, 2)
