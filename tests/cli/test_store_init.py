"""``farfix store init``: on a real InfluxDB 1.x; for 2.x and 3 against a stand-in that records.

The stand-in answers as the documentation of 2.x and 3 Core says. It is not the real server.
"""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from contract.errors import Refused, Unreachable
from farfix import store_init
from farfix.store_init import Order
from tests import peers


def done(order: Order, *, dry_run: bool = False) -> list[str]:
    """Run all steps and return what was said."""
    said: list[str] = []
    store_init.run(order, dry_run=dry_run, say=said.append)
    return said


def query(url: str, database: str, text: str) -> list[list[Any]]:
    answer = httpx.get(f"{url}/query", params={"db": database, "q": text}).json()
    (result,) = answer["results"]
    assert "error" not in result, result
    return [row for series in result.get("series", []) for row in series["values"]]


@pytest.mark.real
def test_1x_is_set_up_and_left_alone_the_second_time(influx_url: str) -> None:
    name = f"d-{uuid.uuid4().hex} é"  # to be quoted everywhere
    order = Order(url=influx_url, kind="influx1", database=name, keep_days=60)
    assert all("made" in said or "was 0s" in said for said in done(order))
    policies = {row[0]: row for row in query(influx_url, order.database, "SHOW RETENTION POLICIES")}
    assert policies["autogen"][1] == "1440h0m0s"
    assert policies["autogen"][4], "the gateway writes to the default"
    figures = query(influx_url, f"{name}_service", "SHOW RETENTION POLICIES")
    assert [(row[0], row[1]) for row in figures] == [("autogen", "0s")], "kept for good"
    assert policies["rollup"][1] == f"{store_init.ROLLUP_DAYS * 24}h0m0s"
    assert not policies["rollup"][4]
    assert all("was so already" in said for said in done(order))
    longer = Order(url=influx_url, kind="influx1", database=order.database, keep_days=90)
    assert [said for said in done(longer) if "was so already" not in said] == [
        "done:  keep everything for 90 days (was 1440h0m0s)"
    ]


@pytest.mark.real
def test_1x_means_really_appear(influx_url: str) -> None:
    order = Order(
        url=influx_url, kind="influx1", database=f"d{uuid.uuid4().hex}", span="2s", every="2s",
        look_back="1h",
    )  # fmt: skip
    done(order)
    now_s = int(time.time()) // 2 * 2  # noqa: TID251 - the server's clock
    lines = [
        f"pump,device=p1,site=north flow={value} {now_s - 60 + i}"
        for i, value in enumerate([1.0, 3.0, 10.0, 20.0])
    ]
    lines.append(f'farfix_note,device=p1,kind=fault text="words",case="c" {now_s - 60}')
    write = f"{influx_url}/write?db={order.database}&precision=s"
    assert httpx.post(write, content="\n".join(lines)).status_code == 204
    deadline = time.monotonic() + 60
    means = f'SELECT mean_flow, device FROM "{order.database}"."rollup"."pump"'  # noqa: S608 - ours
    while len(query(influx_url, order.database, means)) < 2:
        assert time.monotonic() < deadline, "the continuous query has written nothing"
        time.sleep(0.2)
    assert [row[1:] for row in query(influx_url, order.database, means)] == [
        [2.0, "p1"], [15.0, "p1"],
    ]  # fmt: skip


