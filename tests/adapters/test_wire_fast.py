"""Compiled code against msgspec and the contract: the same answer to whatever comes."""

import json
import struct
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cloud.adapters import wire_slow
from cloud.adapters.wire import Reader, Taken, length
from cloud.adapters.wire_number import number, powers
from cloud.core.asset import AssetRow
from cloud.core.intake import Limits
from contract import codec, machines, topics
from contract.errors import Malformed
from contract.telemetry import Quality, TelemetryBatch
from contract.topics import Channel

S = 10**9
NOW_NS = 1_795_000_000 * S
LIBRARY = machines.library()
SIGNALS = [signal.name for signal in LIBRARY["water_pump_rig"].signals]
ASSETS = {"rig-1": AssetRow(device="rig-1", site="plant", machine_type="water_pump_rig")}
TOPIC = topics.build("plant", "rig-1", Channel.TELEMETRY).encode()
ENDLESS = Limits(batches_per_s=1e12, burst_batches=1e12)
POWERS = powers()
LATER = b'","sequence":2}'


def publish(payload: bytes) -> bytes:
    body = len(TOPIC).to_bytes(2) + TOPIC + payload
    return b"\x30" + length(len(body)) + body


class Pair:
    """One reader with compiled code, and one that leaves every message to Python."""

    def __init__(self) -> None:
        self.fast, self.slow = (Reader(ASSETS, LIBRARY, ENDLESS) for _ in range(2))
        self.slow._spellings.learn = lambda *_: True  # type: ignore[method-assign]

    def take(self, *payloads: bytes) -> tuple[Taken, int]:
        """Give both the same and compare; return how many were left to Python in the fast one."""
        data, asked = b"".join(map(publish, payloads)), 0
        answers = []
        original = wire_slow.read

        def counting(payload: bytes, columns: Any) -> wire_slow.Read:
            nonlocal asked
            asked += 1
            return original(payload, columns)

        for under_test in self.slow, self.fast:
            with pytest.MonkeyPatch.context() as patch:
                asked = 0
                patch.setattr(wire_slow, "read", counting)
                answers.append(under_test.take(data, NOW_NS, 0.0))
        one, other = answers
        assert one._replace(rows=None) == other._replace(rows=None)  # type: ignore[arg-type]
        for a, b in zip(one.rows, other.rows, strict=True):
            assert np.asarray(a).tobytes() == np.asarray(b).tobytes(), "to the last bit"
        assert self.fast.acks() == self.slow.acks()
        assert self.fast.positions() == self.slow.positions()
        return other, asked


FLOATS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(-1e3, 1e3),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
    st.integers(-(10**20), 10**20),
    st.sampled_from(
        [0, -0.0, 1e-300, 5e-324, 1e22, 1e23, 2**53 + 1, 0.1 + 0.2, 2.2250738585072014e-308]
    ),
    st.none(),
)


@st.composite
def batches(draw: st.DrawFn) -> TelemetryBatch:
    signals = draw(st.lists(st.sampled_from(SIGNALS), min_size=1, unique=True))
    steps = draw(st.lists(st.integers(1, 10**10), min_size=1, max_size=4))
    row = st.lists(FLOATS, min_size=len(signals), max_size=len(signals))
    marks = st.lists(st.sampled_from(Quality), min_size=len(signals), max_size=len(signals))
    times = [NOW_NS - 100 * S + sum(steps[: i + 1]) for i in range(len(steps))]
    with_quality, numbered = draw(st.booleans()), draw(st.booleans())
    return TelemetryBatch(
        signals=signals,
        times_ns=times,
        values=[draw(row) for _ in times],
        quality=[draw(marks) for _ in times] if with_quality else None,
        boot="run" if numbered else "",
        sequence=2 if numbered else 0,
        oldest=draw(st.sampled_from([0, 1, 2])),
        historical=draw(st.booleans()),
    )


def first(batch: TelemetryBatch) -> bytes:
    """What makes signals and boot known."""
    return codec.encode(
        TelemetryBatch(
            signals=batch.signals,
            times_ns=[1],
            values=[[1.0] * len(batch.signals)],
            boot="run",
            sequence=1,
        )
    )


def plainly(batch: TelemetryBatch) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(batch)
    return found


WRITERS: list[Callable[[TelemetryBatch], bytes]] = [
    codec.encode,
    lambda batch: json.dumps(plainly(batch)).encode(),
    lambda batch: json.dumps(plainly(batch), separators=(",", ":")).encode(),
    lambda batch: json.dumps({"v": 1} | plainly(batch)).encode(),
    lambda batch: json.dumps(plainly(batch), indent=1, sort_keys=True).encode(),
]


