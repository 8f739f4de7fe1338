"""The path's benchmark measures what it says: real messages, none lost unseen, fair figures."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.adapters import broker
from contract import codec, topics
from contract.telemetry import Ack, TelemetryBatch
from contract.topics import Channel
from tests import peers
from tests.bench import path_machines, path_packets, path_process, path_receivers, path_targets
from tests.bench.path_full import Case, Found
from tests.bench.path_gateway import Seen
from tests.bench.path_load import Done, Order, Setup
from tests.bench.path_packets import SITE
from tests.bench.path_phases import Phase, problem
from tests.bench.path_process import ROOT
from tests.bench.path_receivers import Received

NOW_NS = 1_795_330_800_000_000_000
MESSAGES = 500
QUICK_S = 480
"""A busy machine is no fault, and the first run compiles."""


def packets(machine_type: str, devices: int, count: int, qos: int) -> list[tuple[str, int, bytes]]:
    """Return topic, packet id and payload of what the generator would send."""
    template = path_packets.template(machine_type, devices, "testtest")
    sent, acked = np.zeros(devices, np.int64), np.zeros(devices, np.int64)
    out = np.empty(count * path_packets.PACKET_MAX, np.uint8)
    size = path_packets.fill(out, *template, sent, acked, 0, count, NOW_NS, qos)
    data, found = bytes(out[:size]), []
    while data:
        assert data[0] == (0x32 if qos else 0x30)
        length, begin = data[1] & 0x7F | data[2] << 7, 3
        body, data = data[begin : begin + length], data[begin + length :]
        end = 2 + int.from_bytes(body[:2])
        topic = body[2:end].decode()
        number = int.from_bytes(body[end : end + 2]) if qos else 0
        found.append((topic, number, body[end + (2 if qos else 0) :]))
    return found


@pytest.mark.parametrize("machine_type", ["ten_signals", "centrifugal_pump"])
@pytest.mark.parametrize("qos", [0, 1])
def test_what_is_sent_is_what_the_contract_says(machine_type: str, qos: int) -> None:
    found = packets(machine_type, 37, MESSAGES, qos)
    assert len(found) == MESSAGES
    kind = path_machines.machine(machine_type)
    sequences: dict[str, int] = {}
    batches = []
    for text, number, payload in found:
        topic = topics.parse(text)
        assert (topic.site, topic.channel) == (SITE, Channel.TELEMETRY)
        assert bool(number) == bool(qos)
        batch = codec.decode(payload, TelemetryBatch)
        batch.check()
        assert codec.encode(batch) == payload  # byte for byte what our own sender writes
        assert batch.signals == [signal.name for signal in kind.signals]
        low_high = [signal.range for signal in kind.signals]
        values = [value for value in batch.values[0] if value is not None]
        assert all(a <= v <= b for v, (a, b) in zip(values, low_high, strict=True))
        assert batch.sequence == sequences.get(topic.device, 0) + 1
        assert batch.oldest == 1
        sequences[topic.device] = batch.sequence
        batches.append(batch)
    assert len(sequences) == 37
    assert all(a.times_ns[0] < b.times_ns[0] for a, b in pairwise(batches))


@given(
    st.lists(st.tuples(st.integers(0, 99_999), st.integers(1, 10**9)), max_size=20),
    st.lists(st.integers(0, 2000), max_size=6),
)
def test_acks_are_read_wherever_the_stream_is_cut(
    acks: list[tuple[int, int]], cuts: list[int]
) -> None:
    stream, expected = b"", np.zeros(100_000, np.int64)
    for number, sequence in acks:
        topic = topics.build(SITE, path_packets.device(number), Channel.ACK).encode()
        body = len(topic).to_bytes(2) + topic
        body += codec.encode(Ack(boot="testtest00000000", sequence=sequence))
        size = [len(body)] if len(body) < 128 else [len(body) & 0x7F | 0x80, len(body) >> 7]
        stream += bytes([0x30, *size]) + body + b"\x40\x02\x00\x07"
        expected[number] = max(expected[number], sequence)
    acked, found, held = np.zeros(100_000, np.int64), np.zeros(3, np.int64), b""
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    for begin, end in pairwise(places):
        held += stream[begin:end]
        data = np.frombuffer(held, np.uint8)
        held = held[path_packets.read_acks(data, len(data), acked, found) :]
    assert not held
    assert (acked == expected).all()
    assert found.tolist() == [expected.sum(), len(acks), 0]


def counted(**counts: float) -> Seen:
    whole = dict.fromkeys(("batches_accepted", "readings_scored", "series_rows_written"), 50.0)
    return Seen(whole | counts, {"healthy": 10.0}, [])


NOTHING = Seen({}, {}, [])
ALL = Done(sent=50, through=50, seconds=1.0, through_seconds=1.0, cpu_s=0.0, bytes_sent=9, total=50)


@pytest.mark.parametrize(
    ("rate", "done", "after", "said"),
    [
        (0.0, ALL, counted(), ""),
        (50.0, ALL, counted(), ""),
        (60.0, ALL, counted(), "50 of 60 messages/s kept"),
        (0.0, msgspec.structs.replace(ALL, through=49), counted(), "1 of 50 messages not ack"),
        (0.0, ALL, counted(series_rows_written=49.0), "series_rows_written 49 of 50"),
        (0.0, ALL, counted(readings_scored=51.0), "readings_scored 51 of 50"),
        (0.0, ALL, counted(batches_throttled=2.0), "batches_throttled 2"),
        (0.0, ALL, Seen(counted().counts, {"commissioning": 10.0}, []), "machines were"),
    ],
)
def test_a_load_of_which_anything_was_lost_gives_no_figure(
    rate: float, done: Done, after: Seen, said: str
) -> None:
    assert problem(10, rate, done, (NOTHING, after)).startswith(said)
    assert bool(problem(10, rate, done, (NOTHING, after))) == bool(said)


def test_quantiles_lie_inside_their_bucket() -> None:
    before = Seen({}, {}, [(0.001, 5.0), (0.002, 5.0), (0.01, 5.0), (float("inf"), 5.0)])
    after = Seen({}, {}, [(0.001, 5.0), (0.002, 55.0), (0.01, 105.0), (float("inf"), 106.0)])
    assert after.delay_s(before, 0.25) == pytest.approx(0.001505, rel=0.01)
    assert after.delay_s(before, 0.99) == pytest.approx(0.01, rel=0.02)
    assert after.delay_s(before, 1.0) == float("inf")
    assert np.isnan(before.delay_s(before, 0.5))


def phase(**changes: Any) -> Phase:
    made: dict[str, Any] = dict.fromkeys(Phase.__struct_fields__, 0)
    made |= {
        "store": "embedded", "machine_type": "ten_signals", "devices": 100, "qos": 0, "values": 10,
        "cpu_us": 5.0, "messages_per_s": 1e5, "p99_ms": 50.0, "invalid": "", "spread": [],
    }  # fmt: skip
    return Phase(**(made | changes))


@pytest.mark.parametrize(("cpu_us", "reached"), [(6.0, True), (6.1, False)])
def test_targets_are_judged_by_the_same_runs_paho(cpu_us: float, reached: bool) -> None:
    paho = Received("paho-mqtt", "2", 0, 10.0, [10.0], 1e5, 25.0)
    flat, slow = phase(cpu_us=cpu_us), phase(cpu_us=99.0, invalid="1 lost")
    path = Found([Case(flat, phase()), Case(slow, slow)], [], [], [])
    targets = path_targets.judge([paho], path, None, None)
    assert targets[0].reached is reached
    assert [t.reached for t in targets[1:]] == [None, True, None, True, None, None]


@pytest.fixture
def running(tmp_path: Path) -> Any:
    peers.program("mosquitto", "mosquitto")
    users = [broker.User("gateway"), broker.User(SITE, SITE)]
    with broker.start(tmp_path / "broker", users, kind=broker.Kind.MOSQUITTO) as found:
        yield found


@pytest.mark.real
@pytest.mark.parametrize("job", [("floor", "", 0), ("paho-mqtt", "2", 0), ("paho-mqtt", "2", 1)])
def test_receivers_get_every_message(running: broker.Broker, job: tuple[str, str, int]) -> None:
    found = path_receivers._one(running, (SITE, "gateway"), job, 1000, 2)
    assert len(found.phases_cpu_us) == 2
    assert 0.0 < found.cpu_us < 10_000
    assert found.rss_mib > 1


@pytest.mark.real
def test_the_generator_says_what_did_not_come_through(
    running: broker.Broker, tmp_path: Path
) -> None:
    setup = Setup(running.port, SITE, running.password(SITE), "ten_signals", 5, "testtest")
    with path_process.generator(setup, tmp_path) as load:
        done = load.run(Order(100, 1, window=40, patience_s=0.5))  # nobody acknowledges
    assert (done.sent, done.through) == (40, 0)


def measured(folder: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, str(ROOT / "tests" / "bench" / "bench_path.py"), "--quick"]
    files = ["--out", str(folder / "page.md"), "--report", str(folder / "report.json")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, *files, *arguments], stdout=log, stderr=log)
    try:
        code = process.wait(QUICK_S)
    finally:
        path_process.end(process)  # politely: it has children
    assert not code, (folder / "log").read_text()
    assert (folder / "images" / "benchmark-path.svg").stat().st_size > 1000
    found: dict[str, Any] = msgspec.json.decode((folder / "report.json").read_bytes())
    return found


@pytest.mark.real
@pytest.mark.timeout(2 * QUICK_S)
def test_the_whole_path_is_measured_and_loses_nothing(tmp_path: Path) -> None:
    peers.program("mosquitto", "mosquitto")
    found = measured(tmp_path, "--sections", "full")
    assert not found["path"]["missing"]
    for case in found["path"]["cases"]:
        assert not case["flat_out"]["invalid"]
        assert case["flat_out"]["cpu_us"] > 0.5
    assert len(found["path"]["cases"]) == 4
    assert all(kept["rows"] == kept["sent"] for kept in found["path"]["stored"])


@pytest.mark.real
@pytest.mark.timeout(2 * QUICK_S)
def test_the_outage_of_a_real_database_loses_nothing(tmp_path: Path) -> None:
    peers.program("mosquitto", "mosquitto")
    peers.program("influxd", "influxdb")
    found = measured(tmp_path, "--sections", "outage")["outage"]
    assert found["rows_waiting"] > 1000
    assert found["sent"] > 10_000
    assert (found["lost"], found["invalid"]) == (0, "")
