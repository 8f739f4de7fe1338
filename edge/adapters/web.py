"""HTTP for python-tuf and for images: no redirects, no retries, and an end to every patience."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import urllib3
from tuf.api.exceptions import DownloadError, DownloadHTTPError, SlowRetrievalError
from tuf.ngclient.fetcher import FetcherInterface

GAP_S = 10.0
"""So long a server may take to accept, and then between bytes."""
CHUNK_BYTES = 16 * 1024
OK, PARTIAL = 200, 206


class Web(FetcherInterface):
    """Gets files until its deadline has come or it is told to stop."""

    def __init__(self, limit_s: float, stop: threading.Event, ca_file: Path | None = None) -> None:
        self._deadline_s = time.monotonic() + limit_s
        self._stop = stop
        gap = urllib3.Timeout(connect=GAP_S, read=GAP_S)
        self._pool = urllib3.PoolManager(
            num_pools=1, retries=False, timeout=gap, ca_certs=str(ca_file) if ca_file else None
        )

    def _fetch(self, url: str) -> Iterator[bytes]:
        """Return a file's bytes; python-tuf bounds their number."""
        return self.get(url)[1]

    def get(self, url: str, start: int = 0) -> tuple[int, Iterator[bytes]]:
        """Ask for a file from a byte on; return the byte from which it comes, and the bytes.

        Raises:
            DownloadError: no proper answer; the iterator raises it, too.
        """
        self._check()
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        try:
            response = self._pool.request(
                "GET",
                url,
                headers=headers,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        except urllib3.exceptions.NewConnectionError as error:
            raise DownloadError(str(error)) from error
        except urllib3.exceptions.TimeoutError as error:
            raise SlowRetrievalError from error
        except (urllib3.exceptions.HTTPError, ValueError) as error:
            raise DownloadError(str(error)) from error
        if response.status not in (OK, PARTIAL):
            response.close()
            raise DownloadHTTPError(url, response.status)
        came_from = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        resumed = start and response.status == PARTIAL and came_from
        return (start if resumed else 0), self._bytes(response)

    def _bytes(self, response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
        try:
            while chunk := response.read1(CHUNK_BYTES, decode_content=False):
                yield chunk
                self._check()
        except urllib3.exceptions.TimeoutError as error:
            raise SlowRetrievalError from error
        except urllib3.exceptions.HTTPError as error:
            raise DownloadError(str(error)) from error
        finally:
            response.close()

    def _check(self) -> None:
        if self._stop.is_set() or time.monotonic() > self._deadline_s:
            raise SlowRetrievalError
