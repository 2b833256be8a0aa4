"""A graded network is a network of Σ asinh((x - c)/w), with all derivatives: initially, after fits and from files."""

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
    SumOfSquares,
    fit,
    fit_many,
    jacobian,
    laplacian,
    load,
    load_set,
    refine,
    second_derivatives,
    supervise,
)
from siren_jax.cli import main
from siren_jax.equations import Box, Disk, Interval, equation, initial
from siren_jax.fields.precision import cast
from siren_jax.files import pytorch, siren_file
from siren_jax.networks import changes, grading
from siren_jax.subjects.start import read_start, started

GRADED = {1: [(0.3, 0.01), (-0.5, 0.2)]}
SMALL = {"width": 24, "depth": 1, "first_omega": 5.0}
RANDOM = np.random.default_rng(0)
# In the second coordinate, half of the points are at distances of 1e-4 to 1 from the place 0.3.
NEAR = 0.3 + 10 ** RANDOM.uniform(-4, 0, 30) * RANDOM.choice([-1, 1], 30)
POINTS = np.stack([RANDOM.uniform(-1, 1, 60), np.concatenate([RANDOM.uniform(-1, 1, 30), NEAR])], axis=-1)


def network(d=2, *, graded=None, seed=0, **settings):
    return SIREN(d, 1, graded=graded or GRADED, rngs=nnx.Rngs(seed), **(SMALL | settings))


def by_formula(siren):
    """The network as a plain function of one point, for autodiff in float64."""

    def function(x):
        m = [
            sum(jnp.arcsinh((x[i] - place) / width) for place, width in pairs) if pairs else x[i]
            for i, pairs in enumerate(siren.graded)
        ]
        h = jnp.stack(m)
        for layer in siren.layers:
            h = jnp.sin(layer.omega * (layer.linear.kernel[...].T @ h + layer.linear.bias[...]))
        y = siren.output.kernel[...].T @ h + siren.output.bias[...]
        return jnp.tanh(y) if siren.outermost == "tanh" else y

    return function


@pytest.mark.slow
@pytest.mark.parametrize(
    "graded",
    [{0: (0.2, 0.05)}, GRADED, {0: [(0.0, 1e-3)], 1: [(-1, 0.1), (1, 0.1)]}],
    ids=["one place", "two places", "two coordinates"],
)
@pytest.mark.parametrize("outermost", ["linear", "tanh"])
def test_values_and_derivatives_are_those_of_the_formula(graded, outermost):
    with jax.enable_x64(True):
        siren = cast(network(graded=graded, depth=2, outermost=outermost), np.float64)
        formula, x = by_formula(siren), jnp.asarray(POINTS)
        third = lambda u: lambda x: jax.hessian(jax.grad(lambda x: u(x)[0]))(x)
        third_by_one_pass = lambda u: jacobian(laplacian(u))
        for operator in (lambda u: u, jacobian, laplacian, second_derivatives, third, third_by_one_pass):
            found, expected = (jax.vmap(operator(u))(x) for u in (siren, formula))
            # Rounding of the phases, which reach 5·2·asinh(2/1e-3) = 80, and of the layers after them.
            assert jnp.linalg.norm(found - expected) < 1e-12 * jnp.linalg.norm(expected)


def test_derivatives_from_one_pass_are_those_of_the_formula():
    with jax.enable_x64(True):
        siren = cast(network(depth=2), np.float64)
        x, rows = jnp.asarray(POINTS), ((1.0, 0.0), (0.0, 1.0), (0.5, -2.0))
        seconds = jax.vmap(second_derivatives(by_formula(siren)))(x)
        value, slope, sums = siren.derivatives(x, rows)
        expected = [jax.vmap(f)(x) for f in (by_formula(siren), jacobian(by_formula(siren)))]
        expected += [seconds @ jnp.array(row) for row in rows]
        for one, other in zip((value, slope, *sums), expected, strict=True):
            assert jnp.linalg.norm(one - other) < 1e-12 * jnp.linalg.norm(other)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [grading.LEAST, 0.005, 1.0])
