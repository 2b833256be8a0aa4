({
  // What is measured in the page, whose modules are $kernels, $network and so on.
  /** Points a second of `evaluate` on a tile, and on several workers at once. */
  speed: async ({ file, evaluator, order, side, rounds }) => {
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
  },

  /** One layer of 256 sines of 256 inputs at 4,096 points: weights and inputs in textures, four units a pixel. */
  webgl: async ({ rounds }) => {
    const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
    if (!gl?.getExtension("EXT_color_buffer_float")) return null;
    const [width, points] = [256, 4096];
    const compile = (type, source) => {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, "#version 300 es\nprecision highp float; precision highp sampler2D;" + source);
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
  },

  /** Drags and zooms for some seconds: frames, and long tasks of the main thread, in ms. */
  fluent: async () => {
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
    return { "frame ms": gaps[Math.floor(gaps.length / 2)], "95 % below ms": gaps[Math.floor(0.95 * gaps.length)], "longest task ms": Math.max(0, ...tasks), "long tasks": tasks.length };
  },
})
