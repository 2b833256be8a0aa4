"""Sets of signals: each is fitted as if alone, and what is kept is what was fitted."""

import os
import shutil
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import Mesh
from PIL import Image
from scipy.ndimage import zoom

from siren_jax import SIREN, InputError, metrics
from siren_jax.files import set_file
from siren_jax.fitting.recipes import TUNED_SET
from siren_jax.sets import stack, writer
from siren_jax.sets.field_set import load_set
from siren_jax.sets.joint_descent import fit_many
from siren_jax.sets.signals import Signals

KEY = jax.random.key(3)
STILL = TUNED_SET._replace(learning_rate=0.0)
RNG = np.random.default_rng(0)


def make(rngs):
    return SIREN(2, 1, width=8, depth=1, first_omega=5.0, weight_scale=2.0, rngs=rngs)


def pictures(count, side=8):
    """Smooth pictures of 8 bits."""
    coarse = RNG.uniform(0, 255, (count, 3, 3))
    return np.clip(zoom(coarse, (1, side / 3, side / 3), order=1), 0, 255).astype(np.uint8)


PICTURES = pictures(10)


def parameters(fields):
    return dict(zip(fields.names, fields.arrays()[0], strict=True))


@pytest.mark.slow
def test_a_signal_depends_on_no_other_and_on_no_row(monkeypatch):
    monkeypatch.setattr(stack, "VALUES", 512)  # a tile is one row, so four rows are filled again and again
    signals = Signals(PICTURES)
    together = parameters(fit_many(signals, make, key=KEY, quality=28, steps=150))
    by_few = parameters(fit_many(signals, make, key=KEY, quality=28, steps=150, rows=4))
    for name, found in together.items():
        assert np.array_equal(found, by_few[name])
    alone = fit_many(Signals(PICTURES[:1]), make, key=KEY, quality=28, steps=150)
    assert np.array_equal(alone.arrays()[0][0], together["00000"])


def test_each_ends_at_its_quality_and_has_it():
    fields = fit_many(Signals(PICTURES), make, key=KEY, quality=32, steps=300)
    assert len(set(fields.steps)) > 1
    for i, picture in enumerate(PICTURES):
        found = metrics.psnr(fields[i].render()[..., 0], picture / 255, data_range=1.0)
        assert found == pytest.approx(fields.quality[i], abs=1e-3)
        assert (found >= 32) == (fields.status[i] == "reached")


@pytest.mark.slow
def test_the_result_is_the_plain_loop_of_adam():
    picture = PICTURES[0]
    fields = fit_many(
        Signals(PICTURES[:1]), make, key=KEY, steps=30, recipe=TUNED_SET._replace(learning_rate=1e-3, for_width=None)
    )
    assert fields.steps.tolist() == [30]
    network = make(nnx.Rngs(jax.random.fold_in(KEY, 0)))
    graphdef, params = nnx.split(network)
    grid = (np.arange(8) * 2 + 1) / 8 - 1
    points = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)
    truth = (picture.reshape(-1, 1) / 127.5 - 1).astype(np.float32)
    optimizer = optax.adam(lambda k: 1e-3 * 0.5 * (1 + jnp.cos(np.pi * k / 30)), b2=0.95)
    state = optimizer.init(params)
    for _ in range(30):
        loss = lambda params: ((nnx.merge(graphdef, params)(jnp.asarray(points)) - truth) ** 2).mean()
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        params = optax.apply_updates(params, updates)
    named = set_file.parameters_of(params)
    expected = np.concatenate([named[name].ravel() for name in sorted(named)])
    np.testing.assert_allclose(fields.arrays()[0][0], expected, atol=2e-4)


def test_a_set_that_was_cut_short_is_continued_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "ENTRIES", 3)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    settings = {"key": KEY, "quality": 28, "steps": 150, "rows": 4}
    fit_many(Signals(PICTURES), make, out=str(whole), **settings)
    fit_many(Signals(PICTURES), make, out=str(cut), watch=lambda progress: progress.done >= 4, **settings)
    assert 0 < len(list(cut.glob("*.shard"))) < len(list(whole.glob("*.shard")))
    assert list(cut.glob("*.part"))
    fit_many(Signals(PICTURES), make, out=str(cut), **settings)
    assert sorted(os.listdir(cut)) == sorted(os.listdir(whole))
    for name in os.listdir(whole):
        assert (whole / name).read_bytes() == (cut / name).read_bytes()


