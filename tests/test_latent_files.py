"""Files of spaces are read for ever, by any reader, or refused in words; the signals in them are ordinary SIRENs.

`tests/data/make_sets.py` says how the golden files were made.
"""

import hashlib
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_hand import siren_of_code
from flax import nnx
from safetensors import safe_open
from safetensors.numpy import load as arrays_in
from safetensors.numpy import save

from fuzz.targets import TARGETS
from siren_jax import SIREN, Base, InputError, LatentSIREN, Signals, load, load_base, load_set
from siren_jax.cli import main
from siren_jax.fields import operators
from siren_jax.files import set_file, siren_file

DATA = Path(__file__).parent / "data"
GOLDEN = {"version_2_latent": "49ddbef45686b368", "version_2_latent_scaled": "2901c927ca68556f"}
CODES = DATA / "set_1_codes.sirens"
POINTS = np.random.default_rng(0).uniform(-1, 1, (20, 2)).astype(np.float32)
NAMES = pytest.mark.parametrize("name", GOLDEN)
SCALED = pytest.mark.parametrize("scaled", [False, True], ids=["shifts", "scales"])


def values(arrays, points, value_range):
    """Values of a golden SIREN of two sine layers with the omegas 5 and 30, in float64."""
    h = np.sin(5 * (points @ arrays["layers.0.linear.kernel"] + arrays["layers.0.linear.bias"]))
    h = np.sin(30 * (h @ arrays["layers.1.linear.kernel"] + arrays["layers.1.linear.bias"]))
    low, high = value_range
    return low + (h @ arrays["output.kernel"] + arrays["output.bias"] + 1) * (high - low) / 2


def made(scaled=True, **settings) -> Base:
    """A base whose signals depend on the code in a nonlinear way."""
    sizes = dict(latent=3, width=8, depth=1, first_omega=5.0, omega=3.0) | settings
    network = LatentSIREN(2, 2, scaled=scaled, **sizes, rngs=nnx.Rngs(0))
    for i, array in enumerate([*network.shifts, *(network.scales if scaled else ())]):
        array[...] = jax.random.normal(jax.random.key(i), array.shape) / 5
    network.code[...] = jnp.linspace(-1, 1, network.latent)
    return Base(network, (4, 5), (-10.0, 30.0), "image", None, 0.01, {"psnr": 30.0, "held_out": 2})


@NAMES
def test_a_golden_base_is_what_was_written(name):
    base = load_base(DATA / f"{name}.siren")
    assert (base.kind, base.shape, base.value_range, base.rate, base.latent) == ("image", (8, 8), (0.0, 1.0), None, 3)
    assert base.network.scaled == ("scaled" in name)
    assert base.noise == pytest.approx({False: 0.09537631273269653, True: 0.08640589565038681}[base.network.scaled])
    assert (base.figures["signals"], base.figures["held_out"]) == (54, 6)
    np.testing.assert_array_equal(base.network.code, [1.0, -1.5, 0.5])


def fingerprint(path: Path) -> str:
    """The fingerprint of a base, from the arrays in its file."""
    with safe_open(path, framework="numpy") as file:
        arrays = {name: file.get_tensor(name).astype("<f4") for name in file.keys()}  # noqa: SIM118
    names = sorted(name for name in arrays if name != "code" and not name.endswith(".scale"))
    parts = (arrays[name] * arrays.get(f"{name}.scale", np.float32(1)) for name in names)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16]


@NAMES
def test_the_fingerprint_is_that_of_the_specification(name):
    path = DATA / f"{name}.siren"
    assert load_base(path).fingerprint == fingerprint(path) == GOLDEN[name]


