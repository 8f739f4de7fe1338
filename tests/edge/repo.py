"""A signed repository of releases with all its keys, and a web server that can be hostile."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

from contract import firmware
from contract.firmware import ReleaseRef, target_path

PUMP = "centrifugal_pump"
IMAGE = bytes(range(256)) * 40
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
"""By which bootloaders know images."""
ROLES = ("root", "timestamp", "snapshot", "targets")


def in_days(days: float) -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)  # noqa: TID251 - what is signed bears real time


def signer() -> CryptoSigner:
    return CryptoSigner.generate_ed25519()


@dataclass
class Repo:
    """Signs and keeps what a repository serves."""

    keys: dict[str, list[CryptoSigner]] = field(
        default_factory=lambda: {role: [signer()] for role in ROLES}
    )
    threshold: int = 1
    """Of root and targets."""
    files: dict[str, bytes] = field(default_factory=dict)
    targets: dict[str, TargetFile] = field(default_factory=dict)
    roots: int = 0
    version: int = 0

    def __post_init__(self) -> None:
        self.publish_root()

    @property
    def trusted(self) -> bytes:
        """What agents are given: the first root."""
        return self.files["/metadata/1.root.json"]

    def publish_root(self, *, signers: list[CryptoSigner] | None = None, days: float = 365) -> None:
        """Add a root that names the present keys, signed by its own keys or by others."""
        self.roots += 1
        root = Root(version=self.roots, expires=in_days(days), consistent_snapshot=True)
        for role in ROLES:
            for key in self.keys[role]:
                root.add_key(key.public_key, role)
            root.roles[role].threshold = self.threshold if role in {"root", "targets"} else 1
        self.put(f"{self.roots}.root.json", root, self.keys["root"] if signers is None else signers)

    def add(self, version: str, image: bytes = IMAGE, /, **claims: Any) -> None:
        """Take a release up, with claims that may be wrong."""
        machine_type = claims.get("machine_type", PUMP)
        path = claims.pop("path", target_path(PUMP, version))
        target = TargetFile.from_data(path, image, ["sha256"])
        sealed = firmware.sign(KEY, machine_type, version, image).signature
        custom = {"machine_type": machine_type, "version": version, "signature": sealed, **claims}
        target.unrecognized_fields["custom"] = custom
        self.targets[path] = target
        head, _, tail = path.rpartition("/")
        self.files[f"/targets/{head}/{target.hashes['sha256']}.{tail}"] = image

    def publish(self, days: float = 1, *, by: dict[str, list[CryptoSigner]] | None = None) -> None:
        """Sign targets, snapshot and timestamp anew, by the right keys unless others are given."""
        self.version += 1
        number, keys = self.version, {**self.keys, **(by or {})}
        targets = Targets(version=number, expires=in_days(max(days, 30)), targets=self.targets)
        snapshot = Snapshot(version=number, expires=in_days(max(days, 7)))
        snapshot.meta["targets.json"] = MetaFile(number)
        timestamp = Timestamp(version=number, expires=in_days(days), snapshot_meta=MetaFile(number))
        self.put(f"{number}.targets.json", targets, keys["targets"])
        self.put(f"{number}.snapshot.json", snapshot, keys["snapshot"])
        self.put("timestamp.json", timestamp, keys["timestamp"])

    def put(self, name: str, signed: Any, signers: list[CryptoSigner]) -> None:
        metadata = Metadata(signed)
        for key in signers:
            metadata.sign(key, append=True)
        self.files[f"/metadata/{name}"] = metadata.to_bytes()


class Server(ThreadingHTTPServer):
    """Serves a repository, as it is told to."""

    daemon_threads = True
    repo: Repo
    requests: list[tuple[str, str]]
    """Paths, and the ranges that were asked for."""
    breaks: int = 0
    """So many images are cut off in the middle."""
    ranges: bool = True
    spoil: Callable[[str, bytes], bytes]
    """What is done to a file before it is sent."""
    endless: str = ""
    """Files with this in their path never end."""
    trickle: str = ""
    """Files with this in their path come by one byte in a while."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def images(self) -> list[str]:
        """Return the ranges by which images were asked for."""
        return [asked for path, asked in self.requests if path.startswith("/targets/")]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.server.requests.append((self.path, asked))
        body = self.server.repo.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        body = self.server.spoil(self.path, body)
        start = int(asked[6:].rstrip("-")) if asked and self.server.ranges else 0
        rest = body[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if not (self.server.endless and self.server.endless in self.path):
            self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        with suppress(ConnectionError):  # the client has had enough
            self._send(rest)

    def _send(self, rest: bytes) -> None:
        server = self.server
        if server.breaks > 0 and self.path.startswith("/targets/"):
            server.breaks -= 1
            rest = rest[: len(rest) // 2]
        if server.trickle and server.trickle in self.path:
            for at in range(len(rest)):
                self.wfile.write(rest[at : at + 1])
                time.sleep(0.05)
            return
        self.wfile.write(rest)
        while server.endless and server.endless in self.path:
            self.wfile.write(bytes(64 * 1024))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def serving(repo: Repo) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.repo, server.requests, server.spoil = repo, [], lambda path, body: body
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ref(server: Server, version: str = "1.4.0") -> ReleaseRef:
    return ReleaseRef(machine_type=PUMP, version=version, repository=server.url)


def root_file(folder: Path, repo: Repo) -> Path:
    file = folder / "root.json"
    file.write_bytes(repo.trusted)
    return file
