"""What a device makes of a repository: everything verified by its first root alone.

The same library and order of checks as in the gateway and the edge agent (python-tuf's client).
"""

import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import IO

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct
from tuf.api.exceptions import DownloadError, DownloadHTTPError, RepositoryError
from tuf.api.metadata import Root, Signed, Snapshot, Targets, Timestamp
from tuf.ngclient import FetcherInterface, Updater

from contract import firmware, trust
from contract.errors import Malformed, Refused, Unreachable
from contract.firmware import Format, Release
from farfix import keys
from farfix.repository import Room, load

CHUNK_BYTES = 64 * 1024
TIMEOUT_S = 30.0
"""Without a byte."""


class Role(Struct, frozen=True):
    """One role of a verified repository."""

    name: str
    version: int
    expires: datetime


class View(Struct, frozen=True):
    """What a device believes after it has verified everything."""

    roles: list[Role]
    releases: list[Release]
    images_checked: bool
    """The signatures for bootloaders were checked too: their public key was known."""


class RoomFetcher(FetcherInterface):
    """Fetches from a room's files, as if they were served."""

    def __init__(self, room: Room, overlay: Mapping[str, bytes]) -> None:
        self._folder = room.folder
        self._overlay = overlay

    def _fetch(self, url: str) -> Iterator[bytes]:
        if url in self._overlay:
            return iter((self._overlay[url],))
        file = self._folder / url
        if not file.is_file():
            raise DownloadHTTPError(f"there is no {url} in {self._folder}", 404)
        return _chunks(file.open("rb"))


class HttpFetcher(FetcherInterface):
    """Fetches over HTTP."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            with self._client.stream("GET", url) as answer:
                if answer.status_code != httpx.codes.OK:
                    raise DownloadHTTPError(f"GET {url}", answer.status_code)
                yield from answer.iter_bytes(CHUNK_BYTES)
        except httpx.HTTPError as error:
            raise DownloadError(f"GET {url}: {error}") from error


def view_room(
    room: Room,
    root: bytes,
    overlay: Mapping[str, bytes] | None = None,
    state: Path | None = None,
) -> View:
    """Verify a room as a device that carries this root.

    Args:
        room: where the repository is.
        root: the first root.
        overlay: files that shall be seen in place of the room's, by their path in it.
        state: folder in which the device remembers what it saw; without it, it is a new device.

    Raises:
        Refused: the repository is not to be believed; says why.
        Unreachable: a file is missing or cannot be read.
        Malformed: the image key cannot be read.
    """
    key = keys.read_image_public(room.image_key) if room.image_key.exists() else None
    return _view("", RoomFetcher(room, overlay or {}), root, key, state)


def view_url(
    url: str, root: bytes, key: Ed25519PublicKey | None = None, state: Path | None = None
) -> View:
    """Verify a repository that is served over HTTP; ``metadata/`` and ``targets/`` lie below.

    Raises:
        Refused: the repository is not to be believed; says why.
        Unreachable: it does not answer, or not with what was asked.
    """
    with httpx.Client(timeout=TIMEOUT_S, trust_env=False) as client:
        return _view(url.rstrip("/") + "/", HttpFetcher(client), root, key, state)


def _view(
    base: str,
    fetcher: FetcherInterface,
    root: bytes,
    key: Ed25519PublicKey | None,
    state: Path | None,
) -> View:
    with tempfile.TemporaryDirectory() as scratch:
        memory = state or Path(scratch) / "metadata"
        memory.mkdir(parents=True, exist_ok=True)
        try:
            updater = Updater(
                str(memory), f"{base}metadata/", scratch, f"{base}targets/", fetcher, bootstrap=root
            )
            updater.refresh()
            targets = load(memory / "targets.json", Targets).signed.targets
            releases = [_release(updater, path, key) for path in targets]
        except (RepositoryError, DownloadError) as error:
            raise trust.translate(error) from error
        except OSError as error:
            raise Unreachable(f"cannot keep what was fetched: {error}") from error
        return View(
            roles=[
                _role(load(memory / "root.json", Root).signed),
                _role(load(memory / "targets.json", Targets).signed),
                _role(load(memory / "snapshot.json", Snapshot).signed),
                _role(load(memory / "timestamp.json", Timestamp).signed),
            ],
            releases=releases,
            images_checked=key is not None,
        )


def _release(updater: Updater, path: str, key: Ed25519PublicKey | None) -> Release:
    """Read a target's claims, fetch it, and check its length, hash and image signature."""
    info = updater.get_targetinfo(path)
    if info is None:
        raise Refused(f"target {path} is listed and cannot be found")
    try:
        release = trust.release(path, info.length, info.hashes, info.custom)
    except Malformed as error:
        raise Refused(str(error)) from error
    try:
        file = Path(updater.download_target(info))
    except (RepositoryError, DownloadError) as error:
        told = trust.translate(error)
        raise type(told)(f"{path}: {told}") from error
    if key is not None and release.format is Format.IMAGE:
        try:
            firmware.verify(release, file.read_bytes(), key)
        except Refused as error:
            raise Refused(f"{path}: {error}") from error
    file.unlink()
    return release


def _role(signed: Signed) -> Role:
    return Role(signed.type, signed.version, signed.expires)


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
