"""The drill's dispatch system: a webhook receiver that fails at random, and remembers exactly.

What it has taken it has taken, even where the sender never hears of it: that is what a
``webhook-id`` is for. Signatures are checked by the independent `standardwebhooks` package.
"""

import json
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from cloud.adapters.outgoing import TIMEOUT_S
from cloud.core.telling import EventType

FAILURES_MAX = 6
"""Of one event, so that no schedule of three days is used up by chance."""
SLOW_S = 1.0
ENDS = (EventType.TICKET_WITHDRAWN.value, EventType.TICKET_CLOSED.value)
ANSWERS: dict[str, float] = {
    "taken": 74.0,
    "taken, connection cut": 4.0,
    "taken, slow": 3.0,
    "500": 5.0,
    "503": 5.0,
    "429": 3.0,
    "connection cut": 5.8,
    "no answer in time": 0.2,
}
"""How often it answers how, in percent; a 410 comes when the drill says so."""


class Receiver:
    """An HTTP server on the loopback."""

    def __init__(self, secret: str, seed: int) -> None:
        self._hook = Webhook(secret)
        self._dice = random.Random(seed)  # noqa: S311 - chooses failures, guards nothing
        self._lock = threading.Lock()
        self._failures: Counter[str] = Counter()
        self._gone = False
        self.answers: Counter[str] = Counter()
        """How requests were answered."""
        self.requests: Counter[str] = Counter()
        """By ``webhook-id``."""
        self.taken: dict[str, tuple[str, str, bytes]] = {}
        """By ``webhook-id``, in the order of their coming: type, ticket and body."""
        self.opened: list[str] = []
        self.ended: dict[str, str] = {}
        self.problems: list[str] = []
        self._server = _server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks/farfix"

    def gone(self) -> None:
        """Answer 410 to the next request, as a receiver that is taken out of service."""
        with self._lock:
            self._gone = True

    def decide(self, headers: dict[str, str], body: bytes) -> str:
        """Check and keep one request, or not; return how to answer it."""
        message = headers.get("webhook-id", "")
        try:
            self._hook.verify(body, headers)
        except (WebhookVerificationError, ValueError) as error:
            with self._lock:
                self.problems.append(f"{message}: signature refused: {error}")
            return "401"
        with self._lock:
            self.requests[message] += 1
            answer = self._answer(message)
            self.answers[answer] += 1
            if answer.startswith("taken"):
                self._take(message, body)
            return answer

    def _answer(self, message: str) -> str:
        if self._gone:
            self._gone = False
            return "410"
        if self._failures[message] >= FAILURES_MAX:
            return "taken"
        (answer,) = self._dice.choices(list(ANSWERS), list(ANSWERS.values()))
        if answer not in ("taken", "taken, slow"):
            self._failures[message] += 1
        return answer

    def _take(self, message: str, body: bytes) -> None:
        event = json.loads(body)
        kind, key = event["type"], event["data"]["ticket"]["key"]
        known = self.taken.setdefault(message, (kind, key, body))
        if known[2] != body:
            self.problems.append(f"{message}: came again with another content")
        if known[2] is not body:
            return
        if event["id"] != message:
            self.problems.append(f"{message}: the event calls itself {event['id']}")
        if kind == EventType.TICKET_OPENED:
            self.opened.append(key)
        elif key not in self.opened:
            self.problems.append(f"ticket {key}: {kind} came before its opening")
        if key in self.ended:
            self.problems.append(f"ticket {key}: {kind} came after {self.ended[key]}")
        if kind in ENDS:
            self.ended[key] = kind

    def judge(self, expected: dict[str, str]) -> Sequence[str]:
        """Return what is wrong with what has come.

        Args:
            expected: the event that should have ended each ticket, by its key.
        """
        found = list(self.problems)
        for key, times in Counter(self.opened).items():
            if times != 1:
                found.append(f"ticket {key} was opened {times} times")
        found += [f"ticket {key} never came" for key in sorted(set(expected) - set(self.opened))]
        found += [f"ticket {key} is nobody's" for key in sorted(set(self.opened) - set(expected))]
        for key, kind in sorted(expected.items()):
            if self.ended.get(key) != kind:
                found.append(f"ticket {key} ended with {self.ended.get(key)}, not {kind}")
        return found

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - theirs
        """Say nothing of connections that end with a killed gateway."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _server(receiver: Receiver) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(length)
            if len(body) < length:  # the gateway was killed while it wrote
                self.close_connection = True
                return
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = receiver.decide(headers, body)
            if answer.endswith("connection cut"):
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if answer == "no answer in time":
                time.sleep(TIMEOUT_S + 1)
            elif answer == "taken, slow":
                time.sleep(SLOW_S)
            try:
                self.send_response(int(answer) if answer.isdigit() else 204)
                if answer == "429":
                    self.send_header("retry-after", "1")
                self.send_header("content-length", "0")
                self.end_headers()
            except OSError:  # the gateway was killed meanwhile
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Keep the terminal for the drill."""

    server = _Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    return server
