"""Windows in the header of a `.siren` file: their blocks as JSON, and back from a file, which is untrusted."""

import math
from typing import Any

from siren_jax.errors import InputError
from siren_jax.networks.windows import Beyond, Gaussian, Window, Windows, windows_of


def as_json(blocks: Windows) -> list[dict[str, Any]]:
    """The blocks in a file."""
    found: list[dict[str, Any]] = []
    for units, window in blocks:
        if isinstance(window, Gaussian):
            more = {"type": "gaussian", "place": list(window.place), "width": list(window.width)}
        elif isinstance(window, Beyond):
            ends = {
                name: end if math.isfinite(end) else None for name, end in (("low", window.low), ("high", window.high))
            }
            more = {"type": "beyond", "axis": window.axis, **ends, "power": window.power, "unit": window.unit}
        else:
            more = {"type": "everywhere"}
        found.append({"units": units, **more})
    return found


def from_json(given: Any, inputs: int, units: int) -> Windows:
    """The blocks from those of a file, which is untrusted.

    Raises:
        InputError: they are not valid.
    """
    if not isinstance(given, list) or not given:
        raise InputError(f"a list of blocks is needed, but it is {given!r:.200}.")
    blocks = windows_of([_block(block) for block in given], inputs, units)
    if not blocks:
        raise InputError("no block has a window.")
    return blocks


def _block(given: Any) -> tuple[Any, Window | None]:
    """One block of a file."""
    fields = {**given} if isinstance(given, dict) else {}
    units, kind = fields.pop("units", None), fields.pop("type", None)
    if kind == "everywhere" and not fields:
        return units, None
    if kind == "gaussian" and set(fields) == {"place", "width"} and all(isinstance(n, list) for n in fields.values()):
        return units, Gaussian(**fields)
    if kind == "beyond" and set(fields) == {"axis", "low", "high", "power", "unit"}:
        usual = {"low": -math.inf, "high": math.inf}
        fields |= {name: end for name, end in usual.items() if fields[name] is None}
        return units, Beyond(**fields)
    raise InputError(
        "a block has units and the type everywhere, gaussian with lists place and width, or beyond with axis, low, "
        f"high, power and unit, but one is {given!r:.200}."
    )
