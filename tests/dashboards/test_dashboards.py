"""Every query of every dashboard runs on a real InfluxDB that the gateway's adapter has filled."""

import json
import uuid
from pathlib import Path

import httpx
import pytest
import yaml

from cloud.adapters import series_influx
from tests.frames import frame

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = sorted((ROOT / "dashboards").glob("*.json"))
NOW_NS = 1_795_330_000 * 10**9
MACHINES = [("centrifugal_pump", "pump-1"), ("centrifugal_pump", "pump-2"), ("chiller", "c-1")]


def queries(dashboard: dict[str, object]) -> list[str]:
    found = [t["query"] for panel in dashboard["panels"] for t in panel["targets"]]  # type: ignore[attr-defined]
    return found + [v["query"] for v in dashboard["templating"]["list"]]  # type: ignore[index]


def filled(query: str) -> str:
    for macro, value in {
        "$timeFilter": f"time > {NOW_NS - 3600 * 10**9} AND time <= {NOW_NS}",
        "$__interval": "10s",
        "$machine_type": "centrifugal_pump",
        "$device": "pump-1",
    }.items():
        query = query.replace(macro, value)
    return query


@pytest.mark.real
@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.stem)
def test_every_query_returns_rows(path: Path, influx_url: str) -> None:
    database = f"d{uuid.uuid4().hex}"
    store = series_influx.v1(influx_url, database, "")
    for machine_type, device in MACHINES:
        for i in range(60):
            fields = {"flow_m3h": 50.0, "quality": 0.0, "score": 1.4, "alarm": float(i < 3)}
            at_ns = NOW_NS - i * 5 * 10**9
            assert store.write([frame(device, at_ns, {**fields}, machine_type)]) == []
    for query in queries(json.loads(path.read_text())):
        text = filled(query)
        assert "$" not in text, f"a macro is left in {text}"
        answer = httpx.get(f"{influx_url}/query", params={"db": database, "q": text})
        (result,) = answer.json()["results"]
        assert result.get("series"), f"no rows for {text}: {result}"
        if "sum(" in text:  # machines in alarm
            sums = {found["name"]: found["values"][0][1] for found in result["series"]}
            assert sums == {"centrifugal_pump": 2, "chiller": 1}
    store.close()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda p: p.stem)
def test_panels_fit_the_grid_and_use_the_provisioned_source(path: Path) -> None:
    source = yaml.safe_load((ROOT / "deploy/grafana/datasources/influxdb.yml").read_text())
    uids = {entry["uid"] for entry in source["datasources"]}
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(path.read_text())["panels"]:
        assert {t["datasource"]["uid"] for t in panel["targets"]} <= uids
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert not cells & taken, f"{panel['title']} lies over another panel"
        taken |= cells
