"""Signals that are values on grids, in memory: what a space is learned from, and whose codes are found."""

import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Bool, Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.networks.siren import SIREN
from siren_jax.neural_field import NeuralField
from siren_jax.sets.reader import fits_values, with_channels
from siren_jax.sets.signals import Entry, Signals
from siren_jax.signals import IncompletePicture
from siren_jax.subjects.kinds import SignalKind
from siren_jax.subjects.subject import Sampled

PORTION = 2**26  # values after which `portions` reads no further signal: 256 MiB
MOST = 2**28  # values of all signals that something is learned from, which are in memory several times as float32


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


def learnable(signals: Signals, *, strict: bool) -> list[SampledSignal]:
    """All signals that can be read, to learn something common from them; a warning names each of the others.

    Args:
        signals: pictures, sounds or videos.
        strict: whether a signal that cannot be read is an error.

    Raises:
        InputError: no signal can be read, or values are unknown, or do not fit into memory.
    """
    samples: list[SampledSignal] = []
    skipped: dict[str, str] = {}
    for portion in portions(list(signals), signals.survey.features[1], signals.kind, skipped, strict=strict):
        samples += portion
        if (total := sum(signal.value.size for signal in samples)) > MOST:
            raise InputError(
                f"the first {len(samples):,} signals have {total:,} values, but {MOST:,} fit into memory; take size=, "
                "or fewer signals."
            )
    for name, reason in skipped.items():
        warnings.warn(f"{name!r} was left out: {reason}", stacklevel=3)
    if not samples:
        raise InputError("there is nothing to learn from: none of the pictures, sounds or videos could be read.")
    if gaps := [signal.entry.name for signal in samples if signal.known is not None]:
        raise InputError(
            f"only complete pictures can be learned from, but {len(gaps):,} have unknown pixels, the first is "
            f"{gaps[0]!r}; leave them out."
        )
    return samples


def held_apart(
    signals: Sequence[SampledSignal], share: float, key: Array
) -> tuple[list[SampledSignal], list[SampledSignal]]:
    """The signals in two parts at random, each in the order of the signals: those to learn from, and a share, at least
    one, that is held out."""
    order = np.asarray(jax.random.permutation(key, len(signals)))
    count = max(1, round(share * len(order)))
    test, train = ([signals[i] for i in np.sort(part)] for part in (order[:count], order[count:]))
    return train, test


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
