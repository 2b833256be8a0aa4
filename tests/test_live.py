"""A fit shows itself on a page while it runs, and is the same fit."""

import base64
import io
import json
import socket
import struct
import threading
import time
import urllib.request

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from siren_jax import SIREN, PixelDataset, load, metrics
from siren_jax.cli import browser as browsers
from siren_jax.cli import live, main, session
from siren_jax.cli.live import Live
from siren_jax.cli.session import Session
from siren_jax.errors import InputError
from siren_jax.subjects.picture import Picture
from siren_jax.viewer.server import Server

pytestmark = pytest.mark.slow

TINY = ["--width", "16", "--depth", "1", "--steps", "12", "--no-figures"]


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    rows, columns = np.mgrid[:20, :28]
    Image.fromarray(np.stack([rows * 12, columns * 9, (rows + columns) * 5], axis=-1).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def page(monkeypatch):
    """What a page gets that asks after every chunk of a fit and at its end."""
    states, addresses = [], []
    monkeypatch.setattr(session, "opened", lambda address: addresses.append(address) or True)

    def and_ask(act):
        def acts(*arguments):
            result = act(*arguments)
            if addresses:
                states.append(asked(addresses[0], states[-1]["version"] if states else 0))
            return result

        return acts

    monkeypatch.setattr(Session, "watch", and_ask(Session.watch))
    monkeypatch.setattr(Live, "end", and_ask(Live.end))
    return states


def asked(address, since):
    with urllib.request.urlopen(f"{address}state?since={since}", timeout=30) as answer:
        return json.load(answer)


def test_a_page_gets_every_network_and_the_fit_stays_the_same(photo, page, two_step_chunks, tmp_path, capsys):
    assert main(["fit", str(photo), *TINY, "--out", str(tmp_path / "alone")]) == 0
    assert page == []
    assert main(["fit", str(photo), *TINY, "--live", "--out", str(tmp_path / "watched")]) == 0
    assert "http://127.0.0.1:" in capsys.readouterr().err
    *states, last = page
    assert [state["step"] for state in states] == [1, 3, 5, 7, 9, 11, 12]
    assert [state["version"] for state in states] == list(range(1, 8))
    truth = np.asarray(Image.open(photo), np.float32) / 127.5 - 1
    for state in page:
        path = tmp_path / "shown.siren"
        path.write_bytes(base64.b64decode(state["file"]))
        step, quality = state["curve"][-1]
        if step == state["step"]:  # the quality is measured in a twentieth of the time
            found = metrics.psnr(2 * load(path).render() - 1, truth)
            assert float(found) == pytest.approx(quality, abs=0.02)  # float16
    assert not any(state["done"] for state in states)
    assert last["done"]
    assert last["quality"].startswith(f"PSNR {last['curve'][-1][1]:.2f}")
    for name in ("photo.siren", "reconstruction.png"):
        assert (tmp_path / "watched" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_a_fit_whose_page_nobody_opens_writes_no_network_for_it(photo, monkeypatch, tmp_path):
    monkeypatch.setattr(session, "opened", lambda address: True)
    written = []
    monkeypatch.setattr(Live, "_file", lambda _, now: written.append(now))
    assert main(["fit", str(photo), *TINY, "--live", "--out", str(tmp_path / "a")]) == 0
    assert written == []


def test_the_second_phase_of_an_equation_is_shown_too(page, two_step_chunks, tmp_path):
    sizes = ["--width", "8", "--depth", "1", "--steps", "3", "--refine", "4", "--no-figures"]
    assert main(["solve", "burgers", *sizes, "--live", "--out", str(tmp_path / "a")]) == 0
    assert [state["step"] for state in page[:-1]] == [1, 3, 4, 6, 7]
    assert all(state["file"] and state["logarithmic"] for state in page[:-1])


def no_port(*_, **__):
    raise InputError("this computer gives no port for a page: none is left.")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["fit", "PHOTO", *TINY], "none is left. The fit goes on without a page."),
        (["fit", "PHOTO", "--width", "1025", "--depth", "0", "--steps", "1", "--no-figures"], "width up to 1,024"),
        pytest.param(["solve", "allen-cahn", *TINY, "--refine", "0"], "conditions by construction"),
    ],
)
def test_a_fit_without_a_page_goes_on(command, words, photo, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(live, "Server", no_port)
    command = [str(photo) if word == "PHOTO" else word for word in command]
    assert main([*command, "--live", "--out", str(tmp_path / "a")]) == 0
    assert words in capsys.readouterr().err
    assert (tmp_path / "a" / "metrics.json").exists()


def test_a_computer_without_windows_opens_no_browser_and_says_so(photo, monkeypatch, tmp_path, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(browsers.sys, "platform", "linux")
    monkeypatch.setattr(browsers.webbrowser, "open", lambda _: pytest.fail("would take the terminal"))
    assert main(["fit", str(photo), *TINY, "--live", "--out", str(tmp_path / "a")]) == 0
    assert "there is no browser to open; open the address in one." in capsys.readouterr().err
    opened = []
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr(browsers.webbrowser, "open", lambda address: opened.append(address) or True)
    assert browsers.opened("http://127.0.0.1:1/")
    assert opened == ["http://127.0.0.1:1/"]


def network(seed):
    return SIREN(2, 3, width=16, depth=1, first_omega=5.0, omega=3.0, outermost="sine", rngs=nnx.Rngs(seed))


@pytest.fixture
def shown(photo):
    """A page of a fit that takes no steps by itself."""
    picture = Picture(PixelDataset(np.asarray(Image.open(photo))), "values", {}, 0.0)
    with Live("photo", picture, network(0)) as shown:
        yield shown


def test_questions_that_make_no_sense_get_no_network(shown):
    shown.update(network(1), 5, [[5, float("nan")]], "PSNR undefined", None)
    for since in ("", "x", "-1", "1.5", "99999999999999999999", "1"):
        state = asked(shown.address, since)
        assert state["file"] is None
        assert state["curve"] == [[5, None]]
    assert asked(shown.address, "0")["file"]


def test_a_network_that_no_file_can_contain_leaves_the_one_before(shown):
    shown.update(network(1), 1, [], "", None)
    before = asked(shown.address, 0)["file"]
    broken = network(1)
    broken.output.bias[...] = jnp.full(3, jnp.nan)
    shown.update(broken, 2, [], "", None)
    assert asked(shown.address, 1)["file"] == before


def test_a_page_that_is_closed_while_it_is_answered_is_no_error(capfd):
    with Server(b"", answers={"/state": lambda _: bytes(2**26)}) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        before = threading.active_count()
        with socket.create_connection(server.server_address[:2]) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, as by a crash
            client.sendall(f"GET /state HTTP/1.0\r\nHost: 127.0.0.1:{server.server_address[1]}\r\n\r\n".encode())
            client.recv(1)
        while threading.active_count() > before:
            time.sleep(0.01)
        server.shutdown()
    assert capfd.readouterr().err == ""


def seen(page):
    """The colours of the picture, from a screenshot."""
    clip = page.locator("#stage > canvas").first.bounding_box()
    with Image.open(io.BytesIO(page.screenshot(clip=clip))) as image:
        return np.asarray(image.convert("RGB"), np.float64)


def error(page, function):
    """Median difference between what a page shows and a network, in steps of 8 bits."""
    h, w, _ = (found := seen(page)).shape
    side = min(h / 20, w / 28)
    shape = round(20 * side), round(28 * side)
    field = Picture(PixelDataset(np.zeros((20, 28, 3), np.uint8)), "values", {}, 0.0).field(function, {})
    right = np.clip(field.render(shape), 0, 255)
    top, left = (h - shape[0]) // 2, (w - shape[1]) // 2
    return np.median(np.abs(found[top : top + shape[0], left : left + shape[1]] - right))


def shows(page, function, tolerance):
    for _ in range(100):
        if error(page, function) < tolerance:
            return True
        page.wait_for_timeout(100)
    return False


def test_the_page_shows_the_untrained_network_then_each_that_comes_and_the_end(browser, shown):
    page = browser.new_page(viewport={"width": 800, "height": 460})
    wrong = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto(shown.address)
    assert shows(page, network(0), 8)  # coarse, while the fit runs
    assert "untrained" in page.inner_text(".live")
    shown.update(network(1), 1000, [[1, 10.0], [1000, 20.0]], "PSNR 20.0 dB", 30.0)
    page.wait_for_selector("text=1,000 steps: PSNR 20.0 dB; 30 s left")
    assert shows(page, network(1), 8)
    assert error(page, network(0)) > 16
    assert "PSNR (dB) along step from 0 to 1,000: 10 to 20" in page.get_attribute(".learning", "aria-label")
    shown.update(network(2), 2000, [[1, 10.0], [1000, 20.0]], "PSNR 22.0 dB", None)
    shown.end("PSNR 22.12 dB", 22.12)
    page.wait_for_selector("text=The fit has ended. This is its network after 2,000 steps: PSNR 22.12 dB.")
    assert shows(page, network(2), 3)  # as finely as the screen, as in test_viewer
    assert wrong == []


def test_an_evaluator_that_takes_other_weights_is_one_of_them(browser, shown):
    page = browser.new_page()
    page.goto(shown.address)
    page.wait_for_selector("#panel > *")
    picture = Picture(PixelDataset(np.zeros((20, 28, 3), np.uint8)), "values", {}, 0.0)
    files = [base64.b64encode(picture.field(network(seed), {}).to_bytes()).decode() for seed in range(2)]
    found = page.evaluate(
        """async (files) => {
          const [one, other] = files.map((file) => $siren_file.read($page.bytesOf(file).buffer).network);
          const module = new WebAssembly.Module($kernels.kernels());
          const changed = new $network.WasmNetwork(module, one);
          changed.load(other);
          const pairs = [[changed, new $network.WasmNetwork(module, other)]];
          const gpu = await $gpu.GpuNetwork.on(one);
          gpu?.change(other);
          if (gpu) pairs.push([gpu, await $gpu.GpuNetwork.on(other)]);
          const points = { centre: [0.5, -0.25], offsets: Float32Array.from([0.1, 0, 0.2, -0.3]), order: "laplacian" };
          const values = async (evaluator) => [...await evaluator.evaluate(points)];
          return Promise.all(pairs.map((pair) => Promise.all(pair.map(values))));
        }""",
        files,
    )
    for changed, right in found:
        assert len(right) == 24
        assert changed == right


def test_a_page_whose_fit_is_gone_says_so_and_stays(browser, shown):
    page = browser.new_page(viewport={"width": 800, "height": 460})
    page.goto(shown.address)
    shown.update(network(1), 7, [], "PSNR 20.0 dB", None)
    page.wait_for_selector("text=7 steps: PSNR 20.0 dB")
    shown.__exit__(None, None, None)
    page.wait_for_selector("text=The fit does not answer any more; this is its network after 7 steps.")
    assert shows(page, network(1), 3)