@NAMES
def test_a_field_of_a_golden_base_is_the_function_of_the_specification(name):
    base, arrays = load_base(DATA / f"{name}.siren"), arrays_in((DATA / f"{name}.siren").read_bytes())
    for code in (np.zeros(3), np.array([2.0, -1.0, 1.0]), arrays["code"]):
        expected = values(siren_of_code({**arrays, "code": code}, layers=2), POINTS, (0.0, 1.0))
        # float32 against float64 after two sines with omegas of 5 and 30: 1e-5 of the range.
        np.testing.assert_allclose(base.field(code)(POINTS), expected, atol=1e-5)
    np.testing.assert_allclose(load(DATA / f"{name}.siren")(POINTS), expected, atol=1e-5)  # its own code


def test_a_golden_set_has_the_codes_of_its_base():
    base, fields = load_base(DATA / "version_2_latent_scaled.siren"), load_set(CODES)
    codes = base.codes(fields)
    np.testing.assert_array_equal(codes, json.loads((DATA / "set_1_codes.json").read_text())["parameters"]["code"])
    for code, field in zip(codes, fields, strict=True):
        assert type(field.network) is SIREN
        np.testing.assert_array_equal(base.field(code)(POINTS), field(POINTS))
    assert fields.header["record"]["base"] == GOLDEN["version_2_latent_scaled"]
    with pytest.raises(InputError, match="another one, '2901c927ca68556f'"):
        load_base(DATA / "version_2_latent.siren").codes(fields)


@pytest.mark.parametrize("precision", siren_file.OF_SETS)
@SCALED
def test_codes_scales_and_shifts_are_exact_in_every_precision(precision, scaled, tmp_path):
    base = made(scaled)
    base.save(tmp_path / "a.siren")
    network, header = siren_file.read(tmp_path / "a.siren")
    described = {name: header[name] for name in ("kind", "frame", "value_range", "record")}
    (tmp_path / "b.siren").write_bytes(siren_file.encoded(network, described, precision=precision))
    read = load_base(tmp_path / "b.siren")
    before, after = (set_file.parameters_of(nnx.state(each.network, nnx.Param)) for each in (base, read))
    for name in before:
        # The first kernel, biases and the arrays of the space; other kernels are rounded, 1/254 of the largest at most.
        rounded = precision != "float32" and name in ("layers.1.linear.kernel", "output.kernel")
        largest = np.abs(before[name]).max() if rounded else 0.0
        np.testing.assert_allclose(after[name], before[name], rtol=0, atol=largest / 250)
    assert read.fingerprint == fingerprint(tmp_path / "b.siren")
    assert (read.fingerprint == base.fingerprint) == (precision == "float32")


def test_a_base_is_not_kept_in_float64(tmp_path):
    with pytest.raises(InputError, match="the network is a space of signals in float64; such a network is kept in"):
        siren_file.encoded(made(True).network, {}, precision="float64")


