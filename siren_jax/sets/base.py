"""A base: the latent network of a space of signals, which encodes signals, completes them and makes fields of codes."""

import dataclasses
import hashlib
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jax import Array
from jaxtyping import Float
from numpy import ndarray

from siren_jax._types import StoppedBy
from siren_jax.errors import InputError
from siren_jax.fields.coordinates import Frame, generate_coordinates
from siren_jax.files import header, siren_file
from siren_jax.files.atomic import write_atomically
from siren_jax.files.header import LARGEST, as_json
from siren_jax.files.set_file import FORMAT_VERSION, parameters_of
from siren_jax.fitting.progress import interrupts
from siren_jax.networks.latent import LatentSIREN
from siren_jax.networks.siren import SIREN
from siren_jax.neural_field import NeuralField
from siren_jax.sets.codes import STEPS, encode
from siren_jax.sets.field_set import FieldSet
from siren_jax.sets.sampled import by_shape, portions, stacked
from siren_jax.sets.signals import Entry, Signals
from siren_jax.sets.writer import ENTRIES, Writer, begun, claimed, numbered
from siren_jax.signals.ranges import normalized
from siren_jax.subjects.kinds import SIGNALS, SignalKind
from siren_jax.subjects.subject import SNR

CODE = "code"
KINDS = ("image", "sound", "video")  # that are values on a grid
SAMPLES = 32  # of the posterior density
COMPLETING = 10  # Gauss-Newton steps
CORRELATED = 8  # samples that tell as much as an independent one, because errors at neighbouring points are alike


class EncodeProgress(NamedTuple):
    """The argument of `watch`: the state of `Base.encode` between two blocks of signals."""

    done: int
    """Number of signals that were encoded, with those of an earlier process, or could not be read."""
    earlier: int
    """Number of signals that an earlier process has encoded."""
    total: int
    """Number of all signals."""
    stopped_by: StoppedBy | None
    """The signal that ends the encoding now, if one has come; see `Fit.stopped_by`."""


class Completion(NamedTuple):
    """What a signal may be, of which some samples are known; see `Base.complete`."""

    field: NeuralField
    """The most likely signal."""
    mean: Float[ndarray, "*shape c"]
    """Mean of the possible signals, which has the least expected squared error."""
    deviation: Float[ndarray, "*shape c"]
    """Their standard deviation, in the units of the values, with the noise of the base."""
    codes: Float[ndarray, "n k"]
    """Code of the most likely signal, and of the others."""


