"""How Orbax writes and reads a checkpoint."""

import json
import os
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace

FILE = "arrays.safetensors"


@cache
def as_one_file() -> SimpleNamespace:
    """What Orbax is asked to keep and to bring back: arrays and notes in one safetensors file.

    Orbax's own handlers of arrays write what cannot be read again where a path has brackets, refuse arrays of no size,
    and tell of a full disk in tracebacks.
    """
    import orbax.checkpoint as ocp
    from orbax.checkpoint.future import CommitFutureAwaitingContractedSignals, Future
    from safetensors import safe_open

    class OneFile(ocp.AsyncCheckpointHandler):
        """Writes and reads the file."""

        async def async_save(self, directory, args) -> list[Future] | None:
            return [CommitFutureAwaitingContractedSignals(self._write(directory, args), name="checkpoint")]

        async def _write(self, directory, args):
            with open(directory / FILE, "wb") as file:
                file.write(args.data)
                file.flush()
                os.fsync(file.fileno())

        def save(self, directory, args):
            raise NotImplementedError  # Orbax wants it, and calls `async_save`

        def restore(self, directory, args):
            with safe_open(directory / FILE, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                return arrays, json.loads(file.metadata()["notes"])

    @ocp.args.register_with_handler(OneFile, for_save=True)
    @dataclass
    class Save(ocp.args.CheckpointArgs):
        """What is written."""

        data: bytes

    @ocp.args.register_with_handler(OneFile, for_restore=True)
    @dataclass
    class Restore(ocp.args.CheckpointArgs):
        """That the file is to be read."""

    return SimpleNamespace(Save=Save, Restore=Restore)
