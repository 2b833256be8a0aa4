"""Time marching: closed forms over several slabs, slabs that join, one program for all, and what is refused."""

import math
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from siren_jax import SIREN, InputError, jacobian, laplacian, random_features, second_derivatives
from siren_jax.equations import (
    Box,
    Interval,
    Problem,
    dirichlet,
    distil,
    equation,
    initial,
    known,
    march,
    marching,
)
from siren_jax.fitting import checkpoints as store
from siren_jax.fitting.checkpoints import Checkpoints

KEY = jax.random.key(0)
ODE, ROD = Interval(0, 10), Interval(0, 1).during(0, 2)
EVEN = {"sampler": "sobol"}


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def features(d=1, c=1, *, width=30, frequencies=4.0, **settings):
    return random_features(d, c, width=width, frequencies=frequencies, rngs=nnx.Rngs(0), **settings)


def decay(power=2, start=1.0):
    """u' = -u^power from u(0) = start."""
    residual = lambda u, t: jacobian(u)(t)[:, 0] + u(t) ** power
    return Problem([equation(residual, ODE, points=90, **EVEN), initial(start, ODE, points=1)])


def points_of(domain, n=200):
    shares = np.random.default_rng(0).random((n, len(domain.low)))
    return jnp.asarray(domain.low + shares * (np.array(domain.high) - domain.low))


def largest_error(field, exact, domain):
    x = points_of(domain)
    return float(jnp.abs(field(x) - jax.vmap(exact)(x)).max())


@pytest.fixture(scope="module")
def algebraic():
    with jax.enable_x64(True):
        return march(decay(), features(), 10, key=KEY)


def test_a_nonlinear_decay_is_exact_over_ten_slabs(algebraic):
    assert len(algebraic.fits) == 10
    assert largest_error(algebraic.network, lambda t: 1 / (1 + t), ODE) < 1e-9
    assert all(fit.stopped_by == "converged" for fit in algebraic.fits)


def test_what_the_sines_cannot_represent_costs_no_steps():
    rough = march(decay(), features(width=6), 10, key=KEY)
    assert all(fit.loss > 1e-20 for fit in rough.fits)
    assert [fit.steps for fit in rough.fits] == [2] * 10
    assert largest_error(rough.network, lambda t: 1 / (1 + t), ODE) < 1e-3


def test_only_the_first_slab_compiles(algebraic):
    seconds = [fit.compile_seconds for fit in algebraic.fits]
    assert seconds[0] > 0
    assert not any(seconds[1:])
    assert algebraic.compile_seconds == seconds[0]
    assert algebraic.seconds == pytest.approx(sum(fit.seconds for fit in algebraic.fits))
    assert algebraic.steps == sum(len(fit.history["loss"]) for fit in algebraic.fits) >= len(algebraic.fits)
    programs = []
    for slabs in (2, 6):
        compiled = []
        listener = lambda event, seconds, to=compiled, **_: to.append(event) if "backend_compile" in event else None
        jax.monitoring.register_event_duration_secs_listener(listener)
        march(decay(), features(), slabs, key=KEY)
        programs.append(len(compiled))
    assert programs[1] <= programs[0]


def test_the_slabs_join(algebraic):
    edges = jnp.array(algebraic.network.edges[1:-1])[:, None]
    before, after = algebraic.network(edges), algebraic.network(edges * (1 + 1e-15) + 1e-15)
    assert not np.array_equal(before, after)  # two networks
    assert jnp.abs(before - after).max() < 1e-11
    slope = jax.vmap(jacobian(algebraic.network))
    assert jnp.abs(slope(edges) - slope(edges + 1e-12)).max() < 1e-8


def test_slabs_of_different_length_have_the_same_solution(algebraic):
    edges = [0.0, 0.3, 1.0, 2.5, 5.0, 10.0]
    marched = march(decay(), features(), edges, key=KEY)
    assert marched.network.edges == tuple(edges)
    assert largest_error(marched.network, lambda t: 1 / (1 + t), ODE) < 1e-8
    assert not any(fit.compile_seconds for fit in marched.fits[1:])


def test_the_equation_may_depend_on_the_time():
    residual = lambda u, t: jacobian(u)(t)[:, 0] - 2 * t * u(t) / 10  # u = exp(t²/10)
    problem = Problem([equation(residual, Interval(0, 4), points=90, **EVEN), initial(1.0, Interval(0, 4), points=1)])
    marched = march(problem, features(), 4, key=KEY)
    assert largest_error(marched.network, lambda t: jnp.exp(t**2 / 10), Interval(0, 4)) < 1e-9


def heat():
    residual = lambda u, x: jacobian(u)(x)[:, 0] - 0.1 * second_derivatives(u)(x)[:, 1]
    return Problem(
        [
            equation(residual, ROD, points=300, **EVEN),
            initial(lambda x: jnp.sin(math.pi * x[1]), ROD, points=50, weight=10.0, **EVEN),
            dirichlet(0.0, ROD, points=50, weight=10.0, **EVEN),
        ]
    )


