"""Files of every version are read for ever, in every precision, by any reader; what is no file of ours is refused."""

import functools
import json
import math
import os
import re
import stat
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open

from siren_jax import SIREN, Frame, InputError, NeuralField, load
from siren_jax.fields import tiles
from siren_jax.fields.precision import cast
from siren_jax.files import siren_file

DATA = Path(__file__).parent / "data"
PAGE = Path(__file__).parent.parent / "docs" / "file-format.md"
GOLDEN = {  # values at the coordinates (0.25, -0.5), of a sound at 0.25, when the file was written
    "version_1_siren": [181.84255981445312, 138.576416015625, 190.7179718017578],
    "version_1_relu": [-0.019604623317718506],
    "version_2_float32": [178.774658203125, 138.5486297607422, 186.00071716308594],
    "version_2_float16": [178.7734375, 138.55490112304688, 185.9914093017578],
    "version_2_bfloat16": [178.8702850341797, 138.58616638183594, 186.11898803710938],
    "version_2_int8": [178.75474548339844, 138.45591735839844, 186.02442932128906],
    "version_2_float64": [51.546526219272614, 180.77848699160384, 63.27685791088012],
    "version_2_periodic": [151.87478637695312, 135.7661590576172, 159.83840942382812],
    "version_2_graded": [151.60308837890625, 142.43307495117188, 163.9071807861328],
    "version_2_windows": [150.74578857421875, 142.00494384765625, 161.66050720214844],
    "version_2_latent": [0.21110758185386658],
    "version_2_latent_scaled": [0.2277429699897766],
}
OPTIONS = ("2_periodic", "2_graded", "2_windows")
FLIPPED = [f"version_{n}" for n in ("1_siren", "2_int8", "2_float64", *OPTIONS, "2_latent_scaled")]
PRECISIONS = pytest.mark.parametrize("precision", siren_file.PRECISIONS)


def field(**settings) -> NeuralField:
    settings = dict(width=64, depth=2) | settings
    return NeuralField(SIREN(2, 3, **settings, rngs=nnx.Rngs(0)), Frame((6, 10)), (0.0, 255.0))


def weights(network) -> dict[str, np.ndarray]:
    return {".".join(map(str, name)): np.asarray(leaf[...]) for name, leaf in nnx.to_flat_state(nnx.state(network))}


def test_a_golden_file_of_every_version_and_precision_is_there():
    assert {path.stem for path in DATA.glob("*.siren")} == set(GOLDEN)
    assert {f"version_{siren_file.FORMAT_VERSION}_{precision}" for precision in siren_file.PRECISIONS} <= set(GOLDEN)


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_file_holds_the_values_that_it_was_written_with(name):
    field = load(DATA / f"{name}.siren")
    values = field(np.array([0.25, -0.5], np.float32)[: len(field.frame.shape)])
    # float32 at values up to 191 of a range of 255: rounding alone, 255·2^-24·a few; of float64, 255·2^-53·a few.
    double = name.endswith("float64")
    np.testing.assert_allclose(values, GOLDEN[name], atol=1e-12 if double else 1e-4)
    assert field.record == {"seed": 0} or list(field.record) == ["base"]
    assert all(array.dtype == (np.float64 if double else np.float32) for array in weights(field.network).values())


@pytest.mark.parametrize("name", [name for name in GOLDEN if "relu" not in name])
def test_the_reader_of_the_specification_reads_what_load_reads(name):
    (block,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "def " in block)
    names: dict = {}
    exec(block, names)
    points = np.random.default_rng(0).uniform(-1, 1, (50, 2)).astype(np.float32)
    path = DATA / f"{name}.siren"
    # The page's reader computes in float64, ours in the precision of the file: in float32, to 1e-5 of the range.
    network = load(path).network
    np.testing.assert_allclose(
        names["read"](path)(points), tiles.evaluate(network, points), atol=1e-14 if name.endswith("float64") else 1e-5
    )


@pytest.mark.parametrize("outermost", ["linear", "sine", "sigmoid", "tanh"])
def test_what_follows_the_last_layer_is_kept(outermost, tmp_path):
    kept = field(outermost=outermost)
    kept.save(tmp_path / "a.siren")
    np.testing.assert_array_equal(load(tmp_path / "a.siren").render(), kept.render())