def test_the_stretched_coordinate_is_exact_near_and_far_from_its_place(width, dtype):
    """m = asinh t, m' = r, m'' = -a·r², m''' = (3a² - 1)·r³ with d = x - c, t = d/w, r = 1/√(d² + w²) and a = d·r."""
    t = np.concatenate([[0], 10 ** np.linspace(-12, 6, 500)])
    d = (width * np.concatenate([t, -t])).astype(dtype)
    w = np.longdouble(width)
    r = 1 / np.sqrt(np.square(d.astype(np.longdouble)) + w**2)
    a = d * r
    expected = [np.arcsinh(d / w), r, -a * r**2, (3 * a**2 - 1) * r**3]
    sizes = [np.abs(expected[0]), r, np.abs(a) * r**2, r**3]  # m''' has a zero
    with jax.enable_x64(dtype == np.float64):
        places = (((0.0, width),),)
        function = lambda d: grading.graded_points(d[None], places)[0]
        (slope,), (bend,) = grading.derivatives(jnp.ones((1, 1), dtype), jnp.asarray(d)[:, None], places)
        found = [None, slope[:, 0], bend[:, 0]]
        for order, size in enumerate(sizes):
            close = 20 * np.finfo(dtype).eps * size + np.finfo(dtype).tiny  # twice the rounding of 10 operations
            assert np.all(np.abs(np.asarray(jax.vmap(function)(d)) - expected[order]) <= close)
            if order in (1, 2):
                assert np.all(np.abs(np.asarray(found[order]) - expected[order]) <= close)
            function = jax.grad(function)


def test_a_unit_has_the_local_frequency_of_its_place():
    """Near x, a unit of the frequency k in m is sin(k/√((x - c)² + w²)·(x' - x) + …)."""
    with jax.enable_x64(True):
        layer = cast(SineLayer(1, 8, omega=7.0, is_first=True, graded={0: (0.1, 0.01)}, rngs=nnx.Rngs(0)), np.float64)
        k = 7.0 * layer.linear.kernel[0]
        for x in (0.1, 0.105, 0.5, -3.0):
            slope = jax.jacobian(layer.argument)(jnp.array([x]))[:, 0]
            np.testing.assert_allclose(slope, k / math.hypot(x - 0.1, 0.01), rtol=1e-14)


def test_other_coordinates_and_networks_without_grading_are_unchanged():
    plain, empty = SIREN(2, 1, **SMALL, rngs=nnx.Rngs(0)), SIREN(2, 1, **SMALL, graded={}, rngs=nnx.Rngs(0))
    assert plain.graded == empty.graded == ()
    assert network().graded == network(graded={1: np.array(GRADED[1])}).graded == ((), ((0.3, 0.01), (-0.5, 0.2)))
    assert network(graded={0: (0, 1)}).graded == network(graded={0: [[0, 1]]}).graded == (((0.0, 1.0),), ())
    x = jnp.asarray(POINTS, jnp.float32)
    lowered = [jax.jit(u.derivatives, static_argnums=1).lower(x, ((1.0, 1.0),)).as_text() for u in (plain, empty)]
    assert lowered[0] == lowered[1]
    assert "log" not in lowered[0]
    for one, other in zip(*(jax.tree.leaves(nnx.state(u)) for u in (plain, network())), strict=True):
        np.testing.assert_array_equal(one, other)  # the same parameters of the same key


@pytest.mark.parametrize("use_bias", [True, False])
def test_a_coordinate_can_be_periodic_and_another_graded(use_bias):
    siren = network(periodic={0: 0.8}, first_omega=20.0, use_bias=use_bias)
    x = jnp.asarray(POINTS, jnp.float32)
    # Phases up to 20·(1.8 + 2·5) radians, rounded to float32.
    np.testing.assert_allclose(siren(x.at[:, 0].add(0.8)), siren(x), atol=20 * 236 * 2.0**-24)


def target(x):
    return np.tanh(x[:, 1:] / 0.01) * np.exp(x[:, :1])


BATCH = {"coordinates": jnp.asarray(POINTS, jnp.float32), "value": jnp.asarray(target(POINTS), jnp.float32)}
SQUARES = SumOfSquares(lambda u, batch: {"value": jax.vmap(u)(batch["coordinates"]) - batch["value"]})


def by_adam(siren):
    recipe = siren_jax.recipes.TUNED["values"]
    settings = {"optimizer": recipe.optimizer(siren), "schedule": recipe.schedule, "average": True}
    return fit(siren, supervise("value"), lambda key, step: BATCH, key=jax.random.key(0), steps=20, **settings)


