"""The page in a real browser. Where there is none: apt-get install chromium."""

import base64
import io
import json
import math
import re
import struct
import threading
import urllib.error
import urllib.request
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from test_window_files import UNSOUND

from siren_jax import SIREN, Frame, NeuralField, ReLUMLP, load, viewer
from siren_jax.cli import main
from siren_jax.errors import InputError
from siren_jax.fields import Grid, operators
from siren_jax.networks.windows import Beyond, Gaussian
from siren_jax.shapes import Placement
from siren_jax.viewer.server import Server

FILES = sorted((Path(__file__).parent / "data").glob("*.siren"))  # of every version and precision
POINTS = 150  # more than a chunk of the evaluator


def loud(network):
    """A network of larger values, so that its pictures have black and white."""
    network.output.kernel[...] *= 8
    return network


BEYOND = [  # axis, low, high, power
    *[(0, 0.2, 0.4, power) for power in (1, 2, 3, 8)],
    *[(1, -math.inf, -0.4, 2), (1, -0.3, math.inf, 4)],
]

KINDS = {
    "image": NeuralField(
        loud(SIREN(2, 3, width=17, depth=2, first_omega=9.0, rngs=nnx.Rngs(1))), Frame((12, 20)), (0.0, 9.0)
    ),
    "sound": NeuralField(
        SIREN(1, 2, width=32, depth=1, first_omega=300.0, rngs=nnx.Rngs(2)), Frame((500,)), kind="sound", rate=100.0
    ),
    "video": NeuralField(
        SIREN(3, 1, width=16, depth=1, rngs=nnx.Rngs(3)), Frame((6, 8, 10)), (0.0, 1.0), kind="video", rate=12.0
    ),
    "shape": NeuralField(
        SIREN(3, 1, width=16, depth=1, first_omega=2.0, omega=2.0, rngs=nnx.Rngs(4)),
        *(Frame((64, 64, 64)), (-2.0, 2.0)),
        kind="shape",
        placement=Placement((1.0, 0.0, 0.0), 2.0),
    ),
    "solution": NeuralField(
        SIREN(3, 2, width=16, depth=1, first_omega=3.0, omega=3.0, outermost="tanh", rngs=nnx.Rngs(5)),
        Grid((20, 20, 30), (0.0, -1.0, 2.0), (1.0, 1.0, 5.0)),
        kind="solution",
        record={"axes": ["t", "x", "y"], "channels": ["u", "v"]},
    ),
    "interval": NeuralField(
        SIREN(1, 1, width=16, depth=1, first_omega=2.0, outermost="sine", rngs=nnx.Rngs(6)),
        Grid((50,), (-1.0,), (3.0,)),
        kind="solution",
    ),
    "no biases": NeuralField(SIREN(2, 1, width=16, depth=0, use_bias=False, rngs=nnx.Rngs(7)), Frame((9, 9))),
    "sigmoid": NeuralField(SIREN(2, 1, width=20, depth=1, outermost="sigmoid", rngs=nnx.Rngs(8)), Frame((9, 9))),
    "deep": NeuralField(SIREN(2, 4, width=9, depth=12, rngs=nnx.Rngs(9)), Frame((9, 9))),
    "periodic": NeuralField(
        SIREN(2, 1, width=18, depth=1, first_omega=50.0, periodic={0: 0.9}, rngs=nnx.Rngs(11)), Frame((9, 9))
    ),
    "graded": NeuralField(
        SIREN(2, 1, width=18, depth=1, first_omega=4.0, graded={1: [(-0.4, 0.05), (0.0, 0.3)]}, rngs=nnx.Rngs(12)),
        Frame((9, 9)),
    ),
    "graded interval": NeuralField(
        SIREN(1, 1, width=16, depth=0, first_omega=4.0, graded={0: (0.3, 0.01)}, outermost="tanh", rngs=nnx.Rngs(13)),
        Grid((50,), (-1.0,), (3.0,)),
        kind="solution",
    ),
    "windows": NeuralField(
        SIREN(
            2,
            3,
            width=18,
            depth=1,
            first_omega=6.0,
            windows=[
                (5, None),
                (7, Gaussian((0.1, -0.4), (0.5, 0.2))),
                *[(1, Beyond(axis, low, high, power, 0.5)) for axis, low, high, power in BEYOND],
            ],
            rngs=nnx.Rngs(14),
        ),
        Frame((9, 9)),
    ),
    "windows of a graded interval": NeuralField(
        SIREN(
            1,
            1,
            width=16,
            depth=0,
            first_omega=4.0,
            graded={0: (0.3, 0.1)},
            windows=[(9, Gaussian((0.2,), 0.1)), (7, Beyond(0, 0.3))],
            rngs=nnx.Rngs(15),
        ),
        Grid((50,), (-1.0,), (3.0,)),
        kind="solution",
    ),
    "relu": NeuralField(ReLUMLP(2, 1, width=19, depth=2, rngs=nnx.Rngs(10)), Frame((9, 9))),
}


