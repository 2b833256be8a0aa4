"""Signals as the rows of a stack need them: read, with one number of channels, in groups that share a program."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.files.siren_file import Network
from siren_jax.neural_field import NeuralField
from siren_jax.sets.signals import Entry, Signals
from siren_jax.sets.tasks import VALUE, Drawn, Task, Whole, by_subject
from siren_jax.signals import IncompletePicture
from siren_jax.subjects.subject import SNR, Sampled, Subject

WHOLE = 4096  # samples up to which every step has all of them
DRAWN = 2048  # samples of a step otherwise
BY_SUBJECT = 512  # points of a step that a subject's own sampler draws


class Samples(NamedTuple):
    """A signal that was read, as a row needs it."""

    number: int
    name: str
    label: str | None
    task: Task
    data: Any
    """The row's arrays, as the task needs them."""
    about: NeuralField
    """The signal's frame, values, rate and placement."""
    peak: float | None
    """Squared error at a quality of 0 dB: 4, the square of the range, for a PSNR, or the signal's power for an SNR.
    None if the quality is not a mean squared error."""
    judge: Callable[[Network], float] | None
    """Quality of a network, measured by the subject, if it is not a mean squared error."""
    omega: float | None
    """First omega that suits the signal, if one was asked for."""
    attempt: int = 0
    """Number of earlier fits of this signal that have missed the quality."""

    def quality(self, error: float) -> float:
        """PSNR or SNR in dB for a mean squared error."""
        assert self.peak is not None
        return 10 * math.log10(self.peak / error) if error > 0 else math.inf if error == 0 else math.nan


class Reader:
    """Reads signals and assigns each to a group, whose signals are fitted by one program.

    Args:
        signals: the signals.
        example: a network of their size.
        batch_size: see `fit_many`.
        layers: number of layers that all networks share.
        own_omega: whether to choose a first omega for every signal.
        strict: whether a signal that cannot be read is an error.
        usual: shape of the signals that are fitted to all samples; by default the most frequent one of a survey, if
            half of the signals have it.
    """

    def __init__(
        self,
        signals: Signals,
        example: Network,
        *,
        batch_size: int | None,
        layers: int = 0,
        own_omega: bool = False,
        strict: bool = False,
        usual: tuple[int, ...] | None = None,
    ):
        self.skipped: dict[str, str] = {}
        """Signals that could not be read, with the reason."""
        self._example, self._batch_size, self._layers = example, batch_size, layers
        self._own_omega, self._strict, self._kind = own_omega, strict, signals.kind
        axes, shapes = signals.survey.features[0], signals.survey.shapes
        if axes != example.in_features:
            raise InputError(
                f"the network has {example.in_features} coordinates, but {signals.kind.plural} have {axes}."
            )
        if usual is None:
            usual = max(set(shapes), key=shapes.count, default=())
            usual = usual if 2 * shapes.count(usual) >= len(shapes) else ()
        self.usual = usual
        """Shape of the signals that are fitted to all samples; () if there is none."""

    def read(self, number: int, entry: Entry) -> Samples | None:
        """The samples of a signal; None if it cannot be read."""
        if (subject := self._opened(entry)) is None:
            return None
        try:
            task, data, peak = self._task(subject)
            omega = subject.choose_omega().omega if self._own_omega else None
            about = subject.field(self._example, {})
        except InputError as error:
            return self._skip(entry, error)
        judge = None
        if peak is None:
            judge = subject.quality if isinstance(subject, Sampled) else subject.estimate  # a surface takes seconds
        return Samples(number, entry.name, entry.label, task, data, about, peak, judge, omega)

    def _opened(self, entry: Entry) -> Subject | None:
        try:
            return entry.read()
        except InputError as error:
            return self._skip(entry, error)

    def _skip(self, entry: Entry, error: InputError) -> None:
        if self._strict:
            raise InputError(f"{entry.name!r}: {error}") from None
        self.skipped[entry.name] = str(error)

    def _task(self, subject: Subject) -> tuple[Task, Any, float | None]:
        """What the rows of the signal's group are fitted to, the signal's arrays, and its peak."""
        values = fits_values(subject)
        if not isinstance(subject, Sampled) or not values or isinstance(subject.dataset, IncompletePicture):
            if subject.features[1] != self._example.out_features:
                raise InputError(
                    f"it has {subject.features[1]} channels, but the network has {self._example.out_features}; give "
                    "signals of one number of channels."
                )
            return *by_subject(subject, min(subject.points, self._batch_size or BY_SUBJECT)), None
        value = with_channels(subject.dataset.value, self._example.out_features, self._kind.name)
        count, shape, channels = len(value), subject.dataset.shape, self._example.out_features
        peak = float(np.mean(np.square(value, dtype=np.float64))) if self._kind.measure is SNR else 4.0
        if shape == self.usual and count <= min(WHOLE, self._batch_size or WHOLE):
            whole = Whole(shape, channels, self._layers)
            return whole, whole.data(value), peak
        length = 2 ** math.ceil(math.log2(max(2, count)))
        drawn = Drawn(len(shape), channels, length, min(length, self._batch_size or DRAWN))
        return drawn, drawn.data(value, shape), peak


def fits_values(subject: Subject) -> bool:
    """Whether the subject is fitted to values alone."""
    return jax.tree.structure(subject.objective) == jax.tree.structure(VALUE)


def with_channels(value: Float[ndarray, "n c"], channels: int, kind: str) -> Float[ndarray, "n k"]:
    """Values with more channels: grey becomes colour, what lacks transparency opaque, mono any number of channels."""
    found = value.shape[1]
    if found == channels:
        return value
    if kind == "sound" and found == 1:
        return np.repeat(value, channels, axis=1)
    transparent = found in (2, 4)
    if kind == "sound" or found > channels or channels > 4 or (transparent and channels == 3):
        raise InputError(f"it has {found} channel{'s' * (found > 1)}, but the network has {channels}; convert it.")
    colours, opacity = value[:, : found - transparent], value[:, found - 1 :] if transparent else np.ones_like(value)
    if channels > 2 and colours.shape[1] == 1:
        colours = np.repeat(colours, 3, axis=1)
    return np.concatenate([colours, opacity[:, :1]], axis=1) if channels in (2, 4) else colours