@dataclass(frozen=True, eq=False)
class Base:
    """A space of signals of one kind; made by `learn` and `load_base`.

    `base.field(code)` is the signal of a code. Codes of the signals that it was learned from have mean 0 and covariance
    I, so the field of the code 0 is a typical signal, and codes from a normal distribution are random ones.

    Args:
        network: makes a SIREN of each code.
        shape: usual number of samples along each axis.
        value_range: values of the signals for the network's values -1 and 1.
        kind: kind of the signals.
        rate: samples per second of sounds, or frames per second of videos.
        noise: mean squared error of the values in [-1, 1] of the signals that it was learned from.
        figures: numbers and qualities from `learn`.
    """

    network: LatentSIREN
    shape: tuple[int, ...]
    value_range: tuple[float, float]
    kind: str
    rate: float | None
    noise: float
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def latent(self) -> int:
        """Numbers of a code."""
        return self.network.latent

    @property
    def fingerprint(self) -> str:
        """A number of the network's weights, which sets of codes contain."""
        arrays = parameters_of(nnx.state(self.network, nnx.Param))
        text = b"".join(arrays[name].tobytes() for name in sorted(arrays) if name != CODE)
        return hashlib.sha256(text).hexdigest()[:16]

    def field(self, code: Float[Array | ndarray, "k"], *, shape: tuple[int, ...] | None = None) -> NeuralField:
        """The signal of a code.

        Args:
            code: `(latent,)`.
            shape: number of samples along each axis, if it is not the usual one.

        Raises:
            InputError: the code has another number of numbers, or some are not finite or too large.
        """
        code = np.asarray(code, np.float32)
        if code.shape != (self.latent,) or not np.isfinite(code).all():
            raise InputError(
                f"a code of this base has {self.latent} finite numbers, but got an array of the shape {code.shape}"
                + ("." if code.shape != (self.latent,) else " with others.")
            )
        siren = siren_file.of_code("this signal", self.network, jax.numpy.asarray(code))
        return self._field(siren, shape or self.shape, {"base": self.fingerprint})

    def encode(
        self,
        signals: Signals,
        *,
        steps: int = STEPS,
        out: str | os.PathLike[str] | None = None,
        strict: bool = False,
        watch: Callable[[EncodeProgress], Any] | None = None,
    ) -> FieldSet:
        """The set of the signals as codes: their most likely ones, by some Gauss-Newton steps each.

        Signals may have any size, and pictures unknown pixels. Qualities are those over all known samples.

        Args:
            signals: the signals, of the base's kind and number of channels.
            steps: number of steps.
            out: folder in which the set is written. An unfinished set is continued, and new signals are added.
            strict: whether a signal that cannot be read is an error; otherwise it is left out, with a warning.
            watch: called with `EncodeProgress` after every 256 signals; a true result ends the encoding, like Ctrl-C.

        Raises:
            InputError: the signals are of another kind or have other axes or more channels; the folder contains another
                set, or codes of another base; no signal can be read.
        """
        self._check_kind(signals)
        if steps < 1:
            raise InputError(f"steps must be at least 1, but is {steps}.")
        folder = None if out is None else os.fspath(out)
        architecture = siren_file.architecture_of(self.network)
        arrays = parameters_of(nnx.state(self.network, nnx.Param))
        shared = {name: array for name, array in arrays.items() if name != CODE}
        record = {**signals.options, "base": self.fingerprint, "steps": steps, "noise": self.noise}
        described = {
            "format": FORMAT_VERSION,
            "network": architecture,
            "precision": "float32",
            "kind": self.kind,
            "measure": signals.kind.measure.name,
            "shared": sorted(shared),
            "record": as_json("record", record),
        }
        with ExitStack() as held:
            if folder is not None:
                held.enter_context(claimed(folder, (0, 1)))
            shards = [] if folder is None else begun(folder, described, (0, 1))[0]
            numbers = numbered(folder, signals.names)
            done = {name for shard in shards for name in shard.texts["names"]}
            left = sorted((numbers[entry.name], entry) for entry in signals if entry.name not in done)
            writer = Writer(folder, described, "float32", shared, shards, {}, {})
            blocks: dict[int, list[tuple[int, Entry]]] = {}
            for number, entry in left:
                blocks.setdefault(number // ENTRIES, []).append((number, entry))
            earlier = count = len(signals) - len(left)
            skipped: dict[str, str] = {}
            with interrupts() as interrupted:
                for block in blocks.values():
                    self._encode_block(block, writer, skipped, steps=steps, strict=strict)
                    count += len(block)
                    progress = EncodeProgress(count, earlier, len(signals), interrupted())
                    if (watch is not None and watch(progress)) or progress.stopped_by is not None:
                        break
        for name, reason in skipped.items():
            warnings.warn(f"{name!r} was left out: {reason}", stacklevel=2)
        if not writer.shards:
            name, reason = next(iter(skipped.items()), (signals.names[0], "the encoding was ended"))
            raise InputError(f"no signal was encoded; {name!r}: {reason}")
        return FieldSet(writer.shards)

    def complete(
        self,
        signal: ndarray,
        known: ndarray,
        *,
        key: Array,
        samples: int = SAMPLES,
        steps: int = COMPLETING,
    ) -> "Completion":
        """The most likely signal given some of its samples, and samples of what else it may be.

        Args:
            signal: `(*shape, c)` or, with one channel, `shape`, in the units of the base's signals; values that are
                unknown do not matter.
            known: `shape`, true where a value is known.
            key: random key of the samples.
            samples: number of samples from the posterior density.
            steps: number of Gauss-Newton steps for each.

        Raises:
            InputError: the signal has other axes or channels, a known value is not finite, none is known, or there are
                fewer than two samples.
        """
        c = self.network.out_features
        signal, known = np.asarray(signal, np.float32), np.asarray(known, bool)
        signal = signal[..., None] if c == 1 and signal.ndim == self.network.in_features else signal
        if signal.ndim != self.network.in_features + 1 or signal.shape[-1] != c or signal.shape[:-1] != known.shape:
            raise InputError(
                f"this base needs a signal of {self.network.in_features} axes with {c} channels and a mask of them, "
                f"but they have the shapes {signal.shape} and {known.shape}."
            )
        if not known.any() or not np.isfinite(signal[known]).all():
            raise InputError("a completion needs at least one known value, and all known ones finite.")
        if samples < 2 or steps < 1:
            raise InputError(f"samples must be at least 2 and steps 1, but are {samples} and {steps}.")
        shape = signal.shape[:-1]
        points = generate_coordinates(shape)[known.ravel()]
        values = normalized(signal[known], self.value_range)
        of_prior, of_noise = jax.random.split(key)
        centre = np.array(jax.random.normal(of_prior, (samples + 1, self.latent)))
        changed = np.array(jax.random.normal(of_noise, (samples + 1, *values.shape))) * math.sqrt(self.noise)
        centre[0] = changed[0] = 0  # the most likely one
        codes = encode(self.network, points, values + changed, noise=self.noise, steps=steps, centre=centre).code
        others = np.stack([self.field(code, shape=shape).render() for code in codes[1:]])
        scale = (self.value_range[1] - self.value_range[0]) / 2
        deviation = np.sqrt(others.var(axis=0, ddof=1) + self.noise * scale**2)
        return Completion(self.field(codes[0], shape=shape), others.mean(axis=0), deviation, codes)

    def codes(self, fields: FieldSet) -> Float[ndarray, "n k"]:
        """Codes of a set that this base has encoded.

        Raises:
            InputError: the set has no codes, or those of another base.
        """
        made_by = fields.header["record"].get("base")
        if fields.own != {CODE: (self.latent,)} or made_by != self.fingerprint:
            others = f"another one, {made_by!r:.40}" if list(fields.own) == [CODE] else "networks of their own"
            raise InputError(f"the set has no codes of this base, {self.fingerprint}, but of {others}.")
        return fields.arrays()[0]

    def distances(self, codes: Float[ndarray, "n k"]) -> Float[ndarray, "n"]:
        """How far codes are from those of the signals that the base was learned from: the root mean square of their
        numbers, about 1 for such a signal."""
        return np.sqrt(np.mean(np.square(codes), axis=1))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Writes a `.siren` file, completely or not at all. As a fitted signal, it is that of the code 0.

        Raises:
            InputError: the file exists or cannot be written.
        """
        record = {"base": {"noise": self.noise, **self.figures}}
        described = self._field(self.network.at(self.network.code[...]), self.shape, {}).description()
        described |= {"record": as_json("record", record)}
        data = siren_file.encoded(self.network, described, precision="float32")
        write_atomically(path, lambda file: file.write(data), overwrite=overwrite)

    def __repr__(self) -> str:
        sizes = f"{self.network.width} x {self.network.depth}"
        quality, count = self.figures.get("psnr"), self.figures.get("held_out")
        told = ""
        if isinstance(quality, float) and isinstance(count, int):  # in a file they may be anything
            told = f", PSNR {quality:.1f} dB on {count} held out"
        return f"Base({SIGNALS[self.kind].plural}, {self.latent} numbers, {sizes}{told})"

    def _field(self, network: SIREN, shape: tuple[int, ...], record: Mapping[str, Any]) -> NeuralField:
        return NeuralField(network, Frame(shape), self.value_range, kind=self.kind, rate=self.rate, record=record)

    def _check_kind(self, signals: Signals) -> None:
        axes, channels = signals.survey.features
        if signals.kind.name != self.kind or axes != self.network.in_features:
            raise InputError(f"this base has {SIGNALS[self.kind].plural}, but these are {signals.kind.plural}.")
        if channels > self.network.out_features:
            raise other_channels(self, "the signals have", channels)

    def _encode_block(
        self,
        block: Sequence[tuple[int, Entry]],
        writer: Writer,
        skipped: dict[str, str],
        *,
        steps: int,
        strict: bool,
    ) -> None:
        """Encodes signals whose numbers are of one block; those that cannot be read get into `skipped`."""
        kind, number_of = SIGNALS[self.kind], {entry.name: number for number, entry in block}
        entries = [entry for _, entry in block]
        for portion in portions(entries, self.network.out_features, kind, skipped, strict=strict):
            for signal in portion:
                writer.started(number_of[signal.entry.name])
            for shape, signals in by_shape(portion).items():
                points = generate_coordinates(shape)
                found = encode(self.network, points, *stacked(signals), noise=self.prior, steps=steps)
                for signal, code, error in zip(signals, found.code, found.error, strict=True):
                    columns = {
                        "quality": _quality(float(error), signal.value, kind),
                        "steps": steps,
                        "range": signal.about.value_range,
                        "shape": shape,
                    }
                    if signal.about.rate is not None:
                        columns["rate"] = signal.about.rate
                    texts = {"names": signal.entry.name, "labels": signal.entry.label, "status": "steps"}
                    writer.ended(number_of[signal.entry.name], texts, columns, {CODE: code})
        writer.finish()

    @property
    def prior(self) -> float:
        """Weight of the prior in an encoding, see `codes.encode`."""
        return CORRELATED * self.noise


def other_channels(base: Base, whose: str, found: int) -> InputError:
    """The error that a base of other channels than the signals raises; `whose` is such as "the signals have"."""
    needed = base.network.out_features
    return InputError(
        f"this base has {needed} channel{'s' * (needed > 1)}, but {whose} {found}; convert to {needed}, or learn a "
        f"base from signals of {found}."
    )


def _quality(error: float, values: ndarray, kind: SignalKind) -> float:
    """PSNR or SNR in dB for a mean squared error of values in [-1, 1]."""
    peak = float(np.mean(np.square(values, dtype=np.float64))) if kind.measure is SNR else 4.0
    return 10 * math.log10(peak / error) if error > 0 else math.inf if error == 0 else math.nan


def load_base(path: str | os.PathLike[str]) -> Base:
    """The base in a `.siren` file that `learn` or `siren-jax learn` has made.

    Raises:
        InputError: the file is missing or damaged, or is a fitted signal.
    """
    network, found = siren_file.read(path)
    header.check(f"the header of {os.fspath(path)!r}", found, network.in_features, network.out_features)
    if not isinstance(network, LatentSIREN):
        raise InputError(
            f"{os.fspath(path)!r} is a fitted signal; a base is made by siren-jax learn, or siren_jax.learn in Python."
        )
    if found["kind"] not in KINDS:
        raise InputError(
            f"{os.fspath(path)!r} is of the kind {found['kind']!r}, but a base is of one of {', '.join(KINDS)}."
        )
    about = found.get("record", {}).get("base")
    about = about if isinstance(about, Mapping) else {}
    noise = about.get("noise")
    if not isinstance(noise, int | float) or noise is True or not 0 < noise <= LARGEST:
        raise InputError(
            f"{os.fspath(path)!r} is not a base: its record needs base.noise, a number above 0, but has {noise!r:.40}."
        )
    figures = {name: value for name, value in about.items() if name != "noise"}
    low, high = map(float, found["value_range"])
    rate = float(found["rate"]) if found.get("rate") is not None else None
    return Base(network, tuple(found["frame"]["shape"]), (low, high), found["kind"], rate, float(noise), figures)
