"""Fits of photographs from the package's start and from random weights: how soon are they good, and how good at last?

The photographs are those of scikit-image, none of which the start was learned from; see `experiments/photo_start.py`.
Fits that end at a PSNR have the schedule for a target, fits with a budget the cosine. Every fit with a budget is judged
on the pixels and half a pixel away from them; see `pictures.py`. A step takes the same time from either start.

`python -m benchmarks.starts`: 8 minutes on two cores.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import jax
import numpy as np
import skimage.data
import tyro

import siren_jax
from benchmarks.measure import publish
from benchmarks.pictures import judge, load_picture

STARTS = {"random": None, "photos": "photos"}


@dataclass(frozen=True)
class Config:
    pictures: tuple[str, ...] = (
        *("camera", "astronaut", "coffee", "chelsea", "rocket", "moon", "coins", "retina"),
        *("brick", "gravel", "grass"),
    )
    size: int = 256
    """Pixels along the longer side, or half of those of the photograph if it has fewer than twice as many."""
    levels: tuple[float, ...] = (30.0, 35.0)
    """PSNR in dB at which fits end."""
    patience: int = 350
    """Steps after which they give up."""
    budgets: tuple[int, ...] = (64, 256)
    """Steps of the fits with a budget."""
    seed: int = 0


def main(config: Config) -> list[dict]:
    rows = []
    for name in config.pictures:
        rows.append({"picture": name, **dict(compared(name, config))})
        print(rows[-1], flush=True)
    reached = [f"{level:g} dB, photos / random" for level in config.levels]
    gained = [key for key in rows[0] if key.endswith("gain")]
    summary: dict[str, object] = {"picture": "median"}
    for key in (*reached, *gained):
        known = [row[key] for row in rows if row[key] is not None]
        summary[key] = float(np.median(known)) if known else None
    publish("starts", [*rows, summary], config)
    return rows


def compared(name: str, config: Config) -> Iterator[tuple[str, object]]:
    """Steps to every level, and the PSNR after every budget with the gains from the start, in dB."""
    side = max(getattr(skimage.data, name)().shape[:2])
    picture = load_picture(name, min(config.size, side // 2))
    signal, key = siren_jax.open(picture.pixels, values=(0.0, 1.0)), jax.random.key(config.seed)
    for level in config.levels:
        steps = {}
        for kind, start in STARTS.items():
            fitted = signal.fit(key=key, quality=level, steps=config.patience, start=start).fit
            steps[kind] = fitted.steps if fitted.stopped_by == "watch" else None
            yield f"{level:g} dB, {kind}", steps[kind]
        both = None not in steps.values()
        yield f"{level:g} dB, photos / random", steps["photos"] / steps["random"] if both else None
    for budget in config.budgets:
        found = {}
        for kind, start in STARTS.items():
            found[kind] = judge(signal.fit(key=key, steps=budget, start=start).field, picture)
            yield f"{budget} steps, {kind}", round(found[kind]["pixels"], 2)
        for where in ("pixels", "between"):
            yield f"{budget} steps, {where}, gain", round(found["photos"][where] - found["random"][where], 2)


if __name__ == "__main__":
    main(tyro.cli(Config))
