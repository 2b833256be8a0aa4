"""Targets of the fuzzer: readers of untrusted files, and the command's arguments. Each may only raise `InputError`.

A seed is a small valid file, which the fuzzer changes.
"""

import io
import shlex
import tempfile
import wave
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from unittest.mock import patch

import numpy as np
from flax import nnx
from PIL import Image

from siren_jax import (
    SIREN,
    Base,
    Frame,
    InputError,
    LatentSIREN,
    NeuralField,
    load,
    load_base,
    load_image,
    load_set,
    load_sound,
    load_surface,
)
from siren_jax.files import pytorch, set_file, siren_file
from siren_jax.networks.windows import Beyond, Gaussian
from siren_jax.shapes.placement import Placement


@dataclass(frozen=True)
class Target:
    """Code that reads untrusted bytes."""

    run: Callable[[bytes], object]
    seeds: Callable[[], Iterator[bytes]]


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


def _file(data: bytes, suffix: str) -> Path:
    path = _folder() / f"input{suffix}"
    path.write_bytes(data)
    return path


def _with_suffix(read: Callable[[Path], object], suffixes: tuple[str, ...]) -> Callable[[bytes], object]:
    """A reader that also depends on the suffix of the file's name, which the first byte selects."""
    return lambda data: read(_file(data[1:], suffixes[data[0] % len(suffixes)])) if data else None


def _networks() -> Iterator[bytes]:
    path = _folder() / "seed.siren"
    small = {"width": 2, "depth": 1, "rngs": nnx.Rngs(0)}
    windows = [(1, None), (1, Gaussian((0.5, -0.5), 0.1)), (1, Beyond(1, high=0.5))]
    fields = [
        NeuralField(SIREN(2, 3, **small), Frame((4, 5)), (0.0, 255.0)),
        NeuralField(SIREN(1, 1, periodic={0: 0.5}, **small), Frame((9,)), kind="sound", rate=8000.0),
        NeuralField(SIREN(1, 1, graded={0: (0.5, 0.1)}, **small), Frame((9,)), kind="sound", rate=8000.0),
        NeuralField(SIREN(2, 1, windows=windows, **(small | {"width": 3})), Frame((4, 5))),
        NeuralField(
            SIREN(3, 1, **small), Frame((8, 8, 8)), (-2.0, 2.0), kind="shape", placement=Placement((0.0, 1.0, 2.0), 2.0)
        ),
    ]
    for field in fields:
        for precision in siren_file.PRECISIONS:
            field.save(path, precision=precision, overwrite=True)
            yield path.read_bytes()


def _bases() -> Iterator[bytes]:
    """Bases with and without scales; `Base.save` has one precision, but the format has all."""
    path = _folder() / "seed.siren"
    sizes = {"latent": 3, "width": 2, "depth": 1, "rngs": nnx.Rngs(0)}
    bases = [
        Base(LatentSIREN(2, 3, **sizes), (4, 5), (0.0, 255.0), "image", None, 0.01, {"psnr": 30.0, "held_out": 7}),
        Base(LatentSIREN(1, 1, scaled=True, **sizes), (9,), (-1.0, 1.0), "sound", 8000.0, 0.01),
    ]
    for base in bases:
        base.save(path, overwrite=True)
        yield path.read_bytes()
        network, header = siren_file.read(path)
        for precision in ("float16", "bfloat16", "int8"):
            described = {n: value for n, value in header.items() if n not in ("format", "network", "precision")}
            yield siren_file.encoded(network, described, precision=precision)


def _read_base(data: bytes) -> None:
    """Reads a base, shows it and makes the signals of two codes."""
    base = load_base(_file(data, ".siren"))
    repr(base), base.fingerprint
    for size in (0.0, 1e6):
        with suppress(InputError):  # weights of a damaged file may overflow
            base.field(np.full(base.latent, size))


