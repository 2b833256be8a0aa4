"""A neural field renders the same function at any resolution, and its file gives it back whole or is refused."""

import functools
import json
import math
import os
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from siren_jax import SIREN, Frame, InputError, NeuralField, ReLUMLP, laplacian, load, neural_field
from siren_jax.fields import Grid
from siren_jax.shapes import Placement


def make(network=SIREN, shape=(6, 10), c=1, value_range=(0.0, 255.0)) -> NeuralField:
    return NeuralField(
        network(2, c, width=16, depth=1, rngs=nnx.Rngs(0)), Frame(shape), value_range, record={"seed": 0}
    )


def test_rendering_the_own_grid_evaluates_the_network_at_the_pixels():
    field = make(c=3)
    rows, columns = np.indices((6, 10))
    points = field.frame.coordinates(np.stack([rows, columns], -1))
    expected = (field.network(jnp.asarray(points)) + 1) * 127.5
    np.testing.assert_allclose(field.render(), expected, atol=2e-4)  # float32 at values near 255: 3e-5, and sine's 2e-7
    np.testing.assert_allclose(field(points), expected, atol=2e-4)


def test_a_region_is_the_same_part_of_the_whole():
    field = make()
    whole = field.render((24, 40))
    part = field.render((8, 12), region=((1.0, 3.0), (2.0, 5.0)))
    np.testing.assert_allclose(part, whole[4:12, 8:20], atol=2e-3)  # coordinates differ by rounding, slopes reach 30


def test_the_default_resolution_of_a_region_is_the_original_s():
    assert make().render(region=((1.0, 3.0), (2.0, 5.0))).shape == (2, 3, 1)


def test_blocks_change_nothing(monkeypatch):
    field = make()
    whole = field.render((9, 11), of="gradient")
    monkeypatch.setattr(neural_field, "BLOCK", 7)
    np.testing.assert_allclose(field.render((9, 11), of="gradient"), whole, rtol=1e-5, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("network", [SIREN, ReLUMLP])
def test_rendered_derivatives_are_those_of_the_rendered_function(network):
    field = make(network, c=2)
    rows, columns = np.indices((6, 10))
    points = jnp.asarray(field.frame.coordinates(np.stack([rows, columns], -1))).reshape(-1, 2)
    jacobian = jax.vmap(jax.jacfwd(field))(points).reshape(6, 10, 2, 2)
    curvature = jax.vmap(laplacian(lambda x: field(x)))(points).reshape(6, 10, 2)
    # float32 second derivatives of a network with omega 30: a thousandth of the largest.
    np.testing.assert_allclose(field.render(of="gradient"), jacobian, atol=1e-4 * np.abs(jacobian).max())
    np.testing.assert_allclose(field.render(of="laplacian"), curvature, atol=1e-3 * np.abs(curvature).max() + 1e-12)
    np.testing.assert_allclose(field.gradient(points).reshape(jacobian.shape), jacobian, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(
        field.laplacian(points[0]), curvature[0, 0], rtol=1e-2, atol=1e-3 * np.abs(curvature).max()
    )


def test_a_neural_field_can_be_jitted_and_differentiated(tmp_path):
    field = make()
    x = jnp.array([0.1, -0.2])
    np.testing.assert_allclose(jax.jit(field)(x), field(x), rtol=1e-5)
    np.testing.assert_allclose(jax.jacfwd(field)(x), field.gradient(x), rtol=1e-4)


def test_rendering_refuses_an_array_that_it_cannot_write_through():
    for out in (np.empty((5, 8, 1), np.float32)[:, :4], np.empty((5, 3, 1), np.float32)):
        with pytest.raises(InputError, match="contiguous array of the shape"):
            make().render((5, 4), out=out)


def test_rendering_writes_into_a_given_array(tmp_path):
    field = make()
    out = np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=np.float32, shape=(5, 4, 1))
    field.render((5, 4), out=out)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), field.render((5, 4)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"of": "curl"}, "cannot be rendered"),
        ({"shape": (0, 3)}, "at least one sample"),
        ({"shape": (3,)}, "2 axes"),
        ({"region": ((2.0, 2.0), (0.0, 3.0))}, "start before a stop"),
        ({"region": ((0.0, float("nan")), (0.0, 3.0))}, "start before a stop"),
    ],
)
def test_rendering_refuses_what_has_no_samples(arguments, message):
    with pytest.raises(InputError, match=message):
        make().render(**arguments)


