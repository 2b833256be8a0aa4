"""Gallery: a directive whose tiles open pages of the viewer, of signals that the build fits.

    ```{gallery}
    camera: A photograph
    knot: A trefoil knot
    ```

A name is a key of `SIGNALS`, and the text is the name of the tile. The `.siren` files are kept in `.cache/gallery`, so
that a signal is fitted again only when its function changes; the pages are made in every build.
"""

import hashlib
import html
import inspect
import itertools
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

import siren_jax
from siren_jax import NeuralField
from siren_jax.display import QUALITIES

KEPT = Path(__file__).parent.parent.parent / ".cache" / "gallery"
BLOCK = re.compile(r"```\{gallery\}\n(.*?)```", re.DOTALL)
SIDES = {"camera": 192, "chelsea": 192, "gradient": 128}
"""Longer side in pixels of the signals that are photographs."""
DRAWN = ("sound", "shape", "solution")  # kinds whose pictures have a margin or axes, and are not cropped


def camera() -> NeuralField:
    return fitted(siren_jax.open(photograph("camera"), values=(0, 1)), steps=800, width=128, depth=2)


def gradient() -> NeuralField:
    photo = siren_jax.open(photograph("gradient"), values=(0, 1), target="gradient")
    return fitted(photo, steps=500, width=96, depth=2, batch_size=2048)


def chelsea() -> NeuralField:
    return fitted(siren_jax.open(photograph("chelsea"), values=(0, 1)), steps=800, width=128, depth=2)


def knot() -> NeuralField:
    from experiments.solids import SOLIDS
    from siren_jax.shapes import encode_mesh
    from siren_jax.shapes.level_set import extract

    mesh = extract(SOLIDS["knot"].distance, resolution=96)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "knot.ply"
        with file.open("wb") as opened:
            encode_mesh(opened, mesh, ".ply")
        return fitted(siren_jax.open(file), steps=700, width=64, depth=2, first_omega=10, omega=15)


def bells() -> NeuralField:
    """Two seconds at a quarter of the rate, which is enough for their highest partial, of 5.2 kHz."""
    import scipy.signal

    from experiments import sounds

    sound = scipy.signal.decimate(sounds.bells(np.arange(2 * sounds.RATE) / sounds.RATE), 4)
    sound = siren_jax.open(np.float32(sound / np.abs(sound).max()), rate=sounds.RATE / 4)
    return fitted(sound, steps=1500, width=128, depth=2)


def lights() -> NeuralField:
    """Three discs of light, in red, green and blue, on closed curves: 48 frames of 72 × 96 pixels."""
    y, x = np.mgrid[-0.75:0.75:72j, -1:1:96j]
    turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)[:, None, None]
    curves = ((1, 2, 0), (2, 1, 2), (1, 1, 4))  # frequency along x and along y, phase
    away = [np.hypot(x - 0.45 * np.cos(m * turn + p), y - 0.3 * np.sin(n * turn + p)) for m, n, p in curves]
    frames = 1 / (1 + np.exp(20 * (np.stack(away, axis=-1) - 0.36)))
    video = siren_jax.open(np.uint8(255 * frames), rate=16)
    return fitted(video, steps=800, width=96, depth=2, first_omega=10, omega=20)


def poisson() -> NeuralField:
    """Poisson's equation of the catalogue, with a smaller network and fewer steps."""
    import jax
    import optax
    from flax import nnx

    from siren_jax import SIREN
    from siren_jax.equations.catalogue import CASES
    from siren_jax.subjects.solution import Solution

    case, key = CASES["poisson"](), jax.random.key(0)
    network = SIREN(2, 1, width=32, depth=1, first_omega=case.first_omega, omega=5.0, rngs=nnx.Rngs(0))
    first = case.problem.fit(network, key=key, steps=200, optimizer=optax.adam(2e-3))
    last = case.problem.refine(first.network, key=key, steps=300)
    solution = Solution(case)
    return solution.field(last.network, {"equation": "poisson", "error": solution.quality(last.network)})


SIGNALS: dict[str, Callable[[], NeuralField]] = {
    function.__name__: function for function in (camera, gradient, chelsea, knot, bells, lights, poisson)
}


def photograph(name: str) -> ndarray:
    """A photograph of scikit-image, with values from 0 to 1."""
    import skimage.data

    from siren_jax.signals import shrink

    pixels = np.atleast_3d(skimage.data.chelsea() if name == "chelsea" else skimage.data.camera())
    return shrink(pixels.astype(np.float32) / 255, size=SIDES[name])


def fitted(signal: siren_jax.Signal, **settings: Any) -> NeuralField:
    """The fitted signal, with its quality in the record."""
    fit = signal.fit(**settings)
    return replace(fit.field, record={**fit.field.record, signal.subject.measure.name: fit.quality()})


def kept(name: str, folder: Path = KEPT) -> NeuralField:
    """A signal from its file, or fitted and saved."""
    source = "".join(map(inspect.getsource, (SIGNALS[name], photograph, fitted))) + str(SIDES.get(name))
    file = folder / f"{name}-{hashlib.sha256(source.encode()).hexdigest()[:12]}.siren"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        field = SIGNALS[name]()
        for old in folder.glob(f"{name}-*.siren"):
            old.unlink()
        field.save(file)
    return siren_jax.load(file)


def listed(text: str) -> Iterator[tuple[str, str]]:
    """Key and name of every tile in the blocks of a page."""
    lines = itertools.chain.from_iterable(block.splitlines() for block in BLOCK.findall(text))
    for line in lines:
        key, _, title = line.partition(": ")
        yield key, title


def tile(key: str, title: str, field: NeuralField, folder: Path) -> str:
    """The HTML of a tile. Writes its page and its picture to a folder, which is beside the page with the tile."""
    page = field.page(name=title, original=photograph(key) if key in SIDES else None).encode()
    picture = field.still()
    assert picture is not None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{key}.html").write_bytes(page)
    (folder / f"{key}.png").write_bytes(picture)
    kind = "picture" if field.kind == "image" else field.kind
    facts = [kind, f"SIREN of {field.network.depth + 1} × {field.network.width} units"]
    facts += [form.format(field.record[name]) for name, form in QUALITIES.items() if name in field.record]
    shown = ' class="drawn"' if field.kind in DRAWN else ""
    return (
        f'<a href="{folder.name}/{key}.html"><img{shown} src="{folder.name}/{key}.png" alt="">'
        f"<strong>{html.escape(title)}</strong> "
        f"<span>{', '.join(facts)}; page of {len(page) / 1000:.0f} kB</span></a>"
    )


def setup(app: Any) -> dict[str, bool]:
    from sphinx.util import logging  # the tests import this module without Sphinx

    def field(key: str) -> NeuralField:
        logging.getLogger(__name__).info("gallery: %s", key)
        return kept(key)

    def read(app: Any, page: str, source: list[str]) -> None:
        def tiles(found: re.Match[str]) -> str:
            folder = Path(app.outdir) / "gallery"
            lines = [tile(key, title, field(key), folder) for key, title in listed(found[0])]
            return '<div class="gallery">\n{}\n</div>'.format("\n".join(lines))

        source[0] = BLOCK.sub(tiles, source[0])

    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
