"""What the docs show runs, and what they point to is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("experiments/*.md"), *ROOT.glob("benchmarks/*.md")]
)
name = lambda page: str(page.relative_to(ROOT))
WITH_CODE = [pytest.param(page, id=name(page)) for page in PAGES if "```python" in page.read_text()]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_CODE)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    names: dict = {}
    for block in blocks:
        exec(compile(block, page.name, "exec"), names)
    assert blocks


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_links_of_a_page_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def test_every_option_that_the_readme_shows_exists(capsys):
    from siren_jax.cli import main

    shown = set(re.findall(r"(?<= )--[a-z-]+", (ROOT / "README.md").read_text()))
    known = {"--tyro-print-completion"}  # in no command's help; tests/test_package.py runs it
    for command in (
        "fit",
        "fit-many",
        "learn",
        "encode",
        "complete",
        "blend",
        "inpaint",
        "solve",
        "render",
        "convert",
        "export",
    ):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        known |= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    assert shown <= known
