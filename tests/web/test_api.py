"""The REST API over real stores and the real rules of cases."""

import socket
from collections.abc import Awaitable, Callable

import httpx
import pytest

from cloud.adapters import series_influx
from cloud.config import Config
from cloud.core.events import CommandFinished, Evidence
from cloud.core.people import Role
from cloud.core.states import Mode, Phase
from cloud.web import guard
from cloud.web.app import create_api
from cloud.web.faces import Faces
from cloud.web.ports import Notice
from contract.commands import AnswerStatus
from contract.tickets import Finding, Forecast
from tests.web.fixture_world import HOSTILE, START_NS, S, WorldDesk

OPENED_NS = START_NS - 600 * S
Client = httpx.AsyncClient


def problem(answer: httpx.Response, status: int) -> str:
    """Check that an answer is a problem by RFC 9457, and return its text."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["instance"] == answer.request.url.path
    return str(body["detail"])


def awaiting(desk: WorldDesk) -> str:
    case = desk.open("pump-1", "cavitation", OPENED_NS, Mode.SUGGEST)
    desk.observed(case)
    assert desk.case(case).phase is Phase.AWAITING_APPROVAL
    return case


def dispatched(desk: WorldDesk) -> str:
    case = desk.open("pump-1", "bearing_wear", OPENED_NS, Mode.AUTO)
    desk.observed(case)
    assert desk.case(case).phase is Phase.DISPATCHED
    return case


async def test_fleet_shows_every_machine_the_urgent_first(api: Client, desk: WorldDesk) -> None:
    awaiting(desk)
    fleet = (await api.get("/api/fleet")).json()
    assert [m["device"] for m in fleet["machines"]] == ["pump-1", "chiller-1", "pump-2"]
    first, second = fleet["machines"][0], fleet["machines"][2]
    assert (first["status"], first["case"]["phase"]) == ("approval", "awaiting_approval")
    assert (second["status"], second["title"]) == ("waiting", "pump-2")
    assert fleet["summary"]["awaiting_approval"] == 1
    assert fleet["summary"]["machines"] == 3


async def test_totals_follow_when_a_case_ends(api: Client, desk: WorldDesk) -> None:
    case = awaiting(desk)
    assert (await api.get("/api/fleet")).json()["summary"]["self_cleared"] == 0
    for i in range(40):
        at_ns = OPENED_NS + (200 + 10 * i) * S
        desk.move(case, Evidence(at_ns, healthy=True), at_ns)
    summary = (await api.get("/api/fleet")).json()["summary"]
    assert (summary["self_cleared"], summary["awaiting_approval"]) == (1, 0)


async def test_machine_tells_values_registers_and_cases(api: Client, desk: WorldDesk) -> None:
    case = awaiting(desk)
    machine = (await api.get("/api/machines/pump-1")).json()
    pressure = next(s for s in machine["signals"] if s["name"] == "discharge_pressure_bar")
    assert pressure["register_text"] == "input 13, FLOAT32, CDAB"
    assert pressure["value"] is not None
    assert [c["case_id"] for c in machine["cases"]] == [case]
    suction = next(s for s in machine["signals"] if s["name"] == "suction_pressure_bar")
    assert suction["expected"] is not None


async def test_a_command_by_hand_is_for_engineers_and_told_in_their_name(
    api: Client, desk: WorldDesk, api_as: Callable[[Role], Awaitable[Client]]
) -> None:
    asked = {"id": "shift-1", "name": "set_suction_valve", "argument": 85}
    path = "/api/machines/pump-1/commands"
    assert "needs engineer" in problem(
        await (await api_as(Role.OPERATOR)).post(path, json=asked), 403
    )
    engineer = await api_as(Role.ENGINEER)
    assert "leave 'by' out" in problem(await engineer.post(path, json=asked | {"by": "x"}), 422)
    assert desk.sent == {}
    sent = (await engineer.post(path, json=asked)).json()
    assert (sent["id"], sent["status"]) == ("shift-1", "done")
    assert sent["reason"] == "as engineer-system said"
    assert "20 to 100" in problem(await api.post(path, json=asked | {"argument": 5}), 409)
    assert "id" in problem(await api.post(path, json=asked | {"id": "a b"}), 422)
    assert "GET /api/fleet" in problem(
        await api.post("/api/machines/pump-9/commands", json=asked), 404
    )
    awaiting(desk)
    assert "open case" in problem(await api.post(path, json=asked | {"id": "2"}), 409)


async def test_telemetry_is_cut_and_thinned(api: Client) -> None:
    span = {"from": START_NS - 3600 * S, "to": START_NS, "max_points": 30}
    found = await api.get(
        "/api/machines/pump-1/telemetry", params={**span, "signals": "flow_m3h,vibration_mm_s"}
    )
    body = found.json()
    assert set(body["signals"]) == {"flow_m3h", "vibration_mm_s"}
    assert 0 < len(body["times_ns"]) <= 30
    assert len(body["signals"]["flow_m3h"]) == len(body["times_ns"]) == len(body["score"])
    assert min(body["times_ns"]) >= START_NS - 3600 * S
    assert max(s for s in body["score"] if s is not None) > 1


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/api/machines/pump-9", 404, "GET /api/fleet"),
        ("/api/machines/pump-1/telemetry?signals=nonsense", 422, "it has pressure_setpoint_bar"),
        ("/api/machines/pump-1/telemetry?from=9&to=3", 422, "'from' must lie before 'to'"),
        ("/api/machines/pump-1/telemetry?max_points=0", 422, "max_points"),
        ("/api/machines/pump-9/telemetry", 404, "pump-9"),
        ("/api/cases/none", 404, "GET /api/cases"),
        ("/api/cases?state=sleeping", 422, "state"),
        ("/api/tickets/none", 404, "none"),
        ("/api/rollouts/99", 404, "99"),
        ("/api/nothing", 404, "Not Found"),
    ],
)
async def test_errors_are_problems_with_clear_words(
    api: Client, path: str, status: int, words: str
) -> None:
    assert words in problem(await api.get(path), status)


async def test_a_machine_tells_what_lies_ahead(api: Client, desk: WorldDesk) -> None:
    assert (await api.get("/api/machines/pump-1")).json()["forecast"] is None
    forecast = Forecast(told_ns=1, expected_ns=3, earliest_ns=2, latest_ns=None, book_before_ns=1)
    desk.forecasts["pump-1"] = forecast
    desk.warnings["pump-1"] = [Notice("flow_m3h", "Flow: apart.", 5)]
    machine = (await api.get("/api/machines/pump-1")).json()
    assert machine["notices"] == [{"signal": "flow_m3h", "text": "Flow: apart.", "since_ns": 5}]
    assert "not before 1970-01-01" in machine["forecast"]["text"]
    assert (machine["forecast"]["earliest_ns"], machine["forecast"]["latest_ns"]) == (2, None)


async def test_case_tells_its_whole_story(api: Client, desk: WorldDesk) -> None:
    case_id = awaiting(desk)
    case = (await api.get(f"/api/cases/{case_id}")).json()
    assert case["title"].startswith("Cavitation")
    assert case["probability"] == pytest.approx(0.82)
    assert [entry["kind"] for entry in case["timeline"]] == ["fault", "person"]
    seen = case["timeline"][0]["deviations"][0]
    assert (seen["signal"], seen["sigmas"], seen["direction"]) == (
        "suction_pressure_bar", 18, "below",
    )  # fmt: skip
    assert case["actions"] == ["approve", "reject", "escalate", "dismiss", "try", "pause"]
    assert case["steps"][0]["title"] in case["next_text"]
    assert not case["reportable"]
    assert [c["case_id"] for c in (await api.get("/api/cases?state=awaiting_approval")).json()]
    assert (await api.get("/api/cases?state=closed")).json() == []
    assert (await api.get("/api/cases?device=pump-2")).json() == []


async def test_a_remedy_tells_how_the_score_moved(api: Client, desk: WorldDesk) -> None:
    case_id = awaiting(desk)
    await api.post(f"/api/cases/{case_id}/approve", json={"by": "Ada"})
    sent = desk.case(case_id).attempt
    done_ns = sent.sent_ns + 5 * S
    answer = CommandFinished(sent.command_id, AnswerStatus.DONE, done_ns)
    desk.move(case_id, answer, done_ns)
    for second, score in ((60, 1.4), (200, 0.4), (260, 0.6)):
        at_ns = done_ns + second * S
        desk.move(case_id, Evidence(at_ns, healthy=score < 1, score=score), at_ns)
    (attempt,) = (await api.get(f"/api/cases/{case_id}")).json()["attempts"]
    assert attempt["score_before"] == 1.9
    assert (attempt["score_lowest"], attempt["score_latest"]) == (0.4, 0.6)
    assert attempt["score_lowest_ns"] == attempt["below_alarm_since_ns"] == done_ns + 200 * S


async def test_approval_sends_the_remedy(api: Client, desk: WorldDesk) -> None:
    case_id = awaiting(desk)
    answer = await api.post(f"/api/cases/{case_id}/approve", json={"by": "J. Doe"})
    assert answer.status_code == 200
    assert answer.json()["attempts"][0]["result"] == "waiting"
    assert any("J. Doe" in entry["text"] for entry in answer.json()["timeline"])


async def test_a_visit_can_be_asked_for_and_is_a_ticket(api: Client, desk: WorldDesk) -> None:
    case_id = awaiting(desk)
    decision = {"by": "J. Doe", "why": "the customer asked"}
    answer = await api.post(f"/api/cases/{case_id}/escalate", json=decision)
    assert answer.json()["phase"] == "dispatched"
    (ticket,) = (await api.get("/api/tickets")).json()
    assert ticket["reason"] == "customer_request"
    assert ticket["key"] == case_id


async def test_what_does_not_apply_is_refused(api: Client, desk: WorldDesk) -> None:
    case_id = dispatched(desk)
    assert (await api.get(f"/api/cases/{case_id}")).json()["actions"] == ["pause"]
    again = await api.post(f"/api/cases/{case_id}/approve", json={"by": "J. Doe"})
    assert "nothing to decide" in problem(again, 409)
    nobody = await api.post(f"/api/cases/{case_id}/approve", json={"by": "x" * 61})
    assert "by" in problem(nobody, 422)
    unknown = await api.post("/api/cases/none/approve", json={"by": "J. Doe"})
    assert problem(unknown, 404)


async def test_closing_report_closes_the_case_and_is_kept_as_a_label(
    api: Client, desk: WorldDesk
) -> None:
    case_id = dispatched(desk)
    assert (await api.get(f"/api/cases/{case_id}")).json()["reportable"]
    report = {"finding": "clogged_strainer", "notes": "cleaned", "technician": "J. Doe"}
    answer = await api.post(f"/api/cases/{case_id}/report", json=report)
    assert answer.json()["phase"] == "closed"
    (label,) = desk.store.memory.labels()
    assert (label.fault, label.diagnosed) == ("clogged_strainer", "bearing_wear")
    assert problem(await api.post(f"/api/cases/{case_id}/report", json=report), 409)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"not json", "ClosingReport"),
        (b'{"finding":"martians"}', "martians"),
        (b'{"finding":"other","bill":7}', "bill"),
        (b'{"finding":"other","v":9}', "version 9"),
    ],
)
async def test_odd_reports_change_nothing(
    api: Client, desk: WorldDesk, body: bytes, words: str
) -> None:
    case_id = dispatched(desk)
    answer = await api.post(f"/api/cases/{case_id}/report", content=body)
    assert words in problem(answer, 422)
    assert desk.case(case_id).phase is Phase.DISPATCHED


async def test_whoever_has_no_token_changes_nothing(api: Client, desk: WorldDesk) -> None:
    case_id = awaiting(desk)
    for header in (b"", b"Bearer wrong", "Bearer ä".encode(), b"Basic YTpi"):
        for path, body in (
            (f"/api/cases/{case_id}/approve", {"by": "x"}),
            (f"/api/cases/{case_id}/report", {"finding": Finding.OTHER}),
            ("/api/rollouts", {}),
        ):
            headers = {b"Authorization": header}
            answer = await api.post(path, json=body, headers=headers)
            assert "Bearer TOKEN" in problem(answer, 401)
            assert answer.headers["www-authenticate"] == "Bearer"
    assert desk.case(case_id).phase is Phase.AWAITING_APPROVAL


async def test_huge_bodies_are_turned_away(api: Client, desk: WorldDesk) -> None:
    case_id = dispatched(desk)
    path = f"/api/cases/{case_id}/report"
    fits = b'{"finding":"other","notes":"' + b"x" * 3000 + b'"}'
    huge = b"x" * (guard.MAX_BODY_BYTES + 1)
    assert str(guard.MAX_BODY_BYTES) in problem(await api.post(path, content=huge), 413)
    assert (await api.post(path, content=fits)).status_code == 200


async def test_a_bug_is_told_without_its_inside(faces: Faces, config: Config) -> None:
    app = create_api(faces, "token", config)

    @app.get("/api/bug")
    def bug() -> None:
        raise TypeError("secret inside")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        assert "secret" not in problem(await client.get("/api/bug"), 500)


async def test_a_silent_store_is_a_passing_trouble(api: Client, desk: WorldDesk) -> None:
    desk.series.close()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    url = f"http://127.0.0.1:{free}"
    desk.series = series_influx.v1(url, "farfix", "")
    assert "127.0.0.1" in problem(await api.get("/api/machines/pump-1/telemetry"), 503)


async def test_quarantine_shows_bytes_as_text(api: Client, desk: WorldDesk) -> None:
    desk.store.quarantine("some/topic", HOSTILE.encode() + b"\xff\x00", "nonsense", START_NS)
    (entry,) = (await api.get("/api/quarantine")).json()
    assert entry["payload"] == HOSTILE + "\\xff\\x00"
    assert entry["reason"] == "nonsense"


async def test_health_readiness_and_metrics(api: Client, desk: WorldDesk) -> None:
    assert (await api.get("/healthz")).json() == {"status": "ok"}
    assert (await api.get("/readyz")).json()["status"] == "ready"
    desk.problems = ["The broker does not answer."]
    answer = await api.get("/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, desk.problems)
    text = (await api.get("/metrics")).text
    assert "farfix_batches_accepted_total" in text
    assert "pump-1" not in text, "labels must not name devices"


async def test_openapi_documents_every_call(api: Client) -> None:
    schema = (await api.get("/openapi.json")).json()
    calls = [
        (path, verb, call) for path, item in schema["paths"].items() for verb, call in item.items()
    ]
    assert len(calls) >= 18
    for path, verb, call in calls:
        assert call["summary"], path
        if path.startswith("/api/") and path != "/api/alerts/signed":  # which asks for a signature
            (needed,) = {tuple(*way.values()) for way in call["security"]}
            assert set(needed) <= set(Role), path
            ways = {name for way in call["security"] for name in way}
            assert ways == ({"HTTPBearer", "Session"} if verb == "get" else {"HTTPBearer"}), path
            assert {"401", "403"} <= set(call["responses"]), path
    report = schema["paths"]["/api/cases/{case_id}/report"]["post"]["requestBody"]
    fields = report["content"]["application/json"]["schema"]["properties"]
    assert {"finding", "notes", "parts_used", "resolved", "technician"} <= set(fields)


def test_an_api_without_a_token_is_a_mistake(faces: Faces, config: Config) -> None:
    with pytest.raises(ValueError, match="token"):
        create_api(faces, "", config)
