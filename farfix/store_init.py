"""Prepare an InfluxDB: how long it keeps telemetry, hourly means longer, service figures for good.

Every step looks first and changes only what is not as it should be, so that it may be repeated. The
steps for 1.x run in the tests against a real server; those for 2.x and 3 Core follow the public
documentation and run against a stand-in.
"""

# ruff: noqa: S608 (`identifier` quotes whatever goes into a query)

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import httpx
from msgspec import Struct

from cloud.adapters.series_influx import beside, identifier
from contract import machines
from contract.errors import Malformed, Refused, Unreachable

Kind = Literal["influx1", "influx2", "influx3"]
ROLLUP = "rollup"
ROLLUP_DAYS = 5 * 365
TASK = "farfix_hourly"
TIMEOUT_S = 30.0
DAY_S = 86_400


class Order(Struct, frozen=True, kw_only=True):
    """What is wanted."""

    url: str
    kind: Kind
    database: str = "farfix"
    org: str = "farfix"
    """Only 2.x knows organisations."""
    keep_days: int = 90
    """Of everything as it was measured."""
    token: str = ""
    ca_file: Path | None = None
    span: str = "1h"
    """Over which means are taken."""
    every: str = "30m"
    look_back: str = "1d"
    """Telemetry that comes later is not in the means."""


class Step(Struct, frozen=True):
    """One thing to do: in words, and done."""

    text: str
    act: Callable[[], str]
    """Says what it has changed; empty: nothing, it was so already."""


class _Server:
    """An InfluxDB's HTTP API, whose refusals are told."""

    def __init__(self, order: Order) -> None:
        scheme = "Bearer" if order.kind == "influx3" else "Token"
        headers = {"Authorization": f"{scheme} {order.token}"} if order.token else {}
        verify = str(order.ca_file) if order.ca_file else True
        try:
            self._client = httpx.Client(
                base_url=order.url, headers=headers, timeout=TIMEOUT_S, verify=verify
            )
        except (OSError, ValueError) as error:
            raise Malformed(f"{order.url} or its CA file cannot be used: {error}") from error

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        passing: tuple[int, ...] = (),
        **params: str,
    ) -> Any:  # noqa: ANN401 - JSON
        """Return what it answers; None for an answer of `passing` status."""
        try:
            answer = self._client.request(method, path, json=body, params=params)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{self._client.base_url} does not answer: {error}") from error
        if answer.status_code in passing:
            return None
        if answer.status_code in (401, 403):
            raise Refused(f"{path}: the token may not do this ({answer.text.strip()[:200]})")
        if not answer.is_success:
            raise Refused(f"{path} answers {answer.status_code}: {answer.text.strip()[:300]}")
        return answer.json() if answer.content else {}

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of an InfluxQL statement of 1.x, each with its series' name."""
        (result,) = self.call("POST", "/query", q=query)["results"]
        if "error" in result:
            raise Refused(f"InfluxDB refuses {query}: {result['error']}")
        return [
            {"": found.get("name", ""), **dict(zip(found["columns"], row, strict=True))}
            for found in result.get("series", [])
            for row in found.get("values", [])
        ]


def run(order: Order, *, dry_run: bool, say: Callable[[str], None]) -> None:
    """Do all steps, or only say them.

    Raises:
        Refused: the server does not do it; the message says what it answered.
        Unreachable: it does not answer.
    """
    for step in steps(order):
        if dry_run:
            say(f"would: {step.text}")
            continue
        changed = step.act()
        say(f"done:  {step.text}{f' ({changed})' if changed else ' (was so already)'}")


def steps(order: Order) -> list[Step]:
    """Return what is to be done for this kind of server."""
    make = {"influx1": _steps_1, "influx2": _steps_2, "influx3": _steps_3}
    return make[order.kind](order, _Server(order))


# InfluxDB 1.x: retention policies and a continuous query.


def _steps_1(order: Order, server: _Server) -> list[Step]:
    name = identifier(order.database)
    return [
        Step(f"create the database {order.database}", lambda: _database_1(server, order.database)),
        Step(
            f"keep everything for {order.keep_days} days",
            lambda: _keep_1(order, server, "", order.keep_days),
        ),
        Step(
            f"keep means over {order.span} for {ROLLUP_DAYS} days in {name}.{ROLLUP}",
            lambda: _keep_1(order, server, ROLLUP, ROLLUP_DAYS),
        ),
        Step(f"take means over {order.span} continuously", lambda: _means_1(order, server)),
        Step(
            f"keep service figures for good in the database {beside(order.database)}",
            lambda: _database_1(server, beside(order.database)),
        ),
    ]


