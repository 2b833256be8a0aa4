"""The `.siren` file: safetensors with a JSON header that describes the arrays. It contains neither pickle nor code.

The header is the metadata entry `siren` of the safetensors file. Before any memory is allocated, reading checks the
header against limits and against the types and shapes that the file declares. Writing is atomic. `docs/file-format.md`
is the specification.
"""

import functools
import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from siren_jax._types import Precision
from siren_jax.errors import InputError
from siren_jax.fields.precision import is_double, precision_of
from siren_jax.files import blocks
from siren_jax.files.header import MAX_NESTING, nesting, parse
from siren_jax.networks import grading, initializers, periods
from siren_jax.networks.latent import LatentSIREN
from siren_jax.networks.relu import ReLUMLP
from siren_jax.networks.siren import OUTERMOST, SIREN

FORMAT_VERSION = 2
Network = SIREN | ReLUMLP

# Precisions of the kernels after the first layer, with their names in safetensors. The other arrays are float32, or
# float64 in this precision: they are small, and omega would multiply the rounding errors of the first layer.
PRECISIONS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int8": "I8", "float64": "F64"}
OF_SETS = tuple(name for name in PRECISIONS if name != "float64")  # of sets and of bases

# Largest accepted value of each size in a header: far above useful sizes, far below sizes that exhaust a machine.
LIMITS = {"in_features": 64, "out_features": 4096, "width": 65536, "depth": 256}
MAX_LATENT = 65536
OPTIONS = ("periodic", "graded", "windows")  # fields that only a SIREN with them has
MAX_OMEGA = 1e9
MAX_WEIGHTS = 2**28  # 1 GiB in float32, 2 GiB in float64
MAX_HEADER = 2**20  # bytes of the safetensors header: names, types and shapes of the arrays, and the entry `siren`
EXTRA = {
    "siren": ("first_omega", "omega", "outermost", "use_bias"),
    "relu": (),
    "latent": ("first_omega", "omega", "latent", "scaled"),
}


def encoded(network: Network | LatentSIREN, header: Mapping[str, Any], *, precision: Precision | None = None) -> bytes:
    """The bytes of a `.siren` file.

    Args:
        network: a SIREN, a ReLUMLP or a LatentSIREN.
        header: JSON values, as from `header.as_json`; the fields `format`, `network` and `precision` are added.
        precision: precision of the kernels after the first layer, one of `PRECISIONS`. "int8" has one scale per unit,
            max|w|/127 over the unit's weights; "float64" is that of all arrays. The default is "float64" for a network
            with float64 parameters, otherwise "float32".

    Raises:
        InputError: the precision is unknown; the network has another type, is larger than the format allows, or has
            weights that the precision cannot represent.
    """
    from safetensors.numpy import save

    double = is_double(network)
    if precision is None:
        precision = "float64" if double else "float32"
    if precision not in PRECISIONS:
        raise InputError(f"a precision is one of {', '.join(PRECISIONS)}, but is {precision!r}.")
    wide = double or precision == "float64"
    architecture, arrays = architecture_of(network), _arrays(network, np.float64 if wide else np.float32)
    check_precision_of("the network", architecture, precision)
    _check_architecture("the network", architecture, FORMAT_VERSION)
    _check_count("the network", [array.shape for array in arrays.values()])
    if bad := [name for name, array in arrays.items() if not np.isfinite(array).all()]:
        raise InputError(f"{bad[0]} contains values that are not finite; a .siren file needs finite weights.")
    header = {"format": FORMAT_VERSION, "network": architecture, "precision": precision, **header}
    text = json.dumps(header, allow_nan=False)
    checked_header("the signal", text)
    if precision != "float64":
        arrays = _rounded(arrays)
    data = save(at_precision(arrays, precision), metadata={"siren": text})
    if (length := _header_length(data)) > MAX_HEADER:
        raise InputError(f"the record of the signal is too long: {length:,} bytes of {MAX_HEADER:,}.")
    return data


