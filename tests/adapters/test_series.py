"""What every series store must do: one suite, run on the embedded store and on InfluxDB."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cloud.adapters import series_influx
from cloud.adapters.series import Row, Series, bucket_ns, sift
from cloud.adapters.series_sqlite import SqliteSeries
from tests.frames import frame, frames

S = 10**9
START_NS = 1_795_000_000 * S


@pytest.fixture(params=["sqlite", pytest.param("influx1", marks=pytest.mark.real)])
def series(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Series]:
    if request.param == "sqlite":
        store: Series = SqliteSeries(tmp_path / "telemetry.db", 30, lambda: START_NS)
    else:
        store = series_influx.v1(request.getfixturevalue("influx_url"), f"t{uuid.uuid4().hex}")
    yield store
    store.close()


def row(time_ns: int, device: str = "pump-1", **fields: float | None) -> Row:
    return odd(fields, time_ns, device)


def write(series: Series, *rows: Row) -> list[tuple[Row, str]]:
    return series.write(frames(rows))


def odd(fields: dict[str, float | None], time_ns: int = START_NS, device: str = "pump-1") -> Row:
    return Row("centrifugal_pump", {"device": device, "site": "north"}, fields, time_ns)


def all_of(
    series: Series, *fields: str, device: str = "pump-1", n: int = 1000
) -> list[list[object]]:
    found = series.read("centrifugal_pump", device, list(fields), 0, 2**62, n)
    columns = [found.columns[name] for name in fields]
    return [list(values) for values in zip(found.times_ns, *columns, strict=True)]


def test_rows_come_back_in_order_of_time(series: Series) -> None:
    t = START_NS
    assert write(series, row(t + 2, flow=3.5), row(t, flow=1.0), row(t + 1, flow=-2e-9)) == []
    assert all_of(series, "flow") == [[t, 1.0], [t + 1, -2e-9], [t + 2, 3.5]]


def test_nothing_was_written(series: Series) -> None:
    assert write(series) == []
    assert series.last("centrifugal_pump", "pump-1") == {}
    assert all_of(series, "flow") == []
    write(series, row(START_NS, flow=1.0))
    assert all_of(series, "no_such_field") == []
    assert all_of(series, "flow", device="pump-2") == []
    assert series.last("centrifugal_pump", "pump-2") == {}
    assert series.read("centrifugal_pump", "pump-1", [], 0, 2**62, 10).times_ns == []
    assert series.read("centrifugal_pump", "pump-1", ["flow"], 5, 5, 10).times_ns == []


def test_writing_again_changes_nothing_and_new_fields_join(series: Series) -> None:
    for _ in range(2):
        write(series, row(START_NS, flow=1.0, power=9.0))
    write(series, row(START_NS, flow=2.0), row(START_NS, temperature=70.0))
    assert all_of(series, "flow", "power", "temperature") == [[START_NS, 2.0, 9.0, 70.0]]


def test_a_missing_value_is_a_gap(series: Series) -> None:
    write(series, row(START_NS, flow=1.0, power=None), row(START_NS + 1, flow=None, power=2.0))
    assert all_of(series, "flow", "power", "unknown") == [
        [START_NS, 1.0, None, None],
        [START_NS + 1, None, 2.0, None],
    ]
    assert all_of(series, "power") == [[START_NS + 1, 2.0]]


def test_last_is_the_newest_row_alone(series: Series) -> None:
    write(series, row(START_NS, flow=1.0, power=5.0), row(START_NS + S, flow=2.0))
    write(series, row(START_NS + 9 * S, "pump-2", flow=7.0))
    assert series.last("centrifugal_pump", "pump-1") == {"flow": 2.0}


def test_a_range_holds_its_beginning_but_not_its_end(series: Series) -> None:
    write(series, *[row(START_NS + i, flow=float(i)) for i in range(5)])
    found = series.read("centrifugal_pump", "pump-1", ["flow"], START_NS + 1, START_NS + 3, 99)
    assert found.times_ns == [START_NS + 1, START_NS + 2]


def test_many_rows_are_averaged_in_equal_spans(series: Series) -> None:
    begin = START_NS + 7 * S + 13  # no multiple of anything
    write(series, *[row(begin + i * S, flow=float(i), other=1.0) for i in range(100)])
    found = series.read("centrifugal_pump", "pump-1", ["flow"], begin, begin + 100 * S, 10)
    assert found.times_ns == [begin + i * 10 * S for i in range(10)]
    assert found.columns["flow"] == [i * 10 + 4.5 for i in range(10)]


def test_reading_goes_on_while_another_thread_writes(series: Series) -> None:
    """What a write has returned for is there, and nothing of it is ever missing again."""
    seen = 0
    with ThreadPoolExecutor(1) as pool:
        for i in range(30):
            rows = [row(START_NS + i * 50 + k, flow=float(i * 50 + k)) for k in range(50)]
            writing = pool.submit(write, series, *rows)
            under_way = True
            while under_way:
                under_way = not writing.done()
                found = series.read("centrifugal_pump", "pump-1", ["flow"], START_NS, 2**62, 9999)
                assert found.columns["flow"] == [float(n) for n in range(len(found.times_ns))]
                assert len(found.times_ns) >= seen
            assert writing.result() == []
            seen = (i + 1) * 50
            assert series.last("centrifugal_pump", "pump-1") == {"flow": seen - 1.0}
    assert len(all_of(series, "flow", n=9999)) == seen


def test_rows_that_no_store_takes_are_given_back_with_the_reason(series: Series) -> None:
    good = row(START_NS, flow=1.0)
    bad = [
        row(START_NS, flow=float("inf")),
        row(START_NS, flow=None),
        row(-1, flow=1.0),
        row(2**63 - 1, flow=1.0),
        odd({"new\nline": 1.0}),
        odd({"time": 1.0}),
        row(START_NS, site=1.0),
        Row("#m", {"device": "d", "site": "north"}, {"flow": 1.0}, START_NS),
        Row("m", {"device": "", "site": "north"}, {"flow": 1.0}, START_NS),
        Row("m", {"device": "d", "site": "back\\slash"}, {"flow": 1.0}, START_NS),
        odd({f"f{i}": 1.0 for i in range(600)}),
    ]
    rejected = write(series, *bad[:6], good, *bad[6:])
    assert [r for r, _ in rejected] == bad
    assert all(reason for _, reason in rejected)
    assert all_of(series, "flow") == [[START_NS, 1.0]]


def test_a_field_that_is_given_twice_is_refused(series: Series) -> None:
    twice = frame("pump-1", START_NS, {"a": 1.0, "b": 2.0})._replace(fields=("a", "a"))
    assert [reason for _, reason in series.write([twice])] == [
        "a name stands for two of tag, field and time"
    ]


NAMES = st.text(
    st.one_of(st.sampled_from("\"', =#;/*()$é漢😀%`[]{}"), st.characters(codec="utf-8")),
    min_size=1,
    max_size=20,
)
VALUES = st.floats(allow_nan=False, allow_infinity=False)


@settings(
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(NAMES, st.lists(NAMES, min_size=3, max_size=3, unique=True), VALUES)
@example('m "x", y=1 é', ["a=b,c d", "'; DROP DATABASE x --", 'f"1" $x'], -1.5e300)
@example("sqlite_schema", ["device", "DEVICE", "Device"], 4.107918871276481e16)
def test_hostile_names_arrive_as_they_are_or_not_at_all(
    series: Series, measurement: str, names: list[str], value: float
) -> None:
    device, site, field = names
    sent = Row(measurement, {"device": device, "site": site}, {field: value}, START_NS)
    rejected = write(series, sent, row(START_NS, flow=1.0))
    if rejected:
        assert [r for r, _ in rejected] == [sent]
        assert rejected == sift(frames([sent]))[1]
    else:
        assert series.last(measurement, device) == {field: value}
        found = series.read(measurement, device, [field], START_NS, START_NS + 1, 10)
        assert found.columns[field] == [value]
    assert all_of(series, "flow") == [[START_NS, 1.0]]


@given(st.integers(0, 2**62), st.integers(1, 2**60), st.integers(1, 10_000))
def test_spans_cover_the_range_with_at_most_so_many(begin: int, length: int, most: int) -> None:
    span = bucket_ns(begin, begin + length, most)
    assert span >= 1
    assert span * most >= length
    assert -(-length // span) <= most