def _database_1(server: _Server, name: str) -> str:
    """Create a database; a new one keeps everything for good."""
    if name in [row["name"] for row in server.ask("SHOW DATABASES")]:
        return ""
    server.ask(f"CREATE DATABASE {identifier(name)}")
    return "made"


def _keep_1(order: Order, server: _Server, policy: str, days: int) -> str:
    """Set how long a retention policy keeps; without a name the default one."""
    on = f"ON {identifier(order.database)}"
    found = server.ask(f"SHOW RETENTION POLICIES {on}")
    now = next((p for p in found if p["name"] == policy or (not policy and p["default"])), None)
    shard = "1d" if days <= order.keep_days else "30d"
    terms = f"DURATION {days}d REPLICATION 1 SHARD DURATION {shard}"
    if now is None:
        server.ask(f"CREATE RETENTION POLICY {identifier(policy)} {on} {terms}")
        return "made"
    if now["duration"] == f"{days * 24}h0m0s":
        return ""
    server.ask(f"ALTER RETENTION POLICY {identifier(now['name'])} {on} {terms}")
    return f"was {now['duration']}"


def means_1(order: Order, source: str) -> str:
    """Return the continuous query of 1.x."""
    name = identifier(order.database)
    return (
        f"CREATE CONTINUOUS QUERY {TASK} ON {name} "
        f"RESAMPLE EVERY {order.every} FOR {order.look_back} BEGIN "
        f"SELECT mean(*) INTO {name}.{identifier(ROLLUP)}.:MEASUREMENT "
        f"FROM {name}.{identifier(source)}./.*/ GROUP BY time({order.span}), * END"
    )


def _means_1(order: Order, server: _Server) -> str:
    on = f"ON {identifier(order.database)}"
    policies = server.ask(f"SHOW RETENTION POLICIES {on}")
    source = next(p["name"] for p in policies if p["default"])
    wanted = means_1(order, source)
    queries = server.ask("SHOW CONTINUOUS QUERIES")
    now = [q["query"] for q in queries if q[""] == order.database and q["name"] == TASK]
    if now and _plain(now[0]) == _plain(wanted):
        return ""
    if now:
        server.ask(f"DROP CONTINUOUS QUERY {TASK} {on}")
    server.ask(wanted)
    return "made anew" if now else "made"


def _plain(query: str) -> str:
    """Return a query without what the server writes in its own way."""
    return query.replace('"', "").replace(" ", "").lower()


# InfluxDB 2.x: buckets, their mapping for InfluxQL, and a task.


def _steps_2(order: Order, server: _Server) -> list[Step]:
    means, figures = f"{order.database}/{ROLLUP}", beside(order.database)
    return [
        Step(
            f"keep everything in bucket {order.database} for {order.keep_days} days",
            lambda: _bucket_2(order, server, order.database, order.keep_days),
        ),
        Step(
            f"keep means in bucket {means} for {ROLLUP_DAYS} days",
            lambda: _bucket_2(order, server, means, ROLLUP_DAYS),
        ),
        Step(
            f"let InfluxQL read bucket {order.database} as its default",
            lambda: _mapping_2(server, _of_2(order, server, order.database), order.database),
        ),
        Step(
            f"let InfluxQL read bucket {means} as {ROLLUP}",
            lambda: _mapping_2(server, _of_2(order, server, means), order.database, ROLLUP),
        ),
        Step(f"take means over {order.span} by the task {TASK}", lambda: _task_2(order, server)),
        Step(
            f"keep service figures for good in bucket {figures}",
            lambda: _bucket_2(order, server, figures, 0),
        ),
        Step(
            f"let InfluxQL read bucket {figures} as a database",
            lambda: _mapping_2(server, _of_2(order, server, figures), figures),
        ),
    ]


def _org_2(order: Order, server: _Server) -> str:
    found = server.call("GET", "/api/v2/orgs", org=order.org, passing=(404,))
    if not found or not found["orgs"]:
        raise Refused(f"there is no organisation {order.org!r}, or the token may not see it")
    return str(found["orgs"][0]["id"])


def _find_2(order: Order, server: _Server, bucket: str) -> dict[str, Any] | None:
    org = _org_2(order, server)
    found = server.call("GET", "/api/v2/buckets", orgID=org, name=bucket, passing=(404,))
    return next((b for b in (found or {}).get("buckets", []) if b["name"] == bucket), None)


def _of_2(order: Order, server: _Server, bucket: str) -> dict[str, Any]:
    found = _find_2(order, server, bucket)
    if found is None:
        raise Refused(f"bucket {bucket} is not there")
    return found


