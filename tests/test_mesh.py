"""A fit on several devices is the fit on one: the same sums in the same order, whichever device computes them."""

import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from flax import nnx
from jax.sharding import Mesh

import siren_jax
from siren_jax import InputError, fit, refine, supervise
from siren_jax.cli import main
from siren_jax.cli.options import Training

# A process has several devices only if it begins with them. As for users, programs are optimised: without that, XLA
# compiles Adam differently for one and for several devices. All meshes are in one process, because the number of
# devices of a process is also the least number of threads that divide a product of matrices.
SEVERAL = "--xla_force_host_platform_device_count=8"
FITS = """
import sys
import jax, jax.numpy as jnp, numpy as np
from flax import nnx
from jax.sharding import Mesh
from siren_jax import SIREN, Checkpoints, SumOfSquares, fit, gradient, refine
from siren_jax.fitting import refinement

KEY = jax.random.key(3)
network = SIREN(1, 1, width=16, depth=1, first_omega=5.0, omega=5.0, rngs=nnx.Rngs(0))
here = jnp.array([[0.5], [-0.5], [1.0]])  # an array that a function reads is no argument of the program

def sample(key, step):
    x = jax.random.uniform(key, (100, 1), minval=-1)
    return {"x": x, "y": jnp.where(step == 20, jnp.nan, jnp.sin(3 * x)), "ends": here}

def objective(field, batch):
    slope = jax.vmap(gradient(field))(batch["x"]) - 3 * jnp.cos(3 * batch["x"])
    value = jax.vmap(field)(batch["x"]) - batch["y"]
    ends = jax.vmap(field)(batch["ends"]) - jnp.sin(3 * here)
    return {"slope": jnp.sum(slope**2, -1), "value": jnp.sum(value**2, -1), "ends": jnp.sum(ends**2, -1)}

settings = dict(key=KEY, tile=7, skip=1, average=True, balance_every=5, weights={"value": lambda share: 2 - share})
settings["reuse"] = True  # compiled once

def of(fitted):
    weights = [np.ravel(leaf) for leaf in jax.tree.leaves(nnx.state(fitted.network, nnx.Param))]
    return np.concatenate([*(fitted.history[name] for name in fitted.history if name != "seconds"), *weights])
"""
MESHES = """
found = {}
for n in (0, 1, 2, 8):
    mesh = Mesh(np.array(jax.devices()[:n]), ("points",)) if n else None
    found[f"fitted {n}"] = of(fit(network, objective, sample, steps=200, mesh=mesh, **settings))
    if n in (0, 8):
        found[f"refined {n}"] = of(refine(network, objective, sample(KEY, 0), steps=5, tile=7, mesh=mesh))
        value = SumOfSquares(lambda field, batch: {"value": jax.vmap(field)(batch["x"]) - batch["y"]})
        solved = refine(network, value, sample(KEY, 0), steps=2, method="last-layer", tile=7, mesh=mesh)
        found[f"solved {n}"] = np.concatenate([solved.history["loss"], np.ravel(solved.network.output.kernel[...])])
        refinement.MOST = 3
        gone = refine(network, value, sample(KEY, 0), steps=5, method="last-layer", tile=7, mesh=mesh)
        refinement.MOST = 8000
        found[f"conjugate {n}"] = np.concatenate([gone.history["loss"], np.ravel(gone.network.output.kernel[...])])
mesh, looks = jax.make_mesh((2,), ("points",)), []
until = lambda progress: looks.append(progress.step) or progress.step >= 16
stop = lambda progress: progress.step > 30
for ends in (stop, None):
    with Checkpoints(sys.argv[1] + "/kept") as kept:
        fitted = fit(network, objective, sample, steps=200, mesh=mesh, watch=ends, checkpoints=kept, **settings)
found["resumed"] = of(fitted)
stopped = fit(network, objective, sample, steps=200, mesh=mesh, until=until, **settings)
found["looks"] = np.array([stopped.steps, *looks])
value = lambda field, batch: {"value": objective(field, batch)["value"]}
found["message"] = np.array(fit(network, value, sample, key=KEY, steps=50, mesh=mesh).message)
np.savez(sys.argv[1] + "/found.npz", **found)
"""
PROCESSES = """
directory, number, count, port = sys.argv[1], *map(int, sys.argv[2:])
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"localhost:{port}", count, number)
"""
TOGETHER = """
from siren_jax import InputError
mesh = Mesh(np.array(jax.devices()), ("points",))
assert mesh.size == 2
until = (lambda progress: progress.step >= 100) if number == 0 else lambda progress: False
fitted = []
for ends in (until, None):  # stopped, and continued from the checkpoint, which one process has
    kept = Checkpoints(directory + f"/kept {count}") if number == 0 else None
    fitted.append(
        fit(network, objective, sample, steps=200, mesh=mesh, until=ends, checkpoints=kept, **settings)
    )
    if kept:
        kept.close()
timed = fit(network, objective, sample, seconds=0.1, mesh=mesh, watch=lambda progress: None, **settings)
refused = False
if count > 1:
    try:
        fit(network, objective, sample, steps=1, mesh=mesh, **{**settings, "key": jax.random.key(number)})
    except InputError:
        refused = True
found = {"first": of(fitted[0]), "whole": of(fitted[1]), "timed": of(timed), "refused": refused}
np.savez(directory + f"/{number} of {count}.npz", **found)
"""


