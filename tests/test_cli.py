"""The command does the whole job on real files, and answers every mistake with one sentence and exit code 2."""

import errno
import json
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from flax import nnx
from jax.experimental.compilation_cache import compilation_cache as cache
from PIL import Image

from siren_jax import SIREN, Frame, InputError, NeuralField, PixelDataset, load, load_image
from siren_jax.cli import main
from siren_jax.cli.console import Lasting, as_options
from siren_jax.cli.memory import group_limits
from siren_jax.cli.options import Training
from siren_jax.cli.session import Session
from siren_jax.subjects.kinds import SIGNALS
from siren_jax.subjects.picture import Picture

DRAWN = ["--width", "16", "--depth", "1", "--steps", "12"]
TINY = [*DRAWN, "--no-figures"]
FILES = ["comparison.png", "curve.png", "metrics.json", "reconstruction.png"]


@pytest.fixture(scope="module")
def photo(tmp_path_factory) -> Path:
    """A small colour photograph of no special size."""
    path = tmp_path_factory.mktemp("photo") / "my photo.png"
    rows, columns = np.mgrid[:20, :28]
    colours = np.stack([rows * 12, columns * 9, (rows + columns) * 5], axis=-1)
    Image.fromarray(colours.astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def fitted(photo, tmp_path_factory) -> Path:
    """The `.siren` file of a short fit; not to be changed."""
    out = tmp_path_factory.mktemp("fitted")
    assert main(["fit", str(photo), *TINY, "--out", str(out)]) == 0
    return out / "my photo.siren"


@pytest.fixture
def compilation_cache(tmp_path) -> Iterator[Path]:
    """A folder that is told of everything that a test compiles."""
    path, before = tmp_path / "cache", jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(path))
    cache.reset_cache()
    yield path
    jax.config.update("jax_compilation_cache_dir", before)
    cache.reset_cache()


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture, np.float64)


def stray(directory: Path) -> list[str]:
    return [name for name in os.listdir(directory) if "partial" in name]


