"""Windows of units are kept by files, other coordinates and starts; what no network can have is refused."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save

import siren_jax
from siren_jax import (
    SIREN,
    Frame,
    Hypernetwork,
    InputError,
    NeuralField,
    Signals,
    SineLayer,
    fit_many,
    load,
    load_set,
    random_features,
    second_derivatives,
)
from siren_jax.cli import main
from siren_jax.fields.precision import cast
from siren_jax.files import pytorch, siren_file
from siren_jax.networks import changes
from siren_jax.networks.features import Block
from siren_jax.networks.windows import Beyond, Gaussian
from siren_jax.subjects.start import read_start, started

INF = math.inf
BLOCKS = [
    (4, None),
    (6, Gaussian((0.2, -0.4), (0.5, 0.3))),
    (3, Beyond(0, -0.1, 0.2, power=1, unit=0.1)),
    (4, Beyond(1, high=0.3, unit=0.25)),
]
SMALL = {"width": 17, "depth": 1, "first_omega": 5.0}
POINTS = np.random.default_rng(0).uniform(-1, 1, (60, 2))


def network(**settings):
    return SIREN(2, 1, rngs=nnx.Rngs(0), **(SMALL | {"windows": BLOCKS} | settings))


@pytest.mark.parametrize("precision", siren_file.PRECISIONS)
def test_a_file_of_every_precision_keeps_windows(precision, tmp_path):
    options = {"outermost": "tanh", "periodic": {0: 2.0}, "graded": {1: (0.3, 0.1)}, "first_omega": 7.0}
    field = NeuralField(network(**options), Frame((6, 10)), (0.0, 2.0))
    field.save(tmp_path / "a.siren", precision=precision)
    found = load(tmp_path / "a.siren")
    assert found.network.windows == found.network.layers[0].windows == field.network.windows == tuple(BLOCKS)
    with jax.enable_x64(precision == "float64"):
        x = jnp.asarray(POINTS, np.float64 if precision == "float64" else np.float32)
        rounded = {"float32": 0, "float64": 1e-5, "float16": 1e-2, "bfloat16": 0.1, "int8": 0.1}[precision]
        np.testing.assert_allclose(found.network(x), field.network(x), atol=rounded)
    found.save(tmp_path / "b.siren", precision=precision)
    assert (tmp_path / "a.siren").read_bytes() == (tmp_path / "b.siren").read_bytes()


def test_a_network_without_windows_is_written_without_the_entry():
    for windows in (None, [], [(17, None)], [(8, None), (9, None)]):
        plain = network(windows=windows)
        assert plain.windows == ()
        assert "windows" not in siren_file.architecture_of(plain)
    assert siren_file.architecture_of(network())["windows"] == [
        {"units": 4, "type": "everywhere"},
        {"units": 6, "type": "gaussian", "place": [0.2, -0.4], "width": [0.5, 0.3]},
        {"units": 3, "type": "beyond", "axis": 0, "low": -0.1, "high": 0.2, "power": 1, "unit": 0.1},
        {"units": 4, "type": "beyond", "axis": 1, "low": None, "high": 0.3, "power": 3, "unit": 0.25},
    ]


def test_numbers_of_any_type_are_those_of_a_file(tmp_path):
    blocks = [
        [np.int64(8), Gaussian(np.array([0, 1]), np.float32(0.5))],
        (9, Beyond(np.int64(1), low=np.float32(0.25), high=1, power=2, unit=2)),
    ]
    siren = network(windows=iter(blocks))
    assert siren.windows == ((8, Gaussian((0.0, 1.0), (0.5, 0.5))), (9, Beyond(1, 0.25, 1.0, 2, 2.0)))
    NeuralField(siren, Frame((6, 10))).save(tmp_path / "a.siren")
    assert load(tmp_path / "a.siren").network.windows == siren.windows


def gaussian(**changes):
    return [{"units": 17, "type": "gaussian", "place": [0.2, -0.4], "width": [0.5, 0.3]} | changes]


def beyond(**changes):
    return [{"units": 17, "type": "beyond", "axis": 0, "low": -0.1, "high": 0.2, "power": 1, "unit": 0.1} | changes]


def without(name, blocks):
    return [{field: value for field, value in block.items() if field != name} for block in blocks]


EVERYWHERE = {"units": 17, "type": "everywhere"}
UNSOUND = {  # windows in the header of a network of 2 coordinates and 17 units
    **{"null": None, "an object": {}, "a string": "ab", "a number": 0.7, "an empty list": [], "a list of null": [None]},
    **{"strings": ["ab"], "pairs": [[17, None]], "no window": [EVERYWHERE]},
    **{
        f"{name} units": gaussian(units=n)
        for name, n in {"too few": 16, "too many": 18, "no": 0, "huge": 10**400}.items()
    },
    **{f"units {n!r}": gaussian(units=n) for n in (-17, True, "17", 17.5, None, [17], math.nan)},
    **{"units in sum": [*gaussian(), EVERYWHERE], "many": [{**gaussian()[0], "units": 1}] * 257},
    "negative units": [*gaussian(units=18), {"units": -1, "type": "everywhere"}],
    **{
        f"type {t!r}": gaussian(type=t)
        for t in ("sine", "constructor", None, ["gaussian"], True, "beyond", "everywhere")
    },
    **{f"gaussian without {name}": without(name, gaussian()) for name in gaussian()[0]},
    **{f"beyond without {name}": without(name, beyond()) for name in beyond()[0]},
    **{"gaussian and more": gaussian(power=1), "beyond and more": beyond(place=[0.0, 0.0])},
    "everywhere and more": [*gaussian(units=16), EVERYWHERE | {"units": 1, "width": 1}],
    **{
        f"place {place!r:.20}": gaussian(place=place)
        for place in ([0.2], [0.2, 0.4, 0.1], [], 0.2, "ab", ["0", "1"], [0.2, True], [0.2, None], [0.2, math.nan])
    },
    **{f"place {x:.0e}": gaussian(place=[0.2, x]) for x in (1e10, -1e10, INF)},
    "huge place": gaussian(place=[10**400, 0.2]),
    **{f"width {w!r:.20}": gaussian(width=w) for w in (0.5, [0.5], [0.5] * 3, [0.5, True], ["0", "1"], {}, None)},
    **{f"width {w:.0e}": gaussian(width=[0.5, w]) for w in (0.0, -0.5, 1e-10, 1e10, math.nan, INF)},
    **{f"axis {axis!r}": beyond(axis=axis) for axis in (2, -1, 0.5, True, "0", None, [0])},
    **{f"low {low!r:.10}": beyond(low=low) for low in (0.2, 0.3, -1e10, True, "0", [0.1], -(10**400))},
    **{f"high {high!r:.10}": beyond(high=high) for high in (1e10, True, "1", 10**400)},
    "no ends": beyond(low=None, high=None),
    **{f"power {power!r:.10}": beyond(power=power) for power in (0, 9, -1, 2.5, True, "2", None, 10**400)},
    **{f"unit {unit!r:.10}": beyond(unit=unit) for unit in (0, -1.0, 1e-10, 1e10, True, "1", None, math.nan, 10**400)},
}


def with_windows(windows, **changes):
    siren = network()
    data = NeuralField(siren, Frame((6, 10))).to_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["siren"])
    header["network"] |= {"windows": windows}
    arrays = {".".join(map(str, n)): np.asarray(leaf[...]) for n, leaf in nnx.to_flat_state(nnx.state(siren))}
    return save(arrays, metadata={"siren": json.dumps(header | changes)})


@pytest.mark.parametrize("name", UNSOUND)
def test_a_header_with_other_windows_is_refused_in_a_sentence(name, tmp_path):
    (tmp_path / "a.siren").write_bytes(with_windows(UNSOUND[name]))
    with pytest.raises(InputError, match=r"has windows that are not valid: [^.].*[^.]\.$") as refused:
        load(tmp_path / "a.siren")
    assert len(str(refused.value)) < 700


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        (gaussian(units=16), "17 units in all, but got blocks of [16] units"),
        (gaussian(type="sine"), "a block has units and the type everywhere, gaussian"),
        (gaussian(place=[0.2]), "place=[0.2] and width=[0.5, 0.3]"),
        (gaussian(place=[0.2], width=[1.0]), "the layer has 2 coordinates"),
        (beyond(axis=2), "a coordinate from 0 to 1, but got axis=2"),
        (beyond(low=0.3), "low below high"),
        ([EVERYWHERE], "no block has a window"),
        (7, "a list of blocks is needed, but it is 7"),
    ],
)
def test_a_refusal_says_which_part_of_the_header_is_wrong(windows, words, tmp_path):
    (tmp_path / "a.siren").write_bytes(with_windows(windows))
    with pytest.raises(InputError) as refused:
        load(tmp_path / "a.siren")
    assert words in str(refused.value)


def test_only_version_2_has_windows(tmp_path):
    sound = beyond(low=0, high=1, unit=1)  # JSON has one type of numbers
    (tmp_path / "a.siren").write_bytes(with_windows(sound))
    assert load(tmp_path / "a.siren").network.windows == ((17, Beyond(0, 0.0, 1.0, 1, 1.0)),)
    (tmp_path / "a.siren").write_bytes(with_windows(sound, format=1))
    with pytest.raises(InputError, match="does not describe a network"):
        load(tmp_path / "a.siren")


@pytest.mark.parametrize("graded", [None, {1: (0.3, 0.2)}])
@pytest.mark.parametrize("stretch", [0.5, -2.5])
def test_windows_are_stretched_with_the_coordinates(stretch, graded):
    siren = cast(network(graded=graded), np.float64)
    scale, shift = np.array([1.5, stretch]), np.array([0.3, -0.2])
    found = changes.with_points(siren, scale, shift)
    assert found.layers[0].windows == found.windows != siren.windows
    (_, near), (_, _), (_, side) = found.windows[1:]
    np.testing.assert_allclose(near.place, [(0.2 - 0.3) / 1.5, (-0.4 + 0.2) / stretch])
    np.testing.assert_allclose(near.width, [0.5 / 1.5, 0.3 / abs(stretch)])
    assert (side.low, side.high) == ((-INF, 0.5 / stretch) if stretch > 0 else (0.5 / stretch, INF))
    with jax.enable_x64(True):
        x = jnp.asarray(POINTS)
        for operator in (lambda u: u, second_derivatives):
            one, other = jax.vmap(operator(found))(x), jax.vmap(operator(lambda x: siren(scale * x + shift)))(x)
            # Rounding of places, which is 1e-15 of their units.
            assert jnp.linalg.norm(one - other) < 1e-12 * jnp.linalg.norm(other)


def test_windows_are_not_stretched_beyond_the_limits():
    with pytest.raises(InputError, match="a width, or one for each of them, from 1e-09"):
        changes.with_points(network(), np.array([1.0, 1e9]), np.zeros(2))


def test_a_narrow_window_is_zero_with_its_derivatives_far_from_its_place():
    siren = network(windows=[(17, Gaussian((0.0, 0.0), 1e-9))])
    x = jnp.array([[1.0, -1.0], [1e6, 1e6]])
    *found, (laplacian,) = siren.derivatives(x, ((1.0, 1.0),))
    zero = network(windows=[(17, Gaussian((1e9, 1e9), 1e-9))])(x)  # the network of a first layer of zeros
    assert np.array_equal(found[0], zero)
    assert not np.any(found[1])
    assert not np.any(laplacian)


def test_a_state_dict_of_a_network_with_windows_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"has windows, 6 units near \(0\.2, -0\.4\) .* PyTorch code have none"):
        pytorch.save(network(), tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_fit_that_starts_from_a_field_keeps_its_windows():
    start = read_start(NeuralField(network(), Frame((8, 8))))
    picture = siren_jax.open(np.random.default_rng(0).integers(0, 255, (8, 8, 1), np.uint8)).subject
    found, _ = started(start, picture, siren_jax.recipes.TUNED["values"])
    assert found.windows == start.network.windows == tuple(BLOCKS)
    x = jnp.asarray(POINTS, jnp.float32)
    np.testing.assert_array_equal(found(x), start.network(x))


@pytest.mark.slow
def test_many_fits_keep_the_windows_of_their_network(tmp_path):
    y, x = np.mgrid[:8, :8] / 8
    steps = np.array([np.tanh(20 * (x - place)) * y for place in (0.3, 0.6)], np.float32)
    make = lambda rngs: SIREN(2, 1, width=17, depth=1, first_omega=8.0, windows=BLOCKS, rngs=rngs)
    fit_many(Signals(steps, values=(-1.0, 1.0)), make, key=jax.random.key(0), steps=20, out=tmp_path / "set")
    for field in load_set(tmp_path / "set"):
        assert field.network.windows == tuple(BLOCKS)


@pytest.mark.slow
def test_a_hypernetwork_makes_networks_with_windows(key):
    siren = network()
    made = Hypernetwork(siren, latent=4, rngs=nnx.Rngs(0)).at(jax.random.normal(key, (4,)))
    assert made.windows == made.layers[0].windows == siren.windows


def test_windows_are_shown(tmp_path, capsys):
    field = NeuralField(network(), Frame((6, 10)))
    assert "2 layers of 17 units, omega 5, then 30, 13 units with windows, 375 parameters" in repr(field)
    field.save(tmp_path / "a.siren")
    assert main(["info", str(tmp_path / "a.siren")]) == 0
    said = "6 units near (0.2, -0.4) within about 0.5, 3 units where coordinate 0 is below -0.1 or above 0.2, 4 units"
    assert f"windows    {said}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        ([(16, Gaussian((0.0, 0.0), 0.1))], r"17 units in all, but got blocks of \[16\] units"),
        ([(17, None), (1, Gaussian((0.0, 0.0), 0.1))], r"17 units in all, but got blocks of \[17, 1\] units"),
        ([(18, None), (-1, None)], r"but got blocks of \[18, -1\] units"),
        ([(1, Beyond(0, 0.0))] * 257, "for 1 to 256 blocks"),
        ([(16, Beyond(0, 0.0)), (True, None)], "pairs .* but got"),
        ([("17", None)], "pairs .* but got"),
        ([(17.0, Beyond(0, 0.0))], "pairs .* but got"),
        ([Gaussian((0.0, 0.0), 0.1)], "pairs .* but got"),
        ("ab", "pairs .* but got"),
        ([(17, "gaussian")], r"Gaussian\(…\), Beyond\(…\) or None, but got 'gaussian'"),
        ([(17, Gaussian((0.0,), 0.1))], r"has 2 coordinates, .* but got 1: \(0\.0,\)"),
        ([(17, Gaussian((0.0, 0.0, 0.0), 0.1))], "has 2 coordinates, .* but got 3"),
        ([(17, Beyond(2, 0.0))], "from 0 to 1, but got axis=2"),
    ],
)
def test_windows_that_no_network_can_have_are_refused(windows, words):
    for make in (network, lambda windows: SineLayer(2, 17, windows=windows, rngs=nnx.Rngs(0))):
        with pytest.raises(InputError, match=words):
            make(windows=windows)


@pytest.mark.parametrize(
    ("place", "width"),
    [
        *(((), 0.1), (0.5, 0.1), ("ab", 0.1), ([[0.0, 0.0]], 0.1), ((0.0, "1"), 0.1), ((0.0, True), 0.1)),
        *(((0.0, math.nan), 0.1), ((0.0, INF), 0.1), ((0.0, 1e10), 0.1), ((0.0, 10**400), 0.1), ((0.0, None), 0.1)),
        *(((0.0, 0.0), w) for w in (0.0, -1.0, 1e-10, 1e10, math.nan, INF, True, "1", None, (0.1,), (0.1, 0.1, 0.1))),
        *(((0.0, 0.0), w) for w in ((0.1, -0.1), (0.1, "1"), [[0.1], [0.1, 0.2]], ())),
    ],
)
def test_a_gaussian_takes_a_place_and_widths(place, width):
    with pytest.raises(
        InputError, match=r"a place of numbers from .* and a width, .* but got place=.* and width=.*\.$"
    ):
        Gaussian(place, width)


@pytest.mark.parametrize(
    "given",
    [
        *({}, {"low": 1.0, "high": 0.0}, {"low": 1.0, "high": 1.0}, {"low": INF}, {"high": -INF}, {"low": math.nan}),
        *({"low": 0.0, "high": math.nan}, {"low": 1e10}, {"high": -1e10}, {"low": True}, {"low": 10**400}),
        *({"axis": -1, "low": 0.0}, {"axis": True, "low": 0.0}),
        *({"low": 0.0, "power": power} for power in (0, 9, True)),
        *({"low": 0.0, "unit": unit} for unit in (0.0, -1.0, 1e-10, 1e10, INF, math.nan, True)),
    ],
)
def test_what_is_beyond_an_interval_needs_an_end_and_numbers_within_limits(given):
    with pytest.raises(
        InputError, match=r"low below high .* but got axis=.*, low=.*, high=.*, power=.* and unit=.*\.$"
    ):
        Beyond(**({"axis": 0} | given))


def test_a_stretched_window_is_the_window_of_stretched_points():
    with jax.enable_x64(True):
        x = jnp.asarray(POINTS)
        scale, shift = (-0.7, 3.0), (0.2, -0.1)
        for window in (Gaussian((0.2, -0.4), (0.5, 0.3)), *(Beyond(i, -0.2, INF, p) for i in (0, 1) for p in (1, 3))):
            one, other = window.stretched(scale, shift).at(x), window.at(jnp.array(scale) * x + jnp.array(shift))
            np.testing.assert_allclose(one.value, other.value, rtol=1e-12, atol=1e-14)
            for i, a in enumerate(scale):
                if i in one.slopes:
                    np.testing.assert_allclose(one.slopes[i], a * other.slopes[i], rtol=1e-12, atol=1e-14)
                    np.testing.assert_allclose(one.bends[i], a * a * other.bends[i], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (Block(0, 3.0, Gaussian((0.0, 0.0), 0.1)), "at least .* 1 unit"),
        (Block(5, 0.0, Gaussian((0.0, 0.0), 0.1)), "a positive frequency, .* but got 0.0"),
        (Block(5, True, Gaussian((0.0, 0.0), 0.1)), "a positive frequency, .* but got True"),
        (Block(5, [3.0, True], Gaussian((0.0, 0.0), 0.1)), "a positive frequency, .* but got"),
        (Block(5, math.nan, Gaussian((0.0, 0.0), 0.1)), "a positive frequency, .* but got nan"),
        (Block(5, [1.0, 2.0, 3.0], Gaussian((0.0, 0.0), 0.1)), "one for each of the 2 coordinates, but got"),
        (Block(5, 3.0, Gaussian((0.0,), 0.1)), "has 2 coordinates, .* but got 1"),
        (Block(5, 3.0, Beyond(2, 0.0)), "from 0 to 1, but got axis=2"),
        (Block(True, 3.0, Beyond(0, 0.0)), "pairs .* but got"),
    ],
)
def test_blocks_that_no_features_can_have_are_refused(block, words):
    with pytest.raises(InputError, match=words):
        random_features(2, 1, width=10, frequencies=3.0, blocks=[block], rngs=nnx.Rngs(0))


def test_blocks_of_features_have_their_own_frequencies_and_windows():
    blocks = [Block(300, [40.0, 8.0], Gaussian((0.0, 0.0), 0.1)), Block(200, 2.0, Beyond(1, high=0.5))]
    siren = random_features(2, 1, width=400, frequencies=5.0, blocks=blocks, rngs=nnx.Rngs(0))
    assert siren.windows == ((400, None), *((block.width, block.window) for block in blocks))
    frequencies = np.abs(siren.first_omega * np.asarray(siren.layers[0].linear.kernel[...]))
    of_blocks = np.split(frequencies, [400, 700], axis=1)
    for found, highest in zip(of_blocks, ([5.0, 5.0], [40.0, 8.0], [2.0, 2.0]), strict=True):
        # The largest of n uniform numbers is above 0.95 with the probability 1 - 0.95^n, all but 1e-4 for n = 200.
        assert np.all(found <= np.array(highest)[:, None] * (1 + 1e-6))
        assert np.all(found.max(axis=1) > 0.95 * np.array(highest))
