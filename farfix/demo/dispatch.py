"""A stand-in for the dispatch system: takes tickets by webhook and checks who sent them."""

import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from cloud.adapters import webhook

TOLERANCE_S = 300
"""How far a delivery's time may be off: what Standard Webhooks' own libraries allow."""


class Dispatch:
    """An HTTP server on the loopback that counts deliveries by ticket."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.tickets: dict[str, dict[str, object]] = {}
        """First delivery of each ticket, by key."""
        self.deliveries: dict[str, int] = {}
        self.differing: list[str] = []
        """Keys that were delivered again with another content, which must never happen."""
        self.refused = 0
        """Requests whose signature does not hold."""
        self._lock = threading.Lock()
        self._server = _server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}/tickets"

    def problems(self) -> list[str]:
        """Say what was wrong with deliveries."""
        found = [f"ticket {key} was delivered again with another content" for key in self.differing]
        if self.refused:
            found.append(f"{self.refused} deliveries were not signed as agreed")
        return found

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Check and keep one delivery; return the HTTP status to answer."""
        key, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not stamp.isdigit() or abs(int(stamp) - _wall_s()) > TOLERANCE_S:
            return self._refuse()
        expected = webhook.signed_request(self.secret, key, int(stamp), body).headers
        given = headers.get("webhook-signature", "").split(" ")
        if not any(hmac.compare_digest(expected["webhook-signature"], one) for one in given):
            return self._refuse()
        ticket = json.loads(body)["data"]
        with self._lock:
            self.deliveries[key] = self.deliveries.get(key, 0) + 1
            if self.tickets.setdefault(key, ticket) != ticket:
                self.differing.append(key)
        return 204

    def _refuse(self) -> int:
        with self._lock:
            self.refused += 1
        return 401

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _wall_s() -> float:
    return time.time()  # noqa: TID251 - a receiver compares with its own wall clock


def _server(dispatch: Dispatch) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            if length > webhook.MAX_BODY_BYTES:
                self.send_error(413)
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.send_response(dispatch.take(headers, self.rfile.read(length)))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the terminal for the demo."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    return server