@pytest.fixture(scope="module")
def program(browser, tmp_path_factory):
    """A page whose modules are called one by one."""
    path = tmp_path_factory.mktemp("program") / "page.html"
    path.write_text(viewer.page([entry(KINDS["image"])]), encoding="utf-8")
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("#panel > *")
    yield page
    page.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a page of signals from disk; checks that it has no error and asks nothing of any network."""
    pages, wrong = [], []

    def opened(*entries, size=(1000, 700), **settings):
        path = tmp_path / f"page{len(pages)}.html"
        path.write_text(viewer.page(list(entries)), encoding="utf-8")
        page = browser.new_page(viewport={"width": size[0], "height": size[1]}, **settings)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("request", lambda asked: wrong.append(asked.url) if asked.url.startswith("http") else None)
        pages.append(page)
        page.goto(path.as_uri())
        page.wait_for_selector("#panel > *")
        return page

    yield opened
    for page in pages:
        page.close()
    assert wrong == []


def entry(field, name="signal", **settings):
    return viewer.entry(field, name, field.still(), precision="float32", **settings)


def in_float64(field):
    """Value, Jacobian and Laplacian of a field's network, as functions of points, in float64."""
    graphdef, state = nnx.split(field.network)
    with jax.enable_x64(True):
        network = nnx.merge(graphdef, jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf), jnp.float64), state))
    return [jax.vmap(f) for f in (network, operators.jacobian(network), operators.laplacian(network))]


def evaluated(program, field, centre, offsets, evaluator):
    """The numbers that an evaluator of the page has for a field: value, Jacobian, Laplacian."""
    given = {
        "file": base64.b64encode(field.to_bytes()).decode(),
        "centre": centre,
        "offsets": offsets.T.ravel().tolist(),
    }
    found = program.evaluate(
        """async ({ file, centre, offsets, gpu }) => {
          const { network } = $siren_file.read($page.bytesOf(file).buffer);
          const module = new WebAssembly.Module($kernels.kernels());
          const evaluator = gpu ? await $gpu.GpuNetwork.on(network) : new $network.WasmNetwork(module, network);
          if (!evaluator) return null;
          const points = { centre, offsets: Float32Array.from(offsets) };
          const all = async (order) => [...await evaluator.evaluate({ ...points, order })];
          return [await all("value"), await all("gradient"), await all("laplacian")];
        }""",
        given | {"gpu": evaluator == "WebGPU"},
    )
    if found is None:
        pytest.skip("this browser has no WebGPU")
    d, c, n = field.network.in_features, field.network.out_features, len(offsets)
    value, gradient, laplacian = (np.array(each).reshape(-1, c, n) for each in found)
    assert np.array_equal(value[0], gradient[0])
    assert np.array_equal(gradient, laplacian[: 1 + d])
    return laplacian[0].T, laplacian[1 : 1 + d].transpose(2, 1, 0), laplacian[1 + d].T


def far_apart(found, right):
    return np.abs(found - right).max() / max(np.abs(right).max(), 1e-30)


