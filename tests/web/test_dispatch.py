"""The back-channel: repeated, late, wrong and forged words of dispatch; and what is learnt."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from sqlalchemy import event

from cloud.core import visits
from cloud.core.people import Role
from cloud.core.states import Phase
from cloud.web.ports import Alert
from contract.faults import Severity
from contract.tickets import Finding, TicketNews, TicketState, VisitState
from tests.service.test_desk import picture
from tests.web.fixture_centre import STRANGE, Centre, centre, client
from tests.web.fixture_world import HOSTILE
from tests.web.test_api import problem

Client = httpx.AsyncClient
MINUTE_NS = 60 * 10**9


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Centre]:
    with centre(tmp_path) as found:
        yield found


@pytest.fixture
async def api(made: Centre) -> AsyncIterator[Client]:
    async with client(made, Role.DISPATCH) as found:
        yield found


def news(answer: httpx.Response) -> TicketNews:
    assert answer.status_code == 200, answer.text
    return msgspec.json.decode(answer.content, type=TicketNews)


def update(made: Centre, id_: str, state: str, ago_s: float = 0, **more: object) -> dict[str, Any]:
    return {"id": id_, "state": state, "at_ns": made.desk.now_ns() - int(ago_s * 1e9), **more}


async def put_visit(api: Client, key: str, said: dict[str, Any]) -> httpx.Response:
    return await api.put(f"/api/dispatch/tickets/{key}/visit", json=said)


async def put_report(api: Client, key: str, **report: object) -> httpx.Response:
    return await api.put(f"/api/dispatch/tickets/{key}/report", json=report)


async def test_a_good_day_from_order_to_report(made: Centre, api: Client) -> None:
    key = await made.ticket("pump-1")
    (listed,) = msgspec.json.decode(
        (await api.get("/api/dispatch/tickets")).content, type=list[TicketNews]
    )
    assert (listed.ticket.key, listed.visit, listed.state) == (
        key, VisitState.ORDERED, TicketState.OPEN,
    )  # fmt: skip
    for i, state in enumerate(("accepted", "scheduled", "on_the_way", "on_site", "done")):
        said = update(made, f"wo-{i}", state, technician="J. Doe")
        told = news(await put_visit(api, key, said))
        assert (told.visit, told.state) == (VisitState(state), TicketState.OPEN)
    closed = news(await put_report(api, key, finding="bearing_wear", notes="Bearing was dry."))
    assert (closed.state, closed.report is not None) == (TicketState.CLOSED, True)
    assert closed.url.endswith(f"/cases/{visits.case_of(key)}")
    assert made.case(visits.case_of(key)).phase is Phase.CLOSED
    assert (await api.get("/api/dispatch/tickets")).json() == []
    made.perform()
    (last,) = (await api.get("/api/dispatch/tickets", params={"state": "all"})).json()
    assert (last["ticket"]["key"], last["state"]) == (key, "closed")


async def test_a_list_asks_the_database_as_often_for_many_tickets_as_for_one(
    made: Centre, api: Client
) -> None:
    asked: list[str] = []
    event.listen(
        made.parts.store.engine, "before_cursor_execute", lambda *a: asked.append(str(a[2]))
    )
    counts = []
    for device in ("pump-1", "pump-2", "pump-3"):
        await made.ticket(device)
        made.perform()
        for state in ("open", "all"):
            asked.clear()
            told = (await api.get("/api/dispatch/tickets", params={"state": state})).json()
            counts.append((state, len(told), len([a for a in asked if "outbox" in a])))
    assert counts == [(s, n, 1) for n in (1, 2, 3) for s in ("open", "all")]


async def test_updates_may_come_twice_and_in_any_order(made: Centre, api: Client) -> None:
    key = await made.ticket("pump-1")
    booked = update(made, "a", "scheduled", ago_s=30)
    left = update(made, "b", "on_the_way", ago_s=10)
    for said in (left, booked, left, booked):
        assert news(await put_visit(api, key, said)).visit is VisitState.ON_THE_WAY
    lines = [line.text for line in made.parts.store.timeline(visits.case_of(key))]
    assert sum("on the way" in line.lower() for line in lines) == 1


async def test_what_dispatch_repeats_after_the_end_is_no_error(made: Centre, api: Client) -> None:
    key = await made.ticket("pump-1")
    done = update(made, "a", "done")
    for _ in range(2):
        await put_visit(api, key, done)
    closed = news(await put_report(api, key, finding="other"))
    assert news(await put_visit(api, key, done)) == closed
    late = update(made, "b", "on_site")
    assert news(await put_visit(api, key, late)) == closed, "it was overtaken by the report"


async def test_who_left_for_a_withdrawn_visit_is_to_be_called_back(tmp_path: Path) -> None:
    with centre(tmp_path) as made:
        alert = Alert(
            id="oil", device="pump-1", ended=False, title="Oil low", detail="",
            severity=Severity.HIGH, at_ns=made.desk.now_ns(),
        )  # fmt: skip
        key = await made.desk.alerted(alert)
        made.clock.ns += 16 * 60 * 10**9
        made.desk.tick([])
        assert made.case(key).phase is Phase.DISPATCHED
        await made.desk.alerted(msgspec.structs.replace(alert, ended=True))
        async with client(made, Role.DISPATCH) as api:
            told = news(await api.get(f"/api/dispatch/tickets/{key}"))
            assert (told.state, told.visit) == (TicketState.WITHDRAWN, VisitState.WITHDRAWN)
            left = problem(await put_visit(api, key, update(made, "a", "on_the_way")), 409)
            assert "call them back" in left
            assert "withdrawn" in problem(await put_report(api, key, finding="other"), 409)
        assert any("call them back" in line for line in made.audit())


async def test_impossible_words_are_refused_with_our_time_and_noted(
    made: Centre, api: Client
) -> None:
    key = await made.ticket("pump-1")
    now_ns = made.desk.now_ns()
    wrong: list[tuple[dict[str, Any], str]] = [
        (update(made, "x", "accepted") | {"at_ns": now_ns + 11 * MINUTE_NS}, "gateway's time is 2"),
        (update(made, "x", "accepted") | {"at_ns": now_ns - 11 * MINUTE_NS}, "Set the clock"),
        (update(made, "x", "accepted") | {"at_ns": 2**63 - 1}, "gateway's time"),
        (update(made, "x", "accepted") | {"at_ns": 0}, "gateway's time"),
        (update(made, "x", "accepted") | {"at_ns": 2**70}, "at_ns"),
        (update(made, "x", "scheduled", expected_ns=0), "expected_ns"),
        (update(made, "x", "scheduled", expected_ns=2**63 - 1), "expected_ns"),
        (update(made, "x", "withdrawn"), "the gateway's own"),
        (update(made, "x", "ordered"), "the gateway's own"),
        (update(made, "x", "teleported"), "teleported"),
        (update(made, "x", "accepted", surprise=1), "surprise"),
        (update(made, "x" * 81, "accepted"), "length <= 80"),
        (update(made, "", "accepted"), "length >= 1"),
    ]
    for said, words in wrong:
        assert words in problem(await put_visit(api, key, said), 422), said
    assert made.case(visits.case_of(key)).visit.state is VisitState.ORDERED  # type: ignore[union-attr]
    assert any("dispatch-system refused" in line and "own" in line for line in made.audit())


async def test_ten_minutes_of_skew_are_tolerated(made: Centre, api: Client) -> None:
    key = await made.ticket("pump-1")
    ahead = update(made, "a", "accepted") | {"at_ns": made.desk.now_ns() + 9 * MINUTE_NS}
    assert news(await put_visit(api, key, ahead)).visit is VisitState.ACCEPTED


@pytest.mark.parametrize("path", ["", "/visit", "/report", "/photos"])
async def test_a_ticket_that_is_not_there_is_said_so(made: Centre, api: Client, path: str) -> None:
    method = {"": "GET", "/photos": "POST"}.get(path, "PUT")
    body = {
        "/visit": update(made, "a", "accepted"), "/report": {"finding": "other"},
    }.get(path)  # fmt: skip
    answer = await api.request(method, f"/api/dispatch/tickets/none~2{path}", json=body)
    assert "none~2" in problem(answer, 404)


@pytest.mark.parametrize("role", [None, Role.ALERTS, Role.VIEWER, Role.OPERATOR])
async def test_forged_calls_change_nothing(made: Centre, role: Role | None) -> None:
    key = await made.ticket("pump-1")
    async with client(made, role) as stranger:
        calls = [
            await put_visit(stranger, key, update(made, "x", "on_site")),
            await put_report(stranger, key, finding="other"),
            await stranger.post(f"/api/dispatch/tickets/{key}/photos", content=b"x"),
            await stranger.get("/api/dispatch/tickets"),
        ]
        if role is None:
            stranger.headers["Authorization"] = "Bearer ffx_guess"
            calls.append(await put_report(stranger, key, finding="other"))
    assert {answer.status_code for answer in calls} == {401 if role is None else 403}
    case = made.case(visits.case_of(key))
    assert (case.phase, case.visit.state) == (Phase.DISPATCHED, VisitState.ORDERED)  # type: ignore[union-attr]
    assert any(" refused " in line for line in made.audit())


async def test_the_same_report_again_is_fine_and_another_is_refused(
    made: Centre, api: Client
) -> None:
    key = await made.ticket("pump-1")
    report = {"finding": "no_fault_found", "notes": "All good.", "resolved": True}
    first = news(await put_report(api, key, **report))
    assert news(await put_report(api, key, **report)) == first
    said = problem(await put_report(api, key, **report | {"finding": "other"}), 409)
    assert "closed with another report" in said
    labels = [r for r in made.parts.store.outbox(visits.case_of(key)) if r.kind == "label"]
    assert len(labels) == 1


async def test_what_is_not_known_is_named(made: Centre, api: Client) -> None:
    key = await made.ticket("pump-1")
    said = problem(await put_report(api, key, finding="flux_capacitor"), 422)
    assert "flux_capacitor" in said
    assert "bearing_wear" in said
    assert "no_fault_found" in said
    said = problem(await put_report(api, key, finding="other", photos=["none.jpg"]), 422)
    assert "'none.jpg' was not uploaded" in said
    assert made.case(visits.case_of(key)).phase is Phase.DISPATCHED


async def test_hostile_words_of_a_report_are_kept_as_words(made: Centre, api: Client) -> None:
    key = await made.ticket("pump-1")
    closed = news(await put_report(
        api, key, finding="other", notes=HOSTILE, technician=HOSTILE[:80],
        checklist=[{"question": "'; DROP TABLE cases;--", "answer": "\u202e\U0001f600"}],
        parts_used=[{"number": "../../x", "name": HOSTILE, "quantity": 2}],
    ))  # fmt: skip
    assert closed.report is not None
    assert closed.report.notes == HOSTILE
    assert made.case(visits.case_of(key)).report == closed.report


async def test_a_cancelled_visit_is_ordered_again_under_another_key(
    made: Centre, api: Client
) -> None:
    key = await made.ticket("pump-1")
    await put_visit(api, key, update(made, "a", "cancelled"))
    case_id = visits.case_of(key)
    await made.desk.decide(case_id, "escalate", "J. Doe", "we need somebody")
    (second,) = (await api.get("/api/dispatch/tickets")).json()
    assert second["ticket"]["key"] == f"{case_id}~2"
    old = await put_report(api, key, finding="other")
    assert old.status_code == 409, "the first visit never took place"
    assert news(await put_report(api, f"{case_id}~2", finding="other")).state is TicketState.CLOSED


@pytest.mark.parametrize("finding", ["bearing_wear", Finding.NO_FAULT_FOUND])
async def test_what_technicians_found_shows_in_the_next_diagnosis_of_that_kind(
    made: Centre, api: Client, finding: str
) -> None:
    key = await made.ticket("pump-1", STRANGE)
    before = {h.fault: h.probability for h in made.case(visits.case_of(key)).hypotheses}
    await put_report(api, key, finding=finding)
    made.perform()
    after = made.alarm("pump-2", STRANGE).hypotheses
    found = next(h for h in after if h.fault == finding)
    assert found.probability > before.get(finding, 0.0) + 0.1
    assert any(
        "earlier case with deviations like these turned out to be" in e for e in found.evidence
    )
    other = made.alarm("pump-3", picture("cavitation")).hypotheses[0]
    assert other.fault == "cavitation", "what looks different is not touched by it"