@settings(max_examples=300)
@given(batches(), st.sampled_from(WRITERS))
def test_valid_batches_give_the_same_rows(
    batch: TelemetryBatch, write: Callable[[TelemetryBatch], bytes]
) -> None:
    pair = Pair()
    assert pair.take(first(batch))[1] == 1, "once, to learn"
    taken, _ = pair.take(write(batch))
    assert taken.accepted == 1
    assert taken.rows.times_ns.tolist() == batch.times_ns
    columns = [SIGNALS.index(signal) for signal in batch.signals]
    expected = np.array(batch.values, float)
    np.testing.assert_array_equal(taken.rows.values[:, columns], expected)


@settings(max_examples=200)
@given(
    st.lists(st.floats(-1e6, 1e6) | st.none(), min_size=3, max_size=3),
    st.booleans(),
    st.sampled_from(WRITERS[:4]),
)
def test_ordinary_batches_are_not_left_to_python(
    values: list[float | None], historical: bool, write: Callable[[TelemetryBatch], bytes]
) -> None:
    batch = TelemetryBatch(
        signals=SIGNALS[1:4],
        times_ns=[NOW_NS - S, NOW_NS],
        values=[values, values[::-1]],
        quality=[[Quality(3 * (v is None)) for v in row] for row in (values, values[::-1])],
        boot="run",
        sequence=2,
        oldest=2,
        historical=historical,
    )
    pair = Pair()
    pair.take(first(batch))
    pair.take(write(msgspec.structs.replace(batch, boot="", sequence=0, values=[[1, 2, 3]] * 2)))
    taken, asked = pair.take(write(batch))
    assert taken.accepted == 1
    # tiny numbers have fewer bits, and need more care
    assert asked == any(v is not None and 0 < abs(v) < sys.float_info.min for v in values)


PIECES = [
    b",", b":", b"{", b"}", b"[", b"]", b'"', b" ", b"\n", b"\\", b"0", b"1", b"9", b"-", b"+",
    b".",
    b"e", b"E5", b"e-400", b"1e400", b"NaN", b"null", b"true", b"false", b"\xff", b"\xc3\xa9",
    b"\0",
    b'"v":1,', b'"v":2,', b'"boot":"x",', b'"sequence":', b'"oldest":7', b',"historical":true',
    b',"historical":false', b'"quality":null', b"[]", b"99999999999999999999",
    b"9223372036854775808",
    b'"values":[[1]]', b"//", b"\xef\xbb\xbf",
]  # fmt: skip


@st.composite
def mutations(draw: st.DrawFn, data: bytes) -> bytes:
    for _ in range(draw(st.integers(1, 3))):
        i, j = sorted(draw(st.tuples(*[st.integers(0, len(data))] * 2)))
        kind = draw(st.integers(0, 5))
        if kind == 0 and i < len(data):
            data = data[:i] + bytes([data[i] ^ 1 << draw(st.integers(0, 7))]) + data[i + 1 :]
        elif kind == 1:
            data = data[:i] + data[j:]
        elif kind == 2:
            data = data[:i] + draw(st.sampled_from(PIECES)) + data[i:]
        elif kind == 3:
            data = data[:i] + draw(st.sampled_from(PIECES)) + data[i + 1 :]
        elif kind == 4:
            data = data[:j] + data[i:]
        else:
            data = data[:i] + draw(st.binary(max_size=8)) + data[j:]
    return data


@settings(max_examples=400)
@given(st.data())
def test_mutilated_batches_get_the_same_answer(data: st.DataObject) -> None:
    batch = data.draw(batches())
    payload = data.draw(st.sampled_from(WRITERS))(batch)
    pair = Pair()
    pair.take(first(batch))
    pair.take(data.draw(mutations(payload)), payload, first(batch))


@pytest.mark.parametrize(
    "values",
    [
        b"1.", b"+1", b".5", b"01", b"-", b"1e", b"1e+", b"--1", b"1.e5", b"-0", b"00", b"-01",
        b"1e5.0",
        b"Infinity", b"nan", b"1_0", b"1 ", b" 1", b"1\t", b"0x1", b"1f", b'"1"', b"true", b"",
        b"1,",
        b"1,2", b"1e400", b"-1e400", b"1e-400", b"1E05", b"1e-0005", b"12345678901234567890123",
        b"0." + b"0" * 400 + b"1", b"9" * 400, b"0e99999999999999999999", b"nul", b"nulll",
        b"null ",
        b"1]", b"[1]", b"1}", b"0.1e1", b"-0.0", b"-0e0", b"123456789012345678901e-5", b"1e1000",
        b"9007199254740993", b"9007199254740992.5", b"8.5e22", b"-5e-324",
        b"1.7976931348623159e308",
    ],
)  # fmt: skip
def test_numbers_that_are_none_get_the_same_answer(values: bytes) -> None:
    pair = Pair()
    for n, text in enumerate([b"1.5", values, b"2.5"], 1):
        form = b'{"signals":["%s"],"times_ns":[%d],"values":[[%s]],"boot":"run","sequence":%d}'
        pair.take(form % (SIGNALS[0].encode(), n, text, n))


