"""Artifacts of releases: files named by their SHA-256, whole or not there."""

import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from cloud.core.published import Digests
from contract.errors import Refused, Unreachable

TOTAL_BYTES_MAX = 20 * 10**9
"""So much is kept at most; uploads under way come on top."""
UNLISTED_NS = 24 * 3600 * 10**9
"""So long a file may wait for metadata that speaks of it."""
CHUNK_BYTES = 1024 * 1024


class Artifacts:
    """A folder of artifacts. A file that is there under its hash is complete and on the disk."""

    def __init__(self, folder: Path) -> None:
        """Make the folder, and drop uploads that broke off when the program ended.

        Raises:
            Unreachable: the disk is full or broken, or may not be written to.
        """
        self._folder = folder
        self.incoming = folder / "incoming"
        """For files under way, on the same disk."""
        with _disk(folder):
            self.incoming.mkdir(parents=True, exist_ok=True)
            for broken in self.incoming.iterdir():
                broken.unlink()

    def take(self, file: Path, sha256: str) -> None:
        """Move a file in; it is on the disk when this returns.

        Raises:
            Refused: too much would be kept.
            Unreachable: as above.
        """
        with _disk(self._folder):
            size = file.stat().st_size
            others = sum(bytes_ for name, bytes_ in self._sizes() if name != sha256)
            if others + size > TOTAL_BYTES_MAX:
                raise Refused(
                    f"with this artifact {(others + size) / 1e9:.1f} GB would be kept, and "
                    f"{TOTAL_BYTES_MAX / 1e9:.0f} GB is the most: withdraw old releases and "
                    "publish, and those of their files that came more than a day ago go"
                )
            os.utime(file)  # the day that it may wait begins now
            sync(file)
            file.replace(self._folder / sha256)
            sync(self._folder)

    def find(self, sha256: str, size_bytes: int) -> Path | None:
        """Return an artifact that is here with this length."""
        path = self._folder / sha256
        try:
            return path if path.stat().st_size == size_bytes else None
        except FileNotFoundError:
            return None

    def sweep(self, listed: Collection[str], now_ns: int) -> list[str]:
        """Remove what no metadata speaks of and came more than a day ago; return the hashes."""
        gone = []
        with _disk(self._folder):
            for path in self._folder.iterdir():
                if path == self.incoming or path.name in listed:
                    continue
                if path.stat().st_mtime_ns < now_ns - UNLISTED_NS:
                    path.unlink()
                    gone.append(path.name)
        return gone

    def _sizes(self) -> Iterator[tuple[str, int]]:
        for path in self._folder.iterdir():
            if path != self.incoming:
                yield path.name, path.stat().st_size


def digests(file: Path) -> Digests:
    """Return a file's hashes.

    Raises:
        Unreachable: it cannot be read.
    """
    hashes = [hashlib.new(name, usedforsecurity=False) for name in ("sha1", "md5", "sha256")]
    with _disk(file), file.open("rb") as data:
        while chunk := data.read(CHUNK_BYTES):
            for each in hashes:
                each.update(chunk)
    sha1, md5, sha256 = (each.hexdigest() for each in hashes)
    return Digests(sha1=sha1, md5=md5, sha256=sha256)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _disk(where: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unreachable(f"artifacts: {where} cannot be used: {error.strerror}") from error
