"""The reader's rules: positions, journal, throttle, quarantine and packets in pieces."""

import zlib
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.adapters import wire_fast, wire_kernel
from cloud.adapters.wire import WHOLE_MAX, Reader, Rows, Taken, length
from cloud.adapters.wire_boots import BOOTS_MAX, Saved
from cloud.core.asset import AssetRow
from cloud.core.intake import Limits, Position, accept
from contract import codec, machines, topics
from contract.errors import Malformed
from contract.telemetry import Ack, TelemetryBatch
from contract.topics import Channel

S = 10**9
NOW_NS = 1_795_000_000 * S
LIBRARY = machines.library()
SIGNALS = [signal.name for signal in LIBRARY["water_pump_rig"].signals]
ASSETS = {
    name: AssetRow(device=name, site="plant", machine_type=kind)
    for name, kind in {
        "pump-1": "water_pump_rig",
        "pump-2": "water_pump_rig",
        "chiller-1": "chiller",
    }.items()
}
V5_STREAM, V3_STREAM = b"\x20\3\0\0\0", b"\x20\2\0\0"


def reader(**limits: float) -> Reader:
    return Reader(ASSETS, LIBRARY, Limits(**limits))


def publish(
    topic: str, payload: bytes, packet_id: int = 0, properties: bytes | None = None
) -> bytes:
    body = len(topic.encode()).to_bytes(2) + topic.encode()
    body += packet_id.to_bytes(2) if packet_id else b""
    if properties is not None:
        body += length(len(properties)) + properties
    body += payload
    return bytes([0x32 if packet_id else 0x30]) + length(len(body)) + body


def telemetry(device: str) -> str:
    return topics.build("plant", device, Channel.TELEMETRY)


def batch(sequence: int = 0, boot: str = "", oldest: int = 0, ticks: int = 1) -> TelemetryBatch:
    return TelemetryBatch(
        signals=SIGNALS[:3],
        times_ns=[NOW_NS - 10**6 * S + sequence * S + i for i in range(ticks)],
        values=[[sequence + 0.1 * i, None, -1.5] for i in range(ticks)],
        boot=boot,
        sequence=sequence,
        oldest=oldest,
    )


def packet(device: str = "pump-1", sequence: int = 0, boot: str = "", **more: int) -> bytes:
    return publish(telemetry(device), codec.encode(batch(sequence, boot, **more)))


def take(to: Reader, *packets: bytes, now_ns: int = NOW_NS, now_s: float = 0.0) -> Taken:
    data = b"".join(packets)
    taken = to.take(data, now_ns, now_s)
    assert taken.used == len(data)
    return taken


def acks(of: Reader) -> dict[tuple[str, str], int]:
    """Read `acks` as a broker would, in 3.1.1."""
    data, found = of.acks(), {}
    while data:
        assert data[0] == 0x30
        size, at = data[1] & 127, 2
        if data[1] > 127:
            size, at = size | data[2] << 7, 3
            assert size > 127, "not in as few bytes as possible"
        body, data = data[at : at + size], data[at + size :]
        end = 2 + int.from_bytes(body[:2])
        topic, ack = topics.parse(body[2:end].decode()), codec.decode(body[end:], Ack)
        assert topic.channel is Channel.ACK
        assert (topic.device, ack.boot) not in found, "told twice"
        found[topic.device, ack.boot] = ack.sequence
    return found


def positions(of: Reader) -> list[Saved]:
    return sorted(msgspec.msgpack.decode(of.positions(), type=list[Saved]), key=repr)


def same(a: Rows, b: Rows) -> None:
    for one, other in zip(a, b, strict=True):
        np.testing.assert_array_equal(one, other)
        assert np.asarray(one).dtype == np.asarray(other).dtype


def joined(parts: Iterable[Rows]) -> Rows:
    return Rows(*map(np.concatenate, zip(*parts, strict=True)))


def test_compiled_code_is_made_anew_when_its_parts_change() -> None:
    here = Path(wire_kernel.__file__).parent
    number, kernel = ((here / f"wire_{name}.py").read_bytes() for name in ("number", "kernel"))
    hint = "COMPILED_WITH in {} must be {:#010X}: its cached code would be of an older version"
    of_kernel, of_fast = zlib.crc32(number), zlib.crc32(kernel + number)
    assert of_kernel == wire_kernel.COMPILED_WITH, hint.format("wire_kernel.py", of_kernel)
    assert of_fast == wire_fast.COMPILED_WITH, hint.format("wire_fast.py", of_fast)


