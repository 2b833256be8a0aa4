/* Starts the program, which is deflated. */
(async () => {
  const deflated = await fetch(`data:application/octet-stream;base64,${document.getElementById("program").textContent}`);
  const program = await new Response(deflated.body.pipeThrough(new DecompressionStream("deflate-raw"))).blob();
  globalThis.programURL = URL.createObjectURL(program);
  document.head.append(Object.assign(document.createElement("script"), { src: programURL }));
})().catch((error) => {
  document.getElementById("panel").textContent = `This browser cannot start the page: ${error}`;
});