METHODS = {
    "Adam": (np.float32, by_adam),
    "L-BFGS": (np.float32, lambda siren: refine(siren, supervise("value"), BATCH, steps=20)),
    "L-BFGS in float64": (np.float64, lambda siren: refine(siren, supervise("value"), BATCH, steps=20, double=True)),
    "Gauss-Newton": (np.float64, lambda siren: refine(siren, SQUARES, BATCH, steps=3, method="gauss-newton")),
    "last layer": (np.float64, lambda siren: refine(siren, SQUARES, BATCH, steps=2, method="last-layer")),
}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_fit_keeps_places_and_widths(method):
    dtype, fitted = METHODS[method]
    siren = network(graded={1: (0.0, 0.01)})
    found = fitted(siren)
    last = found.history["loss"][-1] if math.isnan(found.loss) else found.loss  # a last layer takes one step
    assert last < found.history["loss"][0]
    assert found.network.graded == siren.graded == ((), ((0.0, 0.01),))
    with jax.enable_x64(dtype == np.float64):
        x = jnp.asarray(POINTS, dtype)
        assert jnp.allclose(found.network(x), jax.vmap(by_formula(found.network))(x), atol=1e-4)


def boundary_layer(first_omega, graded):
    """The largest error of least squares for tanh(x/0.01) by 100 random sines."""
    siren = SIREN(1, 1, width=100, depth=0, first_omega=first_omega, graded=graded, rngs=nnx.Rngs(0))
    function = lambda x: np.tanh(x / 0.01)
    points, between = (
        np.concatenate([np.linspace(-1, 1, n), 0.01 * np.sinh(np.linspace(-5, 5, n))])[:, None] for n in (500, 1999)
    )
    with jax.enable_x64(True):
        batch = {"coordinates": jnp.asarray(points), "value": jnp.asarray(function(points))}
        found = refine(siren, SQUARES, batch, steps=2, method="last-layer").network
        return np.abs(np.asarray(found(jnp.asarray(between))) - function(between)).max()


@pytest.mark.slow
def test_a_boundary_layer_is_represented_with_grading_and_not_without():
    assert boundary_layer(10.0, {0: (0.0, 0.005)}) < 1e-8
    for first_omega in (10.0, 100.0):  # the layer has the frequency 1/0.01 = 100
        assert boundary_layer(first_omega, None) > 1e-2


@pytest.mark.parametrize(
    ("graded", "words"),
    [
        ({2: (0.0, 0.1)}, "coordinates from 0 to 1 and their places, but got 2"),
        ({-1: (0.0, 0.1)}, "coordinates from 0 to 1 and their places, but got -1"),
        ({0: (0.0, 0.0)}, r"\(place, width\) for coordinate 0, .* but got \(0.0, 0.0\)"),
        ({0: (0.0, -1.0)}, "a width from 1e-09"),
        ({0: (0.0, 1e-10)}, "a width from 1e-09"),
        ({0: (0.0, math.inf)}, "a width from 1e-09"),
        ({0: (math.nan, 1.0)}, "a place from"),
        ({0: (1e10, 1.0)}, "a place from"),
        ({0: 0.5}, "but got 0.5"),
        ({0: []}, "or up to 64 of these pairs in a list"),
        ({0: [(0.0, 1.0)] * 65}, "or up to 64"),
        ({0: [(0.0, 1.0), (0.0,)]}, "but got"),
        ({0: ["ab"]}, "but got"),
        ({0: (10**400, 1.0)}, "but got"),
    ],
)
def test_grading_that_no_network_can_have_is_refused(graded, words):
    with pytest.raises(InputError, match=words):
        network(graded=graded)


def test_a_coordinate_is_not_both_periodic_and_graded():
    with pytest.raises(InputError, match="coordinate 1 is both periodic and graded"):
        network(periodic={1: 2.0})


@pytest.mark.parametrize("precision", siren_file.PRECISIONS)
def test_a_file_of_every_precision_keeps_places_and_widths(precision, tmp_path):
    field = NeuralField(network(outermost="tanh", periodic={0: 2.0}, first_omega=7.0), Frame((6, 10)), (0.0, 2.0))
    field.save(tmp_path / "a.siren", precision=precision)
    found = load(tmp_path / "a.siren")
    assert found.network.graded == field.network.graded
    with jax.enable_x64(precision == "float64"):
        x = jnp.asarray(POINTS, np.float64 if precision == "float64" else np.float32)
        rounded = {"float32": 0, "float64": 1e-5, "float16": 1e-2, "bfloat16": 0.1, "int8": 0.1}[precision]
        np.testing.assert_allclose(found.network(x), field.network(x), atol=rounded)
    found.save(tmp_path / "b.siren", precision=precision)
    assert (tmp_path / "a.siren").read_bytes() == (tmp_path / "b.siren").read_bytes()


def test_a_network_without_grading_is_written_without_the_entry():
    plain = SIREN(2, 1, **SMALL, graded={}, rngs=nnx.Rngs(0))
    assert "graded" not in siren_file.architecture_of(plain)
    assert siren_file.architecture_of(network())["graded"] == [[], [[0.3, 0.01], [-0.5, 0.2]]]


