"""Reading and writing the PyTorch state dicts of SIRENs: the paper's code, siren-pytorch, COIN and tutorials.

A state dict contains neither the omegas nor the function after the last layer. Their defaults belong to the layout of
the state dict. PyTorch itself is only required for `.pth` and `.pt` files.
"""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float
from numpy import ndarray

from siren_jax._types import Layout
from siren_jax.errors import InputError
from siren_jax.fields.precision import is_double
from siren_jax.files.pytorch_state import LAYOUTS, layout_of, read, weights_of, write
from siren_jax.files.siren_file import LIMITS, MAX_OMEGA, MAX_WEIGHTS
from siren_jax.networks import grading, windows
from siren_jax.networks.siren import OUTERMOST, SIREN

USUAL = 10.0  # usual hidden layers: standard deviation of the phases from 1/USUAL to USUAL, biases up to USUAL radians


def load(
    source: str | os.PathLike[str] | Mapping[str, Any],
    *,
    omega: float | None = None,
    first_omega: float | None = None,
    outermost: str | None = None,
    bias_outside: bool = False,
) -> SIREN:
    """The SIREN of a PyTorch state dict: the same function of the same coordinates.

    The layout is recognised by names and shapes. Prefixes of the names, such as `module.`, and a checkpoint around the
    state dict do not matter.

    Args:
        source: a `.safetensors`, `.pth` or `.pt` file, or a state dict of tensors or NumPy arrays. Only tensors are
            read from a file; no code in it is executed.
        omega: omega of the layers after the first; by default 1 for siren-pytorch and 30 for other layouts.
        first_omega: omega of the first layer; by default 30.
        outermost: function after the last layer, as in `SIREN`; by default none, or a sine if the names of the layers
            imply it.
        bias_outside: whether the code computes sin(omega·Wx + b) instead of sin(omega·(Wx + b)). The biases are then
            divided by omega. A state dict does not contain this information; see `doubts`.

    Raises:
        InputError: the file does not exist, is not a state dict or has no known layout; hidden layers differ in width;
            values are not finite.

    >>> load({"layers.0.weight": np.ones((4, 2)), "last_layer.weight": np.ones((1, 4))}).omega
    1.0
    """
    state = weights_of(source if isinstance(source, Mapping) else read(os.fspath(source)))
    layout, names = layout_of({name.rpartition(".")[0] for name in state})
    if outermost not in (None, *OUTERMOST):
        raise InputError(f"outermost is one of {', '.join(OUTERMOST)}, but is {outermost!r}.")

    if (count := sum(math.prod(getattr(value, "shape", ())) for value in state.values())) > MAX_WEIGHTS:
        raise InputError(f"this state dict has {count:,} weights; up to {MAX_WEIGHTS:,} are accepted.")
    arrays = {name: _array(name, value) for name, value in state.items()}
    first, last = (arrays.get(f"{name}.weight", np.zeros(0)) for name in (names[0], names[-1]))
    (width, d), c = first.shape if first.ndim == 2 else (0, 0), len(last) if last.ndim else 0
    if min(width, d, c) < 1:
        raise InputError(f"{names[0] + '.weight'!r} has the shape {first.shape}; (units, coordinates) is needed.")
    use_bias, depth = any(name.endswith(".bias") for name in arrays), len(names) - 2
    for size, value in {"in_features": d, "out_features": c, "width": width, "depth": depth}.items():
        if value > LIMITS[size]:
            raise InputError(f"this network has {size} = {value:,}; up to {LIMITS[size]:,} are accepted.")
    network = nnx.eval_shape(
        lambda: SIREN(
            d,
            c,
            width=width,
            depth=depth,
            first_omega=_omega(first_omega, layout.first_omega),
            omega=_omega(omega, layout.omega),
            outermost=outermost or layout.outermost[0],
            use_bias=use_bias,
            rngs=nnx.Rngs(0),
        )
    )
    shapes = [(width, d), *[(width, width)] * depth, (c, width)]
    omegas = [network.first_omega, *[network.omega] * depth, network.omega if network.outermost == "sine" else 1.0]
    for name, linear, shape, omega in zip(names, _linears(network), shapes, omegas, strict=True):
        linear.kernel = nnx.Param(jnp.asarray(_part(arrays, f"{name}.weight", shape).T))
        if use_bias:
            arrays.setdefault(f"{name}.bias", np.zeros(shape[0]))
            bias = _part(arrays, f"{name}.bias", shape[:1])
            linear.bias = nnx.Param(jnp.asarray(bias / omega if bias_outside else bias))
    return network