def test_a_set_is_continued_with_its_options_alone(tmp_path):
    settings = {"key": KEY, "steps": 1, "out": str(tmp_path)}
    small = Signals(pictures(2, side=16), size=8)
    fit_many(small, make, **settings)
    with pytest.raises(InputError, match="another way: size is 8 there, but None now"):
        fit_many(Signals(pictures(3, side=16)), make, **settings)


def test_results_whose_signals_are_gone_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "ENTRIES", 4)
    settings = {"key": KEY, "quality": 28, "steps": 150, "out": str(tmp_path)}
    fit_many(Signals(PICTURES), make, watch=lambda progress: progress.done >= 5, **settings)
    kept = [set_file.read(str(path)).texts["names"] for path in tmp_path.glob("*.part")]
    gone = kept[0][0]
    there = [name for name in Signals(PICTURES).names if name != gone]
    fields = fit_many(Signals(PICTURES[[int(name) for name in there]], names=there), make, **settings)
    assert sorted(fields.names) == Signals(PICTURES).names
    assert not list(tmp_path.glob("*.part"))


def test_new_signals_are_added_and_others_stay(tmp_path):
    settings = {"key": KEY, "steps": 25, "out": str(tmp_path / "set")}
    before = parameters(fit_many(Signals(PICTURES[:4], names=list("acde")), make, **settings))
    fields = fit_many(Signals(PICTURES[:5], names=list("abcde")), make, **settings)
    assert fields.names == ["a", "c", "d", "e", "b"]
    after = parameters(fields)
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_signals_of_many_sizes_share_a_program(tmp_path):
    sizes = [(6, 9), (8, 8), (5, 5), (12, 7)]
    arrays = [np.tile(np.linspace(0, 255, w), (h, 1)).astype(np.uint8) for h, w in sizes]
    fields = fit_many(Signals(arrays), make, key=KEY, quality=25, steps=1000)
    assert [field.frame.shape for field in fields] == sizes
    for field, array, quality in zip(fields, arrays, fields.quality, strict=True):
        assert metrics.psnr(field.render()[..., 0], array / 255, data_range=1.0) == pytest.approx(quality, abs=1e-3)
        assert quality > 25


@pytest.mark.slow
def test_a_batch_is_cut_into_tiles_without_a_change_of_its_gradient(monkeypatch):
    signals = Signals(pictures(1, side=20))
    settings = {"key": KEY, "steps": 1, "batch_size": 300, "recipe": TUNED_SET}
    whole = fit_many(signals, make, **settings).arrays()[0]
    monkeypatch.setattr(stack, "TILE", 64)
    np.testing.assert_allclose(fit_many(signals, make, **settings).arrays()[0], whole, atol=1e-5)


def test_sounds_are_fitted_to_an_snr():
    times = np.arange(400) / 400
    sounds = np.stack([np.sin(2 * np.pi * f * times) for f in (2, 3)]).astype(np.float32)
    line = lambda rngs: SIREN(1, 1, width=16, depth=1, first_omega=20.0, weight_scale=2.0, rngs=rngs)
    fields = fit_many(Signals(sounds, rate=400), line, key=KEY, quality=20, steps=1000)
    assert fields.kind == "sound"
    assert fields[0].rate == 400
    for i, sound in enumerate(sounds):
        found = metrics.snr(fields[i].render()[..., 0], sound)
        assert found == pytest.approx(fields.quality[i], abs=1e-2)
        assert found > 20


def test_a_common_start_is_the_same_for_all():
    fields = fit_many(Signals(PICTURES[:3]), make, key=KEY, steps=1, share="start", recipe=STILL)
    rows = fields.arrays()[0]
    assert np.array_equal(rows[0], rows[1])
    assert np.array_equal(rows[0], rows[2])


