"""Alerts of other systems: taken once, each on its own merits, from whom we know."""

import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from cloud.core.people import Role
from cloud.core.states import Phase
from cloud.web import alert_shape
from contract.errors import Malformed
from contract.faults import REPORTED, Severity
from contract.timescale import Timescale
from tests.web.fixture_centre import KEY, Centre, centre, client
from tests.web.fixture_world import HOSTILE

Client = httpx.AsyncClient
WALL = Timescale()


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Centre]:
    with centre(tmp_path) as found:
        yield found


@pytest.fixture
async def api(made: Centre) -> AsyncIterator[Client]:
    async with client(made, Role.ALERTS) as found:
        yield found


def wall(ahead_s: float = 0.0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=ahead_s)).isoformat()  # noqa: TID251 - theirs


STARTED = wall(-60)


def entry(device: str = "pump-1", status: str = "firing", **labels: str) -> dict[str, Any]:
    known = {"alertname": "OilLow", "device": device, "severity": "warning", **labels}
    return {
        "status": status,
        "labels": {name: text for name, text in known.items() if text},
        "annotations": {"summary": "Oil level low", "description": "12 % left."},
        "startsAt": STARTED,
        "endsAt": wall(-1) if status == "resolved" else "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph?g0.expr=x",
        "fingerprint": f"print-{device}",
        "values": {"B": 12.5},
    }


def notification(*entries: dict[str, Any]) -> dict[str, Any]:
    """What Alertmanager and Grafana send around the alerts."""
    return {
        "version": "4",
        "groupKey": '{}:{alertname="OilLow"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "farfix",
        "groupLabels": {"alertname": "OilLow"},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager:9093",
        "alerts": list(entries),
    }


async def sent(api: Client, *entries: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await api.post("/api/alerts", json=notification(*entries))
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["alerts"]
    return found


async def test_an_alert_opens_one_case_and_its_end_ends_it(made: Centre, api: Client) -> None:
    (first,) = await sent(api, entry())
    assert (first["outcome"], first["device"]) == ("taken", "pump-1")
    case = made.case(first["case_id"])
    assert (case.fault, case.title, case.severity) == (REPORTED, "Oil level low", Severity.MEDIUM)
    again = await sent(api, entry())
    assert {each["case_id"] for each in again} <= {case.case_id, ""}
    assert len(made.parts.store.cases()) == 1
    await sent(api, entry(status="resolved"))
    assert made.case(case.case_id).phase is Phase.SELF_CLEARED


async def test_what_is_replayed_after_the_end_changes_nothing(made: Centre, api: Client) -> None:
    for status in ("firing", "resolved", "firing", "resolved", "firing"):
        await sent(api, entry(status=status))
    (row,) = made.parts.store.cases()
    assert not row.open


async def test_each_alert_stands_for_itself(made: Centre, api: Client) -> None:
    strange, broken = entry("pump-99"), {"status": "firing", "labels": {"device": 7}}
    nameless = entry("")
    nothing = entry("chiller-1", status="resolved")
    outcomes = await sent(api, strange, broken, nameless, nothing, entry("pump-2"))
    said = [each["outcome"] for each in outcomes]
    assert said == ["refused", "refused", "refused", "nothing_to_do", "taken"]
    assert "no machine 'pump-99'" in outcomes[0]["detail"]
    assert "labels" in outcomes[1]["detail"]
    assert "farfix_device or device" in outcomes[2]["detail"]
    assert [row.device for row in made.parts.store.open_cases()] == ["pump-2"]
    assert any("3 of 5 alerts" in line for line in made.audit())


async def test_a_named_fault_of_the_machine_type_is_taken_and_a_strange_one_is_not(
    made: Centre, api: Client
) -> None:
    named, strange = await sent(
        api, entry("pump-1", fault="bearing_wear"), entry("pump-2", fault="flux_capacitor")
    )
    assert made.case(named["case_id"]).fault == "bearing_wear"
    assert made.case(strange["case_id"]).fault == REPORTED


async def test_hostile_texts_are_cut_and_stay_texts(made: Centre, api: Client) -> None:
    hostile = entry("pump-1")
    hostile["annotations"] = {"summary": HOSTILE + "\x00\x1b[2J" + "x" * 5000}
    (outcome,) = await sent(api, hostile)
    title = made.case(outcome["case_id"]).title
    assert title.startswith(HOSTILE)
    assert "\x00" not in title
    assert "\x1b" not in title
    assert len(title) <= alert_shape.TITLE_MAX


async def test_a_clock_that_is_ahead_is_refused(made: Centre, api: Client) -> None:
    ahead = entry("pump-1") | {"startsAt": wall(3600)}
    (outcome,) = await sent(api, ahead)
    assert outcome["outcome"] == "refused"
    assert "ahead of the gateway's clock" in outcome["detail"]
    assert made.parts.store.cases() == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not alerts"),
        (b"[]", "not alerts"),
        (b'{"alerts": 3}', "not alerts"),
        (b"{" * 100_000, "not alerts"),
        (b'{"alerts":[' + b"1," * alert_shape.ALERTS_MAX + b"1]}", "length <= 1000"),
        (b"\xff\xfe", "not alerts"),
    ],
)
async def test_what_is_no_notification_is_refused_and_noted(
    made: Centre, api: Client, body: bytes, words: str
) -> None:
    answer = await api.post("/api/alerts", content=body)
    assert answer.status_code == 422
    assert words in answer.json()["detail"]
    assert any("alerts: not alerts" in line for line in made.audit())


