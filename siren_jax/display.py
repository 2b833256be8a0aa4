"""How a neural field shows itself: three lines of text, and a small picture for notebooks.

Both are made from the description of the signal in its file, see `header`, and from its record, which is untrusted.
"""

import base64
import html
import io
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from siren_jax.files.header import names
from siren_jax.networks import periods
from siren_jax.networks.siren import SIREN

POINTS = 65536  # largest number of points of a picture
WORK = 2**34  # largest number of points times parameters, about a second on two cores: a wide network has fewer points
SIDE, THINNEST = 256, 16  # longer side of a picture in pixels, and least shorter side
DPI = 68  # of figures with axes, which are 4.3 inches wide
LARGEST = 100_000  # bytes of a picture, above which it is reduced to 256 colours
CUBE = 40  # largest number of samples along each side of a shape's cube
PAGE = 1_500_000  # characters of a page, above which a notebook has the picture alone
HEIGHT, COVERING = 480, "position:absolute;inset:0;width:100%;height:100%;border:0"  # of a page in a notebook
COLUMNS, WORDS = 110, 24  # characters of a line, and of a word in a record that a line contains
QUALITIES = {
    "psnr": "PSNR {:.2f} dB",
    "snr": "SNR {:.2f} dB",
    "chamfer": "Chamfer distance {:.4f} % of the diagonal",
    "error": "relative L2 error {:.4f} %",
}
"""Measures in a record, as text; see `subjects.subject.Measure`."""

Render = Callable[..., ndarray]
"""`NeuralField.render`."""