def _shards() -> Iterator[bytes]:
    """A shard of two entries for every kind and precision, and of codes; the first layer of some is shared."""
    path = _folder() / "seed.shard"
    small = {"width": 2, "depth": 1, "rngs": nnx.Rngs(0)}
    kinds = [
        ("image", SIREN(2, 3, **small), "psnr", (4, 5), {}),
        ("sound", SIREN(1, 1, **small), "snr", (9,), {"rate": 8000.0}),
        ("shape", SIREN(3, 1, **small), "chamfer", (8, 8, 8), {"placement": (0.0, 1.0, 2.0, 1.0)}),
        ("image", LatentSIREN(2, 3, latent=3, scaled=True, **small), "psnr", (4, 5), {}),
    ]
    first = {"layers.0.linear.kernel", "layers.0.linear.bias"}
    for kind, network, measure, shape, further in kinds:
        parameters = set_file.parameters_of(nnx.state(network, nnx.Param))
        row = {"quality": 30.0, "steps": 7, "range": (-1.0, 1.0), "shape": shape, **further}
        columns = {name: np.array([value] * 2, set_file.dtype_of(name)) for name, value in row.items()}
        texts = {"names": ["a/0", "b/1"], "labels": ["a", None], "status": ["reached", "steps"]}
        for precision in siren_file.OF_SETS:
            shared = first if precision in ("float16", "int8") else set()
            shared = set(parameters) - {"code"} if "code" in parameters else shared
            header = {
                "format": set_file.FORMAT_VERSION,
                "network": siren_file.architecture_of(network),
                "precision": precision,
                "kind": kind,
                "measure": measure,
                "shared": sorted(shared),
                "record": {"steps": 7},
            }
            arrays = {
                name: array if name.removesuffix(".scale") in shared else np.stack([array] * 2)
                for name, array in siren_file.at_precision(parameters, precision).items()
            }
            shard = set_file.Shard(header, texts, {"number": np.arange(2), **columns}, arrays=arrays)
            shard.write(str(path), overwrite=True)
            yield path.read_bytes()


def _read_shard(data: bytes) -> None:
    """Reads a set of one shard, its columns, its arrays and every field."""
    folder = _folder() / "input.sirens"
    folder.mkdir(exist_ok=True)
    (folder / f"00000000{set_file.SUFFIX}").write_bytes(data)
    fields = load_set(folder)
    for column in ("names", "labels", "status", "quality", "steps", "shapes", "value_ranges", "rates", "own"):
        getattr(fields, column)
    for read in (fields.arrays, *(lambda number=number: fields[number] for number in range(len(fields)))):
        with suppress(InputError):  # the others are read too
            read()


def _state_dicts() -> Iterator[bytes]:
    path = _folder() / "seed.safetensors"
    for layout in ("paper", "pip", "tutorial"):
        pytorch.save(SIREN(2, 3, width=2, depth=1, rngs=nnx.Rngs(0)), path, layout=layout, overwrite=True)
        yield path.read_bytes()


def _pictures() -> Iterator[bytes]:
    colours = Image.fromarray(np.arange(5 * 6 * 4, dtype=np.uint8).reshape(5, 6, 4))
    for mode, form in (
        ("RGB", "PNG"), ("RGBA", "PNG"), ("L", "TIFF"), ("P", "GIF"), ("RGB", "JPEG"), ("RGB", "WEBP"), ("1", "BMP")
    ):  # fmt: skip
        file = io.BytesIO()
        colours.convert(mode).save(file, form)
        yield file.getvalue()


def _wide_pictures() -> Iterator[bytes]:
    """Pictures of 16 bits, with several pages and channels, and in formats that are read without Pillow."""
    import imagecodecs
    import tifffile

    pixels = np.arange(5 * 6 * 5, dtype=np.uint16).reshape(5, 6, 5) * 400
    colours = np.ascontiguousarray(pixels[..., :3])
    yield imagecodecs.png_encode(colours)
    yield imagecodecs.jpeg2k_encode(colours, level=0)
    for options in (
        {"photometric": "rgb", "compression": "lzw", "predictor": True},
        {"photometric": "rgb", "compression": "zlib", "tile": (16, 16), "extrasamples": ["assocalpha", "unspecified"]},
        {"photometric": "separated", "compression": "packbits", "rowsperstrip": 2},
        {"photometric": "rgb", "planarconfig": "separate", "iccprofile": imagecodecs.cms_profile("adobergb")},
    ):
        channels = {"rgb": 5 if "extrasamples" in options else 3, "separated": 4}[options["photometric"]]
        part = np.moveaxis(pixels, -1, 0)[:channels] if "planarconfig" in options else pixels[..., :channels]
        file = io.BytesIO()
        tifffile.imwrite(file, part, metadata=None, **options)
        yield file.getvalue()
    yield b"P6 6 5 1023\n" + (colours % 1024).astype(">u2").tobytes()
    cards = {"SIMPLE": "T", "BITPIX": 16, "NAXIS": 2, "NAXIS1": 6, "NAXIS2": 5, "BZERO": 32768}
    header = "".join(f"{name:8}= {value:>20}".ljust(80) for name, value in cards.items()) + "END"
    yield header.ljust(2880).encode() + pixels[..., 0].astype(">i2").tobytes()
    file = io.BytesIO()
    np.save(file, pixels)
    yield file.getvalue()