def _bucket_2(order: Order, server: _Server, bucket: str, days: int) -> str:
    """Create a bucket or set how long it keeps; 0: for good."""
    rules = [{"type": "expire", "everySeconds": days * DAY_S}] if days else []
    now = _find_2(order, server, bucket)
    if now is None:
        body = {"orgID": _org_2(order, server), "name": bucket, "retentionRules": rules}
        server.call("POST", "/api/v2/buckets", body)
        return "made"
    kept = [rule["everySeconds"] for rule in now.get("retentionRules", [])]
    if sum(kept) == days * DAY_S:
        return ""
    server.call("PATCH", f"/api/v2/buckets/{now['id']}", {"retentionRules": rules})
    return f"was {kept[0] / DAY_S:g} days" if kept and kept[0] else "was for ever"


def _mapping_2(
    server: _Server, target: dict[str, Any], database: str, policy: str = "autogen"
) -> str:
    """Let InfluxQL find a bucket as a policy of a database; ``autogen`` is the default one."""
    org, default = target["orgID"], policy == "autogen"
    found = server.call("GET", "/api/v2/dbrps", orgID=org, db=database, rp=policy)
    now = [m for m in found["content"] if not m.get("virtual")]
    if now and now[0]["bucketID"] == target["id"] and now[0]["default"] == default:
        return ""
    if now:
        raise Refused(f"{database}.{policy} is mapped to another bucket: look at it first")
    body = {
        "orgID": org, "bucketID": target["id"], "database": database,
        "retention_policy": policy, "default": default,
    }  # fmt: skip
    server.call("POST", "/api/v2/dbrps", body)
    return "made"


def means_2(order: Order) -> str:
    """Return the task of 2.x, in Flux."""
    return (
        'import "types"\n\n'
        f'option task = {{name: "{TASK}", every: {order.every}}}\n\n'
        f'from(bucket: "{order.database}")\n'
        f"    |> range(start: -{order.look_back})\n"
        '    |> filter(fn: (r) => types.isType(v: r._value, type: "float"))\n'
        f"    |> aggregateWindow(every: {order.span}, fn: mean, createEmpty: false)\n"
        '    |> map(fn: (r) => ({r with _field: "mean_" + r._field}))\n'
        f'    |> to(bucket: "{order.database}/{ROLLUP}", org: "{order.org}")\n'
    )


def _task_2(order: Order, server: _Server) -> str:
    org, flux = _org_2(order, server), means_2(order)
    found = server.call("GET", "/api/v2/tasks", orgID=org, name=TASK)
    now = next((task for task in found["tasks"] if task["name"] == TASK), None)
    if now is None:
        server.call("POST", "/api/v2/tasks", {"orgID": org, "flux": flux, "status": "active"})
        return "made"
    if now["flux"] == flux and now["status"] == "active":
        return ""
    server.call("PATCH", f"/api/v2/tasks/{now['id']}", {"flux": flux, "status": "active"})
    return "made anew"


# InfluxDB 3 Core: databases; means need its processing engine, which only its owner may set up.


def _steps_3(order: Order, server: _Server) -> list[Step]:
    means, figures = f"{order.database}_{ROLLUP}", beside(order.database)
    triggers = "\n".join(trigger_3(order, name) for name in sorted(machines.library()))
    return [
        Step(
            f"create the database {order.database}, which keeps everything for "
            f"{order.keep_days} days",
            lambda: _database_3(server, order.database, order.keep_days),
        ),
        Step(
            f"create the database {means} for means, which keeps them for {ROLLUP_DAYS} days",
            lambda: _database_3(server, means, ROLLUP_DAYS),
        ),
        Step(
            f"create the database {figures}, which keeps service figures for good",
            lambda: _database_3(server, figures, None),
        ),
        Step(
            "take means by the processing engine. Run this yourself, where influxdb3 is:\n"
            f"{triggers}\n",
            lambda: "yours to do",
        ),
    ]


def _database_3(server: _Server, name: str, days: int | None) -> str:
    """Create a database; Core cannot change later how long one keeps. None: for good."""
    body = {"db": name} | ({"retention_period": f"{days}d"} if days else {})
    made = server.call("POST", "/api/v3/configure/database", body, passing=(409,))
    return "" if made is None else "made"


def trigger_3(order: Order, measurement: str) -> str:
    """Return the command that lets InfluxData's downsampler take means of one measurement."""
    arguments = (
        f"source_measurement={measurement},target_measurement={measurement},interval=1h,window=6h,"
        f"calculations=avg,target_database={order.database}_{ROLLUP}"
    )
    return (
        f"  influxdb3 create trigger --database {order.database} "
        '--path "gh:influxdata/downsampler/downsampler.py" --trigger-spec "every:1h" '
        f'--trigger-arguments "{arguments}" {TASK}_{measurement}'
    )