@pytest.mark.parametrize(
    ("target", "model"),
    [
        ("values", "siren"),
        ("laplacian", "siren"),
        *(pytest.param(*other, marks=pytest.mark.slow) for other in [("gradient", "siren"), ("mixed", "siren")]),
        pytest.param("laplacian", "relu", marks=pytest.mark.slow),
    ],
)
def test_fit_writes_everything_and_says_so_in_its_last_line(target, model, photo, tmp_path, capsys):
    out = tmp_path / "a"
    assert main(["fit", str(photo), "--target", target, "--model", model, *DRAWN, "--out", str(out), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert sorted(os.listdir(out)) == sorted(["checkpoints", *FILES, "my photo.siren"])
    assert sorted(summary["files"]) == sorted(str(out / name) for name in [*FILES, "my photo.siren"])
    assert summary["steps"] == 12
    assert summary["parameters"] == 3 * 16 + 17 * 16 + 17 * 3
    for name in ("psnr", "seconds", "compile_seconds", "seconds_per_step", "peak_rss_mb"):
        assert summary[name] > 0
    assert json.loads((out / "metrics.json").read_text())["psnr"] == summary["psnr"]


def test_the_psnr_that_is_printed_is_that_of_the_network_that_is_written(fitted, photo):
    truth = pixels(photo) / 255
    mse = np.mean((load(fitted).render() - truth) ** 2)
    printed = json.loads((fitted.parent / "metrics.json").read_text())["psnr"]
    assert printed == pytest.approx(-10 * np.log10(mse), abs=1e-3)  # float32 rounding of a mean square


@pytest.mark.slow
def test_the_reconstruction_is_upright_and_in_the_right_colours(photo, tmp_path):
    arguments = ["--width", "64", "--depth", "1", "--steps", "300", "--no-figures", "--out", str(tmp_path / "a")]
    assert main(["fit", str(photo), *arguments]) == 0
    made = pixels(tmp_path / "a" / "reconstruction.png")
    truth = pixels(photo)
    assert made.shape == truth.shape
    assert np.abs(made - truth).mean() < 10  # of 255; a flip or a swap of channels costs over 40


def test_the_same_seed_gives_the_same_file(photo, tmp_path):
    for name in "ab":
        assert main(["fit", str(photo), *TINY, "--seed", "3", "--out", str(tmp_path / name)]) == 0
    a, b = ((tmp_path / name / "my photo.siren").read_bytes() for name in "ab")
    assert a == b


@pytest.mark.slow
def test_a_target_psnr_ends_the_fit_once_all_pixels_reach_it(photo, tmp_path, capsys):
    arguments = ["--width", "32", "--depth", "1", "--steps", "5000", "--target-psnr", "22", "--no-figures"]
    assert main(["fit", str(photo), *arguments, "--out", str(tmp_path / "a"), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["stopped_by"] == "watch"
    assert summary["psnr"] >= 22
    assert summary["steps"] < 5000


@pytest.mark.usefixtures("heeded_signals")
def test_control_c_keeps_what_was_learned(photo, tmp_path, monkeypatch, capsys):
    watch = Session.watch

    def interrupted(self, progress):
        if progress.step == 1:
            signal.raise_signal(signal.SIGINT)
        return watch(self, progress)

    monkeypatch.setattr(Session, "watch", interrupted)
    arguments = ["--width", "16", "--depth", "1", "--steps", "100000", "--out", str(tmp_path / "a"), "--json"]
    assert main(["fit", str(photo), *arguments]) == 130
    captured = capsys.readouterr()
    assert "interrupted; the results so far were written" in captured.err
    assert 0 < json.loads(captured.out.splitlines()[-1])["steps"] < 100000
    assert np.isfinite(load(tmp_path / "a" / "my photo.siren").render()).all()


def test_a_fit_that_diverges_says_where_and_keeps_a_finite_network(photo, tmp_path, capsys):
    arguments = [*TINY, "--learning-rate", "1e38", "--out", str(tmp_path / "a")]
    assert main(["fit", str(photo), *arguments]) == 1
    assert "term 'value' is nan; the last good network was written" in capsys.readouterr().err
    assert np.isfinite(load(tmp_path / "a" / "my photo.siren").render()).all()


@pytest.mark.slow
def test_previews_and_tensorboard_are_written_during_the_fit(photo, tmp_path):
    pytest.importorskip("tensorboardX", reason="the extra tensorboard is not installed")
    arguments = [*DRAWN, "--preview-every", "5", "--tensorboard", "--out", str(tmp_path / "a")]
    assert main(["fit", str(photo), *arguments]) == 0
    assert list((tmp_path / "a" / "preview").glob("step_*.png"))
    assert list((tmp_path / "a" / "tensorboard").glob("events*"))


@pytest.mark.slow
def test_previews_of_an_earlier_fit_are_refused_before_the_fit_and_cleared_on_request(photo, tmp_path, capsys):
    left = tmp_path / "a" / "preview" / "step_0000001.png"
    left.parent.mkdir(parents=True)
    left.touch()
    arguments = ["fit", str(photo), *DRAWN, "--preview-every", "5", "--out", str(tmp_path / "a")]
    assert main(arguments) == 2
    assert "already contains preview" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0
    assert not left.exists()


def test_without_a_picture_the_photograph_of_scikit_image_is_fitted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "--size", "24", *TINY]) == 0
    assert load("out/camera/camera.siren").frame.shape == (24, 24)


def test_omega_is_chosen_for_the_picture_and_explained(photo, tmp_path, capsys):
    assert main(["fit", str(photo), *TINY, "--out", str(tmp_path / "a")]) == 0
    (explained,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("omega ")]
    said = re.match(r"omega (\S+): (\S+) of the sampling's Nyquist frequency, (\S+) rad", explained)
    omega, share, frequency = map(float, said.groups())
    assert omega == load(tmp_path / "a" / "my photo.siren").network.first_omega
    assert omega == pytest.approx(share * frequency, rel=0.1)  # two digits each


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "omega"),
    [(["--first-omega", "17.5"], 17.5), (["--recipe", "paper"], 30.0), (["--model", "relu"], None)],
)
def test_omega_can_be_given(options, omega, photo, tmp_path, capsys):
    assert main(["fit", str(photo), *TINY, *options, "--out", str(tmp_path / "a")]) == 0
    assert getattr(load(tmp_path / "a" / "my photo.siren").network, "first_omega", None) == omega
    assert not re.search("^omega", capsys.readouterr().err, re.MULTILINE)  # nothing was chosen