@pytest.mark.parametrize(
    "text",
    [
        b'{"signals":["%s"],"times_ns":[],"values":[]}',
        b'{"signals":["%s"],"times_ns":[1],"values":[]}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[]]}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1],[2]]}',
        b'{"signals":["%s"],"times_ns":[1,2],"values":[[1]]}',
        b'{"signals":["%s"],"times_ns":[2,1],"values":[[1],[2]]}',
        b'{"signals":["%s"],"times_ns":[-1],"values":[[1]]}',
        b'{"signals":["%s"],"times_ns":[01],"values":[[1]]}',
        b'{"signals":["%s"],"times_ns":[9223372036854775808],"values":[[1]]}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]],"quality":[[4]]}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]],"quality":[[0]],"quality":[[1]]}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]],"values":[[2]]}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]],"sequence":2,"boot":"run"}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]],"boot":"","sequence":0}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]],"boot":"run"}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]],"sequence":2}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]],"boot":"' + b"r" * 33 + LATER,
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]],"boot":"r\\u0075n","sequence":2}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]],"boot":"run","sequence":2,"oldest":-1}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]],"boot":"run","sequence":2,"oldest":01}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]],"boot":"run","sequence":02}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]],"boot":"run","sequence":2,}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]],"boot":"run","sequence":2,"new":[{}]}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]],"historical":1}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]]}}',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]]} ',
        b'{"signals":["%s"],"times_ns":[1],"values":[[1]],}',
        b'{"v":1.0,"signals":["%s"],"times_ns":[1],"values":[[1]]}',
        b'{"v":1,"v":2,"signals":["%s"],"times_ns":[1],"values":[[1]]}',
    ],
)  # fmt: skip
def test_shapes_that_are_none_get_the_same_answer(text: bytes) -> None:
    name = SIGNALS[0].encode()
    pair = Pair()
    pair.take(b'{"signals":["%s"],"times_ns":[1],"values":[[1]],"boot":"run","sequence":1}' % name)
    pair.take(text.replace(b"%s", name))


@settings(max_examples=300)
@given(st.data())
def test_mutilated_streams_never_break_it(data: st.DataObject) -> None:
    batch = data.draw(batches())
    known = publish(first(batch))
    stream = b"\x20\3\0\0\0" * data.draw(st.integers(0, 1)) + publish(codec.encode(batch)) + known
    stream = data.draw(mutations(stream))
    under_test = Reader(ASSETS, LIBRARY, ENDLESS)
    under_test.take(known, NOW_NS, 0.0)
    while stream:
        try:
            taken = under_test.take(stream, NOW_NS, 0.0)
        except Malformed:
            break
        if not taken.used:
            break
        stream = stream[taken.used :]


def parse(text: str) -> float | None:
    value = np.zeros((1, 1))
    data = np.array(np.frombuffer(text.encode() + b"}", np.uint8))
    end = number(data, 0, POWERS, value, value.view(np.uint64), 0, 0)
    return float(value[0, 0]) if end == len(text) else None


@settings(max_examples=1000)
@given(
    st.one_of(
        st.floats(allow_nan=False, allow_infinity=False).map(repr),
        st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
        st.from_regex(
            r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True
        ),
    )
)
@example("9007199254740993.0")
@example("1.7976931348623157e308")
@example("2.2250738585072014e-308")
def test_a_number_is_what_python_makes_of_it_or_left_to_it(text: str) -> None:
    found = parse(text)
    if found is not None:
        assert struct.pack("d", found) == struct.pack("d", float(text))


def test_spellings_are_bounded_and_begin_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire_slow, "SPELLINGS_MAX", 2)
    pair = Pair()
    lists = [SIGNALS[:1], SIGNALS[:2], SIGNALS[:3]]
    asked = []
    for sequence, signals in enumerate([*lists, lists[0], lists[0], lists[2]], 1):
        batch = TelemetryBatch(
            signals=signals, times_ns=[sequence], values=[[1.0] * len(signals)],
            boot="run", sequence=sequence,
        )  # fmt: skip
        asked.append(pair.take(codec.encode(batch))[1])
    assert asked == [1, 1, 1, 1, 0, 0]