def test_a_batch_becomes_rows() -> None:
    taken = take(reader(), packet("pump-2", 1, "b", ticks=2), packet("chiller-1"))
    rows = taken.rows
    assert reader().devices == ["chiller-1", "pump-1", "pump-2"]
    assert reader().width == len(LIBRARY["chiller"].signals)
    assert rows.device.tolist() == [2, 2]
    assert rows.values.shape == rows.quality.shape == (2, reader().width)
    assert rows.values[1, [0, 2]].tolist() == [1.1, -1.5]
    assert np.isnan(rows.values[:, [1, *range(3, reader().width)]]).all()
    assert rows.quality[0].tolist() == [0, 3, 0] + [3] * (reader().width - 3)
    assert rows.times_ns.tolist() == batch(1, ticks=2).times_ns
    assert not rows.historical.any()
    assert taken.accepted == 1
    assert [reason[:47] for *_, reason in taken.quarantined] == [
        "none of its signals belongs to the machine type"
    ]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["pump-1", "pump-2"]),
            st.sampled_from(["a", "b", 'odd "name"', "ü" * 32]),
            st.integers(1, 12),
            st.integers(0, 14),
        ),
        max_size=60,
    ),
    st.integers(1, 9),
)
def test_each_batch_once_as_the_core_rules_say(
    batches: list[tuple[str, str, int, int]], per_group: int
) -> None:
    under_test = reader()
    positions: dict[tuple[str, str], Position] = {}
    for i in range(0, len(batches), per_group):
        group = batches[i : i + per_group]
        kept = []
        for device, boot, sequence, oldest in group:
            before = positions.get((device, boot), Position())
            positions[device, boot], fresh = accept(before, sequence, oldest)
            if fresh:
                kept.append((under_test.devices.index(device), float(sequence)))
        taken = take(under_test, *(packet(d, s, b, oldest=o) for d, b, s, o in group))
        found = zip(taken.rows.device.tolist(), taken.rows.values[:, 0].tolist(), strict=True)
        assert list(found) == kept
        assert taken.repeated == len(group) - len(kept)
        expected = {(d, b): positions[d, b].contiguous for d, b, *_ in group}
        assert acks(under_test) == expected
        assert under_test.acks() == b""


ARRIVALS = st.lists(
    st.tuples(st.sampled_from(["pump-1", "pump-2"]), st.sampled_from("ab"), st.integers(1, 8)),
    max_size=30,
)


@settings(max_examples=60)
@given(ARRIVALS, ARRIVALS, ARRIVALS)
def test_what_the_journal_refused_has_never_been(
    first: list[tuple[str, str, int]],
    refused: list[tuple[str, str, int]],
    then: list[tuple[str, str, int]],
) -> None:
    one, other = reader(), reader()
    for under_test in one, other:
        take(under_test, *(packet(d, s, b) for d, b, s in first))
    taken = take(one, *(packet(d, s, b) for d, b, s in refused))
    same(one.rows(taken.packets), taken.rows)  # somebody else reads meanwhile
    one.undo()
    assert positions(one) == positions(other)
    assert acks(one) == acks(other)
    a, b = (take(under_test, *(packet(d, s, b) for d, b, s in then)) for under_test in (one, other))
    same(a.rows, b.rows)
    assert positions(one) == positions(other)
    assert acks(one) == acks(other)


def test_what_compiled_code_counted_is_taken_back_too() -> None:
    under_test = reader()
    take(under_test, packet(sequence=1, boot="a"))
    before = positions(under_test)
    acks(under_test)
    for _ in range(2):
        taken = take(under_test, *(packet(sequence=i, boot="a") for i in (2, 3, 4)))
        assert taken.accepted == 3
        same(under_test.rows(taken.packets), taken.rows)  # somebody else reads meanwhile
        under_test.undo()
        assert positions(under_test) == before
        assert acks(under_test) == {}


@settings(max_examples=60)
@given(st.lists(ARRIVALS, max_size=4))
def test_the_journal_reads_as_the_wire_did(groups: list[list[tuple[str, str, int]]]) -> None:
    live, again, restored = reader(), reader(), reader()
    packets, rows = b"", [reader().rows(b"")]
    for group in groups:
        taken = take(live, *(packet(d, s, b, ticks=1 + s % 3) for d, b, s in group))
        packets += taken.packets
        rows.append(taken.rows)
    same(again.replay(packets), joined(rows))
    assert positions(again) == positions(live)
    assert again.acks() == b""
    same(reader().rows(packets), joined(rows))
    before = again.positions()
    same(again.rows(packets), joined(rows))
    same(again.replay(packets), joined(rows))
    assert again.positions() == before
    restored.restore(live.positions())
    assert positions(restored) == positions(live)
    assert take(restored, packets).accepted == 0


