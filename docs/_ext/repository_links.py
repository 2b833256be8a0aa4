"""Links that leave `docs/` lead to the repository on the site; in the repository they are relative."""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
REPOSITORY = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Homepage"]
LINK = re.compile(r"\]\((\.\.?/[^)#\s]*)(#[^)\s]*)?\)")


def outward(text: str, folder: Path, docs: Path) -> str:
    """The text of a page in a folder, with relative links to files outside of `docs` as links to the repository."""

    def link(found: re.Match[str]) -> str:
        path = Path(os.path.normpath(folder / found[1]))
        if path.is_relative_to(docs):
            return found[0]
        kind = "tree" if path.is_dir() else "blob"
        return f"]({REPOSITORY}/{kind}/main/{path.relative_to(docs.parent).as_posix()}{found[2] or ''})"

    return LINK.sub(link, text)


def setup(app: Any) -> dict[str, bool]:
    def read(app: Any, page: str, source: list[str]) -> None:
        docs = Path(app.srcdir)
        source[0] = outward(source[0], (docs / page).parent, docs)

    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
