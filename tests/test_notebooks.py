"""The notebooks of the docs run from top to bottom, and what their cells show can be shown."""

import ast
import re
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.md"))


def run(page: Path) -> list[object]:
    """Runs the cells of a notebook in one namespace, as Jupyter does; returns the value of each cell that has one."""
    cells = re.findall(r"^```\{code-cell\}[^\n]*\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)
    names: dict = {"__name__": "__main__"}
    shown = []
    for number, cell in enumerate(cells, 1):
        tree, where = ast.parse(cell), f"{page.name}, cell {number}"
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, where, "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), where, "eval"), names)
            shown += [] if value is None or cell.rstrip().endswith(";") else [value]
    return shown


@pytest.mark.slow
@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.stem)
def test_a_notebook_runs_and_shows_its_field(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = run(page)
    plt.close("all")
    (bundle,) = [value._repr_mimebundle_() for value in shown if hasattr(value, "_repr_mimebundle_")]
    assert set(bundle) == {"text/plain", "image/png", "text/html"}
    assert list(tmp_path.rglob("*.siren"))


def test_there_are_three_notebooks_for_jupyter():
    assert [page.stem for page in NOTEBOOKS] == ["equation", "picture", "shape"]
    assert all("format_name: myst" in page.read_text().split("---")[1] for page in NOTEBOOKS)
