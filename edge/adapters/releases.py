"""Releases from a signed repository: verified by the agent itself before a device is touched.

Everything is in the order of the TUF client: root, timestamp, snapshot, targets, then the image,
which is no longer than was signed and has the signed hash. The work is done in a thread of its
own, and python-tuf is loaded only when it is needed: it takes memory.
"""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from msgspec import Struct

from contract.errors import Refused, Unreachable
from contract.firmware import Release, ReleaseRef
from edge.adapters.clock import Clock
from edge.core import compatibility

METADATA_S = 60.0
IMAGE_S = 900.0
"""Wall seconds that a server may take for all metadata, and for an image."""

T = TypeVar("T")


class NotFetched(Unreachable):
    """The release could not be had; nothing has happened to the device."""


class Verified(Struct, frozen=True):
    """A release that the repository's signers vouch for, and its image."""

    release: Release
    image: bytes


class Releases:
    """Fetches releases, one at a time, from any repository that grows from the trusted root."""

    def __init__(
        self,
        trusted_root: Path | None,
        folder: Path,
        clock: Clock,
        ca_file: Path | None = None,
    ) -> None:
        """Read the root; the CA file says whom to believe over ``https``.

        Raises:
            Malformed: it is not one to trust.
        """
        self._root = None if trusted_root is None else _read_root(trusted_root)
        self._folder, self._ca = folder, ca_file
        self._clock = clock
        self._last: Verified | None = None
        """Shared by devices that take the same release."""
        self._turn = asyncio.Lock()
        """One fetch at a time: each takes memory."""
        self._folder_free = threading.Lock()
        """Held by a thread that is at work, even when nobody waits for it any more."""

    async def fetch(self, ref: ReleaseRef) -> Verified:
        """Verify a repository and return a release of it with its image.

        Raises:
            NotFetched: it could not be had.
            Refused: it is not believed, or there is nothing to believe it by.
        """
        if self._root is None:
            raise Refused(
                "this agent has no trusted_root in its configuration, so it updates nothing: hand "
                "it the root.json of the repository"
            )
        url = urlsplit(ref.repository)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise Refused(f"the repository {ref.repository!r} is no http or https address")
        root, stop = self._root, threading.Event()
        try:
            async with asyncio.timeout(METADATA_S + IMAGE_S), self._turn:
                return await _in_thread(lambda: self._take(root, ref, stop))
        except TimeoutError as error:
            raise NotFetched("the repository takes too long to answer") from error
        except Unreachable as error:
            raise NotFetched(str(error)) from error
        except OSError as error:
            raise NotFetched(f"the disk refuses: {error}; free some space in data_dir") from error
        finally:
            stop.set()

    def _take(self, root: bytes, ref: ReleaseRef, stop: threading.Event) -> Verified:
        from edge.adapters import repository  # noqa: PLC0415 - memory that only updates need
        from edge.adapters.web import Web  # noqa: PLC0415 - likewise

        if not self._folder_free.acquire(timeout=METADATA_S):
            raise Unreachable("an earlier fetch still hangs on its server")
        try:
            now_s = self._clock.wall_s()
            found = repository.find(root, self._folder, ref, Web(METADATA_S, stop, self._ca), now_s)
            if self._last is None or self._last.release != found.release:
                compatibility.check_kind(found.release)
                web = Web(IMAGE_S, stop, self._ca)
                image = repository.download(found, self._folder / "images", ref, web)
                self._last = Verified(found.release, image)
            return self._last
        finally:
            self._folder_free.release()


def _read_root(file: Path) -> bytes:
    from edge.adapters import repository  # noqa: PLC0415 - memory that only updates need

    return repository.read_root(file)


async def _in_thread(function: Callable[[], T]) -> T:
    """Run a function that may hang on a hostile server: nobody waits for it when the agent ends."""
    future: Future[T] = Future()

    def fill() -> None:
        try:
            future.set_result(function())
        except Exception as error:  # noqa: BLE001 - raised again where it is awaited
            future.set_exception(error)

    future.set_running_or_notify_cancel()
    threading.Thread(target=fill, name="releases", daemon=True).start()
    return await asyncio.wrap_future(future)
