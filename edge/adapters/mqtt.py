"""The connection to the MQTT broker, version 3.1.1, in our own terms and errors."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import aiomqtt
from msgspec import Struct

from contract.errors import Unreachable
from edge.config import BrokerConfig

INFLIGHT_MAX = 64
INCOMING_MAX = 1000
NETWORK_TIMEOUT_S = 10.0
DEFAULT_PORT = {"mqtt": 1883, "mqtts": 8883}


class Incoming(Struct, frozen=True):
    """A message from the broker."""

    topic: str
    payload: bytes
    retained: bool


class Outgoing(Struct, frozen=True):
    """A message for the broker, sent with QoS 1."""

    topic: str
    payload: bytes
    retain: bool = False


class Session:
    """One connection, for as long as it holds."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self._client = client

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Send messages in order and wait until the broker has them all.

        Raises:
            Unreachable: the connection broke; some may have arrived.
        """
        for start in range(0, len(messages), INFLIGHT_MAX):
            part = messages[start : start + INFLIGHT_MAX]
            results = await asyncio.gather(
                *(self._client.publish(m.topic, m.payload, qos=1, retain=m.retain) for m in part),
                return_exceptions=True,
            )
            for result in results:
                if isinstance(result, aiomqtt.MqttError):
                    raise Unreachable(f"the broker did not take a message: {result}") from result
                if isinstance(result, BaseException):
                    raise result

    async def messages(self) -> AsyncIterator[Incoming]:
        """Yield what arrives.

        Raises:
            Unreachable: the connection broke.
        """
        try:
            async for message in self._client.messages:
                payload = message.payload
                if isinstance(payload, bytes):
                    yield Incoming(str(message.topic), payload, message.retain)
        except aiomqtt.MqttError as error:
            raise Unreachable(f"connection to the broker lost: {error}") from error


@asynccontextmanager
async def connect(
    config: BrokerConfig, client_id: str, will: Outgoing, subscribe_to: Sequence[str]
) -> AsyncIterator[Session]:
    """Connect, subscribe with QoS 1, and hang up at the end of the block.

    The session is persistent: the broker keeps commands that come while we are away.

    Raises:
        Unreachable: no connection, no permission, or a subscription was refused.
    """
    url = urlsplit(config.url)
    try:
        async with aiomqtt.Client(
            url.hostname or "",
            url.port or DEFAULT_PORT[url.scheme],
            username=config.username or None,
            password=_password(config),
            identifier=client_id,
            clean_session=False,
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=will.retain),
            keepalive=config.keepalive_s,
            timeout=NETWORK_TIMEOUT_S,
            max_inflight_messages=INFLIGHT_MAX,
            max_queued_incoming_messages=INCOMING_MAX,
            tls_context=_tls(config) if url.scheme == "mqtts" else None,
        ) as client:
            client.pending_calls_threshold = INFLIGHT_MAX
            if subscribe_to:
                codes = await client.subscribe([(topic, 1) for topic in subscribe_to])
                refused = [t for t, code in zip(subscribe_to, codes, strict=False) if code == 0x80]
                if refused:
                    raise Unreachable(f"the broker refuses subscriptions: {', '.join(refused)}")
            yield Session(client)
    except aiomqtt.MqttError as error:
        raise Unreachable(f"broker {config.url}: {error}") from error


def _password(config: BrokerConfig) -> str | None:
    if config.password_file is not None:
        try:
            return config.password_file.read_text().strip()
        except OSError as error:
            raise Unreachable(f"password file cannot be read: {error}") from error
    return config.password.get_secret_value() or None


def _tls(config: BrokerConfig) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=config.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise Unreachable(f"CA file {config.ca_file} cannot be used: {error}") from error
