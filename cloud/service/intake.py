"""Statuses and answers from the plant; telemetry goes to the workers."""

import asyncio
import logging
from collections.abc import Callable

from cloud.service.parts import Parts
from cloud.web import metrics
from contract import codec, topics
from contract.commands import Answer
from contract.errors import Malformed
from contract.status import Status
from contract.topics import Channel, Topic

log = logging.getLogger(__name__)

QUEUE_MESSAGES = 20_000


class Intake:
    """Takes messages in order; what cannot be used is quarantined."""

    def __init__(
        self,
        parts: Parts,
        on_status: Callable[[Topic, Status], None],
        on_answer: Callable[[Topic, Answer], None],
    ) -> None:
        self._store, self._clock, self._assets = parts.store, parts.clock, parts.assets
        self._on_status, self._on_answer = on_status, on_answer
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(QUEUE_MESSAGES)

    def receive(self, topic: str, payload: bytes) -> bool:
        """Queue one message; false when the queue is full and the sender must send it again."""
        try:
            self._queue.put_nowait((topic, payload))
        except asyncio.QueueFull:
            metrics.refused_messages.inc()
            return False
        return True

    async def run(self) -> None:
        """Take messages until cancelled."""
        while True:
            text, payload = await self._queue.get()
            try:
                self._take(topics.parse(text), payload)
            except Malformed as error:
                self.quarantine(text, payload, str(error))

    def quarantine(self, topic: str, payload: bytes, reason: str) -> None:
        """Keep what cannot be used, with the reason, for people to look at."""
        log.warning("quarantined %s: %s", topic[:200], reason)
        metrics.quarantined_messages.inc()
        self._store.quarantine(topic, payload, reason, self._clock.now_ns())

    def _take(self, topic: Topic, payload: bytes) -> None:
        if topic.channel is Channel.STATUS:
            self._on_status(topic, codec.decode(payload, Status))
            return  # agents are no assets, but speak of them
        asset = self._assets.get(topic.device)
        if asset is None:
            raise Malformed(f"device {topic.device} is not in the gateway's list of assets")
        if asset.site != topic.site:
            raise Malformed(f"device {topic.device} belongs to site {asset.site}, not {topic.site}")
        if topic.channel is Channel.ANSWER:
            self._on_answer(topic, codec.decode(payload, Answer))