def test_the_stream_may_be_cut_anywhere() -> None:
    stream = b"".join(
        [
            V5_STREAM,
            publish(telemetry("pump-1"), codec.encode(batch(1, "a")), 7, b""),
            publish(telemetry("pump-2"), b"{nonsense", 8, b"\x26\0\1k\0\1v"),
            b"\xd0\0",
            publish("x" * 300, b"", 9, b""),
            publish(telemetry("pump-1"), codec.encode(batch(2, "a", ticks=3)), 10, b"\1\1"),
        ]
    )
    whole = reader()
    expected = whole.take(stream, NOW_NS, 0.0)
    assert (expected.used, expected.accepted) == (len(stream), 2)
    for cut in range(1, len(stream)):
        parts = reader()
        a = parts.take(stream[:cut], NOW_NS, 0.0)
        assert a.used <= cut
        b = parts.take(bytearray(stream[a.used :]), NOW_NS, 0.0)
        assert a.used + b.used == len(stream)
        same(joined([a.rows, b.rows]), expected.rows)
        assert a.pubacks + b.pubacks == expected.pubacks
        assert a.pubacks + b.pubacks == b"".join(bytes([0x40, 2, 0, i]) for i in (7, 8, 9, 10))
        assert a.others + b.others == expected.others == [V5_STREAM, b"\xd0\0"]
        assert a.quarantined + b.quarantined == expected.quarantined
        same(reader().replay(a.packets + b.packets), expected.rows)
        assert positions(parts) == positions(whole)


def test_both_protocols_are_read_and_spoken() -> None:
    payload = codec.encode(batch(1, "a"))
    v5, v3 = reader(), reader()
    plain = publish(telemetry("pump-1"), payload, 1)
    five = publish(telemetry("pump-1"), payload, 1, b"\x03\0\4json")
    one, other = take(v5, V5_STREAM, five), take(v3, V3_STREAM, plain)
    same(one.rows, other.rows)
    assert (one.packets, other.packets) == (V5_STREAM + five, V3_STREAM + plain)
    same(reader().rows(one.packets + other.packets), joined([one.rows, other.rows]))
    ack5, ack3 = v5.acks(), v3.acks()
    assert ack5[1] == ack3[1] + 1
    assert ack5[2:].replace(b"ack\0{", b"ack{") == ack3[2:]
    # what the journal holds does not change what the connection speaks
    v5.replay(other.packets)
    five = publish(telemetry("pump-1"), codec.encode(batch(2, "a")), 1, b"")
    assert take(v5, five).accepted == 1


def test_a_flooding_device_is_throttled_alone_and_nothing_of_it_is_acknowledged() -> None:
    under_test = reader(batches_per_s=10.0, burst_batches=5.0)
    flood = [packet("pump-1", i, "a") for i in range(1, 21)]
    taken = take(under_test, *flood, packet("pump-2", 1, "b"), now_s=100.0)
    assert taken.throttled == {under_test.devices.index("pump-1"): 15}
    assert acks(under_test) == {("pump-1", "a"): 5, ("pump-2", "b"): 1}
    taken = take(under_test, *flood[5:], now_s=100.25)
    assert taken.accepted == 2, "two and a half more, by then"
    assert acks(under_test) == {("pump-1", "a"): 7}
    assert take(under_test, *flood[7:], now_s=99.0).accepted == 0, "a clock that went back"
    assert take(under_test, *flood[7:], now_s=10_000.0).accepted == 5, "no more than a burst"
    nonsense = [publish(telemetry("pump-1"), b"{")] * 10
    assert len(take(under_test, *nonsense, now_s=20_000.0).quarantined) == 5


def changed(**fields: object) -> bytes:
    known = msgspec.to_builtins(batch(3, "a"))
    return msgspec.json.encode(known | fields)


AHEAD_NS = NOW_NS + 300 * S


