"""Time to fit many pictures, each with a small network of its own, to a PSNR: `fit_many` and its peers.

The peers are a loop of `siren_jax.fit`; `jax.vmap` of a network with `jnp.sin` and Optax's Adam, as tools for many
networks usually have it, on one device and divided over all devices; and batched products in PyTorch, eager and
compiled. Peers take turns, and the time of a step is the median of several rounds. Every peer fits as many networks at
once as is fastest for it.

- `fit_many` fits all pictures. Its seconds include reading, starts and ends of signals, and rows that are empty at the
  end, but not compilation, which is reported separately.
- The loop fits one picture in each round, with steps that are compiled for each picture, or with `reuse=True` for the
  first one alone. Its seconds are extrapolated from these few pictures.
- The other peers stop after a fixed number of steps: the smallest after which `share` of all pictures have the PSNR,
  for the best of several rates of Adam, constant or with cosine decay. "our mean" is the smallest number after which
  the mean PSNR is that of `fit_many`. Both numbers are found with our own steps, which are the same steps in a fraction
  of the time: losses are compared before anything is timed. The peers' seconds are these numbers times the time of a
  step, without compilation and reading.

"share %" is the arithmetic rate of a step in percent of that of a large matrix product, measured in the same rounds.

`python -m benchmarks.many`: 10 minutes on two cores, with pictures of scikit-image that need few steps. `--digits
digits.npz`: 30 minutes for 1,000 digits of `experiments/digits.py`. `--count 32 --rounds 3`: 6 minutes.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import skimage.data
import tyro
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import UInt8
from numpy import ndarray

from benchmarks.measure import interleaved, matrix_product, publish
from benchmarks.stacks import PEERS, Step, problem
from experiments import digits
from siren_jax import SIREN, FieldSet, PixelDataset, Signals, fit, fit_many, supervise
from siren_jax.fitting.recipes import TUNED_SET, Recipe, constant, cosine_decay, until_a_target
from siren_jax.sets.stack import AXIS

LOOK = 25  # steps between two calls of `watch` by `fit_many`
ROWS = 64  # its networks at once on a device
MOST_STEPS = 5000  # of a picture in the loop, and of the peers
VALUE = supervise("value")  # one object, so that the loop finds its compiled steps again
Pictures = UInt8[ndarray, "b h w"]


@dataclass(frozen=True)
class Config:
    digits: str | None = None
    """File of pictures, see `experiments/digits.py`. The default is scikit-image's 200 pictures of 25 x 25 pixels, half
    of them faces."""
    count: int = 1000
    """Number of pictures, if there are as many."""
    quality: float = 40.0
    """PSNR in dB at which a fit ends."""
    share: float = 0.995
    """Share of the pictures that must have this PSNR after the peers' fixed number of steps."""
    width: int = 32
    depth: int = 1
    rates: tuple[float, ...] = (2.4e-2, 1.2e-2, 4.8e-2)
    """Rates of Adam that are tried for the peers."""
    searched: int = 128
    """Number of pictures with which the peers' rate and schedule are chosen."""
    chunks: tuple[int, ...] = (4, 16, 64)
    """Numbers of networks at once on a device that are tried for the peers."""
    rounds: int = 7


class Budget(NamedTuple):
    """Settings of Adam for a fixed number of steps."""

    rate: float
    decay: bool
    """Whether the rate has a cosine decay; otherwise it is constant."""
    steps: int

    @property
    def recipe(self) -> Recipe:
        schedule = cosine_decay if self.decay else constant
        return TUNED_SET._replace(learning_rate=self.rate, b2=0.999, for_width=None, schedule=schedule)


