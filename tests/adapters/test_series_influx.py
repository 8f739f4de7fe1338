"""The InfluxDB adapter: the line protocol, what servers refuse, and servers that are away."""

import json
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.adapters import series, series_influx
from cloud.adapters.series import Frame, Row, sift
from contract.errors import Unreachable
from tests import peers
from tests.frames import frame, frames

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
    NAMES,
    st.lists(NAMES, min_size=1, max_size=4, unique=True),
    st.lists(st.tuples(NAMES, NAMES, st.lists(st.floats(), min_size=4, max_size=4)), max_size=6),
)
def test_lines_read_back_as_their_rows(
    measurement: str, fields: list[str], rows: list[tuple[str, str, list[float]]]
) -> None:
    sent = Frame(
        measurement,
        tuple(fields),
        [device for device, _, _ in rows],
        [site for _, site, _ in rows],
        START_NS + np.arange(len(rows)),
        np.array([values[: len(fields)] for _, _, values in rows]).reshape(-1, len(fields)),
    )
    for good in sift([sent])[0]:
        lines = series_influx.encode(good)
        assert len(lines) == len(good.devices)
        for i, line in enumerate(lines):
            text = line.decode()
            assert "\n" not in text
            wanted = series.row(good, i)
            head, values, time = parts(text, " ")
            name, *tags = parts(head, ",")
            # An equals sign may stand bare or escaped in a measurement; elsewhere it is escaped.
            assert name.replace("\\,", ",").replace("\\ ", " ") == measurement
            assert pairs(tags) == wanted.tags
            numbers = {k: repr(float(v)) for k, v in pairs(parts(values, ",")).items()}
            known = {k: repr(v) for k, v in wanted.fields.items() if v is not None}
            assert numbers == known, "to the last bit"
            assert int(time) == wanted.time_ns


def influx_query(url: str, **parameters: str) -> str:
    answer = httpx.post(f"{url}/query", data=parameters)
    assert "error" not in answer.text
    return answer.text


@pytest.mark.real
def test_refused_rows_come_back_with_the_servers_reason_and_others_stay(influx_url: str) -> None:
    name = f"t{uuid.uuid4().hex}"
    store = series_influx.v1(influx_url, name)
    influx_query(influx_url, q=f"CREATE DATABASE {name}")
    whole = f"pump,device=pump-1,site=north flow=1i {START_NS - 1}"
    assert httpx.post(f"{influx_url}/write?db={name}", content=whole).status_code == 204
    rows = [row(i, power=float(i)) for i in range(20)]
    bad = [row(100, flow=1.5), row(101, flow=2.5)]  # a float where the server has an integer
    rejected = store.write(frames([*rows[:7], bad[0], *rows[7:15], bad[1], *rows[15:]]))
    assert [r for r, _ in rejected] == bad
    assert all("type conflict" in reason for _, reason in rejected)
    found = store.read("pump", "pump-1", ["power"], START_NS, START_NS + 1000, 100)
    assert found.columns["power"] == [float(i) for i in range(20)]
    store.close()


