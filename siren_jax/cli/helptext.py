"""Help texts: the docstring of every option as one paragraph, and how its default is shown."""

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import Annotated, TypeVar

import tyro

T = TypeVar("T")


def optional(metavar: str, default: str):
    """Annotation of an option that may be left out: its values and its default in the help."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})")


def documented(options: type[T]) -> type[T]:
    """Makes the docstring below each field its help, as one paragraph; tyro would keep the source's line breaks."""
    try:
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(options))).body
    except OSError:  # a frozen application has no sources, and its options no help
        return options
    assert isinstance(body, ast.ClassDef)
    for field, text in pairwise(body.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            assert isinstance(text.value, ast.Constant)
            help_text = " ".join(str(text.value.value).split())
            kind = options.__annotations__[field.target.id]
            options.__annotations__[field.target.id] = Annotated[kind, tyro.conf.arg(help=help_text)]
    return options
