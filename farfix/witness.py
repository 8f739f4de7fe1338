"""An independent witness of what goes over the wire: every reading, every batch number.

It listens beside the gateway with a persistent session, so what it did not hear was not published.
"""

import threading
from collections import defaultdict
from types import TracebackType
from typing import Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from cloud.adapters.broker import Broker
from contract import codec, topics
from contract.errors import Malformed, Unreachable
from contract.telemetry import TelemetryBatch
from contract.topics import Channel

CONNECT_TIMEOUT_S = 10.0


class Witness:
    """Counts telemetry until its ``with`` block ends."""

    def __init__(self, broker: Broker, user: str) -> None:
        self.readings: dict[str, set[int]] = defaultdict(set)
        """Event times that were published, by device."""
        self.batches: dict[tuple[str, str], set[int]] = defaultdict(set)
        """Sequences that were published, by device and boot."""
        self.repeated = 0
        """Batches that were published again."""
        self._subscribed = threading.Event()
        self._lock = threading.Lock()
        self._client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=f"farfix-{user}", clean_session=False
        )
        self._client.username_pw_set(user, broker.password(user))
        self._client.on_connect = self._connected
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._heard
        self._address = ("127.0.0.1", broker.port)

    def _connected(self, client: paho.Client, *_: object) -> None:
        for pattern in topics.subscriptions(Channel.TELEMETRY):
            client.subscribe(pattern, qos=1)

    def _heard(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        try:
            device = topics.parse(message.topic).device
            batch = codec.decode(bytes(message.payload), TelemetryBatch)
        except Malformed:
            return  # no reading: the gateway quarantines it
        with self._lock:
            self.readings[device].update(batch.times_ns)
            known = self.batches[device, batch.boot]
            self.repeated += batch.sequence in known
            known.add(batch.sequence)

    def total(self) -> int:
        """Return how many different readings were published so far."""
        with self._lock:
            return sum(len(times) for times in self.readings.values())

    def __enter__(self) -> Self:
        self._client.connect(*self._address)
        self._client.loop_start()
        if not self._subscribed.wait(CONNECT_TIMEOUT_S):
            self._client.loop_stop()
            raise Unreachable("the broker does not let the demo's own listener in")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()