def main(config: Config) -> list[dict]:
    pictures = read(config)
    print(f"{len(pictures):,} pictures of {pictures.shape[1]} x {pictures.shape[2]} pixels", flush=True)
    check_equality(pictures, config)
    fields, seconds, compilation = to_the_quality(pictures, config)
    enough, same_mean = budgets(pictures, config, fields)
    at_end = with_budget(pictures, config, enough)

    peers, chunks = fastest(pictures, config)
    loops = {"loop of fit": Loop(pictures, config, reuse=False), "loop, reuse=True": Loop(pictures, config, reuse=True)}
    product, flops = matrix_product()
    turns = {name: loop.next for name, loop in loops.items()}
    ours, others = in_turns(pictures, config, {**peers, **turns, "product": product})
    of_product = flops / others["product"]

    def row(peer: str, at_once: int, per_step: float, **more: object) -> dict[str, object]:
        flops = arithmetic(config, pictures[0].size) / per_step
        start = {"peer": peer, "at once": at_once, "ms a step": 1e3 * per_step, **more}
        return start | {"GFLOP/s": flops / 1e9, "share %": round(100 * flops / of_product)}

    def ends(steps: ndarray, psnr: ndarray, thousand: float) -> dict[str, float]:
        reached = 100 * float(np.mean(psnr >= config.quality))
        start = {"steps": float(np.mean(steps)), "reached %": reached, "mean dB": float(np.mean(psnr))}
        return start | {"s for 1,000": thousand, "/ ours": thousand / best}

    best = 1000 * (seconds - compilation) / len(pictures)
    rows = [
        row(
            "fit_many", networks_at_once(pictures, len(jax.devices())), ours, **ends(fields.steps, fields.quality, best)
        )
    ]
    if len(jax.devices()) > 1:
        alone, _ = in_turns(pictures, config, {}, mesh=Mesh(np.array(jax.devices()[:1]), (AXIS,)))
        rows.append(row("fit_many, one device", networks_at_once(pictures, 1), alone))
    for name, loop in loops.items():
        steps, took, psnr = loop.results()
        rows.append(row(name, 1, float(np.median(took / steps)), **ends(steps, psnr, 1000 * float(took.mean()))))
    for name in peers:
        per_step = others[name] / (LOOK * chunks[name])
        more = ends(at_end.steps, at_end.quality, 1000 * per_step * enough.steps)
        if same_mean is not None:
            thousand = 1000 * per_step * same_mean.steps
            more |= {"s for 1,000, our mean": thousand, "/ ours, our mean": thousand / best}
        rows.append(row(name, chunks[name], per_step, **more))
    measured = {"seconds of fit_many": seconds, "seconds of its compilation": compilation}
    measured |= {"GFLOP/s of a product": of_product / 1e9, "devices": len(jax.devices()), "pictures": pictures.shape}
    measured |= {"budget": enough._asdict(), "budget for our mean": same_mean and same_mean._asdict()}
    named = None if config.digits is None else os.path.basename(config.digits)  # not this machine's folders
    publish("many", rows, replace(config, digits=named), measured=measured)
    return rows


def read(config: Config) -> Pictures:
    if config.digits is not None:
        return digits.read(config.digits).images[: config.count]
    return np.rint(255 * skimage.data.lfw_subset()).astype(np.uint8)[: config.count]


def network(config: Config) -> Callable[[nnx.Rngs], SIREN]:
    sizes = {"width": config.width, "depth": config.depth}
    return lambda rngs: SIREN(2, 1, **sizes, first_omega=20.0, weight_scale=2.0, rngs=rngs)


def fitted(pictures: Pictures, config: Config, **settings: Any) -> FieldSet:
    return fit_many(Signals(pictures), network(config), key=jax.random.key(0), **settings)


