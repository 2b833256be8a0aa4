// @ts-check
/** Starts the program, which is deflated. */
const part = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
(async () => {
  const deflated = (await fetch(`data:application/octet-stream;base64,${part("program").textContent}`)).body;
  const program = await new Response(deflated?.pipeThrough(new DecompressionStream("deflate-raw"))).blob();
  const src = URL.createObjectURL(program);
  part("program").dataset.url = src; // for workers
  document.head.append(Object.assign(document.createElement("script"), { src }));
})().catch((error) => {
  part("panel").textContent = `This browser cannot start the page: ${error}`;
});