def cooling(x):
    return jnp.exp(-0.1 * math.pi**2 * x[:1]) * jnp.sin(math.pi * x[1:])


@pytest.mark.slow
def test_heat_in_a_rod_is_solved_over_several_slabs():
    marched = march(heat(), features(2, width=120, frequencies=[2.0, 7.0]), 4, key=KEY)
    assert largest_error(marched.network, cooling, ROD) < 1e-6
    x = points_of(ROD, 20)
    slope = jax.vmap(jacobian(marched.network))(x)[:, 0]
    assert jnp.allclose(slope, jax.vmap(jax.jacobian(cooling))(x)[:, 0], atol=1e-4)


def test_a_wave_continues_with_its_velocity():
    string = Interval(0, 1).during(0, 3)
    problem = Problem(
        [
            equation(lambda u, x: laplacian(u, weights=(1, -1))(x), string, points=400, **EVEN),
            initial(lambda x: jnp.sin(math.pi * x[1]), string, velocity=0.0, points=60, weight=10.0, **EVEN),
            dirichlet(0.0, string, points=50, weight=10.0, **EVEN),
        ]
    )
    marched = march(problem, features(2, width=120, frequencies=[4.0, 6.0]), 3, key=KEY)
    exact = lambda x: jnp.cos(math.pi * x[:1]) * jnp.sin(math.pi * x[1:])
    assert largest_error(marched.network, exact, string) < 1e-5


def test_a_march_that_is_watched_may_end_and_keeps_the_slabs_that_are_solved():
    seen = []

    def watch(progress):
        seen.append(progress)
        return progress.share > 0.25

    marched = march(decay(), features(), 10, key=KEY, watch=watch)
    assert [progress.share for progress in seen] == pytest.approx([0.1, 0.2, 0.3])
    assert (marched.stopped_by, marched.network.edges) == ("watch", (0.0, 1.0, 2.0, 3.0))
    assert np.array_equal(seen[-1].network().rows[...], marched.network.rows[...])
    assert largest_error(marched.network, lambda t: 1 / (1 + t), Interval(0, 3)) < 1e-9


@pytest.mark.usefixtures("heeded_signals")
def test_ctrl_c_between_slabs_keeps_those_that_are_solved():
    marched = march(decay(), features(), 10, key=KEY, watch=lambda progress: signal.raise_signal(signal.SIGINT))
    assert (marched.stopped_by, marched.network.edges) == ("interrupt", (0.0, 1.0))


RATE = 40.0
FAST = Interval(0, 1)


def front(start=0.01):
    """u' = 40·u·(1 - u), which rises from 1 % to 99 % within a quarter of the time."""
    residual = lambda u, t: jacobian(u)(t)[:, 0] / RATE - u(t) * (1 - u(t))
    return Problem([equation(residual, FAST, points=120, **EVEN), initial(start, FAST, points=1)])


def logistic(t):
    return 1 / (1 + 99 * jnp.exp(-RATE * t))


@pytest.fixture(scope="module")
def halved():
    """The front in two slabs, the first of which is too long, and what is said of it."""
    messages, shares = [], []

    def watch(progress):
        messages.extend(progress.message.splitlines())
        shares.append(progress.share)

    with jax.enable_x64(True):
        marched = march(front(), features(), 2, key=KEY, tolerance=1e-10, watch=watch)
    return marched, messages, shares


def test_a_front_within_a_slab_is_solved_in_parts_of_it(halved):
    marched, _, shares = halved
    edges = marched.network.edges
    assert edges[-1] == 1
    assert set(np.diff(edges)) < {2.0**-k for k in range(1, 8)}  # halves of halves of 1/2
    assert shares == list(edges[1:-1])  # of the time, not of the number of slabs
    assert largest_error(marched.network, logistic, FAST) < 1e-6
    assert not any(fit.compile_seconds for fit in marched.fits[1:])  # the first one failed


def test_a_front_within_a_slab_is_missed_without_a_tolerance(monkeypatch):
    missed = march(front(), features(), 2, key=KEY, watch=lambda progress: True).network
    assert missed.edges == (0.0, 0.5)  # the residuals of a solution that stays near zero are small
    assert largest_error(missed, logistic, Interval(0, 0.5)) > 0.5
    monkeypatch.setattr(marching, "HALVINGS", 0)
    with pytest.warns(UserWarning, match="the march ends at the time 0: slab 1 of 2 is not solved: a loss of "):
        ended = march(front(), features(), 2, key=KEY, tolerance=1e-10)
    assert (ended.stopped_by, ended.network.edges, len(ended.fits)) == ("unsolved", (0.0, 0.5), 1)


