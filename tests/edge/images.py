"""A web server for firmware images that breaks off when told to."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from contract import firmware
from contract.firmware import Release

KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes_raw().hex()
IMAGE = bytes(range(256)) * 40


class Server(ThreadingHTTPServer):
    """Serves an image and breaks off as often as it is told to."""

    body = IMAGE
    breaks = 0
    ranges = True
    requests: list[str]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.requests.append(asked)
        start = int(asked[6:].rstrip("-")) if asked and self.server.ranges else 0
        rest = self.server.body[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if self.server.breaks > 0:
            self.server.breaks -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def serving() -> Iterator[tuple[Server, Release]]:
    server = Server(("127.0.0.1", 0), Handler)
    server.requests = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    release = firmware.sign(KEY, "centrifugal_pump", "1.4.0", IMAGE)
    try:
        yield server, replace(release, url=f"http://127.0.0.1:{server.server_port}/image")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
