"""`siren-jax encode`: finds the codes of signals in a base, and writes them as a set."""

import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import tyro
from numpy import ndarray

from siren_jax.cli.console import Line, duration, printable
from siren_jax.cli.helptext import documented, optional
from siren_jax.cli.options import Opening, check_positive, check_set
from siren_jax.cli.training import EXITS
from siren_jax.errors import InputError
from siren_jax.files.header import as_json
from siren_jax.fitting.progress import StoppedBy
from siren_jax.sets.base import EncodeProgress, load_base
from siren_jax.sets.codes import STEPS
from siren_jax.sets.field_set import FieldSet
from siren_jax.sets.overview import worst, write_metrics
from siren_jax.sets.signals import Signals

LISTED = 5  # entries in each table
_FILES = tyro.conf.arg(metavar="FILE ...", help_behavior_hint="(required)")


@dataclass(frozen=True)
@documented
class Encode:
    """Find the code of every signal in a base, and write the codes as one set."""

    base: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="BASE")]
    """The base, a .siren file from `siren-jax learn`."""
    files: Annotated[tyro.conf.Positional[tuple[str, ...]], _FILES]
    """The signals, of the kind of the base: files, or one folder, which is searched with its sub-folders. They may have
    any size."""
    out: Annotated[str, tyro.conf.arg(metavar="SET")]
    """Folder in which the set is written."""
    steps: int = STEPS
    """Number of Gauss-Newton steps for each signal."""
    opening: tyro.conf.OmitArgPrefixes[Opening] = field(default_factory=Opening)
    labels: Annotated[str | None, optional("folder|FILE", "none")] = None
    """Labels of the signals of a folder: `folder` for the name of each file's sub-folder, or a CSV file with rows of a
    name and a label."""
    resume: bool = False
    """Continue the set in the folder, or add signals that are new."""
    strict: bool = False
    """End with an error at a signal that cannot be read, instead of leaving it out."""
    json: bool = False
    """Print the counts and qualities as one JSON object on the last line of the output."""

    def run(self) -> int:
        check_positive(self, ("steps",))
        self.opening.check()
        check_set(self.out, resume=self.resume)
        base = load_base(self.base)
        signals = self._signals()
        reporter = EncodeReporter()
        with reporter:
            fields = base.encode(signals, steps=self.steps, out=self.out, strict=self.strict, watch=reporter.update)
        distances = base.distances(base.codes(fields))
        self._tell(signals, fields, distances, reporter)
        return EXITS.get(reporter.stopped_by or "", 0)

    def _signals(self) -> Signals:
        if not self.files:
            raise InputError("there are no signals to encode; give files, or one folder.")
        folders = [path for path in self.files if os.path.isdir(path)]
        if folders and len(self.files) > 1:
            raise InputError(f"signals are files or one folder, but {folders[0]!r} is a folder among several.")
        if folders:
            return self.opening.signals(folders[0], self.labels)
        if self.labels is not None:
            raise InputError("--labels applies to a folder only; leave it out, or give the folder of the files.")
        if missing := [path for path in self.files if not os.path.exists(path)]:
            raise InputError(f"there is no file or folder {missing[0]!r}.")
        name, count = Counter(map(os.path.basename, self.files)).most_common(1)[0]
        if count > 1:
            raise InputError(f"{count} of the files have the name {name!r}; give a folder that contains all of them.")
        return self.opening.signals(list(self.files))

    def _tell(self, signals: Signals, fields: FieldSet, distances: ndarray, reporter: "EncodeReporter") -> None:
        measure, quality = signals.kind.measure, fields.quality
        path = write_metrics(self.out, fields, measure, distances)
        rows = {"the worst": worst(fields, measure)[:LISTED], "the farthest": np.argsort(-distances)[:LISTED]}
        wide = max(len(printable(text)) for text in (*rows, *(fields.names[i] for row in rows.values() for i in row)))
        label = f"{measure.label} ({measure.unit})"
        for title, numbers in rows.items():
            print(f"{title:{wide}}  {label}  distance")
            for i in numbers:
                print(f"{printable(fields.names[i]):{wide}}  {quality[i]:{len(label)}.2f}  {distances[i]:8.2f}")
        mean, median, least = float(np.mean(quality)), float(np.median(quality)), float(np.min(quality))
        noun = signals.kind.plural if len(fields) > 1 else signals.kind.noun.split()[1]
        shown = f"mean {measure.tell(mean, further=1)}, median {median:.2f}, worst {least:.2f}"
        print(f"{len(fields):,} {noun}: {shown}{reporter.speed()}")
        for written in (self.out, path):
            print(f"  {printable(written)}")
        if reporter.left:
            print(f"siren-jax: {reporter.left:,} signals are left; --resume continues.", file=sys.stderr)
        if self.json:
            summary = {"signals": len(signals), "entries": len(fields), "left": reporter.left,
                       measure.name: {"mean": mean, "median": median, "worst": least},
                       "distance": {"median": float(np.median(distances)), "farthest": float(np.max(distances))},
                       "milliseconds": reporter.milliseconds}  # fmt: skip
            print(json.dumps(as_json("the summary", summary)))


class EncodeReporter(Line):
    """A context manager whose `update` shows the progress of an encoding on standard error."""

    def __init__(self):
        super().__init__()
        self.left = 0
        self.stopped_by: StoppedBy | None = None
        self._looks: list[tuple[int, float]] = []  # signals of this process, and seconds
        self._began = time.perf_counter()

    def update(self, progress: EncodeProgress) -> None:
        """Shows how many signals are done, and the time that is left."""
        self.left, self.stopped_by = progress.total - progress.done, progress.stopped_by
        self._looks.append((progress.done - progress.earlier, time.perf_counter() - self._began))
        left = f"  {duration(self.left * self.milliseconds / 1000)} left" if self.milliseconds and self.left else ""
        self.show(progress.done / progress.total, f"{progress.done:,} of {progress.total:,}{left}")

    @property
    def milliseconds(self) -> float | None:
        """Time for each signal: without the first block, whose time is mostly compilation, if there are others."""
        if not self._looks:
            return None
        (first, since), (count, until) = self._looks[0] if len(self._looks) > 1 else (0, 0.0), self._looks[-1]
        return 1000 * (until - since) / (count - first)

    def speed(self) -> str:
        """The time for each signal as the end of a sentence."""
        if self.milliseconds is None:
            return ""
        digits = 0 if self.milliseconds >= 10 else 1
        return f"; {self.milliseconds:,.{digits}f} ms each" + (", with compilation" if len(self._looks) == 1 else "")
