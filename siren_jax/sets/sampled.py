"""Signals that are values on grids, in memory: what a space is learned from, and whose codes are found."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from flax import nnx
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.networks.siren import SIREN
from siren_jax.neural_field import NeuralField
from siren_jax.sets.reader import fits_values, with_channels
from siren_jax.sets.signals import Entry
from siren_jax.signals import IncompletePicture
from siren_jax.subjects.kinds import SignalKind
from siren_jax.subjects.subject import Sampled

PORTION = 2**26  # values after which `portions` reads no further signal: 256 MiB


class SampledSignal(NamedTuple):
    """A signal that was read."""

    entry: Entry
    value: Float[ndarray, "n c"]
    """Values in [-1, 1]; 0 where they are unknown."""
    known: Bool[ndarray, "n"] | None
    """Where values are known; None if all are."""
    about: NeuralField
    """The signal's frame, range and rate."""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.about.frame.shape


def read_sampled(entry: Entry, channels: int, kind: SignalKind) -> SampledSignal:
    """A signal with this number of channels.

    Raises:
        InputError: it cannot be read, is no array of values, or has too many channels.
    """
    subject = entry.read()
    dataset = subject.dataset if isinstance(subject, Sampled) else None
    if dataset is None or not fits_values(subject):
        raise InputError("it is not an array of values; leave out the option for a derivative.")
    value, known = dataset.value, None
    if isinstance(dataset, IncompletePicture):
        known = dataset.known.ravel()
        value = np.where(known[:, None], value, 0)
    about = subject.field(SIREN(len(dataset.shape), channels, width=1, depth=0, rngs=nnx.Rngs(0)), {})
    return SampledSignal(entry, with_channels(value, channels, kind.name), known, about)


def portions(
    entries: Sequence[Entry], channels: int, kind: SignalKind, skipped: dict[str, str], *, strict: bool
) -> Iterator[list[SampledSignal]]:
    """All signals, as many at a time as fit into memory, but at least one.

    Args:
        entries: the signals.
        channels: number of their channels.
        kind: their kind.
        skipped: gets the names of the signals that cannot be read, with the reasons.
        strict: whether such a signal is an error.
    """
    portion: list[SampledSignal] = []
    for entry in entries:
        try:
            portion.append(read_sampled(entry, channels, kind))
        except InputError as error:
            if strict:
                raise InputError(f"{entry.name!r}: {error}") from None
            skipped[entry.name] = str(error)
        if sum(signal.value.size for signal in portion) >= PORTION:
            yield portion
            portion = []
    if portion:
        yield portion


def by_shape(signals: Sequence[SampledSignal]) -> dict[tuple[int, ...], list[SampledSignal]]:
    """The signals of every shape."""
    found: dict[tuple[int, ...], list[SampledSignal]] = {}
    for signal in signals:
        found.setdefault(signal.shape, []).append(signal)
    return found


def stacked(signals: Sequence[SampledSignal]) -> tuple[Float[ndarray, "b n c"], Bool[ndarray, "b n"] | None]:
    """Values of signals of one shape, and where they are known; None if all are."""
    values = np.stack([signal.value for signal in signals])
    if all(signal.known is None for signal in signals):
        return values, None
    every = np.ones(values.shape[1], bool)
    return values, np.stack([every if signal.known is None else signal.known for signal in signals])