def save(
    network: nnx.Module,
    path: str | os.PathLike[str],
    *,
    layout: Layout = "paper",
    omega: float | None = None,
    first_omega: float | None = None,
    overwrite: bool = False,
) -> None:
    """Writes a state dict with which a PyTorch module computes the same function; strict loading works.

    The weights are rescaled from the network's omegas to the module's: sin(omega·(Wx + b)) = sin(v·(W'x + b')) with
    W' = W·omega/v and b' = b·omega/v. A float64 network becomes float64 tensors, which a module of float32 rounds as it
    loads them. The module of a periodic network is periodic until the weights of its first layer are trained.

    Args:
        network: the SIREN. Missing biases are written as zeros.
        path: a `.pth`, `.pt` or `.safetensors` file.
        layout: "paper" for `SingleBVPNet`, whose omegas are 30; "pip" for `SirenNet` of siren-pytorch, by default with
            `w0=1` and `w0_initial=30`; "tutorial" for `ImageSiren` and the `Siren` of the paper's notebook, and "coin"
            for the `Siren` of COIN, both by default with omegas of 30.
        omega: omega of the module's layers after the first; the default is that of the layout.
        first_omega: omega of the module's first layer; the default is that of the layout.
        overwrite: whether to replace an existing file.

    Raises:
        InputError: the file exists or cannot be written; PyTorch is missing; the network has graded coordinates or
            windows, which no module has; the layout is unknown, or its modules cannot end with the network's outermost
            function.
    """
    if type(network) is not SIREN:
        raise InputError(f"a SIREN is needed, but this network is of the type {type(network).__name__}.")
    if network.graded:
        raise InputError(
            f"the network is graded {grading.text(network.graded)}, and the modules of PyTorch code have no graded "
            "coordinates: their first layer takes x instead of Σ asinh((x - place)/width). Write a .siren file, whose "
            "format is documented, or fit a network without graded to this one."
        )
    if network.windows:
        raise InputError(
            f"the network has windows, {windows.text(network.windows):.200}, and the modules of PyTorch code have "
            "none. Write a .siren file, whose format is documented, or fit a network without windows to this one."
        )
    known = [form for form in LAYOUTS if form.name == layout and network.outermost in form.outermost]
    if not known:
        ends = {form.name: form.outermost for form in reversed(LAYOUTS)}
        raise InputError(
            f"a network that ends in {network.outermost!r} cannot be written in the layout {layout!r}; there are "
            + ", ".join(f"{name} ({', '.join(outermost)})" for name, outermost in ends.items())
        )
    form = known[0]
    later = network.omega / _omega(omega, form.omega)
    factors = [network.first_omega / _omega(first_omega, form.first_omega), *[later] * network.depth]
    factors.append(later if network.outermost == "sine" else 1.0)
    state, dtype = {}, np.float64 if is_double(network) else np.float32
    for i, (name, linear, factor) in enumerate(
        zip(form.layers(network.depth + 2), _linears(network), factors, strict=True)
    ):
        with jax.enable_x64(True):
            kernel = np.asarray(linear.kernel[...] if i else network.layers[0].weights(jnp.float64), np.float64)
            bias = np.zeros(kernel.shape[1]) if linear.bias is None else np.asarray(linear.bias[...], np.float64)
        with np.errstate(over="ignore"):  # checked below
            state[f"{name}.weight"] = np.ascontiguousarray((factor * kernel).T.astype(dtype))
            state[f"{name}.bias"] = (factor * bias).astype(dtype)
    if not all(np.isfinite(array).all() for array in state.values()):
        raise InputError("with these omegas the weights are too large; give others.")
    write(os.fspath(path), state, overwrite=overwrite)