@pytest.mark.real
def test_the_command_says_what_it_would_do_and_then_does_it(influx_url: str) -> None:
    database = f"d{uuid.uuid4().hex}"
    command = [sys.executable, "-P", "-m", "farfix", "store", "init", "--url", influx_url]
    command += ["--kind", "influx1", "--database", database, "--keep-days", "30"]
    dry = subprocess.run([*command, "--dry-run"], capture_output=True, text=True, check=True)
    assert "would: create the database" in dry.stdout
    assert [database] not in query(influx_url, "", "SHOW DATABASES")
    real = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "done:  keep everything for 30 days" in real.stdout
    assert [database] in query(influx_url, "", "SHOW DATABASES")
    wrong = subprocess.run(
        [*command[:-4], "--kind", "influx9"], capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
    assert "influx1, influx2, influx3" in wrong.stderr


class StandIn:
    """Answers like 2.x or 3 Core as far as their documentation goes, and remembers requests."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, Any]] = []
        self.tokens: set[str] = set()
        self.buckets: list[dict[str, Any]] = []
        self.mappings: list[dict[str, Any]] = []
        self.tasks: list[dict[str, Any]] = []
        self.databases: set[str] = set()

    def answer(self, method: str, url: str, body: Any, token: str) -> tuple[int, object]:
        path = urlsplit(url).path
        params = {key: values[0] for key, values in parse_qs(urlsplit(url).query).items()}
        self.calls.append((method, path, body))
        self.tokens.add(token)
        if "wrong" in token:
            return 401, {"code": "unauthorized", "message": "unauthorized access"}
        if path == "/api/v2/orgs":
            return 200, {"orgs": [{"id": "o1"}] if params["org"] == "farfix" else []}
        if path == "/api/v3/configure/database":
            known = body["db"] in self.databases
            self.databases.add(body["db"])
            return (409, {"error": "it exists"}) if known else (200, {})
        return self._rows(method, path, params, body)

    def _rows(
        self, method: str, path: str, params: dict[str, str], body: Any
    ) -> tuple[int, object]:
        kind, number = path.split("/")[3], path.split("/")[4:]
        rows = {"buckets": self.buckets, "dbrps": self.mappings, "tasks": self.tasks}[kind]
        if method == "POST":
            named = {"name": "farfix_hourly"} if kind == "tasks" else {}
            rows.append({"id": str(len(rows)), **named, **body})
            return 201, rows[-1]
        if method == "PATCH":
            rows[int(number[0])].update(body)
            return 200, rows[int(number[0])]
        wanted = {"name": "name", "db": "database", "rp": "retention_policy"}
        found = [
            row for row in rows
            if all(row.get(wanted[k]) == v for k, v in params.items() if k in wanted)
        ]  # fmt: skip
        return 200, {"content" if kind == "dbrps" else kind: found}


@contextmanager
def serving(stand_in: StandIn) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            length = int(self.headers["Content-Length"] or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            token = self.headers["Authorization"] or ""
            status, told = stand_in.answer(self.command, self.path, body, token)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(told).encode())

        do_GET = do_POST = do_PATCH = _any  # noqa: N815 - names of the standard library

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_2x_asks_for_buckets_mappings_and_a_task_once() -> None:
    stand_in = StandIn()
    with serving(stand_in) as url:
        order = Order(url=url, kind="influx2", token="t", keep_days=60)
        assert all("(made)" in said for said in done(order))
        assert all("was so already" in said for said in done(order))
        kept = {
            b["name"]: [r["everySeconds"] for r in b["retentionRules"]] for b in stand_in.buckets
        }
        assert kept == {
            "farfix": [60 * 86_400], "farfix/rollup": [store_init.ROLLUP_DAYS * 86_400],
            "farfix_service": [],
        }  # fmt: skip
        mapped = [(m["database"], m["retention_policy"], m["default"]) for m in stand_in.mappings]
        assert mapped == [
            ("farfix", "autogen", True), ("farfix", "rollup", False),
            ("farfix_service", "autogen", True),
        ]  # fmt: skip
        (task,) = stand_in.tasks
        assert 'to(bucket: "farfix/rollup"' in task["flux"]
        assert stand_in.tokens == {"Token t"}
        longer = Order(url=url, kind="influx2", token="t", keep_days=90)
        assert [said for said in done(longer) if "was so already" not in said] == [
            "done:  keep everything in bucket farfix for 90 days (was 60 days)"
        ]
        before = len(stand_in.calls)
        done(order, dry_run=True)
        assert len(stand_in.calls) == before, "a dry run asks for nothing"


def test_3_core_asks_for_databases_and_says_what_is_left_to_do() -> None:
    stand_in = StandIn()
    with serving(stand_in) as url:
        order = Order(url=url, kind="influx3", token="t", keep_days=60)
        said = done(order)
        assert [body for _, _, body in stand_in.calls] == [
            {"db": "farfix", "retention_period": "60d"},
            {"db": "farfix_rollup", "retention_period": f"{store_init.ROLLUP_DAYS}d"},
            {"db": "farfix_service"},
        ]
        assert "influxdb3 create trigger" in said[-1]
        assert "source_measurement=centrifugal_pump" in said[-1]
        assert "yours to do" in said[-1]
        assert all("was so already" in line for line in done(order)[:-1])
        assert stand_in.tokens == {"Bearer t"}


def test_what_goes_wrong_is_told() -> None:
    with serving(StandIn()) as url:
        with pytest.raises(Refused, match="the token may not"):
            done(Order(url=url, kind="influx2", token="wrong"))
        with pytest.raises(Refused, match="no organisation 'other'"):
            done(Order(url=url, kind="influx2", token="t", org="other"))
    with pytest.raises(Unreachable, match="does not answer"):
        done(Order(url=f"http://127.0.0.1:{peers.free_port()}", kind="influx1"))
