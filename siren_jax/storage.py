"""The `.siren` file: safetensors, with a JSON header of what the arrays mean. No pickle, no code.

The header is the metadata entry `siren` of the safetensors file. Reading checks it against limits and against the
shapes that the file declares before anything is allocated. Writing is atomic.
"""

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import IO, Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from siren_jax.errors import InputError
from siren_jax.network import SIREN, ReLUMLP

FORMAT_VERSION = 1
Network = SIREN | ReLUMLP

# Largest accepted value of each size in a header: far above what is of use, far below what exhausts a machine.
LIMITS = {"in_features": 64, "out_features": 4096, "width": 65536, "depth": 256}
MAX_OMEGA = 1e9
EXTRA = {"siren": ("first_omega", "omega", "use_bias"), "relu": ()}


def write(
    path: str | os.PathLike[str], network: Network, header: Mapping[str, Any], *, overwrite: bool = False
) -> None:
    """Writes a network and its header to a `.siren` file.

    Args:
        path: the file.
        network: a SIREN or a ReLUMLP.
        header: JSON values besides `format` and `network`, which are added.
        overwrite: replace a file that exists.

    Raises:
        InputError: the file exists or cannot be written, or the network is of another type.
    """
    from safetensors.numpy import save

    header = {"format": FORMAT_VERSION, "network": _architecture(network), **header}
    arrays = {name: np.asarray(value, np.float32) for name, value in _arrays(network).items()}
    data = save(arrays, metadata={"siren": json.dumps(header)})
    write_atomically(path, lambda file: file.write(data), overwrite=overwrite)


def read(path: str | os.PathLike[str]) -> tuple[Network, dict[str, Any]]:
    """The network and the header of a `.siren` file.

    Raises:
        InputError: the file is missing, truncated, of another kind or version, or its header contradicts its arrays.
    """
    from safetensors import SafetensorError, safe_open

    path = os.fspath(path)
    if not os.path.isfile(path):
        raise InputError(f"there is no file {path!r}.")
    try:
        with safe_open(path, framework="numpy") as file:
            header = _checked_header(path, (file.metadata() or {}).get("siren"))
            graphdef, state = nnx.split(nnx.eval_shape(lambda: _build(header["network"])))
            wanted = {".".join(map(str, name)): tuple(leaf.shape) for name, leaf in nnx.to_flat_state(state)}
            found = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
            if found != wanted:
                name = sorted(found.items() ^ wanted.items())[0][0]
                raise InputError(
                    f"{path!r} contradicts itself: its header promises {name} of shape {wanted.get(name, 'none')}, "
                    f"but the file holds {found.get(name, 'none')}."
                )
            arrays = {name: jnp.asarray(file.get_tensor(name), jnp.float32) for name in wanted}
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path!r} is not a .siren file, or is truncated: {error}.") from None
    if bad := [name for name, array in arrays.items() if not bool(jnp.all(jnp.isfinite(array)))]:
        raise InputError(f"{path!r} is damaged: {bad[0]} holds values that are not finite.")
    leaves = [arrays[".".join(map(str, name))] for name, _ in nnx.to_flat_state(state)]
    return nnx.merge(graphdef, jax.tree.unflatten(jax.tree.structure(state), leaves)), header


def write_atomically(path: str | os.PathLike[str], write_to: Callable[[IO[bytes]], Any], *, overwrite: bool) -> None:
    """Writes a file whole or not at all: to a temporary neighbour that then takes its name.

    Raises:
        InputError: the file exists and is not to be overwritten, or the directory cannot be written.
    """
    path = os.fspath(path)
    if os.path.exists(path) and not overwrite:
        raise InputError(f"{path!r} exists; choose another name, or allow it to be overwritten.")
    try:
        descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=".", suffix=".partial")
    except OSError as error:
        raise InputError(f"{path!r} cannot be written: {error.strerror}.") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            write_to(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~umask())
        os.replace(temporary, path)
    except BaseException as error:
        os.unlink(temporary)
        if isinstance(error, OSError):
            raise InputError(f"{path!r} cannot be written: {error.strerror}.") from None
        raise


def umask() -> int:
    """The permissions that new files of this process do not get."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _architecture(network: Network) -> dict[str, Any]:
    kinds = {SIREN: "siren", ReLUMLP: "relu"}
    if type(network) not in kinds:  # a subclass computes something else
        raise InputError(
            f"a .siren file holds a SIREN or a ReLUMLP, but this network is of the type {type(network).__name__}."
        )
    kind = kinds[type(network)]
    return {"type": kind, **{name: getattr(network, name) for name in (*LIMITS, *EXTRA[kind])}}


def _build(architecture: Mapping[str, Any]) -> Network:
    arguments = {name: value for name, value in architecture.items() if name != "type"}
    make = {"siren": SIREN, "relu": ReLUMLP}[architecture["type"]]
    return make(arguments.pop("in_features"), arguments.pop("out_features"), **arguments, rngs=nnx.Rngs(0))


def _arrays(network: Network) -> dict[str, Any]:
    state = nnx.to_flat_state(nnx.state(network, nnx.Param))
    return {".".join(map(str, name)): leaf[...] for name, leaf in state}


def _checked_header(path: str, text: str | None) -> dict[str, Any]:
    """The header, if every field that building a network needs is there and within limits."""
    if text is None:
        raise InputError(f"{path!r} is a safetensors file, but not a .siren file: it has no header named 'siren'.")
    try:
        header = json.loads(text)
        version, architecture = header["format"], dict(header["network"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError(f"the header of {path!r} is not JSON with the fields format and network.") from None
    if version != FORMAT_VERSION:
        raise InputError(f"{path!r} has the format version {version!r}; this siren_jax reads version {FORMAT_VERSION}.")
    kind = architecture.get("type")
    if not isinstance(kind, str) or kind not in EXTRA:
        raise InputError(f"the header of {path!r} names a network of the type {kind!r}; siren and relu are known.")
    if set(architecture) != {"type", *LIMITS, *EXTRA[kind]}:
        raise InputError(f"the header of {path!r} does not describe a network: its fields are {sorted(architecture)}.")
    for name, limit in LIMITS.items():
        value = architecture[name]
        least = 0 if name == "depth" else 1
        if type(value) is not int or not least <= value <= limit:
            raise InputError(
                f"the header of {path!r} asks for {name} = {value!r}; whole numbers {least} to {limit} are accepted."
            )
    for name in EXTRA[kind]:
        value = architecture[name]
        sound = type(value) is bool if name == "use_bias" else type(value) in (int, float) and 0 < value < MAX_OMEGA
        if not sound:
            raise InputError(f"the header of {path!r} asks for {name} = {value!r}; that is no {name}.")
    return header