def test_what_was_halved_is_told(halved):
    marched, messages, _ = halved
    assert len(messages) == len(marched.fits) - (len(marched.network.edges) - 1)
    assert messages[0].startswith("slab 1 of 2 halved: a loss of 1e-05 at step ")
    assert messages[1].startswith("1/2 of slab 1 of 2 halved: ")


def test_one_step_solves_a_linear_equation():
    residual = lambda u, t: jacobian(u)(t)[:, 0] + u(t)
    problem = Problem([equation(residual, ODE, points=90, **EVEN), initial(1.0, ODE, points=1)])
    marched = march(problem, features(), 4, key=KEY, steps=1)
    assert [(fit.steps, fit.stopped_by) for fit in marched.fits] == [(1, "converged")] * 4
    assert largest_error(marched.network, lambda t: jnp.exp(-t), ODE) < 1e-7


def test_too_few_steps_cost_slabs_and_no_digits():
    marched = march(decay(), features(), 4, key=KEY, steps=1)
    assert len(marched.network.edges) > 5
    assert (marched.stopped_by, marched.steps) == ("converged", len(marched.fits))
    assert largest_error(marched.network, lambda t: 1 / (1 + t), ODE) < 1e-9


def test_a_tolerance_makes_slabs_short_where_the_solution_changes_fast():
    time, width = Interval(0, 2), 0.02
    slope = lambda t: 2 / math.sqrt(math.pi) / width * jnp.exp(-(((t - 0.7) / width) ** 2))
    residual = lambda u, t: width * (jacobian(u)(t)[:, 0] - slope(t))
    pulse = Problem([equation(residual, time, points=120, **EVEN), initial(0.0, time, points=1)])
    exact = lambda t: jax.scipy.special.erf((t - 0.7) / width) + 1
    rough, exacter = (march(pulse, features(), 2, key=KEY, tolerance=tolerance) for tolerance in (None, 1e-18))
    assert rough.network.edges == (0.0, 1.0, 2.0)  # a linear equation is always solved, by least squares
    assert largest_error(rough.network, exact, time) > 0.1
    assert largest_error(exacter.network, exact, time) < 1e-7
    edges = np.array(exacter.network.edges)
    lengths = np.diff(edges)
    assert edges[np.argmin(lengths)] == pytest.approx(0.7, abs=0.1)
    assert lengths[-1] == 1  # where the solution is constant


def test_a_slab_with_values_that_are_not_finite_is_halved():
    time = Interval(0, 4)  # u = 1 + t; from a constant start, the logarithm is defined for a time of one
    residual = lambda u, t: jacobian(u)(t)[:, 0] - 1 - jnp.log(u(t) - t)
    problem = Problem([equation(residual, time, points=90, **EVEN), initial(1.0, time, points=1)])
    told = []
    marched = march(problem, features(), 2, key=KEY, watch=lambda progress: told.append(progress.message))
    assert "slab 1 of 2 halved: at step 0 term 'equation' is nan" in told[0]
    assert largest_error(marched.network, lambda t: 1 + t, time) < 1e-8


def test_a_march_that_cannot_begin_says_so():
    with pytest.warns(UserWarning, match="1/64 of slab 1 of 2 is not solved: at step 0 .*term 'initial' is nan"):
        marched = march(decay(start=math.nan), features(), 2, key=KEY)
    whole = marched.as_fit()
    assert (whole.stopped_by, whole.steps, marched.network.edges) == ("unsolved", 0, (0.0, 5 / 64))


@pytest.mark.parametrize("slabs", [1, 2, 3, 4])  # of six, the first of which are parts of the first slab
def test_slabs_are_continued_to_the_bit(slabs, halved):
    whole = halved[0].network
    end = whole.edges[slabs]
    first = march(front(), features(), 2, key=KEY, tolerance=1e-10, watch=lambda progress: progress.share >= end)
    assert first.network.edges == whole.edges[: slabs + 1]
    later = march(front(), features(), 2, key=KEY, tolerance=1e-10, after=first.network)
    assert later.network.edges == whole.edges
    assert np.array_equal(later.network.rows[...], whole.rows[...])


@pytest.mark.parametrize("slabs", [1, 3])
def test_a_killed_march_is_continued_from_its_checkpoint_to_the_bit(slabs, halved, tmp_path, monkeypatch):
    monkeypatch.setattr(store, "SHARE", math.inf)  # a checkpoint after each slab

    def killed(progress):
        if len(progress.network().edges) > slabs:
            raise MemoryError

    whole = halved[0]
    settings = {"key": KEY, "tolerance": 1e-10}
    with Checkpoints(tmp_path, every=0.0) as checkpoints, pytest.raises(MemoryError):
        march(front(), features(), 2, watch=killed, checkpoints=checkpoints, **settings)
    for _ in range(2):  # the second time, there is nothing left to solve
        with Checkpoints(tmp_path) as checkpoints:
            marched = march(front(), features(), 2, checkpoints=checkpoints, **settings)
        assert marched.network.edges == whole.network.edges
        assert np.array_equal(marched.network.rows[...], whole.network.rows[...])
        assert np.array_equal(marched.as_fit().history["loss"], whole.as_fit().history["loss"])
    assert marched.compile_seconds == 0
    with Checkpoints(tmp_path) as checkpoints, pytest.raises(InputError, match="is from another march"):
        march(front(), features(), 4, checkpoints=checkpoints, **settings)


