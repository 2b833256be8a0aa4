"""Golden sets of format version 1, and what an independent reader finds in them; golden bases, and golden networks in
float64, with periodic and with graded coordinates and with windows, of format version 2.

`python tests/data/make_sets.py FOLDER` writes NAME.sirens and NAME.json for every set of `SETS` and for a set of codes,
and NAME.siren for every base of `BASES`, for `DOUBLE`, `PERIODIC`, `GRADED` and `WINDOWS`. The JSON files are made from
the bytes of the shards by `found_in`, which uses NumPy and `docs/file-format.md` alone. The files in this folder were
written once, by the first version that had sets, bases, float64, periods, grading or windows, and stay as they are: a
later version of the library must read the same numbers from them. A new format version gets files of its own.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

TYPES = {"I64": "<i8", "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I8": "<i1"}


def _pictures() -> Any:
    from siren_jax import Signals

    y, x = np.mgrid[:8, :8] / 8
    waves = [127.5 + 100 * np.sin(6 * (a * x + b * y)) for a, b in ((1, 0), (0, 1), (1, 1), (1, -1))]
    names = ["0/cat.png", "0/dog.png", "1/ä b.png", "1/日本.png"]
    return Signals(np.array(waves).astype(np.uint8), names=names, labels=[name[0] for name in names])


def _sounds() -> Any:
    from siren_jax import Signals

    times = np.arange(64) / 64
    return Signals(np.array([np.sin(6 * times), np.cos(9 * times)], np.float32), rate=64)


def _shapes() -> Any:
    from siren_jax import Signals

    turns = np.arange(400) * (np.pi * (3 - 5**0.5))  # points of a sphere along a spiral
    z = (np.arange(400) + 0.5) / 200 - 1
    normals = np.stack([np.cos(turns) * (1 - z**2) ** 0.5, np.sin(turns) * (1 - z**2) ** 0.5, z], axis=1)
    folder = Path(tempfile.mkdtemp())
    for name, radius in (("large", 20.0), ("small", 0.5)):
        np.savetxt(folder / f"{name}.xyz", np.hstack([radius * normals + (1.0, 2.0, 3.0), normals]))
    return Signals(folder)


SETS = {  # signals, coordinates, settings of fit_many
    "set_1_float32": (_pictures, 2, {"precision": "float32", "quality": 22.0, "steps": 100}),
    "set_1_int8_first": (_pictures, 2, {"precision": "int8", "share": "first", "steps": 50}),
    "set_1_float16_sound": (_sounds, 1, {"precision": "float16", "steps": 50}),
    "set_1_bfloat16_shape": (_shapes, 3, {"precision": "bfloat16", "batch_size": 64, "steps": 50}),
}
BASES = {"version_2_latent": False, "version_2_latent_scaled": True}  # whether codes also scale
CODE = (1.0, -1.5, 0.5)  # of a base as a fitted signal
DOUBLE, PERIODIC, GRADED = "version_2_float64", "version_2_periodic", "version_2_graded"
WINDOWS = "version_2_windows"


def _bumps(count: int, **settings: Any) -> Any:
    """Pictures of a bump whose place is anywhere."""
    from siren_jax import Signals

    places = np.random.default_rng(0).uniform(-0.5, 0.5, (count, 2, 1, 1))
    y, x = np.mgrid[-1:1:8j, -1:1:8j]
    bumps = np.exp(-((y - places[:, 0]) ** 2 + (x - places[:, 1]) ** 2) / 0.1)
    return Signals(bumps.astype(np.float32), values=(0.0, 1.0), **settings)


def found_in(shard: bytes) -> dict[str, Any]:
    """Header, columns and parameters of a shard; a kernel of 8 bits is the product of its integers and its scale."""
    length = int.from_bytes(shard[:8], "little")
    described = json.loads(shard[8 : 8 + length])
    header = json.loads(described.pop("__metadata__")["sirens"])
    entries, arrays = header.pop("entries"), {}
    for name, entry in described.items():
        first, last = entry["data_offsets"]
        array = np.frombuffer(shard[8 + length + first : 8 + length + last], TYPES[entry["dtype"]])
        if entry["dtype"] == "BF16":  # the upper half of a float32
            array = (array.astype("<u4") << 16).view("<f4")
        arrays[name] = array.astype(np.int64 if entry["dtype"] == "I64" else np.float64).reshape(entry["shape"])
    columns = {name.removeprefix("entry."): array for name, array in arrays.items() if name.startswith("entry.")}
    parameters = {
        name: array * np.expand_dims(arrays[f"{name}.scale"], -2) if f"{name}.scale" in arrays else array
        for name, array in arrays.items()
        if not name.startswith("entry.") and not name.endswith(".scale")
    }
    as_lists = lambda named: {name: array.tolist() for name, array in sorted(named.items())}
    return {
        "header": header,
        "entries": entries,
        "columns": as_lists(columns),
        "parameters": as_lists(parameters),
    }


def _double() -> Any:
    """A network whose parameters have all digits of float64."""
    import jax
    from flax import nnx

    from siren_jax import SIREN, Frame, NeuralField

    network = SIREN(2, 3, width=4, depth=1, first_omega=7.0, omega=5.0, outermost="tanh", rngs=nnx.Rngs(0))
    graphdef, state = nnx.split(network)
    draw = np.random.default_rng(0)
    with jax.enable_x64(True):
        state = jax.tree.map(lambda leaf: jax.numpy.asarray(draw.uniform(-0.5, 0.5, leaf.shape)), state)
        return NeuralField(nnx.merge(graphdef, state), Frame((3, 5)), (0.0, 255.0), record={"seed": 0})


def _periodic() -> Any:
    """A network as of another writer: its weights are not yet rounded to whole numbers of periods, as a reader does."""
    from flax import nnx

    from siren_jax import SIREN, Frame, NeuralField

    network = SIREN(2, 3, width=8, depth=1, first_omega=40.0, periodic={1: 1.2}, rngs=nnx.Rngs(0))
    kernel = network.layers[0].linear.kernel
    kernel[...] = kernel[...] + np.random.default_rng(0).uniform(-0.03, 0.03, (2, 8))  # a quarter of a period
    return NeuralField(network, Frame((3, 5)), (0.0, 255.0), record={"seed": 0})


def _graded() -> Any:
    from flax import nnx

    from siren_jax import SIREN, Frame, NeuralField

    graded = {1: [(-0.45, 0.01), (0.5, 0.2)]}
    network = SIREN(2, 3, width=8, depth=1, first_omega=4.0, graded=graded, rngs=nnx.Rngs(0))
    return NeuralField(network, Frame((3, 5)), (0.0, 255.0), record={"seed": 0})


def _windows() -> Any:
    from flax import nnx

    from siren_jax import SIREN, Frame, NeuralField
    from siren_jax.networks.windows import Beyond, Gaussian

    windows = [
        (2, None),
        (3, Gaussian((0.2, -0.4), (0.5, 0.3))),
        (1, Beyond(0, -0.1, 0.2, power=1, unit=0.1)),
        (2, Beyond(1, low=-0.3, power=3, unit=0.25)),
    ]
    network = SIREN(2, 3, width=8, depth=1, first_omega=4.0, windows=windows, rngs=nnx.Rngs(0))
    return NeuralField(network, Frame((3, 5)), (0.0, 255.0), record={"seed": 0})


def main(folder: Path) -> None:
    import jax

    from siren_jax import SIREN, fit_many, learn

    def keep(name: str, made: Path) -> None:
        (folder / f"{name}.sirens").mkdir()
        for file in ("00000000.shard", "names.json"):
            shutil.copy(made / file, folder / f"{name}.sirens")
        found = found_in((made / "00000000.shard").read_bytes())
        (folder / f"{name}.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    for name, (signals, axes, settings) in SETS.items():
        made = Path(tempfile.mkdtemp()) / "set"

        def make(rngs, axes=axes):
            return SIREN(axes, 1, width=4, depth=1, first_omega=5.0, weight_scale=2.0, rngs=rngs)

        fit_many(signals(), make, key=jax.random.key(0), out=made, **settings)
        keep(name, made)
    sizes = {"latent": 3, "width": 4, "depth": 1, "first_omega": 5.0}
    for name, scaled in BASES.items():
        base = learn(_bumps(60), **sizes, scaled=scaled, steps=2000, key=jax.random.key(0))
        base.network.code[...] = CODE
        base.save(folder / f"{name}.siren")
    _double().save(folder / f"{DOUBLE}.siren")
    _periodic().save(folder / f"{PERIODIC}.siren")
    _graded().save(folder / f"{GRADED}.siren")
    _windows().save(folder / f"{WINDOWS}.siren")
    made = Path(tempfile.mkdtemp()) / "set"
    base.encode(_bumps(4, names=["a.png", "ä b.png", "1/c.png", "1/日本.png"], labels=[0, 0, 1, 1]), out=made)
    keep("set_1_codes", made)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
