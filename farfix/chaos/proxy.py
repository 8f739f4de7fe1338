"""A TCP proxy that makes links bad on purpose, in the vocabulary of Toxiproxy.

TCP repairs what a network loses, so loss shows as what it leads to: connections reset, cut in the
middle of a message, arriving in tiny pieces, slow, or dead for a while. The proxy runs in a thread
of its own; its methods may be called from any other.
"""

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from msgspec import Struct

CHUNK_BYTES = 16 * 1024
BUFFER_BYTES = 64 * 1024
"""Held per direction at most; then the sender has to wait, as on a real link."""
PIECE_S = 0.05
"""A slow link passes as much at once as its bandwidth allows in this time."""
CALL_TIMEOUT_S = 10.0
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER that makes the kernel answer with RST instead of FIN."""

T = TypeVar("T")


class Toxics(Struct, frozen=True, kw_only=True):
    """What is wrong with a link, both ways; by default nothing."""

    latency_s: float = 0.0
    jitter_s: float = 0.0
    """Up to so much more, drawn anew for each piece."""
    bandwidth_bytes_s: float = 0.0
    """0: unlimited."""
    slice_bytes: int = 0
    """Nothing larger passes at once; 0: as it comes."""
    limit_bytes: int = 0
    """A connection is cut after so many more bytes, wherever that is; 0: never."""
    timeout: bool = False
    """Nothing passes and nobody is told: the link is dead until it heals."""


HEALTHY = Toxics()


class Connection:
    """One client and what it is connected to."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter, left: int) -> None:
        self.left = left
        """Bytes until the cut; 0: no cut."""
        self._writers = (near, far)
        for writer in self._writers:
            writer.transport.set_write_buffer_limits(high=BUFFER_BYTES)

    def cut(self) -> None:
        """Reset both sides: what is on its way is lost."""
        for writer in self._writers:
            reset(writer)


class Link:
    """A listener whose connections go to one port of the loopback. Belongs to the event loop."""

    def __init__(self, target_port: int, dice: random.Random) -> None:
        self.target_port = target_port
        self.port = 0
        self.toxics = HEALTHY
        self.counts: Counter[str] = Counter()
        """What was done: connections ``cut``, bytes ``delayed``, ``held`` and ``sliced``."""
        self._dice = dice
        self._open = asyncio.Event()
        self._open.set()
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Start to accept connections."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=CHUNK_BYTES)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Accept nothing more and drop every connection."""
        if self._server is not None:
            self._server.close()
        self._open.set()
        for connection in list(self._connections):
            connection.cut()
        if self._tasks:  # they end by themselves, now that they can neither read nor write
            await asyncio.wait(list(self._tasks), timeout=CALL_TIMEOUT_S / 2)

    def set(self, toxics: Toxics) -> None:
        """Make the link so bad from now on."""
        self.toxics = toxics
        for connection in self._connections:
            connection.left = toxics.limit_bytes
        if toxics.timeout:
            self._open.clear()
        else:
            self._open.set()

    def reset(self) -> int:
        """Reset all connections; return how many."""
        connections = list(self._connections)
        for connection in connections:
            self._cut(connection)
        return len(connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - streams serve in tasks
        self._tasks.add(task)
        try:
            await self._open.wait()
            await self._converse(reader, writer)
        except OSError:
            self.counts["refused"] += 1
            reset(writer)  # nobody listens behind us, or one side went away
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, far = await asyncio.open_connection(
            "127.0.0.1", self.target_port, limit=CHUNK_BYTES
        )
        connection = Connection(writer, far, self.toxics.limit_bytes)
        self._connections.add(connection)
        self.counts["accepted"] += 1
        ways = [
            asyncio.create_task(self._pump(connection, reader, far)),
            asyncio.create_task(self._pump(connection, answers, writer)),
        ]
        try:
            # each side may finish what it has to say; a broken one ends both
            await asyncio.gather(*ways)
        finally:
            self._connections.discard(connection)
            for way in ways:
                way.cancel()
            far.transport.abort()

    async def _pump(
        self, connection: Connection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            while data:
                piece = await self._suffer(data)
                if 0 < connection.left <= len(piece):
                    writer.write(piece[: connection.left])
                    await asyncio.sleep(0)
                    self._cut(connection)
                    return
                if connection.left:
                    connection.left -= len(piece)
                writer.write(piece)
                await writer.drain()
                data = data[len(piece) :]
        await self._open.wait()
        writer.write_eof()

    async def _suffer(self, data: bytes) -> bytes:
        """Let the link's state work on what wants to pass; return what may pass now."""
        if not self._open.is_set():
            self.counts["held"] += len(data)
            await self._open.wait()
        toxics = self.toxics
        if toxics.slice_bytes and len(data) > toxics.slice_bytes:
            data = data[: toxics.slice_bytes]
            self.counts["sliced"] += len(data)
        wait_s = toxics.latency_s + toxics.jitter_s * self._dice.random()
        if toxics.bandwidth_bytes_s:
            data = data[: max(1, int(toxics.bandwidth_bytes_s * PIECE_S))]
            wait_s += len(data) / toxics.bandwidth_bytes_s
        if wait_s:
            self.counts["delayed"] += len(data)
        await asyncio.sleep(wait_s)
        return data

    def _cut(self, connection: Connection) -> None:
        if connection in self._connections:  # the other way may have reached its limit as well
            self._connections.discard(connection)
            self.counts["cut"] += 1
            connection.cut()


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection by RST; what was written may or may not arrive."""
    if not writer.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


class Proxy:
    """Links by name, in a thread that ends with the ``with`` block."""

    def __init__(self, targets: dict[str, int], seed: int = 0) -> None:
        """Name the links and the ports of the loopback to which they lead."""
        self._targets, self._seed = targets, seed
        self._links: dict[str, Link] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def links(self) -> list[str]:
        """Names of the links."""
        return list(self._targets)

    def port(self, link: str) -> int:
        """Return the port on which a link listens."""
        return self._links[link].port

    def set(self, link: str, toxics: Toxics) -> None:
        """Make a link so bad from now on."""
        self._call(self._links[link].set, toxics)

    def reset(self, link: str) -> int:
        """Reset all connections of a link; return how many there were."""
        return self._call(self._links[link].reset)

    def counts(self, link: str) -> Counter[str]:
        """Return what was done to a link so far; see `Link.counts`."""
        return self._call(lambda: Counter(self._links[link].counts))

    def heal(self) -> None:
        """Make every link good."""
        for link in self._links:
            self.set(link, HEALTHY)

    def _call(self, work: Callable[..., T], *arguments: object) -> T:
        async def there() -> T:
            return work(*arguments)

        return self._await(there())

    def _await(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_TIMEOUT_S)

    async def _listen(self) -> None:
        for name, port in self._targets.items():
            link = Link(port, random.Random(f"{self._seed} {name}"))  # noqa: S311 - to be repeated
            await link.listen()
            self._links[name] = link

    async def _close(self) -> None:
        for link in self._links.values():
            await link.close()

    def __enter__(self) -> Self:
        self._thread.start()
        self._await(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._await(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_TIMEOUT_S)
        self._loop.close()
