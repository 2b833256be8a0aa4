"""PyTorch state dicts in files and mappings: finding them in checkpoints, and recognising the module by its names."""

import itertools
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.files.atomic import write_atomically
from siren_jax.files.siren_file import MAX_WEIGHTS
from siren_jax.networks.siren import OUTERMOST


class Layout(NamedTuple):
    """Names of a module's linear layers, possible functions after the last one (the default first), and its omegas."""

    name: str
    hidden: str
    last: str
    outermost: tuple[str, ...]
    first_omega: float = 30.0
    omega: float = 30.0

    def layers(self, count: int) -> list[str]:
        """Names of `count` linear layers, in order."""
        return [self.hidden.format(i=i) for i in range(count - 1)] + [self.last.format(i=count - 1)]


LAYOUTS = (
    Layout("paper", "net.net.{i}.0", "net.net.{i}.0", ("linear", "sine")),  # SingleBVPNet; FCBlock has one "net." fewer
    Layout("pip", "layers.{i}", "last_layer", OUTERMOST, omega=1.0),  # SirenNet
    Layout("pip", "net.{i}", "last_layer", OUTERMOST, omega=1.0),  # first versions of SirenNet
    Layout("tutorial", "net.{i}.linear", "net.{i}", ("linear",)),  # ImageSiren; Siren of the paper's notebook
    Layout("tutorial", "net.{i}.linear", "net.{i}.linear", ("sine",)),  # Siren with outermost_linear=False
    Layout("coin", "net.{i}.linear", "last_layer.linear", OUTERMOST),  # Siren of COIN
)
NESTED = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "network",
    "net",
    "params",
)  # entries of a checkpoint
WRAPPERS = {"_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}  # parts of names
IGNORED = {"grid"}  # buffer with the points of SirenWrapper
SUFFIXES = (".pth", ".pt", ".safetensors")


def weights_of(source: Any) -> dict[str, Any]:
    """The weights and biases by name, from a state dict or from a checkpoint that contains one."""
    inner = source
    for _ in range(4):  # a hostile checkpoint may contain itself
        if not isinstance(inner, Mapping):
            break
        state = {str(name): value for name, value in inner.items() if str(name).split(".")[-1] not in IGNORED}
        if state and all(name.endswith((".weight", ".bias")) for name in state):
            return state
        inner = next((inner[name] for name in NESTED if isinstance(inner.get(name), Mapping)), None)
    held = ", ".join(map(repr, list(source)[:5])) if isinstance(source, Mapping) else type(source).__name__
    raise InputError(
        f"a state dict of weights and biases is needed, but this contains {held}; save model.state_dict()."
    )


def layout_of(names: set[str]) -> tuple[Layout, list[str]]:
    """The layout whose layers have these names, apart from a common prefix, and the names in layer order."""
    ordered = sorted(names)
    bare = [".".join(part for part in name.split(".") if part not in WRAPPERS) for name in ordered]
    full = dict(zip(_relative(bare), ordered, strict=True))
    for layout in LAYOUTS:
        relative = _relative(layout.layers(len(names)))
        if len(names) > 1 and set(relative) == set(full):
            return layout, [full[name] for name in relative]
    shown = ", ".join(map(repr, ordered[:6])) + (", …" if len(ordered) > 6 else "")
    known = "; ".join(f"{form.layers(2)[0]}, {form.layers(2)[1]}" for form in LAYOUTS)
    raise InputError(f"a SIREN with layers named as one of {known} is needed, but these are {shown}; rename them.")


def _relative(names: list[str]) -> list[str]:
    """Dotted names without their common prefix."""
    parts = [name.split(".") for name in names]
    shared = len(list(itertools.takewhile(lambda column: len(set(column)) == 1, zip(*parts, strict=False))))
    return [".".join(name[shared:]) for name in parts]


def read(path: str) -> Any:
    """The content of a file of tensors."""
    from safetensors import SafetensorError, safe_open

    _check_suffix(path)
    if not os.path.isfile(path):
        raise InputError(f"there is no file {path!r}.")
    if (size := os.path.getsize(path)) > 8 * MAX_WEIGHTS:
        raise InputError(f"{path!r} has {size:,} bytes; up to {8 * MAX_WEIGHTS:,} are accepted.")
    if path.lower().endswith(".safetensors"):
        try:
            with safe_open(path, framework="numpy") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, TypeError) as error:
            raise InputError(f"{path!r} is not a safetensors file of numbers, or is truncated: {error}.") from None
    torch = _torch(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a damaged file may raise any error in the unpickler
        raise InputError(
            f"{path!r} is damaged, or contains other objects than tensors, with which pickle could run code; write it "
            "with torch.save(model.state_dict(), path)."
        ) from None


def write(path: str, state: Mapping[str, ndarray], *, overwrite: bool) -> None:
    from safetensors.numpy import save as encoded

    _check_suffix(path)
    if path.lower().endswith(".safetensors"):
        write_atomically(path, lambda file: file.write(encoded(dict(state))), overwrite=overwrite)
    else:
        torch = _torch(path)
        tensors = {name: torch.from_numpy(array) for name, array in state.items()}
        write_atomically(path, lambda file: torch.save(tensors, file), overwrite=overwrite)


def _check_suffix(path: str) -> None:
    if not path.lower().endswith(SUFFIXES):
        raise InputError(f"a PyTorch file ends in one of {', '.join(SUFFIXES)}, but this is {path!r}.")


def _torch(path: str) -> Any:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            f"{path!r} needs PyTorch: pip install 'siren-jax[torch]'. A .safetensors file does not need it."
        ) from None
    return torch
