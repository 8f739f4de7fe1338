"""The desk over a real store: visits, returns, alerts, pauses, commands by hand, what is told."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from cloud.adapters.store import OutboxRow
from cloud.core import case as rules
from cloud.core.states import Case, Mode, Phase
from cloud.core.telling import EventType, Telling
from cloud.service.desk import Desk
from cloud.service.parts import Parts
from cloud.web.ports import Alert, HandOrder
from contract import codec
from contract.commands import Answer, AnswerStatus, Command
from contract.errors import Refused, Unreachable
from contract.faults import REPORTED, Fault, Severity
from contract.tickets import (
    ClosingReport,
    Ticket,
    TicketNews,
    TicketState,
    VisitState,
    VisitUpdate,
)
from contract.topics import Channel, Topic
from tests.service.test_desk import (
    DEVICE,
    alarm,
    answer,
    commands,
    desk_of,
    parts,
    pass_minutes,
    phase,
    shown,
)


def only(made: Parts) -> Case:
    (row,) = made.store.cases()
    return rules.decode_case(row.data)


def rows(made: Parts, kind: str) -> list[OutboxRow]:
    return [row for row in made.store.outbox(only(made).case_id) if row.kind == kind]


def told(made: Parts) -> list[Telling]:
    return [msgspec.json.decode(row.payload, type=Telling) for row in rows(made, "tell")]


def news(made: Parts) -> list[TicketNews]:
    about = [t for t in told(made) if "ticket" in t.type]
    return [msgspec.json.decode(t.data, type=TicketNews) for t in about]


def dispatched(desk: Desk, made: Parts) -> str:
    """A fault that is no danger and that nobody repaired remotely: a visit is ordered."""
    alarm(desk)
    pass_minutes(desk, 4, healthy=False)
    answer(desk, made, AnswerStatus.DONE)
    pass_minutes(desk, 19, healthy=False)
    assert phase(made) == Phase.DISPATCHED
    return only(made).case_id


def fixed(desk: Desk, made: Parts) -> None:
    alarm(desk)
    pass_minutes(desk, 4, healthy=False)
    answer(desk, made, AnswerStatus.DONE)
    pass_minutes(desk, 2, healthy=False)
    pass_minutes(desk, 4, healthy=True)
    assert phase(made) == Phase.RECOVERED


def word(desk: Desk, state: VisitState, name: str = "") -> VisitUpdate:
    return VisitUpdate(id=name or state.value, state=state, at_ns=desk.now_ns())


def alert(desk: Desk, name: str = "a1", *, ended: bool = False, **more: object) -> Alert:
    made: dict[str, object] = {
        "id": name,
        "device": DEVICE,
        "ended": ended,
        "title": "Oil is low",
        "detail": "12 % left",
        "severity": Severity.HIGH,
        "at_ns": desk.now_ns(),
    }
    return Alert(**(made | more))  # type: ignore[arg-type]


def test_a_visit_is_told_step_by_step_under_one_ticket(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        key = dispatched(desk, made)
        for state in (VisitState.ACCEPTED, VisitState.ACCEPTED, VisitState.ON_THE_WAY):
            asyncio.run(desk.visited(key, word(desk, state)))
        asyncio.run(desk.report(key, ClosingReport(finding="cavitation")))
        types = [t.type for t in told(made)]
        assert types == [
            EventType.CASE_OPENED,
            EventType.TICKET_OPENED,
            EventType.TICKET_UPDATED,
            EventType.TICKET_UPDATED,
            EventType.TICKET_CLOSED,
            EventType.CASE_ENDED,
        ]
        assert [n.visit.value for n in news(made)] == ["ordered", "accepted", "on_the_way", "done"]
        assert [n.state for n in news(made)][-1] is TicketState.CLOSED
        assert news(made)[-1].report == ClosingReport(finding="cavitation")
        assert {n.url for n in news(made)} == {f"{made.config.base_url}/cases/{key}"}
        assert len({t.id for t in told(made)}) == len(types)
        ended = msgspec.json.decode(told(made)[-1].data, type=Fault)
        assert (ended.case, ended.phase) == (key, "closed")


def test_every_event_carries_the_ticket_as_it_was_written(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        key = dispatched(desk, made)
        first = msgspec.json.decode(rows(made, "ticket")[0].payload, type=Ticket)
        asyncio.run(desk.visited(key, word(desk, VisitState.ACCEPTED)))
    with parts(tmp_path) as made:
        made.store.put_ticket(key, rows(made, "ticket")[0].payload, first.opened_ns)
        desk = desk_of(made)
        asyncio.run(desk.visited(key, word(desk, VisitState.SCHEDULED)))
        assert [n.ticket for n in news(made)] == [first] * 3


def test_a_machine_that_recovers_withdraws_its_ticket_and_late_words_are_refused(
    tmp_path: Path,
) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        key = dispatched(desk, made)
        pass_minutes(desk, 34, healthy=True)
        assert phase(made) == Phase.WITHDRAWN
        assert news(made)[-1].state is TicketState.WITHDRAWN
        with pytest.raises(Refused, match="is withdrawn: nobody is needed there any more"):
            asyncio.run(desk.visited(key, word(desk, VisitState.ON_THE_WAY)))
        asyncio.run(desk.visited(key, word(desk, VisitState.CANCELLED)))  # their yes to it
        assert news(made)[-1].state is TicketState.WITHDRAWN


@pytest.mark.parametrize("key", ["", "no-such", "{}~2", "{}~1", "{}~x", "{}~"])
def test_a_ticket_that_never_was_is_refused(tmp_path: Path, key: str) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        alarm(desk, fault="discharge_overpressure")
        case_id = only(made).case_id
        with pytest.raises(Refused, match="there is no ticket"):
            asyncio.run(desk.visited(key.format(case_id), word(desk, VisitState.ACCEPTED)))


def test_a_case_without_a_ticket_takes_no_word_of_a_visit(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        alarm(desk)
        with pytest.raises(Refused, match="there is no ticket"):
            asyncio.run(desk.visited(only(made).case_id, word(desk, VisitState.ACCEPTED)))


def test_a_fault_that_is_back_reopens_its_case_also_after_a_restart(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        fixed(desk_of(made), made)
    with parts(tmp_path) as made:
        desk = desk_of(made)
        alarm(desk)
        case = only(made)
        assert (case.phase, case.reopened, case.spent) == (
            Phase.OBSERVING,
            1,
            ["open_suction_valve"],
        )
        assert EventType.CASE_REOPENED in [t.type for t in told(made)]
        texts = " ".join(row.text for row in made.store.timeline(case.case_id))
        assert "The fault is back" in texts
        pass_minutes(desk, 17, healthy=False)
        assert only(made).phase is Phase.DISPATCHED
        assert len(commands(made)) == 1
        assert [t.remedy for t in news(made)[-1].ticket.tried] == ["open_suction_valve"]


def test_an_alert_opens_a_case_and_its_end_ends_it(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        first = alert(desk)
        case_id = asyncio.run(desk.alerted(first))
        assert asyncio.run(desk.alerted(first)) == case_id
        assert (only(made).fault, only(made).title) == (REPORTED, "Oil is low")
        shown(desk, healthy=False)
    with parts(tmp_path) as made:
        desk = desk_of(made)
        assert asyncio.run(desk.alerted(alert(desk, ended=True))) == case_id
        assert phase(made) == Phase.SELF_CLEARED
        assert asyncio.run(desk.alerted(first)) == ""  # the same again, late: it is dealt with
        assert len(made.store.cases()) == 1


def test_an_alert_that_lasts_orders_a_visit_that_its_end_withdraws(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        asyncio.run(desk.alerted(alert(desk)))
        pass_minutes(desk, 17, healthy=True)
        assert phase(made) == Phase.DISPATCHED
        assert "Oil is low" in news(made)[0].ticket.reason_detail
        asyncio.run(desk.alerted(alert(desk, ended=True)))
        assert phase(made) == Phase.WITHDRAWN
        assert [n.state.value for n in news(made)] == ["open", "withdrawn"]


def test_an_alert_about_a_machine_with_a_case_is_noted_in_it(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        alarm(desk)
        case_id = only(made).case_id
        for ended in (False, False, True, True):
            assert asyncio.run(desk.alerted(alert(desk, ended=ended))) == case_id
        texts = [row.text for row in made.store.timeline(case_id) if "Oil" in row.text]
        assert texts == [
            "Another system reports: Oil is low. 12 % left",
            "Another system reports: Oil is low: it is over.",
        ]
        assert only(made).open


def test_an_end_that_overtakes_its_beginning_opens_nothing(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        assert asyncio.run(desk.alerted(alert(desk, ended=True))) == ""
        assert asyncio.run(desk.alerted(alert(desk))) == ""
        assert made.store.cases() == []


def test_an_alert_about_an_unknown_machine_is_refused(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        with pytest.raises(Refused, match="there is no machine 'pump-9'"):
            asyncio.run(desk.alerted(alert(desk, device="pump-9")))


def test_a_person_has_a_remedy_tried(tmp_path: Path) -> None:
    with parts(tmp_path, mode=Mode.SUGGEST) as made:
        desk = desk_of(made)
        alarm(desk)
        case_id = only(made).case_id
        names = [step.remedy for step in desk.remedies(case_id)]
        assert "open_suction_valve" in names
        with pytest.raises(Refused, match=r"it may have: .*open_suction_valve"):
            asyncio.run(desk.attempt(case_id, "prayer", "Ada"))
        asyncio.run(desk.attempt(case_id, "open_suction_valve", "Ada"))
        pass_minutes(desk, 0.5, healthy=False)
        assert [sent.command.name for sent in commands(made)] == ["set_suction_valve"]
        assert desk.remedies(case_id) == []
        with pytest.raises(Refused, match="none while it is fixing"):
            asyncio.run(desk.attempt(case_id, "open_suction_valve", "Ada"))


def test_the_clock_stands_still_only_as_the_service_level_allows(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        alarm(desk)
        case = only(made)
        until_ns = desk.now_ns() + 3600 * 10**9
        with pytest.raises(Refused, match=r"may wait only for|never stands still"):
            asyncio.run(desk.pause(case.case_id, "Ada", "no such reason", until_ns))
        reasons = case.plan.terms.pause_reasons
        assert reasons, "the shipped level B may wait"
        asyncio.run(desk.pause(case.case_id, "Ada", reasons[0], until_ns))
        assert only(made).paused_ns is not None
        with pytest.raises(Refused, match="does not apply now"):
            asyncio.run(desk.pause(case.case_id, "Ada", reasons[0], until_ns))
        asyncio.run(desk.resume(case.case_id, "Ada"))
        assert len(only(made).plan.terms.stood) == 1
        with pytest.raises(Refused, match="does not apply now"):
            asyncio.run(desk.resume(case.case_id, "Ada"))


class Taken:
    """A link that is up, and keeps what it was given."""

    connected = True

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []

    async def publish(self, topic: str, payload: bytes) -> None:
        self.messages.append((topic, payload))


def by_hand(
    device: str = DEVICE, name: str = "set_suction_valve", argument: float | None = 80
) -> HandOrder:
    return HandOrder(id="1", device=device, name=name, argument=argument)


def test_a_command_by_hand_is_sent_answered_and_audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with parts(tmp_path) as made:
        desk, link = desk_of(made), Taken()
        monkeypatch.setattr(made.link, "publish", link.publish)
        for _ in range(2):
            asyncio.run(desk.command(by_hand(), "Ada"))
        assert desk.answer("1") is None
        command = codec.decode(link.messages[0][1], Command)
        reply = Answer(id=command.id, status=AnswerStatus.DONE, at_ns=desk.now_ns())
        for _ in range(2):
            desk.answered(Topic("north", DEVICE, Channel.ANSWER), reply)
        asyncio.run(desk.command(by_hand(), "Ada"))
        assert desk.answer("1") == reply
        assert len(link.messages) == 1
        assert command.argument == 80
        with pytest.raises(Refused, match="another order's"):
            asyncio.run(desk.command(by_hand(argument=81), "Ada"))
        lines = [(line.by, line.text) for line in made.store.updates.audit(limit=10)]
        assert len(lines) == 2
        assert any(by == "Ada" and "80" in text for by, text in lines)
        assert any(by == DEVICE and "is done" in text for by, text in lines)


@pytest.mark.parametrize(
    ("device", "name", "argument", "said"),
    [
        ("pump-9", "restart", None, "there is no machine"),
        (DEVICE, "explode", None, "takes no command 'explode'; it takes: "),
        (DEVICE, "set_suction_valve", None, "takes 20 to 100 %, not None"),
        (DEVICE, "set_suction_valve", 101.0, "takes 20 to 100 %, not 101"),
        (DEVICE, "set_suction_valve", float("nan"), "takes 20 to 100 %, not nan"),
        (DEVICE, "update_firmware", None, "start a rollout"),
    ],
)
def test_what_a_machine_does_not_take_is_not_sent(
    tmp_path: Path, device: str, name: str, argument: float | None, said: str
) -> None:
    with parts(tmp_path) as made:
        with pytest.raises(Refused, match=said):
            asyncio.run(desk_of(made).command(by_hand(device, name, argument), "Ada"))
        assert made.store.updates.audit(limit=10) == []


def test_a_machine_with_a_case_takes_no_command_by_hand(tmp_path: Path) -> None:
    with parts(tmp_path) as made:
        desk = desk_of(made)
        alarm(desk)
        with pytest.raises(Refused, match="is open: try a remedy there instead"):
            asyncio.run(desk.command(by_hand(), "Ada"))


def test_a_command_that_the_broker_did_not_take_is_told_as_not_sent_and_may_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with parts(tmp_path) as made:
        desk, link = desk_of(made), Taken()
        with pytest.raises(Unreachable):
            asyncio.run(desk.command(by_hand(), "Ada"))
        texts = [line.text for line in made.store.updates.audit(limit=10)]
        assert any(text.startswith("Could not send") for text in texts)
        monkeypatch.setattr(made.link, "publish", link.publish)
        asyncio.run(desk.command(by_hand(), "Ada"))
        assert len(link.messages) == 1
