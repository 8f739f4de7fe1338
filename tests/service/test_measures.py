"""What a gateway writes for dashboards: all of it, once, whatever fails on the way."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.adapters import measures as rows
from cloud.adapters.series_influx import InfluxSeries, beside
from cloud.core.measured import MEASUREMENTS, Note, Point, note, visits
from cloud.core.states import Phase
from cloud.service.measures import AGAIN_NS
from contract.errors import Unreachable
from tests import peers
from tests.core.scenes import Scene
from tests.dashboards.floor import PUMP, Floor, floor
from tests.service.gateway_process import running, until

BEGIN_NS = 1_795_000_000 * 10**9


def found(url: str, database: str, query: str) -> list[dict[str, object]]:
    """Return what a query finds, every row with its tags."""
    answer = httpx.get(f"{url}/query", params={"db": database, "q": query, "epoch": "ns"})
    (result,) = answer.json()["results"]
    assert "error" not in result, result
    return [
        {**series.get("tags", {}), **dict(zip(series["columns"], values, strict=True))}
        for series in result.get("series", [])
        for values in series.get("values", [])  # a database without shards
    ]


def all_of(url: str, database: str, name: str) -> list[dict[str, object]]:
    return found(url, database, f'SELECT * FROM "{name}"')  # noqa: S608 - a name of ours


def everything(url: str, database: str) -> dict[str, list[dict[str, object]]]:
    names = [name for name, spec in MEASUREMENTS.items() if spec.for_good]
    return {name: all_of(url, beside(database), name) for name in names}


def repaired(world: Floor) -> None:
    """Let one machine fall ill and be repaired from afar."""
    world.minutes(3)
    world.minutes(2, {"pump-1": "cavitation"}, noticed=False)
    world.minutes(5, {"pump-1": "cavitation"})
    world.minutes(8)
    assert world.case("pump-1").phase is Phase.RECOVERED


@pytest.mark.real
def test_a_repair_is_written_with_its_times_and_its_credit(tmp_path: Path, influx_url: str) -> None:
    with floor(tmp_path, influx_url, BEGIN_NS) as world:
        repaired(world)
        world.measure()
        case = world.case("pump-1")
        (end,) = all_of(influx_url, beside(world.database), "farfix_case")
        wanted = {
            "time": case.ended_ns, "case": case.case_id, "device": "pump-1", "tier": "A",
            "outcome": "recovered", "fault": "cavitation", "reason": "none", "credited": 1,
            "remote_fix": 1, "attempts": 1, "tickets": 0, "kept_restore": 1,
        }  # fmt: skip
        assert wanted.items() <= end.items()
        assert end["time_to_fix_s"] == (case.ended_ns - case.opened_ns) / 1e9  # type: ignore[operator]
        assert end["time_to_detect_s"] == 120, "the score was high for two minutes before"
        assert "first_time_fix" not in end, "there was no visit"
        told = all_of(influx_url, beside(world.database), "farfix_note")
        assert [line["text"] for line in told] == [
            line.text for line in world.store.timeline(case.case_id)
        ]
        assert {"fault", "command", "answer", "end"} <= {line["kind"] for line in told}


@pytest.mark.real
def test_a_visit_is_written_with_its_reason_and_what_it_brought(
    tmp_path: Path, influx_url: str
) -> None:
    with floor(tmp_path, influx_url, BEGIN_NS) as world:
        world.minutes(40, {"pump-2": "bearing_wear"})
        assert world.case("pump-2").phase is Phase.DISPATCHED
        world.report("pump-2", "bearing_wear")
        world.measure()
        (end,) = all_of(influx_url, beside(world.database), "farfix_case")
        assert {
            "outcome": "closed", "remote_fix": 0, "first_time_fix": 1, "tickets": 1,
        }.items() <= end.items()  # fmt: skip
        orders = "SELECT * FROM farfix_visit WHERE state = 'ordered'"
        ordered = found(influx_url, beside(world.database), orders)
        assert [(o["reason"], o["ordered"], o["device"]) for o in ordered] == [
            (end["reason"], 1, "pump-2")
        ]


@pytest.mark.real
def test_an_outage_and_a_crash_lose_and_double_nothing(tmp_path: Path, influx_url: str) -> None:
    with floor(tmp_path / "plain", influx_url, BEGIN_NS) as plain:
        repaired(plain)
        plain.measure()
        wanted = everything(influx_url, plain.database)
    with floor(tmp_path / "hurt", influx_url, BEGIN_NS) as world:
        world.minutes(3)
        world.measure()
        world.minutes(2, {"pump-1": "cavitation"}, noticed=False)
        world.minutes(5, {"pump-1": "cavitation"})
        cursor = world.store.memory.model("measures/cursor")
        away(world.series, world.measure)
        (trouble,) = world.measures.troubles()
        assert "does not answer" in trouble
        assert world.store.memory.model("measures/cursor") == cursor, "it moves when written"
        world.desk.flush()
        world.begin()  # an end, as far as memory goes
        world.minutes(8)
        world.measure()
        assert world.measures.troubles() == []
        world.begin()
        world.measure()  # all of it again
        assert everything(influx_url, world.database) == wanted


@pytest.mark.real
def test_figures_outlive_telemetry_and_come_back_from_the_cases(
    tmp_path: Path, influx_url: str
) -> None:
    with floor(tmp_path, influx_url, BEGIN_NS) as world:
        repaired(world)
        world.measure()
        wanted = everything(influx_url, world.database)
        shards = found(influx_url, world.database, "SHOW SHARDS")
        dropped = [shard["id"] for shard in shards if shard["database"] == world.database]
        for shard in dropped:  # as retention does it
            found(influx_url, world.database, f"DROP SHARD {shard}")
        assert dropped
        assert all_of(influx_url, world.database, PUMP.name) == []
        assert all_of(influx_url, world.database, "farfix_machine") == []
        assert everything(influx_url, world.database) == wanted
        world.begin()
        world.measure()
        assert everything(influx_url, world.database) == wanted, "what is gone takes nothing away"
        found(influx_url, "", f'DROP DATABASE "{beside(world.database)}"')
        world.begin()
        world.measure()
        again = everything(influx_url, world.database)
        for end in wanted["farfix_case"]:
            assert end.pop("time_to_detect_s") == 120, "only telemetry knew it"
        assert again == wanted
        world.clock.ns += AGAIN_NS + 3600 * 10**9
        found(influx_url, "", f'DROP DATABASE "{beside(world.database)}"')
        found(influx_url, "", f'CREATE DATABASE "{beside(world.database)}"')
        world.begin()
        world.measure()
        assert not any(everything(influx_url, world.database).values()), "that is long ago"


def away(series: InfluxSeries, act: Callable[[], None]) -> None:
    """Do something while the database does not answer."""
    send = series._send

    def fail(database: str, lines: bytes) -> str:
        raise Unreachable(f"InfluxDB does not answer {len(lines)} bytes for {database}")

    series._send = fail
    try:
        act()
    finally:
        series._send = send


@pytest.mark.real
def test_what_is_written_is_what_is_registered(tmp_path: Path, influx_url: str) -> None:
    with floor(tmp_path, influx_url, BEGIN_NS) as world:
        repaired(world)
        world.minutes(20, {"pump-2": "bearing_wear"})
        world.measure()
        for name, measurement in MEASUREMENTS.items():
            database = beside(world.database) if measurement.for_good else world.database
            tags = found(influx_url, database, f'SHOW TAG KEYS FROM "{name}"')
            assert sorted(str(t["tagKey"]) for t in tags) == sorted(measurement.tags)
            fields = found(influx_url, database, f'SHOW FIELD KEYS FROM "{name}"')
            for field in fields:
                unit = measurement.fields[str(field["fieldKey"])]
                assert field["fieldType"] == ("string" if unit == "text" else "float")
            assert not set(measurement.tags) & set(measurement.fields), "never both"


@given(st.text(), st.text(max_size=400))
def test_any_text_stays_one_line_and_no_markup(tag: str, field: str) -> None:
    line = rows.encode(Point("m", {"t": tag}, {"f": field, "n": float("inf")}, 7)).decode()
    assert len(line.splitlines()) == 1
    assert not {"<", ">"} & set(line)
    assert line.startswith("m,t=")
    assert line.endswith('" 7'), "a number that is none is left out"


@pytest.mark.real
def test_hostile_texts_come_back_as_texts(tmp_path: Path, influx_url: str) -> None:
    with floor(tmp_path, influx_url, BEGIN_NS) as world:
        hostile = '"\\,= \n<img src=x onerror=alert(1)> é\u2028 farfix_case,a=b c=1'
        point = Point("farfix_note", {"device": hostile}, {"text": hostile}, BEGIN_NS)
        assert world.series.write_lines([rows.encode(point)], for_good=False) == []
        (row,) = found(influx_url, world.database, 'SELECT * FROM "farfix_note"')
        assert "img src=x" in str(row["text"])
        assert "<" not in str(row["text"]) + str(row["device"])
        assert found(influx_url, world.database, 'SELECT * FROM "farfix_case"') == []


def test_two_lines_of_one_instant_are_two_points() -> None:
    case = Scene("open_valve").case
    lines = [note(Note(n, case.case_id, BEGIN_NS, "fault", "x"), case) for n in (1, 2)]
    assert lines[0].time_ns != lines[1].time_ns
    assert visits(case) == [], "no ticket, no visit"


@pytest.mark.real
def test_a_running_gateway_measures_itself(
    tmp_path: Path, mosquitto: peers.Mosquitto, influx_url: str
) -> None:
    database = "itself"
    series = f'[series]\nkind = "influx1"\nurl = "{influx_url}"\ndatabase = "{database}"\n'
    with running(tmp_path, mosquitto, "self", series=series) as (gateway, plant):
        for n in range(1, 40):
            plant.send("self-pump-1", n, time.time_ns())  # noqa: TID251 - the machine's own clock
        until(lambda: plant.acks.get(("self-pump-1", "b1")) == 39, "acknowledgement")
        busy = 'SELECT * FROM "farfix_gateway" WHERE "rows_per_s" > 0'
        until(lambda: bool(found(influx_url, database, busy)), "the load of these rows")
        assert {row["device"] for row in all_of(influx_url, database, "farfix_machine")} == {
            "self-pump-1", "self-pump-2",
        }  # fmt: skip
        (load, *_) = found(influx_url, database, busy)
        assert str(load["gateway"]).startswith("farfix-gateway-")
        assert gateway.stop() == 0


def test_beside_another_store_nothing_is_measured(tmp_path: Path) -> None:
    with floor(tmp_path, "http://127.0.0.1:1", BEGIN_NS) as world:
        world.measures._series = None

        async def a_while() -> None:
            async with asyncio.timeout(0.3):
                await world.measures.run()

        with pytest.raises(TimeoutError):
            asyncio.run(a_while())
        assert world.measures.troubles() == []
