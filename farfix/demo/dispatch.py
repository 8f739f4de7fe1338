"""A stand-in for the dispatch system: takes tickets by webhook and checks who sent them."""

import hmac
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from cloud.adapters import outgoing, webhook
from cloud.core.telling import EventType

ENDS = (EventType.TICKET_WITHDRAWN, EventType.TICKET_CLOSED)
TOLERANCE_S = 300
"""How far a delivery's time may be off: what Standard Webhooks' own libraries allow."""


class Dispatch:
    """An HTTP server on the loopback that follows each ticket from its opening to its end."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.tickets: dict[str, dict[str, object]] = {}
        """Each ticket as its opening told it, by key."""
        self.deliveries: dict[str, int] = {}
        """How often each ticket's opening came."""
        self.ended: dict[str, str] = {}
        """The event that ended a ticket, by key."""
        self.complaints: list[str] = []
        self._bodies: dict[str, bytes] = {}
        self.refused = 0
        """Requests whose signature does not hold."""
        self._lock = threading.Lock()
        self._server = _server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}/tickets"

    def problems(self) -> list[str]:
        """Say what was wrong with deliveries."""
        found = list(self.complaints)
        if self.refused:
            found.append(f"{self.refused} deliveries were not signed as agreed")
        return found

    def open(self) -> list[dict[str, object]]:
        """Return the tickets that have not ended."""
        with self._lock:
            return [ticket for key, ticket in self.tickets.items() if key not in self.ended]

    def take(self, headers: dict[str, str], body: bytes) -> int:
        """Check and keep one delivery; return the HTTP status to answer."""
        message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
        if not stamp.isdigit() or abs(int(stamp) - _wall_s()) > TOLERANCE_S:
            return self._refuse()
        expected = webhook.signed_request(self.secret, message_id, int(stamp), body).headers
        given = headers.get("webhook-signature", "").split(" ")
        if not any(hmac.compare_digest(expected["webhook-signature"], one) for one in given):
            return self._refuse()
        with self._lock:
            self._keep(message_id, body)
        return 204

    def _keep(self, message_id: str, body: bytes) -> None:
        event = json.loads(body)
        if event["type"] == EventType.TEST:
            return
        kind, ticket = event["type"], event["data"]["ticket"]
        key = ticket["key"]
        if kind == EventType.TICKET_OPENED:
            self.deliveries[key] = self.deliveries.get(key, 0) + 1
        known = self._bodies.setdefault(message_id, body)
        if known != body:
            self.complaints.append(f"ticket {key} was delivered again with another content")
        if known is not body:
            return
        if kind == EventType.TICKET_OPENED and key in self.tickets:
            self.complaints.append(f"ticket {key} was opened twice")
        if kind != EventType.TICKET_OPENED and key not in self.tickets:
            self.complaints.append(f"ticket {key} got {kind} before it was opened")
        if key in self.ended:
            self.complaints.append(f"ticket {key} got {kind} after {self.ended[key]}")
        self.tickets.setdefault(key, ticket)
        if kind in ENDS:
            self.ended[key] = kind

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
            if length > outgoing.MAX_BODY_BYTES:
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