def test_recipe_paper_is_its_options_spelt_out():
    spelt_out = Training(batch_size="full", learning_rate=1e-4, schedule="constant", weight_scale=1.0, first_omega="30")
    tuned, paper = SIGNALS["image"].recipe("tuned", "gradient"), SIGNALS["image"].recipe("paper", "gradient")
    found = spelt_out.recipe(tuned)._replace(integral_weight=0.0)  # --integral-weight 0, which is of pictures alone
    network = SIREN(2, 1, width=300, rngs=nnx.Rngs(0))
    assert found.rate(network) == paper.rate(network) == 1e-4
    assert spelt_out.batch(1000, found) == Training().batch(1000, paper) == 1000
    own = ("phase_limit", "batch_size", "steps")  # at this rate and omega 30 there is no limit; the others see above
    same = {name: value for name, value in paper._asdict().items() if name not in own}
    assert {name: getattr(found, name) for name in same} == same


@pytest.mark.slow
def test_another_picture_of_the_same_shape_and_omega_compiles_nothing(tmp_path, compilation_cache):
    kept = []
    for seed in (1, 2):
        noise = np.random.default_rng(seed).integers(0, 256, (12, 9), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{seed}.png")
        arguments = ["fit", str(tmp_path / f"{seed}.png"), *TINY, "--target", "gradient", "--seed", str(seed)]
        assert main([*arguments, "--out", str(tmp_path / str(seed))]) == 0
        kept.append({path.name for path in compilation_cache.iterdir() if path.name.endswith("-cache")})
    assert kept[0]
    assert kept[1] == kept[0]


@pytest.mark.slow
def test_a_program_from_the_cache_says_nothing(fitted, tmp_path):
    surroundings = {**os.environ, "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache")}
    surroundings.pop("TF_CPP_MIN_LOG_LEVEL", None)  # set by JAX in this process
    for name in ("first.png", "second.png"):
        command = [sys.executable, "-m", "siren_jax", "render", str(fitted), "--out", str(tmp_path / name)]
        process = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=True)
        assert process.stderr == ""
    assert any((tmp_path / "cache").iterdir())


@pytest.mark.parametrize("variable", ["JAX_LOGGING_LEVEL", "TF_CPP_MIN_LOG_LEVEL"])
@pytest.mark.slow
def test_the_level_of_messages_that_a_user_sets_is_kept(variable):
    given = {"JAX_LOGGING_LEVEL": "ERROR", "TF_CPP_MIN_LOG_LEVEL": "0"}[variable]
    code = "import jax; from siren_jax.cli.cache import keep_compiled_programs as keep; keep(); "
    command = [sys.executable, "-c", code + "print(jax.config.jax_logging_level)"]
    found = subprocess.run(command, env={**os.environ, variable: given}, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == {"JAX_LOGGING_LEVEL": "ERROR", "TF_CPP_MIN_LOG_LEVEL": "NOTSET"}[variable]


def test_a_reader_that_goes_away_means_no_traceback():
    command = [sys.executable, "-c", "from siren_jax.cli import run; run()", "--help"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.communicate()[1] == b""


def test_an_interrupted_command_ends_without_pythons_exit_under_threads_of_jax():
    code = (
        "import atexit, os, siren_jax.cli as cli\n"
        "def run(_): raise KeyboardInterrupt\n"
        "cli.Info.run = run\n"
        "atexit.register(os.abort)\n"  # as a thread that computes may end the process
        "cli.run()"
    )
    ended = subprocess.run([sys.executable, "-c", code, "info", "a.siren"], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (130, "siren-jax: interrupted.\n")


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EIO, errno.ENOSPC])
def test_only_a_reader_that_has_gone_is_passed_over(number, tmp_path, monkeypatch):
    with open(tmp_path / "out", "w") as file:
        stream = Lasting(file)

        def fails(*arguments):
            raise OSError(number, "full")

        monkeypatch.setattr(stream, "_stream", SimpleNamespace(write=fails, fileno=file.fileno))
        if number == errno.ENOSPC:
            with pytest.raises(InputError, match="standard output cannot be written: full"):
                stream.write("a")
        else:
            assert stream.write("a") == 1


def test_nothing_asks_the_network(photo, tmp_path, monkeypatch):
    def refuse(*arguments, **more):
        raise AssertionError(f"the network was asked: {arguments}")

    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "sendto", refuse)
    assert main(["fit", str(photo), *TINY, "--out", str(tmp_path / "a")]) == 0
    assert main(["render", str(tmp_path / "a" / "my photo.siren"), "--out", str(tmp_path / "b.png")]) == 0


