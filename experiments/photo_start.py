"""The start for photographs that the package has: `siren-jax fit photo.png --start photos`.

`learn_start` on square parts of twelve photographs, reduced to 256 x 256 pixels, turned, mirrored and with their
channels in any order, some of them grey. The photographs that `benchmarks/starts.py` judges are not among them. The
sources, which need no account and no download while this runs:

- Debian's package lomiri-wallpapers-16.04 (`apt-get download lomiri-wallpapers-16.04`, then `dpkg-deb -x FILE photos`):
  seeding by Clemens Engelhardt (CC0 1.0); aitzgorri, friends, life, picosdeeuropa and sunset by Aitzol Berasategi,
  Picture_0B and Picture_1A by Trevor "Freespace", umang by Abhishek Mudgal, Wine by Jakub Mede (CC BY 4.0).
- scikit-learn: china and flower (CC BY 2.0; see its datasets/images/README.txt).

`python -m experiments.photo_start --photos photos`: 20 minutes on two cores.
"""

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import jax
import numpy as np
import tyro
from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from siren_jax import Signals, learn_start
from siren_jax.subjects.start import LEARNED

NAMES = "aitzgorri friends life picosdeeuropa Picture_0B Picture_1A seeding sunset umang Wine"
SIDE = 256
FLAT = 0.15 * 128  # standard deviation below which a part is left out


@dataclass(frozen=True)
class Config:
    photos: Path
    """Folder of the photographs, which is searched with its sub-folders."""
    out: Path = Path("siren_jax/subjects/photos.siren")
    parts: int = 500
    """Number of parts of photographs."""
    rounds: int = 1500
    seed: int = 0


def main(config: Config) -> None:
    photos, random = read(config.photos), np.random.default_rng(config.seed)
    signals = Signals([part(photos, random) for _ in range(config.parts)])

    def watch(progress) -> None:
        if progress.round % 100 == 0:
            print(f"round {progress.round}  {progress.seconds:.0f} s  error {progress.error:.5f}", flush=True)

    start = learn_start(signals, key=jax.random.key(config.seed), rounds=config.rounds, held_out=0.03, watch=watch)
    start.save(config.out, precision="float16", overwrite=True)
    print(json.dumps(dict(start.record[LEARNED])))


def read(folder: Path) -> list[Image.Image]:
    """The photographs, those of more than 2,048 pixels at a half or less."""
    files = [path for name in NAMES.split() for path in sorted(folder.rglob(f"{name}*.jpg"))]
    if len(files) != len(NAMES.split()):
        raise SystemExit(f"{folder} has {len(files)} of the photographs {NAMES}; see the head of this file.")
    files += [
        Path(str(resources.files("sklearn") / "datasets" / "images" / f"{name}.jpg")) for name in ("china", "flower")
    ]
    photos = [Image.open(path).convert("RGB") for path in files]
    return [photo.reduce(max(1, max(photo.size) // 2048)) for photo in photos]


def part(photos: list[Image.Image], random: np.random.Generator) -> UInt8[ndarray, "side side 3"]:
    """A square of one of the photographs that is not flat."""
    while True:
        photo = photos[random.integers(len(photos))]
        most = min(photo.size)
        side = int(np.exp(random.uniform(np.log(min(2 * SIDE, most)), np.log(most))))
        left, top = (int(random.integers(n - side + 1)) for n in photo.size)
        square = photo.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BOX)
        values = np.rot90(np.asarray(square), int(random.integers(4)))[..., random.permutation(3)]
        values = values[:, ::-1] if random.random() < 0.5 else values
        if random.random() < 0.3:
            values = np.repeat(values.mean(axis=-1, keepdims=True), 3, axis=-1).round().astype(np.uint8)
        if values.std() > FLAT:
            return np.ascontiguousarray(values)


if __name__ == "__main__":
    main(tyro.cli(Config))