@pytest.mark.real
def test_a_request_that_is_too_large_is_split(
    influx_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(series_influx, "LINES_MAX", 100_000)
    monkeypatch.setattr(series_influx, "TIMEOUT_S", 90.0)
    store = series_influx.v1(influx_url, f"t{uuid.uuid4().hex}")
    fields = tuple(f"{'x' * 100}{i}" for i in range(500))
    times_ns = START_NS + np.arange(600)
    wide = Frame("wide", fields, ["d"] * 600, ["n"] * 600, times_ns, np.ones((600, 500)))
    assert sum(map(len, series_influx.encode(wide))) > 25_000_000, "above its limit"
    assert store.write([wide]) == []
    assert len(store.read("wide", "d", ["x" * 100 + "7"], 0, 2**62, 1000).times_ns) == 600
    store.close()


@pytest.mark.real
def test_rows_beyond_the_servers_retention_are_given_up(influx_url: str) -> None:
    name = f"t{uuid.uuid4().hex}"
    influx_query(influx_url, q=f"CREATE DATABASE {name} WITH DURATION 1h")
    store = series_influx.v1(influx_url, name)
    tags = {"device": "d", "site": "north"}
    old = [Row("pump", tags, {"flow": 1.0}, 10**18 + i) for i in range(300)]
    rejected = store.write(frames(old))
    assert [r for r, _ in rejected] == old
    assert "retention" in rejected[0][1]
    store.close()


@pytest.mark.real
def test_a_database_that_someone_dropped_is_made_again(influx_url: str) -> None:
    name = f"t{uuid.uuid4().hex}"
    store = series_influx.v1(influx_url, name)
    assert store.write(frames([row(0, flow=1.0)])) == []
    influx_query(influx_url, q=f"DROP DATABASE {name}")
    assert store.last("pump", "pump-1") == {}
    assert store.write(frames([row(1, flow=2.0)])) == []
    assert store.last("pump", "pump-1") == {"flow": 2.0}
    store.close()


@pytest.mark.real
def test_version_2_writes_what_another_server_understands(victoria_url: str) -> None:
    store = series_influx.v2(victoria_url, "farfix", "farfix", "token")
    sent = frame("a=b, c é", START_NS, {"flow": 2.5}, 'm "x"')
    assert store.write([sent, *frames([row(0, power=float("nan"))])])[0][1]
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
    store.close()


@pytest.mark.real
def test_version_1_writes_to_another_server_too(victoria_url: str) -> None:
    store = series_influx.v1(victoria_url, "farfix")
    values = np.array([[0.1, np.nan], [0.002, 2.5], [np.nan, -7.25]])
    times_ns = START_NS + np.arange(3) * 10**9
    sent = Frame("v1", ("flow", "power"), ["pump-1"] * 3, ["north"] * 3, times_ns, values)
    assert store.write([sent]) == []
    httpx.get(f"{victoria_url}/internal/force_flush")
    match = {"match[]": '{__name__=~"v1_.*"}'}
    answer = httpx.get(f"{victoria_url}/api/v1/export", params=match).text
    found = {m["metric"]["__name__"]: m for m in map(json.loads, answer.splitlines())}
    assert found["v1_flow"]["values"] == [0.1, 0.002]
    assert found["v1_power"]["values"] == [2.5, -7.25]
    assert found["v1_power"]["timestamps"] == (times_ns[1:] // 10**6).tolist()
    store.close()


@pytest.mark.real
def test_a_server_without_version_2_is_told_from_bad_rows(influx_url: str) -> None:
    store = series_influx.v2(influx_url, "farfix", "farfix", "token")
    with pytest.raises(Unreachable, match="404"):
        store.write(frames([row(0, flow=1.0)]))
    store.close()


class Version2(BaseHTTPRequestHandler):
    """Answers as the documentation of 2.x says: a bucket that nobody has made is not found."""

    buckets: list[str]
    may_make: bool

    def do_GET(self) -> None:
        self._say(200, {"orgs": [{"id": "o1", "name": "farfix"}]})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.path == "/api/v2/buckets":
            made = json.loads(body)
            if self.may_make:
                self.buckets.append(made["name"])
            return self._say(201 if self.may_make else 403, made)
        (bucket,) = parse_qs(urlsplit(self.path).query)["bucket"]
        return self._say(204 if bucket in self.buckets else 404, {"message": "bucket not found"})

    def _say(self, status: int, body: object) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if status != 204:
            self.wfile.write(json.dumps(body).encode())

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize("may_make", [True, False])
def test_what_is_kept_for_good_has_a_bucket_that_is_made_if_need_be(*, may_make: bool) -> None:
    known = {"buckets": ["farfix"], "may_make": may_make}
    with serving(type("Known", (Version2,), known)) as url:
        store = series_influx.v2(url, "farfix", "farfix", "token")
        lines = [b'farfix_case,device=d case="c" 1']
        assert store.write_lines(lines, for_good=False) == []
        if may_make:
            assert store.write_lines(lines, for_good=True) == []
            assert known["buckets"] == ["farfix", "farfix_service"]
        else:
            with pytest.raises(Unreachable, match=r"farfix_service.*403.*`farfix store init`"):
                store.write_lines(lines, for_good=True)
        store.close()


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


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

    with serving(Handler) as url:
        yield url


@contextmanager
def refusing(bad: bytes) -> Iterator[tuple[str, list[int]]]:
    """A server that refuses what has a bad line in it, and counts lines of each request."""
    requests: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            lines = self.rfile.read(int(self.headers["Content-Length"])).split(b"\n")
            requests.append(len(lines))
            wrong = [line for line in lines if bad in line]
            self.send_response(400 if wrong else 204)
            self.end_headers()
            self.wfile.write(b"cannot parse " + wrong[0] if wrong else b"")

        def log_message(self, *args: object) -> None:
            pass

    with serving(Handler) as url:
        yield url, requests


@pytest.mark.parametrize("bad", [{0}, {999}, {3, 500, 501}, set(range(0, 1000, 50))])
def test_a_refused_row_costs_few_requests(bad: set[int]) -> None:
    rows = [row(i, flow=-1.5 if i in bad else 1.5) for i in range(1000)]
    halves = [frames(rows[:700]), frames(rows[700:])]
    with refusing(b"flow=-1.5") as (url, requests):
        store = series_influx.v1(url, "farfix")
        rejected = store.write([part for half in halves for part in half])
        store.close()
    assert [r for r, _ in rejected] == [rows[i] for i in sorted(bad)]
    assert all("cannot parse pump" in reason for _, reason in rejected)
    assert len(requests) <= 2 * 10 * len(bad) + 1


DIALECTS: list[Callable[[str], series_influx.InfluxSeries]] = [
    lambda url: series_influx.v1(url, "farfix"),
    lambda url: series_influx.v1(url, "farfix", "token"),
    lambda url: series_influx.v2(url, "farfix", "farfix", "token"),
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_trouble_of_the_server_loses_no_row(
    dialect: Callable[[str], series_influx.InfluxSeries], status: int
) -> None:
    with answering(status) as url:
        store = dialect(url)
        with pytest.raises(Unreachable, match=str(status)):
            store.write(frames([row(0, flow=1.0)]))
        with pytest.raises(Unreachable, match=str(status)):
            store.last("pump", "pump-1")
        store.close()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_nobody_there_is_unreachable(
    dialect: Callable[[str], series_influx.InfluxSeries],
) -> None:
    store = dialect(f"http://127.0.0.1:{peers.free_port()}")
    with pytest.raises(Unreachable):
        store.write(frames([row(0, flow=1.0)]))
    with pytest.raises(Unreachable):
        store.read("pump", "pump-1", ["flow"], 0, 1, 1)
    store.close()
