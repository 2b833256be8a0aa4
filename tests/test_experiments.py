"""Each experiment in its smoke setting: the mathematics of its numbers, its files, and what bad input says."""

import dataclasses
import functools
import importlib
import json
import math
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.io
import scipy.stats
from flax import nnx

from experiments import (
    activation_spectra,
    activation_statistics,
    audio_fit,
    baselines,
    classifiers,
    codes,
    digits,
    full_waveform_inversion,
    function_spaces,
    higher_derivatives,
    image_fit,
    inverse_problems,
    neural_dataset,
    outside_the_range,
    poisson_editing,
    poisson_reconstruction,
    shape_fit,
    small_pictures,
    video_fit,
)
from experiments.__main__ import run_all
from experiments.run import Settings, names
from experiments.run import run as run_command
from siren_jax import Frame, InputError, PixelDataset
from siren_jax.shapes import Placement

pytestmark = pytest.mark.slow

EXPERIMENTS = [importlib.import_module(f"experiments.{name}") for name in names()]


@dataclasses.dataclass
class Levels:
    """A field whose frame number t is 1 + 2t everywhere."""

    frame: Frame

    def render(self, shape, *, region):
        return np.full((*shape, 1), 1.0 + 2 * region[0][0], np.float32)


@dataclasses.dataclass
class Ball:
    """The signed distance to a sphere, as a shape's field."""

    radius: float
    placement: Placement
    frame: Frame

    def network(self, x):
        return (jnp.linalg.norm(x) - self.radius)[None]

    def render(self):
        cells = self.frame.coordinates(np.stack(np.indices(self.frame.shape), axis=-1))
        return np.linalg.norm(self.placement.units(cells.reshape(-1, 3)), axis=1) - self.radius


def skip_without_its_packages(experiment):
    if experiment in (neural_dataset, codes):
        pytest.importorskip("sklearn", reason="the classifiers need the extra `dev`")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Settings and numbers of an experiment's smoke run, which happens once."""

    @functools.cache
    def run(experiment):
        skip_without_its_packages(experiment)
        config = dataclasses.replace(experiment.SMOKE, out=tmp_path_factory.mktemp("out") / "new" / "folder")
        return config, experiment.main(config)

    return run


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_leaves_its_numbers_and_a_figure_of_all_or_of_each(experiment, run):
    config, numbers = run(experiment)
    record = json.loads((config.out / "numbers.json").read_text())
    assert record["numbers"] == numbers
    assert all(map(math.isfinite, jax.tree.leaves(numbers)))
    assert record["config"]["smoke"]
    figures = {path.stem for path in config.out.glob("*.png")}
    assert figures >= {experiment.Config().out.name} or figures >= set(numbers)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_the_settings_of_an_experiment_are_full_quick_and_smoke(experiment):
    flags = [(c.quick, c.smoke) for c in (experiment.Config(), experiment.QUICK, experiment.SMOKE)]
    assert flags == [(False, False), (True, False), (False, True)]
    name = experiment.__name__.removeprefix("experiments.")
    assert {c.out.as_posix() for c in (experiment.Config(), experiment.QUICK)} == {f"out/experiments/{name}"}


