"""The viewer's page in Chromium: its size, when it is seen, numbers a second of each evaluator, and whether it is fluent.

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
from siren_jax import SIREN, Frame, NeuralField, viewer
from siren_jax.fields import Grid

FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]

# Points a second of `evaluate` on a tile, and on several workers at once.
SPEED = """async ({ file, evaluator, order, side, rounds }) => {
  const { network } = $siren_file.read($page.bytesOf(file).buffer);
  const module = new WebAssembly.Module($kernels.kernels());
  const request = { centre: Array(network.inputs).fill(0.1), order, shape: [side, side], steps: [0, 1].map((a) => network.inputs === 2 ? [a ? 0 : 1 / side, a ? 1 / side : 0] : null) };
  const url = document.getElementById("program").dataset.url;
  const count = evaluator === "WebAssembly, all workers" ? navigator.hardwareConcurrency : 1;
  const hands = evaluator.startsWith("WebAssembly") ? Array.from({ length: count }, () => new $pool.Hand(url, module, network)) : [];
  const gpu = hands.length ? null : await $gpu.GpuNetwork.on(network);
  if (!hands.length && !gpu) return null;
  const once = () => hands.length ? Promise.all(hands.map((hand) => hand.evaluate(request))) : gpu.evaluate($worker.pointsOf(request));
  await once();
  const seconds = [];
  for (let i = 0; i < rounds; i++) {
    const began = performance.now();
    await once();
    seconds.push((performance.now() - began) / 1000);
  }
  for (const { worker } of hands) worker.terminate();
  seconds.sort((a, b) => a - b);
  return (count * side * side) / seconds[Math.floor(rounds / 2)];
}"""

# One layer of 256 sines of 256 inputs at 4,096 points: weights and inputs in textures, four units a pixel.
WEBGL = """async ({ rounds }) => {
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (!gl?.getExtension("EXT_color_buffer_float")) return null;
  const [width, points] = [256, 4096];
  const compile = (type, source) => {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, "#version 300 es\\nprecision highp float; precision highp sampler2D;" + source);
    gl.compileShader(shader);
    return shader;
  };
  const program = gl.createProgram();
  gl.attachShader(program, compile(gl.VERTEX_SHADER, "void main() { gl_Position = vec4(gl_VertexID == 1 ? 3 : -1, gl_VertexID == 2 ? 3 : -1, 0, 1); }"));
  gl.attachShader(program, compile(gl.FRAGMENT_SHADER, `uniform sampler2D weights, inputs; out vec4 h;
    void main() {
      ivec2 at = ivec2(gl_FragCoord.xy);
      vec4 z = vec4(0);
      for (int k = 0; k < 64; k++) {
        vec4 a = texelFetch(inputs, ivec2(k, at.y), 0);
        for (int i = 0; i < 4; i++) z += a[i] * texelFetch(weights, ivec2(at.x, 4 * k + i), 0);
      }
      vec4 r = z - round(z), y = r * r;
      h = (${$kernels.SINE.slice(0, -1).reduceRight((sum, q) => `(${sum} * y + ${q})`, String($kernels.SINE.at(-1)))}) * (r * (0.25 - y));
    }`));
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) return null;
  gl.useProgram(program);
  const texture = (w, h, data) => {
    const made = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, made);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, w, h, 0, gl.RGBA, gl.FLOAT, data);
    for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, side, gl.NEAREST);
    return made;
  };
  const random = (n) => Float32Array.from({ length: n }, (_, i) => Math.sin(i * 12.9898) * 0.2);
  const [weights, inputs] = [random(width * width), random(width * points)];
  const [w, a, h] = [texture(64, 256, weights), texture(64, points, inputs), texture(64, points, null)];
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, h, 0);
  gl.viewport(0, 0, 64, points);
  [w, a].forEach((each, unit) => { gl.activeTexture(gl.TEXTURE0 + unit); gl.bindTexture(gl.TEXTURE_2D, each); });
  gl.uniform1i(gl.getUniformLocation(program, "weights"), 0);
  gl.uniform1i(gl.getUniformLocation(program, "inputs"), 1);
  const found = new Float32Array(4 * 64 * points);
  const once = () => { gl.drawArrays(gl.TRIANGLES, 0, 3); gl.readPixels(0, 0, 64, points, gl.RGBA, gl.FLOAT, found); };
  once();
  const seconds = [];
  for (let i = 0; i < rounds; i++) {
    const began = performance.now();
    once();
    seconds.push((performance.now() - began) / 1000);
  }
  let worst = 0;
  for (let i = 0; i < 1000; i++) {
    const [point, unit] = [(i * 37) % points, (i * 11) % 256];
    let z = 0;
    for (let k = 0; k < 256; k++) z += weights[k * 256 + unit] * inputs[point * 256 + k];
    worst = Math.max(worst, Math.abs(found[point * 256 + unit] - Math.sin(2 * Math.PI * z)));
  }
  seconds.sort((x, y) => x - y);
  return { rate: points / seconds[Math.floor(rounds / 2)], worst };
}"""

# Drags and zooms for some seconds; frames a second and long tasks of the main thread.
FLUENT = """async () => {
  const tasks = [];
  new PerformanceObserver((list) => tasks.push(...list.getEntries().map((entry) => entry.duration))).observe({ type: "longtask" });
  const canvas = document.querySelector("#stage > canvas");
  const box = canvas.getBoundingClientRect();
  const send = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type, { pointerId: 1, clientX: box.left + x, clientY: box.top + y, bubbles: true }));
  canvas.setPointerCapture = () => {};
  send("pointerdown", 300, 300);
  const gaps = [];
  let last = performance.now();
  const until = last + 6000;
  while (performance.now() < until) {
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    gaps.push(now - last);
    last = now;
    send("pointermove", 300 + 150 * Math.sin(now / 400), 300 + 100 * Math.cos(now / 500));
    canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: Math.sin(now / 900) * 20, clientX: box.left + 300, clientY: box.top + 300, cancelable: true }));
  }
  gaps.sort((a, b) => a - b);
  return { median: gaps[Math.floor(gaps.length / 2)], slow: gaps[Math.floor(0.95 * gaps.length)], longest: Math.max(0, ...tasks), tasks: tasks.length };
}"""


@dataclass(frozen=True)
class Config:
    rounds: int = 7
    side: int = 64
    """Points along each side of a tile."""
    seconds: float = 1.0
    """Budget of the picture that is fitted."""
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

    rows: list[dict[str, Any]] = []
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("there is no Chromium; apt-get install chromium")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS, *WEBGPU])
        version = browser.version
        for name, field in signals(config).items():
            path = Path(folder) / "page.html"
            text = field.page(name=name)
            path.write_text(text, encoding="utf-8")
            page = browser.new_page(viewport={"width": 1000, "height": 700})
            page.goto(path.as_uri())
            page.wait_for_selector("#panel > *")
            seen: dict[str, Any] = {"signal": name, "page kB": len(text.encode()) / 1000}
            seen["first paint s"] = _median(lambda: _mark(browser, path, "first-contentful-paint"), config.rounds)
            seen["256² points s"] = None
            file = base64.b64encode(field.to_bytes()).decode()
            for evaluator in ("WebAssembly, one worker", "WebAssembly, all workers", "WebGPU"):
                for order in ("value", "laplacian"):
                    given = {"file": file, "evaluator": evaluator, "order": order, "side": config.side}
                    rate = page.evaluate(SPEED, {**given, "rounds": config.rounds})
                    if rate is None:
                        continue
                    if order == "value" and evaluator == "WebAssembly, all workers":
                        seen["256² points s"] = 65536 / rate
                    rows.append({"signal": name, "evaluator": evaluator, "of": order, "points a second": rate})
            seen |= page.evaluate(FLUENT)
            rows.append(seen)
            layer = page.evaluate(WEBGL, {"rounds": config.rounds})
            if layer:
                rows.append(
                    {
                        "signal": "one layer of 256",
                        "evaluator": "WebGL 2",
                        "points a second": layer["rate"],
                        "error": layer["worst"],
                    }
                )
            page.close()
        browser.close()
    publish("viewer", rows, config, chromium=version)
    return rows


def _median(measure, rounds: int) -> float:
    return float(np.median([measure() for _ in range(rounds)]))


def _mark(browser, path: Path, name: str) -> float:
    """Seconds until a page that is opened anew has a mark."""
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("#panel > *")
    found = page.evaluate("(name) => performance.getEntriesByName(name)[0]?.startTime ?? NaN", name)
    page.close()
    return found / 1000


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