# Half a unit in the last place, relative: of 11 and of 8 binary digits.
@pytest.mark.parametrize(("precision", "rounding"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_half_the_size_is_rounded_to_the_nearest(precision, rounding, tmp_path):
    kept = field()
    kept.save(tmp_path / "a.siren", precision=precision)
    for name, array in weights(load(tmp_path / "a.siren").network).items():
        original = weights(kept.network)[name]
        if siren_file._has_precision(name):
            error = np.abs(array - original)
            # float16 is coarser below 2^-14, by half of its least number, 2^-24.
            assert error.max() > 0
            assert np.all(error <= np.maximum(rounding * np.abs(original), 2.0**-25))
        else:
            np.testing.assert_array_equal(array, original)


def test_eight_bits_are_rounded_to_the_nearest_of_255_steps_of_each_unit(tmp_path):
    kept = field()
    kept.network.layers[1].linear.kernel[:, 3] = 0.0  # a unit without inputs
    kept.save(tmp_path / "a.siren", precision="int8")
    for name, array in weights(load(tmp_path / "a.siren").network).items():
        original = weights(kept.network)[name]
        if siren_file._has_precision(name):
            error, largest = np.abs(array - original).max(axis=0), np.abs(original).max(axis=0)
            # Half a step, a 127th of the unit's largest weight, and the rounding of the step and of the product.
            assert error.max() > 0
            assert np.all(error <= largest / 254 * (1 + 1e-4))
        else:
            np.testing.assert_array_equal(array, original)


@pytest.mark.parametrize(("precision", "share"), [("float16", 0.5), ("bfloat16", 0.5), ("int8", 0.25)])
def test_a_lower_precision_is_a_smaller_file(precision, share, tmp_path):
    for name in ("float32", precision):
        field(width=128).save(tmp_path / name, precision=name)
    sizes = {name: (tmp_path / name).stat().st_size for name in ("float32", precision)}
    # Biases, the first layer, scales and the header stay: 6 of every 128 numbers and 2 kB of 135 kB.
    assert share < sizes[precision] / sizes["float32"] < share + 0.06


@PRECISIONS
def test_what_is_read_is_written_again_to_the_bit(precision, tmp_path):
    field().save(tmp_path / "a.siren", precision=precision)
    load(tmp_path / "a.siren").save(tmp_path / "b.siren", precision=precision)
    assert (tmp_path / "a.siren").read_bytes() == (tmp_path / "b.siren").read_bytes()


def test_a_float64_network_keeps_its_bits_in_a_file_and_is_rounded_to_the_nearest_float32(tmp_path):
    double = field()
    state = nnx.state(double.network)
    with jax.enable_x64(True):  # digits beyond float32
        nnx.update(double.network, jax.tree.map(lambda leaf: leaf.astype(jnp.float64) + 1e-12, state))
    double.save(tmp_path / "a.siren")
    double.save(tmp_path / "b.siren", precision="float32")
    wide, narrow = (weights(load(tmp_path / f"{name}.siren").network) for name in "ab")
    for name, array in weights(double.network).items():
        assert (wide[name].dtype, narrow[name].dtype) == (np.float64, np.float32)
        np.testing.assert_array_equal(wide[name], array)
        np.testing.assert_array_equal(narrow[name], array.astype(np.float32))
        assert np.any(wide[name] != narrow[name])
    assert strict(tmp_path / "a.siren")["precision"] == "float64"


def test_float64_weights_beyond_float32_are_refused_in_lower_precisions(tmp_path):
    double = NeuralField(cast(field().network, np.float64), Frame((6, 10)))
    with jax.enable_x64(True):
        double.network.output.kernel[0, 0] = 1e39
    double.save(tmp_path / "a.siren")
    assert weights(load(tmp_path / "a.siren").network)["output.kernel"][0, 0] == 1e39
    for precision in ("float32", "float16", "bfloat16", "int8"):
        with pytest.raises(InputError, match=r"output\.kernel contains 1e\+39, but float32 ends at 3\.40282e\+38"):
            double.save(tmp_path / "b.siren", precision=precision)


def test_weights_beyond_a_precision_are_refused_in_it(tmp_path):
    kept = field()
    kept.network.output.kernel[0, 0] = 1e5
    with pytest.raises(InputError, match=r"output\.kernel contains 100000, but float16 ends at 65504; choose float32"):
        kept.save(tmp_path / "a.siren", precision="float16")
    kept.network.output.kernel[0, 0] = jnp.nan
    for precision in siren_file.PRECISIONS:
        with pytest.raises(InputError, match=r"output\.kernel contains values that are not finite"):
            kept.save(tmp_path / "a.siren", precision=precision)
    assert not os.listdir(tmp_path)


def test_what_could_not_be_read_is_not_written(tmp_path):
    kept, path = field(), tmp_path / "a.siren"
    with pytest.raises(InputError, match="one of float32, float16, bfloat16, int8, float64, but is 'int4'"):
        kept.save(path, precision="int4")
    with pytest.raises(InputError, match=r"first_omega = 10000000000"):
        field(first_omega=1e10).save(path)
    with pytest.raises(InputError, match="is too long"):
        NeuralField(kept.network, kept.frame, record={"note": "a" * 2**20}).save(path)
    with pytest.raises(InputError, match="nested more than 32"):
        NeuralField(
            kept.network, kept.frame, record=functools.reduce(lambda inner, _: {"": inner}, range(32), {})
        ).save(path)
    with pytest.raises(InputError, match=r"record\['a'\]\[1\] is of the type set, which JSON cannot contain"):
        NeuralField(kept.network, kept.frame, record={"a": [0, {1}]}).save(path)
    assert not os.listdir(tmp_path)


def strict(path: Path) -> dict:
    """The header, as a reader takes it that allows JSON alone."""

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["siren"], parse_constant=refuse)


def test_a_header_is_json_whatever_the_record_holds(tmp_path):
    record = {
        "psnr": math.inf,
        "contrast": np.float32("nan"),
        "chamfer": [-math.inf, {"deep": math.nan}],
        "rate": np.float32(0.5),
        "steps": np.int64(7),
        "weights": np.array([1.0, 2.0]),
        "done": np.bool_(True),
        "name": "half \ud800 a pair",
    }
    NeuralField(field().network, Frame((6, 10)), record=record).save(tmp_path / "a.siren")
    expected = {
        "psnr": None,
        "contrast": None,
        "chamfer": [None, {"deep": None}],
        "rate": 0.5,
        "steps": 7,
        "weights": [1.0, 2.0],
        "done": True,
        "name": "half \\ud800 a pair",
    }
    assert strict(tmp_path / "a.siren")["record"] == expected
    assert load(tmp_path / "a.siren").record == expected


def test_numbers_that_are_no_json_are_read_as_none(tmp_path):
    """Earlier versions wrote them."""
    NeuralField(field().network, Frame((6, 10)), record={"psnr": 0.25}).save(tmp_path / "a.siren")
    data = (tmp_path / "a.siren").read_bytes()
    (tmp_path / "a.siren").write_bytes(data.replace(b"0.25", b" NaN"))
    assert load(tmp_path / "a.siren").record == {"psnr": None}


def test_the_file_is_synced_before_it_takes_its_name_and_the_directory_after(tmp_path, monkeypatch):
    path, done, synced = tmp_path / "a.siren", [], os.fsync

    def fsync(descriptor):
        done.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))
        synced(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    field().save(path)
    assert done == [(False, False), (True, True)]


def survives(path: Path, data: bytes) -> bool:
    """Whether the data are read as a network or refused with an InputError: anything else is raised."""
    path.write_bytes(data)
    try:
        network = load(path).network
    except InputError:
        return False
    assert all(np.isfinite(array).all() for array in weights(network).values())
    return True


@pytest.mark.parametrize("name", [*siren_file.PRECISIONS, "periodic", "graded", "windows", "latent_scaled"])
def test_a_file_that_is_cut_at_any_byte_is_refused(name, tmp_path):
    data = (DATA / f"version_2_{name}.siren").read_bytes()
    assert survives(tmp_path / "a.siren", data)
    assert not any(survives(tmp_path / "a.siren", data[:length]) for length in range(len(data)))
    assert not survives(tmp_path / "a.siren", data + b"\0")


@pytest.mark.parametrize("name", FLIPPED)
def test_no_flipped_bit_is_more_than_another_network_or_a_refusal(name, tmp_path):
    data = (DATA / f"{name}.siren").read_bytes()
    for place in range(0, len(data), 3):
        survives(tmp_path / "a.siren", data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])


