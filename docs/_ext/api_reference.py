"""API reference: blocks that list public names become their docstrings, and signatures are those of the source.

A page contains a block for each group of names, relative to a module:

    ```{api} siren_jax
    gradient
    jacobian
    ```

A block of `{aliases}` lists type aliases of a module. Docstrings are in the notation of Markdown, with single backticks
for code; here they become reStructuredText.
"""

import ast
import dataclasses
import importlib
import inspect
import itertools
import re
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import siren_jax

BLOCK = re.compile(r"```\{api\} (\S+)\n(.*?)```", re.DOTALL)
ALIASES = re.compile(r"```\{aliases\} (\S+)\n(.*?)```", re.DOTALL)
CODE = re.compile(r"`([^`]+)`", re.DOTALL)
NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*(\.[A-Za-z_][A-Za-z_0-9]*)*")
PAGE = re.compile(r"docs/([a-z-]+)\.md")
SECTION = re.compile(r"(Args|Returns|Raises|Yields):$")
ARGUMENT = re.compile(r"(\s+\*{0,2}\w+:)(?= )")
# Annotations that are looser or longer in the source than what they mean.
ANNOTATIONS = {"siren_file.Network": "SIREN | ReLUMLP", "Range": "tuple[float, float]", "Number": "float"}
PACKAGES = ("equations", "fields", "fitting", "networks", "plot", "references", "shapes", "signals", "viewer")
MODULES = ("files.pytorch", "fitting.recipes", "metrics", "networks.initializers")


def listed(text: str) -> Iterator[tuple[str, str]]:
    """Module and name of every line in the blocks of a page."""
    for module, block in BLOCK.findall(text):
        yield from ((module, name) for name in block.split())


def public() -> dict[str, Any]:
    """Public names of the package, its packages and its modules, with their objects."""
    found = {f"siren_jax.{name}": getattr(siren_jax, name) for name in [*siren_jax.__all__, "open"]}
    for path in PACKAGES:
        package = importlib.import_module(f"siren_jax.{path}")
        found |= {f"siren_jax.{path}.{name}": value for name, value in vars(package).items()}
    for path in MODULES:
        module = importlib.import_module(f"siren_jax.{path}")
        own = (name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__)
        found |= {f"siren_jax.{path}.{name}": getattr(module, name) for name in own}
    is_public = lambda path: not path.rpartition(".")[2].startswith("_")
    return {
        path: value
        for path, value in found.items()
        if is_public(path) and not isinstance(value, types.ModuleType) and value.__class__.__module__ != "typing"
    }


def missing(docs: Path) -> list[str]:
    """Public names that no page of the reference lists, under this or another path."""
    known = [
        getattr(importlib.import_module(module), name)
        for page in docs.glob("reference/*.md")
        for module, name in listed(page.read_text())
    ]
    absent = [path for path, value in public().items() if not any(value is other for other in known)]
    covered = {f"siren_jax.{path}" for path in (*PACKAGES, *MODULES)}
    members = (getattr(siren_jax, name) for name in siren_jax.__all__)
    return absent + [m.__name__ for m in members if isinstance(m, types.ModuleType) and m.__name__ not in covered]


def directives(text: str) -> str:
    """The text of a page with its blocks as directives of autodoc."""

    def block(found: re.Match[str]) -> str:
        lines = [f".. currentmodule:: {found[1]}", ""]
        for module, name in listed(found[0]):
            value = getattr(importlib.import_module(module), name)
            if inspect.isclass(value):
                kind = "exception" if issubclass(value, Exception) else "class"
                lines += [f".. auto{kind}:: {name}", "   :members:"]
                if any(base.__module__.startswith("siren_jax") for base in value.__bases__):
                    lines.append("   :show-inheritance:")
            elif callable(value):
                lines.append(f".. autofunction:: {name}")
            else:
                lines += [f".. autodata:: {name}", "   :no-value:"]
            lines.append("")
        return "\n".join(["```{eval-rst}", *lines, "```"])

    return BLOCK.sub(block, text)


def aliases(text: str) -> str:
    """The text of a page with its blocks of type aliases as directives."""

    def block(found: re.Match[str]) -> str:
        lines = [".. py:currentmodule:: None", ""]
        body = ast.parse(inspect.getsource(importlib.import_module(found[1]))).body
        for statement, text in itertools.pairwise(body):
            if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
                name = statement.targets[0].id
                if name in found[2].split():
                    assert isinstance(text, ast.Expr)
                    assert isinstance(text.value, ast.Constant)
                    lines += [f".. py:type:: {name}", f"   :canonical: {ast.unparse(statement.value)}", ""]
                    lines += [f"   {line}" for line in as_rst(str(text.value.value).splitlines())] + [""]
        return "\n".join(["```{eval-rst}", *lines, "```"])

    return ALIASES.sub(block, text)


def as_rst(lines: list[str]) -> list[str]:
    """A docstring as reStructuredText."""
    result: list[str] = []
    section = doctest = block = False
    for line in _whole_code(lines):
        if not line.strip():
            doctest = False
        elif not line.startswith(" "):
            section, block = bool(SECTION.match(line)), False
            doctest = doctest or line.startswith(">>>")
        elif not section and not block and line.startswith("    ") and result and not result[-1].strip():
            result += [f".. code-block:: {_language(lines, line)}", ""]
            block = True
        if doctest or block:
            result.append(line)
            continue
        name = ARGUMENT.match(line) if section else None
        result.append(line[: name.end()] + _inline(line[name.end() :]) if name else _inline(line))
    return result