def _sounds() -> Iterator[bytes]:
    import soundfile

    samples = np.sin(np.arange(64))[:, None] * [0.5, 0.25]
    for number, form in enumerate(("WAV", "FLAC", "OGG")):
        file = io.BytesIO()
        soundfile.write(file, samples, 8000, format=form)
        yield bytes([number]) + file.getvalue()
    file = io.BytesIO()
    with wave.open(file, "wb") as plain:
        plain.setparams((1, 1, 8000, 0, "NONE", "not compressed"))
        plain.writeframes(bytes(range(1, 65)))
    yield b"\0" + file.getvalue()


def _meshes() -> Iterator[bytes]:
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=0)
    for number, form in ((0, "ply"), (1, "obj"), (2, "stl"), (4, "off")):
        data = mesh.export(file_type=form)
        yield bytes([number]) + (data.encode() if isinstance(data, str) else data)
    yield b"\0" + mesh.export(file_type="ply", encoding="ascii")
    points = trimesh.creation.icosphere(subdivisions=1).vertices
    yield b"\3" + "\n".join(" ".join(f"{x:.3f}" for x in (*point, *point)) for point in points).encode()


def _arguments() -> Iterator[bytes]:
    yield from (
        b"fit photo.png --steps 3 --width 4 --out x --json",
        b"fit --target gradient --seconds 1 --batch-size full --first-omega auto",
        b"fit clip.mp4 --between 0 1 --size 320 --resume x",
        b"fit-many pictures --out x.sirens --psnr 40 --labels folder --share first --part 0 2 --resume",
        b"learn pictures --latent 8 --scaled --held-out 0.2 --out base.siren --overwrite",
        b"encode base.siren pictures --out x.sirens --steps 2 --labels folder --resume",
        b"complete base.siren a.png --pixels 10 --samples 4 --out x",
        b"blend a.png b.png --mask m.png --mode max",
        b"inpaint a.png --keep 10% --prior hessian --prior-weight 1e-5",
        b"solve burgers --refine 0 --target-error 5",
        b"render a.siren --region 0 1 2 3 --shape 4 5 --of laplacian --out b.npy",
        b"render base.siren --code 0,0.5,-1 --out a.png",
        b"render a.siren --rate 8000 --between 1 2 --at 3 --scale 2",
        b"info a.siren",
        b"export a.sirens --to hdf5 --out a.h5",
        b"convert a.safetensors b.siren --kind sound --rate 8000 --shape 9 --grid edges --extent 100",
        b"convert a.siren b.safetensors --layout pip --omega 20 --first-omega 30 --overwrite",
        b"convert a.siren b.siren --precision int8",
    )


def _command(data: bytes) -> None:
    """Runs the command, up to the first step of a fit, in a folder without files."""
    from siren_jax import cli

    try:
        words = shlex.split(data.decode())
    except ValueError:  # the bytes are not text, or a quote is not closed
        return
    silent = io.StringIO()
    with _without_fits(), chdir(_folder()), redirect_stdout(silent), redirect_stderr(silent):
        try:
            code = cli.main(words)
        except SystemExit as stop:  # an unknown argument, or --help
            code = stop.code
    if code not in (0, 2):
        raise AssertionError(f"exit code {code} of {words}")


@contextmanager
def _without_fits() -> Iterator[None]:
    with ExitStack() as stack:
        for name in ("fit", "blend", "inpaint", "solve"):
            stack.enter_context(patch(f"siren_jax.cli.{name}.train", return_value=2))
        refused = InputError("fits are left out.")
        stack.enter_context(patch("siren_jax.cli.fit_many.fit_many", side_effect=refused))
        stack.enter_context(patch("siren_jax.cli.learn.learn", side_effect=refused))
        yield


TARGETS = {
    "siren": Target(lambda data: load(_file(data, ".siren")), lambda: chain(_networks(), _bases())),
    "base": Target(_read_base, _bases),
    "set": Target(_read_shard, _shards),
    "torch": Target(lambda data: pytorch.load(_file(data, ".safetensors")), _state_dicts),
    "image": Target(lambda data: load_image(_file(data, ".png")), _pictures),
    "image16": Target(lambda data: load_image(_file(data, ".tif")), _wide_pictures),
    "sound": Target(_with_suffix(load_sound, (".wav", ".flac", ".ogg")), _sounds),
    "mesh": Target(
        _with_suffix(lambda path: load_surface(path, samples=16), (".ply", ".obj", ".stl", ".xyz", ".off", ".3mf")),
        _meshes,
    ),
    "arguments": Target(_command, _arguments),
}