def read(path: str | os.PathLike[str]) -> tuple[Network | LatentSIREN, dict[str, Any]]:
    """The network, in float64 for this precision and otherwise in float32, and the header of a `.siren` file.

    Raises:
        InputError: the file is missing, truncated, or of another kind or version, or its header contradicts its arrays.
    """
    from safetensors import SafetensorError, safe_open

    path = os.fspath(path)
    if os.path.isdir(path):
        raise InputError(f"{path!r} is a folder, such as that of a set; a .siren file is needed.")
    if not os.path.isfile(path):
        raise InputError(f"there is no file {path!r}.")
    try:
        with open(path, "rb") as file:
            length = _header_length(file.read(8))
        if length > MAX_HEADER:
            raise InputError(f"{path!r} is not a .siren file: its header has {length:,} bytes of {MAX_HEADER:,}.")
        with safe_open(path, framework="numpy") as file:
            header = checked_header(repr(path), (file.metadata() or {}).get("siren"))
            shapes = _structure(json.dumps(header["network"]))[2]
            wanted = _stored(shapes, header["precision"])
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            found = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
            if found != wanted:
                name = sorted(found.items() ^ wanted.items())[0][0]
                raise InputError(
                    f"{path!r} contradicts itself: according to its header {name} is {wanted.get(name, 'absent')}, "
                    f"but the file has {found.get(name, 'none')}."
                )
            _check_count(repr(path), shapes.values())
            dtype = np.float64 if header["precision"] == "float64" else np.float32
            arrays = {name: file.get_tensor(name).astype(dtype) for name in wanted}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path!r} is not a .siren file, or is truncated: {error}.") from None
    with np.errstate(over="ignore", invalid="ignore"):  # of a damaged scale, infinite for instance
        weights = {name: arrays[name] * arrays.get(f"{name}.scale", 1) for name in shapes}
    if bad := [name for name, array in weights.items() if not np.isfinite(array).all()]:
        raise InputError(f"{path!r} is damaged: {bad[0]} contains values that are not finite.")
    return network_from(header["network"], weights), header


def plain(owner: str, network: Network | LatentSIREN) -> Network:
    """The SIREN that a latent network is at its own code; other networks unchanged.

    Raises:
        InputError: the SIREN is not finite, see `of_code`.
    """
    return of_code(owner, network, network.code[...]) if isinstance(network, LatentSIREN) else network


def of_code(owner: str, network: LatentSIREN, code: jax.Array) -> SIREN:
    """The SIREN that a latent network is at a code.

    Raises:
        InputError: its weights, which are products of finite numbers, are too large for float32.
    """
    siren = network.at(code)
    if bad := [name for name, array in _arrays(siren).items() if not np.isfinite(array).all()]:
        raise InputError(f"{owner} has a code or weights that are too large: {bad[0]} of its SIREN is not finite.")
    return siren


def network_from(architecture: Mapping[str, Any], weights: Mapping[str, Any]) -> Network | LatentSIREN:
    """The network of a checked description and its arrays by name."""
    graphdef, structure, shapes = _structure(json.dumps(architecture))
    with precision_of(dict(weights)):
        return nnx.merge(graphdef, jax.tree.unflatten(structure, [jnp.asarray(weights[name]) for name in shapes]))


