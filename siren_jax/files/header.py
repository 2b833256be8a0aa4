"""Rules for the description of a signal in a `.siren` file. They apply when a `NeuralField` is made, saved or loaded.

The part of the header that describes the network is checked in `siren_file`.
"""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from siren_jax.errors import InputError

MAX_SAMPLES = 2**31  # along an axis of a frame
AXES = {"sound": 1, "image": 2, "video": 3, "shape": 3}
LARGEST = 1e18  # largest number in a placement, a box or a rate
MAX_NESTING = 32


def check(owner: str, header: Mapping[str, Any], in_features: int | None, out_features: int | None) -> None:
    """Checks that the description of a signal contradicts neither itself nor its network.

    Args:
        owner: object that the description belongs to, for the message.
        header: the fields `kind`, `frame`, `value_range` and, for kinds that have them, `rate` and `placement`, as JSON
            values.
        in_features: coordinates of the network; None if unknown.
        out_features: channels of the network; None if unknown.

    Raises:
        InputError: a field is missing, or is not valid for the kind of the signal; the message names the field.
    """
    kind = header.get("kind")
    if not isinstance(kind, str):
        raise InputError(f"{owner} needs a kind of signal as a string, but has {kind!r}.")
    frame = header.get("frame")
    frame = frame if isinstance(frame, Mapping) else {}
    shape = frame.get("shape")
    if not _is_list(shape) or not all(type(n) is int and 1 <= n <= MAX_SAMPLES for n in shape):
        raise InputError(
            f"{owner} needs the frame of its samples, 1 to {MAX_SAMPLES:,} along each axis, but has {frame}."
        )
    axes = AXES.get(kind, in_features)
    if axes is not None and len(shape) != axes:
        raise InputError(f"{owner} is of the kind {kind!r} with {axes} axes, but its frame has {len(shape)}: {shape}.")
    if in_features is not None and len(shape) != in_features:
        raise InputError(f"{owner} has a frame of {len(shape)} axes, but a network of {in_features} coordinates.")
    ends = header.get("value_range")
    if not _are_numbers(ends, 2, sys.float_info.max) or not 0 < float(ends[1]) - float(ends[0]) < math.inf:
        raise InputError(f"{owner} needs a value range (low, high) with low < high, both finite, but has {ends}.")
    rate = header.get("rate")
    if not valid_rate(kind, rate):
        needed = {"sound": "a whole number of samples a second", "video": "frames a second"}.get(kind, "no rate")
        raise InputError(f"{owner} is of the kind {kind!r} and needs {needed}, but its rate is {rate!r}.")
    _check_placement(owner, header, out_features)
    _check_box(owner, kind, frame)
    if not isinstance(header.get("record", {}), Mapping):
        raise InputError(f"{owner} needs a record that names its values, but has {header['record']!r}.")


def valid_rate(kind: str, rate: Any) -> bool:
    """Whether a signal of this kind may have this rate: sounds and videos have a rate, other kinds have None."""
    if kind in ("sound", "video"):
        return type(rate) in (int, float) and 0 < rate <= LARGEST and (kind == "video" or rate == int(rate))
    return rate is None


def names(given: Any, usual: Sequence[str]) -> list[str]:
    """The names in a record, which is untrusted, if they are distinct and of the right number; else the usual ones.

    >>> names(["t", "x"], ["x0", "x1"]), names(["t", "t"], ["x0", "x1"])
    (['t', 'x'], ['x0', 'x1'])
    """
    sound = isinstance(given, list) and len(given) == len(usual) == len(set(map(str, given)))
    return [str(name)[:40] for name in given] if sound else list(usual)


def as_json(name: str, value: Any) -> Any:
    """A value as strict JSON: NumPy numbers become Python numbers, and non-finite numbers become None.

    >>> as_json("record", {"psnr": np.float32(30.5), "contrast": float("nan")})
    {'psnr': 30.5, 'contrast': None}

    Raises:
        InputError: JSON cannot represent a part of the value; the message names the part.
    """
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): as_json(f"{name}[{str(key)!r}]", item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(f"{name}[{place}]", item) for place, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()  # half a surrogate pair cannot be written
    if value is None or isinstance(value, bool | int | float):
        return value
    raise InputError(
        f"{name} is of the type {type(value).__name__}, which JSON cannot contain; give a number or a string."
    )


def parse(text: str) -> Any:
    """The value of a JSON text, with None instead of NaN and infinity, which some programs write.

    Raises:
        ValueError: the text is not JSON.
    """
    return json.loads(text, parse_constant=lambda _: None)


def nesting(value: Any) -> int:
    """Nesting depth of JSON objects and arrays."""
    if not isinstance(value, (dict, list)):
        return 0
    return 1 + max(map(nesting, value.values() if isinstance(value, dict) else value), default=0)


def _check_placement(owner: str, header: Mapping[str, Any], out_features: int | None) -> None:
    placement = header.get("placement")
    if header["kind"] != "shape":
        if placement is not None:
            raise InputError(f"{owner} is of the kind {header['kind']!r}, but only a shape has a placement.")
        return
    given = placement if isinstance(placement, Mapping) else {}
    centre, scale = given.get("centre"), given.get("scale", 0)
    if not _are_numbers(centre, 3) or not _are_numbers([scale], 1) or not scale > 0:
        raise InputError(
            f"{owner} is a shape and needs a placement, a centre (x, y, z) and a scale, but has {placement}."
        )
    if out_features not in (None, 1) or list(header["value_range"]) != [-scale, scale]:
        raise InputError(
            f"{owner} is a shape and needs one channel and the value range ({-scale:g}, {scale:g}) of its placement, "
            f"but has {out_features} and {tuple(header['value_range'])}."
        )


def _check_box(owner: str, kind: str, frame: Mapping[str, Any]) -> None:
    low, high = frame.get("low"), frame.get("high")
    if kind != "solution":
        if low is not None:
            raise InputError(f"{owner} is of the kind {kind!r}, but only a solution of an equation has a box.")
        return
    axes = len(frame["shape"])
    if (
        not _are_numbers(low, axes)
        or not _are_numbers(high, axes)
        or not all(a < b for a, b in zip(low, high, strict=True))
    ):
        raise InputError(
            f"{owner} is a solution and needs the box of its domain, low < high on {axes} axes, but has {frame}."
        )


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _are_numbers(value: Any, count: int, largest: float = LARGEST) -> TypeGuard[Sequence[float]]:
    return (
        _is_list(value)
        and len(value) == count
        and all(type(number) in (int, float) and abs(number) <= largest for number in value)
    )
