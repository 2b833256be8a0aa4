"""Signals as the rows of a stack need them: read, with one number of channels, in groups that share a program."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.files.siren_file import Network
from siren_jax.sets.signals import Entry, Signals
from siren_jax.sets.tasks import Drawn, Whole
from siren_jax.subjects.subject import SNR, Sampled

WHOLE = 4096  # samples up to which every step has all of them
DRAWN = 2048  # samples of a step otherwise
SURVEYED = 64  # signals that are read before the fit, to learn their shape


class Samples(NamedTuple):
    """A signal that was read, as a row needs it."""

    number: int
    name: str
    label: str | None
    value: Float[ndarray, "n c"]
    shape: tuple[int, ...]
    value_range: tuple[float, float]
    rate: float | None
    peak: float
    """Squared error at a quality of 0 dB: 4, the square of the range, for a PSNR, or the signal's power for an SNR."""

    def quality(self, error: float) -> float:
        """PSNR or SNR in dB for a mean squared error."""
        return 10 * math.log10(self.peak / error) if error > 0 else math.inf if error == 0 else math.nan


class Reader:
    """Reads signals and assigns each to a group, whose signals are fitted by one program."""

    def __init__(self, signals: Signals, example: Network, batch_size: int | None, strict: bool):
        self.skipped: dict[str, str] = {}
        self._channels, self._axes = example.out_features, example.in_features
        self._batch_size, self._strict = batch_size, strict
        self._snr = signals.kind.measure is SNR
        places = np.unique(np.linspace(0, len(signals) - 1, min(SURVEYED, len(signals))).astype(int))
        shapes = [s.shape for place in places if (s := self.read(0, signals[int(place)])) is not None]
        self._usual = max(set(shapes), key=shapes.count) if shapes else ()
        if shapes and len(shapes[0]) != self._axes:
            raise InputError(
                f"the network has {self._axes} coordinates, but {signals.kind.plural} have {len(shapes[0])}."
            )
        if 2 * shapes.count(self._usual) < len(shapes):
            self._usual = ()  # signals of many shapes are fitted to points that are drawn
        self.skipped.clear()

    def read(self, number: int, entry: Entry) -> Samples | None:
        """The samples of a signal; None if it cannot be read."""
        try:
            subject = entry.read()
            assert isinstance(subject, Sampled)
            data = subject.dataset
            value = _with_channels(data.value, self._channels)
        except InputError as error:
            if self._strict:
                raise InputError(f"{entry.name!r}: {error}") from None
            self.skipped[entry.name] = str(error)
            return None
        peak = float(np.mean(np.square(value, dtype=np.float64))) if self._snr else 4.0
        return Samples(number, entry.name, entry.label, value, data.shape, data.value_range, subject.rate, peak)

    def task(self, samples: Samples) -> Whole | Drawn:
        """What the rows of the signal's group are fitted to; equal for signals of one group."""
        count = len(samples.value)
        whole = min(WHOLE, self._batch_size or WHOLE)
        if samples.shape == self._usual and count <= whole:
            return Whole(samples.shape, self._channels)
        length = 2 ** math.ceil(math.log2(max(2, count)))
        return Drawn(self._axes, self._channels, length, min(length, self._batch_size or DRAWN))


def _with_channels(value: Float[ndarray, "n c"], channels: int) -> Float[ndarray, "n k"]:
    """Values with another number of channels: grey becomes colour, and what lacks transparency becomes opaque."""
    found = value.shape[1]
    if found == channels:
        return value
    if found > channels:
        raise InputError(f"it has {found} channels, but the network has {channels}.")
    colours = np.repeat(value, 3, axis=1) if found in (1, 2) and channels in (3, 4) else value
    if colours.shape[1] == channels:
        return colours
    if channels == colours.shape[1] + 1 and channels in (2, 4):
        return np.concatenate([colours, np.ones_like(colours[:, :1])], axis=1)
    raise InputError(f"it has {found} channels, but the network has {channels}.")
