"""A SIREN finds the slowness inside a square from waves recorded around it: full-waveform inversion.

Claim (Sitzmann et al. 2020, Section 4.3 and supplement): the slowness, a further output of the network of the wave
fields, is recovered from 30 receivers and 5 sources. It is learned inside the square of the receivers, |x| and |y|
below 0.4; outside, the waves travel at a speed of 1 and are absorbed.

Networks of the same size with tanh and ReLU are fitted for comparison.

Here the network represents the scattered fields: the solution of the Helmholtz equation minus the waves of the sources
in a homogeneous medium, which are known in closed form. The network therefore has no sharp sources to represent.

The records come from our own sparse solve around a disc, which the fit does not see. `--records` reads a file of the
authors instead, MATLAB 5 with `rec_val` (receivers, sources), `receivers` and `source`. Its waves are the complex
conjugates of ours, up to one factor that is learned too. According to our sparse solve, its disc lies in the middle,
with a radius of 0.11 and a squared slowness of 0.4.

python -m experiments.full_waveform_inversion
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import scipy.interpolate
import scipy.io
from jax import Array
from jaxtyping import Complex128, Float
from numpy import ndarray

from experiments import baselines
from experiments.run import Settings, make_folder, run, save_numbers
from siren_jax import InputError, jacobian, references, second_derivatives
from siren_jax.equations import Box, ComplexField, Problem, WithCoefficients, equation, known
from siren_jax.equations.catalogue import absorbing_layer

WAVENUMBER = 20.0
VARIANCE = 1e-4  # variance of the Gaussian sources
INNER = 0.4  # half the side of the square where the slowness is unknown
SIZE = 0.1  # typical size of the scattered fields; the unit of the network's outputs
CELLS = 81  # cells along each side for the figure and the errors
WHOLE, INSIDE = Box((-1, -1), (1, 1)), Box((-INNER, -INNER), (INNER, INNER))


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    out: Path = Path("out/experiments/full_waveform_inversion")  # folder of the figure and of numbers.json
    records: Path | None = None  # a file of recorded fields; by default they are simulated around a disc
    centre: tuple[float, float] = (0.08, -0.06)  # centre of the simulated disc, y and x
    radius: float = 0.12  # radius of the simulated disc
    squared_slowness: float = 0.5  # squared slowness inside the disc; it is 1 outside
    networks: tuple[str, ...] = baselines.KINDS  # kinds of networks, all of the same size
    width: int = 80  # units of a hidden layer
    depth: int = 2  # hidden layers after the first
    pool: int = 65_536  # number of points where the waves of the sources are computed
    points: int = 2048  # points of the pool in a step
    steps: int = 400  # steps of Adam
    refined: int = 1500  # steps of L-BFGS after Adam
    batches: int = 4  # number of batches whose points L-BFGS uses
    weight: float = 10.0  # weight of the records
    smooth: float = 3e-4  # weight of the slowness's total variation
    grid: int = 257  # points of the sparse solve along each side
    seed: int = 0  # seed of weights and points


QUICK = Config(networks=("siren",), steps=200, refined=400, points=1024, quick=True)
SMOKE = Config(networks=("siren",), width=16, depth=1, pool=256, points=64, steps=3, refined=2, grid=65, smoke=True)


class Records(NamedTuple):
    sources: Float[ndarray, "s 2"]
    receivers: Float[ndarray, "r 2"]
    fields: Complex128[ndarray, "r s"]


def main(config: Config) -> dict[str, dict[str, float]]:
    """Inverts the records; writes a figure and `numbers.json`; returns position and slowness of the disc found."""
    if min(config.width, config.steps, config.refined, config.points, config.pool, config.grid - 32) < 1:
        raise InputError("width, steps, refined, points and pool are at least 1 and grid at least 33; correct them.")
    truth = None if config.records else partial(disc, centre=config.centre, radius=config.radius)
    if not set(config.networks) <= set(baselines.KINDS) or not config.networks:
        raise InputError(f"networks are {', '.join(baselines.KINDS)}, but got {', '.join(config.networks) or 'none'}.")
    make_folder(config)
    records = read(config.records) if config.records else simulate(config)
    axis = np.linspace(-INNER, INNER, CELLS)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    panels = {} if truth is None else {"true": 1 + (config.squared_slowness - 1) * truth(points)}
    numbers = {}
    for kind in config.networks:
        network, seconds = invert(records, kind, config)
        panels[kind] = 1 + np.asarray(_evaluate(network, jnp.asarray(points, jnp.float32)))[..., -1]
        numbers[kind] = judge(panels[kind], points, config, truth) | {"seconds": seconds}
        print(kind, *(f"{key} {value:.4g}" for key, value in numbers[kind].items()), sep="  ", flush=True)
    draw(panels, records, config.out / "full_waveform_inversion.png")
    save_numbers(config, numbers)
    return numbers


def disc(points: Float[ndarray, "*n 2"], *, centre: tuple[float, float], radius: float) -> Float[ndarray, "*n"]:
    """1 inside the disc and 0 outside, with a smooth edge of width 0.01."""
    return 1 / (1 + np.exp((np.linalg.norm(points - np.array(centre), axis=-1) - radius) / 0.01))


def simulate(config: Config) -> Records:
    """Records of sources below and receivers on three sides, with the fields around a disc from a sparse solve."""
    along = np.linspace(-0.35, 0.35, 10)
    far = np.full(10, INNER)
    sides = (far, along), (along, -far), (along, far)
    receivers = np.concatenate([np.stack(side, axis=1) for side in sides])
    sources = np.stack([np.full(5, -0.35), np.linspace(-0.35, 0.35, 5)], axis=1)
    axis = np.linspace(-1, 1, config.grid)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    excess = (config.squared_slowness - 1) * disc(grid, centre=config.centre, radius=config.radius)
    free = incoming(grid.reshape(-1, 2), sources).T.reshape(-1, *excess.shape)
    scattered = references.solve_helmholtz(1 + excess, WAVENUMBER**2 * excess * free, wavenumber=WAVENUMBER)
    at = [scipy.interpolate.RegularGridInterpolator((axis, axis), field, method="cubic") for field in scattered]
    fields = incoming(receivers, sources) + np.stack([field(receivers) for field in at], axis=1)
    return Records(sources, receivers, fields)


def read(path: Path) -> Records:
    """Records from a file of the authors."""
    try:
        content = scipy.io.loadmat(path)
        records = Records(content["source"], content["receivers"], content["rec_val"].conj())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} contains no records: {error}. A MATLAB 5 file with rec_val is needed.") from error
    if records.fields.shape != (len(records.receivers), len(records.sources)):
        raise InputError(
            f"{path} has records of the shape {records.fields.shape} for {len(records.receivers)} receivers."
        )
    return records


def incoming(points: Float[ndarray, "n 2"], sources: Float[ndarray, "s 2"]) -> Complex128[ndarray, "n s"]:
    """Waves of the sources in a homogeneous medium."""
    each = [references.free_space(points, wavenumber=WAVENUMBER, variance=VARIANCE, source=tuple(s)) for s in sources]
    return np.stack(each, axis=1)


def invert(records: Records, kind: str, config: Config) -> tuple[WithCoefficients, float]:
    """A network of the scattered fields, real and imaginary parts, and the squared slowness minus 1; and seconds."""
    count = len(records.sources)
    split = lambda fields: np.concatenate([fields.real, fields.imag], axis=1).astype(np.float32)
    joined = lambda channels: channels[:count] + 1j * channels[count : 2 * count]

    def wave(u: Any, x: Array, free: Array) -> Array:
        v = ComplexField(u, count)
        value, slope, second = (SIZE * part for part in (v(x), jacobian(v)(x), second_derivatives(v)(x)))
        e, e_slope = absorbing_layer(x)
        ratio = jnp.stack([e[1] / e[0], e[0] / e[1]])
        flow = jnp.sum(ratio * second - ratio * e_slope / e * slope, axis=1)
        excess = jnp.where(jnp.all(jnp.abs(x) < INNER), u(x)[-1], 0.0)
        waves = e[0] * e[1] * value + excess * (value + joined(free))
        return (flow / WAVENUMBER**2 + waves) / SIZE

    def record(u: Any, x: Array, both: Array) -> Array:
        free, field = both
        factor = u["real"] + 1j * u["imaginary"] if config.records else 1.0
        return (SIZE * ComplexField(u, count)(x) + joined(free) - factor * joined(field)) / SIZE

    def variation(u: Any, x: Array) -> Array:
        return jnp.sqrt(jnp.sum(jacobian(u)(x)[-1] ** 2) + 1e-4)

    draws = np.random.default_rng(config.seed)
    half = config.pool // 2
    pool = np.concatenate([draws.uniform(-1, 1, (config.pool - half, 2)), draws.uniform(-INNER, INNER, (half, 2))])
    at_receivers = incoming(records.receivers, records.sources)
    factor = np.vdot(records.fields, at_receivers) / np.vdot(records.fields, records.fields)  # as if nothing scattered
    pairs = np.stack([split(at_receivers), split(records.fields)], axis=1)
    problem = Problem(
        [
            known(wave, pool, split(incoming(pool, records.sources)), domain=WHOLE, drawn=config.points, name="wave"),
            known(record, records.receivers, pairs, domain=WHOLE, name="records", weight=config.weight),
            equation(variation, INSIDE, points=512, name="variation", weight=config.smooth, power=1),
        ]
    )
    sizes = {"width": config.width, "depth": config.depth, "seed": config.seed}
    plain = baselines.network(kind, 2, 2 * count + 1, first_omega=15.0, **sizes)
    network = WithCoefficients(plain, real=float(factor.real), imaginary=float(factor.imag))
    key = jax.random.key(config.seed)
    first = problem.fit(network, key=key, steps=config.steps, optimizer=baselines.optimizer(kind, network, 1e-3))
    second = problem.refine(first.network, key=key, batches=config.batches, steps=config.refined)
    return second.network, first.seconds + second.seconds  # pyright: ignore[reportReturnType]


def judge(
    found: Float[ndarray, "h w"], points: Float[ndarray, "h w 2"], config: Config, truth: Any
) -> dict[str, float]:
    """Centre of the region beyond half of the extreme value, the slowness in its middle, and the errors of both."""
    excess = found - 1
    extreme = excess.flat[np.argmax(np.abs(excess))]
    inside = excess / extreme > 0.5
    centre = np.average(points[inside], axis=0, weights=np.abs(excess[inside]))
    radius = float(np.sqrt(np.mean(inside)) * 2 * INNER / np.sqrt(np.pi))
    distance = np.linalg.norm(points - centre, axis=-1)
    middle = distance <= max(radius / 2, distance.min())
    slowness = float(np.sqrt(np.maximum(found[middle], 0)).mean())
    numbers = {"y": float(centre[0]), "x": float(centre[1]), "radius": radius, "slowness": slowness}
    if truth is None:
        return numbers
    true = float(np.sqrt(config.squared_slowness))
    off = float(np.linalg.norm(centre - np.array(config.centre)))
    return numbers | {"distance": off, "slowness_error": 100 * abs(slowness / true - 1)}


def draw(panels: dict[str, Float[ndarray, "h w"]], records: Records, path: Path) -> None:
    figure, axes = plt.subplots(1, len(panels), figsize=(4.4 * len(panels), 4), layout="constrained", squeeze=False)
    reach = float(np.abs(next(iter(panels.values())) - 1).max())  # from the truth, if it is known
    style = {"cmap": "RdBu_r", "vmin": 1 - reach, "vmax": 1 + reach}
    for axis, (name, values) in zip(axes[0], panels.items(), strict=True):
        axis.imshow(values, extent=(-INNER, INNER, -INNER, INNER), origin="lower", **style)
        axis.plot(*records.sources.T[::-1], "k*", label="sources")
        axis.plot(*records.receivers.T[::-1], "k.", label="receivers", clip_on=False)
        axis.set(title=f"squared slowness, {name}", xlabel="x", ylabel="y")
    axes[0, 0].legend(loc="upper left")
    figure.colorbar(axes[0, 0].images[0], ax=axes[0])
    figure.savefig(path, dpi=100)
    plt.close(figure)


_evaluate = jax.jit(lambda network, points: network(points))

if __name__ == "__main__":
    run(main, full=Config(), quick=QUICK, smoke=SMOKE, about=__doc__)
