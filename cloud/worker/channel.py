"""The line between the main process and a worker: messages in order over a socket pair.

Either side sends as fast as the other takes: `Channel.drained` waits while too much is on its way.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

import msgspec

LENGTH_BYTES = 4

M = TypeVar("M")


class Channel(Generic[M]):
    """One end; ``M`` is what arrives here."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        decoder: "msgspec.msgpack.Decoder[M]",
    ) -> None:
        self._reader, self._writer, self._decoder = reader, writer, decoder
        self._encoder = msgspec.msgpack.Encoder()

    @classmethod
    async def open(cls, end: socket.socket, decoder: "msgspec.msgpack.Decoder[M]") -> "Channel[M]":
        """Take over one end of a socket pair."""
        reader, writer = await asyncio.open_connection(sock=end)
        return cls(reader, writer, decoder)

    def send(self, message: msgspec.Struct) -> None:
        """Send a message; it leaves in its turn. To a closed line it is lost."""
        data = self._encoder.encode(message)
        self._writer.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)

    async def drained(self) -> None:
        """Wait until the other end has taken enough.

        Raises:
            OSError: the other end is gone.
        """
        await self._writer.drain()

    async def messages(self) -> AsyncIterator[M]:
        """Yield what arrives until the other end is gone."""
        while True:
            try:
                head = await self._reader.readexactly(LENGTH_BYTES)
                data = await self._reader.readexactly(int.from_bytes(head, "big"))
            except (asyncio.IncompleteReadError, OSError):
                return
            yield self._decoder.decode(data)

    def close(self) -> None:
        """Hang up."""
        self._writer.close()
