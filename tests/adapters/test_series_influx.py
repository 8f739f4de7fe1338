"""The InfluxDB adapter: the line protocol, what servers refuse, and servers that are away."""

import json
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.adapters import series_influx
from cloud.adapters.series import Row, problem
from contract.errors import Unreachable
from tests import peers

START_NS = 1_795_000_000 * 10**9
NAMES = st.text(st.sampled_from("ab \"',=#\\\n\0é😀") | st.characters(), min_size=1, max_size=12)


def row(i: int, **fields: float) -> Row:
    return Row("pump", {"device": "pump-1", "site": "north"}, fields, START_NS + i)


def unescaped(text: str) -> str:
    return re.sub(r"\\([,= ])", r"\1", text)


def parts(text: str, separator: str) -> list[str]:
    """Split where the separator is not escaped, as the protocol's description says."""
    return re.split(rf"(?<!\\){separator}", text)


def pairs(items: list[str]) -> dict[str, str]:
    return {unescaped(k): unescaped(v) for k, v in (parts(item, "=") for item in items)}


@given(
    measurement=NAMES,
    tags=st.dictionaries(NAMES, NAMES, max_size=3),
    fields=st.dictionaries(NAMES, st.floats() | st.none(), min_size=1, max_size=4),
)
def test_a_line_reads_back_as_its_row(
    measurement: str, tags: dict[str, str], fields: dict[str, float | None]
) -> None:
    sent = Row(measurement, {**tags, "device": "d"}, fields, START_NS)
    if problem(sent):
        return
    line = series_influx.encode(sent)
    assert "\n" not in line
    head, values, time = parts(line, " ")
    name, *tag_items = parts(head, ",")
    # An equals sign may stand bare or escaped in a measurement; everywhere else it must be escaped.
    assert name.replace("\\,", ",").replace("\\ ", " ") == measurement
    assert pairs(tag_items) == sent.tags
    expected = {k: v for k, v in fields.items() if v is not None}
    assert {k: float(v) for k, v in pairs(parts(values, ",")).items()} == expected
    assert int(time) == START_NS


def influx_query(url: str, **parameters: str) -> str:
    answer = httpx.post(f"{url}/query", data=parameters)
    assert "error" not in answer.text
    return answer.text


@pytest.mark.real
def test_refused_rows_come_back_with_the_servers_reason_and_others_stay(influx_url: str) -> None:
    name = f"t{uuid.uuid4().hex}"
    series = series_influx.v1(influx_url, name)
    influx_query(influx_url, q=f"CREATE DATABASE {name}")
    whole = f"pump,device=pump-1,site=north flow=1i {START_NS - 1}"
    assert httpx.post(f"{influx_url}/write?db={name}", content=whole).status_code == 204
    rows = [row(i, power=float(i)) for i in range(20)]
    bad = [row(100, flow=1.5), row(101, flow=2.5)]  # a float where the server has an integer
    rejected = series.write([*rows[:7], bad[0], *rows[7:15], bad[1], *rows[15:]])
    assert [r for r, _ in rejected] == bad
    assert all("type conflict" in reason for _, reason in rejected)
    found = series.read("pump", "pump-1", ["power"], START_NS, START_NS + 1000, 100)
    assert found.columns["power"] == [float(i) for i in range(20)]
    series.close()


@pytest.mark.real
def test_a_request_that_is_too_large_is_split(
    influx_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_influx, "LINES_MAX", 100_000)
    series = series_influx.v1(influx_url, f"t{uuid.uuid4().hex}")
    fields = {f"{'x' * 100}{i}": 1.0 for i in range(500)}
    wide = [Row("wide", {"device": "d"}, fields, START_NS + i) for i in range(600)]
    assert sum(len(series_influx.encode(r)) for r in wide) > 25_000_000, "above its limit"
    assert series.write(wide) == []
    assert len(series.read("wide", "d", ["x" * 100 + "7"], 0, 2**62, 1000).times_ns) == 600
    series.close()


@pytest.mark.real
def test_rows_beyond_the_servers_retention_are_given_up(influx_url: str) -> None:
    name = f"t{uuid.uuid4().hex}"
    influx_query(influx_url, q=f"CREATE DATABASE {name} WITH DURATION 1h")
    series = series_influx.v1(influx_url, name)
    old = [Row("pump", {"device": "d"}, {"flow": 1.0}, 10**18 + i) for i in range(300)]
    rejected = series.write(old)
    assert [r for r, _ in rejected] == old
    assert "retention" in rejected[0][1]
    series.close()


@pytest.mark.real
def test_a_database_that_someone_dropped_is_made_again(influx_url: str) -> None:
    name = f"t{uuid.uuid4().hex}"
    series = series_influx.v1(influx_url, name)
    assert series.write([row(0, flow=1.0)]) == []
    influx_query(influx_url, q=f"DROP DATABASE {name}")
    assert series.last("pump", "pump-1") == {}
    assert series.write([row(1, flow=2.0)]) == []
    assert series.last("pump", "pump-1") == {"flow": 2.0}
    series.close()


@pytest.mark.real
def test_version_2_writes_what_another_server_understands(victoria_url: str) -> None:
    series = series_influx.v2(victoria_url, "farfix", "farfix", "token")
    sent = Row('m "x"', {"device": "a=b, c é", "site": "north"}, {"flow": 2.5}, START_NS)
    assert series.write([sent, row(0, power=float("nan"))])[0][1]
    httpx.get(f"{victoria_url}/internal/force_flush")
    match = {"match[]": '{device="a=b, c é"}'}
    exported = json.loads(httpx.get(f"{victoria_url}/api/v1/export", params=match).text)
    assert exported["metric"] == {
        "__name__": 'm "x"_flow',
        "device": "a=b, c é",
        "site": "north",
    }
    assert exported["values"] == [2.5]
    assert exported["timestamps"] == [START_NS // 10**6]
    series.close()


@pytest.mark.real
def test_a_server_without_version_2_is_told_from_bad_rows(influx_url: str) -> None:
    series = series_influx.v2(influx_url, "farfix", "farfix", "token")
    with pytest.raises(Unreachable, match="404"):
        series.write([row(0, flow=1.0)])
    series.close()


@contextmanager
def answering(status: int) -> Iterator[str]:
    """A server that gives the same answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b'{"error": "hinted handoff queue is full"}')

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


DIALECTS: list[Callable[[str], series_influx.InfluxSeries]] = [
    lambda url: series_influx.v1(url, "farfix"),
    lambda url: series_influx.v1(url, "farfix", username="u", password="p"),
    lambda url: series_influx.v2(url, "farfix", "farfix", "token"),
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_trouble_of_the_server_loses_no_row(
    dialect: Callable[[str], series_influx.InfluxSeries], status: int
) -> None:
    with answering(status) as url:
        series = dialect(url)
        with pytest.raises(Unreachable, match=str(status)):
            series.write([row(0, flow=1.0)])
        with pytest.raises(Unreachable, match=str(status)):
            series.last("pump", "pump-1")
        series.close()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nobody_there_is_unreachable(
    dialect: Callable[[str], series_influx.InfluxSeries],
) -> None:
    series = dialect(f"http://127.0.0.1:{peers.free_port()}")
    with pytest.raises(Unreachable):
        series.write([row(0, flow=1.0)])
    with pytest.raises(Unreachable):
        series.read("pump", "pump-1", ["flow"], 0, 1, 1)
    series.close()
