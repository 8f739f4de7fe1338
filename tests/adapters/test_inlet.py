"""A worker's inlet against real brokers, with them dying in between."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiomqtt
import pytest

from cloud.adapters import broker as brokers
from cloud.adapters import inlet as inlets
from cloud.adapters.inlet import Inlet
from cloud.adapters.wire import Reader, Taken, length
from cloud.core.asset import AssetRow
from contract import codec, machines, topics
from contract.telemetry import Ack, TelemetryBatch
from contract.topics import Channel
from tests import peers

S = 10**9
NOW_NS = 1_795_000_000 * S
LIBRARY = machines.library()
SIGNALS = [signal.name for signal in LIBRARY["water_pump_rig"].signals]
ASSETS = {
    name: AssetRow(device=name, site="plant", machine_type="water_pump_rig")
    for name in ("pump-1", "pump-2")
}
FILTERS = topics.subscriptions(Channel.TELEMETRY)


def message(device: str, sequence: int) -> tuple[str, bytes]:
    batch = TelemetryBatch(
        signals=SIGNALS,
        times_ns=[NOW_NS + sequence * S],
        values=[[sequence + 0.25 * j for j in range(len(SIGNALS))]],
        boot="run1",
        sequence=sequence,
    )
    return topics.build("plant", device, Channel.TELEMETRY), codec.encode(batch)


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile what would otherwise hold up the loop, and let every limit of time pass, later."""
    reader, (topic, payload) = Reader(ASSETS, LIBRARY), message("pump-1", 1)
    body = len(topic).to_bytes(2) + topic.encode() + payload
    reader.take(bytearray(b"\x30" + length(len(body)) + body), NOW_NS + S, 0.0)
    assert reader.acks()


