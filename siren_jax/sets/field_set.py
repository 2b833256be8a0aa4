"""Fitted signals of one kind in one set, each read when it is needed."""

import math
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from siren_jax.errors import InputError
from siren_jax.fields.coordinates import Frame
from siren_jax.files import set_file, siren_file
from siren_jax.files.set_file import Shard
from siren_jax.neural_field import NeuralField
from siren_jax.shapes.placement import Placement


class FieldSet(Sequence[NeuralField]):
    """The fields of a set, in the order of their signals; made by `fit_many` and `load_set`.

    `fields[3]` and `fields["3/0017.png"]` are a `NeuralField`, `fields[:100]` is a set.

    Args:
        shards: all shards of a set.
    """

    def __init__(self, shards: Sequence[Shard]):
        numbers = np.concatenate([shard.columns["number"] for shard in shards])
        self._shards = shards
        places = [(shard, row) for shard in shards for row in range(len(shard))]
        self._places: list[tuple[Shard, int]] = [places[place] for place in np.argsort(numbers, kind="stable")]
        self._by_name: dict[str, int] | None = None

    @property
    def kind(self) -> str:
        return self._shards[0].header["kind"]

    @property
    def header(self) -> dict[str, Any]:
        """What all entries share: `network`, `precision`, `kind`, `measure` and `record`; see `docs/file-format.md`."""
        return dict(self._shards[0].header)

    @property
    def names(self) -> list[str]:
        return [str(name) for name in self._texts("names")]

    @property
    def labels(self) -> list[str | None]:
        return self._texts("labels")

    @property
    def status(self) -> list[str]:
        """How each fit ended: "reached", "steps" or "non-finite"."""
        return [str(word) for word in self._texts("status")]

    @property
    def quality(self) -> Float[ndarray, "n"]:
        """Quality of every entry: PSNR or SNR in dB, or Chamfer distance in percent of the diagonal."""
        return self._column("quality")

    @property
    def steps(self) -> ndarray:
        """Number of steps of every entry."""
        return self._column("steps")

    @property
    def shapes(self) -> Int[ndarray, "n d"]:
        """Number of samples of every signal along each axis."""
        return self._column("shape")

    @property
    def value_ranges(self) -> Float[ndarray, "n 2"]:
        """Lowest and highest value of every signal, for the network's values -1 and 1."""
        return self._column("range")

    @property
    def rates(self) -> Float[ndarray, "n"] | None:
        """Samples per second of every sound, or frames per second of every video; None for other kinds."""
        return self._column("rate") if "rate" in self._shards[0].columns else None

    @property
    def own(self) -> dict[str, tuple[int, ...]]:
        """Shapes of an entry's own parameters, in the order of `arrays`."""
        header = self._shards[0].header
        shapes = siren_file.stored_arrays(header["network"], "float32")
        return {name: shapes[name][1] for name in sorted(shapes) if name not in header.get("shared", [])}

    @property
    def shared(self) -> dict[str, ndarray]:
        """Parameters that all entries share, by name."""
        return self._shards[0].common()

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        """The field of a number or a name; the set of a slice, a mask or an array of numbers.

        Raises:
            InputError: there is no such name, or its shard is damaged.
        """
        if isinstance(index, str):
            if self._by_name is None:
                self._by_name = {name: number for number, name in enumerate(self.names)}
            if index not in self._by_name:
                raise InputError(
                    f"the set has no entry {str(index)!r}; the first of {len(self):,} is {self.names[0]!r}."
                )
            index = self._by_name[index]
        if isinstance(index, int | np.integer):
            return self._field(*self._places[index])
        part = object.__new__(FieldSet)
        part._shards, part._by_name = self._shards, None
        part._places = [self._places[number] for number in np.arange(len(self))[index]]
        return part

    def __iter__(self) -> Iterator[NeuralField]:
        return (self._field(*place) for place in self._places)

    def arrays(self) -> tuple[Float[ndarray, "n dims"], ndarray]:
        """Own parameters and labels, as scikit-learn takes them: `X` of shape (n, parameters) and `y` of shape (n,).

        The parameters are in the order of their names in the file, without those that all entries share.
        """
        by_shard: dict[int, list[int]] = defaultdict(list)  # places of its entries
        for place, (shard, _) in enumerate(self._places):
            by_shard[id(shard)].append(place)
        rows = np.zeros((len(self), sum(map(math.prod, self.own.values()))), np.float32)
        for places in by_shard.values():
            shard, numbers = self._places[places[0]][0], [self._places[place][1] for place in places]
            first, last = min(numbers), max(numbers) + 1
            found = shard.parameters(slice(first, last))
            flat = np.concatenate([found[name].reshape(last - first, -1) for name in sorted(found)], axis=1)
            rows[places] = flat[np.array(numbers) - first]
        return rows, np.array(self.labels)

    def __repr__(self) -> str:
        network = self._shards[0].header["network"]
        sizes = f"{network['width']} x {network['depth']}"
        return f"FieldSet({len(self):,} of kind {self.kind!r}, {network['type']} {sizes})"

    def _texts(self, name: str) -> list[Any]:
        return [shard.texts[name][row] for shard, row in self._places]

    def _column(self, name: str) -> ndarray:
        return np.array([shard.columns[name][row] for shard, row in self._places])

    def _field(self, shard: Shard, row: int) -> NeuralField:
        rate = float(shard.columns["rate"][row]) if "rate" in shard.columns else None
        low, high = map(float, shard.columns["range"][row])
        made = {"name": shard.texts["names"][row], "steps": int(shard.columns["steps"][row])}
        if shard.texts["labels"][row] is not None:
            made["label"] = shard.texts["labels"][row]
        made[shard.header["measure"]] = float(shard.columns["quality"][row])
        place = shard.columns["placement"][row].tolist() if "placement" in shard.columns else None
        weights = {**shard.common(), **shard.parameters(row)}
        return NeuralField(
            siren_file.plain(f"the entry {made['name']!r}", siren_file.network_from(shard.header["network"], weights)),
            Frame(tuple(map(int, shard.columns["shape"][row]))),
            (low, high),
            kind=shard.header["kind"],
            rate=rate,
            record={**shard.header["record"], **made},
            placement=None if place is None else Placement((place[0], place[1], place[2]), place[3]),
        )


def load_set(path: str | os.PathLike[str]) -> FieldSet:
    """The set of fields in a folder that `fit_many` or `siren-jax fit-many` has written.

    Raises:
        InputError: there is no set; a shard is damaged or of another version; shards are of different sets, or have
            entries of one name or number.
    """
    return FieldSet(set_file.shards(path))
