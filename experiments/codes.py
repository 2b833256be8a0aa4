"""Codes of digits in a learned space: what they are good for, beside principal components and pixels.

Not in the paper; after Dupont et al. 2022, "From data to functa". `learn` finds a space of digits, and `encode` the
code of each digit, by Gauss-Newton. Logistic regression, the same with all products of two numbers as further inputs,
and a small MLP learn the label from the code, from as many principal components of the pixels ("PCA"), and from the
pixels. New codes come from the prior, a normal distribution; from a mixture of normal distributions; and from a flow, a
small network that learns the velocity with which noise becomes codes (Lipman et al. 2023, "Flow matching"). Their
digits are drawn, and compared with digits that were held out by a two-sample test: of as many samples as true digits,
the share whose nearest neighbour is of the same sort. It is 50 % if the two cannot be told apart, and 100 % if no
sample is like a digit.

Expected: the codes represent unseen digits better than principal components by several dB, but a classifier finds
their labels less often; the products of their numbers make up for most of that. Samples of the prior look like no
digit, most of the mixture do, and the flow is between them.

`python -m experiments.codes`: the 1,797 digits of 8 x 8 pixels that scikit-learn brings, in three minutes on two CPU
cores. With `--digits digits.npz --latent 64 --steps 4000 --width 64` for those of `experiments/digits.py`, in 30 beside
other work, of which learning was seven. It needs scikit-learn, which is in the extra `dev`.
"""

import dataclasses
import itertools
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float
from matplotlib.figure import Figure
from numpy import ndarray

from experiments.classifiers import CLASSIFIERS, accuracies, principal
from experiments.digits import labelled, require_scikit_learn
from experiments.run import Settings, make_folder, run, save_numbers
from siren_jax import Base, InputError, Signals, learn

DRAWN = 12  # digits of each sort in the figure


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    out: Path = Path("out/experiments/codes")  # folder of the figure and of numbers.json
    digits: str | None = None  # .npz file of other digits, see experiments/digits.py
    count: int = 10_000  # number of digits, if there are as many
    latent: int = 16  # numbers of a code
    width: int = 32  # units of a hidden layer of the space's network
    depth: int = 3  # hidden layers after the first
    first_omega: float = 20.0  # omega of the first layer
    steps: int = 3000  # steps of learning
    hidden: int = 64  # units of the MLP
    components: int = 40  # normal distributions in the mixture
    flow_width: int = 256  # units of the flow's two hidden layers
    flow_steps: int = 6000  # steps of the flow's training, with 256 codes each
    train: float = 0.9  # share of the digits for learning, classifiers and flow
    seed: int = 0  # seed of weights, split, classifiers and samples


QUICK = Config(count=1000, steps=1000, flow_steps=2000, quick=True)
SMOKE = Config(
    count=80, latent=4, width=8, depth=1, steps=20, hidden=4, components=2, flow_width=8, flow_steps=5, smoke=True
)


class Flow(nnx.Module):
    """A velocity v(x, t): R^k x [0, 1] -> R^k that carries a normal distribution at t = 0 to the codes at t = 1."""

    def __init__(self, size: int, width: int, *, rngs: nnx.Rngs):
        sizes = [size + 3, width, width, size]
        self.layers = nnx.List(nnx.Linear(n, m, rngs=rngs) for n, m in itertools.pairwise(sizes))

    def __call__(self, x: Float[Array, "n k"], t: Float[Array, "n"]) -> Float[Array, "n k"]:
        x = jnp.concatenate([x, t[:, None], jnp.sin(jnp.pi * t)[:, None], jnp.cos(jnp.pi * t)[:, None]], axis=1)
        for layer in list(self.layers)[:-1]:
            x = jax.nn.gelu(layer(x))
        return self.layers[-1](x)


def main(config: Config) -> dict[str, Any]:
    """Mean PSNR of the test digits and accuracies for each code, and the two-sample test of each sort of samples."""
    if min(config.width, config.hidden, config.flow_width, config.latent) < 1:
        raise InputError("width, hidden, flow_width and latent must be at least 1.")
    require_scikit_learn()
    make_folder(config)
    images, labels = labelled(config.digits, config.count)
    signals = Signals(images, labels=labels.tolist())
    parts = signals.split(config.train, seed=config.seed)
    train, test = (np.array([int(name) for name in part.names]) for part in parts)
    sizes = {"latent": config.latent, "width": config.width, "depth": config.depth, "first_omega": config.first_omega}
    base = learn(parts[0], steps=config.steps, key=jax.random.key(config.seed), **sizes)
    print(f"{base!r} after {base.figures['seconds']:.0f} s", flush=True)
    fields = base.encode(signals)
    codes = base.codes(fields).astype(np.float64)

    pixels = images.reshape(len(images), -1).astype(np.float64)
    components, psnr = principal(pixels, train, min(config.latent, pixels.shape[1]))
    sorts = {"codes": (codes, fields.quality), "PCA": (components, psnr), "pixels": (pixels, None)}
    numbers: dict[str, Any] = {"learning seconds": base.figures["seconds"]}
    print(f"{'code':24} {'numbers':>7} {'PSNR':>8} " + " ".join(f"{name:>22}" for name in CLASSIFIERS.values()))
    for sort, (code, quality) in sorts.items():
        further = {} if sort == "pixels" else {f"{sort} and products": np.concatenate([code, products(code)], axis=1)}
        for name, inputs in {sort: code, **further}.items():
            found = accuracies(inputs, labels, train, test, hidden=config.hidden, seed=config.seed)
            numbers[name] = {"numbers": code.shape[1], **found}
            if quality is not None:
                numbers[name]["psnr"] = float(np.mean(quality[test]))
                numbers[name]["psnr of mean"] = float(-10 * np.log10(np.mean(10 ** (-quality[test] / 10))))
            decibels = "exact" if quality is None else f"{numbers[name]['psnr']:.2f} dB"
            shares = " ".join(f"{100 * found[each]:>20.1f} %" for each in CLASSIFIERS)
            print(f"{name:24} {code.shape[1]:7} {decibels:>8} {shares}", flush=True)

    made = {"held out": codes[test], **samples(codes[train], len(test), config)}
    pictures = {name: rendered(base, made[name]) for name in made}
    for name in list(made)[1:]:
        numbers[f"two-sample test, {name}"] = alike(pictures[name], images[test] / 255.0)
        print(
            f"samples of the {name}: {100 * numbers[f'two-sample test, {name}']:.1f} % have a neighbour of their sort"
        )
    draw({"held out": images[test] / 255.0, "their codes": pictures.pop("held out"), **pictures}, config)
    save_numbers(config, numbers)
    return numbers


