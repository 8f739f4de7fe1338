"""Telemetry on its way out: live data first, backlogs behind it, until the gateway has them."""

from collections import deque
from collections.abc import Iterable

from contract import topics
from contract.topics import Channel
from edge.adapters.clock import Clock
from edge.adapters.mqtt import Outgoing, Session
from edge.adapters.spool import Waiting, Want, outgoing
from edge.agent.disk import Disk
from edge.core import lanes, window
from edge.core.lanes import Lane, Lanes

FRESH_S = 30.0
"""Telemetry that waited longer for its first departure leaves as history."""
FRESH_WALL_S = 3.0
"""A network's delays do not shrink when plant time runs faster."""


class Sender:
    """Takes batches from the spool and hands them to the broker, in order per numbering."""

    def __init__(self, site: str, devices: Iterable[str], clock: Clock, disk: Disk) -> None:
        self._site = site
        self._clock = clock
        self._disk = disk
        self._fresh_s = max(FRESH_S, clock.plant_ns(FRESH_WALL_S) / 1e9)
        self._lanes: dict[str, Lanes] = dict.fromkeys(devices, ())
        self._note_written()
        self._turns = deque(self._lanes)
        self._size = lanes.PASS_MAX

    @property
    def devices(self) -> list[str]:
        """All devices with telemetry to send: those configured, and any that the spool holds."""
        return list(self._lanes)

    def reconnected(self) -> None:
        """Begin again with everything that is not acknowledged."""
        self._lanes = {device: lanes.reconnected(mine) for device, mine in self._lanes.items()}

    def acknowledged(self, device: str, boot: str, sequence: int) -> bool:
        """Note what the gateway holds; tell whether that lets more leave."""
        before = self._lanes[device]
        after = lanes.acked(before, boot, sequence, self._clock.steady_s())
        lane = lanes.find(after, boot)
        if lane is None or after == before:
            return False
        self._disk.forget(device, boot, lane.window.acked)
        self._lanes[device] = lanes.without_drained(after, self._disk.boot(device))
        return len(after) > 1 or lane.unsent > 0

    async def send(self, session: Session) -> bool:
        """Send what may leave now; tell whether there was anything.

        Raises:
            Unreachable: the connection broke.
        """
        self._note_written()
        now_s = self._clock.steady_s()
        self._lanes = {device: lanes.patient(mine, now_s) for device, mine in self._lanes.items()}
        self._turns.rotate(-1)
        live = await self._take(self._live_wants())
        await session.publish(live)
        history = await self._take(self._backlog_wants())
        if history:
            start_s = self._clock.steady_s()
            await session.publish(history)
            self._size = lanes.paced(self._size, self._clock.steady_s() - start_s)
        return bool(live or history)

    def _note_written(self) -> None:
        for (device, boot), sequence in self._disk.take_written().items():
            self._lanes[device] = lanes.written(self._lanes.get(device, ()), boot, sequence)

    def _live_wants(self) -> list[Want]:
        wants: list[Want] = []
        left = lanes.PASS_MAX
        for device in self._turns:
            lane = lanes.find(self._lanes[device], self._disk.boot(device))
            count = 0 if lane is None else min(left, lane.unsent, window.room(lane.window))
            if lane is not None and count > 0:
                wants.append(Want(device, lane.boot, lane.window.last, count))
                left -= count
        return wants

    def _backlog_wants(self) -> list[Want]:
        found: list[tuple[str, Lane]] = []
        for device in self._turns:
            lane = lanes.backlog(self._lanes[device], self._disk.boot(device))
            if lane is not None:
                found.append((device, lane))
        in_flight = sum(len(lane.window.sent) for _, lane in found)
        left, each = lanes.budget(in_flight, self._size, len(found))
        wants: list[Want] = []
        for device, lane in found:
            mine = min(window.room(lane.window), each - len(lane.window.sent))
            count = min(left, lane.unsent, mine)
            if count > 0:
                wants.append(Want(device, lane.boot, lane.window.last, count))
                left -= count
        return wants

    async def _take(self, wants: list[Want]) -> list[Outgoing]:
        """Take batches from the spool and note them as sent."""
        if not wants:
            return []
        taken = await self._disk.run(self._disk.spool.take, wants)
        messages: list[Outgoing] = []
        for want, rows in zip(wants, taken, strict=True):
            messages += self._depart(want, rows)
        return messages

    def _depart(self, want: Want, rows: list[Waiting]) -> list[Outgoing]:
        mine = self._lanes[want.device]
        lane = lanes.find(mine, want.boot)
        if lane is None or lane.window.last > want.after:
            return []  # acknowledged while the disk worked
        if not rows:
            self._lanes[want.device] = lanes.without(mine, want.boot)
            return []
        now_ns = self._clock.now_ns()
        age_s = (now_ns - rows[0].at_ns) / 1e9
        current = want.boot == self._disk.boot(want.device)
        if current and lanes.overtakes(mine, lane, age_s, self._fresh_s):
            self._disk.renumber(want.device)
            return []
        topic = topics.build(self._site, want.device, Channel.TELEMETRY)
        first = lanes.leads(mine, want.boot)
        sent, messages = [], []
        for row in rows:
            age_s = (now_ns - row.at_ns) / 1e9
            live = window.is_live(lane.window, row.sequence, age_s, self._fresh_s, first=first)
            sent.append(window.Sent(row.sequence, live))
            messages.append(Outgoing(topic, outgoing(row, historical=not live)))
        after = window.after_sending(lane.window, sent, self._clock.steady_s())
        self._lanes[want.device] = lanes.put(mine, want.boot, after)
        return messages