def text(network: Any, header: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Three lines: the signal, the network, and its quality and how it was made.

    Args:
        network: the network; its parameters may be traced, stacked or missing.
        header: description of the signal, as in its file.
        record: description of how the signal was made.
    """
    lines = f"NeuralField: {_signal(network, header, record)}", _network(network), _made(record)
    return "\n".join(textwrap.shorten(_printable(line), COLUMNS, placeholder=" …") for line in lines)


def still(network: Any, header: Mapping[str, Any], record: Mapping[str, Any], render: Render) -> bytes | None:
    """A PNG of at most about 300 pixels and 100 kB, or None if the signal has no picture.

    A sound is drawn as its waveform, a video as the middle frame, a shape as seen from one side, and a solution of an
    equation with its axes, at the middle of the first of three coordinates. At most 65,536 points are evaluated.

    Args:
        network: the network.
        header: description of the signal, as in its file.
        record: may name the coordinates, "axes", and the unknowns, "channels", of a solution.
        render: `NeuralField.render`.
    """
    points = min(POINTS, WORK // max(1, _parameters(network)))
    shape = tuple(header["frame"]["shape"])
    if header["kind"] == "shape":
        return _shape(points, render)
    if header["kind"] == "solution":
        return _solution(header["frame"], record, points, network.out_features, render)
    if len(shape) == 1:
        return _curve(shape[0], points, header.get("rate"), render)
    low, high = header["value_range"]
    return _picture(shape, points, (low, high), render) if len(shape) < 4 else None


def bundle(words: str, picture: bytes | None, page: str | None) -> dict[str, str]:
    """What Jupyter receives, by MIME type.

    Args:
        words: the text.
        picture: a PNG, which is seen where scripts are removed.
        page: the live page, which covers the picture. Its frame may run its scripts, but not reach the notebook.
    """
    if picture is None:
        return {"text/plain": words}
    data = base64.b64encode(picture).decode()
    shown = f'<img src="data:image/png;base64,{data}" alt="{html.escape(words)}">'
    if page is not None and len(page) <= PAGE:
        frame = (
            f'sandbox="allow-scripts allow-downloads" style="{COVERING}" title="The field" srcdoc="{html.escape(page)}"'
        )
        shown = f'<div style="position:relative;height:{HEIGHT}px">{shown}<iframe {frame}></iframe></div>'
    return {"text/plain": words, "image/png": data, "text/html": f"{shown}<pre>{html.escape(words)}</pre>"}


def _signal(network: Any, header: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    kind, shape, rate = header["kind"], header["frame"]["shape"], header.get("rate")
    c = network.out_features
    low, high = header["value_range"]
    values = f"{c} channel{'s' if c > 1 else ''}, values {low:.7g} to {high:.7g}"
    sides = " × ".join(f"{n:,}" for n in shape)
    match kind:
        case "image":
            return f"picture of {sides} pixels, {values}"
        case "sound":
            return f"sound of {shape[0] / rate:.4g} s, {rate:,.6g} samples a second, {values}"
        case "video":
            frames = f"{shape[0]:,} frames at {rate:.6g} a second"
            return f"video of {frames}, {' × '.join(f'{n:,}' for n in shape[1:])} pixels, {values}"
        case "shape":
            centre, scale = header["placement"]["centre"], header["placement"]["scale"]
            cube = " × ".join(f"{x - scale:.4g} to {x + scale:.4g}" for x in centre)
            return f"shape, a signed distance in the cube {cube}"
        case "solution":
            axes, channels = _named(header["frame"], record, c)
            ends = zip(axes, header["frame"]["low"], header["frame"]["high"], strict=True)
            return f"solution {', '.join(channels)} for {', '.join(f'{n} from {a:g} to {b:g}' for n, a, b in ends)}"
    return f"{kind} of {sides} samples, {values}"


def _network(network: Any) -> str:
    name, d, c = type(network).__name__, network.in_features, network.out_features
    said = [f"{name} {d} → {c}, {network.depth + 1} layers of {network.width} units"]
    if isinstance(network, SIREN):
        said += [f"omega {network.first_omega:g}, then {network.omega:g}"]
        said += [periods.text(network.periodic)] if network.periodic else []
        said += [f"graded in coordinate {axis}" for axis, pairs in enumerate(network.graded) if pairs]
        within = sum(units for units, window in network.windows if window)
        said += [f"{within:,} units with windows"] if within else []
        said += [] if network.outermost == "linear" else [f"{network.outermost} at the end"]
    return ", ".join([*said, f"{_parameters(network):,} parameters"])


def _made(record: Mapping[str, Any]) -> str:
    number = lambda value: isinstance(value, int | float) and not isinstance(value, bool)
    said = [form.format(record[name]) for name, form in QUALITIES.items() if number(record.get(name))]
    if number(record.get("steps")):
        said.append(f"{record['steps']:,} steps")
    for name, value in record.items():
        if name not in ("steps", *QUALITIES) and (number(value) or (isinstance(value, str) and len(value) <= WORDS)):
            said.append(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(said) or "no record of how it was made"


def _parameters(network: Any) -> int:
    return sum(getattr(leaf, "size", 0) for leaf in jax.tree.leaves(network))


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def _named(frame: Mapping[str, Any], record: Mapping[str, Any], c: int) -> tuple[list[str], list[str]]:
    """Names of the coordinates and of the unknowns of a solution."""
    usual = [f"x{i}" for i in range(len(frame["shape"]))]
    return names(record.get("axes"), usual), names(record.get("channels"), [f"u{i}" for i in range(c)])


def _sides(shape: Sequence[int], points: int) -> tuple[int, int]:
    """Rows and columns of a picture, with the proportions of a shape unless it is very long."""
    h, w = shape
    scale = min(SIDE / max(h, w), math.sqrt(points / (h * w)))
    h, w = (max(THINNEST, round(scale * n)) for n in (h, w))
    return h, w


def _picture(shape: Sequence[int], points: int, value_range: tuple[float, float], render: Render) -> bytes:
    from siren_jax import plot  # imports Matplotlib, which takes longer than the picture

    sides, region = _sides(shape[-2:], points), [(0.0, float(n)) for n in shape]
    middle = len(shape) == 3
    if middle:
        region[0] = (float(shape[0] // 2), float(shape[0] // 2 + 1))
    values = render((1,) * middle + sides, region=tuple(region)).reshape(*sides, -1)
    shown, low, high, _ = plot.as_picture("value", values, value_range)
    return _png((shown - low) / (high - low))


def _curve(samples: int, points: int, rate: int | float | None, render: Render) -> bytes:
    from siren_jax import plot

    count = min(samples, points)
    return _drawn(plot.waveform(render((count,)), samples / (rate or 1), "seconds" if rate else "sample"))


def _shape(points: int, render: Render) -> bytes | None:
    from siren_jax import plot
    from siren_jax.shapes.level_set import zero_level

    mesh = zero_level(render((min(CUBE, int(points ** (1 / 3))),) * 3)[..., 0])
    if not len(mesh.faces):
        return None
    return _png(plot.shaded(mesh.vertices, mesh.faces, mesh.vertex_normals, side=SIDE))


def _solution(frame: Mapping[str, Any], record: Mapping[str, Any], points: int, c: int, render: Render) -> bytes | None:
    from siren_jax import plot

    d = len(frame["shape"])
    if d > 3:
        return None
    axes, channels = _named(frame, record, c)
    shape = frame["shape"][-2:]
    shape = (min(points, SIDE),) if d == 1 else _sides(shape, points)
    region, title = [(0.0, float(n)) for n in frame["shape"]], ""
    if d == 3:
        middle = frame["shape"][0] / 2
        region[0] = (middle - 0.5, middle + 0.5)
        title = f"{axes[0]} = {(frame['low'][0] + frame['high'][0]) / 2:g}"
    values = render((1,) * (d == 3) + shape, region=tuple(region)).reshape(*shape, -1)
    extent = tuple(end for ends in zip(frame["low"][-2:], frame["high"][-2:], strict=True) for end in ends)
    return _drawn(plot.solution({channels[0]: [("", values[..., 0])]}, extent, axes[-2:], title=title))


def _drawn(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return file.getvalue()


def _png(picture: Float[ndarray, "h w *c"]) -> bytes:
    """A picture with values in [0, 1] as a PNG."""
    from PIL import Image

    image = Image.fromarray(np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8))
    scale = SIDE / max(image.size)
    if scale > 1:  # few points
        image = image.resize([round(scale * n) for n in image.size], Image.Resampling.BICUBIC)
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    if file.tell() > LARGEST:  # noise in colour
        file = io.BytesIO()
        image.quantize(256).save(file, format="PNG", optimize=True)
    return file.getvalue()