def products(code: Float[ndarray, "n k"]) -> Float[ndarray, "n p"]:
    """All products of two numbers of a code, and squares."""
    first, second = np.triu_indices(code.shape[1])
    scaled = code / code.std(axis=0)
    return scaled[:, first] * scaled[:, second]


def samples(codes: Float[ndarray, "n k"], count: int, config: Config) -> dict[str, Float[ndarray, "m k"]]:
    """New codes from the prior, from a mixture and from a flow."""
    from sklearn.mixture import GaussianMixture  # pyright: ignore

    mixture = GaussianMixture(config.components, covariance_type="full", reg_covar=1e-2, random_state=config.seed)
    key = jax.random.key(config.seed)
    prior = np.asarray(jax.random.normal(key, (count, codes.shape[1])))
    flow = trained(jnp.asarray(codes, jnp.float32), jax.random.fold_in(key, 1), config)
    carried = np.asarray(carry(flow, jax.random.normal(jax.random.fold_in(key, 2), prior.shape)))
    drawn = np.random.default_rng(config.seed).permutation(mixture.fit(codes).sample(count)[0])  # they come in order
    return {"prior": prior, "mixture": drawn, "flow": carried}


def trained(codes: Float[Array, "n k"], key: Array, config: Config) -> Flow:
    """A flow whose velocity at x = (1 - t)·noise + t·code is code - noise, on average: Lipman et al. 2023, Eq. 23."""
    of_weights, of_steps = jax.random.split(key)
    graphdef, params = nnx.split(Flow(codes.shape[1], config.flow_width, rngs=nnx.Rngs(of_weights)))
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-3, config.flow_steps))

    def loss(params: Any, key: Array) -> Array:
        of_choice, of_noise, of_time = jax.random.split(key, 3)
        code = codes[jax.random.randint(of_choice, (256,), 0, len(codes))]
        noise, t = jax.random.normal(of_noise, code.shape), jax.random.uniform(of_time, (256,))
        x = (1 - t)[:, None] * noise + t[:, None] * code
        return jnp.mean((nnx.merge(graphdef, params)(x, t) - (code - noise)) ** 2)

    @partial(jax.jit, donate_argnums=0)
    def steps(state: tuple[Any, Any], key: Array) -> tuple[Any, Any]:
        def step(state: tuple[Any, Any], key: Array) -> tuple[tuple[Any, Any], None]:
            params, moments = state
            updates, moments = optimizer.update(jax.grad(loss)(params, key), moments, params)
            return (optax.apply_updates(params, updates), moments), None

        return jax.lax.scan(step, state, jax.random.split(key, config.flow_steps))[0]

    return nnx.merge(graphdef, steps((params, optimizer.init(params)), of_steps)[0])


@jax.jit
def carry(flow: Flow, noise: Float[Array, "n k"]) -> Float[Array, "n k"]:
    """Where the flow carries noise, by 100 steps of Heun's method."""
    count = 100

    def step(x: Array, i: Array) -> tuple[Array, None]:
        t = jnp.full(len(x), i / count)
        first = flow(x, t)
        return x + (first + flow(x + first / count, t + 1 / count)) / (2 * count), None

    return jax.lax.scan(step, noise, jnp.arange(count))[0]


def rendered(base: Base, codes: Float[ndarray, "n k"]) -> Float[ndarray, "n h w"]:
    """The pictures of codes, clipped to their range."""
    return np.clip(np.stack([base.field(code).render()[..., 0] for code in codes]), 0, 1)


def alike(found: Float[ndarray, "n h w"], truth: Float[ndarray, "n h w"]) -> float:
    """Share of found and true pictures, as many of each, whose nearest neighbour is of the same sort."""
    from scipy.spatial.distance import cdist

    both = np.concatenate([found.reshape(len(found), -1), truth.reshape(len(truth), -1)])
    distances = cdist(both, both)
    np.fill_diagonal(distances, np.inf)
    sort = np.arange(len(both)) < len(found)
    return float(np.mean(sort == sort[np.argmin(distances, axis=1)]))


def draw(rows: dict[str, Float[ndarray, "n h w"]], config: Config) -> None:
    """Draws some digits of each sort, a row for each."""
    figure = Figure(figsize=(9, 0.85 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), DRAWN, squeeze=False)
    for row, (name, pictures) in zip(axes, rows.items(), strict=True):
        for axis, picture in zip(row, pictures, strict=False):
            axis.imshow(picture, cmap="gray", vmin=0, vmax=1)
        for axis in row:
            axis.set_xticks([])
            axis.set_yticks([])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    figure.savefig(config.out / "codes.png", dpi=110)


if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
