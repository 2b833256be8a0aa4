"""Starts: initial weights that are learned from signals, or those of another field."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

import siren_jax
from siren_jax import SIREN, Frame, InputError, NeuralField, ReLUMLP, Signals, learn_start, load
from siren_jax.cli import main
from siren_jax.fields.coordinates import generate_coordinates
from siren_jax.sets import starts
from siren_jax.sets.starts import _Round
from siren_jax.subjects.start import LEARNED, PACKAGED, read_start, started

KEY = jax.random.key(0)
POINTS = jnp.asarray(generate_coordinates((5, 7)), jnp.float32)


def bumps(count: int, seed: int = 0, side: int = 16) -> np.ndarray:
    """Grey pictures of a bump whose place is anywhere."""
    y, x = np.moveaxis(generate_coordinates((side, side)).reshape(side, side, 2), -1, 0)
    places = np.random.default_rng(seed).uniform(-0.5, 0.5, (count, 2))
    return np.stack([np.uint8(255 * np.exp(-((y - a) ** 2 + (x - b) ** 2) / 0.1)) for a, b in places])


def field(channels: int, **settings) -> NeuralField:
    return NeuralField(SIREN(2, channels, width=8, depth=1, rngs=nnx.Rngs(3), **settings), Frame((6, 6)))


def subject(channels: int = 1):
    return siren_jax.open(np.random.default_rng(0).integers(0, 255, (6, 6, channels), np.uint8)).subject


@pytest.fixture(scope="module")
def learned() -> NeuralField:
    return learn_start(Signals(bumps(40)), key=KEY, width=32, depth=1, rounds=40)


def test_a_learned_start_is_sooner_good_on_signals_that_it_has_not_seen(learned):
    figures = learned.record[LEARNED]
    assert (figures["signals"], figures["held_out"], figures["rounds"]) == (36, 4, 40)
    assert figures["psnr"] > figures["psnr_of_random"] + 3
    signal = siren_jax.open(bumps(1, seed=9)[0])
    assert signal.fit(steps=30, start=learned).quality() > signal.fit(steps=30, width=32, depth=1).quality() + 3


def test_a_round_moves_the_start_a_share_of_the_way_to_a_fit(monkeypatch):
    weights = {}
    for way in (0.0, 0.25, 1.0):
        monkeypatch.setattr(starts, "WAY", way)
        found = learn_start(Signals(bumps(2)), key=KEY, width=8, depth=0, rounds=1)
        weights[way] = jax.tree.leaves(nnx.state(found.network, nnx.Param))
    for begin, quarter, end in zip(*weights.values(), strict=True):
        np.testing.assert_allclose(quarter, 0.75 * begin + 0.25 * end, rtol=1e-5, atol=1e-7)
        assert not np.allclose(begin, end)


def test_an_omega_of_a_signal_is_a_factor_on_the_first_layer():
    recipe = siren_jax.recipes.TUNED["values"]
    network, higher = (SIREN(2, 1, width=8, depth=1, first_omega=omega, rngs=nnx.Rngs(0)) for omega in (10.0, 25.0))
    found = _Round(network, recipe, {})._field(nnx.state(network, nnx.Param), 2.5)
    np.testing.assert_allclose(found(POINTS), higher(POINTS), atol=1e-6)


def test_a_fit_begins_with_the_function_of_its_start():
    start = field(3, first_omega=7.0, omega=11.0)
    network, reason = started(start, subject(3), siren_jax.recipes.TUNED["values"])
    assert (network.first_omega, reason) == (7.0, "start")
    np.testing.assert_array_equal(network(POINTS), start.network(POINTS))


def test_a_fit_from_a_float64_field_is_in_float32(tmp_path):
    start = field(1)
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), nnx.state(start.network, nnx.Param))
        nnx.update(start.network, params)
    start.save(tmp_path / "double.siren")
    assert load(tmp_path / "double.siren").dtype == np.float64
    fitted = siren_jax.open(bumps(1)[0]).fit(steps=2, start=tmp_path / "double.siren").field
    assert fitted.dtype == np.float32


@pytest.mark.parametrize(("given", "wanted"), [(3, 1), (1, 3)])
def test_other_channels_begin_as_the_mean_of_the_starts_channels(given, wanted):
    start = field(given)
    network, _ = started(start, subject(wanted), siren_jax.recipes.TUNED["values"])
    mean = np.asarray(start.network(POINTS)).mean(axis=1, keepdims=True)
    np.testing.assert_allclose(network(POINTS), np.broadcast_to(mean, (len(POINTS), wanted)), atol=1e-6)


def test_a_learned_start_has_the_first_omega_of_the_signal():
    start, signal = field(1, first_omega=7.0), subject()
    learned = dataclasses.replace(start, record={LEARNED: {}})
    recipe = siren_jax.recipes.TUNED["values"]
    assert started(learned, signal, recipe)[0].first_omega == signal.choose_omega().omega != 7.0
    assert started(start, signal, recipe._replace(first_omega=5.0), keep_omega=False)[0].first_omega == 5.0


def test_the_start_for_photographs_is_small_and_suits_all_channels():
    assert PACKAGED == ("photos",)
    start = read_start("photos")
    assert len(start.to_bytes(precision="float16")) < 800_000
    assert (start.network.in_features, start.network.out_features, start.kind) == (2, 3, "image")
    assert start.record[LEARNED]["psnr"] > start.record[LEARNED]["psnr_of_random"]
    assert np.ptp(start.render((16, 16))) < 128  # about the mean of all photographs


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (NeuralField(ReLUMLP(2, 1, width=4, depth=0, rngs=nnx.Rngs(0)), Frame((4, 4))), "has another network"),
        (field(1, outermost="tanh"), "has another network"),
        (NeuralField(SIREN(1, 1, width=4, depth=0, rngs=nnx.Rngs(0)), Frame((4,)), kind="other"), "1 coordinates"),
        ("nowhere.siren", "no file"),
    ],
)
def test_a_start_that_does_not_suit_the_signal_is_refused(start, message):
    with pytest.raises(InputError, match=message):
        siren_jax.open(bumps(1)[0]).fit(steps=1, start=start)


def test_settings_that_contradict_a_start_are_refused():
    for settings in ({"width": 8}, {"depth": 1}, {"omega": 30.0}):
        with pytest.raises(InputError, match="a start has its own"):
            siren_jax.open(bumps(1)[0]).fit(steps=1, start=field(1), **settings)
    for settings, message in (({"rounds": 0}, "at least 1"), ({"held_out": 1.0}, "share between 0 and 1")):
        with pytest.raises(InputError, match=message):
            learn_start(Signals(bumps(4)), key=KEY, **settings)
    with pytest.raises(InputError, match="at least two signals"):
        learn_start(Signals(bumps(1)), key=KEY)


def test_the_commands_learn_a_start_and_fit_from_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bumps").mkdir()
    for i, values in enumerate(bumps(12)):
        Image.fromarray(values).save(tmp_path / "bumps" / f"{i:02}.png")
    learn = ["learn", "bumps", "--start-only", "--out", "start.siren", "--width", "16", "--depth", "1"]
    assert main([*learn, "--steps", "130", "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (summary["steps"], summary["rounds"], summary["judged"]) == (192, 3, 1)
    fit = ["fit", "bumps/03.png", "--start", "start.siren", "--no-figures"]
    assert main([*fit, "--steps", "10", "--out", "out"]) == 0
    fitted = load("out/03.siren")
    assert fitted.network.width == 16
    assert fitted.record["start"] == "start.siren"
    capsys.readouterr()
    for wrong, message in (
        ([*fit, "--width", "16"], "leave out --width"),
        ([*fit, "--model", "relu"], "leave out --model"),
        ([*learn, "--latent", "3", "--overwrite"], "--latent does not apply"),
        (["fit", "bumps/03.png", "--start", "none.siren"], "no file"),
    ):
        assert main(wrong) == 2
        assert message in capsys.readouterr().err
    field(1).save("start.siren", overwrite=True)
    assert main(["fit", "bumps/03.png", "--start", "start.siren", "--steps", "20", "--resume", "out"]) == 2
    assert "the contents of START" in capsys.readouterr().err


def test_an_interrupted_learning_keeps_what_was_learned():
    found = learn_start(Signals(bumps(4)), key=KEY, width=8, depth=0, rounds=50, watch=lambda progress: True)
    assert found.record[LEARNED]["rounds"] == 1
    assert jnp.isfinite(found(POINTS)).all()
