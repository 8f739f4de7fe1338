"""The sender with a real spool, between a broker that forgets and a gateway that comes and goes."""

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.core import intake
from contract import codec, topics
from contract.errors import Unreachable
from contract.telemetry import Quality, Reading, TelemetryBatch
from contract.timescale import Timescale
from edge.adapters.clock import Clock
from edge.adapters.mqtt import Outgoing, Session
from edge.adapters.spool import Bounds
from edge.agent.disk import Disk
from edge.agent.sending import FRESH_S, Sender
from edge.core import lanes, window

DEVICES = ("a", "b")
S = 10**9


class Hands(Clock):
    """A clock that is set by hand."""

    def __init__(self) -> None:
        super().__init__(Timescale())
        self.ns = 10**18

    def now_ns(self) -> int:
        return self.ns

    def steady_s(self) -> float:
        return self.ns / 1e9


class World:
    """Agent, broker and gateway; time passes only when told to."""

    def __init__(self, folder: Path) -> None:
        self.clock = Hands()
        self.folder = folder
        self.connected = self.gateway_up = True
        self.queue: list[tuple[str, TelemetryBatch]] = []
        """What the broker holds for the gateway."""
        self.positions: dict[tuple[str, str], intake.Position] = {}
        self.taken: dict[str, list[int]] = {device: [] for device in DEVICES}
        self.arrived: dict[str, list[tuple[int, bool]]] = {device: [] for device in DEVICES}
        """Event time and whether it is history, of what the gateway kept."""
        self.left: set[tuple[str, str, int]] = set()
        self.start()

    def start(self, devices: Sequence[str] = DEVICES) -> None:
        bounds = Bounds(10**9)
        self.disk = Disk(self.folder / "edge.db", bounds, self.clock, asyncio.Event())
        self.sender = Sender("north", devices, self.clock, self.disk)

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Take messages as the broker would; stands in for a session."""
        assert len(messages) <= lanes.PASS_MAX
        for message in messages:
            if not self.connected:
                raise Unreachable("gone")
            device = topics.parse(message.topic).device
            batch = codec.decode(message.payload, TelemetryBatch)
            name = (device, batch.boot, batch.sequence)
            if name not in self.left and not batch.historical:
                assert self.clock.ns - batch.times_ns[-1] <= FRESH_S * S, "old data left as live"
            self.left.add(name)
            self.queue.append((device, batch))

    async def read(self, device: str) -> None:
        time_ns = self.clock.ns
        self.taken[device].append(time_ns)
        self.disk.keep(device, (Reading(time_ns, {"x": 1.0}, {"x": Quality.GOOD}),))
        await self.disk.flush()

    def hear(self) -> None:
        """Let the gateway work on what the broker holds, if it is there."""
        if not self.gateway_up:
            return
        queue, self.queue = self.queue, []
        for device, batch in queue:
            name = device, batch.boot
            before = self.positions.get(name, intake.Position())
            after, fresh = intake.accept(before, batch.sequence, batch.oldest)
            self.positions[name] = after
            if fresh:
                self.arrived[device].append((batch.times_ns[0], batch.historical))
            if self.connected:
                self.sender.acknowledged(device, batch.boot, after.contiguous)

    async def send(self) -> None:
        session: Session = self  # type: ignore[assignment]
        if self.connected:
            await self.sender.send(session)
        self.hear()
        held = self.disk.spool.held()
        assert all(sum(d == device for d, _, _ in held) <= lanes.LANES_MAX for device in DEVICES)

    def reconnect(self) -> None:
        self.connected = True
        self.sender.reconnected()

    async def kill(self) -> None:
        """Lose all that is only in memory, and start again."""
        self.disk.close()
        self.start()

    async def drain(self) -> None:
        self.gateway_up = True
        self.reconnect()
        for _ in range(2000):
            await self.send()
            await self.disk.flush()
            if not self.disk.spool.held():
                return
            self.clock.ns += S
        raise AssertionError("not drained")

    async def do(self, what: str, number: int) -> None:
        match what:
            case "run":
                for _ in range(number):
                    self.clock.ns += S
                    for device in DEVICES:
                        await self.read(device)
                    await self.send()
            case "wait":
                self.clock.ns += number * 10 * S
                await self.send()
            case "cut":
                self.connected = False
            case "reconnect":
                self.reconnect()
            case "forget":
                self.queue.clear()
            case "gateway":
                self.gateway_up = not self.gateway_up
            case "kill":
                await self.kill()


Steps = st.lists(
    st.tuples(
        st.sampled_from(["run", "wait", "cut", "reconnect", "forget", "gateway", "kill"]),
        st.integers(1, 40),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None)
@given(Steps)
def test_everything_arrives_once_whatever_happens_on_the_way(steps: list[tuple[str, int]]) -> None:
    async def live(folder: Path) -> None:
        world = World(folder)
        try:
            for what, number in steps:
                await world.do(what, number)
            await world.drain()
            for device in DEVICES:
                arrived = [time_ns for time_ns, _ in world.arrived[device]]
                assert sorted(arrived) == world.taken[device], "lost or doubled"
        finally:
            world.disk.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(live(Path(folder)))


async def test_live_overtakes_an_hour_of_backlog_after_a_reconnect(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.do("run", 5)
    world.connected = False
    await world.do("run", 600)
    world.clock.ns += 3600 * S
    world.reconnect()
    await world.send()
    await world.do("run", 10)
    newest = world.taken["a"][-1]
    live = [t for t, historical in world.arrived["a"] if not historical]
    assert live == [*world.taken["a"][:5], *world.taken["a"][-10:]]
    assert live[-1] == newest
    history = [t for t, historical in world.arrived["a"] if historical]
    assert history == sorted(history), "history comes in order"
    assert 0 < len(history) < 600, "it is still being drained"
    await world.drain()
    assert sorted(t for t, _ in world.arrived["a"]) == world.taken["a"]
    world.disk.close()


async def test_live_overtakes_when_the_gateway_comes_back(tmp_path: Path) -> None:
    """The broker stays all the time; it holds what the window let leave."""
    world = World(tmp_path)
    await world.do("run", 5)
    world.gateway_up = False
    await world.do("run", 400)
    assert sum(device == "a" for device, _, _ in world.disk.spool.held()) == 1, "silence costs none"
    world.gateway_up = True
    await world.do("run", 3)
    live = [t for t, historical in world.arrived["a"] if not historical]
    assert live[-1] >= world.taken["a"][-2]
    assert len(world.arrived["a"]) < 400, "while the backlog waits"
    await world.drain()
    assert sorted(t for t, _ in world.arrived["a"]) == world.taken["a"]
    world.disk.close()


async def test_backlogs_keep_within_their_share(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.connected = False
    await world.do("run", 200)
    world.clock.ns += 3600 * S
    world.reconnect()
    world.gateway_up = False
    for _ in range(10):
        await world.send()
    assert len(world.queue) <= lanes.BACKLOG_IN_FLIGHT
    assert {device for device, _ in world.queue} == set(DEVICES), "devices take turns"
    assert len(world.queue) >= window.WINDOW
    world.disk.close()


async def test_restarts_begin_no_more_numberings_than_the_gateway_remembers(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.connected = False
    for _ in range(40):
        await world.do("run", 1)
        await world.kill()
    held = [boot for device, boot, _ in world.disk.spool.held() if device == "a"]
    assert len(held) == lanes.LANES_MAX
    await world.drain()
    assert sorted(t for t, _ in world.arrived["a"]) == world.taken["a"]
    world.disk.close()


async def test_what_a_device_left_behind_is_drained_though_nobody_polls_it_now(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    world.connected = False
    await world.do("run", 20)
    world.disk.close()
    world.start(devices=["a"])
    assert sorted(world.sender.devices) == ["a", "b"], "both are listened to for acks"
    await world.drain()
    assert [t for t, _ in world.arrived["b"]] == world.taken["b"]
    world.disk.close()