@pytest.mark.parametrize(
    ("payload", "reason", "counts"),
    [
        (b"", "not a TelemetryBatch", False),
        (b"\xff{}", "not a TelemetryBatch", False),
        (changed(v=2), "version 2", False),
        (changed(times_ns=[1.5]), "not a TelemetryBatch", False),
        (changed(sequence=2**63), "larger than", False),
        (changed(boot=""), "come together", False),
        (changed(sequence=0), "come together", False),
        (changed(times_ns=[1, 1], values=[[1, 2, 3]] * 2), "do not increase", True),
        (changed(values=[[1, 2]]), "values must have", True),
        (changed(quality=[[0, 0]]), "quality must have", True),
        (changed(signals=[SIGNALS[0]] * 3), "named twice", True),
        (changed(signals=["x", "y", "z"]), "none of its signals", True),
        (changed(times_ns=[AHEAD_NS + 1]), "ahead of the gateway", True),
    ],
)
def test_what_cannot_be_used_is_kept_with_its_reason(
    payload: bytes, reason: str, *, counts: bool
) -> None:
    under_test = reader()
    take(under_test, packet(sequence=1, boot="a"), packet(sequence=2, boot="a"))
    acks(under_test)
    taken = take(under_test, publish(telemetry("pump-1"), payload, 5))
    assert (taken.accepted, taken.packets, taken.rows.device.size) == (0, b"", 0)
    assert [item[:2] for item in taken.quarantined] == [(telemetry("pump-1"), payload)]
    assert reason in taken.quarantined[0][2]
    assert taken.pubacks == b"\x40\2\0\5"
    # else its sender would repeat it for ever
    assert acks(under_test) == ({("pump-1", "a"): 3} if counts else {})


def test_time_ahead_within_the_limit_is_taken() -> None:
    payload = changed(times_ns=[AHEAD_NS])
    under_test = reader()
    for boot in b"ab":
        data = payload.replace(b'"a"', b'"%c"' % boot)
        assert take(under_test, publish(telemetry("pump-1"), data)).accepted == 1


@pytest.mark.parametrize(
    ("topic", "reason"),
    [
        ("other/topic", "is not farfix/v1"),
        (telemetry("pump-1").replace("pump-1", "pump-9"), "has partition"),
        (topics.build("plant", "pump-9", Channel.TELEMETRY), "not in the gateway's list"),
        (topics.build("moon", "pump-1", Channel.TELEMETRY), "belongs to site plant, not moon"),
        (topics.build("plant", "pump-1", Channel.STATUS), "channel status"),
        (telemetry("pump-1") + "\0", "ends in no known channel"),
        ("", "is not farfix/v1"),
    ],
)
def test_a_topic_that_is_not_ours_is_kept_with_its_reason(topic: str, reason: str) -> None:
    payload = codec.encode(batch(1, "a"))
    taken = take(reader(), publish(topic, payload))
    assert [item[:2] for item in taken.quarantined] == [(topic, payload)]
    assert reason in taken.quarantined[0][2]
    assert taken.accepted == 0


def test_unknown_signals_are_left_out_and_a_copy_is_kept() -> None:
    payload = changed(signals=[SIGNALS[2], "stranger", SIGNALS[0]], values=[[1.0, 2.0, 3.0]])
    under_test = reader()
    for repeated in (False, True):
        taken = take(under_test, publish(telemetry("pump-1"), payload))
        if not repeated:
            assert taken.rows.values[0, :3].tolist()[::2] == [3.0, 1.0]
            assert (taken.rows.quality[0] != 3).sum() == 2
            reason = "signals not of the machine type were left out: ['stranger']"
            assert taken.quarantined == [(telemetry("pump-1"), payload, reason)]
            same(reader().replay(taken.packets), taken.rows)
        else:
            assert (taken.repeated, taken.quarantined) == (1, [])


def test_batches_without_a_number_are_always_taken() -> None:
    taken = take(reader(), *[packet()] * 3)
    assert (taken.accepted, taken.rows.device.size) == (3, 3)


def test_quality_comes_as_it_is_unless_there_is_no_value() -> None:
    payload = changed(values=[[1, None, None]], quality=[[1, 0, 2]])
    for _ in range(2):
        taken = take(reader(), packet("pump-2"), publish(telemetry("pump-1"), payload))
        assert taken.rows.quality[1, :4].tolist() == [1, 3, 2, 3]