@pytest.mark.parametrize("role", [None, Role.DISPATCH, Role.VIEWER])
async def test_others_may_not_hand_in_alerts(made: Centre, role: Role | None) -> None:
    async with client(made, role) as stranger:
        answer = await stranger.post("/api/alerts", json=notification(entry()))
    assert answer.status_code == (401 if role is None else 403)
    assert made.parts.store.cases() == []


def signed(body: bytes, key: str = KEY, stamp: str = "") -> dict[str, str]:
    text = f"{stamp}:".encode() + body if stamp else body
    made = hmac.new(key.encode(), text, hashlib.sha256).hexdigest()
    headers = {"X-Grafana-Alerting-Signature": made}
    return headers | ({"X-Grafana-Alerting-Timestamp": stamp} if stamp else {})


@pytest.mark.parametrize("stamped", [False, True])
async def test_what_grafana_signed_needs_no_token(made: Centre, *, stamped: bool) -> None:
    body = msgspec.json.encode(notification(entry()))
    stamp = str(int(time.time())) if stamped else ""  # noqa: TID251 - as Grafana does
    async with client(made, None) as grafana:
        answer = await grafana.post(
            "/api/alerts/signed", content=body, headers=signed(body, stamp=stamp)
        )
    assert answer.json()["alerts"][0]["outcome"] == "taken"


async def test_forged_signatures_are_refused_and_noted(made: Centre) -> None:
    body, now_s = msgspec.json.encode(notification(entry())), int(time.time())  # noqa: TID251
    whole = signed(body, stamp=str(now_s))
    forged: list[dict[str, str]] = [
        {},
        {"X-Grafana-Alerting-Signature": "0" * 64},
        {"X-Grafana-Alerting-Signature": "\u00e9"},
        signed(body, key="another"),
        signed(body + b" "),
        {"X-Grafana-Alerting-Signature": whole["X-Grafana-Alerting-Signature"]},
        whole | {"X-Grafana-Alerting-Timestamp": str(now_s + 1)},
        signed(body, stamp=str(now_s - 3600)),
        signed(body, stamp="soon"),
    ]
    async with client(made, None) as grafana:
        for headers in forged:
            raw = [(name.encode(), text.encode("latin-1")) for name, text in headers.items()]
            answer = await grafana.post("/api/alerts/signed", content=body, headers=raw)
            assert answer.status_code == 401, headers
    assert made.parts.store.cases() == []
    assert any("signed alerts: The signature" in line for line in made.audit())


async def test_without_a_key_nothing_signed_is_taken(made: Centre) -> None:
    body = msgspec.json.encode(notification(entry()))
    keyless = msgspec.structs.replace(made, config=made.config.model_copy(
        update={"alerts_secret_file": None}
    ))  # fmt: skip
    async with client(keyless, None) as grafana:
        answer = await grafana.post("/api/alerts/signed", content=body, headers=signed(body, ""))
    assert answer.status_code == 401
    assert "alerts_secret_file" in answer.json()["detail"]


def test_severity_words_are_told_apart_and_each_means_one_thing() -> None:
    words = [word for text in alert_shape.SEVERITIES.values() for word in text.split()]
    assert len(words) == len(set(words))
    for severity, text in alert_shape.SEVERITIES.items():
        for word in text.split():
            raw = msgspec.Raw(msgspec.json.encode(entry(severity=word.upper())))
            assert alert_shape.read(raw, 2**62, WALL).severity is severity
    raw = msgspec.Raw(msgspec.json.encode(entry(severity="purple")))
    assert alert_shape.read(raw, 2**62, WALL).severity is Severity.MEDIUM


def test_the_published_table_of_severities_is_the_one_in_force() -> None:
    text = (Path(__file__).parents[2] / "docs" / "howto-dispatch.md").read_text()
    for severity, words in alert_shape.SEVERITIES.items():
        more = ", and anything else" if severity is Severity.MEDIUM else ""
        assert f"| {', '.join(words.split())}{more} | {severity.value} |" in text


def test_an_alert_is_the_same_by_fingerprint_and_beginning() -> None:
    def id_of(**changes: object) -> str:
        raw = msgspec.Raw(msgspec.json.encode(entry() | changes))
        return alert_shape.read(raw, 2**62, WALL).id

    assert id_of() == id_of(status="resolved", annotations={}, endsAt=wall())
    assert id_of() != id_of(startsAt=wall(-30))
    assert id_of() != id_of(fingerprint="another")
    assert id_of(fingerprint="") == id_of(fingerprint="")


def test_our_own_label_wins_over_the_disks_of_exporters() -> None:
    both = entry("sda", farfix_device="pump-1")
    assert alert_shape.read(msgspec.Raw(msgspec.json.encode(both)), 2**62, WALL).device == "pump-1"


def test_an_alert_without_a_time_zone_is_no_alert() -> None:
    vague = msgspec.json.encode(entry() | {"startsAt": "2026-11-22T18:00:00"})
    with pytest.raises(Malformed, match="startsAt"):
        alert_shape.read(msgspec.Raw(vague), 2**62, WALL)