@pytest.mark.parametrize("network", [SIREN, ReLUMLP])
def test_a_file_gives_back_the_same_bits(network, tmp_path):
    field = make(network, c=3)
    field.save(tmp_path / "a.siren")
    again = load(tmp_path / "a.siren")
    assert (again.frame, again.value_range, again.kind, again.record) == (
        field.frame,
        (0.0, 255.0),
        "image",
        {"seed": 0},
    )
    np.testing.assert_array_equal(again.render(), field.render())
    assert os.listdir(tmp_path) == ["a.siren"]


def test_a_network_without_biases_is_kept(tmp_path):
    network = SIREN(2, 1, width=4, depth=1, use_bias=False, omega=20.0, first_omega=7.0, rngs=nnx.Rngs(0))
    NeuralField(network, Frame((3, 3))).save(tmp_path / "a.siren")
    again = load(tmp_path / "a.siren").network
    assert (again.use_bias, again.omega, again.first_omega) == (False, 20.0, 7.0)
    np.testing.assert_array_equal(again(jnp.ones(2)), network(jnp.ones(2)))


def test_a_network_that_would_be_read_as_another_one_is_not_written(tmp_path):
    class Other(ReLUMLP):
        def __call__(self, x):
            return -super().__call__(x)

    with pytest.raises(InputError, match="a SIREN or a ReLUMLP, but this network is of the type Other"):
        make(Other).save(tmp_path / "a.siren")
    assert not os.listdir(tmp_path)


def test_a_file_is_never_replaced_unasked_and_never_left_half_written(tmp_path, monkeypatch):
    path = tmp_path / "a.siren"
    make().save(path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists"):
        make(ReLUMLP).save(path)

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="No space left"):
        make(ReLUMLP).save(path, overwrite=True)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.siren"]


