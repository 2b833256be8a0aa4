"""The site is complete: every page, every public name and every option of the command. `make docs` builds it."""

import re
import runpy
from pathlib import Path

import pytest
from flax import nnx

from siren_jax import SIREN, Frame, NeuralField

DOCS = Path(__file__).parent.parent / "docs"
REFERENCE = runpy.run_path(str(DOCS / "_ext" / "api_reference.py"))
COMMANDS = runpy.run_path(str(DOCS / "_ext" / "command_reference.py"))
LINKS = runpy.run_path(str(DOCS / "_ext" / "repository_links.py"))
GALLERY = runpy.run_path(str(DOCS / "_ext" / "gallery.py"))
NAMES = (
    *("blend", "complete", "convert", "encode", "export", "fit", "fit-many"),
    *("info", "inpaint", "learn", "render", "solve", "view"),
)


def test_every_page_is_in_one_table_of_contents():
    listed = []
    for page in DOCS.rglob("*.md"):
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
            entries = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed += [(page.parent / f"{entry}.md").relative_to(DOCS).as_posix() for entry in entries]
    pages = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")]
    assert sorted([*listed, "index.md"]) == sorted(pages)


def test_every_public_name_is_in_the_reference_once():
    assert REFERENCE["missing"](DOCS) == []
    names = [name for page in DOCS.glob("reference/*.md") for name in REFERENCE["listed"](page.read_text())]
    assert len(names) == len(set(names))


def test_the_signatures_of_the_reference_show_aliases_and_the_values_of_constants():
    from siren_jax import SIREN, gradient
    from siren_jax.fields import Frame

    assert REFERENCE["signature_of"](gradient) == ("(field: Field)", "Field")
    assert "precision: str | None='highest'" in REFERENCE["signature_of"](SIREN)[0]
    assert REFERENCE["signature_of"](Frame) == ("(shape: tuple[int, ...])", None)


def test_a_docstring_becomes_restructured_text():
    lines = ["Σ_k |f| of `fit`, as in `docs/pytorch.md`.", "", "Args:", "    *x: `(n, d)`", "", ">>> f(`x`)", "1"]
    expected = [
        r"Σ_k \|f\| of :py:obj:`fit`, as in :doc:`/pytorch`.",
        "",
        "Args:",
        "    *x: ``(n, d)``",
        "",
        ">>> f(`x`)",
        "1",
    ]
    assert REFERENCE["as_rst"](lines) == expected


def test_every_command_has_a_page():
    assert tuple(sorted(COMMANDS["commands"]())) == NAMES
    assert {page.stem for page in DOCS.glob("commands/*.md")} == {*NAMES, "index"}
    for name in NAMES:
        assert COMMANDS["BLOCK"].findall((DOCS / "commands" / f"{name}.md").read_text()) == [name]


@pytest.mark.parametrize("command", NAMES)
def test_the_page_of_a_command_has_every_option_with_its_help(command):
    text = COMMANDS["help_of"](command)
    usage, description, groups = COMMANDS["parsed"](text)
    options = [option for group in groups for option in group.options]
    assert usage.startswith(f"usage: siren-jax {command}")
    assert description
    assert all(option.text for option in options)
    shown = {name for option in options for name in COMMANDS["OPTION"].findall(option.names)}
    assert shown == set(re.findall(r"^│ (?:-h, )?(--[a-z-]+)", text, re.MULTILINE))
    words = lambda *texts: set(re.findall(r"\w+", " ".join(texts)))
    kept = (part for group in groups for part in (group.title, group.text, *(" ".join(o) for o in group.options)))
    assert words(text) - words(usage, description, *kept) <= {"default", "False"}


def test_links_that_leave_the_docs_lead_to_the_repository():
    text = "[a](../LICENSE) [b](images/x.png) [c](../experiments) [d](../README.md#install) [e](https://x.y)"
    site = LINKS["REPOSITORY"]
    expected = (
        f"[a]({site}/blob/main/LICENSE) [b](images/x.png) [c]({site}/tree/main/experiments) "
        f"[d]({site}/blob/main/README.md#install) [e](https://x.y)"
    )
    assert LINKS["outward"](text, DOCS, DOCS) == expected
    assert LINKS["outward"]("[a](../start.md)", DOCS / "how-to", DOCS) == "[a](../start.md)"


def test_the_gallery_has_a_tile_for_every_signal():
    keys = [key for key, _ in GALLERY["listed"]((DOCS / "gallery.md").read_text())]
    assert sorted(keys) == sorted(GALLERY["SIGNALS"])
    index = (DOCS / "index.md").read_text()
    assert re.search(r"```\{toctree\}\n[^`]*^gallery$", index, re.MULTILINE)


def test_a_tile_links_to_the_page_of_its_signal(tmp_path):
    field = NeuralField(SIREN(2, 1, width=4, depth=0, rngs=nnx.Rngs(0)), Frame((8, 8)), record={"psnr": 30.0})
    shown = GALLERY["tile"]("signal", "One & two", field, tmp_path / "gallery")
    assert re.findall(r'(?:href|src)="([^"]*)"', shown) == ["gallery/signal.html", "gallery/signal.png"]
    page = (tmp_path / "gallery" / "signal.html").read_text()
    assert "<title>One &amp; two</title>" in page
    assert f"SIREN of 1 × 4 units, PSNR 30.00 dB; page of {len(page.encode()) / 1000:.0f} kB" in shown
    assert (tmp_path / "gallery" / "signal.png").read_bytes().startswith(b"\x89PNG")