@pytest.mark.parametrize(
    ("arguments", "size"), [([], 3), (["--quick"], 2), (["--smoke"], 1), (["--quick", "--size", "7"], 7)]
)
def test_the_command_line_starts_from_the_settings_it_names(arguments, size, monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Config(Settings):
        out: Path = Path("nowhere")
        size: int = 3

    ran = []
    monkeypatch.setattr(sys, "argv", ["experiment", *arguments])
    presets = {"full": Config(), "quick": Config(size=2, quick=True), "smoke": Config(size=1, smoke=True)}
    run_command(ran.append, **presets, about=None)
    assert [config.size for config in ran] == [size]


def test_a_mistake_in_the_settings_ends_an_experiment_with_one_line(monkeypatch):
    def main(config):
        raise InputError("too wide.")

    monkeypatch.setattr(sys, "argv", ["experiment"])
    settings = Settings(out=Path("out/name"))
    with pytest.raises(SystemExit, match=r"^name: too wide\.$"):
        run_command(main, full=settings, quick=settings, smoke=settings, about=None)


def test_a_failing_experiment_fails_the_run_and_hides_no_other(capfd):
    commands = {name: [sys.executable, "-c", code] for name, code in (("a", "1/0"), ("b", "print('number')"))}
    assert not run_all(commands)
    out, err = capfd.readouterr()
    assert "number" in out
    assert [line.split()[0] for line in out.splitlines() if "FAILED" in line] == ["a"]
    assert "out/experiments/b" in out
    assert "1 of 2 failed: a" in err
    assert run_all({"b": commands["b"]})


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_replaces_nothing_unasked(experiment, tmp_path):
    skip_without_its_packages(experiment)
    (tmp_path / "numbers.json").write_text("of an earlier run")
    with pytest.raises(InputError, match="--overwrite"):
        experiment.main(dataclasses.replace(experiment.SMOKE, out=tmp_path))
    assert [path.read_text() for path in tmp_path.iterdir()] == ["of an earlier run"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_refuses_an_empty_network(experiment, tmp_path):
    with pytest.raises(InputError, match="width"):
        experiment.main(dataclasses.replace(experiment.SMOKE, width=0, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_without_scikit_learn_an_experiment_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(InputError, match="pip install scikit-learn"):
        neural_dataset.main(dataclasses.replace(neural_dataset.SMOKE, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_tensorboard_without_its_package_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(InputError, match=r"siren-jax\[tensorboard\]"):
        activation_statistics.main(
            dataclasses.replace(activation_statistics.SMOKE, tensorboard=True, out=tmp_path / "out")
        )


@pytest.mark.parametrize(("width", "use_bias", "std"), [(2048, True, 1.008), (256, True, 1.469), (256, False, 0.893)])
def test_the_settled_std_is_the_fixed_point_of_the_sine(width, use_bias, std):
    """One more hidden layer, its variance by quadrature over the standard normal, changes nothing."""
    settled = activation_statistics.settled_std(width, 30.0, use_bias=use_bias)
    z, weight = np.polynomial.hermite_e.hermegauss(80)
    sine_variance = weight @ np.sin(settled * z) ** 2 / weight.sum()
    assert np.isclose(settled**2, 2 * sine_variance + use_bias * 900 / (3 * width), rtol=1e-10)
    assert np.isclose(settled, std, atol=5e-4)


@pytest.mark.parametrize("case", ["paper", "paper_shifted", "paper_deep", "paper_unbiased"])
def test_hidden_layers_settle_at_the_predicted_normal_law(case, run):
    config, numbers = run(activation_statistics)
    std = activation_statistics.settled_std(config.width, config.omega, use_bias=case != "paper_unbiased")
    # From 256 units the pooled std varies by about 1/√(2·256), 4.5 %; three of those. The first hidden layer is left
    # out: its inputs are truly arcsine, with a variance above that of the sine of a normal.
    assert np.allclose(numbers[case]["std"][2:], std, rtol=0.135)
    assert max(numbers[case]["ks_fitted_normal"][1:]) < 0.05  # the units' number, 1/√256, sets the scale


def test_the_first_layer_has_the_std_of_its_uniform_factors(run):
    config, numbers = run(activation_statistics)
    # omega·(Wx + b), all of U(-1, 1): omega·√(1/9 + 1/3), with b alone known to 6 % of its variance from 256 draws.
    assert np.isclose(numbers["paper"]["std"][0], config.omega * np.sqrt(4 / 9), rtol=0.1)


def test_the_default_amplifies_rounding_at_every_layer_and_the_paper_does_not(run):
    _, numbers = run(activation_statistics)
    growth = {name: np.divide(*np.array(numbers[name]["float32_error"])[[2, 0]]) for name in ("default", "paper")}
    # A layer multiplies the error by omega·√(n·Var w)·√E cos²: 30/√6 = 12.2 for the default, √(1 + exp(−2σ²)) = 1.01
    # for the paper's weights at σ = 1.47, plus each layer's own rounding. Both with a factor of two a layer to spare.
    assert 150 / 4 < growth["default"] < 150 * 4
    assert growth["paper"] < 4


def test_the_power_of_a_sine_is_half_its_squared_amplitude():
    n, cycles = 256, 10.5
    wave = 3 * np.sin(2 * np.pi * cycles * np.arange(n) * 2 / n)[:, None]  # on [-1, 1), a whole number of periods
    spectrum = activation_spectra.measured_power(wave)
    assert np.isclose(spectrum.sum(), 9 / 2)
    assert np.isclose(spectrum[20:23] @ [1, 1, 1], 9 / 2)  # a Hann window's line is three bins wide
    assert abs(activation_spectra.bandwidth(spectrum) - cycles) <= 0.5


def test_the_expected_spectrum_is_the_mean_over_random_phases():
    n, cycles = 128, 7.3  # between the bins
    x = np.arange(n) * 2 / n
    waves = np.sin(2 * np.pi * (cycles * x[:, None] + np.arange(16) / 16))  # equally spaced phases: the mean is exact
    expected = activation_spectra.expected_power(np.cos(2 * np.pi * cycles * x) / 2)
    assert np.allclose(expected, activation_spectra.measured_power(waves), atol=1e-14)
    assert np.isclose(expected.sum(), 1 / 2)


@pytest.mark.parametrize(("gain", "width"), [(2.0, 2048), (2.0, 256), (3.0, 64)])
def test_the_covariance_of_sines_is_that_of_two_correlated_normals(gain, width):
    lags = np.array([0.0, 0.01, 0.05, 0.3])
    (before, after), gradients = activation_spectra.covariances(lags, gain, 1, width, 30.0)
    r = gain * before + 900 / (3 * width)
    z, weight = np.polynomial.hermite_e.hermegauss(100)
    weight = np.outer(weight, weight) / weight.sum() ** 2
    for k in range(len(lags)):  # z1 and z2 of variance r[0] and covariance r[k]
        z1 = np.sqrt(r[0]) * z[:, None]
        z2 = (r[k] * z[:, None] + np.sqrt(np.maximum(r[0] ** 2 - r[k] ** 2, 0)) * z) / np.sqrt(r[0])
        assert np.isclose(after[k], np.sum(weight * np.sin(z1) * np.sin(z2)), atol=1e-12)
        cosines = np.sum(weight * np.cos(z1) * np.cos(z2))
        assert np.isclose(gradients[1][k], cosines * gain / (900 * width), rtol=1e-10)
        assert np.isclose(gradients[0][k], gain * gradients[1][k] * before[k], rtol=1e-10)


def test_the_slopes_of_settled_layers_grow_by_the_square_root_that_theory_says():
    lags = np.array([0.0, 1e-4])
    activations, gradients = activation_spectra.covariances(lags, 2.0, 30, 2048, 30.0)
    curvature = [c[0] - c[1] for c in activations]
    growth = 1 + np.exp(-2 * activation_statistics.settled_std(2048, 30.0, use_bias=True) ** 2)
    assert np.isclose(curvature[21] / curvature[20], growth, rtol=1e-3)  # a lag of 1e-4 of a wave of 0.1
    assert np.isclose(gradients[20][0] / gradients[21][0], growth, rtol=1e-6)


def test_gradients_before_the_sine_obey_the_chain_rule():
    network = activation_spectra.SIREN(1, 1, width=8, depth=1, rngs=activation_spectra.nnx.Rngs(0))
    points = np.linspace(-1, 1, 5, dtype=np.float32)[:, None]
    layers = activation_spectra.evaluate(network, jnp.asarray(points), units=3)
    (w0, b0), (w1, b1) = (higher_derivatives.weights(layer.linear) for layer in network.layers)
    z0 = 30 * (points @ w0 + b0)
    z1 = 30 * (np.sin(z0) @ w1 + b1)
    last = np.cos(z1) * higher_derivatives.weights(network.output)[0][:, 0]
    first = np.cos(z0) * (last @ (30 * w1).T)
    tolerance = {"rtol": 1e-4, "atol": 1e-7}  # float32, phases of up to 60 radians, values of 1e-2
    for layer, h, gradient in zip(layers, (np.sin(z0), np.sin(z1)), (first, last), strict=True):
        assert np.allclose(layer.activation, h[:, :3], atol=2e-5)
        assert np.allclose(layer.gradient, gradient[:, :3], **tolerance)
        assert np.allclose(layer.squared_gradient, np.mean(gradient**2, axis=1), **tolerance)


@pytest.mark.parametrize("case", ["paper", "paper_shifted", "default"])
def test_gradients_and_bandwidths_are_those_of_many_units(case, run):
    _, numbers = run(activation_spectra)
    rows = numbers[case]
    # From 256 units the squared output weights, and a layer's mean cos², vary by 6 % each, a std by 3 % a layer; the
    # bandwidth of a narrow spectrum by a bin or two. Over two layers the default's gradient grows by a factor of 150.
    assert np.allclose(rows["gradient_std"], rows["expected_gradient_std"], rtol=0.2)
    assert np.allclose(rows["bandwidth"], rows["expected_bandwidth"], rtol=0.15, atol=1)


def test_windows_are_described_by_their_distance_from_the_middle():
    n = 64
    x = (np.arange(5 * n) + 0.5) * 2 / n - 5
    std = np.sqrt((1 - 1 / n**2) / 3)  # of n equally spaced values over a length of 2
    for side in (x, -x):  # zero on one side, a ramp on the other; the mean of both is half the ramp's
        ramp = outside_the_range.describe(np.maximum(side, 0), n)
        assert np.allclose(ramp["std"][1:], std / 2)
        assert np.allclose(ramp["rms"][1:], np.sqrt(std**2 + np.array([2, 4]) ** 2) / 2)


def test_a_repeated_signal_is_found_wherever_it_is():
    noise = np.random.default_rng(0).normal(size=320)
    assert outside_the_range.likeness(noise, 64) < 0.6  # 1/√64 for each of 130 stretches
    repeated = noise.copy()
    repeated[200:264] = 5 - 2 * noise[128:192]
    assert np.isclose(outside_the_range.likeness(repeated, 64), 1)


@pytest.mark.parametrize("target", ["gradient", "laplacian"])
def test_the_direct_solve_gives_back_a_picture_whose_derivatives_are_exact(target):
    row, column = np.indices((40, 56)) + 0.5
    wave = np.cos(np.pi * row / 40) * np.cos(2 * np.pi * column / 56)  # symmetric about every border
    dataset = PixelDataset(0.5 + 0.4 * wave, value_range=(0.0, 1.0))
    solution = poisson_reconstruction.solve(dataset, target)[..., 0]
    # Of a wave of k radians a pixel Sobel's filter and the trapezoidal rule lose about k²/3: 0.4 % of 2π/56, up to 1 %.
    np.testing.assert_allclose(solution, 0.8 * wave, atol=0.01 if target == "gradient" else 1e-5)


def test_a_seam_is_the_step_across_the_outline():
    free = np.zeros((6, 8), bool)
    free[2:4, 3:6] = True
    ramp = np.indices((6, 8))[1][..., None] * 0.0
    assert poisson_editing.seam(ramp, free) == 0
    assert np.isclose(poisson_editing.seam(ramp + 0.3 * free[..., None], free), 0.3)


def test_masks_and_pictures_of_every_mode_have_one_size():
    for size in (16, 33, 64):
        for front, back, free in poisson_editing.examples(size).values():
            assert front.shape == back.shape
            assert free is None or (free.shape == back.shape[:2] and 0.01 < free.mean() < 0.8)


def test_an_unknown_mode_of_composites_is_refused_before_a_folder_is_made(tmp_path):
    with pytest.raises(InputError, match=r"modes must be among .*, but got shine"):
        poisson_editing.main(dataclasses.replace(poisson_editing.SMOKE, modes=("shine",), out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_relu_network_has_no_laplacian_and_a_siren_has_one(run):
    _, numbers = run(image_fit)
    for name, row in numbers.items():
        assert (row["largest_laplacian"] == 0) == name.startswith("ReLU")


def test_every_method_of_an_inverse_problem_is_judged(run):
    _, numbers = run(inverse_problems)
    assert list(numbers) == ["inpainting", "denoising", "super_resolution"]
    for methods in numbers.values():
        assert all(-1 <= row["ssim"] <= 1 for row in methods.values())
    noise = numbers["denoising"]["given"]["psnr"]
    assert abs(noise - 20) < 10 / np.log(10) * 5 * np.sqrt(2 / 32**2)  # five standard errors of a mean of squares


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 3e-5), ("float64", 3e-14)])
def test_composed_derivatives_are_exact_to_rounding_at_every_order(dtype, bound, run):
    _, numbers = run(higher_derivatives)
    # Phases reach 60 radians, 500 roundings of the sine's argument relative to 1; their errors average over the units.
    assert all(max(errors[dtype]) < bound for errors in numbers.values())


def test_the_taylor_series_of_one_sine_layer_is_its_closed_form():
    network = higher_derivatives.SIREN(1, 1, width=8, depth=0, rngs=higher_derivatives.nnx.Rngs(0))
    x = np.linspace(-1, 1, 21)
    series, closed = higher_derivatives.taylor_series(network, x), higher_derivatives.one_sine_layer(network, x)
    assert np.allclose(
        series / np.abs(closed).max(1, keepdims=True), closed / np.abs(closed).max(1, keepdims=True), atol=1e-13
    )


@pytest.mark.parametrize("name", list(shape_fit.SOLIDS))
def test_the_distance_of_a_solid_is_one_with_the_right_slope_and_surface(name):
    solid = shape_fit.SOLIDS[name]
    surface = shape_fit.sample(solid, 300)
    # Outwards along a normal the distance is that along it, as far as the strands of the knot are from each other.
    for step in (0.02, 0.0):
        assert np.allclose(solid.distance(surface.points + step * surface.normals), step, atol=1e-6)
    one, other = np.random.default_rng(0).uniform(-1, 1, (2, 500, 3))
    slope = np.abs(solid.distance(one) - solid.distance(other)) / np.linalg.norm(one - other, axis=1)
    assert slope.max() <= 1 + 1e-9  # the triangle inequality


def test_a_shape_is_judged_by_its_definitions():
    place = shape_fit.SurfaceDataset(shape_fit.sample(shape_fit.SOLIDS["sphere"], 300)).placement
    truth = shape_fit.extract(shape_fit.SOLIDS["sphere"].distance, resolution=32)
    smaller = shape_fit.Mesh(0.9 * truth.vertices, truth.faces)
    field = Ball(radius=0.72, placement=place, frame=Frame((24,) * 3))
    judged = shape_fit.judge(field, smaller, shape_fit.SOLIDS["sphere"], shape_fit.Reference(truth, count=2000))
    # 0.08 apart everywhere, of a diagonal of 1.6·√3; the edges of the polyhedron are half a cell off at most.
    assert np.isclose(judged["chamfer"], 8 / (1.6 * np.sqrt(3)), rtol=0.01)
    assert np.isclose(judged["distance_error"], 8 / (1.6 * np.sqrt(3)), rtol=0.01)
    assert np.isclose(judged["iou"], 0.9**3, atol=0.02)  # 24³ cells
    assert np.isclose(judged["gradient_mean"], 1, atol=1e-5)


def test_the_quality_of_a_video_is_judged_by_its_definition():
    truth = np.zeros((2, 4, 6, 1), np.uint8)
    field = Levels(frame=video_fit.SampleDataset(truth).frame)
    judged, frames = video_fit.judge(field, truth)
    # Frames that are off by 1 and by 3 of 255: mean squares 1 and 9, of all pixels 5.
    expected = {"psnr": 5, "least_psnr": 9}
    for name, square in expected.items():
        assert np.isclose(judged[name], 10 * np.log10(255**2 / square), atol=1e-6)
    assert np.isclose(judged["mean_psnr"], 10 * np.log10(255**2) - 5 * np.log10(9), atol=1e-6)
    assert [frame.max() for frame in frames.values()] == [1, 3]


def test_the_error_of_a_sound_is_judged_by_its_definition():
    truth = np.sin(np.arange(8000) / 9)[:, None].astype(np.float32)
    wrong = truth.copy()
    wrong[:160] += 0.1  # the first fiftieth of a second, one of the two ends
    judged = audio_fit.judge(wrong, audio_fit.Sound(truth, 8000))
    assert np.isclose(judged["mse"], 0.01 * 160 / 8000, rtol=1e-3)  # of a peak of nearly 1
    assert np.isclose(judged["ends_to_all_db"], 10 * np.log10(8000 / 320), atol=1e-3)  # all of it in 320 samples


def test_the_disc_of_an_inversion_is_found_where_it_is():
    config = full_waveform_inversion.Config(centre=(0.1, -0.05), radius=0.15, squared_slowness=0.49)
    axis = np.linspace(-full_waveform_inversion.INNER, full_waveform_inversion.INNER, 81)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    disc = full_waveform_inversion.disc(points, centre=config.centre, radius=config.radius)
    numbers = full_waveform_inversion.judge(1 - 0.51 * disc, points, config, disc)
    assert numbers["distance"] < 1e-3
    assert abs(numbers["radius"] / 0.15 - 1) < 0.03  # cells of a hundredth
    assert numbers["slowness_error"] < 0.1
    assert abs(numbers["slowness"] - 0.7) < 1e-3


def test_records_are_those_of_the_sources_alone_where_nothing_scatters():
    records = full_waveform_inversion.simulate(full_waveform_inversion.Config(squared_slowness=1.0, grid=33))
    assert records.fields.shape == (30, 5)
    alone = full_waveform_inversion.incoming(records.receivers, records.sources)
    assert np.allclose(records.fields, alone, atol=1e-12)


def test_records_are_read_with_time_turned_round(tmp_path):
    path, fields = tmp_path / "a.mat", np.arange(6).reshape(3, 2) * (1 + 1j)
    content = {"source": np.ones((2, 2)), "receivers": np.zeros((3, 2))}
    scipy.io.savemat(path, {**content, "rec_val": fields})
    assert np.array_equal(full_waveform_inversion.read(path).fields, fields.conj())
    for wrong in ({"rec_val": fields.T}, {}):
        scipy.io.savemat(path, {**content, **wrong})
        with pytest.raises(InputError, match=r"a\.mat"):
            full_waveform_inversion.read(path)


@pytest.mark.parametrize("kind", [baselines.TanhMLP, baselines.FastReLUMLP])
def test_the_derivatives_of_a_baseline_are_those_of_autodiff(kind, key):
    network = kind(3, 2, width=8, depth=1, rngs=nnx.Rngs(0))
    x = jax.random.normal(key, (3,))
    value, slope, (wave, first) = jax.jit(lambda x: network.derivatives(x, ((1.0, -1.0, 2.0), (1.0, 0.0, 0.0))))(x)
    hessian = jax.hessian(network)(x)
    assert np.allclose(value, network(x), atol=1e-6)  # float32, as all below
    assert np.allclose(slope, jax.jacfwd(network)(x), atol=1e-6)
    assert np.allclose(wave, hessian[:, 0, 0] - hessian[:, 1, 1] + 2 * hessian[:, 2, 2], atol=1e-6)
    assert np.allclose(first, hessian[:, 0, 0], atol=1e-6)
    assert np.any(hessian) == (kind is baselines.TanhMLP)


def test_what_learns_nothing_errs_at_unknown_pixels_alone(run):
    config, numbers = run(function_spaces)
    for name, row in numbers.items():
        for n in config.known:
            share = row[f"mse_{n}"] / row[f"unknown_mse_{n}"]
            exact = name in ("nearest pixel", "biharmonic")
            assert np.isclose(share, 1 - n / 25**2, rtol=1e-5) == exact


def test_the_surprise_of_a_neural_process_is_minus_the_logarithm_of_its_density(key):
    decoder = baselines.NeuralProcessDecoder(2, latent=3, width=8, depth=1, rngs=nnx.Rngs(0))
    x, code, y = (jax.random.normal(key, shape) for shape in ((5, 2), (3,), (5, 2)))
    mean, deviation = decoder(x, code)
    assert np.min(deviation) > 0.1
    logarithm = scipy.stats.norm.logpdf(y, mean, deviation)
    assert np.isclose(decoder.surprise(x, code, y), -np.mean(logarithm) - np.log(2 * np.pi) / 2, rtol=1e-5)
    assert np.array_equal(decoder.value(x, code), mean)


def test_small_pictures_are_those_of_their_packages():
    assert small_pictures.read("faces").shape == (100, 25, 25, 1)
    whole = np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)
    squares = small_pictures.parts(whole, 2)
    assert squares.shape == (6, 2, 2, 3)
    for number, (row, column) in enumerate(np.ndindex(2, 3)):
        assert np.array_equal(squares[number], whole[2 * row : 2 * row + 2, 2 * column : 2 * column + 2])


def test_principal_components_leave_an_error_of_the_variance_beyond_them():
    pixels = np.random.default_rng(0).normal(size=(50, 12)) * np.arange(1, 13)
    everyone = np.arange(len(pixels))
    code, psnr = classifiers.principal(pixels, everyone, 4)
    variances = np.linalg.svd(pixels - pixels.mean(axis=0), compute_uv=False) ** 2 / len(pixels)
    assert np.allclose(code.var(axis=0), variances[:4])
    assert np.isclose(np.mean(255**2 / 10 ** (psnr / 10)), variances[4:].sum() / 12)


def test_digits_are_read_whatever_the_names_of_the_arrays(tmp_path):
    path, images = tmp_path / "a.npz", np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    np.savez(path, y=np.array([7, 1]), X=images)
    assert np.array_equal(digits.read(path).images, images)
    assert digits.read(path).labels.tolist() == [7, 1]
    for wrong in ({"images": images, "labels": np.zeros(3)}, {"images": images / 2}, {}):
        np.savez(path, **wrong)
        with pytest.raises(InputError, match="needs uint8 images"):
            digits.read(path)
    np.save(tmp_path / "a.npy", images)
    for content in (b"", b"no numbers", (tmp_path / "a.npy").read_bytes(), b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"a\.npz"):
            digits.read(path)


def test_digits_of_the_package_are_shares_of_255(tmp_path):
    (tmp_path / "src" / "digits").mkdir(parents=True)
    for label in range(10):
        data = [label / 10] * 784 + [0] * 784
        (tmp_path / "src" / "digits" / f"{label}.json").write_text(json.dumps({"data": data}))
    images, labels = digits.from_json(tmp_path)
    assert np.bincount(labels).tolist() == [2] * 10
    assert {(label, value) for label, image in zip(labels, images, strict=True) for value in np.unique(image)} == {
        (label, value) for label in range(10) for value in (0, round(25.5 * label))
    }
