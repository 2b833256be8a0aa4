"""One self-contained HTML page in which signals are evaluated, with neither a server nor a network.

The scripts are the modules of `web/`. Each becomes a function that is called once and returns its exports, so that they
are one program, which `start.js` inflates and which runs in the page and in its workers. The page's content security
policy allows `start.js` by its hash, what it makes (`blob:`), and no connection but to the page's own server.
"""

import base64
import functools
import hashlib
import json
import re
import zlib
from dataclasses import dataclass
from html import escape
from importlib import resources

FIRST = "main.js"  # imports all others
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+)\.js";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?(?:const|function\*?|class) (\w+))", re.MULTILINE)
COMMENT = re.compile(
    r"^ *(?:/\*\*(?:(?!\*/).)*\*/|//[^\n]*) *\n"  # whole lines
    r"|[ ]+// [^\n\"'`]*$"  # after code
    r"|/\*\* @\w+ (?:(?!\*/).)*\*/ ?",  # types
    re.MULTILINE | re.DOTALL,
)
INDENT = re.compile("^ +", re.MULTILINE)  # no text of the modules has lines
PALETTES = {"sequential": "viridis", "diverging": "RdBu_r", "cyclic": "twilight"}


@dataclass(frozen=True)
class Entry:
    """A signal of a page."""

    name: str
    """What the page calls it."""
    file: bytes
    """The `.siren` file."""
    poster: bytes | None = None
    """WebP that is seen until the function is evaluated; of a picture or a video frame, without axes."""
    original: bytes | None = None
    """PNG of the pixels from which a picture was fitted."""
    frames: tuple[bytes, int] | None = None
    """JPEG of frames of a video, one below another, and their number."""


def page(entries: list[Entry], *, live: bool = False) -> str:
    """The HTML of a page.

    Args:
        entries: the signals; several are shown with a chooser.
        live: whether the page asks its server for the signal of a fit that runs, see `siren_jax.cli.live`.
    """
    data = [
        {
            "name": entry.name,
            "file": _base64(_deflated(entry.file)),
            "poster": _address("webp", entry.poster),
            "original": _address("png", entry.original),
            "live": live,
            "frames": entry.frames and {"image": _address("jpeg", entry.frames[0]), "count": entry.frames[1]},
        }
        for entry in entries
    ]
    style, start = _source("page.css"), COMMENT.sub("", _source("start.js"))
    policy = (
        f"default-src 'none'; script-src 'sha256-{_hash(start)}' 'wasm-unsafe-eval' blob:; worker-src blob:; "
        f"style-src 'sha256-{_hash(style)}'; img-src data: blob:; connect-src 'self' data:; base-uri 'none'; "
        "form-action 'none'"
    )
    title = escape(entries[0].name if len(entries) == 1 else f"{len(entries)} signals")
    poster = data[0]["poster"]
    parts = {
        "policy": policy,
        "title": title,
        "style": style,
        "poster": f'<img class="poster" alt="{escape(entries[0].name)}" src="{poster}">' if poster else "",
        "signals": _json(data),
        "palettes": _json(_palettes()),
        "program": _base64(_deflated(_program().encode())),
        "start": start,
    }
    return re.sub(r"\{(\w+)\}", lambda match: parts[match[1]], _source("page.html"))


def _json(value: object) -> str:
    """JSON that cannot end the element it is in."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _hash(text: str) -> str:
    return _base64(hashlib.sha256(text.encode()).digest())


def _deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, wbits=-15)
    return compressor.compress(data) + compressor.flush()


def _address(kind: str, data: bytes | None) -> str | None:
    return None if data is None else f"data:image/{kind};base64,{_base64(data)}"


@functools.cache
def _source(name: str) -> str:
    return resources.files("siren_jax.viewer").joinpath("web", name).read_text(encoding="utf-8")


@functools.cache
def _palettes() -> dict[str, str]:
    """256 colours of each palette, three bytes a colour."""
    import numpy as np
    from matplotlib import colormaps  # takes longer than the page

    share = np.linspace(0, 1, 256)
    return {
        name: _base64(np.round(255 * colormaps[palette](share)[:, :3]).astype("u1").tobytes())
        for name, palette in PALETTES.items()
    }


@functools.cache
def _program() -> str:
    """The modules as one script, each after those that it imports."""
    written: dict[str, str] = {}

    def write(module: str) -> None:
        if module in written:
            return
        written[module] = ""  # a circle would find it here
        source = COMMENT.sub("", _source(module))
        needed = [name for _, name in IMPORT.findall(source)]
        for name in needed:
            write(f"{name}.js")
        exports = ", ".join(EXPORT.findall(source))
        source = IMPORT.sub(lambda match: f"const {{{match[1].replace(' as ', ': ')}}} = ${match[2]};\n", source)
        name = module.removesuffix(".js")
        del written[module]  # to be last
        written[module] = f"const ${name} = (() => {{\n{EXPORT.sub('', source)}return {{ {exports} }};\n}})();\n"

    write(FIRST)
    start = 'if (typeof document === "undefined") $worker.work();\nelse $main.start();\n'
    return INDENT.sub("", '"use strict";\n' + "".join(written.values()) + start)
