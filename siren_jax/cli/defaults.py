"""Default values of options for the help, computed from the recipes."""

from collections.abc import Callable, Iterable
from typing import Any

from siren_jax.fitting.recipes import TUNED, TUNED_INPAINTING, Recipe
from siren_jax.subjects.kinds import SIGNALS

DERIVATIVES = "--target gradient, laplacian or mixed"


def by_recipe(of: Callable[[Recipe], Any], equations: str = "each equation has its own") -> str:
    """Default of a setting as text: for each kind of signal, for derivatives and in the paper's recipes.

    Args:
        of: returns the setting of a recipe.
        equations: text for equations; may be empty.

    >>> by_recipe(lambda recipe: recipe.b2, equations="")
    '0.99; 0.999 with --target gradient, laplacian or mixed; with --recipe paper 0.999'
    """
    tuned = _grouped((_text(of(kind.recipe())), kind.plural) for kind in SIGNALS.values())
    values, derivatives = _text(of(TUNED["values"])), _text(of(TUNED["gradient"]))
    paper = _grouped((_text(of(kind.paper)), kind.plural) for kind in SIGNALS.values())
    inpainting = _text(of(TUNED_INPAINTING))
    parts = [tuned]
    if derivatives != values:
        parts.append(f"{derivatives} with {DERIVATIVES}")
    if inpainting != values:
        parts.append(f"{inpainting} for inpaint")
    if equations:
        parts.append(equations)
    if paper != tuned or derivatives != values:
        parts.append(f"with --recipe paper {paper}")
    return "; ".join(parts)


def by_kind(of: Callable[[Any], Any], equations: str = "each equation has its own") -> str:
    """Default of a setting as text, for each kind of signal.

    >>> by_kind(lambda kind: kind.width)
    '256 for pictures, sounds and shapes, 1024 for videos; each equation has its own'
    """
    return "; ".join([_grouped((_text(of(kind)), kind.plural) for kind in SIGNALS.values()), equations])


def _grouped(rows: Iterable[tuple[str, str]]) -> str:
    """Distinct values, each with its names; a single value alone."""
    found: dict[str, list[str]] = {}
    for value, name in rows:
        found.setdefault(value, []).append(name)
    if len(found) == 1:
        return next(iter(found))
    return ", ".join(f"{value} for {_joined(names)}" for value, names in found.items())


def _joined(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]


def _text(value: Any) -> str:
    if callable(value):
        return value.__name__.removesuffix("_decay").replace("_", "-")
    return value if isinstance(value, str) else f"{value:g}"
