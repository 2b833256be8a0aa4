"""A SIREN represents a sound if its first omega suits the clip; with the omega of pictures, or with ReLU, it does not.

Claim (Sitzmann et al. 2020, supplement, audio): one SIREN of 256 x 3 represents seven seconds of music at 44.1 kHz,
with a first omega of 3,000; ReLU networks produce only noise. Here the first omega follows from the clip's spectrum and
length (`choose_omega`).

The clip is synthesised: seven seconds of four plucked strings and a voice (`--wav` uses a file instead). Expected SNR
after 3,000 steps: 16 dB with omega 27,000, 0.3 dB with omega 30, 0.3 dB with ReLU. The remaining error is hiss, and the
bursts of noise at the beginning of each string. Seven seconds of a cello reach 33 dB in the same time.

Six minutes on two CPU cores:  python -m experiments.audio_fit
"""

import dataclasses
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from experiments.run import Settings, make_folder, run, save_numbers
from experiments.sounds import RATE, pluck, voice
from siren_jax import SIREN, InputError, NeuralField, ReLUMLP, SampleDataset, choose_omega, fit, load_sound, supervise
from siren_jax.fitting.recipes import TUNED
from siren_jax.metrics import snr
from siren_jax.plot import sound_comparison
from siren_jax.signals import Sound

ENDS = 0.02  # seconds at either end whose error is reported separately: a jump there would be audible as a click


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    wav: Path | None = None  # a sound file; by default the clip is synthesised
    seconds: float = 7.0  # length of the synthesised clip
    width: int = 256  # units of a hidden layer
    depth: int = 3  # hidden layers after the first
    steps: int = 3000  # steps for each network
    batch_size: int = 2048  # samples per step
    seed: int = 0  # seed of weights and batches
    out: Path = Path("out/experiments/audio_fit")  # folder of the figures and of numbers.json


QUICK = Config(seconds=2.0, width=128, steps=1500, quick=True)
SMOKE = Config(seconds=0.05, width=32, depth=1, steps=20, batch_size=1024, smoke=True)


def main(config: Config) -> dict[str, dict[str, float]]:
    """Fits all three networks; writes a figure of each and `numbers.json`; returns the numbers of every fit."""
    if config.width < 1 or round(config.seconds * RATE) < 2:
        raise InputError("width must be at least 1, and seconds long enough for 2 samples; correct the settings.")
    sound = synthesised(config.seconds) if config.wav is None else load_sound(config.wav)
    make_folder(config)
    dataset = SampleDataset(sound.samples, value_range=(-sound.peak, sound.peak))
    omega = choose_omega(dataset.grid(), dataset.frame).omega
    size = {"width": config.width, "depth": config.depth, "rngs": nnx.Rngs(config.seed)}
    recipe, channels, numbers = TUNED["values"], dataset.channels, {}
    for name, network in {
        "siren": SIREN(1, channels, first_omega=omega, weight_scale=recipe.weight_scale, **size),
        "siren_30": SIREN(1, channels, first_omega=30.0, weight_scale=recipe.weight_scale, **size),
        "relu": ReLUMLP(1, channels, **size),
    }.items():
        result = fit(
            network,
            supervise("value"),
            dataset.sampler(min(config.batch_size, len(dataset))),
            key=jax.random.key(config.seed),
            steps=config.steps,
            optimizer=recipe.optimizer(network),
        )
        field = NeuralField(result.network, dataset.frame, dataset.value_range, "sound", sound.rate)  # pyright: ignore
        samples = field.render()
        numbers[name] = judge(samples, sound) | {"omega": getattr(network, "first_omega", 0), "seconds": result.seconds}
        print(f"{name:10}", "  ".join(f"{key} {value:.4g}" for key, value in numbers[name].items()), flush=True)
        figure = sound_comparison(
            sound.samples, samples, rate=sound.rate, title=f"{name}: SNR {numbers[name]['snr']:.1f} dB"
        )
        figure.savefig(config.out / f"{name}.png", dpi=90)
    save_numbers(config, numbers)
    return numbers


def synthesised(seconds: float) -> Sound:
    """A clip of strings, with a voice from the middle on, at half of full scale."""
    time = np.arange(round(max(seconds, 2) * RATE)) / RATE
    strings, spoken = (sound[: round(seconds * RATE)] for sound in (pluck(time), voice(time) * (time > seconds / 2)))
    samples = strings / np.abs(strings).max() + 0.7 * spoken / max(np.abs(spoken).max(), 1e-9)
    return Sound((samples / (2 * np.abs(samples).max()))[:, None].astype(np.float32), RATE)


def judge(samples: np.ndarray, sound: Sound) -> dict[str, float]:
    """SNR, the paper's mean square error relative to the peak, and the level of the error at the ends."""
    error = (samples - sound.samples) / sound.peak
    ends = round(ENDS * sound.rate)
    mse = float(np.mean(error**2))
    at_ends = float(np.mean(np.concatenate([error[:ends], error[-ends:]]) ** 2))
    return {"snr": snr(samples, sound.samples), "mse": mse, "ends_to_all_db": 10 * np.log10(at_ends / mse)}


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
