"""`siren-jax convert`: PyTorch state dicts to `.siren` files and back, to another precision, and entries of sets."""

import os
import sys
import warnings
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import tyro

from siren_jax._types import Layout, Precision, SignalName
from siren_jax.cli.console import printable
from siren_jax.cli.helptext import documented, optional
from siren_jax.cli.precision_cost import agreement
from siren_jax.cli.sources import load_field, split
from siren_jax.errors import InputError
from siren_jax.fields import Frame
from siren_jax.files import pytorch, siren_file
from siren_jax.files.header import AXES, MAX_SAMPLES, valid_rate
from siren_jax.networks import changes
from siren_jax.networks.latent import LatentSIREN
from siren_jax.networks.siren import SIREN
from siren_jax.neural_field import NeuralField, load
from siren_jax.shapes import Placement
from siren_jax.subjects.kinds import SIGNALS

PLACES = {"ends": "2i/(n - 1) - 1", "edges": "2i/n - 1", "centres": "(2i + 1 - n)/max n", "rows": "2i/(rows - 1) - 1"}

# Options that apply to some conversions only.
READING = {"kind", "shape", "rate", "outermost", "values", "bias_outside"}
WRITING = {"layout"}
EITHER = {"omega", "first_omega", "grid", "extent"}


@dataclass(frozen=True)
@documented
class Convert:
    """Convert a PyTorch state dict to a .siren file, or a .siren file or an entry of a set to a state dict or to
    another precision.

    A state dict does not contain its omegas. The command assumes 30; for siren-pytorch, 30 in the first layer and 1
    after it."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """A .siren file, an entry of a set as SET::NAME, or a state dict as .safetensors, .pth or .pt. Of a base, the
    signal of the code 0 is converted."""
    target: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TARGET")]
    """File to write: a .siren file, or a state dict as .safetensors, .pth or .pt."""
    precision: Annotated[
        Precision | None,
        optional("float32|float16|bfloat16|int8|float64", "float64 for a network in float64, else float32"),
    ] = None
    """Precision of the weights in a .siren file. The command prints the PSNR against SOURCE."""
    layout: Annotated[Layout | None, optional("paper|pip|tutorial|coin", "paper")] = None
    """Names of the layers in the written state dict: those of the paper's SingleBVPNet (paper), siren-pytorch's
    SirenNet (pip), ImageSiren and the Siren of the paper's notebook (tutorial), or COIN's Siren (coin). When reading,
    the command recognises the layout."""
    omega: Annotated[float | None, optional("W", "30; 1 for siren-pytorch")] = None
    """Omega of the PyTorch layers after the first one."""
    first_omega: Annotated[float | None, optional("W", "30")] = None
    """Omega of the first PyTorch layer."""
    bias_outside: bool = False
    """Convert the biases of PyTorch code that computes sin(omega·Wx + b) instead of sin(omega·(Wx + b)). A state dict
    does not contain the form."""
    outermost: Annotated[
        Literal["linear", "sine", "sigmoid", "tanh"] | None, optional("linear|sine|sigmoid|tanh", "linear")
    ] = None
    """Function after the last layer of the state dict to read."""
    kind: Annotated[
        SignalName | None,
        optional("image|sound|video|shape", "sound for 1 coordinate, image for 2"),
    ] = None
    """Kind of the signal in the state dict to read."""
    shape: Annotated[tuple[int, ...] | None, optional("N ...", "256 256 for an image")] = None
    """Number of samples along each axis of the signal in the state dict to read: height and width of an image, length
    of a sound, or frames, height and width of a video."""
    rate: Annotated[float | None, optional("HZ", "none")] = None
    """Samples per second of a sound, or frames per second of a video. Required for both."""
    grid: Annotated[Literal["ends", "edges", "centres", "rows"] | None, optional("ends|edges|centres|rows", "ends")] = (
        None
    )
    """Positions of the samples in PyTorch's coordinates: linspace(-1, 1, n) along every axis, as in most code (ends);
    2i/n - 1, as in the tutorial with ImageSiren (edges); as in this library (centres); 2i/(rows - 1) - 1 for rows and
    columns, as in COIN (rows). The command adapts the first layer to them."""
    extent: Annotated[float | None, optional("E", "1")] = None
    """Largest coordinate in the PyTorch code; 100 for sounds in the paper's code."""
    values: Annotated[tuple[float, float] | None, optional("LOW HIGH", "-1 1, or 0 1 with a sigmoid")] = None
    """Values of the PyTorch network that mean black and white. The command adapts the last layer to them."""
    overwrite: bool = False
    """Replace the file if it exists."""

    def run(self) -> int:
        of_set = split(self.source) is not None
        source = of_set or self.source.lower().endswith(".siren")
        target = self.target.lower().endswith(".siren")
        if not source and not target:
            raise InputError(
                "one of SOURCE and TARGET must be a .siren file, or SOURCE an entry of a set, but they are "
                f"{self.source!r} and {self.target!r}."
            )
        unused = (READING if source else set()) | (WRITING if target else {"precision"})
        unused |= EITHER if source and target else set()
        for name in sorted(unused):
            if getattr(self, name) is not None and getattr(self, name) is not False:
                raise InputError(f"--{name.replace('_', '-')} does not apply to this conversion; leave it out.")

        field = load_field(self.source) if source else self._read()
        if source and not of_set and isinstance(siren_file.read(self.source)[0], LatentSIREN):
            print(
                f"siren-jax: {printable(self.source)} is a base, and {printable(self.target)} gets only the signal of "
                "its code 0; for that of another code, convert SET::NAME of a set from siren-jax encode, or call "
                "base.field(code).save in Python.",
                file=sys.stderr,
            )
        before = None if of_set else os.path.getsize(self.source)  # before writing: the target may be the same file
        if target:
            field.save(self.target, precision=self.precision, overwrite=self.overwrite)
            print(f"against {printable(self.source)}: {agreement(load(self.target), field)} at points of its grid")
        else:
            self._write(field)
        was = "" if before is None else f", of {before:,}"
        print(f"{os.path.getsize(self.target):,} bytes{was}: {printable(self.target)}")
        return 0

    def _read(self) -> NeuralField:
        """Reads the signal in a state dict."""
        network = pytorch.load(
            self.source,
            omega=self.omega,
            first_omega=self.first_omega,
            outermost=self.outermost,
            bias_outside=self.bias_outside,
        )
        for doubt in pytorch.doubts(network):
            warnings.warn(f"{printable(self.source)}: {doubt} See --omega and --bias-outside.", stacklevel=2)
        d, c = network.in_features, network.out_features
        kind = self.kind or {1: "sound", 2: "image"}.get(d)
        if kind is None or AXES[kind] != d or (kind == "shape" and c != 1):
            raise InputError(
                f"{self.source!r} has {d} coordinates and {c} channels; give its kind with --kind: a sound (1 "
                "coordinate), an image (2), a video (3) or a shape (3, and 1 channel)."
            )
        shape = self.shape or SIGNALS[kind].usual_shape
        if shape is None or len(shape) != d or not all(1 <= n <= MAX_SAMPLES for n in shape):
            given = "none was given" if shape is None else f"it is {' '.join(map(str, shape))}"
            raise InputError(f"--shape takes the samples of a {kind} along each of {d} axes, but {given}.")
        if not valid_rate(kind, self.rate):
            raise InputError(
                "--rate is required for a sound (a whole number of samples per second) and a video (frames per second) "
                f"and for no other kind, but it is {self.rate} for the kind {kind!r}."
            )
        print(
            f"{kind} of {' x '.join(map(str, shape))} samples, omega {network.first_omega:g} in the first layer, "
            f"{network.omega:g} after, {network.outermost} at the end, "
            f"sin(omega·{'Wx + b' if self.bias_outside else '(Wx + b)'})"
        )
        network = changes.with_points(network, *self._points(kind, shape))
        if kind == "shape":
            if self.values is not None:
                raise InputError("the values of a shape are distances in its coordinates; leave out --values.")
            return NeuralField(network, Frame(shape), (-1.0, 1.0), kind, placement=Placement((0.0, 0.0, 0.0), 1.0))
        low, high = self.values or ((0.0, 1.0) if network.outermost == "sigmoid" else (-1.0, 1.0))
        network = changes.with_values(network, low, high)
        return NeuralField(network, Frame(shape), (-1.0 if kind == "sound" else 0.0, 1.0), kind, self.rate)

    def _write(self, field: NeuralField) -> None:
        """Writes the state dict of a signal."""
        network = field.network
        if not isinstance(network, SIREN):
            raise InputError(
                f"{self.source!r} contains a {type(network).__name__}; only a SIREN can be converted to PyTorch."
            )
        scale, shift = self._points(field.kind, field.frame.shape)
        pytorch.save(
            changes.with_points(network, 1 / scale, -shift / scale),
            self.target,
            layout=self.layout or "paper",
            omega=self.omega,
            first_omega=self.first_omega,
            overwrite=self.overwrite,
        )

    def _points(self, kind: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Scale and shift from our coordinates to PyTorch's."""
        if kind in ("image", "sound", "video"):
            grid, extent = self.grid or "ends", 1.0 if self.extent is None else self.extent
            factor = "" if extent == 1 else f"{extent:g}·"
            print(f"sample i of n lies at {factor}({PLACES[grid]}) of each axis in PyTorch")
            return pytorch.points_of(grid, shape, extent)
        if self.grid is not None or self.extent is not None:
            raise InputError(f"the coordinates of a {kind} are the same in PyTorch; leave out --grid and --extent.")
        return np.ones(len(shape)), np.zeros(len(shape))
