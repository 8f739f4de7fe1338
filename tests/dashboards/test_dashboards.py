"""Every query of every dashboard and alert rule runs on an InfluxDB that a gateway has filled."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from cloud.core.measured import MEASUREMENTS, STATUS
from cloud.core.states import Phase
from cloud.worker.feed import EXTRA_FIELDS
from contract import machines
from dashboards import build, kit
from tests import peers
from tests.dashboards.floor import PUMP, Floor, floor
from tests.service.gateway_process import running, until

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = sorted((ROOT / "dashboards").glob("*.json"))
PROVISIONING = ROOT / "deploy/grafana"
NS = 10**9

UNITS: Mapping[str, tuple[str, float, float]] = {
    "s": ("s", -1e7, 1e7),
    "h": ("h", 0, 1e6),
    "share": ("percentunit", 0, 1),
    "per second": ("cps", 0, 1e7),
    "bytes": ("bytes", 0, 1e12),
    "count": ("short", 0, 1e6),
    "status": ("short", 0, max(STATUS.values())),
    "score": ("none", 0, 1e3),
}
"""How Grafana calls each unit of a field, and what can be believed of its values."""


class Query(NamedTuple):
    """A query, where it stands, the units of what it finds, and the data source that is asked.

    Units are by column; an empty one: no number.
    """

    where: str
    text: str
    units: Mapping[str, str]
    source: str


def panels(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return found


def units(panel: dict[str, Any]) -> dict[str, str]:
    """Return a panel's units by column; the default under an empty name."""
    config = panel.get("fieldConfig", {})
    found = {"": config.get("defaults", {}).get("unit", "")}
    for override in config.get("overrides", []):
        for item in override["properties"]:
            if item["id"] == "unit":
                found[override["matcher"]["options"]] = item["value"]
    return found


def queries() -> Iterator[Query]:
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text())
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                where = f"{path.stem}: {panel['title']} {target['refId']}"
                source = target["datasource"]["uid"]
                assert source == panel["datasource"]["uid"], "Grafana asks its panel's source"
                yield Query(where, target["query"], units(panel), source)
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                source = variable["datasource"]["uid"]
                yield Query(f"{path.stem}: ${variable['name']}", variable["query"], {}, source)
        for mark in dashboard["annotations"].get("list", []):
            source = mark["datasource"]["uid"]
            yield Query(f"{path.stem}: {mark['name']}", mark["target"]["query"], {}, source)
    for rule in rules():
        asked = rule["data"][0]
        yield Query(f"alert: {rule['title']}", asked["model"]["query"], {}, asked["datasourceUid"])


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((PROVISIONING / "alerting/rules.yml").read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


def databases() -> dict[str, str]:
    """Which database each provisioned data source reads, by its uid."""
    told = yaml.safe_load((PROVISIONING / "datasources/influxdb.yml").read_text())
    return {source["uid"]: source["jsonData"]["dbName"] for source in told["datasources"]}


QUERIES = list(queries())


class Filled(NamedTuple):
    """A database that a gateway has filled, and when."""

    url: str
    database: str
    begin_ns: int
    end_ns: int

    def run(self, query: str, source: str = kit.SOURCE_UID) -> dict[str, Any]:
        """Fill in what Grafana fills in, and return what the source's database answers."""
        database = databases()[source].replace("farfix", self.database)
        span = f"time >= {self.begin_ns} AND time <= {self.end_ns}"
        for macro, value in {
            "$timeFilter": span,
            "$__interval": "60s",
            "$machine_type": PUMP.name,
            "$device": "pump-1",
            "$signal": "flow_m3h",
            "$band": "10m",
            "$site": ".*",
        }.items():
            query = query.replace(macro, value)
        assert not re.search(r"\$(?![/'\"])", query), f"a macro is left in {query}"
        answer = httpx.get(f"{self.url}/query", params={"db": database, "q": query})
        (result,) = answer.json()["results"]
        assert "error" not in result, f"{result['error']}: {query}"
        found: dict[str, Any] = result
        return found


@pytest.fixture(scope="module")
def filled(
    tmp_path_factory: pytest.TempPathFactory, mosquitto: peers.Mosquitto, influx_url: str
) -> Filled:
    """Cases moved by the real rules, and a real gateway process that takes telemetry by MQTT."""
    minutes, now_ns = 150, time.time_ns()  # noqa: TID251 - the database's clock
    begin_ns = now_ns - minutes * 60 * NS
    folder, database = tmp_path_factory.mktemp("filled"), "dashboards"
    with floor(folder / "floor", influx_url, begin_ns, database) as world:
        happen(world)
        while world.clock.now_ns() < now_ns:
            world.minutes(10, {"pump-3": "bearing_wear", "pump-4": "cavitation"})
            world.measure()
    series = f'[series]\nkind = "influx1"\nurl = "{influx_url}"\ndatabase = "{database}"\n'
    with running(folder, mosquitto, "dash", series=series) as (_, plant):
        for n in range(1, 40):
            plant.send("dash-pump-1", n, time.time_ns())  # noqa: TID251 - a machine's clock
        found = Filled(influx_url, database, begin_ns, now_ns + 600 * NS)
        looks = 'SELECT count("rows_per_s") FROM "farfix_gateway" WHERE "lag_s" > 0'
        until(lambda: bool(found.run(looks).get("series")), "the gateway's load")
    return found


def happen(world: Floor) -> None:
    """Let everything happen that dashboards show: repairs, visits, wrong alarms, open cases."""
    world.minutes(12)
    world.minutes(1, {"pump-1": "cavitation", "pump-2": "bearing_wear"}, noticed=False)
    world.minutes(5, {"pump-1": "cavitation", "pump-2": "bearing_wear"})
    world.measure()
    world.minutes(8, {"pump-2": "bearing_wear"})
    world.minutes(20, {"pump-2": "bearing_wear", "pump-3": "bearing_wear"})
    world.measure()
    world.report("pump-2", "bearing_wear")
    world.minutes(20, {"pump-1": "bearing_wear"})
    world.measure()
    phases = {row.phase for row in world.store.cases()}
    assert {Phase.RECOVERED, Phase.CLOSED, Phase.DISPATCHED} <= phases


@pytest.mark.real
@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.where)
def test_every_query_returns_rows_that_can_be_believed(filled: Filled, query: Query) -> None:
    result = filled.run(query.text, query.source)
    assert result.get("series"), f"no rows for {query.text}"
    numbers = 0
    for series in result["series"]:
        for row in series["values"]:
            for column, value in zip(series["columns"], row, strict=True):
                if column != "time" and isinstance(value, int | float) and query.units:
                    unit = query.units.get(column, query.units[""])
                    ranges = [(low, high) for name, low, high in UNITS.values() if name == unit]
                    assert ranges, f"{query.where}: column {column} has no unit"
                    assert any(low <= value <= high for low, high in ranges), (column, value, unit)
                    numbers += 1
    assert numbers or not query.units or "farfix_note" in query.text