class Worker:
    """The smallest worker: takes, keeps in memory, acknowledges."""

    def __init__(self, inlet: Inlet) -> None:
        self.inlet, self.reader = inlet, Reader(ASSETS, LIBRARY)
        self.times: list[tuple[int, int]] = []
        self.repeated = 0
        self.packets = b""
        self.others: list[bytes] = []

    async def handle(self, buffer: bytearray) -> Taken:
        taken = self.reader.take(buffer, NOW_NS + 10**6 * S, asyncio.get_running_loop().time())
        await asyncio.sleep(0)  # a commit
        rows = taken.rows
        self.times += zip(rows.device.tolist(), rows.times_ns.tolist(), strict=True)
        self.repeated += taken.repeated
        self.packets += taken.packets
        self.others += taken.others
        self.inlet.send(self.reader.acks())
        return taken

    def sequences(self, device: int) -> list[int]:
        return [(time_ns - NOW_NS) // S for d, time_ns in self.times if d == device]


async def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  # watches from outside
            await asyncio.sleep(0.01)


@asynccontextmanager
async def working(
    url: str, username: str, password: str, name: str = "worker-0"
) -> AsyncIterator[Worker]:
    inlet = Inlet(url, username, password, name, FILTERS)
    worker = Worker(inlet)
    task = asyncio.create_task(inlet.run(worker.handle))
    try:
        await until(lambda: inlet.connected or task.done())
        yield worker
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def plant(port: int, username: str, password: str) -> aiomqtt.Client:
    return aiomqtt.Client("127.0.0.1", port, username=username, password=password, timeout=60)


@pytest.mark.real
@pytest.mark.parametrize("qos", [0, 1])
async def test_telemetry_comes_and_acknowledgements_go(
    mosquitto: peers.Mosquitto, monkeypatch: pytest.MonkeyPatch, qos: int
) -> None:
    for limit in ("ANSWER_TIMEOUT_S", "CONNECT_TIMEOUT_S"):  # or a stall makes it speak 3.1.1
        monkeypatch.setattr(inlets, limit, 60.0)
    account = mosquitto.username, mosquitto.password
    async with (
        working(mosquitto.url, *account, f"in-{qos}") as worker,
        plant(mosquitto.port, *account) as client,
    ):
        await client.subscribe(topics.build("plant", "pump-2", Channel.ACK))
        for sequence in range(1, 301):
            for device in ASSETS:
                topic, payload = message(device, sequence)
                await client.publish(topic, payload, qos=qos)
        await until(lambda: len(worker.times) == 600)
        assert worker.sequences(0) == worker.sequences(1) == list(range(1, 301))
        assert worker.others[0][0] == 0x20
        assert len(worker.others[0]) > 4, "mosquitto speaks MQTT 5"
        async with asyncio.timeout(60):
            async for item in client.messages:
                assert isinstance(item.payload, bytes)
                if codec.decode(item.payload, Ack) == Ack(boot="run1", sequence=300):
                    break
    again = Reader(ASSETS, LIBRARY).replay(worker.packets)
    assert [(t - NOW_NS) // S for t in again.times_ns[again.device == 0]] == list(range(1, 301))


@pytest.mark.real
async def test_what_the_broker_still_holds_comes_again_after_it_died(
    mosquitto: peers.Mosquitto,
) -> None:
    account = mosquitto.username, mosquitto.password
    async with working(mosquitto.url, *account, "dies") as worker:
        for round_ in range(3):
            async with plant(mosquitto.port, *account) as client:
                for sequence in range(1, 50 * round_ + 51):
                    await client.publish(*message("pump-1", sequence), qos=1)
            await until(lambda: max(worker.sequences(0), default=0) == 50 * round_ + 50)  # noqa: B023
            mosquitto.kill()
            await until(lambda: not worker.inlet.connected)
            worker.inlet.send(b"\xc0\0")  # nowhere to go: dropped
            mosquitto.restart()
            await until(lambda: worker.inlet.connected)
        assert worker.sequences(0) == list(range(1, 151)), "each once, in order"
        assert worker.repeated >= 50 + 100


@pytest.mark.real
async def test_a_session_keeps_messages_while_the_worker_is_away(
    mosquitto: peers.Mosquitto,
) -> None:
    account = mosquitto.username, mosquitto.password
    async with working(mosquitto.url, *account, "away"):
        pass
    async with plant(mosquitto.port, *account) as client:
        for sequence in range(1, 301):
            await client.publish(*message("pump-1", sequence), qos=1)
    async with working(mosquitto.url, *account, "away") as worker:
        await until(lambda: len(worker.times) == 300)
        assert worker.sequences(0) == list(range(1, 301))


@pytest.mark.real
async def test_a_wrong_password_is_told_and_tried_again(
    mosquitto: peers.Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    inlet = Inlet(mosquitto.url, mosquitto.username, "wrong", "liar", FILTERS)
    worker = Worker(inlet)
    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(inlet.run(worker.handle))
        told = re.compile("(?s)(not authorized|bad user name or password).*trying again.*trying")
        await until(lambda: told.search(caplog.text))
        task.cancel()
    assert not inlet.connected
    assert not worker.others


async def test_a_broker_of_3_1_1_is_spoken_to_in_3_1_1(tmp_path: Path) -> None:
    users = [brokers.User("gateway"), brokers.User("edge", "plant")]
    with brokers.start(tmp_path, users, kind=brokers.Kind.AMQTT) as amqtt:
        async with (
            working(amqtt.url, "gateway", amqtt.password("gateway")) as worker,
            plant(amqtt.port, "edge", amqtt.password("edge")) as client,
        ):
            await client.subscribe(topics.build("plant", "pump-1", Channel.ACK))
            for sequence in range(1, 51):
                await client.publish(*message("pump-1", sequence), qos=sequence % 2)
            await until(lambda: len(worker.times) == 50)
            assert sorted(worker.sequences(0)) == list(range(1, 51))
            assert worker.others[0] == b"\x20\2\0\0"
            async with asyncio.timeout(60):
                async for item in client.messages:
                    assert isinstance(item.payload, bytes)
                    if codec.decode(item.payload, Ack).sequence == 50:
                        break


async def test_what_is_no_broker_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    greetings = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\x20\xff\xff\xff\xff\xff", b"\x20\x02"]

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(greetings.pop(0) if greetings else b"")
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    inlet = Inlet(f"mqtt://127.0.0.1:{port}", "a", "b", "c", FILTERS)
    worker = Worker(inlet)
    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(inlet.run(worker.handle))
        await until(lambda: caplog.text.count("trying again") >= 3)
        task.cancel()
    server.close()
    assert "not an MQTT broker" in caplog.text
    assert "answers neither" in caplog.text
    assert not worker.others


async def test_a_silent_broker_is_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inlets, "KEEPALIVE_S", 0)  # looks again at once
    monkeypatch.setattr(inlets, "SILENCE_S", 0.3)
    monkeypatch.setattr(Inlet, "_hello", lambda self, version: b"\x10\0")
    pings = 0

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal pings
        writer.write(b"\x20\x03\0\0\0")
        while data := await reader.read(1000):
            pings += data.count(b"\xc0\0")
        writer.close()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    inlet = Inlet(f"mqtt://127.0.0.1:{port}", "a", "b", "c", FILTERS)
    with caplog.at_level(logging.WARNING):
        task = asyncio.create_task(inlet.run(Worker(inlet).handle))
        await until(lambda: "is silent" in caplog.text and "trying again" in caplog.text)
        task.cancel()
    server.close()
    assert pings
