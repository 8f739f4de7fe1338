import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract import codec, timescale
from contract.commands import Answer, AnswerStatus, Command, Precondition
from contract.errors import Malformed
from contract.telemetry import Quality, TelemetryBatch, readings

finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def batches(draw: st.DrawFn) -> TelemetryBatch:
    width, height = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    times = sorted(draw(st.sets(st.integers(0, 2**62), min_size=height, max_size=height)))
    row = st.lists(st.none() | finite, min_size=width, max_size=width)
    return TelemetryBatch(
        signals=[f"s{i}" for i in range(width)],
        times_ns=times,
        values=draw(st.lists(row, min_size=height, max_size=height)),
        boot="b1",
        sequence=draw(st.integers(1, 10**9)),
    )


@given(batches())
def test_a_batch_survives_the_wire(batch: TelemetryBatch) -> None:
    back = codec.decode(codec.encode(batch), TelemetryBatch)
    back.check()
    assert back == batch
    rows = readings(back)
    assert [r.time_ns for r in rows] == batch.times_ns
    for reading in rows:
        for signal, value in reading.values.items():
            expected = Quality.MISSING if value is None else Quality.GOOD
            assert reading.quality[signal] is expected


@given(st.binary(max_size=300))
def test_any_bytes_give_a_message_or_a_reason(data: bytes) -> None:
    try:
        codec.decode(data, TelemetryBatch)
    except Malformed as error:
        assert "TelemetryBatch" in str(error)


BAD = {
    "not JSON": b"{",
    "deep": b"[" * 100_000,
    "no signals": b'{"v":1,"signals":[],"times_ns":[1],"values":[[]]}',
    "text as value": b'{"v":1,"signals":["a"],"times_ns":[1],"values":[["x"]]}',
    "NaN": b'{"v":1,"signals":["a"],"times_ns":[1],"values":[[NaN]]}',
    "negative time": b'{"v":1,"signals":["a"],"times_ns":[-1],"values":[[1]]}',
    "next version": b'{"v":2,"signals":["a"],"times_ns":[1],"values":[[1]]}',
    "too large": b" " * (codec.MAX_MESSAGE_BYTES + 1),
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
def test_bad_bytes_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        codec.decode(data, TelemetryBatch)


RAGGED = {
    "ragged": {"values": [[1.0], [2.0, 3.0]]},
    "short": {"values": [[1.0, 2.0]]},
    "twice": {"signals": ["a", "a"]},
    "backwards": {"times_ns": [2, 1]},
    "infinite": {"values": [[1.0, float("inf")], [1.0, 2.0]]},
    "quality": {"quality": [[Quality.GOOD]]},
    "boot alone": {"boot": "b"},
}


@pytest.mark.parametrize("change", RAGGED.values(), ids=RAGGED.keys())
def test_parts_that_do_not_fit_are_malformed(change: dict[str, object]) -> None:
    good = TelemetryBatch(signals=["a", "b"], times_ns=[1, 2], values=[[1.0, 2.0], [3.0, None]])
    good.check()
    bad = msgspec.structs.replace(good, **change)
    with pytest.raises(Malformed):
        bad.check()


def test_unknown_fields_are_ignored_so_newer_senders_may_add_some() -> None:
    data = b'{"v":1,"id":"c.1","status":"done","at_ns":5,"mood":"good"}'
    assert codec.decode(data, Answer) == Answer(id="c.1", status=AnswerStatus.DONE, at_ns=5)


def test_a_message_too_large_is_not_sent() -> None:
    huge = Command(id="c", name="x", issued_ns=1, expires_ns=2)
    assert codec.encode(huge)
    batch = TelemetryBatch(
        signals=[f"signal_{i}" for i in range(256)],
        times_ns=list(range(1000)),
        values=[[0.1234567] * 256] * 1000,
    )
    with pytest.raises(Malformed, match="exceeds"):
        codec.encode(batch)


@given(finite)
def test_a_precondition_without_a_reading_never_holds(value: float) -> None:
    free = Precondition(signal="mode")
    assert free.holds(value)
    assert not free.holds(None)


def test_a_precondition_holds_inside_its_limits() -> None:
    rule = Precondition(signal="mode", minimum=1, maximum=3, one_of=[1, 3, 4])
    assert [v for v in (0, 1, 2, 3, 4) if rule.holds(v)] == [1, 3]


def test_plant_time_runs_faster_from_its_origin() -> None:
    scale = timescale.parse("40@1000")
    assert scale.plant_ns(1000) == 1000
    assert scale.plant_ns(1010) == 1400
    assert scale.wall_s(20) == 0.5
    assert timescale.parse(str(scale)) == scale
    assert timescale.parse("").plant_ns(123) == 123


@pytest.mark.parametrize("text", ["x", "40", "0@1", "nan@1", "5000@1", "40@x"])
def test_a_bad_timescale_is_refused(text: str) -> None:
    with pytest.raises(Malformed, match="timescale"):
        timescale.parse(text)
