"""Shows one page on this computer, to nobody else."""

import errno
import sys
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from siren_jax.errors import InputError

HOST = "127.0.0.1"


class Server(ThreadingHTTPServer):
    """A server of one page at `address`, on the loopback interface alone.

    Args:
        page: the HTML, as UTF-8.
        port: a number from 0 to 65535; 0 for one that is free.
        answers: functions that make JSON, by the path at which they are asked.

    Raises:
        InputError: the port is in use or may not be used.
    """

    daemon_threads = True

    def __init__(self, page: bytes, port: int = 0, answers: dict[str, Callable[[str], bytes]] | None = None):
        self.page, self.answers = page, answers or {}
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            if port == 0:
                raise InputError(f"this computer gives no port for a page: {error.strerror}.") from None
            reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
            raise InputError(f"port {port} {reason}; choose another with port=, or leave it out.") from None

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}/"

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a page that is closed while it is answered
            super().handle_error(request, client_address)  # pyright: ignore[reportArgumentType]


class _Handler(BaseHTTPRequestHandler):
    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        # A page of another site can ask for this address, under a name of its own: DNS rebinding.
        if (self.headers.get("Host") or "").partition(":")[0] not in (HOST, "localhost"):
            return self.send_error(403)
        if path == "/":
            return self._send("text/html; charset=utf-8", self.server.page)
        if path in self.server.answers:
            return self._send("application/json", self.server.answers[path](query))
        return self.send_error(404)

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        for name, value in (("Content-Type", kind), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal is the user's."""
