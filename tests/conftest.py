"""What all tests share: a key, double precision, and annotations that are checked at every call."""

import gc
import os
import shutil
import signal
from importlib.metadata import version
from pathlib import Path

# Programs that were compiled once are taken from here by all processes of a run, those of the command too, and by the
# next run.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(Path(__file__).parent.parent / ".cache" / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

# Programs are compiled in a quarter of the time if they need not be fast. Set XLA_FLAGS, also to nothing, for programs
# as users have them. Later compilers have no fusion emitters to switch off.
if "XLA_FLAGS" not in os.environ:
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
        os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"

import jax
import jax.numpy as jnp
import matplotlib
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave

matplotlib.use("Agg")
savefig = Figure.savefig
install_import_hook("siren_jax", "typechecker.checked")  # before any test imports the package

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
    *("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"),  # WebGPU on the processor
)

# The same examples in every run; no deadline, because the first example compiles.
settings.register_profile("fixed", derandomize=True, deadline=None, max_examples=30)
settings.load_profile("fixed")

gc.set_threshold(100_000, 50, 100)  # looking for garbage among the objects of compiled programs is a sixth of the time


def _coarsely(figure, target, **_):
    """Draws a figure once, at a fifth of its size and without arranging it: in a sixth of the time."""
    figure.set_layout_engine("none")
    figure.set_dpi(20)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    imsave(target, canvas.buffer_rgba(), format="png")


Figure.savefig = _coarsely  # pyright: ignore


def pytest_collection_finish():
    gc.freeze()  # modules and tests are never garbage


compiled_since: list[str] = []
jax.monitoring.register_event_duration_secs_listener(
    lambda event, seconds, **_: compiled_since.append(event) if event.endswith("backend_compile_duration") else None
)


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Programs are forgotten after the file in which there are a thousand; a run would take gigabytes."""
    yield
    if len(compiled_since) > 1000:
        jax.clear_caches()
        compiled_since.clear()


@pytest.fixture
def drawn_figures(monkeypatch):
    """Figures as users see them, for tests that look at one."""
    monkeypatch.setattr(Figure, "savefig", savefig)


@pytest.fixture
def key():
    return jax.random.key(0)


@pytest.fixture
def float64():
    """Double precision for one test; called, it casts the arrays of a tree, a network for instance."""
    with jax.enable_x64(True):
        yield lambda tree: jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


@pytest.fixture
def two_step_chunks(monkeypatch):
    """Chunks of one step, then of two, however slow the machine."""
    from siren_jax.fitting import progress

    monkeypatch.setattr(progress, "CHUNK_SECONDS", 1e6)
    monkeypatch.setattr(progress.Budget, "longest", 2)


@pytest.fixture
def heeded_signals():
    """Ctrl-C, SIGTERM and SIGHUP as in a terminal; a test runner's worker, or `nohup`, may have switched them off."""
    handlers = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)


@pytest.fixture(scope="module")
def browser():
    """Chromium. Where there is none: apt-get install chromium."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="pip install playwright")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium; apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
