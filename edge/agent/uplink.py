"""The conversation with the broker: statuses, answers and telemetry out; acks and commands in."""

import asyncio
import logging
import random
from collections.abc import Mapping

from contract import codec, topics
from contract.commands import Command
from contract.errors import Malformed, Unreachable
from contract.status import Status
from contract.telemetry import Ack
from contract.topics import Channel
from edge.adapters import mqtt
from edge.adapters.clock import Clock
from edge.agent.commanding import Commander
from edge.agent.disk import Disk
from edge.agent.reporting import SpoolReport
from edge.agent.sending import Sender
from edge.agent.statuses import Statuses
from edge.agent.stopping import end
from edge.config import Config

log = logging.getLogger(__name__)

PASS_MAX = 64
"""Answers in memory at a time."""
PAUSE_MIN_S, PAUSE_MAX_S = 0.5, 60.0
IDLE_S = 1.0
FAREWELL_S = 2.0


class Uplink:
    """Keeps the connection, and says and hears over it."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        disk: Disk,
        statuses: Statuses,
        report: SpoolReport,
        commanders: Mapping[str, Commander],
        wake: asyncio.Event,
    ) -> None:
        self._config = config
        self._clock = clock
        self._disk = disk
        self._statuses = statuses
        self._report = report
        self._commanders = commanders
        self._wake = wake
        self._sender = Sender(config.site, commanders, clock, disk)

    async def run(self) -> None:
        """Connect, converse, and connect again, until cancelled."""
        pause_s = PAUSE_MIN_S
        while True:
            try:
                async with mqtt.connect(
                    self._config.broker, self._statuses.agent, self._will(), self._topics()
                ) as session:
                    log.info("connected to %s", self._config.broker.url)
                    pause_s = PAUSE_MIN_S
                    await self._converse(session)
            except Unreachable as error:
                log.warning("%s; trying again in about %.0f s", error, pause_s)
            jitter = random.uniform(0.5, 1.5)  # noqa: S311 - spreads agents, keeps no secret
            await asyncio.sleep(pause_s * jitter)
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    async def _converse(self, session: mqtt.Session) -> None:
        self._sender.reconnected()
        self._disk.owes_answers = True
        self._report.arrived()
        self._statuses.all_is_news()
        jobs = [
            asyncio.create_task(self._receive(session)),
            asyncio.create_task(self._send(session)),
        ]
        try:
            await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await end(jobs)
            await self._say_farewell(session)
            raise
        await end(jobs)
        for job in jobs:
            if not job.cancelled():
                job.result()

    async def _say_farewell(self, session: mqtt.Session) -> None:
        try:
            async with asyncio.timeout(FAREWELL_S):
                await session.publish(self._statuses.farewell(self._clock.now_ns()))
        except (Unreachable, TimeoutError):
            log.warning("the broker did not take our farewell; it will send the last will")

    def _will(self) -> mqtt.Outgoing:
        agent = self._statuses.agent
        status = Status(
            online=False,
            at_ns=self._clock.now_ns(),
            agent=agent,
            reason="the agent's connection to the broker broke",
        )
        return self._statuses.message(agent, status)

    def _topics(self) -> list[str]:
        site = self._config.site
        acks = [topics.build(site, device, Channel.ACK) for device in self._sender.devices]
        return acks + [topics.build(site, device, Channel.COMMAND) for device in self._commanders]

    async def _receive(self, session: mqtt.Session) -> None:
        async for message in session.messages():
            try:
                topic = topics.parse(message.topic)
                self._on_message(topic, message)
            except Malformed as error:
                log.warning("ignoring a message on %s: %s", message.topic[:200], error)
        raise Unreachable("the broker ended the conversation")

    def _on_message(self, topic: topics.Topic, message: mqtt.Incoming) -> None:
        if topic.device not in self._sender.devices:
            raise Malformed(f"{topic.device} is not one of this agent's devices")
        if topic.channel is Channel.ACK:
            ack = codec.decode(message.payload, Ack)
            if self._sender.acknowledged(topic.device, ack.boot, ack.sequence):
                self._wake.set()
        elif topic.channel is Channel.COMMAND:
            if topic.device not in self._commanders:
                raise Malformed(f"{topic.device} takes no commands here any more")
            if message.retained:
                raise Malformed("a command must not be retained: it would act again and again")
            self._commanders[topic.device].receive(codec.decode(message.payload, Command))

    async def _send(self, session: mqtt.Session) -> None:
        """Send what there is; then wait for more, looking up now and then for missing acks."""
        while True:
            self._wake.clear()
            await session.publish(self._statuses.take_news())
            await self._send_answers(session)
            if await self._sender.send(session) or self._disk.owes_answers:
                continue
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _send_answers(self, session: mqtt.Session) -> None:
        if not self._disk.owes_answers:
            return
        self._disk.owes_answers = False
        memory = self._disk.memory
        for device, command_id, data in await self._disk.run(memory.owed, PASS_MAX):
            self._disk.owes_answers = True  # look again: more may wait, or this may break
            topic = topics.build(self._config.site, device, Channel.ANSWER)
            await session.publish([mqtt.Outgoing(topic, data)])
            await self._disk.run(memory.published, device, command_id)
