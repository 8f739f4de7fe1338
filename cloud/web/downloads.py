"""Artifacts given out from disk, whole or in one range (RFC 9110)."""

import re
from pathlib import Path

from starlette.responses import FileResponse
from starlette.types import Receive, Scope, Send

FOREVER = "public, max-age=31536000, immutable"
"""For what never changes under its name."""
_RANGE = re.compile(rb"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))", re.IGNORECASE)


class Artifact(FileResponse):
    """A file that never changes; one of its hashes is its strong validator.

    One range is answered with 206, one outside the file with 416, and whatever else a client may
    ask for with the whole file, as RFC 9110 has it for servers that do not know it.
    """

    chunk_size = 256 * 1024

    def __init__(self, path: Path, digest: str, cache: str = FOREVER) -> None:
        headers = {"ETag": f'"{digest}"', "Cache-Control": cache}
        super().__init__(path, headers=headers, media_type="application/octet-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file, or what is asked of it."""
        # Left to itself, FileResponse answers 400 to ranges that it does not know, and sends
        # many ranges in a format that clients of firmware do not read.
        asked = [value for name, value in scope["headers"] if name == b"range"]
        if len(asked) != 1 or not _is_range(asked[0]):
            kept = [(name, value) for name, value in scope["headers"] if name != b"range"]
            scope = {**scope, "headers": kept}
        await super().__call__(scope, receive, send)


def _is_range(asked: bytes) -> bool:
    """Tell whether this is one range, and not one that ends before it begins."""
    found = _RANGE.fullmatch(asked.strip())
    if found is None:
        return False
    first, last, _ = found.groups()
    return not (first and last) or int(first) <= int(last)