def changed(data: bytes, change=lambda header: None, arrays=lambda arrays: None) -> bytes:
    """A file after a change of its JSON header and of its arrays."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["siren"])
    found = {name: array.copy() for name, array in arrays_in(data).items()}
    change(header)
    arrays(found)
    return save(found, metadata={"siren": json.dumps(header)})


def in_network(**fields):
    return lambda header: header["network"].update(fields)


def in_base(**fields):
    return lambda header: header["record"]["base"].update(fields)


def in_header(**fields):
    return lambda header: header.update(fields)


def file_of(path: Path, *change) -> Path:
    path.write_bytes(changed((DATA / "version_2_latent_scaled.siren").read_bytes(), *change))
    return path


def nothing(_):
    """No change."""


BOX = {"shape": [8, 8], "low": [0, 0], "high": [1, 1]}
CUBE = {"kind": "shape", "value_range": [-1, 1], "placement": {"centre": [0, 0, 0], "scale": 1}}
WHOLE = "whole numbers 1 to 65536 are accepted"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (in_header(precision="float64"), "is a space of signals in float64"),
        (in_network(latent=0), f"latent = 0; {WHOLE}"),
        (in_network(latent=-3), f"latent = -3; {WHOLE}"),
        (in_network(latent=65537), f"latent = 65537; {WHOLE}"),
        (in_network(latent=2**70), WHOLE),
        (in_network(latent=3.0), rf"latent = 3\.0; {WHOLE}"),
        (in_network(latent=True), f"latent = True; {WHOLE}"),
        (in_network(latent="3"), f"latent = '3'; {WHOLE}"),
        (in_network(latent=None), f"latent = None; {WHOLE}"),
        (
            in_network(latent=4),
            r"according to its header code is \('F32', \(4,\)\), but the file has \('F32', \(3,\)\)",
        ),
        (in_network(latent=65536, width=65536, depth=30), r"code is \('F32', \(65536,\)\), but the file has"),
        (in_network(scaled=1), "scaled = 1; true and false are accepted"),
        (in_network(scaled=None), "scaled = None; true and false are accepted"),
        (in_network(scaled=False), r"scales\.0 is absent, but the file has"),
        (in_network(use_bias=True), "does not describe a network"),
        (in_network(outermost="linear"), "does not describe a network"),
        (in_network(type="siren"), "does not describe a network"),
        (in_network(type="Latent"), "type 'Latent'; the known types are siren, relu, latent"),
        (in_network(type=["latent"]), r"type \['latent'\]; the known types are"),
        (in_header(format=1), "type 'latent'; the known types are siren, relu"),
        (in_header(precision="float16"), r"layers\.1\.linear\.kernel is \('F16', \(4, 4\)\), but the file has"),
        (in_header(record=[]), r"needs a record that names its values, but has \[\]"),
        (in_header(record=None), "needs a record that names its values, but has None"),
        (in_header(record="base"), "needs a record that names its values, but has 'base'"),
        (in_header(kind="solution"), "is a solution and needs the box of its domain"),
        (in_header(kind="sound", rate=8000), "is of the kind 'sound' with 1 axes, but its frame has 2"),
    ],
)
def test_a_base_that_contradicts_itself_is_refused(change, words, tmp_path):
    path = file_of(tmp_path / "a.siren", change)
    for read in (load, load_base):
        with pytest.raises(InputError, match=words):
            read(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (in_base(noise=None), r"needs base\.noise, a number above 0, but has None"),
        (in_base(noise=0), r"needs base\.noise, a number above 0, but has 0"),
        (in_base(noise=-0.01), "above 0, but has -0.01"),
        (in_base(noise=float("nan")), "above 0, but has None"),
        (in_base(noise=float("inf")), "above 0, but has None"),
        (in_base(noise=10**400), "above 0, but has 1000"),
        (in_base(noise="0.01"), "above 0, but has '0.01'"),
        (in_base(noise=True), "above 0, but has True"),
        (in_base(noise=[0.01]), r"above 0, but has \[0\.01\]"),
        (in_header(record={}), "above 0, but has None"),
        (in_header(record={"base": None}), "above 0, but has None"),
        (in_header(record={"base": "2901c927ca68556f"}), "above 0, but has None"),
        (lambda header: header.pop("record"), "above 0, but has None"),
        (in_header(kind="solution", frame=BOX), "of the kind 'solution', but a base is of one of image, sound, video"),
        (in_header(kind="volume"), "of the kind 'volume', but a base is of one of image, sound, video"),
    ],
)
def test_a_signal_without_a_space_is_no_base(change, words, tmp_path):
    path = file_of(tmp_path / "a.siren", change)
    assert load(path).network.width == 4
    with pytest.raises(InputError, match=words):
        load_base(path)


def test_a_base_has_no_shapes(tmp_path):
    made().save(tmp_path / "a.siren")
    network, header = siren_file.read(tmp_path / "a.siren")
    network = LatentSIREN(3, 1, latent=3, width=4, depth=1, rngs=nnx.Rngs(0))
    described = {"frame": {"shape": [8, 8, 8]}, "record": header["record"], **CUBE}
    (tmp_path / "b.siren").write_bytes(siren_file.encoded(network, described))
    assert load(tmp_path / "b.siren").kind == "shape"
    with pytest.raises(InputError, match="of the kind 'shape', but a base is of one of image, sound, video"):
        load_base(tmp_path / "b.siren")


@pytest.mark.parametrize("missing", ["shifts.1", "scales.0", "code", "output.bias"])
def test_a_base_without_an_array_is_refused(missing, tmp_path):
    path = file_of(tmp_path / "a.siren", nothing, lambda arrays: arrays.pop(missing))
    for read in (load, load_base):
        with pytest.raises(InputError, match=f"according to its header {missing} is .*, but the file has none"):
            read(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_array_that_is_not_finite_is_damage(value, tmp_path):
    for name in ("shifts.0", "scales.1", "code"):
        path = file_of(tmp_path / "a.siren", nothing, lambda arrays, name=name: arrays[name].fill(value))
        for read in (load, load_base):
            with pytest.raises(InputError, match=f"is damaged: {name} contains values that are not finite"):
                read(path)


def too_large(arrays):
    arrays["code"][-1] = 3e38
    arrays["shifts.0"] *= 1e3


def test_a_code_whose_siren_is_not_finite_is_refused(tmp_path):
    path = file_of(tmp_path / "a.siren", nothing, too_large)
    with pytest.raises(
        InputError, match=r"has a code or weights that are too large: layers\.0\.linear\.\w+ of its SIREN"
    ):
        load(path)
    base = load_base(path)  # its space is sound
    assert np.isfinite(base.field(np.zeros(3)).render()).all()
    with pytest.raises(InputError, match="this signal has a code or weights that are too large"):
        base.field(np.full(3, 3e38))


@pytest.mark.parametrize("psnr", [None, "30", [30], True, 10**400, {"dB": 30}])
def test_figures_in_a_file_may_be_anything(psnr, tmp_path):
    base = load_base(file_of(tmp_path / "a.siren", in_base(psnr=psnr, held_out="\x1b[31m")))
    assert repr(base) == "Base(pictures, 3 numbers, 4 x 1)"
    assert base.figures["psnr"] == psnr


def survives(path: Path, data: bytes) -> bool:
    """Whether the data are read as a base with finite signals or refused with an InputError; all else is raised."""
    path.write_bytes(data)
    try:
        base = load_base(path)
        field = base.field(np.ones(base.latent))
    except InputError:
        return False
    assert repr(base).startswith("Base(")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(nnx.state(field.network)))
    return True


def test_a_base_that_is_cut_at_any_byte_is_refused(tmp_path):
    data = (DATA / "version_2_latent_scaled.siren").read_bytes()
    assert survives(tmp_path / "a.siren", data)
    assert not any(survives(tmp_path / "a.siren", data[:length]) for length in range(len(data)))
    assert not survives(tmp_path / "a.siren", data + b"\0")


def test_no_flipped_bit_is_more_than_another_base_or_a_refusal(tmp_path):
    data = (DATA / "version_2_latent_scaled.siren").read_bytes()
    for place in range(0, len(data), 3):
        survives(tmp_path / "a.siren", data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])


def test_only_the_entry_with_a_code_that_is_too_large_is_refused(tmp_path):
    shard = set_file.read(str(CODES / "00000000.shard"))
    arrays = {**shard.stored(slice(None)), **shard._arrays(shard._is_shared, slice(None))}
    arrays = {name: array.copy() for name, array in arrays.items()}
    too_large(arrays)
    (tmp_path / "a").mkdir()
    set_file.Shard(shard.header, shard.texts, shard.columns, arrays=arrays).write(str(tmp_path / "a" / "0.shard"))
    fields = load_set(tmp_path / "a")
    with pytest.raises(InputError, match=r"the entry '1/日本\.png' has a code or weights that are too large"):
        fields[3]
    assert np.isfinite(fields[1].render()).all()
    assert main(["info", f"{tmp_path / 'a'}::1/日本.png"]) == 2
    assert main(["export", str(tmp_path / "a"), "--out", str(tmp_path / "a.npz")]) == 0


def test_codes_of_another_length_are_of_another_base(tmp_path):
    """Whatever fingerprint their set claims."""
    (tmp_path / "a").mkdir()
    longer = made(latent=4)
    longer.encode(Signals(np.zeros((2, 4, 5, 2), np.uint8)), out=tmp_path / "a")
    shard = set_file.read(str(tmp_path / "a" / "00000000.shard"))
    arrays = {**shard.stored(slice(None)), **shard._arrays(shard._is_shared, slice(None))}
    header = {**shard.header, "record": {"base": made().fingerprint}}
    (tmp_path / "b").mkdir()
    set_file.Shard(header, shard.texts, shard.columns, arrays=arrays).write(str(tmp_path / "b" / "0.shard"))
    with pytest.raises(InputError, match="the set has no codes of this base"):
        made().codes(load_set(tmp_path / "b"))


def test_bases_are_seeds_of_the_fuzzer():
    bases = list(TARGETS["base"].seeds())
    assert set(bases) <= set(TARGETS["siren"].seeds())
    assert len(bases) == 2 * len(siren_file.OF_SETS)


@SCALED
def test_derivatives_of_a_field_are_those_of_its_code_in_the_units_of_the_signal(scaled, float64):
    base = made(scaled)
    base = Base(float64(base.network), base.shape, base.value_range, "image", None, base.noise)
    code = np.array([0.5, -1.0, 1.5])  # is exact in float32
    field, points = base.field(code), jnp.asarray(POINTS, jnp.float64)

    def signal(x):
        low, high = base.value_range
        return low + (base.network.value(x, jnp.asarray(code)) + 1) * (high - low) / 2

    jacobian, hessian = jax.jacfwd(signal), jax.hessian(signal)
    laplacian = jax.vmap(lambda x: jnp.trace(hessian(x), axis1=1, axis2=2))(points)
    # float64 throughout, but different orders of the same sums: rounding only.
    close = lambda found, expected: np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-9)
    close(field(points), jax.vmap(signal)(points))
    close(field.gradient(points), jax.vmap(jacobian)(points))
    close(field.laplacian(points), laplacian)
    close(jax.vmap(operators.laplacian(field))(points), laplacian)
    close(jax.vmap(operators.jacobian(field))(points), jax.vmap(jacobian)(points))
    (trace,) = field.network.derivatives(points, ((1.0, 1.0),))[2]
    close(20 * trace, laplacian)


def test_an_entry_of_a_set_of_codes_is_converted_to_an_ordinary_file(tmp_path, capsys):
    assert main(["convert", f"{CODES}::1/日本.png", str(tmp_path / "a.siren")]) == 0
    assert "no difference" in capsys.readouterr().out
    entry, read = load_set(CODES)["1/日本.png"], load(tmp_path / "a.siren")
    assert siren_file.read(tmp_path / "a.siren")[1]["network"]["type"] == "siren"
    assert type(read.network) is SIREN
    for of in ("value", "gradient", "laplacian"):
        np.testing.assert_array_equal(read.render((5, 7), of=of), entry.render((5, 7), of=of))
    assert read.record == entry.record
    with pytest.raises(InputError, match="is a fitted signal; a base is made by"):
        load_base(tmp_path / "a.siren")


def test_a_base_is_converted_to_the_signal_of_its_code(tmp_path):
    assert main(["convert", str(DATA / "version_2_latent.siren"), str(tmp_path / "a.siren")]) == 0
    base = load_base(DATA / "version_2_latent.siren")
    np.testing.assert_array_equal(load(tmp_path / "a.siren").render(), base.field(np.array([1.0, -1.5, 0.5])).render())
    with pytest.raises(InputError, match="is a fitted signal"):
        load_base(tmp_path / "a.siren")
