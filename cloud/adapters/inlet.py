"""A worker's connection to the broker: bytes in, acknowledgements out, reconnecting for ever.

It speaks just enough MQTT for that, and packets are not looked at one by one here: whoever handles
the stream gets the buffer as it is (see `cloud.adapters.wire`). While that takes time, the socket
is read no further than a bound, and the broker has to hold what comes.

MQTT 5 is tried first, since it lets the client say how many messages may be on the way at QoS 1;
with 3.1.1 mosquitto allows 20 by default, and every 20 would wait for a commit. A broker that
refuses MQTT 5, hangs up on it or does not answer gets 3.1.1.
"""

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from cloud.adapters.mqtt import address
from cloud.adapters.wire import WHOLE_MAX, Taken, length
from cloud.adapters.wire_kernel import WHOLE_EXTRA
from contract.errors import Malformed, Refused, Unreachable

log = logging.getLogger(__name__)

KEEPALIVE_S: Final = 20
SILENCE_S: Final = 1.5 * KEEPALIVE_S
"""A broker that has said nothing for so long, not even to a ping, is gone."""
CONNECT_TIMEOUT_S: Final = 10.0
ANSWER_TIMEOUT_S: Final = 3.0
"""Some brokers of 3.1.1, as amqtt, wait for ever for the rest of what they do not understand."""
BACKOFF_S: Final = (0.5, 10.0)
"""First and longest pause before the next try; each is up to twice the one before."""
GATHER_S: Final = 0.025
"""Bytes pile up for so long before they are looked at: a commit costs as much as some hundred
messages."""
READ_BYTES: Final = 1024 * 1024
"""So much is read at once; what is more waits with the system, and then with the broker."""
AGAIN_S: Final = 0.05
"""What could not be taken is handed over again after this time, and nothing is read meanwhile."""
UNSENT_BYTES: Final = 4 * 1024 * 1024
"""What a broker that does not read may leave unsent here."""
SESSION_S: Final = 24 * 3600
"""For so long an MQTT 5 broker keeps what it could not deliver; senders keep theirs anyway."""

V5, V3 = 5, 4
_CONNACK, _SUBACK, _DISCONNECT = 2, 9, 14
_BAD_VERSION: Final = {1, 0x84}
_REASONS: Final = {
    2: "client identifier rejected", 3: "server unavailable", 4: "bad user name or password",
    5: "not authorized", 0x85: "client identifier rejected", 0x86: "bad user name or password",
    0x87: "not authorized", 0x88: "server unavailable", 0x89: "server busy", 0x8A: "banned",
    0x8B: "server shutting down", 0x8D: "keep alive timeout", 0x8E: "session taken over",
    0x95: "packet too large", 0x97: "quota exceeded", 0x98: "administrative action",
}  # fmt: skip
Handle = Callable[[bytearray], Awaitable[Taken]]