PAIR = [0.0, 1.0]
REFUSED = [
    *(None, {}, "ab", 0.7, [], [[PAIR]], [[PAIR], [], []], [[], []], [None, [PAIR]], [PAIR, []], [[PAIR], 1.0]),
    *([[[0.0]], []], [[[0.0, 0.0]], []], [[[0.0, -1.0]], []], [[[0.0, 1e-10]], []], [[[1e10, 1.0]], []]),
    *([[[0.0, True]], []], [["ab"], []], [[[0.0, "1"]], []], [[[10**400, 1.0]], []], [[PAIR] * 65, []]),
]


def with_graded(graded, network_changes=None, **changes):
    siren = network()
    data = NeuralField(siren, Frame((6, 10))).to_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["siren"])
    header["network"] |= {"graded": graded} | (network_changes or {})
    arrays = {".".join(map(str, n)): np.asarray(leaf[...]) for n, leaf in nnx.to_flat_state(nnx.state(siren))}
    return save(arrays, metadata={"siren": json.dumps(header | changes)})


@pytest.mark.parametrize("graded", REFUSED, ids=lambda graded: str(graded)[:40])
def test_a_header_with_other_grading_is_refused(graded, tmp_path):
    (tmp_path / "a.siren").write_bytes(with_graded(graded))
    with pytest.raises(InputError, match=r"has graded = .*a list of 2 is accepted"):
        load(tmp_path / "a.siren")


def test_only_version_2_has_grading_and_not_of_a_periodic_coordinate(tmp_path):
    (tmp_path / "a.siren").write_bytes(with_graded([[], [[0, 1]]]))  # JSON has one type of numbers
    assert load(tmp_path / "a.siren").network.graded == ((), ((0.0, 1.0),))
    (tmp_path / "a.siren").write_bytes(with_graded([[], [PAIR]], format=1))
    with pytest.raises(InputError, match="does not describe a network"):
        load(tmp_path / "a.siren")
    (tmp_path / "a.siren").write_bytes(with_graded([[], [PAIR]], {"periodic": [None, 2.0]}))
    with pytest.raises(InputError, match="a coordinate that is both periodic and graded"):
        load(tmp_path / "a.siren")


@pytest.mark.parametrize("stretch", [0.1, -2.5])
def test_stretched_coordinates_have_moved_places_and_stretched_widths(stretch):
    siren = cast(network(graded={1: [(0.3, 0.01), (-0.5, 0.2)]}), np.float64)
    scale, shift = np.array([2.5, stretch]), np.array([0.3, -0.2])
    found = changes.with_points(siren, scale, shift)
    expected = [((c + 0.2) / stretch, w / abs(stretch)) for c, w in siren.graded[1]]
    np.testing.assert_allclose(found.graded[1], expected)
    assert found.layers[0].graded == found.graded != siren.graded
    with jax.enable_x64(True):
        x = jnp.asarray(POINTS)
        for operator in (lambda u: u, second_derivatives):
            one, other = jax.vmap(operator(found))(x), jax.vmap(operator(lambda x: siren(scale * x + shift)))(x)
            # A place of about 1 is rounded to 1e-16, which is 1e-14 of the width 0.01, and then 1e-12 of m.
            assert jnp.linalg.norm(one - other) < 1e-11 * jnp.linalg.norm(other)


def test_coordinates_are_not_stretched_beyond_the_limits():
    with pytest.raises(InputError, match="a width from 1e-09"):
        changes.with_points(network(), np.array([1.0, 1e8]), np.zeros(2))


def test_a_state_dict_of_a_graded_network_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"graded at 0.3 .* in coordinate 1, .* takes x instead of Σ asinh"):
        pytorch.save(network(), tmp_path / "a.safetensors")


def test_many_fits_keep_the_grading_of_their_network(tmp_path):
    y, x = np.mgrid[:8, :8] / 8
    steps = np.array([np.tanh(20 * (x - place)) * y for place in (0.3, 0.6)], np.float32)
    make = lambda rngs: SIREN(2, 1, width=8, depth=1, first_omega=8.0, graded={1: (0.1, 0.1)}, rngs=rngs)
    signals = Signals(steps, values=(-1.0, 1.0))
    fit_many(signals, make, key=jax.random.key(0), steps=20, out=tmp_path / "set")
    for field in load_set(tmp_path / "set"):
        assert field.network.graded == ((), ((0.1, 0.1),))
    with pytest.raises(InputError, match="that of a graded coordinate depends on the place"):
        fit_many(signals, make, key=jax.random.key(0), steps=20, own_omega=True)