@pytest.mark.parametrize("evaluator", ["WebAssembly", pytest.param("WebGPU", marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", KINDS)
def test_an_evaluator_has_the_function_and_its_derivatives(kind, evaluator, program):
    field = KINDS[kind]
    d = field.network.in_features
    offsets = np.random.default_rng(0).uniform(-0.5, 0.5, (POINTS, d)).astype(np.float32)
    centre = [0.25, -0.375, 0.5][:d]
    found = evaluated(program, field, centre, offsets, evaluator)
    with jax.enable_x64(True):
        right = [np.asarray(f(jnp.asarray(np.array(centre) + offsets))) for f in in_float64(field)]
    tolerance = 1e-5 if field.network.depth < 4 else 5e-5  # errors of float32 add up over layers
    for one, other in zip(found, right, strict=True):
        assert far_apart(one, other) < tolerance


@pytest.mark.slow
@pytest.mark.parametrize("evaluator", ["WebAssembly", "WebGPU"])
def test_a_corner_enlarged_ten_thousand_times_is_the_function(evaluator, program):
    field = KINDS["image"]
    centre = [0.6 - 1e-5, 1 - 1e-5]
    offsets = (np.random.default_rng(0).uniform(-1, 1, (POINTS, 2)) / 1e4).astype(np.float32)
    found = evaluated(program, field, centre, offsets, evaluator)
    with jax.enable_x64(True):
        value, jacobian, _ = (np.asarray(f(jnp.asarray(np.array(centre) + offsets))) for f in in_float64(field))
    # What changes within the view is seen to 1 %: that is the last digits of float32, in which points would be equal.
    changes = value - value.mean(axis=0)
    assert far_apart(found[0] - found[0].mean(axis=0), changes) < 0.01
    assert far_apart(found[1], jacobian) < 1e-5


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_version_and_precision_of_the_file_is_read(path, program):
    field = load(path)
    offsets = np.random.default_rng(0).uniform(-1, 1, (POINTS, field.network.in_features)).astype(np.float32)
    data = base64.b64encode(path.read_bytes()).decode()
    found = program.evaluate(
        """({ file, offsets }) => {
          const { network } = $siren_file.read($page.bytesOf(file).buffer);
          const evaluator = new $network.WasmNetwork(new WebAssembly.Module($kernels.kernels()), network);
          const centre = Array(network.inputs).fill(0);
          return [...evaluator.evaluate({ centre, offsets: Float32Array.from(offsets), order: "value" })];
        }""",
        {"file": data, "offsets": offsets.T.ravel().tolist()},
    )
    with jax.enable_x64(True):
        right = np.asarray(in_float64(field)[0](jnp.asarray(offsets, jnp.float64)))
    assert far_apart(np.array(found).reshape(-1, POINTS).T, right) < 1e-5


def shown(page, selector="#stage > canvas"):
    """The colours of a canvas, (h, w, 3), from a screenshot, which has what a person sees."""
    box = page.locator(selector).first.bounding_box()
    with Image.open(io.BytesIO(page.screenshot(clip=box))) as image:
        return np.asarray(image.convert("RGB"), np.float64)


def settled(page):
    """Waits until nothing is drawn any more."""
    before = None
    for _ in range(60):
        page.wait_for_timeout(250)
        now = page.screenshot()
        if now == before:
            return
        before = now
    raise AssertionError("the page is still changing after 15 s")


def test_a_picture_from_disk_is_upright_and_in_its_colours(opened):
    field = KINDS["image"]
    page = opened(entry(field), size=(1000, 460))
    settled(page)
    seen = shown(page)
    h, w, _ = seen.shape
    side = min(h / 12, w / 20)  # of a pixel of the original
    shape = (round(12 * side), round(20 * side))
    right = np.clip(np.round(field.render(shape) / 9.0 * 255), 0, 255)
    top, left = (h - shape[0]) // 2, (w - shape[1]) // 2
    error = np.abs(seen[top : top + shape[0], left : left + shape[1]] - right)
    assert np.median(error) <= 3  # tiles have another size than the screen's pixels
    assert np.mean(np.abs(right[::-1] - right)) > 10  # upside down would be seen


@pytest.mark.slow
def test_the_laplacian_is_shown_with_its_scale_and_the_cursor_reads_numbers(opened):
    field = KINDS["image"]
    page = opened(entry(field))
    page.check("input[value=laplacian]")
    settled(page)
    assert "Laplacian of red, per coordinate²" in page.inner_text(".scale")
    page.focus("#stage > canvas")
    for _ in range(3):
        page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    settled(page)
    terms, numbers = page.locator(".readout dt").all_inner_texts(), page.locator(".readout dd").all_inner_texts()
    read = dict(zip(terms, numbers, strict=True))
    number = lambda text: [float(part.replace("\N{MINUS SIGN}", "-")) for part in text.split(", ")]
    row, column = number(read["row, column"])
    assert column > 9.6  # the arrow has moved the middle, which was at 9.5
    point = jnp.asarray(field.frame.coordinates(np.array([row, column])))
    for name, right in (
        ("red", field(point)[:1]),
        ("gradient of red", field.gradient(point)[0]),
        ("Laplacian of red", field.laplacian(point)[:1]),
    ):
        assert number(read[name]) == pytest.approx(np.asarray(right).tolist(), rel=2e-2, abs=0.5), name


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sound", "video", "shape", "solution", "interval", "relu"])
def test_every_kind_is_shown(kind, opened):
    page = opened(entry(KINDS[kind], kind))
    settled(page)
    assert page.title() == kind
    assert page.locator(".failure").count() == 0
    assert shown(page).std() > 5  # not one colour
    before = shown(page)
    page.focus("#stage > canvas")
    page.keyboard.press("+")
    page.keyboard.press("ArrowLeft")
    settled(page)
    assert not np.array_equal(shown(page), before)


@pytest.mark.slow
def test_a_page_of_several_signals_has_a_chooser(opened):
    page = opened(entry(KINDS["image"], "one"), entry(KINDS["sound"], "two"))
    page.select_option("#chooser select", label="two")
    page.wait_for_selector(".spectrogram")
    assert page.title() == "two"


def test_names_and_records_are_text(opened):
    name = "</script><img src=x onerror=alert(1)><b>&amp;"
    field = KINDS["solution"]
    hostile = NeuralField(
        *(field.network, field.frame, field.value_range),
        kind="solution",
        record={"axes": ["<b>t", "x", "y"], "channels": ["<i>u", "v"]},
    )
    page = opened(entry(hostile, name))
    assert page.title() == name
    assert page.locator("b, i, #panel img").count() == 0
    assert "<b>t" in page.inner_text("#panel")


def damaged():
    good = bytearray(KINDS["image"].to_bytes())
    length = struct.unpack("<Q", good[:8])[0]
    declared = json.loads(good[8 : 8 + length])
    header = json.loads(declared["__metadata__"]["siren"])

    def with_header(**changes):
        changed = header | changes
        text = json.dumps(declared | {"__metadata__": {"siren": json.dumps(changed)}}).encode()
        return struct.pack("<Q", len(text)) + text + good[8 + length :]

    network = header["network"]
    yield "nothing", b"", "truncated"
    yield "text", b"no signal at all, but a text", "truncated"
    yield "a long header", struct.pack("<Q", 2**60) + bytes(good[8:]), "truncated"
    yield "cut", bytes(good[:-5]), "truncated"
    yield "more", bytes(good) + b"more", "belong to no array"
    yield "newer", with_header(format=3), "version 3"
    yield "wide", with_header(network=network | {"width": 4000}), "width from 1 to 1024, but this one has 4000"
    yield "another width", with_header(network=network | {"width": 18}), "contradicts itself"
    yield "no network", with_header(network=None), "no known type"
    yield "no frame", with_header(frame={}), "no shape"
    yield "omega", with_header(network=network | {"omega": -1}), "no omega"
    yield "periods", with_header(network=network | {"periodic": [1.0, 0.0]}), "no periods"
    yield "a period too few", with_header(network=network | {"periodic": [1.0]}), "no periods"
    yield "a place too few", with_header(network=network | {"graded": [[[0.0, 0.1]]]}), "no places"
    yield "no width", with_header(network=network | {"graded": [[[0.0, 0.1]], [[0.0, 0.0]]]}), "no places"
    yield "no pairs", with_header(network=network | {"graded": [[], []]}), "no places"
    both = {"periodic": [1.0, None], "graded": [[[0.0, 0.1]], []]}
    yield "a period and places", with_header(network=network | both), "no places"
    for name, windows in UNSOUND.items():
        yield f"windows: {name}", with_header(network=network | {"windows": windows}), "no windows"
    yield "range", with_header(value_range=[1, 0]), "no value range"
    yield "prototype", with_header(precision="constructor"), "precision is not known"
    yield "other arrays", with_header(precision="float64"), "contradicts itself"
    yield "not finite", bytes(good[:-4]) + struct.pack("<f", np.nan), "not finite"


@pytest.mark.parametrize(("file", "words"), [pytest.param(file, words, id=name) for name, file, words in damaged()])
def test_a_damaged_file_is_refused_in_a_sentence(file, words, program):
    said = program.evaluate(
        """(file) => {
          try {
            $siren_file.read($page.bytesOf(file).buffer);
          } catch (error) {
            if (error instanceof $siren_file.FileError) return error.message;
            throw error;
          }
        }""",
        base64.b64encode(file).decode(),
    )
    assert words in said


def test_a_page_of_a_damaged_file_says_so(opened):
    page = opened(viewer.Entry("broken", b"broken"))
    assert "truncated" in page.inner_text(".failure")


def test_a_browser_that_lacks_simd_says_so_and_keeps_the_picture(browser, tmp_path):
    path = tmp_path / "page.html"
    path.write_text(viewer.page([entry(KINDS["image"])]), encoding="utf-8")
    page = browser.new_page()
    page.add_init_script("WebAssembly.validate = () => false")
    page.goto(path.as_uri())
    page.wait_for_selector(".failure")
    assert "no WebAssembly with SIMD" in page.inner_text(".failure")
    assert page.locator("img.poster").count() == 1
    page.close()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_screen_has_everything_in_reach(scheme, opened):
    page = opened(entry(KINDS["solution"]), size=(360, 640), color_scheme=scheme)
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_server_gives_its_page_and_nothing_else():
    with Server(b"<p>the page") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert server.address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(server.address) as answer:
            assert answer.read() == b"<p>the page"
        for path, host, code in (("etc/passwd", None, 404), ("../x", None, 404), ("", "elsewhere.example", 403)):
            asked = urllib.request.Request(server.address + path, headers={"Host": host} if host else {})
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(asked)
            assert refused.value.code == code
            refused.value.close()
        port = server.server_address[1]
        with pytest.raises(InputError, match=f"port {port} is in use"):
            Server(b"", port)
        server.shutdown()


def test_the_command_writes_a_page_and_says_what_it_costs(tmp_path, capsys):
    KINDS["image"].save(tmp_path / "a.siren")
    out = tmp_path / "a.html"
    assert main(["view", str(tmp_path / "a.siren"), "--out", str(out), "--precision", "int8"]) == 0
    said = capsys.readouterr()
    assert "int8: PSNR" in said.err
    assert f"{out.stat().st_size:,} bytes" in said.out
    assert main(["view", str(tmp_path / "a.siren"), "--out", str(out)]) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["missing.siren"], "there is no file"),
        (["a.siren", "--out", "a.pdf"], "ends in .html"),
        (["a.siren", "--port", "0"], "1 to 65535"),
        (["a.siren", "--port", "8000", "--out", "a.html"], "leave one out"),
        (["a.siren", "a.siren", "--original", "a.png"], "single file"),
        (["a.siren", "--original", "a.png", "--out", "a.html"], "size"),
        (["wide.siren", "--out", "a.html"], "width up to 1,024"),
    ],
)
def test_what_cannot_be_viewed_is_refused_in_one_line(options, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    KINDS["image"].save("a.siren")
    NeuralField(SIREN(2, 1, width=1025, depth=0, rngs=nnx.Rngs(0)), Frame((4, 4))).save("wide.siren")
    Image.new("L", (7, 5)).save("a.png")
    assert main(["view", *options]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "a.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["image", "sound", "shape", "solution"])
def test_a_screen_reader_finds_its_way(kind, opened):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python")
    page = opened(entry(KINDS[kind]), entry(KINDS["image"]), bypass_csp=True)
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.slow
def test_a_notebook_has_the_live_page_in_a_frame_that_cannot_reach_it(browser):
    page = browser.new_page()
    page.set_content(KINDS["image"]._repr_mimebundle_()["text/html"])
    frame = page.frame_locator("iframe")
    frame.locator("#panel input").first.wait_for()
    assert "WebAssembly" in frame.locator("#status").inner_text() or frame.locator(".failure").count() == 0
    assert page.evaluate("document.querySelector('iframe').contentDocument") is None
    page.close()


@pytest.mark.slow
def test_signals_may_be_chosen_in_haste(opened):
    page = opened(*(entry(KINDS[kind], kind) for kind in ("image", "sound", "shape", "solution")))
    for name in ("sound", "solution", "image", "shape", "image"):
        page.select_option("#chooser select", label=name)
    settled(page)
    assert page.title() == "image"
    assert page.locator("#stage > canvas").count() == 2  # the plane, and the cut that is not shown
    assert page.locator(".failure").count() == 0


@pytest.mark.slow
def test_the_finest_tiles_of_a_large_screen_are_evaluated(program):
    finest = program.evaluate(
        """async () => {
          const canvas = document.createElement("canvas");
          Object.assign(canvas.style, { position: "fixed", width: "1600px", height: "1600px" });
          document.body.append(canvas);
          const steps = [];
          const evaluate = async (request) => {
            steps.push(request.steps[0][0]);
            return new Float32Array(32 * 32);
          };
          const plane = new $plane.Plane(canvas, [64, 64], 32, (u, v) => [u, v], evaluate);
          plane.show({ look: "value", order: "value", paint: (_, side) => new ImageData(side, side) });
          await new Promise((resolve) => setTimeout(resolve, 2000));
          canvas.remove();
          return steps.reduce((least, step) => Math.min(least, step));
        }"""
    )
    assert finest == 1 / 32  # 25 pixels for a unit of the sheet: 4,096 tiles


@pytest.mark.slow
def test_a_small_canvas_shows_its_tiles(program):
    shown = program.evaluate(
        """async () => {
          const canvas = document.createElement("canvas");
          Object.assign(canvas.style, { position: "fixed", width: "200px", height: "100px" });
          document.body.append(canvas);
          const plane = new $plane.Plane(canvas, [64, 64], 32, (u, v) => [u, v], async () => new Float32Array(32 * 32));
          const white = (side) => new ImageData(new Uint8ClampedArray(4 * side * side).fill(255), side);
          plane.show({ look: "value", order: "value", paint: (_, side) => white(side) });
          const middle = () => canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data;
          for (let k = 0; k < 100 && !middle()[3]; k++) await new Promise((resolve) => setTimeout(resolve, 100));
          const pixel = [...middle()];
          canvas.remove();
          return pixel;
        }"""
    )
    assert shown == [255, 255, 255, 255]


def test_what_lies_under_two_fingers_stays_under_them(program):
    apart = program.evaluate(
        """() => {
          const canvas = document.createElement("canvas");
          document.body.append(canvas);
          canvas.setPointerCapture = () => {};
          // Where places that lay at (y, x) are after the moves so far.
          let [scale, down, right] = [1, 0, 0];
          $gestures.listen(canvas, {
            pan: (dy, dx) => { down += dy; right += dx; },
            zoom: (factor, about) => {
              scale *= factor;
              down = about.y + (down - about.y) * factor;
              right = about.x + (right - about.x) * factor;
            },
            all: () => {},
          });
          const box = canvas.getBoundingClientRect();
          const send = (type, pointerId, x, y) => {
            const at = { clientX: box.left + x, clientY: box.top + y };
            canvas.dispatchEvent(new PointerEvent(type, { pointerId, ...at }));
          };
          send("pointerdown", 1, 40, 50);
          send("pointerdown", 2, 80, 50);
          for (let step = 1; step <= 20; step++) {
            send("pointermove", 1, 40 - step, 50);
            send("pointermove", 2, 80 + 2 * step, 50);
          }
          canvas.remove();
          return [scale * 40 + right - 20, scale * 80 + right - 120, scale * 50 + down - 50];
        }"""
    )
    np.testing.assert_allclose(apart, 0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("degrees", [45, 135])
def test_a_cut_at_an_angle_is_the_function_along_its_line(degrees, opened):
    network = SIREN(2, 1, width=8, depth=0, first_omega=5.0, rngs=nnx.Rngs(0))
    page = opened(entry(NeuralField(network, Grid((8, 8), (0.0, 0.0), (1.0, 1.0)), (-100, 100), "solution")))
    page.select_option("label:has-text('Cut') select", label="at an angle")
    page.locator("label:has-text('Angle') input").evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", degrees
    )
    page.wait_for_function("document.querySelector('.plot').getAttribute('aria-label')?.includes('along')")
    settled(page)
    words = page.locator(".plot").get_attribute("aria-label").replace("−", "-")
    axis, *numbers = re.fullmatch(r"value along (x\d) from (\S+) to (\S+): (\S+) to (\S+)", words).groups()
    low, high, least, most = map(float, numbers)
    height, width = page.evaluate("(({ height, width }) => [height, width])(document.querySelector('#stage > canvas'))")
    across = min(1, height / width)  # of the box, by a line through its middle that is oblique on the screen
    assert axis == "x1"
    assert (low, high) == pytest.approx(((1 - across) / 2, (1 + across) / 2), abs=2e-3)
    share = np.linspace(-0.5, 0.5, 1001) * min(1, width / height)
    up = 0.5 + (share if degrees == 45 else -share)
    seen = 100 * np.asarray(network(jnp.stack([up, 0.5 + np.linspace(-0.5, 0.5, 1001) * across], axis=-1)))
    assert (least, most) == pytest.approx((seen.min(), seen.max()), abs=0.02)