def _language(lines: list[str], first: str) -> str:
    """The language of an indented block: Python, or none for a formula."""
    start = lines.index(first)
    block = itertools.takewhile(lambda line: not line or line.startswith("    "), lines[start:])
    try:
        ast.parse(textwrap.dedent("\n".join(block)))
    except SyntaxError:
        return "none"
    return "python"


def _whole_code(lines: list[str]) -> list[str]:
    """The lines, with code that is wrapped at the end of a line on the first of both."""
    joined = list(lines)
    for i in range(len(joined) - 1):
        if joined[i].count("`") % 2 and not joined[i].lstrip().startswith((">>>", "...")):
            head, mark, tail = joined[i + 1].lstrip().partition("`")
            indent = joined[i + 1][: len(joined[i + 1]) - len(joined[i + 1].lstrip())]
            joined[i] += f" {head}{mark}"
            joined[i + 1] = indent + tail.lstrip()
    return joined


def _inline(line: str) -> str:
    """Code as references where it is a name, and everything else that reStructuredText would interpret, escaped."""
    parts = CODE.split(line)
    parts[0::2] = [re.sub(r"([\\*|]|(?<=\w)_(?!\w))", r"\\\1", text) for text in parts[0::2]]
    parts[1::2] = [_code(code) for code in parts[1::2]]
    text = parts[0]
    for part in parts[1:]:  # inline markup ends at a space or at punctuation
        glued = text and part and (text[-1] == "`" and (part[0].isalnum() or part[0] == "`"))
        text += ("\\ " if glued else "") + part
    return text


def _code(code: str) -> str:
    if page := PAGE.fullmatch(code):
        return f":doc:`/{page[1]}`"
    return f":py:obj:`{code}`" if NAME.fullmatch(code) else f"``{code}``"


def signature_of(value: Any) -> tuple[str, str | None] | None:
    """Arguments and result of a function or class as in its source, where aliases have their names."""
    if inspect.isclass(value):
        if "__init__" in vars(value) and not dataclasses.is_dataclass(value):
            found = signature_of(value.__init__)
            return found and (found[0], None)
        if dataclasses.is_dataclass(value) or hasattr(value, "_fields"):
            fields = {}
            for base in reversed(value.__mro__):
                if base.__module__.startswith("siren_jax"):
                    (body,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
                    assert isinstance(body, ast.ClassDef)
                    fields |= {str(ast.unparse(f.target)): f for f in body.body if isinstance(f, ast.AnnAssign)}
            return f"({', '.join(map(_field, fields.values()))})", None
        return None
    try:
        source = textwrap.dedent(inspect.getsource(inspect.unwrap(value)))
        (body,) = ast.parse(source).body
    except (TypeError, OSError, SyntaxError, ValueError):
        return None
    if not isinstance(body, ast.FunctionDef):
        return None
    given = body.args
    constants = vars(importlib.import_module(value.__module__))
    known = lambda default: isinstance(default, ast.Name) and default.id.isupper() and default.id in constants
    shown = lambda default: ast.Constant(constants[default.id]) if known(default) else default
    given.defaults, given.kw_defaults = [*map(shown, given.defaults)], [*map(shown, given.kw_defaults)]
    if given.args and given.args[0].arg in ("self", "cls"):
        given.args = given.args[1:]
    result = None if body.returns is None else _annotation(ast.unparse(body.returns))
    return f"({_annotation(ast.unparse(given))})", result


def _field(field: ast.AnnAssign) -> str:
    default = "" if field.value is None else f" = {ast.unparse(field.value)}"
    if "default_factory" in default:
        default = " = ..."
    return f"{ast.unparse(field.target)}: {_annotation(ast.unparse(field.annotation))}{default}"


def _annotation(text: str) -> str:
    for name, meaning in ANNOTATIONS.items():
        text = re.sub(rf"(?<![\w.]){re.escape(name)}\b", meaning, text)
    return re.sub(r"""(?<![\[\w,] )'([A-Z]\w*(\[\w+\])?)'""", r"\1", text)  # forward references


def setup(app: Any) -> dict[str, bool]:
    from sphinx.util import logging  # the tests import this module without Sphinx

    def read(app: Any, page: str, source: list[str]) -> None:
        source[0] = aliases(directives(source[0]))

    def document(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
        undescribed = lines and lines[0].startswith("Alias for field number")  # of a named tuple
        lines[:] = [] if undescribed else as_rst(lines)

    def sign(app: Any, what: str, name: str, value: Any, options: Any, arguments: Any, result: Any) -> Any:
        return signature_of(value) if what in ("class", "exception", "function", "method") else None

    def check(app: Any, env: Any) -> None:
        for name in missing(Path(app.srcdir)):
            logging.getLogger(__name__).warning("%s is on no page of docs/reference", name)

    def resolve(app: Any, env: Any, node: Any, content: Any) -> Any:
        """A class or function without its module, or with a part of it, if there is only one of this name."""
        target = node.get("reftarget", "")
        if node.get("refdomain") != "py" or not (target[:1].isupper() or set("._") & set(target)):
            return None
        domain = env.get_domain("py")
        kinds = ("class", "exception", "function", "data")
        found = [
            name for name, entry in domain.objects.items() if name.endswith(f".{target}") and entry.objtype in kinds
        ]
        if len(found) != 1:
            return None
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", found[0], node, content)

    app.connect("source-read", read)
    app.connect("missing-reference", resolve)
    app.connect("autodoc-process-docstring", document, priority=100)  # before napoleon
    app.connect("autodoc-process-signature", sign)
    app.connect("env-updated", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