def stored_arrays(architecture: Mapping[str, Any], precision: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every array in a file, from a checked description of the network."""
    return _stored(_structure(json.dumps(architecture))[2], precision)


def architecture_of(network: Network | LatentSIREN) -> dict[str, Any]:
    """The description of a network in the header.

    Raises:
        InputError: it is of another type.
    """
    kinds = {SIREN: "siren", ReLUMLP: "relu", LatentSIREN: "latent"}
    if type(network) not in kinds:  # a subclass may compute another function
        raise InputError(
            f"a .siren file needs a SIREN or a ReLUMLP, but this network is of the type {type(network).__name__}."
        )
    kind = kinds[type(network)]
    found = {"type": kind, **{name: getattr(network, name) for name in (*LIMITS, *EXTRA[kind])}}
    if isinstance(network, SIREN) and network.periodic:
        found["periodic"] = list(network.periodic)
    if isinstance(network, SIREN) and network.graded:
        found["graded"] = [[list(pair) for pair in pairs] for pairs in network.graded]
    if isinstance(network, SIREN) and network.windows:
        found["windows"] = blocks.as_json(network.windows)
    return found


def _build(architecture: Mapping[str, Any]) -> Network | LatentSIREN:
    # JSON has one type of numbers, so a writer may have written an omega without a point.
    arguments = {n: float(value) if n.endswith("omega") else value for n, value in architecture.items() if n != "type"}
    if given := architecture.get("periodic"):
        arguments["periodic"] = {axis: float(period) for axis, period in enumerate(given) if period is not None}
        # The weights are those of the file. Its first omega may be too low for the usual initial ones.
        arguments["kernel_init"] = initializers.ones
    if given := architecture.get("graded"):
        arguments["graded"] = {axis: pairs for axis, pairs in enumerate(given) if pairs}
    if given := architecture.get("windows"):
        arguments["windows"] = blocks.from_json(given, architecture["in_features"], architecture["width"])
    make = {"siren": SIREN, "relu": ReLUMLP, "latent": LatentSIREN}[architecture["type"]]
    return make(arguments.pop("in_features"), arguments.pop("out_features"), **arguments, rngs=nnx.Rngs(0))


@functools.lru_cache(maxsize=64)  # thousands of files may have networks of one size
def _structure(architecture: str) -> tuple[nnx.GraphDef, Any, dict[str, tuple[int, ...]]]:
    """The graph, the tree and the shapes of the arrays of a network, from the header's JSON."""
    graphdef, state = nnx.split(nnx.eval_shape(lambda: _build(json.loads(architecture))))
    shapes = {".".join(map(str, name)): tuple(leaf.shape) for name, leaf in nnx.to_flat_state(state)}
    return graphdef, jax.tree.structure(state), shapes


def _arrays(network: Network | LatentSIREN, dtype: Any = np.float32) -> dict[str, np.ndarray]:
    state = nnx.to_flat_state(nnx.state(network, nnx.Param))
    with precision_of(network):
        return {".".join(map(str, name)): np.asarray(leaf[...], dtype) for name, leaf in state}


def _rounded(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Finite arrays in float32."""
    greatest = np.finfo(np.float32).max
    for name, array in arrays.items():
        if (largest := np.abs(array).max(initial=0)) > greatest:
            raise InputError(f"{name} contains {largest:g}, but float32 ends at {greatest:g}; choose float64.")
    return {name: array.astype(np.float32, copy=False) for name, array in arrays.items()}


def _has_precision(name: str) -> bool:
    """Whether an array is a kernel after the first layer, which has the file's precision; others are float32, but
    float64 in this precision."""
    return name.endswith("kernel") and not name.startswith("layers.0.")


def _stored(shapes: Mapping[str, tuple[int, ...]], precision: str) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Type and shape of every array in a file, from the shapes of the network's arrays."""
    stored, further = {}, "F64" if precision == "float64" else "F32"
    for name, shape in shapes.items():
        stored[name] = (PRECISIONS[precision] if _has_precision(name) else further, shape)
        if precision == "int8" and _has_precision(name):
            stored[f"{name}.scale"] = ("F32", shape[-1:])
    return stored


def at_precision(arrays: Mapping[str, np.ndarray], precision: str) -> dict[str, np.ndarray]:
    """The arrays of a file, from the network's arrays in float32, or in float64 for this precision."""
    if precision in ("float32", "float64"):
        return dict(arrays)
    encoded = dict(arrays)
    for name in filter(_has_precision, arrays):
        largest = np.abs(arrays[name]).max()
        greatest = jnp.finfo(jnp.float32 if precision == "int8" else precision).max
        if not largest <= greatest:
            raise InputError(f"{name} contains {largest:g}, but {precision} ends at {greatest:g}; choose float32.")
        if precision == "int8":
            scale = np.abs(arrays[name]).max(axis=0) / 127
            steps = arrays[name] / np.where(scale > 0, scale, 1)
            encoded[name] = np.clip(np.round(steps), -127, 127).astype(np.int8)  # a subnormal scale is itself rounded
            encoded[f"{name}.scale"] = scale
        else:
            encoded[name] = arrays[name].astype(jnp.dtype(precision))
    return encoded


def _header_length(data: bytes) -> int:
    """Length of the safetensors header of a file that begins with these bytes."""
    return int.from_bytes(data[:8], "little")


def checked_header(owner: str, text: str | None) -> dict[str, Any]:
    """The header, after checking that it has every field for building the network, within limits."""
    if text is None:
        raise InputError(f"{owner} is a safetensors file, but not a .siren file: it has no header named 'siren'.")
    try:
        header = parse(text)
        version, architecture = header["format"], {**header["network"]}
        too_deep = nesting(header) > MAX_NESTING
        json.dumps(header, ensure_ascii=False).encode()  # fails for half a surrogate pair, which cannot be printed
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError(f"the header of {owner} is not JSON with the fields format and network.") from None
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise InputError(
            f"{owner} has the format version {version!r}; this siren_jax reads versions 1 to {FORMAT_VERSION}."
        )
    if too_deep:
        raise InputError(f"the header of {owner} is nested more than {MAX_NESTING} times.")
    _check_architecture(f"the header of {owner}", architecture, version)
    header["precision"] = "float32" if version == 1 else header.get("precision")
    if not isinstance(header["precision"], str) or header["precision"] not in PRECISIONS:
        raise InputError(
            f"the header of {owner} names the precision {header['precision']!r}; {', '.join(PRECISIONS)} are known."
        )
    check_precision_of(owner, architecture, header["precision"])
    return header


def check_precision_of(owner: str, architecture: Mapping[str, Any], precision: str) -> None:
    """Raises an `InputError` if networks of this type are not kept in this precision."""
    if architecture["type"] == "latent" and precision not in OF_SETS:
        raise InputError(f"{owner} is a space of signals in {precision}; such a network is kept in float32.")


def _check_architecture(owner: str, architecture: Mapping[str, Any], version: int) -> None:
    """Raises an `InputError` if the description of a network lacks a field, has an unknown one, or exceeds a limit."""
    kind = architecture.get("type")
    known = [name for name in EXTRA if version > 1 or name != "latent"]
    if kind not in known:
        raise InputError(f"{owner} has a network of the type {kind!r}; the known types are {', '.join(known)}.")
    fields = {"type", *LIMITS, *EXTRA[kind]} - ({"outermost"} if version == 1 else set())
    if set(architecture) - (set(OPTIONS) if kind == "siren" and version > 1 else set()) != fields:
        raise InputError(f"{owner} does not describe a network: its fields are {sorted(architecture)}.")
    for name, value in architecture.items():
        if name in ("type", *OPTIONS):
            continue
        if name in LIMITS:
            least = 0 if name == "depth" else 1
            sound = type(value) is int and least <= value <= LIMITS[name]
            accepted = f"whole numbers {least} to {LIMITS[name]}"
        elif name == "latent":
            sound, accepted = type(value) is int and 1 <= value <= MAX_LATENT, f"whole numbers 1 to {MAX_LATENT}"
        elif name in ("use_bias", "scaled"):
            sound, accepted = type(value) is bool, "true and false"
        elif name == "outermost":
            sound, accepted = value in OUTERMOST, ", ".join(OUTERMOST)
        else:
            sound = isinstance(value, (int, float)) and type(value) is not bool and 0 < value < MAX_OMEGA
            accepted = f"numbers above 0 and below {MAX_OMEGA:g}"
        if not sound:
            raise InputError(f"{owner} has {name} = {value!r}; {accepted} are accepted.")
    if "periodic" in architecture:
        _check_periodic(owner, architecture["periodic"], architecture["in_features"], architecture["first_omega"])
    if "windows" in architecture:
        try:
            blocks.from_json(architecture["windows"], architecture["in_features"], architecture["width"])
        except InputError as error:
            raise InputError(f"{owner} has windows that are not valid: {error}") from None
    if "graded" in architecture:
        _check_graded(owner, architecture["graded"], architecture.get("periodic"), architecture["in_features"])


def _check_periodic(owner: str, given: Any, in_features: int, first_omega: int | float) -> None:
    listed = given if isinstance(given, list) else []
    sound = all(
        type(period) in (int, float) and periods.is_period(period, first_omega)
        for period in listed
        if period is not None
    )
    if not sound or len(listed) != in_features or listed == [None] * in_features:
        raise InputError(
            f"{owner} has periodic = {given!r:.200}; a list of {in_features} is accepted, with the period of each "
            f"periodic coordinate, from {periods.LEAST:g} to {periods.MOST:g} itself and times first_omega, and null "
            "for the others."
        )


def _check_graded(owner: str, given: Any, periodic: Any, in_features: int) -> None:
    listed = given if isinstance(given, list) else []
    sound = all(pairs == [] or grading.are_places(pairs) for pairs in listed)
    if not sound or len(listed) != in_features or not any(listed):
        raise InputError(
            f"{owner} has graded = {given!r:.200}; a list of {in_features} is accepted, with a list of up to "
            f"{grading.MOST_PLACES} pairs [place, width] for each graded coordinate, places from {-grading.MOST:g} to "
            f"{grading.MOST:g} and widths from {grading.LEAST:g} to {grading.MOST:g}, and an empty list for the others."
        )
    if any(pairs and period is not None for pairs, period in zip(listed, periodic or [], strict=False)):
        raise InputError(f"{owner} has a coordinate that is both periodic and graded.")


def _check_count(owner: str, shapes: Iterable[tuple[int, ...]]) -> None:
    if (count := sum(map(math.prod, shapes))) > MAX_WEIGHTS:
        raise InputError(f"{owner} has {count:,} weights; up to {MAX_WEIGHTS:,} are accepted.")
