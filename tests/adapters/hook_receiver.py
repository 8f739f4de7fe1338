"""A real HTTP server that answers what a test tells it to and keeps what it got."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

Answer = tuple[int, dict[str, str], bytes]


class Got(NamedTuple):
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """The server, on the loopback."""

    def __init__(self, answer: Callable[[Got], Answer] = lambda _: (204, {}, b"")) -> None:
        self.answer = answer
        self.got: list[Got] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {k.lower(): v for k, v in self.headers.items()}
                got = Got(self.command, self.path, headers, body)
                receiver.got.append(got)
                status, more, text = receiver.answer(got)
                try:
                    self.send_response(status)
                    for name, value in more.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(text)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_GET = do_POST = do_PATCH = do_PUT = answer  # noqa: N815 - as http.server asks

            def log_message(self, *_: object) -> None:
                """Keep the test's output quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://localhost:{self.server.server_port}/hook"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@contextmanager
def receiving(answer: Callable[[Got], Answer] = lambda _: (204, {}, b"")) -> Iterator[Receiver]:
    """Run a receiver until the block ends."""
    it = Receiver(answer)
    try:
        yield it
    finally:
        it.server.shutdown()
        it.server.server_close()
