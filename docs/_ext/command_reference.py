"""Command reference: a directive that shows the help of a command, as the parser prints it.

```{command} fit
```
"""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple
from unittest import mock

BLOCK = re.compile(r"```\{command\} (\S+)\n```")
ONE_COLUMN = "129"  # the widest terminal on which tyro prints one column
TOP, ROW = re.compile(r"^╭─ (.*?) ─*╮$"), re.compile(r"^│ (.*) │$")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*[a-z]")
LAST = re.compile(r"^(.*) \((default: .*|required)\)$")


class Option(NamedTuple):
    """An option, or an argument without a name."""

    names: str
    """As it is written, such as `--shape H W`."""
    text: str
    default: str
    """Its default, "required", or nothing for a flag."""


class Group(NamedTuple):
    """Options under one heading."""

    title: str
    text: str
    options: list[Option]


def help_of(*arguments: str) -> str:
    """What the command prints with `--help`."""
    from siren_jax.cli import main

    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")  # the encoding decides which boxes are drawn
    plain = {"COLUMNS": ONE_COLUMN, "NO_COLOR": "1", "PYTHON_COLORS": "0"}
    with mock.patch.dict(os.environ, plain), contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        main([*arguments, "--help"])
    printed.seek(0)
    return re.sub(r"\x1b\[[0-9;]*m", "", printed.read())


def commands() -> list[str]:
    """Names of the commands."""
    listed = re.search(r"\{([a-z,-]+)\}", help_of())
    assert listed
    return listed[1].split(",")


def parsed(text: str) -> tuple[str, str, list[Group]]:
    """Usage, description and groups of options in a help."""
    head, *_ = text.partition("╭")
    usage, _, description = head.partition("\n\n")
    return " ".join(usage.split()), description.strip(), list(_groups(text))


def _groups(text: str) -> Iterator[Group]:
    title, rows = "", []
    for line in text.splitlines():
        if found := TOP.match(line):
            title, rows = found[1], []
        elif found := ROW.match(line):
            rows.append(found[1].rstrip())
        elif line.startswith("╰"):
            rule = next((i for i, row in enumerate(rows) if row and set(row) == {"─"}), None)
            about = "" if rule is None else " ".join(rows[:rule])
            yield Group(title, about, list(_options(rows[0 if rule is None else rule + 1 :])))


def _options(rows: list[str]) -> Iterator[Option]:
    found: list[tuple[str, list[str]]] = []
    for row in rows:
        if row and not row.startswith(" "):
            names, _, text = row.partition("  ")
            found.append((names, [text.strip()]))
        elif row:
            found[-1][1].append(row.strip())
    for names, texts in found:
        text = " ".join(filter(None, texts))
        last = LAST.match(text)
        text, default = (last[1], last[2]) if last else (text, "")
        default = default.removeprefix("default: ")
        yield Option(names, text, "" if default == "False" else default)


def as_rst(command: str) -> str:
    """The reference of a command."""
    usage, description, groups = parsed(help_of(command))
    known = {name for group in groups for option in group.options for name in OPTION.findall(option.names)}
    lines = [description, "", ".. code-block:: text", "", f"   {usage.removeprefix('usage: ')}", ""]
    lines += [f".. program:: siren-jax {command}", ""]
    for group in groups:
        lines += [f".. rubric:: {group.title.capitalize()}", "", _marked(group.text, known), ""]
        for option in group.options:
            if option.names == "-h, --help":
                continue
            lines += [f".. option:: {option.names.strip('[]')}", "", f"   {_marked(option.text, known)}", ""]
            if option.default:
                default = _marked(option.default, known)
                lines += ["   " + ("Required." if default == "required" else f"*Default:* {default}"), ""]
    return "\n".join(lines)


def _marked(text: str, known: set[str]) -> str:
    """A help text with its code and options marked."""
    parts = re.split(r"`([^`]+)`", text)
    for i, part in enumerate(parts):
        if i % 2:
            parts[i] = f"``{part}``"
        else:
            part = re.sub(r"([\\*|]|(?<=\w)_(?!\w))", r"\\\1", part)
            parts[i] = OPTION.sub(lambda o: f":option:`{o[0]}`" if o[0] in known else f"``{o[0]}``", part)
    return "".join(parts)


def setup(app: Any) -> dict[str, bool]:
    def read(app: Any, page: str, source: list[str]) -> None:
        source[0] = BLOCK.sub(lambda found: f"```{{eval-rst}}\n{as_rst(found[1])}\n```", source[0])

    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
