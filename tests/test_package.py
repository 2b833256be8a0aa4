"""What an installed package says of itself."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import siren_jax
from siren_jax.cli import main

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_version_is_one_and_the_same_everywhere(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"siren-jax {siren_jax.__version__}\n"
    assert importlib.metadata.version("siren-jax") == siren_jax.__version__
    assert f"\nversion: {siren_jax.__version__}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.slow
def test_the_package_runs_as_a_module():
    ran = subprocess.run([sys.executable, "-m", "siren_jax", "--version"], capture_output=True, text=True, check=True)
    assert ran.stdout == f"siren-jax {siren_jax.__version__}\n"


def test_types_are_published():
    assert (Path(siren_jax.__file__).parent / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["project"]["classifiers"]


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-newest.lock", "requirements-docs.lock"])
def test_a_lock_pins_versions_alone_and_no_jaxlib_that_is_wrong(lock):
    lines = (ROOT / lock).read_text().splitlines()
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line) for line in lines)
    assert not {"jax==0.10.2", "jaxlib==0.10.2"} & set(lines)


def test_links_of_the_readme_work_outside_the_repository():
    readme = (ROOT / "README.md").read_text()
    for rule in PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]["substitutions"]:
        readme = re.sub(rule["pattern"], rule["replacement"], readme)
    links = re.findall(r"\]\(([^)]+)\)", readme)
    assert len(links) > 10
    assert all(link.startswith(("https://", "#")) for link in links)


def test_links_of_the_readme_lead_to_files():
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", (ROOT / "README.md").read_text())
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_completion_is_printed_for_each_shell(capsys):
    for shell in ("bash", "zsh"):
        with pytest.raises(SystemExit):
            main(["--tyro-print-completion", shell])
        assert "siren" in capsys.readouterr().out
