"""Sets of every version are read for ever, by any reader; a shard from a stranger is read, or refused in words.

`tests/data/make_sets.py` says how the golden sets were made.
"""

import json
import runpy
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from by_hand import siren_of_code
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.targets import TARGETS
from siren_jax import InputError, Signals, load_set
from siren_jax.cli import main
from siren_jax.files import set_file, siren_file
from siren_jax.sets import writer

DATA = Path(__file__).parent / "data"
GOLDEN = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(DATA.glob("set_*.json"))}
found_in = runpy.run_path(str(DATA / "make_sets.py"))["found_in"]
SEEDS = dict(zip(("image", "sound", "shape", "codes"), list(TARGETS["set"].seeds())[3::4], strict=True))  # of 8 bits
ENTRY = "entry."


def test_a_golden_set_of_this_version_is_there_in_every_precision():
    assert {path.stem for path in DATA.glob("*.sirens")} == set(GOLDEN)
    made = {(kept["header"]["format"], kept["header"]["precision"]) for kept in GOLDEN.values()}
    assert made >= {(set_file.FORMAT_VERSION, precision) for precision in siren_file.OF_SETS}
    columns = {name for kept in GOLDEN.values() for name in kept["columns"]}
    assert columns == {*set_file.COLUMNS, *set_file.OPTIONAL}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_set_holds_what_it_was_written_with(name):
    kept, fields = GOLDEN[name], load_set(DATA / f"{name}.sirens")
    entries, columns, parameters = kept["entries"], kept["columns"], kept["parameters"]
    assert fields.header == kept["header"]
    assert (fields.names, fields.labels, fields.status) == (entries["names"], entries["labels"], entries["status"])
    read = {"quality": fields.quality, "steps": fields.steps, "shape": fields.shapes, "range": fields.value_ranges}
    read |= {} if fields.rates is None else {"rate": fields.rates}
    assert {column: array.tolist() for column, array in read.items()} == {
        column: values for column, values in columns.items() if column not in ("number", "placement")
    }
    shared = set(kept["header"].get("shared", []))
    assert set(fields.shared) == shared
    for parameter, array in fields.shared.items():
        # An integer times its scale is rounded to float32 once; other precisions are exact in float32.
        np.testing.assert_allclose(array, parameters[parameter], rtol=2**-24)
    own = [np.array(parameters[name]).reshape(len(fields), -1) for name in sorted(set(parameters) - shared)]
    np.testing.assert_allclose(fields.arrays()[0], np.concatenate(own, axis=1), rtol=2**-24)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_field_of_a_golden_set_is_the_function_of_the_specification(name):
    kept, fields = GOLDEN[name], load_set(DATA / f"{name}.sirens")
    network, columns, shared = kept["header"]["network"], kept["columns"], kept["header"].get("shared", [])
    points = np.random.default_rng(0).uniform(-1, 1, (20, network["in_features"])).astype(np.float32)
    for row, field in enumerate(fields):
        own = {n: np.array(x if n in shared else x[row]) for n, x in kept["parameters"].items()}
        own = siren_of_code(own, layers=2) if network["type"] == "latent" else own
        h = np.sin(network["first_omega"] * (points @ own["layers.0.linear.kernel"] + own["layers.0.linear.bias"]))
        h = np.sin(network["omega"] * (h @ own["layers.1.linear.kernel"] + own["layers.1.linear.bias"]))
        y = h @ own["output.kernel"] + own["output.bias"]
        low, high = columns["range"][row]
        # float32 against float64 after two sines with omegas of 5 and 30: 1e-5 of the range.
        np.testing.assert_allclose(field(points), low + (y + 1) * (high - low) / 2, atol=1e-5 * (high - low))
        assert field.frame.shape == tuple(columns["shape"][row])
        assert field.rate == (columns["rate"][row] if "rate" in columns else None)
        place = columns["placement"][row] if "placement" in columns else None
        assert place is None or field.placement is not None
        if field.placement is not None:
            assert [*field.placement.centre, field.placement.scale] == place


@pytest.mark.parametrize("name", GOLDEN)
def test_the_numbers_of_a_golden_set_are_those_of_its_bytes(name):
    assert found_in((DATA / f"{name}.sirens" / "00000000.shard").read_bytes()) == GOLDEN[name]