def networks_at_once(pictures: Pictures, devices: int) -> int:
    """The usual number of rows of `fit_many`, or a smaller one without empty rows."""
    each = min(ROWS, len(pictures) // devices)
    return devices * 2 ** (each.bit_length() - 1)


def with_budget(pictures: Pictures, config: Config, budget: Budget) -> FieldSet:
    rows = networks_at_once(pictures, len(jax.devices()))
    fields = fitted(pictures, config, recipe=budget.recipe, steps=budget.steps, rows=rows)
    reached, mean = np.mean(fields.quality >= config.quality), np.mean(fields.quality)
    print(f"{budget}: {100 * reached:.1f} % of {len(pictures):,} reached, mean {mean:.2f} dB", flush=True)
    return fields


def check_equality(pictures: Pictures, config: Config) -> None:
    """Checks that losses of all peers agree before and after the first steps: the same weights, loss and update."""
    some = pictures[: 4 * len(jax.devices())]
    given = problem(some, network(config), jax.random.key(0))
    rate = min(config.rates)
    steps = {name: peer(given, rate, count=1) for name, peer in PEERS.items()}
    losses = {name: [step() for _ in range(3)] for name, step in steps.items()}
    first = losses["plain JAX"][0]
    ours = [with_budget(some, config, Budget(rate, False, count)).quality for count in (1, 2)]
    expected = np.stack([first, *(4 * 10 ** (-psnr / 10) for psnr in ours)])
    for name, found in losses.items():
        np.testing.assert_allclose(found, expected, rtol=1e-3, err_msg=f"{name} computes something else")


def to_the_quality(pictures: Pictures, config: Config) -> tuple[FieldSet, float, float]:
    """The set that `fit_many` makes, its seconds, and how many of them it has compiled programs."""
    compilation = 0.0

    def listen(event: str, seconds: float, **_: object) -> None:
        nonlocal compilation
        compilation += seconds * event.endswith("backend_compile_duration")

    jax.monitoring.register_event_duration_secs_listener(listen)
    began = time.perf_counter()
    rows = networks_at_once(pictures, len(jax.devices()))
    fields = fitted(pictures, config, quality=config.quality, rows=rows)
    seconds, compilation = time.perf_counter() - began, float(compilation)
    print(f"fit_many: {seconds:.1f} s, of which {compilation:.1f} s compilation, {fields.steps.mean():.0f} steps")
    return fields, seconds, compilation


def budgets(pictures: Pictures, config: Config, ours: FieldSet) -> tuple[Budget, Budget | None]:
    """The least budgets with which the peers reach the PSNR on almost all pictures, and our mean PSNR.

    The second is None if it was not found.
    """
    some = pictures[: config.searched]
    known: dict[Budget, ndarray] = {}

    def psnr(budget: Budget) -> ndarray:
        if budget not in known:
            known[budget] = with_budget(some, config, budget).quality
        return known[budget]

    most = lambda psnr: np.mean(psnr >= config.quality) >= config.share
    budget = least(lambda budget: most(psnr(budget)), config.rates)
    same_mean = least(lambda budget: psnr(budget).mean() >= ours.quality[: len(some)].mean(), config.rates)
    if budget is None:
        raise SystemExit(f"no rate reaches {config.quality} dB within {MOST_STEPS:,} steps; choose a lower --quality.")
    while not most(with_budget(pictures, config, budget).quality) and budget.steps < MOST_STEPS:
        budget = budget._replace(steps=_rounded(1.05 * budget.steps))
    return budget, same_mean


def least(suffices: Callable[[Budget], bool], rates: tuple[float, ...]) -> Budget | None:
    """The budget of fewest steps that suffices, to 5 %: from doubling, then bisection, for each schedule and rate."""
    best = None
    for decay in (True, False):
        for rate in rates:
            limit = MOST_STEPS if best is None else best.steps - LOOK
            budget = lambda steps, decay=decay, rate=rate: Budget(rate, decay, steps)
            if best is not None and not (limit > 0 and suffices(budget(limit))):
                continue
            low, high = 0, limit if best is not None else 8 * LOOK
            while not suffices(budget(high)) and high < limit:
                low, high = high, min(2 * high, limit)
            while high - low > max(LOOK, high / 20):
                middle = _rounded((low + high) / 2)
                low, high = (low, middle) if suffices(budget(middle)) else (middle, high)
            if suffices(budget(high)):
                best = budget(high)
    return best


def _rounded(steps: float) -> int:
    """The next multiple of the steps between two looks of `fit_many`."""
    return LOOK * int(np.ceil(steps / LOOK))


def fastest(pictures: Pictures, config: Config) -> tuple[dict[str, Step], dict[str, int]]:
    """Every peer with the number of networks at once that is fastest for it, and this number."""
    given = problem(pictures, network(config), jax.random.key(0))
    steps, chunks = {}, {}
    for name, peer in PEERS.items():
        devices = len(jax.devices()) if "divided" in name else 1
        sizes = {devices * min(chunk, len(pictures) // devices) for chunk in config.chunks}
        candidates = {size: peer(given.first(size), config.rates[0], count=LOOK) for size in sorted(sizes)}
        seconds = interleaved(candidates, rounds=2)
        size = chunks[name] = min(seconds, key=lambda size: seconds[size] / size)
        steps[name] = candidates[size]
        print(name, {size: f"{1e3 * s / LOOK / size:.3f} ms" for size, s in seconds.items()}, flush=True)
    return steps, chunks


def in_turns(
    pictures: Pictures, config: Config, others: Mapping[str, Callable[[], object]], mesh: Mesh | None = None
) -> tuple[float, dict[str, float]]:
    """Median seconds of a step of one picture of `fit_many`, and of a call of each other peer.

    The others have their turns when `fit_many` looks at its errors.
    """
    some = pictures[: networks_at_once(pictures, len(jax.devices()) if mesh is None else mesh.size)]
    ours: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in others}
    began = None

    def watch(progress: object) -> None:
        nonlocal began
        if len(ours) == config.rounds:  # the last call, after all steps
            return
        now = time.perf_counter()
        if began is not None:  # the first steps were compiled
            ours.append((now - began) / (LOOK * len(some)))
        for name, call in others.items():
            theirs[name] += interleaved({name: call}, rounds=1, warm=True).values()
        began = time.perf_counter()

    fitted(some, config, steps=LOOK * (config.rounds + 1), rows=len(some), mesh=mesh, watch=watch)
    assert len(ours) == config.rounds, "fit_many has called `watch` after fewer steps than expected"
    medians = {name: float(np.median(seconds[1:])) for name, seconds in theirs.items()}
    print({"fit_many": np.median(ours), **medians}, flush=True)
    return float(np.median(ours)), medians


class Loop:
    """A loop of `fit` over pictures, which takes its next one at every call.

    Args:
        reuse: whether all fits share the compiled steps of the first one.
    """

    def __init__(self, pictures: Pictures, config: Config, *, reuse: bool):
        self._pictures, self._config, self._reuse = pictures, config, reuse
        self._ends: list[tuple[int, float, float]] = []

    def next(self) -> None:
        config, number = self._config, len(self._ends)
        began = time.perf_counter()
        data = PixelDataset(self._pictures[number % len(self._pictures)])
        net = network(config)(nnx.Rngs(jax.random.fold_in(jax.random.key(0), number)))
        recipe = until_a_target(TUNED_SET)
        psnr = lambda network: 10 * np.log10(4 / float(_error(network, data.coordinates, data.value)))
        result = fit(
            net,
            VALUE,
            data.sampler(),
            key=jax.random.key(number),
            steps=MOST_STEPS,
            optimizer=recipe.optimizer(net),
            schedule=recipe.schedule,
            average=recipe.average,
            until=lambda progress: psnr(progress.network()) >= config.quality,
            reuse=self._reuse,
        )
        self._ends.append((result.steps, time.perf_counter() - began, psnr(result.network)))

    def results(self) -> tuple[ndarray, ndarray, ndarray]:
        """Steps, seconds and PSNR of all pictures but the first, which is always compiled."""
        steps, seconds, psnr = np.array(self._ends[1:]).T
        return steps, seconds, psnr


@jax.jit
def _error(network: SIREN, points: jax.Array, values: jax.Array) -> jax.Array:
    return jnp.mean((network(points) - values) ** 2)


def arithmetic(config: Config, points: int) -> int:
    """FLOPs of a step of one picture: a product per layer forwards, and two backwards, except for the coordinates."""
    weights = 2 * config.width, config.depth * config.width**2 + config.width
    return points * (4 * weights[0] + 6 * weights[1])


if __name__ == "__main__":
    jax.config.update("jax_num_cpu_devices", os.cpu_count())
    main(tyro.cli(Config))
