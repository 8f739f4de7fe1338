"""A serial line without hardware: two pseudo-terminals and a wire between them."""

import asyncio
import contextlib
import os
import tty
from pathlib import Path

from contract.errors import Refused

CHUNK_BYTES = 4096


class SerialLine:
    """One wire; the server opens `server_path`, the client a link at a path of its own."""

    def __init__(self, link: Path) -> None:
        """Lay the wire.

        Raises:
            Refused: something that is not a link is in the place of the link.
        """
        if link.exists() and not link.is_symlink():
            raise Refused(f"{link} exists and is no link; name another path for the serial line")
        self._link = link
        self._server_end, server_device = os.openpty()
        self._client_end, client_device = os.openpty()
        # The device ends stay open here, so that a peer that leaves does not break the wire.
        self._open = [self._server_end, self._client_end, server_device, client_device]
        for descriptor in self._open:
            os.set_blocking(descriptor, False)
        tty.setraw(server_device)
        tty.setraw(client_device)
        self.server_path = os.ttyname(server_device)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(os.ttyname(client_device))
        loop = asyncio.get_running_loop()
        loop.add_reader(self._server_end, self._copy, self._server_end, self._client_end)
        loop.add_reader(self._client_end, self._copy, self._client_end, self._server_end)

    def close(self) -> None:
        """Take the wire away."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._server_end)
        loop.remove_reader(self._client_end)
        for descriptor in self._open:
            os.close(descriptor)
        self._link.unlink(missing_ok=True)

    def _copy(self, source: int, sink: int) -> None:
        # A wire does not wait: what nobody reads in time is lost.
        with contextlib.suppress(BlockingIOError):
            os.write(sink, os.read(source, CHUNK_BYTES))
