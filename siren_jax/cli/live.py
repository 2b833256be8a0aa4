"""`--live`: a page in the browser that shows a fit while it runs."""

import base64
import json
import math
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple
from urllib.parse import parse_qs

from flax import nnx

from siren_jax import viewer
from siren_jax.errors import InputError
from siren_jax.subjects.subject import Subject
from siren_jax.viewer.server import Server

WATCHED = 3.0  # seconds after a question for which somebody seems to watch; the page asks every second
FAREWELL = 3.0  # most seconds that the end of a fit waits for the page to take the result


class State(NamedTuple):
    """The state of a fit, as the page shows it."""

    version: int
    """0 for the untrained network, which is in the page; each later state has the next number."""
    step: int
    network: nnx.Module | None
    """The network, which nobody changes any more; None for the one in the page."""
    curve: Sequence[Sequence[int | float]] = ()
    """Pairs of a step and the quality there."""
    quality: str | None = None
    """The latest quality in words."""
    left: float | None = None
    """Seconds until the end of the fit, if they are known."""
    done: bool = False


class Live:
    """A context manager that serves a page of a fit on this computer alone.

    The page asks for a state every second. A network is written for it when it asks, in a thread of the server, so a
    fit without a page takes its usual time, and no page changes its result.

    Args:
        name: title of the page.
        subject: the signal.
        network: the untrained network.

    Raises:
        InputError: a page cannot show the network, or no port is free.
    """

    def __init__(self, name: str, subject: Subject, network: nnx.Module):
        self._subject, self._name = subject, name
        self._now = State(0, 0, None)
        self._written: tuple[int, str | None] = (0, None)
        self._writing = threading.Lock()
        self._asked, self._taken = -math.inf, threading.Event()
        first = viewer.bare_entry(subject.field(network, {}), name)
        self._server = Server(b"", answers={"/state": self._answer})
        self._thread = threading.Thread(target=self._serve, args=(first,), daemon=True)
        self.address = self._server.address

    def __enter__(self) -> "Live":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._now.done and time.monotonic() - self._asked < WATCHED:
            self._taken.wait(FAREWELL)
        self._server.shutdown()
        self._server.server_close()

    def update(
        self, network: nnx.Module, step: int, curve: Sequence[Sequence[int | float]], quality: str, left: float | None
    ) -> None:
        """Shows a later state; `network` and `curve` must not change any more."""
        self._now = State(self._now.version + 1, step, network, curve, quality, left)

    def end(self, quality: str, found: float | None) -> None:
        """Says that the last network is the result, and its quality in words and as a number."""
        step = self._now.step
        known = [(at, value) for at, value in self._now.curve if at < step]
        curve = known if found is None else [*known, (step, found)]
        self._now = self._now._replace(curve=curve, quality=quality, left=None, done=True)

    def _serve(self, first: viewer.Entry) -> None:
        try:
            self._server.page = viewer.page([first], live=True).encode()  # while the fit compiles
        finally:
            self._server.serve_forever(poll_interval=0.1)

    def _answer(self, query: str) -> bytes:
        """The state as JSON, with the network's file if it is later than the version that the query has."""
        self._asked = time.monotonic()
        now, known = self._now, parse_qs(query).get("since", [""])[0]
        file = self._file(now) if known.isdecimal() and len(known) < 20 and int(known) < now.version else None
        measure = self._subject.measure
        state = {
            "version": now.version,
            "step": now.step,
            "left": now.left,
            "quality": now.quality,
            "curve": [[step, quality if math.isfinite(quality) else None] for step, quality in now.curve],
            "label": f"{measure.label} ({measure.unit})",
            "logarithmic": measure.less_is_better,
            "done": now.done,
            "file": file,
        }
        if now.done and known.isdecimal():
            self._taken.set()
        return json.dumps(state, allow_nan=False).encode()

    def _file(self, now: State) -> str | None:
        """The network's file in base64; the one before if it has numbers that a file cannot contain."""
        assert now.network is not None
        with self._writing:
            if self._written[0] != now.version:
                try:
                    data = self._subject.field(now.network, {}).to_bytes(precision="float16")
                    self._written = now.version, base64.b64encode(data).decode()
                except InputError:
                    self._written = now.version, self._written[1]
            return self._written[1]
