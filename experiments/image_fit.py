"""A SIREN fits a picture's values, gradient and Laplacian; a ReLU network fits the values badly and has no Laplacian.

Claim (Sitzmann et al. 2020, Sections 3.1 and 4.1, Figs. 1 and 3): trained on values, gradients or Laplacians alone, a
SIREN recovers the picture and all its derivatives. A ReLU network is piecewise linear: its Laplacian is exactly zero
wherever it exists, so the relative error of a Laplacian fit stays at 1 for any training time.

Expected on the 256 x 256 camera, SIREN / ReLU: values 37.8 / 19.4 dB, gradient 32.6 / 18.5 dB, Laplacian 30.9 / 17.5
dB (with aligned means for the last two). Both networks are trained on the derivative at points and on its integral form
(`siren_jax.signals.integrals`). Without the integral form, ReLU would recover nothing from a Laplacian.

Thirteen minutes on two CPU cores:  python -m experiments.image_fit
"""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import skimage.data
from flax import nnx

from experiments.run import Settings, make_folder, run, save_numbers
from siren_jax import SIREN, InputError, NeuralField, PixelDataset, ReLUMLP, fit, supervise
from siren_jax.fitting.objectives import QUANTITIES
from siren_jax.fitting.recipes import TARGETS
from siren_jax.metrics import aligned, contrast, psnr
from siren_jax.plot import panels
from siren_jax.signals import shrink
from siren_jax.signals.ranges import restored


@dataclass(frozen=True)
class Config(Settings):
    size: int = 256  # pixels along each side of the picture
    width: int = 256  # units of a hidden layer
    depth: int = 3  # hidden layers after the first
    steps: tuple[int, int, int] = (600, 400, 200)  # steps for values, gradient and Laplacian
    learning_rates: tuple[float, float, float] = (1e-3, 3e-4, 3e-4)  # rates of Adam for values, gradient and Laplacian
    batch_size: int = 4096  # pixels per step
    seed: int = 0  # seed of weights and batches
    out: Path = Path("out/experiments/image_fit")  # folder of the figure and of numbers.json


QUICK = Config(size=128, width=128, steps=(600, 400, 200), batch_size=2048, quick=True)
SMOKE = Config(size=32, width=32, depth=1, steps=(5, 5, 5), batch_size=512, smoke=True)


def main(config: Config) -> dict[str, dict[str, float]]:
    """Fits two networks to three targets; writes `image_fit.png` and `numbers.json`; returns all numbers."""
    if config.width < 1:
        raise InputError("width must be at least 1; correct the settings.")
    make_folder(config)
    dataset = PixelDataset(shrink(skimage.data.camera()[..., None] / 255, size=config.size))
    columns, numbers = {"ground truth": dataset.grids()}, {}
    for target, steps, rate in zip(
        ("values", "gradient", "laplacian"), config.steps, config.learning_rates, strict=True
    ):
        for make in (SIREN, ReLUMLP):
            name = f"{make.__name__}, {target}"
            result = fit(
                make(2, 1, width=config.width, depth=config.depth, rngs=nnx.Rngs(config.seed)),
                supervise(*TARGETS[target], mean_square=dataset.mean_square),
                dataset.sampler(min(config.batch_size, len(dataset)), quantities=TARGETS[target]),
                key=jax.random.key(config.seed),
                steps=steps,
                optimizer=optax.adam(rate),
            )
            columns[name], numbers[name] = _judge(result, dataset, TARGETS[target][0])
            print(f"{name:22}", "  ".join(f"{key} {value:.4g}" for key, value in numbers[name].items()), flush=True)
    figure = panels(
        columns,
        title="Trained on values, gradient or Laplacian: what each network has learned (mean aligned)",
        side=2.2,
    )
    figure.savefig(config.out / "image_fit.png", dpi=90)
    save_numbers(config, numbers)
    return numbers


def _judge(result, dataset: PixelDataset, quantity: str):
    """The fields of a fitted network and its quality. The mean, which derivatives do not determine, is aligned."""
    field = NeuralField(result.network, dataset.frame, dataset.value_range)
    fields: dict[str, np.ndarray] = {name: field.render(of=name) for name in QUANTITIES}
    values = np.asarray(field.network(jnp.asarray(dataset.coordinates)))
    if quantity != "value":
        values = aligned(values, dataset.value, dataset.coordinates, degree=0)
        fields["value"] = restored(values.reshape(fields["value"].shape), dataset.value_range)
    numbers = {
        "psnr": psnr(values, dataset.value),
        "contrast": contrast(values, dataset.value),
        "relative_error": float(result.history[quantity][-20:].mean()),
        "largest_laplacian": float(abs(fields["laplacian"]).max()),
        "seconds": result.seconds,
    }
    return fields, numbers


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
