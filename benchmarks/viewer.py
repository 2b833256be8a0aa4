"""The viewer's page in Chromium: its size, when it is seen, the speed of each evaluator, and whether it is fluent.

WebGL is measured by one hidden layer alone, to know whether an evaluator would pay. Without a GPU, Chromium computes
WebGPU and WebGL on the processor (SwiftShader), which says nothing of a GPU.

`python -m benchmarks.viewer`: 3 minutes on two cores; needs Chromium and the extra `dev`.
"""

import base64
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from flax import nnx

from benchmarks.measure import publish
from siren_jax import SIREN, Frame, NeuralField
from siren_jax.fields import Grid

FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]
JAVASCRIPT = Path(__file__).with_suffix(".js")
REST = 15000  # ms in which a page has measured WebGPU and evaluated what it shows
WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]


@dataclass(frozen=True)
class Config:
    rounds: int = 7
    side: int = 64
    """Points along each side of a tile."""
    sizes: tuple[int, ...] = (256, 64)
    """Widths: a picture of three hidden layers after the first, and a solution of two."""


def signals(config: Config) -> dict[str, NeuralField]:
    """Networks of random weights, as large as a picture's and a solution's."""
    wide, narrow = config.sizes
    picture = SIREN(2, 1, width=wide, depth=3, rngs=nnx.Rngs(0))
    solution = SIREN(2, 1, width=narrow, depth=2, first_omega=3.0, omega=3.0, rngs=nnx.Rngs(0))
    return {
        f"picture, {wide} x 3": NeuralField(picture, Frame((256, 256)), (-0.5, 0.5)),
        f"solution, {narrow} x 2": NeuralField(solution, Grid((100, 100), (0.0, -1.0), (1.0, 1.0)), kind="solution"),
    }


def main(config: Config) -> list[dict]:
    from playwright.sync_api import sync_playwright

    fields = signals(config)
    rows: list[dict[str, Any]] = []
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("there is no Chromium; apt-get install chromium")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        paths = {name: Path(folder) / f"{number}.html" for number, name in enumerate(fields)}
        for name, field in fields.items():
            paths[name].write_text(field.page(name=name), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        version = browser.version
        for name, path in paths.items():
            paint = float(np.median([_first_paint(browser, path) for _ in range(config.rounds)]))
            page = _opened(browser, path)
            size = path.stat().st_size / 1000
            rows.append({"signal": name, "page kB": size, "first paint s": paint, **_run(page, "fluent")})
            page.close()
        browser.close()
        browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, *WEBGPU])
        for name, field in fields.items():
            page = _opened(browser, paths[name])
            page.wait_for_timeout(REST)
            file = base64.b64encode(field.to_bytes()).decode()
            for evaluator in ("WebAssembly, one worker", "WebAssembly, all workers", "WebGPU"):
                side = min(config.side, 16) if evaluator == "WebGPU" else config.side
                for order in ("value", "laplacian"):
                    given = {"file": file, "evaluator": evaluator, "order": order, "side": side}
                    rate = _run(page, "speed", **given, rounds=config.rounds)
                    if rate is not None:
                        row = {"signal": name, "evaluator": evaluator, "of": order}
                        rows.append({**row, "points a second": rate, "256² points s": 65536 / rate})
            page.close()
        page = _opened(browser, paths[name])
        layer = _run(page, "webgl", rounds=config.rounds)
        if layer:
            row = {"signal": "one layer of 256", "evaluator": "WebGL 2"}
            rows.append({**row, "points a second": layer["rate"], "error": layer["worst"]})
        browser.close()
    publish("viewer", rows, config, chromium=version)
    return rows


def _run(page: Any, function: str, **given: Any) -> Any:
    return page.evaluate(f"async (given) => ({JAVASCRIPT.read_text()}).{function}(given)", given)


def _opened(browser: Any, path: Path) -> Any:
    page = browser.new_page(viewport={"width": 1000, "height": 700})
    page.goto(path.as_uri())
    page.wait_for_selector("#panel > *")
    return page


def _first_paint(browser: Any, path: Path) -> float:
    """Seconds until something is seen of a page that is opened anew."""
    page = _opened(browser, path)
    paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN")
    page.close()
    return paint / 1000


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