@pytest.mark.slow
def test_the_command_does_not_import_what_only_figures_and_filters_need():
    code = "import sys, siren_jax.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"matplotlib", "scipy.ndimage", "skimage", "PIL", "orbax.checkpoint", "torch"} & set(loaded)


@pytest.mark.slow
def test_transparency_is_kept_on_request(tmp_path):
    Image.new("RGBA", (9, 7), (10, 200, 30, 128)).save(tmp_path / "a.png")
    for name, options, channels in (("a", [], 3), ("b", ["--keep-alpha"], 4)):
        assert main(["fit", str(tmp_path / "a.png"), *options, *TINY, "--out", str(tmp_path / name)]) == 0
        assert load(tmp_path / name / "a.siren").network.out_features == channels


@pytest.mark.slow
@pytest.mark.parametrize(("size", "target"), [((1, 9), "gradient"), ((1, 1), "laplacian")])
def test_the_smallest_pictures_are_fitted(size, target, tmp_path):
    Image.new("L", size, 77).save(tmp_path / "a.png")
    arguments = ["--target", target, *TINY, "--out", str(tmp_path / "out")]
    assert main(["fit", str(tmp_path / "a.png"), *arguments]) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps", "0"], "--steps takes a positive number"),
        (["--steps", "-5"], "--steps takes a positive number"),
        (["--seconds", "nan"], "--seconds takes a positive number"),
        (["--learning-rate", "0"], "--learning-rate takes a positive number"),
        (["--batch-size", "561"], "1 to 560 points"),
        (["--batch-size", "0"], "1 to 560 points"),
        (["--batch-size", "many"], "a number of samples or 'full'"),
        (["--seed", "-1"], "--seed takes a whole number"),
        (["--seed", str(2**70)], "--seed takes a whole number"),
        (["--size", "3000000"], "too large"),
        (["--width", "65536"], "make one smaller"),
        (["--width", "0"], "--width takes a whole number"),
        (["--width", "1000000000"], "--width takes a whole number"),
        (["--depth", "-1"], "--depth takes a whole number"),
        (["--downsample", "0"], "--downsample takes a whole number"),
        (["--size", "0"], "--size takes a positive number"),
        (["--preview-every", "0"], "--preview-every takes a positive number"),
        (["--first-omega", "0"], "--first-omega takes a positive number below 1e+09 or 'auto'"),
        (["--first-omega", "inf"], "--first-omega takes a positive number below 1e+09 or 'auto'"),
        (["--first-omega", "high"], "or 'auto'"),
        (["--first-omega", "2e9"], "or 'auto'"),
        (["--omega", "2e9"], "--omega takes a number below"),
        (["--integral-weight", "1"], "applies to --target gradient and laplacian only"),
        (["--model", "relu", "--first-omega", "30"], "apply to sine networks only; leave them out"),
        (["--omega", "-1"], "--omega takes a positive number"),
        (["--weight-scale", "0"], "--weight-scale takes a positive number"),
        (["--target", "gradient", "--integral-weight", "-1"], "not negative"),
        (["--target", "mixed", "--weights", "0", "0", "0"], "not all zero"),
        (["--weights", "1", "0", "0"], "--weights applies to --target mixed only"),
        (["--target", "mixed", "--weights", "1", "-1", "0"], "not negative"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(options, message, photo, tmp_path, capsys):
    assert main(["fit", str(photo), *options, "--out", str(tmp_path / "a")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("shape= and scale= exclude each other.", "--shape and --scale exclude each other."),
        ("values=(0, 2.5) takes others", "--values 0 2.5 takes others"),
        ("leave it out: no_data=-9999.", "leave it out: --no-data=-9999."),
        ('fit target="values", or', "fit --target values, or"),
        ("allow overwrite=True.", "allow --overwrite."),
        ("a size of 3, x=4 and 'out/size=5/a.png'", "a size of 3, x=4 and 'out/size=5/a.png'"),
    ],
)
def test_arguments_in_messages_become_options(said, shown):
    names = ("shape", "scale", "size", "values", "no_data", "target")
    command = SimpleNamespace(**dict.fromkeys(names), output=SimpleNamespace(overwrite=False))
    assert as_options(said, command) == shown


@pytest.mark.parametrize("options", [["--target", "curl"], ["--steps", "ten"], ["--surprise"]])
def test_unknown_arguments_are_refused(options, photo):
    with pytest.raises(SystemExit) as stop:
        main(["fit", str(photo), *options])
    assert stop.value.code == 2


def test_files_that_are_no_pictures_are_refused(photo, tmp_path, capsys):
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").touch()
    (tmp_path / "cut.png").write_bytes(photo.read_bytes()[:60])
    for name in ("none.png", "text.png", "empty.png", "cut.png", "."):
        assert main(["fit", str(tmp_path / name), "--out", str(tmp_path / "a")]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "a").exists()


@pytest.mark.slow
def test_an_animation_is_fitted_by_its_first_frame_and_says_so(tmp_path, capsys):
    frames = [Image.new("L", (8, 6), grey) for grey in (0, 255)]
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    assert main(["fit", str(tmp_path / "a.png"), *TINY, "--out", str(tmp_path / "a")]) == 0
    assert "2 frames: the first is taken" in capsys.readouterr().err


def test_an_earlier_fit_is_replaced_only_when_asked(fitted, photo, tmp_path, capsys):
    shutil.copytree(fitted.parent, tmp_path / "a")
    again = ["fit", str(photo), *TINY, "--seed", "9", "--out", str(tmp_path / "a")]
    assert main(again) == 2
    assert "already contains" in capsys.readouterr().err
    assert (tmp_path / "a" / fitted.name).read_bytes() == fitted.read_bytes()
    assert main([*again, "--overwrite"]) == 0
    assert (tmp_path / "a" / fitted.name).read_bytes() != fitted.read_bytes()


@pytest.mark.parametrize(
    ("options", "estimate"),
    [
        (("--width", "2000"), r"1\.07"),  # 12 million weights ten times
        (("--target", "laplacian"), r"0\.83\d"),  # 830 bytes for each of 262,144 pixels
    ],
)
def test_a_fit_that_would_not_fit_in_memory_is_refused_with_an_estimate(
    options, estimate, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("siren_jax.cli.memory.memory_of_machine", lambda: 800 * 2**20)
    assert main(["fit", *options, "--out", str(tmp_path / "a")]) == 2
    error = capsys.readouterr().err
    assert re.search(rf"would take about {estimate} GiB of memory, and the machine has 0\.781", error)
    assert not (tmp_path / "a").exists()


def test_limits_of_control_groups_are_those_around_a_process_too(tmp_path):
    groups = tmp_path / "groups"
    groups.write_text("4:memory:/jobs/7\n1:cpu:/\n0::/user/mine\n")
    for name, text in {
        "memory/jobs/7/memory.limit_in_bytes": "5000\n",
        "memory/jobs/memory.limit_in_bytes": "4000\n",
        "user/mine/memory.max": "max\n",
        "user/memory.max": "3000\n",
        "other/memory.max": "1\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert sorted(group_limits(groups, tmp_path)) == [3000, 4000, 5000]
    assert list(group_limits(tmp_path / "none", tmp_path)) == []


HOLES = """
import resource

from siren_jax.cli.memory import give_back_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20

bytearray(2**24)  # by itself glibc keeps blocks of less than this once it is free
before, large, small = resident(), [], []
for _ in range(40):
    large.append(bytearray(2**23))
    large[-1][::4096] = b"x" * 2**11  # a page at a time
    small.append(bytearray(50000))
assert resident() > before + 300
del large
give_back_memory()
print(resident() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_what_is_free_goes_back_to_the_system_though_blocks_that_live_lie_between():
    process = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    assert float(process.stdout) < 60  # MiB: 1.3 with it, 321 without


def test_an_output_directory_that_cannot_be_made_is_refused(photo, capsys):
    assert main(["fit", str(photo), *TINY, "--out", str(photo / "a")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("of", ["value", "gradient", "laplacian"])
def test_render_makes_pictures_and_arrays_of_any_part_at_any_resolution(of, fitted, tmp_path):
    region = ["--region", "2", "3", "12", "8"]
    render = ["render", str(fitted), "--of", of, *region, "--scale", "2.5", "--out"]
    assert main([*render, str(tmp_path / "a.png")]) == 0
    assert main([*render, str(tmp_path / "a.npy")]) == 0
    array = np.load(tmp_path / "a.npy")
    assert pixels(tmp_path / "a.png").shape[:2] == (25, 12)
    assert array.shape == {"gradient": (25, 12, 3, 2)}.get(of, (25, 12, 3))
    np.testing.assert_array_equal(array, load(fitted).render((25, 12), of=of, region=((2.0, 12.0), (3.0, 8.0))))
    assert not stray(tmp_path)


def test_a_rendered_picture_has_the_values_of_the_function(fitted, tmp_path):
    assert main(["render", str(fitted), "--shape", "30", "40", "--out", str(tmp_path / "a.png")]) == 0
    picture = pixels(tmp_path / "a.png")
    np.testing.assert_allclose(picture, np.clip(load(fitted).render((30, 40)), 0, 1) * 255, atol=0.501)  # rounding


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "a.jpg"], "ends in one of .flac, .gif, .mp4, .npy, .obj, .ogg, .ply, .png, .stl, .wav"),
        (["--out", "there.png"], "exists"),
        (["--out", "no/a.png"], "cannot be written"),
        (["--out", "no/a.npy"], "cannot be written"),
        (["--out", "a.png", "--scale", "0"], "--scale takes a positive number"),
        (["--out", "a.png", "--scale", "2", "--shape", "3", "3"], "exclude each other"),
        (["--out", "a.png", "--shape", "0", "3"], "--shape takes two numbers from 1"),
        (["--out", "a.png", "--region", "5", "0", "5", "9"], "give 0 x 9 samples"),
        (["--out", "a.png", "--region", "0", "0", "nan", "5"], "give nan x 5 samples"),
        (["--out", "a.png", "--region", "0", "0", "inf", "5"], "give inf x 5 samples"),
        (["--out", "a.npy", "--scale", "1e308"], "samples"),
        (["--out", "a.npy", "--shape", "16000000", "16000000"], "are free"),
        (["--out", "a.png", "--scale", "100000"], "too many to render in memory"),
    ],
)
def test_renderings_that_cannot_be_made_are_refused(options, message, fitted, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("there.png").write_text("keep me")
    capsys.readouterr()
    assert main(["render", str(fitted), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1
    assert Path("there.png").read_text() == "keep me"
    assert not stray(tmp_path)


def test_info_tells_what_a_file_holds(fitted, capsys):
    capsys.readouterr()
    assert main(["info", str(fitted)]) == 0
    rows = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    expected = {
        "kind": "image",
        "samples": "20 x 28",
        "channels": "3",
        "values": "0 to 1",
        "network": "SIREN, 2 -> 3",
        "layers": "2 of 16 units",
        "parameters": "371",  # 2·16 + 16, 16·16 + 16, 16·3 + 3
        "precision": "float32",
    }
    assert {name: rows[name] for name in expected} == expected
    assert re.fullmatch(r"[\d.]+ in the first layer, 30 after", rows["omega"])


def test_info_shows_nothing_that_a_terminal_obeys(fitted, tmp_path, capsys):
    NeuralField(load(fitted).network, Frame((4, 5)), record={"made\x1b[2J": "by\r\x07whom"}).save(tmp_path / "a.siren")
    assert main(["info", str(tmp_path / "a.siren")]) == 0
    assert "by\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}whom" in (told := capsys.readouterr().out)
    assert not {"\x1b", "\r", "\x07"} & set(told)


@pytest.mark.parametrize("command", ["info", "render"])
def test_files_that_are_no_networks_are_refused(command, photo, tmp_path, capsys):
    options = ["--out", str(tmp_path / "a.npy")] if command == "render" else []
    for path in (photo, tmp_path / "none.siren"):
        assert main([command, str(path), *options]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
def test_a_figure_shows_pixels_of_large_pictures_too(fitted, photo, monkeypatch):
    field = load(fitted)
    dataset = PixelDataset(load_image(photo))
    monkeypatch.setattr("siren_jax.subjects.picture.SHOWN", 9)  # of 28: every third one
    axes = Picture(dataset, "values", {}, 0.0).figure(field.network, "").axes
    drawn = {(axis.get_subplotspec().rowspan.start, axis.get_subplotspec().colspan.start): axis for axis in axes[:6]}
    shown = {place: axis.images[0].get_array() for place, axis in drawn.items()}
    points = dataset.frame.coordinates(np.stack(np.mgrid[:20:3, :28:3], axis=-1))
    assert np.allclose(shown[0, 0], load_image(photo)[::3, ::3], atol=1e-6)
    assert np.allclose(shown[0, 1], np.clip(field(points), 0, 1), atol=1e-5)
    assert np.allclose(shown[1, 1], np.linalg.norm(field.gradient(points), axis=-1).mean(axis=-1), rtol=1e-4)
    assert np.allclose(shown[2, 1], field.laplacian(points).mean(axis=-1), rtol=1e-3, atol=1e-2)
