"""From the wire to the journal: validate, drop repetitions, commit, and only then acknowledge."""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from cloud.adapters.journal import Entry
from cloud.core import intake as rules
from cloud.service.parts import Parts
from cloud.web import metrics
from contract import codec, topics
from contract.commands import Answer
from contract.errors import Malformed, Refused, Unreachable
from contract.status import Status
from contract.telemetry import Ack, TelemetryBatch
from contract.topics import Channel, Topic

log = logging.getLogger(__name__)

QUEUE_MESSAGES = 20_000
GROUP_MESSAGES = 500
"""So many messages share one commit at most."""
MAX_AHEAD_NS = int(rules.Limits().ahead_max_s * 1e9)


class Batch(msgspec.Struct, frozen=True):
    """A batch that could be read, with what came in."""

    topic: Topic
    batch: TelemetryBatch
    payload: bytes
    problem: str = ""
    """Why it is not used; it is acknowledged all the same, or its sender would repeat it."""


class Intake:
    """Takes every message from the plant and answers for none before it is durable."""

    def __init__(
        self,
        parts: Parts,
        on_status: Callable[[Topic, Status], None],
        on_answer: Callable[[Topic, Answer], None],
    ) -> None:
        self._journal, self._store, self._clock = parts.journal, parts.store, parts.clock
        self._assets, self._publish = parts.assets, parts.link.publish
        self._signals = {
            name: frozenset(signal.name for signal in machine.signals)
            for name, machine in parts.machines.items()
        }
        self._on_status, self._on_answer = on_status, on_answer
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(QUEUE_MESSAGES)
        self.arrived = asyncio.Event()
        """Set whenever the journal has grown."""

    def receive(self, topic: str, payload: bytes) -> bool:
        """Queue one message; false when the queue is full and the sender must send it again."""
        try:
            self._queue.put_nowait((topic, payload))
        except asyncio.QueueFull:
            metrics.refused_messages.inc()
            return False
        return True

    async def run(self) -> None:
        """Take messages in groups until cancelled."""
        while True:
            group = [await self._queue.get()]
            while len(group) < GROUP_MESSAGES and not self._queue.empty():
                group.append(self._queue.get_nowait())
            await self._take(group)

    async def _take(self, group: list[tuple[str, bytes]]) -> None:
        batches = []
        for text, payload in group:
            try:
                topic = topics.parse(text)
                self._check_known(topic)
                if topic.channel is Channel.TELEMETRY:
                    batches.append(self._telemetry(topic, payload))
                elif topic.channel is Channel.STATUS:
                    self._on_status(topic, codec.decode(payload, Status))
                elif topic.channel is Channel.ANSWER:
                    self._on_answer(topic, codec.decode(payload, Answer))
            except Malformed as error:
                self.quarantine(text, payload, str(error))
        await self._commit(batches)

    def quarantine(self, topic: str, payload: bytes, reason: str) -> None:
        """Keep what cannot be used, with the reason, for people to look at."""
        log.warning("quarantined %s: %s", topic[:200], reason)
        metrics.quarantined_messages.inc()
        self._store.quarantine(topic, payload, reason, self._clock.now_ns())

    def _check_known(self, topic: Topic) -> None:
        asset = self._assets.get(topic.device)
        if topic.channel is Channel.STATUS:
            return  # agents are no assets, but speak of them
        if asset is None:
            raise Malformed(f"device {topic.device} is not in the gateway's list of assets")
        if asset.site != topic.site:
            raise Malformed(f"device {topic.device} belongs to site {asset.site}, not {topic.site}")

    def _telemetry(self, topic: Topic, payload: bytes) -> Batch:
        batch = codec.decode(payload, TelemetryBatch)
        known = self._signals[self._assets[topic.device].machine_type]
        strangers = [signal for signal in batch.signals if signal not in known]
        try:
            batch.check()
        except Malformed as error:
            return Batch(topic, batch, payload, str(error))
        if len(strangers) == len(batch.signals):
            problem = f"none of its signals belongs to the machine type: {strangers[:5]}"
            return Batch(topic, batch, payload, problem)
        if strangers:
            reason = f"signals not of the machine type were left out: {strangers[:5]}"
            self.quarantine(str(topic), payload, reason)
        return Batch(topic, batch, payload)

    async def _commit(self, batches: list[Batch]) -> None:
        positions: dict[tuple[str, str], rules.Position] = {}
        entries, now_ns = [], self._clock.now_ns()
        for item in batches:
            batch, device = item.batch, item.topic.device
            fresh = True
            if batch.boot:
                key = (device, batch.boot)
                before = positions.get(key) or self._journal.position(*key)
                positions[key], fresh = rules.accept(before, batch.sequence, batch.oldest)
            if not fresh:
                metrics.repeated_batches.inc()
                continue
            problem = item.problem or _ahead(batch, now_ns)
            if problem:
                self.quarantine(str(item.topic), item.payload, problem)
                continue
            entries.append(
                Entry(device, item.topic.site, batch.boot, batch.sequence, now_ns, item.payload)
            )
        try:
            self._journal.append(entries, positions)
        except Refused as error:
            log.warning("the journal takes nothing more: %s; senders keep their data", error)
            return
        metrics.accepted_batches.inc(len(entries))
        if entries:
            self.arrived.set()
        sites = {item.topic.device: item.topic.site for item in batches}
        for (device, boot), position in positions.items():
            await self._acknowledge(sites[device], device, boot, position.contiguous)

    async def _acknowledge(self, site: str, device: str, boot: str, sequence: int) -> None:
        ack = Ack(boot=boot, sequence=sequence)
        topic = topics.build(site, device, Channel.ACK)
        try:
            # QoS 0: a lost acknowledgement only makes the sender repeat, and a slow broker must
            # not hold up what comes in.
            await self._publish(topic, codec.encode(ack), qos=0)
        except Unreachable as error:
            log.warning("acknowledgement for %s not sent: %s; it will ask again", device, error)


def _ahead(batch: TelemetryBatch, now_ns: int) -> str:
    ahead_ns = batch.times_ns[-1] - now_ns
    if ahead_ns <= MAX_AHEAD_NS:
        return ""
    return f"its time is {ahead_ns / 1e9:.0f} s ahead of the gateway: check the sender's clock"
