"""Terms vanish on the solution, and only there; a problem is solved by its `fit` and `refine`."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from siren_jax import SIREN, InputError, ReLUMLP, jacobian, laplacian, load, second_derivatives
from siren_jax.equations import (
    Ansatz,
    Box,
    ComplexField,
    Disk,
    Interval,
    Problem,
    WithCoefficients,
    boundary,
    dirichlet,
    distil,
    equation,
    initial,
    known,
    neumann,
    periodic,
    robin,
    solution,
)
from siren_jax.equations.terms import Term
from siren_jax.fields.tiles import evaluate
from siren_jax.fitting.recipes import TUNED

SQUARE, DISK, LINE = Box((-1, -1), (1, 1)), Disk((0, 0), 2), Interval(-1, 1)
TIMED = LINE.during(0, 2)
HARMONIC = lambda x: (x[0] ** 2 - x[1] ** 2)[None]
SWING = lambda x: (jnp.sin(math.pi * x[1]) * jnp.cos(math.pi * x[0]))[None]  # of u_tt = u_xx
OUTGOING_VALUE = lambda x: jnp.exp(3j * x[0])
OUTGOING = lambda x: jnp.stack([jnp.cos(3 * x[0]), jnp.sin(3 * x[0])])
WAVE = lambda u, x: laplacian(u, weights=(1, -1))(x)


def means(terms, field, step=0):
    problem = Problem(terms)
    values = jax.jit(lambda key: problem.objective(field, problem.sample(key, step)))(jax.random.key(1))
    return {name: float(value.mean()) for name, value in values.items()}


@pytest.mark.parametrize(
    ("term", "exact"),
    [
        (equation(lambda u, x: laplacian(u)(x), SQUARE), HARMONIC),
        (equation(WAVE, TIMED), SWING),
        (dirichlet(HARMONIC, SQUARE), HARMONIC),
        (dirichlet(1.0, SQUARE, where=lambda x: x[0] == 1), lambda x: x[:1] ** 3),
        (neumann(lambda x: 2 * HARMONIC(x) / 2, DISK), HARMONIC),  # of degree 2, on radius 2: r ∂u/∂r = 2u
        (robin(lambda x: 3 * HARMONIC(x), 2.0, DISK), HARMONIC),
        (dirichlet(OUTGOING_VALUE, SQUARE), OUTGOING),
        (neumann(lambda x: 3j * x[0] / 2 * OUTGOING_VALUE(x), DISK), OUTGOING),
        (robin(0.0, -3j, SQUARE, where=lambda x: x[0] == 1), OUTGOING),
        (periodic(TIMED, 1), SWING),
        (initial(lambda x: jnp.sin(math.pi * x[1:]), TIMED, velocity=0.0), SWING),
        (initial(0.0, TIMED), lambda x: x[:1] * x[1:]),
        (initial(None, TIMED, velocity=lambda x: x[1:]), lambda x: x[:1] * x[1:] + 3),
        (boundary(lambda u, x, n: jacobian(u)(x) @ n - 2 * u(x) / 2, DISK), HARMONIC),
        (known(lambda u, x, value: u(x) - value, [[1, 2], [3, 4]], [[2], [12]]), lambda x: x[:1] * x[1:]),
    ],
)
def test_a_term_vanishes_on_a_solution_and_not_beside_it(term, exact):
    assert means([term], exact)[term.name] < 1e-9  # squares of float32 rounding
    tilted = lambda x: exact(x) + 0.1 * x[-1:] ** 2 * (1 + x[:1])
    assert means([term], tilted)[term.name] > 1e-3


@pytest.mark.parametrize(("power", "size"), [(1, 5.0), (2, 17.0)])
def test_a_term_is_the_sum_over_equations_of_sizes_or_squares(power, size):
    both = lambda u, x: jnp.stack([jnp.float32(-1), jnp.float32(4)])
    assert means([equation(both, LINE, power=power)], lambda x: x)["equation"] == pytest.approx(size)


@pytest.mark.parametrize(("power", "size"), [(1, 5.0), (2, 25.0)])
def test_complex_residuals_count_by_their_modulus(power, size):
    term = equation(lambda u, x: 3 + 4j * jnp.ones(()), LINE, power=power)
    assert means([term], lambda x: x)["equation"] == pytest.approx(size)


@pytest.mark.parametrize(
    "make",
    [
        lambda **settings: equation(WAVE, TIMED, **settings),
        lambda **settings: boundary(lambda u, x, normal: u(x), TIMED, **settings),
        lambda **settings: dirichlet(0.0, TIMED, where=lambda x: x[1] == 1, **settings),
        lambda **settings: neumann(0.0, SQUARE, **settings),
        lambda **settings: robin(0.0, 1.0, SQUARE, **settings),
        lambda **settings: periodic(TIMED, 1, **settings),
        lambda **settings: initial(0.0, TIMED, **settings),
    ],
)
def test_all_terms_over_regions_take_the_same_settings(make, key):
    term = make(points=8, name="mine", weight=3.0, power=1, sampler="sobol")
    assert (term.name, term.weight, term.power) == ("mine", 3.0, 1)
    (x, _), (other, _) = (jax.jit(each.draw)(key, 0) for each in (term, make(points=8)))
    assert len(x) == 8
    assert not np.array_equal(x, other)  # uniform


def test_value_and_velocity_at_the_start_have_weights_of_their_own():
    problem = Problem([initial(1.0, TIMED, weight=100.0), initial(None, TIMED, velocity=0.0)])
    assert problem.weights == {"initial": 100.0, "initial velocity": 1.0}
    values = means(problem.terms, lambda x: 1 + 3 * x[:1])
    assert values == {"initial": 0.0, "initial velocity": pytest.approx(9.0)}


def test_each_term_has_its_own_points():
    terms = [equation(lambda u, x: u(x), LINE, points=30), dirichlet(0.0, LINE, points=7, weight=2.0)]
    problem = Problem(terms)
    batch = problem.sample(jax.random.key(0), 0)
    assert {name: len(x) for name, (x, _) in batch.items()} == {"equation": 30, "dirichlet": 7}
    assert problem.weights == {"equation": 1.0, "dirichlet": 2.0}
    assert {abs(x.item()) for x in batch["dirichlet"][0]} == {1.0}


def test_points_of_a_sobol_sequence_integrate_better_than_random_ones():
    def error(sampler):
        problem = Problem([equation(lambda u, x: u(x), SQUARE, points=1024, sampler=sampler)])
        errors = [jnp.mean(problem.sample(jax.random.key(seed), 0)["equation"][0] ** 2) - 1 / 3 for seed in range(8)]
        return float(jnp.sqrt(jnp.mean(jnp.array(errors) ** 2)))

    assert error("sobol") < 0.1 * error("uniform")
    assert error("uniform") < 4 * math.sqrt(4 / 45 / 2 / 1024)  # the standard deviation of x² is √(4/45)


def test_of_two_candidates_the_one_with_the_greater_residual_is_likelier():
    # 1 on the right, 0 on the left: of a mixed pair, likelihoods 1 + 1/0.5 and 1 choose the right in 3 of 4 cases.
    step = equation(lambda u, x: jnp.where(x[0] > 0, 1.0, 0.0), LINE, points=20_000, candidates=2)
    share = 1 / 4 + 1 / 2 * 3 / 4
    assert means([step], lambda x: x)["equation"] == pytest.approx(
        share, abs=4 * math.sqrt(share * (1 - share) / 20_000)
    )


@pytest.mark.parametrize(("share", "reached"), [(0.0, 0.0), (0.25, 1.0), (0.5, 2.0), (1.0, 2.0)])
def test_the_times_that_are_drawn_grow_with_the_share_of_the_budget(share, reached):
    for domain in (TIMED, Interval(0, 2)):  # with space, and time alone
        problem = Problem([equation(WAVE, domain, growing=0.5)])
        times = problem.sample(jax.random.key(0), 0, share)["equation"][0][:, 0]
        assert 0.98 * reached <= times.max() <= reached


@pytest.mark.parametrize("derivatives", range(4))
def test_a_period_is_one_of_so_many_derivatives(derivatives):
    # Of Bernoulli's polynomials B_n, all derivatives but the one of the order n - 1 agree at 0 and 1.
    bernoulli = [
        lambda x: x,
        lambda x: x**2 - x,
        lambda x: x**3 - 1.5 * x**2 + 0.5 * x,
        lambda x: x**4 - 2 * x**3 + x**2,
        lambda x: x**5 - 2.5 * x**4 + 5 / 3 * x**3 - x / 6,
    ]
    term = periodic(Interval(0, 1), 0, derivatives=derivatives)
    for order, field in enumerate(bernoulli):
        assert (means([term], field)["periodic"] < 1e-9) == (order > derivatives)


@pytest.mark.parametrize("steps", [4, 40])
def test_a_fit_of_any_length_sees_late_times(steps):
    # A residual that is the time: its mean square over times up to T is T²/3, here with T up to 2 in the first half.
    problem = Problem([equation(lambda u, x: x[:1] + 0 * u(x), TIMED, points=2048, growing=0.5)])
    network = SIREN(2, 1, width=4, depth=0, rngs=nnx.Rngs(0))
    seen = problem.fit(network, key=jax.random.key(0), steps=steps).history["equation"]
    reached = 2 * np.minimum(np.arange(steps) / steps / 0.5, 1)
    assert np.allclose(seen, reached**2 / 3, rtol=0.15)  # six standard errors, 0.9·T²/3 / √2048


@pytest.mark.slow
def test_a_boundary_value_problem_is_solved():
    # -u'' = π² sin πx on [-1, 1] with u = 0 at both ends: u = sin πx.
    force = lambda x: math.pi**2 * jnp.sin(math.pi * x)
    problem = Problem(
        [
            equation(lambda u, x: laplacian(u)(x) + force(x), LINE, points=64, sampler="sobol"),
            dirichlet(0.0, LINE, points=4, weight=100.0),
        ]
    )
    network = SIREN(1, 1, width=16, depth=1, first_omega=4.0, rngs=nnx.Rngs(0))
    optimizer = TUNED["values"]._replace(learning_rate=3e-3).optimizer(network)
    fitted = problem.fit(network, key=jax.random.key(0), steps=300, optimizer=optimizer)
    refined = problem.refine(fitted.network, key=jax.random.key(1), batches=1, steps=200)
    x = jnp.linspace(-1, 1, 101)[:, None]
    exact = jnp.sin(math.pi * x)
    error = lambda network: float(jnp.linalg.norm(network(x) - exact) / jnp.linalg.norm(exact))
    assert error(fitted.network) < 0.1
    assert error(refined.network) < 1e-3


def test_a_problem_is_solved_with_its_weights_or_with_others():
    # One term is 2, the other 3, whatever the network.
    constant = lambda number: lambda u, x: number + 0 * u(x)
    terms = [equation(constant(2), LINE, points=4, weight=10.0), dirichlet(-3.0, LINE, points=4, power=1)]
    network = nnx.Linear(1, 1, kernel_init=nnx.initializers.zeros, rngs=nnx.Rngs(0))  # u = 0
    problem, key = Problem(terms), jax.random.key(0)
    other = {"weights": {"dirichlet": 100.0}}
    assert problem.fit(network, key=key, steps=1).history["loss"].tolist() == [10 * 4 + 3]
    assert problem.fit(network, key=key, steps=1, **other).history["loss"].tolist() == [4 + 100 * 3]
    assert problem.refine(network, key=key, steps=1).history["loss"].tolist() == [10 * 4 + 3]


def test_residuals_of_two_axes_are_refused():
    with pytest.raises(InputError, match=r"residual of 'equation' has the shape \(1, 2\)"):
        means([equation(lambda u, x: jacobian(u)(x), SQUARE)], lambda x: x[:1])


@pytest.mark.parametrize(
    ("residual", "message"),
    [
        (lambda u, x: None, "residual of 'equation' is NoneType; it should be an array"),
        (lambda u, x: {"a": u(x)}, "is dict; it should be an array"),
        (lambda u, x: u(x)[1:], r"is float32\(0,\) at a point, which cannot be minimised"),
        (lambda u, x: u(x) > 0, r"is bool\(1,\) at a point"),
        (lambda u, x: u(x)[1], r"'equation' reads entry 1, counted from zero, of an axis of 1 .* too few channels"),
        (lambda u, x: jacobian(u)(x)[:, 2], r"reads entry 2, counted from zero, of an axis of 2 .*\(1, 2\)"),
        (lambda u, x: u(x)[-2], "reads entry -1"),
        (lambda u, x: u(x)[np.array([0, 1])], "reads entry 1, counted from zero, of an axis of 1 "),
        (lambda u, x: jax.jit(lambda values: values[0] + values[2])(u(x)), "reads entry 2, .* too few channels"),
        (lambda u, x: laplacian(u), "is function; it should be an array"),
        (lambda u, x: u(x) if x[0] > 0 else -u(x), "residual of 'equation' decides with if, .* jnp.where"),
        (lambda u, x: u["speed"] * u(x), "this network has no coefficients such as 'speed'"),
    ],
)
@pytest.mark.parametrize("candidates", [1, 2])
def test_residuals_that_cannot_be_meant_are_refused(residual, message, candidates):
    network = SIREN(2, 1, width=4, depth=0, rngs=nnx.Rngs(0))
    with pytest.raises(InputError, match=message):
        means([equation(residual, SQUARE, points=2, candidates=candidates)], network)


def test_the_last_entries_may_be_counted_from_the_end():
    last = lambda u, x: jax.jit(lambda y: y[-1] + y[-2])(u(x)) + u(x)[np.array([0, -1])].sum()
    assert means([equation(last, SQUARE, points=8)], lambda x: jnp.array([1.0, -1.0]))["equation"] == 0


@pytest.mark.parametrize("double", [False, True])
def test_complex_measurements_keep_both_parts(double):
    points = np.linspace(-1, 1, 9)[:, None]
    both = lambda u, x, value: u(x)[0] + 1j * u(x)[1] - value
    problem = Problem([known(both, points, 1 + 2j * np.ones(9))])
    network = SIREN(1, 2, width=4, depth=0, first_omega=1.0, rngs=nnx.Rngs(0))
    refined = problem.refine(network, key=jax.random.key(0), batches=1, steps=30, double=double).network
    assert np.allclose(evaluate(refined, points), [1, 2], atol=1e-2)  # of a square loss of 1e-4


def test_fixed_points_are_none_that_fit_draws_with_the_same_key(key):
    problem = Problem([equation(lambda u, x: u(x), SQUARE, points=4)])
    _, batch = problem.fixed(key, 2)
    for step in range(2):
        drawn = problem.sample(jax.random.fold_in(key, step), step)["equation"][0]
        assert not np.isin(drawn, batch["equation"][0]).any()


def test_coefficients_leave_the_recipe_as_it_is_for_the_network():
    # Of a high omega, which the optimiser slows down.
    plain = SIREN(2, 1, width=512, depth=0, first_omega=300.0, rngs=nnx.Rngs(0))
    beside = WithCoefficients(plain, speed=1.0)

    def step(network):
        params = nnx.state(network, nnx.Param)
        ones = jax.tree.map(jnp.ones_like, params)
        optimizer = TUNED["values"].optimizer(network)
        return optimizer.update(ones, optimizer.init(params), params)[0]

    for ours, expected in zip(*map(jax.tree.leaves, (step(beside)["network"], step(plain))), strict=True):
        assert np.array_equal(ours, expected)
    with pytest.raises(InputError, match="no coefficient 'spede'; the coefficients are: speed"):
        beside["spede"]


@pytest.mark.slow
@pytest.mark.parametrize("activation", [jnp.tanh, jnp.sin])
def test_any_network_has_coefficients_beside_it(activation, key):
    plain = nnx.Sequential(nnx.Linear(2, 6, rngs=nnx.Rngs(0)), activation, nnx.Linear(6, 1, rngs=nnx.Rngs(1)))
    residual = lambda u, x: second_derivatives(u)(x)[:, 0] + u(x) * jacobian(u)(x)[:, 1] + laplacian(u)(x)
    beside = WithCoefficients(plain, speed=3.0)
    scaled = means([equation(lambda u, x: u["speed"] * residual(u, x), SQUARE, points=8)], beside)["equation"]
    assert scaled == pytest.approx(9 * means([equation(residual, SQUARE, points=8)], plain)["equation"], rel=1e-5)


def wavy(size):
    """A field of two channels that is neither polynomial nor separable, and a factor of the same kind."""
    field = lambda x: jnp.stack([jnp.sin(size * x[0] * x[1]), jnp.exp(x[0] - x[1] ** 2)])
    return field, lambda x: jnp.cos(x[0] + size * x[1]) * x[1]


@pytest.mark.slow
@pytest.mark.parametrize("known", [False, True])
def test_a_complex_field_has_the_derivatives_of_its_parts(known, key, float64):
    network = float64(SIREN(2, 5, width=6, depth=1, omega=3.0, first_omega=3.0, rngs=nnx.Rngs(0)))
    field = network if known else lambda x: network(x)
    x = jax.random.normal(key, 2, jnp.float64)
    for act in (lambda f: f, jacobian, laplacian, second_derivatives, lambda f: laplacian(f, weights=(2, -3))):
        parts = act(network)(x)
        assert np.allclose(act(ComplexField(field, 2))(x), parts[:2] + 1j * parts[2:4], rtol=1e-10)
    points = jax.random.normal(key, (3, 4, 2), jnp.float64)
    assert np.array_equal(ComplexField(field, 1)(points), network(points)[..., :1] + 1j * network(points)[..., 1:2])


@pytest.mark.parametrize(("count", "message"), [(None, "an even number in all, .* has 3"), (2, "at least 4 in all")])
def test_a_complex_field_needs_two_channels_for_each_value(count, message):
    with pytest.raises(InputError, match=message):
        ComplexField(lambda x: jnp.ones(3), count)(jnp.ones(2))


@pytest.mark.parametrize("kind", [SIREN, ReLUMLP])
def test_an_ansatz_has_the_derivatives_of_what_it_says(kind, key, float64):
    offset, factor = wavy(3.0)
    network = float64(kind(2, 2, width=6, depth=1, rngs=nnx.Rngs(0)))
    ansatz = Ansatz(network, offset=offset, factor=factor)
    said = lambda x: offset(x) + factor(x) * network(x)
    rows = ((1.0, -2.0), (0.0, 3.0))

    @jax.jit
    @jax.vmap
    def both(x):
        curvatures = jnp.einsum("cii,ri->rc", jax.hessian(said)(x), jnp.array(rows))
        return ansatz.derivatives(x, rows), (said(x), jax.jacobian(said)(x), list(curvatures))

    points = jax.random.normal(key, (4, 2), jnp.float64)
    found, expected = both(points)
    for ours, exact in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        assert np.allclose(ours, exact, rtol=1e-10)
    assert np.allclose(ansatz(points.reshape(2, 2, 2)).reshape(4, 2), expected[0], rtol=1e-12)


@pytest.mark.slow
def test_conditions_of_an_ansatz_hold_before_a_fit_and_after(key):
    # Heat in a rod of cold ends: they and its start by construction.
    warm = lambda x: jnp.cos(math.pi * x[1:] / 2)
    ansatz = Ansatz(
        SIREN(2, 1, width=16, depth=1, first_omega=2.0, rngs=nnx.Rngs(0)),
        offset=warm,
        factor=lambda x: x[0] * (1 - x[1] ** 2),
    )
    heat = lambda u, x: jacobian(u)(x)[:, 0] - 0.2 * second_derivatives(u)(x)[:, 1]
    problem = Problem([equation(heat, TIMED, points=128)])
    fitted = problem.fit(ansatz, key=key, steps=200, optimizer=optax.adam(3e-3)).network
    line = jnp.linspace(-1, 1, 33)
    for u in (ansatz, fitted):
        start, end = jnp.stack([0 * line, line], axis=-1), jnp.stack([line + 1, 0 * line - 1], axis=-1)
        assert np.allclose(u(start), jax.vmap(warm)(start), atol=1e-6)  # float32
        assert np.abs(u(end)).max() < 1e-6
    points = jax.random.uniform(key, (200, 2), minval=jnp.array([0.0, -1.0]), maxval=jnp.array([2.0, 1.0]))
    exact = jax.vmap(lambda x: warm(x) * jnp.exp(-0.2 * (math.pi / 2) ** 2 * x[0]))(points)
    error = lambda u: float(jnp.linalg.norm(u(points) - exact) / jnp.linalg.norm(exact))
    assert error(ansatz) > 0.3
    assert error(fitted) < 0.01
    kept = distil(fitted, fitted.network, TIMED, key=key, steps=100, refined=60).network
    assert isinstance(kept, SIREN)
    assert np.linalg.norm(kept(points) - fitted(points)) < 0.02 * np.linalg.norm(exact)
    with pytest.raises(InputError, match="save a SIREN that `distil` has fitted"):
        solution(fitted, TIMED)


def test_a_solution_is_kept_with_its_domain_and_coefficients(tmp_path):
    network = SIREN(2, 1, width=4, depth=0, rngs=nnx.Rngs(0))
    domain = Interval(-1, 3).during(0, 2)
    solution(WithCoefficients(network, speed=0.5), domain, record={"axes": ["t", "x"]}).save(tmp_path / "u.siren")
    kept = load(tmp_path / "u.siren")
    assert (kept.kind, kept.frame.low, kept.frame.high) == ("solution", domain.low, domain.high)
    assert kept.frame.shape == (100, 200)
    assert kept.record == {"axes": ["t", "x"], "coefficients": {"speed": 0.5}}
    np.testing.assert_allclose(kept(jnp.ones(2)), network(jnp.ones(2)), atol=1e-6)  # one compiled, one not


def test_a_network_that_no_file_can_hold_is_no_solution():
    class Other(ReLUMLP):
        """With layers of another kind."""

    with pytest.raises(InputError, match=r"a SIREN or a ReLUMLP, but this network is of .*Other"):
        solution(Other(2, 1, width=1, depth=0, rngs=nnx.Rngs(0)), SQUARE)
    with pytest.raises(InputError, match="takes 1 coordinates, but the domain has 2"):
        solution(SIREN(1, 1, width=1, depth=0, rngs=nnx.Rngs(0)), SQUARE)


def test_conditions_for_more_channels_than_there_are_are_refused():
    with pytest.raises(InputError, match=r"values of the shape \(2,\), but the field has 1 channels"):
        means([dirichlet(jnp.zeros(2), SQUARE)], lambda x: x[:1])


def test_equations_of_one_residual_are_evaluated_together_and_told_apart():
    size = lambda u, x: u(x)
    terms = [
        equation(size, Interval(0, 1), points=7, name="near"),
        dirichlet(0.0, LINE, points=5),
        equation(size, Interval(5, 6), points=3, name="far"),
        equation(size, Interval(5, 6), points=3, name="sizes", power=1),
    ]
    problem = Problem(terms)
    batch = jax.jit(problem.sample)(jax.random.key(0), 0)
    found = jax.jit(lambda batch: problem.objective(lambda x: x, batch))(batch)
    assert set(found) == {"near", "dirichlet", "far", "sizes"}
    for name, power in {"near": 2, "far": 2, "sizes": 1}.items():
        assert np.allclose(found[name], batch[name][0][:, 0] ** power, rtol=1e-6)  # float32


def test_known_points_are_drawn_with_their_values(key):
    points = np.arange(1000.0)[:, None]
    term = known(lambda u, x, value: u(x) - value, points, 2 * points, drawn=500)
    (x, value), (later, _) = term.draw(key, 0), term.draw(jax.random.key(1), 1)
    assert x.shape == (500, 1)
    assert np.array_equal(value, 2 * x)
    assert not np.array_equal(x, later)
    assert abs(np.mean(x) - 499.5) < 6 * 288.7 / 500**0.5  # six standard errors


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Problem([]), r"but got \[\]"),
        (lambda: Problem([dirichlet(0.0, LINE)] * 2), "a name of its own"),
        (lambda: equation(WAVE, TIMED, points=0), "points=0"),
        (lambda: equation(WAVE, TIMED, sampler="halton"), "sampler='halton'"),
        (lambda: equation(WAVE, SQUARE, growing=0.5), "growing takes a share of the budget, .* and a domain with time"),
        (lambda: equation(WAVE, TIMED, growing=5000.0), "share of the budget, .* got 5000"),
        (lambda: initial(0.0, SQUARE), "needs a domain with time"),
        (lambda: initial(None, TIMED), "a value or a velocity, but got neither"),
        (lambda: dirichlet(0.0, LINE, sampler="halton"), "sampler='halton'"),
        (lambda: periodic(DISK, 0), "needs a box"),
        (lambda: periodic(LINE, 0, derivatives=-1), "derivatives=-1"),
        (lambda: periodic(TIMED, 0), "an axis of it in space, but got axis 0"),
        (lambda: dirichlet(0.0, SQUARE, where=lambda x: 0 < x[0] < 1), "a condition decides with .* write & for and"),
        (lambda: dirichlet(0.0, LINE, where=lambda x: x[0] > 5), "the part of the boundary that dirichlet selects"),
        (lambda: known(lambda u, x: u(x), [[0.0], [3.0]], domain=LINE), "1 of 2 points outside the domain"),
        (lambda: known(lambda u, x, v: u(x) - v, [[0.0]], [1.0, 2.0]), "a value for each of its 1 points"),
        (lambda: known(lambda u, x, v: u(x) - v, [[0.0]], 1.0), r"an array of the shape \(\)"),
        (lambda: known(lambda u, x, v: u(x) - v, [[0.0]], [np.nan]), "has 1 coordinates or values that are not finite"),
        (lambda: known(lambda u, x: u(x), [0.1, 0.5, 0.9], domain=LINE), r"got an array of the shape \(3,\)"),
        (lambda: known(lambda u, x: u(x), [[0.1]], domain=SQUARE), "rows of 2 coordinates"),
        (lambda: known(lambda u, x: u(x), [[0.1]], drawn=0), "at least one point in a step, but got drawn=0"),
        (lambda: dirichlet(0.0, LINE, weight=-1.0), "'dirichlet' takes a weight of at least zero"),
        (lambda: dirichlet(0.0, LINE, weight=math.nan), "a weight of at least zero"),
        (lambda: Term("mine", WAVE, lambda key, step: (), 3, 1.0), "'mine' takes power=1 .* got 3"),
        (lambda: Problem([dirichlet(0.0, LINE)]).fixed(jax.random.key(0), 0), "batches=0"),
    ],
)
def test_impossible_terms_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