def doubts(network: SIREN) -> list[str]:
    """Reasons to doubt the omegas or the placement of the biases with which a network was read.

    In an initial SIREN, omega·(Wh) has a standard deviation of 1 in every hidden layer, as sines have one of √½, and
    biases are at most about a radian. Fitted networks stay within a factor of 10 of these values. A network that is
    read with an omega of 30 instead of 1 does not.

    >>> from siren_jax import SIREN
    >>> doubts(SIREN(2, 1, width=32, rngs=nnx.Rngs(0)))
    []
    """
    found = []
    hidden = [layer.linear for layer in network.layers[1:]]
    if not hidden:
        return found
    rms = lambda arrays: float(np.sqrt(np.mean([np.mean(np.square(a[...], dtype=np.float64)) for a in arrays])))
    spread = network.omega * rms([linear.kernel for linear in hidden]) * np.sqrt(network.width / 2)
    if not 1 / USUAL < spread < USUAL:
        found.append(
            f"with omega {network.omega:g} the hidden layers' phases have a standard deviation of about {spread:.2g}, "
            f"but the usual value is 1; the code may have another omega, such as {network.omega / spread:.2g}."
        )
    if network.use_bias and (phase := network.omega * rms([linear.bias for linear in hidden])) > USUAL:
        found.append(
            f"with omega {network.omega:g} the hidden layers' biases are phases of about {phase:.2g} radians; the code "
            "may not multiply them by omega: sin(omega·Wx + b)."
        )
    return found


def points_of(grid: str, shape: Sequence[int], extent: float = 1.0) -> tuple[Float[ndarray, "d"], Float[ndarray, "d"]]:
    """Scale and shift from the coordinates of `Frame(shape)` to the coordinates of the same samples in PyTorch code.

    In a frame, sample i of n lies at (2i + 1 - n)/N with N = max(shape). The grids of PyTorch code have, along an axis
    of n samples:

        "ends"     extent·(2i/(n - 1) - 1)     torch.linspace(-1, 1, n): the paper's code, siren-pytorch
        "edges"    extent·(2i/n - 1)           `ImageSiren`'s data
        "centres"  extent·(2i + 1 - n)/N       as in the frame
        "rows"     extent·(2i/(m - 1) - 1)     m samples along the first axis, for every axis: COIN

    Args:
        grid: name of a grid in this list.
        shape: samples along each axis.
        extent: factor on the coordinates; 1, or 100 for the sounds of the paper's code.

    Raises:
        InputError: the grid is unknown, the extent is not positive, or a grid with both ends has an axis of one sample.

    >>> scale, shift = points_of("ends", (2, 4))
    >>> scale.tolist(), shift.tolist()
    ([4.0, 1.3333333333333333], [0.0, 0.0])
    """
    n, longest = np.array(shape, np.float64), max(shape)
    if not 0 < extent < np.inf:
        raise InputError(f"an extent is a positive number, but is {extent:g}.")
    if (grid == "ends" and min(shape) < 2) or (grid == "rows" and shape[0] < 2):
        raise InputError(f"a grid with both ends has two samples along each axis, but the shape is {tuple(shape)}.")
    known = {
        "ends": lambda: (longest / (n - 1), 0 * n),
        "edges": lambda: (longest / n, -1 / n),
        "centres": lambda: (1 + 0 * n, 0 * n),
        "rows": lambda: (longest / (n[0] - 1) + 0 * n, (n - n[0]) / (n[0] - 1)),
    }
    if grid not in known:
        raise InputError(f"a grid is one of {', '.join(known)}, but is {grid!r}.")
    scale, shift = known[grid]()
    return extent * scale, extent * shift


def _linears(network: SIREN) -> list[nnx.Linear]:
    return [*(layer.linear for layer in network.layers), network.output]


def _omega(given: float | None, usual: float) -> float:
    omega = usual if given is None else float(given)
    if not 0 < omega < MAX_OMEGA:
        raise InputError(f"an omega is a number above 0 and below {MAX_OMEGA:g}, but is {given}.")
    return omega


def _array(name: str, value: Any) -> ndarray:
    """A tensor or array as a NumPy array in float64."""
    try:
        if value.is_complex() if hasattr(value, "detach") else np.iscomplexobj(value):
            raise TypeError
        dense = value.detach().cpu().double().numpy() if hasattr(value, "detach") else value
        array = np.asarray(dense, np.float64)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(
            f"{name!r} is of the type {type(value).__name__}; a dense array of numbers is needed."
        ) from None
    if not (np.abs(array) <= np.finfo(np.float32).max).all():
        raise InputError(f"{name!r} contains values that are not finite in float32.")
    return array


def _part(arrays: Mapping[str, ndarray], name: str, shape: tuple[int, ...]) -> ndarray:
    found = arrays[name].shape if name in arrays else "none"
    if found != shape:
        raise InputError(
            f"{name!r} needs the shape {shape} because all hidden layers have the width of the first, but has {found}."
        )
    return arrays[name]