def test_a_fit_that_starts_from_a_graded_field_keeps_its_places():
    start = read_start(NeuralField(network(), Frame((8, 8))))
    picture = siren_jax.open(np.random.default_rng(0).integers(0, 255, (8, 8, 1), np.uint8)).subject
    found, _ = started(start, picture, siren_jax.recipes.TUNED["values"])
    assert found.graded == start.network.graded
    x = jnp.asarray(POINTS, jnp.float32)
    np.testing.assert_array_equal(found(x), start.network(x))


def test_a_hypernetwork_makes_graded_networks(key):
    siren = Hypernetwork(network(), latent=4, rngs=nnx.Rngs(0)).at(jax.random.normal(key, (4,)))
    x = jnp.asarray(POINTS, jnp.float32)
    # Phases up to 5·(1 + 2·7) radians, rounded to float32.
    np.testing.assert_allclose(siren(x), jax.vmap(by_formula(siren))(x), atol=20 * 75 * 2.0**-24)


def test_places_and_widths_are_shown(tmp_path, capsys):
    field = NeuralField(network(), Frame((6, 10)))
    assert "omega 5, then 30, graded in coordinate 1, " in repr(field)
    field.save(tmp_path / "a.siren")
    assert main(["info", str(tmp_path / "a.siren")]) == 0
    assert "graded     at 0.3 (width 0.01) and -0.5 (width 0.2) in coordinate 1" in capsys.readouterr().out


@pytest.mark.parametrize("pairs", [[(0.3, 0.01)], [(0.3, 0.01), (-0.5, 0.2)], [(5.0, 0.1)], [(0.0, 1e-9)]])
def test_graded_nodes_are_even_in_the_graded_coordinate(pairs):
    x = grading.evenly_graded(-1.0, 2.0, pairs, 401)
    m = sum(np.arcsinh((x - place) / width) for place, width in pairs)
    assert (x[0], x[-1]) == (-1.0, 2.0)
    assert np.allclose(np.diff(m), (m[-1] - m[0]) / 400, rtol=1e-9)  # bisection to rounding


@pytest.mark.parametrize("term", ["equation", "initial"])
@pytest.mark.parametrize("pairs", [(0.3, 0.01), [(0.3, 0.01), (-0.5, 0.2)]])
def test_points_are_as_dense_as_the_graded_coordinate_rises(term, pairs, key):
    make = {"equation": equation, "initial": initial}[term]
    values = {"equation": lambda u, x: u(x), "initial": 0.0}[term]
    made = make(values, Interval(-1, 1).during(2, 5), points=4000, sampler="sobol", graded={1: pairs})
    t, x = np.asarray(jax.jit(made.draw)(key, 0)[0], np.float64).T
    m = lambda x: sum(np.arcsinh((x - place) / width) for place, width in np.reshape(pairs, (-1, 2)))
    shares = np.sort((m(x) - m(-1)) / (m(1) - m(-1)))
    # Below any place lies the right share of points, to about log(n)/n for a Sobol sequence and float32 near the place.
    assert np.abs(shares - (np.arange(4000) + 0.5) / 4000).max() < 3e-3
    assert np.all(t == 2) if term == "initial" else np.allclose(np.sort(t), np.linspace(2, 5, 4000), atol=0.01)


def test_graded_points_are_the_same_in_both_precisions(key):
    draw = equation(lambda u, x: u(x), Interval(-1, 1), points=500, graded={0: (0.1, 1e-3)}).draw
    single = np.asarray(draw(key, 0)[0], np.float64)
    with jax.enable_x64(True):
        double = np.asarray(draw(key, np.float64(0))[0])
    assert double.dtype == np.float64
    assert np.abs(single - double).max() < 1e-5  # float32
    assert len(np.unique(double)) == len(double)


def test_graded_points_of_a_domain_with_a_hole_are_outside_of_the_hole(key):
    plate = Box((-1, -1), (1, 1)) - Disk((0.5, 0.5), 0.6)
    x = np.asarray(
        equation(lambda u, x: u(x), plate, points=2000, graded={0: (0.2, 0.01), 1: (-0.2, 0.1)}).draw(key, 0)[0]
    )
    assert np.all(np.hypot(*(x - 0.5).T) >= 0.6 - 1e-4)
    assert np.mean(np.abs(x[:, 0] - 0.2) < 0.01) > 0.05  # 5 times the share of even points


def test_points_take_only_places_of_coordinates_there_are():
    with pytest.raises(InputError, match="graded takes coordinates from 0 to 0"):
        equation(lambda u, x: u(x), Interval(0, 1), graded={1: (0.0, 0.1)})
