"""Moments at which a sound or a video is rendered."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from siren_jax.errors import InputError
from siren_jax.neural_field import NeuralField

MAX_RATE = 1e6  # moments per second


@dataclass(frozen=True)
class Timeline:
    """Evenly spaced moments: moment k lies at the index first + k·own/rate of the original."""

    count: int
    first: float
    """Index of the first moment, fractions allowed."""
    own: float
    """Samples or frames per second of the original."""
    rate: float
    """Moments per second."""

    @property
    def region(self) -> tuple[float, float]:
        """First and last index of the cells centred on the moments; see `NeuralField.render`."""
        step = self.own / self.rate
        start = self.first + (1 - step) / 2
        return start, start + self.count * step

    @property
    def indices(self) -> Iterator[float]:
        """Indices of all moments in the original."""
        return (self.first + number * self.own / self.rate for number in range(self.count))

    def widened(self, moments: int, length: int) -> tuple["Timeline", int]:
        """The timeline with up to `moments` more at each end, within the original's `length`, and the number of those
        added before."""
        step = self.own / self.rate
        before = min(moments, int(self.first / step))
        after = max(0, min(moments, int((length - 1 - self.first) / step) - self.count + 1))
        return replace(self, count=before + self.count + after, first=self.first - before * step), before


def timeline(field: NeuralField, between: tuple[float, float] | None, rate: float | None) -> Timeline:
    """Moments from `between[0]` to `between[1]` seconds, at `rate`; by default all, at the original's rate.

    Moment k lies at the time k/rate, at every rate. At a higher rate, moments after the last one of the original are
    extrapolated, by less than its duration.

    Raises:
        InputError: the part is not within the signal, or the rate is not positive or is too high.
    """
    own = field.rate
    assert own is not None  # `load` checks that sounds and videos have a rate
    length = field.frame.shape[0] / own
    start, stop = between or (0.0, length)
    if not 0 <= start < stop <= length + 0.5 / own:
        raise InputError(f"between= takes a start before a stop within 0 to {length:g} s, but is {start:g} {stop:g}.")
    rate = own if rate is None else rate
    if not 0 < rate <= MAX_RATE:
        raise InputError(f"rate= takes a positive number up to {MAX_RATE:,.0f}, but is {rate:g}.")
    return Timeline(max(1, round((stop - start) * rate)), start * own, own, rate)
