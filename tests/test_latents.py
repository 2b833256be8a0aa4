"""Spaces of signals: a network, a code for each signal, and the signals of codes."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from siren_jax import Base, InputError, LatentSIREN, Signals, fit_many, learn, load, load_base, load_set, metrics
from siren_jax.fields.coordinates import generate_coordinates
from siren_jax.networks.siren import SIREN
from siren_jax.sets import codes, sampled, writer
from siren_jax.sets.latents import Components

KEY = jax.random.key(0)
POINTS = generate_coordinates((9, 8))


def bumps(count, seed=0, side=16):
    """Pictures of a bump whose place is anywhere: two numbers describe them, but no plane contains them."""
    places = np.random.default_rng(seed).uniform(-0.5, 0.5, (count, 2))
    y, x = np.moveaxis(generate_coordinates((side, side)).reshape(side, side, 2), -1, 0)
    rounds = [np.exp(-((y - a) ** 2 + (x - b) ** 2) / 0.1) for a, b in places]
    return np.rint(255 * np.stack(rounds)).astype(np.uint8)


def of_normal_codes(scaled=False, size=0.2):
    """A network whose signals are moderately nonlinear in codes of three numbers."""
    network = LatentSIREN(
        2, 2, latent=3, scaled=scaled, width=16, depth=1, first_omega=3.0, omega=3.0, rngs=nnx.Rngs(1)
    )
    for i, shift in enumerate(network.shifts):
        shift[...] = size * jax.random.normal(jax.random.key(i), shift.shape) / 3
    return network


@pytest.fixture(scope="module")
def base():
    return learn(Signals(bumps(300)), latent=4, width=32, depth=1, first_omega=5.0, steps=600, key=KEY)


def test_encoding_finds_the_code_that_made_a_signal():
    network = of_normal_codes()
    truth = jax.random.normal(jax.random.key(7), (20, 3))
    values = np.asarray(jax.vmap(network.value, (None, 0))(jnp.asarray(POINTS), truth))
    found = codes.encode(network, POINTS, values, noise=1e-9)
    np.testing.assert_allclose(found.code, truth, atol=1e-3)
    assert np.all(found.error < 1e-8)
    again = codes.encode(network, POINTS, values[:3], noise=1e-9)
    np.testing.assert_allclose(again.code, found.code[:3], atol=1e-6)  # depends on no other signal


def test_a_code_is_the_minimum_of_the_posterior():
    network = of_normal_codes()
    noise, of_noise = 0.3, jax.random.normal(jax.random.key(3), (len(POINTS), 2))
    y = np.array(network.value(jnp.asarray(POINTS), jnp.array([0.5, -1.0, 1.0])) + 0.1 * of_noise)[None]
    known = np.arange(len(POINTS))[None] % 3 > 0
    found = codes.encode(network, POINTS, y, known, noise=noise, steps=15).code[0]

    def cost(code):
        squares = jnp.sum((y[0] - network.value(jnp.asarray(POINTS), code)) ** 2, axis=1)
        return jnp.sum(known[0] * squares) + noise * jnp.sum(code**2)

    assert jnp.linalg.norm(jax.grad(cost)(jnp.asarray(found))) < 1e-3 * jnp.linalg.norm(jax.grad(cost)(jnp.ones(3)))
    changed = np.where(known[..., None], y, 99.0)  # unknown values do not matter
    np.testing.assert_allclose(
        codes.encode(network, POINTS, changed, known, noise=noise, steps=15).code[0], found, atol=1e-4
    )


def test_samples_are_those_of_the_posterior_of_a_linear_model():
    network = of_normal_codes(size=1e-3)  # phases so small that the sines are linear in the code
    x = jnp.asarray(POINTS[:2])
    value, slope = network.value_and_jacobian(x, jnp.zeros(3))
    slope = np.asarray(slope, np.float64).reshape(4, 3)
    noise = float(np.mean(slope**2))
    rng, count = np.random.default_rng(0), 4000
    y = np.asarray(value) + np.sqrt(noise) * rng.standard_normal((count, 2, 2))
    found = codes.encode(
        network,
        POINTS[:2],
        y.astype(np.float32),
        noise=noise,
        centre=rng.standard_normal((count, 3)).astype(np.float32),
    ).code
    expected = np.linalg.inv(slope.T @ slope / noise + np.eye(3))
    np.testing.assert_allclose(np.cov(found.T), expected, atol=6 / np.sqrt(count))  # 4 standard errors
    assert np.abs(expected - np.eye(3)).max() > 0.3  # the samples tell something


def test_tiles_and_padding_change_nothing(monkeypatch):
    network = of_normal_codes(scaled=True)
    y = np.array(jax.random.normal(jax.random.key(3), (2, len(POINTS), 2)), np.float32)
    whole = codes.encode(network, POINTS, y, noise=0.1)
    monkeypatch.setattr(codes, "TILE", 16)
    jax.clear_caches()
    tiled = codes.encode(network, POINTS, y, noise=0.1)
    np.testing.assert_allclose(tiled.code, whole.code, atol=1e-4)
    np.testing.assert_allclose(tiled.error, whole.error, rtol=1e-4)


def test_a_linear_network_is_linearised_exactly():
    network = of_normal_codes(size=1e-3)
    linear = codes.linearised(network, jnp.asarray(POINTS), KEY)
    value, slope = network.value_and_jacobian(jnp.asarray(POINTS), jnp.zeros(3))
    np.testing.assert_allclose(linear.mean, value, atol=1e-5)
    np.testing.assert_allclose(linear.slope, slope, atol=1e-5)
    assert linear.variance < 1e-9


def test_components_are_those_of_the_covariance():
    rows = np.random.default_rng(0).standard_normal((50, 6)) @ np.diag([5, 4, 3, 1, 1, 1]) + 2
    found = Components.of(rows, 3)
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    np.testing.assert_allclose(np.abs(found.axes @ vectors[:, -3:]).sum(axis=0), 1, atol=1e-8)
    assert np.sum(found.residual(rows) ** 2) / 49 == pytest.approx(values[:3].sum())


def test_a_space_is_smaller_than_a_plane(base):
    assert base.figures["psnr"] > base.figures["pca_psnr"] + 3
    assert base.figures["held_out"] == 30
    assert base.figures["signals"] == 270


@pytest.mark.slow
def test_codes_are_fields_of_the_quality_that_is_told(base):
    others = bumps(12, seed=5)
    fields = base.encode(Signals(others, labels=list("ab") * 6))
    assert fields.labels == list("ab") * 6
    for i, picture in enumerate(others):
        assert isinstance(fields[i].network, SIREN)
        psnr = metrics.psnr(fields[i].render()[..., 0], picture / 255, data_range=1.0)
        assert fields.quality[i] == pytest.approx(psnr, abs=1e-2)
    own = base.codes(fields)
    assert own.shape == (12, 4)
    np.testing.assert_allclose(base.field(own[3]).render(), fields[3].render(), atol=1e-5)
    learned = base.codes(base.encode(Signals(bumps(300))))
    assert np.abs(learned.mean(axis=0)).max() < 0.3
    assert 0.6 < base.distances(learned).mean() < 1.3
    assert base.distances(base.codes(base.encode(Signals(255 - others)))).min() > 1.5  # unlike all that it has seen


def test_any_size_and_any_subset_of_points_gives_about_the_same_code(base):
    same = [bumps(3, seed=5)[i] for i in range(3)], [bumps(3, seed=5, side=24)[i] for i in range(3)]
    few, many = (base.codes(base.encode(Signals([*pictures]), steps=8)) for pictures in same)
    np.testing.assert_allclose(few, many, atol=0.15)


def test_signals_that_exceed_memory_are_encoded_in_portions(base, monkeypatch):
    pictures = Signals(bumps(9, seed=5))
    whole = base.encode(pictures)
    monkeypatch.setattr(sampled, "PORTION", 2 * 16 * 16)
    monkeypatch.setattr(codes, "VALUES", 16 * 16)
    parts = base.encode(pictures)
    assert parts.names == whole.names
    np.testing.assert_allclose(base.codes(parts), base.codes(whole), atol=1e-3)


@pytest.mark.slow
def test_a_space_is_learned_from_signals_of_several_sizes():
    pictures = [*bumps(100), *bumps(40, seed=1, side=24), *bumps(1, seed=2, side=4)]
    found = learn(Signals(pictures), latent=4, width=32, depth=1, first_omega=5.0, steps=600, key=KEY)
    assert found.shape == (16, 16)
    assert found.figures["signals"] + found.figures["held_out"] == 141
    assert found.figures["psnr"] > found.figures["pca_psnr"]


def test_a_base_is_saved_and_read(base, tmp_path):
    path = tmp_path / "bumps.siren"
    base.save(path)
    found = load_base(path)
    assert found.fingerprint == base.fingerprint
    assert (found.shape, found.value_range, found.kind, found.noise) == ((16, 16), (0.0, 1.0), "image", base.noise)
    assert found.figures == base.figures
    np.testing.assert_array_equal(found.field(np.ones(4)).render(), base.field(np.ones(4)).render())
    np.testing.assert_allclose(load(path).render(), base.field(np.zeros(4)).render(), atol=1e-6)  # the code 0
    with pytest.raises(InputError, match="exists; choose another name"):
        base.save(path)
    load(path).save(tmp_path / "signal.siren")
    with pytest.raises(InputError, match="is a fitted signal; a base is made by"):
        load_base(tmp_path / "signal.siren")


def test_a_set_of_codes_is_continued_to_the_same_bytes(base, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "ENTRIES", 4)
    monkeypatch.setattr("siren_jax.sets.base.ENTRIES", 4)
    pictures = Signals(bumps(10, seed=5))
    base.encode(pictures, out=tmp_path / "whole")
    base.encode(pictures, out=tmp_path / "cut", watch=lambda progress: progress.done >= 4)
    assert len(os.listdir(tmp_path / "cut")) < len(os.listdir(tmp_path / "whole"))
    base.encode(pictures, out=tmp_path / "cut")
    assert sorted(os.listdir(tmp_path / "cut")) == sorted(os.listdir(tmp_path / "whole"))
    for name in os.listdir(tmp_path / "whole"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()
    fields = load_set(tmp_path / "cut")
    assert fields.own == {"code": (4,)}
    np.testing.assert_array_equal(fields.arrays()[0], base.codes(fields))


def test_a_completion_is_closer_than_what_is_typical_and_knows_its_error(base):
    picture = bumps(1, seed=8)[0] / 255
    known = np.zeros((16, 16), bool)
    known.flat[np.random.default_rng(0).permutation(256)[:12]] = True
    found = base.complete(np.where(known, picture, np.nan), known, key=KEY)
    error = np.abs(found.mean[..., 0] - picture)
    typical = np.abs(base.field(np.zeros(4)).render()[..., 0] - picture)
    assert np.mean(error**2) < np.mean(typical**2) / 4
    assert 0.3 < np.sqrt(np.mean((error / found.deviation[..., 0]) ** 2)) < 3
    nothing = base.complete(picture, np.arange(256).reshape(16, 16) < 1, key=KEY)
    assert nothing.deviation.mean() > 2 * found.deviation.mean()


def test_a_gap_in_a_sound_of_the_space_is_filled_with_the_sound():
    network = LatentSIREN(1, 1, latent=3, width=16, depth=1, first_omega=6.0, omega=6.0, rngs=nnx.Rngs(1))
    for i, shift in enumerate(network.shifts):
        shift[...] = 0.1 * jax.random.normal(jax.random.key(i), shift.shape) / 3
    base = Base(network, (100,), (-0.5, 0.5), "sound", 100.0, noise=1e-8)
    sound = base.field(np.array([0.5, -1.0, 1.0])).render()
    known = np.abs(np.arange(100) - 50) > 15
    found = base.complete(np.where(known[:, None], sound, np.nan), known, key=KEY)
    typical = base.field(np.zeros(3)).render()
    # 69 samples with noise of 1e-4 determine three numbers: a few times this noise is left.
    assert np.abs(found.field.render() - sound).max() < 1e-3 < np.abs(typical - sound)[~known].max() / 10


@pytest.mark.parametrize(("rank", "ways"), [(0, 0), (3, 3)])
def test_signals_that_differ_in_fewer_ways_than_a_code_has_numbers_are_refused(rank, ways):
    planes = np.random.default_rng(0).standard_normal((40, rank)) @ np.random.default_rng(1).standard_normal((rank, 64))
    pictures = Signals(planes.reshape(40, 8, 8).astype(np.float32), values=(-9.0, 9.0))
    with pytest.raises(InputError, match=f"codes of 5 numbers need .* but these differ in {ways}; take a smaller"):
        learn(pictures, latent=5, key=KEY)


def test_what_cannot_be_learned_or_encoded_is_refused(base, tmp_path):
    some = Signals(bumps(30))
    for settings, words in (
        ({"latent": 27}, "need more than 27 signals to learn from, .* but there are 27"),
        ({"latent": 0}, "at least 1"),
        ({"held_out": 0.0}, "share between 0 and 1"),
    ):
        with pytest.raises(InputError, match=words):
            learn(some, key=KEY, **settings)
    gap = np.zeros((30, 16, 16)) + bumps(30) / 255
    gap[7, 2, 3] = np.nan
    with pytest.raises(InputError, match="1 have unknown pixels, the first is '00007'; leave them out"):
        learn(Signals(gap, values=(0.0, 1.0)), latent=4, key=KEY)
    with pytest.raises(InputError, match="has 4 finite numbers, but got an array of the shape"):
        base.field(np.zeros(5))
    with pytest.raises(InputError, match="finite numbers"):
        base.field(np.full(4, np.nan))
    with pytest.raises(InputError, match="this base has pictures, but these are sounds"):
        base.encode(Signals(np.zeros((2, 50), np.float32) + np.arange(50) / 50, rate=50))
    with pytest.raises(InputError, match="this base has 1 channel, but the signals have 3"):
        base.encode(Signals(np.zeros((2, 8, 8, 3), np.uint8) + np.arange(3, dtype=np.uint8)))
    with pytest.raises(InputError, match="at least one known value"):
        base.complete(np.zeros((16, 16)), np.zeros((16, 16), bool), key=KEY)
    with pytest.raises(InputError, match="all known ones finite"):
        base.complete(np.full((16, 16), np.nan), np.ones((16, 16), bool), key=KEY)
    with pytest.raises(InputError, match="a signal of 2 axes with 1 channels"):
        base.complete(np.zeros((16, 16, 3)), np.ones((16, 16), bool), key=KEY)
    own = fit_many(some[:2], lambda rngs: SIREN(2, 1, width=4, depth=0, rngs=rngs), key=KEY, steps=1)
    with pytest.raises(InputError, match="networks of their own"):
        base.codes(own)
    other = learn(some, latent=4, width=32, depth=1, steps=1, key=KEY)
    base.encode(some[:2], out=tmp_path / "set")
    with pytest.raises(InputError, match="another one"):
        other.codes(load_set(tmp_path / "set"))
    with pytest.raises(InputError, match="made in another way: base is"):
        other.encode(some[:3], out=tmp_path / "set")