@pytest.mark.slow
def test_layers_that_all_share_are_those_of_the_common_start_and_are_kept_once(tmp_path):
    deep = lambda rngs: SIREN(2, 1, width=8, depth=2, first_omega=5.0, weight_scale=2.0, rngs=rngs)
    start = deep(nnx.Rngs(KEY))
    for share, layers in (("first", 1), ("trunk", 2)):
        out = tmp_path / share
        fields = fit_many(Signals(PICTURES[:3]), deep, key=KEY, steps=50, share=share, out=str(out))
        for picture, field, quality in zip(PICTURES[:3], fields, fields.quality, strict=True):
            for place in range(3):
                same = np.array_equal(start.layers[place].linear.kernel, field.network.layers[place].linear.kernel)
                assert same == (place < layers)
            found = metrics.psnr(field.render()[..., 0], picture / 255, data_range=1.0)
            assert found == pytest.approx(quality, abs=1e-3)
        own = 3 * (8 * 2 + 8 + 8 * 8 + 8 + 8 * 8 + 8 + 8 + 1 - (24 if layers == 1 else 96))
        assert fields.arrays()[0].size == own
        assert all(x.shape[0] == 8 for n, x in fields._shards[0].common().items() if n == "layers.1.linear.bias")


@pytest.mark.slow
def test_a_restart_begins_elsewhere_and_the_best_one_counts():
    settings = {"key": KEY, "quality": 99.0, "steps": 25}
    once = fit_many(Signals(PICTURES), make, **settings).quality
    thrice = fit_many(Signals(PICTURES), make, restarts=2, **settings)
    assert (thrice.quality >= once).all()
    assert (thrice.quality > once).any()
    assert (thrice.quality == once).any()
    for picture, field, quality in zip(PICTURES, thrice, thrice.quality, strict=True):
        assert metrics.psnr(field.render()[..., 0], picture / 255, data_range=1.0) == pytest.approx(quality, abs=1e-3)


def test_a_first_layer_is_scaled_to_the_omega_of_its_signal():
    times = np.arange(400) / 400
    sounds = np.stack([np.sin(2 * np.pi * f * times) for f in (5, 40)]).astype(np.float32)
    line = lambda rngs: SIREN(1, 1, width=16, depth=1, first_omega=20.0, rngs=rngs)
    signals = Signals(sounds, rate=400)
    settings = {"key": KEY, "steps": 1, "recipe": STILL}
    own = fit_many(signals, line, own_omega=True, **settings)
    usual = fit_many(signals, line, **settings)
    for entry, field, plain in zip(signals, own, usual, strict=True):
        factor = entry.read().choose_omega().omega / 20
        for name in ("kernel", "bias"):
            scaled, before = (getattr(f.network.layers[0].linear, name)[...] for f in (field, plain))
            np.testing.assert_allclose(scaled, factor * before, rtol=1e-6)
        np.testing.assert_array_equal(field.network.output.kernel[...], plain.network.output.kernel[...])


def test_processes_of_parts_make_the_set_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "ENTRIES", 3)
    settings = {"key": KEY, "steps": 25}
    fit_many(Signals(PICTURES), make, out=str(tmp_path / "one"), **settings)
    for part in ((1, 2), (0, 2)):
        fit_many(Signals(PICTURES), make, out=str(tmp_path / "two"), part=part, **settings)
    shards = sorted(path.name for path in (tmp_path / "one").glob("*.shard"))
    assert len(shards) == 4
    for name in [*shards, "names.json"]:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.slow
def test_a_time_becomes_steps_which_a_later_process_repeats(tmp_path):
    settings = {"key": KEY, "out": str(tmp_path)}
    first = fit_many(Signals(PICTURES[:4]), make, seconds=3, **settings)
    (steps,) = set(first.steps)
    assert steps == first.header["record"]["steps"]
    later = fit_many(Signals(PICTURES), make, seconds=1000, **settings)
    assert set(later.steps) == {steps}


def test_a_folder_is_for_one_process(tmp_path):
    with writer.claimed(str(tmp_path), (0, 1)), pytest.raises(InputError, match="another process is writing the set"):
        fit_many(Signals(PICTURES[:2]), make, key=KEY, steps=1, out=str(tmp_path))


@pytest.mark.slow
def test_derivatives_and_pictures_with_holes_are_judged_by_their_subjects():
    holed = [np.where(RNG.random((8, 8)) < 0.2, np.nan, picture / 255) for picture in PICTURES[:2]]
    for signals in (Signals(PICTURES[:2], target="gradient"), Signals(PICTURES[:2], target="mixed"), Signals(holed)):
        fields = fit_many(signals, make, key=KEY, steps=200)
        assert fields[0].record.get("target", "values") == signals.options.get("target", "values")
        for entry, field, quality in zip(signals, fields, fields.quality, strict=True):
            assert entry.read().quality(field.network) == pytest.approx(quality, abs=1e-3)
            assert quality > 15


