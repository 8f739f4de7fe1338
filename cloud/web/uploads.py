"""Bodies of requests that are too large to be held in memory, streamed to the disk in bounds."""

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

from contract.errors import Unreachable

IDLE_S = 30.0
"""So long a client may send nothing."""
WRITE_BYTES = 1024 * 1024
FREE_BYTES_MIN = 1_000_000_000
"""So much of the disk is left for everything else."""


async def pieces(request: Request, max_bytes: int) -> AsyncIterator[bytes]:
    """Yield a request's body as it comes.

    Raises:
        HTTPException: 413 as soon as it is known to be longer, 408 after `IDLE_S` of silence,
            400 when the client has gone before its end.
    """
    declared = request.headers.get("content-length", "")
    too_long = HTTPException(413, f"The body exceeds {max_bytes} bytes.")
    if declared.isdecimal() and int(declared[:20]) > max_bytes:
        raise too_long
    stream, taken = request.stream(), 0
    while True:
        try:
            async with asyncio.timeout(IDLE_S):
                piece = await anext(stream, None)
        except TimeoutError as error:
            raise HTTPException(408, f"Nothing was sent for {IDLE_S:g} s.") from error
        except ClientDisconnect as error:
            raise HTTPException(400, "The body broke off.") from error
        if piece is None:
            return
        taken += len(piece)
        if taken > max_bytes:
            raise too_long
        yield piece


async def body(request: Request, max_bytes: int) -> bytes:
    """Return a whole body, for what fits into memory; errors are as of `pieces`."""
    return b"".join([piece async for piece in pieces(request, max_bytes)])


async def save(request: Request, file: BinaryIO, max_bytes: int) -> None:
    """Write a request's body to a file.

    Raises:
        HTTPException: as `pieces` does.
        Unreachable: the disk is full or broken.
    """
    waiting = bytearray()
    async for piece in pieces(request, max_bytes):
        waiting += piece
        if len(waiting) >= WRITE_BYTES:
            await asyncio.to_thread(_append, file, bytes(waiting))
            waiting.clear()
    await asyncio.to_thread(_append, file, bytes(waiting))


@contextmanager
def temporary(folder: Path) -> Iterator[BinaryIO]:
    """Open a new file that is gone afterwards, unless somebody has moved it away by then.

    Raises:
        Unreachable: the disk is full or broken.
    """
    path = folder / f"{uuid.uuid4().hex}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    except OSError as error:
        raise Unreachable(f"{folder} cannot be written to: {error.strerror}") from error
    try:
        with file:
            yield file
    finally:
        path.unlink(missing_ok=True)


def _append(file: BinaryIO, data: bytes) -> None:
    try:
        if shutil.disk_usage(file.name).free < len(data) + FREE_BYTES_MIN:
            raise Unreachable(
                f"the disk has less than {FREE_BYTES_MIN / 1e9:g} GB left: make room, try again"
            )
        file.write(data)
        file.flush()
    except OSError as error:
        raise Unreachable(f"{file.name} cannot be written: {error.strerror}") from error
