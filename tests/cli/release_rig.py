"""A release room in a fresh folder, the people who hold its keys, and what attackers do to it."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from contract.firmware import Claims
from farfix import keys, release_kit, repository
from farfix.release_kit import Kit

T = TypeVar("T", Root, Targets, Snapshot, Timestamp)
IMAGE = b"firmware " * 100


def kit(folder: Path) -> Kit:
    """A room with two of three keys for root and targets, and one release, published."""
    made = release_kit.make(folder, targets_keys=3, targets_threshold=2)
    add(made, "1.1.0")
    release_kit.publish(made)
    return made


def add(made: Kit, version: str, image: bytes = IMAGE) -> None:
    release_kit.release(made, Claims(machine_type="chiller", version=version), image)


def signers(made: Kit, role: str) -> list[CryptoSigner]:
    return [keys.read(file) for file in made.key_files(role)]


def newest(made: Kit, role: str) -> Path:
    """Return the newest metadata file of a role."""
    if role == "timestamp":
        return made.room.metadata / "timestamp.json"
    found = made.room.metadata.glob(f"*.{role}.json")
    return max(found, key=lambda file: int(file.name.partition(".")[0]))


def change(
    file: Path, kind: type[T], how: Callable[[T], Any], with_keys: list[CryptoSigner]
) -> None:
    """Change metadata in its place and sign it with these keys alone."""
    metadata = repository.load(file, kind)
    how(metadata.signed)
    resign(metadata, with_keys)
    file.write_bytes(metadata.to_bytes())


def resign(metadata: Metadata[T], with_keys: list[CryptoSigner]) -> None:
    metadata.signatures.clear()
    for signer in with_keys:
        metadata.sign(signer, append=True)


def expire(signed: Root | Targets | Snapshot | Timestamp) -> None:
    signed.expires = repository.in_days(0) - timedelta(days=1)


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


class Server(ThreadingHTTPServer):
    sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def serving(handler: Callable[..., Handler]) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def served(made: Kit) -> Iterator[str]:
    """Serve a room as it is."""
    with serving(functools.partial(Handler, directory=str(made.room.folder))) as server:
        yield server.url