def changed(data: bytes, change) -> bytes:
    """A shard after a change of its JSON header and of its arrays, which the function gets."""
    length = int.from_bytes(data[:8], "little")
    described = json.loads(data[8 : 8 + length])
    header, body = json.loads(described.pop("__metadata__")["sirens"]), bytearray(data[8 + length :])
    types = {"I64": "<i8", "F64": "<f8"}
    views = {
        name.removeprefix(ENTRY): np.frombuffer(
            memoryview(body)[slice(*entry["data_offsets"])], types[entry["dtype"]]
        ).reshape(entry["shape"])
        for name, entry in described.items()
        if name.startswith(ENTRY)
    }
    change(header, views)
    text = json.dumps({"__metadata__": {"sirens": json.dumps(header)}, **described}).encode()
    return len(text).to_bytes(8, "little") + text + bytes(body)


def folder_of(path: Path, *shards: bytes) -> Path:
    path.mkdir()
    for number, data in enumerate(shards):
        (path / f"{number:08d}.shard").write_bytes(data)
    return path


def in_header(name, value):
    return lambda header, columns: header.update({name: value})


def in_entries(name, *values):
    return lambda header, columns: header["entries"].update({name: list(values)})


@pytest.mark.parametrize("kind", SEEDS)
def test_a_shard_without_a_change_is_read(kind, tmp_path):
    fields = load_set(folder_of(tmp_path / "a", changed(SEEDS[kind], lambda header, columns: None)))
    assert [field.kind for field in fields] == ["image" if kind == "codes" else kind] * 2


def test_an_omega_without_a_point_is_the_same_number(tmp_path):
    whole = lambda header, columns: header["network"].update(first_omega=20, omega=30)
    network = load_set(folder_of(tmp_path / "a", changed(SEEDS["image"], whole)))[0].network
    assert (network.first_omega, network.omega) == (20.0, 30.0)


LAYER = ["layers.0.linear.bias", "layers.0.linear.kernel"]
EVERY = [*LAYER, "layers.1.linear.bias", "layers.1.linear.kernel", "output.bias", "output.kernel"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (in_header("format", 2), "format version 2"),
        (in_header("format", True), "format version True"),
        (in_header("kind", ["image"]), "no kind, no measure or no record"),
        (in_header("measure", ["psnr"]), "no kind, no measure or no record"),
        (in_header("measure", None), "no kind, no measure or no record"),
        (in_header("record", []), "no kind, no measure or no record"),
        (in_header("kind", "sound"), r"entry\.rate is \('F64', \(2,\)\), but the file has none"),
        (in_header("kind", "shape"), r"entry\.placement is \('F64', \(2, 4\)\), but the file has none"),
        (in_header("precision", "int4"), "names the precision 'int4'"),
        (in_header("precision", None), "names the precision None"),
        (in_header("precision", "float64"), "the weights of a set have one of float32, float16, bfloat16, int8"),
        (in_header("shared", None), "different parameters of the network as shared ones"),
        (in_header("shared", "layers"), "different parameters of the network as shared ones"),
        (in_header("shared", [1, 2]), "different parameters of the network as shared ones"),
        (in_header("shared", [["a"]]), "different parameters of the network as shared ones"),
        (in_header("shared", [*LAYER, "layers.7"]), "different parameters of the network as shared ones"),
        (in_header("shared", [*LAYER, LAYER[0]]), "different parameters of the network as shared ones"),
        (in_header("shared", [*LAYER, "layers.1.linear.kernel.scale"]), "different parameters of the network"),
        (in_header("shared", EVERY), "and not all of them"),
        (in_header("shared", LAYER[:1]), r"layers\.0\.linear\.kernel is \('F32', \(2, 2, 2\)\), but the file has"),
        (in_header("entries", []), "not JSON with the fields format and entries"),
        (in_header("entries", {"names": ["a/0", "b/1"]}), "not JSON with the fields format and entries"),
        (in_entries("names", "a", "a"), "with different names"),
        (in_entries("names", "a", 1), "with different names"),
        (in_entries("names", "a", ["b"]), "with different names"),
        (in_entries("names", "a", "b", "c"), "1 to 16,384 entries"),
        (in_entries("names"), "1 to 16,384 entries"),
        (in_entries("names", "a", "b" * 4097), "up to 4,096 characters"),
        (in_entries("labels", "a", {}), "a label and a status each"),
        (in_entries("labels", "a", 3), "a label and a status each"),
        (in_entries("labels", "a", "b" * 4097), "up to 4,096 characters"),
        (in_entries("status", "a", None), "a label and a status each"),
    ],
)
def test_a_header_that_contradicts_itself_is_refused(change, words, tmp_path):
    with pytest.raises(InputError, match=words):
        load_set(folder_of(tmp_path / "a", changed(SEEDS["image"], change)))


