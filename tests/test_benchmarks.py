"""The benchmarks compare equals, and their truths are true."""

import importlib
import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks import encoding, many, measure, quality, scaling, sounds, stacks, step
from benchmarks.peers import PEERS, dataset
from benchmarks.pictures import hold_out, judge
from siren_jax import Base, LatentSIREN, NeuralField, ReLUMLP, generate_coordinates
from siren_jax.fields import Frame


@pytest.mark.slow
@pytest.mark.parametrize("target", ["values", "mixed"])
@pytest.mark.parametrize("peer", ["plain JAX", "PyTorch"])
def test_peers_take_the_same_steps_as_ours(peer, target):
    if peer == "PyTorch":
        pytest.importorskip("torch", reason="the comparison needs the extra `bench`")
    data = dataset(12)
    ours, theirs = ([step() for _ in range(3)] for step in (PEERS[name](data, target) for name in ("ours", peer)))
    # Three float32 steps of Adam, whose first ones depend on little but the signs of the gradient.
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS)
def test_several_steps_at_a_time_are_the_same_steps(peer):
    if peer == "torch.compile":
        pytest.skip("compiles for long, and is PyTorch's loop")
    data = dataset(12)
    single, triple = PEERS[peer](data, "values"), PEERS[peer](data, "values", count=3)
    np.testing.assert_allclose([single() for _ in range(6)][::3], [triple() for _ in range(2)], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("peer", stacks.PEERS)
def test_stacks_take_the_same_steps_as_fit_many(peer, monkeypatch):
    if peer == "torch.compile":
        pytest.skip("compiles for long, and is PyTorch's loop")
    monkeypatch.setattr(many, "PEERS", {name: stacks.PEERS[name] for name in {"plain JAX", peer}})
    config = many.Config(count=4, width=8)
    many.check_equality(many.read(config), config)


def test_a_step_of_gradient_descent_on_codes_is_that_of_the_objective_of_gauss_newton():
    network = LatentSIREN(2, 1, latent=3, width=8, depth=1, rngs=nnx.Rngs(0))
    points, start = generate_coordinates((5, 4)), np.array([[0.5, -1.0, 2.0], [0.0, 1.0, 0.0]], np.float32)
    values = np.random.default_rng(0).uniform(-1, 1, (2, 20, 1)).astype(np.float32)
    base = Base(network, (5, 4), (0.0, 1.0), "image", None, noise=0.03)
    found = encoding.descent(base, points, values, start, jnp.array([1e-2]), "gradient descent")
    for code, y, after in zip(start, values, found, strict=True):
        value, jacobian = network.value_and_jacobian(jnp.asarray(points), jnp.asarray(code))
        slope = -2 * np.einsum("nck,nc->k", jacobian, y - value) + 2 * base.prior * code  # of F, see sets/codes.py
        np.testing.assert_allclose(after, code - 1e-2 * slope, rtol=1e-4, atol=1e-6)  # float32


@pytest.mark.parametrize("needed", [150, 725, 2000])
def test_the_least_budget_is_found_to_a_twentieth(needed):
    enough = lambda budget: budget.steps * budget.rate >= 2e-3 * needed * (1 if budget.decay else 2)
    found = many.least(enough, rates=(1e-3, 2e-3))
    assert (found.rate, found.decay) == (2e-3, True)
    assert needed <= found.steps <= 1.05 * needed + many.LOOK


def test_what_lies_between_the_pixels_of_a_slope_is_the_slope():
    h, w = 24, 36
    rows, columns = np.mgrid[:h, :w]
    picture = hold_out("slope", ((2 * rows + columns) / 100)[..., None])
    inner = np.s_[1:-1, 1:-1]  # the filter reflects at the border
    assert picture.pixels.shape == (12, 18, 1)
    assert picture.between.shape == (11, 17, 1)
    average = (picture.pixels[:-1, :-1] + picture.pixels[1:, 1:]) / 2
    np.testing.assert_allclose(picture.between[inner], average[inner], rtol=1e-12)
    # A pixel is two samples of the slope, and 2/18 coordinates.
    np.testing.assert_allclose(picture.gradient[inner][..., 0, :], np.broadcast_to([0.04 * 9, 0.02 * 9], (8, 14, 2)))


def test_a_perfect_field_is_judged_perfect():
    picture = hold_out("slope", np.mgrid[:24, :36][0][..., None] / 100)
    frame = Frame((12, 18))
    # relu(z) - relu(-z) = z is the row; a pixel is the mean of the samples 2·row and 2·row + 1.
    line = ReLUMLP(2, 1, width=2, depth=0, rngs=nnx.Rngs(0))
    into, out = line.layers
    into.kernel[...] = jnp.array([[1.0, -1.0], [0.0, 0.0]]) / frame.spacing
    into.bias[...] = jnp.array([5.5, -5.5])
    out.kernel[...] = jnp.array([[0.02], [-0.02]])
    out.bias[...] = jnp.array([0.005])
    quality = judge(NeuralField(line, frame), picture)
    # All but the outermost rows, which the filter's reflection bends by less than a hundredth of the range.
    assert quality["pixels"] > 45
    assert quality["between"] > 45
    assert quality["gradient"] < 0.1


def test_sounds_are_known_between_their_samples():
    sound = sounds.synthesise("chirp")
    assert sound.samples.shape[0] == sound.between.shape[0] + 1 == 44100
    # At most 3 kHz at 22,050 samples a second: the mean of two neighbours is 1 - cos(π·3000/22050) = 9 % off at most.
    error = sound.between - (sound.samples[:-1] + sound.samples[1:]) / 2
    assert np.abs(error).max() < 0.1


RECIPE = {"pictures": ("camera",), "budgets": ((12, 1.0),), "paper_steps": 3}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "settings"),
    [
        ("step", {"sizes": (12,), "targets": ("values",), "rounds": 1, "memory": False}),
        ("sine", {"elements": 64, "rounds": 1}),
        ("checkpoints", {"size": 12, "steps": 2, "every": (1.0,), "rounds": 1}),
        ("helmholtz", {"points": (16,), "rounds": 1}),
        ("targets", {"pictures": ("camera",), "size": 12, "others": (), "budgets": (4, 8), "width": 8}),
        ("quality", {"size": 12, "budgets": (0.5,), "tutorial_steps": 3, "torch_rounds": 1}),
        ("recipe", RECIPE | {"neighbours": ("omega x 1.4",), "target": "gradient"}),
        ("omega", {"pictures": ("camera",), "sizes": (12,), "picture_omegas": (20.0,), "sounds": (), "passes": 1.0}),
        ("scaling", {"sizes": (12,), "widths": (8,), "depths": (1,), "targets": ("values",), "rounds": 1}),
        ("soak", {"size": 12, "seconds": 1.0, "every": 0.2, "preview_every": 100}),
        ("viewer", {"rounds": 1, "side": 8, "sizes": (16, 8)}),
        ("startup", {"rounds": 1, "size": 12, "targets": ("values",)}),
        (
            "many",
            {"count": 8, "quality": 12.0, "searched": 4, "width": 4, "chunks": (2,), "rates": (6e-3,), "rounds": 2},
        ),
        (
            "encoding",
            {
                "count": 60,
                "tests": 8,
                "latent": 4,
                "width": 8,
                "steps": 10,
                "newton": (1,),
                "descent": (2,),
                "rounds": 1,
            },
        ),
    ],
)
def test_benchmark_prints_its_table_and_writes_its_result(module, settings, tmp_path, monkeypatch, capsys):
    if module == "viewer" and not shutil.which("chromium"):
        pytest.skip("there is no Chromium; apt-get install chromium")
    if module == "encoding":
        pytest.importorskip("sklearn", reason="its digits need the extra `dev`")
    if module == "quality":
        pytest.importorskip("torch", reason="the comparison needs the extra `bench`")
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    for drawing in (step, quality, scaling):
        monkeypatch.setattr(drawing, "PICTURES", tmp_path)
    monkeypatch.setattr(step, "PEERS", {name: PEERS[name] for name in ("ours", "plain JAX")})
    monkeypatch.setattr(many, "PEERS", {"plain JAX": stacks.plain_jax})
    program = importlib.import_module(f"benchmarks.{module}")
    rows = program.main(program.Config(**settings))
    (path,) = tmp_path.glob("*.json")
    written = json.loads(path.read_text())
    assert written["rows"] == json.loads(json.dumps(rows))
    assert written["machine"]["jax"]
    assert "| --- |" in capsys.readouterr().out
