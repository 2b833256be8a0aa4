"""Doubts about units: domains whose coordinates a network's omega, learning rate or float32 do not suit."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from siren_jax.equations.terms import Term
from siren_jax.equations.unknowns import Scaled, part_of
from siren_jax.networks.siren import SIREN

FARTHEST = 50  # from the origin to the centre, in units of the size
LONGEST = 40  # half of a domain's size along an axis, and its inverse the shortest
BEYOND = 4  # times the highest frequency that the points of a step resolve
LOST = 300_000  # distance of the centre, in units of the size, where float32 has few digits left


def doubts_about_units(network: Any, terms: Sequence[Term], points: int) -> Iterator[str]:
    """Sentences about coordinates that do not suit a network with a first omega; none for other networks.

    Args:
        network: the initial network.
        terms: the terms, some of which have a domain.
        points: number of points of the largest term.
    """
    omega = getattr(network, "first_omega", None)
    boxes = [(term.domain.low, term.domain.high) for term in terms if term.domain is not None]
    if omega is None or not boxes or len({len(low) for low, _ in boxes}) > 1:
        return
    low, high = np.min([low for low, _ in boxes], axis=0), np.max([high for _, high in boxes], axis=0)
    whole, distance = (low, high), np.abs(low + high) / 2 / (high - low)
    if scaled := part_of(network, Scaled):
        low, high = ((end - np.array(scaled.centre)) / np.array(scaled.half) for end in (low, high))
    siren = part_of(network, SIREN)
    graded = [bool(places) for places in siren.graded] if siren and siren.graded else [False] * len(low)
    half, far = (high - low) / 2, np.abs(low + high) / 2 / (high - low)
    for axis in range(len(low)):
        reach = f"coordinate {axis} goes from {whole[0][axis]:.9g} to {whole[1][axis]:.9g}"
        if distance[axis] > LOST:
            yield (
                f"{reach}, and float32 resolves only about {distance[axis] * 2**-24:.0e} of that: count the coordinate "
                "from within the domain, in the equation too."
            )
        elif graded[axis]:
            continue  # the network sees its asinh, a small number in any unit
        elif far[axis] > FARTHEST or not 1 / LONGEST <= half[axis] <= LONGEST:
            yield (
                f"{reach}, far from -1 to 1, where a network learns well: fit Scaled(network, domain), whose "
                f"first_omega is in radians per half of the domain, {omega * half[axis]:.3g} for {omega:g} per unit."
            )
            return
    resolved = math.pi * points ** (1 / len(low)) / float((high - low).max())
    if not any(graded) and not (siren and siren.windows) and omega / len(low) > BEYOND * resolved:
        yield (
            f"first_omega={omega:g} is far above what the {points:,} points of a term resolve: use up to "
            f"{len(low) * resolved:.3g}, or more points."
        )