def test_a_network_of_more_weights_than_are_accepted_is_refused(tmp_path):
    wide = lambda header, columns: header["network"].update(width=65536, depth=2)
    with pytest.raises(InputError, match=r"has 8,590,\d{3},\d{3} weights an entry; up to 268,435,456"):
        load_set(folder_of(tmp_path / "a", changed(SEEDS["image"], wide)))


@pytest.mark.parametrize("count", [2**14 + 1, 2**40, 2**62])
def test_a_shard_cannot_claim_entries_that_it_does_not_have(count, tmp_path):
    length = int.from_bytes(SEEDS["image"][:8], "little")
    described = json.loads(SEEDS["image"][8 : 8 + length])
    described["entry.number"]["shape"] = [count]
    text = json.dumps(described).encode()
    with pytest.raises(InputError, match="is not a shard of a set, or is truncated"):
        load_set(folder_of(tmp_path / "a", len(text).to_bytes(8, "little") + text + SEEDS["image"][8 + length :]))


@pytest.mark.parametrize(
    ("kind", "column", "value", "words"),
    [
        ("image", "range", (1.0, -1.0), "low < high"),
        ("image", "range", (0.0, 0.0), "low < high"),
        ("image", "range", (np.nan, 1.0), "low < high"),
        ("image", "range", (-np.inf, np.inf), "low < high"),
        ("image", "shape", (-4, 5), "1 to 2,147,483,648 along each axis"),
        ("image", "shape", (0, 5), "1 to 2,147,483,648 along each axis"),
        ("image", "shape", (2**62, 5), "1 to 2,147,483,648 along each axis"),
        ("sound", "rate", np.nan, "a whole number of samples a second"),
        ("sound", "rate", np.inf, "a whole number of samples a second"),
        ("sound", "rate", -8000.0, "a whole number of samples a second"),
        ("shape", "placement", (np.nan, 0.0, 0.0, 1.0), "needs a placement"),
        ("shape", "placement", (0.0, 0.0, 0.0, np.nan), "needs a placement"),
        ("shape", "placement", (0.0, 0.0, 0.0, 0.0), "needs a placement"),
        ("shape", "placement", (0.0, 0.0, 0.0, 7.0), r"the value range \(-7, 7\)"),
    ],
)
def test_only_the_entry_with_a_bad_column_is_refused(kind, column, value, words, tmp_path):
    def change(header, columns):
        columns[column][0] = value

    folder = folder_of(tmp_path / "a", changed(SEEDS[kind], change))
    fields = load_set(folder)
    with pytest.raises(InputError, match=words):
        fields[0]
    assert fields[1].kind == kind
    # The command describes the set, refuses the entry and exports the arrays, in words.
    assert main(["info", str(folder)]) == 0
    assert main(["info", f"{folder}::a/0"]) == 2
    assert main(["export", str(folder), "--out", str(tmp_path / "a.npz")]) == 0


def test_the_command_tells_the_quality_of_shapes_in_its_unit_the_largest_first(capsys):
    assert main(["info", str(DATA / "set_1_bfloat16_shape.sirens")]) == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert told["chamfer"] == "most 2.8036 % of the diagonal, median 2.3485 % of the diagonal"
    assert told["worst"].startswith("large.xyz (2.8036 % of the diagonal), small.xyz")


@pytest.mark.parametrize("name", ["\0", "\x1b[31mred", "a\nb", "\u202e", "../../a", "half \udcff a pair"])
def test_a_name_is_never_printed_as_it_is_nor_taken_as_a_path(name, tmp_path, capsys):
    folder = folder_of(tmp_path / "a", changed(SEEDS["image"], in_entries("names", name, "b")))
    fields = load_set(folder)
    assert fields[name].record["name"] == fields.names[0] == name
    assert main(["info", str(folder)]) == 0
    with pytest.raises(InputError, match="no entry 'c'"):
        fields["c"]
    assert all(c.isprintable() or c == "\n" for c in capsys.readouterr().out)
    assert main(["export", str(folder), "--out", str(tmp_path / "a.npz")]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "a.npz"]


