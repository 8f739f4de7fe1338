"""Firmware images come whole, signed, and within bounds, or not at all."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from contract import firmware
from contract.errors import Refused
from contract.firmware import Release
from edge.adapters import releases

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


@pytest.mark.parametrize("ranges", [True, False])
async def test_a_download_that_breaks_off_is_taken_up_again(ranges: bool) -> None:
    with serving() as (server, release):
        server.breaks, server.ranges = 2, ranges
        assert await releases.fetch(release, PUBLIC) == IMAGE
        assert server.requests == ["", "bytes=5120-", f"bytes={7680 if ranges else 5120}-"]


async def test_a_download_that_keeps_breaking_off_is_given_up() -> None:
    with serving() as (server, release):
        server.breaks, server.ranges = 99, False
        with pytest.raises(releases.NotFetched):
            await releases.fetch(release, PUBLIC)
        assert len(server.requests) == releases.ATTEMPTS_MAX


async def test_an_image_that_is_not_the_signed_one_is_refused() -> None:
    with serving() as (server, release):
        server.body = IMAGE[:-1] + b"?"
        with pytest.raises(Refused, match="hash"):
            await releases.fetch(release, PUBLIC)


async def test_an_endless_image_is_cut_off() -> None:
    with serving() as (server, release):
        server.body = IMAGE * 100
        with pytest.raises(Refused, match="larger"):
            await releases.fetch(release, PUBLIC)


async def test_a_stranger_cannot_sign() -> None:
    stranger = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    with serving() as (_, release), pytest.raises(Refused, match="not signed"):
        await releases.fetch(release, stranger)


async def test_without_a_trusted_key_or_a_web_address_nothing_is_fetched() -> None:
    with serving() as (server, release):
        with pytest.raises(Refused, match="trusted_key"):
            await releases.fetch(release, "")
        with pytest.raises(Refused, match="not http"):
            await releases.fetch(replace(release, url="file:///etc/passwd"), PUBLIC)
        assert server.requests == []


async def test_a_server_that_is_away_is_reported() -> None:
    with serving() as (_, release):
        pass
    with pytest.raises(releases.NotFetched, match="could not be fetched"):
        await releases.fetch(release, PUBLIC)
