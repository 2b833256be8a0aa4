"""`siren-jax info`: what a `.siren` file, an entry of a set or a set contains."""

import math
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import tyro

from siren_jax.cli.console import printable
from siren_jax.cli.helptext import documented
from siren_jax.cli.sources import entry, split
from siren_jax.files import blocks, set_file, siren_file
from siren_jax.networks import grading, periods, windows
from siren_jax.networks.latent import LatentSIREN
from siren_jax.neural_field import NeuralField, load
from siren_jax.sets.field_set import FieldSet, load_set
from siren_jax.sets.overview import worst
from siren_jax.subjects.kinds import describe
from siren_jax.subjects.subject import CHAMFER, PSNR, SNR, Measure

LABELS = 8  # that are printed
WORST = 3
MEASURES = {measure.name: measure for measure in (PSNR, SNR, CHAMFER)}


@dataclass(frozen=True)
@documented
class Info:
    """Print what a .siren file, an entry of a set or a whole set contains."""

    file: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="FILE")]
    """The .siren file, an entry of a set as SET::NAME, or the folder of a set."""

    def run(self) -> int:
        address = split(self.file)
        if address is None:
            network, header = siren_file.read(self.file)
            field, precision = load(self.file), header["precision"]
            is_base = isinstance(network, LatentSIREN)
            rows = _of_base(field, network, precision) if is_base else _of_field(field, precision)
        else:
            folder, name = address
            fields = load_set(folder)
            if name:
                rows = _of_field(entry(fields, folder, name), fields.header["precision"])
                rows |= {name: "none" for name, value in fields.header["record"].items() if value is None}
            else:
                rows = _of_set(fields, folder)
        rows = {printable(name): printable(value) for name, value in rows.items()}
        wide = max(map(len, rows))
        for name, value in rows.items():
            print(f"{name:{wide}} {value}")
        return 0


def _of_field(field: NeuralField, precision: str) -> dict[str, object]:
    rows = describe(field) | _of_network(siren_file.architecture_of(field.network))
    rows["precision"] = precision
    return rows | {name: _shown(value) for name, value in field.record.items()}


def _of_base(field: NeuralField, network: LatentSIREN, precision: str) -> dict[str, object]:
    """The rows of a base, whose signal at the code 0 is this field. The record is untrusted."""
    about = field.record.get("base")
    about = dict(about) if isinstance(about, Mapping) else {}
    signals, held_out = (_counted_or_unknown(about.pop(name, None)) for name in ("signals", "held_out"))
    psnr, pca = ([_psnr(about.pop(f"{of}{name}", None)) for name in ("psnr", "psnr_of_mean")] for of in ("", "pca_"))
    rows = describe(field) | {
        "base": f"codes of {network.latent:,} numbers, learned from {signals} signals",
        "held_out": f"{held_out} signals: mean PSNR {psnr[0]}, {psnr[1]} for their mean squared error",
        "pca": f"mean PSNR {pca[0]}, {pca[1]} for their mean squared error, with as many numbers",
        "noise": f"{_shown(about.pop('noise', None))}, the mean squared error of values in [-1, 1]",
    }
    rows |= _of_network(siren_file.architecture_of(network))
    rows["precision"] = precision
    further = about | {name: value for name, value in field.record.items() if name != "base"}
    return rows | {name: _shown(value) for name, value in further.items()}


def _counted_or_unknown(count: object) -> str:
    return f"{count:,}" if isinstance(count, int) else "an unknown number of"


def _psnr(value: object) -> str:
    return _quality(value, PSNR) if isinstance(value, float) else "unknown"


def _of_network(architecture: Mapping[str, Any]) -> dict[str, object]:
    name = {"siren": "SIREN", "relu": "ReLUMLP", "latent": "LatentSIREN"}[architecture["type"]]
    rows: dict[str, object] = {
        "network": f"{name}, {architecture['in_features']} -> {architecture['out_features']}",
        "layers": f"{architecture['depth'] + 1} of {architecture['width']} units",
    }
    if name != "ReLUMLP":
        rows["omega"] = f"{architecture['first_omega']:g} in the first layer, {architecture['omega']:g} after"
        if given := architecture.get("periodic"):
            rows["periodic"] = periods.text(given)
        if given := architecture.get("graded"):
            rows["graded"] = grading.text(given)
        if given := architecture.get("windows"):
            sizes = architecture["in_features"], architecture["width"]
            rows["windows"] = windows.text(blocks.from_json(given, *sizes))
        if architecture.get("outermost", "linear") != "linear":
            rows["outermost"] = architecture["outermost"]
    shapes = [shape for _, shape in siren_file.stored_arrays(architecture, "float32").values()]
    rows["parameters"] = f"{sum(map(math.prod, shapes)):,}"
    return rows


def _of_set(fields: FieldSet, folder: str) -> dict[str, object]:
    header, quality, steps = fields.header, fields.quality, fields.steps
    measure = MEASURES.get(header["measure"], PSNR)
    rows: dict[str, object] = {"kind": fields.kind, "entries": f"{len(fields):,}", "labels": _labels(fields)}
    rows |= _of_network(header["network"])
    of_all = f"of all entries, with {header['network'].get('latent', 0):,} numbers of each one's code"
    rows["parameters"] = f"{rows['parameters']} {of_all if header['network']['type'] == 'latent' else 'of an entry'}"
    rows["precision"] = header["precision"]
    finite = quality[~np.isnan(quality)]
    rows[header["measure"]] = "not finite"
    if finite.size:
        extreme = ("most", finite.max()) if measure.less_is_better else ("least", finite.min())
        shown = f"{extreme[0]} {_quality(extreme[1], measure)}, median {_quality(np.median(finite), measure)}"
        rows[header["measure"]] = shown
    names = fields.names
    rows["worst"] = ", ".join(f"{names[i]} ({_quality(quality[i], measure)})" for i in worst(fields, measure)[:WORST])
    rows["status"] = _counted(Counter(fields.status))
    rows["steps"] = f"median {np.median(steps):g}, at most {steps.max():,}, {steps.sum():,} in all"
    sizes = [item.stat().st_size for item in os.scandir(folder) if item.name.endswith(set_file.SUFFIX)]
    shards = "1 shard" if len(sizes) == 1 else f"{len(sizes):,} shards"
    rows["bytes"] = f"{sum(sizes):,} in {shards}, {sum(sizes) / len(fields):,.0f} an entry"
    recorded = {name: "none" if value is None else _shown(value) for name, value in header["record"].items()}
    return rows | {f"record.{name}": value for name, value in recorded.items()}


def _labels(fields: FieldSet) -> str:
    found = Counter(label for label in fields.labels if label is not None)
    if not found:
        return "none"
    first = _counted({label: found[label] for label in sorted(found)[:LABELS]})
    more = f", and {len(found) - LABELS:,} more" if len(found) > LABELS else ""
    without = len(fields) - found.total()
    return first + more + (f"; {without:,} without one" if without else "")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items())


def _quality(quality: Any, measure: Measure) -> str:
    return "not finite" if math.isnan(quality) else f"{quality:.{measure.decimals + 1}f} {measure.unit}"


def _shown(value: object) -> object:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_number(part)}" for name, part in value.items())
    return _number(value)


def _number(value: object) -> object:
    return "not finite" if value is None else f"{value:.4g}" if isinstance(value, float) else value