@pytest.mark.slow
def test_shapes_are_fitted_in_their_own_units(tmp_path):
    points = RNG.normal(size=(3000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    for name, radius in (("small", 0.5), ("large", 20.0)):
        np.savetxt(tmp_path / f"{name}.xyz", np.hstack([radius * points + 7, points]))
    ball = lambda rngs: SIREN(3, 1, width=16, depth=1, first_omega=5.0, rngs=rngs)
    signals = Signals(tmp_path)
    fields = fit_many(signals, ball, key=KEY, quality=2.0, steps=600)
    for name, radius in (("small.xyz", 0.5), ("large.xyz", 20.0)):
        vertices = fields[name].mesh(32).vertices
        assert np.linalg.norm(vertices - 7, axis=1) == pytest.approx(radius, rel=0.1)
        assert signals[name].read().estimate(fields[name].network) == pytest.approx(
            fields.quality[fields.names.index(name)], rel=1e-3
        )
    assert fields.status == ["reached"] * 2


def test_what_cannot_be_read_is_left_out_with_its_reason(tmp_path):
    (tmp_path / "a").mkdir()
    for i, picture in enumerate(PICTURES[:2]):
        Image.fromarray(picture).save(tmp_path / "a" / f"{i}.png")
    (tmp_path / "a" / "bad.png").write_bytes((tmp_path / "a" / "0.png").read_bytes()[:40])
    (tmp_path / "a" / "empty.png").write_bytes(b"")
    signals = Signals(tmp_path, labels="folder")
    with pytest.warns(UserWarning, match=r"a/(bad|empty)\.png"):
        fields = fit_many(signals, make, key=KEY, steps=1)
    assert fields.names == ["a/0.png", "a/1.png"]
    assert fields.labels == ["a", "a"]
    with pytest.raises(InputError, match=r"a/bad\.png"):
        fit_many(signals, make, key=KEY, steps=1, strict=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("set")
    fit_many(Signals(PICTURES, labels=[str(i % 3) for i in range(10)]), make, key=KEY, steps=2, out=str(path))
    return path


def test_a_second_interruption_keeps_results_that_were_not_read_again(folder, tmp_path):
    shard = set_file.read(str(next(folder.glob("*.shard"))))
    results = {result.number: result for result in writer._results(shard)}
    path = str(tmp_path / "00000000.part")
    later = writer.Writer(str(tmp_path), shard.header, "float32", {}, [], results, {path: set(results)})
    later.started(0)
    later.pause()
    assert set_file.read(path).texts["names"] == shard.texts["names"]


@pytest.mark.parametrize("precision", ["float16", "bfloat16", "int8"])
def test_an_entry_is_rounded_as_in_a_file_of_its_own(precision, folder):
    fields = load_set(folder)
    rounded = fit_many(Signals(PICTURES), make, key=KEY, steps=2, precision=precision)
    for i in (0, 9):
        alone = set_file.siren_file.at_precision(set_file.parameters_of(nnx.state(fields[i].network)), precision)
        for name, array in set_file.parameters_of(nnx.state(rounded[i].network)).items():
            np.testing.assert_array_equal(
                array, alone[name].astype(np.float32) * alone.get(f"{name}.scale", np.float32(1))
            )


def test_entries_slices_and_arrays_agree(folder):
    fields = load_set(folder)
    x, y = fields.arrays()
    assert x.shape == (10, 8 * 2 + 8 + 64 + 8 + 8 + 1)
    assert y.tolist() == [str(i % 3) for i in range(10)]
    part = fields[2:7:2]
    assert part.names == ["00002", "00004", "00006"]
    assert np.array_equal(part.arrays()[0], x[2:7:2])
    assert np.array_equal(fields["00004"].render(), part[1].render())
    own = set_file.parameters_of(nnx.state(fields[4].network))
    assert np.array_equal(np.concatenate([own[name].ravel() for name in sorted(own)]), x[4])
    with pytest.raises(InputError, match="no entry 'x'"):
        fields["x"]


def test_a_shard_cut_anywhere_or_changed_is_refused_or_read(folder, tmp_path):
    (path,) = folder.glob("*.shard")
    data = path.read_bytes()
    for end in range(0, len(data) - 1, 101):
        shutil.rmtree(tmp_path / "cut", ignore_errors=True)
        (tmp_path / "cut").mkdir()
        (tmp_path / "cut" / path.name).write_bytes(data[:end])
        with pytest.raises(InputError):
            load_set(tmp_path / "cut")


def test_shards_of_different_sets_are_refused(folder, tmp_path):
    other = tmp_path / "other"
    fit_many(Signals(PICTURES[:2]), make, key=KEY, steps=3, out=str(other))
    shutil.copy(next(folder.glob("*.shard")), other / "00000100.shard")
    with pytest.raises(InputError, match="different sets: record differs"):
        load_set(other)
    wider = lambda rngs: SIREN(2, 1, width=8, depth=1, first_omega=5.0, weight_scale=3.0, rngs=rngs)
    others = {"steps": (make, {"steps": 4}), "batch_size": (make, {"batch_size": 5}), "start": (wider, {})}
    for name, (start, settings) in others.items():
        with pytest.raises(InputError, match=f"another way: {name} is"):
            fit_many(Signals(PICTURES[:2]), start, key=KEY, out=str(folder), **{"steps": 2, **settings})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"source": []}, "no signals"),
        ({"source": "nowhere"}, "no folder 'nowhere'"),
        ({"source": PICTURES, "names": ["a"]}, "10 signals, but 1 names"),
        ({"source": PICTURES[:2], "names": ["a", "a"]}, "two signals have the name 'a'"),
        ({"source": PICTURES[:1], "names": ["a::b"]}, "without '::'"),
        ({"source": PICTURES[:2], "labels": [1]}, "2 signals, but 1 labels"),
        ({"source": PICTURES[:2], "labels": {"00000": 1}}, "1 of 2 signals have no label; the first is '00001'"),
        ({"source": np.array(["nowhere.png"])}, "there are no signals that can be read; .* 'nowhere.png'"),
        ({"source": PICTURES[:2], "flip_normals": True}, "flip_normals= does not apply to a picture"),
    ],
)
def test_collections_that_cannot_be_are_refused(arguments, words):
    with pytest.raises(InputError, match=words):
        Signals(**arguments)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "steps must be at least 1"),
        ({"quality": float("nan")}, "quality must be a finite number"),
        ({"rows": 0}, "rows must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"precision": "float64"}, "the precision of a set is one of float32, float16, bfloat16, int8, but"),
        ({"share": "all"}, "share is one of"),
        ({"restarts": -1}, "restarts must not be negative"),
        ({"restarts": 1, "share": "start"}, "restarts start from other networks"),
        ({"restarts": 1, "share": "first"}, "restarts start from other networks"),
        ({"seconds": 9, "part": (0, 2), "out": "x"}, "different speeds"),
        ({"own_omega": True, "share": "first"}, "own_omega=True needs SIRENs with first layers of their own"),
        ({"seconds": 0}, "seconds must be a positive number"),
        ({"part": (2, 2), "out": "x"}, "a part is"),
        ({"part": (0, 2)}, "several processes need out="),
        ({"mesh": Mesh(np.array(jax.devices()[:1]), ("x",))}, "one axis named 'signals'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, words):
    with pytest.raises(InputError, match=words):
        fit_many(Signals(PICTURES), make, key=KEY, **settings)


def test_a_split_is_a_partition_with_its_share_of_every_label():
    signals = Signals(pictures(40), labels=[str(i % 4) for i in range(40)])
    first, second = signals.split(0.8)
    assert sorted(first.names + second.names) == signals.names
    assert [first.labels.count(label) for label in "0123"] == [8, 8, 8, 8]


@pytest.mark.slow
def test_any_number_of_devices_gives_the_same_set(tmp_path):
    script = textwrap.dedent("""
        import sys, jax, numpy as np
        from siren_jax import SIREN
        from siren_jax.sets.joint_descent import fit_many
        from siren_jax.sets.signals import Signals
        pictures = np.load(sys.argv[1])
        make = lambda rngs: SIREN(2, 1, width=8, depth=1, first_omega=5.0, weight_scale=2.0, rngs=rngs)
        fields = fit_many(Signals(pictures), make, key=jax.random.key(3), quality=28, steps=150)
        np.save(sys.argv[2], fields.arrays()[0])
    """)
    np.save(tmp_path / "pictures.npy", PICTURES)
    found = []
    for devices in (1, 2, 8):
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
        out = tmp_path / f"{devices}.npy"
        subprocess.run(
            [sys.executable, "-c", script, tmp_path / "pictures.npy", out],
            check=True,
            env={**os.environ, "XLA_FLAGS": flags},
        )
        found.append(np.load(out))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
