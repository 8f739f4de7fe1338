"""Each format against what its maker documents: a stand-in that refuses whatever is not so.

The stand-ins keep what the real systems keep, so that an event that comes again after a crash
shows whether it is done twice. What they accept is recorded in ``contracts/``, with its sources.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

import jsonschema
import msgspec
import pytest

from cloud.adapters import templates
from cloud.adapters.outgoing import Answer, Door, Request
from cloud.core.delivery import message_id
from cloud.core.telling import EventType, Telling
from contract.errors import Refused, Unreachable
from contract.faults import Severity
from contract.tickets import (
    Asset,
    ClosingReport,
    EscalationReason,
    Ticket,
    TicketNews,
    TicketState,
    VisitState,
)
from tests.adapters import hook_receiver
from tests.adapters.hook_receiver import Got

CONTRACTS = Path(__file__).parent / "contracts"
KEY = "pump_1-19a0~2"
SETTINGS: dict[str, dict[str, str]] = {
    "pagerduty": {"routing_key": "R" * 32},
    "servicenow": {"user": "farfix", "password": "a word", "assignment_group": "Field"},
    "jira": {"api_key": "a-key"},
    "odoo": {"api_key": "a-key", "maintenance_team_id": "3", "done_stage_id": "5"},
    "salesforce": {"client_id": "id", "client_secret": "a&b=c"},
}
OPENED, UPDATED = EventType.TICKET_OPENED, EventType.TICKET_UPDATED
WITHDRAWN, CLOSED = EventType.TICKET_WITHDRAWN, EventType.TICKET_CLOSED
Stored = dict[str, Any]


def telling(number: int, kind: EventType, **changes: object) -> Telling:
    """An event about a ticket whose texts are as hostile as they come."""
    fields: dict[str, object] = {
        "key": KEY,
        "title": 'Bearing "wear" {{ 7*7 }} <b>\u00fc\u4e2d ' + "x" * 200,
        "description": "Line 1\nLine 2 <script>alert(1)</script>",
        "severity": Severity.CRITICAL,
        "reason": EscalationReason.NOT_REMOTABLE,
        "reason_detail": "No remedy.",
        "asset": Asset(device="pump_1", machine_type="centrifugal_pump", title="P", site="north"),
        "fault": "bearing_wear",
        "hypotheses": [],
        "first_seen_ns": 1,
        "seen": [],
        "tried": [],
        "parts": [],
        "skills": [],
        "safety_notes": [],
        "opened_ns": 1_795_330_800_000_000_000,
        "due_ns": 1_795_334_400_000_000_000,
    }
    news = TicketNews(
        ticket=Ticket(**(fields | changes)),  # type: ignore[arg-type]  # as a test says
        state=TicketState.OPEN,
        visit=VisitState.ORDERED,
        detail=f"Step {number}.",
        url="https://farfix.example/cases/pump_1-19a0",
        report=ClosingReport(finding="other", notes="Cleaned.") if kind is CLOSED else None,
    )
    return Telling(
        id=f"pump_1-19a0/tell/{number}.0",
        type=kind,
        subject=KEY,
        device="pump_1",
        at_ns=1,
        data=msgspec.Raw(msgspec.json.encode(news)),
    )


class StandIn:
    """Another system: checks each request against the contract and keeps what it is told."""

    def __init__(self, name: str) -> None:
        self.contract = json.loads((CONTRACTS / f"{name}.json").read_text())
        self.problems: list[str] = []
        self.names: list[str] = []
        self.records: dict[str, Stored] = {}
        self.act = getattr(self, name)

    def answer(self, got: Got) -> hook_receiver.Answer:
        fitting = [
            r
            for r in self.contract["requests"]
            if r["method"] == got.method and re.fullmatch(r["path"], got.path)
        ]
        if not fitting:
            self.problems.append(f"nothing takes {got.method} {got.path}")
            return (404, {}, b"")
        asked = fitting[0]
        self.names.append(asked["name"])
        for header, pattern in asked["headers"].items():
            if not re.fullmatch(pattern, got.headers.get(header, "")):
                self.problems.append(f"{asked['name']}: header {header}: {got.headers}")
        body: Any = None
        if "body" in asked:
            body = json.loads(got.body)
            for error in jsonschema.Draft202012Validator(asked["body"]).iter_errors(body):
                self.problems.append(f"{asked['name']}: {error.json_path}: {error.message}")
        if "form" in asked:
            body = {name: values[0] for name, values in parse_qs(got.body.decode()).items()}
            assert sorted(body) == sorted(asked["form"])
        said = self.act(asked["name"], unquote(got.path), body)
        answer = asked["answer"] if said is None else said
        return (asked["status"], {"content-type": "application/json"}, json.dumps(answer).encode())

    def pagerduty(self, _: str, __: str, body: Stored) -> None:
        record = self.records.setdefault(body["dedup_key"], {})
        record["state"] = body["event_action"]
        record.update(body.get("payload", {}))

    def servicenow(self, name: str, path: str, body: Stored) -> object:
        if name == "search":
            key = path.rpartition("correlation_id=")[2]
            found = [r for r in self.records.values() if r["correlation_id"] == key]
            return {"result": found[:1]}
        if name == "create":
            number = f"{len(self.records):032x}"
            self.records[number] = {"sys_id": number, "notes": [], "state": "1", **body}
        else:
            number = path.rpartition("/")[2]
            self.records[number].update(body)
        if "work_notes" in body:
            self.records[number]["notes"].append(body["work_notes"])
        return {"result": {"sys_id": number}}

    def jira(self, name: str, path: str, body: Stored) -> None:
        if name == "create":
            known = self.records.setdefault(body["alias"], {"notes": [], "state": "open"})
            known.update(body)
            return
        record = self.records[path.split("/alerts/")[1].split("/", maxsplit=1)[0]]
        record["state"] = "closed" if name == "close" else record["state"]
        record["notes"] += [body["note"]] if name == "note" else []

    def odoo(self, name: str, _: str, body: Stored) -> object:
        if name == "search":
            ((field, operator, pattern),) = body["domain"]
            assert (field, operator) == ("name", "=like")
            start = re.sub(r"\\(.)", r"\1", pattern.removesuffix("%"))
            assert "_" not in pattern.replace("\\_", "")  # which would stand for any letter
            return [int(n) for n, r in self.records.items() if r["name"].startswith(start)]
        if name == "create":
            number = len(self.records) + 1
            self.records[str(number)] = body["vals_list"][0]
            return [number]
        for number in body["ids"]:
            self.records[str(number)].update(body["vals"])
        return True

    def salesforce(self, name: str, path: str, body: Stored) -> object:
        if name == "login":
            assert body["client_secret"] == "a&b=c"
            return None
        self.records.setdefault(path.rpartition("/")[2], {}).update(body)
        return None


async def tell(
    name: str, url: str, event: Telling, crash: Callable[[Request], bool] = lambda _: False
) -> Answer:
    """Tell as the gateway does; after a request that ``crash`` picks nothing comes back."""
    door = Door()

    async def send(request: Request) -> Answer:
        answer = await door.send(request, allow_private=True)
        if crash(request):
            raise Unreachable("killed before the answer was noted")
        return answer

    try:
        return await templates.tell(name, url, SETTINGS[name], event, send)
    finally:
        await door.close()


END_STATES = {
    "pagerduty": ("state", "resolve", "resolve"),
    "servicenow": ("state", "8", "6"),
    "jira": ("state", "closed", "closed"),
    "odoo": ("archive", True, None),
    "salesforce": ("Status", "Canceled", "Completed"),
}


@pytest.mark.parametrize("end", [WITHDRAWN, CLOSED])
@pytest.mark.parametrize("name", sorted(SETTINGS))
async def test_a_ticket_lives_and_ends_there_once_although_every_step_comes_twice(
    name: str, end: EventType
) -> None:
    stand_in = StandIn(name)
    with hook_receiver.receiving(stand_in.answer) as receiver:
        url = receiver.url.removesuffix("/hook")
        for number, kind in enumerate((OPENED, UPDATED, end)):
            if kind is not UPDATED or templates.shipped()[name].update is not None:
                with pytest.raises(Unreachable, match="killed"):
                    await tell(name, url, telling(number, kind), lambda r: r.method in _WRITES(r))
            answer = await tell(name, url, telling(number, kind))
            assert answer.taken
    assert stand_in.problems == []
    (record,) = stand_in.records.values()
    field, withdrawn, closed = END_STATES[name]
    assert record.get(field) == (withdrawn if end is WITHDRAWN else closed)
    if name == "servicenow":
        assert record["notes"] == ["Step 0.", "Step 1."]
    if name == "jira":  # which cannot know that it has a note: people can
        assert record["notes"] == [f"Step 1. [{message_id('pump_1-19a0/tell/1.0')}]"] * 2
    if name == "odoo":
        assert record["name"].startswith(f"[{KEY}] Bearing")
        assert "<script>" not in record["description"]
        assert ("Cleaned." in record["description"]) == (end is CLOSED)
        assert record.get("stage_id") == (5 if end is CLOSED else None)


def _WRITES(request: Request) -> tuple[str, ...]:  # noqa: N802
    """The method of a request that changes something there; nothing for look-ups and sign-in."""
    reads = request.url.endswith(("/search", "/token")) or request.method == "GET"
    return () if reads else (request.method,)


async def test_an_incident_that_people_resolved_early_is_not_opened_again() -> None:
    stand_in = StandIn("pagerduty")
    with hook_receiver.receiving(stand_in.answer) as receiver:
        url = receiver.url.removesuffix("/hook")
        await tell("pagerduty", url, telling(0, OPENED))
        stand_in.records[KEY]["state"] = "resolve"
        assert (await tell("pagerduty", url, telling(1, UPDATED))).taken
    assert stand_in.records[KEY]["state"] == "resolve"
    assert stand_in.names == ["enqueue"]


@pytest.mark.parametrize("name", sorted(SETTINGS))
@pytest.mark.parametrize("severity", list(Severity))
async def test_each_severity_has_a_word(name: str, severity: Severity) -> None:
    stand_in = StandIn(name)
    with hook_receiver.receiving(stand_in.answer) as receiver:
        url = receiver.url.removesuffix("/hook")
        assert (await tell(name, url, telling(0, OPENED, severity=severity))).taken
    assert stand_in.problems == []


@pytest.mark.parametrize("name", sorted(SETTINGS))
async def test_a_test_leaves_nothing_open(name: str) -> None:
    stand_in = StandIn(name)
    with hook_receiver.receiving(stand_in.answer) as receiver:
        url = receiver.url.removesuffix("/hook")
        assert (await tell(name, url, telling(0, EventType.TEST))).taken
    assert stand_in.problems == []
    field, withdrawn, _ = END_STATES[name]
    assert [record[field] for record in stand_in.records.values()] in ([], [withdrawn])


@pytest.mark.parametrize("name", ["odoo", "servicenow"])
async def test_an_end_nobody_there_heard_the_beginning_of_is_nothing_to_do(name: str) -> None:
    stand_in = StandIn(name)
    with hook_receiver.receiving(stand_in.answer) as receiver:
        url = receiver.url.removesuffix("/hook")
        assert (await tell(name, url, telling(0, WITHDRAWN))).taken
        assert stand_in.names == ["search"]
        assert (await tell(name, url, telling(1, UPDATED))).taken
    assert len(stand_in.records) == 1


async def test_nonsense_from_the_other_side_is_for_later() -> None:
    with (
        hook_receiver.receiving(lambda _: (200, {}, b"<html>")) as receiver,
        pytest.raises(Unreachable, match="no JSON"),
    ):
        await tell("odoo", receiver.url, telling(0, OPENED))
    with (
        hook_receiver.receiving(lambda _: (200, {}, b'{"surprise": 1}')) as receiver,
        pytest.raises(Unreachable, match="without a key"),
    ):
        await tell("salesforce", receiver.url, telling(0, OPENED))
    with (
        hook_receiver.receiving(lambda _: (200, {}, b'{"result": 1}')) as receiver,
        pytest.raises(Refused, match="cannot be filled"),
    ):
        await tell("servicenow", receiver.url, telling(0, OPENED))


def test_every_format_says_what_it_needs() -> None:
    assert sorted(templates.shipped()) == sorted(SETTINGS)
    for name, settings in SETTINGS.items():
        templates.check(name, settings)
        assert templates.shipped()[name].docs.startswith("https://")
        for secret in (k for k, s in templates.shipped()[name].settings.items() if s.secret):
            with pytest.raises(Refused, match=secret):
                templates.check(name, {k: v for k, v in settings.items() if k != secret})
            assert templates.shown(name, settings)[secret] == templates.HIDDEN


@pytest.mark.parametrize("value", ["a\nb", "x" * 501, "\x00"])
def test_settings_are_bounded(value: str) -> None:
    with pytest.raises(Refused, match="setting"):
        templates.check("jira", {"api_key": value})


def test_templates_reach_nothing_but_the_event() -> None:
    with pytest.raises(Exception, match=r"unsafe|access"):
        templates._compiled("event.__class__.__mro__[1].__subclasses__()")(event={})