def start(code, flags, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "XLA_FLAGS": flags},
        stderr=subprocess.PIPE,
        text=True,
    )


def succeeded(*processes):
    for process in processes:
        error = process.communicate(timeout=300)[1]
        assert process.returncode == 0, error


def loaded(path):
    with np.load(path) as file:
        return dict(file)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Results of fits on several devices, by name."""
    directory = tmp_path_factory.mktemp("mesh")
    succeeded(start(FITS + MESHES, SEVERAL, directory))
    return loaded(directory / "found.npz")


@pytest.mark.slow
def test_1_2_and_8_devices_give_the_same_bits(found):
    assert np.array_equal(found["fitted 1"], found["fitted 2"], equal_nan=True)  # a skipped step is in the history
    assert np.array_equal(found["fitted 1"], found["fitted 8"], equal_nan=True)


@pytest.mark.slow
def test_the_first_steps_are_those_without_a_mesh_up_to_rounding(found):
    losses = found["fitted 0"][:15]
    assert np.allclose(found["fitted 2"][:15], losses, rtol=1e-5)  # later steps amplify the rounding
    assert losses[14] < 0.9 * losses[0]


@pytest.mark.slow
def test_the_last_layer_on_several_devices_is_that_on_one_up_to_rounding(found):
    one, eight = found["solved 0"], found["solved 8"]
    assert np.allclose(eight, one, rtol=1e-8, atol=1e-8 * np.abs(one[1:]).max())
    assert one[1] < 1e-6 * one[0]


@pytest.mark.slow
def test_conjugate_gradients_on_several_devices_are_those_on_one_up_to_rounding(found):
    one, eight = found["conjugate 0"], found["conjugate 8"]
    assert np.allclose(eight, one, rtol=1e-8, atol=1e-8 * np.abs(one[5:]).max())
    assert one[4] < 0.1 * one[0]


@pytest.mark.slow
def test_l_bfgs_on_several_devices_is_that_on_one(found):
    assert np.allclose(found["refined 8"][:5], found["refined 0"][:5], rtol=1e-4)  # its line search amplifies rounding


@pytest.mark.slow
def test_a_resumed_fit_on_two_devices_equals_an_uninterrupted_one(found):
    assert np.array_equal(found["resumed"], found["fitted 2"], equal_nan=True)


@pytest.mark.slow
def test_until_and_messages_are_those_of_a_fit_on_one_device(found):
    assert found["looks"].tolist() == [16, 8, 16]
    assert str(found["message"]) == "at step 20 term 'value' is nan"


@pytest.mark.slow
def test_two_processes_give_the_bits_of_one_with_two_devices(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    # jax.distributed comes before the first use of JAX.
    begin, rest = FITS.split("KEY =", 1)
    code = f"{begin}{PROCESSES}KEY ={rest}{TOGETHER}"
    one = "--xla_force_host_platform_device_count=1"
    succeeded(*(start(code, one, tmp_path, number, 2, port) for number in (0, 1)))
    succeeded(start(code, one.replace("=1", "=2"), tmp_path, 0, 1, port))
    zero, other, alone = (loaded(tmp_path / f"{name}.npz") for name in ("0 of 2", "1 of 2", "0 of 1"))
    for name in ("first", "whole", "timed"):
        assert np.array_equal(zero[name], other[name], equal_nan=True)
    for name in ("first", "whole"):
        assert np.array_equal(zero[name], alone[name], equal_nan=True)
    assert zero["refused"]
    assert other["refused"]
    assert not alone["refused"]


def test_a_mesh_with_another_axis_is_refused():
    mesh = Mesh(np.array(jax.devices()[:1]), ("x",))
    with pytest.raises(InputError, match=r"one axis named 'points', but this one has \('x',\)"):
        fit(
            nnx.Linear(1, 1, rngs=nnx.Rngs(0)),
            supervise("value"),
            lambda key, step: {},
            key=jax.random.key(0),
            steps=1,
            mesh=mesh,
        )
    with pytest.raises(InputError, match="one axis named 'points'"):
        refine(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), supervise("value"), {}, steps=1, mesh=mesh)
    with pytest.raises(InputError, match="one axis named 'points'"):
        siren_jax.open(np.zeros((4, 4), np.uint8)).fit(steps=1, width=4, depth=0, mesh=mesh)


def test_more_devices_than_there_are_are_refused(capsys):
    with pytest.raises(InputError, match="takes a number of devices, at least 1, but is 0"):
        Training(devices=0).check()
    assert main(["fit", "--devices", "1000"]) == 2
    assert "--devices is 1000, but the number of devices here is" in capsys.readouterr().err