class Inlet:
    """One subscription that comes back. `run` receives, `send` sends."""

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        client_id: str,
        filters: list[str],
        *,
        ca_file: Path | None = None,
    ) -> None:
        self._address, self._ca_file = address(url), ca_file
        self._account = username, password
        self._client_id, self._filters = client_id, filters
        self._writer: asyncio.StreamWriter | None = None
        self._waiting_since_s: float | None = None
        self._unsent = 0
        self.connected = False
        """Whether the broker is reached and has granted the subscriptions."""

    async def run(self, handle: Handle) -> None:
        """Hand over what comes, as soon as there is something, reconnecting until cancelled.

        Args:
            handle: gets all that is not used yet, uses what it can, and returns after its commit;
                PUBACKs are sent then. What it does not use is handed over again with what follows.
        """
        pause_s, longest_s = BACKOFF_S
        while True:
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    reader, connack = await self._connect()
                await self._serve(reader, connack, handle)
            except (OSError, EOFError, Malformed, Refused, Unreachable) as error:
                log.warning(
                    "broker %s:%s: %s; trying again",
                    self._address.host,
                    self._address.port,
                    str(error) or type(error).__name__,
                )
            finally:
                pause_s = BACKOFF_S[0] if self.connected else min(longest_s, 2 * pause_s)
                self._close()
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311  # no secret

    def send(self, data: bytes) -> None:
        """Queue whole packets; dropped without a connection, or when the broker does not read."""
        if self._writer is None or not data:
            return
        if self._writer.transport.get_write_buffer_size() > UNSENT_BYTES:
            self._unsent += len(data)
            if self._unsent == len(data):
                log.warning("the broker does not read: acknowledgements are dropped")
            return
        self._unsent = 0
        self._writer.write(data)

    async def _connect(self) -> tuple[asyncio.StreamReader, bytes]:
        """Open the connection; the CONNACK tells whoever reads the stream which MQTT it is."""
        for version in (V5, V3):
            reader = await self._open()
            self.send(self._hello(version))
            try:
                async with asyncio.timeout(ANSWER_TIMEOUT_S):
                    kind, body, connack = await _packet(reader)
            except (EOFError, ConnectionError, TimeoutError):
                self._close()
                continue  # does not speak it
            code = body[1] if kind == _CONNACK and len(body) > 1 else -1
            if code == 0 and (len(body) > 2) == (version == V5):
                where, name = self._address, "5" if version == V5 else "3.1.1"
                log.info("connected to broker %s:%s by MQTT %s", where.host, where.port, name)
                self.send(self._subscription(version))
                return reader, connack
            self._close()
            if code not in {0, *_BAD_VERSION}:
                raise Refused(f"refuses us: {_REASONS.get(code, f'reason {code}')}")
        raise Unreachable("answers neither to MQTT 5 nor to 3.1.1")

    async def _open(self) -> asyncio.StreamReader:
        self._unsent = 0
        tls = ssl.create_default_context(cafile=self._ca_file) if self._address.tls else None
        reader, self._writer = await asyncio.open_connection(
            self._address.host, self._address.port, ssl=tls, limit=READ_BYTES
        )
        # asyncio reads 256 KiB at once unless told otherwise
        self._writer.transport.max_size = READ_BYTES  # type: ignore[attr-defined]
        return reader

    def _hello(self, version: int) -> bytes:
        """CONNECT with a session that outlives the connection."""
        # session expiry, and the number of messages that may be on the way (all there can be)
        properties = b"\x11" + SESSION_S.to_bytes(4) + b"\x21\xff\xff"
        body = _text("MQTT") + bytes([version, 0b1100_0000]) + KEEPALIVE_S.to_bytes(2)
        if version == V5:
            body += length(len(properties)) + properties
        body += _text(self._client_id) + _text(self._account[0]) + _text(self._account[1])
        return b"\x10" + length(len(body)) + body

    def _subscription(self, version: int) -> bytes:
        """SUBSCRIBE to all filters at QoS 1."""
        body = b"\0\1" + (b"\0" if version == V5 else b"")
        body += b"".join(_text(pattern) + b"\1" for pattern in self._filters)
        return b"\x82" + length(len(body)) + body

    async def _serve(self, reader: asyncio.StreamReader, connack: bytes, handle: Handle) -> None:
        """Receive until the connection ends; an exception says how."""
        buffer, excess, version = bytearray(connack), 0, V5 if len(connack) > 4 else V3
        life = asyncio.create_task(self._keep_alive())
        try:
            while True:
                if _begins_with_a_packet(buffer):
                    taken = await handle(buffer)
                    self.send(taken.pubacks)
                    if self._unsent:
                        raise Unreachable("does not read")
                    for packet in taken.others:
                        self._look_at(packet, version)
                    excess = max(0, taken.used - len(buffer))
                    del buffer[: taken.used]
                    await self._drain()
                    if not taken.used:
                        await asyncio.sleep(AGAIN_S)
                    continue
                await asyncio.sleep(GATHER_S)
                data = await self._read(reader)
                buffer += data[excess:]
                excess = max(0, excess - len(data))
        finally:
            life.cancel()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        """Read what has piled up; meanwhile it stays with the system, which costs nothing."""
        self._waiting_since_s = asyncio.get_running_loop().time()
        if self._writer is not None and not self._writer.transport.is_closing():
            self._writer.transport.resume_reading()  # type: ignore[attr-defined]  # a read transport
        data = await reader.read(READ_BYTES)
        if self._writer is not None and not self._writer.transport.is_closing():
            self._writer.transport.pause_reading()  # type: ignore[attr-defined]
        self._waiting_since_s = None
        if not data:
            raise Unreachable("the connection has ended")
        return data

    async def _drain(self) -> None:
        if self._writer is not None:
            self._waiting_since_s = asyncio.get_running_loop().time()
            await self._writer.drain()
            self._waiting_since_s = None

    async def _keep_alive(self) -> None:
        """Ping now and then; hang up when nothing comes back."""
        time_s = asyncio.get_running_loop().time
        while self._writer is not None:
            self.send(_PING)
            await asyncio.sleep(KEEPALIVE_S / 2)
            since_s = self._waiting_since_s
            if since_s is not None and time_s() - since_s > SILENCE_S:
                log.warning("broker %s is silent for %.0f s", self._address.host, SILENCE_S)
                self._writer.transport.abort()
                return

    def _look_at(self, packet: bytes, version: int) -> None:
        kind, body = packet[0] >> 4, packet[_header(packet) :]
        if kind == _SUBACK:
            codes = body[len(body) - len(self._filters) :]
            refused = [f for f, c in zip(self._filters, codes, strict=False) if c & 0x80]
            if refused or len(codes) != len(self._filters):
                raise Unreachable(f"refuses the subscription to {refused[:3]}: check its ACL")
            self.connected = True
        elif kind == _DISCONNECT and version == V5:
            code = body[0] if body else 0
            raise Unreachable(f"disconnects us: {_REASONS.get(code, f'reason {code}')}")

    def _close(self) -> None:
        """Leave: politely where that is possible, and without waiting."""
        self.connected, self._waiting_since_s = False, None
        if self._writer is not None:
            with suppress(OSError):
                self._writer.write(_GOODBYE)
            self._writer.close()
            self._writer = None


_PING, _GOODBYE = b"\xc0\0", b"\xe0\0"


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2) + data


def _header(buffer: bytes | bytearray) -> int:
    """Return how long a packet's fixed header is, 0 if it is not all there yet."""
    for i in range(1, min(5, len(buffer))):
        if buffer[i] < 128:
            return i + 1
    return 0


def _begins_with_a_packet(buffer: bytearray) -> bool:
    """Tell whether there is something to take: a whole packet, one too large, or nonsense."""
    header = _header(buffer)
    if not header:
        return len(buffer) > 4
    size = sum((byte & 127) << (7 * i) for i, byte in enumerate(buffer[1:header]))
    return len(buffer) >= (header + size if size <= WHOLE_MAX else WHOLE_EXTRA)


async def _packet(reader: asyncio.StreamReader) -> tuple[int, bytes, bytes]:
    """Read the first packet: its type, its body, and all of it."""
    head = await reader.readexactly(2)
    while head[-1] > 127:
        if len(head) > 4:
            raise Malformed("not an MQTT broker")
        head += await reader.readexactly(1)
    size = sum((byte & 127) << (7 * i) for i, byte in enumerate(head[1:]))
    if head[0] >> 4 != _CONNACK or size > READ_BYTES:
        raise Malformed(f"not an MQTT broker: it greets with {head!r}")
    body = await reader.readexactly(size)
    return head[0] >> 4, body, head + body