def test_shards_with_a_common_name_or_number_are_refused(tmp_path):
    def other(header, columns):
        header["entries"]["names"] = ["c", "d"]
        columns["number"][:] = [2, 3]

    def same_number(header, columns):
        header["entries"]["names"] = ["c", "d"]

    def same_name(header, columns):
        columns["number"][:] = [2, 3]

    image = SEEDS["image"]
    assert load_set(folder_of(tmp_path / "a", changed(image, other), image)).names == ["a/0", "b/1", "c", "d"]
    with pytest.raises(InputError, match="have the number 0; a shard was copied or renamed"):
        load_set(folder_of(tmp_path / "b", image, changed(image, same_number)))
    with pytest.raises(InputError, match="have the name 'a/0'; a shard was copied or renamed"):
        load_set(folder_of(tmp_path / "c", image, changed(image, same_name)))


def test_shards_that_share_other_parameters_are_of_different_sets(tmp_path):
    """Either one may lack the field."""
    first = next(iter(TARGETS["set"].seeds()))
    alone = changed(first, lambda header, columns: header.pop("shared"))
    with pytest.raises(InputError, match="different sets: precision differs"):
        load_set(folder_of(tmp_path / "a", SEEDS["image"], alone))
    for name, shards in (("b", (first, alone)), ("c", (alone, first))):
        with pytest.raises(InputError, match="different sets: shared differs"):
            load_set(folder_of(tmp_path / name, *shards))


def test_a_set_without_one_of_its_shards_has_fewer_entries(tmp_path):
    def other(header, columns):
        header["entries"]["names"] = ["c", "d"]
        columns["number"][:] = [300, 400]

    folder = folder_of(tmp_path / "a", SEEDS["image"], changed(SEEDS["image"], other))
    (folder / "00000000.shard").unlink()
    fields = load_set(folder)
    assert fields.names == ["c", "d"]
    assert fields["d"].kind == "image"
    (folder / "00000001.shard").unlink()
    with pytest.raises(InputError, match="is not a set"):
        load_set(folder)


def test_a_text_that_could_not_be_read_is_not_written(tmp_path):
    shard = set_file.read(str(folder_of(tmp_path / "a", SEEDS["image"]) / "00000000.shard"))
    arrays = {**shard.stored(slice(None)), **shard._arrays(shard._is_shared, slice(None))}
    for names in (["a"], ["a", "a"], ["a", "b" * 4097]):
        with pytest.raises(InputError, match="needs 1 to 16,384 entries with different names"):
            set_file.Shard(shard.header, {**shard.texts, "names": names}, shard.columns, arrays=arrays).write(
                str(tmp_path / "b.shard")
            )
    assert not (tmp_path / "b.shard").exists()
    pictures = np.zeros((2, 8, 8), np.uint8)
    with pytest.raises(InputError, match="a label has up to 4,096 characters"):
        Signals(pictures, labels=["a", "b" * 4097])
    with pytest.raises(InputError, match="a name has up to 4,096 characters"):
        Signals(pictures, names=["a", "b" * 4097])


@pytest.mark.parametrize("text", ["", "{", "{}", "3", '["a", "a"]', '["a", 1]', "[" * 100_000, "\udcff"])
def test_a_list_of_names_that_is_none_is_refused(text, tmp_path):
    shutil.copytree(DATA / "set_1_float32.sirens", tmp_path / "a")
    (tmp_path / "a" / "names.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=r"names\.json' cannot be read"):
        writer.numbered(str(tmp_path / "a"), ["a"])


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=3), st.lists(st.integers())
)


@pytest.mark.slow
@settings(max_examples=200)
@given(st.data())
def test_any_value_in_a_header_is_read_or_refused(data):
    """Of JSON that is sound, where bytes that are changed at random rarely are."""

    def change(header, columns):
        inner = header
        while True:
            keys = sorted(inner) if isinstance(inner, dict) else list(range(len(inner)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(inner[key], dict | list) or not inner[key] or data.draw(st.booleans()):
                inner[key] = data.draw(VALUES)
                return
            inner = inner[key]

    with suppress(InputError):
        TARGETS["set"].run(changed(data.draw(st.sampled_from(list(SEEDS.values()))), change))