@pytest.mark.real
@pytest.mark.parametrize(
    "broken",
    [
        'SELECT meann("score") FROM "farfix_machine" WHERE $timeFilter',
        'SELECT mean("scor") FROM "farfix_machine" WHERE $timeFilter',
        'SELECT mean("score") FROM "farfix_machin" WHERE $timeFilter',
        'SELECT mean("score") FROM "farfix_machine" WHERE $nothing',
        'SELECT count("case") FROM "farfix_case" WHERE $timeFilter',  # in the other database
    ],
)
def test_a_broken_query_is_found(filled: Filled, broken: str) -> None:
    with pytest.raises(AssertionError):
        test_every_query_returns_rows_that_can_be_believed(
            filled, Query("broken", broken, {}, kit.SOURCE_UID)
        )


@pytest.mark.real
def test_numbers_on_the_dashboards_are_what_happened(filled: Filled) -> None:
    def number(where: str) -> float:
        (query,) = [q for q in QUERIES if q.where == f"{where} A"]
        (series,) = filled.run(query.text, query.source)["series"]
        return float(series["values"][0][1])

    assert number("fleet: Machines") == 6, "four on the floor and two of the gateway's process"
    assert number("fleet: In alarm") == 2
    assert number("fleet: Without data") >= 1
    assert number("fleet: Visits ordered") >= 2
    assert 0 < number("service: Remote-fix rate") < 1
    assert number("service: First-time fix") == 1
    assert 0 < number("service: Time to detect") <= 60


@pytest.mark.real
def test_alerts_speak_of_the_right_machines(filled: Filled) -> None:
    by_title = {rule["title"]: rule["data"][0]["model"]["query"] for rule in rules()}
    result = filled.run(by_title["Promise about to be broken"])
    assert {s["tags"]["device"] for s in result["series"]} == {"pump-3", "pump-4"}
    silent = filled.run(by_title["Machine in alarm without a case"])
    assert {s["values"][0][1] for s in silent["series"]} == {0}, "all that are in alarm have one"


