"""The other end of the wire for tests: hears everything, acknowledges when told to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiomqtt

from cloud.core import intake
from contract import codec, topics
from contract.commands import Answer, Command
from contract.status import Status
from contract.telemetry import Ack, TelemetryBatch
from contract.topics import Channel
from tests.peers import Mosquitto

SITE = "north"
PATIENCE_S = 60.0


@dataclass
class Gateway:
    """What has been heard so far."""

    client: aiomqtt.Client
    acknowledges: bool = True
    batches: dict[str, list[TelemetryBatch]] = field(default_factory=dict)
    positions: dict[tuple[str, str], intake.Position] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    statuses: dict[str, list[Status]] = field(default_factory=dict)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def listen(self) -> None:
        async for message in self.client.messages:
            topic = topics.parse(str(message.topic))
            assert isinstance(message.payload, bytes)
            async with self.news:
                match topic.channel:
                    case Channel.TELEMETRY:
                        batch = codec.decode(message.payload, TelemetryBatch)
                        batch.check()
                        self.batches.setdefault(topic.device, []).append(batch)
                        name = topic.device, batch.boot
                        position = self.positions.get(name, intake.Position())
                        position, _ = intake.accept(position, batch.sequence, batch.oldest)
                        self.positions[name] = position
                        if self.acknowledges:
                            await self.acknowledge(*name, position.contiguous)
                    case Channel.ANSWER:
                        self.answers.append(codec.decode(message.payload, Answer))
                    case Channel.STATUS:
                        status = codec.decode(message.payload, Status)
                        self.statuses.setdefault(topic.device, []).append(status)
                self.news.notify_all()

    async def acknowledge(self, device: str, boot: str, sequence: int) -> None:
        topic = topics.build(SITE, device, Channel.ACK)
        await self.client.publish(topic, codec.encode(Ack(boot=boot, sequence=sequence)), qos=0)

    async def send(self, device: str, command: Command) -> None:
        topic = topics.build(SITE, device, Channel.COMMAND)
        await self.client.publish(topic, codec.encode(command), qos=1)

    async def until(self, what: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        """Wait until something has been heard."""
        async with asyncio.timeout(patience_s), self.news:
            await self.news.wait_for(what)

    async def answer(self, command_id: str, count: int = 1) -> Answer:
        """Wait for the n-th answer to a command and return it."""
        await self.until(lambda: len(self.answers_to(command_id)) >= count)
        return self.answers_to(command_id)[count - 1]

    def answers_to(self, command_id: str) -> list[Answer]:
        return [answer for answer in self.answers if answer.id == command_id]

    def times(self, device: str) -> set[int]:
        """Return the event times heard of a device."""
        return {time_ns for b in self.batches.get(device, []) for time_ns in b.times_ns}

    def ticks(self, device: str) -> int:
        return sum(len(batch.times_ns) for batch in self.batches.get(device, []))

    def status(self, device: str) -> Status | None:
        heard = self.statuses.get(device)
        return heard[-1] if heard else None


@asynccontextmanager
async def listening(broker: Mosquitto, identifier: str) -> AsyncIterator[Gateway]:
    """Subscribe to all that a plant says until the block ends."""
    async with aiomqtt.Client(
        "127.0.0.1",
        broker.port,
        username=broker.username,
        password=broker.password,
        identifier=identifier,
    ) as client:
        gateway = Gateway(client)
        for channel in topics.FROM_PLANT:
            for pattern in topics.subscriptions(channel):
                await client.subscribe(pattern, qos=1)
        task = asyncio.create_task(gateway.listen())
        try:
            yield gateway
        finally:
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(ended, Exception) and not isinstance(ended, aiomqtt.MqttError):
                raise ended