@pytest.mark.parametrize("qos", [0, 1])
@pytest.mark.parametrize("excess", [0, 1, 69_900, 70_100, 3_000_000])
def test_too_large_messages_are_skipped_in_bounded_memory(excess: int, qos: int) -> None:
    fits, payload = codec.MAX_MESSAGE_BYTES, b"z" * (codec.MAX_MESSAGE_BYTES + excess)
    stream = publish(telemetry("pump-1"), payload, qos * 77) + packet("pump-2")
    under_test, buffer, at, skip, largest = reader(), bytearray(), 0, 0, 0
    found: list[Taken] = []
    while at < len(stream):
        data = stream[at : at + 50_000]
        at += len(data)
        buffer += data[skip:]
        skip = max(0, skip - len(data))
        largest = max(largest, len(buffer))
        found.append(under_test.take(buffer, NOW_NS, 0.0))
        skip += max(0, found[-1].used - len(buffer))
        del buffer[: found[-1].used]
    assert not buffer
    assert largest <= WHOLE_MAX + 50_000
    (topic, kept, reason), *rest = [item for taken in found for item in taken.quarantined]
    assert (topic, rest) == (telemetry("pump-1"), [])
    if excess:
        assert kept == b"z" * 1000
        assert reason == f"message of {fits + excess} bytes exceeds {fits} bytes"
    else:
        assert (kept, reason[:20]) == (payload, "not a TelemetryBatch")
    assert b"".join(taken.pubacks for taken in found) == b"\x40\2\0\x4d" * qos
    assert sum(taken.accepted for taken in found) == 1


@pytest.mark.parametrize(
    "nonsense",
    [
        b"HTTP/1.1 400 Bad Request",
        b"\x00\x00",
        b"\x30\xff\xff\xff\xff\x01",
        b"\x34\x05\x00\x01a\x00\x01",
        b"\x30\x02\x00\x05abcde",
        b"\x32\x04\x00\x01a\x00",
        b"\x32\x05\x00\x01a\x00\x00",
        b"\x30\x01\x00",
        b"\x10\x00",
        b"\xd1\x00",
        b"\x90\xff\xff\x7f",
    ],
)
def test_what_is_no_mqtt_is_told_after_what_came_before_it(nonsense: bytes) -> None:
    under_test = reader()
    taken = under_test.take(packet() + nonsense, NOW_NS, 0.0)
    assert (taken.accepted, taken.used) == (1, len(packet()))
    with pytest.raises(Malformed, match="not an MQTT stream"):
        under_test.take(nonsense, NOW_NS, 0.0)


def test_properties_that_reach_beyond_their_packet_are_no_mqtt() -> None:
    under_test = reader()
    take(under_test, V5_STREAM)
    for length_ in (b"\x7f", b"\xff\xff\xff\xff", b"\x80"):
        bad = b"\x30" + length(3 + len(length_)) + b"\0\1a" + length_
        with pytest.raises(Malformed):
            under_test.take(bad + packet(), NOW_NS, 0.0)


def test_a_device_is_remembered_by_its_latest_boots() -> None:
    under_test = reader()
    for i in range(BOOTS_MAX + 6):
        take(under_test, packet(sequence=1, boot=f"boot{i}"), packet(sequence=1, boot="boot0"))
    known = [item for item in positions(under_test) if item.device == "pump-1"]
    assert len(known) == BOOTS_MAX
    assert "boot0" in {item.boot for item in known}, "it was never silent"
    assert "boot1" not in {item.boot for item in known}
    restored = reader()
    restored.restore(under_test.positions())
    assert restored.positions() == under_test.positions()
    take(restored, packet(sequence=1, boot="one more"))
    assert len(positions(restored)) == BOOTS_MAX
    restored.undo()
    assert positions(restored) == positions(under_test)


def test_a_snapshot_never_takes_a_position_back() -> None:
    old, under_test = reader(), reader()
    take(old, packet(sequence=1, boot="a"), packet("pump-2", 9, "b"))
    take(under_test, packet(sequence=1, boot="a"), packet(sequence=2, boot="a"))
    under_test.restore(old.positions())
    assert positions(under_test) == [
        Saved("pump-1", "a", 2),
        Saved("pump-2", "b", 0, [9]),
    ]
    with pytest.raises(Malformed, match="not a snapshot"):
        under_test.restore(b"what?")


def test_large_groups_are_taken_in_parts() -> None:
    ticks, n = 700, 40
    stream = b"".join(packet("pump-1", i, "a", ticks=ticks) for i in range(1, n + 1))
    stream += b"".join(packet("pump-2", i, "a") for i in range(1, 3001))
    under_test = reader(burst_batches=1e9)
    found = [take(under_test, packet("pump-1", 1, "a", ticks=ticks))]
    while stream:
        found.append(under_test.take(stream, NOW_NS, 0.0))
        assert found[-1].used
        stream = stream[found[-1].used :]
    rows = joined(taken.rows for taken in found)
    assert rows.device.size == n * ticks + 3000
    assert max(taken.rows.device.size for taken in found) < 10_000
    for device in (1, 2):
        times = rows.times_ns[rows.device == device].tolist()
        assert all(a < b for a, b in pairwise(times))
    same(reader().replay(b"".join(taken.packets for taken in found)), rows)