def rewritten(path, change):
    """The file with its header changed by a function."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(json.loads(file.read(length))["__metadata__"]["siren"])
    save_file(load_file(path), path, metadata={"siren": json.dumps(change(header))})


def changed(*keys, to):
    def change(header):
        inner = header
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = to
        return header

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed("network", "width", to=10**9), "has width = "),
        (changed("network", "width", to=65536), "contradicts itself"),
        (changed("network", "width", to=True), "has width = "),
        (changed("network", "depth", to=2), "contradicts itself"),
        (changed("network", "depth", to=-1), "has depth = "),
        (changed("network", "in_features", to=3), "contradicts itself"),
        (changed("network", "omega", to="30"), "has omega = "),
        (changed("network", "omega", to=float("nan")), "has omega = "),
        (changed("network", "omega", to=0), "has omega = "),
        (changed("network", "omega", to=10**400), "has omega = "),
        (changed("network", "first_omega", to=True), "has first_omega = "),
        (changed("network", "use_bias", to=1), "has use_bias = "),
        (changed("network", "outermost", to="relu"), "has outermost = "),
        (changed("network", "outermost", to=["tanh"]), "has outermost = "),
        (changed("network", "type", to="transformer"), "transformer"),
        (changed("network", "type", to=["siren"]), "has a network of the type"),
        (changed("network", "surprise", to=1), "does not describe a network"),
        (changed("network", to={}), "has a network of the type"),
        (changed("format", to=99), "version 99"),
        (changed("format", to=True), "version True"),
        (changed("format", to=1), "does not describe a network"),  # whose networks have no outermost
        (changed("precision", to="float16"), "layers.1.linear.kernel is .'F16'.*has .'F32'"),
        (changed("precision", to="int8"), "layers.1.linear.kernel is .'I8'"),
        (changed("precision", to="float8"), "names the precision 'float8'"),
        (changed("precision", to=None), "names the precision None"),
        (changed("record", "deep", to=functools.reduce(lambda inner, _: [inner], range(40), 0)), "nested more than 32"),
        (changed("frame", to={"shape": [6]}), "frame"),
        (changed("frame", to={"shape": [6, -1]}), "frame"),
        (changed("frame", to={"shape": 6}), "frame"),
        (changed("value_range", to=[1, 1]), "value range"),
        (changed("value_range", to=["a", "b"]), "value range"),
        (changed("value_range", to=["0", "1"]), "value range"),
        (changed("value_range", to=[0, 10**400]), "value range"),
        (changed("value_range", to=[-1e308, 1.7e308]), "value range"),
        (changed("kind", to=7), "kind"),
        (changed("rate", to=10**400), "rate"),
        (changed("network", to=[["type", "siren"], [1, 2]]), "not JSON with the fields"),
        (changed("record", "name", to="\ud800"), "not JSON with the fields"),
        (lambda header: [], "not JSON with the fields"),
    ],
)
def test_a_header_that_lies_is_refused_with_its_lie(change, message, tmp_path):
    path = tmp_path / "a.siren"
    make().save(path)
    rewritten(path, change)
    with pytest.raises(InputError, match=message):
        load(path)


@pytest.mark.parametrize(
    "change",
    [
        changed("placement", to=None),
        changed("placement", to={"centre": [0, 0, 0]}),
        changed("placement", "scale", to=-4.0),
        changed("placement", "scale", to=True),
        changed("placement", "scale", to=float("inf")),
        changed("placement", "scale", to=1.0),  # other than the values have
        changed("placement", "centre", to=[0, 0]),
        changed("placement", "centre", to=[0, 0, 1e300]),
        changed("placement", "centre", to=[0, 0, float("nan")]),
        changed("placement", "centre", to=[0, 0, 10**400]),
        changed("placement", "centre", to="abc"),
        changed("kind", to="video"),
        changed("kind", to="volume"),
        lambda header: {name: value for name, value in header.items() if name != "placement"},
    ],
)
def test_a_placement_that_lies_is_refused(change, tmp_path):
    path = tmp_path / "a.siren"
    network = SIREN(3, 1, width=4, depth=0, rngs=nnx.Rngs(0))
    placement = Placement((1.0, 2.0, 3.0), 4.0)
    NeuralField(network, Frame((8,) * 3), (-4.0, 4.0), "shape", placement=placement).save(path)
    assert load(path).placement == placement
    rewritten(path, change)
    with pytest.raises(InputError, match="placement"):
        load(path)


def solution():
    network = SIREN(2, 1, width=8, depth=0, rngs=nnx.Rngs(0))
    return NeuralField(network, Grid((4, 8), (0.0, -3.0), (1.0, 5.0)), kind="solution")


def test_a_solution_is_sampled_in_the_coordinates_of_its_equation(tmp_path):
    field = solution()
    rendered = field.render((2, 4))
    points = np.array([[[t, x] for x in (-2, 0, 2, 4)] for t in (0.25, 0.75)], np.float32)
    assert np.allclose(rendered, field(points), atol=1e-6)  # float32
    field.save(tmp_path / "u.siren")
    again = load(tmp_path / "u.siren")
    assert again.frame == field.frame
    assert np.array_equal(again.render((2, 4)), rendered)


@pytest.mark.parametrize(
    "change",
    [
        changed("frame", "low", to=[0.0]),
        changed("frame", "low", to=[2.0, -3.0]),
        changed("frame", "high", to=[1.0, "x"]),
        changed("frame", "high", to=[1.0, 1e300]),
        changed("frame", "high", to=None),
        changed("kind", to="image"),
        changed("frame", to={"shape": [4, 8]}),
    ],
)
def test_a_box_that_lies_is_refused(change, tmp_path):
    solution().save(tmp_path / "u.siren")
    rewritten(tmp_path / "u.siren", change)
    with pytest.raises(InputError, match=r"the header of .* (box|axes)"):
        load(tmp_path / "u.siren")


# Made, saved and loaded by one rule


def parts(kind, **change):
    """What a neural field of a kind is made of, and what is changed of it."""
    d = {"sound": 1, "image": 2, "video": 3, "shape": 3, "solution": 2}[kind]
    of_kind = {
        "sound": {"rate": 8000},
        "video": {"rate": 25.0},
        "shape": {"placement": Placement((0.0, 1.0, 2.0), 4.0), "value_range": (-4.0, 4.0)},
        "solution": {"frame": Grid((4, 8), (0.0, -3.0), (1.0, 5.0))},
    }.get(kind, {})
    network = SIREN(d, 1, width=4, depth=0, rngs=nnx.Rngs(0))
    return {"network": network, "frame": Frame((8,) * d), "kind": kind, **of_kind, **change}


CONTRADICTIONS = [
    ("sound", {"rate": None}, "a whole number of samples a second, but its rate is None"),
    ("sound", {"rate": 8000.5}, "a whole number of samples a second, but its rate is 8000.5"),
    ("sound", {"rate": 0}, "its rate is 0"),
    ("video", {"rate": None}, "frames a second, but its rate is None"),
    ("video", {"rate": math.inf}, "its rate is inf"),
    ("image", {"rate": 8000}, "needs no rate, but its rate is 8000"),
    ("image", {"value_range": (1.0, 0.0)}, r"low < high, both finite, but has \[1.0, 0.0\]"),
    ("image", {"value_range": (0.0, math.nan)}, "low < high, both finite"),
    ("image", {"value_range": (0.0, 1.0, 2.0)}, "low < high, both finite"),
    ("image", {"value_range": (-1e308, 1.7e308)}, "low < high, both finite"),
    ("image", {"frame": Frame((8, 8, 8))}, "of the kind 'image' with 2 axes, but its frame has 3"),
    ("image", {"frame": Frame((8, 0))}, "1 to 2,147,483,648 along each axis"),
    ("image", {"frame": Grid((4, 8), (0.0, 0.0), (1.0, 1.0))}, "only a solution of an equation has a box"),
    ("image", {"placement": Placement((0.0, 0.0, 0.0), 1.0)}, "only a shape has a placement"),
    ("image", {"network": SIREN(3, 1, width=4, depth=0, rngs=nnx.Rngs(0))}, "2 axes, but a network of 3 coordinates"),
    ("volume", {"frame": Frame((8, 8))}, "of the kind 'volume' with 3 axes, but its frame has 2"),
    ("shape", {"placement": None}, "needs a placement"),
    ("shape", {"value_range": (-1.0, 1.0)}, r"the value range \(-4, 4\) of its placement"),
    ("shape", {"network": SIREN(3, 2, width=4, depth=0, rngs=nnx.Rngs(0))}, "needs one channel"),
    ("solution", {"frame": Frame((4, 8))}, "needs the box of its domain"),
    ("solution", {"frame": Grid((4, 8), (0.0, 3.0), (1.0, 3.0))}, "low < high on 2 axes"),
]


@pytest.mark.parametrize(("kind", "change", "message"), CONTRADICTIONS)
def test_a_field_that_could_not_be_read_again_is_not_made(kind, change, message):
    changed = parts("video" if kind == "volume" else kind) | {"kind": kind} | change
    if kind == "volume":
        changed["rate"] = None
    with pytest.raises(InputError, match=message):
        NeuralField(**changed)


@pytest.mark.parametrize("kind", ["sound", "image", "video", "shape", "solution"])
def test_a_field_that_is_made_can_be_saved_and_loaded(kind, tmp_path):
    field = NeuralField(**parts(kind))
    field.save(tmp_path / "a.siren")
    again = load(tmp_path / "a.siren")
    for name in ("frame", "value_range", "kind", "rate", "placement"):
        assert getattr(again, name) == getattr(field, name)


def test_numbers_of_numpy_are_those_of_python(tmp_path):
    ends = np.float32(-0.5), np.float64(0.5)
    field = NeuralField(**parts("sound", rate=np.int64(8000), value_range=ends))
    field.save(tmp_path / "a.siren")
    assert load(tmp_path / "a.siren").value_range == (-0.5, 0.5) == field.value_range


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100, struct.pack("<Q", 2**62) + b"{}"])
def test_a_foreign_file_is_refused(content, tmp_path):
    path = tmp_path / "a.siren"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"not a \.siren file"):
        load(path)


def test_a_truncated_file_is_refused_at_every_length(tmp_path):
    path = tmp_path / "a.siren"
    make().save(path)
    data = path.read_bytes()
    for length in range(0, len(data), 97):
        path.write_bytes(data[:length])
        with pytest.raises(InputError):
            load(path)


def test_other_safetensors_and_weights_that_are_not_finite_are_refused(tmp_path):
    path = tmp_path / "a.siren"
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(InputError, match="no header named 'siren'"):
        load(path)
    path.unlink()
    make().save(path)
    with safe_open(path, framework="numpy") as file:
        arrays, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    save_file({**arrays, "output.bias": np.full(1, np.nan, np.float32)}, path, metadata=metadata)
    with pytest.raises(InputError, match="not finite"):
        load(path)


def test_a_missing_file_and_a_directory_are_refused(tmp_path):
    for path, message in ((tmp_path / "none.siren", "there is no file"), (tmp_path, "is a folder")):
        with pytest.raises(InputError, match=message):
            load(path)
