"""The command takes an entry of a set as SET::NAME, with the same values as in Python, and exports the whole set."""

import json
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors import safe_open
from safetensors.numpy import save_file

from siren_jax import SIREN, FieldSet, Signals, fit_many, load, load_set
from siren_jax.cli import main, sources
from siren_jax.files import pytorch
from siren_jax.sets import array_files, writer

NAMES = [f"{i % 2}/{i:04d}.png" for i in (3, 1, 4, 15, 9, 26)]
NAME = NAMES[4]


def make(rngs):
    return SIREN(2, 1, width=8, depth=1, first_omega=5.0, omega=7.0, weight_scale=2.0, rngs=rngs)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A set of six pictures in two shards; not to be changed."""
    path = tmp_path_factory.mktemp("sets") / "digits.sirens"
    pictures = np.random.default_rng(0).integers(0, 255, (6, 8, 8), np.uint8)
    signals = Signals(pictures, labels=[name[0] for name in NAMES], names=NAMES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, "ENTRIES", 4)
        fit_many(signals, make, key=jax.random.key(0), steps=2, out=path)
    assert len(list(path.glob("*.shard"))) == 2
    return path


@pytest.fixture
def fields(folder) -> FieldSet:
    return load_set(folder)


def printed(capsys, *arguments: object) -> str:
    capsys.readouterr()
    assert main([*map(str, arguments)]) == 0
    return capsys.readouterr().out


def rows(text: str) -> dict[str, str]:
    return dict(line.split(maxsplit=1) for line in text.splitlines())


def changed(folder: Path, to: Path, name: str, change) -> Path:
    """A copy of a set with one array of its first shard changed in place."""
    shutil.copytree(folder, to)
    path = min(to.glob("*.shard"))
    with safe_open(path, framework="numpy") as file:
        metadata, arrays = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    change(arrays[name])
    save_file(arrays, path, metadata)
    return to


@pytest.mark.parametrize("address", [NAME, "4"])
def test_a_rendered_entry_has_the_values_of_the_field(address, folder, fields, tmp_path):
    for options, shape in (([], (8, 8)), (["--scale", "2"], (16, 16))):
        out = tmp_path / f"{shape[0]}.npy"
        assert main(["render", f"{folder}::{address}", *options, "--out", str(out)]) == 0
        np.testing.assert_array_equal(np.load(out), fields[NAME].render(shape))


def test_a_converted_entry_has_the_values_of_the_field(folder, fields, tmp_path, capsys):
    told = printed(capsys, "convert", f"{folder}::{NAME}", tmp_path / "a.siren")
    assert "no difference" in told
    assert f"\n{(tmp_path / 'a.siren').stat().st_size:,} bytes: " in told
    np.testing.assert_array_equal(load(tmp_path / "a.siren").render(), fields[NAME].render())
    assert load(tmp_path / "a.siren").record["name"] == NAME

    printed(capsys, "convert", f"{folder}::{NAME}", tmp_path / "a.safetensors", "--grid", "centres")
    x = jnp.asarray([[0.3, -0.2]])
    network = pytorch.load(tmp_path / "a.safetensors")
    np.testing.assert_allclose(network(x), fields[NAME].network(x), atol=1e-6)  # float32 at phases of 5


def test_a_page_shows_entries_and_files_together(folder, tmp_path, capsys):
    printed(capsys, "convert", f"{folder}::0", tmp_path / "b.siren")
    files = [f"{folder}::{NAME}", tmp_path / "b.siren", f"{folder}::0"]
    printed(capsys, "view", *files, "--out", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    places = [page.index(f'"{name}"') for name in (NAME, "b", NAMES[0])]
    assert places == sorted(places)


def test_the_description_of_an_entry_is_that_of_its_field(folder, fields, capsys):
    found = rows(printed(capsys, "info", f"{folder}::{NAME}"))
    assert found["name"] == NAME
    assert found["label"] == NAME[0]
    assert found["samples"] == "8 x 8"
    assert found["omega"] == "5 in the first layer, 7 after"
    assert found["parameters"] == "105" == str(fields.arrays()[0].shape[1])
    assert float(found["psnr"]) == pytest.approx(fields.quality[4], rel=1e-3)  # four digits are printed


def test_the_description_of_a_set_counts_its_entries(folder, fields, capsys):
    found = rows(printed(capsys, "info", folder))
    assert (found["kind"], found["entries"], found["labels"]) == ("image", "6", "0 (2), 1 (4)")
    assert found["status"] == "steps (6)"
    assert found["steps"] == "median 2, at most 2, 12 in all"
    assert found["parameters"] == "105 of an entry"
    least, median = re.findall(r"(-?[\d.]+) dB", found["psnr"])
    assert (float(least), float(median)) == pytest.approx((fields.quality.min(), np.median(fields.quality)), abs=0.005)
    order = np.argsort(fields.quality)
    assert re.findall(r"\S+\.png", found["worst"]) == [NAMES[i] for i in order[:3]]
    size = sum(path.stat().st_size for path in folder.glob("*.shard"))
    assert found["bytes"] == f"{size:,} in 2 shards, {size / 6:,.0f} an entry"
    assert found["record.steps"] == "2"


def test_a_fit_that_failed_is_the_worst(folder, tmp_path, capsys):
    def fail(quality):
        quality[2] = np.nan

    path = changed(folder, tmp_path / "a", "entry.quality", fail)
    found = rows(printed(capsys, "info", path))
    assert found["worst"].startswith(f"{NAMES[2]} (not finite), ")
    assert "nan" not in found["psnr"]


def test_only_the_wanted_entry_is_read(folder, tmp_path, capsys):
    def damage(kernel):
        kernel[2, 0, 0] = np.inf

    path = changed(folder, tmp_path / "a", "output.kernel", damage)
    for name in set(NAMES) - {NAMES[2]}:
        assert rows(printed(capsys, "info", f"{path}::{name}"))["name"] == name
    assert main(["info", f"{path}::{NAMES[2]}"]) == 2
    assert "values that are not finite" in capsys.readouterr().err


def test_a_file_with_colons_in_its_name_is_a_file(folder, fields, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, "a")
    fields[0].save("a::1.siren")
    assert rows(printed(capsys, "info", "a::1.siren"))["name"] == NAMES[0]
    shutil.copytree(folder, "b::c")
    assert rows(printed(capsys, "info", "b::c"))["entries"] == "6"
    assert rows(printed(capsys, "info", f"b::c::{NAME}"))["name"] == NAME
    assert sources.split("a:::x") == ("a", ":x")
    assert sources.split("a.siren") is None


def test_a_number_counts_only_where_no_name_is_a_number(fields):
    pictures = np.zeros((2, 4, 4), np.uint8)
    numbered = fit_many(Signals(pictures, names=["1", "5"]), make, key=jax.random.key(0), steps=1)
    assert sources.entry(numbered, "a", "5").record["name"] == "5"
    for name in ("0", "01"):  # signals 0 and 2 to 4 may have been left out
        with pytest.raises(ValueError, match=f"no entry '{name}'"):
            sources.entry(numbered, "a", name)
    assert sources.entry(fields, "a", "0").record["name"] == NAMES[0]


@pytest.mark.parametrize(
    ("command", "target"), [("info", []), ("render", ["--out", "a.png"]), ("convert", ["a.siren"]), ("view", [])]
)
@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nowhere::a", "there is no set 'nowhere'."),
        ("digits.sirens::1/0014.png", "has no entry '1/0014.png'; similar names are '1/0015.png'"),
        ("digits.sirens::zzz", "has no entry 'zzz'; the first of 6 is '1/0003.png'."),
        ("digits.sirens::6", "has no entry '6'; its 6 entries have the numbers from 0 on."),
        ("digits.sirens::-1", "has no entry '-1'"),
        (
            "digits.sirens",
            "is a set; name one of its 6 entries as SET::NAME, the first is 'digits.sirens::1/0003.png'.",
        ),
        ("damaged::0", "is not a shard of a set, or is truncated"),
        ("plain", "'plain' is not a set"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    command, target, address, message, folder, tmp_path, monkeypatch, capsys
):
    if command == "info" and address == "digits.sirens":
        return
    monkeypatch.chdir(tmp_path)
    Path("digits.sirens").symlink_to(folder)
    Path("plain").mkdir()
    shutil.copytree(folder, "damaged")
    path = max(Path("damaged").glob("*.shard"))
    path.write_bytes(path.read_bytes()[:-9])
    assert main([command, address, *target]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "digits.sirens", "plain"]


def check(found, fields: FieldSet, read_text) -> None:
    """Compares exported arrays with the set."""
    x, y = fields.arrays()
    np.testing.assert_array_equal(found["X"], x)
    assert read_text("y") == y.tolist()
    assert read_text("names") == fields.names
    assert read_text("status") == fields.status
    np.testing.assert_array_equal(found["quality"], fields.quality)
    np.testing.assert_array_equal(found["steps"], fields.steps)
    np.testing.assert_array_equal(found["shapes"], [field.frame.shape for field in fields])
    np.testing.assert_array_equal(found["value_ranges"], [field.value_range for field in fields])
    assert json.loads(read_text("header")) == fields.header
    for i, field in enumerate(fields):
        for path, leaf in nnx.to_flat_state(nnx.state(field.network)):
            np.testing.assert_array_equal(found[f"parameters/{'.'.join(map(str, path))}"][i], leaf[...])


def test_an_npz_has_the_arrays_of_the_set_without_pickles(folder, fields, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(array_files, "BLOCK", 3 * 105)  # three entries: blocks that end within a shard
    told = printed(capsys, "export", folder, "--to", "npz", "--out", tmp_path / "a.npz")
    assert told.startswith(f"6 entries, {(tmp_path / 'a.npz').stat().st_size:,} bytes: ")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert found["X"].dtype == np.float32
        check(found, fields, lambda name: found[name].tolist())
        assert "rates" not in found
    printed(capsys, "export", folder, "--out", tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_an_exported_network_can_be_built_again_from_the_file_alone(folder, fields, tmp_path):
    assert main(["export", str(folder), "--out", str(tmp_path / "a.npz")]) == 0
    with np.load(tmp_path / "a.npz") as found:
        network = json.loads(str(found["header"]))["network"]
        h = np.array([[0.25, -0.5], [0.9, 0.1]])
        for i, name in enumerate(["layers.0.linear", "layers.1.linear", "output"]):
            kernel, bias = (found[f"parameters/{name}.{part}"][4] for part in ("kernel", "bias"))
            h = h @ kernel.astype(np.float64) + bias
            if name != "output":
                h = np.sin(network["omega" if i else "first_omega"] * h)
        low, high = found["value_ranges"][4]
    expected = fields[NAME](np.array([[0.25, -0.5], [0.9, 0.1]], np.float32))
    np.testing.assert_allclose(low + (h + 1) * (high - low) / 2, expected, atol=1e-5)  # float32 at phases of 5


@pytest.mark.slow
def test_an_export_of_int8_has_the_numbers_that_the_fields_compute_with(tmp_path):
    pictures = np.random.default_rng(1).integers(0, 255, (3, 8, 8), np.uint8)
    deep = lambda rngs: SIREN(2, 1, width=3, depth=10, rngs=rngs)  # layer 10 comes before layer 2 in order of names
    fields = fit_many(Signals(pictures), deep, key=jax.random.key(0), steps=1, precision="int8")
    array_files.export(fields, tmp_path / "a.npz", to="npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        check(found, fields, lambda name: found[name].tolist() if name != "y" else fields.arrays()[1].tolist())
        assert found["y"].tolist() == ["", "", ""]


def test_sounds_are_exported_with_their_rate(tmp_path):
    line = lambda rngs: SIREN(1, 1, width=8, depth=1, rngs=rngs)
    sounds = np.random.default_rng(2).uniform(-1, 1, (2, 50)).astype(np.float32)
    fields = fit_many(Signals(sounds, rate=400), line, key=jax.random.key(0), steps=1, out=tmp_path / "a.sirens")
    assert main(["export", str(tmp_path / "a.sirens"), "--out", str(tmp_path / "a.npz")]) == 0
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert found["rates"].tolist() == [field.rate for field in fields] == [400, 400]
        assert found["shapes"].tolist() == [[50], [50]]


def test_an_hdf5_is_not_begun_where_it_does_not_fit(folder, tmp_path, monkeypatch, capsys):
    pytest.importorskip("h5py", reason="the extra `hdf5` is not installed")
    disk = SimpleNamespace(total=10_000, used=9_000, free=1_000)
    monkeypatch.setattr("siren_jax.files.atomic.shutil.disk_usage", lambda _: disk)
    assert main(["export", str(folder), "--to", "hdf5", "--out", str(tmp_path / "a.h5")]) == 2
    assert re.search(r"a\.h5' may take [\d,]+ bytes, but 1,000 are free", capsys.readouterr().err)
    assert os.listdir(tmp_path) == []


def test_an_hdf5_has_the_arrays_of_the_set(folder, fields, tmp_path, monkeypatch):
    h5py = pytest.importorskip("h5py", reason="the extra `hdf5` is not installed")
    monkeypatch.setattr(array_files, "BLOCK", 3 * 105)
    assert main(["export", str(folder), "--to", "hdf5", "--out", str(tmp_path / "a.h5")]) == 0
    with h5py.File(tmp_path / "a.h5") as found:
        text = lambda name: found[name].asstr()[()]
        check(found, fields, lambda name: text(name) if isinstance(text(name), str) else text(name).tolist())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digits.sirens", "--out", "a.h5"], "--out ends in .npz with --to npz, but is 'a.h5'."),
        (["digits.sirens", "--to", "hdf5", "--out", "a.npz"], "--out ends in .h5 or .hdf5 with --to hdf5"),
        (
            ["digits.sirens", "--to", "hdf5", "--out", "a.h5"],
            "--to hdf5 needs the extra: pip install 'siren-jax[hdf5]'",
        ),
        (["digits.sirens", "--out", "kept.npz"], "'kept.npz' exists"),
        (["digits.sirens", "--out", "nowhere/a.npz"], "cannot be written"),
        (["digits.sirens::0", "--out", "a.npz"], "there is no set 'digits.sirens::0'"),
        (["damaged", "--out", "a.npz"], "values that are not finite"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    arguments, message, folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "h5py", None)  # as if it were not installed
    Path("digits.sirens").symlink_to(folder)
    Path("kept.npz").write_bytes(b"kept")
    changed(folder, tmp_path / "damaged", "output.kernel", lambda kernel: kernel.fill(np.inf))
    assert main(["export", *arguments]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["damaged", "digits.sirens", "kept.npz"]
    assert Path("kept.npz").read_bytes() == b"kept"
    if "kept.npz" in arguments:
        assert main(["export", *arguments, "--overwrite"]) == 0
        with np.load("kept.npz") as found:
            assert len(found["X"]) == 6
