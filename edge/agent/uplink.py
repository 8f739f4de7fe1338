"""The conversation with the broker: statuses, answers and telemetry out; acks and commands in."""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Mapping

from contract import codec, topics
from contract.commands import Command
from contract.errors import Malformed, Unreachable
from contract.status import Status
from contract.telemetry import Ack
from contract.topics import Channel
from edge.adapters import mqtt
from edge.adapters.clock import Clock
from edge.adapters.spool import Acked, outgoing
from edge.agent.commanding import Commander
from edge.agent.disk import Disk
from edge.agent.statuses import Statuses
from edge.agent.stopping import end
from edge.config import Config
from edge.core import window

log = logging.getLogger(__name__)

FRESH_S = 30.0
"""Telemetry that waited longer for its first departure leaves as history."""
FRESH_WALL_S = 3.0
"""A network's delays do not shrink when plant time runs faster."""
PASS_MAX = 64
"""Batches in memory at a time."""
PAUSE_MIN_S, PAUSE_MAX_S = 0.5, 60.0
IDLE_S = 1.0
FAREWELL_S = 2.0


class Uplink:
    """Keeps the connection and sends what waits, in order per device."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock,
        disk: Disk,
        statuses: Statuses,
        commanders: Mapping[str, Commander],
        wake: asyncio.Event,
    ) -> None:
        self._config = config
        self._clock = clock
        self._disk = disk
        self._statuses = statuses
        self._commanders = commanders
        self._wake = wake
        self._windows = dict.fromkeys(commanders, window.Window())
        self._turns = deque(commanders)
        self._fresh_s = max(FRESH_S, clock.plant_ns(FRESH_WALL_S) / 1e9)

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
        self._windows = {d: window.from_the_start(w) for d, w in self._windows.items()}
        self._statuses.forget(self._statuses.agent)
        self._statuses.say(
            self._statuses.agent,
            Status(
                online=True,
                at_ns=self._clock.now_ns(),
                agent=self._statuses.agent,
                spool_bytes=self._disk.spool.held_bytes,
                spool_dropped=self._disk.dropped,
            ),
        )
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
        return [
            topics.build(site, device, channel)
            for device in self._commanders
            for channel in (Channel.ACK, Channel.COMMAND)
        ]

    async def _receive(self, session: mqtt.Session) -> None:
        async for message in session.messages():
            try:
                topic = topics.parse(message.topic)
                self._on_message(topic, message)
            except Malformed as error:
                log.warning("ignoring a message on %s: %s", message.topic[:200], error)
        raise Unreachable("the broker ended the conversation")

    def _on_message(self, topic: topics.Topic, message: mqtt.Incoming) -> None:
        if topic.device not in self._commanders:
            raise Malformed(f"{topic.device} is not one of this agent's devices")
        if topic.channel is Channel.ACK:
            ack = codec.decode(message.payload, Ack)
            before = self._windows[topic.device]
            self._windows[topic.device] = window.after_ack(
                before, ack.boot, ack.sequence, self._clock.steady_s()
            )
            self._disk.forget(Acked(topic.device, ack.boot, ack.sequence, before.highest_id))
            self._wake.set()
        elif topic.channel is Channel.COMMAND:
            if message.retained:
                raise Malformed("a command must not be retained: it would act again and again")
            self._commanders[topic.device].receive(codec.decode(message.payload, Command))

    async def _send(self, session: mqtt.Session) -> None:
        """Send what there is; then wait for more, looking up now and then for missing acks."""
        while True:
            self._wake.clear()
            await session.publish(self._statuses.take_news())
            await self._send_answers(session)
            if await self._send_batches(session):
                continue
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _send_answers(self, session: mqtt.Session) -> None:
        memory = self._disk.memory
        for device, command_id, data in await self._disk.run(memory.owed, PASS_MAX):
            topic = topics.build(self._config.site, device, Channel.ANSWER)
            await session.publish([mqtt.Outgoing(topic, data)])
            await self._disk.run(memory.published, device, command_id)

    async def _send_batches(self, session: mqtt.Session) -> bool:
        """Send batches of devices in turn; return whether there were any."""
        messages: list[mqtt.Outgoing] = []
        self._turns.rotate(-1)
        for device in self._turns:
            mine = self._windows[device]
            if window.overdue(mine, self._clock.steady_s()):
                log.info("%s: no acknowledgement, sending again from the oldest batch", device)
                mine = self._windows[device] = window.after_silence(mine)
            room = min(window.room(mine), PASS_MAX - len(messages))
            if room > 0 and self._disk.newest.get(device, 0) > mine.last_id:
                messages += await self._take(device, mine.last_id, room)
        await session.publish(messages)
        return bool(messages)

    async def _take(self, device: str, last_id: int, limit: int) -> list[mqtt.Outgoing]:
        """Take a device's next batches from the spool and note them as sent."""
        rows = await self._disk.run(self._disk.spool.waiting, device, last_id, limit)
        mine = self._windows[device]  # read only now: acks may have come while the disk worked
        topic = topics.build(self._config.site, device, Channel.TELEMETRY)
        now_ns = self._clock.now_ns()
        sent, messages = [], []
        for row in rows:
            live = window.is_live(mine, row.id, (now_ns - row.at_ns) / 1e9, self._fresh_s)
            sent.append(window.Sent(row.id, row.boot, row.sequence, live))
            messages.append(mqtt.Outgoing(topic, outgoing(row, historical=not live)))
        self._windows[device] = window.after_sending(mine, sent, self._clock.steady_s())
        return messages