@pytest.mark.parametrize("scale", [3e38, np.inf, np.nan])
def test_scales_that_give_no_finite_weights_are_damage(scale, tmp_path):
    data = bytearray((DATA / "version_2_int8.siren").read_bytes())
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    first, last = next(entry["data_offsets"] for name, entry in header.items() if name.endswith(".scale"))
    data[8 + length + first : 8 + length + last] = np.full((last - first) // 4, scale, np.float32).tobytes()
    (tmp_path / "a.siren").write_bytes(data)
    with pytest.raises(InputError, match=r"is damaged: .* contains values that are not finite"):
        load(tmp_path / "a.siren")


@given(st.binary(max_size=200), st.booleans())
def test_random_bytes_are_refused(tmp_path_factory, data, with_length):
    data = len(data).to_bytes(8, "little") + data if with_length else data
    assert not survives(tmp_path_factory.getbasetemp() / "random.siren", data)


def test_a_long_header_is_refused_before_it_is_read(tmp_path):
    (tmp_path / "a.siren").write_bytes((2**20 + 1).to_bytes(8, "little") + b"{}")
    with pytest.raises(InputError, match="header has 1,048,577 bytes of 1,048,576"):
        load(tmp_path / "a.siren")


def test_more_weights_than_are_accepted_are_refused(tmp_path, monkeypatch):
    field().save(tmp_path / "a.siren")
    monkeypatch.setattr(siren_file, "MAX_WEIGHTS", 1000)
    for act in (load, field().save):
        with pytest.raises(InputError, match="has 8,707 weights; up to 1,000"):
            act(tmp_path / "a.siren")
