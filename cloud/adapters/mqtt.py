"""The gateway's connection to the broker: messages in, messages out, reconnecting for ever.

A message that does not fit the bounded queue is dropped here and not acknowledged to its sender,
who still holds it in the spool and sends it again: bounded memory without loss.
"""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import aiomqtt
from msgspec import Struct

from contract import topics
from contract.codec import MAX_MESSAGE_BYTES
from contract.errors import Malformed, Unreachable
from contract.topics import Channel

log = logging.getLogger(__name__)

QUEUE_MESSAGES = 20_000
RECONNECT_S = 2.0
PUBLISH_TIMEOUT_S = 10.0


class Address(Struct, frozen=True):
    """A broker's URL, taken apart."""

    host: str
    port: int
    tls: bool


def address(url: str) -> Address:
    """Read ``mqtt://host:port`` or ``mqtts://host:port``.

    Raises:
        Malformed: another scheme, or no host.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
        raise Malformed(f"broker url {url!r} is not mqtt://host:port or mqtts://host:port")
    tls = parts.scheme == "mqtts"
    return Address(parts.hostname, parts.port or (8883 if tls else 1883), tls)


class Link:
    """One connection that comes back. ``run`` receives, ``publish`` sends."""

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        client_id: str,
        ca_file: Path | None = None,
    ) -> None:
        """Prepare a connection; `run` makes it.

        Args:
            url: ``mqtt://...`` or ``mqtts://...``.
            username: as the broker knows us.
            password: belongs to it.
            client_id: under which the broker keeps what comes while we are away.
            ca_file: certificates to believe with ``mqtts``; those of the system by default.

        Raises:
            Malformed: no such URL, or the certificates cannot be read.
        """
        self.url, self.username, self.password = url, username, password
        self._address = address(url)
        self._tls = tls_context(ca_file) if self._address.tls else None
        self.client_id = client_id
        self._client: aiomqtt.Client | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker is reached right now."""
        return self._client is not None

    async def run(self, receive: Callable[[str, bytes], bool]) -> None:
        """Hand every message from the plant to ``receive``, reconnecting until cancelled."""
        while True:
            try:
                async for topic, payload in self._session():
                    receive(topic, payload)
            except aiomqtt.MqttError as error:
                log.warning("broker %s: %s; trying again", self._address.host, error)
            finally:
                self._client = None
            await asyncio.sleep(RECONNECT_S)

    async def _session(self) -> AsyncIterator[tuple[str, bytes]]:
        async with aiomqtt.Client(
            self._address.host,
            self._address.port,
            username=self.username,
            password=self.password,
            identifier=self.client_id,
            clean_session=False,
            tls_context=self._tls,
            max_queued_incoming_messages=QUEUE_MESSAGES,
            timeout=PUBLISH_TIMEOUT_S,
        ) as client:
            for channel in (Channel.STATUS, Channel.ANSWER):  # telemetry is the workers'
                for pattern in topics.subscriptions(channel):
                    await client.subscribe(pattern, qos=1)
            self._client = client
            log.info("connected to broker %s:%s", self._address.host, self._address.port)
            async for message in client.messages:
                payload = message.payload
                yield str(message.topic), payload if isinstance(payload, bytes) else b""

    async def publish(
        self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 1
    ) -> None:
        """Send one message; at QoS 1 wait until the broker has it.

        Raises:
            Unreachable: not connected, or the broker did not confirm in time.
            Malformed: larger than a message may be.
        """
        if len(payload) > MAX_MESSAGE_BYTES:
            raise Malformed(f"message of {len(payload)} bytes exceeds {MAX_MESSAGE_BYTES} bytes")
        if self._client is None:
            raise Unreachable("the broker is not connected")
        try:
            await self._client.publish(topic, payload, qos=qos, retain=retain)
        except aiomqtt.MqttError as error:
            raise Unreachable(f"the broker did not take {topic}: {error}") from error


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Return how servers are checked: by these certificates, or by those of the system.

    Raises:
        Malformed: the file cannot be read, or holds none.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Malformed(f"ca_file {ca_file} cannot be used: {error}") from error


def read_password(path: Path | None) -> str:
    """Return the first line of a password file; empty without one.

    Raises:
        Malformed: the file cannot be read.
    """
    if path is None:
        return ""
    try:
        return path.read_text().strip()
    except OSError as error:
        raise Malformed(f"cannot read password file {path}: {error.strerror}") from error
