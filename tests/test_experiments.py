"""Each experiment in its smoke setting: the mathematics of its numbers, its files, and what bad input says."""

import dataclasses
import functools
import json
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import activation_statistics, audio_fit, higher_derivatives, image_fit, shape_fit, video_fit
from siren_jax import Frame, InputError
from siren_jax.signals import Placement

EXPERIMENTS = (activation_statistics, audio_fit, higher_derivatives, image_fit, shape_fit, video_fit)


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


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Settings and numbers of an experiment's smoke run, which happens once."""

    @functools.cache
    def run(experiment):
        config = dataclasses.replace(experiment.SMOKE, out=tmp_path_factory.mktemp("out") / "new" / "folder")
        return config, experiment.main(config)

    return run


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_leaves_its_numbers_and_a_figure_for_each_case(experiment, run):
    config, numbers = run(experiment)
    record = json.loads((config.out / "numbers.json").read_text())
    assert numbers in (record, *record.values())
    figures = {path.stem for path in config.out.glob("*.png")}
    assert figures == {"image_fit"} if experiment is image_fit else figures >= set(numbers)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_replaces_nothing_unasked(experiment, run):
    config, _ = run(experiment)
    with pytest.raises(InputError, match="--overwrite"):
        experiment.main(config)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_refuses_an_empty_network(experiment, tmp_path):
    with pytest.raises(InputError, match="width"):
        experiment.main(dataclasses.replace(experiment.SMOKE, width=0, out=tmp_path / "out"))
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


def test_a_sound_needs_the_omega_of_its_own_spectrum(run):
    _, numbers = run(audio_fit)
    assert numbers["siren"]["snr"] > max(numbers["siren_30"]["snr"], numbers["relu"]["snr"]) + 3  # half the noise


@pytest.mark.parametrize("target", ["values", "gradient", "laplacian"])
def test_a_siren_fits_a_picture_and_its_derivatives_better_than_relu(target, run):
    _, numbers = run(image_fit)
    siren, relu = numbers[f"SIREN, {target}"], numbers[f"ReLUMLP, {target}"]
    assert siren["relative_error"] < relu["relative_error"] / 2
    assert relu["largest_laplacian"] == 0 < siren["largest_laplacian"]
    if target == "laplacian":  # relative to its mean square, a Laplacian of zero is off by 1; over the last batches
        assert np.isclose(relu["relative_error"], 1, atol=0.1)


def test_a_siren_fits_a_video_better_than_relu(run):
    _, numbers = run(video_fit)
    assert numbers["siren"]["psnr"] > numbers["relu"]["psnr"] + 3  # half the noise


def test_a_siren_fits_a_surface_better_than_relu(run):
    _, numbers = run(shape_fit)
    siren, relu = numbers["torus_siren"], numbers["torus_relu"]
    assert siren["chamfer"] < relu["chamfer"] / 2
    assert siren["normal_consistency"] > relu["normal_consistency"]
    assert (siren["pieces"], siren["closed"], siren["euler_characteristic"]) == (1, 1, 0)


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
