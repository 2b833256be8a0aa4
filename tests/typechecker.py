"""Beartype for the library's annotations, but any string where a few are meant: what such words say to a wrong one is
the library's own business, and tested. A collection of the library is checked by its class alone: to look at an item,
as beartype does, would read a file."""

import types
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from beartype import beartype
from beartype.vale import IsInstance


def checked(thing: Any) -> Any:
    if isinstance(thing, types.FunctionType):
        thing.__annotations__ = {name: _wider(hint) for name, hint in thing.__annotations__.items()}
    return beartype(thing)


def _wider(hint: Any) -> Any:
    if get_origin(hint) is Literal:
        return type(get_args(hint)[0])
    if get_origin(hint) in (Union, types.UnionType):
        return reduce(or_, map(_wider, get_args(hint)))
    if isinstance(hint, type) and issubclass(hint, Sequence) and hint.__module__.startswith("siren_jax"):
        return Annotated[object, IsInstance[hint]]
    return hint