def test_parameters_are_those_that_slabs_share_and_the_last_layers(algebraic):
    assert algebraic.network.parameters == 2 * 30 + 10 * (30 + 1)


@pytest.mark.parametrize("tolerance", [0, -1e-9, math.nan])
def test_a_tolerance_is_positive(tolerance):
    with pytest.raises(InputError, match="tolerance= is the largest loss of a solved slab, a positive number"):
        march(decay(), features(), 2, key=KEY, tolerance=tolerance)


def test_slabs_of_another_march_are_not_continued(algebraic):
    for network, message in (
        (features(width=20), "those of another network"),
        (random_features(1, 1, width=30, frequencies=4.0, rngs=nnx.Rngs(1)), "those of another network"),
        (features(graded={0: (0.0, 1.0)}), "those of another network"),
        (features(), "end at the time 10, and the problem's at 10: nothing is left"),
    ):
        with pytest.raises(InputError, match=message):
            march(decay(), network, 10, key=KEY, after=algebraic.network)
    earlier = Problem([initial(1.0, Interval(-5, 20))])
    with pytest.raises(InputError, match="begin at the time 0, but the problem's at -5"):
        march(earlier, features(), 10, key=KEY, after=algebraic.network)
    with pytest.raises(InputError, match="method='last-layer', but this march has 'gauss-newton'"):
        march(decay(), features(), 10, key=KEY, method="gauss-newton", after=algebraic.network)


def test_no_slab_begins_after_the_seconds():
    marched = march(decay(), features(), 10, key=KEY, seconds=1e-9)
    assert (marched.stopped_by, len(marched.fits)) == ("seconds", 1)


def test_the_fits_of_all_slabs_are_one_fit(algebraic):
    whole = algebraic.as_fit()
    assert whole.steps == sum(fit.steps for fit in algebraic.fits)
    assert whole.seconds == pytest.approx(algebraic.seconds)
    assert np.array_equal(whole.history["loss"], np.concatenate([fit.history["loss"] for fit in algebraic.fits]))
    assert (whole.network, whole.stopped_by) == (algebraic.network, "converged")


@pytest.mark.slow
def test_all_parameters_may_be_learned_by_gauss_newton():
    network = SIREN(1, 1, width=8, depth=1, first_omega=2.0, omega=1.0, rngs=nnx.Rngs(0))
    marched = march(decay(), network, [0, 1, 3, 10], key=KEY, steps=40, method="gauss-newton")
    assert largest_error(marched.network, lambda t: 1 / (1 + t), ODE) < 1e-3
    assert not any(fit.compile_seconds for fit in marched.fits[1:])


def test_one_network_has_the_values_of_the_slabs(algebraic):
    wide = features(width=100, frequencies=8.0)
    one = distil(algebraic.network, wide, ODE, key=KEY, method="last-layer", graded={0: (0.0, 1.0)}).network
    assert type(one) is SIREN
    assert largest_error(one, lambda t: 1 / (1 + t), ODE) < 1e-6


@pytest.mark.parametrize(
    ("slabs", "message"),
    [
        (0, "at least one slab"),
        ([0.0, 5.0, 3.0, 10.0], "increasing times"),
        ([0.0, 10.0, 20.0], "from 0 to 20, but the problem's time from 0 to 10"),
        ([0.0], "increasing times"),
    ],
)
def test_slabs_that_do_not_divide_the_time_are_refused(slabs, message):
    with pytest.raises(InputError, match=message):
        march(decay(), features(), slabs, key=KEY)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([equation(lambda u, x: u(x), Box((0, 0), (1, 1)))], r"from an initial value.*got the terms \['equation'\]"),
        (
            [initial(1.0, ODE), known(lambda u, t, v: u(t) - v, [[1.0]], [[0.5]], name="data")],
            r"those of \['data'\] are given",
        ),
        ([initial(1.0, ODE), equation(lambda u, t: u(t), Interval(0, 5))], "the same time in all terms"),
        ([initial(lambda u, x: u(x), ODE)], "numbers or functions of the point alone"),
    ],
)
def test_problems_without_an_evolution_are_refused(terms, message):
    with pytest.raises(InputError, match=message):
        march(Problem(terms), features(), 2, key=KEY)
