"""Endpoints and deliveries, on both databases."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from cloud.adapters import hook_store
from cloud.adapters.hook_store import AttemptRow, DeliveryRow, EndpointRow, Event, HookStore, Note
from cloud.adapters.store import Store
from cloud.core.delivery import DeliveryState
from contract.errors import Refused

NOW_NS = 1_795_330_800_000_000_000


@pytest.fixture
def hooks(database_url: str) -> Iterator[HookStore]:
    store = Store(database_url)
    for name in ("a", "b"):
        store.hooks.put_endpoint(EndpointRow(id=name, name=name, order=b"{}", secret="s"))
    yield store.hooks
    store.close()


def event(number: int, subject: str = "case-1") -> Event:
    return Event(
        message_id=f"msg_{subject}_{number}",
        type="farfix.ticket.updated",
        subject=subject,
        event=b"{}",
        created_ns=NOW_NS,
    )


def due(hooks: HookStore, now_ns: int = NOW_NS, *notes: Note) -> list[str]:
    return [row.message_id for row in hooks.turn(notes, [], {"a": 100, "b": 100}, now_ns)]


def ended(row: DeliveryRow, state: DeliveryState = DeliveryState.DELIVERED) -> Note:
    error = "" if state is DeliveryState.DELIVERED else "no\0good"
    now = replace(row, state=state, attempts=row.attempts + 1, ended_ns=NOW_NS, error=error[:2])
    return Note(
        delivery=now, attempt=AttemptRow(at_ns=NOW_NS, status=204, error=error[:2], took_ms=1.5)
    )


def test_events_of_a_subject_come_one_by_one_and_the_same_once(hooks: HookStore) -> None:
    for number in (1, 2, 2, 1, 3):
        hooks.tell(event(number), ["a"])
    hooks.tell(event(1), ["b"])
    hooks.tell(event(1, "case-2"), ["a"])
    assert due(hooks) == ["msg_case-1_1", "msg_case-2_1", "msg_case-1_1"]
    assert due(hooks, NOW_NS - 1) == []
    assert hooks.next_due_ns(["a"], NOW_NS - 1) == NOW_NS
    assert hooks.next_due_ns(["a"], NOW_NS) is None
    first = hooks.deliveries(endpoint="a", subject="case-1")[-1]
    hooks.turn([ended(first, DeliveryState.DEAD)], [], {}, NOW_NS)
    assert "msg_case-1_2" in due(hooks)
    assert [a.took_ms for a in hooks.attempts(first.id)] == [1.5]
    assert hooks.counts() == {
        ("a", "dead"): 1, ("a", "waiting"): 3, ("b", "waiting"): 1,
    }  # fmt: skip


def test_a_replay_waits_for_its_turn(hooks: HookStore) -> None:
    for number in (1, 2):
        hooks.tell(event(number), ["a"])
    first, second = reversed(hooks.deliveries(endpoint="a"))
    assert hooks.replay(first.id, NOW_NS) is None
    hooks.turn([ended(first, DeliveryState.DEAD)], [], {}, NOW_NS)
    again = hooks.replay(first.id, NOW_NS)
    assert again is not None
    assert (again.held, again.attempts, again.state) == (True, 0, DeliveryState.WAITING)
    assert due(hooks) == [second.message_id]
    hooks.turn([ended(second)], [], {}, NOW_NS)
    assert due(hooks) == [first.message_id]


def test_a_disabled_endpoint_waits_for_nothing_and_hears_later_what_it_missed(
    hooks: HookStore,
) -> None:
    for number in (1, 2):
        hooks.tell(event(number), ["a", "b"])
    first = hooks.deliveries(endpoint="a")[-1]
    row = EndpointRow(id="a", name="a", order=b"{}", secret="s", disabled="Gone.")
    hooks.switch(row, NOW_NS)
    assert [(d.state, d.error) for d in hooks.deliveries(endpoint="a")] == [
        (DeliveryState.DEAD, "The endpoint was disabled: Gone.")
    ] * 2
    assert [d.state for d in hooks.deliveries(endpoint="b")] == [DeliveryState.WAITING] * 2
    hooks.turn([ended(first)], [row], {}, NOW_NS)  # it was on its way
    assert hooks.unended("a") == {"case-1"}
    hooks.switch(replace(row, disabled=""), NOW_NS, [event(n) for n in (1, 2, 3)])
    assert due(hooks) == ["msg_case-1_2", "msg_case-1_1"], "its second, and the first of b"
    second, third = hooks.deliveries(endpoint="a", state="waiting")[::-1]
    assert (second.held, third.held) == (False, True)
    end = replace(event(4), type="farfix.ticket.closed")
    hooks.tell(end, ["a"])
    hooks.turn([ended(hooks.deliveries(endpoint="a")[0])], [], {}, NOW_NS)
    assert hooks.unended("a") == set()


def test_names_are_unique_and_deleting_takes_deliveries_along(hooks: HookStore) -> None:
    with pytest.raises(Refused):
        hooks.put_endpoint(EndpointRow(id="c", name="a", order=b"{}", secret="s"))
    hooks.tell(event(1), ["a", "b"])
    (row,) = hooks.deliveries(endpoint="a")
    hooks.delete_endpoint("a")
    assert [d.endpoint for d in hooks.deliveries()] == ["b"]
    hooks.turn([ended(row)], [], {}, NOW_NS)  # it was on its way
    assert hooks.attempts(row.id) == []


def test_what_has_ended_is_kept_within_bounds(
    hooks: HookStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_store, "ENDED_MAX", 3)
    monkeypatch.setattr(hook_store, "PRUNE_EVERY", 1)
    monkeypatch.setattr(hook_store, "ATTEMPTS_MAX", 2)
    for number in range(6):
        hooks.tell(event(number, f"case-{number}"), ["a"])
    for row in hooks.deliveries():
        hooks.turn([ended(row)], [], {}, NOW_NS)
    assert [d.message_id for d in hooks.deliveries()] == [f"msg_case-{n}_{n}" for n in (5, 4, 3)]
    hooks.tell(event(9, "case-9"), ["a"])
    (row,) = hooks.deliveries(state="waiting")
    for _ in range(5):
        failed = AttemptRow(at_ns=NOW_NS, status=500, error="no", took_ms=1.0)
        hooks.turn([Note(delivery=row, attempt=failed)], [], {}, NOW_NS)
    assert len(hooks.attempts(row.id)) == 2