def test_they_are_built_from_the_code() -> None:
    for path, text in build.files().items():
        assert path.read_text() == text, f"{path.name} is old: make dashboards"
    assert sorted(build.files()) == sorted([*DASHBOARDS, PROVISIONING / "alerting/rules.yml"])


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.stem)
def test_grafanas_own_types_read_them(path: Path) -> None:
    plugins.register_default_plugins()
    told = json.loads(path.read_text())
    read = Dashboard.from_json(told)
    assert [panel.title for panel in read.panels or []] == [p["title"] for p in told["panels"]]
    assert told["schemaVersion"] == 42
    assert told["uid"] == f"farfix-{path.stem}"


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.stem)
def test_panels_fit_the_grid_and_use_the_provisioned_source(path: Path) -> None:
    source = yaml.safe_load((PROVISIONING / "datasources/influxdb.yml").read_text())
    uids = {entry["uid"] for entry in source["datasources"]}
    taken: set[tuple[int, int]] = set()
    for panel in panels(path):
        assert {t["datasource"]["uid"] for t in panel["targets"]} <= uids
        assert panel["description"]
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells


@pytest.mark.parametrize("query", QUERIES, ids=lambda q: q.where)
def test_what_they_ask_for_is_registered_and_has_the_unit_of_its_panel(query: Query) -> None:
    (measurement,) = re.findall(r'FROM "([^"]+)"', query.text)
    if measurement == "$machine_type":
        known = {signal.name for signal in PUMP.signals} | {"$signal", *EXTRA_FIELDS, "device"}
        assert measurement in query.text
        assert set(re.findall(r'"([^"]+)"', query.text)) <= known | {measurement, "alarm"}
        return
    spec = MEASUREMENTS[measurement]
    named = re.findall(r'AS "([^"]+)"', query.text)
    used = set(re.findall(r'"([^"]+)"', query.text)) - {measurement, *named}
    assert used <= {*spec.tags, *spec.fields}, "unknown words"
    for field, alias in re.findall(r'(?:\w+\()?"(\w+)"(?:, \d+)?\)?(?: AS "(\w+)")?', query.text):
        unit = spec.fields.get(field, "text")
        if query.units and unit != "text" and alias in query.units and alias:
            counted = f'count("{field}")' in query.text and query.units[alias] == "short"
            assert counted or query.units[alias] == UNITS[unit][0], (field, alias)
    default = query.units.get("", "")
    if default and not re.match(r'SELECT (count|last)\("(case|status)"\)', query.text):
        (first, *_) = [f for f in re.findall(r'"(\w+)"', query.text) if f in spec.fields]
        assert default == UNITS[spec.fields[first]][0], f"{first} in {default}"


def test_no_query_uses_what_a_newer_influxdb_lacks() -> None:
    for query in QUERIES:
        assert not re.search(r"\b(INTO|SLIMIT|SOFFSET|CARDINALITY)\b|FROM /", query.text), query
        assert query.text.count("FROM (") <= 1, query


def test_alert_files_are_what_grafana_provisions() -> None:
    source = yaml.safe_load((PROVISIONING / "datasources/influxdb.yml").read_text())
    uids = {entry["uid"] for entry in source["datasources"]} | {"__expr__"}
    seen = set()
    for rule in rules():
        assert rule["uid"] not in seen
        seen.add(rule["uid"])
        assert {part["datasourceUid"] for part in rule["data"]} <= uids
        assert [part["refId"] for part in rule["data"]] == ["A", "B", "C"]
        assert rule["condition"] == "C"
        assert rule["noDataState"] in {"OK", "NoData", "Alerting"}
        assert "$" not in json.dumps(rule), "Grafana would replace it in the file"
    contacts = yaml.safe_load((PROVISIONING / "alerting/contact-points.yml").read_text())
    names = {point["name"] for point in contacts["contactPoints"]}
    (tree,) = yaml.safe_load((PROVISIONING / "alerting/policies.yml").read_text())["policies"]
    routes = [tree, *tree["routes"]]
    assert {route["receiver"] for route in routes} <= names
    labels = {label for rule in rules() for label in rule["labels"].values()}
    matched = {matcher[2] for route in tree["routes"] for matcher in route["object_matchers"]}
    assert matched <= labels, "a route that no rule takes"


def test_the_documentation_names_every_measurement_tag_and_field() -> None:
    text = (ROOT / "docs/grafana.md").read_text()
    for name, measurement in MEASUREMENTS.items():
        section = text.split(f"### `{name}`")[1].split("\n#")[0]
        told = set(re.findall(r"`(\w+)`", section))
        assert {*measurement.tags, *measurement.fields} <= told, name


def test_every_machine_type_has_what_the_machine_dashboard_asks() -> None:
    for machine in machines.library().values():
        names = {signal.name for signal in machine.signals}
        assert not names & {*EXTRA_FIELDS}, "a signal would hide what is stored beside signals"
